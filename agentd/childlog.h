/* SPDX-License-Identifier: GPL-3.0-or-later */
/* childlog.h: what workers and the watcher write to stderr, as lines of the daemon's log
 *
 * A worker is its user's, so its lines are prefixed, made printable and rate-limited: nobody can
 * forge a line of the daemon or fill the log.  Belongs to the loop.
 */
#ifndef AGENTD_CHILDLOG_H
#define AGENTD_CHILDLOG_H

#include "common/err.h"

struct sd_event;
struct childlog;

/* Takes fd.  who is copied: "worker uid=1001 role=file". */
struct childlog *childlog_new(struct sd_event *loop, int fd, const char *who, struct err *err);
/* Writes what has come so far, then closes. */
void childlog_free(struct childlog *l);

#endif
