/* SPDX-License-Identifier: GPL-3.0-or-later */
/* evidence.h: what slurmdbd says about a submit in doubt, asked by its user's own worker
 *
 * That it has the job settles the doubt; that it has none proves nothing.  Belongs to the loop.
 */
#ifndef AGENTD_EVIDENCE_H
#define AGENTD_EVIDENCE_H

#include "agentd/dispatch.h"
#include "agentd/requests.h"

/* err: it could not be asked.  requests.c knows the rest. */
typedef void (*evidence_fn)(struct call *c, const struct err *err);

/* Asks about the caller's request when it is in doubt and no load of slurmctld's table will settle
 * it; also_early: whenever it is in doubt.  fn is called once, perhaps before this returns.  id
 * lives as long as the call. */
void evidence_ask(struct call *c, const uint8_t id[REQUEST_ID], bool also_early, evidence_fn fn);

#endif
