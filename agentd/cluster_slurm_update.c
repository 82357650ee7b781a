/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is to be changed of a job, as scontrol update says it to slurmctld. */
#include "agentd/cluster_slurm.h"
#include "common/cleanup.h"
#include "common/str.h"

/* A text that is not said stays NULL; slurmctld takes an empty one as "none". */
struct text {
    char **to;
    const char *from;
};

static int set_texts(const struct cluster_update *in, job_desc_msg_t *d, struct err *err)
{
    const struct sbatch *job = in->changes;
    const struct text texts[] = {
        {&d->name, job->name},
        {&d->partition, job->partition},
        {&d->account, job->account},
        {&d->qos, job->qos},
        {&d->features, job->features},
        {&d->dependency, job->dependency},
        {&d->comment, job->comment},
        {&d->mail_user, job->mail_user},
        {&d->work_dir, job->chdir},
        {&d->exc_nodes, job->exc_nodes},
        {&d->req_nodes, job->nodelist},
        {&d->licenses, job->licenses},
        {&d->prefer, job->prefer},
        {&d->reservation, job->reservation},
        {&d->wckey, job->wckey},
        {&d->array_inx, job->array_inx},
        {&d->burst_buffer, job->burst_buffer},
        {&d->cluster_features, job->cluster_features},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].from && !(*texts[i].to = arena_strdup(in->arena, texts[i].from)))
            return err_set(err, ERR_LIMIT, "no memory for the changes");
    const char *out = job->std_out, *dir = str_or(in->work_dir, "");
    if (out)
        d->std_out = *out == '/' || !*dir ? arena_strdup(in->arena, out)
                                          : arena_printf(in->arena, "%s/%s", dir, out);
    if (!d->std_out != !out || cluster_slurm_change_gpus(job, in->arena, d) < 0)
        return err_set(err, ERR_LIMIT, "no memory for the changes");
    return 0;
}

static uint32_t minutes(int64_t limit)
{
    return limit == SBATCH_INFINITE ? INFINITE : (uint32_t)limit;
}

static void set_numbers(const struct cluster_update *in, job_desc_msg_t *d)
{
    const struct sbatch *job = in->changes;
    const struct {
        uint32_t *to;
        int64_t from;
    } numbers[] = {
        {&d->min_nodes, job->min_nodes},      {&d->max_nodes, job->max_nodes},
        {&d->num_tasks, job->ntasks},         {&d->priority, job->priority},
        {&d->req_switch, job->req_switch},    {&d->wait4switch, job->wait4switch},
        {&d->min_cpus, job->change_min_cpus}, {&d->max_cpus, job->change_max_cpus},
        {&d->delay_boot, job->delay_boot},    {&d->pn_min_tmp_disk, job->pn_min_tmp_disk},
    };
    const struct {
        uint16_t *to;
        int64_t from;
    } small[] = {
        {&d->pn_min_cpus, job->pn_min_cpus},
        {&d->cpus_per_task, job->cpus_per_task},
        {&d->ntasks_per_node, job->ntasks_per_node},
        {&d->sockets_per_node, job->sockets_per_node},
        {&d->cores_per_socket, job->cores_per_socket},
        {&d->threads_per_core, job->threads_per_core},
        {&d->contiguous, job->contiguous},
        {&d->reboot, job->reboot},
        {&d->requeue, job->requeue},
        {&d->core_spec, job->core_spec},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i].from != SBATCH_UNSET)
            *numbers[i].to = (uint32_t)numbers[i].from;
    for (size_t i = 0; i < ARRAY_LEN(small); i++)
        if (small[i].from != SBATCH_UNSET)
            *small[i].to = (uint16_t)small[i].from;
    if (job->thread_spec != SBATCH_UNSET)
        d->core_spec = (uint16_t)(job->thread_spec | CORE_SPEC_THREAD);
    d->shared = cluster_slurm_shared(job->shared);
    if (job->change_accrue != SBATCH_UNSET)
        d->bitflags |= RESET_ACCRUE_TIME;
    if (job->time_limit != SBATCH_UNSET)
        d->time_limit = minutes(job->time_limit);
    if (job->time_min != SBATCH_UNSET)
        d->time_min = minutes(job->time_min);
    if (job->begin_time != SBATCH_UNSET)
        d->begin_time = (time_t)job->begin_time;
    if (job->deadline != SBATCH_UNSET)
        d->deadline = (time_t)job->deadline;
    if (job->mail_type != SBATCH_UNSET)
        d->mail_type = cluster_slurm_mail(job->mail_type);
    if (job->mem_per_node != SBATCH_UNSET)
        d->pn_min_memory = (uint64_t)job->mem_per_node;
    if (job->mem_per_cpu != SBATCH_UNSET)
        d->pn_min_memory = (uint64_t)job->mem_per_cpu | MEM_PER_CPU;
    if (job->nice != SBATCH_UNSET)
        d->nice = (uint32_t)(NICE_OFFSET + job->nice);
}

int cluster_slurm_changes(const struct cluster_update *in, job_desc_msg_t *d, struct err *err)
{
    set_numbers(in, d);
    return set_texts(in, d, err);
}
