/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/conn.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "client/address.h"
#include "common/clock.h"
#include "common/fdio.h"

enum {
    RECV_MAX = WIRE_MAX_FRAME + (1 << 20),
    RESTART_MS = 2000, /* a broker that starts anew listens again by then */
    RESTART_PAUSE_MS = 100,
};

/* The process that nng's threads run in: in a forked child nng aborts the process. */
static _Atomic pid_t nng_process;

struct conn {
    char url[ADDRESS_MAX];
    nng_socket sock;
    bool open;
    atomic_bool lost; /* set on one of nng's threads */
    atomic_bool done; /* likewise: what was begun on the aio is over */
    int stop_fd;      /* borrowed, -1: none */
    int wake_fd;      /* what was waited for is there; written on other threads */
};

struct conn *conn_new(const char *url, int stop_fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    snprintf(c->url, sizeof c->url, "%s", url);
    c->stop_fd = stop_fd;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd >= 0)
        return c;
    free(c);
    return NULL;
}

int conn_check_process(struct err *err)
{
    pid_t user = atomic_load(&nng_process);
    if (user != 0 && user != getpid())
        return err_set(err, ERR_INVALID,
                       "this process has forked since the library was first used in it: the child "
                       "must exec a program");
    return 0;
}

bool conn_is_up(struct conn *c)
{
    struct err ignored = {0};
    return c->open && !atomic_load(&c->lost) && conn_check_process(&ignored) == 0;
}

static void hang_up(struct conn *c)
{
    struct err ignored = {0};
    if (c->open && conn_check_process(&ignored) == 0)
        nng_close(c->sock);
    c->open = false;
}

void conn_free(struct conn *c)
{
    if (!c)
        return;
    hang_up(c);
    close(c->wake_fd);
    free(c);
}

/* ---- waiting, which another thread or a signal may end ---- */

static void on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct conn *c = arg;
    (void)pipe;
    (void)event;
    atomic_store(&c->lost, true);
    fdio_ring(c->wake_fd);
}

enum wake { WOKEN, STOPPED, TIMED_OUT };

/* Until wake_fd or stop_fd is set; neither is cleared.  -1 is no descriptor, and no deadline. */
static enum wake wait_fds(int wake_fd, int stop_fd, int64_t deadline_ms)
{
    struct pollfd p[] = {{.fd = wake_fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
    for (;;) {
        int64_t left = deadline_ms < 0 ? -1 : deadline_ms - clock_mono_ms();
        if (deadline_ms >= 0 && left <= 0)
            return TIMED_OUT;
        if (poll(p, 2, left > INT_MAX ? INT_MAX : (int)left) <= 0)
            continue; /* a signal; or time is over */
        if (p[0].revents)
            return WOKEN;
        if (p[1].revents)
            return STOPPED;
    }
}

static int interrupted(int stop_fd, struct err *err)
{
    fdio_hush(stop_fd);
    return err_set(err, ERR_INTERRUPTED, "interrupted");
}

int conn_pause(int stop_fd, int64_t ms, struct err *err)
{
    if (wait_fds(-1, stop_fd, clock_mono_ms() + ms) == STOPPED)
        return interrupted(stop_fd, err);
    return 0;
}

static bool stop_is_set(const struct conn *c)
{
    struct pollfd p = {.fd = c->stop_fd, .events = POLLIN};
    return c->stop_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* ---- connecting ---- */

static int unreachable(struct conn *c, int rc, struct err *err)
{
    const char *path = address_path(c->url);
    switch (rc) {
    case NNG_ECONNREFUSED:
    case NNG_ENOENT:
        if (path && access(path, F_OK) < 0)
            return err_set(err, ERR_UNREACHABLE,
                           "no slurm-agentd answers at %s: %s: is it running on this host?", c->url,
                           strerror(errno));
        return err_set(err, ERR_UNREACHABLE,
                       "no slurm-agentd answers at %s: Connection refused: is it running, is the "
                       "%s?",
                       c->url, path ? "socket its own" : "port open");
    case NNG_ETIMEDOUT:
    case NNG_ECLOSED:
        return err_set(
            err, ERR_UNREACHABLE,
            "no slurm-agentd answers at %s in time: is the host up, is the port open, is "
            "it slurm-agentd's?",
            c->url);
    case NNG_EADDRINVAL:
        return err_set(err, ERR_UNREACHABLE, "there is no address for the host of %s", c->url);
    case NNG_EPROTO:
    case NNG_ECONNSHUT:
    case NNG_ECONNRESET:
    case NNG_EPEERAUTH:
        return err_set(err, ERR_UNREACHABLE,
                       "what listens at %s hung up (%s): it is not slurm-agentd, or does not take "
                       "connections from here",
                       c->url, nng_strerror(rc));
    default:
        return err_set(err, ERR_UNREACHABLE, "no slurm-agentd answers at %s: %s", c->url,
                       nng_strerror(rc));
    }
}

struct dialing {
    nng_dialer dialer;
    int rc;
    int wake_fd;
    atomic_bool over;
};

static void *dial_main(void *arg)
{
    struct dialing *d = arg;
    d->rc = nng_dialer_start(d->dialer, 0);
    atomic_store(&d->over, true);
    fdio_ring(d->wake_fd);
    return NULL;
}

/* nng's dial says why it failed only when it blocks, and then has no timeout: hence a thread, which
 * closing the socket ends.  NNG_ECANCELED when stopped. */
static int dial(struct conn *c, int64_t deadline_ms)
{
    struct dialing d = {.rc = NNG_EINTERNAL, .wake_fd = c->wake_fd};
    pthread_t thread;
    int rc = nng_dialer_create(&d.dialer, c->sock, c->url);
    if (rc)
        return rc;
    fdio_hush(c->wake_fd);
    if (pthread_create(&thread, NULL, dial_main, &d) != 0)
        return NNG_ENOMEM;
    enum wake wake = wait_fds(c->wake_fd, c->stop_fd, deadline_ms);
    while (wake == WOKEN && !atomic_load(&d.over)) { /* of a connection that has gone already */
        fdio_hush(c->wake_fd);
        if (!atomic_load(&d.over))
            wake = wait_fds(c->wake_fd, c->stop_fd, deadline_ms);
    }
    if (wake != WOKEN) {
        nng_close(c->sock);
        c->open = false;
    }
    pthread_join(thread, NULL);
    return wake == WOKEN ? d.rc : wake == STOPPED ? NNG_ECANCELED : NNG_ETIMEDOUT;
}

static int set_up(struct conn *c)
{
    int rc = nng_req0_open(&c->sock);
    if (rc)
        return rc;
    c->open = true;
    atomic_store(&c->lost, false);
    /* Without a limit one header makes nng ask for more memory than there is, and abort. */
    rc = nng_socket_set_size(c->sock, NNG_OPT_RECVMAXSZ, RECV_MAX);
    /* A request that nng sends again by itself would reach the server twice. */
    if (!rc)
        rc = nng_socket_set_ms(c->sock, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (!rc)
        rc = nng_socket_set_ms(c->sock, NNG_OPT_RECONNMINT, INT_MAX);
    if (!rc)
        rc = nng_socket_set_ms(c->sock, NNG_OPT_RECONNMAXT, INT_MAX);
    if (!rc)
        rc = nng_pipe_notify(c->sock, NNG_PIPE_EV_REM_POST, on_pipe_gone, c);
    return rc;
}

/* Somebody may be starting it anew this moment. */
static int dial_patiently(struct conn *c, int64_t deadline_ms)
{
    int64_t end = clock_mono_ms() + RESTART_MS;
    for (;;) {
        int rc = set_up(c);
        if (!rc)
            rc = dial(c, deadline_ms);
        int64_t next = clock_mono_ms() + RESTART_PAUSE_MS;
        if ((rc != NNG_ECONNREFUSED && rc != NNG_ENOENT) || next > end || next > deadline_ms)
            return rc;
        hang_up(c);
        if (wait_fds(-1, c->stop_fd, next) == STOPPED)
            return NNG_ECANCELED;
    }
}

int conn_ready(struct conn *c, int64_t deadline_ms, struct err *err)
{
    sigset_t all, before;
    if (conn_check_process(err) < 0)
        return -1;
    if (stop_is_set(c))
        return interrupted(c->stop_fd, err);
    if (c->open && !atomic_load(&c->lost))
        return 0;
    hang_up(c);
    atomic_store(&nng_process, getpid());
    /* Threads inherit the mask: the program's signals must not end up on nng's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = dial_patiently(c, deadline_ms);
    if (rc == NNG_ECANCELED)
        interrupted(c->stop_fd, err);
    else if (rc)
        unreachable(c, rc, err);
    if (rc)
        hang_up(c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? -1 : 0;
}

/* ---- one exchange ---- */

static nng_duration time_left(int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_mono_ms();
    return left < 1 ? 1 : left > INT_MAX ? INT_MAX : (nng_duration)left;
}

static void on_aio_done(void *arg)
{
    struct conn *c = arg;
    atomic_store(&c->done, true);
    fdio_ring(c->wake_fd);
}

/* The result of what was begun on aio: NNG_ECANCELED when stopped, and it was not over by then.
 * What is to be sent over a connection that is lost would wait for another one. */
static int finish(struct conn *c, nng_aio *aio, bool sending)
{
    bool gone = false;
    while (!atomic_load(&c->done) && !(gone = sending && atomic_load(&c->lost))) {
        if (wait_fds(c->wake_fd, c->stop_fd, -1) == STOPPED)
            break;
        fdio_hush(c->wake_fd);
    }
    if (!atomic_load(&c->done))
        nng_aio_cancel(aio);
    nng_aio_wait(aio);
    fdio_hush(c->wake_fd);
    int rc = nng_aio_result(aio);
    return rc == NNG_ECANCELED && gone ? NNG_ECONNRESET : rc;
}

static int send_frame(struct conn *c, nng_ctx ctx, nng_aio *aio, struct bytes frame,
                      int64_t deadline_ms)
{
    nng_msg *msg;
    int rc = nng_msg_alloc(&msg, frame.n);
    if (rc)
        return rc;
    memcpy(nng_msg_body(msg), frame.p, frame.n);
    nng_aio_set_timeout(aio, time_left(deadline_ms));
    nng_aio_set_msg(aio, msg);
    atomic_store(&c->done, false);
    nng_ctx_send(ctx, aio);
    rc = finish(c, aio, true);
    if (rc)
        nng_msg_free(msg);
    return rc;
}

static int receive_frame(struct conn *c, nng_ctx ctx, nng_aio *aio, int64_t deadline_ms,
                         struct bytes *ret)
{
    nng_aio_set_timeout(aio, time_left(deadline_ms));
    atomic_store(&c->done, false);
    nng_ctx_recv(ctx, aio);
    int rc = finish(c, aio, false);
    if (rc)
        return rc;
    nng_msg *msg = nng_aio_get_msg(aio);
    size_t n = nng_msg_len(msg);
    uint8_t *copy = malloc(n ? n : 1);
    if (copy) {
        memcpy(copy, nng_msg_body(msg), n);
        *ret = (struct bytes){copy, n};
    }
    nng_msg_free(msg);
    return copy ? 0 : NNG_ENOMEM;
}

static int failed(struct conn *c, int rc, enum conn_fate fate, struct err *err)
{
    /* The context is closed: an answer that comes yet is dropped, the connection stays good. */
    if (rc == NNG_ECANCELED)
        return interrupted(c->stop_fd, err);
    hang_up(c);
    if (rc == NNG_ETIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "%s did not answer in time", c->url);
    if (rc == NNG_ENOMEM)
        return err_set(err, ERR_INTERNAL, "no memory");
    return err_set(err, ERR_UNREACHABLE, "the connection to %s was lost before %s (%s)", c->url,
                   fate == CONN_SENT ? "the answer came" : "the request was sent",
                   nng_strerror(rc));
}

int conn_exchange(struct conn *c, struct bytes frame, int64_t deadline_ms, struct bytes *ret_answer,
                  enum conn_fate *ret_fate, struct err *err)
{
    nng_ctx ctx;
    nng_aio *aio = NULL;
    *ret_fate = CONN_NOT_SENT;
    if (conn_ready(c, deadline_ms, err) < 0)
        return -1;
    fdio_hush(c->wake_fd);
    int rc = nng_ctx_open(&ctx, c->sock);
    if (rc)
        return failed(c, rc, *ret_fate, err);
    rc = nng_aio_alloc(&aio, on_aio_done, c);
    if (!rc)
        rc = send_frame(c, ctx, aio, frame, deadline_ms);
    if (!rc) {
        *ret_fate = CONN_SENT;
        rc = receive_frame(c, ctx, aio, deadline_ms, ret_answer);
    }
    if (aio)
        nng_aio_free(aio);
    nng_ctx_close(ctx);
    return rc ? failed(c, rc, *ret_fate, err) : 0;
}
