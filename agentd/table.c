/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/table.h"

#include <string.h>

struct entry {
    uint32_t job_id, group; /* of rec, and still after it has gone */
    uint32_t generation;
    struct jobrec *rec; /* NULL: removed, waits for the next sweep */
    int64_t number;     /* of its end in the journal; 0: not known to be there */
    bool owed;          /* the journal did not have the end when it was told */
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
    return e->job_id;
}

static uint64_t group_key(const struct entry *e)
{
    return (uint64_t)e->group << 32 | e->job_id;
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
        if (x->v[i]->rec)
            x->v[out++] = x->v[i];
    x->n = out;
}

static void sweep(struct table *t)
{
    if (!t->removed)
        return;
    index_drop_removed(&t->by_group);
    for (size_t i = 0; i < t->by_id.n; i++)
        if (!t->by_id.v[i]->rec) {
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
    for (size_t i = 0; i < t->by_id.n; i++) {
        jobrec_unref(t->by_id.v[i]->rec);
        free(t->by_id.v[i]);
    }
    free(t->by_id.v);
    free(t->by_group.v);
    free(t);
}

size_t table_count(const struct table *t)
{
    return t->live;
}

static struct entry *find_id(const struct table *t, uint32_t job_id)
{
    size_t i = lower_bound(&t->by_id, id_key, job_id);
    return i < t->by_id.n && t->by_id.v[i]->job_id == job_id ? t->by_id.v[i] : NULL;
}

static struct jobrec *take_rec(struct table *t, struct entry *e)
{
    t->removed++;
    t->live--;
    return TAKE(e->rec);
}

/* A new state of a job that is there. */
static struct jobrec *replace(struct table *t, struct entry *e, struct jobrec *rec)
{
    struct jobrec *old = e->rec;
    if (!old || !rec->ended || !jobrec_same_run(old, rec)) {
        e->number = 0;
        e->owed = false;
    }
    t->live += !old;
    t->removed -= !old;
    e->rec = rec;
    e->generation = t->generation;
    return old;
}

static int insert(struct table *t, struct jobrec *rec, struct err *err)
{
    struct entry *e = NULL;
    if (t->live < t->max && index_reserve(&t->by_id) && index_reserve(&t->by_group))
        e = calloc(1, sizeof *e);
    if (!e)
        return err_set(err, ERR_LIMIT, "the job table is full (%zu)", t->max);
    *e = (struct entry){rec->job_id, rec->group, t->generation, rec, 0, false};
    index_insert(&t->by_id, id_key, e);
    index_insert(&t->by_group, group_key, e);
    t->live++;
    return 0;
}

int table_put(struct table *t, struct jobrec *rec, struct jobrec **ret_old, struct err *err)
{
    struct entry *e = find_id(t, rec->job_id);
    *ret_old = NULL;
    if (e && e->group == rec->group) {
        *ret_old = replace(t, e, rec);
        return 0;
    }
    if (e) { /* an id that was given to another kind of job */
        if (e->rec)
            *ret_old = take_rec(t, e);
        sweep(t);
    }
    if (insert(t, rec, err) == 0)
        return 0;
    jobrec_unref(rec);
    return -1;
}

struct jobrec *table_remove(struct table *t, uint32_t job_id)
{
    struct entry *e = find_id(t, job_id);
    if (!e || !e->rec)
        return NULL;
    struct jobrec *rec = take_rec(t, e);
    /* Sweeping costs a pass over all: do it when it has become worth it. */
    if (t->removed > 64 && t->removed > t->by_id.n / 8)
        sweep(t);
    return rec;
}

void table_begin_full(struct table *t)
{
    t->generation++;
}

void table_end_full(struct table *t, table_gone_fn gone, void *arg)
{
    for (size_t i = 0; i < t->by_id.n; i++) {
        struct entry *e = t->by_id.v[i];
        if (e->generation != t->generation && e->rec)
            gone(arg, take_rec(t, e));
    }
    sweep(t);
}

struct jobrec *table_get(const struct table *t, uint32_t job_id)
{
    const struct entry *e = find_id(t, job_id);
    return e ? e->rec : NULL;
}

static struct entry *find_run(const struct table *t, const struct jobrec *rec)
{
    struct entry *e = find_id(t, rec->job_id);
    return e && e->rec && jobrec_same_run(e->rec, rec) ? e : NULL;
}

void table_kept(struct table *t, const struct jobrec *rec, int64_t number)
{
    struct entry *e = find_run(t, rec);
    if (!e || !e->rec->ended)
        return;
    e->number = number;
    e->owed |= number == 0;
}

bool table_owed(const struct table *t, const struct jobrec *rec, int64_t number)
{
    const struct entry *e = find_run(t, rec);
    return e && e->owed && (e->number == 0 || e->number > number);
}

int64_t table_number(const struct table *t, const struct jobrec *rec)
{
    const struct entry *e = find_run(t, rec);
    return e ? e->number : 0;
}

int table_find(const struct table *t, const struct jobid *id, table_fn fn, void *arg)
{
    int found = 0;
    size_t i = lower_bound(&t->by_group, group_key, (uint64_t)id->id << 32);
    for (; i < t->by_group.n && t->by_group.v[i]->group == id->id; i++) {
        struct jobrec *rec = t->by_group.v[i]->rec;
        if (!rec || !jobrec_named(rec, id))
            continue;
        int rc = fn(arg, rec);
        if (rc < 0)
            return rc;
        found++;
    }
    if (found || id->kind != JOBID_PLAIN)
        return found;
    /* The plain number of one task or component. */
    struct jobrec *rec = table_get(t, id->id);
    if (!rec)
        return 0;
    int rc = fn(arg, rec);
    return rc < 0 ? rc : 1;
}

int table_each(const struct table *t, uint32_t after, table_fn fn, void *arg)
{
    for (size_t i = lower_bound(&t->by_id, id_key, (uint64_t)after + 1); i < t->by_id.n; i++) {
        struct jobrec *rec = t->by_id.v[i]->rec;
        int rc = rec ? fn(arg, rec) : 0;
        if (rc)
            return rc;
    }
    return 0;
}
