/* SPDX-License-Identifier: GPL-3.0-or-later */
/* logname.h: the files a batch job reads and writes, by sbatch's filename patterns
 *
 * As slurmstepd makes the names of Slurm 22.05, tried out; what later ones do otherwise is a rule.
 * Pure: nothing is looked up here.
 */
#ifndef AGENTD_LOGNAME_H
#define AGENTD_LOGNAME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"

enum {
    LOGNAME_MODULO = 1,           /* %b is the array task modulo 10 */
    LOGNAME_DROP_BACKSLASHES = 2, /* of two backslashes none is left, not one */
    LOGNAME_LITERAL = 4, /* what is no pattern stays whole; a percent sign at the end goes */
    LOGNAME_NO_TASK = 4294967294U, /* what %a is outside an array: Slurm's NO_VAL */
};

/* What patterns may name. */
struct logname_job {
    uint32_t job_id;
    uint32_t array_job_id; /* 0: not of an array */
    uint32_t array_task;   /* LOGNAME_NO_TASK: none */
    bool waiting_tasks; /* the record stands for several tasks: %a, %b, %j and %J are not known */
    const char *user, *name, *work_dir;
    const char *host; /* short name of the host the script runs on; NULL: not known yet */
    unsigned rules;
};

/* The name of a file, absolute when work_dir is; pattern NULL or "" is sbatch's default for stdout.
 * What is not known yet is left as it was written, and *ret_whole is false.  NULL without memory.
 */
const char *logname_expand(const char *pattern, const struct logname_job *j, struct arena *arena,
                           bool *ret_whole);

#endif
