/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sagent_log(): a piece of a job's output. */
#include <stdlib.h>

#include "client/decode.h"
#include "client/held.h"
#include "client/result.h"

enum { WAIT_MS = 30000, WAIT_MAX_MS = 60000 };

/* The chunk borrows its data from the reply: it is large, and copies are what reading costs. */
struct log_result {
    struct sagent_log_chunk chunk; /* first: the caller has a pointer to it */
    struct handle_call call;
};

static int make_request(struct sagent *s, const struct sagent_log_request *in,
                        struct log_request *out, struct err *err)
{
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0)
        return -1;
    if (!in->id || !*in->id)
        return err_set(err, ERR_INVALID, "no job id is given");
    if (in->offset < 0 || in->tail < 0 || in->max < 0 || in->wait_ms < 0)
        return err_set(err, ERR_INVALID, "offset, tail, max and wait_ms are not negative");
    int most = handle_timeout_ms(s) / 2;
    int wait_ms = in->wait_ms ? in->wait_ms : WAIT_MS;
    *out = (struct log_request){
        .id = in->id,
        .error = in->error,
        .offset = in->offset,
        .tail = in->tail,
        .file = in->file,
        .max = in->max,
        .follow = in->follow,
        .wait_ms = wait_ms > most ? most : wait_ms,
    };
    if (out->wait_ms > WAIT_MAX_MS)
        out->wait_ms = WAIT_MAX_MS;
    return 0;
}

/* Reading again does no harm, so that one who follows is spared short outages. */
static int ask(struct sagent *s, const struct log_request *request, struct handle_call *ret,
               struct err *err)
{
    struct held h;
    if (!request->follow)
        return handle_ask(s, OP_job_log, &log_request_type, request, ret, err);
    held_init(&h, s, handle_timeout_ms(s));
    while (held_ask(&h, request->wait_ms, OP_job_log, &log_request_type, request, ret, err) < 0)
        if (held_again(&h, err) < 0)
            return -1;
    return 0;
}

int sagent_log(struct sagent *s, const struct sagent_log_request *request,
               struct sagent_log_chunk **ret, struct sagent_error *err)
{
    struct err e = {0};
    struct log_request body;
    handle_begin(err);
    struct log_result *p = result_new(sizeof *p);
    if (!p)
        err_set(&e, ERR_INTERNAL, "no memory");
    if (!p || make_request(s, request, &body, &e) < 0 || ask(s, &body, &p->call, &e) < 0 ||
        decode_log(p->call.body, &p->chunk, &e) < 0) {
        sagent_log_chunk_free(p ? &p->chunk : NULL);
        return handle_fail(&e, err);
    }
    *ret = &p->chunk;
    return 0;
}

void sagent_log_chunk_free(struct sagent_log_chunk *p)
{
    struct log_result *r = (struct log_result *)p;
    if (!r)
        return;
    handle_done(&r->call);
    result_free(r);
}
