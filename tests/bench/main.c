/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c: the benchmark, in a sandbox that run.sh has made; see docs/performance.md
 *
 *     bench [SECTION ...]     all of them without one
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <nng/nng.h>

#include "agentd/cluster.h"
#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/sections.h"

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define NNG_VERSION TEXT(NNG_MAJOR_VERSION) "." TEXT(NNG_MINOR_VERSION) "." TEXT(NNG_PATCH_VERSION)

enum { JOBS = 1000 };

static const struct section {
    const char *name;
    json_t *(*run)(const struct bench *b);
} sections[] = {
    {"peers", bench_peers},     {"users", bench_users},
    {"held", bench_held}, /* what it costs in memory is told before the next needs more */
    {"clients", bench_clients}, {"table", bench_table},
    {"follow", bench_follow},   {"log", bench_log},
};

static const char *need(const char *name)
{
    const char *v = getenv(name);
    if (!v || !*v)
        die(name, "is not set: run.sh does");
    return v;
}

static pid_t pid_from(const char *name)
{
    int64_t pid;
    if (!str_to_i64(need(name), 1, INT32_MAX, &pid))
        die(name, "is no process");
    return (pid_t)pid;
}

static void settle(struct bench *b)
{
    static char users[1024];
    int64_t n;
    b->quick = str_eq(getenv("BENCH"), "quick");
    b->rounds = b->quick ? 3 : 7;
    b->rounds_s = b->quick ? 75 : 270;
    b->cell_ms = b->quick ? 250 : 500;
    b->cell_calls = b->quick ? 60 : 120;
    b->callers = 4;
    if (getenv("BENCH_ROUNDS")) {
        if (!str_to_i64(getenv("BENCH_ROUNDS"), 1, MAX_ROUNDS, &n))
            die("BENCH_ROUNDS", "give 1 to 15");
        b->rounds = (int)n;
    }
    b->sandbox = need("SLURM_AGENT_SANDBOX");
    b->slurmctld = pid_from("BENCH_SLURMCTLD");
    b->agentd = pid_from("BENCH_AGENTD");
    b->slurmrestd = pid_from("BENCH_SLURMRESTD");
    str_copy(users, sizeof users, need("SLURM_AGENT_USERS"));
    for (char *u = strtok(users, " "); u && b->n_users < MAX_USERS; u = strtok(NULL, " "))
        b->users[b->n_users++] = u;
}

/* The rest of the first line of a file that begins so. */
static void first_line(const char *path, const char *begins, char *out, size_t size)
{
    char line[512];
    AUTO(fclose) FILE *f = fopen(path, "re");
    str_copy(out, size, "?");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, begins, strlen(begins)) == 0) {
            const char *v = strchr(line, ':');
            line[strcspn(line, "\n")] = 0;
            str_copy(out, size, v ? v + 1 + strspn(v + 1, " \t") : line);
            return;
        }
}

static json_t *describe(const struct bench *b)
{
    struct utsname u = {0};
    char cpu[128], memory[64];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    first_line("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    first_line("/proc/meminfo", "MemTotal", memory, sizeof memory);
    uname(&u);
    printf("%s, %ld cores, %s of memory, Linux %s\nSlurm %s, nng %s, slurm-agent %s%s\n", cpu,
           cores, memory, u.release, cluster_version(), NNG_VERSION, VERSION,
           b->quick ? "; the short form (BENCH=quick)" : "");
    return json_pack("{ss si ss ss ss ss ss}", "cpu", cpu, "cores", (int)cores, "memory", memory,
                     "kernel", u.release, "slurm", cluster_version(), "nng", NNG_VERSION,
                     "slurm_agent", VERSION);
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    bool wanted = argc < 2;
    for (int i = 1; i < argc; i++)
        wanted = wanted || str_eq(argv[i], name);
    return wanted;
}

static void check_names(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        size_t at = 0;
        while (at < ARRAY_LEN(sections) && !str_eq(sections[at].name, argv[i]))
            at++;
        if (at == ARRAY_LEN(sections))
            die(argv[i], "is no section: peers, users, clients, table, follow, held, log");
    }
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    check_names(argc, argv);
    settle(&b);
    setvbuf(stdout, NULL, _IOLBF, 0);
    double begun = now_ms(CLOCK_MONOTONIC);
    json_t *all = json_object();
    json_object_set_new(all, "form", json_string(b.quick ? "quick" : "full"));
    json_object_set_new(all, "machine", describe(&b));
    b.ids = queue_jobs(&b, JOBS, &b.n_ids);
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        if (is_wanted(sections[i].name, argc, argv))
            json_object_set_new(all, sections[i].name, sections[i].run(&b));
    json_object_set_new(all, "targets", bench_targets(all));
    double took = (now_ms(CLOCK_MONOTONIC) - begun) / 1e3;
    json_object_set_new(all, "seconds", figure(took));
    if (json_dump_file(all, need("BENCH_JSON"), JSON_INDENT(1) | JSON_REAL_PRECISION(6)) < 0)
        die(need("BENCH_JSON"), strerror(errno));
    printf("\n%.0f s; the same and more in %s\n", took, need("BENCH_JSON"));
    json_decref(all);
    free(b.ids);
    return 0;
}
