/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conn.h: conn - one connection to a server, one frame and its answer at a time (only file with
 * nng)
 *
 * Used by session.c.  Belongs to one thread.  It connects when it must and does not reconnect by
 * itself: an idle client would else hold connections that the server closes again and again.
 */
#ifndef CLIENT_CONN_H
#define CLIENT_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/wire.h"

struct conn;

/* url: address_parse()'s; copied.  stop_fd: what waits in here ends when it becomes readable, see
 * handle.h; -1 for none; borrowed.  NULL without memory or descriptors. */
struct conn *conn_new(const char *url, int stop_fd);
/* After a fork it frees memory and leaves nng alone, which would abort. */
void conn_free(struct conn *c);

/* Connects unless it is connected.  deadline_ms is of clock_mono_ms().  ERR_UNREACHABLE names the
 * address and what the host said; ERR_INTERRUPTED, with stop_fd read empty; ERR_INVALID in a forked
 * child. */
int conn_ready(struct conn *c, int64_t deadline_ms, struct err *err);

/* Did the last one fail because the server hung up before it had said anything, as servers do that
 * have too many clients just now? */
bool conn_was_shed(const struct conn *c);

/* Until conn_ready() or conn_exchange(), which connect anew. */
void conn_hang_up(struct conn *c);

/* Connected, as far as one can know, and by this process. */
bool conn_is_up(struct conn *c);

enum conn_fate {
    CONN_NOT_SENT, /* the server has certainly not got the frame */
    CONN_SENT,     /* it may have */
};

/* Sends a frame and waits for the answer, whose bytes the caller frees.  Connects first.  On
 * failure *ret_fate is set, too; ERR_TIMEOUT or ERR_UNREACHABLE, and the connection is given up;
 * ERR_INTERRUPTED as above, and only the answer is given up. */
int conn_exchange(struct conn *c, struct bytes frame, int64_t deadline_ms, struct bytes *ret_answer,
                  enum conn_fate *ret_fate, struct err *err);

/* Waits for so long.  ERR_INTERRUPTED as above. */
int conn_pause(int stop_fd, int64_t ms, struct err *err);

/* ERR_INVALID in a process that has forked since nng was first used in it. */
int conn_check_process(struct err *err);

#endif
