/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench_follow.c: how long after a job's end a wait for it returns, and what held requests cost
 *
 *     bench_follow fill N           N held jobs
 *     bench_follow latency ROUNDS   jobs of four callers, each awaited
 *     bench_follow held             10,000 waits on 1,000 connections: memory, and get beside them
 *
 * Runs as one user, in a sandbox (SLURM_AGENT_SERVER); held: BENCH_MONITOR is slurm-agentd's pid.
 */
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/kit/peer.h"

enum { CALLERS = 4, MAX_ROUNDS = 10000 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_quantiles(const char *what, double *ms, size_t n)
{
    qsort(ms, n, sizeof *ms, compare);
    printf("%-28s %6zu %9.2f %9.2f %9.2f\n", what, n, ms[(n - 1) / 2], ms[(n - 1) * 95 / 100],
           ms[n - 1]);
    fflush(stdout);
}

static char *submit_job(struct sagent *s, const char *script, bool hold)
{
    const struct sagent_pair options[] = {
        {"chdir", "/tmp"}, {"output", "/dev/null"}, {"hold", NULL}};
    return submit(s, script, options, hold ? 3 : 2);
}

static void fill(int n)
{
    struct sagent *s = open_client();
    for (int i = 0; i < n; i++)
        free(submit_job(s, "#!/bin/sh\ntrue\n", true));
    sagent_close(s);
}

/* ---- from a job's end to its waiter's return ---- */

struct caller {
    pthread_t thread;
    int number, rounds;
    const char *dir;
    double *ms;
};

/* When the job's last command ran, by the clock that all of this host has. */
static double read_end(const char *path)
{
    long long ns = 0;
    AUTO(fclose) FILE *f = fopen(path, "re");
    if (!f || fscanf(f, "%lld", &ns) != 1)
        die(path, "the job has not written when it ended");
    return (double)ns / 1e6;
}

static void *run_caller(void *arg)
{
    struct caller *c = arg;
    struct sagent *s = open_client();
    unsigned seed = (unsigned)c->number + 1;
    for (int i = 0; i < c->rounds; i++) {
        char path[200], script[400];
        snprintf(path, sizeof path, "%s/%d-%d", c->dir, c->number, i);
        /* so long that ends fall anywhere between two polls */
        snprintf(script, sizeof script, "#!/bin/sh\nsleep 0.%03d\ndate +%%s%%N >%s\n",
                 rand_r(&seed) % 1000, path);
        AUTO(free) char *id = submit_job(s, script, false);
        struct sagent_wait_request req = {
            .ids = (const char *const *)&id, .id_count = 1, .timeout_s = 120};
        struct sagent_jobs *jobs;
        struct sagent_error err;
        if (sagent_wait(s, &req, &jobs, &err) < 0)
            die("wait", err.text);
        c->ms[i] = now_ms(CLOCK_REALTIME) - read_end(path);
        if (!sagent_jobs_done(jobs) || sagent_jobs_count(jobs) != 1)
            die("wait", "the job has not ended");
        sagent_jobs_free(jobs);
        unlink(path);
    }
    sagent_close(s);
    return NULL;
}

static void latency(int rounds)
{
    char dir[] = "/tmp/sagent-bench-XXXXXX";
    struct caller callers[CALLERS];
    AUTO(free) double *ms = calloc((size_t)rounds * CALLERS, sizeof *ms);
    if (!ms || !mkdtemp(dir))
        die(dir, "cannot be made");
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){
            .number = i, .rounds = rounds, .dir = dir, .ms = ms + (size_t)i * (size_t)rounds};
        pthread_create(&callers[i].thread, NULL, run_caller, &callers[i]);
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i].thread, NULL);
    rmdir(dir);
    print_quantiles("end to return of wait, ms", ms, (size_t)rounds * CALLERS);
}

/* ---- held requests ---- */

enum { PEERS = 1000, WAITS_EACH = 10, GETS = 2000, LOGIN_PAUSE_MS = 25, SETTLE_MS = 20000 };

static long answered; /* waits that were not held, or not for long */

struct waiting {
    nng_ctx ctx;
    nng_aio *aio;
    bool sent;
};

static void on_aio(void *arg)
{
    struct waiting *w = arg;
    if (nng_aio_result(w->aio) == 0 && !w->sent) {
        w->sent = true;
        nng_ctx_recv(w->ctx, w->aio);
        return;
    }
    if (nng_aio_result(w->aio) == 0)
        nng_msg_free(nng_aio_get_msg(w->aio));
    __atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
}

static void send_wait(struct peer *p, struct waiting *w, const char *id)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct wait_request req = {.ids = {&id, 1}};
    uint64_t counter;
    nng_msg *msg = NULL;
    msg_pack(&wait_request_type, &req, out);
    struct bytes frame = peer_seal(p, OP_job_wait, wire_out_bytes(out), &counter);
    if (nng_ctx_open(&w->ctx, p->sock) != 0 || nng_aio_alloc(&w->aio, on_aio, w) != 0 ||
        nng_msg_alloc(&msg, 0) != 0 || nng_msg_append(msg, frame.p, frame.n) != 0)
        die("nng", "no memory");
    free((void *)frame.p);
    nng_aio_set_timeout(w->aio, NNG_DURATION_INFINITE);
    nng_aio_set_msg(w->aio, msg);
    nng_ctx_send(w->ctx, w->aio);
}

/* Resident memory of the broker whose monitor that is. */
static long broker_kib(int monitor)
{
    DIR *d = opendir("/proc");
    const struct dirent *e;
    long kib = 0;
    while (d && (e = readdir(d))) {
        char path[300], line[256], name[64] = "";
        int parent = 0;
        long rss = 0;
        snprintf(path, sizeof path, "/proc/%s/status", e->d_name);
        AUTO(fclose) FILE *f = fopen(path, "re");
        while (f && fgets(line, sizeof line, f)) {
            sscanf(line, "Name: %63s", name);
            sscanf(line, "PPid: %d", &parent);
            sscanf(line, "VmRSS: %ld", &rss);
        }
        if (parent == monitor && strcmp(name, "agent-broker") == 0)
            kib = rss;
    }
    if (d)
        closedir(d);
    return kib;
}

static void time_gets(struct sagent *s, const char *what, const char *const *ids, size_t n)
{
    AUTO(free) double *ms = calloc(GETS, sizeof *ms);
    for (size_t i = 0; ms && i < GETS; i++) {
        struct sagent_jobs *jobs;
        struct sagent_error err;
        double begin = now_ms(CLOCK_MONOTONIC);
        if (sagent_get(s, &ids[i % n], 1, &jobs, &err) < 0)
            die("get", err.text);
        ms[i] = now_ms(CLOCK_MONOTONIC) - begin;
        sagent_jobs_free(jobs);
    }
    print_quantiles(what, ms, GETS);
}

static void held(void)
{
    int64_t monitor = 0;
    const char *env = getenv("BENCH_MONITOR");
    if (!env || !str_to_i64(env, 1, INT32_MAX, &monitor))
        die("held", "BENCH_MONITOR is to be slurm-agentd's pid");
    struct sagent *s = open_client();
    struct sagent_jobs *jobs;
    struct sagent_error err;
    if (sagent_list(s, &(struct sagent_list_filter){0}, &jobs, &err) < 0)
        die("list", err.text);
    size_t n = sagent_jobs_count(jobs);
    AUTO(free) const char **ids = calloc(n + 1, sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = sagent_jobs_at(jobs, i)->id;
    if (!n)
        die("held", "there are no jobs: fill first");
    long kib = broker_kib((int)monitor);
    time_gets(s, "get, nobody else, ms", ids, n);
    AUTO(free) struct peer *peers = calloc(PEERS, sizeof *peers);
    for (int i = 0; i < PEERS; i++) {
        peer_connect(&peers[i]);
        peer_login(&peers[i]);
        poll(NULL, 0, LOGIN_PAUSE_MS); /* hello_rate_per_address */
    }
    long connected = broker_kib((int)monitor);
    AUTO(free) struct waiting *waits = calloc(PEERS * WAITS_EACH, sizeof *waits);
    for (size_t i = 0; i < PEERS * WAITS_EACH; i++)
        send_wait(&peers[i / WAITS_EACH], &waits[i], ids[i % n]);
    double end = now_ms(CLOCK_MONOTONIC) + SETTLE_MS;
    size_t sent = 0;
    while (sent < PEERS * WAITS_EACH && now_ms(CLOCK_MONOTONIC) < end) {
        sent = 0;
        for (size_t i = 0; i < PEERS * WAITS_EACH; i++)
            sent += waits[i].sent;
        poll(NULL, 0, 20);
    }
    time_gets(s, "get beside them, ms", ids, n); /* comes behind what was sent */
    long with = broker_kib((int)monitor);
    printf("broker: %ld KiB, %+ld for %d connections with sessions, %+ld for %zu held waits "
           "(%ld were answered)\n",
           kib, connected - kib, PEERS, with - connected, sent, answered);
    fflush(stdout);
    _exit(0); /* the kernel closes them faster */
}

int main(int argc, char **argv)
{
    int64_t n = 0;
    if (argc == 3 && str_to_i64(argv[2], 1, MAX_ROUNDS, &n) && str_eq(argv[1], "fill"))
        fill((int)n);
    else if (n && str_eq(argv[1], "latency"))
        latency((int)n);
    else if (argc == 2 && str_eq(argv[1], "held"))
        held();
    else {
        fprintf(stderr, "usage: bench_follow fill N | latency ROUNDS | held\n");
        return 2;
    }
    return 0;
}
