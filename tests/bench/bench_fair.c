/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench_fair.c: those who ask much, those who ask little, and those who only come
 *
 * flood OPERATION CONNECTIONS SECONDS: at full speed, whatever it is told.
 *
 * pipeline REQUESTS: at once on one connection; what becomes of it.
 *
 * polite THREADS SECONDS: by the library, which comes again when it is told to.
 *
 * ask CALLS [JOB]: one caller, one get after the other.
 *
 * submit JOBS: held, one after the other; their ids.
 *
 * stay CLIENTS [ADDRESS]: each connects, says ping, and stays until SIGTERM.
 *
 * One line with what became of it; flood says "refused" first, when it is, and stay "in".  Runs as
 * one user in a sandbox; used by tests/e2e/e2e_fair.c and by run.sh.  The flood is of one thread
 * that speaks the protocol itself (raw.h): a flooder's own CPU is not the head node's.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/raw.h"

enum {
    STAY_MS = 150000,
    MANY = 10,
    THREADS_MAX = 4096,
    FLOOD_MAX = 1000,
    CALLS_MAX = 1000000,
};

static _Atomic long answered, refused, no_advice, failed, in;
static _Atomic int stop;
static pthread_mutex_t text_lock = PTHREAD_MUTEX_INITIALIZER;
static char first_failure[600] = "none";
static const char *address;
static const char *job = "1";
static int64_t end_ms;
static enum op_number operation;

static void fail(const char *what, const struct sagent_error *err)
{
    pthread_mutex_lock(&text_lock);
    if (failed++ == 0)
        snprintf(first_failure, sizeof first_failure, "%.20s: %s: %s", what,
                 sagent_code_name(err->code), err->text);
    pthread_mutex_unlock(&text_lock);
}

static void in_threads(int n, void *(*fn)(void *arg))
{
    static pthread_t threads[THREADS_MAX];
    for (int i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, fn, NULL) != 0)
            die("thread", "cannot be made");
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* ---- at full speed ---- */

static const struct bytes nothing = {(const uint8_t *)"\x80", 1};

static const char *server(void)
{
    const char *where = getenv("SLURM_AGENT_SERVER");
    if (!where)
        die("SLURM_AGENT_SERVER", "is not set");
    return where;
}

static void count_reply(const struct raw *r)
{
    struct err err = {0};
    if (r->plain[0] || r->plain[1])
        msg_unpack_error((struct bytes){r->plain + 4, r->reply.n - 4}, &err);
    answered += err.code == ERR_NONE;
    no_advice += err.code != ERR_NONE && (err.code != ERR_BUSY || !err.retry_after_ms);
    if (err.code == ERR_BUSY && ++refused == MANY) {
        printf("refused\n");
        fflush(stdout);
    }
}

/* One request under way on each connection. */
static void flood(size_t n)
{
    AUTO(free) struct raw *all = calloc(n, sizeof *all);
    AUTO(free) struct pollfd *fds = calloc(n, sizeof *fds);
    if (!all || !fds)
        die("flood", "no memory");
    for (size_t i = 0; i < n; i++) {
        raw_open(&all[i], server());
        fds[i] = (struct pollfd){all[i].fd, POLLIN, 0};
        raw_send(&all[i], operation, nothing);
    }
    while (clock_mono_ms() < end_ms && !stop) {
        poll(fds, n, 100);
        for (size_t i = 0; i < n; i++)
            if (fds[i].revents && raw_receive(&all[i])) {
                count_reply(&all[i]);
                raw_send(&all[i], operation, nothing);
            }
    }
    for (size_t i = 0; i < n; i++) {
        while (!raw_receive(&all[i]))
            ;
        raw_close(&all[i]);
    }
}

static void pipeline(int64_t n)
{
    AUTO(free) struct raw *r = calloc(1, sizeof *r);
    ssize_t got;
    if (!r)
        die("pipeline", "no memory");
    raw_open(r, server());
    for (int64_t i = 0; i < n; i++)
        raw_send(r, OP_ping, nothing);
    do /* at most as long as a read of this socket may take */
        got = read(r->fd, r->in, sizeof r->in);
    while (got > 0);
    printf("%s\n", got == 0 || errno == ECONNRESET ? "hung up" : "stayed");
}

static void on_term(int signal)
{
    (void)signal;
    stop = 1;
}

/* ---- by the library ---- */

static bool get_one(struct sagent *s)
{
    struct sagent_jobs *jobs;
    struct sagent_error err;
    if (sagent_get(s, &job, 1, &jobs, &err) < 0) {
        fail("get", &err);
        return false;
    }
    sagent_jobs_free(jobs);
    return true;
}

static void *ask_politely(void *arg)
{
    struct sagent *s = open_client();
    while (clock_mono_ms() < end_ms && !stop && get_one(s))
        answered++;
    sagent_close(s);
    return arg;
}

static void ask(int n)
{
    AUTO(free) double *ms = calloc((size_t)n, sizeof *ms);
    struct sagent *s = open_client();
    get_one(s); /* the session */
    for (int i = 0; i < n; i++) {
        double begun = now_ms(CLOCK_MONOTONIC);
        get_one(s);
        ms[i] = now_ms(CLOCK_MONOTONIC) - begun;
    }
    sagent_close(s);
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    printf("asked %d failed %ld p50 %.3f p99 %.3f ms; the first failure: %s\n", n, failed,
           ms[n / 2], ms[n * 99 / 100], first_failure);
}

static void submit_held(int64_t n)
{
    static const struct sagent_pair options[] = {{"chdir", "/tmp"}, {"hold", NULL}};
    struct sagent *s = open_client();
    for (int64_t i = 0; i < n; i++) {
        AUTO(free) char *id = submit(s, "#!/bin/sh\n", options, ARRAY_LEN(options));
        printf("%s\n", id);
    }
    sagent_close(s);
}

static void *stay_one(void *arg)
{
    const struct sagent_options options = {.server = address, .timeout_ms = STAY_MS};
    struct sagent_server *server;
    struct sagent_error err;
    struct sagent *s;
    if (sagent_open(&options, &s, &err) < 0) {
        fail("open", &err);
        return arg;
    }
    if (sagent_ping(s, &server, &err) < 0) {
        fail("ping", &err);
    } else {
        in++;
        sagent_server_free(server);
    }
    while (!stop)
        poll(NULL, 0, 100);
    sagent_close(s);
    return arg;
}

static void *say_when_all_are_in(void *arg)
{
    const int *n = arg;
    while (in + failed < *n && !stop)
        poll(NULL, 0, 50);
    printf("in %ld failed %ld; the first failure: %s\n", in, failed, first_failure);
    fflush(stdout);
    return arg;
}

static bool is_number(const char *text, int64_t most, int64_t *ret)
{
    return str_to_i64(text, 1, most, ret);
}

static int find_operation(const char *name)
{
#define OP(id, said, number, who, body_max, request, reply, help)                                  \
    if (strcmp(name, said) == 0)                                                                   \
        return operation = OP_##id, 0;
#include "common/ops.def"
#undef OP
    return -1;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int64_t n = 0, seconds = 0;
    pthread_t beside;
    signal(SIGTERM, on_term);
    if (strcmp(mode, "flood") == 0 && argc == 5 && find_operation(argv[2]) == 0 &&
        is_number(argv[3], FLOOD_MAX, &n) && is_number(argv[4], 3600, &seconds)) {
        end_ms = clock_mono_ms() + seconds * 1000;
        flood((size_t)n);
        printf("answered %ld refused %ld without advice %ld\n", answered, refused, no_advice);
    } else if (strcmp(mode, "pipeline") == 0 && argc == 3 && is_number(argv[2], 1000, &n)) {
        pipeline(n);
    } else if (strcmp(mode, "polite") == 0 && argc == 4 && is_number(argv[2], THREADS_MAX, &n) &&
               is_number(argv[3], 3600, &seconds)) {
        end_ms = clock_mono_ms() + seconds * 1000;
        in_threads((int)n, ask_politely);
        printf("answered %ld failed %ld; the first failure: %s\n", answered, failed, first_failure);
    } else if (strcmp(mode, "ask") == 0 && (argc == 3 || argc == 4) &&
               is_number(argv[2], CALLS_MAX, &n)) {
        job = argc == 4 ? argv[3] : job;
        ask((int)n);
    } else if (strcmp(mode, "submit") == 0 && argc == 3 && is_number(argv[2], CALLS_MAX, &n)) {
        submit_held(n);
    } else if (strcmp(mode, "stay") == 0 && (argc == 3 || argc == 4) &&
               is_number(argv[2], THREADS_MAX, &n)) {
        int all = (int)n;
        address = argv[3];
        pthread_create(&beside, NULL, say_when_all_are_in, &all);
        in_threads(all, stay_one);
    } else {
        fprintf(
            stderr,
            "usage: bench_fair flood OPERATION CONNECTIONS SECONDS | pipeline REQUESTS | "
            "polite THREADS SECONDS | ask CALLS [JOB] | submit JOBS | stay CLIENTS [ADDRESS]\n");
        return 2;
    }
    return 0;
}
