/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inputs: what there is in the store, then each of it into its place. */
#include <errno.h>
#include <string.h>

#include "agentd/stage_worker.h"
#include "common/str.h"

/* A file to be fetched. */
struct item {
    const struct stage_input *in;
    const char *key; /* of the object */
    struct stage_place to;
};

struct plan {
    struct stage_job *j;
    struct stage_stores stores;
    struct item *v;
    size_t n, room;
    int64_t bytes;
    size_t left_out; /* objects with data, and no name that a file could have */
    /* of the input that is being listed */
    const struct stage_input *in;
    const char *target;
    size_t prefix;
    size_t own; /* see struct stage_place */
    struct err err;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_BUSY, "no memory left for so many files");
}

static int add(struct plan *p, const char *key, const char *path, uint64_t size)
{
    if (p->n == STAGE_FILES_MAX)
        return err_set(&p->err, ERR_LIMIT, "inputs are more than the %d files allowed",
                       STAGE_FILES_MAX);
    if (stage_add_size(&p->bytes, size, &p->err) < 0)
        return err_while(&p->err, "input %.200s: object %.200s", p->in->from, key);
    if (p->n == p->room) {
        size_t room = p->room ? 2 * p->room : 16;
        struct item *v = reallocarray(p->v, room, sizeof *v);
        if (!v)
            return no_memory(&p->err);
        p->v = v;
        p->room = room;
    }
    const char *copy = arena_strdup(p->j->arena, key);
    if (!copy || !path)
        return no_memory(&p->err);
    p->v[p->n++] = (struct item){.in = p->in, .key = copy, .to = {path, p->own}};
    return 0;
}

/* What a store calls its objects is nobody's promise: a key may be made to lead somewhere. */
static int check_name(const char *name, const struct stage_input *in, struct err *err)
{
    bool good = *name && *name != '/';
    for (const char *at = name; good && *at;) {
        size_t n = strcspn(at, "/");
        good = n > 0 && !(n == 1 && *at == '.') && !(n == 2 && at[0] == '.' && at[1] == '.');
        at += n + (at[n] == '/');
    }
    return good ? 0
                : err_set(err, ERR_INVALID,
                          "input %.200s: the name of object '%.200s' cannot become a file's",
                          in->from, name);
}

static int on_object(void *arg, const char *key, const struct stage_info *info)
{
    struct plan *p = arg;
    const char *name = key + p->prefix;
    size_t n = strlen(name);
    if (n == 0 || name[n - 1] == '/') { /* a mark that stands for a directory */
        p->left_out += info->size_bytes > 0;
        return 0;
    }
    if (check_name(name, p->in, &p->err) < 0)
        return -1;
    return add(p, key, arena_printf(p->j->arena, "%s%s", p->target, name), info->size_bytes);
}

static int plan_one(struct plan *p, const struct stage_input *in, bool sizes, struct err *err)
{
    struct stage_url u;
    struct stage_info info = {0};
    const struct stage_run run = stage_meter_run(p->j->meter);
    p->in = in;
    p->target = manifest_target(in, p->j->arena);
    if (!p->target)
        return no_memory(err);
    if (stage_url_parse(in->from, &u, err) < 0)
        return -1;
    struct stage *s = stage_stores_get(&p->stores, p->j, u.scheme, err);
    if (!s)
        return -1;
    int rc;
    p->own = stage_url_is_prefix(&u) && *p->target == '/' ? strlen(p->target) : 0;
    if (stage_url_is_prefix(&u)) {
        size_t before = p->n;
        p->prefix = strlen(u.key);
        rc = stage_list(s, &u, STAGE_FILES_MAX - p->n, on_object, p, &run, err);
        if (rc == 0 && p->n == before)
            return err_set(err, ERR_NOT_FOUND, "input %.300s: there is nothing", in->from);
    } else {
        rc = sizes ? stage_head(s, &u, &run, &info, err) : 0;
        if (rc == 0)
            rc = add(p, u.key, p->target, info.size_bytes);
    }
    if (p->err.code != ERR_NONE)
        *err = p->err;
    return rc < 0 ? err_while(err, "input") : 0;
}

static int make_plan(struct plan *p, bool sizes, struct err *err)
{
    const struct manifest *m = p->j->m;
    for (size_t i = 0; i < m->n_inputs; i++)
        if (plan_one(p, &m->inputs[i], sizes, err) < 0)
            return -1;
    return 0;
}

static void plan_done(struct plan *p)
{
    stage_stores_done(&p->stores);
    free(p->v);
}

static int fetch(void *arg, size_t i, struct err *err)
{
    struct plan *p = arg;
    const struct item *it = &p->v[i];
    const struct stage_run run = stage_meter_run(p->j->meter);
    const char *name;
    struct stage_url u;
    if (stage_url_parse(it->in->from, &u, err) < 0)
        return -1;
    str_copy(u.key, sizeof u.key, it->key);
    AUTO(close) int dir = stage_place_open(p->j, &it->to, true, &name, err);
    if (dir < 0)
        return err_while(err, "input %.200s", it->in->from);
    if (stage_fetch(p->stores.of[u.scheme], &u, dir, name, 0666, &run, NULL, err) < 0)
        return err_while(err, "input %.200s", it->to.path);
    stage_meter_file(p->j->meter);
    return 0;
}

static int sweep(const struct plan *p, struct err *err)
{
    AUTO(free) struct stage_place *v = calloc(p->n + 1, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < p->n; i++)
        v[i] = p->v[i].to;
    return stage_places_sweep(p->j, v, p->n, err);
}

int stage_in(struct stage_job *j, struct stage_report *out, struct err *err)
{
    struct plan p = {.j = j};
    int rc = make_plan(&p, true, err);
    if (rc == 0)
        rc = stage_check_quota(j, p.bytes, "inputs", err);
    if (rc == 0)
        rc = sweep(&p, err);
    if (rc == 0) {
        j->meter->now.files_total = (int64_t)p.n;
        j->meter->now.bytes_total = p.bytes;
        rc =
            stage_check_moved(j, stage_each(p.n, STAGE_THREADS - 1, fetch, &p, err), "inputs", err);
    }
    *out = j->meter->now;
    out->text = stage_amount((int64_t)p.n, p.bytes, j->arena);
    if (out->text && p.left_out)
        out->text = arena_printf(j->arena,
                                 "%s; left out: %zu objects with data whose names end with a slash",
                                 out->text, p.left_out);
    plan_done(&p);
    return rc;
}

int stage_sweep(struct stage_job *j, struct err *err)
{
    struct plan p = {.j = j};
    int rc = make_plan(&p, false, err);
    if (rc == 0)
        rc = sweep(&p, err);
    plan_done(&p);
    return rc;
}
