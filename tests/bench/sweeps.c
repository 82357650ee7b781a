/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sweeps.c: submits by more and more users, and status by more and more connections */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/cleanup.h"
#include "tests/bench/bench.h"
#include "tests/bench/echo.h"
#include "tests/bench/raw.h"
#include "tests/bench/sections.h"

/* ---- users ---- */

static double submit_rate(const struct bench *b, const struct way *way, int users, double *ret_p50)
{
    struct taken t;
    take_calls(b, way, SUBMIT, users, NULL, &t);
    double rate = (double)t.n / t.seconds;
    *ret_p50 = quantile(t.ms, t.n, 50);
    cancel_all(b, t.kept, t.first[users]);
    taken_free(&t);
    return rate;
}

json_t *bench_users(const struct bench *b)
{
    enum { AGENT, LIBSLURM, WAYS, SYNCS = 40 };
    static const struct way *const ways[] = {&way_agent_tcp, &way_libslurm};
    json_t *rows = json_array();
    int rounds = b->quick ? 1 : 5;
    char state[512];
    snprintf(state, sizeof state, "%s/state/agentd", b->sandbox);
    printf("\n== submits by several users at once, each with one caller (medians of %d round%s)\n"
           "%6s %10s %8s %12s %8s %8s %14s\n",
           rounds, rounds > 1 ? "s" : "", "users", "agent, /s", "p50 ms", "libslurm, /s", "p50 ms",
           "ratio", "fdatasync, ms");
    for (int users = 1; users <= b->n_users; users *= 2) {
        double rate[WAYS][MAX_ROUNDS], p50[WAYS][MAX_ROUNDS], ratio[MAX_ROUNDS], sync[MAX_ROUNDS];
        double ms[SYNCS];
        for (int r = 0; r < rounds; r++) {
            for (int i = 0; i < WAYS; i++) {
                int w = (i + r) % WAYS;
                rate[w][r] = submit_rate(b, ways[w], users, &p50[w][r]);
            }
            ratio[r] = rate[AGENT][r] / rate[LIBSLURM][r];
            disk_sync(state, ms, SYNCS);
            sync[r] = quantile(ms, SYNCS, 50);
        }
        size_t n = (size_t)rounds;
        printf("%6d %10.0f %8.2f %12.0f %8.2f %8.2f %14.3f\n", users, median(rate[AGENT], n),
               median(p50[AGENT], n), median(rate[LIBSLURM], n), median(p50[LIBSLURM], n),
               median(ratio, n), median(sync, n));
        json_array_append_new(rows, json_pack("{si so so so so so so}", "users", users,
                                              "agent_per_s", figure(median(rate[AGENT], n)),
                                              "agent_p50_ms", figure(median(p50[AGENT], n)),
                                              "libslurm_per_s", figure(median(rate[LIBSLURM], n)),
                                              "libslurm_p50_ms", figure(median(p50[LIBSLURM], n)),
                                              "ratio", figure(median(ratio, n)), "fdatasync_ms",
                                              figure(median(sync, n))));
    }
    return rows;
}

/* ---- connections ---- */

enum { MAX_EVENTS = 64 };

/* The connections of one caller: each with one request under way, all the time. */
struct crowd {
    const struct bench *b;
    struct raw **raws;
    double *sent_ms;
    size_t n, next_id;
    int epoll;
    struct epoll_event events[MAX_EVENTS];
    int n_events, event;
    double took_ms;
    struct wire_out *out;
    bool begun;
};

struct crowd_size {
    const struct bench *b;
    const char *address;
    size_t each;
};

static void *open_crowd(void *arg)
{
    const struct crowd_size *size = arg;
    struct crowd *c = calloc(1, sizeof *c);
    if (!c || !(c->raws = calloc(size->each, sizeof *c->raws)) ||
        !(c->sent_ms = calloc(size->each, sizeof *c->sent_ms)) || !(c->out = wire_out_new()))
        die("clients", "no memory");
    c->b = size->b;
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (; c->n < size->each; c->n++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = c->n};
        if (!(c->raws[c->n] = malloc(sizeof *c->raws[c->n])))
            die("clients", "no memory");
        if (size->b->echo)
            raw_open_bare(c->raws[c->n], size->address);
        else
            raw_open(c->raws[c->n], size->address);
        if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->raws[c->n]->fd, &e) < 0)
            die("clients", "epoll");
    }
    return c;
}

static void ask(struct crowd *c, size_t i)
{
    char text[16];
    const char *ids = text;
    struct get_request req = {.ids = {&ids, 1}};
    snprintf(text, sizeof text, "%u", c->b->ids[c->next_id++ * 7 % c->b->n_ids]);
    wire_out_clear(c->out);
    msg_pack(&get_request_type, &req, c->out);
    c->sent_ms[i] = now_ms(CLOCK_MONOTONIC);
    raw_send(c->raws[i], OP_job_get, wire_out_bytes(c->out));
}

/* Until a reply has come, to whichever of them; its connection has then asked again. */
static uint32_t next_reply(void *open, void *arg, int caller, size_t n)
{
    struct crowd *c = open;
    (void)arg;
    (void)caller;
    if (n == 0) {
        ask(c, 0);
        while (!raw_receive(c->raws[0]))
            ;
        return 0;
    }
    for (size_t i = 0; !c->begun && i < c->n; i++)
        ask(c, i);
    c->begun = true;
    for (;;) {
        if (c->event == c->n_events) {
            c->event = 0;
            c->n_events = epoll_wait(c->epoll, c->events, MAX_EVENTS, 30000);
            if (c->n_events <= 0)
                die("clients", "no answer for 30 s");
        }
        size_t i = c->events[c->event++].data.u64;
        if (!raw_receive(c->raws[i]))
            continue;
        if (c->raws[i]->reply.n < 200)
            die("clients", "that is no job");
        c->took_ms = now_ms(CLOCK_MONOTONIC) - c->sent_ms[i];
        ask(c, i);
        return 0;
    }
}

static double last_took(void *open)
{
    return ((struct crowd *)open)->took_ms;
}

static void close_crowd(void *open)
{
    struct crowd *c = open;
    for (size_t i = 0; i < c->n; i++) {
        while (c->begun && !raw_receive(c->raws[i]))
            ;
        raw_close(c->raws[i]);
    }
}

static void take_crowd(const struct bench *b, const char *address, int connections, int users,
                       struct taken *out)
{
    struct crowd_size size = {b, address, (size_t)(connections / users)};
    struct task task = {.open = open_crowd,
                        .call = next_reply,
                        .close = close_crowd,
                        .took = last_took,
                        .arg = &size,
                        .ms = 3 * b->cell_ms};
    take(b, &task, users, b->users, b->n_users, out);
}

json_t *bench_clients(const struct bench *b)
{
    static const int quick[] = {1, 16, 256, 2000}, full[] = {1, 4, 16, 64, 256, 1000, 2000};
    enum { P50, P95, P99, PER_S, CPU, ECHO_P50, ECHO_PER_S, ECHO_CPU, FIGURES };
    static const char *const names[] = {"p50_ms",     "p95_ms",        "p99_ms",
                                        "per_s",      "broker_cpu_us", "echo_p50_ms",
                                        "echo_per_s", "echo_cpu_us"};
    const int *sizes = b->quick ? quick : full;
    size_t n = b->quick ? ARRAY_LEN(quick) : ARRAY_LEN(full), rounds = b->quick ? 1 : 3;
    json_t *rows = json_array();
    char address[64];
    struct bench echo = *b;
    snprintf(address, sizeof address, "tcp://127.0.0.1:%s", getenv("BENCH_ECHO_PORT"));
    echo.echo = echo_start(address);
    printf(
        "\n== status from the agent's memory over tcp, one request under way on each connection;\n"
        "beside it a process with nng's reply socket that sends 1,000 bytes back (medians of %zu "
        "round%s)\n%11s %6s %9s %8s %8s %8s %10s %12s %8s %8s %9s\n",
        rounds, rounds > 1 ? "s" : "", "connections", "users", "calls/s", "p50 ms", "p95", "p99",
        "broker us", "nng alone/s", "p50 ms", "CPU us", "CPU ratio");
    for (size_t i = 0; i < n; i++) {
        int users = sizes[i] < 16 || b->n_users < 2 ? 1 : 2;
        double v[FIGURES][MAX_ROUNDS], m[FIGURES];
        for (size_t r = 0; r < rounds; r++) {
            struct taken t;
            take_crowd(&echo, address, sizes[i], users, &t);
            v[ECHO_P50][r] = quantile(t.ms, t.n, 50);
            v[ECHO_PER_S][r] = (double)t.n / t.seconds;
            v[ECHO_CPU][r] = t.cpu.echo / (double)(t.n ? t.n : 1);
            taken_free(&t);
            take_crowd(b, getenv("SLURM_AGENT_SERVER"), sizes[i], users, &t);
            v[P50][r] = quantile(t.ms, t.n, 50);
            v[P95][r] = quantile(t.ms, t.n, 95);
            v[P99][r] = quantile(t.ms, t.n, 99);
            v[PER_S][r] = (double)t.n / t.seconds;
            v[CPU][r] = t.cpu.broker / (double)(t.n ? t.n : 1);
            taken_free(&t);
        }
        json_t *row = json_pack("{si si}", "connections", sizes[i], "users", users);
        for (int k = 0; k < FIGURES; k++) {
            m[k] = median(v[k], rounds);
            json_object_set_new(row, names[k], figure(m[k]));
        }
        json_array_append_new(rows, row);
        printf("%11d %6d %9.0f %8.3f %8.3f %8.3f %10.1f %12.0f %8.3f %8.1f %9.2f\n", sizes[i],
               users, m[PER_S], m[P50], m[P95], m[P99], m[CPU], m[ECHO_PER_S], m[ECHO_P50],
               m[ECHO_CPU], m[CPU] / m[ECHO_CPU]);
    }
    echo_stop(echo.echo);
    return rows;
}
