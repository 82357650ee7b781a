/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/missed.h"

#include <string.h>

#include "agentd/outcome.h"
#include "common/str.h"

/* MaxJobId is at most 0x03ff0000; a federation's cluster is in the bits above, which end with 63.
 */
#define NO_JOB_ID 0xff000000u

/* Absence is no end: it is told as what it is.  Of one that was killed the exit status alone is not
 * known. */
static int unpack(const struct jobrec *old, struct arena *arena, struct job *out)
{
    struct err err = {0};
    if (msg_unpack(&job_type, old->packed, arena, MSG_LENIENT, out, &err) < 0)
        return -1;
    if (outcome_awaited(out)) {
        out->flags = (struct strs){NULL, 0};
        outcome_fill(out, 0, arena);
        return 0;
    }
    out->phase = phase_word(PHASE_UNKNOWN);
    out->flags = (struct strs){NULL, 0};
    out->outcome = arena_printf(
        arena, "slurmctld has forgotten it; it was %s when last seen, how it ended is not known",
        str_or(out->state, "there"));
    return 0;
}

struct jobrec *missed_job(const struct jobrec *old)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err ignored = {0};
    struct job j;
    return unpack(old, &arena, &j) < 0 ? NULL : jobrec_of(&j, &ignored);
}

/* ---- tasks ---- */

static struct jobrec *missed_task(const struct job *whole, uint32_t task, struct arena *arena)
{
    struct err ignored = {0};
    struct job j = *whole;
    j.job_id = NO_JOB_ID | ((j.array_job_id * 0x9e3779b1u + task) & 0x00ffffff);
    j.array_task = arena_printf(arena, "%u", (unsigned)task);
    j.id = arena_printf(arena, "%lld_%u", (long long)j.array_job_id, (unsigned)task);
    return j.array_task && j.id ? jobrec_of(&j, &ignored) : NULL;
}

static bool is_there(uint32_t task, struct jobrec *const *now, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (now[i]->task == JOBREC_NO_TASK && now[i]->in_array &&
            jobid_tasks_contain(now[i]->array_task, task))
            return true;
    return false;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The tasks that have records of their own, sorted. */
static uint32_t *own_records(struct jobrec *const *now, size_t n, size_t *ret_n)
{
    uint32_t *v = calloc(n + 1, sizeof *v);
    *ret_n = 0;
    for (size_t i = 0; v && i < n; i++)
        if (now[i]->in_array && now[i]->task != JOBREC_NO_TASK)
            v[(*ret_n)++] = now[i]->task;
    if (v)
        qsort(v, *ret_n, sizeof *v, by_number);
    return v;
}

int missed_tasks(const struct jobrec *old, struct jobrec *const *now, size_t n,
                 void (*fn)(void *arg, struct jobrec *rec), void *arg)
{
    AUTO(arena_done) struct arena arena = {0};
    AUTO(free) uint32_t *tasks = calloc(MISSED_TASKS_MAX, sizeof *tasks);
    size_t n_own, n_tasks = tasks ? jobid_tasks(old->array_task, tasks, MISSED_TASKS_MAX) : 0;
    AUTO(free) uint32_t *own = own_records(now, n, &n_own);
    struct job j;
    if (!tasks || !own || unpack(old, &arena, &j) < 0)
        return -1;
    if (n_tasks > MISSED_TASKS_MAX)
        return 1;
    for (size_t i = 0; i < n_tasks; i++) {
        if (bsearch(&tasks[i], own, n_own, sizeof *own, by_number) || is_there(tasks[i], now, n))
            continue;
        struct jobrec *rec = missed_task(&j, tasks[i], &arena);
        if (!rec)
            return -1;
        fn(arg, rec);
    }
    return 0;
}
