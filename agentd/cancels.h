/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cancels.h: who has cancelled jobs through this server
 *
 * slurmctld says of a cancelled job by whom only to slurmdbd.  What was cancelled through us we
 * know; the last few thousand.  Belongs to the loop.
 */
#ifndef AGENTD_CANCELS_H
#define AGENTD_CANCELS_H

#include "agentd/jobrec.h"

struct cancels;
/* NULL without memory. */
struct cancels *cancels_new(void);
void cancels_free(struct cancels *c);

/* user, who is uid, is about to cancel what id (as in requests) names.  Until the answer this
 * counts for uid's own jobs: a load may show the end before it, and nobody refuses an owner.  Gives
 * what cancels_answered() wants; 0: not remembered. */
uint64_t cancels_ask(struct cancels *c, const char *id, const char *user, uint32_t uid);
/* taken: slurmctld has taken it; else it came to nothing.  The first answer counts; 0 is fine. */
void cancels_answered(struct cancels *c, uint64_t asked, bool taken);
/* slurmctld has taken user's cancel, which cancels_ask() was not told of. */
void cancels_note(struct cancels *c, const char *id, const char *user);
/* The record, or one in its place that says who cancelled the job; takes rec and gives a reference.
 */
struct jobrec *cancels_tell(const struct cancels *c, struct jobrec *rec);

#endif
