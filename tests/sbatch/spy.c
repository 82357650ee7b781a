/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spy.c: keeps what is asked of slurmctld, beside the id of the job that it became
 *
 * Stands in front of libslurm's slurm_submit_batch_job() and slurm_submit_batch_het_job(): linked
 * into an agent-worker for tests, and preloaded into sbatch.  The file is spy/JOBID in the sandbox
 * of SLURM_CONF.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slurm/slurm.h>

#include "tests/sbatch/facts.h"

static void list_strings(FILE *f, const char *key, const char *name, char **v, uint32_t n)
{
    char item[64];
    fact_num(f, key, name, n);
    for (uint32_t i = 0; v && i < n; i++) {
        snprintf(item, sizeof item, "%s[%u]", name, i);
        fact_str(f, key, item, v[i]);
    }
}

static void show(FILE *f, const job_desc_msg_t *d, unsigned component)
{
    char key[32];
    snprintf(key, sizeof key, "asked.%u", component);
#define STR(member) fact_str(f, key, #member, d->member);
#define NUM(member) fact_num(f, key, #member, (uint64_t)d->member);
#define TIME(member) fact_time(f, key, #member, (int64_t)d->member);
#include "tests/sbatch/desc.def"
#undef STR
#undef NUM
#undef TIME
    list_strings(f, key, "argv", d->argv, d->argc);
    fact_num(f, key, "has_script", d->script != NULL);
}

/* --export-file empties sbatch's environment; the worker's is set late. */
static char *conf_at_start;
__attribute__((constructor)) static void remember(void)
{
    const char *conf = getenv("SLURM_CONF");
    conf_at_start = conf ? strdup(conf) : NULL;
}

static FILE *open_for(uint32_t job_id)
{
    const char *now = getenv("SLURM_CONF"), *conf = now ? now : conf_at_start,
               *slash = conf ? strrchr(conf, '/') : NULL;
    char path[4096];
    if (!slash)
        return NULL;
    snprintf(path, sizeof path, "%.*s/../spy/%u", (int)(slash - conf), conf, job_id);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? NULL : fdopen(fd, "w");
}

static uint32_t submitted(const submit_response_msg_t *msg)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(26, 5, 0)
    return msg->step_id.job_id;
#else
    return msg->job_id;
#endif
}

int slurm_submit_batch_job(job_desc_msg_t *d, submit_response_msg_t **ret)
{
    int (*real)(job_desc_msg_t *, submit_response_msg_t **);
    *(void **)&real = dlsym(RTLD_NEXT, "slurm_submit_batch_job");
    int rc = real(d, ret);
    FILE *f = rc == 0 && *ret ? open_for(submitted(*ret)) : NULL;
    if (f) {
        show(f, d, 0);
        fclose(f);
    }
    return rc;
}

/* The list's functions are another library's in sbatch, which has its own copy of libslurm. */
int slurm_submit_batch_het_job(struct xlist *all, submit_response_msg_t **ret)
{
    int (*real)(struct xlist *, submit_response_msg_t **);
    void *(*begin)(struct xlist *);
    void *(*next)(void *);
    void (*end)(void *);
    *(void **)&real = dlsym(RTLD_NEXT, "slurm_submit_batch_het_job");
    *(void **)&begin = dlsym(RTLD_DEFAULT, "slurm_list_iterator_create");
    *(void **)&next = dlsym(RTLD_DEFAULT, "slurm_list_next");
    *(void **)&end = dlsym(RTLD_DEFAULT, "slurm_list_iterator_destroy");
    int rc = real(all, ret);
    FILE *f = rc == 0 && *ret ? open_for(submitted(*ret)) : NULL;
    if (f) {
        unsigned component = 0;
        void *i = begin(all);
        for (job_desc_msg_t *d; (d = next(i));)
            show(f, d, component++);
        end(i);
        fclose(f);
    }
    return rc;
}
