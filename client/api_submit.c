/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sagent_submit(): what the caller gives as a submit_request */
#include <stdlib.h>
#include <string.h>

#include "client/decode.h"
#include "client/staging.h"
#include "client/conn.h"
#include "client/handle.h"
#include "client/held.h"
#include "client/request_id.h"
#include "client/result.h"
#include "client/submit_fate.h"
#include "common/clock.h"
#include "common/seal.h"
#include "common/str.h"

enum {
    LINE_MAX_BYTES = 60000,
    TRY_MS = 60000, /* the server, if it is there, goes on with what it has: ask it anew */
    RETRY_MS = 20000,
    LONGEST_PAUSE_MS = 5000,
    LAST_TRY_MS = 2000, /* a try with less ends in doubt over a server that answers slowly */
};

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
    struct bytes *parts = arena_array(arena, in->component_count, sizeof *parts);
    if (!parts)
        return no_memory(err);
    if (handle_take_options(in->options, in->option_count, arena, &out->options, err) < 0 ||
        (in->defaults && handle_take_options(in->defaults->options, in->defaults->option_count,
                                             arena, &out->defaults, err) < 0))
        return -1;
    for (size_t i = 0; i < in->component_count; i++) {
        const struct sagent_options_set *set = &in->components[i];
        struct component part;
        if (handle_take_options(set->options, set->option_count, arena, &part.options, err) < 0)
            return err_while(err, "component %zu", i + 1);
        parts[i] = msg_pack_arena(&component_type, &part, arena);
        if (!parts[i].p)
            return no_memory(err);
    }
    out->components = (struct raws){parts, in->component_count};
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

/* ---- the request id ---- */

static const char *id_text(void *result, const uint8_t id[REQUEST_ID])
{
    char hex[REQUEST_ID_TEXT];
    str_hex(id, REQUEST_ID, hex);
    return arena_strdup(result_arena(result), hex);
}

/* A reply that cannot be given to the caller leaves the job where it is. */
static int keep_id(struct sagent_submit_reply *out, const uint8_t id[REQUEST_ID], struct err *err)
{
    out->request_id = id_text(out, id);
    return out->request_id ? 0 : err_set(err, ERR_IN_DOUBT, "no memory for the server's reply");
}

/* ---- the whole ---- */

static const char *cut_line(const char *line, struct arena *arena)
{
    if (!line || strlen(line) <= LINE_MAX_BYTES)
        return line;
    return arena_strndup(arena, line, str_cut(line, LINE_MAX_BYTES));
}

static int make_request(const struct sagent_submit_request *in, struct arena *arena,
                        uint8_t id[REQUEST_ID], struct submit_request *out, struct err *err)
{
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0 ||
        take_arguments(in, out, err) < 0 || take_options(in, arena, out, err) < 0 ||
        take_environment(in, arena, out, err) < 0 || staging_take(in->staging, arena, out, err) < 0)
        return -1;
    if (in->retry_s < 0)
        return err_set(err, ERR_INVALID, "retry_s %lld is negative", (long long)in->retry_s);
    if (request_id_take(in->request_id, id, err) < 0)
        return -1;
    out->request_id = (struct bytes){id, REQUEST_ID};
    out->script = (struct bytes){in->script, in->script_size};
    out->script_path = in->script_path;
    out->script_name = in->script_name;
    out->login_environment = in->login_environment;
    out->export_none = in->export_none;
    out->submit_dir = in->submit_dir;
    out->time_zone = in->time_zone;
    out->submit_line = cut_line(in->submit_line, arena);
    return 0;
}

/* ---- tries ---- */

/* A submit over all its tries. */
struct tries {
    struct sagent *s;
    struct submit_request *request;
    uint8_t instance[SEAL_ID]; /* of the journal that may know it */
    bool doubt;                /* a try may have reached that journal, and nobody has said more */
    int64_t begun_ms, end_ms;
    int64_t last_try_ms; /* what a try is to have at least */
    int64_t retry_ms;    /* how long what certainly made no job is tried again */
    bool patient;        /* and whatever the reason */
    int64_t base_ms;     /* of the back-off */
};

static int64_t left_ms(const struct tries *t)
{
    int64_t left = t->end_ms - clock_mono_ms();
    return left > 0 ? left : 0;
}

/* Is the session's journal another one?  A server whose journal could not be opened yet has none,
 * and has noted nothing: which one it will be is not known. */
static bool is_another(const struct tries *t)
{
    static const uint8_t none[SEAL_ID];
    const uint8_t *is = csession_instance(handle_session(t->s));
    return memcmp(is, none, SEAL_ID) != 0 && memcmp(is, t->instance, SEAL_ID) != 0;
}

/* Of pauses: what is left then is enough for a try. */
static int64_t spare_ms(const struct tries *t)
{
    int64_t spare = left_ms(t) - t->last_try_ms;
    return spare > 0 ? spare : 0;
}

/* The journal that is to answer for it: the first one that was asked. */
static int pin(struct tries *t, int timeout_ms, struct err *err)
{
    struct csession *cs = handle_session(t->s);
    if (conn_check_process(err) < 0 || csession_ready(cs, timeout_ms, err) < 0)
        return -1;
    if (!t->doubt)
        memcpy(t->instance, csession_instance(cs), SEAL_ID);
    t->request->journal = (struct bytes){t->instance, SEAL_ID};
    if (!is_another(t))
        return 0;
    return err_set(err, ERR_IN_DOUBT,
                   "the server's journal is another one than when this was submitted first, and "
                   "knows nothing of it: it was restored, moved away or begun anew");
}

static int try_once(struct tries *t, struct sagent_submit_reply *out, struct err *err)
{
    struct handle_call call;
    int64_t left = left_ms(t);
    int timeout_ms = (int)(left < TRY_MS ? left : TRY_MS);
    if (pin(t, timeout_ms, err) < 0) {
        handle_explain(t->s, err);
        return -1;
    }
    if (handle_ask_for(t->s, timeout_ms, OP_job_submit, &submit_request_type, t->request, &call,
                       err) < 0)
        return -1;
    int rc = decode_submit(call.body, out, err);
    if (rc < 0) {
        struct err cause = *err;
        *err = (struct err){0};
        err_set(err, ERR_IN_DOUBT, "%s", cause.text);
    }
    handle_done(&call);
    return rc;
}

bool submit_is_fate(const struct err *err)
{
    return err->code == ERR_NOT_SUBMITTED || err->code == ERR_SLURM_DOWN ||
           err->code == ERR_MUNGE || err->code == ERR_FULL ||
           (err->slurm_errno && !err_retry(err->code));
}

/* What a failed try says about the submit. */
static void learn(struct tries *t, const struct err *err)
{
    if (err->code == ERR_IN_DOUBT)
        t->doubt = true;
    else if (csession_replied(handle_session(t->s)) && submit_is_fate(err))
        t->doubt = false; /* and of every try before */
    if (err->code == ERR_SESSION)
        csession_forget(handle_session(t->s));
}

static bool may_help(const struct tries *t, const struct err *err)
{
    bool other_journal = err->code == ERR_IN_DOUBT && is_another(t);
    bool interrupted = csession_interrupted(handle_session(t->s)) || err->code == ERR_INTERRUPTED;
    if (interrupted || other_journal || spare_ms(t) == 0)
        return false;
    if (t->doubt)
        return err->code == ERR_IN_DOUBT || err_retry(err->code);
    if (!err_retry(err->code) || clock_mono_ms() - t->begun_ms >= t->retry_ms)
        return false;
    bool away = err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT;
    if (t->patient || err->code == ERR_SESSION || err->code == ERR_NOT_SUBMITTED)
        return true;
    return err->code == ERR_BUSY || (away && handle_has_been_served(t->s));
}

/* The advice is the server's, how long to go on the caller's: the last try is at the end of that.
 */
static int64_t longest_pause_ms(const struct tries *t)
{
    int64_t longest = spare_ms(t), left = t->begun_ms + t->retry_ms - clock_mono_ms();
    if (!t->doubt && left < longest)
        longest = left > 0 ? left : 0;
    return longest;
}

static int pause_a_while(struct tries *t, const struct err *why, struct err *err)
{
    int64_t ms = held_longer_pause_ms(&t->base_ms, LONGEST_PAUSE_MS, why->retry_after_ms);
    int64_t longest = longest_pause_ms(t);
    return handle_pause(t->s, ms < longest ? ms : longest, err);
}

/* In doubt whatever the last try's trouble was. */
static int give_up(const struct tries *t, struct err *err)
{
    struct err cause = *err;
    char hex[REQUEST_ID_TEXT];
    if (!t->doubt)
        return -1;
    str_hex(t->request->request_id.p, REQUEST_ID, hex);
    *err = (struct err){.slurm_errno = cause.slurm_errno};
    return err_set(
        err, ERR_IN_DOUBT,
        "the job may or may not have been submitted; submit it again with the request id "
        "%s, which makes no second job, or look with it (%s)",
        hex, cause.text);
}

static int submit(struct sagent *s, const struct sagent_submit_request *in,
                  struct sagent_submit_reply *out, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct submit_request request = {0};
    uint8_t id[REQUEST_ID];
    int64_t now = clock_mono_ms();
    if (make_request(in, &arena, id, &request, err) < 0)
        return -1;
    struct tries t = {
        .s = s,
        .request = &request,
        .begun_ms = now,
        .end_ms = now + handle_submit_timeout_ms(s),
        .retry_ms = in->retry_s ? in->retry_s * 1000 : RETRY_MS,
        .patient = in->retry_s != 0,
    };
    if (t.end_ms < now + t.retry_ms && t.patient)
        t.end_ms = now + t.retry_ms;
    t.last_try_ms = (t.end_ms - now) / 4;
    if (t.last_try_ms > LAST_TRY_MS)
        t.last_try_ms = LAST_TRY_MS;
    while (try_once(&t, out, err) < 0) {
        struct err stopped = {0};
        learn(&t, err);
        if (!may_help(&t, err))
            return give_up(&t, err);
        handle_outage(s, err);
        if (pause_a_while(&t, err, &stopped) < 0) {
            *err = stopped;
            return give_up(&t, err);
        }
        *err = (struct err){0};
    }
    handle_outage(s, NULL);
    return keep_id(out, id, err);
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

/* ---- what became of it ---- */

static int ask_request(struct sagent *s, enum op_number op, const struct msg_type *type,
                       const void *body, const uint8_t id[REQUEST_ID], struct sagent_request *out,
                       struct err *err)
{
    struct handle_call call;
    if (handle_ask(s, op, type, body, &call, err) < 0)
        return -1;
    int rc = decode_request(call.body, out, err);
    handle_done(&call);
    if (rc == 0 && !(out->request_id = id_text(out, id)))
        rc = no_memory(err);
    return rc;
}

static int query(struct sagent *s, const char *text, struct sagent_request *out, struct err *err)
{
    uint8_t id[REQUEST_ID];
    if (request_id_take(text, id, err) < 0)
        return -1;
    const struct request_query q = {.request_id = {id, REQUEST_ID}};
    return ask_request(s, OP_job_request, &request_query_type, &q, id, out, err);
}

static int resolve(struct sagent *s, const struct sagent_resolve_request *in,
                   struct sagent_request *out, struct err *err)
{
    uint8_t id[REQUEST_ID];
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0 ||
        request_id_take(str_or(in->request_id, ""), id, err) < 0)
        return -1;
    if (in->job_id < 0 || in->job_id > UINT32_MAX)
        return err_set(err, ERR_INVALID, "job_id %lld is none", (long long)in->job_id);
    const struct resolve_request r = {
        .request_id = {id, REQUEST_ID}, .none = in->none, .job_id = in->job_id};
    return ask_request(s, OP_job_resolve, &resolve_request_type, &r, id, out, err);
}

/* Gives p when rc is 0. */
static int give_request(struct sagent_request *p, int rc, const struct err *e,
                        struct sagent_request **ret, struct sagent_error *err)
{
    if (rc < 0) {
        result_free(p);
        return handle_fail(e, err);
    }
    *ret = p;
    return 0;
}

int sagent_request(struct sagent *s, const char *request_id, struct sagent_request **ret,
                   struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_request *p = result_new(sizeof *p);
    int rc = p ? query(s, str_or(request_id, ""), p, &e) : no_memory(&e);
    return give_request(p, rc, &e, ret, err);
}

int sagent_resolve(struct sagent *s, const struct sagent_resolve_request *request,
                   struct sagent_request **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_request *p = result_new(sizeof *p);
    int rc = p ? resolve(s, request, p, &e) : no_memory(&e);
    return give_request(p, rc, &e, ret, err);
}

void sagent_request_free(struct sagent_request *p)
{
    result_free(p);
}
