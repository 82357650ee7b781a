/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/requests_set.h"

enum { AGAIN_MS = 1000 };

/* A job of it may have turned up meanwhile, and then nobody waits for it any more. */
static void give(struct requests *r, struct request *q)
{
    request_set_unwait(&r->set, q);
    if (!q->waiters)
        return;
    q->turn = ++r->turns;
    q->user->placed++;
    r->placed++;
    request_has_turn(r, q);
}

/* One may end before it has quite begun, and leave its place within this very loop. */
static void serve(struct requests *r, struct request_user *u)
{
    struct request *q;
    if (u->serving)
        return;
    u->serving = true;
    while (!r->closed && u->placed < REQUESTS_AHEAD && (q = TAILQ_FIRST(&u->turns)))
        give(r, q);
    u->serving = false;
    request_set_drop_user(&r->set, u);
}

void request_take_turn(struct requests *r, struct request *q)
{
    request_leave_turn(r, q); /* it is asked for anew by one who is told what became of it */
    request_set_wait(&r->set, q, requests_now_ms(r));
    serve(r, q->user);
    if (r->closed)
        requests_expire_turns(r, true);
}

void request_leave_turn(struct requests *r, struct request *q)
{
    if (!q->turn)
        return;
    q->turn = 0;
    q->user->placed--;
    r->placed--;
    serve(r, q->user);
}

void requests_expire_turns(struct requests *r, bool all)
{
    struct request *q;
    while ((q = TAILQ_FIRST(&r->set.waiting)) &&
           (all || requests_now_ms(r) - q->waits_ms > r->turn_ms)) {
        struct err err = {.retry_after_ms = AGAIN_MS};
        err_set(&err, ERR_BUSY, "nothing was submitted now: %s",
                all ? "the server is stopping" : "too many submits of yours are under way");
        request_set_unwait(&r->set, q);
        if (q->waiters) /* else its job has turned up meanwhile, and they have been told */
            request_begin_failed(r, q, &err);
    }
}
