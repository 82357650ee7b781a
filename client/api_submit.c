/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sagent_submit(): what the caller gives as a submit_request */
#include <stdlib.h>
#include <string.h>

#include "client/decode.h"
#include "client/handle.h"
#include "client/result.h"
#include "common/seal.h"
#include "common/str.h"

enum { LINE_MAX_BYTES = 60000, REQUEST_ID = 16 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

static int take_arguments(const struct sagent_submit_request *in, struct submit_request *out,
                          struct err *err)
{
    for (size_t i = 0; i < in->argument_count; i++)
        if (!in->arguments[i])
            return err_set(err, ERR_INVALID, "argument %zu is NULL", i);
    out->arguments = (struct strs){in->arguments, in->argument_count};
    return 0;
}

static int take_options(const struct sagent_submit_request *in, struct arena *arena,
                        struct submit_request *out, struct err *err)
{
    struct pair *v = arena_array(arena, in->option_count, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < in->option_count; i++) {
        const struct sagent_pair *p = &in->options[i];
        if (!p->name || !*p->name)
            return err_set(err, ERR_INVALID, "option %zu has no name", i);
        for (size_t k = 0; k < i; k++)
            if (str_eq(v[k].name, p->name))
                return err_set(err, ERR_INVALID, "option '%.80s' is there twice", p->name);
        v[i] = (struct pair){p->name, str_or(p->value, "")};
    }
    out->options = (struct pairs){v, in->option_count};
    return 0;
}

/* ---- environment ---- */

struct variable {
    struct pair pair;
    size_t order;
};

static int by_name_and_order(const void *pa, const void *pb)
{
    const struct variable *a = pa, *b = pb;
    int d = strcmp(a->pair.name, b->pair.name);
    return d ? d : (a->order > b->order) - (a->order < b->order);
}

static int split(const char *s, size_t order, struct arena *arena, struct variable *out,
                 struct err *err)
{
    const char *equals = s ? strchr(s, '=') : NULL;
    if (!equals || equals == s)
        return err_set(err, ERR_INVALID, "environment: '%.100s' is not NAME=value", str_or(s, ""));
    char *name = arena_strndup(arena, s, (size_t)(equals - s));
    if (!name)
        return no_memory(err);
    *out = (struct variable){{name, equals + 1}, order};
    return 0;
}

static int take_environment(const struct sagent_submit_request *in, struct arena *arena,
                            struct submit_request *out, struct err *err)
{
    size_t n = in->environment_count, kept = 0;
    struct variable *all = arena_array(arena, n, sizeof *all);
    struct pair *v = arena_array(arena, n, sizeof *v);
    if (!all || !v)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        if (split(in->environment[i], i, arena, &all[i], err) < 0)
            return -1;
    if (n)
        qsort(all, n, sizeof *all, by_name_and_order);
    /* A name that is there twice would be refused; getenv() finds the first. */
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(v[kept - 1].name, all[i].pair.name) != 0)
            v[kept++] = all[i].pair;
    out->environment = (struct pairs){v, kept};
    return 0;
}

/* ---- the whole ---- */

/* Cut where a character ends. */
static const char *cut_line(const char *line, struct arena *arena)
{
    if (!line || strlen(line) <= LINE_MAX_BYTES)
        return line;
    size_t n = LINE_MAX_BYTES;
    while (n && (line[n] & 0xc0) == 0x80)
        n--;
    return arena_strndup(arena, line, n);
}

static int make_request(const struct sagent_submit_request *in, struct arena *arena,
                        uint8_t id[REQUEST_ID], struct submit_request *out, struct err *err)
{
    if (seal_setup(err) < 0 || handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0 ||
        take_arguments(in, out, err) < 0 || take_options(in, arena, out, err) < 0 ||
        take_environment(in, arena, out, err) < 0)
        return -1;
    seal_random(id, REQUEST_ID);
    out->request_id = (struct bytes){id, REQUEST_ID};
    out->script = (struct bytes){in->script, in->script_size};
    out->script_path = in->script_path;
    out->script_name = in->script_name;
    out->login_environment = in->login_environment;
    out->submit_line = cut_line(in->submit_line, arena);
    return 0;
}

static int submit(struct sagent *s, const struct sagent_submit_request *in,
                  struct sagent_submit_reply *out, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct submit_request request = {0};
    struct handle_call call;
    uint8_t id[REQUEST_ID];
    if (make_request(in, &arena, id, &request, err) < 0)
        return -1;
    int rc = handle_ask(s, OP_job_submit, &submit_request_type, &request, &call, err);
    if (rc == 0 && (rc = decode_submit(call.body, out, err)) < 0) {
        struct err cause = *err;
        *err = (struct err){0};
        err_set(err, ERR_IN_DOUBT,
                "%s: the job has probably been submitted; look before you "
                "submit it again",
                cause.text);
    }
    handle_done(&call);
    return rc;
}

int sagent_submit(struct sagent *s, const struct sagent_submit_request *request,
                  struct sagent_submit_reply **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_submit_reply *p = result_new(sizeof *p);
    if (!p)
        no_memory(&e);
    if (!p || submit(s, request, p, &e) < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_submit_reply_free(struct sagent_submit_reply *p)
{
    result_free(p);
}
