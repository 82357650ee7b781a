/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_staging.c: job.staging: what was moved for a job, from where to where, by the journal */
#include <string.h>

#include "agentd/dispatch.h"
#include "agentd/jobid.h"
#include "agentd/staging.h"
#include "common/manifest.h"
#include "common/str.h"

enum { OUTPUTS_MAX = 10000 };

struct asking {
    struct jobid id;
};

struct listing {
    struct call *c;
    const struct manifest *m;
    struct bytes *v;
    size_t n;
};

static int add(struct listing *l, const struct staging_row *end, const char *from, const char *to,
               bool required, struct err *err)
{
    bool task = end->task != JOBREC_NO_TASK;
    const struct manifest_job job = {
        .job_id = end->attempt >> 8, /* see staging_set.c */
        .array_job_id = end->job_id,
        .task = end->task,
    };
    struct arena *arena = &l->c->arena;
    const struct staged_output out = {
        .id = task ? arena_printf(arena, "%lld_%lld", (long long)end->job_id, (long long)end->task)
                   : arena_printf(arena, "%lld", (long long)end->job_id),
        .from = manifest_expand(from, &job, arena),
        .to = manifest_expand(to, &job, arena),
        .stored = end->state == STAGING_OVER && end->code == 0,
        .text = *end->text ? end->text : NULL,
        .required = required,
    };
    if (l->n == OUTPUTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d outputs: ask for one task at a time",
                       OUTPUTS_MAX);
    l->v[l->n] = msg_pack_arena(&staged_output_type, &out, arena);
    if (!out.from || !out.to || !l->v[l->n++].p)
        return err_set(err, ERR_BUSY, "no memory");
    return 0;
}

static int add_end(struct listing *l, const struct staging_row *end, struct err *err)
{
    const struct manifest *m = l->m;
    const struct stage_manifest *b = &m->body;
    bool failed = end->attempt & 1; /* see staging_set.c */
    for (size_t i = 0; i < m->n_outputs; i++)
        if (manifest_wants(&m->outputs[i], failed) &&
            add(l, end, m->outputs[i].from, m->outputs[i].to, m->outputs[i].required, err) < 0)
            return -1;
    if (b->stdout_to && b->std_out && add(l, end, b->std_out, b->stdout_to, false, err) < 0)
        return -1;
    return b->stderr_to && b->std_err ? add(l, end, b->std_err, b->stderr_to, false, err) : 0;
}

static bool is_asked(const struct jobid *id, const struct staging_row *end)
{
    return id->kind != JOBID_TASK || end->task == id->second;
}

static int reply(struct call *c, const struct staging_row *job, const struct staging_row *rows,
                 size_t n, struct err *err)
{
    const struct asking *a = c->state;
    struct manifest m;
    if (manifest_read(job->manifest, &c->arena, &m, err) < 0)
        return -1;
    struct listing l = {.c = c, .m = &m, .v = arena_array(&c->arena, OUTPUTS_MAX, sizeof *l.v)};
    if (!l.v)
        return err_set(err, ERR_BUSY, "no memory");
    for (size_t i = 0; i < n; i++)
        if (rows[i].task != STAGING_JOB && memcmp(rows[i].id, job->id, REQUEST_ID) == 0 &&
            is_asked(&a->id, &rows[i]) && add_end(&l, &rows[i], err) < 0)
            return -1;
    const struct staging_reply r = {
        .job_id = job->job_id,
        .state = staging_word(job->state),
        .text = *job->text ? job->text : NULL,
        .inputs = m.body.inputs,
        .outputs = {l.v, l.n},
    };
    call_reply(c, &r);
    return 0;
}

static void on_rows(void *arg, const struct staging_row *rows, size_t n, const struct err *failed)
{
    struct call *c = arg;
    struct err err = *failed;
    const struct staging_row *job = NULL;
    for (size_t i = 0; i < n && err.code == ERR_NONE; i++)
        if (rows[i].task == STAGING_JOB && (!job || rows[i].begun > job->begun))
            job = &rows[i];
    if (err.code == ERR_NONE && !job)
        err_set(&err, ERR_NOT_FOUND,
                "no job of yours with that id had data to be moved, or it is older than what is "
                "kept (history_days)");
    if (err.code != ERR_NONE || reply(c, job, rows, n, &err) < 0)
        call_fail(c, &err);
}

void op_job_staging(struct call *c)
{
    struct staging_request req;
    struct err err = {0};
    struct asking *a = arena_alloc(&c->arena, sizeof *a);
    if (!a)
        err_set(&err, ERR_BUSY, "no memory");
    else if (call_unpack(c, &req, &err) == 0)
        jobid_parse(str_or(req.id, ""), &a->id, &err);
    if (err.code == ERR_NONE && (a->id.kind == JOBID_TASKS || a->id.kind == JOBID_HET))
        err_set(&err, ERR_INVALID, "%.100s: give a job, an array or one task", req.id);
    if (err.code != ERR_NONE) {
        call_fail(c, &err);
        return;
    }
    c->state = a;
    journal_staging_get(c->a->journal, c->user->uid, a->id.id, on_rows, c);
}
