/* SPDX-License-Identifier: GPL-3.0-or-later */
/* outcome.h: what became of a job, in a user's terms */
#ifndef AGENTD_OUTCOME_H
#define AGENTD_OUTCOME_H

#include "common/msg.h"

/* Fills phase and outcome from what is known already: state, flags, codes, reason, end_time,
 * cancelled_by.  now is the time of whoever says so. */
void outcome_fill(struct job *j, int64_t now, struct arena *arena);
/* The same for a record whose phase is decided: outcome alone. */
void outcome_explain(struct job *j, struct arena *arena);
/* Has it been killed, but counts as running until its exit status is there?  That ends with time,
 * too. */
bool outcome_awaited(const struct job *j);

#endif
