/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench_spine.c: submit and get through the agent beside the same libslurm calls in process, and a
 * soak
 *
 *     bench_spine bench ROUNDS     interleaved, so that a noisy moment hits both sides
 *     bench_spine soak ROUNDS      submit, get, cancel; the daemon's memory and descriptors
 *
 * Runs as one user, in a sandbox (SLURM_AGENT_SERVER, SLURM_CONF).
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agentd/cluster.h"
#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"

enum { MAX_ROUNDS = 100000 };

static const char script[] = "#!/bin/sh\ntrue\n";
static const char *const login[] = {"SLURM_GET_USER_ENV=1"};

/* ---- the agent's way ---- */

static char *agent_submit(struct sagent *s)
{
    static const struct sagent_pair options[] = {{"hold", NULL}, {"chdir", "/tmp"}};
    return submit(s, script, options, ARRAY_LEN(options));
}

static void agent_get(struct sagent *s, const char *id)
{
    struct sagent_jobs *jobs;
    struct sagent_error err;
    if (sagent_get(s, &id, 1, &jobs, &err) < 0)
        die("get", err.text);
    if (sagent_jobs_missing_count(jobs))
        die("get", "the job that was just submitted is unknown");
    sagent_jobs_free(jobs);
}

static void agent_cancel(struct sagent *s, const char *id)
{
    struct sagent_cancel_request req = {.ids = &id, .id_count = 1};
    struct sagent_cancelled *done;
    struct sagent_error err;
    if (sagent_cancel(s, &req, &done, &err) < 0)
        die("cancel", err.text);
    if (done->results[0].code)
        die("cancel", done->results[0].text);
    sagent_cancelled_free(done);
}

/* ---- the same in process ---- */

static uint32_t direct_submit(void)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct submit_reply reply = {0};
    struct sbatch job = {
        .job_name = "sbatch",
        .time_limit_min = SBATCH_UNSET,
        .min_nodes = SBATCH_UNSET,
        .max_nodes = SBATCH_UNSET,
        .ntasks = SBATCH_UNSET,
        .cpus_per_task = SBATCH_UNSET,
        .mem_per_node_mb = SBATCH_UNSET,
        .mem_per_cpu_mb = SBATCH_UNSET,
        .begin = SBATCH_UNSET,
        .requeue = SBATCH_UNSET,
        .mail_type = SBATCH_UNSET,
        .hold = true,
    };
    struct bytes text = {(const uint8_t *)script, strlen(script)};
    if (cluster_submit(&job, text, &(struct strs){0}, &(struct strs){login, 1}, "/tmp", "bench",
                       &(struct cluster_tag){0}, &arena, &reply, &err) < 0)
        die("libslurm submit", err.text);
    return (uint32_t)reply.job_id;
}

static int ignore_job(void *arg, const struct job *job)
{
    (void)arg;
    (void)job;
    return 0;
}

static void direct_get(uint32_t id)
{
    struct err err = {0};
    if (cluster_load_job(id, ignore_job, NULL, &err) < 0)
        die("libslurm load", err.text);
}

static void direct_cancel(uint32_t id)
{
    char text[16];
    const char *remark;
    struct err err = {0};
    snprintf(text, sizeof text, "%u", id);
    if (cluster_cancel(text, &(struct cluster_signal){0}, &remark, &err) < 0)
        die("libslurm cancel", err.text);
}

/* ---- figures ---- */

struct series {
    double *ms;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(struct series *s, int n, int percent)
{
    qsort(s->ms, (size_t)n, sizeof *s->ms, compare);
    return s->ms[(int)((long)(n - 1) * percent / 100)];
}

static void print_pair(const char *what, struct series *agent, struct series *direct, int n)
{
    double a50 = quantile(agent, n, 50), d50 = quantile(direct, n, 50);
    printf("%-8s %9.2f %9.2f %12.2f %9.2f %9.2f\n", what, a50, quantile(agent, n, 95), d50,
           quantile(direct, n, 95), a50 / d50);
}

enum { SUBMIT, GET, CANCEL, KINDS };

static void bench(struct sagent *s, int n)
{
    struct err err = {0};
    struct series agent[KINDS], direct[KINDS];
    if (cluster_open(getenv("SLURM_CONF"), &err) < 0)
        die("libslurm", err.text);
    for (int k = 0; k < KINDS; k++) {
        agent[k].ms = calloc((size_t)n, sizeof(double));
        direct[k].ms = calloc((size_t)n, sizeof(double));
    }
    free(agent_submit(s)); /* session and workers are there from here on */
    direct_submit();
    for (int i = 0; i < n; i++) {
        double t0 = now_ms(CLOCK_MONOTONIC);
        AUTO(free) char *id = agent_submit(s);
        double t1 = now_ms(CLOCK_MONOTONIC);
        agent_get(s, id); /* waits for the load that shows the job */
        double t2 = now_ms(CLOCK_MONOTONIC);
        agent_get(s, id);
        double t3 = now_ms(CLOCK_MONOTONIC);
        agent_cancel(s, id);
        double t4 = now_ms(CLOCK_MONOTONIC);
        uint32_t direct_id = direct_submit();
        double t5 = now_ms(CLOCK_MONOTONIC);
        direct_get(direct_id);
        double t6 = now_ms(CLOCK_MONOTONIC);
        direct_cancel(direct_id);
        double t7 = now_ms(CLOCK_MONOTONIC);
        agent[SUBMIT].ms[i] = t1 - t0;
        agent[GET].ms[i] = t3 - t2;
        agent[CANCEL].ms[i] = t4 - t3;
        direct[SUBMIT].ms[i] = t5 - t4;
        direct[GET].ms[i] = t6 - t5;
        direct[CANCEL].ms[i] = t7 - t6;
    }
    printf("%d rounds, one caller, milliseconds; get: the agent's is from its memory\n", n);
    printf("%-8s %9s %9s %12s %9s %9s\n", "", "agent p50", "p95", "libslurm p50", "p95", "ratio");
    print_pair("submit", &agent[SUBMIT], &direct[SUBMIT], n);
    print_pair("get", &agent[GET], &direct[GET], n);
    print_pair("cancel", &agent[CANCEL], &direct[CANCEL], n);
    for (int k = 0; k < KINDS; k++) {
        free(agent[k].ms);
        free(direct[k].ms);
    }
    cluster_close();
}

/* ---- soak ---- */

/* Anybody may read this; descriptors, which root alone may count, are run.sh's. */
static long resident_kib(int pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    AUTO(fclose) FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    return kib;
}

struct sample {
    long broker_kib, all_kib;
    int processes;
};

static struct sample look(int monitor)
{
    struct sample s = {0};
    DIR *d = opendir("/proc");
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        int64_t pid;
        char path[300], comm[64] = "";
        int parent = 0;
        if (!str_to_i64(e->d_name, 1, INT32_MAX, &pid))
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        AUTO(fclose) FILE *f = fopen(path, "re");
        if (!f || fscanf(f, "%*d (%63[^)]) %*c %d", comm, &parent) != 2)
            continue;
        if (parent != monitor && pid != monitor)
            continue;
        long kib = resident_kib((int)pid);
        s.all_kib += kib;
        s.processes++;
        if (strcmp(comm, "agent-broker") == 0)
            s.broker_kib = kib;
    }
    if (d)
        closedir(d);
    return s;
}

static int soak(struct sagent *s, int n)
{
    int monitor = 0;
    const char *env = getenv("SOAK_MONITOR");
    if (!env || sscanf(env, "%d", &monitor) != 1)
        die("soak", "SOAK_MONITOR is to be slurm-agentd's pid");
    struct sample first = {0}, last = {0};
    printf("%8s %12s %12s %10s\n", "rounds", "broker KiB", "all KiB", "processes");
    for (int i = 1; i <= n; i++) {
        AUTO(free) char *id = agent_submit(s);
        agent_get(s, id);
        agent_cancel(s, id);
        if (i % (n / 10 > 0 ? n / 10 : 1) && i != n)
            continue;
        last = look(monitor);
        printf("%8d %12ld %12ld %10d\n", i, last.broker_kib, last.all_kib, last.processes);
        fflush(stdout);
        if (i <= n / 2)
            first = last; /* half of it is warming up */
    }
    /* jobs of the last seconds are still in the table: a few KiB each */
    long grown = last.broker_kib - first.broker_kib;
    printf("second half: broker %+ld KiB, all %+ld KiB, processes %+d\n", grown,
           last.all_kib - first.all_kib, last.processes - first.processes);
    return grown > 4096 || last.processes > first.processes + 1;
}

int main(int argc, char **argv)
{
    int64_t n;
    if (argc != 3 || !str_to_i64(argv[2], 10, MAX_ROUNDS, &n)) {
        fprintf(stderr, "usage: bench_spine bench|soak ROUNDS\n");
        return 2;
    }
    struct sagent *s = open_client();
    int rc = 0;
    if (strcmp(argv[1], "soak") == 0)
        rc = soak(s, (int)n);
    else
        bench(s, (int)n);
    sagent_close(s);
    return rc;
}
