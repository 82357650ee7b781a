/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fault/fault_judge.h"

#include <string.h>

enum {
    SAVES_S = 6,       /* slurmctld saves its jobs each 5 s, */
    FORGETS_S = 30,    /* when it is not stopped */
    ANSWERED_S = 60,   /* so long may the answer have been on its way to the client */
    LATE_LEAST_S = 13, /* less is no time in which the agent may say that there is no job */
    LATE_AFTER_S = 15, /* what waited is done by then, also on a busy machine */
};

/* While slurmctld's plugin keeps a request it saves no jobs. */
static int64_t saved_by_s(const struct fault_world *w, int64_t to_s)
{
    for (size_t i = 0; i < w->n_late; i++)
        if (to_s >= w->late[i].from_s - SAVES_S && to_s < w->late[i].to_s)
            to_s = w->late[i].to_s;
    return to_s + FORGETS_S;
}

bool fault_killed_near(const struct fault_world *w, int64_t from_s, int64_t to_s)
{
    int64_t last_s = saved_by_s(w, to_s);
    for (size_t i = 0; i < w->n_kills; i++)
        if (w->kills_s[i] >= from_s - 1 && w->kills_s[i] <= last_s)
            return true;
    return false;
}

/* Was it sent, and then sent again, while these were kept? */
static bool was_sent_twice(const struct fault_told *told, const struct fault_span *kept)
{
    for (size_t i = 1; i < told->n_sent; i++)
        if (told->sent_s[0] <= kept->to_s && told->sent_s[i] - told->sent_s[0] >= LATE_LEAST_S &&
            told->sent_s[i] >= kept->from_s + LATE_LEAST_S &&
            told->sent_s[i] <= kept->to_s + LATE_AFTER_S)
            return true;
    return false;
}

static bool was_late(const struct fault_world *w, const struct fault_told *told, int64_t made_s)
{
    for (size_t i = 0; i < w->n_late; i++)
        if (made_s >= w->late[i].to_s - 1 && made_s <= w->late[i].to_s + LATE_AFTER_S &&
            was_sent_twice(told, &w->late[i]))
            return true;
    return false;
}

/* A record of what slurmctld refused. */
static bool is_no_job(const struct fault_job *j)
{
    return j->ended && !j->started && !j->cancelled;
}

static void fail(struct fault_verdict *v, enum fault_fate fate, const char *why)
{
    if (v->why && v->fate == FAULT_DOUBLED) /* the worst */
        return;
    v->fate = fate;
    v->why = why;
}

static void judge_other(const struct fault_world *w, const struct fault_told *told,
                        const struct fault_job *job, const struct fault_job *j,
                        struct fault_verdict *v)
{
    bool together = job && job->wiped == j->wiped;
    if (j->wiped && !j->started && !j->wiped_cancelled && !together) {
        v->forgotten++; /* it can neither be cancelled any more nor run */
    } else if (!j->started && !j->cancelled) {
        fail(v, FAULT_DOUBLED, "another job waits");
    } else if (!j->reported) {
        fail(v, FAULT_DOUBLED,
             j->started ? "another job has started" : "a twin was cancelled and never reported");
    } else if (!was_late(w, told, j->made_s)) {
        fail(v, FAULT_DOUBLED, "a twin, though it was not kept back and sent again");
    } else {
        v->twins++;
        v->twins_started += j->started;
    }
}

/* A double stays one. */
static void settle(struct fault_verdict *v, enum fault_fate fate)
{
    if (!v->why)
        v->fate = fate;
}

/* Slurm has nothing of the job that was told. */
static void judge_missing(const struct fault_world *w, const struct fault_told *told,
                          const struct fault_job *job, struct fault_verdict *v)
{
    int64_t to = job ? job->made_s : told->told_s, from = job ? to : to - ANSWERED_S;
    bool wiped = job && job->wiped;
    if (!wiped && !fault_killed_near(w, from, to))
        fail(v, FAULT_LOST, "its job is not there, and slurmctld was not killed");
    else if (strcmp(told->state, "LOST") == 0)
        settle(v, FAULT_SAID_LOST);
    else if (strcmp(told->state, "NOT_SUBMITTED") == 0)
        settle(v, FAULT_NOT_SUBMITTED);
    else if (strcmp(told->state, "ENDED") == 0 &&
             (told->cancelled || (job && (job->started || job->cancelled || job->ended))))
        settle(v, FAULT_OVER);
    else
        fail(v, FAULT_LOST, "its job is not there, and the agent does not say so");
}

static void judge_told(const struct fault_world *w, const struct fault_told *told,
                       const struct fault_job *job, struct fault_verdict *v)
{
    bool has = strcmp(told->state, "SUBMITTED") == 0 || strcmp(told->state, "ENDED") == 0;
    if (told->refuses && told->job_id)
        fail(v, FAULT_DOUBLED, "Slurm was to refuse it, and a job was told");
    else if (told->refuses && (!told->refused || strcmp(told->state, "REFUSED") != 0))
        fail(v, FAULT_OPEN, "Slurm was to refuse it, and the agent does not say so");
    else if (told->refuses && told->differs)
        fail(v, FAULT_OPEN, "it was refused, and another time it was not");
    else if (told->refuses)
        settle(v, FAULT_NO);
    else if (!told->job_id)
        fail(v, FAULT_OPEN, "no answer");
    else if (told->differs)
        fail(v, FAULT_LOST, "two answers name two jobs");
    else if (!job || !job->shown)
        judge_missing(w, told, job, v);
    else if (!has || told->job_now != told->job_id)
        fail(v, FAULT_LOST, "its job is there, and the agent says otherwise");
}

void fault_judge(const struct fault_world *w, const struct fault_told *told,
                 const struct fault_job *jobs, size_t n, struct fault_verdict *out)
{
    const struct fault_job *job = NULL;
    *out = (struct fault_verdict){.fate = FAULT_ONE};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (jobs[i].attempt && jobs[k].attempt == jobs[i].attempt && jobs[k].id != jobs[i].id)
                fail(out, FAULT_DOUBLED, "two jobs of one attempt");
    /* An id that slurmctld has given again, to a later attempt, is that one's. */
    for (size_t i = 0; i < n; i++)
        if (jobs[i].id == told->job_id && (!job || jobs[i].shown) &&
            !(told->refuses && is_no_job(&jobs[i])))
            job = &jobs[i];
    for (size_t i = 0; i < n; i++) {
        const struct fault_job *j = &jobs[i];
        if (told->refuses && is_no_job(j))
            continue;
        if ((j->shown || j->wiped) && j->id != told->job_id)
            judge_other(w, told, job, j, out);
        else if (j->wiped)
            out->forgotten += !j->shown;
        else if (!j->shown && fault_killed_near(w, j->made_s, j->made_s))
            out->forgotten++;
        else if (!j->shown && j->id != told->job_id)
            fail(out, FAULT_DOUBLED, "another job, which slurmctld has not, and was not killed");
    }
    judge_told(w, told, job, out);
}
