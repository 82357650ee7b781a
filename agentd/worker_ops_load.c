/* SPDX-License-Identifier: GPL-3.0-or-later */
/* load_get and load_list: what job.get and job.list answer from the broker's table, asked of
 * slurmctld as the user, so that slurmctld decides what the user may see. */
#include <string.h>
#include <strings.h>

#include "agentd/cluster.h"
#include "agentd/jobid.h"
#include "agentd/worker_ops.h"
#include "common/clock.h"
#include "common/str.h"

enum { REPLY_MAX = 5 << 20 }; /* bytes of jobs in one reply: a frame takes 6 MiB */

bool worker_job_matches(const struct job *j, const struct jobid *id)
{
    switch (id->kind) {
    case JOBID_PLAIN:
        return true;
    case JOBID_TASKS:
        return j->array_job_id == id->id;
    case JOBID_TASK:
        return j->array_job_id == id->id &&
               jobid_tasks_contain(str_or(j->array_task, ""), id->second);
    case JOBID_HET:
        return j->het_job_id == id->id && j->het_offset == id->second;
    }
    return false;
}

/* ---- jobs gathered for a reply ---- */

struct kept {
    uint32_t job_id;
    struct bytes packed; /* owned */
};

struct gathering {
    struct kept *v;
    size_t n, size, bytes;
    uint32_t below; /* nothing from this job_id on fits any more; 0: all fits */
    bool failed;
    struct wire_out *out;
};

static void gathering_done(struct gathering *g)
{
    for (size_t i = 0; i < g->n; i++)
        free((void *)g->v[i].packed.p);
    free(g->v);
    wire_out_free(g->out);
}

static bool gather(struct gathering *g, const struct job *j)
{
    if (g->n == g->size) {
        size_t size = g->size ? g->size * 2 : 64;
        struct kept *v = reallocarray(g->v, size, sizeof *v);
        if (!v)
            return false;
        g->v = v;
        g->size = size;
    }
    wire_out_clear(g->out);
    msg_pack(&job_type, j, g->out);
    struct bytes b = wire_out_bytes(g->out);
    uint8_t *copy = b.p ? malloc(b.n) : NULL;
    if (!copy)
        return false;
    memcpy(copy, b.p, b.n);
    g->v[g->n++] = (struct kept){(uint32_t)j->job_id, {copy, b.n}};
    g->bytes += b.n;
    return true;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const struct kept *)a)->job_id, y = ((const struct kept *)b)->job_id;
    return (x > y) - (x < y);
}

/* Sorts and drops what does not fit, from the end.  limit 0: as many as fit. */
static void trim(struct gathering *g, size_t limit)
{
    size_t fit = 0, bytes = 0;
    if (g->n)
        qsort(g->v, g->n, sizeof *g->v, by_id);
    while (fit < g->n && (!limit || fit < limit) && bytes + g->v[fit].packed.n <= REPLY_MAX)
        bytes += g->v[fit++].packed.n;
    if (fit == g->n)
        return;
    g->below = g->v[fit].job_id;
    for (size_t i = fit; i < g->n; i++)
        free((void *)g->v[i].packed.p);
    g->n = fit;
    g->bytes = bytes;
}

static int finish(struct worker_call *c, const struct gathering *g, struct jobs_reply *out,
                  struct err *err)
{
    struct bytes *v = arena_array(c->arena, g->n + 1, sizeof *v);
    uint8_t *all = arena_alloc(c->arena, g->bytes + 1);
    if (!v || !all)
        return err_set(err, ERR_LIMIT, "no memory for the jobs");
    for (size_t i = 0; i < g->n; i++) {
        memcpy(all, g->v[i].packed.p, g->v[i].packed.n);
        v[i] = (struct bytes){all, g->v[i].packed.n};
        all += g->v[i].packed.n;
    }
    out->jobs = (struct raws){v, g->n};
    out->as_of = clock_now();
    out->source = "slurmctld";
    return 0;
}

/* ---- get ---- */

struct getting {
    struct gathering g;
    const struct jobid *id;
    size_t found;
};

static int see_wanted(void *arg, const struct job *j)
{
    struct getting *x = arg;
    if (!worker_job_matches(j, x->id))
        return 0;
    x->found++;
    x->g.failed = !gather(&x->g, j);
    return x->g.failed || x->g.bytes > REPLY_MAX ? -1 : 0;
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
    if (x->g.failed)
        return err_set(err, ERR_LIMIT, "no memory for the jobs");
    if (x->g.bytes > REPLY_MAX)
        return err_set(err, ERR_LIMIT,
                       "the answer is larger than %d bytes: ask for fewer jobs at once", REPLY_MAX);
    return 0;
}

int wop_load_get(struct worker_call *c, const struct get_request *in, struct jobs_reply *out,
                 struct err *err)
{
    struct getting x = {.g.out = wire_out_new()};
    const char **missing = arena_array(c->arena, in->ids.n + 1, sizeof *missing);
    size_t n_missing = 0;
    if (!missing || !x.g.out)
        err_set(err, ERR_LIMIT, "no memory for the jobs");
    for (size_t i = 0; err->code == ERR_NONE && i < in->ids.n; i++)
        if (get_one(&x, in->ids.v[i], err) == 0 && x.found == 0)
            missing[n_missing++] = in->ids.v[i];
    if (err->code == ERR_NONE)
        finish(c, &x.g, out, err);
    out->missing = (struct strs){missing, n_missing};
    gathering_done(&x.g);
    return err->code == ERR_NONE ? 0 : -1;
}

/* ---- list ---- */

static const struct {
    const char *word, *abbreviation;
} job_states[] = {
#define JOB_STATE(word, abbreviation) {#word, #abbreviation},
#include "common/job_states.def"
#undef JOB_STATE
};

struct listing {
    struct gathering g;
    const struct list_request *req;
    int64_t uid; /* whose jobs; -1: see req */
    bool states[ARRAY_LEN(job_states)];
};

static int read_filter(struct listing *l, struct err *err)
{
    const struct list_request *req = l->req;
    if (req->user && req->all_users)
        return err_set(err, ERR_INVALID, "user and all_users exclude each other");
    l->uid = -1;
    if (!req->user && !req->all_users)
        l->uid = getuid();
    else if (req->user)
        str_to_i64(req->user, 0, UINT32_MAX, &l->uid);
    for (size_t i = 0; i < req->states.n; i++) {
        const char *said = req->states.v[i];
        size_t k = 0;
        while (k < ARRAY_LEN(job_states) && strcasecmp(said, job_states[k].word) != 0 &&
               strcasecmp(said, job_states[k].abbreviation) != 0)
            k++;
        if (k == ARRAY_LEN(job_states))
            return err_set(err, ERR_INVALID,
                           "'%s' is no job state: give PENDING, RUNNING, COMPLETED, FAILED ...",
                           said);
        l->states[k] = true;
    }
    return 0;
}

static bool wanted_state(const struct listing *l, const struct job *j)
{
    if (l->req->states.n == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(job_states); i++)
        if (l->states[i] && str_eq(j->state, job_states[i].word))
            return true;
    return false;
}

static bool wanted(const struct listing *l, const struct job *j)
{
    const struct list_request *req = l->req;
    if (j->job_id <= req->after || (l->g.below && j->job_id >= l->g.below))
        return false;
    if (l->uid >= 0 && j->uid != l->uid)
        return false;
    if (req->user && l->uid < 0 && !str_eq(j->user, req->user))
        return false;
    if (req->name && !str_eq(j->name, req->name))
        return false;
    /* A pending job may name several partitions. */
    if (req->partition && !str_in_list(str_or(j->partition, ""), req->partition))
        return false;
    return wanted_state(l, j);
}

static int see_listed(void *arg, const struct job *j)
{
    struct listing *l = arg;
    if (!wanted(l, j))
        return 0;
    if (!gather(&l->g, j)) {
        l->g.failed = true;
        return -1;
    }
    /* slurmctld's order is not by number: keep twice as much as fits before deciding. */
    if (l->g.bytes > 2 * REPLY_MAX)
        trim(&l->g, 0);
    return 0;
}

int wop_load_list(struct worker_call *c, const struct list_request *in, struct jobs_reply *out,
                  struct err *err)
{
    struct listing l = {.g.out = wire_out_new(), .req = in};
    int64_t never = 0;
    if (!l.g.out)
        err_set(err, ERR_LIMIT, "no memory for the jobs");
    if (err->code == ERR_NONE && read_filter(&l, err) == 0 &&
        cluster_load_jobs(&never, see_listed, &l, err) == 0) {
        trim(&l.g, (size_t)in->limit);
        if (l.g.failed)
            err_set(err, ERR_LIMIT, "no memory for the jobs");
        else if (finish(c, &l.g, out, err) == 0 && l.g.below && l.g.n)
            out->next = l.g.v[l.g.n - 1].job_id;
    }
    gathering_done(&l.g);
    return err->code == ERR_NONE ? 0 : -1;
}
