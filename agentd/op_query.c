/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_query.c: job.get, job.script, job.environment and job.steps */
#include "agentd/agentd.h"
#include "agentd/dispatch.h"
#include "agentd/find.h"
#include "agentd/watch.h"
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

/* ---- script and environment ---- */

static void ask_slurmdbd(struct call *c, const char *id, bool environment, worker_done_fn done,
                         struct err *err)
{
    struct watch_status watch;
    watch_status(c->a->watch, &watch);
    const struct acct_text_request req = {
        .cluster = *watch.cluster ? watch.cluster : NULL,
        .id = id,
        .environment = environment,
    };
    struct bytes body = msg_pack_arena(&acct_text_request_type, &req, &c->arena);
    if (!body.p)
        err_set(err, ERR_BUSY, "no memory");
    else if (!c->a->workers)
        err_set(err, ERR_BUSY, "the server is stopping");
    else
        workers_ask(c->a->workers, c->user->uid, WORKER_acct_text, body, done, c, err);
}

static bool has_slurmdbd(const struct call *c)
{
    struct watch_status watch;
    watch_status(c->a->watch, &watch);
    return watch.accounting;
}

/* slurmctld has forgotten it; slurmdbd may keep scripts. */
static void on_script(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct err err = {0};
    const struct script_request *req = c->state;
    if (answer->err.code != ERR_NOT_FOUND || !has_slurmdbd(c)) {
        call_pass_on(c, answer);
        return;
    }
    ask_slurmdbd(c, req->id, false, call_pass_on, &err);
    if (err.code != ERR_NONE)
        call_fail(c, &err);
}

void op_job_script(struct call *c)
{
    struct err err = {0};
    struct script_request *req = arena_alloc(&c->arena, sizeof *req);
    c->state = req;
    if (!req)
        err_set(&err, ERR_BUSY, "no memory");
    if (err.code != ERR_NONE || call_unpack(c, req, &err) < 0 ||
        workers_ask(c->a->workers, c->user->uid, WORKER_script, c->body, on_script, c, &err) < 0)
        call_fail(c, &err);
}

static void on_environment(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct script_reply r = {0};
    struct err err = answer->err;
    if (err.code == ERR_NONE)
        msg_unpack(&script_reply_type, answer->body, &c->arena, MSG_STRICT, &r, &err);
    if (err.code != ERR_NONE)
        call_fail(c, &err);
    else
        call_reply(c, &(struct environment_reply){.environment = r.script});
}

/* slurmctld gives it to nobody. */
void op_job_environment(struct call *c)
{
    struct environment_request req;
    struct err err = {0};
    if (call_unpack(c, &req, &err) == 0 && !has_slurmdbd(c))
        err_set(
            &err, ERR_UNSUPPORTED,
            "Slurm gives a job's environment through slurmdbd alone, and this cluster has none: "
            "AccountingStorageType=accounting_storage/slurmdbd and AccountingStoreFlags=job_env "
            "in slurm.conf would make it");
    if (err.code == ERR_NONE)
        ask_slurmdbd(c, str_or(req.id, ""), true, on_environment, &err);
    if (err.code != ERR_NONE)
        call_fail(c, &err);
}

/* ---- steps ---- */

void op_job_steps(struct call *c)
{
    struct steps_request req;
    struct err err = {0};
    if (call_unpack(c, &req, &err) == 0 && req.ids.n == 0)
        err_set(&err, ERR_INVALID, "no job id is given");
    if (err.code != ERR_NONE ||
        workers_ask(c->a->workers, c->user->uid, WORKER_steps, c->body, call_pass_on, c, &err) < 0)
        call_fail(c, &err);
}
