/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_control.c: job.control: the user's worker asks, Slurm decides */
#include "agentd/agentd.h"
#include "agentd/cancels.h"
#include "agentd/choose.h"
#include "agentd/dispatch.h"
#include "agentd/jobid.h"
#include "agentd/staging.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/jobverb.h"
#include "common/log.h"
#include "common/str.h"

enum {
    ONE_BY_ONE = 20, /* more jobs than this are cheaper in one load of what changed */
};

struct controlling {
    struct control_request req;
    const struct job_verb_row *verb;
    struct chosen chosen; /* with filters */
    bool filtered;
    size_t n_asked; /* the first ids, of which cancels.h knows */
    uint64_t asked[ONE_BY_ONE];
};

/* What was changed is to be seen at once by who changed it; top changes the user's other jobs, too.
 */
static void reload(struct call *c, const struct controlling *g)
{
    const struct control_request *req = &g->req;
    bool all = req->ids.n > ONE_BY_ONE || g->verb->verb == JOB_VERB_top;
    for (size_t i = 0; i < req->ids.n && !all; i++) {
        struct jobid id;
        struct err ignored = {0};
        if (jobid_parse(req->ids.v[i], &id, &ignored) == 0)
            watch_changed(c->a->watch, id.id, c->user->uid, &c->user->seen_by);
    }
    if (all)
        watch_load(c->a->watch, 0, &c->user->seen_by);
}

static bool ends_jobs(const struct controlling *g)
{
    return g->verb->verb == JOB_VERB_cancel && !g->req.signal;
}

/* Not of many at once: they would drive out what others did. */
static void ask(struct call *c, struct controlling *g)
{
    if (!ends_jobs(g) || g->req.ids.n > ONE_BY_ONE)
        return;
    for (; g->n_asked < g->req.ids.n; g->n_asked++)
        g->asked[g->n_asked] =
            cancels_ask(c->a->cancels, g->req.ids.v[g->n_asked], c->user->name, c->user->uid);
}

/* Those of which nothing else is known; the newest first, so that all their places are free. */
static void drop(struct call *c, const struct controlling *g)
{
    for (size_t i = g->n_asked; i > 0; i--)
        cancels_answered(c->a->cancels, g->asked[i - 1], false);
}

/* What is said of a signal's job is its own business. */
static void note(struct call *c, size_t i, const struct control_result *r)
{
    const struct controlling *g = c->state;
    if (!ends_jobs(g) || r->code != ERR_NONE)
        return;
    staging_cancel(c->a->staging, c->user->uid, g->req.ids.v[i]);
    if (r->text)
        return;
    if (i < g->n_asked)
        cancels_answered(c->a->cancels, g->asked[i], true);
    else
        cancels_note(c->a->cancels, g->req.ids.v[i], c->user->name);
}

/* The worker is its user's: it may say what it likes, but only about what was asked. */
static void audit(struct call *c, struct bytes reply)
{
    const struct controlling *g = c->state;
    const struct control_request *req = &g->req;
    struct control_reply r;
    struct control_result one;
    struct err ignored = {0};
    char what[64];
    unsigned refused = 0;
    if (msg_unpack(&control_reply_type, reply, &c->arena, MSG_STRICT, &r, &ignored) < 0)
        return;
    for (size_t i = 0; i < r.results.n && i < req->ids.n; i++) {
        if (msg_unpack(&control_result_type, r.results.v[i], &c->arena, MSG_STRICT, &one,
                       &ignored) < 0 ||
            one.passed_over)
            continue;
        note(c, i, &one);
        enum err_code code = one.code ? err_from_wire(one.code) : ERR_NONE;
        refused += code != ERR_NONE;
        if (code != ERR_NONE && c->code == ERR_NONE)
            c->code = code;
        snprintf(what, sizeof what, "verb=%s job=%.40s", g->verb->word, req->ids.v[i]);
        if (req->ids.n > 1)
            call_log(c, what, code);
    }
    if (req->ids.n > 1) {
        snprintf(what, sizeof what, "verb=%s job=%.12s,... jobs=%u refused=%u", g->verb->word,
                 req->ids.v[0], (unsigned)req->ids.n, refused);
        call_about(c, what);
    }
}

/* ---- what the worker says ---- */

struct results {
    struct bytes *v;
    size_t n;
};

static bool add_result(struct call *c, struct results *out, const struct control_result *r)
{
    out->v[out->n] = msg_pack_arena(&control_result_type, r, &c->arena);
    return out->v[out->n++].p != NULL;
}

/* Of the ids that were asked for. */
static bool add_others(struct call *c, const struct chosen *chosen, struct results *out)
{
    char text[300];
    struct control_result r = {.text = text};
    bool ok = true;
    for (size_t i = 0; ok && i < chosen->n_unfit; i++) {
        r.id = chosen->unfit[i];
        snprintf(text, sizeof text, "job %.256s does not fit: it is left as it is", r.id);
        ok = add_result(c, out, &r);
    }
    r.code = ERR_NOT_FOUND;
    for (size_t i = 0; ok && i < chosen->n_unknown; i++) {
        r.id = chosen->unknown[i];
        snprintf(text, sizeof text, "Slurm knows no job %.256s", r.id);
        ok = add_result(c, out, &r);
    }
    return ok;
}

/* The worker's results but for the jobs that were passed over, and what is to be said of ids that
 * it was not asked about.  body.p NULL: there was nobody to ask. */
static void reply_filtered(struct call *c, struct bytes body)
{
    const struct controlling *g = c->state;
    const struct chosen *chosen = &g->chosen;
    struct control_reply r = {0};
    struct control_result one;
    struct err err = {0};
    if (body.p)
        msg_unpack(&control_reply_type, body, &c->arena, MSG_STRICT, &r, &err);
    struct results out = {
        .v = arena_array(&c->arena, r.results.n + chosen->n_unfit + chosen->n_unknown,
                         sizeof *out.v),
    };
    for (size_t i = 0; out.v && i < r.results.n; i++)
        if (msg_unpack(&control_result_type, r.results.v[i], &c->arena, MSG_STRICT, &one, &err) ==
                0 &&
            !one.passed_over)
            out.v[out.n++] = r.results.v[i];
    if (err.code == ERR_NONE && (!out.v || !add_others(c, chosen, &out)))
        err_set(&err, ERR_BUSY, "no memory");
    if (err.code != ERR_NONE) {
        call_fail(c, &err);
        return;
    }
    call_reply(c, &(struct control_reply){.results = {out.v, out.n}, .next = chosen->next});
}

static void on_controlled(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct controlling *g = c->state;
    if (answer->err.code == ERR_NONE)
        audit(c, answer->body);
    if (answer->err.code == ERR_NONE || !answer->sent)
        drop(c, g);
    if (answer->sent)
        reload(c, g);
    if (g->filtered && answer->err.code == ERR_NONE)
        reply_filtered(c, answer->body);
    else
        call_pass_on(c, answer);
}

/* ---- the request ---- */

/* What belongs to another verb is not passed over: it was meant to do something. */
static int check_with(const struct control_request *req, const struct job_verb_row *verb,
                      struct err *err)
{
    if ((req->signal || req->batch || req->full) && verb->with != VERB_SIGNAL)
        return err_set(err, ERR_INVALID, "a signal goes with cancel, not with %s", verb->word);
    if (req->message && verb->with != VERB_MESSAGE)
        return err_set(err, ERR_INVALID, "a message goes with notify, not with %s", verb->word);
    if (req->options.n && verb->with != VERB_OPTIONS)
        return err_set(err, ERR_INVALID, "options go with update, not with %s", verb->word);
    if (!req->options.n && verb->with == VERB_OPTIONS)
        return err_set(err, ERR_INVALID, "update: nothing is said to be changed");
    if (!req->message && verb->with == VERB_MESSAGE)
        return err_set(err, ERR_INVALID, "notify: the message is missing");
    return 0;
}

static int check(const struct control_request *req, const struct job_verb_row *verb, bool filtered,
                 struct err *err)
{
    if (!req->verb)
        return err_set(err, ERR_INVALID, "the verb is missing");
    if (!verb)
        return err_set(err, ERR_UNSUPPORTED, "this server has no verb '%s'", req->verb);
    if (req->ids.n == 0 && !filtered)
        return err_set(err, ERR_INVALID, "no job id is given, nor what jobs are to be like");
    if (filtered && (req->submit_times.n || req->restarts.n))
        return err_set(err, ERR_INVALID, "submit_times go with ids alone, not with filters");
    if (req->staged.n)
        return err_set(err, ERR_INVALID, "staged is the server's to say");
    if (req->after && (req->ids.n || !filtered))
        return err_set(err, ERR_INVALID, "after goes with filters alone");
    if ((req->submit_times.n && req->submit_times.n != req->ids.n) ||
        (req->restarts.n && req->restarts.n != req->submit_times.n))
        return err_set(err, ERR_INVALID, "%zu ids, but %zu submit_times and %zu restarts",
                       req->ids.n, req->submit_times.n, req->restarts.n);
    return check_with(req, verb, err);
}

/* What the worker is to say of jobs whose data is being moved. */
static int mark_staged(struct call *c, struct bytes *body, struct err *err)
{
    const struct controlling *g = c->state;
    struct control_request req = g->req;
    bool any = false;
    int64_t *staged = arena_array(&c->arena, req.ids.n, sizeof *staged);
    if (!staged)
        return err_set(err, ERR_BUSY, "no memory");
    for (size_t i = 0; i < req.ids.n && !req.signal; i++) {
        int64_t submit_time = i < req.submit_times.n ? req.submit_times.v[i] : 0;
        staged[i] =
            staging_ask(c->a->staging, c->user->uid, g->verb->verb, req.ids.v[i], submit_time);
        any |= staged[i] != STAGED_NOT;
    }
    if (!any)
        return 0;
    req.staged = (struct ints){staged, req.ids.n};
    *body = msg_pack_arena(&control_request_type, &req, &c->arena);
    return body->p ? 0 : err_set(err, ERR_BUSY, "no memory");
}

static void begin(struct call *c, struct bytes body)
{
    struct controlling *g = c->state;
    struct err err = {0};
    char what[64];
    snprintf(what, sizeof what, "verb=%s job=%.30s%s", g->verb->word,
             g->req.ids.n ? g->req.ids.v[0] : "none", g->req.ids.n > 1 ? ",..." : "");
    call_about(c, what);
    ask(c, g);
    if (!c->a->workers)
        err_set(&err, ERR_BUSY, "the server is stopping");
    else if (mark_staged(c, &body, &err) == 0)
        workers_ask(c->a->workers, c->user->uid, WORKER_control, body, on_controlled, c, &err);
    if (err.code == ERR_NONE)
        return;
    drop(c, g);
    call_fail(c, &err);
}

/* The jobs that fit now, each by itself: none that comes later is hit. */
static void on_chosen(struct call *c, const struct chosen *chosen, const struct err *err)
{
    struct controlling *g = c->state;
    struct control_request *req = &g->req;
    if (err->code != ERR_NONE) {
        call_fail(c, err);
        return;
    }
    g->chosen = *chosen;
    if (chosen->n == 0 && !req->user) {
        reply_filtered(c, (struct bytes){0});
        return;
    }
    req->ids = (struct strs){chosen->ids, chosen->n};
    req->submit_times = (struct ints){chosen->submit_times, chosen->n};
    req->restarts = (struct ints){chosen->restarts, chosen->n};
    struct bytes body = msg_pack_arena(&control_request_type, req, &c->arena);
    if (body.p) {
        begin(c, body);
        return;
    }
    struct err mine = {0};
    err_set(&mine, ERR_BUSY, "no memory");
    call_fail(c, &mine);
}

void op_job_control(struct call *c)
{
    struct err err = {0};
    struct jobid first;
    struct controlling *g = arena_alloc(&c->arena, sizeof *g);
    c->state = g;
    if (!g)
        err_set(&err, ERR_BUSY, "no memory");
    else if (call_unpack(c, &g->req, &err) == 0) {
        g->verb = jobverb_find(g->req.verb);
        g->filtered = choose_wanted(&g->req);
        if (check(&g->req, g->verb, g->filtered, &err) == 0 && g->req.ids.n)
            jobid_parse(g->req.ids.v[0], &first, &err);
    }
    if (err.code != ERR_NONE)
        call_fail(c, &err);
    else if (g->filtered)
        choose_jobs(c, &g->req, g->verb, on_chosen);
    else
        begin(c, c->body);
}
