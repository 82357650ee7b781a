/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gate.h: gate - how many calls to slurmctld are under way, and whether more are taken
 *
 * A scheduler that has too much to do is not helped by more calls, each of which waits in one of
 * its threads.  So a number of calls are let in at a time, and when they take too long on average
 * (or are not answered), none but one at a time, which finds out when it is better.  Used by
 * worker.c.  Belongs to the loop.
 *
 * A call by itself proves nothing: a site's plugin may take its time over one user's submits.  The
 * average is a moving one over calls of all users, in which each counts for an eighth, and no call
 * for more than four times what is too long.  What a worker says is its user's word, and its user
 * may stop it: of each user one call a second counts, a long one only when none that began after it
 * was answered in time, and one that is to find out has no longer than a call may take.
 */
#ifndef AGENTD_GATE_H
#define AGENTD_GATE_H

#include "agentd/conf.h"

struct gate;
/* A place for a call of one user: let in, or to be; all zero is neither. */
struct gate_call {
    struct gate_call *next, **at; /* of those that are in */
    int64_t begun_us;
    int64_t counted_us; /* when one of these counted last; kept from call to call */
    bool inside;
    bool counts; /* such a call is short when all is well */
    bool probe;  /* came in while all others were kept out */
};

/* Borrows conf.  NULL: no memory. */
struct gate *gate_new(const struct agentd_conf *conf);
void gate_free(struct gate *g);

/* Is another call to be taken at all?  -1: not now, with advice on when. */
int gate_check(struct gate *g, int64_t now_us, struct err *err);
/* False: as many as may be are in; ask again when one leaves, and at times. */
bool gate_enter(struct gate *g, struct gate_call *c, int64_t now_us);
/* It has ended; silent: slurmctld did not answer it.  Nothing when it is not in. */
void gate_leave(struct gate *g, struct gate_call *c, bool silent, int64_t now_us);
/* To be called twice a second: calls under way that are slow already count. */
void gate_tick(struct gate *g, int64_t now_us);

struct gate_state {
    size_t calls;    /* in */
    int64_t pace_us; /* the average */
    bool slow;       /* new ones are refused */
};
struct gate_state gate_look(const struct gate *g);

#endif
