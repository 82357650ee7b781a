/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A job's options as sbatch hands them to libslurm. */
#include "agentd/cluster_slurm.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/sbatch_hosts.h"
#include "common/cleanup.h"
#include "common/str.h"

/* libslurm's descriptions have char * where it only reads. */
static char *unconst(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {s};
    return u.out;
}

/* ---- our words as Slurm's numbers ---- */

struct word {
    int64_t ours;
    uint64_t slurms;
};

static const struct word mail_bits[] = {
    {SBATCH_MAIL_BEGIN, MAIL_JOB_BEGIN},
    {SBATCH_MAIL_END, MAIL_JOB_END},
    {SBATCH_MAIL_FAIL, MAIL_JOB_FAIL},
    {SBATCH_MAIL_REQUEUE, MAIL_JOB_REQUEUE},
    {SBATCH_MAIL_TIME100, MAIL_JOB_TIME100},
    {SBATCH_MAIL_TIME90, MAIL_JOB_TIME90},
    {SBATCH_MAIL_TIME80, MAIL_JOB_TIME80},
    {SBATCH_MAIL_TIME50, MAIL_JOB_TIME50},
    {SBATCH_MAIL_STAGE_OUT, MAIL_JOB_STAGE_OUT},
    {SBATCH_MAIL_ARRAY_TASKS, MAIL_ARRAY_TASKS},
    {SBATCH_MAIL_INVALID_DEPEND, MAIL_INVALID_DEPEND},
};
static const struct word flag_bits[] = {
    {SBATCH_SPREAD_JOB, SPREAD_JOB},
    {SBATCH_USE_MIN_NODES, USE_MIN_NODES},
    {SBATCH_GRES_DISABLE_BIND, GRES_DISABLE_BIND},
    {SBATCH_GRES_ENFORCE_BIND, GRES_ENFORCE_BIND},
};
static const struct word warn_bits[] = {
    {SBATCH_WARN_BATCH, KILL_JOB_BATCH},
    {SBATCH_WARN_RESERVATION, KILL_JOB_RESV},
};
static const struct word mem_bits[] = {
    {SBATCH_MEM_VERBOSE, MEM_BIND_VERBOSE}, {SBATCH_MEM_NONE, MEM_BIND_NONE},
    {SBATCH_MEM_RANK, MEM_BIND_RANK},       {SBATCH_MEM_MAP, MEM_BIND_MAP},
    {SBATCH_MEM_MASK, MEM_BIND_MASK},       {SBATCH_MEM_LOCAL, MEM_BIND_LOCAL},
    {SBATCH_MEM_SORT, MEM_BIND_SORT},       {SBATCH_MEM_PREFER, MEM_BIND_PREFER},
};
static const struct word profile_bits[] = {
    {SBATCH_PROFILE_NONE, ACCT_GATHER_PROFILE_NONE},
    {SBATCH_PROFILE_ALL, ACCT_GATHER_PROFILE_ALL},
    {SBATCH_PROFILE_ENERGY, ACCT_GATHER_PROFILE_ENERGY},
    {SBATCH_PROFILE_TASK, ACCT_GATHER_PROFILE_TASK},
    {SBATCH_PROFILE_LUSTRE, ACCT_GATHER_PROFILE_LUSTRE},
    {SBATCH_PROFILE_NETWORK, ACCT_GATHER_PROFILE_NETWORK},
};

static const struct word open_modes[] = {
    {SBATCH_APPEND, OPEN_MODE_APPEND},
    {SBATCH_TRUNCATE, OPEN_MODE_TRUNCATE},
};
static const struct word shared_words[] = {
    {SBATCH_SHARED_NONE, JOB_SHARED_NONE},
    {SBATCH_SHARED_OK, JOB_SHARED_OK},
    {SBATCH_SHARED_USER, JOB_SHARED_USER},
    {SBATCH_SHARED_MCS, JOB_SHARED_MCS},
};
static const struct word frequencies[] = {
    {SBATCH_FREQ_LOW, CPU_FREQ_LOW},
    {SBATCH_FREQ_MEDIUM, CPU_FREQ_MEDIUM},
    {SBATCH_FREQ_HIGH, CPU_FREQ_HIGH},
    {SBATCH_FREQ_HIGHM1, CPU_FREQ_HIGHM1},
    {SBATCH_GOV_CONSERVATIVE, CPU_FREQ_CONSERVATIVE},
    {SBATCH_GOV_ONDEMAND, CPU_FREQ_ONDEMAND},
    {SBATCH_GOV_PERFORMANCE, CPU_FREQ_PERFORMANCE},
    {SBATCH_GOV_POWERSAVE, CPU_FREQ_POWERSAVE},
    {SBATCH_GOV_SCHEDUTIL, CPU_FREQ_SCHEDUTIL},
    {SBATCH_GOV_USERSPACE, CPU_FREQ_USERSPACE},
};
static const struct word node_dists[] = {
    {SBATCH_DIST_BLOCK, SLURM_DIST_NODEBLOCK},
    {SBATCH_DIST_CYCLIC, SLURM_DIST_NODECYCLIC},
    {SBATCH_DIST_ARBITRARY, SLURM_DIST_ARBITRARY},
    {SBATCH_DIST_PLANE, SLURM_DIST_PLANE},
};
static const struct word socket_dists[] = {
    {SBATCH_DIST_BLOCK, SLURM_DIST_SOCKBLOCK},
    {SBATCH_DIST_CYCLIC, SLURM_DIST_SOCKCYCLIC},
    {SBATCH_DIST_FCYCLIC, SLURM_DIST_SOCKCFULL},
};
static const struct word core_dists[] = {
    {SBATCH_DIST_BLOCK, SLURM_DIST_COREBLOCK},
    {SBATCH_DIST_CYCLIC, SLURM_DIST_CORECYCLIC},
    {SBATCH_DIST_FCYCLIC, SLURM_DIST_CORECFULL},
};

#define BITS(ours, words) bits(ours, words, ARRAY_LEN(words))
#define ONE(ours, words, otherwise) one(ours, words, ARRAY_LEN(words), otherwise)

static uint64_t bits(int64_t ours, const struct word *words, size_t n)
{
    uint64_t out = 0;
    for (size_t i = 0; ours != SBATCH_UNSET && i < n; i++)
        if (ours & words[i].ours)
            out |= words[i].slurms;
    return out;
}

static uint64_t one(int64_t ours, const struct word *words, size_t n, uint64_t otherwise)
{
    for (size_t i = 0; i < n; i++)
        if (ours == words[i].ours)
            return words[i].slurms;
    return otherwise;
}

uint16_t cluster_slurm_mail(int64_t ours)
{
    return (uint16_t)BITS(ours, mail_bits);
}

static uint32_t frequency(int64_t f)
{
    return f == SBATCH_UNSET ? NO_VAL : (uint32_t)ONE(f, frequencies, (uint64_t)f);
}

static uint32_t distribution(const struct sbatch *in)
{
    uint64_t dist = ONE(in->dist_node, node_dists, SLURM_DIST_UNKNOWN) |
                    ONE(in->dist_socket, socket_dists, 0) | ONE(in->dist_core, core_dists, 0);
    if (in->dist_pack != SBATCH_UNSET)
        dist |= in->dist_pack ? SLURM_DIST_PACK_NODES : SLURM_DIST_NO_PACK_NODES;
    return (uint32_t)dist;
}

/* ---- texts ---- */

/* Joins what is made for one member; notices when there is no memory. */
struct texts {
    struct arena *arena;
    bool full;
};

static char *print(struct texts *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static char *print(struct texts *t, const char *fmt, ...)
{
    char buf[512], *out;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    out = arena_alloc(t->arena, (size_t)n + 1);
    t->full |= !out;
    if (!out)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(out, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return out;
}

static bool has_prefix(const char *p)
{
    return strncmp(p, "gres:", 5) == 0 || strncmp(p, "gres/", 5) == 0;
}

/* Each element of list with front before it, behind what is in before. */
static char *each_with(const char *before, const char *front, const char *list, struct texts *t)
{
    size_t n = 1, front_len = strlen(front), before_len = before ? strlen(before) : 0;
    if (!list || !*list)
        return unconst(before);
    for (const char *p = list; *p; p++)
        n += *p == ',';
    char *out = arena_alloc(t->arena, before_len + strlen(list) + n * (front_len + 1) + 2),
         *to = out;
    t->full |= !out;
    if (!out)
        return NULL;
    if (before)
        to = mempcpy(to, before, before_len);
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, ",");
        if (len) {
            if (to != out)
                *to++ = ',';
            if (!has_prefix(p))
                to = mempcpy(to, front, front_len);
            to = mempcpy(to, p, len);
        }
        p += len + (p[len] == ',');
    }
    *to = '\0';
    return out == to ? NULL : out;
}

/* A job's files are relative to its directory; slurmctld would take them as they are. */
static char *file_name(const char *name, const char *work_dir, struct texts *t)
{
    if (!name || *name == '/')
        return unconst(name);
    return print(t, "%s/%s", work_dir, name);
}

static void set_of_each_gpu(const struct sbatch *in, const char *gpu, struct texts *t,
                            job_desc_msg_t *d)
{
    if (in->cpus_per_gpu != SBATCH_UNSET)
        d->cpus_per_tres = print(t, "%s%lld", gpu, (long long)in->cpus_per_gpu);
    if (in->mem_per_gpu != SBATCH_UNSET)
        d->mem_per_tres = print(t, "%s%lld", gpu, (long long)in->mem_per_gpu);
}

static void set_gpus(const struct sbatch *in, struct texts *t, job_desc_msg_t *d)
{
    const char *prefix = cluster_slurm_gres_prefix();
    char gpu[16];
    snprintf(gpu, sizeof gpu, "%sgpu:", prefix);
    d->tres_per_job = each_with(NULL, gpu, in->gpus, t);
    d->tres_per_node = each_with(NULL, gpu, in->gpus_per_node, t);
    d->tres_per_node = each_with(d->tres_per_node, prefix, in->gres, t);
    d->tres_per_socket = each_with(NULL, gpu, in->gpus_per_socket, t);
    d->tres_per_task = each_with(NULL, gpu, in->gpus_per_task, t);
    set_of_each_gpu(in, gpu, t, d);
    if (in->tres_bind && prefix[4] == '/')
        d->tres_bind = print(t, "%s%s", prefix, in->tres_bind);
}

/* NULL when neither is said, "" when what the job has is to go. */
static char *changed(const char *gpu, const char *gpus, const char *gres, struct texts *t)
{
    char *out = each_with(NULL, gpu, gpus, t);
    out = each_with(out, cluster_slurm_gres_prefix(), gres, t);
    return !out && (gpus || gres) ? print(t, "%s", "") : out;
}

int cluster_slurm_change_gpus(const struct sbatch *in, struct arena *arena, job_desc_msg_t *d)
{
    struct texts t = {.arena = arena};
    const char *prefix = cluster_slurm_gres_prefix();
    char gpu[16];
    snprintf(gpu, sizeof gpu, "%sgpu:", prefix);
    d->tres_per_job = changed(gpu, in->gpus, NULL, &t);
    d->tres_per_node = changed(gpu, in->gpus_per_node, in->gres, &t);
    d->tres_per_socket = changed(gpu, in->gpus_per_socket, NULL, &t);
    d->tres_per_task = changed(gpu, in->gpus_per_task, NULL, &t);
    set_of_each_gpu(in, gpu, &t, d);
    d->tres_freq = unconst(in->tres_freq);
    d->tres_bind = unconst(in->tres_bind);
    if (in->tres_bind && *in->tres_bind && prefix[4] == '/')
        d->tres_bind = print(&t, "%s%s", prefix, in->tres_bind);
    return t.full ? -1 : 0;
}

uint16_t cluster_slurm_shared(int64_t ours)
{
    return (uint16_t)ONE(ours, shared_words, NO_VAL16);
}

static void set_texts(const struct sbatch *in, const char *work_dir, struct texts *t,
                      job_desc_msg_t *d)
{
#define TEXT(scope, member)
#define NUMBER(scope, member)
#define SENT_TEXT(scope, member) d->member = unconst(in->member);
#define SENT_NUMBER(scope, member)
#include "agentd/sbatch_fields.def"
#undef SENT_TEXT
#undef SENT_NUMBER
    d->work_dir = unconst(work_dir);
    d->std_in = file_name(str_or(in->std_in, "/dev/null"), work_dir, t);
    d->std_out = file_name(in->std_out, work_dir, t);
    d->std_err = file_name(in->std_err, work_dir, t);
    set_gpus(in, t, d);
}

/* ---- numbers ---- */

static void set_numbers(const struct sbatch *in, job_desc_msg_t *d)
{
    /* sbatch's own defaults, where they are not slurm_init_job_desc_msg()'s */
    d->contiguous = 0;
    d->mem_bind_type = 0;
#define SENT_TEXT(scope, member)
#define SENT_NUMBER(scope, member)                                                                 \
    if (in->member != SBATCH_UNSET)                                                                \
        d->member = in->member == SBATCH_INFINITE ? (__typeof__(d->member))INFINITE                \
                                                  : (__typeof__(d->member))in->member;
#include "agentd/sbatch_fields.def"
#undef TEXT
#undef NUMBER
#undef SENT_TEXT
#undef SENT_NUMBER
    d->mail_type = cluster_slurm_mail(in->mail_type);
    d->mem_bind_type = (uint16_t)BITS(in->mem_bind_type, mem_bits);
    d->warn_flags = (uint16_t)BITS(in->warn_flags, warn_bits);
    d->bitflags |= BITS(in->flags, flag_bits);
    if (in->invalid_dep != SBATCH_UNSET)
        d->bitflags |= in->invalid_dep ? KILL_INV_DEP : NO_KILL_INV_DEP;
    d->profile = (uint32_t)BITS(in->profile, profile_bits);
    d->open_mode = (uint8_t)ONE(in->open_mode, open_modes, d->open_mode);
    d->shared = cluster_slurm_shared(in->shared);
    d->task_dist = distribution(in);
    d->cpu_freq_min = frequency(in->cpu_freq_min);
    d->cpu_freq_max = frequency(in->cpu_freq_max);
    d->cpu_freq_gov = frequency(in->cpu_freq_gov);
    if (in->core_spec != SBATCH_UNSET)
        d->core_spec = (uint16_t)in->core_spec;
    if (in->thread_spec != SBATCH_UNSET)
        d->core_spec = (uint16_t)in->thread_spec | CORE_SPEC_THREAD;
    if (in->nice != SBATCH_UNSET)
        d->nice = (uint32_t)(NICE_OFFSET + in->nice);
    if (in->no_kill == 1)
        d->kill_on_node_fail = 0;
    if (in->hold == 1)
        d->priority = 0;
    else if (in->priority > 0)
        d->priority = (uint32_t)in->priority;
    cluster_slurm_set_power(in->power_level == 1, d);
}

static void set_size(const struct sbatch *in, job_desc_msg_t *d)
{
    int64_t cpus = in->implied_ntasks;
    if (in->ntasks != SBATCH_UNSET) {
        d->num_tasks = (uint32_t)in->ntasks;
        d->bitflags |= JOB_NTASKS_SET;
    }
    if (in->cpus_per_task != SBATCH_UNSET)
        d->bitflags |= JOB_CPUS_SET;
    if (in->overcommit == 1)
        cpus = in->min_nodes > 1 ? in->min_nodes : 1;
    else if (in->cpus_per_task != SBATCH_UNSET)
        cpus *= in->cpus_per_task; /* 31 and 16 bits: no overflow */
    else if (in->min_nodes == 0)
        cpus = 0;
    if (in->ntasks == 0 && in->min_nodes == SBATCH_UNSET)
        d->min_nodes = 0;
    d->min_cpus = cpus < NO_VAL ? (uint32_t)cpus : NO_VAL - 1;
    if (in->ntasks_per_tres != SBATCH_UNSET)
        d->ntasks_per_tres = (uint16_t)in->ntasks_per_tres;
    else if (in->ntasks_per_gpu != SBATCH_UNSET)
        d->ntasks_per_tres = (uint16_t)in->ntasks_per_gpu;
    if (in->mem_per_node != SBATCH_UNSET)
        d->pn_min_memory = (uint64_t)in->mem_per_node;
    else if (in->mem_per_cpu != SBATCH_UNSET)
        d->pn_min_memory = (uint64_t)in->mem_per_cpu | MEM_PER_CPU;
}

/* What counts of GPUs imply, where nothing was said. */
static void set_implied(const struct sbatch *in, job_desc_msg_t *d)
{
    if (in->gres_tasks != SBATCH_UNSET)
        d->num_tasks = (uint32_t)in->gres_tasks;
    if (in->gres_min_nodes != SBATCH_UNSET)
        d->min_nodes = (uint32_t)in->gres_min_nodes;
    if (in->gres_max_nodes != SBATCH_UNSET)
        d->max_nodes = (uint32_t)in->gres_max_nodes;
    if (in->gres_sockets != SBATCH_UNSET)
        d->sockets_per_node = (uint16_t)in->gres_sockets;
    if (in->gres_tasks_per_node != SBATCH_UNSET)
        d->ntasks_per_node = (uint16_t)in->gres_tasks_per_node;
    if (in->gres_tasks_per_socket != SBATCH_UNSET)
        d->ntasks_per_socket = (uint16_t)in->gres_tasks_per_socket;
    if (in->gres_cpus != SBATCH_UNSET)
        d->cpus_per_task = (uint16_t)in->gres_cpus;
}

/* ---- the whole ---- */

static char **string_list(const struct strs *list, struct texts *t)
{
    char **v = arena_array(t->arena, list->n + 1, sizeof *v);
    t->full |= !v;
    for (size_t i = 0; v && i < list->n; i++)
        v[i] = unconst(list->v[i]);
    return v;
}

int cluster_slurm_describe(const struct sbatch *in, const struct cluster_submission *whole,
                           struct arena *arena, job_desc_msg_t *d, struct err *err)
{
    struct texts t = {.arena = arena};
    slurm_init_job_desc_msg(d);
    d->user_id = getuid();
    d->group_id = getgid();
    set_numbers(in, d);
    set_size(in, d);
    set_implied(in, d);
    set_texts(in, in->chdir, &t, d);
    d->script = arena_strndup(arena, (const char *)whole->script.p, whole->script.n);
    d->argv = string_list(&whole->arguments, &t);
    d->argc = (uint32_t)whole->arguments.n;
    d->environment = string_list(&whole->environment, &t);
    d->env_size = (uint32_t)whole->environment.n;
    const char *line = cluster_tagged_line(whole->submit_line, &whole->tag, arena);
    d->submit_line = unconst(line);
    if (whole->tag.alloc_sid)
        d->alloc_sid = whole->tag.alloc_sid;
    if (t.full || !d->script || (whole->tag.request.n && !line))
        return err_set(err, ERR_LIMIT, "no memory for the job's options, script and environment");
    return 0;
}

/* The list as one text with ranges.  libslurm's own function that makes room has changed its name
 * between releases; this one says -1 when the room is not enough. */
enum { MAX_LIST_BYTES = 1 << 20 };
static char *ranged_text(struct hostlist *hosts, struct arena *arena)
{
    for (size_t size = 256; size <= MAX_LIST_BYTES; size *= 4) {
        char *text = arena_alloc(arena, size);
        if (!text)
            return NULL;
        if (slurm_hostlist_ranged_string(hosts, size, text) >= 0)
            return text;
    }
    return NULL;
}

int cluster_nodes(const char *option, const char *list, struct arena *arena,
                  struct sbatch_nodes *out, struct err *err)
{
    const char *wrong = sbatch_hosts_check(list);
    if (wrong)
        return err_set(err, ERR_INVALID, "%s=%.200s: %s", option, list, wrong);
    struct hostlist *hosts = slurm_hostlist_create(list);
    if (!hosts)
        return err_set(err, ERR_INVALID, "%s=%.200s: not a list of nodes, such as node1,node[3-5]",
                       option, list);
    *out = (struct sbatch_nodes){.count = slurm_hostlist_count(hosts)};
    slurm_hostlist_uniq(hosts);
    out->distinct_count = slurm_hostlist_count(hosts);
    out->distinct = ranged_text(hosts, arena);
    slurm_hostlist_destroy(hosts);
    return out->distinct ? 0 : err_set(err, ERR_LIMIT, "no memory for the list of nodes");
}
