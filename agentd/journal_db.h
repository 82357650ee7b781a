/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal_db.h: the journal's file (only journal_db.c has sqlite3.h)
 *
 * One writer, which flock() on a file beside it makes sure of.  Belongs to journal.c's thread.
 */
#ifndef AGENTD_JOURNAL_DB_H
#define AGENTD_JOURNAL_DB_H

#include "agentd/journal.h"

struct agentd_conf;
struct journal_db;

/* How things stand. */
struct journal_state {
    char trouble[500]; /* why it cannot be written; "" when it can */
    int64_t newest;    /* numbers from now on are above it; 0 while the file was never opened */
    int64_t begins;    /* what ended before is not, or not all, in it; 0 likewise */
};

/* Opens or makes the file; what is wrong with it is in the state.  ERR_INTERNAL: no memory. */
struct journal_db *journal_db_new(const struct agentd_conf *conf, struct err *err);
void journal_db_free(struct journal_db *db); /* NULL is fine */
const struct journal_state *journal_db_state(const struct journal_db *db);

/* begin, any number of puts, commit.  After a failure of one of them nothing of it is kept, and it
 * must begin anew. */
int journal_db_begin(struct journal_db *db, struct err *err);
/* Sets row->number and known, which count when the commit has succeeded. */
int journal_db_put(struct journal_db *db, struct journal_row *row, struct err *err);
int journal_db_commit(struct journal_db *db, struct err *err);

/* A find under way. */
struct journal_finding {
    struct journal_query query;
    struct jobid *ids; /* query.n_ids of them; are sorted */
    int64_t at;        /* numbers up to this have been looked at */
    bool started;
    struct journal_row *rows; /* what was found: references, in the caller's hands */
    size_t n, room, bytes;
    bool more;
};

/* Looks through a part of the rows; *ret_again when there is a further part.  Not between begin and
 * commit. */
int journal_db_find(struct journal_db *db, struct journal_finding *f, bool *ret_again,
                    struct err *err);

/* When the next chore is due, in milliseconds of clock_mono_ms(): a try to open the file that could
 * not be used, or a small step of pruning. */
int64_t journal_db_due(const struct journal_db *db);
void journal_db_chore(struct journal_db *db);

#endif
