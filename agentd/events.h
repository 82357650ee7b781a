/* SPDX-License-Identifier: GPL-3.0-or-later */
/* events.h: the newest of what has happened to jobs, in the order it was learned
 *
 * Each event has a sequence number, 1 and up, for the life of the broker; the oldest go when their
 * bytes are more than the log may have.  Belongs to the loop.
 */
#ifndef AGENTD_EVENTS_H
#define AGENTD_EVENTS_H

#include "agentd/jobrec.h"

enum event_what {
    EVENT_NEW,    /* first seen */
    EVENT_CHANGE, /* another state, reason, size ... */
    EVENT_END,    /* its final record is known, and kept */
    EVENT_LOST,   /* gone, and nobody said how it ended */
    EVENT_STATE,  /* not of the log: the present state in a snapshot */
};

struct event_entry {
    enum event_what what;
    int64_t time;   /* Unix seconds */
    int64_t number; /* END, LOST: the journal's number of the record; 0: it has none */
    char was[20];   /* base state before; "" */
    struct jobrec *rec;
};

struct events;

/* Keeps about max_bytes. */
struct events *events_new(size_t max_bytes);
void events_free(struct events *e); /* NULL is fine */
CLEANUP_FN(struct events, events_free)

/* Adds one (a reference is taken); false without memory: then the log begins anew, so that no
 * reader believes it has seen all. */
bool events_add(struct events *e, enum event_what what, const char *was, int64_t number,
                struct jobrec *rec);
/* The last one's sequence number; 0: none yet. */
uint64_t events_newest(const struct events *e);
/* Is everything after seq still there? */
bool events_reach(const struct events *e, uint64_t seq);

/* Calls fn for the events after seq, in order, until it returns non-zero: then it has not taken
 * that one.  Returns the number of the last one that was taken, or seq. */
typedef int (*events_fn)(void *arg, uint64_t seq, const struct event_entry *ev);
uint64_t events_each(const struct events *e, uint64_t seq, events_fn fn, void *arg);

/* "end" and so on. */
const char *event_word(enum event_what what);

#endif
