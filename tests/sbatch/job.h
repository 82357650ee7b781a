/* SPDX-License-Identifier: GPL-3.0-or-later */
/* job.h: all that Slurm and the spy know of a job that was submitted */
#ifndef TESTS_SBATCH_JOB_H
#define TESTS_SBATCH_JOB_H

#include <stddef.h>
#include <stdint.h>

/* Sorted "key=value" lines, see facts.h. */
struct facts {
    char **line;
    size_t n;
};

/* slurmctld's whole table; ends the program when it cannot be loaded. */
void jobs_load(void);
/* state_dir is StateSaveLocation. */
void job_facts(uint32_t job_id, const char *spy_dir, const char *state_dir, struct facts *out);
void facts_done(struct facts *f);

#endif
