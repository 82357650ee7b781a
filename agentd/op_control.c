/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_control.c: job.cancel: the user's worker asks, Slurm decides */
#include "agentd/dispatch.h"
#include "agentd/jobid.h"
#include "agentd/watch.h"
#include "agentd/worker.h"

enum { RELOAD_ONE_BY_ONE = 20 }; /* more jobs than this are cheaper in one load of what changed */

/* What was changed is to be seen at once by who changed it. */
static void reload(struct call *c, const struct cancel_request *req)
{
    for (size_t i = 0; i < req->ids.n && req->ids.n <= RELOAD_ONE_BY_ONE; i++) {
        struct jobid id;
        struct err ignored = {0};
        if (jobid_parse(req->ids.v[i], &id, &ignored) == 0)
            watch_load(c->a->watch, id.id, &c->user->seen_by);
    }
    if (req->ids.n > RELOAD_ONE_BY_ONE)
        watch_load(c->a->watch, 0, &c->user->seen_by);
}

static void on_cancelled(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    if (answer->sent)
        reload(c, c->state);
    if (answer->err.code != ERR_NONE)
        call_fail(c, &answer->err);
    else
        call_reply_packed(c, answer->body);
}

void op_job_cancel(struct call *c)
{
    struct err err = {0};
    struct cancel_request *req = arena_alloc(&c->arena, sizeof *req);
    if (!req)
        err_set(&err, ERR_BUSY, "no memory");
    else if (call_unpack(c, req, &err) == 0 && req->ids.n == 0)
        err_set(&err, ERR_INVALID, "no job id is given");
    if (err.code == ERR_NONE && req->submit_time && req->ids.n != 1)
        err_set(&err, ERR_INVALID, "submit_time goes with one job id");
    struct jobid first;
    if (err.code == ERR_NONE && jobid_parse(req->ids.v[0], &first, &err) == 0) {
        char what[64];
        snprintf(what, sizeof what, "job=%s%s", req->ids.v[0], req->ids.n > 1 ? ",..." : "");
        call_about(c, what);
        c->state = req;
        workers_ask(c->a->workers, c->user->uid, WORKER_cancel, c->body, on_cancelled, c, &err);
    }
    if (err.code != ERR_NONE)
        call_fail(c, &err);
}
