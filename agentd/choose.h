/* SPDX-License-Identifier: GPL-3.0-or-later */
/* choose.h: the jobs that a control request's filters choose, each with what makes it that job
 *
 * From the table; with PrivateData=jobs from the caller's own worker.  A page at a time, so that
 * neither the loop nor a worker is held up by one who has many jobs.  Belongs to the loop.
 */
#ifndef AGENTD_CHOOSE_H
#define AGENTD_CHOOSE_H

#include "agentd/dispatch.h"
#include "common/jobverb.h"

/* All of it is the call's arena's. */
struct chosen {
    const char **ids;
    int64_t *submit_times, *restarts; /* one for each id */
    size_t n;
    const char **unfit, **unknown; /* of the ids that were asked for: known to be another, not known
                                      at all */
    size_t n_unfit, n_unknown;
    int64_t next; /* not 0: there are more behind this job_id */
};

/* Only jobs that are something are meant, be it those of the ids or any. */
bool choose_wanted(const struct control_request *req);

typedef void (*chosen_fn)(struct call *c, const struct chosen *chosen, const struct err *err);
/* Calls fn once, at once or later; err's code is ERR_NONE or why nothing could be chosen. */
void choose_jobs(struct call *c, const struct control_request *req, const struct job_verb_row *verb,
                 chosen_fn fn);

#endif
