/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_query.c: job.get, job.list and job.script
 *
 * get and list are answered from the table.  With PrivateData=jobs the table would show everybody
 * what the watcher sees, so there the caller's own worker asks slurmctld.
 */
#include <string.h>

#include "agentd/dispatch.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/str.h"

enum {
    REPLY_MAX = 5 << 20, /* bytes of jobs in one reply: a frame takes 6 MiB */
};

static const struct {
    const char *word, *abbreviation;
} job_states[] = {
#define JOB_STATE(word, abbreviation) {#word, #abbreviation},
#include "common/job_states.def"
#undef JOB_STATE
};
enum { JOB_STATES = ARRAY_LEN(job_states) };

/* Jobs being gathered for a reply. */
struct gathering {
    struct call *c;
    struct bytes *v;
    size_t n, size;
    size_t bytes;
    bool full; /* of memory or of REPLY_MAX */
};

static bool gather(struct gathering *g, struct bytes packed)
{
    if (g->bytes + packed.n > REPLY_MAX) {
        g->full = true;
        return false;
    }
    if (g->n == g->size) {
        size_t size = g->size ? g->size * 2 : 64;
        struct bytes *v = arena_array(&g->c->arena, size, sizeof *v);
        if (!v) {
            g->full = true;
            return false;
        }
        if (g->n)
            memcpy(v, g->v, g->n * sizeof *v);
        g->v = v;
        g->size = size;
    }
    g->v[g->n++] = packed;
    g->bytes += packed.n;
    return true;
}

static void reply_jobs(struct gathering *g, struct jobs_reply *r)
{
    struct watch_status w;
    watch_status(g->c->a->watch, &w);
    r->as_of = w.as_of;
    r->stale = w.stale;
    r->note = *w.error ? w.error : NULL;
    r->source = "table";
    r->jobs = (struct raws){g->v, g->n};
    call_reply(g->c, r);
}

/* True when the call has been dealt with: the table cannot answer it. */
static bool not_from_table(struct call *c, enum worker_op op, worker_done_fn done)
{
    struct watch_status w;
    struct err err = {0};
    watch_status(c->a->watch, &w);
    if (w.as_of == 0) {
        err_set(&err, ERR_SLURM_DOWN, "slurmctld has not answered since slurm-agentd started: %s",
                w.error);
        call_fail(c, &err);
        return true;
    }
    if (!w.private_jobs)
        return false;
    if (workers_ask(c->a->workers, c->user->uid, op, c->body, done, c, &err) < 0)
        call_fail(c, &err);
    return true;
}

/* What a worker gives goes to the user whose worker it is, and to nobody else. */
static void on_passed(void *arg, const struct worker_answer *answer)
{
    struct call *c = arg;
    if (answer->err.code != ERR_NONE)
        call_fail(c, &answer->err);
    else
        call_reply_packed(c, answer->body);
}

/* Runs fn now, or when the load has come that shows the user's own latest change. */
static void when_current(struct call *c, watch_fn fn)
{
    if (watch_covers(c->a->watch, c->user->watch_seq))
        fn(c);
    else
        watch_when(c->a->watch, c->user->watch_seq, fn, c);
}

/* ---- get ---- */

static int gather_found(void *arg, const struct table_job *job)
{
    return gather(arg, job->packed) ? 0 : -1;
}

static void get_now(void *arg)
{
    struct call *c = arg;
    const struct get_request *req = c->state;
    struct gathering g = {.c = c};
    struct err err = {0};
    const char **missing = arena_array(&c->arena, req->ids.n, sizeof *missing);
    struct jobs_reply r = {.missing = {missing, 0}};
    if (not_from_table(c, WORKER_load_get, on_passed))
        return;
    for (size_t i = 0; missing && i < req->ids.n; i++) {
        struct jobid id;
        if (jobid_parse(req->ids.v[i], &id, &err) < 0) {
            call_fail(c, &err);
            return;
        }
        if (table_find(c->a->table, &id, gather_found, &g) == 0)
            missing[r.missing.n++] = req->ids.v[i];
    }
    if (g.full || !missing) {
        err_set(&err, ERR_LIMIT, "the answer is larger than %d bytes: ask for fewer jobs at once",
                REPLY_MAX);
        call_fail(c, &err);
        return;
    }
    reply_jobs(&g, &r);
}

void op_job_get(struct call *c)
{
    struct err err = {0};
    struct get_request *req = arena_alloc(&c->arena, sizeof *req);
    if (!req)
        err_set(&err, ERR_BUSY, "no memory");
    else if (call_unpack(c, req, &err) == 0 && req->ids.n == 0)
        err_set(&err, ERR_INVALID, "no job id is given");
    if (err.code != ERR_NONE) {
        call_fail(c, &err);
        return;
    }
    c->state = req;
    when_current(c, get_now);
}

/* ---- list ---- */

struct listing {
    struct gathering g;
    const struct list_request *req;
    int64_t uid;             /* whose jobs; -1: see req */
    bool states[JOB_STATES]; /* wanted ones; any when req->states is empty */
    uint32_t last;           /* job_id of the last row taken */
    bool more;
};

static bool wanted_state(const struct listing *l, const struct table_job *job)
{
    if (l->req->states.n == 0)
        return true;
    for (size_t i = 0; i < JOB_STATES; i++)
        if (l->states[i] && strcmp(job->state, job_states[i].word) == 0)
            return true;
    return false;
}

static bool wanted(const struct listing *l, const struct table_job *job)
{
    const struct list_request *req = l->req;
    if (l->uid >= 0 && job->uid != l->uid)
        return false;
    if (req->user && l->uid < 0 && strcmp(job->user, req->user) != 0)
        return false;
    if (req->name && strcmp(job->name, req->name) != 0)
        return false;
    /* A pending job may name several partitions. */
    if (req->partition && !str_in_list(job->partition, req->partition))
        return false;
    return wanted_state(l, job);
}

static int list_one(void *arg, const struct table_job *job)
{
    struct listing *l = arg;
    if (!wanted(l, job))
        return 0;
    if ((l->req->limit && (int64_t)l->g.n == l->req->limit) || !gather(&l->g, job->packed)) {
        l->more = true;
        return 1;
    }
    l->last = job->job_id;
    return 0;
}

static void list_now(void *arg)
{
    struct call *c = arg;
    struct listing *l = c->state;
    struct jobs_reply r = {0};
    if (not_from_table(c, WORKER_load_list, on_passed))
        return;
    table_each(c->a->table, (uint32_t)l->req->after, list_one, l);
    if (l->more)
        r.next = l->last;
    reply_jobs(&l->g, &r);
}

static int read_states(struct listing *l, struct err *err)
{
    for (size_t i = 0; i < l->req->states.n; i++) {
        const char *said = l->req->states.v[i];
        size_t k = 0;
        while (k < JOB_STATES && strcasecmp(said, job_states[k].word) != 0 &&
               strcasecmp(said, job_states[k].abbreviation) != 0)
            k++;
        if (k == JOB_STATES)
            return err_set(err, ERR_INVALID,
                           "'%s' is no job state: give PENDING, RUNNING, COMPLETED, FAILED ...",
                           said);
        l->states[k] = true;
    }
    return 0;
}

static int read_filter(struct call *c, struct listing *l, struct list_request *req, struct err *err)
{
    if (call_unpack(c, req, err) < 0)
        return -1;
    if (req->user && req->all_users)
        return err_set(err, ERR_INVALID, "user and all_users exclude each other");
    *l = (struct listing){.g = {.c = c}, .req = req, .uid = -1};
    /* Names are compared with those in the jobs: no name service is asked here. */
    if (!req->user && !req->all_users)
        l->uid = c->user->uid;
    else if (req->user)
        str_to_i64(req->user, 0, UINT32_MAX, &l->uid);
    return read_states(l, err);
}

void op_job_list(struct call *c)
{
    struct err err = {0};
    struct listing *l = arena_alloc(&c->arena, sizeof *l);
    struct list_request *req = arena_alloc(&c->arena, sizeof *req);
    if (!l || !req)
        err_set(&err, ERR_BUSY, "no memory");
    if (err.code != ERR_NONE || read_filter(c, l, req, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    c->state = l;
    when_current(c, list_now);
}

/* ---- script ---- */

void op_job_script(struct call *c)
{
    struct script_request req;
    struct err err = {0};
    if (call_unpack(c, &req, &err) < 0 ||
        workers_ask(c->a->workers, c->user->uid, WORKER_script, c->body, on_passed, c, &err) < 0)
        call_fail(c, &err);
}
