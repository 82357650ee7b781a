/* SPDX-License-Identifier: GPL-3.0-or-later */
/* steps: what runs in jobs, as slurmctld lets the user see it */
#include <string.h>

#include "agentd/cluster.h"
#include "agentd/jobid.h"
#include "agentd/worker_ops.h"
#include "common/clock.h"
#include "common/str.h"

enum { JOBS_MAX = 1000 }; /* that are asked about one by one */

/* A job that an id names. */
struct named {
    uint32_t job_id;
    const char *id;
};

struct stepping {
    struct arena *arena;
    struct steps_reply *out;
    struct bytes *v;
    size_t room, bytes;
    bool failed, too_large;
    /* of the id that is looked at */
    const struct jobid *id;
    struct named *jobs;
    size_t n_jobs, jobs_room;
    bool array;
};

static bool grow(struct arena *arena, void *at, size_t n, size_t *room, size_t size)
{
    void **v = at;
    if (n < *room)
        return true;
    size_t more = *room ? *room * 2 : 64;
    void *bigger = arena_array(arena, more, size);
    if (!bigger)
        return false;
    if (n)
        memcpy(bigger, *v, n * size);
    *v = bigger;
    *room = more;
    return true;
}

static int see_job(void *arg, const struct job *j)
{
    struct stepping *s = arg;
    if (!worker_job_matches(j, s->id))
        return 0;
    s->failed |= !grow(s->arena, &s->jobs, s->n_jobs, &s->jobs_room, sizeof *s->jobs);
    const char *id = s->failed ? NULL : arena_strdup(s->arena, j->id);
    if (!id) {
        s->failed = true;
        return -1;
    }
    s->array |= j->array_job_id != 0;
    s->jobs[s->n_jobs++] = (struct named){(uint32_t)j->job_id, id};
    return 0;
}

static const char *find(const struct stepping *s, uint32_t job_id)
{
    for (size_t i = 0; i < s->n_jobs; i++)
        if (s->jobs[i].job_id == job_id)
            return s->jobs[i].id;
    return NULL;
}

static int see_step(void *arg, uint32_t job_id, const struct step *in)
{
    struct stepping *s = arg;
    struct step step = *in;
    step.job = find(s, job_id);
    if (!step.job)
        return 0;
    step.id = arena_printf(s->arena, "%s.%s", step.job, in->id);
    s->failed |= !step.id || !grow(s->arena, &s->v, s->out->steps.n, &s->room, sizeof *s->v);
    struct bytes packed =
        s->failed ? (struct bytes){0} : msg_pack_arena(&step_type, &step, s->arena);
    s->failed |= !packed.p;
    if (s->failed)
        return -1;
    s->v[s->out->steps.n++] = packed;
    s->bytes += packed.n;
    s->too_large |= s->bytes > WIRE_MAX_JOBS;
    return s->too_large ? -1 : 0;
}

/* One question is enough for all of an array. */
static int ask(struct stepping *s, struct err *err)
{
    if (s->id->kind == JOBID_PLAIN && s->array)
        return cluster_steps(s->id->id, see_step, s, err);
    if (s->n_jobs > JOBS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d jobs: ask for all of the array", JOBS_MAX);
    for (size_t i = 0; i < s->n_jobs; i++) {
        size_t all = s->n_jobs;
        struct named *jobs = s->jobs;
        s->jobs += i; /* an array's first task answers for the others, too */
        s->n_jobs = 1;
        int rc = cluster_steps(s->jobs->job_id, see_step, s, err);
        s->jobs = jobs;
        s->n_jobs = all;
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int steps_of(struct stepping *s, const char *text, const char **missing, struct err *err)
{
    struct jobid id;
    s->id = &id;
    s->n_jobs = 0;
    s->array = false;
    if (jobid_parse(text, &id, err) < 0)
        return -1;
    if (cluster_load_job(id.id, see_job, s, err) < 0) {
        if (err->code != ERR_NOT_FOUND)
            return -1;
        *err = (struct err){0};
    }
    if (s->n_jobs == 0 && !s->failed) {
        missing[s->out->missing.n++] = text;
        return 0;
    }
    if (!s->failed && ask(s, err) < 0)
        return -1;
    if (s->failed)
        return err_set(err, ERR_LIMIT, "no memory for the steps");
    if (s->too_large)
        return err_set(err, ERR_LIMIT,
                       "the answer is larger than %d bytes: ask for fewer jobs at once",
                       WIRE_MAX_JOBS);
    return 0;
}

int wop_steps(struct worker_call *c, const struct steps_request *in, struct steps_reply *out,
              struct err *err)
{
    struct stepping s = {.arena = c->arena, .out = out};
    const char **missing = arena_array(c->arena, in->ids.n + 1, sizeof *missing);
    if (!missing)
        return err_set(err, ERR_LIMIT, "no memory for the steps");
    for (size_t i = 0; i < in->ids.n; i++)
        if (steps_of(&s, in->ids.v[i], missing, err) < 0)
            return -1;
    out->steps.v = s.v;
    out->missing.v = missing;
    out->as_of = clock_now();
    return 0;
}
