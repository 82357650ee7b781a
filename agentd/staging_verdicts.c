/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What must not be told as Slurm has it, of staged jobs that are over.  In the journal as rows with
 * a code; here, since accounting's word for a job is asked for long after slurmctld forgot it. */
#include <stdlib.h>
#include <string.h>

#include "agentd/staging_impl.h"

enum { VERDICTS_MAX = 200000 }; /* 30 MB or so; then the oldest go */

static struct verdict **bucket(struct verdicts *v, int64_t job_id)
{
    return &v->by_job[(uint64_t)job_id % STAGED_BUCKETS];
}

static void remove_one(struct verdicts *v, struct verdict *old)
{
    struct verdict **at = bucket(v, old->job_id);
    while (*at != old)
        at = &(*at)->next;
    *at = old->next;
    TAILQ_REMOVE(&v->all, old, in_all);
    v->n--;
    free(old);
}

void verdicts_init(struct verdicts *v)
{
    TAILQ_INIT(&v->all);
}

void verdicts_done(struct verdicts *v)
{
    while (!TAILQ_EMPTY(&v->all))
        remove_one(v, TAILQ_FIRST(&v->all));
}

static struct verdict *find(const struct verdicts *v, uint32_t uid, int64_t job_id, int64_t task,
                            int64_t submit_time)
{
    struct verdict *one = v->by_job[(uint64_t)job_id % STAGED_BUCKETS];
    while (one && (one->job_id != job_id || one->uid != uid || one->task != task ||
                   one->submit_time != submit_time))
        one = one->next;
    return one;
}

void verdicts_take(struct verdicts *v, const struct staging_row *row)
{
    size_t n = strlen(row->text) + 1;
    struct verdict *old = find(v, row->uid, row->job_id, row->task, row->submit_time), *one;
    if (old)
        remove_one(v, old);
    if (row->state != STAGING_OVER || row->code <= 0 || !(one = malloc(sizeof *one + n)))
        return;
    *one = (struct verdict){
        .uid = row->uid,
        .job_id = row->job_id,
        .task = row->task,
        .submit_time = row->submit_time,
        .code = row->code,
        .next = *bucket(v, row->job_id),
    };
    memcpy(one->text, row->text, n);
    *bucket(v, row->job_id) = one;
    TAILQ_INSERT_TAIL(&v->all, one, in_all);
    if (++v->n > VERDICTS_MAX)
        remove_one(v, TAILQ_FIRST(&v->all));
}

const struct verdict *verdicts_find(const struct verdicts *v, const struct jobrec *rec)
{
    /* Its own end, then that of the whole array of which nothing more was known, then inputs. */
    const int64_t tasks[] = {rec->task, JOBREC_NO_TASK, STAGING_JOB};
    const struct verdict *one = NULL;
    for (size_t i = 0; i < 3 && !one; i++)
        one = find(v, rec->keys.uid, rec->group, tasks[i], rec->submit_time);
    return one;
}
