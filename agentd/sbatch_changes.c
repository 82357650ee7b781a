/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_changes.h"

#include <string.h>

#include "agentd/sbatch_impl.h"
#include "common/cleanup.h"
#include "common/str.h"

/* ---- values that submit has in other forms ---- */

static const char *value_throttle(const struct sbatch_value *v)
{
    const char *p = v->text + 1;
    int64_t n;
    if (*v->text != '%' || !sbatch_number(&p, INT32_MAX, &n) || *p)
        return "of an array only how many tasks run at a time can be changed: give %N";
    *(const char **)v->target = v->text + 1;
    return NULL;
}

static const char *value_path(const struct sbatch_value *v)
{
    if (*v->text != '/')
        return "give a path that begins with /";
    *(const char **)v->target = v->text;
    return NULL;
}

static const char *value_nice(const struct sbatch_value *v)
{
    const char *p = v->text + (*v->text == '-');
    int64_t n;
    if (*p == ' ' || *p == '+' || !sbatch_number(&p, 2147483645, &n) || *p)
        return "not a number: give one between -2147483645 and 2147483645";
    *(int64_t *)v->target = *v->text == '-' ? -n : n;
    return NULL;
}

static const char *value_priority(const struct sbatch_value *v)
{
    const char *p = v->text;
    int64_t n;
    if (!sbatch_number(&p, UINT32_MAX - 3, &n) || *p)
        return "not a number between 1 and 4294967292";
    if (n == 0)
        return "that is what hold is for";
    *(int64_t *)v->target = n;
    return NULL;
}

static const char *value_yes_no(const struct sbatch_value *v)
{
    static const struct sbatch_word words[] = {{"yes", 1}, {"no", 0}};
    return sbatch_find_word(v->text, strlen(v->text), words, ARRAY_LEN(words), v->target)
               ? NULL
               : "give yes or no";
}

static const char *value_shared(const struct sbatch_value *v)
{
    static const struct sbatch_word words[] = {{"yes", SBATCH_SHARED_OK},
                                               {"no", SBATCH_SHARED_NONE},
                                               {"user", SBATCH_SHARED_USER},
                                               {"mcs", SBATCH_SHARED_MCS}};
    return sbatch_find_word(v->text, strlen(v->text), words, ARRAY_LEN(words), v->target)
               ? NULL
               : "give yes, no, user or mcs";
}

/* N or N-N */
static const char *value_number_of_cpus(const struct sbatch_value *v)
{
    static const char form[] = "not a number of CPUs: give N or FROM-TO, 1 at least";
    const char *p = v->text;
    int64_t min, max = SBATCH_UNSET;
    if (!sbatch_number(&p, INT32_MAX, &min) || min < 1)
        return form;
    if (*p == '-') {
        p++;
        if (!sbatch_number(&p, INT32_MAX, &max) || max < min)
            return form;
    }
    if (*p)
        return form;
    v->job->change_min_cpus = min;
    v->job->change_max_cpus = max;
    return NULL;
}

/* A limit; or with a sign in front how much it is to change. */
static const char *value_time_change(const struct sbatch_value *v)
{
    int64_t sign = *v->text == '+' ? 1 : *v->text == '-' ? -1 : 0, seconds;
    v->job->time_limit = v->job->change_time = SBATCH_UNSET;
    if (!sign)
        return sbatch_value_time_limit(v);
    const char *wrong = v->text[1] == '+' || v->text[1] == '-' || v->text[1] == ' '
                            ? "one sign, and a time behind it"
                            : sbatch_duration(v->text + 1, &seconds);
    if (wrong)
        return wrong;
    if (seconds == SBATCH_INFINITE || seconds == 0)
        return "give how many minutes more or less";
    v->job->change_time = sign * ((seconds + 59) / 60);
    return NULL;
}

#define value_core_spec sbatch_value_core_spec
#define value_thread_spec sbatch_value_thread_spec
#define value_gpu_bind sbatch_value_gpu_bind
#define value_gpu_freq sbatch_value_gpu_freq
#define value_seconds sbatch_value_seconds
#define value_switches sbatch_value_switches
#define value_cpus sbatch_value_count16
#define value_text sbatch_value_text
#define value_hosts sbatch_value_hosts
#define value_begin sbatch_value_begin
#define value_dependency sbatch_value_dependency
#define value_mail_type sbatch_value_mail_type
#define value_memory sbatch_value_memory
#define value_no_requeue sbatch_value_no_flag
#define value_flag sbatch_value_flag
#define value_nodes sbatch_value_nodes
#define value_ntasks sbatch_value_count
#define value_file sbatch_value_file
#define value_time_limit sbatch_value_time_limit

/* ---- the table ---- */

enum takes { NONE, REQUIRED };
enum when_empty { WRONG, CLEARS };

static const struct row {
    const char *name;
    enum takes takes;
    enum when_empty empty;
    sbatch_value_fn read;
    size_t target;
} rows[] = {
#define CHANGE(name, letter, value, how, target, empty, help)                                      \
    {name, value, empty, value_##how, offsetof(struct sbatch, target)},
#include "common/job_changes.def"
#undef CHANGE
};

static const struct row *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static int change(struct sbatch *job, const struct pair *given, int64_t now, struct arena *arena,
                  struct err *err)
{
    const char *name = str_or(given->name, ""), *text = str_or(given->value, "");
    const struct row *row = find(name);
    char shown[SBATCH_SHOWN];
    if (!row)
        return err_set(err, ERR_UNSUPPORTED, "--%s is nothing that can be changed of a job",
                       sbatch_shown(name, strlen(name), shown));
    if (row->takes == NONE && *text)
        return err_set(err, ERR_INVALID, "--%s takes no value", name);
    struct sbatch_value v = {
        .text = arena_strdup(arena, text),
        .now = now,
        .job = job,
        .target = (char *)job + row->target,
        .arena = arena,
    };
    if (!v.text)
        return err_set(err, ERR_LIMIT, "--%s: out of memory", name);
    if (row->takes == REQUIRED && !*text) {
        if (row->empty == WRONG)
            return err_set(err, ERR_INVALID, "--%s needs a value", name);
        *(const char **)v.target = v.text;
        return 0;
    }
    const char *wrong = row->read(&v);
    if (!wrong)
        return 0;
    return err_set(err, ERR_INVALID, "--%s=%s: %s", name, sbatch_shown(text, strlen(text), shown),
                   wrong);
}

int sbatch_changes(const struct pairs *options, int64_t now, struct arena *arena,
                   struct sbatch *out, struct err *err)
{
    struct sbatch job;
    sbatch_clear(&job);
    for (size_t i = 0; i < options->n; i++)
        if (change(&job, &options->v[i], now, arena, err) < 0)
            return -1;
    int memories = (job.mem_per_node != SBATCH_UNSET) + (job.mem_per_cpu != SBATCH_UNSET) +
                   (job.mem_per_gpu != SBATCH_UNSET);
    if (memories > 1)
        return err_set(err, ERR_INVALID,
                       "--mem, --mem-per-cpu and --mem-per-gpu exclude each other");
    *out = job;
    return 0;
}
