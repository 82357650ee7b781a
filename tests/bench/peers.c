/* SPDX-License-Identifier: GPL-3.0-or-later */
/* peers.c: the same three calls by every way, by one caller and by several, in interleaved rounds
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/sections.h"

static const struct way *const ways[] = {
    &way_libslurm, &way_agent_tcp,     &way_agent_ipc,  &way_library,   &way_slurmrestd,
    &way_commands, &way_agent_command, &way_ssh_master, &way_ssh_fresh,
};

enum { MIN_CALLS = 3, REST_MS = 3000 };

static const char *const op_names[] = {"status", "submit", "cancel"};

enum { P50, P95, P99, PER_S, SLURMCTLD, SERVER, BROKER, FIGURES };
static const char *const figure_names[] = {"p50_ms",       "p95_ms",        "p99_ms",       "per_s",
                                           "slurmctld_us", "server_cpu_us", "broker_cpu_us"};

/* One line of the table: a figure of each round. */
struct line {
    int rounds;
    size_t calls; /* of all of them */
    double v[FIGURES][MAX_ROUNDS];
};
static struct line lines[OPS][ARRAY_LEN(ways)][2]; /* by one caller, by several */

/* ---- one cell ---- */

struct cell {
    const struct bench *b;
    const struct way *way;
    int op;
    const struct taken *submitted; /* cancel: which */
};

static void *open_cell(void *arg)
{
    return ((struct cell *)arg)->way->open();
}

static uint32_t call_cell(void *open, void *arg, int caller, size_t n)
{
    const struct cell *c = arg;
    switch (c->op) {
    case STATUS: /* not one after the other, nor all the same */
        c->way->status(open, c->b->ids[((size_t)caller * 331 + n * 7) % c->b->n_ids]);
        return 0;
    case SUBMIT:
        return c->way->submit(open);
    default: {
        uint32_t id = c->submitted->kept[c->submitted->first[caller] + n];
        c->way->cancel(open, id);
        return id;
    }
    }
}

/* How often each caller may cancel: as often as the one that has submitted least did. */
static size_t least_kept(const struct taken *t, int callers)
{
    size_t least = SIZE_MAX;
    for (int i = 0; i < callers; i++)
        if (t->first[i + 1] - t->first[i] < least)
            least = t->first[i + 1] - t->first[i];
    return least;
}

static void keep_figures(const struct way *way, struct line *l, struct taken *t)
{
    double calls = t->n ? (double)t->n : 1;
    double server = way->server == WAY_AGENTD       ? t->cpu.agentd
                    : way->server == WAY_SLURMRESTD ? t->cpu.slurmrestd
                                                    : 0;
    const double v[FIGURES] = {
        [P50] = quantile(t->ms, t->n, 50),
        [P95] = quantile(t->ms, t->n, 95),
        [P99] = quantile(t->ms, t->n, 99),
        [PER_S] = calls / t->seconds,
        [SLURMCTLD] = t->cpu.slurmctld / calls,
        [SERVER] = server / calls,
        [BROKER] = way->server == WAY_AGENTD ? t->cpu.broker / calls : 0,
    };
    for (int i = 0; i < FIGURES; i++)
        l->v[i][l->rounds] = v[i];
    l->rounds++;
    l->calls += t->n;
}

void take_calls(const struct bench *b, const struct way *way, int op, int callers,
                const struct taken *submitted, struct taken *out)
{
    struct cell c = {b, way, op, submitted};
    struct task t = {.open = open_cell, .call = call_cell, .close = way->close, .arg = &c};
    t.ms = b->cell_ms;
    t.min_calls = MIN_CALLS;
    t.max_calls = op == STATUS ? 0 : b->cell_calls / (size_t)callers;
    if (op == CANCEL)
        t.max_calls = least_kept(submitted, callers) - 1;
    take(b, &t, callers, b->users, way->one_user ? 1 : b->n_users, out);
}

/* Why there is no such line; NULL: there is. */
static const char *why_not(const struct bench *b, const struct way *way, int several)
{
    if (b->quick && way->slow && several)
        return "in the full form only";
    return way->missing ? way->missing() : NULL;
}

static void run_way(const struct bench *b, size_t w, int several)
{
    int callers = several ? b->callers : 1;
    struct taken made = {0}, t = {0};
    for (int op = 0; op < OPS; op++) {
        take_calls(b, ways[w], op, callers, &made, op == SUBMIT ? &made : &t);
        keep_figures(ways[w], &lines[op][w][several], op == SUBMIT ? &made : &t);
        if (op == CANCEL) /* what there was no time for */
            for (int i = 0; i < callers; i++) {
                size_t done = t.first[i + 1] - t.first[i];
                cancel_all(b, made.kept + made.first[i] + done,
                           made.first[i + 1] - made.first[i] - done);
            }
        if (op != SUBMIT)
            taken_free(&t);
    }
    taken_free(&made);
}

/* ---- the table ---- */

static double value(const struct line *l, int figure_at)
{
    return median(l->v[figure_at], (size_t)l->rounds);
}

static size_t index_of(const struct way *way)
{
    size_t w = 0;
    while (ways[w] != way)
        w++;
    return w;
}

static void print_table(const struct bench *b)
{
    size_t direct = index_of(&way_libslurm), rest = index_of(&way_slurmrestd);
    for (int op = 0; op < OPS; op++)
        for (int several = 0; several < 2; several++) {
            printf("\n%s, %d caller%s\n%-32s %6s %7s %8s %8s %8s %9s %8s %8s %9s %8s %8s\n",
                   op_names[op], several ? b->callers : 1, several ? "s" : "", "", "from", "calls",
                   "p50 ms", "p95", "p99", "calls/s", "x libsl.", "x restd", "slurmctld", "server",
                   "broker");
            for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
                const struct line *l = &lines[op][w][several];
                if (!l->rounds) {
                    printf("%-32s not measured: %s\n", ways[w]->name, why_not(b, ways[w], several));
                    continue;
                }
                double per_s = value(l, PER_S);
                printf("%-32s %6s %7zu %8.3f %8.3f %8.3f %9.0f %8.2f %8.2f %9.1f", ways[w]->name,
                       op == STATUS ? ways[w]->status_from : "RPC", l->calls, value(l, P50),
                       value(l, P95), value(l, P99), per_s,
                       per_s / value(&lines[op][direct][several], PER_S),
                       per_s / value(&lines[op][rest][several], PER_S), value(l, SLURMCTLD));
                if (ways[w]->server != WAY_NONE)
                    printf(" %8.1f", value(l, SERVER));
                if (ways[w]->server == WAY_AGENTD)
                    printf(" %8.1f", value(l, BROKER));
                printf("\n");
            }
        }
}

static json_t *line_json(const struct bench *b, int op, size_t w, int several)
{
    const struct line *l = &lines[op][w][several];
    json_t *o = json_pack("{ss ss si}", "way", ways[w]->name, "op", op_names[op], "callers",
                          several ? b->callers : 1);
    if (!l->rounds) {
        json_object_set_new(o, "not_measured", json_string(why_not(b, ways[w], several)));
        return o;
    }
    json_object_set_new(o, "answered_from",
                        json_string(op == STATUS ? ways[w]->status_from : "RPC"));
    json_object_set_new(o, "calls", json_integer((json_int_t)l->calls));
    json_t *rounds = json_object();
    for (int i = 0; i < FIGURES; i++) {
        if ((i == SERVER && ways[w]->server == WAY_NONE) ||
            (i == BROKER && ways[w]->server != WAY_AGENTD))
            continue;
        json_t *of_round = json_array();
        for (int r = 0; r < l->rounds; r++)
            json_array_append_new(of_round, figure(l->v[i][r]));
        json_object_set_new(rounds, figure_names[i], of_round);
        json_object_set_new(o, figure_names[i], figure(value(l, i)));
    }
    json_object_set_new(o, "rounds", rounds);
    return o;
}

json_t *bench_peers(const struct bench *b)
{
    enum { SYNCS = 40 };
    double sync[MAX_ROUNDS], busy[MAX_ROUNDS], ms[SYNCS];
    char state[512];
    snprintf(state, sizeof state, "%s/state/agentd", b->sandbox);
    struct cpu rest = cpu_now(b);
    poll(NULL, 0, REST_MS);
    rest = cpu_since(b, rest);
    double begun = now_ms(CLOCK_MONOTONIC);
    int rounds = 0;
    for (int r = 0; r < b->rounds && now_ms(CLOCK_MONOTONIC) < begun + b->rounds_s * 1e3; r++) {
        rounds++;
        busy[r] = busy_percent();
        disk_sync(state, ms, SYNCS);
        sync[r] = quantile(ms, SYNCS, 50);
        for (int several = 0; several < 2; several++)
            for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
                size_t w = (i + (size_t)r) % ARRAY_LEN(ways); /* nobody is always after the same */
                if (!why_not(b, ways[w], several))
                    run_way(b, w, several);
            }
    }
    printf(
        "\n== the same calls by every way: %zu held jobs queued, %d rounds, medians of the rounds\n",
        b->n_ids, rounds);
    print_table(b);
    double sync_ms = median(sync, (size_t)rounds);
    printf(
        "\nfrom: memory is the agent's job table, RPC is slurmctld.  slurmctld, server, broker: CPU, "
        "us a call;\nserver is slurmrestd, or all of the agent's processes, of which broker is "
        "one.\n%s and %s speak the protocol themselves.  ssh and slurmrestd: all callers are "
        "%s;\nelse each is another user, as far as there are.  A caller's first call, with "
        "connecting and what starts for it, is not counted.\n4 KiB and fdatasync() in the "
        "journal's directory: %.3f ms.  Asked for nothing: slurmctld %.0f, agent %.0f us of CPU "
        "a second;\nthe machine %.0f %% busy before the rounds (median), at most %.0f %%.\n",
        way_agent_tcp.name, way_agent_ipc.name, b->users[0], sync_ms,
        rest.slurmctld / (REST_MS / 1e3), rest.agentd / (REST_MS / 1e3),
        median(busy, (size_t)rounds), quantile(busy, (size_t)rounds, 100));
    json_t *table = json_array(), *loads = json_array();
    for (int op = 0; op < OPS; op++)
        for (size_t w = 0; w < ARRAY_LEN(ways); w++)
            for (int several = 0; several < 2; several++)
                json_array_append_new(table, line_json(b, op, w, several));
    for (int r = 0; r < rounds; r++)
        json_array_append_new(loads, figure(busy[r]));
    return json_pack("{si so so so so so}", "rounds", rounds, "fdatasync_ms", figure(sync_ms),
                     "slurmctld_resting_us_per_s", figure(rest.slurmctld / (REST_MS / 1e3)),
                     "agentd_resting_us_per_s", figure(rest.agentd / (REST_MS / 1e3)),
                     "busy_before_rounds_percent", loads, "calls", table);
}

/* ---- jobs without a figure ---- */

static uint32_t cancel_next(void *open, void *arg, int caller, size_t n)
{
    const uint32_t *ids = arg;
    (void)caller;
    way_libslurm.cancel(open, ids[n]);
    return 0;
}

static void *open_libslurm(void *arg)
{
    (void)arg;
    return way_libslurm.open();
}

static const char *const nobody_else[] = {"root"};

void cancel_all(const struct bench *b, const uint32_t *ids, size_t n)
{
    struct taken t;
    struct task task = {.open = open_libslurm, .call = cancel_next, .arg = (void *)ids};
    if (n == 0)
        return;
    task.max_calls = n - 1;
    task.ms = n > 1 ? 60000 : 0;
    take(b, &task, 1, geteuid() == 0 ? nobody_else : b->users, 1, &t);
    taken_free(&t);
}

static uint32_t submit_next(void *open, void *arg, int caller, size_t n)
{
    (void)arg;
    (void)caller;
    (void)n;
    return way_libslurm.submit(open);
}

uint32_t *queue_jobs(const struct bench *b, size_t n, size_t *ret_n)
{
    struct taken t;
    struct task task = {.open = open_libslurm, .call = submit_next, .ms = 120000};
    task.max_calls = n / (size_t)b->callers - 1;
    take(b, &task, b->callers, b->users, 1, &t);
    *ret_n = t.first[b->callers];
    free(t.ms);
    return t.kept;
}
