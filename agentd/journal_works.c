/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/journal_works.h"

#include <stdlib.h>

enum {
    FIND_WORKS = 20000,    /* of one user */
    FIND_BYTES = 64 << 20, /* of their ids and strings */
};

/* ---- works ---- */

struct work *work_new(enum work_kind kind, journal_fn fn, void *arg)
{
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->kind = kind;
    w->fn = fn;
    w->arg = arg;
    return w;
}

void work_free(struct work *w)
{
    journal_finding_done(&w->finding);
    free(w->requests.rows);
    journal_staging_done(&w->staging);
    arena_done(&w->arena);
    free(w);
}

bool work_writes(const struct work *w)
{
    return w->kind < WORK_FIND;
}

bool work_is_a_users(const struct work *w)
{
    return w->kind == WORK_FIND || w->kind == WORK_GET;
}

size_t work_rows(const struct work *w)
{
    return work_writes(w) ? w->finding.n + w->requests.n + w->staging.n : 0;
}

void works_init(struct works *l)
{
    *l = (struct works){.tail = &l->first};
}

void works_add(struct works *l, struct work *w)
{
    w->next = NULL;
    *l->tail = w;
    l->tail = &w->next;
    l->works++;
    l->rows += work_rows(w);
    l->bytes += w->bytes;
}

struct work *works_take(struct works *l)
{
    struct work *first = l->first;
    works_init(l);
    return first;
}

struct work *works_take_one(struct works *l)
{
    struct work *w = l->first;
    l->first = w->next;
    if (!l->first)
        l->tail = &l->first;
    l->works--;
    l->bytes -= w->bytes;
    w->next = NULL;
    return w;
}

/* ---- questions: users in turn ---- */

struct asker {
    struct asker *next;
    uint32_t uid;
    struct works finds;
};

void askers_init(struct askers *l)
{
    *l = (struct askers){.tail = &l->first};
}

static struct asker *asker_of(struct askers *l, uint32_t uid)
{
    struct asker *a = l->first;
    while (a && a->uid != uid)
        a = a->next;
    if (a || !(a = calloc(1, sizeof *a)))
        return a;
    a->uid = uid;
    works_init(&a->finds);
    *l->tail = a;
    l->tail = &a->next;
    return a;
}

struct work *askers_next(struct askers *l)
{
    struct asker *a = l->first;
    if (!a)
        return NULL;
    struct work *w = works_take_one(&a->finds);
    l->first = a->next;
    if (!l->first)
        l->tail = &l->first;
    if (!a->finds.first) {
        free(a);
        return w;
    }
    a->next = NULL;
    *l->tail = a;
    l->tail = &a->next;
    return w;
}

bool askers_add(struct askers *l, struct work *w, bool again)
{
    struct asker *a = asker_of(l, w->finding.query.asker);
    if (!a || (!again && (a->finds.works >= FIND_WORKS || a->finds.bytes > FIND_BYTES)))
        return false;
    works_add(&a->finds, w);
    return true;
}
