/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/listen.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <systemd/sd-event.h>

#include "agentd/addr.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    LISTEN_IDLE = 64,         /* contexts that should be waiting for a request */
    LISTEN_GROW = 64,         /* how many more at a time */
    LISTEN_MAX_CALLS = 20000, /* requests held at once; beyond, nng makes the clients wait */
    LISTEN_SEND_MS = 5000,    /* a client that does not read loses its connection */
    LISTEN_ORIGIN = 64,
    LISTEN_MAX_PIPES = 65536, /* slots of the pipe table, a power of two */
    LISTEN_TURN = 256,        /* frames of one turn of the loop */
};

/* A context: receives one request, waits for its answer, sends it, and over again. */
struct listen_call {
    struct listen *listen;
    struct listen_call *next; /* in listen->arrived */
    nng_ctx ctx;
    nng_aio *aio;
    nng_msg *msg; /* the request, later the reply */
    nng_pipe pipe;
    bool sending;
    char origin[LISTEN_ORIGIN];
};

/* A connection; under the lock, because nng tells of them on its own threads. */
struct pipe_entry {
    uint32_t id; /* 0: free */
    bool welcome;
    int64_t since_ms;
    char origin[LISTEN_ORIGIN];
};

struct listen {
    sd_event *loop;
    sd_event_source *wake_source, *tick_source;
    nng_socket sock;
    listen_frame_fn on_frame;
    void *arg;
    int wake_fd;
    const struct agentd_conf *conf;

    pthread_mutex_t lock;
    struct listen_call *arrived, **arrived_tail; /* under the lock */
    size_t idle;                                 /* under the lock: contexts that receive */
    bool closing;                                /* under the lock */
    struct pipe_entry *pipes;                    /* under the lock; open addressing */
    size_t npipes;                               /* under the lock */

    struct listen_call **calls; /* all contexts; the loop's alone */
    size_t ncalls;
};

static void wake(struct listen *l)
{
    uint64_t one = 1;
    ssize_t ignored = write(l->wake_fd, &one, sizeof one);
    (void)ignored;
}

/* ---- connections ---- */

static void describe(nng_pipe pipe, char out[LISTEN_ORIGIN])
{
    nng_sockaddr sa;
    str_copy(out, LISTEN_ORIGIN, "local");
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &sa) != 0)
        return;
    if (sa.s_family == NNG_AF_INET)
        inet_ntop(AF_INET, &sa.s_in.sa_addr, out, LISTEN_ORIGIN);
    else if (sa.s_family == NNG_AF_INET6)
        inet_ntop(AF_INET6, sa.s_in6.sa_addr, out, LISTEN_ORIGIN);
}

static struct pipe_entry *pipe_slot(struct listen *l, uint32_t id)
{
    size_t mask = LISTEN_MAX_PIPES - 1;
    size_t i = (id * 2654435761U) & mask;
    for (; l->pipes[i].id; i = (i + 1) & mask) /* half of the slots are free */
        if (l->pipes[i].id == id)
            return &l->pipes[i];
    return NULL;
}

static size_t pipes_from(const struct listen *l, const char *origin)
{
    size_t n = 0;
    for (size_t i = 0; i < LISTEN_MAX_PIPES; i++)
        n += l->pipes[i].id != 0 && str_eq(l->pipes[i].origin, origin);
    return n;
}

/* Linear probing: entries behind a removed one must stay findable, so they move up. */
static void pipe_remove(struct listen *l, uint32_t id)
{
    size_t mask = LISTEN_MAX_PIPES - 1;
    struct pipe_entry *e = pipe_slot(l, id);
    if (!e)
        return;
    l->npipes--;
    size_t hole = (size_t)(e - l->pipes);
    for (size_t i = (hole + 1) & mask; l->pipes[i].id; i = (i + 1) & mask) {
        size_t home = (l->pipes[i].id * 2654435761U) & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        l->pipes[hole] = l->pipes[i];
        hole = i;
    }
    l->pipes[hole] = (struct pipe_entry){0};
}

static bool pipe_admit(struct listen *l, nng_pipe pipe)
{
    struct pipe_entry e = {.id = (uint32_t)nng_pipe_id(pipe), .since_ms = clock_mono_ms()};
    describe(pipe, e.origin);
    bool local = str_eq(e.origin, "local");
    if (!local && !addr_in_list(l->conf->allow_from, e.origin))
        return false;
    pthread_mutex_lock(&l->lock);
    /* Half the slots stay free, so that probing stays short. */
    bool room = l->npipes < (size_t)l->conf->max_pipes && l->npipes < LISTEN_MAX_PIPES / 2;
    if (room && l->npipes >= (size_t)l->conf->max_pipes_per_address)
        room = pipes_from(l, e.origin) < (size_t)l->conf->max_pipes_per_address;
    if (room) {
        size_t mask = LISTEN_MAX_PIPES - 1, i = (e.id * 2654435761U) & mask;
        while (l->pipes[i].id)
            i = (i + 1) & mask;
        l->pipes[i] = e;
        l->npipes++;
    }
    pthread_mutex_unlock(&l->lock);
    return room;
}

/* On nng's threads. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct listen *l = arg;
    if (ev == NNG_PIPE_EV_ADD_PRE) {
        if (!pipe_admit(l, pipe))
            nng_pipe_close(pipe);
    } else if (ev == NNG_PIPE_EV_REM_POST) {
        pthread_mutex_lock(&l->lock);
        pipe_remove(l, (uint32_t)nng_pipe_id(pipe));
        pthread_mutex_unlock(&l->lock);
    }
}

/* Ends connections that have not authenticated themselves in time. */
static void drop_silent(struct listen *l)
{
    enum { BATCH = 256 };
    uint32_t ids[BATCH];
    size_t n = 0;
    int64_t limit = clock_mono_ms() - l->conf->first_frame_s * 1000;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < LISTEN_MAX_PIPES && n < BATCH; i++) {
        const struct pipe_entry *e = &l->pipes[i];
        if (e->id && !e->welcome && e->since_ms < limit)
            ids[n++] = e->id;
    }
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++)
        nng_pipe_close((nng_pipe){.id = ids[i]});
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    drop_silent(arg);
    sd_event_source_set_time(s, usec + 1000000);
    return 0;
}

/* ---- requests ---- */

static void receive(struct listen_call *c)
{
    c->sending = false;
    nng_aio_set_timeout(c->aio, NNG_DURATION_INFINITE);
    pthread_mutex_lock(&c->listen->lock);
    bool closing = c->listen->closing;
    if (!closing)
        c->listen->idle++;
    pthread_mutex_unlock(&c->listen->lock);
    if (!closing)
        nng_ctx_recv(c->ctx, c->aio);
}

/* On nng's threads: a request has come, or a reply has gone. */
static void on_aio(void *arg)
{
    struct listen_call *c = arg;
    struct listen *l = c->listen;
    int rc = nng_aio_result(c->aio);
    if (c->sending) {
        if (rc != 0) {
            nng_msg *left = nng_aio_get_msg(c->aio);
            nng_aio_set_msg(c->aio, NULL);
            if (left)
                nng_msg_free(left);
            if (rc == NNG_ETIMEDOUT)
                nng_pipe_close(c->pipe);
        }
        if (rc != NNG_ECLOSED)
            receive(c);
        return;
    }
    pthread_mutex_lock(&l->lock);
    l->idle--;
    bool closing = l->closing;
    pthread_mutex_unlock(&l->lock);
    if (rc == NNG_ECLOSED || rc == NNG_ECANCELED || closing)
        return;
    if (rc != 0) {
        receive(c);
        return;
    }
    c->msg = nng_aio_get_msg(c->aio);
    nng_aio_set_msg(c->aio, NULL);
    c->pipe = nng_msg_get_pipe(c->msg);
    pthread_mutex_lock(&l->lock);
    c->next = NULL;
    bool first = l->arrived == NULL;
    *l->arrived_tail = c;
    l->arrived_tail = &c->next;
    pthread_mutex_unlock(&l->lock);
    if (first)
        wake(l);
}

static bool add_call(struct listen *l)
{
    struct listen_call *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    c->listen = l;
    if (nng_ctx_open(&c->ctx, l->sock) != 0) {
        free(c);
        return false;
    }
    if (nng_aio_alloc(&c->aio, on_aio, c) != 0) {
        nng_ctx_close(c->ctx);
        free(c);
        return false;
    }
    l->calls[l->ncalls++] = c;
    receive(c);
    return true;
}

static void grow(struct listen *l)
{
    pthread_mutex_lock(&l->lock);
    size_t idle = l->idle;
    pthread_mutex_unlock(&l->lock);
    if (idle >= LISTEN_IDLE / 2)
        return;
    for (int i = 0; i < LISTEN_GROW && l->ncalls < LISTEN_MAX_CALLS; i++)
        if (!add_call(l))
            return;
}

static struct listen_call *take_arrived(struct listen *l, bool *ret_more)
{
    pthread_mutex_lock(&l->lock);
    struct listen_call *c = l->arrived;
    if (c) {
        l->arrived = c->next;
        if (!l->arrived)
            l->arrived_tail = &l->arrived;
        const struct pipe_entry *e = pipe_slot(l, (uint32_t)nng_pipe_id(c->pipe));
        str_copy(c->origin, sizeof c->origin, e ? e->origin : "gone");
    }
    *ret_more = l->arrived != NULL;
    pthread_mutex_unlock(&l->lock);
    return c;
}

static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    struct listen *l = arg;
    uint64_t count;
    bool more = true;
    (void)s;
    (void)revents;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
    for (int turn = 0; more && turn < LISTEN_TURN; turn++) {
        struct listen_call *c = take_arrived(l, &more);
        if (!c)
            break;
        struct bytes frame = {nng_msg_body(c->msg), nng_msg_len(c->msg)};
        l->on_frame(l->arg, c, frame);
    }
    /* Behind the frames, of which many may be held back: without contexts nothing arrives that
     * would have us look again. */
    grow(l);
    if (more)
        wake(l);
    return 0;
}

const char *listen_origin(const struct listen_call *call)
{
    return call->origin;
}

void listen_welcome(struct listen_call *call)
{
    struct listen *l = call->listen;
    pthread_mutex_lock(&l->lock);
    struct pipe_entry *e = pipe_slot(l, (uint32_t)nng_pipe_id(call->pipe));
    if (e)
        e->welcome = true;
    pthread_mutex_unlock(&l->lock);
}

uint8_t *listen_reply(struct listen_call *call, size_t size)
{
    nng_msg *reply;
    if (nng_msg_alloc(&reply, size) != 0)
        return NULL;
    nng_msg_free(call->msg);
    call->msg = reply;
    return nng_msg_body(reply);
}

void listen_send(struct listen_call *call)
{
    nng_aio_set_msg(call->aio, call->msg);
    call->msg = NULL;
    call->sending = true;
    nng_aio_set_timeout(call->aio, LISTEN_SEND_MS);
    nng_ctx_send(call->ctx, call->aio);
}

void listen_drop(struct listen_call *call)
{
    nng_pipe_close(call->pipe);
    nng_msg_free(call->msg);
    call->msg = NULL;
    receive(call);
}

/* ---- start and stop ---- */

static int add_listener(struct listen *l, const char *url, bool ipc, struct err *err)
{
    nng_listener li;
    int rc = nng_listener_create(&li, l->sock, url);
    if (rc == 0 && ipc)
        rc = nng_listener_set_int(li, NNG_OPT_IPC_PERMISSIONS, 0666);
    if (rc == 0)
        rc = nng_listener_start(li, 0);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "cannot listen at %s: %s", url, nng_strerror(rc));
    log_notice("listening at %s", url);
    return 0;
}

static int open_socket(struct listen *l, struct err *err)
{
    int rc = nng_rep0_open(&l->sock);
    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "cannot open a socket: %s", nng_strerror(rc));
    /* Without it one 8-byte header makes nng 1.5 abort the process. */
    rc = nng_socket_set_size(l->sock, NNG_OPT_RECVMAXSZ, WIRE_MAX_FRAME);
    if (rc == 0)
        rc = nng_pipe_notify(l->sock, NNG_PIPE_EV_ADD_PRE, on_pipe, l);
    if (rc == 0)
        rc = nng_pipe_notify(l->sock, NNG_PIPE_EV_REM_POST, on_pipe, l);
    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "cannot set up a socket: %s", nng_strerror(rc));
    return 0;
}

static int start(struct listen *l, struct err *err)
{
    char url[256];
    for (int i = 0; i < LISTEN_IDLE; i++)
        if (!add_call(l))
            return err_set(err, ERR_INTERNAL, "no memory for requests");
    if (*l->conf->listen_tcp) {
        snprintf(url, sizeof url, "tcp://%s", l->conf->listen_tcp);
        if (add_listener(l, url, false, err) < 0)
            return -1;
    }
    if (*l->conf->listen_ipc) {
        snprintf(url, sizeof url, "ipc://%s", l->conf->listen_ipc);
        /* What an earlier process left; the monitor runs one broker at a time. */
        unlink(l->conf->listen_ipc);
        if (add_listener(l, url, true, err) < 0)
            return -1;
    }
    return 0;
}

struct listen *listen_new(struct sd_event *loop, const struct agentd_conf *conf,
                          listen_frame_fn on_frame, void *arg, struct err *err)
{
    struct listen *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    l->loop = loop;
    l->conf = conf;
    l->on_frame = on_frame;
    l->arg = arg;
    l->arrived_tail = &l->arrived;
    pthread_mutex_init(&l->lock, NULL);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->pipes = calloc(LISTEN_MAX_PIPES, sizeof *l->pipes);
    l->calls = calloc(LISTEN_MAX_CALLS, sizeof(struct listen_call *));
    uint64_t now;
    sd_event_now(loop, CLOCK_MONOTONIC, &now);
    if (l->wake_fd < 0 || !l->pipes || !l->calls ||
        sd_event_add_io(loop, &l->wake_source, l->wake_fd, EPOLLIN, on_wake, l) < 0 ||
        sd_event_add_time(loop, &l->tick_source, CLOCK_MONOTONIC, now + 1000000, 100000, on_tick,
                          l) < 0 ||
        sd_event_source_set_enabled(l->tick_source, SD_EVENT_ON) < 0) {
        err_set(err, ERR_INTERNAL, "cannot set up the listener");
        listen_free(l);
        return NULL;
    }
    if (addr_check_list(conf->allow_from, err) < 0 || open_socket(l, err) < 0 ||
        start(l, err) < 0) {
        listen_free(l);
        return NULL;
    }
    return l;
}

void listen_free(struct listen *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_mutex_unlock(&l->lock);
    if (l->sock.id)
        nng_close(l->sock);
    for (size_t i = 0; i < l->ncalls; i++) {
        nng_aio_stop(l->calls[i]->aio);
        nng_aio_free(l->calls[i]->aio);
        if (l->calls[i]->msg)
            nng_msg_free(l->calls[i]->msg);
        free(l->calls[i]);
    }
    sd_event_source_disable_unref(l->wake_source);
    sd_event_source_disable_unref(l->tick_source);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l->calls);
    free(l->pipes);
    free(l);
}
