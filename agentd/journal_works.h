/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal_works.h: what the loop gives the journal's thread to do, and the queues of it
 *
 * For journal.c alone, which keeps them under its lock.
 */
#ifndef AGENTD_JOURNAL_WORKS_H
#define AGENTD_JOURNAL_WORKS_H

#include "agentd/journal_db.h"

/* Those before WORK_FIND write. */
enum work_kind {
    WORK_PUT,
    WORK_SAW,
    WORK_ALIVE,
    WORK_BEGIN,
    WORK_NOTE,
    WORK_STAGING_NOTE,
    WORK_FIND,
    WORK_SEEN,
    WORK_GET,
    WORK_OPEN,
    WORK_STAGING_FIND,
};

/* What is asked, and then its answer. */
struct work {
    struct work *next;
    enum work_kind kind;
    journal_fn fn; /* NULL: nobody wants to know */
    void *arg;
    struct arena arena;               /* FIND: the query's strings and ids */
    struct journal_finding finding;   /* PUT, SAW: its rows alone */
    int64_t alive, whole;             /* ALIVE */
    struct journal_requests requests; /* BEGIN, NOTE, GET, OPEN */
    struct journal_staging staging;   /* STAGING_NOTE, STAGING_FIND */
    size_t bytes;                     /* as counted in the queue */
    bool again;                       /* FIND, SEEN: there is a further part */
    int64_t commit_us;                /* of the first of a transaction: how long it took */
    struct err err;
};

struct works {
    struct work *first, **tail;
    size_t works, rows, bytes;
};

/* Questions: each user's, and users take turns. */
struct askers {
    struct asker *first, **tail;
};

/* NULL without memory. */
struct work *work_new(enum work_kind kind, journal_fn fn, void *arg);
void work_free(struct work *w);
bool work_writes(const struct work *w);
/* That it writes. */
size_t work_rows(const struct work *w);
/* Somebody waits for the answer, and comes again. */
bool work_is_a_users(const struct work *w);

void works_init(struct works *l);
void works_add(struct works *l, struct work *w);
/* Gives all that was in it, the first with the others behind it. */
struct work *works_take(struct works *l);
/* It is not empty. */
struct work *works_take_one(struct works *l);

void askers_init(struct askers *l);
/* The next question, of the next user; NULL when there is none. */
struct work *askers_next(struct askers *l);
/* False: the user has too many, unless it is asked again. */
bool askers_add(struct askers *l, struct work *w, bool again);

#endif
