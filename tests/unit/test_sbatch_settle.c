/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How tasks lie on nodes and what they are bound to, and what options together make of a job: a
 * case is options, and all that they set.  tests/sbatch holds the same against sbatch. */
#include "agentd/sbatch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"

static struct arena arena;

static void start(void)
{
    arena_init(&arena, 0);
}

static void end(void)
{
    arena_done(&arena);
}

TestSuite(sbatch_layout, .init = start, .fini = end);
TestSuite(sbatch_settle, .init = start, .fini = end);

enum { OPTIONS_MAX = 8 };

/* "nodes=2 hold": blanks part them. */
static int parse(const char *text, struct sbatch *out, struct err *err)
{
    struct pair v[OPTIONS_MAX];
    struct pairs pairs = {v, 0};
    char *rest = arena_strdup(&arena, text);
    for (char *word; (word = strsep(&rest, " "));) {
        char *equals = strchr(word, '=');
        cr_assert_lt(pairs.n, OPTIONS_MAX);
        if (equals)
            *equals++ = '\0';
        v[pairs.n++] = (struct pair){word, equals ? equals : ""};
    }
    struct sbatch_source in = {.script = {(const uint8_t *)"#!/bin/sh\n", 10},
                               .options = &pairs,
                               .n_options = 1,
                               .max_script = 4096,
                               .now = 1795434052};
    struct sbatch_jobs jobs;
    *err = (struct err){0};
    if (sbatch_parse(&in, &arena, &jobs, err) < 0)
        return -1;
    *out = jobs.v[0];
    return 0;
}

static void put_text(FILE *f, const char *name, const char *value)
{
    if (value)
        fprintf(f, " %s=%s", name, value);
}

static void put_number(FILE *f, const char *name, int64_t value)
{
    if (value == SBATCH_INFINITE)
        fprintf(f, " %s=any", name);
    else if (value != SBATCH_UNSET)
        fprintf(f, " %s=%lld", name, (long long)value);
}

/* "min_nodes=2 ntasks=4": all that is set, in the order of sbatch_fields.def. */
static const char *shown(const struct sbatch *job)
{
    AUTO(free) char *line = NULL;
    size_t size;
    FILE *f = open_memstream(&line, &size);
    cr_assert_not_null(f);
#define TEXT(scope, member) put_text(f, #member, job->member);
#define NUMBER(scope, member) put_number(f, #member, job->member);
#define SENT_TEXT TEXT
#define SENT_NUMBER NUMBER
#include "agentd/sbatch_fields.def"
#undef TEXT
#undef NUMBER
#undef SENT_TEXT
#undef SENT_NUMBER
    fclose(f);
    const char *copy = arena_strdup(&arena, *line ? line + 1 : line);
    cr_assert_not_null(copy);
    return copy;
}

struct good {
    const char *options, *want;
};

static void all_read(const struct good *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sbatch job;
        struct err err;
        cr_expect_eq(parse(cases[i].options, &job, &err), 0, "%s: %s", cases[i].options, err.text);
        if (err.code == ERR_NONE)
            cr_expect_str_eq(shown(&job), cases[i].want, "%s: %s, not %s", cases[i].options,
                             shown(&job), cases[i].want);
    }
}

/* Each ERR_INVALID, with the option and its value in front, and the words of why. */
static void all_wrong(const char *option, const char *why, const char *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sbatch job;
        struct err err;
        const char *text = arena_printf(&arena, "%s=%s", option, values[i]),
                   *front = arena_printf(&arena, "--%s: ", text);
        cr_expect_eq(parse(text, &job, &err), -1, "%s", text);
        cr_expect_eq(err.code, ERR_INVALID, "%s", text);
        cr_expect_eq(strncmp(err.text, front, strlen(front)), 0, "%s", err.text);
        cr_expect_not_null(strstr(err.text, why), "%s, not %s", err.text, why);
    }
}

#define READ(...)                                                                                  \
    all_read((const struct good[]){__VA_ARGS__}, ARRAY_LEN(((const struct good[]){__VA_ARGS__})))
#define WRONG(option, why, ...)                                                                    \
    all_wrong(option, why, (const char *const[]){__VA_ARGS__},                                     \
              ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

/* ---- one option ---- */

Test(sbatch_layout, distribution)
{
    READ({"distribution=block", "dist_node=0"}, {"distribution=CYCLIC", "dist_node=1"},
         {"distribution=block:cyclic", "dist_node=0 dist_socket=1"},
         {"distribution=cyclic:fcyclic:block", "dist_node=1 dist_socket=2 dist_core=0"},
         {"distribution=*", "dist_node=0"},
         {"distribution=*:*:*", "dist_node=0 dist_socket=1 dist_core=1"},
         {"distribution=block:fcyclic:*", "dist_node=0 dist_socket=2 dist_core=2"},
         {"distribution=block:", "dist_node=0"},
         {"distribution=block,pack", "dist_node=0 dist_pack=1"},
         {"distribution=cyclic,NoPack", "dist_node=1 dist_pack=0"},
         {"distribution=pack", "dist_pack=1"}, {"distribution=block,", "dist_node=0"},
         {"distribution=arbitrary", "dist_node=3"}, {"distribution=hostfile", "dist_node=3"},
         {"distribution=plane=4", "plane_size=4 dist_node=4"},
         {"distribution=PLANE=65533", "plane_size=65533 dist_node=4"},
         {"distribution=cyclic:block distribution=pack", "dist_pack=1"});
    WRONG("distribution", "not a distribution", "", ",pack", "blocks", "fcyclic", "fcyclic:block",
          "block:arbitrary", "arbitrary:block", "block:block:block:block", "block;cyclic", ":block",
          "block,packs", "pack,nopack", "block,pack,pack", "1", "block::cyclic");
    WRONG("distribution", "not a plane", "plane", "plane=", "plane=0", "plane=-1", "plane=65534",
          "plane=4x", "plane4", "plane=4,pack");
}

Test(sbatch_layout, cpu_freq)
{
    READ({"cpu-freq=2400000", "cpu_freq_max=2400000"}, {"cpu-freq=low", "cpu_freq_max=-20"},
         {"cpu-freq=HighM1", "cpu_freq_max=-18"}, {"cpu-freq=high", "cpu_freq_max=-17"},
         {"cpu-freq=performance", "cpu_freq_gov=-14"}, {"cpu-freq=SchedUtil", "cpu_freq_gov=-12"},
         {"cpu-freq=1000-2000", "cpu_freq_min=1000 cpu_freq_max=2000"},
         {"cpu-freq=1000-1000", "cpu_freq_min=1000 cpu_freq_max=1000"},
         {"cpu-freq=1000-high", "cpu_freq_min=1000 cpu_freq_max=-17"},
         {"cpu-freq=low-high:OnDemand", "cpu_freq_min=-20 cpu_freq_max=-17 cpu_freq_gov=-15"},
         {"cpu-freq=1-2:userspace", "cpu_freq_min=1 cpu_freq_max=2 cpu_freq_gov=-11"},
         {"cpu-freq=low-high:powersave cpu-freq=5", "cpu_freq_max=5"});
    WRONG("cpu-freq", "not a frequency", "", "0", "-1", "fast", "2GHz", "2.4", "low-", "-high",
          "low-high-low", "low-high:", "low-high:fast", "low-performance", "lowx", "99999999999",
          "low,high");
    WRONG("cpu-freq", "goes with MIN-MAX alone", "low:performance", "5:userspace", ":performance");
    WRONG("cpu-freq", "below the smallest", "2000-1000", "high-low", "high-5000");
}

Test(sbatch_layout, mem_bind)
{
    READ({"mem-bind=none", "mem_bind_type=2"}, {"mem-bind=no", "mem_bind_type=2"},
         {"mem-bind=RANK", "mem_bind_type=4"}, {"mem-bind=local", "mem_bind_type=32"},
         {"mem-bind=verbose", "mem_bind_type=1"}, {"mem-bind=v,local", "mem_bind_type=33"},
         {"mem-bind=local,verbose,quiet", "mem_bind_type=32"},
         {"mem-bind=sort,prefer,rank", "mem_bind_type=196"},
         {"mem-bind=sort,nosort", "mem_bind_type=0"}, {"mem-bind=local;rank", "mem_bind_type=4"},
         {"mem-bind=map_mem:0,1", "mem_bind=0,1 mem_bind_type=8"},
         {"mem-bind=MapMem=3", "mem_bind=3 mem_bind_type=8"},
         {"mem-bind=map_mem:0*2,1", "mem_bind=0,0,1 mem_bind_type=8"},
         {"mem-bind=verbose,mask_mem:0x3,c", "mem_bind=3,c mem_bind_type=17"},
         {"mem-bind=mask_mem:f,verbose", "mem_bind=f mem_bind_type=17"},
         {"mem-bind=map_mem:0,1,local", "mem_bind_type=32"},
         {"mem-bind=map_mem:1 mem-bind=verbose", "mem_bind_type=9"});
    WRONG("mem-bind", "not a binding", "", "near", "local,", ",local", "local,,rank", "localx",
          "1");
    WRONG("mem-bind", "a list of numbers is missing", "map_mem",
          "map_mem:", "mask_mem=", "map_memx");
    WRONG("mem-bind", "not a list of numbers", "map_mem:a", "mask_mem:g", "map_mem:1*x",
          "map_mem:1*99999999", "map_mem:1-2");
}

Test(sbatch_layout, gpu_bind_and_frequency)
{
    READ({"gpu-bind=closest", "tres_bind=gpu:closest"}, {"gpu-bind=none", "tres_bind=gpu:none"},
         {"gpu-bind=verbose,single:2", "tres_bind=gpu:verbose,single:2"},
         {"gpu-bind=per_task:1", "tres_bind=gpu:per_task:1"},
         {"gpu-bind=map_gpu:0,1", "tres_bind=gpu:map_gpu:0,1"},
         {"gpu-bind=mask_gpu:0x3,c", "tres_bind=gpu:mask_gpu:0x3,c"},
         {"gpu-freq=low", "tres_freq=gpu:low gpu_freq=low"},
         {"gpu-freq=1200,memory=high,verbose",
          "tres_freq=gpu:1200,memory=high,verbose gpu_freq=1200,memory=high,verbose"});
    WRONG("gpu-bind", "give closest", "", "far", "single", "single:", "single:x", "per_task:-",
          "map_gpu:", "map_gpu:a", "mask_gpu:g", "verbose", "verbose,");
    WRONG("gpu-freq", "give low", "", "fast", "memory=", "memory=fast", "12x", "low;high",
          "verbos");
}

Test(sbatch_layout, what_nodes_must_have)
{
    READ({"extra-node-info=2", "sockets_per_node=2 extra_node_info=1"},
         {"extra-node-info=2:4:1",
          "cores_per_socket=4 sockets_per_node=2 threads_per_core=1 extra_node_info=1"},
         {"extra-node-info=*:4", "cores_per_socket=4 extra_node_info=1"},
         {"extra-node-info=2-4:1", "cores_per_socket=1 sockets_per_node=2 extra_node_info=1"},
         {"switches=2", "req_switch=2"}, {"switches=1@1:00:00", "req_switch=1 wait4switch=3600"},
         {"nodelist=n1 nodefile=/f", "node_file=/f"}, {"nodefile=/f nodelist=n1", "nodelist=n1"});
    WRONG("extra-node-info", "give SOCKETS", "x", "2:x", "-1", "2-", "2-0", "70000");
    WRONG("extra-node-info", "more than three parts", "1:1:1:1", "1:1:1:");
    WRONG("switches", "not a number of switches", "", "0", "-1", "x", "1x", "99999999999");
    WRONG("switches", "not a time", "1@", "1@x");
}

/* ---- several together ---- */

static void settled(const char *options, const struct sbatch_nodes *nodes, const char *want)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse(options, &job, &err), 0, "%s: %s", options, err.text);
    cr_expect_eq(sbatch_settle(&job, nodes, &err), 0, "%s: %s", options, err.text);
    cr_expect_str_eq(shown(&job), want, "%s: %s, not %s", options, shown(&job), want);
}

#define SETTLED(...)                                                                               \
    do {                                                                                           \
        static const struct good cases[] = {__VA_ARGS__};                                          \
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)                                              \
            settled(cases[i].options, NULL, cases[i].want);                                        \
    } while (0)

static void unsettled(const char *options, const char *why)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse(options, &job, &err), 0, "%s: %s", options, err.text);
    cr_expect_eq(sbatch_settle(&job, NULL, &err), -1, "%s", options);
    cr_expect_eq(err.code, ERR_INVALID, "%s", options);
    cr_expect_not_null(strstr(err.text, why), "%s: %s", options, err.text);
}

Test(sbatch_settle, tasks_and_nodes)
{
    SETTLED({"ntasks=4", "ntasks=4 implied_ntasks=4"},
            {"nodes=3", "min_nodes=3 max_nodes=3 implied_ntasks=3"},
            {"nodes=2-4", "min_nodes=2 max_nodes=4 implied_ntasks=1"},
            {"nodes=4 ntasks=2", "min_nodes=2 max_nodes=2 ntasks=2 implied_ntasks=2"},
            {"nodes=2-8 ntasks=4", "min_nodes=2 max_nodes=4 ntasks=4 implied_ntasks=4"},
            {"nodes=2 ntasks-per-node=3",
             "min_nodes=2 max_nodes=2 ntasks_per_node=3 ntasks=6 implied_ntasks=6"},
            {"ntasks-per-node=3", "ntasks_per_node=3 ntasks=3 implied_ntasks=3"},
            {"nodes=2 ntasks-per-node=3 ntasks=4",
             "min_nodes=2 max_nodes=2 ntasks_per_node=3 ntasks=4 implied_ntasks=4"},
            {"cpus-per-task=3", "cpus_per_task=3 pn_min_cpus=3 implied_ntasks=1"},
            {"cpus-per-task=3 mincpus=8", "cpus_per_task=3 pn_min_cpus=8 implied_ntasks=1"},
            {"extra-node-info=2:3",
             "cores_per_socket=3 sockets_per_node=2 ntasks=6 implied_ntasks=6 extra_node_info=1"},
            {"sockets-per-node=2", "sockets_per_node=2 implied_ntasks=1"},
            {"nodes=2 sockets-per-node=2",
             "min_nodes=2 max_nodes=2 sockets_per_node=2 ntasks=4 implied_ntasks=4"});
}

Test(sbatch_settle, hints)
{
    SETTLED(
        {"hint=nomultithread", "threads_per_core=1 implied_ntasks=1 hint=nomultithread"},
        {"hint=multithread", "ntasks_per_core=any implied_ntasks=1 hint=multithread"},
        {"hint=memory_bound",
         "cores_per_socket=1 threads_per_core=1 implied_ntasks=1 hint=memory_bound"},
        {"hint=Compute_Bound", "threads_per_core=1 implied_ntasks=1 hint=Compute_Bound"},
        {"hint=memory_bound,multithread",
         "cores_per_socket=1 ntasks_per_core=any implied_ntasks=1 hint=memory_bound,multithread"});
    unsettled("hint=fast", "--hint=fast: give compute_bound");
    unsettled("hint=multithread,", "give compute_bound");
    unsettled("hint=multithread,x", "give compute_bound");
}

Test(sbatch_settle, planes_and_lists)
{
    static const struct sbatch_nodes two = {"n[1-2]", 3, 2};
    SETTLED({"distribution=plane=2 nodes=2 ntasks=4",
             "min_nodes=2 max_nodes=2 plane_size=2 ntasks=4 "
             "implied_ntasks=4 dist_node=4"});
    unsettled("distribution=plane=4 nodes=2 ntasks=4", "not enough tasks for planes");
    unsettled("distribution=arbitrary", "needs --nodelist or --nodefile");
    settled("distribution=arbitrary nodelist=n1,n1,n2", &two,
            "req_nodes=n[1-2] nodelist=n1,n1,n2 min_nodes=2 ntasks=2 implied_ntasks=2 dist_node=3");
    settled("nodelist=n1,n2", &two, "req_nodes=n[1-2] nodelist=n1,n2 min_nodes=2 implied_ntasks=2");
    settled("nodelist=n1,n2 ntasks=5", &two,
            "req_nodes=n[1-2] nodelist=n1,n2 min_nodes=2 ntasks=5 implied_ntasks=5");
}

Test(sbatch_settle, gpus)
{
    SETTLED(
        {"gpus=4", "gpus=4 implied_ntasks=1"},
        {"gpus=4 gpus-per-node=2",
         "gpus=4 gpus_per_node=2 implied_ntasks=1 gres_max_nodes=2 gres_min_nodes=2"},
        {"gpus=5 gpus-per-node=2", "gpus=5 gpus_per_node=2 implied_ntasks=1"},
        {"gpus=4 gres=gpu:2",
         "gres=gpu:2 gpus=4 implied_ntasks=1 gres_max_nodes=2 gres_min_nodes=2"},
        {"gpus=4 gres=craynetwork:2", "gres=craynetwork:2 gpus=4 implied_ntasks=1"},
        {"gpus=tesla:4 gpus-per-node=volta:2",
         "gpus=tesla:4 gpus_per_node=volta:2 implied_ntasks=1"},
        {"gpus=4 gpus-per-task=2", "gpus=4 gpus_per_task=2 implied_ntasks=1 gres_tasks=2"},
        {"gpus-per-node=4 gpus-per-socket=2",
         "gpus_per_node=4 gpus_per_socket=2 implied_ntasks=1 gres_sockets=2"},
        {"gpus-per-node=4 gpus-per-task=2",
         "gpus_per_node=4 gpus_per_task=2 implied_ntasks=1 gres_tasks_per_node=2"},
        {"gpus-per-socket=4 gpus-per-task=2",
         "gpus_per_socket=4 gpus_per_task=2 implied_ntasks=1 gres_tasks_per_socket=2"},
        {"gpus-per-task=2 cpus-per-gpu=3",
         "gpus_per_task=2 cpus_per_gpu=3 implied_ntasks=1 gres_cpus=6"},
        {"gpus=4 ntasks-per-gpu=2", "gpus=4 implied_ntasks=1 ntasks_per_gpu=2 gres_tasks=8"},
        {"gpus-per-node=2 nodes=3 ntasks-per-gpu=2",
         "min_nodes=3 max_nodes=3 gpus_per_node=2 implied_ntasks=3 ntasks_per_gpu=2 gres_tasks=12"},
        {"gpus=2 nodes=4-8", "min_nodes=4 max_nodes=8 gpus=2 implied_ntasks=1 gres_max_nodes=2"},
        {"gpus=1k", "gpus=1k implied_ntasks=1"}, {"gpus=tesla", "gpus=tesla implied_ntasks=1"});
    unsettled("gpus=2 cpus-per-gpu=2 cpus-per-task=3", "exclude each other");
}
