/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is in the journal's file: submits by request id, and which journal it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agentd/journal_impl.h"
#include "agentd/requests.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/seal.h"
#include "common/str.h"

enum { OPEN_ROWS = 1000000 };

/* ---- rows ---- */

static void read_row(sqlite3_stmt *st, struct request_row *out)
{
    *out = (struct request_row){
        .uid = (uint32_t)sqlite3_column_int64(st, 0),
        .state = sqlite3_column_int64(st, 3),
        .attempt = sqlite3_column_int64(st, 4),
        .tag = sqlite3_column_int64(st, 5),
        .begun = sqlite3_column_int64(st, 6),
        .changed = sqlite3_column_int64(st, 7),
        .job_id = sqlite3_column_int64(st, 8),
        .submit_time = sqlite3_column_int64(st, 9),
        .code = sqlite3_column_int64(st, 10),
    };
    if (sqlite3_column_bytes(st, 1) == REQUEST_ID)
        memcpy(out->id, sqlite3_column_blob(st, 1), REQUEST_ID);
    if (sqlite3_column_bytes(st, 2) == REQUEST_HASH)
        memcpy(out->hash, sqlite3_column_blob(st, 2), REQUEST_HASH);
    str_copy(out->text, sizeof out->text, journal_column(st, 11));
    out->clock = sqlite3_column_int64(st, 12);
}

static int put_row(struct journal_db *db, const struct request_row *row)
{
    sqlite3_stmt *st = db->st[ST_REQUEST_PUT];
    const int64_t numbers[] = {row->state,   row->attempt, row->tag,         row->begun,
                               row->changed, row->job_id,  row->submit_time, row->code};
    sqlite3_bind_int64(st, 1, row->uid);
    sqlite3_bind_blob(st, 2, row->id, REQUEST_ID, SQLITE_STATIC);
    sqlite3_bind_blob(st, 3, row->hash, REQUEST_HASH, SQLITE_STATIC);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sqlite3_bind_int64(st, 4 + (int)i, numbers[i]);
    sqlite3_bind_text(st, 12, row->text, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 13, row->clock);
    return journal_run(db, ST_REQUEST_PUT);
}

/* SQLITE_ROW, or SQLITE_DONE when there is none. */
static int get_row(struct journal_db *db, uint32_t uid, const uint8_t *id, struct request_row *out)
{
    sqlite3_stmt *st = db->st[ST_REQUEST_GET];
    sqlite3_bind_int64(st, 1, uid);
    sqlite3_bind_blob(st, 2, id, REQUEST_ID, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        read_row(st, out);
    journal_done(st);
    return rc;
}

/* What a new attempt overwrites may have no job, and be content of the same submit. */
static bool may_begin(const struct request_row *there, const struct request_row *want)
{
    return request_may_submit(there->state) && memcmp(there->hash, want->hash, REQUEST_HASH) == 0;
}

/* Of rows that were put with that result. */
static int end_write(struct journal_db *db, int rc, struct err *err)
{
    if (rc == SQLITE_OK)
        rc = journal_run(db, ST_SEQUENCE);
    if (rc != SQLITE_OK)
        return journal_write_failed(db, rc, err);
    db->begun_requests++;
    return 0;
}

static int ask_of_user(struct journal_db *db, enum journal_statement s, uint32_t uid, int64_t *ret)
{
    sqlite3_bind_int64(db->st[s], 1, uid);
    return journal_number(db->st[s], ret);
}

static void say_full(const struct journal_db *db, int64_t kept, int64_t oldest, struct err *err)
{
    char until[100] = "none of them is over yet";
    struct tm tm;
    time_t goes = oldest + db->days * 86400;
    if (oldest && gmtime_r(&goes, &tm))
        strftime(until, sizeof until, "the oldest goes at %F %H:%M UTC", &tm);
    err_set(err, ERR_LIMIT,
            "nothing was submitted: %lld request ids of yours are kept, as many as are allowed "
            "(max_request_ids_per_user); each stays for %lld days after its job's end, so that its "
            "submit makes no second job when it is sent again: %s",
            (long long)kept, (long long)db->days, until);
}

/* None is dropped before its time to make room: whoever sends it again would have a second job.
 * Nothing of it in the row: it is no request. */
static int check_room(struct journal_db *db, struct journal_requests *r)
{
    uint32_t uid = r->rows[0].uid;
    int64_t kept = 0, oldest = 0;
    int rc = ask_of_user(db, ST_REQUESTS_KEPT, uid, &kept);
    if (rc != SQLITE_OK || kept < db->max_requests)
        return rc;
    rc = ask_of_user(db, ST_REQUESTS_OLDEST, uid, &oldest);
    if (rc == SQLITE_OK)
        say_full(db, kept, oldest, &r->err);
    return rc;
}

int journal_db_request_begin(struct journal_db *db, struct journal_requests *r, struct err *err)
{
    struct request_row there, *row = &r->rows[0];
    int rc = get_row(db, row->uid, row->id, &there);
    r->err = (struct err){0}; /* of a transaction that was taken back */
    if (rc == SQLITE_DONE) {
        int room = check_room(db, r);
        if (room != SQLITE_OK)
            return journal_write_failed(db, room, err);
        if (r->err.code != ERR_NONE)
            return 0;
    }
    r->begun = rc == SQLITE_DONE || (rc == SQLITE_ROW && may_begin(&there, row));
    if (rc == SQLITE_ROW && !r->begun) {
        *row = there;
        return 0;
    }
    if (rc == SQLITE_ROW && there.attempt >= row->attempt) {
        row->attempt = there.attempt + 1;
        row->tag = request_tag(row->uid, row->id, row->attempt);
    }
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        rc = put_row(db, row);
    return end_write(db, rc, err);
}

int journal_db_request_note(struct journal_db *db, const struct journal_requests *r,
                            struct err *err)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < r->n; i++)
        rc = put_row(db, &r->rows[i]);
    return end_write(db, rc, err);
}

int journal_db_request_get(struct journal_db *db, struct journal_requests *r, struct err *err)
{
    struct request_row there, *row = &r->rows[0];
    r->n = 0;
    if (!db->sq)
        return journal_fail(db, err);
    int rc = get_row(db, row->uid, row->id, &there);
    if (rc == SQLITE_ROW) {
        *row = there;
        r->n = 1;
    }
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : journal_read_failed(db, rc, err);
}

static int add_row(struct journal_requests *r, size_t *room, sqlite3_stmt *st)
{
    if (r->n == *room) {
        size_t more = *room ? 2 * *room : 64;
        struct request_row *grown = reallocarray(r->rows, more, sizeof *grown);
        if (!grown)
            return SQLITE_NOMEM;
        r->rows = grown;
        *room = more;
    }
    read_row(st, &r->rows[r->n++]);
    return SQLITE_ROW;
}

int journal_db_requests_open(struct journal_db *db, struct journal_requests *r, struct err *err)
{
    sqlite3_stmt *st = db->st[ST_REQUESTS_OPEN];
    size_t room = 0;
    int rc = SQLITE_ROW;
    if (!db->sq)
        return journal_fail(db, err);
    sqlite3_bind_int64(st, 1, r->since);
    sqlite3_bind_int64(st, 2, OPEN_ROWS);
    while (rc == SQLITE_ROW && (rc = sqlite3_step(st)) == SQLITE_ROW)
        rc = add_row(r, &room, st);
    journal_done(st);
    return rc == SQLITE_DONE ? 0 : journal_read_failed(db, rc, err);
}

bool journal_requests_init(struct journal_requests *r, const struct request_row *rows, size_t n,
                           journal_requests_fn fn)
{
    *r = (struct journal_requests){.fn = fn, .rows = calloc(n, sizeof *rows), .n = n};
    if (!r->rows)
        return false;
    memcpy(r->rows, rows, n * sizeof *rows);
    return true;
}

void journal_requests_tell(const struct journal_requests *r, void *arg, const struct err *err)
{
    const struct err *said = err->code == ERR_NONE ? &r->err : err;
    r->fn(arg, r->rows, said->code == ERR_NONE ? r->n : 0, r->begun, said);
}

/* ---- which journal it is ----
 *
 * A copy that is put in place of the file knows nothing of what came after it was made: a submit
 * that is sent again would be taken for a new one.  It is noticed by what the lock file, which is
 * written with each transaction, says of the file's last change; and a copy of both by the file's
 * number and birth. */

struct mark {
    char magic[8];
    uint8_t instance[SEAL_ID];
    int64_t sequence;
};
static const char mark_magic[8] = {'S', 'L', 'A', 'J', 'R', 'N', 'L', '1'};

static int64_t identity_of(const struct journal_db *db)
{
    struct statx x;
    uint8_t hash[SEAL_HASH];
    int64_t in[3] = {0}, out;
    if (statx(AT_FDCWD, db->path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &x) == 0) {
        in[0] = (int64_t)x.stx_ino;
        if (x.stx_mask & STATX_BTIME) {
            in[1] = x.stx_btime.tv_sec;
            in[2] = x.stx_btime.tv_nsec;
        }
    }
    seal_hash(in, sizeof in, hash);
    memcpy(&out, hash, sizeof out);
    return out;
}

/* A crash may lose what this wrote, never what the transaction did: the mark may be behind. */
void journal_db_mark(struct journal_db *db)
{
    struct mark m = {.sequence = db->sequence};
    if (!db->begun_requests || db->lock_fd < 0)
        return;
    db->sequence += db->begun_requests;
    db->begun_requests = 0;
    m.sequence = db->sequence;
    memcpy(m.magic, mark_magic, sizeof m.magic);
    memcpy(m.instance, db->state.instance, SEAL_ID);
    if (pwrite(db->lock_fd, &m, sizeof m, 0) != sizeof m)
        log_warning("%s: cannot be written: %s", db->lock_path, strerror(errno));
}

/* Fits the mark this file?  Without one only a file that nothing was noted in does: somebody has
 * removed it. */
static bool fits_mark(const struct journal_db *db)
{
    struct mark m;
    if (pread(db->lock_fd, &m, sizeof m, 0) != sizeof m ||
        memcmp(m.magic, mark_magic, sizeof m.magic) != 0)
        return db->sequence == 0;
    return memcmp(m.instance, db->state.instance, SEAL_ID) == 0 && db->sequence >= m.sequence;
}

static int new_instance(struct journal_db *db, int64_t identity)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_exec(db->sq, "BEGIN IMMEDIATE; DELETE FROM request;", NULL, NULL, NULL);
    seal_random(db->state.instance, SEAL_ID);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db->sq,
                                "INSERT OR REPLACE INTO meta VALUES ('instance', ?1), "
                                "('identity', ?2)",
                                -1, &st, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_blob(st, 1, db->state.instance, SEAL_ID, SQLITE_STATIC);
        sqlite3_bind_int64(st, 2, identity);
        rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(db->sq);
    }
    sqlite3_finalize(st);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->sq, "COMMIT", NULL, NULL, NULL);
    return rc;
}

/* What meta says; no instance: SQLITE_DONE. */
static int read_meta(struct journal_db *db, int64_t *ret_identity)
{
    static const char query[] =
        "SELECT (SELECT value FROM meta WHERE name = 'instance'),"
        " (SELECT value FROM meta WHERE name = 'identity'),"
        " (SELECT value FROM meta WHERE name = 'sequence'), (SELECT count(*) FROM request)";
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db->sq, query, -1, &st, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        bool has = sqlite3_column_bytes(st, 0) == SEAL_ID;
        if (has)
            memcpy(db->state.instance, sqlite3_column_blob(st, 0), SEAL_ID);
        *ret_identity = sqlite3_column_int64(st, 1);
        db->sequence = sqlite3_column_int64(st, 2);
        rc = has ? SQLITE_ROW : SQLITE_DONE;
    }
    sqlite3_finalize(st);
    return rc;
}

int journal_db_identify(struct journal_db *db)
{
    int64_t identity = identity_of(db), was = 0;
    int rc = read_meta(db, &was);
    bool known = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    db->state.openings++;
    if (known && was == identity && fits_mark(db))
        return SQLITE_OK;
    if (known)
        log_warning(
            "%s is a copy, or was restored from one: request ids that it knows are void, and "
            "submits that were under way will be in doubt",
            db->path);
    rc = new_instance(db, identity);
    db->begun_requests = 1;
    if (rc == SQLITE_OK)
        rc = journal_run(db, ST_SEQUENCE);
    if (rc == SQLITE_OK)
        journal_db_mark(db);
    if (rc == SQLITE_OK && fdatasync(db->lock_fd) < 0) /* once: a mark is there from now on */
        log_warning("%s: cannot be written: %s", db->lock_path, strerror(errno));
    return rc;
}
