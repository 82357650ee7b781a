/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmctld's job records as ours.  Their strings come from users: lengths are cut, nothing else
 * is believed about them. */
#include "agentd/cluster_slurm.h"

#include <pwd.h>
#include <string.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/str.h"

/* SHOW_LOCAL saves a question about the federation with each call; SHOW_ALL is for the jobs of
 * hidden partitions. */
enum { SHOW_FLAGS = SHOW_ALL | SHOW_LOCAL };

/* ---- user names ---- */

enum { NAME_SLOTS = 1024, NAME_KEEP_MS = 600000 };

/* One a slot, by the low bits of the uid; for the life of the process, which has one thread. */
static struct name {
    char text[256];
    uint32_t uid;
    int64_t until_ms;
} names[NAME_SLOTS];

static const char *user_name(uint32_t uid)
{
    struct name *n = &names[uid % NAME_SLOTS];
    int64_t now = clock_mono_ms();
    if (n->uid == uid && n->until_ms > now)
        return n->text;
    struct passwd pw, *found = NULL;
    char buf[16384];
    if (getpwuid_r(uid, &pw, buf, sizeof buf, &found) != 0 || !found)
        snprintf(n->text, sizeof n->text, "%u", uid);
    else
        str_copy(n->text, sizeof n->text, found->pw_name);
    n->uid = uid;
    n->until_ms = now + NAME_KEEP_MS;
    return n->text;
}

/* ---- one record ---- */

enum { FLAGS_MAX = 24 };

/* What a struct job borrows while it is shown. */
struct record {
    struct arena arena;
    const char *flags[FLAGS_MAX];
    char unknown_flags[FLAGS_MAX][32];
    char state[32], reason[32];
};

static const char *cut(struct record *r, const char *s, size_t max)
{
    if (!s || !*s)
        return NULL;
    return strnlen(s, max + 1) <= max ? s : arena_strndup(&r->arena, s, max);
}

static int64_t number(uint32_t v)
{
    return v == NO_VAL || v == INFINITE ? 0 : v;
}

static int64_t number16(uint16_t v)
{
    return v == NO_VAL16 || v == INFINITE16 ? 0 : v;
}

static int64_t when(time_t t)
{
    return t > 0 && (uint64_t)t != NO_VAL && (uint64_t)t != INFINITE ? t : 0;
}

static const char *base_state(struct record *r, uint32_t state)
{
    static const char *const words[] = {
#define JOB_STATE(word, abbreviation) #word,
#include "common/job_states.def"
#undef JOB_STATE
    };
    uint32_t base = state & JOB_STATE_BASE;
    if (base < ARRAY_LEN(words))
        return words[base];
    snprintf(r->state, sizeof r->state, "UNKNOWN_%u", base);
    return r->state;
}

static struct strs state_flags(struct record *r, uint32_t state)
{
    size_t n = 0;
    for (unsigned bit = 8; bit < 32; bit++) {
        if (!(state & 1u << bit))
            continue;
        const char *word = cluster_slurm_state_flag(bit, r->unknown_flags[n]);
        if (word)
            r->flags[n++] = word;
    }
    return (struct strs){r->flags, n};
}

static const char *reason(struct record *r, uint32_t number_)
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

static void set_id(struct record *r, const job_info_t *in, struct job *out)
{
    out->job_id = in->job_id;
    if (in->het_job_id) {
        out->het_job_id = in->het_job_id;
        out->het_offset = number(in->het_job_offset);
        out->id = arena_printf(&r->arena, "%u+%u", in->het_job_id, (unsigned)out->het_offset);
    } else if (in->array_job_id && in->array_task_id != NO_VAL) {
        out->array_task = arena_printf(&r->arena, "%u", in->array_task_id);
        out->id = arena_printf(&r->arena, "%u_%u", in->array_job_id, in->array_task_id);
    } else if (in->array_job_id && in->array_task_str) {
        bool whole = strnlen(in->array_task_str, 481) <= 480;
        out->array_task = cut(r, in->array_task_str, 65535);
        out->id = arena_printf(&r->arena, "%u_[%.480s%s]", in->array_job_id, in->array_task_str,
                               whole ? "" : "...");
    } else {
        out->id = arena_printf(&r->arena, "%u", in->job_id);
    }
    out->array_job_id = in->array_job_id;
}

static void set_who(struct record *r, const job_info_t *in, struct job *out)
{
    out->name = cut(r, in->name, 1024);
    out->user = user_name(in->user_id);
    out->uid = in->user_id;
    out->gid = in->group_id;
    out->account = cut(r, in->account, 1024);
    out->partition = cut(r, in->partition, 4096);
    out->qos = cut(r, in->qos, 1024);
}

static void set_state(struct record *r, const job_info_t *in, struct job *out)
{
    int status = (int)number(in->exit_code), derived = (int)number(in->derived_ec);
    out->state = base_state(r, in->job_state);
    out->flags = state_flags(r, in->job_state);
    out->reason = reason(r, in->state_reason);
    out->reason_text = cut(r, in->state_desc, 4096);
    out->exit_code = WEXITSTATUS(status);
    out->exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    out->derived_exit_code = WEXITSTATUS(derived);
    out->priority = in->priority;
    out->restarts = number16(in->restart_cnt);
    out->requeue = number16(in->requeue);
    out->tag = in->alloc_sid;
}

static void set_times(const job_info_t *in, struct job *out)
{
    out->submit_time = when(in->submit_time);
    out->eligible_time = when(in->eligible_time);
    out->start_time = when(in->start_time);
    out->end_time = when(in->end_time);
    out->suspend_time = when(in->suspend_time);
    out->time_limit = in->time_limit == INFINITE ? -1 : number(in->time_limit) * 60;
    /* Without a limit slurmctld adds a year or a century: as scontrol, call it unknown. */
    if (in->time_limit == INFINITE && out->end_time > clock_now())
        out->end_time = 0;
}

static void set_size(struct record *r, const job_info_t *in, struct job *out)
{
    out->nodes = cut(r, in->nodes, 65535);
    out->node_count = number(in->num_nodes);
    out->cpus = number(in->num_cpus);
    out->tasks = number(in->num_tasks);
    out->cpus_per_task = number16(in->cpus_per_task);
    uint64_t mem = in->pn_min_memory, mb = mem & ~MEM_PER_CPU;
    if (mem != NO_VAL64 && mem != INFINITE64 && mb <= INT64_MAX >> 20)
        *(mem & MEM_PER_CPU ? &out->mem_per_cpu : &out->mem_per_node) = (int64_t)(mb << 20);
    const char *allocated = in->tres_alloc_str;
    out->tres = cut(r, allocated && *allocated ? allocated : in->tres_req_str, 65535);
    out->gres = cut(r, in->tres_per_node, 65535);
    out->constraint = cut(r, in->features, 65535);
    out->dependency = cut(r, in->dependency, 65535);
    out->batch_host = cut(r, in->batch_host, 256);
}

/* slurmctld says nothing of an output file that sbatch was not told either. */
static const char *default_output(struct record *r, const job_info_t *in)
{
    if (!in->batch_flag || !in->work_dir)
        return NULL;
    return cut(
        r,
        arena_printf(&r->arena, "%s/slurm-%s.out", in->work_dir, in->array_job_id ? "%A_%a" : "%j"),
        4095);
}

static void set_files(struct record *r, const job_info_t *in, struct job *out)
{
    out->work_dir = cut(r, in->work_dir, 4095);
    out->std_in = cut(r, in->std_in, 4095);
    out->std_out = in->std_out && *in->std_out ? cut(r, in->std_out, 4095) : default_output(r, in);
    out->std_err = cut(r, in->std_err, 4095);
    out->command = cut(r, in->command, 65535);
    out->comment = cut(r, in->comment, 65535);
}

static int show(const job_info_t *in, cluster_job_fn fn, void *arg)
{
    struct record r = {0};
    struct job job = {0};
    set_id(&r, in, &job);
    set_who(&r, in, &job);
    set_state(&r, in, &job);
    set_times(in, &job);
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
        if (msg->job_array[i].job_id && show(&msg->job_array[i], fn, arg) < 0)
            break;
    return 0;
}

int cluster_load_jobs(int64_t *update_time, cluster_job_fn fn, void *arg, struct err *err)
{
    job_info_msg_t *msg = NULL;
    cluster_slurm_begin();
    int rc = slurm_load_jobs((time_t)*update_time, &msg, SHOW_FLAGS);
    if (rc || !msg) {
        if (*update_time && errno == SLURM_NO_CHANGE_IN_DATA)
            return 1;
        return cluster_slurm_fail(SLURM_CALL_READ, rc, NULL, NULL, err);
    }
    *update_time = msg->last_update;
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
