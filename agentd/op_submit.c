/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_submit.c: job.submit: the user's file worker reads and checks, the control worker submits */
#include "agentd/dispatch.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/str.h"

/* Anything but the worker's own word leaves open whether slurmctld has the job: nobody may submit
 * it again without looking. */
static void fail_sent(struct call *c, const struct worker_answer *answer)
{
    struct err err = {0};
    if (answer->answered || !answer->sent) {
        call_fail(c, &answer->err);
        return;
    }
    err_set(&err, ERR_IN_DOUBT,
            "the job may or may not have been submitted (look at your jobs before you submit it "
            "again): %s",
            answer->err.text);
    call_fail(c, &err);
}

static void on_submitted(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct submit_reply r;
    struct err err = {0};
    if (answer->err.code != ERR_NONE) {
        fail_sent(c, answer);
        return;
    }
    if (msg_unpack(&submit_reply_type, answer->body, &c->arena, MSG_STRICT, &r, &err) < 0 ||
        !r.id || !r.job_id) {
        err = (struct err){0};
        err_set(&err, ERR_IN_DOUBT,
                "the job may or may not have been submitted: the worker's "
                "answer has no job id");
        call_fail(c, &err);
        return;
    }
    char what[64];
    snprintf(what, sizeof what, "job=%lld", (long long)r.job_id);
    call_about(c, what);
    watch_load(c->a->watch, (uint32_t)r.job_id, &c->user->seen_by);
    call_reply_packed(c, answer->body);
}

static int submit(struct call *c, const struct worker_answer *answer, struct err *err)
{
    const struct submit_request *req = c->state;
    struct submit_request prepared;
    if (msg_unpack(&submit_request_type, answer->body, &c->arena, MSG_STRICT, &prepared, err) < 0)
        return -1;
    /* What only the file worker could find out; the rest is as the client sent it. */
    struct submit_request final = *req;
    final.script = prepared.script; /* and script_path stays: it is argv[0], as with sbatch */
    final.script_name = prepared.script_name;
    final.work_dir = prepared.work_dir;
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out)
        return err_set(err, ERR_BUSY, "no memory");
    msg_pack(&submit_request_type, &final, out);
    return workers_ask(c->a->workers, c->user->uid, WORKER_submit, wire_out_bytes(out),
                       on_submitted, c, err);
}

static void on_prepared(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct err err = {0};
    if (answer->err.code != ERR_NONE) {
        call_fail(c, &answer->err); /* nothing has been submitted yet */
        return;
    }
    if (submit(c, answer, &err) < 0)
        call_fail(c, &err);
}

static int check(const struct submit_request *req, struct err *err)
{
    if (req->work_dir)
        return err_set(err, ERR_INVALID, "work_dir is the server's to say: use the option chdir");
    if (!req->script.n && !req->script_path)
        return err_set(err, ERR_INVALID, "the script is empty");
    if (req->script.n && req->script_path)
        return err_set(err, ERR_INVALID, "script and script_path are both given: give one");
    if (req->request_id.n && req->request_id.n != 16)
        return err_set(err, ERR_INVALID, "request_id has %zu bytes: give 16", req->request_id.n);
    return 0;
}

void op_job_submit(struct call *c)
{
    struct err err = {0};
    struct submit_request *req = arena_alloc(&c->arena, sizeof *req);
    if (!req)
        err_set(&err, ERR_BUSY, "no memory");
    if (err.code != ERR_NONE || call_unpack(c, req, &err) < 0 || check(req, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    c->state = req;
    if (workers_ask(c->a->workers, c->user->uid, WORKER_prepare, c->body, on_prepared, c, &err) < 0)
        call_fail(c, &err);
}
