/* SPDX-License-Identifier: GPL-3.0-or-later */
/* line.h: line - one nng connection and one exchange at a time on it (only file with nng but for
 * conn.c, which puts nng's error numbers into words)
 *
 * Used by conn.c.  Belongs to one thread.  Each call has a deadline that holds whatever nng does:
 * nng before 1.8 may wait for itself for ever when a connection goes in the middle of an exchange.
 * What does not end is left to itself then, see within.h.
 */
#ifndef CLIENT_LINE_H
#define CLIENT_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

struct line;

/* Why a wait is over. */
enum line_wake { LINE_WOKEN, LINE_STOPPED, LINE_TIMED_OUT };

/* Until wake_fd or stop_fd is readable; neither is read.  -1 is no descriptor. */
enum line_wake line_wait(int wake_fd, int stop_fd, int64_t deadline_ms);

/* Connects.  All of these return nng's error numbers, 0 for none; NNG_ECANCELED when stop_fd (-1:
 * none) became readable first, NNG_ETIMEDOUT after deadline_ms of clock_mono_ms().  *ret is set on
 * success only. */
int line_open(const char *url, int stop_fd, int64_t deadline_ms, struct line **ret);

/* NULL is fine. */
void line_close(struct line *l);

/* In a forked child: leaves nng alone, which would abort, and frees the rest. */
void line_forget(struct line *l);

/* Has an answer ever come on it? */
bool line_has_heard(const struct line *l);

/* Nothing can be exchanged on it any more. */
bool line_is_lost(const struct line *l);

/* A new request gives up the one before it.  NNG_ECANCELED leaves the line good, unless it is lost.
 * *ret_sent: the other side may have got it, which a failure does not exclude. */
int line_send(struct line *l, struct bytes frame, int stop_fd, int64_t deadline_ms, bool *ret_sent);
/* The bytes are the caller's to free. */
int line_receive(struct line *l, int stop_fd, int64_t deadline_ms, struct bytes *ret);

#endif
