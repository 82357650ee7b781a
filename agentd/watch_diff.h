/* SPDX-License-Identifier: GPL-3.0-or-later */
/* watch_diff.h: which jobs are new, changed or gone since they were last seen
 *
 * Keeps a 64-bit hash of each packed job, not the job.  Slurm resends its whole table when one job
 * has changed, and what changed in a second comes twice.  Used by the watcher; one thread.
 */
#ifndef AGENTD_WATCH_DIFF_H
#define AGENTD_WATCH_DIFF_H

#include <stdint.h>

#include "common/wire.h"

struct watch_diff;
/* NULL without memory. */
struct watch_diff *watch_diff_new(void);
void watch_diff_free(struct watch_diff *d);
CLEANUP_FN(struct watch_diff, watch_diff_free)

/* A whole table follows: what is not seen until watch_diff_end() is gone. */
void watch_diff_begin(struct watch_diff *d);
/* 1: new or changed; 0: as it was; -1: no memory (nothing has changed). */
int watch_diff_see(struct watch_diff *d, uint32_t job_id, struct bytes packed);
/* Is there one that has not been seen since watch_diff_begin()? */
bool watch_diff_lacks(const struct watch_diff *d);
/* Calls gone for each job that is, in no particular order, and forgets it. */
void watch_diff_end(struct watch_diff *d, void (*gone)(void *arg, uint32_t job_id), void *arg);
/* True when it was known. */
bool watch_diff_forget(struct watch_diff *d, uint32_t job_id);
size_t watch_diff_count(const struct watch_diff *d);

#endif
