/* SPDX-License-Identifier: GPL-3.0-or-later */
/* held.h: requests held back until something happens: who waits for what, for how long
 *
 * An operation that has nothing to say yet holds its call: it names what may change that (keys) and
 * how long it has.  It is resumed once, from the loop, after one of these has happened, the time is
 * up, or the broker stops.  Belongs to the loop.
 */
#ifndef AGENTD_HELD_H
#define AGENTD_HELD_H

#include "agentd/dispatch.h"

struct held;

/* What may happen. */
enum held_kind {
    HELD_JOB,   /* something to a job with this job_id, array id or het id */
    HELD_USER,  /* something to a job of this uid */
    HELD_ALL,   /* something to any job; number 0 */
    HELD_TABLE, /* a load was answered; number 0 */
};

enum held_why {
    HELD_HAPPENED,
    HELD_EXPIRED,  /* the time is up */
    HELD_STOPPING, /* the broker ends: say so, the client comes again */
};

/* A call that is held: part of the operation's own state. */
struct hold {
    struct call *call;
    int64_t deadline_ms; /* of the request as a whole */
    /* private to held.c */
    struct held *held;
    struct sd_event_source *timer;
    struct held_sub *subs;
    size_t n_subs, more;     /* count as ids that the user's held requests name */
    struct hold *next, **at; /* among all that are held */
    struct hold *next_ready;
    bool ready;
    enum held_why why;
    void (*resume)(struct hold *h, enum held_why why);
};

struct held *held_new(struct agentd *a, struct err *err);
/* Resumes all with HELD_STOPPING; nothing can be held any more. */
void held_stop(struct held *w);
void held_free(struct held *w);
size_t held_count(const struct held *w);

/* Sets up a hold that may be used over and over until its deadline. */
void hold_init(struct hold *h, struct call *c, int64_t wait_ms,
               void (*resume)(struct hold *h, enum held_why why));
/* Holds the call, until the deadline or, when retry_ms is not 0, so long at most (that is
 * HELD_HAPPENED).  ERR_BUSY past the caps of conf.def: then it is not held. */
int hold_begin(struct hold *h, int64_t retry_ms, struct err *err);
/* What it waits for, once it is held; the same as the one before costs nothing.  ERR_BUSY past the
 * user's cap and without memory: then it is not held any more. */
int hold_for(struct hold *h, enum held_kind kind, uint32_t number, struct err *err);
/* What it keeps in memory while it is held is as much as n ids: they count, be there fewer that it
 * waits for.  After the last hold_for(); ERR_BUSY as there. */
int hold_weighs(struct hold *h, size_t n, struct err *err);

/* Resumes the user's with HELD_STOPPING, before it returns. */
struct user;
void held_let_go(struct held *w, const struct user *u);

/* That has happened: everybody who waits for it is resumed soon, never before this returns. */
void held_happened(struct held *w, enum held_kind kind, uint32_t number);
/* Is anybody held who may wait for it? */
bool held_awaits(const struct held *w, enum held_kind kind, uint32_t number);
/* Grows with that, and sometimes without.  What happens between a look and hold_for() wakes nobody:
 * whoever looks in several turns of the loop compares, and looks again. */
uint64_t held_news(const struct held *w, enum held_kind kind, uint32_t number);

#endif
