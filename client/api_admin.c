/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The public calls of slurmagent_admin.h. */
#include "client/slurmagent_admin.h"

#include <string.h>

#include "client/handle.h"
#include "client/result.h"
#include "common/msg.h"
#include "common/str.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

static int ask(struct sagent *s, enum op_number op, const struct msg_type *type,
               const void *request, struct handle_call *ret, struct err *err)
{
    int rc = handle_ask(s, op, type, request, ret, err);
    if (rc < 0 && err->code == ERR_UNSUPPORTED)
        err_while(err, "it is older than slurm-agent's administration");
    return rc;
}

/* A body whose strings go into the result's arena. */
static int unpack(const struct msg_type *type, struct bytes body, void *result, void *out,
                  struct err *err)
{
    return msg_unpack(type, body, result_arena(result), MSG_LENIENT, out, err);
}

typedef int (*decode_fn)(struct bytes body, void *out, struct err *err);

/* Asks, and decodes the answer into a result of that size. */
static int ask_for(struct sagent *s, enum op_number op, const struct msg_type *type,
                   const void *request, decode_fn decode, size_t size, void *ret,
                   struct sagent_error *err)
{
    struct err e = {0};
    struct handle_call call = {0};
    handle_begin(err);
    void *p = result_new(size);
    int rc = p ? ask(s, op, type, request, &call, &e) : no_memory(&e);
    if (rc == 0)
        rc = decode(call.body, p, &e);
    handle_done(&call);
    if (rc < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    memcpy(ret, &p, sizeof p);
    return 0;
}

/* ---- stats ---- */

static int decode_sample(struct bytes body, void *result, struct sagent_sample *out,
                         struct err *err)
{
    struct stats_sample s;
    if (unpack(&stats_sample_type, body, result, &s, err) < 0)
        return -1;
    struct sagent_pair *labels = arena_array(result_arena(result), s.labels.n, sizeof *labels);
    if (!labels)
        return no_memory(err);
    for (size_t i = 0; i < s.labels.n; i++)
        labels[i] = (struct sagent_pair){s.labels.v[i].name, s.labels.v[i].value};
    *out = (struct sagent_sample){
        .labels = labels,
        .label_count = s.labels.n,
        .value = s.value,
        .buckets = s.buckets.v,
        .bucket_count = s.buckets.n,
    };
    return 0;
}

static int decode_family(struct bytes body, void *result, struct sagent_family *out,
                         struct err *err)
{
    struct stats_family f;
    if (unpack(&stats_family_type, body, result, &f, err) < 0)
        return -1;
    struct sagent_sample *v = arena_array(result_arena(result), f.samples.n, sizeof *v);
    if (!v)
        return no_memory(err);
    if (!f.name || !f.kind)
        return err_set(err, ERR_PROTOCOL, "the server's statistics have a family without a name");
    bool histogram = str_eq(f.kind, "histogram");
    for (size_t i = 0; i < f.samples.n; i++) {
        if (decode_sample(f.samples.v[i], result, &v[i], err) < 0)
            return -1;
        if (v[i].bucket_count != (histogram ? f.bounds.n + 1 : 0))
            return err_set(err, ERR_PROTOCOL, "%s: %zu buckets, %zu bounds", f.name,
                           v[i].bucket_count, f.bounds.n);
    }
    *out = (struct sagent_family){
        .name = f.name,
        .kind = f.kind,
        .help = str_or(f.help, ""),
        .divisor = f.divisor ? f.divisor : 1,
        .bounds = f.bounds.v,
        .bound_count = f.bounds.n,
        .samples = v,
        .sample_count = f.samples.n,
    };
    return 0;
}

static int decode_stats(struct bytes body, void *result, struct err *err)
{
    struct sagent_stats *out = result;
    struct stats_reply r;
    if (unpack(&stats_reply_type, body, out, &r, err) < 0)
        return -1;
    struct sagent_family *v = arena_array(result_arena(out), r.families.n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < r.families.n; i++)
        if (decode_family(r.families.v[i], out, &v[i], err) < 0)
            return -1;
    out->version = r.version;
    out->cluster = r.cluster;
    out->slurm_version = r.slurm_version;
    out->server_time = r.server_time;
    out->families = v;
    out->family_count = r.families.n;
    return 0;
}

int sagent_stats(struct sagent *s, struct sagent_stats **ret, struct sagent_error *err)
{
    return ask_for(s, OP_admin_stats, &empty_type, &(struct empty){0}, decode_stats, sizeof **ret,
                   ret, err);
}

void sagent_stats_free(struct sagent_stats *p)
{
    result_free(p);
}

/* ---- limits ---- */

static int decode_limits(struct bytes body, void *result, struct err *err)
{
    struct sagent_limits *out = result;
    struct limits_reply r;
    if (unpack(&limits_reply_type, body, out, &r, err) < 0)
        return -1;
    struct sagent_limit *v = arena_array(result_arena(out), r.limits.n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < r.limits.n; i++) {
        struct limit_use u;
        if (unpack(&limit_use_type, r.limits.v[i], out, &u, err) < 0)
            return -1;
        v[i] = (struct sagent_limit){
            .name = str_or(u.name, "?"),
            .help = str_or(u.help, ""),
            .unit = u.unit,
            .used = u.used,
            .max = u.max,
            .who = u.who,
        };
    }
    out->limits = v;
    out->n = r.limits.n;
    return 0;
}

int sagent_limits(struct sagent *s, struct sagent_limits **ret, struct sagent_error *err)
{
    return ask_for(s, OP_admin_limits, &empty_type, &(struct empty){0}, decode_limits, sizeof **ret,
                   ret, err);
}

void sagent_limits_free(struct sagent_limits *p)
{
    result_free(p);
}

/* ---- sessions ---- */

static int decode_users(const struct sessions_reply *r, struct sagent_sessions *out,
                        struct err *err)
{
    struct sagent_session_user *v = arena_array(result_arena(out), r->users.n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < r->users.n; i++) {
        struct session_user u;
        if (unpack(&session_user_type, r->users.v[i], out, &u, err) < 0)
            return -1;
        v[i] = (struct sagent_session_user){
            .user = str_or(u.user, "?"),
            .uid = u.uid,
            .rights = u.rights.v,
            .right_count = u.rights.n,
            .sessions = u.sessions,
            .requests = u.requests,
            .held = u.held,
            .submits = u.submits,
            .seen = u.seen,
        };
    }
    out->users = v;
    out->user_count = r->users.n;
    return 0;
}

static int decode_sessions(struct bytes body, void *result, struct err *err)
{
    struct sagent_sessions *out = result;
    struct sessions_reply r;
    if (unpack(&sessions_reply_type, body, out, &r, err) < 0 || decode_users(&r, out, err) < 0)
        return -1;
    struct sagent_session *v = arena_array(result_arena(out), r.sessions.n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < r.sessions.n; i++) {
        struct session_row row;
        if (unpack(&session_row_type, r.sessions.v[i], out, &row, err) < 0)
            return -1;
        v[i] = (struct sagent_session){
            .id = str_or(row.id, "?"),
            .origin = row.origin,
            .munge_host = row.munge_host,
            .since = row.since,
            .ends = row.ends,
        };
    }
    out->sessions = v;
    out->session_count = r.sessions.n;
    out->more = r.more;
    return 0;
}

int sagent_sessions(struct sagent *s, const char *user, struct sagent_sessions **ret,
                    struct sagent_error *err)
{
    const struct sessions_request req = {.user = user};
    return ask_for(s, OP_admin_sessions, &sessions_request_type, &req, decode_sessions,
                   sizeof **ret, ret, err);
}

void sagent_sessions_free(struct sagent_sessions *p)
{
    result_free(p);
}

/* ---- what is done ---- */

/* Of each of these answers one number is told. */
static int change(struct sagent *s, enum op_number op, const struct msg_type *type,
                  const void *request, const struct msg_type *reply, void *body,
                  const int64_t *number, int64_t *ret, struct sagent_error *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err e = {0};
    struct handle_call call;
    handle_begin(err);
    int rc = ask(s, op, type, request, &call, &e);
    if (rc == 0)
        rc = msg_unpack(reply, call.body, &arena, MSG_LENIENT, body, &e);
    handle_done(&call);
    if (rc < 0)
        return handle_fail(&e, err);
    if (ret)
        *ret = *number;
    return 0;
}

int sagent_drop_sessions(struct sagent *s, const char *user, int64_t *ret, struct sagent_error *err)
{
    const struct drop_request req = {.user = user};
    struct drop_reply r = {0};
    return change(s, OP_admin_drop, &drop_request_type, &req, &drop_reply_type, &r, &r.sessions,
                  ret, err);
}

int sagent_drain(struct sagent *s, bool draining, int64_t *ret, struct sagent_error *err)
{
    struct drain_reply r = {0};
    return change(s, draining ? OP_admin_drain : OP_admin_resume, &empty_type, &(struct empty){0},
                  &drain_reply_type, &r, &r.submits, ret, err);
}

int sagent_reload(struct sagent *s, int64_t *ret, struct sagent_error *err)
{
    struct reload_reply r = {0};
    return change(s, OP_admin_reload, &empty_type, &(struct empty){0}, &reload_reply_type, &r,
                  &r.changed, ret, err);
}
