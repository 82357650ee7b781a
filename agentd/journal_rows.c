/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is in the journal's file: rows put and found. */
#include <string.h>

#include "agentd/journal_impl.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    WINDOW = 20000,      /* rows that a find looks at before others have a turn */
    NAMED_MAX = 1000000, /* rows that the ids of one find may name */
};

/* ---- put ---- */

/* Makes room for the run of a job, unless its end is known already. */
static int make_room(struct journal_db *db, struct journal_row *row)
{
    const struct jobrec *rec = row->rec;
    sqlite3_stmt *st = db->st[ST_KNOWN];
    sqlite3_bind_int64(st, 1, rec->job_id);
    sqlite3_bind_int64(st, 2, rec->submit_time);
    sqlite3_bind_int64(st, 3, rec->restarts);
    int rc = sqlite3_step(st);
    int64_t number = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    bool gives_way = rc == SQLITE_ROW && str_eq(journal_column(st, 1), phase_word(PHASE_UNKNOWN)) &&
                     rec->phase != PHASE_UNKNOWN;
    journal_done(st);
    row->known = rc == SQLITE_ROW && !gives_way;
    row->number = row->known ? number : 0;
    if (!gives_way)
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
    db->rows--;
    return journal_run_with(db, ST_DELETE, number);
}

/* When it ended, as far as age goes: one that was lost still says when it would have ended at the
 * latest. */
static int64_t ended_at(const struct jobrec *rec)
{
    int64_t now = clock_now();
    return rec->phase == PHASE_UNKNOWN || rec->end_time <= 0 || rec->end_time > now ? now
                                                                                    : rec->end_time;
}

static int insert(struct journal_db *db, const struct jobrec *rec)
{
    /* By its tag a request is found to have been a job; what was refused was none. */
    int64_t tag = jobrec_is_refusal(rec) ? 0 : rec->keys.tag;
    sqlite3_stmt *st = db->st[ST_INSERT];
    const int64_t numbers[] = {rec->job_id,  rec->submit_time, rec->restarts,
                               rec->group,   rec->keys.uid,    tag,
                               ended_at(rec)};
    const char *const texts[] = {phase_word(rec->phase), rec->keys.state, rec->keys.name,
                                 rec->keys.user, rec->keys.partition};
    int at = 1;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sqlite3_bind_int64(st, at++, numbers[i]);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        sqlite3_bind_text(st, at++, texts[i], -1, SQLITE_STATIC);
    return journal_run(db, ST_INSERT);
}

/* As it will be given back; p NULL without memory. */
static struct bytes pack_record(struct journal_db *db, const struct jobrec *rec)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job job;
    if (msg_unpack(&job_type, rec->packed, &arena, MSG_LENIENT, &job, &err) < 0)
        return (struct bytes){NULL, 0};
    job.source = "journal";
    wire_out_clear(db->out);
    msg_pack(&job_type, &job, db->out);
    return wire_out_bytes(db->out);
}

/* Its end is known now. */
static int forget(struct journal_db *db, const struct jobrec *rec)
{
    sqlite3_bind_int64(db->st[ST_FORGET], 2, rec->submit_time);
    return journal_run_with(db, ST_FORGET, rec->job_id);
}

int journal_db_put(struct journal_db *db, struct journal_row *row, struct err *err)
{
    int rc = make_room(db, row);
    if (rc == SQLITE_OK)
        rc = forget(db, row->rec);
    if (rc == SQLITE_OK && row->known)
        return 0;
    struct bytes body = pack_record(db, row->rec);
    if (rc == SQLITE_OK && !body.p)
        rc = SQLITE_NOMEM;
    if (rc == SQLITE_OK)
        rc = insert(db, row->rec);
    if (rc == SQLITE_OK) {
        row->number = sqlite3_last_insert_rowid(db->sq);
        sqlite3_bind_blob64(db->st[ST_INSERT_RECORD], 2, body.p, body.n, SQLITE_STATIC);
        rc = journal_run_with(db, ST_INSERT_RECORD, row->number);
    }
    if (rc != SQLITE_OK)
        return journal_write_failed(db, rc, err);
    db->rows++;
    db->put_number = row->number;
    return 0;
}

int journal_db_saw(struct journal_db *db, const struct jobrec *rec, struct err *err)
{
    sqlite3_stmt *st = db->st[ST_SAW];
    if (rec->ended) {
        int gone = forget(db, rec);
        return gone == SQLITE_OK ? 0 : journal_write_failed(db, gone, err);
    }
    sqlite3_bind_int64(st, 1, rec->job_id);
    sqlite3_bind_int64(st, 2, rec->submit_time);
    sqlite3_bind_blob64(st, 3, rec->packed.p, rec->packed.n, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, rec->group);
    int rc = journal_run(db, ST_SAW);
    return rc == SQLITE_OK ? 0 : journal_write_failed(db, rc, err);
}

/* ---- find ---- */

static bool is_full(const struct journal_finding *f)
{
    return (f->query.limit && f->n >= f->query.limit) ||
           (f->query.bytes && f->bytes >= f->query.bytes);
}

static bool add(struct journal_finding *f, const struct journal_row *row)
{
    if (f->n == f->room) {
        size_t room = f->room ? 2 * f->room : 16;
        struct journal_row *rows = reallocarray(f->rows, room, sizeof *rows);
        if (!rows)
            return false;
        f->rows = rows;
        f->room = room;
    }
    f->rows[f->n++] = *row;
    f->bytes += row->rec->packed.n;
    return true;
}

static bool row_matches(const struct journal_finding *f, sqlite3_stmt *st)
{
    const struct job_keys keys = {
        .uid = (uint32_t)sqlite3_column_int64(st, 2),
        .tag = sqlite3_column_int64(st, 3),
        .state = journal_column(st, 5),
        .name = journal_column(st, 6),
        .user = journal_column(st, 7),
        .partition = journal_column(st, 8),
    };
    return sqlite3_column_int64(st, 4) >= f->query.since &&
           job_filter_matches(&f->query.filter, &keys);
}

/* What the disk gives is read like any other outside bytes. */
static struct jobrec *read_record(struct journal_db *db, sqlite3_stmt *st)
{
    struct bytes body = {sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)};
    struct err err = {0};
    struct jobrec *rec = body.p ? jobrec_new(body, &err) : NULL;
    if (rec && rec->keys.uid == (uint32_t)sqlite3_column_int64(st, 2))
        return rec;
    if (!db->bad_said_ms || clock_mono_ms() - db->bad_said_ms > JOURNAL_RETRY_MS)
        log_err("%s: record %lld is passed over: %s", db->path,
                (long long)sqlite3_column_int64(st, 0), *err.text ? err.text : "it is damaged");
    db->bad_said_ms = clock_mono_ms();
    jobrec_unref(rec);
    return NULL;
}

/* One row; m NULL: any id. */
static int take_row(struct journal_db *db, struct journal_finding *f, sqlite3_stmt *st,
                    const struct journal_named *m)
{
    struct jobrec *rec = row_matches(f, st) ? read_record(db, st) : NULL;
    if (!rec || (m && !jobrec_named_any(rec, f->ids + m->first, m->n))) {
        jobrec_unref(rec);
        return SQLITE_OK;
    }
    const struct journal_row row = {
        .number = sqlite3_column_int64(st, 0),
        .time = sqlite3_column_int64(st, 4),
        .rec = rec,
    };
    if (add(f, &row))
        return SQLITE_OK;
    jobrec_unref(rec);
    return SQLITE_NOMEM;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = ((const struct journal_named *)a)->number;
    int64_t y = ((const struct journal_named *)b)->number;
    return (x > y) - (x < y);
}

static bool add_named(struct journal_finding *f, int64_t number, size_t first, size_t n)
{
    if (f->n_named == f->room_named) {
        size_t room = f->room_named ? 2 * f->room_named : 64;
        struct journal_named *v = reallocarray(f->named, room, sizeof *v);
        if (!v)
            return false;
        f->named = v;
        f->room_named = room;
    }
    f->named[f->n_named++] = (struct journal_named){number, first, n};
    return true;
}

/* What the next number in front may name. */
static int collect(struct journal_db *db, struct journal_finding *f)
{
    sqlite3_stmt *st = db->st[ST_NAMED];
    size_t first = f->next_id, end = first + 1;
    int rc;
    while (end < f->query.n_ids && f->ids[end].id == f->ids[first].id)
        end++;
    f->next_id = end;
    sqlite3_bind_int64(st, 1, f->ids[first].id);
    sqlite3_bind_int64(st, 2, f->query.after);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW && f->n_named < NAMED_MAX)
        if (!add_named(f, sqlite3_column_int64(st, 0), first, end - first)) {
            rc = SQLITE_NOMEM;
            break;
        }
    journal_done(st);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int fetch(struct journal_db *db, struct journal_finding *f)
{
    const struct journal_named *m = &f->named[f->next_named++];
    sqlite3_stmt *st = db->st[ST_ONE];
    if (f->n && f->rows[f->n - 1].number == m->number) /* 12 and 12_3 name the same row */
        return SQLITE_OK;
    if (is_full(f)) {
        f->more = true;
        return SQLITE_OK;
    }
    sqlite3_bind_int64(st, 1, m->number);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        rc = take_row(db, f, st, m);
    journal_done(st);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int find_named(struct journal_db *db, struct journal_finding *f, bool *ret_again,
                      struct err *err)
{
    int64_t until = clock_mono_ms() + JOURNAL_SLICE_MS;
    int rc = SQLITE_OK;
    if (!f->started)
        qsort(f->ids, f->query.n_ids, sizeof *f->ids, jobid_order);
    f->started = true;
    while (rc == SQLITE_OK && f->next_id < f->query.n_ids && clock_mono_ms() < until) {
        rc = collect(db, f);
        if (f->next_id == f->query.n_ids && f->n_named)
            qsort(f->named, f->n_named, sizeof *f->named, by_number);
    }
    bool collected = f->next_id == f->query.n_ids;
    while (rc == SQLITE_OK && collected && !f->more && f->next_named < f->n_named &&
           clock_mono_ms() < until)
        rc = fetch(db, f);
    if (rc != SQLITE_OK)
        return journal_read_failed(db, rc, err);
    if (f->n_named >= NAMED_MAX)
        return err_set(err, ERR_LIMIT, "the ids name more than %d jobs: name fewer", NAMED_MAX);
    *ret_again = !f->more && (!collected || f->next_named < f->n_named);
    return 0;
}

/* Where looking begins, so that it need not go through all that ended before. */
static int find_start(struct journal_db *db, struct journal_finding *f)
{
    enum journal_statement s = f->query.since ? ST_FIRST_SINCE : ST_FIRST;
    int64_t first;
    if (f->started || f->query.after) {
        f->at = f->started ? f->at : f->query.after;
        f->started = true;
        return SQLITE_OK;
    }
    if (f->query.since)
        sqlite3_bind_int64(db->st[s], 1, f->query.since);
    int rc = journal_number(db->st[s], &first);
    f->started = true;
    f->at = first ? first - 1 : INT64_MAX;
    return rc;
}

static int find_part(struct journal_db *db, struct journal_finding *f, bool *ret_again)
{
    int64_t uid = f->query.filter.uid;
    int rc = find_start(db, f);
    sqlite3_stmt *st = db->st[uid >= 0 ? ST_OF_USER : ST_OF_ALL];
    size_t seen = 0;
    sqlite3_bind_int64(st, 1, f->at);
    sqlite3_bind_int64(st, 2, uid);
    sqlite3_bind_int64(st, 3, WINDOW);
    while (rc == SQLITE_OK && !f->more && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        seen++;
        if (is_full(f)) {
            f->more = true;
            rc = SQLITE_OK;
            break;
        }
        f->at = sqlite3_column_int64(st, 0);
        rc = take_row(db, f, st, NULL);
    }
    journal_done(st);
    *ret_again = seen == WINDOW && !f->more;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* All parts of a find together have a deadline. */
static int64_t begin_part(struct journal_db *db, const struct journal_finding *f)
{
    int64_t now = clock_mono_ms();
    db->deadline_ms = now + JOURNAL_FIND_MS - f->spent_ms;
    return now;
}

static void end_part(struct journal_db *db, struct journal_finding *f, int64_t begun_ms)
{
    f->spent_ms += clock_mono_ms() - begun_ms;
    db->deadline_ms = 0;
}

static int check_spent(const struct journal_finding *f, struct err *err)
{
    return f->spent_ms < JOURNAL_FIND_MS
               ? 0
               : err_set(err, ERR_TIMEOUT, "the journal takes longer than %d s to look it up",
                         JOURNAL_FIND_MS / 1000);
}

int journal_db_find(struct journal_db *db, struct journal_finding *f, bool *ret_again,
                    struct err *err)
{
    *ret_again = false;
    if (!db->sq)
        return journal_fail(db, err);
    if (check_spent(f, err) < 0)
        return -1;
    int64_t begun = begin_part(db, f);
    int rc = SQLITE_OK, failed = 0;
    if (f->query.n_ids)
        failed = find_named(db, f, ret_again, err);
    else
        rc = find_part(db, f, ret_again);
    end_part(db, f, begun);
    return rc == SQLITE_OK ? failed : journal_read_failed(db, rc, err);
}

int journal_db_seen(struct journal_db *db, struct journal_finding *f, bool *ret_again,
                    struct err *err)
{
    *ret_again = false;
    if (!db->sq)
        return journal_fail(db, err);
    sqlite3_stmt *st = db->st[ST_SEEN];
    size_t seen = 0;
    int rc;
    sqlite3_bind_int64(st, 1, f->at);
    sqlite3_bind_int64(st, 2, WINDOW);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct bytes body = {sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)};
        struct err ignored = {0};
        struct jobrec *rec = body.p ? jobrec_new(body, &ignored) : NULL;
        f->at = sqlite3_column_int64(st, 0);
        seen++;
        const struct journal_row row = {.rec = rec};
        if (rec && !add(f, &row)) {
            jobrec_unref(rec);
            rc = SQLITE_NOMEM;
            break;
        }
    }
    journal_done(st);
    *ret_again = seen == WINDOW;
    return rc == SQLITE_DONE ? 0 : journal_read_failed(db, rc, err);
}

void journal_finding_done(struct journal_finding *f)
{
    for (size_t i = 0; i < f->n; i++)
        jobrec_unref(f->rows[i].rec);
    free(f->rows);
    free(f->named);
}
