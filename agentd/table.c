/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/table.h"

#include <assert.h>
#include <string.h>

#include "common/str.h"

/* One block: the struct, then packed, then the strings. */
struct entry {
    struct table_job job;
    uint32_t generation;
    bool removed; /* waits for the next sweep */
};

/* Entries sorted by a key.  New jobs have the highest ids, so an insertion is nearly always at the
 * end; removals are swept together. */
struct index {
    struct entry **v;
    size_t n, size;
};

struct table {
    size_t max, live;
    uint32_t generation;
    size_t removed;        /* entries that wait for the sweep */
    struct index by_id;    /* job_id */
    struct index by_group; /* group, then job_id */
};

static uint64_t id_key(const struct entry *e)
{
    return e->job.job_id;
}

static uint64_t group_key(const struct entry *e)
{
    return (uint64_t)e->job.group << 32 | e->job.job_id;
}

typedef uint64_t (*key_fn)(const struct entry *e);

/* The first position whose key is not below. */
static size_t lower_bound(const struct index *x, key_fn key, uint64_t wanted)
{
    size_t lo = 0, hi = x->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key(x->v[mid]) < wanted)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool index_reserve(struct index *x)
{
    if (x->n < x->size)
        return true;
    size_t size = x->size ? x->size * 2 : 256;
    struct entry **v = reallocarray(x->v, size, sizeof(struct entry *));
    if (!v)
        return false;
    x->v = v;
    x->size = size;
    return true;
}

static void index_insert(struct index *x, key_fn key, struct entry *e)
{
    size_t at = x->n && key(x->v[x->n - 1]) > key(e) ? lower_bound(x, key, key(e)) : x->n;
    memmove(&x->v[at + 1], &x->v[at], (x->n - at) * sizeof(struct entry *));
    x->v[at] = e;
    x->n++;
}

static void index_drop_removed(struct index *x)
{
    size_t out = 0;
    for (size_t i = 0; i < x->n; i++)
        if (!x->v[i]->removed)
            x->v[out++] = x->v[i];
    x->n = out;
}

static void sweep(struct table *t)
{
    if (!t->removed)
        return;
    index_drop_removed(&t->by_group);
    for (size_t i = 0; i < t->by_id.n; i++)
        if (t->by_id.v[i]->removed) {
            /* by_id is compacted below and must not look at what is freed here */
            free(t->by_id.v[i]);
            t->by_id.v[i] = NULL;
        }
    size_t out = 0;
    for (size_t i = 0; i < t->by_id.n; i++)
        if (t->by_id.v[i])
            t->by_id.v[out++] = t->by_id.v[i];
    t->by_id.n = out;
    t->removed = 0;
}

struct table *table_new(size_t max)
{
    struct table *t = calloc(1, sizeof *t);
    if (t)
        t->max = max;
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->by_id.n; i++)
        free(t->by_id.v[i]);
    free(t->by_id.v);
    free(t->by_group.v);
    free(t);
}

size_t table_count(const struct table *t)
{
    return t->live;
}

static const char *append(char **end, const char *s)
{
    char *at = *end;
    size_t n = strlen(s) + 1;
    memcpy(at, s, n);
    *end += n;
    return at;
}

static struct entry *entry_new(const struct job *j, struct bytes packed)
{
    const char *state = str_or(j->state, ""), *name = str_or(j->name, "");
    const char *partition = str_or(j->partition, ""), *task = str_or(j->array_task, "");
    const char *user = str_or(j->user, "");
    size_t strings =
        strlen(state) + strlen(name) + strlen(user) + strlen(partition) + strlen(task) + 5;
    struct entry *e = calloc(1, sizeof *e + packed.n + strings);
    if (!e)
        return NULL;
    uint8_t *copy = (uint8_t *)(e + 1);
    memcpy(copy, packed.p, packed.n);
    char *end = (char *)copy + packed.n;
    uint32_t job_id = (uint32_t)j->job_id;
    e->job = (struct table_job){
        .job_id = job_id,
        .group = j->array_job_id ? (uint32_t)j->array_job_id
                 : j->het_job_id ? (uint32_t)j->het_job_id
                                 : job_id,
        .uid = (uint32_t)j->uid,
        .het_offset = (uint32_t)j->het_offset,
        .in_array = j->array_job_id != 0,
        .in_het = j->het_job_id != 0,
        .packed = {copy, packed.n},
    };
    e->job.state = append(&end, state);
    e->job.name = append(&end, name);
    e->job.user = append(&end, user);
    e->job.partition = append(&end, partition);
    e->job.array_task = append(&end, task);
    return e;
}

static struct entry *find_id(const struct table *t, uint32_t job_id)
{
    size_t i = lower_bound(&t->by_id, id_key, job_id);
    return i < t->by_id.n && t->by_id.v[i]->job.job_id == job_id ? t->by_id.v[i] : NULL;
}

static void replace(struct index *x, key_fn key, const struct entry *old, struct entry *new_one)
{
    size_t i = lower_bound(x, key, key(old));
    assert(i < x->n && x->v[i] == old);
    x->v[i] = new_one;
}

int table_put(struct table *t, struct bytes packed, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct job j;
    if (msg_unpack(&job_type, packed, &arena, MSG_LENIENT, &j, err) < 0)
        return -1;
    if (j.job_id == 0)
        return err_set(err, ERR_PROTOCOL, "a job without job_id");
    struct entry *e = entry_new(&j, packed);
    if (!e)
        return err_set(err, ERR_LIMIT, "no memory for another job");
    e->generation = t->generation;
    struct entry *old = find_id(t, e->job.job_id);
    if (old && old->job.group == e->job.group) {
        t->live += old->removed;
        t->removed -= old->removed;
        replace(&t->by_id, id_key, old, e);
        replace(&t->by_group, group_key, old, e);
        free(old);
        return 0;
    }
    if (old) { /* an id that was given to another kind of job */
        if (!old->removed)
            table_remove(t, e->job.job_id);
        sweep(t);
    }
    if (t->live >= t->max || !index_reserve(&t->by_id) || !index_reserve(&t->by_group)) {
        free(e);
        return err_set(err, ERR_LIMIT, "the job table is full (%zu)", t->max);
    }
    index_insert(&t->by_id, id_key, e);
    index_insert(&t->by_group, group_key, e);
    t->live++;
    return 0;
}

void table_remove(struct table *t, uint32_t job_id)
{
    struct entry *e = find_id(t, job_id);
    if (!e || e->removed)
        return;
    e->removed = true;
    t->removed++;
    t->live--;
    /* Sweeping costs a pass over all: do it when it has become worth it. */
    if (t->removed > 64 && t->removed > t->by_id.n / 8)
        sweep(t);
}

void table_begin_full(struct table *t)
{
    t->generation++;
}

void table_end_full(struct table *t)
{
    for (size_t i = 0; i < t->by_id.n; i++) {
        struct entry *e = t->by_id.v[i];
        if (e->generation != t->generation && !e->removed) {
            e->removed = true;
            t->removed++;
            t->live--;
        }
    }
    sweep(t);
}

static bool matches(const struct table_job *j, const struct jobid *id)
{
    switch (id->kind) {
    case JOBID_PLAIN:
        return true;
    case JOBID_TASKS:
        return j->in_array;
    case JOBID_TASK:
        return j->in_array && jobid_tasks_contain(j->array_task, id->second);
    case JOBID_HET:
        return j->in_het && j->het_offset == id->second;
    }
    return false;
}

int table_find(const struct table *t, const struct jobid *id, table_fn fn, void *arg)
{
    int found = 0;
    size_t i = lower_bound(&t->by_group, group_key, (uint64_t)id->id << 32);
    for (; i < t->by_group.n && t->by_group.v[i]->job.group == id->id; i++) {
        const struct entry *e = t->by_group.v[i];
        if (e->removed || !matches(&e->job, id))
            continue;
        int rc = fn(arg, &e->job);
        if (rc < 0)
            return rc;
        found++;
    }
    if (found || id->kind != JOBID_PLAIN)
        return found;
    /* The plain number of one task or component. */
    const struct entry *e = find_id(t, id->id);
    if (!e || e->removed)
        return 0;
    int rc = fn(arg, &e->job);
    return rc < 0 ? rc : 1;
}

int table_each(const struct table *t, uint32_t after, table_fn fn, void *arg)
{
    for (size_t i = lower_bound(&t->by_id, id_key, (uint64_t)after + 1); i < t->by_id.n; i++) {
        if (t->by_id.v[i]->removed)
            continue;
        int rc = fn(arg, &t->by_id.v[i]->job);
        if (rc)
            return rc;
    }
    return 0;
}
