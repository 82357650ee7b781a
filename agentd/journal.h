/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal.h: what outlives the broker: the final record of each job that was seen, and those that
 * had not ended
 *
 * SQLite (state_dir/journal.db, mode 0600) on a thread of its own; the loop posts work and gets the
 * answers back on the loop.  What is to be written is so in the order it was posted, before any
 * question; what is posted together is one transaction.  Of questions, long ones are done in parts,
 * and users take turns.  What is older than history_days by its end, and what is more than
 * history_rows, goes in small steps.  All functions belong to the loop.
 *
 * journal.c is the queue and the thread, journal_db.c the file, journal_rows.c what is in it.
 */
#ifndef AGENTD_JOURNAL_H
#define AGENTD_JOURNAL_H

#include "agentd/jobrec.h"

struct agentd_conf;
struct sd_event;
struct journal;

/* Opens or makes it.  A file that cannot be used is no error: then journal_trouble() says why, each
 * work fails, and opening is tried again now and then.  ERR_INTERNAL: no memory, no thread. */
struct journal *journal_new(struct sd_event *loop, const struct agentd_conf *conf, struct err *err);
/* Does what has been posted, for at most 5 s, and calls back for it; then closes. */
void journal_free(struct journal *j);
/* Why nothing can be kept at the moment; NULL when it can.  Good until the next call. */
const char *journal_trouble(struct journal *j);
/* Rows that wait to be written. */
size_t journal_waiting(struct journal *j);
/* The highest number given to a final record that is on disk: later ones are above it, also those
 * of a journal that is made in place of a lost one.  0: the file was never opened. */
int64_t journal_newest(const struct journal *j);
/* What ended before this (Unix seconds) is not, or not all, in it. */
int64_t journal_begins(const struct journal *j);
/* The same with regard to jobs that ended, and were forgotten by slurmctld, while nobody watched.
 */
int64_t journal_whole(const struct journal *j);

/* A final record, with the number it got: later ones have higher numbers, none is used again. */
struct journal_row {
    int64_t number;
    int64_t time;       /* of a find: when it ended, or was missed */
    bool known;         /* of a put: the end of this run was in it before, with that number */
    struct jobrec *rec; /* borrowed until the callback returns */
};

/* Called once for each work, from the loop; before the work's function returns only without memory.
 * rows of a put are in the order asked; err ERR_NONE: they are on disk.  ERR_BUSY: too much waits,
 * or the broker is stopping. */
typedef void (*journal_fn)(void *arg, const struct journal_row *rows, size_t n, bool more,
                           const struct err *err);
/* Keeps the final records of n jobs (references are taken).  A run of a job has one; one with phase
 * UNKNOWN gives way to one that knows more, and the row gets a new number. */
void journal_put(struct journal *j, struct jobrec *const *recs, size_t n, journal_fn fn, void *arg);

/* Keeps jobs that have not ended, in place of what was kept of them; their end takes them out
 * (journal_put()), as does a record here that has ended. */
void journal_saw(struct journal *j, struct jobrec *const *recs, size_t n, journal_fn fn, void *arg);
/* Gives what is kept of jobs that have not ended, by job_id; numbers are 0. */
void journal_seen(struct journal *j, journal_fn fn, void *arg);
/* All jobs were seen at that time (Unix seconds).  When that was not so for as long as slurmctld
 * remembers an ended job (0: for ever), some may have ended unseen: gives whether. */
bool journal_loaded(struct journal *j, int64_t as_of, int64_t min_job_age_s);
/* When that was last noted, some seconds behind at most; 0: never. */
int64_t journal_alive(const struct journal *j);

struct journal_query {
    uint32_t asker;          /* who takes turns with others */
    const struct jobid *ids; /* those named by one of these; n_ids 0: all */
    size_t n_ids;
    struct job_filter filter;
    int64_t since; /* ended at or after this; 0: whenever */
    int64_t after; /* with a number above this */
    size_t limit;  /* rows; there may be more */
    size_t bytes;  /* of their packed bodies, about */
};
/* Gives matching rows in the order of their numbers, source set to journal; more: there may be rows
 * after the last one.  Copies the query, its ids and strings. */
void journal_find(struct journal *j, const struct journal_query *q, journal_fn fn, void *arg);

#endif
