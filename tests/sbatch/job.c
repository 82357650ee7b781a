/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sbatch/job.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

#include "tests/sbatch/facts.h"

static job_info_msg_t *table;

void jobs_load(void)
{
    slurm_init(NULL);
    if (slurm_load_jobs(0, &table, SHOW_ALL | SHOW_DETAIL))
        errx(2, "slurm_load_jobs: %s", slurm_strerror(errno));
}

/* What slurmctld notes for itself as it looks at a waiting job. */
#define NOTES                                                                                      \
    (BACKFILL_TEST | TEST_NOW_ONLY | BF_WHOLE_NODE_TEST | TOP_PRIO_TMP | JOB_ACCRUE_OVER |         \
     RESET_ACCRUE_TIME | JOB_DEPENDENT | BACKFILL_SCHED | BACKFILL_LAST)
#define STATE(member) fact_num(f, key, #member, (uint64_t)j->member &JOB_STATE_BASE);
#define HELD(member)                                                                               \
    if (j->priority == 0)                                                                          \
        fact_num(f, key, #member, (uint64_t)j->member);
#define FLAGS(member) fact_num(f, key, #member, (uint64_t)j->member & ~(uint64_t)NOTES);
#define LIMIT(member)                                                                              \
    fact_num(f, key, #member,                                                                      \
             (j->bitflags & (BACKFILL_SCHED | BACKFILL_LAST)) && j->member == YEAR ? INFINITE      \
                                                                                   : j->member);
enum { YEAR = 365 * 24 * 60 };

/* The submit's own second is said so: how far apart the two are submitted is nothing about the job.
 */
static void show_since(FILE *f, const char *key, const char *name, time_t value, time_t submit)
{
    if (value == submit)
        fprintf(f, "%s.%s=submit\n", key, name);
    else
        fact_time(f, key, name, (int64_t)value);
}

static void show(FILE *f, const slurm_job_info_t *j)
{
    char key[32];
    snprintf(key, sizeof key, "job.%u", j->het_job_id ? j->het_job_offset : 0);
#define STR(member) fact_str(f, key, #member, j->member);
#define NUM(member) fact_num(f, key, #member, (uint64_t)j->member);
#define TIME(member) fact_time(f, key, #member, (int64_t)j->member);
#define SINCE(member) show_since(f, key, #member, j->member, j->submit_time);
#define ID(member) fact_num(f, key, #member, j->member != 0);
#define LEFT(member)
#include "tests/sbatch/info.def"
#undef STR
#undef NUM
#undef TIME
#undef SINCE
#undef ID
#undef LEFT
#undef FLAGS
#undef STATE
#undef HELD
#undef LIMIT
}

static int one_file(const char *path, char **ret, size_t *ret_n)
{
    FILE *f = fopen(path, "r");
    size_t room = 0, n = 0;
    char *s = NULL;
    if (!f)
        return -1;
    do {
        room += 65536;
        s = realloc(s, room + 1);
        if (!s)
            errx(2, "no memory");
        n += fread(s + n, 1, room - n, f);
    } while (n == room);
    fclose(f);
    s[n] = '\0';
    *ret = s;
    *ret_n = n;
    return 0;
}

/* As slurmctld keeps them: a count of four bytes, then each with a NUL. */
static void show_environment(FILE *f, const char *dir)
{
    char path[4200], *s;
    size_t n;
    snprintf(path, sizeof path, "%s/environment", dir);
    if (one_file(path, &s, &n) < 0) {
        errx(2, "%s is not there", path);
    }
    for (size_t i = 4; i < n; i += strlen(s + i) + 1) {
        char *equals = strchr(s + i, '=');
        if (!equals)
            continue;
        *equals = '\0';
        fact_str(f, "env", s + i, equals + 1);
        *equals = '=';
    }
    free(s);
}

static void show_script(FILE *f, const char *dir)
{
    char path[4200], *s;
    size_t n;
    snprintf(path, sizeof path, "%s/script", dir);
    if (one_file(path, &s, &n) < 0) {
        fputs("script=none\n", f);
        return;
    }
    fact_str(f, "script", "text", s);
    free(s);
}

static void show_asked(FILE *f, const char *spy_dir, uint32_t job_id)
{
    char path[4096], *s;
    size_t n;
    snprintf(path, sizeof path, "%s/%u", spy_dir, job_id);
    if (one_file(path, &s, &n) < 0) {
        errx(2, "%s is not there: the spy does not work", path);
    }
    fputs(s, f);
    free(s);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void job_facts(uint32_t job_id, const char *spy_dir, const char *state_dir, struct facts *out)
{
    char dir[4096], *all = NULL, *line;
    size_t size = 0, room = 0;
    FILE *f = open_memstream(&all, &size);
    snprintf(dir, sizeof dir, "%s/hash.%u/job.%u", state_dir, job_id % 10, job_id);
    for (uint32_t i = 0; i < table->record_count; i++) {
        const slurm_job_info_t *j = &table->job_array[i];
        if (j->job_id == job_id || (j->het_job_id && j->het_job_id == job_id))
            show(f, j);
    }
    show_environment(f, dir);
    show_script(f, dir);
    show_asked(f, spy_dir, job_id);
    fclose(f);
    *out = (struct facts){0};
    for (char *rest = all; (line = strsep(&rest, "\n"));) {
        if (!*line)
            continue;
        if (out->n == room) {
            room = room ? 2 * room : 512;
            out->line = realloc(out->line, room * sizeof *out->line);
            if (!out->line)
                errx(2, "no memory");
        }
        out->line[out->n++] = strdup(line);
    }
    free(all);
    qsort(out->line, out->n, sizeof *out->line, by_text);
}

void facts_done(struct facts *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->line[i]);
    free(f->line);
}
