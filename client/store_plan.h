/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store_plan.h: which file goes where, before any does */
#ifndef CLIENT_STORE_PLAN_H
#define CLIENT_STORE_PLAN_H

#include "common/arena.h"
#include "common/stage.h"

enum { STORE_PLAN_MAX = 1000000 };

struct store_item {
    const char *path; /* the file; of a fetch, below the plan's directory */
    const char *key;  /* the object's */
    int64_t size;
};

struct store_plan {
    struct arena arena; /* of all strings */
    struct stage_url url;
    const char *dir; /* of a fetch: where to; "" is here */
    struct store_item *items;
    size_t n, max;
    int64_t bytes;
    void (*on_left_out)(void *arg, const char *path); /* of a put; NULL: nobody wants to know */
    void *left_arg;
};

void store_plan_init(struct store_plan *p);
void store_plan_done(struct store_plan *p);
static inline void cleanup_store_plan_done(struct store_plan *p)
{
    store_plan_done(p);
}

int store_plan_put(struct store_plan *p, const char *const *paths, size_t n,
                   const struct stage_url *to, bool recursive, struct err *err);
/* The name that a path brings along; "" when it is '.', '..' or '/'.  NULL without memory. */
const char *store_plan_put_name(const char *path, struct arena *arena);
int store_plan_fetch(struct store_plan *p, struct stage *s, const struct stage_url *from,
                     const char *path, bool recursive, const struct stage_run *run,
                     struct err *err);
/* A job's output from where it was stored: as from says (path, directory/ or pattern, numbers in
 * place of %j and kin) below dir.  Of what else is at a prefix nothing is taken. */
int store_plan_output(struct store_plan *p, struct stage *s, const char *from,
                      const struct stage_url *to, const char *dir, const struct stage_run *run,
                      struct err *err);
/* The bytes of from that name one file or directory: before the first part with a pattern. */
size_t store_plan_output_base(const char *from);
/* Where an output comes, below the directory: that path; of an absolute one the last part alone. ""
 * for the directory itself; NULL without memory. */
const char *store_plan_output_name(const char *from, struct arena *arena);

#endif
