/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is in the journal's file: jobs whose data is moved. */
#include <stdlib.h>
#include <string.h>

#include "agentd/journal_impl.h"
#include "common/str.h"

enum {
    OPEN_ROWS = 1000000,
    JOB_ROWS = 20000,
    NUMBERS = 12,
    RECENT_S = 60, /* what slurmctld had not saved, and jobs are noted as watched each 20 s */
};

static int copy_manifest(struct staging_row *row)
{
    if (row->manifest.n == 0) {
        row->manifest = (struct bytes){NULL, 0};
        return 0;
    }
    uint8_t *copy = malloc(row->manifest.n);
    if (copy)
        memcpy(copy, row->manifest.p, row->manifest.n);
    row->manifest.p = copy;
    return copy ? 0 : -1;
}

static int read_row(sqlite3_stmt *st, struct staging_row *out)
{
    *out = (struct staging_row){.uid = (uint32_t)sqlite3_column_int64(st, 0)};
    int64_t *const numbers[] = {&out->task,        &out->state, &out->attempt, &out->job_id,
                                &out->submit_time, &out->begun, &out->changed, &out->code,
                                &out->files,       &out->bytes};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *numbers[i] = sqlite3_column_int64(st, 2 + (int)i);
    if (sqlite3_column_bytes(st, 1) == REQUEST_ID)
        memcpy(out->id, sqlite3_column_blob(st, 1), REQUEST_ID);
    str_copy(out->text, sizeof out->text, journal_column(st, NUMBERS));
    out->manifest.n = (size_t)sqlite3_column_bytes(st, NUMBERS + 1);
    out->manifest.p = sqlite3_column_blob(st, NUMBERS + 1);
    return copy_manifest(out);
}

static int put_row(struct journal_db *db, const struct staging_row *row)
{
    sqlite3_stmt *st = db->st[ST_STAGING_PUT];
    const int64_t numbers[] = {row->task,        row->state, row->attempt, row->job_id,
                               row->submit_time, row->begun, row->changed, row->code,
                               row->files,       row->bytes};
    sqlite3_bind_int64(st, 1, row->uid);
    sqlite3_bind_blob(st, 2, row->id, REQUEST_ID, SQLITE_STATIC);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sqlite3_bind_int64(st, 3 + (int)i, numbers[i]);
    sqlite3_bind_text(st, 13, row->text, -1, SQLITE_STATIC);
    if (row->manifest.n)
        sqlite3_bind_blob(st, 14, row->manifest.p, (int)row->manifest.n, SQLITE_STATIC);
    return journal_run(db, ST_STAGING_PUT);
}

int journal_db_staging_note(struct journal_db *db, const struct journal_staging *s, struct err *err)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < s->n; i++)
        rc = put_row(db, &s->rows[i]);
    return rc == SQLITE_OK ? 0 : journal_write_failed(db, rc, err);
}

static int add_row(struct journal_staging *s, size_t *room, sqlite3_stmt *st)
{
    if (s->n == *room) {
        size_t more = *room ? 2 * *room : 16;
        struct staging_row *grown = reallocarray(s->rows, more, sizeof *grown);
        if (!grown)
            return SQLITE_NOMEM;
        s->rows = grown;
        *room = more;
    }
    if (read_row(st, &s->rows[s->n]) < 0)
        return SQLITE_NOMEM;
    s->n++;
    return SQLITE_ROW;
}

int journal_db_staging_find(struct journal_db *db, struct journal_staging *s, struct err *err)
{
    sqlite3_stmt *st = db->st[s->job_id ? ST_STAGING_JOB : ST_STAGING_OPEN];
    size_t room = 0;
    int rc = SQLITE_ROW;
    if (!db->sq)
        return journal_fail(db, err);
    if (s->job_id) {
        sqlite3_bind_int64(st, 1, s->job_id);
        sqlite3_bind_int64(st, 2, s->uid);
        sqlite3_bind_int64(st, 3, JOB_ROWS);
    } else {
        sqlite3_bind_int64(st, 1, OPEN_ROWS);
        sqlite3_bind_int64(st, 2, db->state.alive ? db->state.alive - RECENT_S : INT64_MAX);
    }
    while (rc == SQLITE_ROW && (rc = sqlite3_step(st)) == SQLITE_ROW)
        rc = add_row(s, &room, st);
    journal_done(st);
    return rc == SQLITE_DONE ? 0 : journal_read_failed(db, rc, err);
}

bool journal_staging_init(struct journal_staging *s, const struct staging_row *rows, size_t n,
                          journal_staging_fn fn)
{
    *s = (struct journal_staging){.fn = fn, .rows = calloc(n, sizeof *rows)};
    for (; s->rows && s->n < n; s->n++) {
        s->rows[s->n] = rows[s->n];
        if (copy_manifest(&s->rows[s->n]) < 0)
            break;
    }
    return s->rows && s->n == n;
}

void journal_staging_done(struct journal_staging *s)
{
    for (size_t i = 0; i < s->n; i++)
        free((void *)s->rows[i].manifest.p);
    free(s->rows);
    s->rows = NULL;
    s->n = 0;
}

void journal_staging_tell(const struct journal_staging *s, void *arg, const struct err *err)
{
    s->fn(arg, s->rows, s->n, err);
}
