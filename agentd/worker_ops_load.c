/* SPDX-License-Identifier: GPL-3.0-or-later */
/* load_get and load_list: what job.get and job.list answer from the broker's table, asked of
 * slurmctld as the user, so that slurmctld decides what the user may see. */
#include "agentd/cluster.h"
#include "agentd/jobrec.h"
#include "agentd/worker_gather.h"
#include "agentd/worker_ops.h"
#include "common/str.h"

bool worker_job_matches(const struct job *j, const struct jobid *id)
{
    switch (id->kind) {
    case JOBID_PLAIN:
        return true;
    case JOBID_TASKS:
        return j->array_job_id == id->id && jobid_tasks_meet(id->tasks, str_or(j->array_task, ""));
    case JOBID_TASK:
        return j->array_job_id == id->id &&
               jobid_tasks_contain(str_or(j->array_task, ""), id->second);
    case JOBID_HET:
        return j->het_job_id == id->id && j->het_offset == id->second;
    }
    return false;
}

/* ---- get ---- */

struct getting {
    struct gathering *g;
    const struct jobid *id;
    size_t found;
};

static int see_wanted(void *arg, const struct job *j)
{
    struct getting *x = arg;
    if (!worker_job_matches(j, x->id))
        return 0;
    x->found++;
    return gathering_add(x->g, j->job_id, j) < 0 || x->g->bytes > WIRE_MAX_JOBS ? -1 : 0;
}

static int get_one(struct getting *x, const char *text, struct err *err)
{
    struct jobid id;
    if (jobid_parse(text, &id, err) < 0)
        return -1;
    x->id = &id;
    x->found = 0;
    if (cluster_load_job(id.id, see_wanted, x, err) < 0) {
        if (err->code != ERR_NOT_FOUND)
            return -1;
        *err = (struct err){0};
    }
    if (x->g->failed)
        return err_set(err, ERR_LIMIT, "no memory for the jobs");
    if (x->g->bytes > WIRE_MAX_JOBS)
        return err_set(err, ERR_LIMIT,
                       "the answer is larger than %d bytes: ask for fewer jobs at once",
                       WIRE_MAX_JOBS);
    return 0;
}

int wop_load_get(struct worker_call *c, const struct get_request *in, struct jobs_reply *out,
                 struct err *err)
{
    AUTO(gathering_done) struct gathering g;
    if (gathering_init(&g, err) < 0)
        return -1;
    const char **missing = arena_array(c->arena, in->ids.n + 1, sizeof *missing);
    if (!missing)
        return err_set(err, ERR_LIMIT, "no memory for the jobs");
    struct getting x = {.g = &g};
    for (size_t i = 0; i < in->ids.n; i++) {
        if (get_one(&x, in->ids.v[i], err) < 0)
            return -1;
        if (x.found == 0)
            missing[out->missing.n++] = in->ids.v[i];
    }
    out->missing.v = missing;
    return gathering_finish(&g, "slurmctld", c->arena, out, err);
}

/* ---- list ---- */

struct listing {
    struct gathering *g;
    const struct list_request *req;
    struct job_filter filter;
};

static int read_filter(struct listing *l, struct err *err)
{
    const struct list_request *req = l->req;
    l->filter.partition = req->partition;
    l->filter.name = req->name;
    if (job_filter_whose(&l->filter, req->user, req->all_users, getuid(), err) < 0)
        return -1;
    return jobstate_set(&req->states, &l->filter.states, err);
}

static bool wanted(const struct listing *l, const struct job *j)
{
    const struct job_keys keys = {
        .uid = (uint32_t)j->uid,
        .tag = j->tag,
        .state = str_or(j->state, ""),
        .name = str_or(j->name, ""),
        .user = str_or(j->user, ""),
        .partition = str_or(j->partition, ""),
    };
    if (j->job_id <= l->req->after || (l->g->cut && j->job_id >= l->g->below))
        return false;
    return job_filter_matches(&l->filter, &keys);
}

static int see_listed(void *arg, const struct job *j)
{
    struct listing *l = arg;
    if (!wanted(l, j))
        return 0;
    if (gathering_add(l->g, j->job_id, j) < 0)
        return -1;
    /* slurmctld's order is not by number: keep twice as much as fits before deciding. */
    if (l->g->bytes > 2 * WIRE_MAX_JOBS)
        gathering_trim(l->g, 0);
    return 0;
}

int wop_load_list(struct worker_call *c, const struct list_request *in, struct jobs_reply *out,
                  struct err *err)
{
    AUTO(gathering_done) struct gathering g;
    if (gathering_init(&g, err) < 0)
        return -1;
    struct listing l = {.g = &g, .req = in};
    int64_t never = 0;
    if (read_filter(&l, err) < 0 || cluster_load_jobs(&never, see_listed, &l, err) < 0)
        return -1;
    gathering_trim(&g, (size_t)in->limit);
    if (g.cut && g.n)
        out->next = g.v[g.n - 1].job_id;
    return gathering_finish(&g, "slurmctld", c->arena, out, err);
}
