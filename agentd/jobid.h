/* SPDX-License-Identifier: GPL-3.0-or-later */
/* jobid.h: job ids as Slurm writes them: 12, 12_3, 12_[1-4,9%2], 12+1 */
#ifndef AGENTD_JOBID_H
#define AGENTD_JOBID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum jobid_kind {
    JOBID_PLAIN, /* 12: a job, or all of an array or het job */
    JOBID_TASK,  /* 12_3 */
    JOBID_TASKS, /* 12_[1-4] */
    JOBID_HET,   /* 12+1 */
};

struct jobid {
    enum jobid_kind kind;
    uint32_t id;       /* the number in front */
    uint32_t second;   /* JOBID_TASK: the task; JOBID_HET: the offset */
    const char *tasks; /* JOBID_TASKS: in the text that was parsed, which must stay: "1-4]" */
};

/* ERR_INVALID names the text and shows the forms. */
int jobid_parse(const char *text, struct jobid *out, struct err *err);
/* Is a task in both of two lists like "4-9%2", "1,3,5-7", "1-9:2"? */
bool jobid_tasks_meet(const char *a, const char *b);
/* Is task n in one? */
bool jobid_tasks_contain(const char *tasks, uint32_t n);

#endif
