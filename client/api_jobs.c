/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The public calls about jobs that exist. */
#include <stdlib.h>
#include <string.h>

#include "client/decode.h"
#include "client/handle.h"
#include "client/result.h"
#include "common/str.h"

enum { LIST_MAX = 1000000 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

/* ---- get and list ---- */

static int get(struct sagent *s, const char *const *ids, size_t n, struct sagent_jobs *out,
               struct err *err)
{
    struct handle_call call;
    struct get_request request = {.ids = {ids, n}};
    struct decode_next next;
    if (handle_check_ids(ids, n, err) < 0)
        return -1;
    int rc = handle_ask(s, OP_job_get, &get_request_type, &request, &call, err);
    if (rc == 0)
        rc = decode_jobs(call.body, out, &next, err);
    handle_done(&call);
    return rc;
}

int sagent_get(struct sagent *s, const char *const *ids, size_t n, struct sagent_jobs **ret,
               struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_jobs *j = result_new(sizeof *j);
    if (!j)
        no_memory(&e);
    if (!j || get(s, ids, n, j, &e) < 0) {
        sagent_jobs_free(j);
        return handle_fail(&e, err);
    }
    *ret = j;
    return 0;
}

static int make_list_request(const struct sagent_list_filter *f, struct list_request *out,
                             struct err *err)
{
    if (handle_reserved(f->reserved, ARRAY_LEN(f->reserved), err) < 0)
        return -1;
    if (f->max_jobs < 0 || f->max_jobs > LIST_MAX)
        return err_set(err, ERR_INVALID, "max_jobs %lld is not between 0 and %d",
                       (long long)f->max_jobs, LIST_MAX);
    const char *const texts[] = {f->user, f->partition, f->name};
    static const char *const names[] = {"user", "partition", "name"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i] && !*texts[i])
            return err_set(err, ERR_INVALID, "the %s is empty: give one, or leave it out",
                           names[i]);
    if (f->since < 0)
        return err_set(err, ERR_INVALID, "since %lld is before 1970", (long long)f->since);
    for (size_t i = 0; i < f->state_count; i++)
        if (!f->states[i] || !*f->states[i])
            return err_set(err, ERR_INVALID, "state %zu is empty", i + 1);
    *out = (struct list_request){
        .user = f->user,
        .all_users = f->all_users,
        .states = {f->states, f->state_count},
        .partition = f->partition,
        .name = f->name,
        .since = f->since,
    };
    return 0;
}

static int list_page(struct sagent *s, const struct list_request *request, struct sagent_jobs *out,
                     struct decode_next *ret_next, struct err *err)
{
    struct handle_call call;
    int rc = handle_ask(s, OP_job_list, &list_request_type, request, &call, err);
    if (rc == 0)
        rc = decode_jobs(call.body, out, ret_next, err);
    handle_done(&call);
    return rc;
}

static int by_run(const void *a, const void *b)
{
    const struct sagent_job *x = *(struct sagent_job *const *)a,
                            *y = *(struct sagent_job *const *)b;
    int order = strcmp(str_or(x->id, ""), str_or(y->id, ""));
    if (order == 0)
        order = (x->submit_time > y->submit_time) - (x->submit_time < y->submit_time);
    return order ? order : (x > y) - (x < y);
}

static bool is_unknown(const struct sagent_job *job)
{
    return str_eq(job->phase, "UNKNOWN");
}

/* What ended while the server did not look comes from slurmdbd, and some of it from the server's
 * own history too, which knows more unless it does not know the end. */
static int drop_doubles(struct sagent_jobs *out, struct err *err)
{
    AUTO(free) struct sagent_job **v = calloc(out->n + 1, sizeof(struct sagent_job *));
    AUTO(free) bool *drop = calloc(out->n + 1, sizeof *drop);
    if (!v || !drop)
        return no_memory(err);
    for (size_t i = 0; i < out->n; i++)
        v[i] = &out->jobs[i];
    qsort(v, out->n, sizeof *v, by_run);
    for (size_t i = 1, kept = 0; i < out->n; i++) {
        bool same = str_eq(v[i]->id, v[kept]->id) && v[i]->submit_time == v[kept]->submit_time;
        bool worse = same && is_unknown(v[i]) && !is_unknown(v[kept]);
        if (same)
            drop[(worse ? v[i] : v[kept]) - out->jobs] = true;
        kept = worse ? kept : i;
    }
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++)
        if (!drop[i])
            out->jobs[n++] = out->jobs[i];
    out->n = n;
    return 0;
}

static int list_pages(struct sagent *s, const struct sagent_list_filter *filter,
                      struct sagent_jobs *out, struct err *err)
{
    struct list_request request;
    if (make_list_request(filter, &request, err) < 0)
        return -1;
    size_t max = filter->max_jobs ? (size_t)filter->max_jobs : LIST_MAX;
    for (;;) {
        struct decode_next next = {0};
        request.limit = (int64_t)(max - out->n);
        if (list_page(s, &request, out, &next, err) < 0)
            return -1;
        bool more = next.after || next.after_ended || out->n > max;
        if (out->n > max)
            out->n = max;
        out->truncated = more && out->n == max;
        if (!more || out->truncated)
            return 0;
        /* Pages go on, so that this ends. */
        if (next.after_ended < request.after_ended ||
            (next.after_ended == request.after_ended && next.after <= request.after))
            return err_set(err, ERR_PROTOCOL, "the server's reply begins the list again");
        request.after = next.after;
        request.after_ended = next.after_ended;
    }
}

static int list(struct sagent *s, const struct sagent_list_filter *filter, struct sagent_jobs *out,
                struct err *err)
{
    if (list_pages(s, filter, out, err) < 0)
        return -1;
    return filter->since ? drop_doubles(out, err) : 0;
}

int sagent_list(struct sagent *s, const struct sagent_list_filter *filter, struct sagent_jobs **ret,
                struct sagent_error *err)
{
    static const struct sagent_list_filter none;
    struct err e = {0};
    handle_begin(err);
    struct sagent_jobs *j = result_new(sizeof *j);
    if (!j)
        no_memory(&e);
    if (!j || list(s, filter ? filter : &none, j, &e) < 0) {
        sagent_jobs_free(j);
        return handle_fail(&e, err);
    }
    *ret = j;
    return 0;
}

size_t sagent_jobs_count(const struct sagent_jobs *j)
{
    return j->n;
}

const struct sagent_job *sagent_jobs_at(const struct sagent_jobs *j, size_t i)
{
    return i < j->n ? &j->jobs[i] : NULL;
}

int64_t sagent_jobs_as_of(const struct sagent_jobs *j)
{
    return j->as_of;
}

bool sagent_jobs_stale(const struct sagent_jobs *j)
{
    return j->stale;
}

const char *sagent_jobs_note(const struct sagent_jobs *j)
{
    return j->note;
}

const char *sagent_jobs_source(const struct sagent_jobs *j)
{
    return j->source;
}

bool sagent_jobs_truncated(const struct sagent_jobs *j)
{
    return j->truncated;
}

size_t sagent_jobs_missing_count(const struct sagent_jobs *j)
{
    return j->missing_count;
}

const char *sagent_jobs_missing(const struct sagent_jobs *j, size_t i)
{
    return i < j->missing_count ? j->missing[i] : NULL;
}

void sagent_jobs_free(struct sagent_jobs *j)
{
    if (!j)
        return;
    free(j->jobs);
    result_free(j);
}

/* ---- script and environment ---- */

static int script(struct sagent *s, const char *id, struct sagent_script *out, struct err *err)
{
    struct handle_call call;
    struct script_request request = {.id = id};
    if (handle_check_ids(&id, 1, err) < 0)
        return -1;
    int rc = handle_ask(s, OP_job_script, &script_request_type, &request, &call, err);
    if (rc == 0)
        rc = decode_script(call.body, out, err);
    handle_done(&call);
    return rc;
}

static int environment(struct sagent *s, const char *id, struct sagent_script *out, struct err *err)
{
    struct handle_call call;
    struct environment_request request = {.id = id};
    if (handle_check_ids(&id, 1, err) < 0)
        return -1;
    int rc = handle_ask(s, OP_job_environment, &environment_request_type, &request, &call, err);
    if (rc == 0)
        rc = decode_environment(call.body, out, err);
    handle_done(&call);
    return rc;
}

static int text(struct sagent *s, const char *id,
                int (*get_text)(struct sagent *, const char *, struct sagent_script *,
                                struct err *),
                struct sagent_script **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_script *p = result_new(sizeof *p);
    if (!p)
        no_memory(&e);
    if (!p || get_text(s, id, p, &e) < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

int sagent_script(struct sagent *s, const char *id, struct sagent_script **ret,
                  struct sagent_error *err)
{
    return text(s, id, script, ret, err);
}

int sagent_environment(struct sagent *s, const char *id, struct sagent_script **ret,
                       struct sagent_error *err)
{
    return text(s, id, environment, ret, err);
}

void sagent_script_free(struct sagent_script *p)
{
    result_free(p);
}

/* ---- steps ---- */

static int steps(struct sagent *s, const char *const *ids, size_t n, struct sagent_steps *out,
                 struct err *err)
{
    struct handle_call call;
    struct steps_request request = {.ids = {ids, n}};
    if (handle_check_ids(ids, n, err) < 0)
        return -1;
    int rc = handle_ask(s, OP_job_steps, &steps_request_type, &request, &call, err);
    if (rc == 0)
        rc = decode_steps(call.body, out, err);
    handle_done(&call);
    return rc;
}

int sagent_steps(struct sagent *s, const char *const *ids, size_t n, struct sagent_steps **ret,
                 struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_steps *p = result_new(sizeof *p);
    if (!p)
        no_memory(&e);
    if (!p || steps(s, ids, n, p, &e) < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_steps_free(struct sagent_steps *p)
{
    result_free(p);
}
