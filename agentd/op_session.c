/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_session.c: ping, whoami and the end of a session */
#include "agentd/dispatch.h"
#include "agentd/journal.h"
#include "agentd/listen.h"
#include "agentd/requests.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/str.h"

void op_ping(struct call *c)
{
    struct watch_status w;
    if (!call_unpack_empty(c))
        return;
    watch_status(c->a->watch, &w);
    bool known = *w.slurm_version != '\0';
    struct ping_reply r = {
        .version = VERSION,
        .protocol = PROTOCOL_VERSION,
        .cluster = watch_cluster(c->a->watch),
        .server_time = clock_now(),
        .slurm_version = *w.slurm_version ? w.slurm_version : NULL,
        .slurmctld = w.down    ? "down"
                     : w.as_of ? "up"
                               : "unknown",
        .slurmctld_error = *w.error ? w.error : NULL,
        .as_of = w.as_of,
        .stale = w.stale,
        .jobs = (int64_t)table_count(c->a->table),
        .private_jobs = known && w.private_jobs,
        .hidden_jobs = known && !w.sees_all,
        .journal = journal_trouble(c->a->journal),
        .draining = c->a->draining,
        .in_doubt = (int64_t)requests_in_doubt(c->a->requests, c->user->uid),
    };
    call_reply(c, &r);
}

void op_whoami(struct call *c)
{
    struct session_info info = {0};
    if (!call_unpack_empty(c))
        return;
    sessions_info(c->a->sessions, c->session, &info);
    struct whoami_reply r = {
        .user = c->user->name,
        .uid = c->user->uid,
        .gid = c->user->gid,
        .cluster = watch_cluster(c->a->watch),
        .origin = listen_origin(c->lc),
        .munge_host = info.munge_host,
        .session_ends = info.ends,
        .single_user = c->a->single_user,
    };
    call_reply(c, &r);
}

void op_session_end(struct call *c)
{
    uint8_t id[SEAL_ID];
    struct agentd *a = c->a;
    struct empty none = {0};
    if (!call_unpack_empty(c))
        return;
    __builtin_memcpy(id, c->session, sizeof id);
    call_reply(c, &none);
    sessions_end(a->sessions, id);
}
