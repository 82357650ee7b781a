/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Holds and releases of jobs that wait for their inputs: Slurm would let a job go without them, and
 * knows no hold besides the one that they wait under.
 */
#include "agentd/staging_impl.h"
#include "agentd/table.h"
#include "common/jobverb.h"

static struct staged *of_job(struct staging *s, uint32_t uid, const struct jobid *id,
                             bool *ret_is_task)
{
    struct staged *e = staged_of_job(s, uid, id->id);
    struct jobrec *rec = table_get(s->a->table, id->id);
    *ret_is_task = id->kind != JOBID_PLAIN;
    if (e)
        return e;
    if (!rec || rec->keys.uid != uid || !rec->keys.tag)
        return NULL;
    *ret_is_task = true; /* by its own number */
    return staged_of(s, rec);
}

static int look_whether_stored(void *arg, struct jobrec *rec)
{
    const struct staged *e = arg;
    const struct unit *u = staged_of(e->s, rec) == e ? unit_of(e, rec) : NULL;
    return u && u->state == STAGING_STORING ? -1 : 0;
}

static enum staged_ask ask_cancel(struct staged *e, const struct jobid *id)
{
    return table_find(e->s->a->table, id, look_whether_stored, e) < 0 ? STAGED_STORING : STAGED_NOT;
}

static enum staged_ask ask_hold(struct staged *e, bool hold, bool is_task)
{
    switch (e->state) {
    case STAGING_DROPPING:
        return hold ? STAGED_NOT : STAGED_DROPPING;
    case STAGING_RELEASING:
        return STAGED_RELEASING;
    case STAGING_SUBMITTED:
    case STAGING_FETCHING:
        break;
    default:
        return STAGED_NOT;
    }
    if (!e->has_inputs)
        return STAGED_NOT;
    if (is_task)
        return STAGED_TASK;
    e->held = hold;
    e->code = hold ? CODE_HELD : CODE_FREE;
    staged_note(e, NULL, NULL);
    staged_retell(e);
    return hold ? STAGED_HELD : STAGED_FREE;
}

enum staged_ask staging_ask(struct staging *s, uint32_t uid, enum job_verb verb, const char *id,
                            int64_t submit_time)
{
    struct jobid parsed;
    struct err ignored = {0};
    bool is_task;
    if (!s || !s->count || jobid_parse(id, &parsed, &ignored) < 0)
        return STAGED_NOT;
    struct staged *e = of_job(s, uid, &parsed, &is_task);
    /* Another job's now: who asks is told so. */
    if (!e || (submit_time && e->submit_time && submit_time != e->submit_time))
        return STAGED_NOT;
    if (verb == JOB_VERB_hold || verb == JOB_VERB_release)
        return ask_hold(e, verb == JOB_VERB_hold, is_task);
    return verb == JOB_VERB_cancel ? ask_cancel(e, &parsed) : STAGED_NOT;
}
