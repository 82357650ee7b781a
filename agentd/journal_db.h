/* SPDX-License-Identifier: GPL-3.0-or-later */
/* journal_db.h: the journal's file (only journal_db.c has sqlite3.h)
 *
 * One writer, which flock() on a file beside it makes sure of.  Belongs to journal.c's thread.
 */
#ifndef AGENTD_JOURNAL_DB_H
#define AGENTD_JOURNAL_DB_H

#include "agentd/journal_requests.h"
#include "agentd/journal_staging.h"
#include "common/seal.h"

struct agentd_conf;
struct journal_db;

/* How things stand. */
struct journal_state {
    char trouble[500]; /* why it cannot be written; "" when it can */
    int64_t newest;    /* numbers from now on are above it; 0 while the file was never opened */
    int64_t begins;    /* what ended before is not, or not all, in it; 0 likewise */
    int64_t alive;     /* when a whole load was last noted; 0: never */
    int64_t whole;     /* the end of the last time in which jobs may have ended unseen */
    uint8_t instance[SEAL_ID]; /* journal_instance() */
    int64_t openings;
};

/* What is asked about requests, and then the answer. */
struct journal_requests {
    journal_requests_fn fn; /* NULL: nobody wants to know */
    struct request_row *rows;
    size_t n;
    int64_t since; /* of journal_requests_open() */
    bool begun;
    struct err err; /* of this one alone: the transaction goes on */
};
/* Copies the rows; false without memory. */
bool journal_requests_init(struct journal_requests *r, const struct request_row *rows, size_t n,
                           journal_requests_fn fn);
void journal_requests_tell(const struct journal_requests *r, void *arg, const struct err *err);

/* What is asked about staging, and then the answer. */
struct journal_staging {
    journal_staging_fn fn; /* NULL: nobody wants to know */
    struct staging_row *rows;
    size_t n;
    uint32_t uid;
    int64_t job_id; /* of journal_staging_get(); 0: all that is open */
};
/* Copies the rows with their manifests; false without memory. */
bool journal_staging_init(struct journal_staging *s, const struct staging_row *rows, size_t n,
                          journal_staging_fn fn);
void journal_staging_done(struct journal_staging *s);
void journal_staging_tell(const struct journal_staging *s, void *arg, const struct err *err);

/* Opens or makes the file; what is wrong with it is in the state.  ERR_INTERNAL: no memory. */
struct journal_db *journal_db_new(const struct agentd_conf *conf, struct err *err);
void journal_db_free(struct journal_db *db); /* NULL is fine */
const struct journal_state *journal_db_state(const struct journal_db *db);

/* begin, any number of puts and the like, commit.  After a failure of one of them nothing of it is
 * kept, and it must begin anew. */
int journal_db_begin(struct journal_db *db, struct err *err);
/* Sets row->number and known, which count when the commit has succeeded. */
int journal_db_put(struct journal_db *db, struct journal_row *row, struct err *err);
/* A job that has not ended; its end takes it out again, as does a record that has ended here. */
int journal_db_saw(struct journal_db *db, const struct jobrec *rec, struct err *err);
/* 0: as it was. */
int journal_db_alive(struct journal_db *db, int64_t alive, int64_t whole, struct err *err);
/* As journal_request_begin(): the one row is what is wanted, and becomes what is there. */
int journal_db_request_begin(struct journal_db *db, struct journal_requests *r, struct err *err);
int journal_db_request_note(struct journal_db *db, const struct journal_requests *r,
                            struct err *err);
int journal_db_staging_note(struct journal_db *db, const struct journal_staging *s,
                            struct err *err);
int journal_db_commit(struct journal_db *db, struct err *err);

/* The one row says whose and which; it becomes what is there, or there is none.  Not between begin
 * and commit. */
int journal_db_request_get(struct journal_db *db, struct journal_requests *r, struct err *err);
int journal_db_requests_open(struct journal_db *db, struct journal_requests *r, struct err *err);
int journal_db_staging_find(struct journal_db *db, struct journal_staging *s, struct err *err);

/* A row that ids of a find name by the number in front. */
struct journal_named {
    int64_t number;
    size_t first, n; /* of the find's ids: those with that number */
};

/* A find under way. */
struct journal_finding {
    struct journal_query query;
    struct jobid *ids; /* query.n_ids of them; are sorted */
    bool started;
    int64_t spent_ms;
    int64_t at; /* numbers up to this have been looked at; of `seen`, job ids */
    /* with ids: first it is collected what they may name, then that is read */
    size_t next_id, next_named;
    struct journal_named *named;
    size_t n_named, room_named;
    struct journal_row *rows; /* what was found: references, in the caller's hands */
    size_t n, room, bytes;
    bool more;
};

/* Looks through a part of the rows; *ret_again when there is a further part.  Not between begin and
 * commit. */
int journal_db_find(struct journal_db *db, struct journal_finding *f, bool *ret_again,
                    struct err *err);
/* The same for what journal_db_saw() kept. */
int journal_db_seen(struct journal_db *db, struct journal_finding *f, bool *ret_again,
                    struct err *err);
void journal_finding_done(struct journal_finding *f);

/* When the next chore is due, in milliseconds of clock_mono_ms(): a try to open the file that could
 * not be used, or a small step of pruning. */
int64_t journal_db_due(const struct journal_db *db);
void journal_db_chore(struct journal_db *db);

#endif
