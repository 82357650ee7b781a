/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_sbatch.c: sbatch_parse() and sbatch_environment() take any bytes
 *
 * The first byte chooses what the rest is: a script; options, "name=value" a line; or an
 * environment, --export's value on the first line and "name=value" on each further one.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/sbatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_PAIRS = 256, MAX_SCRIPT = 1 << 20, MAX_MEMORY = 8 << 20 };

static const uint8_t SCRIPT[] = "#!/bin/sh\n#SBATCH -n 2\n";
static const int64_t NOW = 1795434052;

struct lines {
    char *text;
    struct pair v[MAX_PAIRS];
    size_t n;
};

/* Cuts at newlines and each line at its first '='; an input's NUL ends a line as well. */
static void lines_init(struct lines *l, const uint8_t *data, size_t size)
{
    l->n = 0;
    l->text = malloc(size + 1);
    assert(l->text);
    memcpy(l->text, data, size);
    l->text[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if (l->text[i] == '\n')
            l->text[i] = '\0';
    for (char *p = l->text; p < l->text + size && l->n < MAX_PAIRS;) {
        char *next = p + strlen(p) + 1, *equals = strchr(p, '=');
        if (equals)
            *equals = '\0';
        l->v[l->n++] = (struct pair){p, equals ? equals + 1 : ""};
        p = next;
    }
}

static void check_error(const struct err *err)
{
    assert(err->code == ERR_INVALID || err->code == ERR_UNSUPPORTED || err->code == ERR_LIMIT);
    assert(err->text[0] && !strchr(err->text, '\n'));
}

static void check_job(const struct sbatch *job)
{
    assert(job->ntasks == SBATCH_UNSET || job->ntasks > 0);
    assert(job->min_nodes == SBATCH_UNSET || job->min_nodes >= 0);
    assert(job->max_nodes == SBATCH_UNSET || job->max_nodes >= job->min_nodes);
    assert(job->time_limit_min == SBATCH_UNSET || job->time_limit_min > 0);
    assert(job->mem_per_node_mb == SBATCH_UNSET || job->mem_per_node_mb >= 0);
    assert(job->begin == SBATCH_UNSET || job->begin > -NOW * 10);
}

static void parse(struct bytes script, const struct pairs *options)
{
    struct arena arena;
    struct sbatch job;
    struct err err = {0};
    arena_init(&arena, MAX_MEMORY);
    if (sbatch_parse(script, options, MAX_SCRIPT, NOW, &arena, &job, &err) < 0)
        check_error(&err);
    else
        check_job(&job);
    arena_done(&arena);
}

static void environment(const struct lines *l)
{
    struct arena arena;
    struct strs out;
    struct err err = {0};
    struct sbatch job = {.ntasks = 3, .cpus_per_task = SBATCH_UNSET, .job_name = "x"};
    struct pairs offered = {l->n ? l->v + 1 : NULL, l->n ? l->n - 1 : 0};
    char *list = NULL;
    if (l->n) {
        const struct pair *p = &l->v[0];
        list = malloc(strlen(p->name) + strlen(p->value) + 2);
        assert(list);
        strcpy(list, p->name);
        if (*p->value)
            strcat(strcat(list, "="), p->value);
        job.export_env = list;
    }
    arena_init(&arena, MAX_MEMORY);
    if (sbatch_environment(&job, &offered, l->n % 2, "/work", "head", &arena, &out, &err) < 0) {
        check_error(&err);
    } else {
        assert(out.n > 0);
        for (size_t i = 0; i < out.n; i++) {
            const char *equals = strchr(out.v[i], '=');
            assert(equals && equals > out.v[i]);
            assert(strncmp(out.v[i], "SLURM_JWT=", 10) != 0);
            assert(strncmp(out.v[i], "SLURM_CONF=", 11) != 0);
        }
    }
    arena_done(&arena);
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t mode = data[0];
    data++;
    size--;
    if (mode % 3 == 0) {
        /* without copying: a read past the script's end is seen */
        parse((struct bytes){data, size}, NULL);
        return 0;
    }
    struct lines l;
    lines_init(&l, data, size);
    if (mode % 3 == 1)
        parse((struct bytes){SCRIPT, sizeof SCRIPT - 1}, &(struct pairs){l.v, l.n});
    else
        environment(&l);
    free(l.text);
    return 0;
}
