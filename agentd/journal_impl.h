/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal_impl.h: what journal_db.c (the file) and journal_rows.c (what is in it) share */
#ifndef AGENTD_JOURNAL_IMPL_H
#define AGENTD_JOURNAL_IMPL_H

#include <limits.h>
#include <sqlite3.h>

#include "agentd/journal_db.h"

enum {
    JOURNAL_RETRY_MS = 10000,
    JOURNAL_FIND_MS = 10000, /* a find that takes longer is given up */
    JOURNAL_SLICE_MS = 20,   /* of one find, before others have a turn */
};

enum journal_statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_PROBE,
    ST_ALIVE,
    ST_SAW,
    ST_SEEN,
    ST_FORGET,
    ST_KNOWN,
    ST_DELETE,
    ST_INSERT,
    ST_INSERT_RECORD,
    ST_NAMED,
    ST_ONE,
    ST_OF_USER,
    ST_OF_ALL,
    ST_FIRST,
    ST_FIRST_SINCE,
    ST_OLDEST,
    ST_BEGINS,
    ST_REQUEST_GET,
    ST_REQUEST_PUT,
    ST_REQUESTS_KEPT,
    ST_REQUESTS_OLDEST,
    ST_REQUESTS_OPEN,
    ST_REQUESTS_PRUNE,
    ST_STAGING_PUT,
    ST_STAGING_OPEN,
    ST_STAGING_JOB,
    ST_STAGING_PRUNE,
    ST_SEQUENCE,
    ST_COUNT,
};

struct journal_db {
    char path[PATH_MAX], lock_path[PATH_MAX];
    int64_t days, max_rows;
    int64_t max_requests; /* of one user */

    sqlite3 *sq; /* NULL: not open */
    sqlite3_stmt *st[ST_COUNT];
    struct wire_out *out;
    int lock_fd;
    bool no_writing;     /* the last write failed, but it can be read */
    int64_t retry_ms;    /* not open, or no_writing: the next try */
    int64_t deadline_ms; /* of the statement that runs; 0: none */

    int64_t rows;           /* in the table */
    int64_t begun_rows;     /* the same when the transaction began */
    int64_t put_number;     /* the highest of this transaction */
    int64_t prune_ms;       /* the next step */
    int64_t day_ms;         /* the end of this day of pruning by age */
    int64_t day_left;       /* rows that may still go until then */
    int64_t day_requests;   /* and 1 more than so many requests; 0: not counted yet */
    int64_t bad_said_ms;    /* when a bad row was last spoken of */
    int64_t sequence;       /* of changes to requests, as committed */
    int64_t begun_requests; /* those of this transaction */
    struct journal_state state;
};

/* Notes what is wrong, fills err and returns -1.  After write_failed() the transaction is gone. */
int journal_write_failed(struct journal_db *db, int rc, struct err *err);
int journal_read_failed(struct journal_db *db, int rc, struct err *err);
/* The file is not usable, for the reason that is known. */
int journal_fail(const struct journal_db *db, struct err *err);

/* Resets a statement for its next use. */
void journal_done(sqlite3_stmt *st);
/* Runs one that gives no rows, with v as its first parameter or with those that are bound. */
int journal_run(struct journal_db *db, enum journal_statement s);
int journal_run_with(struct journal_db *db, enum journal_statement s, int64_t v);
/* The number in its first row; 0 when there is none. */
int journal_number(sqlite3_stmt *st, int64_t *ret);
/* Text of a row; "" for none. */
const char *journal_column(sqlite3_stmt *st, int i);

/* Which journal is it?  A copy becomes another one.  Gives an SQLite code. */
int journal_db_identify(struct journal_db *db);
/* After a commit: what a copy of the file will lack. */
void journal_db_mark(struct journal_db *db);

#endif
