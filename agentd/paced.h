/* SPDX-License-Identifier: GPL-3.0-or-later */
/* paced.h: requests of users who ask more often than they may
 *
 * A few of each user wait for their turn, as often as the user's rate allows it; so callers that
 * ask one thing after the other go at that rate and see no error.  Those beyond are refused as
 * BUSY, which is said late: whoever asks again at once, whatever he is told, costs what others
 * have to wait for.  Belongs to the loop.
 */
#ifndef AGENTD_PACED_H
#define AGENTD_PACED_H

#include "agentd/dispatch.h"
#include "agentd/rates.h"

struct paced;

struct paced *paced_new(struct agentd *a, struct err *err);
/* Answers all of them: the server ends.  None is kept any more. */
void paced_stop(struct paced *p);
void paced_free(struct paced *p);

/* Keeps the call, which has its turn in ms at the earliest, and runs it then (call_run()).  False:
 * too many wait, or it would take too long; the call is still the caller's. */
bool paced_wait(struct paced *p, struct call *c, enum rate_index class, int64_t ms);
/* Answers with err, which is copied, after a while (at once when there is no room to keep it);
 * until then the call counts as refused, and not as under way.  False: the user has more of these
 * than sessions, and hundreds; the call is still the caller's. */
bool paced_refuse(struct paced *p, struct call *c, const struct err *err);
/* Refuses what waits of the user's. */
void paced_let_go(struct paced *p, const struct user *u);

#endif
