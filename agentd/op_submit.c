/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_submit.c: job.submit: the intent goes to the journal while the user's file worker reads and
 * checks; with both done the control worker submits */
#include <string.h>

#include "agentd/dispatch.h"
#include "agentd/requests.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/failpoint.h"
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
    struct err prepare_err;
    struct err err; /* the answer, or ERR_NONE */
    int64_t job_id;
};

/* ---- answers ---- */

static void about(struct call *c, int64_t job_id)
{
    char what[64];
    snprintf(what, sizeof what, "job=%lld", (long long)job_id);
    call_about(c, what);
    watch_load(c->a->watch, (uint32_t)job_id, &c->user->seen_by);
}

/* By what is known of the request now. */
static void find_answer(struct submit *s, const struct request *q)
{
    struct request_row row;
    char hex[2 * REQUEST_ID + 1];
    request_row(q, &row);
    request_hex(s->id, hex);
    switch (row.state) {
    case REQUEST_SUBMITTED:
    case REQUEST_ENDED:
        s->job_id = row.job_id;
        return;
    case REQUEST_REFUSED:
        err_set(&s->err, err_from_wire(row.code), "%s", row.text);
        return;
    case REQUEST_NOT_SUBMITTED:
    case REQUEST_LOST:
        err_set(&s->err, ERR_NOT_SUBMITTED, "%s", row.text);
        return;
    default:
        err_set(&s->err, ERR_IN_DOUBT,
                "the job may or may not have been submitted; it is being looked for. Submit again "
                "with request id %s: that makes no second job%s%s",
                hex, *row.text ? ": " : "", row.text);
        s->err.retry_after_ms = 1000;
    }
}

static void answer(struct call *c)
{
    struct submit *s = c->state;
    if (s->preparing) /* its callback comes yet */
        return;
    if (s->err.code != ERR_NONE) {
        call_fail(c, &s->err);
        return;
    }
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)s->job_id);
    const struct submit_reply r = {
        .id = id,
        .job_id = s->job_id,
        .request_id = {s->id, REQUEST_ID},
        .again = true,
    };
    about(c, s->job_id);
    call_reply(c, &r);
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

/* Nothing was submitted, and what the user is told is why. */
static void give_up(struct call *c, enum request_state state, const struct err *err)
{
    struct submit *s = c->state;
    requests_outcome(c->a->requests, TAKE(s->q), state, 0, err, NULL, NULL);
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
    enum request_state state = err.code == ERR_NONE ? REQUEST_SUBMITTED : state_of(w);
    if (state == REQUEST_SUBMITTED &&
        (msg_unpack(&submit_reply_type, w->body, &c->arena, MSG_STRICT, &r, &err) < 0 || !r.id ||
         !r.job_id)) {
        err = (struct err){0};
        err_set(&err, ERR_IN_DOUBT, "the worker's answer has no job id");
        state = REQUEST_IN_DOUBT;
    }
    struct request *q = TAKE(s->q);
    if (state == REQUEST_IN_DOUBT) {
        requests_outcome(c->a->requests, q, state, 0, &err, on_known, c);
        return;
    }
    requests_outcome(c->a->requests, q, state, err.code == ERR_NONE ? r.job_id : 0, &err, NULL,
                     NULL);
    if (state != REQUEST_SUBMITTED) {
        call_fail(c, &err);
        return;
    }
    r.request_id = (struct bytes){s->id, REQUEST_ID};
    about(c, r.job_id);
    call_reply(c, &r);
    FAILPOINT(before_note);
}

static int ask(struct call *c, struct err *err)
{
    struct submit *s = c->state;
    struct submit_request prepared;
    struct request_row row;
    if (msg_unpack(&submit_request_type, s->prepared, &c->arena, MSG_STRICT, &prepared, err) < 0)
        return -1;
    request_row(s->q, &row);
    /* What only the file worker could find out; the rest is as the client sent it. */
    struct submit_request final = s->req;
    final.script = prepared.script; /* and script_path stays: it is argv[0], as with sbatch */
    final.script_name = prepared.script_name;
    final.work_dir = prepared.work_dir;
    final.request_id = (struct bytes){s->id, REQUEST_ID};
    final.journal = (struct bytes){NULL, 0};
    final.tag = row.tag;
    final.attempt = row.attempt;
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out)
        return err_set(err, ERR_BUSY, "no memory");
    msg_pack(&submit_request_type, &final, out);
    if (workers_ask(c->a->workers, c->user->uid, WORKER_submit, wire_out_bytes(out), on_submitted,
                    c, err) < 0)
        return -1;
    FAILPOINT(after_asked);
    return 0;
}

/* With the intent on disk and the request checked. */
static void go_on(struct call *c)
{
    struct submit *s = c->state;
    struct err err = {0};
    if (s->preparing || !s->turned)
        return;
    if (s->answered) {
        answer(c);
        return;
    }
    if (s->prepare_err.code != ERR_NONE) {
        give_up(c, REQUEST_NOT_SUBMITTED, &s->prepare_err);
        return;
    }
    if (!requests_send(c->a->requests, s->q)) {
        find_answer(s, TAKE(s->q));
        answer(c);
        return;
    }
    if (ask(c, &err) < 0)
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
    if (req->work_dir || req->tag || req->attempt)
        return err_set(err, ERR_INVALID,
                       "work_dir, tag and attempt are the server's to say (for the working "
                       "directory there is the option chdir)");
    if (!req->script.n && !req->script_path)
        return err_set(err, ERR_INVALID, "the script is empty");
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

/* Only who knows every earlier submit may take one. */
static int check_server(struct call *c, const struct submit *s, struct err *err)
{
    const struct bytes *journal = &s->req.journal;
    const char *trouble = journal_trouble(c->a->journal);
    if (journal->n && memcmp(journal->p, journal_instance(c->a->journal), SEAL_ID) != 0 && !trouble)
        return err_set(err, ERR_SESSION,
                       "the server's journal is another one than when this request was first sent: "
                       "it was restored, moved away or begun anew");
    const struct request *q = requests_find(c->a->requests, c->user->uid, s->id);
    if (q && !request_may_submit(request_state(q)))
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
    return 0;
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

void op_job_submit(struct call *c)
{
    struct err err = {0};
    struct submit *s = arena_alloc(&c->arena, sizeof *s);
    if (!s)
        err_set(&err, ERR_BUSY, "no memory");
    if (err.code != ERR_NONE || call_unpack(c, &s->req, &err) < 0 || check(&s->req, &err) < 0 ||
        set_identity(s, &err) < 0 || check_server(c, s, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    c->state = s;
    FAILPOINT(before_intent);
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
