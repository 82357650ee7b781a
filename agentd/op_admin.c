/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_admin.c: admin.*: what there is, who is there, and what administrators do about it
 *
 * Nothing here asks Slurm: it is about this server.  Who may is dispatch.c's to see to.
 */
#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/admin.h"
#include "agentd/caps.h"
#include "agentd/dispatch.h"
#include "agentd/monlink.h"
#include "agentd/requests.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    ROWS_MAX = 10000,
    RELOADS_MAX = 16,      /* that wait */
    RELOAD_MS = 10000,     /* the monitor answers at once */
    SESSION_SHOWN = 8 + 1, /* of a session's name */
};

static void fail_memory(struct call *c)
{
    struct err err = {0};
    err_set(&err, ERR_BUSY, "no memory");
    call_fail(c, &err);
}

/* ---- stats and limits ---- */

void op_admin_stats(struct call *c)
{
    const struct agentd *a = c->a;
    struct err err = {0};
    struct watch_status w;
    if (!call_unpack_empty(c))
        return;
    watch_status(a->watch, &w);
    struct stats_reply r = {
        .version = VERSION,
        .cluster = *watch_cluster(a->watch) ? watch_cluster(a->watch) : NULL,
        .slurm_version = *w.slurm_version ? w.slurm_version : NULL,
        .server_time = clock_now(),
    };
    if (metrics_tell(a, &c->arena, &r.families, &err) < 0)
        call_fail(c, &err);
    else
        call_reply(c, &r);
}

static struct bytes pack_limit(struct call *c, enum cap_index cap)
{
    struct cap_use use;
    const struct cap_name name = caps_name(cap);
    caps_look(c->a, cap, &use);
    const struct limit_use row = {
        .name = name.name,
        .used = use.used,
        .max = use.max,
        .unit = *name.unit ? name.unit : NULL,
        .who = *use.who ? use.who : NULL,
        .help = name.help,
    };
    return msg_pack_arena(&limit_use_type, &row, &c->arena);
}

void op_admin_limits(struct call *c)
{
    struct bytes v[DIM_cap_N];
    if (!call_unpack_empty(c))
        return;
    for (int i = 0; i < DIM_cap_N; i++)
        if (!(v[i] = pack_limit(c, (enum cap_index)i)).p) {
            fail_memory(c);
            return;
        }
    call_reply(c, &(struct limits_reply){.limits = {v, DIM_cap_N}});
}

/* ---- who is there ---- */

struct finding {
    const char *name;
    int64_t uid; /* -1: by name alone */
    const struct user *found;
};

static void look(void *arg, const struct user *u)
{
    struct finding *f = arg;
    if (!u->sessions) /* they have just gone */
        return;
    if (str_eq(u->name, f->name) || (f->uid >= 0 && u->uid == f->uid))
        f->found = u;
}

/* By name, or by uid; NULL with err when they are not here. */
static const struct user *find_user(const struct call *c, const char *name, struct err *err)
{
    struct finding f = {.name = name};
    if (!name) {
        err_set(err, ERR_INVALID, "no user is given");
        return NULL;
    }
    if (!str_to_i64(name, 0, UINT32_MAX, &f.uid))
        f.uid = -1;
    sessions_each_user(c->a->sessions, look, &f);
    if (!f.found)
        err_set(err, ERR_NOT_FOUND, "user %s has no session here", name);
    return f.found;
}

struct gathering {
    const struct user **v; /* users */
    size_t n, room;
    struct call *c;
    struct session_row *rows; /* sessions of one */
    size_t n_rows, more;
};

static void add_user(void *arg, const struct user *u)
{
    struct gathering *g = arg;
    if (g->n < g->room)
        g->v[g->n++] = u;
}

static int most_active_first(const void *a, const void *b)
{
    const struct user *x = *(const struct user *const *)a, *y = *(const struct user *const *)b;
    size_t i = x->calls + x->held, k = y->calls + y->held;
    if (i != k)
        return i < k ? 1 : -1;
    if (x->seen_us != y->seen_us)
        return x->seen_us < y->seen_us ? 1 : -1;
    return (x->uid > y->uid) - (x->uid < y->uid);
}

static struct bytes pack_user(struct call *c, const struct user *u)
{
    const char *rights[3];
    struct session_user row = {
        .user = u->name,
        .uid = u->uid,
        .rights = {rights, 0},
        .sessions = (int64_t)u->sessions,
        .requests = (int64_t)u->calls,
        .held = (int64_t)u->held,
        .submits = (int64_t)requests_of_user(c->a->requests, u->uid),
    };
    if (u->seen_us)
        row.seen = clock_now() - (clock_mono_us() - u->seen_us) / 1000000;
    if (u->rights & RIGHT_JOBS)
        rights[row.rights.n++] = "JOBS";
    if (u->rights & RIGHT_STATS)
        rights[row.rights.n++] = "STATS";
    if (u->rights & RIGHT_ADMIN)
        rights[row.rights.n++] = "ADMIN";
    return msg_pack_arena(&session_user_type, &row, &c->arena);
}

static void add_session(void *arg, const char *name, const struct session_info *info)
{
    struct gathering *g = arg;
    struct arena *arena = &g->c->arena;
    if (g->n_rows == ROWS_MAX) {
        g->more++;
        return;
    }
    struct session_row *row = &g->rows[g->n_rows];
    *row = (struct session_row){
        .id = arena_strndup(arena, name, SESSION_SHOWN - 1),
        .origin = arena_strdup(arena, info->origin),
        .munge_host = arena_strdup(arena, info->munge_host),
        .since = info->since,
        .ends = info->ends,
    };
    g->n_rows += row->id && row->origin && row->munge_host;
}

static int newest_first(const void *a, const void *b)
{
    const struct session_row *x = a, *y = b;
    return (x->since < y->since) - (x->since > y->since);
}

static bool pack_sessions(struct gathering *g, const struct user *u, struct raws *out)
{
    struct call *c = g->c;
    size_t room = u->sessions < ROWS_MAX ? u->sessions : ROWS_MAX;
    g->rows = arena_array(&c->arena, room + 1, sizeof *g->rows);
    struct bytes *v = arena_array(&c->arena, room + 1, sizeof *v);
    if (!g->rows || !v)
        return false;
    sessions_each(c->a->sessions, u, add_session, g);
    qsort(g->rows, g->n_rows, sizeof *g->rows, newest_first);
    for (size_t i = 0; i < g->n_rows; i++)
        if (!(v[i] = msg_pack_arena(&session_row_type, &g->rows[i], &c->arena)).p)
            return false;
    *out = (struct raws){v, g->n_rows};
    return true;
}

static bool pack_users(struct gathering *g, struct raws *out)
{
    size_t n = g->n < ROWS_MAX ? g->n : ROWS_MAX;
    struct bytes *v = arena_array(&g->c->arena, n + 1, sizeof *v);
    qsort(g->v, g->n, sizeof *g->v, most_active_first);
    g->more = g->n - n;
    for (size_t i = 0; v && i < n; i++)
        if (!(v[i] = pack_user(g->c, g->v[i])).p)
            return false;
    *out = (struct raws){v, n};
    return v != NULL;
}

void op_admin_sessions(struct call *c)
{
    struct sessions_request req;
    struct sessions_reply r = {0};
    struct err err = {0};
    const struct user *one = NULL;
    struct gathering g = {.c = c, .room = sessions_users(c->a->sessions)};
    if (call_unpack(c, &req, &err) < 0 || (req.user && !(one = find_user(c, req.user, &err)))) {
        call_fail(c, &err);
        return;
    }
    g.v = arena_array(&c->arena, g.room + 1, sizeof *g.v);
    if (g.v && one)
        g.v[g.n++] = one;
    else if (g.v)
        sessions_each_user(c->a->sessions, add_user, &g);
    if (!g.v || !pack_users(&g, &r.users) || (one && !pack_sessions(&g, one, &r.sessions))) {
        fail_memory(c);
        return;
    }
    r.more = (int64_t)g.more;
    call_reply(c, &r);
}

/* ---- what is done ---- */

/* The session it is asked in goes last, for the answer is sealed with it. */
void op_admin_drop(struct call *c)
{
    struct drop_request req;
    struct err err = {0};
    char what[300];
    uint8_t own[SEAL_ID];
    struct agentd *a = c->a;
    if (call_unpack(c, &req, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    snprintf(what, sizeof what, "target=%.100s", str_or(req.user, ""));
    call_about(c, what);
    const struct user *u = find_user(c, req.user, &err);
    if (!u) {
        call_fail(c, &err);
        return;
    }
    bool mine = u == c->user;
    memcpy(own, c->session, sizeof own);
    size_t n = sessions_drop(a->sessions, u, own) + mine;
    snprintf(what, sizeof what, "target=%.80s sessions=%zu", u->name, n);
    call_about(c, what);
    call_reply(c, &(struct drop_reply){.sessions = (int64_t)n});
    if (mine)
        sessions_end(a->sessions, own);
}

/* The monitor keeps it for the brokers that follow, and says it to us. */
static void drain(struct call *c, enum monitor_ask ask)
{
    struct err err = {0};
    if (!call_unpack_empty(c))
        return;
    call_about(c, "target=server");
    if (c->a->stop_by_us)
        err_set(&err, ERR_BUSY, "the server is stopping");
    else
        monlink_say(c->a->monitor, ask, 0, &err);
    if (err.code != ERR_NONE) {
        call_fail(c, &err);
        return;
    }
    c->a->draining = ask == ASK_DRAIN;
    const struct drain_reply r = {
        .draining = c->a->draining,
        .submits = (int64_t)requests_busy(c->a->requests),
    };
    call_reply(c, &r);
}

void op_admin_drain(struct call *c)
{
    drain(c, ASK_DRAIN);
}

void op_admin_resume(struct call *c)
{
    drain(c, ASK_RESUME);
}

/* ---- reload ---- */

struct reload {
    struct call *call; /* NULL: free */
    uint32_t serial;
    sd_event_source *timer;
};

struct admin {
    struct agentd *a;
    uint32_t serial;
    struct reload reloads[RELOADS_MAX];
};

struct admin *admin_new(struct agentd *a, struct err *err)
{
    struct admin *m = calloc(1, sizeof *m);
    if (!m) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    m->a = a;
    return m;
}

static void answer(struct reload *r, int64_t changed, const struct err *err)
{
    struct call *c = TAKE(r->call);
    r->timer = sd_event_source_disable_unref(r->timer);
    if (err->code != ERR_NONE)
        call_fail(c, err);
    else
        call_reply(c, &(struct reload_reply){.changed = changed});
}

void admin_free(struct admin *m)
{
    struct err err = {0};
    if (!m)
        return;
    err_set(&err, ERR_BUSY, "the server is stopping");
    for (size_t i = 0; i < RELOADS_MAX; i++)
        if (m->reloads[i].call)
            answer(&m->reloads[i], 0, &err);
    free(m);
}

void admin_reloaded(struct admin *m, const struct monitor_event *ev)
{
    struct err err = {0};
    if (ev->code)
        err_set(&err, err_from_wire(ev->code), "%s", ev->text);
    for (size_t i = 0; i < RELOADS_MAX; i++)
        if (m->reloads[i].call && m->reloads[i].serial == ev->serial)
            answer(&m->reloads[i], ev->status, &err);
}

static int on_late(sd_event_source *s, uint64_t usec, void *arg)
{
    struct err err = {0};
    (void)s;
    (void)usec;
    err_set(&err, ERR_TIMEOUT, "the monitor has not read agentd.conf in time");
    answer(arg, 0, &err);
    return 0;
}

void op_admin_reload(struct call *c)
{
    struct admin *m = c->a->admin;
    struct err err = {0};
    size_t i = 0;
    if (!call_unpack_empty(c))
        return;
    call_about(c, "target=agentd.conf");
    while (i < RELOADS_MAX && m->reloads[i].call)
        i++;
    if (i == RELOADS_MAX) {
        err_set(&err, ERR_BUSY, "%d reloads are under way", RELOADS_MAX);
        call_fail(c, &err);
        return;
    }
    struct reload *r = &m->reloads[i];
    *r = (struct reload){.serial = ++m->serial};
    if (sd_event_add_time_relative(c->a->loop, &r->timer, CLOCK_MONOTONIC, RELOAD_MS * 1000ULL, 0,
                                   on_late, r) < 0)
        err_set(&err, ERR_BUSY, "no memory");
    r->call = c;
    if (err.code != ERR_NONE || monlink_say(m->a->monitor, ASK_RELOAD, r->serial, &err) < 0)
        answer(r, 0, &err);
}
