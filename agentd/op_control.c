/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_control.c: job.cancel: the user's worker asks, Slurm decides */
#include "agentd/agentd.h"
#include "agentd/cancels.h"
#include "agentd/dispatch.h"
#include "agentd/jobid.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/log.h"

enum {
    ONE_BY_ONE = 20, /* more jobs than this are cheaper in one load of what changed */
    LOG_LINES = 20,  /* for single jobs of one request */
};

struct cancelling {
    struct cancel_request req;
    size_t n_asked; /* the first ids, of which cancels.h knows */
    uint64_t asked[ONE_BY_ONE];
};

/* What was changed is to be seen at once by who changed it. */
static void reload(struct call *c, const struct cancel_request *req)
{
    for (size_t i = 0; i < req->ids.n && req->ids.n <= ONE_BY_ONE; i++) {
        struct jobid id;
        struct err ignored = {0};
        if (jobid_parse(req->ids.v[i], &id, &ignored) == 0)
            watch_load(c->a->watch, id.id, &c->user->seen_by);
    }
    if (req->ids.n > ONE_BY_ONE)
        watch_load(c->a->watch, 0, &c->user->seen_by);
}

/* Not of many at once: they would drive out what others did. */
static void ask(struct call *c, struct cancelling *g)
{
    if (g->req.signal || g->req.ids.n > ONE_BY_ONE)
        return;
    for (; g->n_asked < g->req.ids.n; g->n_asked++)
        g->asked[g->n_asked] =
            cancels_ask(c->a->cancels, g->req.ids.v[g->n_asked], c->user->name, c->user->uid);
}

/* Those of which nothing else is known; the newest first, so that all their places are free. */
static void drop(struct call *c, const struct cancelling *g)
{
    for (size_t i = g->n_asked; i > 0; i--)
        cancels_answered(c->a->cancels, g->asked[i - 1], false);
}

/* What is said of a signal's job is its own business. */
static void note(struct call *c, size_t i, const struct cancel_result *r)
{
    const struct cancelling *g = c->state;
    if (g->req.signal || r->code != ERR_NONE || r->text)
        return;
    if (i < g->n_asked)
        cancels_answered(c->a->cancels, g->asked[i], true);
    else
        cancels_note(c->a->cancels, g->req.ids.v[i], c->user->name);
}

/* The worker is its user's: it may say what it likes, but only about what was asked. */
static void audit(struct call *c, struct bytes reply)
{
    const struct cancelling *g = c->state;
    const struct cancel_request *req = &g->req;
    struct cancel_reply r;
    struct cancel_result one;
    struct err ignored = {0};
    char what[64];
    unsigned refused = 0;
    if (msg_unpack(&cancel_reply_type, reply, &c->arena, MSG_STRICT, &r, &ignored) < 0)
        return;
    for (size_t i = 0; i < r.results.n && i < req->ids.n; i++) {
        if (msg_unpack(&cancel_result_type, r.results.v[i], &c->arena, MSG_STRICT, &one, &ignored) <
            0)
            continue;
        note(c, i, &one);
        enum err_code code = one.code ? err_from_wire(one.code) : ERR_NONE;
        refused += code != ERR_NONE;
        if (code != ERR_NONE && c->code == ERR_NONE)
            c->code = code;
        snprintf(what, sizeof what, "job=%.50s", req->ids.v[i]);
        if (req->ids.n > 1 && i < LOG_LINES)
            call_log(c, what, code);
    }
    if (req->ids.n > 1) {
        snprintf(what, sizeof what, "job=%.20s,... jobs=%u refused=%u", req->ids.v[0],
                 (unsigned)req->ids.n, refused);
        call_about(c, what);
    }
}

static void on_cancelled(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct cancelling *g = c->state;
    if (answer->err.code == ERR_NONE)
        audit(c, answer->body);
    if (answer->err.code == ERR_NONE || !answer->sent)
        drop(c, g);
    if (answer->sent)
        reload(c, &g->req);
    call_pass_on(c, answer);
}

void op_job_cancel(struct call *c)
{
    struct err err = {0};
    struct cancelling *g = arena_alloc(&c->arena, sizeof *g);
    struct cancel_request *req = g ? &g->req : NULL;
    if (!g)
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
        c->state = g;
        ask(c, g);
        if (workers_ask(c->a->workers, c->user->uid, WORKER_cancel, c->body, on_cancelled, c,
                        &err) < 0)
            drop(c, g);
    }
    if (err.code != ERR_NONE)
        call_fail(c, &err);
}
