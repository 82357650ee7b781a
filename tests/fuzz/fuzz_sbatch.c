/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_sbatch.c: sbatch_parse(), sbatch_changes(), sbatch_environment() and what is beside them
 * take any bytes
 *
 * The first byte chooses what the rest is: a script; options, "name=value" a line, a line "="
 * between components; an environment, --export's value on the first line and "name=value" on each
 * further one; or a file of --nodefile, --export-file or --bbf.
 *
 * Of a script that is good, lines behind the first command must change nothing; and the options
 * that are read from a script and those of a request go through the same functions.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agentd/sbatch.h"
#include "agentd/sbatch_changes.h"

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
    assert(job->time_limit == SBATCH_UNSET || job->time_limit > 0);
    assert(job->mem_per_node == SBATCH_UNSET || job->mem_per_node >= 0);
    assert(job->begin_time == SBATCH_UNSET || job->begin_time > -NOW * 10);
}

static void check_environment(const struct strs *out)
{
    assert(out->n > 0);
    for (size_t i = 0; i < out->n; i++) {
        const char *equals = strchr(out->v[i], '=');
        assert(equals && equals > out->v[i]);
        assert(strncmp(out->v[i], "SLURM_JWT=", 10) != 0);
        assert(strncmp(out->v[i], "SLURM_CONF=", 11) != 0);
    }
}

static bool same_text(const char *a, const char *b)
{
    return !a == !b && (!a || strcmp(a, b) == 0);
}

static void check_same(const struct sbatch *a, const struct sbatch *b)
{
#define TEXT(scope, member) assert(same_text(a->member, b->member));
#define NUMBER(scope, member) assert(a->member == b->member);
#define SENT_TEXT TEXT
#define SENT_NUMBER NUMBER
#include "agentd/sbatch_fields.def"
#undef TEXT
#undef NUMBER
#undef SENT_TEXT
#undef SENT_NUMBER
}

/* A #SBATCH line counts up to the first command: this one, at the latest. */
static void check_stop(const struct sbatch_source *in, const struct sbatch_jobs *jobs,
                       struct arena *arena)
{
    static const char more[] = "\n:\n#SBATCH --nosuch\n#SBATCH hetjob\n#SBATCH -n x\n";
    size_t n = in->script.n + sizeof more - 1;
    struct sbatch_source longer = *in;
    struct sbatch_jobs again;
    struct err err = {0};
    uint8_t *copy = n <= MAX_SCRIPT ? arena_alloc(arena, n) : NULL;
    if (!copy || in->script.p[in->script.n - 1] == '\r')
        return;
    memcpy(copy, in->script.p, in->script.n);
    memcpy(copy + in->script.n, more, sizeof more - 1);
    longer.script = (struct bytes){copy, n};
    if (sbatch_parse(&longer, arena, &again, &err) < 0) {
        assert(err.code == ERR_LIMIT); /* of memory */
        return;
    }
    assert(again.n == jobs->n);
    for (size_t i = 0; i < jobs->n; i++)
        check_same(&jobs->v[i], &again.v[i]);
}

/* A line "=" ends a component's options; the first set is for SBATCH_* as well. */
static void parse(struct bytes script, const struct pairs *options, size_t n)
{
    struct arena arena;
    struct sbatch_source in = {.script = script,
                               .defaults = n > 1 ? options : NULL,
                               .options = options,
                               .n_options = n,
                               .max_script = MAX_SCRIPT,
                               .now = NOW};
    struct sbatch_env_source from = {.submit_dir = "/work", .submit_host = "head"};
    static const struct sbatch_nodes nodes = {"n[1-3]", 4, 3};
    struct sbatch_jobs jobs;
    struct bytes wrapped;
    struct strs variables;
    struct err err = {0};
    arena_init(&arena, MAX_MEMORY);
    if (sbatch_wrap(&in, &arena, &wrapped, &err) < 0 ||
        sbatch_parse(&in, &arena, &jobs, &err) < 0) {
        check_error(&err);
        arena_done(&arena);
        return;
    }
    assert(jobs.n > 0 && jobs.n <= SBATCH_MAX_COMPONENTS);
    check_stop(&in, &jobs, &arena);
    for (size_t i = 0; i < jobs.n && err.code == ERR_NONE; i++)
        if (sbatch_settle(&jobs.v[i], jobs.v[i].nodelist ? &nodes : NULL, &err) == 0)
            check_job(&jobs.v[i]);
    if (err.code == ERR_NONE && sbatch_environment(&jobs, &from, &arena, &variables, &err) == 0)
        check_environment(&variables);
    if (err.code != ERR_NONE)
        check_error(&err);
    arena_done(&arena);
}

/* What update is to change. */
static void changes(const struct lines *l)
{
    struct arena arena;
    struct sbatch job;
    struct err err = {0};
    const struct pairs options = {l->v, l->n};
    arena_init(&arena, MAX_MEMORY);
    if (sbatch_changes(&options, NOW, &arena, &job, &err) < 0) {
        check_error(&err);
    } else {
        check_job(&job);
        assert(job.time_limit == SBATCH_UNSET || job.change_time == SBATCH_UNSET);
        assert(job.change_min_cpus == SBATCH_UNSET || job.change_min_cpus > 0);
    }
    arena_done(&arena);
}

/* What the worker reads in the user's files. */
static void files(struct bytes text)
{
    struct arena arena;
    struct pairs exported;
    struct bytes with_lines;
    struct err err = {0};
    arena_init(&arena, MAX_MEMORY);
    if (!sbatch_node_list(text, &arena, &err))
        check_error(&err);
    err = (struct err){0};
    if (sbatch_exported(text, &arena, &exported, &err) < 0)
        check_error(&err);
    err = (struct err){0};
    if (sbatch_add_lines((struct bytes){SCRIPT, sizeof SCRIPT - 1}, text, &arena, &with_lines,
                         &err) == 0)
        assert(with_lines.n >= text.n + sizeof SCRIPT - 1);
    else
        check_error(&err);
    arena_done(&arena);
}

static void environment(const struct lines *l)
{
    struct arena arena;
    struct strs out;
    struct err err = {0};
    struct sbatch job = sbatch_unsaid;
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
    struct sbatch_env_source from = {
        .offered = &offered, .login = l->n % 2, .submit_dir = "/work", .submit_host = "head"};
    if (sbatch_environment(&(struct sbatch_jobs){&job, 1}, &from, &arena, &out, &err) < 0)
        check_error(&err);
    else
        check_environment(&out);
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
    if (mode % 4 == 0 || mode % 4 == 3) {
        /* without copying: a read past the end is seen */
        if (mode % 4 == 0)
            parse((struct bytes){data, size}, NULL, 0);
        else
            files((struct bytes){data, size});
        return 0;
    }
    struct lines l;
    lines_init(&l, data, size);
    if (mode % 4 == 1) {
        struct pairs sets[MAX_PAIRS + 1] = {{l.v, 0}};
        size_t n = 0;
        for (size_t i = 0; i < l.n; i++)
            if (!*l.v[i].name)
                sets[++n] = (struct pairs){&l.v[i + 1], 0};
            else
                sets[n].n++;
        parse((struct bytes){SCRIPT, sizeof SCRIPT - 1}, sets, n + 1);
        changes(&l);
    } else {
        environment(&l);
    }
    free(l.text);
    return 0;
}
