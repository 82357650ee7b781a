/* SPDX-License-Identifier: GPL-3.0-or-later */
/* live.h: what a new record of a job means: events, final records for the journal, wake-ups
 *
 * watch.c tells what the table was and is; from here it goes to events.c, journal.c and held.c.
 * Belongs to the loop.
 */
#ifndef AGENTD_LIVE_H
#define AGENTD_LIVE_H

#include "agentd/events.h"

struct agentd;
struct live;

struct live *live_new(struct agentd *a, struct err *err);
void live_free(struct live *l);

/* A record came in place of old (NULL: there was none).  Both are borrowed. */
void live_saw(struct live *l, const struct jobrec *old, struct jobrec *rec);
/* slurmctld has no record of the job any more. */
void live_gone(struct live *l, const struct jobrec *old);
/* The watcher does not see it any more, which says nothing: PrivateData=jobs hides some. */
void live_hidden(struct live *l, const struct jobrec *old);
/* What a report ends with. */
struct live_load {
    int64_t as_of;         /* when the whole table was loaded last, Unix seconds; 0: not yet */
    int64_t min_job_age_s; /* how long slurmctld remembers an ended job; 0: for ever */
    bool sees_all;         /* no job is hidden: absence means something */
};
void live_loaded(struct live *l, const struct live_load *load);
/* What it was shown goes to the journal now, not with the next load. */
void live_flush(struct live *l);
/* Now and then: a journal that does not answer keeps nobody waiting for an end. */
void live_tick(struct live *l); /* NULL is fine */
/* Has there been a load, and are the ends it showed in the journal?  Before that a cursor of an
 * earlier broker cannot be served. */
bool live_ready(const struct live *l);

/* Ends with numbers up to this one are in the events or in an earlier broker's. */
int64_t live_told(const struct live *l);
const struct events *live_events(const struct live *l);

#endif
