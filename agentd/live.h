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
/* A load is whole. */
void live_loaded(struct live *l);
/* Has there been a load, and are the ends it showed in the journal?  Before that a cursor of an
 * earlier broker cannot be served. */
bool live_ready(const struct live *l);

const struct events *live_events(const struct live *l);

#endif
