/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nng is told of a connection that has ended.
 *
 * nng 1.5 calls EPIPE "closed", as it does when it is itself that closes.  It greets whoever
 * connects, and a listener that hears "closed" of a greeting takes nobody in ever again, while new
 * connections stay in its queue: one client that hangs up at once, from any host, would end the
 * service.  What "connection reset" says of a greeting ends that connection alone, as later
 * versions have it.
 *
 * Being the program's, this sendmsg() is what all of its libraries call. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t n = syscall(SYS_sendmsg, fd, message, flags);
    if (n < 0 && errno == EPIPE)
        errno = ECONNRESET;
    return n;
}
