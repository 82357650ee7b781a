/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_objects.c: what is asked of objects beside their bytes, and the table of it all */
#include <stdio.h>
#include <string.h>

#include "common/s3_objects.h"
#include "common/str.h"

enum { PAGE_KEYS = 1000 };

static int has_size(void *arg, const struct s3_answer *a, struct err *err)
{
    (void)arg;
    if (a->size_bytes < 0)
        return err_set(err, ERR_STORE, "the store does not say how large it is");
    return 0;
}

int s3_head_answer(struct s3_store *s, struct s3_run *run, const struct stage_url *u,
                   struct s3_answer *ret, struct err *err)
{
    struct s3_request r = {.verb = S3_VERB_HEAD, .u = u, .end = has_size, .quiet = true};
    if (s3_send(s, run, &r, ret, err) < 0)
        return -1;
    return s3_refused(s, &r, ret, err);
}

static int s3_head(void *store, const struct stage_url *u, const struct stage_run *run,
                   struct stage_info *ret, struct err *err)
{
    struct s3_answer a = {0};
    struct s3_run r;
    s3_run_init(&r, run);
    int rc = s3_head_answer(store, &r, u, &a, err);
    if (rc == 0)
        s3_info_of(&a, (uint64_t)a.size_bytes, ret);
    s3_answer_done(&a);
    s3_run_done(&r);
    return rc;
}

/* A page of a list, told when it has come whole. */
struct page {
    struct entry {
        char *key;
        struct stage_info info;
    } * entries;
    size_t n, max;
    size_t asked; /* an answer may come without a length: so many keys, and no more */
    bool is_more;
};

static int page_begin(void *arg, const struct s3_answer *a, struct err *err)
{
    (void)a;
    (void)err;
    struct page *p = arg;
    for (size_t i = 0; i < p->n; i++)
        free(p->entries[i].key);
    p->n = 0;
    p->is_more = false;
    return 0;
}

static int page_add(void *arg, const char *key, const struct stage_info *info)
{
    struct page *p = arg;
    p->is_more = p->n == p->asked;
    if (p->is_more)
        return -1;
    if (p->n == p->max) {
        size_t max = p->max ? 2 * p->max : PAGE_KEYS;
        struct entry *more = reallocarray(p->entries, max, sizeof *more);
        if (!more)
            return -1;
        p->entries = more;
        p->max = max;
    }
    char *copy = strdup(key);
    if (!copy)
        return -1;
    p->entries[p->n++] = (struct entry){copy, *info};
    return 0;
}

static int page_get(struct s3_store *s, struct s3_run *run, const struct stage_url *prefix,
                    const char *marker, struct page *p, struct err *err)
{
    struct s3_answer a = {0};
    struct s3_request r = {
        .verb = S3_VERB_LIST,
        .u = prefix,
        .begin = page_begin,
        .each = page_add,
        .arg = p,
        .quiet = true,
    };
    char count[16];
    snprintf(count, sizeof count, "%d", s->page_keys);
    s3_add_query(&r, "max-keys", count);
    s3_add_query(&r, "prefix", prefix->key);
    if (*marker)
        s3_add_query(&r, "marker", marker);
    page_begin(p, NULL, NULL);
    p->asked = (size_t)s->page_keys;
    int rc = s3_send(s, run, &r, &a, err);
    if (rc < 0 && p->is_more) {
        *err = (struct err){0};
        err_set(err, ERR_STORE, "the store lists more than the %d keys that were asked for",
                s->page_keys);
        rc = s3_while(s, prefix, err);
    }
    if (rc == 0)
        rc = s3_refused(s, &r, &a, err);
    s3_answer_done(&a);
    return rc;
}

/* Tells a page; marker becomes its last key. */
static int page_tell(const struct page *p, const char *prefix, char marker[STAGE_KEY_MAX + 1],
                     size_t *left, stage_list_fn *fn, void *arg, struct err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->entries[i];
        /* Else there would be no end of it. */
        if (strcmp(e->key, marker) <= 0 || strncmp(e->key, prefix, strlen(prefix)) != 0)
            return err_set(err, ERR_STORE, "the store lists what was not asked for");
        if (*left == 0)
            return err_set(err, ERR_LIMIT, "there are more objects than were asked for");
        if (fn(arg, e->key, &e->info) != 0)
            return err_set(err, ERR_INTERRUPTED, "stopped");
        (*left)--;
        str_copy(marker, STAGE_KEY_MAX + 1, e->key);
    }
    return 0;
}

/* Until a page is empty: libs3 tells whether there are more only if the answer says so before its
 * keys. */
static int s3_list(void *store, const struct stage_url *prefix, size_t max, stage_list_fn *fn,
                   void *arg, const struct stage_run *run, struct err *err)
{
    struct s3_store *s = store;
    struct s3_run r;
    struct page page = {0};
    char marker[STAGE_KEY_MAX + 1] = "";
    int rc;
    s3_run_init(&r, run);
    do {
        rc = page_get(s, &r, prefix, marker, &page, err);
        if (rc == 0 && page_tell(&page, prefix->key, marker, &max, fn, arg, err) < 0)
            rc = s3_while(s, prefix, err);
    } while (rc == 0 && page.n > 0);
    page_begin(&page, NULL, NULL);
    free(page.entries);
    s3_run_done(&r);
    return rc;
}

static int s3_del(void *store, const struct stage_url *u, const struct stage_run *run,
                  struct err *err)
{
    struct s3_store *s = store;
    struct s3_request q = {.verb = S3_VERB_DELETE, .u = u, .quiet = true};
    struct s3_answer a = {0};
    struct s3_run r;
    s3_run_init(&r, run);
    int rc = s3_send(s, &r, &q, &a, err);
    bool gone = rc == 0 && a.status == 404 && !str_eq(a.code, "NoSuchBucket");
    if (rc == 0 && !gone)
        rc = s3_refused(s, &q, &a, err);
    s3_answer_done(&a);
    s3_run_done(&r);
    return rc;
}

const struct stage_ops s3_object_ops = {
    .close = s3_close,
    .put = s3_put,
    .get = s3_get,
    .head = s3_head,
    .list = s3_list,
    .copy = s3_copy,
    .del = s3_del,
};
