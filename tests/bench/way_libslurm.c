/* SPDX-License-Identifier: GPL-3.0-or-later */
/* way_libslurm.c: the same calls of libslurm that a worker makes, without anything around them */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/cluster.h"
#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/way.h"

static const char script[] = WAY_SCRIPT;
static const char *const login[] = {"SLURM_GET_USER_ENV=1"};

static void *open_libslurm(void)
{
    struct err err = {0};
    if (cluster_open(getenv("SLURM_CONF"), &err) < 0)
        die("libslurm", err.text);
    return NULL;
}

static uint32_t submit_job(void *none)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct submit_reply reply = {0};
    struct sbatch job = sbatch_unsaid;
    (void)none;
    job.name = "sbatch";
    job.chdir = "/tmp";
    job.hold = 1;
    job.implied_ntasks = 1;
    struct cluster_submission in = {
        .jobs = &(struct sbatch_jobs){&job, 1},
        .script = {(const uint8_t *)script, strlen(script)},
        .environment = {login, 1},
        .submit_line = "bench",
    };
    if (cluster_submit(&in, &arena, &reply, &err) < 0)
        die("libslurm submit", err.text);
    return (uint32_t)reply.job_id;
}

static int ignore_job(void *arg, const struct job *job)
{
    (void)arg;
    (void)job;
    return 0;
}

static void get(void *none, uint32_t id)
{
    struct err err = {0};
    (void)none;
    if (cluster_load_job(id, ignore_job, NULL, &err) < 0)
        die("libslurm load", err.text);
}

static void cancel(void *none, uint32_t id)
{
    char text[16];
    const char *remark;
    struct err err = {0};
    (void)none;
    snprintf(text, sizeof text, "%u", id);
    if (cluster_control(JOB_VERB_cancel, text, NULL, &remark, &err) < 0)
        die("libslurm cancel", err.text);
}

const struct way way_libslurm = {
    .name = "libslurm in process",
    .status_from = "RPC",
    .open = open_libslurm,
    .status = get,
    .submit = submit_job,
    .cancel = cancel,
};
