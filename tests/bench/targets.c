/* SPDX-License-Identifier: GPL-3.0-or-later */
/* targets.c: what the agent is to reach, as ratios of one run */
#include <stdio.h>
#include <string.h>

#include "common/str.h"
#include "tests/bench/sections.h"

/* The line of the peers' table; NULL where that was not measured. */
static const json_t *line_of(const json_t *all, const struct way *way, const char *op, bool several)
{
    const json_t *calls = json_object_get(json_object_get(all, "peers"), "calls"), *c;
    size_t i;
    json_array_foreach(calls, i,
                       c) if (str_eq(json_string_value(json_object_get(c, "way")), way->name) &&
                              str_eq(json_string_value(json_object_get(c, "op")), op) &&
                              (json_integer_value(json_object_get(c, "callers")) > 1) ==
                                  several) return c;
    return NULL;
}

static double of(const json_t *all, const struct way *way, const char *op, bool several,
                 const char *name)
{
    return number_of(line_of(all, way, op, several), name);
}

static void judge(json_t *out, const char *what, double is, bool at_least, double limit)
{
    bool met = at_least ? is >= limit : is <= limit;
    printf("%-6s %-64s %10.4g (%s %g)\n", met ? "met" : "MISSED", what, is,
           at_least ? "at least" : "at most", limit);
    json_array_append_new(out, json_pack("{ss so so ss sb}", "target", what, "is", figure(is),
                                         "limit", figure(limit), "wanted",
                                         at_least ? "at least" : "at most", "met", met));
}

/* The most that any line of a sweep reached. */
static double most(const json_t *rows, const char *name)
{
    const json_t *r;
    size_t i;
    double best = 0;
    json_array_foreach(rows, i, r) if (number_of(r, name) > best) best = number_of(r, name);
    return best;
}

static void judge_change(const json_t *all, json_t *out, const char *op)
{
    char what[96];
    const struct way *agent = &way_agent_tcp;
    double ms = of(all, agent, op, false, "p50_ms");
    double sync =
        str_eq(op, "submit") ? number_of(json_object_get(all, "peers"), "fdatasync_ms") : 0;
    snprintf(what, sizeof what, "%s p50%s, of libslurm's", op, sync > 0 ? " less one fsync" : "");
    double less = ms > sync ? ms - sync : 0; /* a disk whose time changes from call to call */
    judge(out, what, less / of(all, &way_libslurm, op, false, "p50_ms"), false, 1.5);
    snprintf(what, sizeof what, "%s p50, of that of Slurm's command", op);
    judge(out, what, ms / of(all, &way_commands, op, false, "p50_ms"), false, 1.0 / 3);
    snprintf(what, sizeof what, "%s rate with several users, of libslurm's", op);
    judge(out, what, of(all, agent, op, true, "per_s") / of(all, &way_libslurm, op, true, "per_s"),
          true, 0.85);
}

json_t *bench_targets(const json_t *all)
{
    json_t *out = json_array();
    const struct way *agent = &way_agent_tcp;
    if (!json_object_get(all, "peers"))
        return out;
    printf("\n== targets\n");
    double rate = of(all, agent, "status", true, "per_s");
    double swept = most(json_object_get(all, "clients"), "per_s");
    judge(out, "status rate, of slurmrestd's, callers alike",
          rate / of(all, &way_slurmrestd, "status", true, "per_s"), true, 40);
    judge(out, "status a second, the load generator on the same cores", swept > rate ? swept : rate,
          true, 30000);
    judge(out, "status p50 over tcp, ms", of(all, agent, "status", false, "p50_ms"), false, 0.2);
    judge(out, "status: slurmctld's CPU a call, of that of libslurm's call",
          of(all, agent, "status", true, "slurmctld_us") /
              of(all, &way_libslurm, "status", true, "slurmctld_us"),
          false, 0.01);
    judge(out, "broker's CPU a status call, us", of(all, agent, "status", true, "broker_cpu_us"),
          false, 25);
    judge_change(all, out, "submit");
    judge_change(all, out, "cancel");
    return out;
}
