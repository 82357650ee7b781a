/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/metrics.h"

#include <string.h>

struct metrics metrics;

static const int64_t bounds[] = {METRICS_BOUNDS};

void histogram_add(struct histogram *h, int64_t us)
{
    size_t i = 0;
    us = us > 0 ? us : 0;
    while (i < ARRAY_LEN(bounds) && us > bounds[i])
        i++;
    h->buckets[i]++;
    h->sum += us;
}

size_t result_of(enum err_code code)
{
    static const uint8_t at[] = {
#define ERR(name, number, status, retry, help) [number] = RESULT_##name,
#include "common/errors.def"
#undef ERR
    };
    return (size_t)code < ARRAY_LEN(at) ? at[code] : RESULT_INTERNAL;
}

/* ---- dimensions as labels ---- */

static const char *const op_words[] = {
#define OP(id, name, number, who, body_max, request, reply, help) name,
#include "common/ops.def"
#undef OP
    "unknown"};

static const char *const result_words[] = {
    "OK",
#define ERR(name, number, status, retry, help) #name,
#include "common/errors.def"
#undef ERR
};

static const char *const work_words[] = {
#define WOP(id, number, role, request, reply, help) #id,
#include "agentd/worker_ops.def"
#undef WOP
    "load"};

static const char *const role_words[] = {
    [ROLE_CONTROL] = "control", [ROLE_FILE] = "file",   [ROLE_WATCH] = "watch",
    [ROLE_ACCT] = "acct",       [ROLE_STAGE] = "stage",
};

static const enum worker_role work_roles[] = {
#define WOP(id, number, role, request, reply, help) ROLE_##role,
#include "agentd/worker_ops.def"
#undef WOP
    ROLE_WATCH};

static const char *const request_words[] = {
#define REQUEST(name, number, may_submit, help) #name,
#include "agentd/requests.def"
#undef REQUEST
};

static const char *const task_words[] = {
#define SOP(id, number, moves, help) #id,
#include "agentd/stage_ops.def"
#undef SOP
};

static const char *const staging_words[] = {
#define STAGING(name, number, help) #name,
#include "agentd/staging.def"
#undef STAGING
};

static const char *const shed_words[] = {
#define SHED(word, help) #word,
#include "agentd/sheds.def"
#undef SHED
};

static const char *const rate_words[] = {
#define RATE(class, setting, help) #class,
#include "agentd/rates.def"
#undef RATE
};

static const char *const cap_words[] = {
#define CAP(name, used) #name,
#define CAP_EACH(name, used) #name,
#define CAP_MOST(name, used) #name,
#include "agentd/caps.def"
#undef CAP
#undef CAP_EACH
#undef CAP_MOST
};

const char *metrics_cap_word(enum cap_index cap)
{
    return cap_words[cap];
}

static const struct dimension {
    const char *label; /* NULL: none */
    const char *const *words;
    size_t n;
} dim_none = {NULL, NULL, DIM_none_N}, dim_op = {"op", op_words, DIM_op_N},
  dim_result = {"result", result_words, DIM_result_N}, dim_work = {"op", work_words, DIM_work_N},
  dim_role = {"role", role_words, DIM_role_N},
  dim_request = {"state", request_words, DIM_request_N},
  dim_task = {"task", task_words, DIM_task_N},
  dim_staging = {"state", staging_words, DIM_staging_N},
  dim_shed = {"reason", shed_words, DIM_shed_N}, dim_rate = {"class", rate_words, DIM_rate_N},
  dim_cap = {"setting", cap_words, DIM_cap_N};

static void add_labels(const struct dimension *d, size_t i, struct pair *labels, size_t *n)
{
    if (d->label)
        labels[(*n)++] = (struct pair){d->label, d->words[i]};
    if (d == &dim_work)
        labels[(*n)++] = (struct pair){"role", role_words[work_roles[i]]};
}

/* ---- families ---- */

enum kind { KIND_COUNTER, KIND_HISTOGRAM, KIND_READING };

struct row {
    enum kind kind;
    const char *word, *name, *help;
    int64_t divisor;
    const struct dimension *a, *b;
    const void *values; /* of a counter or a histogram */
    void (*read)(const struct agentd *a, int64_t *out);
};

static const struct row rows[] = {
#define COUNTER(id, name, a, b, help)                                                              \
    {KIND_COUNTER, "counter", name, help, 1, &dim_##a, &dim_##b, metrics.id, NULL},
#define HISTOGRAM(id, name, a, help)                                                               \
    {KIND_HISTOGRAM, "histogram", name, help, 1000000, &dim_##a, &dim_none, metrics.id, NULL},
#define READING(id, kind, name, a, divisor, help)                                                  \
    {KIND_READING, kind, name, help, divisor, &dim_##a, &dim_none, NULL, reading_##id},
#include "agentd/metrics.def"
#undef COUNTER
#undef HISTOGRAM
#undef READING
};

/* Places of a reading. */
#define DIM_MAX 64
_Static_assert((int)DIM_op_N <= DIM_MAX && (int)DIM_work_N <= DIM_MAX && (int)DIM_cap_N <= DIM_MAX,
               "more values than a reading has places");

/* One series: value, and with a histogram its buckets. */
static void set_sample(const struct row *row, size_t i, const int64_t *read,
                       struct stats_sample *out)
{
    if (row->kind == KIND_HISTOGRAM) {
        const struct histogram *h = (const struct histogram *)row->values + i;
        out->value = h->sum;
        out->buckets = (struct ints){h->buckets, METRICS_BUCKETS};
    } else {
        out->value = row->kind == KIND_COUNTER ? ((const int64_t *)row->values)[i] : read[i];
    }
    if (out->value < 0)
        out->value = 0;
}

/* Of many series, most are of errors that never happen.  Those without labels are always told, and
 * so are readings: they are few. */
static bool is_told(const struct row *row, size_t i, const struct stats_sample *s)
{
    if (row->a->label && !row->a->words[i / row->b->n])
        return false;
    if (!row->a->label || row->kind == KIND_READING || s->value)
        return true;
    for (size_t k = 0; k < s->buckets.n; k++)
        if (s->buckets.v[k])
            return true;
    return false;
}

static struct bytes pack_family(const struct row *row, const struct agentd *a, struct arena *arena)
{
    size_t n = row->a->n * row->b->n;
    int64_t read[DIM_MAX] = {0};
    struct bytes *samples = arena_array(arena, n, sizeof *samples);
    struct stats_family family = {
        .name = row->name,
        .kind = row->word,
        .help = row->help,
        .divisor = row->divisor,
        .samples = {samples, 0},
    };
    if (!samples)
        return (struct bytes){NULL, 0};
    if (row->kind == KIND_HISTOGRAM)
        family.bounds = (struct ints){bounds, ARRAY_LEN(bounds)};
    if (row->read)
        row->read(a, read);
    for (size_t i = 0; i < n; i++) {
        struct pair labels[4];
        struct stats_sample s = {.labels = {labels, 0}};
        set_sample(row, i, read, &s);
        if (!is_told(row, i, &s))
            continue;
        add_labels(row->a, i / row->b->n, labels, &s.labels.n);
        add_labels(row->b, i % row->b->n, labels, &s.labels.n);
        struct bytes packed = msg_pack_arena(&stats_sample_type, &s, arena);
        if (!packed.p)
            return packed;
        samples[family.samples.n++] = packed;
    }
    return msg_pack_arena(&stats_family_type, &family, arena);
}

int metrics_tell(const struct agentd *a, struct arena *arena, struct raws *out, struct err *err)
{
    struct bytes *v = arena_array(arena, ARRAY_LEN(rows), sizeof *v);
    for (size_t i = 0; v && i < ARRAY_LEN(rows); i++)
        if (!(v[i] = pack_family(&rows[i], a, arena)).p)
            v = NULL;
    if (!v)
        return err_set(err, ERR_BUSY, "no memory");
    *out = (struct raws){v, ARRAY_LEN(rows)};
    return 0;
}
