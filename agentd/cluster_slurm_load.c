/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmctld's job records as ours.  Their strings come from users: lengths are cut, nothing else
 * is believed about them. */
#include "agentd/cluster_slurm.h"
#include "agentd/outcome.h"
#include "common/clock.h"
#include "common/str.h"

/* SHOW_LOCAL saves a question about the federation with each call; SHOW_ALL is for the jobs of
 * hidden partitions. */
enum { SHOW_FLAGS = SHOW_ALL | SHOW_LOCAL };

static int64_t number16(uint16_t v)
{
    return v == NO_VAL16 || v == INFINITE16 ? 0 : v;
}

static const char *reason(struct cluster_slurm_record *r, uint32_t number_)
{
    static const char *const words[] = {
#define REASON(number, word) [number] = #word,
#include "agentd/cluster_slurm_reasons.def"
#undef REASON
    };
    if (number_ == 0)
        return NULL;
    if (number_ < ARRAY_LEN(words) && words[number_])
        return words[number_];
    snprintf(r->reason, sizeof r->reason, "UNKNOWN_%u", number_);
    return r->reason;
}

static void set_who(struct cluster_slurm_record *r, const job_info_t *in, struct job *out)
{
    out->name = cluster_slurm_cut(r, in->name, 1024);
    out->user = cluster_slurm_user(in->user_id);
    out->uid = in->user_id;
    out->gid = in->group_id;
    out->account = cluster_slurm_cut(r, in->account, 1024);
    out->partition = cluster_slurm_cut(r, in->partition, 4096);
    out->qos = cluster_slurm_cut(r, in->qos, 1024);
}

static void set_state(struct cluster_slurm_record *r, const job_info_t *in, int64_t now,
                      struct job *out)
{
    out->state = cluster_slurm_state(r, in->job_state);
    out->flags = cluster_slurm_flags(r, in->job_state);
    out->reason = reason(r, in->state_reason);
    out->reason_text = cluster_slurm_cut(r, in->state_desc, 4096);
    cluster_slurm_exit(in->exit_code, in->derived_ec, out);
    out->priority = in->priority;
    out->restarts = number16(in->restart_cnt);
    out->requeue = number16(in->requeue);
    out->tag = in->alloc_sid;
    outcome_fill(out, now, &r->arena);
}

static void set_times(const job_info_t *in, struct job *out)
{
    out->submit_time = cluster_slurm_when(in->submit_time);
    out->eligible_time = cluster_slurm_when(in->eligible_time);
    out->start_time = cluster_slurm_when(in->start_time);
    out->end_time = cluster_slurm_when(in->end_time);
    out->suspend_time = cluster_slurm_when(in->suspend_time);
    out->time_limit = in->time_limit == INFINITE ? -1 : cluster_slurm_number(in->time_limit) * 60;
    /* Without a limit slurmctld adds a year or a century: as scontrol, call it unknown. */
    if (in->time_limit == INFINITE && out->end_time > clock_now())
        out->end_time = 0;
}

static void set_size(struct cluster_slurm_record *r, const job_info_t *in, struct job *out)
{
    out->nodes = cluster_slurm_cut(r, in->nodes, 65535);
    out->node_count = cluster_slurm_number(in->num_nodes);
    out->cpus = cluster_slurm_number(in->num_cpus);
    out->tasks = cluster_slurm_number(in->num_tasks);
    out->cpus_per_task = number16(in->cpus_per_task);
    cluster_slurm_memory(in->pn_min_memory, out);
    const char *allocated = in->tres_alloc_str;
    out->tres = cluster_slurm_cut(r, allocated && *allocated ? allocated : in->tres_req_str, 65535);
    out->gres = cluster_slurm_cut(r, in->tres_per_node, 65535);
    out->constraint = cluster_slurm_cut(r, in->features, 65535);
    out->dependency = cluster_slurm_cut(r, in->dependency, 65535);
    out->batch_host = cluster_slurm_cut(r, in->batch_host, 256);
}

static void set_files(struct cluster_slurm_record *r, const job_info_t *in, struct job *out)
{
    out->work_dir = cluster_slurm_cut(r, in->work_dir, 4095);
    cluster_slurm_files(in, &r->arena, out);
    out->command = cluster_slurm_cut(r, in->command, 65535);
    out->comment = cluster_slurm_cut(r, in->comment, 65535);
    out->reservation = cluster_slurm_cut(r, in->resv_name, 1024);
    out->wckey = cluster_slurm_cut(r, in->wckey, 1024);
}

static int show(const job_info_t *in, int64_t now, cluster_job_fn fn, void *arg)
{
    struct cluster_slurm_record r = {0};
    struct job job = {0};
    const struct cluster_slurm_id id = {
        .job_id = in->job_id,
        .array_job_id = in->array_job_id,
        .array_task_id = in->array_task_id,
        .het_job_id = in->het_job_id,
        .het_offset = in->het_job_offset,
        .waiting_tasks = in->array_task_str,
    };
    cluster_slurm_set_id(&r, &id, &job);
    set_who(&r, in, &job);
    set_times(in, &job);
    set_state(&r, in, now, &job);
    set_size(&r, in, &job);
    set_files(&r, in, &job);
    int rc = fn(arg, &job);
    arena_done(&r.arena);
    return rc;
}

static int show_all(const job_info_msg_t *msg, cluster_job_fn fn, void *arg)
{
    for (uint32_t i = 0; i < msg->record_count; i++)
        /* A hidden record is there with number 0. */
        if (msg->job_array[i].job_id && show(&msg->job_array[i], msg->last_update, fn, arg) < 0)
            break;
    return 0;
}

int cluster_load_jobs(int64_t *update_time, cluster_job_fn fn, void *arg, struct err *err)
{
    job_info_msg_t *msg = NULL;
    int64_t now = clock_now();
    cluster_slurm_begin();
    int rc = slurm_load_jobs((time_t)*update_time, &msg, SHOW_FLAGS);
    if (rc || !msg) {
        if (*update_time && errno == SLURM_NO_CHANGE_IN_DATA)
            return 1;
        return cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, err);
    }
    /* Behind a clock that was set back everything to come would be older than what is. */
    *update_time = msg->last_update < now ? msg->last_update : now;
    rc = show_all(msg, fn, arg);
    slurm_free_job_info_msg(msg);
    return rc;
}

int cluster_load_job(uint32_t job_id, cluster_job_fn fn, void *arg, struct err *err)
{
    job_info_msg_t *msg = NULL;
    char what[32];
    snprintf(what, sizeof what, "job %u", job_id);
    cluster_slurm_begin();
    int rc = slurm_load_job(&msg, job_id, SHOW_FLAGS);
    if (rc || !msg)
        return cluster_slurm_fail(SLURM_CALL_READ, rc, what, NULL, err);
    /* With PrivateData=jobs another user's job is an empty answer. */
    if (msg->record_count == 0)
        rc = err_set(err, ERR_NOT_FOUND, "%s: Slurm shows no such job", what);
    else
        rc = show_all(msg, fn, arg);
    slurm_free_job_info_msg(msg);
    return rc;
}
