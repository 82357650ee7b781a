/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sendmsg() as nng 1.5 can bear it.  Being the program's, it is what all of its libraries call; who
 * sends over blocking sockets, or datagrams, sees no difference but the first below.
 *
 * - It calls EPIPE "closed", as when it is itself that closes.  It greets whoever connects, and a
 *   listener that hears "closed" of a greeting takes nobody in ever again, while new connections
 *   stay in its queue: one client that hangs up at once, from any host, would end the service.
 *   ECONNRESET ends that connection alone.
 * - A part of a message that has gone is told to a thread of its own, which sends the rest.  When
 *   the connection has been closed in between, nobody is told that nothing more is sent, and the
 * one thread that frees connections waits for that for ever (its issues 1543 and 1813): one client
 *   that leaves in the middle of an answer would end the service, too.  So it is told that nothing
 *   could be sent, has the poller call again when there is room, and what has gone is skipped then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SOCKETS = 1 << 16, PARTS = 16 };

/* What has gone of the message that is being sent; of: the socket's cookie, since descriptors are
 * used again.  A connection's own lock is held over each call for it. */
static struct begun {
    uint64_t of;
    size_t done;
} all[SOCKETS];

static bool cookie(int fd, uint64_t *ret)
{
    socklen_t n = sizeof *ret;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret, &n) == 0;
}

static size_t size_of(const struct msghdr *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->msg_iovlen; i++)
        n += m->msg_iov[i].iov_len;
    return n;
}

static size_t gone_of(const struct begun *b, int fd)
{
    uint64_t is;
    return b->done && cookie(fd, &is) && is == b->of ? b->done : 0;
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

/* Can be, of a socket on which poll() says when there is room again? */
static bool keep(struct begun *b, int fd, size_t done)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || !(flags & O_NONBLOCK) || !cookie(fd, &b->of))
        return false;
    b->done = done;
    return true;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr m = *message;
    struct iovec left[PARTS];
    bool whole = fd < 0 || fd >= SOCKETS || m.msg_controllen || m.msg_iovlen > PARTS;
    struct begun none = {0}, *b = whole ? &none : &all[fd];
    size_t gone = gone_of(b, fd), size = size_of(message);
    if (gone) {
        for (size_t i = 0; i < m.msg_iovlen; i++)
            left[i] = m.msg_iov[i];
        skip(left, m.msg_iovlen, gone);
        m.msg_iov = left;
    }
    ssize_t n = syscall(SYS_sendmsg, fd, &m, flags);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return n;
    b->done = 0;
    if (n < 0) {
        if (errno == EPIPE)
            errno = ECONNRESET;
        return n;
    }
    gone += (size_t)n;
    if (gone < size && !whole && keep(b, fd, gone)) {
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)gone;
}
