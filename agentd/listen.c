/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/listen.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/transport/ipc/ipc.h>
#include <systemd/sd-event.h>

#include "common/addr.h"
#include "agentd/nng_mends.h"
#include "agentd/pipes.h"
#include "agentd/turns.h"
#include "common/clock.h"
#include "common/fdio.h"
#include "common/log.h"
#include "common/str.h"

enum {
    LISTEN_IDLE = 64,         /* contexts that should be waiting for a request */
    LISTEN_GROW = 64,         /* how many more at a time */
    LISTEN_MAX_CALLS = 20000, /* requests held at once; beyond, nng makes the clients wait */
    LISTEN_SEND_MS = 5000,    /* a client that does not read loses its connection */
    LISTEN_DOOMED = 64,       /* connections to close; more wait for the next second */
    LISTEN_TURN = 256,        /* frames of one turn of the loop */
    LISTEN_TURN_MS = 5,       /* and no more once they took so long */
    PROBE_EVERY_MS = 2000,
    PROBE_PATIENCE_MS = 5000,
    PROBE_STEP_MS = 1500, /* of it, what one tick may use up */
    STUCK_MS = 60000,     /* for a moment when nobody waits for an answer */
    STOP_S = 3,           /* then it ends by a signal */
    /* Frames that wait for their turn: past it nng keeps one of each connection. */
    LISTEN_WAITING = 8192,
    LISTEN_WAITING_BYTES = 64 << 20,
};

/* A context: receives one request, waits for its answer, sends it, and over again. */
struct listen_call {
    struct turn turn; /* in listen->arrived, then in listen->turns */
    struct listen *listen;
    nng_ctx ctx;
    nng_aio *aio;
    nng_msg *msg; /* the request, later the reply */
    nng_pipe pipe;
    bool sending;
    int64_t uid;  /* whose the answer is; -1: nobody's */
    size_t bytes; /* of the answer */
    char origin[PIPES_ORIGIN], key[PIPES_ORIGIN];
};

struct listen {
    sd_event *loop;
    sd_event_source *wake_source, *tick_source;
    nng_socket sock;
    listen_frame_fn on_frame;
    listen_whose_fn whose;
    void *arg;
    int wake_fd;
    const struct agentd_conf *conf;

    pthread_mutex_t lock;
    struct turn *arrived, **arrived_tail; /* under the lock */
    size_t idle;                          /* under the lock: contexts that receive */
    size_t waiting, waiting_bytes;        /* under the lock: frames that have not had their turn */
    bool closing;                         /* under the lock */
    nng_pipe doomed[LISTEN_DOOMED];       /* under the lock: to be closed by the loop */
    size_t ndoomed;                       /* under the lock */
    size_t refused;                       /* under the lock: connections since the last tick */
    char refused_origin[PIPES_ORIGIN];    /* under the lock: and where the last came from */
    uint32_t probe_pipe;                  /* under the lock: the probe, once nng has it; or 0 */
    bool probe_gone;                      /* under the lock: nng has let go of it */
    struct pipes *pipes;                  /* has its own */

    int probe_fd;            /* -1: none is open */
    int64_t probe_ms;        /* when the last probe began */
    int64_t probe_tick_ms;   /* when it was last looked after */
    int64_t probe_waited_ms; /* what the loop has waited for it */
    bool stuck;

    /* The loop's alone. */
    struct turns turns;
    struct listen_call **calls; /* all contexts */
    size_t ncalls;
};

/* ---- connections ---- */

static void end_pipe(nng_pipe pipe)
{
    if (!nng_hang_up((uint32_t)nng_pipe_id(pipe)))
        nng_pipe_close(pipe);
}

/* Closing in a callback of the pipe's own has nng wait for itself for ever, and then no connection
 * is ever given back: the loop does it. */
static void doom(struct listen *l, nng_pipe pipe)
{
    pthread_mutex_lock(&l->lock);
    bool room = l->ndoomed < LISTEN_DOOMED;
    if (room)
        l->doomed[l->ndoomed++] = pipe;
    pthread_mutex_unlock(&l->lock);
    pipes_doom(l->pipes, (uint32_t)nng_pipe_id(pipe));
    if (room)
        fdio_ring(l->wake_fd);
}

static void close_doomed(struct listen *l)
{
    nng_pipe v[LISTEN_DOOMED];
    pthread_mutex_lock(&l->lock);
    size_t n = l->ndoomed;
    memcpy(v, l->doomed, n * sizeof *v);
    l->ndoomed = 0;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < n; i++)
        end_pipe(v[i]);
}

/* Who connects from where, and what is counted together. */
static void describe(nng_pipe pipe, char origin[PIPES_ORIGIN], char key[PIPES_ORIGIN])
{
    nng_sockaddr sa;
    uint64_t uid;
    str_copy(origin, PIPES_ORIGIN, "local");
    if (nng_pipe_get_addr(pipe, NNG_OPT_REMADDR, &sa) != 0)
        sa.s_family = NNG_AF_UNSPEC;
    if (sa.s_family == NNG_AF_INET)
        inet_ntop(AF_INET, &sa.s_in.sa_addr, origin, PIPES_ORIGIN);
    else if (sa.s_family == NNG_AF_INET6)
        inet_ntop(AF_INET6, &sa.s_in6.sa_addr, origin, PIPES_ORIGIN);
    else if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) == 0)
        snprintf(origin, PIPES_ORIGIN, "local:%llu", (unsigned long long)uid);
    addr_key(origin, key, PIPES_ORIGIN);
}

static bool admit(struct listen *l, nng_pipe pipe)
{
    char origin[PIPES_ORIGIN], key[PIPES_ORIGIN];
    describe(pipe, origin, key);
    bool local = strncmp(origin, "local", 5) == 0;
    if (local || addr_in_list(l->conf->allow_from, origin))
        return pipes_add(l->pipes, (uint32_t)nng_pipe_id(pipe), origin, key);
    pthread_mutex_lock(&l->lock);
    l->refused++;
    str_copy(l->refused_origin, sizeof l->refused_origin, origin);
    pthread_mutex_unlock(&l->lock);
    return false;
}

/* One line a second at most: it is strangers who make them. */
static void tell_refused(struct listen *l)
{
    char origin[PIPES_ORIGIN];
    pthread_mutex_lock(&l->lock);
    size_t n = l->refused;
    l->refused = 0;
    str_copy(origin, sizeof origin, l->refused_origin);
    pthread_mutex_unlock(&l->lock);
    if (n)
        log_notice("%zu connections refused, the last from %s: not in allow_from", n, origin);
}

/* The one whose other end is this process's own. */
static bool is_probe(nng_pipe pipe)
{
    uint64_t pid;
    return nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid) == 0 && pid == (uint64_t)getpid();
}

/* On nng's threads. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    struct listen *l = arg;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    if (ev == NNG_PIPE_EV_ADD_PRE) {
        if (is_probe(pipe)) {
            /* However many there are: it is a crowd by which nng gets stuck. */
            pthread_mutex_lock(&l->lock);
            l->probe_pipe = id;
            l->probe_gone = false;
            pthread_mutex_unlock(&l->lock);
        } else if (!admit(l, pipe)) {
            nng_pipe_close(pipe);
        }
    } else if (ev == NNG_PIPE_EV_REM_POST) {
        pipes_remove(l->pipes, id);
        pthread_mutex_lock(&l->lock);
        l->probe_gone |= l->probe_pipe == id;
        pthread_mutex_unlock(&l->lock);
    }
}

/* Ends connections that have not authenticated themselves in time, that nobody uses, or that are
 * in everybody's way. */
static void drop_idle(struct listen *l)
{
    enum { BATCH = 256 };
    uint32_t ids[BATCH];
    pthread_mutex_lock(&l->lock);
    bool crowded = l->ncalls - l->idle > LISTEN_MAX_CALLS / 4 * 3;
    pthread_mutex_unlock(&l->lock);
    size_t n = pipes_idle(l->pipes, crowded, ids, BATCH);
    for (size_t i = 0; i < n; i++)
        end_pipe((nng_pipe){.id = ids[i]});
}

/* Does nng still let go of connections?  Before 1.8 the one thread that does may wait for ever:
 * then no connection's memory, descriptor and place comes back.  A connection of our own, which we
 * end, must be seen to go.  What is known to lead there is kept from it (nng_mends.c). */
static int open_probe(const struct listen *l)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}; /* of a REQ socket */
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (!str_copy(sa.sun_path, sizeof sa.sun_path, l->conf->listen_ipc))
        return -1;
    AUTO(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0 ||
        send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) != sizeof greeting)
        return -1;
    return TAKE_FD(fd);
}

static bool has_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

/* Has nng taken the probe in, and let go of it?  It greets before it has read our greeting, and a
 * connection that ends between the two never was one: only its own word counts. */
static bool is_taken_in(struct listen *l, bool *ret_gone)
{
    pthread_mutex_lock(&l->lock);
    bool taken = l->probe_pipe != 0;
    *ret_gone = l->probe_gone;
    pthread_mutex_unlock(&l->lock);
    return taken;
}

static void begin_probe(struct listen *l, int64_t now)
{
    pthread_mutex_lock(&l->lock);
    l->probe_pipe = 0;
    l->probe_gone = false;
    pthread_mutex_unlock(&l->lock);
    l->probe_fd = open_probe(l);
    l->probe_ms = l->probe_fd >= 0 ? now : 0; /* no room for one more: later */
    l->probe_waited_ms = 0;
}

static void probe(struct listen *l)
{
    int64_t now = clock_mono_ms(), step = now - l->probe_tick_ms;
    /* Whoever stopped the broker for a while stopped nng's threads, too. */
    l->probe_waited_ms += step < PROBE_STEP_MS ? step : PROBE_STEP_MS;
    l->probe_tick_ms = now;
    bool open = l->probe_fd >= 0, gone, taken = is_taken_in(l, &gone);
    if (open && (taken || has_hung_up(l->probe_fd))) {
        close(l->probe_fd);
        l->probe_fd = -1;
        l->probe_ms = taken ? now : 0;
        l->probe_waited_ms = 0;
        return;
    }
    bool waiting = l->probe_ms && (open || !gone);
    int64_t late = waiting ? l->probe_waited_ms - PROBE_PATIENCE_MS : 0;
    bool idle = !open && (pipes_crowded(l->pipes) || !pipes_busy(l->pipes));
    if (late > STUCK_MS || (late > 0 && idle)) {
        log_err("nng does not let go of connections any more, a known fault of its versions before "
                "1.8: starting anew");
        l->stuck = true;
        sd_event_exit(l->loop, EXIT_FAILURE);
        return;
    }
    if (!waiting && now - l->probe_ms >= PROBE_EVERY_MS && *l->conf->listen_ipc)
        begin_probe(l, now);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    drop_idle(arg);
    tell_refused(arg);
    probe(arg);
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

static uint32_t pipe_of(const struct listen_call *c)
{
    return (uint32_t)nng_pipe_id(c->pipe);
}

/* On nng's threads: a request has come, or a reply has gone. */
static void on_aio(void *arg)
{
    struct listen_call *c = arg;
    struct listen *l = c->listen;
    int rc = nng_aio_result(c->aio);
    if (c->sending) {
        pipes_answered(l->pipes, pipe_of(c), c->uid, c->bytes);
        if (rc != 0) {
            nng_msg *left = nng_aio_get_msg(c->aio);
            nng_aio_set_msg(c->aio, NULL);
            if (left)
                nng_msg_free(left);
            if (rc == NNG_ETIMEDOUT)
                doom(l, c->pipe);
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
    if (!pipes_received(l->pipes, pipe_of(c))) {
        pipes_answered(l->pipes, pipe_of(c), -1, 0);
        nng_msg_free(c->msg);
        c->msg = NULL;
        doom(l, c->pipe);
        receive(c);
        return;
    }
    pthread_mutex_lock(&l->lock);
    c->turn.next = NULL;
    bool first = l->arrived == NULL;
    *l->arrived_tail = &c->turn;
    l->arrived_tail = &c->turn.next;
    l->waiting++;
    l->waiting_bytes += nng_msg_len(c->msg);
    pthread_mutex_unlock(&l->lock);
    if (first)
        fdio_ring(l->wake_fd);
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

/* Not while much waits already: the loop is behind, and more would only wait in our memory.  Every
 * turn ends here, so what was put off is made up for. */
static void grow(struct listen *l)
{
    pthread_mutex_lock(&l->lock);
    bool enough = l->idle >= LISTEN_IDLE / 2 || l->waiting >= LISTEN_WAITING ||
                  l->waiting_bytes >= LISTEN_WAITING_BYTES;
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; !enough && i < LISTEN_GROW && l->ncalls < LISTEN_MAX_CALLS; i++)
        if (!add_call(l))
            return;
}

static struct bytes frame_of(const struct listen_call *c)
{
    return (struct bytes){nng_msg_body(c->msg), nng_msg_len(c->msg)};
}

/* A user's requests, from wherever, take turns with those of others; strangers by address. */
static uint64_t who_asks(const struct listen *l, const struct listen_call *c)
{
    int64_t uid = l->whose(l->arg, frame_of(c));
    uint64_t h = 1469598103934665603ULL; /* FNV-1a */
    for (const char *p = uid < 0 ? c->key : ""; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    return uid < 0 ? h : (uint64_t)uid;
}

static void queue_arrived(struct listen *l)
{
    pthread_mutex_lock(&l->lock);
    struct turn *t = l->arrived;
    l->arrived = NULL;
    l->arrived_tail = &l->arrived;
    pthread_mutex_unlock(&l->lock);
    while (t) {
        struct listen_call *c = (struct listen_call *)t;
        t = t->next;
        pipes_origin(l->pipes, pipe_of(c), c->origin, c->key);
        turns_add(&l->turns, &c->turn, who_asks(l, c));
    }
}

static struct listen_call *take_turn(struct listen *l)
{
    struct listen_call *c = (struct listen_call *)turns_take(&l->turns);
    if (!c)
        return NULL;
    pthread_mutex_lock(&l->lock);
    l->waiting--;
    l->waiting_bytes -= nng_msg_len(c->msg);
    pthread_mutex_unlock(&l->lock);
    return c;
}

static int on_wake(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    struct listen *l = arg;
    struct listen_call *c;
    int64_t end = clock_mono_ms() + LISTEN_TURN_MS;
    (void)s;
    (void)revents;
    fdio_hush(fd);
    close_doomed(l);
    /* Also when there is no time for any: the next to arrive does not wake us while others have. */
    queue_arrived(l);
    for (int n = 0; n < LISTEN_TURN && clock_mono_ms() <= end && (c = take_turn(l)); n++) {
        l->on_frame(l->arg, c, frame_of(c));
        queue_arrived(l); /* whoever has just come is not to wait for all that one user has sent */
    }
    /* Behind the frames, of which many may be held back: without contexts nothing arrives that
     * would have us look again. */
    grow(l);
    if (turns_any(&l->turns))
        fdio_ring(l->wake_fd);
    return 0;
}

const char *listen_origin(const struct listen_call *call)
{
    return call->origin;
}

const char *listen_key(const struct listen_call *call)
{
    return call->key;
}

void listen_welcome(struct listen_call *call)
{
    pipes_welcome(call->listen->pipes, pipe_of(call));
}

void listen_use(struct listen *l, struct listen_use *out)
{
    pthread_mutex_lock(&l->lock);
    out->frames = l->waiting;
    pthread_mutex_unlock(&l->lock);
    out->connections = pipes_count(l->pipes);
    out->gone = pipes_removed(l->pipes);
}

void listen_sheds(struct listen *l, int64_t out[DIM_shed_N])
{
    pipes_sheds(l->pipes, out);
}

size_t listen_most(struct listen *l, char *key, size_t size)
{
    char found[PIPES_ORIGIN] = "";
    size_t most = pipes_most(l->pipes, found);
    str_copy(key, size, found);
    return most;
}

size_t listen_owed(struct listen *l, int64_t uid)
{
    return uid < 0 ? pipes_owed_all(l->pipes) : pipes_owed(l->pipes, uid);
}

void listen_done_with_frame(struct listen_call *call)
{
    if (call->msg)
        nng_msg_free(call->msg);
    call->msg = NULL;
}

uint8_t *listen_reply(struct listen_call *call, size_t size)
{
    nng_msg *reply;
    if (nng_msg_alloc(&reply, size) != 0)
        return NULL;
    listen_done_with_frame(call);
    call->msg = reply;
    return nng_msg_body(reply);
}

void listen_send(struct listen_call *call, int64_t uid)
{
    call->uid = uid;
    call->bytes = nng_msg_len(call->msg);
    bool reads = pipes_sending(call->listen->pipes, pipe_of(call), uid, call->bytes);
    nng_pipe pipe = call->pipe; /* the call may be another's before this returns */
    nng_aio_set_msg(call->aio, call->msg);
    call->msg = NULL;
    call->sending = true;
    nng_aio_set_timeout(call->aio, LISTEN_SEND_MS);
    nng_ctx_send(call->ctx, call->aio);
    if (!reads)
        end_pipe(pipe);
}

void listen_drop(struct listen_call *call)
{
    end_pipe(call->pipe);
    pipes_answered(call->listen->pipes, pipe_of(call), -1, 0);
    listen_done_with_frame(call);
    receive(call);
}

void listen_drop_greedy(struct listen_call *call)
{
    pipes_greedy(call->listen->pipes, pipe_of(call));
    listen_drop(call);
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

int listen_try(const char *tcp, bool *ret_in_use, struct err *err)
{
    char url[256];
    nng_socket sock;
    snprintf(url, sizeof url, "tcp://%s", tcp);
    int rc = nng_rep0_open(&sock);
    *ret_in_use = false;
    if (rc != 0)
        return err_set(err, ERR_INTERNAL, "cannot open a socket: %s", nng_strerror(rc));
    rc = nng_listen(sock, url, NULL, 0);
    nng_close(sock);
    *ret_in_use = rc == NNG_EADDRINUSE;
    return rc == 0 ? 0 : err_set(err, ERR_INVALID, "%s: %s", tcp, nng_strerror(rc));
}

struct listen *listen_new(struct sd_event *loop, const struct agentd_conf *conf,
                          listen_frame_fn on_frame, listen_whose_fn whose, void *arg,
                          struct err *err)
{
    struct listen *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    l->loop = loop;
    l->conf = conf;
    l->on_frame = on_frame;
    l->whose = whose;
    l->arg = arg;
    l->arrived_tail = &l->arrived;
    pthread_mutex_init(&l->lock, NULL);
    l->probe_fd = -1;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->pipes = pipes_new(conf);
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
    if (open_socket(l, err) < 0 || start(l, err) < 0) {
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
    if (l->probe_fd >= 0)
        close(l->probe_fd);
    /* It waits for the same thread. */
    alarm(STOP_S);
    if (l->stuck)
        _exit(EXIT_FAILURE);
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
    alarm(0);
    pthread_mutex_destroy(&l->lock);
    free(l->calls);
    pipes_free(l->pipes);
    free(l);
}
