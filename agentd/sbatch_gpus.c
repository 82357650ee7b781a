/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What counts of GPUs imply for tasks, nodes and CPUs: sbatch concludes it before slurmctld sees
 * the job, which makes more of a number that is said. */
#include "agentd/sbatch_impl.h"

#include <string.h>
#include <strings.h>

#include "common/cleanup.h"

/* The counts for one type; 0: not said. */
struct gpus {
    const char *type;
    size_t type_len;
    int64_t job, node, socket, task;
};

enum { TYPES = 16 };

struct all_gpus {
    struct gpus v[TYPES];
    size_t n;
};

static struct gpus *of_type(struct all_gpus *all, const char *type, size_t n)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].type_len == n && strncmp(all->v[i].type, type, n) == 0)
            return &all->v[i];
    if (all->n == TYPES)
        return NULL;
    all->v[all->n] = (struct gpus){.type = type, .type_len = n};
    return &all->v[all->n++];
}

/* N, TYPE:N or TYPE; a K, M, G behind N is 1024 of it. */
static bool read_one(const char *p, size_t n, size_t *ret_type, int64_t *ret_count)
{
    static const char units[] = "kmg";
    const char *colon = memchr(p, ':', n), *number = colon ? colon + 1 : p, *end = p + n;
    *ret_type = colon ? (size_t)(colon - p) : 0;
    *ret_count = 1;
    if (!sbatch_number(&number, UINT32_MAX, ret_count)) {
        *ret_type = n; /* a type alone */
        return !colon && n > 0;
    }
    if (number < end && *number) {
        const char *unit = strchr(units, *number | 0x20);
        if (!unit)
            return false;
        for (long i = 0; i <= unit - units; i++)
            *ret_count *= 1024;
        number++;
    }
    return number == end;
}

/* Each element of the list; of --gres those of gpu alone. */
static void read_list(struct all_gpus *all, const char *list, bool gres, size_t member)
{
    static const char *const fronts[] = {"gres:gpu", "gres/gpu", "gpu"};
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ","), type, skip = 0;
        const char *next = p + n + (p[n] == ',');
        int64_t count;
        for (size_t i = 0; gres && !skip && i < ARRAY_LEN(fronts); i++) {
            size_t len = strlen(fronts[i]);
            if (n >= len && strncmp(p, fronts[i], len) == 0 && (n == len || p[len] == ':'))
                skip = len + (n > len);
        }
        if (gres && !skip) {
            p = next;
            continue;
        }
        p += skip;
        n -= skip;
        if (n == 0 || !read_one(p, n, &type, &count)) {
            type = 0;
            count = n == 0;
        }
        struct gpus *g = count > 0 ? of_type(all, p, type) : NULL;
        if (g)
            *(int64_t *)((char *)g + member) += count;
        p = next;
    }
}

/* What has been said, or concluded for another type. */
static int64_t known(int64_t concluded, int64_t said)
{
    return concluded != SBATCH_UNSET ? concluded : said;
}

/* What does not divide is slurmctld's to refuse. */
static bool divides(int64_t a, int64_t b)
{
    return a && b && a % b == 0;
}

static void conclude_nodes(const struct gpus *g, struct sbatch *job)
{
    if (divides(g->job, g->node))
        job->gres_min_nodes = job->gres_max_nodes = g->job / g->node;
    int64_t max = known(job->gres_max_nodes, job->max_nodes);
    if (g->job && max != SBATCH_UNSET && g->job < max)
        job->gres_max_nodes = g->job;
    if (divides(g->node, g->socket) && job->sockets_per_node == SBATCH_UNSET)
        job->gres_sockets = g->node / g->socket;
}

static void conclude_tasks(const struct gpus *g, struct sbatch *job)
{
    int64_t nodes = known(job->gres_min_nodes, job->min_nodes), tasks = job->ntasks,
            each =
                job->ntasks_per_tres != SBATCH_UNSET ? job->ntasks_per_tres : job->ntasks_per_gpu;
    if (nodes == SBATCH_UNSET || nodes < 1)
        nodes = 1;
    if (divides(g->job, g->task) && tasks == SBATCH_UNSET)
        job->gres_tasks = g->job / g->task;
    if (divides(g->node, g->task) && job->ntasks_per_node == SBATCH_UNSET)
        job->gres_tasks_per_node = g->node / g->task;
    if (divides(g->socket, g->task) && job->ntasks_per_socket == SBATCH_UNSET)
        job->gres_tasks_per_socket = g->socket / g->task;
    if (job->cpus_per_gpu != SBATCH_UNSET && g->task && job->cpus_per_task == SBATCH_UNSET &&
        job->cpus_per_gpu * g->task <= UINT16_MAX)
        job->gres_cpus = job->cpus_per_gpu * g->task;
    if (each != SBATCH_UNSET && tasks == SBATCH_UNSET && (g->job || g->node))
        job->gres_tasks = each * (g->job ? g->job : g->node * nodes);
}

int sbatch_conclude_gpus(struct sbatch *job, struct err *err)
{
    struct all_gpus all = {0};
    read_list(&all, job->gpus, false, offsetof(struct gpus, job));
    read_list(&all, job->gpus_per_node, false, offsetof(struct gpus, node));
    read_list(&all, job->gres, true, offsetof(struct gpus, node));
    read_list(&all, job->gpus_per_socket, false, offsetof(struct gpus, socket));
    read_list(&all, job->gpus_per_task, false, offsetof(struct gpus, task));
    if (all.n && job->cpus_per_gpu != SBATCH_UNSET && job->cpus_per_task != SBATCH_UNSET)
        return err_set(err, ERR_INVALID, "--cpus-per-gpu and --cpus-per-task exclude each other");
    for (size_t i = 0; i < all.n; i++) {
        conclude_nodes(&all.v[i], job);
        conclude_tasks(&all.v[i], job);
    }
    return 0;
}
