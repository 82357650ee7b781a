/* SPDX-License-Identifier: GPL-3.0-or-later */
/* follow.c: how long after a job's end a wait for it returns, and what held requests cost */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/raw.h"
#include "tests/bench/sections.h"

/* ---- from a job's end to its waiter's return ---- */

enum { WAITERS = 4 };

struct waiter {
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

static void *run_waiter(void *arg)
{
    static const struct sagent_pair options[] = {{"chdir", "/tmp"}, {"output", "/dev/null"}};
    struct waiter *c = arg;
    struct sagent *s = open_client();
    unsigned seed = (unsigned)c->number + 1;
    for (int i = 0; i < c->rounds; i++) {
        char path[200], script[400];
        snprintf(path, sizeof path, "%s/%d-%d", c->dir, c->number, i);
        /* so long that ends fall anywhere between two polls */
        snprintf(script, sizeof script, "#!/bin/sh\nsleep 0.%03d\ndate +%%s%%N >%s\n",
                 rand_r(&seed) % 1000, path);
        AUTO(free) char *id = submit(s, script, options, ARRAY_LEN(options));
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

static json_t *wait_for_ends(const struct bench *b)
{
    char dir[] = "/tmp/slurm-agent-bench-XXXXXX";
    struct waiter waiters[WAITERS];
    int rounds = b->quick ? 5 : 20;
    size_t n = (size_t)rounds * WAITERS;
    AUTO(free) double *ms = calloc(n, sizeof *ms);
    if (!ms || !mkdtemp(dir))
        die(dir, "cannot be made");
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter){
            .number = i, .rounds = rounds, .dir = dir, .ms = ms + (size_t)i * (size_t)rounds};
        pthread_create(&waiters[i].thread, NULL, run_waiter, &waiters[i]);
    }
    for (int i = 0; i < WAITERS; i++)
        pthread_join(waiters[i].thread, NULL);
    rmdir(dir);
    return json_pack("{si so so so}", "ends", (int)n, "p50_ms", figure(quantile(ms, n, 50)),
                     "p95_ms", figure(quantile(ms, n, 95)), "most_ms",
                     figure(quantile(ms, n, 100)));
}

/* What slurmctld runs at a job's begin and end, as the sandbox has made it, or a program that does
 * nothing in its place: a prolog that cannot be run would requeue the job. */
static void set_hints(const struct bench *b, bool on)
{
    char path[512], kept[520], nothing[520];
    snprintf(path, sizeof path, "%s/etc/hint", b->sandbox);
    snprintf(kept, sizeof kept, "%s.kept", path);
    snprintf(nothing, sizeof nothing, "%s.off", path);
    if (!on) {
        AUTO(fclose) FILE *f = fopen(nothing, "we");
        if (!f || fputs("#!/bin/sh\n", f) < 0 || chmod(nothing, 0755) < 0 || link(path, kept) < 0)
            die(nothing, strerror(errno));
    }
    if (rename(on ? kept : nothing, path) < 0)
        die(path, strerror(errno));
}

json_t *bench_follow(const struct bench *b)
{
    json_t *out = json_object();
    printf("\n== from a job's end to the return of a wait for it, %d waiters, ms\n"
           "%-28s %6s %9s %9s %9s\n",
           WAITERS, "", "ends", "p50", "p95", "most");
    for (int hints = 0; hints < 2; hints++) {
        if (!hints)
            set_hints(b, false);
        json_t *row = in_child(b->users[0], wait_for_ends, b);
        if (!hints)
            set_hints(b, true);
        printf("%-28s %6.0f %9.1f %9.1f %9.1f\n",
               hints ? "slurm-agent-hint" : "by polling once a second", number_of(row, "ends"),
               number_of(row, "p50_ms"), number_of(row, "p95_ms"), number_of(row, "most_ms"));
        json_object_set_new(out, hints ? "hints" : "polling", row);
    }
    return out;
}

/* ---- held requests ---- */

enum { CONNECTIONS = 1000, WAITS_EACH = 10, GETS = 1000, SETTLE_MS = 20000 };

static void send_get(struct raw *r, struct wire_out *out, uint32_t job)
{
    char text[16];
    const char *id = text;
    struct get_request req = {.ids = {&id, 1}};
    snprintf(text, sizeof text, "%u", job);
    wire_out_clear(out);
    msg_pack(&get_request_type, &req, out);
    raw_call(r, OP_job_get, wire_out_bytes(out));
}

static double time_gets(const struct bench *b, struct raw *r, struct wire_out *out)
{
    double ms[GETS];
    for (size_t i = 0; i < GETS; i++) {
        double begun = now_ms(CLOCK_MONOTONIC);
        send_get(r, out, b->ids[i % b->n_ids]);
        ms[i] = now_ms(CLOCK_MONOTONIC) - begun;
    }
    return quantile(ms, GETS, 50);
}

/* The gauge requests_held; stats_users of the sandbox has the first user. */
static int64_t count_held(struct raw *r)
{
    static const uint8_t empty[] = {0x80};
    AUTO(arena_done) struct arena arena = {0};
    struct stats_reply all;
    struct err err = {0};
    struct bytes body = raw_call(r, OP_admin_stats, (struct bytes){empty, 1});
    if (msg_unpack(&stats_reply_type, body, &arena, MSG_LENIENT, &all, &err) < 0)
        die("stats", err.text);
    for (size_t i = 0; i < all.families.n; i++) {
        struct stats_family f;
        struct stats_sample s;
        if (msg_unpack(&stats_family_type, all.families.v[i], &arena, MSG_LENIENT, &f, &err) < 0)
            die("stats", err.text);
        if (str_eq(f.name, "requests_held") && f.samples.n == 1 &&
            msg_unpack(&stats_sample_type, f.samples.v[0], &arena, MSG_LENIENT, &s, &err) == 0)
            return s.value;
    }
    die("stats", "there is no requests_held");
}

static json_t *hold(const struct bench *b)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    AUTO(free) struct raw *asks = malloc(sizeof *asks);
    struct raw **raws = calloc(CONNECTIONS, sizeof *raws);
    if (!out || !asks || !raws)
        die("held", "no memory");
    raw_open(asks, getenv("SLURM_AGENT_SERVER"));
    double alone = time_gets(b, asks, out);
    long kib = broker_kib(b);
    for (int i = 0; i < CONNECTIONS; i++) {
        if (!(raws[i] = malloc(sizeof *raws[i])))
            die("held", "no memory");
        raw_open(raws[i], getenv("SLURM_AGENT_SERVER"));
    }
    long connected = broker_kib(b);
    for (size_t i = 0; i < CONNECTIONS * WAITS_EACH; i++) {
        char text[16];
        const char *id = text;
        struct wait_request req = {.ids = {&id, 1}};
        snprintf(text, sizeof text, "%u", b->ids[i % b->n_ids]);
        wire_out_clear(out);
        msg_pack(&wait_request_type, &req, out);
        raw_send(raws[i / WAITS_EACH], OP_job_wait,
                 wire_out_bytes(out)); /* the reply is not read */
    }
    int64_t held = 0;
    double end = now_ms(CLOCK_MONOTONIC) + SETTLE_MS;
    while ((held = count_held(asks)) < CONNECTIONS * WAITS_EACH && now_ms(CLOCK_MONOTONIC) < end)
        poll(NULL, 0, 20);
    double beside = time_gets(b, asks, out);
    long with = broker_kib(b);
    return json_pack("{si si si si si so so}", "connections", CONNECTIONS, "held", (int)held,
                     "broker_kib", (int)kib, "connections_kib", (int)(connected - kib), "held_kib",
                     (int)(with - connected), "get_alone_p50_ms", figure(alone),
                     "get_beside_p50_ms", figure(beside));
}

json_t *bench_held(const struct bench *b)
{
    json_t *o = in_child(b->users[0], hold, b);
    printf("\n== held requests: %.0f connections with sessions cost %.0f KiB, %.0f waits on them "
           "%.0f KiB more;\nget p50 %.3f ms without them, %.3f ms beside them\n",
           number_of(o, "connections"), number_of(o, "connections_kib"), number_of(o, "held"),
           number_of(o, "held_kib"), number_of(o, "get_alone_p50_ms"),
           number_of(o, "get_beside_p50_ms"));
    return o;
}
