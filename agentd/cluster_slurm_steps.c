/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmctld's step records as ours. */
#include "agentd/cluster_slurm.h"

#include <errno.h>

static const char *step_word(const slurm_step_id_t *id, struct arena *arena)
{
    switch (id->step_id) {
    case SLURM_BATCH_SCRIPT:
        return "batch";
    case SLURM_EXTERN_CONT:
        return "extern";
    case SLURM_INTERACTIVE_STEP:
        return "interactive";
    case SLURM_PENDING_STEP:
        return "TBD";
    default:
        break;
    }
    if (id->step_het_comp != NO_VAL)
        return arena_printf(arena, "%u+%u", id->step_id, id->step_het_comp);
    return arena_printf(arena, "%u", id->step_id);
}

static int show(const job_step_info_t *in, cluster_step_fn fn, void *arg)
{
    struct cluster_slurm_record r = {0};
    struct step s = {
        .id = step_word(&in->step_id, &r.arena),
        .name = cluster_slurm_cut(&r, in->name, 1024),
        .state = cluster_slurm_state(&r, in->state),
        .nodes = cluster_slurm_cut(&r, in->nodes, 65535),
        .tasks = cluster_slurm_number(in->num_tasks),
        .cpus = cluster_slurm_number(in->num_cpus),
        .start_time = cluster_slurm_when(in->start_time),
        .elapsed = cluster_slurm_when(in->run_time),
        .time_limit = in->time_limit == INFINITE ? -1 : cluster_slurm_number(in->time_limit) * 60,
        .tres = cluster_slurm_cut(&r, cluster_slurm_step_tres(in), 65535),
    };
    int rc = s.id ? fn(arg, in->step_id.job_id, &s) : -1;
    arena_done(&r.arena);
    return rc;
}

int cluster_steps(uint32_t job_id, cluster_step_fn fn, void *arg, struct err *err)
{
    job_step_info_response_msg_t *msg = NULL;
    char what[32];
    snprintf(what, sizeof what, "steps of job %u", job_id);
    cluster_slurm_begin();
    int rc = cluster_slurm_get_steps(job_id, &msg, SHOW_ALL | SHOW_LOCAL);
    if (rc || !msg) {
        if ((errno ? errno : rc) == ESLURM_INVALID_JOB_ID)
            return 0; /* it has ended meanwhile, or has none yet */
        return cluster_slurm_fail(SLURM_CALL_READ, rc, what, NULL, err);
    }
    for (uint32_t i = 0; i < msg->job_step_count; i++)
        if (show(&msg->job_steps[i], fn, arg) < 0)
            break;
    slurm_free_job_step_info_response_msg(msg);
    return 0;
}
