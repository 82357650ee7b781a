/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_cluster.c: cluster.info, as the caller may see it */
#include "agentd/dispatch.h"
#include "agentd/watch.h"
#include "agentd/worker.h"

static void on_info(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    struct info_reply r;
    struct err err = answer->err;
    if (err.code != ERR_NONE ||
        msg_unpack(&info_reply_type, answer->body, &c->arena, MSG_STRICT, &r, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    if (!r.cluster && *watch_cluster(c->a->watch)) /* slurmctld is down */
        r.cluster = watch_cluster(c->a->watch);
    call_reply(c, &r);
}

void op_cluster_info(struct call *c)
{
    struct empty none;
    struct err err = {0};
    if (call_unpack(c, &none, &err) < 0 ||
        workers_ask(c->a->workers, c->user->uid, WORKER_info, c->body, on_info, c, &err) < 0)
        call_fail(c, &err);
}
