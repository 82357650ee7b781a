/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Staged jobs in memory: found by request and by what Slurm shows, made of rows and made into them.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/stagers.h"
#include "agentd/metrics.h"
#include "agentd/staging_impl.h"
#include "agentd/table.h"
#include "common/clock.h"
#include "common/str.h"

enum { ATTEMPTS = 1000 }; /* whose tags are tried: the last ones */

static struct staged **tag_bucket(struct staging *s, uint32_t tag)
{
    return &s->by_tag[tag % STAGED_BUCKETS];
}

static struct staged **job_bucket(struct staging *s, int64_t job_id)
{
    return &s->by_job[(uint64_t)job_id % STAGED_BUCKETS];
}

/* Clients choose them: those of one user may all be in one. */
static struct staged **id_bucket(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID])
{
    return &s->by_id[request_tag(uid, id, 0) % STAGED_BUCKETS];
}

/* Takes it out of a bucket; next is where its links are. */
static void unhash(struct staged **at, struct staged *e, size_t next)
{
#define NEXT(x) (*(struct staged **)((char *)(x) + next))
    while (*at && *at != e)
        at = &NEXT(*at);
    if (*at)
        *at = NEXT(e);
#undef NEXT
}

void staged_set_job(struct staged *e, int64_t job_id)
{
    struct staged **at;
    if (e->job_id)
        unhash(job_bucket(e->s, e->job_id), e, offsetof(struct staged, next_job));
    e->job_id = job_id;
    if (!job_id)
        return;
    at = job_bucket(e->s, job_id);
    e->next_job = *at;
    *at = e;
}

struct staged *staged_of_job(struct staging *s, uint32_t uid, int64_t job_id)
{
    struct staged *e = *job_bucket(s, job_id);
    while (e && (e->uid != uid || e->job_id != job_id))
        e = e->next_job;
    return e;
}

void staged_set_attempt(struct staged *e, int64_t attempt)
{
    unhash(tag_bucket(e->s, e->tag), e, offsetof(struct staged, next));
    e->attempt = attempt;
    e->tag = request_tag(e->uid, e->id, attempt);
    struct staged **at = tag_bucket(e->s, e->tag);
    e->next = *at;
    *at = e;
}

static void run_init(struct run *r, struct staged *e, struct unit *u)
{
    *r = (struct run){.job = e, .unit = u};
}

struct carried {
    uint32_t uid, tag;
};

static int look_at_tag(void *arg, struct jobrec *rec)
{
    struct carried *c = arg;
    if (rec->keys.uid == c->uid)
        c->tag = (uint32_t)rec->keys.tag;
    return c->tag ? -1 : 0;
}

int64_t staged_attempt_of(const struct staged *e, int64_t job_id, int64_t last)
{
    const struct jobid id = {.kind = JOBID_PLAIN, .id = (uint32_t)job_id};
    struct carried c = {.uid = e->uid};
    table_find(e->s->a->table, &id, look_at_tag, &c);
    for (int64_t i = last; c.tag && i > 0 && i > last - ATTEMPTS; i--)
        if (request_tag(e->uid, e->id, i) == c.tag)
            return i;
    return 0;
}

/* What of the manifest the broker goes by.  -1: it is none, which was checked before. */
static int take_manifest(struct staged *e, struct bytes manifest)
{
    AUTO(arena_done) struct arena arena = {0};
    struct manifest m;
    struct err err = {0};
    const struct agentd_conf *c = &e->s->a->conf;
    uint8_t *copy = malloc(manifest.n ? manifest.n : 1);
    if (!copy || manifest_read(manifest, &arena, &m, &err) < 0) {
        free(copy);
        return -1;
    }
    memcpy(copy, manifest.p, manifest.n);
    free((void *)e->manifest.p);
    e->manifest = (struct bytes){copy, manifest.n};
    e->has_inputs = m.n_inputs > 0;
    e->outputs_ok = manifest_has_outputs(&m, false);
    e->outputs_failed = manifest_has_outputs(&m, true);
    e->held = m.body.held;
    e->array = m.body.array;
    e->timeout_s = m.body.timeout_s ? m.body.timeout_s : c->stage_s;
    if (e->timeout_s > c->max_stage_s)
        e->timeout_s = c->max_stage_s;
    return 0;
}

struct staged *staged_add(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID],
                          int64_t attempt, struct bytes manifest)
{
    struct staged *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->s = s;
    e->uid = uid;
    memcpy(e->id, id, REQUEST_ID);
    e->begun = e->changed = clock_now();
    run_init(&e->run, e, NULL);
    if (take_manifest(e, manifest) < 0) {
        free(e);
        return NULL;
    }
    staged_set_attempt(e, attempt);
    struct staged **at = id_bucket(s, uid, id);
    e->next_id = *at;
    *at = e;
    TAILQ_INSERT_TAIL(&s->all, e, in_all);
    s->count++;
    return e;
}

void staged_remove(struct staged *e)
{
    while (e->n_units)
        unit_remove(e, e->units[e->n_units - 1]);
    free(e->units);
    if (e->run.stager)
        stager_stop(TAKE(e->run.stager));
    staged_set_job(e, 0);
    unhash(id_bucket(e->s, e->uid, e->id), e, offsetof(struct staged, next_id));
    unhash(tag_bucket(e->s, e->tag), e, offsetof(struct staged, next));
    TAILQ_REMOVE(&e->s->all, e, in_all);
    e->s->count--;
    free((void *)e->manifest.p);
    free(e);
}

struct staged *staged_find(struct staging *s, uint32_t uid, const uint8_t id[REQUEST_ID])
{
    struct staged *e;
    for (e = *id_bucket(s, uid, id); e; e = e->next_id)
        if (e->uid == uid && memcmp(e->id, id, REQUEST_ID) == 0)
            break;
    return e;
}

size_t staged_of_user(const struct staging *s, uint32_t uid, size_t *ret_bytes)
{
    const struct staged *e;
    size_t n = 0;
    *ret_bytes = 0;
    TAILQ_FOREACH(e, &s->all, in_all)
    {
        n += e->uid == uid && e->state != STAGING_OVER;
        *ret_bytes += e->uid == uid ? e->manifest.n : 0;
    }
    return n;
}

struct staged *staged_of(struct staging *s, const struct jobrec *rec)
{
    struct staged *e;
    if (rec->keys.tag) {
        for (e = *tag_bucket(s, (uint32_t)rec->keys.tag); e; e = e->next)
            if (e->tag == (uint32_t)rec->keys.tag && e->uid == rec->keys.uid &&
                (!e->job_id || e->job_id == rec->group))
                return e;
        return NULL;
    }
    for (e = *job_bucket(s, rec->group); e; e = e->next_job)
        if (e->uid == rec->keys.uid && e->job_id == rec->group &&
            e->submit_time == rec->submit_time)
            break;
    return e;
}

/* ---- ends ---- */

/* Where it is, or would be. */
static size_t find_place(const struct staged *e, uint32_t task)
{
    size_t from = 0, to = e->n_units;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (e->units[middle]->task < task)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct unit *unit_of_task(const struct staged *e, uint32_t task)
{
    size_t at = find_place(e, task);
    return at < e->n_units && e->units[at]->task == task ? e->units[at] : NULL;
}

struct unit *unit_of(const struct staged *e, const struct jobrec *rec)
{
    return unit_of_task(e, rec->task);
}

void unit_set_state(struct unit *u, enum staging_state state)
{
    struct staged *e = u->run.job;
    e->sought -= u->state == STAGING_SOUGHT;
    e->sought += state == STAGING_SOUGHT;
    u->state = state;
    u->changed = clock_now();
}

/* There is none of that task. */
static struct unit *add_unit(struct staged *e, uint32_t task)
{
    struct unit *u = calloc(1, sizeof *u);
    if (u && e->n_units == e->room_units) {
        size_t room = e->room_units ? 2 * e->room_units : 1;
        struct unit **more = reallocarray(e->units, room, sizeof(struct unit *));
        if (more) {
            e->units = more;
            e->room_units = room;
        }
    }
    if (!u || e->n_units == e->room_units) {
        free(u);
        return NULL;
    }
    size_t at = find_place(e, task);
    memmove(e->units + at + 1, e->units + at, (e->n_units++ - at) * sizeof(struct unit *));
    e->units[at] = u;
    u->task = task;
    u->state = STAGING_STORING;
    u->begun = u->changed = clock_now();
    run_init(&u->run, e, u);
    u->run.op = STAGE_OP_out;
    return u;
}

struct unit *unit_add(struct staged *e, const struct jobrec *rec)
{
    struct unit *u = add_unit(e, rec->task);
    if (!u)
        return NULL;
    u->job_id = rec->job_id;
    u->submit_time = rec->submit_time;
    u->failed = rec->phase != PHASE_SUCCEEDED;
    u->run.wanted = true;
    return u;
}

struct unit *unit_add_sought(struct staged *e, uint32_t task, uint32_t job_id, int64_t submit_time)
{
    struct unit *u = add_unit(e, task);
    if (!u)
        return NULL;
    u->job_id = job_id;
    u->submit_time = submit_time;
    unit_set_state(u, STAGING_SOUGHT);
    return u;
}

void unit_remove(struct staged *e, struct unit *u)
{
    size_t at = find_place(e, u->task);
    if (u->run.stager)
        stager_stop(TAKE(u->run.stager));
    e->sought -= u->state == STAGING_SOUGHT;
    memmove(e->units + at, e->units + at + 1, (--e->n_units - at) * sizeof(struct unit *));
    free(u);
}

void unit_forget(struct staged *e, struct unit *u)
{
    run_stop(&u->run);
    unit_set_state(u, STAGING_OVER);
    u->forgotten = true;
    u->code = 0;
    str_copy(u->text, sizeof u->text, "slurmctld was killed, and does that run once more");
    staged_say(e, LOG_LEVEL_NOTICE, u->text);
    unit_note(u);
    unit_remove(e, u);
}

/* ---- rows ---- */

/* What a task's row has besides a job's: in `attempt`, which it does not need. */
enum { UNIT_FAILED = 1, UNIT_FORGOTTEN = 2 };

void staged_row(const struct staged *e, struct staging_row *out)
{
    *out = (struct staging_row){
        .uid = e->uid,
        .task = STAGING_JOB,
        .state = e->state,
        .attempt = e->attempt,
        .job_id = e->job_id,
        .submit_time = e->submit_time,
        .begun = e->begun,
        .changed = e->changed,
        .code = e->code,
        .files = e->run.files,
        .bytes = e->run.bytes,
    };
    memcpy(out->id, e->id, REQUEST_ID);
    str_copy(out->text, sizeof out->text, e->text);
}

void unit_row(const struct staged *e, const struct unit *u, struct staging_row *out)
{
    *out = (struct staging_row){
        .uid = e->uid,
        .task = u->task,
        .state = u->state,
        .attempt = (int64_t)u->job_id << 8 | (u->failed ? UNIT_FAILED : 0) |
                   (u->forgotten ? UNIT_FORGOTTEN : 0),
        .job_id = e->job_id,
        .submit_time = u->submit_time,
        .begun = u->begun,
        .changed = u->changed,
        .code = u->code,
        .files = u->run.files,
        .bytes = u->run.bytes,
    };
    memcpy(out->id, e->id, REQUEST_ID);
    str_copy(out->text, sizeof out->text, u->text);
}

static int restore_job(struct staging *s, const struct staging_row *row)
{
    struct staged *e = staged_add(s, row->uid, row->id, row->attempt, row->manifest);
    if (!e)
        return -1;
    e->state = (enum staging_state)row->state;
    staged_set_job(e, row->job_id);
    e->submit_time = row->submit_time;
    e->begun = row->begun;
    e->changed = row->changed;
    e->code = row->code;
    if (e->code == CODE_HELD || e->code == CODE_FREE)
        e->held = e->code == CODE_HELD;
    e->run.files = e->run.files_total = row->files;
    e->run.bytes = e->run.bytes_total = row->bytes;
    e->run.left = e->state == STAGING_FETCHING; /* its worker was killed with that broker */
    e->look = e->restored = true;
    str_copy(e->text, sizeof e->text, row->text);
    return 0;
}

static int restore_unit(struct staging *s, const struct staging_row *row)
{
    struct staged *e = staged_find(s, row->uid, row->id);
    struct unit *u;
    if (!e)
        return -1;
    if (row->attempt & UNIT_FORGOTTEN || unit_of_task(e, (uint32_t)row->task))
        return 0; /* there is none any more; or memory knows better */
    if (!(u = add_unit(e, (uint32_t)row->task)))
        return -1;
    u->job_id = (uint32_t)(row->attempt >> 8);
    u->failed = row->attempt & UNIT_FAILED;
    u->submit_time = row->submit_time;
    unit_set_state(u, (enum staging_state)row->state);
    u->begun = row->begun;
    u->changed = row->changed;
    u->code = row->code;
    u->run.files = u->run.files_total = row->files;
    u->run.bytes = u->run.bytes_total = row->bytes;
    u->run.wanted = u->state == STAGING_STORING;
    u->run.left = u->run.wanted;
    str_copy(u->text, sizeof u->text, row->text);
    return 0;
}

int staged_restore(struct staging *s, const struct staging_row *row)
{
    if (!staging_word(row->state))
        return -1;
    bool is_known =
        row->task == STAGING_JOB ? row->manifest.n > 0 : staged_find(s, row->uid, row->id) != NULL;
    /* Nothing is to be done for it, but its job must not be told as whole. */
    if (row->state == STAGING_OVER && !is_known) {
        verdicts_take(&s->verdicts, row);
        return 0;
    }
    return row->task == STAGING_JOB ? restore_job(s, row) : restore_unit(s, row);
}

/* ---- how many there are ---- */

void staging_states(const struct staging *s, int64_t by_number[STAGING_OVER + 1])
{
    const struct staged *e;
    if (!s)
        return;
    TAILQ_FOREACH(e, &s->all, in_all)
    {
        by_number[e->state] += e->state != STAGING_OVER;
        for (size_t i = 0; i < e->n_units; i++)
            by_number[e->units[i]->state] += e->units[i]->state != STAGING_OVER;
    }
}

static int by_uid(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

size_t staging_most(const struct staging *s, uint32_t *ret_uid)
{
    const struct staged *e;
    AUTO(free) uint32_t *uids = s ? calloc(s->count + 1, sizeof *uids) : NULL;
    size_t n = 0, most = 0, run = 0;
    if (!uids)
        return 0;
    TAILQ_FOREACH(e, &s->all, in_all)
    if (e->state != STAGING_OVER)
        uids[n++] = e->uid;
    qsort(uids, n, sizeof *uids, by_uid);
    for (size_t i = 0; i < n; i++) {
        run = i && uids[i] == uids[i - 1] ? run + 1 : 1;
        if (run > most) {
            most = run;
            *ret_uid = uids[i];
        }
    }
    return most;
}

/* ---- and what stage workers did ---- */

static size_t task_of(enum stage_op op)
{
    static const uint8_t at[] = {
#define SOP(id, number, moves, help) [number] = TASK_##id,
#include "agentd/stage_ops.def"
#undef SOP
    };
    return (size_t)op < ARRAY_LEN(at) ? at[op] : 0;
}

void run_count(const struct run *r, enum stager_news news, const struct stage_report *rep,
               const struct err *err)
{
    size_t task = task_of(r->op);
    if (news == STAGER_FAILED)
        metrics_add(stage_tasks, task, result_of(err->code), 1);
    if (news != STAGER_DONE)
        return;
    metrics_add(stage_tasks, task, RESULT_OK, 1);
    metrics_add(stage_bytes, task, 0, rep->bytes);
    metrics_add(stage_files, task, 0, rep->files);
    if (r->since_ms)
        metrics_took(stage_time, task, r->since_ms * 1000);
}
