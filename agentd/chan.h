/* SPDX-License-Identifier: GPL-3.0-or-later */
/* chan.h: frames between processes of agentd over a stream socketpair
 *
 * A frame is a struct chan_head in the host's own byte order (both ends are of one build), then
 * `size` bytes of one msgpack body.  code is 0, or an error of errors.def and then the body is an
 * `error`.  The far end is not trusted: sizes are checked before anything is allocated.
 */
#ifndef AGENTD_CHAN_H
#define AGENTD_CHAN_H

#include <stdint.h>

#include "common/msg.h"

/* Replies are a little larger than the requests they answer. */
enum { CHAN_MAX_BODY = WIRE_MAX_FRAME + (1 << 20) };

struct chan_head {
    uint32_t size;   /* of the body */
    uint32_t serial; /* of the request; echoed in its answer */
    uint32_t op;     /* worker_ops.def; watcher frames: 0 */
    uint32_t code;   /* answers: 0 or an error */
};

/* The blocking end: worker and watcher, one thread.  1 with *ret_body (free()d by the caller), 0
 * when the broker has gone, -1 with err. */
int chan_read(int fd, struct chan_head *ret_head, uint8_t **ret_body, struct err *err);
int chan_write(int fd, const struct chan_head *head, struct bytes body, struct err *err);

/* The broker's end: never blocks, belongs to the loop. */
struct chan;
/* A whole frame has come; body is borrowed until the call returns.  The callee may chan_free(). */
typedef void (*chan_frame_fn)(void *arg, const struct chan_head *head, struct bytes body);
/* The far end has gone or sent what is no frame (why says which).  The callee must chan_free(). */
typedef void (*chan_down_fn)(void *arg, const char *why);

struct sd_event;
/* Takes fd, on success and failure alike. */
struct chan *chan_new(struct sd_event *loop, int fd, chan_frame_fn on_frame, chan_down_fn on_down,
                      void *arg, struct err *err);
void chan_free(struct chan *c);
/* Copies the body into the send queue; at most 32 MiB wait there, else ERR_BUSY. */
int chan_send(struct chan *c, const struct chan_head *head, struct bytes body, struct err *err);

#endif
