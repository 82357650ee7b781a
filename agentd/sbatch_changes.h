/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sbatch_changes.h: what is to be changed of a job, said by sbatch's options: job_changes.def
 *
 * Pure, as sbatch.h.
 */
#ifndef AGENTD_SBATCH_CHANGES_H
#define AGENTD_SBATCH_CHANGES_H

#include "agentd/sbatch.h"

/* NULL and SBATCH_UNSET in *out: left as it is, "" clears.  array_inx is how many tasks of the
 * array may run at a time, 0 any number.
 *
 * now is what "now+1hour" counts from.  ERR_INVALID names option and value, ERR_UNSUPPORTED is an
 * option of sbatch that cannot be changed.  Strings are the options' or the arena's. */
int sbatch_changes(const struct pairs *options, int64_t now, struct arena *arena,
                   struct sbatch *out, struct err *err);

#endif
