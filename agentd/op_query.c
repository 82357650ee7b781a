/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_query.c: job.get and job.script */
#include "agentd/dispatch.h"
#include "agentd/find.h"
#include "agentd/worker.h"
#include "common/str.h"

/* ---- get ---- */

static void on_found(struct call *c, const struct found *f, const struct err *err)
{
    struct bytes *v = arena_array(&c->arena, f->n + 1, sizeof *v);
    struct err mine = *err;
    size_t bytes = 0;
    for (size_t i = 0; v && i < f->n; i++) {
        v[i] = f->recs[i]->packed;
        bytes += v[i].n;
    }
    if (!v)
        err_set(&mine, ERR_BUSY, "no memory");
    else if (bytes > WIRE_MAX_JOBS)
        err_set(&mine, ERR_LIMIT, "the answer is larger than %d bytes: ask for fewer jobs at once",
                WIRE_MAX_JOBS);
    if (mine.code != ERR_NONE) {
        call_fail(c, &mine);
        return;
    }
    const struct jobs_reply r = {
        .as_of = f->as_of,
        .stale = f->stale,
        .note = *f->note ? f->note : NULL,
        .source = f->source,
        .jobs = {v, f->n},
        .missing = {f->missing, f->n_missing},
    };
    call_reply(c, &r);
}

void op_job_get(struct call *c)
{
    struct get_request req;
    struct err err = {0};
    if (call_unpack(c, &req, &err) == 0 && req.ids.n == 0)
        err_set(&err, ERR_INVALID, "no job id is given");
    if (err.code != ERR_NONE)
        call_fail(c, &err);
    else
        find_jobs(c, &req.ids, on_found);
}

/* ---- script ---- */

void op_job_script(struct call *c)
{
    struct script_request req;
    struct err err = {0};
    if (call_unpack(c, &req, &err) < 0 ||
        workers_ask(c->a->workers, c->user->uid, WORKER_script, c->body, call_pass_on, c, &err) < 0)
        call_fail(c, &err);
}
