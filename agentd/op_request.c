/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_request.c: job.request: what became of a submit; and job.resolve: its user's word about one
 * that stays in doubt
 *
 * Where there is a slurmdbd, it is asked first by the user's own worker: that it has the job
 * settles a doubt, that it has none proves nothing.
 */
#include "agentd/evidence.h"
#include "common/str.h"

/* What a call is about, from its arena. */
struct about {
    const uint8_t *id;
    bool resolve;
    int64_t job_id; /* resolve: 0 is none */
};

/* ---- answers ---- */

static void reply(struct call *c, const struct request_row *row)
{
    const struct request_reply r = {
        .state = request_word(row->state),
        .job_id = row->job_id,
        .submit_time = row->job_id ? row->submit_time : 0,
        .attempt = row->attempt,
        .tag = row->tag,
        .begun = row->begun,
        .changed = row->changed,
        .code = row->code,
        .text = *row->text ? row->text : NULL,
    };
    call_reply(c, &r);
}

/* As memory has it, which is newer than the journal. */
static bool find(const struct call *c, struct request_row *out)
{
    const struct about *a = c->state;
    const struct request *q = requests_find(c->a->requests, c->user->uid, a->id);
    *out = (struct request_row){.state = REQUEST_BEGINNING};
    if (requests_is_asked(c->a->requests, c->user->uid, a->id))
        return true;
    if (q)
        request_row(q, out);
    return q != NULL;
}

static void conclude(struct call *c);
static void on_evidence(struct call *c, const struct err *err);

static void on_row(void *arg, const struct request_row *rows, size_t n, bool begun,
                   const struct err *failed)
{
    struct call *c = arg;
    const struct about *a = c->state;
    struct err err = *failed;
    struct request_row row;
    (void)begun;
    if (find(c, &row)) { /* it has been sent meanwhile, or read with all of the journal */
        if (a->resolve)
            evidence_ask(c, a->id, true, on_evidence);
        else
            conclude(c);
        return;
    }
    if (err.code == ERR_NONE && n == 1 &&
        (!a->resolve || request_row_resolve(&rows[0], a->job_id, &err) == 0)) {
        reply(c, &rows[0]);
        return;
    }
    err_set(&err, ERR_NOT_FOUND,
            "no submit of yours has this request id, or it is older than what is kept "
            "(history_days)");
    call_fail(c, &err);
}

/* With what slurmdbd has said, where it was asked. */
static void conclude(struct call *c)
{
    const struct about *a = c->state;
    struct err err = {0};
    struct request_row row;
    if (!find(c, &row)) {
        journal_request_get(c->a->journal, c->user->uid, a->id, on_row, c);
        return;
    }
    if (a->resolve && requests_resolve(c->a->requests, c->user->uid, a->id, a->job_id, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    find(c, &row); /* resolved */
    reply(c, &row);
}

/* What slurmdbd would have said counts more than the user's word. */
static void on_evidence(struct call *c, const struct err *err)
{
    const struct about *a = c->state;
    if (err->code != ERR_NONE && a->resolve)
        call_fail(c, err);
    else
        conclude(c);
}

/* ---- begin ---- */

static void begin(struct call *c, struct bytes id, bool resolve, int64_t job_id, struct err *err)
{
    struct about *a = arena_alloc(&c->arena, sizeof *a);
    if (!a)
        err_set(err, ERR_BUSY, "no memory");
    if (err->code == ERR_NONE && id.n != REQUEST_ID)
        err_set(err, ERR_INVALID, "request_id has %zu bytes: give %d", id.n, REQUEST_ID);
    if (err->code != ERR_NONE) {
        call_fail(c, err);
        return;
    }
    *a = (struct about){id.p, resolve, job_id};
    c->state = a;
    evidence_ask(c, a->id, resolve, on_evidence);
}

void op_job_request(struct call *c)
{
    struct request_query req = {0};
    struct err err = {0};
    if (call_unpack(c, &req, &err) == 0 && (req.since || req.cluster))
        err_set(&err, ERR_INVALID, "since and cluster are the server's to say");
    begin(c, req.request_id, false, 0, &err);
}

void op_job_resolve(struct call *c)
{
    struct resolve_request req = {0};
    struct err err = {0};
    if (call_unpack(c, &req, &err) == 0 && req.none == (req.job_id != 0))
        err_set(&err, ERR_INVALID, "give none or job_id, one of them");
    char what[40];
    if (req.request_id.n == REQUEST_ID)
        str_hex(req.request_id.p, REQUEST_ID, c->request);
    snprintf(what, sizeof what, req.job_id ? "job=%lld" : "job=none", (long long)req.job_id);
    call_about(c, what);
    begin(c, req.request_id, true, req.job_id, &err);
}
