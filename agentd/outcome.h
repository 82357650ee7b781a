/* SPDX-License-Identifier: GPL-3.0-or-later */
/* outcome.h: what became of a job, in a user's terms */
#ifndef AGENTD_OUTCOME_H
#define AGENTD_OUTCOME_H

#include "common/msg.h"

/* Fills phase and outcome from what is known already: state, flags, codes, reason, cancelled_by. */
void outcome_fill(struct job *j, struct arena *arena);

#endif
