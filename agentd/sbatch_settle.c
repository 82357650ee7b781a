/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What sbatch makes of the options once all are read, in its order: what one implies for another.
 */
#include "agentd/sbatch_impl.h"

#include <string.h>

#include "common/cleanup.h"

/* The words of --hint, in the fields that they stand for. */
static int take_hint(struct sbatch *job, struct err *err)
{
    enum { COMPUTE, MEMORY, MULTI, NOMULTI };
    static const struct sbatch_word words[] = {{"compute_bound", COMPUTE},
                                               {"memory_bound", MEMORY},
                                               {"multithread", MULTI},
                                               {"nomultithread", NOMULTI}};
    for (const char *p = job->hint; p; p = *p ? p + 1 : NULL) {
        size_t n = strcspn(p, ",;");
        int64_t word;
        char shown[SBATCH_SHOWN];
        if (!sbatch_find_word(p, n, words, ARRAY_LEN(words), &word))
            return err_set(err, ERR_INVALID,
                           "--hint=%s: give compute_bound, memory_bound, multithread or "
                           "nomultithread",
                           sbatch_shown(job->hint, strlen(job->hint), shown));
        if (word == COMPUTE)
            job->sockets_per_node = job->cores_per_socket = SBATCH_UNSET;
        if (word == MEMORY)
            job->cores_per_socket = 1;
        job->threads_per_core = word == MULTI ? SBATCH_UNSET : 1;
        if (word == MULTI)
            job->ntasks_per_core = SBATCH_INFINITE;
        p += n;
        if (!*p)
            break;
    }
    return 0;
}

static void take_nodes(struct sbatch *job, const struct sbatch_nodes *nodes)
{
    if (!nodes)
        return;
    job->req_nodes = nodes->distinct;
    if (job->min_nodes == SBATCH_UNSET)
        job->min_nodes = nodes->distinct_count;
}

static int check_plane(const struct sbatch *job, struct err *err)
{
    int64_t nodes = job->min_nodes == SBATCH_UNSET ? 1 : job->min_nodes,
            tasks = job->ntasks == SBATCH_UNSET ? 1 : job->ntasks;
    if (job->dist_node != SBATCH_DIST_PLANE)
        return 0;
    if ((nodes == 0 || tasks / job->plane_size < nodes) && (nodes - 1) * job->plane_size >= tasks)
        return err_set(err, ERR_INVALID,
                       "--distribution=plane=%lld: there are not enough tasks for planes of that "
                       "size on %lld nodes",
                       (long long)job->plane_size, (long long)nodes);
    return 0;
}

/* --ntasks-per-node on all; or one task on each node, or on each socket, core or thread that was
 * asked for; and no more nodes than tasks. */
static void match_tasks(struct sbatch *job)
{
    const int64_t each[] = {job->sockets_per_node, job->cores_per_socket, job->threads_per_core};
    bool nodes_said = job->min_nodes != SBATCH_UNSET,
         one_number = job->max_nodes == SBATCH_UNSET || job->max_nodes == job->min_nodes;
    if (one_number && job->ntasks_per_node != SBATCH_UNSET && job->ntasks == SBATCH_UNSET) {
        job->ntasks = job->ntasks_per_node * (nodes_said ? job->min_nodes : 1);
    } else if ((nodes_said || job->extra_node_info == 1) && one_number &&
               job->ntasks == SBATCH_UNSET) {
        int64_t tasks = nodes_said && job->min_nodes > 1 ? job->min_nodes : 1;
        bool said = false;
        for (size_t i = 0; i < ARRAY_LEN(each); i++)
            if (each[i] != SBATCH_UNSET) {
                said = true;
                tasks = tasks * each[i] < INT32_MAX ? tasks * each[i] : INT32_MAX;
            }
        job->implied_ntasks = tasks;
        if (said)
            job->ntasks = tasks;
    } else if (nodes_said && job->ntasks != SBATCH_UNSET) {
        if (job->max_nodes != SBATCH_UNSET && job->ntasks < job->max_nodes)
            job->max_nodes = job->ntasks;
        if (job->ntasks < job->min_nodes)
            job->min_nodes = job->max_nodes = job->ntasks;
    }
}

/* --distribution=arbitrary: the list is the layout. */
static int match_list(struct sbatch *job, const struct sbatch_nodes *nodes, struct err *err)
{
    if (job->dist_node != SBATCH_DIST_ARBITRARY)
        return 0;
    if (!nodes)
        return err_set(err, ERR_INVALID,
                       "--distribution=arbitrary needs --nodelist or --nodefile, which is the "
                       "layout");
    /* sbatch has made each name one by now */
    if (job->ntasks == SBATCH_UNSET)
        job->ntasks = nodes->distinct_count;
    return 0;
}

int sbatch_settle(struct sbatch *job, const struct sbatch_nodes *nodes, struct err *err)
{
    job->implied_ntasks = 1;
    if (job->hint && take_hint(job, err) < 0)
        return -1;
    take_nodes(job, nodes);
    if (job->cpus_per_task != SBATCH_UNSET && job->pn_min_cpus < job->cpus_per_task)
        job->pn_min_cpus = job->cpus_per_task;
    if (check_plane(job, err) < 0)
        return -1;
    match_tasks(job);
    if (match_list(job, nodes, err) < 0)
        return -1;
    if (job->ntasks != SBATCH_UNSET)
        job->implied_ntasks = job->ntasks;
    return sbatch_conclude_gpus(job, err);
}
