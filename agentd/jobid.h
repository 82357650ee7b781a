/* SPDX-License-Identifier: GPL-3.0-or-later */
/* jobid.h: job ids as Slurm writes them: 12, 12_3, 12_[1-4,9%2], 12+1 */
#ifndef AGENTD_JOBID_H
#define AGENTD_JOBID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum jobid_kind {
    JOBID_PLAIN, /* 12: a job, or all of an array or het job */
    JOBID_TASK,  /* 12_3 */
    JOBID_HET,   /* 12+1 */
    JOBID_TASKS, /* 12_[1-4] */
};

struct jobid {
    enum jobid_kind kind;
    uint32_t id;       /* the number in front */
    uint32_t second;   /* JOBID_TASK: the task; JOBID_HET: the offset */
    const char *tasks; /* JOBID_TASKS: in the text that was parsed, which must stay: "1-4]" */
};

/* ERR_INVALID names the text and shows the forms. */
int jobid_parse(const char *text, struct jobid *out, struct err *err);
/* n of them, into out.  ERR_LIMIT: more than JOBID_LISTS_MAX are lists of tasks, each of which is
 * compared with all tasks of its array. */
enum { JOBID_LISTS_MAX = 200 };
int jobids_parse(const char *const *texts, size_t n, struct jobid *out, struct err *err);
/* For qsort() and bsearch(): by the number in front, then by kind in the order above, then by
 * second.
 */
int jobid_order(const void *a, const void *b);
/* Lists are like "4-9%2", "1,3,5-7", "1-9:2"; tasks is one of Slurm's, which ascends.  Is one of
 * the wanted among them? */
bool jobid_tasks_meet(const char *wanted, const char *tasks);
/* Is task n? */
bool jobid_tasks_contain(const char *tasks, uint32_t n);
/* Its tasks, max at most; max + 1 when there are more. */
size_t jobid_tasks(const char *tasks, uint32_t *out, size_t max);

#endif
