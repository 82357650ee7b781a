/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metrics_read.c: the readings of metrics.def: what is looked up when somebody asks */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agentd/authlink.h"
#include "agentd/caps.h"
#include "agentd/gate.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/listen.h"
#include "agentd/requests.h"
#include "agentd/stagers.h"
#include "agentd/staging.h"
#include "agentd/table.h"
#include "agentd/worker.h"

/* ---- clients ---- */

static void add_calls(void *arg, const struct user *u)
{
    *(int64_t *)arg += (int64_t)u->calls;
}

void reading_calls(const struct agentd *a, int64_t out[1])
{
    sessions_each_user(a->sessions, add_calls, out);
}

void reading_held(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)held_count(a->held);
}

void reading_hellos_waiting(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)authlink_waiting(a->auth);
}

static struct listen_use use(const struct agentd *a)
{
    struct listen_use u;
    listen_use(a->listen, &u);
    return u;
}

void reading_connections(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)use(a).connections;
}

void reading_connections_gone(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)use(a).gone;
}

void reading_shed(const struct agentd *a, int64_t out[DIM_shed_N])
{
    listen_sheds(a->listen, out);
}

void reading_frames_waiting(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)use(a).frames;
}

void reading_sessions(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)sessions_count(a->sessions);
}

void reading_users(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)sessions_users(a->sessions);
}

void reading_request_bytes(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)a->call_bytes;
}

void reading_reply_bytes(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)listen_owed(a->listen, -1);
}

/* ---- workers ---- */

void reading_workers(const struct agentd *a, int64_t out[DIM_role_N])
{
    int64_t waiting[DIM_role_N] = {0};
    workers_use(a->workers, out, waiting);
    out[ROLE_STAGE] = (int64_t)stagers_count(a->stagers);
    out[ROLE_WATCH] = watch_runs(a->watch);
}

void reading_work_queue(const struct agentd *a, int64_t out[DIM_role_N])
{
    int64_t running[DIM_role_N] = {0};
    workers_use(a->workers, running, out);
}

static struct gate_state gate(const struct agentd *a)
{
    return gate_look(workers_gate(a->workers));
}

void reading_slurm_calls(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)gate(a).calls;
}

void reading_slurm_pace(const struct agentd *a, int64_t out[1])
{
    out[0] = gate(a).pace_us;
}

void reading_slurm_slow(const struct agentd *a, int64_t out[1])
{
    out[0] = gate(a).slow;
}

/* ---- the job table ---- */

static struct watch_status status(const struct agentd *a)
{
    struct watch_status w;
    watch_status(a->watch, &w);
    return w;
}

void reading_slurmctld_up(const struct agentd *a, int64_t out[1])
{
    struct watch_status w = status(a);
    out[0] = w.as_of && !w.down;
}

void reading_table_loaded(const struct agentd *a, int64_t out[1])
{
    out[0] = status(a).as_of;
}

void reading_table_stale(const struct agentd *a, int64_t out[1])
{
    out[0] = status(a).stale;
}

void reading_jobs(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)table_count(a->table);
}

/* ---- submits and the journal ---- */

void reading_submits_busy(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)requests_busy(a->requests);
}

void reading_doubts(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)requests_doubts(a->requests);
}

void reading_journal_up(const struct agentd *a, int64_t out[1])
{
    out[0] = journal_trouble(a->journal) == NULL;
}

void reading_journal_waiting(const struct agentd *a, int64_t out[1])
{
    out[0] = (int64_t)journal_waiting(a->journal);
}

void reading_staged(const struct agentd *a, int64_t out[DIM_staging_N])
{
    int64_t by_number[STAGING_OVER + 1] = {0};
    staging_states(a->staging, by_number);
#define STAGING(name, number, help) out[STAGING_AT_##name] = by_number[number];
#include "agentd/staging.def"
#undef STAGING
}

/* ---- limits ---- */

void reading_limit_used(const struct agentd *a, int64_t out[DIM_cap_N])
{
    struct cap_use c;
    for (int i = 0; i < DIM_cap_N; i++) {
        caps_look(a, (enum cap_index)i, &c);
        out[i] = c.used;
    }
}

void reading_limit_max(const struct agentd *a, int64_t out[DIM_cap_N])
{
    struct cap_use c;
    for (int i = 0; i < DIM_cap_N; i++) {
        caps_look(a, (enum cap_index)i, &c);
        out[i] = c.max;
    }
}

/* ---- the process ---- */

void reading_draining(const struct agentd *a, int64_t out[1])
{
    out[0] = a->draining;
}

void reading_started(const struct agentd *a, int64_t out[1])
{
    out[0] = a->started;
}

void reading_cpu(const struct agentd *a, int64_t out[1])
{
    struct rusage r;
    (void)a;
    if (getrusage(RUSAGE_SELF, &r) == 0)
        out[0] = (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000 + r.ru_utime.tv_usec +
                 r.ru_stime.tv_usec;
}

void reading_memory(const struct agentd *a, int64_t out[1])
{
    long long pages = 0;
    (void)a;
    AUTO(fclose) FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*d %lld", &pages) == 1)
        out[0] = pages * sysconf(_SC_PAGESIZE);
}
