/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Doubts that no load of slurmctld's table will settle: by slurmdbd, and by the user's word. */
#include "agentd/requests_set.h"

enum { RECENT_MS = 60000 }; /* a load so old says what slurmctld has */

static const char no_job_text[] = "its user has said that there is no job of it";

bool request_stuck(const struct request *q)
{
    return q->state == REQUEST_IN_DOUBT && q->stuck;
}

void requests_found(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID], int64_t job_id,
                    int64_t submit_time)
{
    struct request *q = request_set_find(&r->set, uid, id);
    if (!q || q->state != REQUEST_IN_DOUBT)
        return;
    request_say(q, LOG_LEVEL_NOTICE, "slurmdbd knows its job");
    request_is_job(r, q, job_id, submit_time, true);
    if (!request_carries_tag(r, q,
                             job_id)) /* slurmctld has forgotten it: so it is not lost later */
        request_is_over(r, q);
}

int request_row_resolve(const struct request_row *row, int64_t job_id, struct err *err)
{
    bool has_job = row->state == REQUEST_SUBMITTED || row->state == REQUEST_ENDED;
    bool lost = row->state == REQUEST_LOST && job_id == row->job_id;
    if (row->state == REQUEST_SUBMITTING || row->state == REQUEST_IN_DOUBT) {
        err->retry_after_ms = 1000;
        return err_set(err, ERR_BUSY, "the journal of before is still being read");
    }
    if (lost || (has_job ? job_id == row->job_id : !job_id))
        return 0;
    if (has_job)
        return err_set(err, ERR_CONFLICT, "it is not in doubt: it is job %lld",
                       (long long)row->job_id);
    return err_set(err, ERR_CONFLICT, "it is not in doubt, and has no job: it is %s",
                   request_word(row->state));
}

/* Can a job of it neither be made any more nor be there unseen? */
static int check_time(const struct requests *r, const struct request *q, struct err *err)
{
    const struct requests_load *l = &r->last;
    err->retry_after_ms = 5000;
    if (q->state != REQUEST_IN_DOUBT)
        return err_set(err, ERR_BUSY, "it is being submitted at the moment");
    if (!r->last_ms || requests_now_ms(r) - r->last_ms > RECENT_MS || r->last_ms <= q->over_ms)
        return err_set(err, ERR_SLURM_DOWN,
                       "slurmctld has not shown its jobs since: first it must be certain that the "
                       "job is not there");
    if (!request_is_spent(r, q, l))
        return err_set(
            err, ERR_BUSY,
            "slurmctld may yet carry it out, until %lld s after it was sent: it is still "
            "being looked for",
            (long long)l->rpc_ms / 1000);
    err->retry_after_ms = 0;
    return 0;
}

int requests_resolve(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID], int64_t job_id,
                     struct err *err)
{
    struct request *q = request_set_find(&r->set, uid, id);
    struct request_row row;
    if (!q)
        return err_set(err, ERR_NOT_FOUND, "no submit of yours has this request id");
    request_row(q, &row);
    bool open = request_state(q) == REQUEST_BEGINNING || row.state <= REQUEST_IN_DOUBT;
    if (!open)
        return request_row_resolve(&row, job_id, err);
    if (check_time(r, q, err) < 0)
        return -1;
    if (job_id && !request_carries_tag(r, q, job_id))
        return err_set(err, ERR_CONFLICT,
                       "neither slurmctld nor slurmdbd has job %lld as one of yours with this "
                       "request's tag",
                       (long long)job_id);
    request_say(q, LOG_LEVEL_NOTICE, "settled by its user");
    if (job_id)
        request_is_job(r, q, job_id, 0, true);
    else
        request_no_job(r, q, REQUEST_NOT_SUBMITTED, LIST_LATER, ERR_NOT_SUBMITTED, no_job_text);
    request_row(q, &row); /* one of an earlier attempt may have turned up */
    return request_row_resolve(&row, job_id, err);
}
