/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_request.c: job.request: what became of a submit */
#include <string.h>

#include "agentd/dispatch.h"
#include "agentd/requests.h"
#include "common/str.h"

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

static void on_row(void *arg, const struct request_row *rows, size_t n, bool begun,
                   const struct err *failed)
{
    struct call *c = arg;
    struct err err = *failed;
    (void)begun;
    if (err.code == ERR_NONE && n == 1) {
        reply(c, &rows[0]);
        return;
    }
    err_set(&err, ERR_NOT_FOUND,
            "no submit of yours has this request id, or it is older than what is kept "
            "(history_days)");
    call_fail(c, &err);
}

void op_job_request(struct call *c)
{
    struct request_query req;
    struct err err = {0};
    if (call_unpack(c, &req, &err) == 0 && req.request_id.n != REQUEST_ID)
        err_set(&err, ERR_INVALID, "request_id has %zu bytes: give %d", req.request_id.n,
                REQUEST_ID);
    if (err.code != ERR_NONE) {
        call_fail(c, &err);
        return;
    }
    const struct request *q = requests_find(c->a->requests, c->user->uid, req.request_id.p);
    if (q) {
        struct request_row row;
        request_row(q, &row);
        reply(c, &row);
        return;
    }
    journal_request_get(c->a->journal, c->user->uid, req.request_id.p, on_row, c);
}
