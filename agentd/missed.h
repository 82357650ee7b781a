/* SPDX-License-Identifier: GPL-3.0-or-later */
/* missed.h: records of jobs whose end nobody has seen: phase UNKNOWN, and why */
#ifndef AGENTD_MISSED_H
#define AGENTD_MISSED_H

#include "agentd/jobrec.h"

/* Tasks of an array that are waiting have one record.  More of them than this are told as one. */
enum { MISSED_TASKS_MAX = 10000 };

/* The job as last seen, its end unknown; NULL without memory. */
struct jobrec *missed_job(const struct jobrec *old);
/* Calls fn with such a record for each task that old, a record of waiting tasks, names and that
 * none of now[0..n), the group's present records, is of; fn keeps the reference.  A task's own job
 * id was never seen: it gets a number that Slurm gives to none.  -1 without memory, 1 when they are
 * more than MISSED_TASKS_MAX: then fn was not called. */
int missed_tasks(const struct jobrec *old, struct jobrec *const *now, size_t n,
                 void (*fn)(void *arg, struct jobrec *rec), void *arg);

#endif
