/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker_ops.h: what a worker does for the broker, as the user it is
 *
 * One handler a row of worker_ops.def.  They block; one thread.
 */
#ifndef AGENTD_WORKER_OPS_H
#define AGENTD_WORKER_OPS_H

#include "agentd/chan.h"
#include "agentd/conf.h"
#include "agentd/monitor_proto.h"

struct worker_call {
    const struct agentd_conf *conf;
    struct arena *arena; /* for the reply; freed when it has been sent */
};

/* request and reply are structs of the row's bodies; the reply is zeroed. */
#define WOP(id, number, role, request, reply, help)                                                \
    int wop_##id(struct worker_call *c, const struct request *in, struct reply *out,               \
                 struct err *err);
#include "agentd/worker_ops.def"
#undef WOP

struct jobid;
/* Is the record one that the id names? */
bool worker_job_matches(const struct job *j, const struct jobid *id);

/* A job's script or environment, as the reply has it.  ERR_LIMIT: it is too large for one. */
int worker_text(const char *what, const char *id, const char *text, struct arena *arena,
                struct bytes *out, struct err *err);

/* Answers one request: unpacks, runs, packs the reply or an `error` body into out (emptied first)
 * and fills the answer's head.  ERR_NOT_FOUND for an op that is not known or not role's. */
void worker_serve(const struct agentd_conf *conf, enum worker_role role,
                  const struct chan_head *head, struct bytes body, struct wire_out *out,
                  struct chan_head *ret_head);

#endif
