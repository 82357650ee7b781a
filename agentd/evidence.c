/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/evidence.h"

#include "agentd/watch.h"
#include "agentd/worker.h"

enum { EARLIER_S = 600 }; /* slurmdbd's clock may be behind */

struct asking {
    struct call *call;
    const uint8_t *id;
    evidence_fn fn;
};

static void on_found(void *arg, const struct worker_answer *w)
{
    const struct asking *a = arg;
    struct call *c = a->call;
    struct found_request found;
    struct err err = w->err;
    if (err.code == ERR_NONE &&
        msg_unpack(&found_request_type, w->body, &c->arena, MSG_STRICT, &found, &err) == 0 &&
        found.job_id)
        requests_found(c->a->requests, c->user->uid, a->id, found.job_id, found.submit_time);
    if (err.code != ERR_NONE)
        err_while(&err, "slurmdbd, which may have its job");
    a->fn(c, &err);
}

static int ask(struct asking *a, const struct request *q, const char *cluster, struct err *err)
{
    struct call *c = a->call;
    struct request_row row;
    request_row(q, &row);
    const struct request_query query = {
        .request_id = {a->id, REQUEST_ID},
        .since = row.begun > EARLIER_S ? row.begun - EARLIER_S : 0,
        .cluster = *cluster ? cluster : NULL,
    };
    struct bytes body = msg_pack_arena(&request_query_type, &query, &c->arena);
    if (!body.p)
        return err_set(err, ERR_BUSY, "no memory");
    return workers_ask(c->a->workers, c->user->uid, WORKER_find_request, body, on_found, a, err);
}

void evidence_ask(struct call *c, const uint8_t id[REQUEST_ID], bool also_early, evidence_fn fn)
{
    const struct request *q = requests_find(c->a->requests, c->user->uid, id);
    struct watch_status watch;
    struct err err = {0};
    bool open = q && request_state(q) == REQUEST_IN_DOUBT && (also_early || request_stuck(q));
    watch_status(c->a->watch, &watch);
    if (open && watch.accounting && c->a->workers) {
        struct asking *a = arena_alloc(&c->arena, sizeof *a);
        if (!a)
            err_set(&err, ERR_BUSY, "no memory");
        else
            *a = (struct asking){c, id, fn};
        if (a && ask(a, q, watch.cluster, &err) == 0)
            return;
    }
    fn(c, &err);
}
