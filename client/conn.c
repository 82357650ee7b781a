/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/conn.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>

#include "client/address.h"
#include "client/line.h"
#include "common/clock.h"
#include "common/fdio.h"
#include "common/within.h"

enum {
    RESTART_MS = 2000, /* a broker that starts anew listens again by then */
    RESTART_PAUSE_MS = 100,
};

/* The process that nng's threads run in: in a forked child nng aborts the process. */
static _Atomic pid_t nng_process;

struct conn {
    char url[ADDRESS_MAX];
    struct line *line; /* NULL: not connected */
    int stop_fd;       /* borrowed, -1: none */
    bool shed;         /* see conn_was_shed() */
};

struct conn *conn_new(const char *url, int stop_fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    snprintf(c->url, sizeof c->url, "%s", url);
    c->stop_fd = stop_fd;
    return c;
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
    return c->line && !line_is_lost(c->line) && conn_check_process(&ignored) == 0;
}

void conn_hang_up(struct conn *c)
{
    struct err ignored = {0};
    if (conn_check_process(&ignored) == 0)
        line_close(c->line);
    else
        line_forget(c->line);
    c->line = NULL;
}

void conn_free(struct conn *c)
{
    if (!c)
        return;
    conn_hang_up(c);
    free(c);
}

/* ---- waiting, which another thread or a signal may end ---- */

static int interrupted(int stop_fd, struct err *err)
{
    fdio_hush(stop_fd);
    return err_set(err, ERR_INTERRUPTED, "interrupted");
}

int conn_pause(int stop_fd, int64_t ms, struct err *err)
{
    if (line_wait(-1, stop_fd, clock_mono_ms() + ms) == LINE_STOPPED)
        return interrupted(stop_fd, err);
    return 0;
}

static bool stop_is_set(const struct conn *c)
{
    struct pollfd p = {.fd = c->stop_fd, .events = POLLIN};
    return c->stop_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* ---- connecting ---- */

/* slurm-agentd does so, without a word, to addresses that it does not serve; another program may.
 */
static int hung_up(struct conn *c, int rc, struct err *err)
{
    c->shed = rc != NNG_EPROTO;
    return err_set(err, ERR_UNREACHABLE,
                   "what listens at %s hung up before it had said anything (%s): slurm-agentd may "
                   "not let this host in (allow_from there) or have too many connections of it, or "
                   "was ending; or it is another program",
                   c->url, nng_strerror(rc));
}

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
        return hung_up(c, rc, err);
    case NNG_EAGAIN: /* of a unix socket: more clients are connecting than wait at once */
        c->shed = true;
        return err_set(err, ERR_UNREACHABLE,
                       "no slurm-agentd answers at %s: too many clients are connecting", c->url);
    default:
        return err_set(err, ERR_UNREACHABLE, "no slurm-agentd answers at %s: %s", c->url,
                       nng_strerror(rc));
    }
}

/* Somebody may be starting it anew this moment. */
static int dial_patiently(struct conn *c, int64_t deadline_ms)
{
    int64_t end = clock_mono_ms() + RESTART_MS;
    for (;;) {
        int rc = line_open(c->url, c->stop_fd, deadline_ms, &c->line);
        int64_t next = clock_mono_ms() + RESTART_PAUSE_MS;
        if ((rc != NNG_ECONNREFUSED && rc != NNG_ENOENT) || next > end || next > deadline_ms)
            return rc;
        if (line_wait(-1, c->stop_fd, next) == LINE_STOPPED)
            return NNG_ECANCELED;
    }
}

bool conn_was_shed(const struct conn *c)
{
    return c->shed;
}

int conn_ready(struct conn *c, int64_t deadline_ms, struct err *err)
{
    sigset_t all, before;
    c->shed = false;
    if (conn_check_process(err) < 0)
        return -1;
    if (stop_is_set(c))
        return interrupted(c->stop_fd, err);
    if (c->line && !line_is_lost(c->line))
        return 0;
    conn_hang_up(c);
    if (within_overdue() >= WITHIN_OVERDUE_MAX)
        return err_set(err, ERR_INTERNAL,
                       "%u connections of this process do not end, as happens with nng %s: start "
                       "the process anew",
                       within_overdue(), nng_version());
    atomic_store(&nng_process, getpid());
    /* Threads inherit the mask: the program's signals must not end up on nng's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = dial_patiently(c, deadline_ms);
    if (rc == NNG_ECANCELED)
        interrupted(c->stop_fd, err);
    else if (rc)
        unreachable(c, rc, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? -1 : 0;
}

/* ---- one exchange ---- */

static int failed(struct conn *c, int rc, enum conn_fate fate, struct err *err)
{
    /* An answer that comes yet is dropped, the connection stays good. */
    if (rc == NNG_ECANCELED)
        return interrupted(c->stop_fd, err);
    bool known = !c->line || line_has_heard(c->line);
    conn_hang_up(c);
    if (rc == NNG_ETIMEDOUT)
        return err_set(err, ERR_TIMEOUT, "%s did not answer in time", c->url);
    if (rc == NNG_ENOMEM)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (!known)
        return hung_up(c, rc, err);
    return err_set(err, ERR_UNREACHABLE, "the connection to %s was lost before %s (%s)", c->url,
                   fate == CONN_SENT ? "the answer came" : "the request was sent",
                   nng_strerror(rc));
}

int conn_exchange(struct conn *c, struct bytes frame, int64_t deadline_ms, struct bytes *ret_answer,
                  enum conn_fate *ret_fate, struct err *err)
{
    *ret_fate = CONN_NOT_SENT;
    if (conn_ready(c, deadline_ms, err) < 0)
        return -1;
    bool sent;
    int rc = line_send(c->line, frame, c->stop_fd, deadline_ms, &sent);
    if (sent)
        *ret_fate = CONN_SENT;
    if (!rc)
        rc = line_receive(c->line, c->stop_fd, deadline_ms, ret_answer);
    return rc ? failed(c, rc, *ret_fate, err) : 0;
}
