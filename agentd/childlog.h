/* SPDX-License-Identifier: GPL-3.0-or-later */
/* childlog.h: what workers and the watcher write to stderr, as lines of the daemon's log
 *
 * A worker is its user's, so its lines are prefixed, made printable and rate-limited: nobody can
 * forge a line of the daemon or fill the log.  Belongs to the loop.
 */
#ifndef AGENTD_CHILDLOG_H
#define AGENTD_CHILDLOG_H

#include <stddef.h>

#include "common/err.h"

struct sd_event;
struct childlog;

/* Takes fd.  who is copied: "worker uid=1001 role=file". */
struct childlog *childlog_new(struct sd_event *loop, int fd, const char *who, struct err *err);
/* The last two lines that are not empty, of what has come so far, made printable; "" when there are
 * none, or l is NULL. */
void childlog_last(struct childlog *l, char *out, size_t size);
/* Writes what has come so far, then closes. */
void childlog_free(struct childlog *l);

#endif
