/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stagers.h: the broker's end of the line to stage workers: each of one user, for one request
 *
 * Belongs to the loop.  Who may have how many is the caller's to see to (staging.c), and the
 * monitor's to enforce.
 */
#ifndef AGENTD_STAGERS_H
#define AGENTD_STAGERS_H

#include "agentd/monitor_proto.h"
#include "common/msg.h"

struct agentd;
struct stagers;
struct stager;

struct stagers *stagers_new(struct agentd *a);
void stagers_free(struct stagers *p); /* nobody is told */

enum stager_news {
    STAGER_PROGRESS,
    STAGER_DONE,    /* report is the last of its task; the next one may be asked */
    STAGER_FAILED,  /* err is the worker's answer to its task */
    STAGER_REFUSED, /* the monitor does not start it, err says why: the stager has gone */
    STAGER_DIED,    /* so has it */
};
/* The callee may ask the next task, or stop it. */
typedef void (*stager_fn)(void *arg, enum stager_news news, const struct stage_report *report,
                          const struct err *err);

/* Has a worker started, and asks it the first task; again: it is one that has failed before.  NULL
 * with *err when that cannot be. */
struct stager *stagers_start(struct stagers *p, uint32_t uid, const uint8_t request[REQUEST_ID],
                             uint32_t op, const struct stage_task *task, bool again, stager_fn fn,
                             void *arg, struct err *err);
int stager_ask(struct stager *t, uint32_t op, const struct stage_task *task, struct err *err);
/* It undoes what is half done, and goes; killed when that takes long.  fn is not called any more.
 */
void stager_stop(struct stager *t);

/* Is one of the request's at that, with inputs?  staging_undone() when it has ended. */
bool stagers_undo(const struct stagers *p, uint32_t uid, const uint8_t request[REQUEST_ID]);

size_t stagers_count(const struct stagers *p);
size_t stagers_of(const struct stagers *p, uint32_t uid);
/* Of these, the ones that were started again. */
size_t stagers_again_of(const struct stagers *p, uint32_t uid);
/* Bytes that they have still to move, as far as they have said. */
int64_t stagers_left_of(const struct stagers *p, uint32_t uid);

/* From the monitor. */
void stagers_spawned(struct stagers *p, const struct monitor_event *ev, int fd, int stderr_fd);
void stagers_refused(struct stagers *p, const struct monitor_event *ev);
void stagers_ended(struct stagers *p, const struct monitor_event *ev);
/* Now and then. */
void stagers_tick(struct stagers *p);

#endif
