/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_cluster.c: cluster.info, as the caller may see it */
#include "agentd/dispatch.h"
#include "agentd/worker.h"

static void on_info(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    if (answer->err.code != ERR_NONE)
        call_fail(c, &answer->err);
    else
        call_reply_packed(c, answer->body);
}

void op_cluster_info(struct call *c)
{
    struct empty none;
    struct err err = {0};
    if (call_unpack(c, &none, &err) < 0 ||
        workers_ask(c->a->workers, c->user->uid, WORKER_info, c->body, on_info, c, &err) < 0)
        call_fail(c, &err);
}
