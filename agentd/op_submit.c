/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_submit.c: job.submit: the intent goes to the journal while the user's file worker reads and
 * checks; with both done the control worker submits */
#include <string.h>

#include "agentd/evidence.h"
#include "agentd/gate.h"
#include "agentd/metrics.h"
#include "agentd/staging.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/failpoint.h"
#include "common/manifest.h"
#include "common/str.h"

/* What a call is about, from its arena. */
struct submit {
    struct submit_request req;
    uint8_t id[REQUEST_ID], hash[REQUEST_HASH];
    struct request *q; /* it is ours to submit */
    bool preparing;    /* the file worker has not answered */
    bool turned;       /* requests.c has */
    bool answered;     /* the client's answer is known: nothing is to be submitted */
    struct bytes prepared;
    struct bytes manifest; /* n 0: nothing is staged */
    struct submit_request final;
    struct err prepare_err;
    struct err err; /* the answer, or ERR_NONE */
    int64_t job_id;
};

/* ---- answers ---- */

static void about(struct call *c, int64_t job_id)
{
    const struct submit *s = c->state;
    char what[64];
    snprintf(what, sizeof what, "job=%lld", (long long)job_id);
    call_about(c, what);
    if (s->manifest.n) /* staging goes on when it sees the job */
        watch_load(c->a->watch, (uint32_t)job_id, &c->user->seen_by);
    else
        watch_changed(c->a->watch, (uint32_t)job_id, c->user->uid, &c->user->seen_by);
}

static void find_answer_in(struct submit *s, const struct request_row *row)
{
    char hex[2 * REQUEST_ID + 1];
    str_hex(s->id, REQUEST_ID, hex);
    switch (row->state) {
    case REQUEST_SUBMITTED:
    case REQUEST_ENDED:
        s->job_id = row->job_id;
        return;
    case REQUEST_REFUSED:
        err_set(&s->err, err_from_wire(row->code), "%s", row->text);
        s->err.slurm_errno = (int)row->submit_time;
        return;
    case REQUEST_NOT_SUBMITTED:
    case REQUEST_LOST:
        err_set(&s->err, ERR_NOT_SUBMITTED, "%s", row->text);
        return;
    default:
        err_set(&s->err, ERR_IN_DOUBT,
                "the job may or may not have been submitted; it is being looked for. Submit again "
                "with request id %s: that makes no second job%s%s",
                hex, *row->text ? ": " : "", row->text);
        s->err.retry_after_ms = 1000;
    }
}

/* By what is known of the request now. */
static void find_answer(struct submit *s, const struct request *q)
{
    struct request_row row;
    request_row(q, &row);
    find_answer_in(s, &row);
}

static void answer_again(struct call *c, const struct submit_reply *manner)
{
    struct submit *s = c->state;
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)s->job_id);
    const struct submit_reply r = {
        .id = id,
        .job_id = s->job_id,
        .request_id = {s->id, REQUEST_ID},
        .again = true,
        .wait = manner->wait,
        .parsable = manner->parsable,
        .cluster = manner->cluster,
    };
    about(c, s->job_id);
    call_reply(c, &r);
}

/* Without it there is an answer all the same: it is the job that matters. */
static void on_manner(void *arg, const struct worker_answer *w)
{
    struct call *c = arg;
    struct submit_reply r = {0};
    struct err ignored = {0};
    if (w->err.code != ERR_NONE ||
        msg_unpack(&submit_reply_type, w->body, &c->arena, MSG_STRICT, &r, &ignored) < 0)
        r = (struct submit_reply){0};
    answer_again(c, &r);
}

/* Only who knows every earlier submit may answer for one. */
static int check_journal(struct call *c, const struct submit *s, struct err *err)
{
    const struct bytes *journal = &s->req.journal;
    if (journal->n && memcmp(journal->p, journal_instance(c->a->journal), SEAL_ID) != 0)
        return err_set(err, ERR_SESSION,
                       "the server's journal is another one than when this request was first sent: "
                       "it was restored, moved away or begun anew");
    return 0;
}

/* The same, while it can be used. */
static int check_good_journal(struct call *c, const struct submit *s, struct err *err)
{
    return journal_trouble(c->a->journal) ? 0 : check_journal(c, s, err);
}

static void answer(struct call *c)
{
    struct submit *s = c->state;
    struct err ignored = {0};
    if (s->preparing) /* its callback comes yet */
        return;
    if (s->err.code != ERR_NONE) {
        struct err another = {0};
        call_fail(c, check_good_journal(c, s, &another) < 0 ? &another : &s->err);
        return;
    }
    /* what the first answer told its client, who may have lost it: the journal has not kept it */
    if (!c->a->workers || workers_ask(c->a->workers, c->user->uid, WORKER_manner, c->body,
                                      on_manner, c, &ignored) < 0)
        answer_again(c, &(struct submit_reply){0});
}

/* A request_fn: somebody else has submitted it, or it is no longer in doubt. */
static void on_known(void *arg, enum request_turn turn, struct request *q, const struct err *err)
{
    struct call *c = arg;
    struct submit *s = c->state;
    s->answered = true;
    if (turn == REQUEST_FAIL)
        s->err = *err;
    else
        find_answer(s, q);
    answer(c);
}

/* ---- submit ---- */

/* A request_fn: nothing was submitted now, but it may have a job for all that. */
static void on_outcome(void *arg, enum request_turn turn, struct request *q, const struct err *err)
{
    struct submit *s = arg;
    (void)turn;
    (void)err;
    if (request_state(q) == REQUEST_SUBMITTED || request_state(q) == REQUEST_ENDED)
        find_answer(s, q);
}

static size_t request_at(enum request_state state)
{
    static const uint8_t at[] = {
#define REQUEST(name, number, may_submit, help) [number] = REQUEST_AT_##name,
#include "agentd/requests.def"
#undef REQUEST
    };
    return at[state];
}

/* Nothing was submitted, and what the user is told is why; or which job has turned up meanwhile. */
static void give_up(struct call *c, enum request_state state, const struct err *err)
{
    struct submit *s = c->state;
    metrics_add(submits, request_at(state), 0, 1);
    requests_outcome(c->a->requests, TAKE(s->q), state, 0, err, on_outcome, s);
    if (s->manifest.n && !s->job_id) /* which attempt's job it is, staging.c finds out */
        staging_submitted(c->a->staging, c->user->uid, s->id, 0);
    if (s->job_id)
        answer(c);
    else
        call_fail(c, err);
}

/* Slurm's own no counts for good; whatever else was in the way may not be there next time. */
static enum request_state state_of(const struct worker_answer *w)
{
    bool unknown = w->answered ? w->err.code == ERR_IN_DOUBT : w->sent;
    if (unknown)
        return REQUEST_IN_DOUBT;
    return w->answered && w->err.slurm_errno && !err_retry(w->err.code) ? REQUEST_REFUSED
                                                                        : REQUEST_NOT_SUBMITTED;
}

static void on_submitted(void *arg, const struct worker_answer *w)
{
    struct call *c = arg;
    struct submit *s = c->state;
    struct submit_reply r;
    struct err err = w->err;
    FAILPOINT(after_answer);
    request_had_worker(s->q, w->process);
    enum request_state state = err.code == ERR_NONE ? REQUEST_SUBMITTED : state_of(w);
    if (state == REQUEST_SUBMITTED &&
        (msg_unpack(&submit_reply_type, w->body, &c->arena, MSG_STRICT, &r, &err) < 0 || !r.id ||
         !r.job_id)) {
        err = (struct err){0};
        err_set(&err, ERR_IN_DOUBT, "the worker's answer has no job id");
        state = REQUEST_IN_DOUBT;
    }
    if (state == REQUEST_IN_DOUBT || state == REQUEST_SUBMITTED)
        metrics_add(submits, request_at(state), 0, 1);
    if (state == REQUEST_IN_DOUBT) {
        requests_outcome(c->a->requests, TAKE(s->q), state, 0, &err, on_known, c);
        return;
    }
    if (state != REQUEST_SUBMITTED) {
        give_up(c, state, &err);
        return;
    }
    requests_outcome(c->a->requests, TAKE(s->q), state, r.job_id, &err, NULL, NULL);
    if (s->manifest.n)
        staging_submitted(c->a->staging, c->user->uid, s->id, r.job_id);
    r.request_id = (struct bytes){s->id, REQUEST_ID};
    about(c, r.job_id);
    call_reply(c, &r);
    FAILPOINT(before_note);
}

static int ask_worker(struct call *c, uint32_t op, worker_done_fn fn, struct err *err)
{
    struct submit *s = c->state;
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!c->a->workers)
        return err_set(err, ERR_BUSY, "the server is stopping");
    if (!out)
        return err_set(err, ERR_BUSY, "no memory");
    msg_pack(&submit_request_type, &s->final, out);
    return workers_ask(c->a->workers, c->user->uid, op, wire_out_bytes(out), fn, c, err);
}

static int ask(struct call *c, struct err *err)
{
    if (ask_worker(c, WORKER_submit, on_submitted, err) < 0)
        return -1;
    FAILPOINT(after_asked);
    return 0;
}

/* A staging_begun_fn: its data will be moved, whatever happens to us. */
static void on_staging(void *arg, const struct err *err)
{
    struct call *c = arg;
    struct err mine = *err;
    if (mine.code != ERR_NONE || ask(c, &mine) < 0)
        give_up(c, REQUEST_NOT_SUBMITTED, &mine);
}

/* What only the file worker could find out; the rest is as the client sent it. */
static void complete(struct submit *s, const struct submit_request *prepared)
{
    struct submit_request *final = &s->final;
    *final = s->req;
    final->script = prepared->script; /* and script_path stays: it is argv[0], as with sbatch */
    final->script_name = prepared->script_name;
    final->work_dir = prepared->work_dir;
    final->node_files = prepared->node_files;
    final->exported = prepared->exported;
    final->request_id = (struct bytes){s->id, REQUEST_ID};
    final->journal = (struct bytes){NULL, 0};
    final->stage = (struct raws){NULL, 0};
}

static int make_final(struct submit *s, const struct submit_request *prepared, struct err *err)
{
    struct request_row row;
    if (s->req.stage.n && !prepared->stage.n)
        return err_set(err, ERR_INTERNAL, "the worker's answer has no staging manifest");
    request_row(s->q, &row);
    complete(s, prepared);
    s->final.tag = row.tag;
    s->final.attempt = row.attempt;
    if (s->req.stage.n) {
        s->manifest = prepared->stage.v[0];
        s->final.held = staging_holds_back(s->manifest);
    }
    return 0;
}

static void on_will_run(void *arg, const struct worker_answer *w)
{
    struct call *c = arg;
    struct submit *s = c->state;
    struct submit_reply r;
    struct err err = w->err;
    if (err.code == ERR_IN_DOUBT) { /* of what? */
        err = (struct err){.slurm_errno = w->err.slurm_errno};
        err_set(&err, ERR_SLURM_DOWN, "%s", w->err.text);
    }
    if (err.code != ERR_NONE ||
        msg_unpack(&submit_reply_type, w->body, &c->arena, MSG_STRICT, &r, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    r.request_id = (struct bytes){s->id, REQUEST_ID};
    r.test_only = true;
    call_reply(c, &r);
}

/* --test-only: the request makes no job, and the same may be asked again. */
static void only_test(struct call *c, const struct submit_request *prepared)
{
    struct submit *s = c->state;
    struct err none = {0}, err = {0};
    complete(s, prepared);
    err_set(&none, ERR_NOT_SUBMITTED, "nothing was to be submitted: --test-only");
    requests_outcome(c->a->requests, TAKE(s->q), REQUEST_NOT_SUBMITTED, 0, &none, NULL, NULL);
    if (ask_worker(c, WORKER_will_run, on_will_run, &err) < 0)
        call_fail(c, &err);
}

/* With the intent on disk and the request checked. */
static void go_on(struct call *c)
{
    struct submit *s = c->state;
    struct submit_request prepared;
    struct err err = {0};
    if (s->preparing || !s->turned)
        return;
    if (s->answered) {
        answer(c);
        return;
    }
    if (check_journal(c, s, &err) < 0) { /* it may have waited for long */
        give_up(c, REQUEST_NOT_SUBMITTED, &err);
        return;
    }
    if (s->prepare_err.code == ERR_NONE)
        msg_unpack(&submit_request_type, s->prepared, &c->arena, MSG_STRICT, &prepared,
                   &s->prepare_err);
    if (s->prepare_err.code != ERR_NONE) {
        give_up(c, REQUEST_NOT_SUBMITTED, &s->prepare_err);
        return;
    }
    if (prepared.test_only) {
        only_test(c, &prepared);
        return;
    }
    if (!requests_send(c->a->requests, s->q)) {
        find_answer(s, TAKE(s->q));
        answer(c);
        return;
    }
    if (make_final(s, &prepared, &err) < 0)
        give_up(c, REQUEST_NOT_SUBMITTED, &err);
    else if (s->manifest.n)
        staging_begin(c->a->staging, c->user->uid, s->id, s->final.attempt, s->manifest, on_staging,
                      c);
    else if (ask(c, &err) < 0)
        give_up(c, REQUEST_NOT_SUBMITTED, &err);
}

static void on_prepared(void *arg, const struct worker_answer *w)
{
    struct call *c = arg;
    struct submit *s = c->state;
    s->preparing = false;
    s->prepare_err = w->err;
    uint8_t *copy = w->err.code == ERR_NONE ? arena_alloc(&c->arena, w->body.n + 1) : NULL;
    if (copy) {
        memcpy(copy, w->body.p, w->body.n);
        s->prepared = (struct bytes){copy, w->body.n};
    } else {
        err_set(&s->prepare_err, ERR_BUSY, "no memory");
    }
    go_on(c);
}

/* A request_fn. */
static void on_turn(void *arg, enum request_turn turn, struct request *q, const struct err *err)
{
    struct call *c = arg;
    struct submit *s = c->state;
    FAILPOINT(after_intent);
    s->turned = true;
    s->answered = turn != REQUEST_GO;
    if (turn == REQUEST_GO) {
        s->q = q;
    } else if (turn == REQUEST_ANSWER) {
        find_answer(s, q);
    } else if (err->code == ERR_INTERNAL) {
        err_set(&s->err, ERR_JOURNAL, "nothing was submitted: %s", err->text);
        s->err.retry_after_ms = 5000;
    } else {
        s->err = *err;
    }
    go_on(c);
}

/* ---- begin ---- */

static int check(const struct submit_request *req, struct err *err)
{
    if (req->work_dir || req->tag || req->attempt || req->held || req->node_files.n ||
        req->exported.n || req->test_only)
        return err_set(err, ERR_INVALID,
                       "work_dir, tag, attempt, held, node_files, exported and test_only are the "
                       "server's to say (there are the options chdir, hold and test-only)");
    if (req->script.n && req->script_path)
        return err_set(err, ERR_INVALID, "script and script_path are both given: give one");
    if (req->request_id.n && req->request_id.n != REQUEST_ID)
        return err_set(err, ERR_INVALID, "request_id has %zu bytes: give %d", req->request_id.n,
                       REQUEST_ID);
    if (req->journal.n && req->journal.n != SEAL_ID)
        return err_set(err, ERR_INVALID, "journal has %zu bytes: give %d, or none", req->journal.n,
                       SEAL_ID);
    return 0;
}

static int check_manifest(struct call *c, const struct submit_request *req, struct err *err)
{
    struct manifest m;
    return req->stage.n == 0 || (manifest_read(req->stage.v[0], &c->arena, &m, err) == 0 &&
                                 manifest_check_request(&m, err) == 0)
               ? 0
               : -1;
}

/* May it be taken as a new one?  What is under way, or was just now, needs nothing more. */
static int check_server(struct call *c, const struct submit *s, struct err *err)
{
    const char *trouble = journal_trouble(c->a->journal);
    const struct request *q = requests_find(c->a->requests, c->user->uid, s->id);
    if (requests_is_asked(c->a->requests, c->user->uid, s->id) ||
        (q && !request_may_submit(request_state(q))))
        return 0;
    if (c->a->draining) {
        err->retry_after_ms = 2000;
        return err_set(err, ERR_BUSY, "the server takes no new submits: it is about to stop");
    }
    if (trouble) {
        err->retry_after_ms = 5000;
        return err_set(err, ERR_JOURNAL,
                       "nothing was submitted: the journal cannot be used: %.400s", trouble);
    }
    if (c->a->workers && gate_check(workers_gate(c->a->workers), clock_mono_us(), err) < 0)
        return -1;
    return q ? 0 : requests_check_room(c->a->requests, c->user->uid, err);
}

/* What makes it the same submit: all but the id itself and the line it was typed as. */
static int set_identity(struct submit *s, struct err *err)
{
    struct submit_request content = s->req;
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    content.request_id = content.journal = (struct bytes){NULL, 0};
    content.submit_line = NULL;
    if (out)
        msg_pack(&submit_request_type, &content, out);
    struct bytes packed = out ? wire_out_bytes(out) : (struct bytes){NULL, 0};
    if (!packed.p)
        return err_set(err, ERR_BUSY, "no memory");
    seal_hash(packed.p, packed.n, s->hash);
    if (s->req.request_id.n)
        memcpy(s->id, s->req.request_id.p, REQUEST_ID);
    else
        seal_random(s->id, REQUEST_ID);
    return 0;
}

/* No new one is taken; one of before has its answer all the same. */
static void on_old(void *arg, const struct request_row *rows, size_t n, bool begun,
                   const struct err *err)
{
    struct call *c = arg;
    struct submit *s = c->state;
    (void)begun;
    /* It may be one; BUSY says as much to its client, other refusals that it was not submitted. */
    if (err->code != ERR_NONE && s->err.code != ERR_BUSY && s->err.code != ERR_JOURNAL) {
        s->err = (struct err){.retry_after_ms = 5000};
        err_set(&s->err, ERR_JOURNAL,
                "nothing was submitted now; whether it was before is in the journal: %s",
                err->text);
    }
    if (requests_is_asked(c->a->requests, c->user->uid, s->id)) {
        s->err = (struct err){.retry_after_ms = 1000};
        err_set(&s->err, ERR_BUSY, "another try of this submit is under way");
    }
    if (err->code != ERR_NONE || n != 1) {
        answer(c);
        return;
    }
    if (memcmp(rows[0].hash, s->hash, REQUEST_HASH) != 0) {
        s->err = (struct err){0};
        request_conflict(s->id, &s->err);
    } else if (!request_may_submit(rows[0].state)) {
        s->err = (struct err){0};
        find_answer_in(s, &rows[0]);
    }
    answer(c);
}

/* What is in doubt may be settled by now; else whoever sends it again learns that it is not. */
static void on_evidence(struct call *c, const struct err *ignored)
{
    struct submit *s = c->state;
    (void)ignored;
    if (!c->a->workers) {
        err_set(&s->err, ERR_BUSY, "the server is stopping");
        answer(c);
        return;
    }
    s->preparing = true; /* keeps the call, whatever requests.c says at once */
    requests_submit(c->a->requests, c->user->uid, s->id, s->hash, on_turn, c);
    if (s->answered) {
        s->preparing = false;
        answer(c);
        return;
    }
    if (workers_ask(c->a->workers, c->user->uid, WORKER_prepare, c->body, on_prepared, c,
                    &s->prepare_err) < 0) {
        s->preparing = false;
        go_on(c);
    }
}

void op_job_submit(struct call *c)
{
    struct err err = {0};
    struct submit *s = arena_alloc(&c->arena, sizeof *s);
    if (!s)
        err_set(&err, ERR_BUSY, "no memory");
    if (err.code != ERR_NONE || call_unpack(c, &s->req, &err) < 0 || check(&s->req, &err) < 0 ||
        check_manifest(c, &s->req, &err) < 0 || set_identity(s, &err) < 0 ||
        check_good_journal(c, s, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    c->state = s;
    str_hex(s->id, REQUEST_ID, c->request);
    if (check_server(c, s, &s->err) < 0) {
        journal_request_get(c->a->journal, c->user->uid, s->id, on_old, c);
        return;
    }
    FAILPOINT(before_intent);
    evidence_ask(c, s->id, false, on_evidence);
}
