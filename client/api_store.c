/* SPDX-License-Identifier: GPL-3.0-or-later */
/* api_store.c: the optional part of libslurmagent: files into stores and out of them */
#include <string.h>

#include "client/handle.h"
#include "client/store_work.h"
#include "common/str.h"

enum { NAMES_MAX = 1 << 26 };

int sagent_store_open(const char *url, const struct sagent_store_options *options,
                      struct sagent_store **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    return store_open(url, options, ret, &e) < 0 ? handle_fail(&e, err) : 0;
}

void sagent_store_close(struct sagent_store *st)
{
    if (!st)
        return;
    stage_close(st->stage);
    free(st);
}

int sagent_put(struct sagent_store *st, const char *const *paths, size_t n, const char *url,
               const struct sagent_transfer_options *options, struct sagent_error *err)
{
    struct store_work w;
    struct stage_url u;
    struct err e = {0};
    handle_begin(err);
    int rc = store_work_begin(&w, st, url, options, &u, &e);
    w.is_put = true;
    if (rc == 0)
        rc = store_plan_put(&w.plan, paths, n, &u, w.o->recursive, &e);
    if (rc == 0)
        rc = store_work_through(&w, &e);
    store_work_end(&w);
    return rc < 0 ? handle_fail(&e, err) : 0;
}

int sagent_fetch(struct sagent_store *st, const char *url, const char *path,
                 const struct sagent_transfer_options *options, struct sagent_error *err)
{
    struct store_work w;
    struct stage_url u;
    struct err e = {0};
    handle_begin(err);
    int rc = store_work_begin(&w, st, url, options, &u, &e);
    if (rc == 0) {
        /* The size is for who sees how far it is. */
        struct stage_run run = w.run;
        if (!w.o->on_bytes)
            run.progress = NULL;
        rc = store_plan_fetch(&w.plan, st->stage, &u, path, w.o->recursive, &run, &e);
    }
    if (rc == 0)
        rc = store_work_through(&w, &e);
    store_work_end(&w);
    return rc < 0 ? handle_fail(&e, err) : 0;
}

/* ---- outputs of jobs ---- */
/* Do two that are not the same file or directory there become one here? */
static bool are_twins(const struct sagent_stored *a, const char *a_name,
                      const struct sagent_stored *b, const char *b_name)
{
    size_t n = store_plan_output_base(a->from);
    return *a_name && str_eq(a_name, b_name) && str_eq(a->id, b->id) &&
           (n != store_plan_output_base(b->from) || memcmp(a->from, b->from, n) != 0);
}

static int check_outputs(const struct sagent_staged *p, struct arena *arena, struct err *err)
{
    const char **names = arena_array(arena, p->output_count + 1, sizeof *names);
    for (size_t i = 0; names && i < p->output_count; i++) {
        names[i] = store_plan_output_name(p->outputs[i].from, arena);
        if (!names[i])
            return err_set(err, ERR_INTERNAL, "no memory");
        for (size_t k = 0; k < i; k++)
            if (are_twins(&p->outputs[k], names[k], &p->outputs[i], names[i]))
                return err_set(err, ERR_INVALID,
                               "%.150s and %.150s would both become %.100s here: fetch them by "
                               "their URLs",
                               p->outputs[k].to, p->outputs[i].to, names[i]);
    }
    return names ? 0 : err_set(err, ERR_INTERNAL, "no memory");
}

int sagent_check_outputs(const struct sagent_staged *staged, struct sagent_error *err)
{
    struct err e = {0};
    struct arena arena;
    handle_begin(err);
    arena_init(&arena, NAMES_MAX);
    int rc = check_outputs(staged, &arena, &e);
    arena_done(&arena);
    return rc < 0 ? handle_fail(&e, err) : 0;
}

int sagent_fetch_output(struct sagent_store *st, const struct sagent_stored *output,
                        const char *dir, const struct sagent_transfer_options *options,
                        struct sagent_error *err)
{
    struct store_work w;
    struct stage_url u;
    struct err e = {0};
    handle_begin(err);
    int rc = store_work_begin(&w, st, output->to, options, &u, &e);
    if (rc == 0 && u.scheme != st->scheme)
        rc = err_set(&e, ERR_INVALID, "%.200s: the store was opened for another kind of URL",
                     output->to);
    if (rc == 0) {
        struct stage_run run = w.run;
        if (!w.o->on_bytes)
            run.progress = NULL;
        rc = store_plan_output(&w.plan, st->stage, output->from, &u, dir ? dir : "", &run, &e);
    }
    if (rc == 0)
        rc = store_work_through(&w, &e);
    store_work_end(&w);
    return rc < 0 ? handle_fail(&e, err) : 0;
}
