/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/session.h"

#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/authlink.h"
#include "agentd/journal_requests.h"
#include "agentd/dispatch.h"
#include "agentd/limit.h"
#include "agentd/held.h"
#include "agentd/listen.h"
#include "agentd/metrics.h"
#include "agentd/paced.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    SESSION_BUCKETS = 16384, /* a power of two */
    USER_BUCKETS = 1024,
    PLAIN_HEAD = 4,
    HELLO_WAITS = 1024, /* that many, of one address so many, and no longer than: */
    HELLO_WAITS_EACH = 64,
    HELLO_WAIT_MS = 2000,
    HELLO_EVERY_MS = 20,
    HELLO_AGAIN_MS = 1000,
};

/* A HELLO that came when there were too many. */
struct hello_wait {
    struct listen_call *lc;
    struct bytes cred; /* borrowed from it */
    int64_t until_ms;
};

struct session {
    struct session *next; /* in its bucket */
    struct user *user;
    struct seal seal;
    int64_t since, ends; /* Unix seconds */
    int64_t ends_mono;   /* the same for a clock that is set back */
    char munge_host[64], origin[64];
};

struct sessions {
    struct agentd *a;
    sd_event_source *tick;
    struct limit *hello_limit;
    struct hello_wait
        waiting[HELLO_WAITS]; /* first come, first served, each at its address' rate */
    size_t n_waiting;
    sd_event_source *hello_tick;
    struct session *buckets[SESSION_BUCKETS];
    struct user *users[USER_BUCKETS];
    size_t count, n_users;
    size_t sweep_at; /* bucket the next sweep begins at */
    uint8_t *plain;  /* one opened request at a time */
    size_t plain_size;
};

/* ---- refusals: the only answers that are not sealed ---- */

static void refuse(struct listen_call *lc, const uint8_t *session, const struct err *err)
{
    metrics_add(refused, result_of(err->code), 0, 1);
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out) {
        listen_drop(lc);
        return;
    }
    msg_pack_error(err, out);
    struct bytes body = wire_out_bytes(out);
    uint8_t *frame = body.p ? listen_reply(lc, SEAL_HEADER + body.n) : NULL;
    if (!frame) {
        listen_drop(lc);
        return;
    }
    struct seal_header h = {.kind = SEAL_REFUSED};
    if (session)
        memcpy(h.session, session, SEAL_ID);
    seal_put_header(frame, &h);
    memcpy(frame + SEAL_HEADER, body.p, body.n);
    listen_send(lc, -1);
}

/* ---- users ---- */

static struct user *user_get(struct sessions *s, uint32_t uid)
{
    struct user **at = &s->users[uid % USER_BUCKETS];
    for (struct user *u = *at; u; u = u->next)
        if (u->uid == uid)
            return u;
    struct user *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->uid = uid;
    u->next = *at;
    *at = u;
    s->n_users++;
    return u;
}

void user_log_rest(struct user *u)
{
    if (u->unlogged)
        log_info("call uid=%u: %u more failed and are not shown", u->uid, u->unlogged);
    u->unlogged = 0;
}

/* A user whose change is not in w's table yet is kept, too (w NULL: no longer): a client says
 * goodbye when it has submitted, and the user's next one is to see the job.  So is one who has
 * asked much just now: with another session he is to have no more. */
static void users_sweep(struct sessions *s, struct user **at, const struct watch *w)
{
    while (*at) {
        struct user *u = *at;
        bool busy = u->sessions || u->calls || u->held || u->rates.refused;
        if (busy ||
            (w && (!watch_covers(w, &u->seen_by) || !rates_rested(&u->rates, &s->a->conf)))) {
            at = &u->next;
            continue;
        }
        *at = u->next;
        user_log_rest(u);
        free(u);
        s->n_users--;
    }
}

/* ---- sessions ---- */

static struct session **bucket(struct sessions *s, const uint8_t id[SEAL_ID])
{
    uint64_t h; /* ids are random: their first bytes are as good as a hash */
    memcpy(&h, id, sizeof h);
    return &s->buckets[h % SESSION_BUCKETS];
}

static bool over(const struct session *e)
{
    return clock_now() >= e->ends || clock_mono_ms() >= e->ends_mono;
}

/* Also a session that has ended, while replies may still be owed. */
static struct session *find_any(const struct sessions *s, const uint8_t id[SEAL_ID])
{
    struct session *e = *bucket((struct sessions *)s, id);
    while (e && memcmp(e->seal.session, id, SEAL_ID) != 0)
        e = e->next;
    return e;
}

static struct session *find(const struct sessions *s, const uint8_t id[SEAL_ID])
{
    struct session *e = find_any(s, id);
    return e && !over(e) ? e : NULL;
}

/* The longest a request can be under way: the client must not be told that its session has ended
 * instead of what became of its submit, for then it would submit again. */
static int64_t owed_ms(const struct sessions *s)
{
    const struct agentd_conf *c = &s->a->conf;
    return (2 * c->call_deadline_s + 2 * c->file_deadline_s + 10) * 1000;
}

static void session_end(struct sessions *s, struct session *e)
{
    e->user->sessions--;
    s->count--;
    seal_done(&e->seal);
    free(e);
}

static void sweep_bucket(struct sessions *s, size_t i, bool all)
{
    struct session **at = &s->buckets[i];
    while (*at) {
        struct session *e = *at;
        if (!all && clock_mono_ms() < e->ends_mono + owed_ms(s)) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        session_end(s, e);
    }
}

static int on_tick(sd_event_source *source, uint64_t usec, void *arg)
{
    struct sessions *s = arg;
    for (size_t n = 0; n < SESSION_BUCKETS / 8; n++) {
        sweep_bucket(s, s->sweep_at, false);
        s->sweep_at = (s->sweep_at + 1) % SESSION_BUCKETS;
    }
    for (size_t i = 0; i < USER_BUCKETS; i++)
        users_sweep(s, &s->users[i], s->a->watch);
    sd_event_source_set_time(source, usec + 1000000);
    return 0;
}

static int on_hello_tick(sd_event_source *source, uint64_t usec, void *arg);

struct sessions *sessions_new(struct agentd *a, struct err *err)
{
    struct sessions *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    s->a = a;
    s->plain_size = WIRE_MAX_FRAME;
    s->plain = malloc(s->plain_size);
    s->hello_limit = limit_new(a->conf.hello_rate, a->conf.hello_rate_per_address);
    uint64_t now;
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    if (!s->plain || !s->hello_limit ||
        sd_event_add_time(a->loop, &s->tick, CLOCK_MONOTONIC, now + 1000000, 100000, on_tick, s) <
            0 ||
        sd_event_add_time(a->loop, &s->hello_tick, CLOCK_MONOTONIC, now, 1000, on_hello_tick, s) <
            0) {
        err_set(err, ERR_INTERNAL, "no memory");
        sessions_free(s);
        return NULL;
    }
    sd_event_source_set_enabled(s->tick, SD_EVENT_ON);
    sd_event_source_set_enabled(s->hello_tick, SD_EVENT_OFF);
    return s;
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SESSION_BUCKETS; i++)
        sweep_bucket(s, i, true);
    for (size_t i = 0; i < USER_BUCKETS; i++)
        users_sweep(s, &s->users[i], NULL);
    sd_event_source_disable_unref(s->tick);
    sd_event_source_disable_unref(s->hello_tick);
    limit_free(s->hello_limit);
    free(s->plain);
    free(s);
}

size_t sessions_count(const struct sessions *s)
{
    return s->count;
}

/* ---- HELLO ---- */

/* A HELLO while auth has it. */
struct hello_call {
    struct sessions *s;
    struct listen_call *lc;
    int64_t started_us;
    struct auth_request req;
    uint8_t secret[SEAL_KEY];
};

static void hello_free(struct hello_call *hc)
{
    if (hc)
        seal_forget(hc->secret, sizeof hc->secret);
    free(hc);
}
CLEANUP_FN(struct hello_call, hello_free)

static int session_add(struct sessions *s, const struct hello_call *hc, const struct auth_reply *r,
                       struct err *err)
{
    if (r->uid == 0 && !s->a->single_user && strcmp(listen_origin(hc->lc), "local:0") != 0)
        return err_set(err, ERR_DENIED,
                       "root is not served: use your own account (and slurm-agent --server "
                       "ipc://%s admin on the server itself)",
                       s->a->conf.listen_ipc);
    struct user *u = user_get(s, r->uid);
    if (!u)
        return err_set(err, ERR_BUSY, "no memory for another session");
    if (u->sessions >= (size_t)s->a->conf.max_sessions_per_user)
        return err_set(err, ERR_LIMIT, "user %s has %zu sessions open, as many as are allowed",
                       r->user, u->sessions);
    struct session *e = calloc(1, sizeof *e);
    if (!e)
        return err_set(err, ERR_BUSY, "no memory for another session");
    uint8_t hello_hash[SEAL_HASH], welcome_hash[SEAL_HASH];
    seal_hash(hc->req.cred, hc->req.cred_size, hello_hash);
    seal_hash(r->welcome, r->welcome_size, welcome_hash);
    if (seal_init(&e->seal, SEAL_SERVER, hc->req.session, hc->req.server_key, hc->secret,
                  r->client_key, hello_hash, welcome_hash, err) < 0) {
        free(e);
        return -1;
    }
    e->user = u;
    e->since = clock_now();
    e->ends = e->since + hc->req.lifetime_s;
    e->ends_mono = clock_mono_ms() + (int64_t)hc->req.lifetime_s * 1000;
    str_copy(e->munge_host, sizeof e->munge_host, r->address);
    str_copy(e->origin, sizeof e->origin, listen_origin(hc->lc));
    str_copy(u->name, sizeof u->name, r->user);
    u->gid = r->gid;
    u->rights = r->rights;
    str_copy(u->no_jobs, sizeof u->no_jobs, r->text);
    u->sessions++;
    s->count++;
    struct session **at = bucket(s, hc->req.session);
    e->next = *at;
    *at = e;
    return 0;
}

static void on_auth(void *arg, const struct auth_reply *reply, const struct err *auth_err)
{
    AUTO(hello_free) struct hello_call *hc = arg;
    struct err err = *auth_err;
    const char *origin = listen_origin(hc->lc);
    if (reply && (reply->welcome_size == 0 || reply->welcome_size > CRED_MAX))
        err_set(&err, ERR_INTERNAL, "auth gave no WELCOME");
    if (err.code == ERR_NONE)
        session_add(hc->s, hc, reply, &err);
    uint8_t *frame = NULL;
    if (err.code == ERR_NONE) {
        frame = listen_reply(hc->lc, SEAL_HEADER + reply->welcome_size);
        if (!frame)
            err_set(&err, ERR_BUSY, "no memory");
    }
    metrics_add(hellos, result_of(err.code), 0, 1);
    metrics_took(hello_time, 0, hc->started_us);
    if (err.code != ERR_NONE) {
        char text[2 * sizeof err.text];
        log_notice("hello from=%s code=%s text=%s", origin, err_name(err.code),
                   log_quoted(err.text, text, sizeof text));
        refuse(hc->lc, NULL, &err);
        return;
    }
    log_info("session uid=%u user=%s from=%s sessions=%zu", reply->uid, reply->user, origin,
             hc->s->count);
    struct seal_header h = {.kind = SEAL_WELCOME};
    memcpy(h.session, hc->req.session, SEAL_ID);
    seal_put_header(frame, &h);
    memcpy(frame + SEAL_HEADER, reply->welcome, reply->welcome_size);
    listen_welcome(hc->lc);
    listen_send(hc->lc, -1);
}

static int hello_check(const struct sessions *s, struct bytes cred, struct err *err)
{
    if (cred.n == 0 || cred.n > CRED_MAX)
        return err_set(err, ERR_PROTOCOL, "a HELLO of %zu bytes: 1 to %d are allowed", cred.n,
                       CRED_MAX);
    if (s->count < (size_t)s->a->conf.max_sessions)
        return 0;
    err->retry_after_ms = HELLO_AGAIN_MS;
    return err_set(err, ERR_BUSY, "the server has %zu sessions open, as many as it may", s->count);
}

static void hello_refuse(struct listen_call *lc, const struct err *err)
{
    metrics_add(hellos, result_of(err->code), 0, 1);
    refuse(lc, NULL, err);
}

static void hello(struct sessions *s, struct listen_call *lc, struct bytes cred)
{
    struct err err = {0};
    AUTO(hello_free) struct hello_call *hc = calloc(1, sizeof *hc);
    if (!hc) {
        listen_drop(lc);
        return;
    }
    hc->s = s;
    hc->lc = lc;
    hc->started_us = clock_mono_us();
    seal_random(hc->req.session, SEAL_ID);
    seal_keypair(hc->req.server_key, hc->secret);
    memcpy(hc->req.instance, journal_instance(s->a->journal), SEAL_ID);
    str_copy(hc->req.cluster, sizeof hc->req.cluster, watch_cluster(s->a->watch));
    hc->req.lifetime_s = (uint32_t)s->a->conf.session_s;
    hc->req.cred_size = (uint32_t)cred.n;
    memcpy(hc->req.cred, cred.p, cred.n);
    if (authlink_ask(s->a->auth, &hc->req, on_auth, hc, &err) < 0) {
        hello_refuse(lc, &err);
        return;
    }
    (void)TAKE(hc);
}

static void too_many_hellos(struct listen_call *lc)
{
    struct err err = {.retry_after_ms = HELLO_AGAIN_MS};
    err_set(&err, ERR_BUSY, "too many clients are saying HELLO at once");
    hello_refuse(lc, &err);
}

/* Strangers are few (pipes.c), so that most are in soon; whoever is told to come again hangs up and
 * connects anew, which costs more than to wait. */
static int on_hello_tick(sd_event_source *source, uint64_t usec, void *arg)
{
    struct sessions *s = arg;
    int64_t now = clock_mono_ms();
    size_t kept = 0, n = s->n_waiting;
    for (size_t i = 0; i < n; i++) {
        const struct hello_wait w = s->waiting[i];
        struct err err = {0};
        if (hello_check(s, w.cred, &err) < 0)
            hello_refuse(w.lc, &err);
        else if (limit_take(s->hello_limit, listen_key(w.lc), now))
            hello(s, w.lc, w.cred);
        else if (w.until_ms <= now)
            too_many_hellos(w.lc);
        else
            s->waiting[kept++] = w;
    }
    s->n_waiting = kept;
    sd_event_source_set_time(source, usec + HELLO_EVERY_MS * 1000);
    sd_event_source_set_enabled(source, kept ? SD_EVENT_ON : SD_EVENT_OFF);
    return 0;
}

static size_t waiting_of(const struct sessions *s, const char *key)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_waiting; i++)
        n += strcmp(listen_key(s->waiting[i].lc), key) == 0;
    return n;
}

/* Of one address in their order; one that is quiet does not wait for those that are not. */
static void hello_came(struct sessions *s, struct listen_call *lc, struct bytes cred)
{
    struct err err = {0};
    int64_t now = clock_mono_ms();
    size_t before = waiting_of(s, listen_key(lc));
    if (hello_check(s, cred, &err) < 0) {
        hello_refuse(lc, &err);
    } else if (!before && limit_take(s->hello_limit, listen_key(lc), now)) {
        hello(s, lc, cred);
    } else if (s->n_waiting == HELLO_WAITS || before >= HELLO_WAITS_EACH) {
        too_many_hellos(lc);
    } else {
        s->waiting[s->n_waiting++] = (struct hello_wait){lc, cred, now + HELLO_WAIT_MS};
        if (s->n_waiting == 1) {
            sd_event_source_set_time(s->hello_tick,
                                     (uint64_t)clock_mono_us() + HELLO_EVERY_MS * 1000);
            sd_event_source_set_enabled(s->hello_tick, SD_EVENT_ON);
        }
    }
}

/* ---- sealed requests ---- */

static void sealed(struct sessions *s, struct listen_call *lc, const struct seal_header *h,
                   struct bytes frame)
{
    struct err err = {0};
    uint64_t counter;
    struct session *e = find(s, h->session);
    if (!e) {
        err_set(&err, ERR_SESSION, "the session has ended");
        refuse(lc, h->session, &err);
        return;
    }
    if (frame.n < SEAL_OVERHEAD || frame.n - SEAL_OVERHEAD > s->plain_size) {
        err_set(&err, ERR_PROTOCOL, "a sealed frame of %zu bytes", frame.n);
        refuse(lc, h->session, &err);
        return;
    }
    if (seal_open_request(&e->seal, frame, s->plain, &counter, &err) < 0) {
        refuse(lc, h->session, &err);
        return;
    }
    listen_welcome(lc);
    struct bytes plain = {s->plain, frame.n - SEAL_OVERHEAD};
    dispatch(s->a, lc, e->user, h->session, counter, plain);
}

int64_t sessions_whose(const struct sessions *s, struct bytes frame)
{
    struct err err = {0};
    struct seal_header h;
    struct bytes payload;
    if (seal_get_header(frame, &h, &payload, &err) < 0 || h.kind != SEAL_SEALED)
        return -1;
    const struct session *e = find_any(s, h.session);
    return e ? (int64_t)e->user->uid : -1;
}

void sessions_frame(struct sessions *s, struct listen_call *lc, struct bytes frame)
{
    struct err err = {0};
    struct seal_header h;
    struct bytes payload;
    metrics_add(received, 0, 0, (int64_t)frame.n);
    if (seal_get_header(frame, &h, &payload, &err) < 0) {
        refuse(lc, NULL, &err);
        return;
    }
    switch (h.kind) {
    case SEAL_HELLO:
        hello_came(s, lc, payload);
        return;
    case SEAL_SEALED:
        sealed(s, lc, &h, frame);
        return;
    default:
        err_set(&err, ERR_PROTOCOL, "a server takes HELLO and SEALED frames alone");
        refuse(lc, NULL, &err);
    }
}

void sessions_end(struct sessions *s, const uint8_t id[SEAL_ID])
{
    struct session **at = bucket(s, id);
    while (*at && memcmp((*at)->seal.session, id, SEAL_ID) != 0)
        at = &(*at)->next;
    struct session *e = *at;
    if (!e)
        return;
    *at = e->next;
    session_end(s, e);
}

static struct session_info info_of(const struct session *e)
{
    struct session_info out = {.since = e->since, .ends = e->ends};
    str_copy(out.origin, sizeof out.origin, e->origin);
    str_copy(out.munge_host, sizeof out.munge_host, e->munge_host);
    return out;
}

bool sessions_info(const struct sessions *s, const uint8_t id[SEAL_ID], struct session_info *out)
{
    const struct session *e = find_any(s, id);
    if (!e)
        return false;
    *out = info_of(e);
    return true;
}

const char *session_name(const uint8_t id[SEAL_ID], char out[SESSION_NAME])
{
    str_hex(id, SESSION_NAME / 2, out);
    return out;
}

size_t sessions_users(const struct sessions *s)
{
    return s->n_users;
}

void sessions_each_user(const struct sessions *s, void (*fn)(void *arg, const struct user *u),
                        void *arg)
{
    for (size_t i = 0; i < USER_BUCKETS; i++)
        for (const struct user *u = s->users[i]; u; u = u->next)
            fn(arg, u);
}

void sessions_each(const struct sessions *s, const struct user *u,
                   void (*fn)(void *arg, const char *name, const struct session_info *info),
                   void *arg)
{
    char name[SESSION_NAME];
    for (size_t i = 0; i < SESSION_BUCKETS; i++)
        for (const struct session *e = s->buckets[i]; e; e = e->next) {
            if (e->user != u || over(e))
                continue;
            const struct session_info info = info_of(e);
            fn(arg, session_name(e->seal.session, name), &info);
        }
}

size_t sessions_drop(struct sessions *s, const struct user *u, const uint8_t *keep)
{
    size_t n = 0;
    held_let_go(s->a->held, u);
    paced_let_go(s->a->paced, u);
    for (size_t i = 0; i < SESSION_BUCKETS; i++)
        for (struct session **at = &s->buckets[i]; *at;) {
            struct session *e = *at;
            if (e->user != u || (keep && memcmp(e->seal.session, keep, SEAL_ID) == 0)) {
                at = &e->next;
                continue;
            }
            *at = e->next;
            session_end(s, e);
            n++;
        }
    metrics_add(dropped, 0, 0, (int64_t)n);
    return n;
}

void sessions_reply(struct sessions *s, struct listen_call *lc, const uint8_t id[SEAL_ID],
                    uint64_t counter, enum err_code code, struct bytes body)
{
    struct err err = {0};
    struct session *e = find_any(s, id);
    if (!e) { /* its user ended it */
        listen_drop(lc);
        return;
    }
    size_t plain_size = PLAIN_HEAD + body.n;
    if (plain_size > s->plain_size) {
        uint8_t *bigger = realloc(s->plain, plain_size);
        if (!bigger) {
            listen_drop(lc);
            return;
        }
        s->plain = bigger;
        s->plain_size = plain_size;
    }
    s->plain[0] = (uint8_t)(code >> 8);
    s->plain[1] = (uint8_t)code;
    s->plain[2] = s->plain[3] = 0;
    if (body.n)
        memcpy(s->plain + PLAIN_HEAD, body.p, body.n);
    uint8_t *frame = listen_reply(lc, plain_size + SEAL_OVERHEAD);
    if (!frame ||
        seal_reply(&e->seal, counter, (struct bytes){s->plain, plain_size}, frame, &err) < 0) {
        listen_drop(lc);
        return;
    }
    metrics_add(sent, 0, 0, (int64_t)(plain_size + SEAL_OVERHEAD));
    listen_send(lc, e->user->uid);
}
