/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/line.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "common/clock.h"
#include "common/fdio.h"
#include "common/within.h"

enum {
    RECV_MAX = WIRE_MAX_FRAME + (1 << 20),
    CLOSE_MS = 2000,
    LATE_MS =
        1000, /* how long after its deadline, or after being cancelled, nng may end an exchange */
};

/* On the heap and apart from conn, since nng's threads know it: it is never freed when they may do
 * so still. */
struct line {
    nng_socket sock;
    nng_ctx ctx;
    nng_aio *aio;
    nng_dialer dialer;
    pthread_t dialling; /* while has_dialling */
    bool has_sock, has_dialling;
    bool heard; /* an answer came on it */
    bool stuck; /* what was begun on the aio has not ended, and may at any time */
    int dial_rc;
    int wake_fd;        /* what was waited for is there; written on other threads */
    atomic_bool dialed; /* on other threads, as are the following */
    atomic_bool lost;
    atomic_bool done; /* what was begun on the aio is over */
};

/* ---- waiting ---- */

enum line_wake line_wait(int wake_fd, int stop_fd, int64_t deadline_ms)
{
    struct pollfd p[] = {{.fd = wake_fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        if (left <= 0)
            return LINE_TIMED_OUT;
        if (poll(p, 2, left > INT_MAX ? INT_MAX : (int)left) <= 0)
            continue; /* a signal; or time is over */
        if (p[0].revents)
            return LINE_WOKEN;
        if (p[1].revents)
            return LINE_STOPPED;
    }
}

/* Until *flag or *other (NULL: none) is set, by somebody who rings wake_fd then; it also rings for
 * others. */
static enum line_wake wait_for(struct line *l, const atomic_bool *flag, const atomic_bool *other,
                               int stop_fd, int64_t deadline_ms)
{
    enum line_wake wake = LINE_WOKEN;
    while (wake == LINE_WOKEN) {
        fdio_hush(l->wake_fd);
        if (atomic_load(flag) || (other && atomic_load(other)))
            break;
        wake = line_wait(l->wake_fd, stop_fd, deadline_ms);
    }
    return wake;
}

/* ---- nng's threads ---- */

static void on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct line *l = arg;
    (void)pipe;
    (void)event;
    atomic_store(&l->lost, true);
    fdio_ring(l->wake_fd);
}

static void on_aio_done(void *arg)
{
    struct line *l = arg;
    atomic_store(&l->done, true);
    fdio_ring(l->wake_fd);
}

/* ---- begin and end ---- */

static void end_line(void *arg)
{
    struct line *l = arg;
    if (l->has_sock)
        nng_close(l->sock); /* ends a dial, and the context */
    if (l->has_dialling)
        pthread_join(l->dialling, NULL);
    if (l->aio)
        nng_aio_free(l->aio);
    line_forget(l);
}

void line_close(struct line *l)
{
    if (l)
        within(CLOSE_MS, end_line, l);
}

void line_forget(struct line *l)
{
    if (!l)
        return;
    close(l->wake_fd);
    free(l);
}

static struct line *line_new(void)
{
    struct line *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd >= 0)
        return l;
    free(l);
    return NULL;
}

static int set_up(struct line *l)
{
    int rc = nng_req0_open(&l->sock);
    l->has_sock = rc == 0;
    /* Without a limit one header makes nng ask for more memory than there is, and abort. */
    if (!rc)
        rc = nng_socket_set_size(l->sock, NNG_OPT_RECVMAXSZ, RECV_MAX);
    /* A request that nng sends again by itself would reach the server twice. */
    if (!rc)
        rc = nng_socket_set_ms(l->sock, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    if (!rc)
        rc = nng_socket_set_ms(l->sock, NNG_OPT_RECONNMINT, INT_MAX);
    if (!rc)
        rc = nng_socket_set_ms(l->sock, NNG_OPT_RECONNMAXT, INT_MAX);
    if (!rc)
        rc = nng_pipe_notify(l->sock, NNG_PIPE_EV_REM_POST, on_pipe_gone, l);
    if (!rc)
        rc = nng_ctx_open(&l->ctx, l->sock);
    if (!rc)
        rc = nng_aio_alloc(&l->aio, on_aio_done, l);
    return rc;
}

static void *dial_main(void *arg)
{
    struct line *l = arg;
    l->dial_rc = nng_dialer_start(l->dialer, 0);
    atomic_store(&l->dialed, true);
    fdio_ring(l->wake_fd);
    return NULL;
}

/* nng's dial says why it failed only when it blocks, and then has no timeout: hence a thread, which
 * closing the socket ends. */
static int dial(struct line *l, const char *url, int stop_fd, int64_t deadline_ms)
{
    int rc = nng_dialer_create(&l->dialer, l->sock, url);
    if (rc)
        return rc;
    if (pthread_create(&l->dialling, NULL, dial_main, l) != 0)
        return NNG_ENOMEM;
    l->has_dialling = true;
    enum line_wake wake = wait_for(l, &l->dialed, NULL, stop_fd, deadline_ms);
    if (wake != LINE_WOKEN)
        return wake == LINE_STOPPED ? NNG_ECANCELED : NNG_ETIMEDOUT;
    pthread_join(l->dialling, NULL);
    l->has_dialling = false;
    return l->dial_rc;
}

int line_open(const char *url, int stop_fd, int64_t deadline_ms, struct line **ret)
{
    struct line *l = line_new();
    if (!l)
        return NNG_ENOMEM;
    int rc = set_up(l);
    if (!rc)
        rc = dial(l, url, stop_fd, deadline_ms);
    if (rc)
        line_close(l);
    else
        *ret = l;
    return rc;
}

bool line_has_heard(const struct line *l)
{
    return l->heard;
}

bool line_is_lost(const struct line *l)
{
    return l->stuck || atomic_load(&l->lost);
}

/* ---- one exchange ---- */

static void prepare(struct line *l, int64_t deadline_ms)
{
    int64_t left = deadline_ms - clock_mono_ms();
    nng_aio_set_timeout(l->aio, left < 1 ? 1 : left > INT_MAX ? INT_MAX : (nng_duration)left);
    atomic_store(&l->done, false);
}

/* The result of what was begun on the aio.  With l->stuck there is none, and the message is nng's.
 */
static int finish(struct line *l, enum line_wake wake)
{
    if (!atomic_load(&l->done)) {
        nng_aio_cancel(l->aio);
        if (wait_for(l, &l->done, NULL, -1, clock_mono_ms() + LATE_MS) != LINE_WOKEN) {
            l->stuck = true;
            return wake == LINE_STOPPED ? NNG_ECANCELED : NNG_ETIMEDOUT;
        }
    }
    nng_aio_wait(l->aio);
    int rc = nng_aio_result(l->aio);
    if (rc != NNG_ECANCELED || wake == LINE_STOPPED)
        return rc;
    return wake == LINE_TIMED_OUT ? NNG_ETIMEDOUT : NNG_ECONNRESET;
}

int line_send(struct line *l, struct bytes frame, int stop_fd, int64_t deadline_ms, bool *ret_sent)
{
    nng_msg *msg;
    *ret_sent = false;
    int rc = nng_msg_alloc(&msg, frame.n);
    if (rc)
        return rc;
    memcpy(nng_msg_body(msg), frame.p, frame.n);
    prepare(l, deadline_ms);
    nng_aio_set_msg(l->aio, msg);
    nng_ctx_send(l->ctx, l->aio);
    /* Over a connection that is lost it would wait for another one. */
    rc = finish(l, wait_for(l, &l->done, &l->lost, stop_fd, deadline_ms + LATE_MS));
    *ret_sent = rc == 0 || l->stuck;
    if (!*ret_sent)
        nng_msg_free(msg);
    return rc;
}

int line_receive(struct line *l, int stop_fd, int64_t deadline_ms, struct bytes *ret)
{
    prepare(l, deadline_ms);
    nng_ctx_recv(l->ctx, l->aio);
    int rc = finish(l, wait_for(l, &l->done, NULL, stop_fd, deadline_ms + LATE_MS));
    if (rc)
        return rc;
    l->heard = true;
    nng_msg *msg = nng_aio_get_msg(l->aio);
    size_t n = nng_msg_len(msg);
    uint8_t *copy = malloc(n ? n : 1);
    if (copy) {
        memcpy(copy, nng_msg_body(msg), n);
        *ret = (struct bytes){copy, n};
    }
    nng_msg_free(msg);
    return copy ? 0 : NNG_ENOMEM;
}
