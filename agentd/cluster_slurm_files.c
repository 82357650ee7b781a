/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names of a job's files. */
#include "agentd/cluster_slurm.h"

#include <string.h>

#include "agentd/logname.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    LOG_RULES = 0
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(24, 11, 0)
                | LOGNAME_MODULO
#endif
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(25, 5, 0)
                | LOGNAME_DROP_BACKSLASHES | LOGNAME_LITERAL
#endif
    ,
    /* Before, %N is what the host calls itself. */
    NODE_HAS_NAME = SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(25, 5, 0),
    NAME_MAX_BYTES = 4095,
    HOST_SLOTS = 256,
    HOST_KEEP_MS = 600000,
    HOST_AGAIN_MS = 10000, /* after a question that was not answered */
};

/* ---- hosts ---- */

/* One a slot, by a hash of the node's name; for the life of the process, which has one thread. */
static struct host {
    char node[256], name[256];
    int64_t until_ms;
} hosts[HOST_SLOTS];

static size_t slot(const char *node)
{
    uint32_t h = 2166136261U;
    for (; *node; node++)
        h = (h ^ (uint8_t)*node) * 16777619U;
    return h % HOST_SLOTS;
}

static void ask_host(struct host *h)
{
    node_info_msg_t *msg = NULL;
    char node[sizeof h->node];
    str_copy(node, sizeof node, h->node);
    str_copy(h->name, sizeof h->name, h->node);
    cluster_slurm_begin();
    bool answered = slurm_load_node_single(&msg, node, SHOW_ALL | SHOW_LOCAL) == 0 && msg;
    for (uint32_t i = 0; answered && i < msg->record_count; i++) {
        const node_info_t *n = &msg->node_array[i];
        if (str_eq(n->name, node) && n->node_hostname && *n->node_hostname)
            str_copy(h->name, sizeof h->name, n->node_hostname);
    }
    slurm_free_node_info_msg(msg);
    h->name[strcspn(h->name, ".")] = '\0';
    h->until_ms = clock_mono_ms() + (answered ? HOST_KEEP_MS : HOST_AGAIN_MS);
}

/* %N is the short name that the host gives itself: slurm.conf's NodeHostname, which need not be the
 * node's name; of later Slurms it is that. */
static const char *host_of(const char *node)
{
    struct host *h = &hosts[slot(node)];
    if (NODE_HAS_NAME)
        return node;
    if (h->until_ms > clock_mono_ms() && str_eq(h->node, node))
        return h->name;
    str_copy(h->node, sizeof h->node, node);
    ask_host(h);
    return h->name;
}

/* Few jobs have it in a file name, and the others are not worth a question to slurmctld. */
static bool names_host(const char *p)
{
    while (p && (p = strchr(p, '%')))
        if (*(p += 1 + strspn(p + 1, "0123456789")) == 'N')
            return true;
    return false;
}

/* ---- names ---- */

static const char *file_name(const char *pattern, const struct logname_job *j, struct arena *arena)
{
    bool whole;
    const char *name = logname_expand(pattern, j, arena, &whole);
    /* a name that was cut would be another file's */
    return name && strlen(name) <= NAME_MAX_BYTES ? name : NULL;
}

void cluster_slurm_files(const job_info_t *in, struct arena *arena, struct job *out)
{
    bool array = in->array_job_id != 0,
         asks_host = names_host(in->std_out) || names_host(in->std_err) || names_host(in->std_in);
    const struct logname_job j = {
        .job_id = in->job_id,
        .array_job_id = in->array_job_id,
        .array_task = in->array_task_id,
        .waiting_tasks = array && in->array_task_id == NO_VAL,
        .user = out->user,
        .name = str_or(in->name, ""),
        .work_dir = in->work_dir,
        .host = asks_host && in->batch_host && *in->batch_host ? host_of(in->batch_host) : NULL,
        .rules = LOG_RULES,
    };
    if (in->std_in && *in->std_in)
        out->std_in = file_name(in->std_in, &j, arena);
    /* slurmctld says nothing of an output file that sbatch was not told either */
    if ((in->std_out && *in->std_out) || (in->batch_flag && in->work_dir))
        out->std_out = file_name(in->std_out, &j, arena);
    if (in->std_err && *in->std_err)
        out->std_err = file_name(in->std_err, &j, arena);
}
