/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The blocking half of chan.h. */
#include "agentd/chan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/fdio.h"

int chan_read(int fd, struct chan_head *ret_head, uint8_t **ret_body, struct err *err)
{
    struct chan_head head;
    int rc = fdio_read_full(fd, &head, sizeof head);
    if (rc == 0)
        return 0;
    if (rc < 0)
        return err_errno(err, ERR_PROTOCOL, "reading a frame");
    if (head.size > CHAN_MAX_BODY)
        return err_set(err, ERR_PROTOCOL,
                       "a frame of %u bytes is announced, at most %d are allowed", head.size,
                       CHAN_MAX_BODY);
    /* One more, so that an empty body is no null pointer. */
    AUTO(free) uint8_t *body = malloc((size_t)head.size + 1);
    if (!body)
        return err_set(err, ERR_LIMIT, "no memory for a frame of %u bytes", head.size);
    if (head.size) {
        rc = fdio_read_full(fd, body, head.size);
        if (rc == 0)
            errno = EPIPE;
        if (rc <= 0)
            return err_errno(err, ERR_PROTOCOL, "reading a frame's body");
    }
    *ret_head = head;
    *ret_body = TAKE(body);
    return 1;
}

int chan_write(int fd, const struct chan_head *head, struct bytes body, struct err *err)
{
    struct chan_head h = *head;
    if (body.n > CHAN_MAX_BODY)
        return err_set(err, ERR_LIMIT, "a frame of %zu bytes, at most %d are allowed", body.n,
                       CHAN_MAX_BODY);
    h.size = (uint32_t)body.n;
    if (fdio_send_both(fd, &h, sizeof h, body.p, body.n) < 0)
        return err_errno(err, ERR_PROTOCOL, "writing a frame");
    return 0;
}
