/* SPDX-License-Identifier: GPL-3.0-or-later */
/* find.h: jobs by id, from whoever knows them: the table, the journal, slurmdbd
 *
 * In that order, each asked for what the ones before did not have; with PrivateData=jobs the
 * caller's own worker in place of the table, and the journal for the caller's own jobs alone.
 * slurmdbd is asked by the caller's worker, where accounting is configured.
 */
#ifndef AGENTD_FIND_H
#define AGENTD_FIND_H

#include "agentd/dispatch.h"
#include "agentd/jobrec.h"

struct found {
    struct jobrec **recs; /* by job_id; borrowed until the callback returns */
    size_t n;
    const char *const *missing; /* ids as asked */
    size_t n_missing;
    int64_t as_of;
    bool stale;
    bool incomplete; /* the journal could not be read: there may be more of an array or het job */
    char note[500];  /* why it is stale, or why slurmdbd could not be asked; "" otherwise */
    const char *source; /* of what is fresh: "table" or "slurmctld" */
};

/* err ERR_NONE: found is filled. */
typedef void (*find_fn)(struct call *c, const struct found *found, const struct err *err);

/* Waits first for the load that shows the user's own latest change.  ids live in the call's arena;
 * c->state is the caller's still.  fn is called exactly once, perhaps before this returns, and must
 * answer the call or hold it. */
void find_jobs(struct call *c, const struct strs *ids, find_fn fn);

#endif
