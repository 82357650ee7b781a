/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Three faults of nng before 1.8, two of them its issues 1543 and 1813, each of which would let one
 * client, from any host, end the service for all.
 *
 * Hanging up at once: nng greets whoever connects.  EPIPE is "closed" to it, as when it is itself
 * that closes, and a listener that hears "closed" of a greeting takes nobody in ever again, while
 * new connections stay in its queue.  ECONNRESET ends that connection alone.
 *
 * Leaving in the middle of an answer: that a part of it has gone is told to another thread, which
 * sends the rest.  When the connection is closed in between, nobody is told that nothing more is
 * sent, and the one thread that frees connections waits for that for ever.  So nng is told that
 * nothing could be sent, has its poller call again when there is room, and what has gone is skipped
 * then.
 *
 * Leaving, or being shut out, while sending: it is the same between the head of a frame and its
 * body, when the connection is closed by us or because an answer could not be sent.  So we do not
 * close it, and an answer that cannot be sent has gone, as far as nng knows: whoever reads comes
 * upon the end, and closes.  Left is what is closed while an answer waits for room, and the other
 * end resets the connection, just then.
 *
 * A connection's own lock is held over each call for it. */
#include "agentd/nng_mends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <nng/nng.h>

#include "common/clock.h"

enum {
    SOCKETS = 1 << 17, /* LimitNOFILE of the unit */
    PARTS = 16,
    GREETING = 8,     /* bytes; every answer has more */
    IN_VAIN_MS = 900, /* less than listen.c's tick */
};

/* By descriptor.  These are used again, so each says of which socket it is: by its cookie. */
static struct mend {
    uint64_t sending;
    size_t gone; /* of the message that is being sent */
    _Atomic uint64_t ended;
    _Atomic int64_t ended_ms;
} mends[SOCKETS];

static bool in_range(int fd)
{
    return fd >= 0 && fd < SOCKETS;
}

static bool cookie(int fd, uint64_t *ret)
{
    socklen_t n = sizeof *ret;
    return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, ret, &n) == 0;
}

/* ---- ending ---- */

static _Thread_local struct {
    bool wanted, done;
} hang_up;

static bool has_ended(int fd)
{
    uint64_t is, ended = in_range(fd) ? atomic_load(&mends[fd].ended) : 0;
    if (!ended)
        return false;
    if (cookie(fd, &is) && is == ended)
        return true;
    atomic_store(&mends[fd].ended, 0); /* of a socket before it */
    return false;
}

ssize_t readv(int fd, const struct iovec *v, int n)
{
    return has_ended(fd) ? 0 : syscall(SYS_readv, fd, v, n);
}

/* The shutdown wakes nng's poller; it fails when the other end has reset the connection, which does
 * so as well. */
static bool end(int fd)
{
    uint64_t is;
    if (!in_range(fd) || !cookie(fd, &is))
        return false;
    if (has_ended(fd))
        return clock_mono_ms() - mends[fd].ended_ms < IN_VAIN_MS;
    atomic_store(&mends[fd].ended_ms, clock_mono_ms());
    atomic_store(&mends[fd].ended, is);
    shutdown(fd, SHUT_RD);
    return true;
}

/* nng has no function that tells a connection's descriptor, but asks for its options here, and does
 * not close it meanwhile. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    if (hang_up.wanted)
        hang_up.done = end(fd);
    return (int)syscall(SYS_getsockopt, fd, level, name, value, size);
}

bool nng_hang_up(uint32_t id)
{
    const nng_pipe pipe = {.id = id};
    bool no_delay;
    uint64_t pid;
    hang_up.wanted = true;
    hang_up.done = false;
    if (nng_pipe_get_bool(pipe, NNG_OPT_TCP_NODELAY, &no_delay) != 0)
        nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid);
    hang_up.wanted = false;
    return hang_up.done;
}

/* ---- sending ---- */

static size_t size_of(const struct msghdr *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        n += m->msg_iov[i].iov_len;
    return n;
}

static size_t gone_of(const struct mend *s, int fd)
{
    uint64_t is;
    return s->gone && cookie(fd, &is) && is == s->sending ? s->gone : 0;
}

static void skip(struct iovec *v, size_t n, size_t gone)
{
    for (size_t i = 0; i < n && gone; i++) {
        size_t part = gone < v[i].iov_len ? gone : v[i].iov_len;
        v[i].iov_base = (char *)v[i].iov_base + part;
        v[i].iov_len -= part;
        gone -= part;
    }
}

/* Nobody else here sends to such by sendmsg(). */
static bool is_nngs(int fd)
{
    int flags = fcntl(fd, F_GETFL), type = 0;
    socklen_t n = sizeof type;
    return flags >= 0 && flags & O_NONBLOCK &&
           syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr m = *message;
    struct iovec left[PARTS];
    bool plain = !in_range(fd) || m.msg_controllen || m.msg_iovlen > PARTS;
    struct mend none = {0}, *s = plain ? &none : &mends[fd];
    size_t gone = gone_of(s, fd), size = size_of(message);
    if (gone) {
        for (size_t i = 0; i < m.msg_iovlen; i++)
            left[i] = m.msg_iov[i];
        skip(left, m.msg_iovlen, gone);
        m.msg_iov = left;
    }
    ssize_t n = syscall(SYS_sendmsg, fd, &m, flags);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return n;
    s->gone = 0;
    if (n < 0) {
        int error = errno;
        if (!plain && size > GREETING && is_nngs(fd) && end(fd))
            return (ssize_t)size;
        errno = error == EPIPE ? ECONNRESET : error;
        return -1;
    }
    gone += (size_t)n;
    if (gone < size && !plain && is_nngs(fd) && cookie(fd, &s->sending)) {
        s->gone = gone;
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)gone;
}
