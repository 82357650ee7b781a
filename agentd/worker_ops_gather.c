/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker_gather.h"

#include <string.h>

#include "common/clock.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, "no memory for the jobs");
}

int gathering_init(struct gathering *g, struct err *err)
{
    *g = (struct gathering){.out = wire_out_new()};
    return g->out ? 0 : no_memory(err);
}

void gathering_done(struct gathering *g)
{
    for (size_t i = 0; i < g->n; i++)
        free((void *)g->v[i].packed.p);
    free(g->v);
    wire_out_free(g->out);
}

static bool grow(struct gathering *g)
{
    size_t size = g->size ? g->size * 2 : 64;
    struct gathered *v = reallocarray(g->v, size, sizeof *v);
    if (!v)
        return false;
    g->v = v;
    g->size = size;
    return true;
}

int gathering_add(struct gathering *g, int64_t key, const struct job *j)
{
    g->failed |= g->n == g->size && !grow(g);
    if (g->failed)
        return -1;
    wire_out_clear(g->out);
    msg_pack(&job_type, j, g->out);
    struct bytes b = wire_out_bytes(g->out);
    uint8_t *copy = b.p ? malloc(b.n) : NULL;
    if (!copy) {
        g->failed = true;
        return -1;
    }
    memcpy(copy, b.p, b.n);
    g->v[g->n++] = (struct gathered){key, (uint32_t)j->job_id, {copy, b.n}};
    g->bytes += b.n;
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct gathered *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->job_id > y->job_id) - (x->job_id < y->job_id);
}

void gathering_drop(struct gathering *g, size_t n)
{
    if (n >= g->n)
        return;
    g->cut = true;
    g->below = g->v[n].key;
    for (size_t i = n; i < g->n; i++) {
        g->bytes -= g->v[i].packed.n;
        free((void *)g->v[i].packed.p);
    }
    g->n = n;
}

void gathering_trim(struct gathering *g, size_t limit)
{
    size_t fit = 0, bytes = 0;
    if (g->n)
        qsort(g->v, g->n, sizeof *g->v, by_key);
    while (fit < g->n && (!limit || fit < limit) && bytes + g->v[fit].packed.n <= WIRE_MAX_JOBS)
        bytes += g->v[fit++].packed.n;
    gathering_drop(g, fit);
}

int gathering_finish(const struct gathering *g, const char *source, struct arena *arena,
                     struct jobs_reply *out, struct err *err)
{
    struct bytes *v = arena_array(arena, g->n + 1, sizeof *v);
    uint8_t *all = arena_alloc(arena, g->bytes + 1);
    if (!v || !all || g->failed)
        return no_memory(err);
    for (size_t i = 0; i < g->n; i++) {
        memcpy(all, g->v[i].packed.p, g->v[i].packed.n);
        v[i] = (struct bytes){all, g->v[i].packed.n};
        all += g->v[i].packed.n;
    }
    out->jobs = (struct raws){v, g->n};
    out->as_of = clock_now();
    out->source = source;
    return 0;
}
