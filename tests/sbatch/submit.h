/* SPDX-License-Identifier: GPL-3.0-or-later */
/* submit.h: one case, given to sbatch or to the agent under sbatch's name */
#ifndef TESTS_SBATCH_SUBMIT_H
#define TESTS_SBATCH_SUBMIT_H

#include <stdint.h>

#include "tests/sbatch/words.h"

struct place {
    const char *user;
    const char *slurm_conf, *agent_conf;
    const char *sbatch_dir, *agent_dir; /* where the program sbatch is, each its own */
    const char *spy;                    /* preloaded into the real one */
    const char *job_id;                 /* of a job that waits */
};

struct result {
    int status;      /* exit status; -1: killed, or too late */
    uint32_t job_id; /* 0: none */
    char *out, *err;
};

/* Runs it in dir.  On any thread. */
void submit_case(const struct place *p, const struct test_case *c, const char *dir, bool agent,
                 struct result *ret);
void result_done(struct result *r);

#endif
