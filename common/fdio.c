/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/fdio.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int fdio_read_full(int fd, void *buf, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = read(fd, (char *)buf + done, n - done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        if (r == 0) {
            if (done == 0)
                return 0;
            errno = EPIPE;
            return -1;
        }
        done += (size_t)r;
    }
    return 1;
}

int fdio_send_full(int fd, const void *buf, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t r = send(fd, (const char *)buf + done, n - done, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -1;
        done += (size_t)r;
    }
    return 0;
}

int fdio_send_both(int fd, const void *head, size_t n_head, const void *body, size_t n_body)
{
    struct iovec parts[] = {{(void *)head, n_head}, {(void *)body, n_body}};
    const struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t r;
    do
        r = sendmsg(fd, &msg, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -1;
    size_t done = (size_t)r;
    if (done < n_head)
        return fdio_send_full(fd, (const char *)head + done, n_head - done) < 0 ||
                       fdio_send_full(fd, body, n_body) < 0
                   ? -1
                   : 0;
    done -= n_head;
    return done < n_body ? fdio_send_full(fd, (const char *)body + done, n_body - done) : 0;
}

void fdio_ring(int fd)
{
    const uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof one); /* full: it rings already */
    (void)ignored;
}

void fdio_hush(int fd)
{
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
}

void fdio_close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}
