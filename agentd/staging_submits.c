/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Submits with a manifest: granted and on disk before Slurm is asked, and what became of those that
 * were in doubt. */
#include "agentd/staging.h"

#include <stdlib.h>
#include <string.h>

#include "agentd/journal.h"
#include "agentd/monlink.h"
#include "agentd/requests.h"
#include "agentd/staging_impl.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/seal.h"
#include "common/str.h"

enum {
    LATE_S = 3900, /* a job may turn up so late: somewhat longer than requests.c looks for it */
    MANIFESTS_MAX = 16 << 20, /* bytes in memory, of one user */
};

bool staging_holds_back(struct bytes manifest)
{
    AUTO(arena_done) struct arena arena = {0};
    struct manifest m;
    struct err err = {0};
    return manifest_read(manifest, &arena, &m, &err) == 0 && m.n_inputs > 0;
}

/* Manifest and grant are kept for a job that comes late: without them it stayed held for ever. */
static void absent(struct staged *e)
{
    struct staging_row row;
    str_copy(e->text, sizeof e->text, "it was not submitted, or slurmctld has lost it");
    staged_set_job(e, 0);
    staged_set_state(e, STAGING_ABSENT);
    staged_row(e, &row);
    row.manifest = e->manifest;
    journal_staging_note(e->s->a->journal, &row, 1, NULL, NULL);
}

/* Fails the one that waits; nothing is kept, unless an earlier attempt may have made a job. */
static void begin_failed(struct staged *e)
{
    struct staging *s = e->s;
    staging_begun_fn fn = TAKE(e->begun_fn);
    struct err err = e->begin_err;
    struct staging_row row;
    void *arg = e->begun_arg;
    if (e->attempt > 1) {
        absent(e);
        fn(arg, &err);
        return;
    }
    monlink_revoke(s->a->monitor, e->uid, e->id);
    e->state = STAGING_OVER;
    staged_row(e, &row);
    if (e->on_disk)
        journal_staging_note(s->a->journal, &row, 1, NULL, NULL);
    staged_remove(e);
    fn(arg, &err);
}

static void begin_on(struct staged *e)
{
    if (!e->begun_fn || e->grant_serial || e->busy)
        return;
    if (e->begin_err.code != ERR_NONE) {
        begin_failed(e);
        return;
    }
    struct err none = {0};
    staging_begun_fn fn = TAKE(e->begun_fn);
    fn(e->begun_arg, &none);
}

static void on_begun(void *arg, const struct staging_row *rows, size_t n, const struct err *err)
{
    struct staging *s = arg;
    struct staged *e, *next;
    (void)rows;
    /* Written in order: all that wait for the disk were posted before, or with it. */
    for (e = TAILQ_FIRST(&s->all); e; e = next) {
        next = TAILQ_NEXT(e, in_all);
        if (!e->begun_fn || !e->busy ||
            (n && (rows->uid != e->uid || memcmp(rows->id, e->id, REQUEST_ID) != 0)))
            continue;
        e->busy = false;
        e->on_disk = err->code == ERR_NONE;
        if (!e->on_disk)
            err_set(&e->begin_err, ERR_JOURNAL, "nothing was submitted: %.400s", err->text);
        begin_on(e);
    }
}

void staged_ask_grant(struct staged *e, struct err *err)
{
    struct staging *s = e->s;
    uint8_t hash[SEAL_HASH];
    seal_hash(e->manifest.p, e->manifest.n, hash);
    e->asked_ms = clock_mono_ms();
    e->grant_serial = ++s->serial;
    if (monlink_grant(s->a->monitor, e->grant_serial, e->uid, e->id, hash,
                      s->a->conf.stage_days * 86400, err) < 0)
        e->grant_serial = 0;
}

void staging_granted(struct staging *s, const struct monitor_event *ev)
{
    struct staged *e;
    TAILQ_FOREACH(e, &s->all, in_all)
    if (e->grant_serial == ev->serial)
        break;
    if (!e)
        return;
    e->grant_serial = 0;
    if (!ev->code)
        e->grant_lost = false;
    if (ev->code && e->begun_fn)
        err_set(&e->begin_err, err_from_wire(ev->code), "%s", ev->text);
    if (!ev->code) {
        e->run.retry_ms = 0;
        for (size_t i = 0; i < e->n_units; i++)
            e->units[i]->run.retry_ms = 0;
    }
    begin_on(e);
}

void staging_begin(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID], int64_t attempt,
                   struct bytes manifest, staging_begun_fn fn, void *arg)
{
    struct err err = {0};
    struct staged *e, *old = staged_find(s, uid, id);
    struct staging_row row;
    if (old && old->state != STAGING_SUBMITTING && old->state != STAGING_ABSENT) {
        run_stop(&old->run); /* its job was lost */
        staged_remove(TAKE(old));
    }
    /* Else it is of an attempt that made no job so far, and stays unless this one replaces it. */
    size_t bytes, count = staged_of_user(s, uid, &bytes);
    count -= old ? 1 : 0;
    bytes -= old ? old->manifest.n : 0;
    if (count >= (size_t)s->a->conf.max_staged_per_user || bytes > MANIFESTS_MAX) {
        err_set(&err, ERR_LIMIT,
                "%lld jobs of yours have data that is to be moved, or may turn up and have: as "
                "many as are allowed (max_staged_per_user)",
                (long long)s->a->conf.max_staged_per_user);
        fn(arg, &err);
        return;
    }
    if (!(e = staged_add(s, uid, id, attempt, manifest))) {
        err_set(&err, ERR_BUSY, "no memory");
        fn(arg, &err);
        return;
    }
    if (old)
        staged_remove(old);
    e->state = STAGING_SUBMITTING;
    e->begun_fn = fn;
    e->begun_arg = arg;
    e->busy = true;
    staged_ask_grant(e, &e->begin_err);
    staged_row(e, &row);
    row.manifest = e->manifest;
    journal_staging_note(s->a->journal, &row, 1, on_begun, s);
}

void staging_submitted(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID],
                       int64_t job_id)
{
    struct staged *e = staged_find(s, uid, id);
    if (!e || e->state != STAGING_SUBMITTING)
        return;
    if (job_id) {
        staged_is_job(e, job_id);
    } else if (e->attempt > 1) { /* an earlier one may have a job */
        absent(e);
    } else {
        staged_over(e, ERR_NONE, "it was not submitted");
        staged_remove(e);
    }
}

/* Nobody knows better, when slurmctld has ended and forgotten it meanwhile. */
static void take_job(struct staged *e, const struct request_row *row)
{
    struct watch_status st;
    int64_t attempt = staged_attempt_of(e, row->job_id, row->attempt);
    watch_status(e->s->a->watch, &st);
    if (attempt && (e->state != STAGING_SUBMITTED || e->attempt != attempt)) {
        staged_set_attempt(e, attempt);
        staged_is_job(e, row->job_id);
    } else if (!attempt && row->state == REQUEST_ENDED && st.as_of) {
        staged_is_job(e, row->job_id);
        e->submit_time = row->submit_time;
        staged_released(e);
        if (!staged_seek(e))
            staged_over(e, ERR_NONE, "it had ended before its data could be moved");
    }
}

/* By a request's row: what became of a submit that was in doubt, of an earlier broker's, or of one
 * that had no job and has one now. */
static void take_request(struct staged *e, const struct request_row *row)
{
    switch (row->state) {
    case REQUEST_SUBMITTED:
    case REQUEST_ENDED:
        take_job(e, row);
        return;
    case REQUEST_REFUSED:
    case REQUEST_NOT_SUBMITTED:
    case REQUEST_LOST:
        if (e->state != STAGING_ABSENT && row->attempt >= e->attempt)
            absent(e);
        return;
    default:
        return;
    }
}

struct asked {
    struct staging *s;
    uint32_t uid;
    uint8_t id[REQUEST_ID];
};

/* None: the journal was restored or begun anew, and its requests are void. */
static void on_request(void *arg, const struct request_row *rows, size_t n, bool begun,
                       const struct err *err)
{
    AUTO(free) struct asked *ask = arg;
    struct staged *e = staged_find(ask->s, ask->uid, ask->id);
    const struct request_row none = {.state = REQUEST_NOT_SUBMITTED, .attempt = INT64_MAX};
    (void)begun;
    if (err->code != ERR_NONE)
        return;
    if (n == 0)
        rows = &none;
    if (e && !e->begun_fn &&
        (e->state == STAGING_SUBMITTING || (e->state == STAGING_SUBMITTED && !e->seen)))
        take_request(e, rows);
}

void staged_ask_request(struct staged *e, int64_t now)
{
    const struct request *q = requests_find(e->s->a->requests, e->uid, e->id);
    struct request_row row;
    if (e->begun_fn)
        return;
    if (q) {
        request_row(q, &row);
        take_request(e, &row);
    } else if (e->state == STAGING_ABSENT) {
        if (clock_now() - e->changed > LATE_S)
            staged_over(e, ERR_NONE, NULL);
    } else if (now - e->asked_ms > STAGING_ASK_MS) {
        e->asked_ms = now;
        struct asked *ask = calloc(1, sizeof *ask);
        if (!ask)
            return;
        *ask = (struct asked){.s = e->s, .uid = e->uid};
        memcpy(ask->id, e->id, REQUEST_ID);
        journal_request_get(e->s->a->journal, e->uid, e->id, on_request, ask);
    }
}
