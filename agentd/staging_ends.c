/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ends that nobody saw: no agentd ran, or none reached slurmctld, until it had forgotten the job.
 *
 * Which outputs are due is not known then, since those of a success may be half of what a failure
 * left.  slurmdbd is asked how it ended, by a stage worker under the grant: the user need not be
 * here.  What it says decides what of the user's is stored, and nothing else.
 */
#include <string.h>

#include "agentd/journal.h"
#include "agentd/staging_impl.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    /* slurmctld may have kept it from a slurmdbd that was away; one that lost the job never says */
    LOOK_S = 600,
    AGAIN_MS = 15000,
};

static const char lost_text[] =
    "it ended while no agentd saw it, and slurmctld has forgotten it%s%s: its outputs were not "
    "stored; what it left is on the cluster, store it yourself";

static void lose(struct unit *u, const char *why)
{
    char text[STAGING_TEXT];
    snprintf(text, sizeof text, lost_text, *why ? "; " : "", why);
    staged_say(u->run.job, LOG_LEVEL_WARNING, text);
    unit_over(u, ERR_IN_DOUBT, text);
}

static bool stores(const struct staged *e)
{
    return e->outputs_ok || e->outputs_failed;
}

static void seek(struct staged *e, uint32_t task, uint32_t job_id, int64_t submit_time)
{
    struct unit *u = unit_add_sought(e, task, job_id, submit_time);
    if (!u)
        return;
    staged_say(e, LOG_LEVEL_NOTICE, "it ended while nobody saw it: slurmdbd is asked how");
    unit_note(u);
    e->look = true;
}

void staging_missed(struct staging *s, const struct jobrec *rec)
{
    struct staged *e = s && rec->keys.tag ? staged_of(s, rec) : NULL;
    if (!e || !stores(e) || unit_of(e, rec))
        return;
    if (e->state == STAGING_SUBMITTED && !e->has_inputs)
        staged_released(e);
    if (e->state == STAGING_RELEASED)
        seek(e, rec->task, rec->job_id, rec->submit_time);
}

bool staged_seek(struct staged *e)
{
    if (!stores(e) || unit_of_task(e, JOBREC_NO_TASK))
        return false;
    seek(e, JOBREC_NO_TASK, (uint32_t)e->job_id, e->submit_time);
    return e->sought > 0;
}

/* ---- asking ---- */

void staged_seek_on(struct staged *e, int64_t now)
{
    struct watch_status st;
    watch_status(e->s->a->watch, &st);
    if (!st.as_of || e->run.wanted || e->run.stager || (e->seek_ms && now - e->seek_ms < AGAIN_MS))
        return;
    e->seek_ms = now;
    if (st.accounting) {
        run_want(&e->run, STAGE_OP_ended);
        return;
    }
    staged_ends_unknown(e, "there is no accounting to ask");
}

void staged_ends_unknown(struct staged *e, const char *why)
{
    for (size_t i = 0; i < e->n_units; i++)
        if (e->units[i]->state == STAGING_SOUGHT)
            lose(e->units[i], why);
}

/* ---- what slurmdbd says ---- */

struct ends {
    struct stage_end *v;
    size_t n;
};

static int by_task(const void *pa, const void *pb)
{
    const struct stage_end *a = pa, *b = pb;
    return a->task != b->task
               ? (a->task > b->task) - (a->task < b->task)
               : (a->submit_time > b->submit_time) - (a->submit_time < b->submit_time);
}

/* Of a task the latest run alone: what an earlier one left has been written over. */
static int read_ends(const struct stage_report *rep, struct arena *arena, struct ends *out,
                     struct err *err)
{
    size_t n = rep->ends.n, kept = 0;
    struct stage_end *v = arena_array(arena, n + 1, sizeof *v);
    if (!v)
        return err_set(err, ERR_BUSY, "no memory");
    for (size_t i = 0; i < n; i++)
        if (msg_unpack(&stage_end_type, rep->ends.v[i], arena, MSG_STRICT, &v[i], err) < 0)
            return -1;
    qsort(v, n, sizeof *v, by_task);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || v[i].task != v[i + 1].task)
            v[kept++] = v[i];
    *out = (struct ends){v, kept};
    return 0;
}

static uint32_t task_of(const struct stage_end *end)
{
    return end->task < 0 ? JOBREC_NO_TASK : (uint32_t)end->task;
}

static const struct stage_end *end_of(const struct ends *ends, const struct unit *u)
{
    const struct stage_end key = {.task = u->task == JOBREC_NO_TASK ? MANIFEST_NO_TASK
                                                                    : (int64_t)u->task};
    size_t from = 0, to = ends->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (ends->v[middle].task < key.task)
            from = middle + 1;
        else
            to = middle;
    }
    return from < ends->n && ends->v[from].task == key.task ? &ends->v[from] : NULL;
}

static int is_there(void *arg, struct jobrec *rec)
{
    const struct staged *e = arg;
    return (uint32_t)rec->keys.tag == e->tag && rec->keys.uid == e->uid ? -1 : 0;
}

/* Of an array of which it was not known what there was: each task that nobody has seen. */
static void part(struct staged *e, const struct ends *ends)
{
    struct unit *whole = unit_of_task(e, JOBREC_NO_TASK);
    if (!e->array || !whole || whole->state != STAGING_SOUGHT || !ends->n)
        return;
    for (size_t i = 0; i < ends->n; i++) {
        const struct jobid id = {
            .kind = JOBID_TASK, .id = (uint32_t)e->job_id, .second = task_of(&ends->v[i])};
        if (!unit_of_task(e, id.second) && table_find(e->s->a->table, &id, is_there, e) == 0)
            seek(e, id.second, (uint32_t)ends->v[i].job_id, ends->v[i].submit_time);
    }
    unit_over(whole, ERR_NONE, "each task by itself");
}

static void settle(struct unit *u, const struct stage_end *end)
{
    struct staged *e = u->run.job;
    enum phase phase = end ? phase_find(str_or(end->phase, "")) : PHASE_UNKNOWN;
    if (!phase_ended(phase) || phase == PHASE_UNKNOWN) {
        if (clock_now() - u->changed > LOOK_S)
            lose(u, "slurmdbd does not know how either");
        return;
    }
    u->job_id = (uint32_t)end->job_id;
    u->submit_time = end->submit_time;
    u->failed = phase != PHASE_SUCCEEDED;
    if (!end->ran || !(u->failed ? e->outputs_failed : e->outputs_ok)) {
        unit_over(u, ERR_NONE, "none were to be stored");
        return;
    }
    unit_set_state(u, STAGING_STORING);
    u->run.wanted = true;
    unit_note(u);
}

void staged_ends_found(struct staged *e, const struct stage_report *rep)
{
    AUTO(arena_done) struct arena arena = {0};
    struct ends ends = {0};
    struct err err = {0};
    if (read_ends(rep, &arena, &ends, &err) < 0) {
        staged_say(e, LOG_LEVEL_WARNING, err.text);
        return;
    }
    part(e, &ends);
    for (size_t i = 0; i < e->n_units; i++)
        if (e->units[i]->state == STAGING_SOUGHT)
            settle(e->units[i], end_of(&ends, e->units[i]));
    e->look = true;
}
