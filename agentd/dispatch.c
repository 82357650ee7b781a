/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/dispatch.h"

#include <string.h>

#include "agentd/listen.h"
#include "agentd/metrics.h"
#include "agentd/paced.h"
#include "agentd/worker.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    PLAIN_HEAD = 4, /* operation 2, zero 2 */
    /* What a request may unpack to: a frame of the smallest strings grows by their pointers. */
    CALL_ARENA = 64 << 20,
    /* Who owes no more is served even when all together owe too much. */
    CALL_OWED_FREE = 1 << 20,
    BUSY_MS = 500,     /* when to come again, unless something better is known */
    OFTEN_MS = 100,    /* and whoever asks too often, at least: a token may be there sooner */
    LOG_FAILURES = 30, /* lines a second about requests of one user that failed */
    LOG_TEXT = 2 * sizeof((struct err *)0)->text, /* whatever of it is to be quoted */
};

struct op_entry {
    unsigned number;
    unsigned right; /* enum op_right */
    const char *name;
    size_t body_max;
    const struct msg_type *request, *reply;
    void (*run)(struct call *c);
};

static const struct op_entry table[] = {
#define OP(id, name, number, who, body_max, request, reply, help)                                  \
    {(number), RIGHT_##who, name, (body_max), &request##_type, &reply##_type, op_##id},
#include "common/ops.def"
#undef OP
};

static const struct op_entry *find_op(unsigned number)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].number == number)
            return &table[i];
    return NULL;
}

void call_trim(struct call *c)
{
    c->user->call_bytes -= c->body.n;
    c->a->call_bytes -= c->body.n;
    arena_done(&c->arena);
    free((void *)c->body.p);
    c->body = (struct bytes){NULL, 0};
}

static void call_free(struct call *c)
{
    c->user->calls--;
    call_trim(c);
    free(c);
}

static long long took_ms(const struct call *c)
{
    return (long long)(clock_mono_us() - c->started_us) / 1000;
}

/* Requests that fail cost their user nothing, and whoever fills the log drives others' lines out of
 * it.  What may have changed something always has its line. */
static bool has_line(struct user *user, enum err_code code)
{
    int64_t now = clock_mono_ms();
    if (code == ERR_IN_DOUBT || code == ERR_TIMEOUT)
        return true;
    if (now - user->failures_ms >= 1000) {
        user_log_rest(user);
        user->failures_ms = now;
        user->failures = 0;
    }
    bool shown = user->failures++ < LOG_FAILURES;
    user->unlogged += !shown;
    metrics_add(unlogged, 0, 0, !shown);
    return shown;
}

/* Who did what to what, from where, with what outcome; the same fields in the same order. */
static void log_one(const struct call *c, const char *what, enum err_code code, const char *text)
{
    struct session_info from = {0};
    char id[SESSION_NAME], quoted[LOG_TEXT];
    if (code != ERR_NONE && !has_line(c->user, code))
        return;
    sessions_info(c->a->sessions, c->session, &from);
    log_info("call uid=%u op=%s%s%s from=%s code=%s ms=%lld user=%s host=%s call=%s.%llu%s%s%s%s",
             c->user->uid, c->op ? c->op->name : "unknown", *what ? " " : "", what,
             listen_origin(c->lc), err_name(code), took_ms(c), c->user->name,
             *from.munge_host ? from.munge_host : "?", session_name(c->session, id),
             (unsigned long long)c->counter, *c->request ? " request=" : "", c->request,
             text ? " text=" : "", text ? log_quoted(text, quoted, sizeof quoted) : "");
}

void call_log(const struct call *c, const char *what, enum err_code code)
{
    log_one(c, what, code, NULL);
}

static void log_call(const struct call *c, const struct err *err)
{
    metrics_add(requests, call_op(c), result_of(err ? err->code : ERR_NONE), 1);
    metrics_took(request_time, call_op(c), c->started_us);
    if (err)
        log_one(c, c->what, err->code, err->text);
    else if (*c->what)
        log_one(c, c->what, c->code, NULL);
}

static void send_error(struct agentd *a, struct listen_call *lc, const uint8_t session[SEAL_ID],
                       uint64_t counter, const struct err *err)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out) {
        listen_drop(lc);
        return;
    }
    msg_pack_error(err, out);
    sessions_reply(a->sessions, lc, session, counter, err->code, wire_out_bytes(out));
}

/* A thousand requests of 6 MiB would be as many as max_queued_per_user allows, and too much. */
static int check_bytes(const struct agentd *a, const struct user *user, size_t n, struct err *err)
{
    if (user->call_bytes + n > (size_t)a->conf.max_request_mib_per_user << 20)
        return err_set(err, ERR_BUSY,
                       "requests of user %s with %zu bytes are under way: wait for them",
                       user->name, user->call_bytes);
    if (a->call_bytes + n > (size_t)a->conf.max_request_mib << 20)
        return err_set(err, ERR_BUSY, "the server has too many large requests under way");
    /* Small requests may have large answers, which cost memory until they are read. */
    size_t owed = listen_owed(a->listen, user->uid);
    if (owed > (size_t)a->conf.max_reply_mib_per_user << 20)
        return err_set(err, ERR_BUSY, "answers with %zu bytes for user %s wait to be read", owed,
                       user->name);
    if (owed > CALL_OWED_FREE && listen_owed(a->listen, -1) > (size_t)a->conf.max_reply_mib << 20)
        return err_set(err, ERR_BUSY, "the server has too many answers that wait to be read");
    return 0;
}

static int check_right(const struct op_entry *op, const struct user *user, struct err *err)
{
    if ((op->right & user->rights) == op->right)
        return 0;
    if (op->right == RIGHT_JOBS)
        return err_set(err, ERR_DENIED, "%s", user->no_jobs);
    return err_set(err, ERR_DENIED, "%s: user %s is not in %s of agentd.conf on the server",
                   op->name, user->name,
                   op->right == RIGHT_STATS ? "stats_users or admins" : "admins");
}

static const struct op_entry *read_op(struct bytes plain, struct err *err)
{
    if (plain.n < PLAIN_HEAD || plain.p[2] || plain.p[3]) {
        err_set(err, ERR_PROTOCOL, "a request begins with 2 bytes of operation and 2 zero bytes");
        return NULL;
    }
    unsigned number = (unsigned)plain.p[0] << 8 | plain.p[1];
    const struct op_entry *op = find_op(number);
    if (!op)
        err_set(err, ERR_UNSUPPORTED, "this server has no operation %u", number);
    return op;
}

static int check(const struct agentd *a, struct user *user, const struct op_entry *op, size_t body,
                 struct err *err)
{
    if (body > op->body_max)
        return err_set(err, ERR_LIMIT, "%s: a body of %zu bytes, at most %zu are allowed", op->name,
                       body, op->body_max);
    if (user->calls >= (size_t)a->conf.max_queued_per_user)
        return err_set(err, ERR_BUSY,
                       "%zu requests of user %s are under way, as many as are allowed", user->calls,
                       user->name);
    return check_bytes(a, user, body, err);
}

void call_run(struct call *c)
{
    c->started_us = clock_mono_us(); /* what its user's own requests had it wait is not ours */
    c->op->run(c);
}

/* Whoever goes on sending although hundreds of answers of BUSY are yet to come loses the
 * connection: to answer costs the others more. */
static void refuse_late(struct call *c, const struct err *err)
{
    if (paced_refuse(c->a->paced, c, err))
        return;
    listen_drop_greedy(c->lc);
    call_free(c);
}

static void refuse_too_often(struct call *c, enum rate_index class, int ms)
{
    struct err err = {.retry_after_ms = ms > OFTEN_MS ? ms : OFTEN_MS};
    metrics_add(too_often, class, 0, 1);
    err_set(&err, ERR_BUSY, "%s: user %s asks more often than is allowed (%s)", c->op->name,
            c->user->name, rates_setting(class));
    refuse_late(c, &err);
}

/* With a copy of the body; NULL without memory. */
static struct call *call_new(struct agentd *a, struct listen_call *lc, struct user *user,
                             const struct op_entry *op, struct bytes request)
{
    struct call *c = calloc(1, sizeof *c);
    uint8_t *body = c ? malloc(request.n + 1) : NULL;
    if (!body) {
        free(c);
        return NULL;
    }
    if (request.n)
        memcpy(body, request.p, request.n);
    *c = (struct call){
        .a = a,
        .user = user,
        .lc = lc,
        .op = op,
        .started_us = clock_mono_us(),
        .body = {body, request.n},
    };
    arena_init(&c->arena, CALL_ARENA);
    user->calls++;
    user->seen_us = c->started_us;
    user->call_bytes += c->body.n;
    a->call_bytes += c->body.n;
    return c;
}

/* Its rate comes first: what is refused for another reason costs as much.  What is no operation, or
 * not for that user, is a question of his. */
void dispatch(struct agentd *a, struct listen_call *lc, struct user *user,
              const uint8_t session[SEAL_ID], uint64_t counter, struct bytes plain)
{
    struct err err = {0};
    enum rate_index class;
    const struct op_entry *op = read_op(plain, &err);
    bool good = op && check_right(op, user, &err) == 0;
    int ms = rates_take(&user->rates, &a->conf, good ? (enum op_index)(op - table) : OP_AT_ping,
                        clock_mono_ms(), &class);
    struct bytes body = {NULL, 0};
    if (good)
        body = (struct bytes){plain.p + PLAIN_HEAD, plain.n - PLAIN_HEAD};
    good = good && check(a, user, op, body.n, &err) == 0;
    struct call *c = call_new(a, lc, user, op, good ? body : (struct bytes){NULL, 0});
    if (!c) {
        listen_drop(lc);
        return;
    }
    c->counter = counter;
    memcpy(c->session, session, SEAL_ID);
    listen_done_with_frame(lc);
    if (err.code == ERR_BUSY && !err.retry_after_ms)
        err.retry_after_ms = BUSY_MS;
    if (good && ms == 0)
        c->op->run(c);
    else if (!good && ms == 0)
        call_fail(c, &err);
    else if (!good)
        refuse_late(c, &err);
    else if (!paced_wait(a->paced, c, class, ms))
        refuse_too_often(c, class, ms);
}

int call_unpack(struct call *c, void *body, struct err *err)
{
    return msg_unpack(c->op->request, c->body, &c->arena, MSG_STRICT, body, err);
}

bool call_unpack_empty(struct call *c)
{
    struct empty none;
    struct err err = {0};
    if (call_unpack(c, &none, &err) == 0)
        return true;
    call_fail(c, &err);
    return false;
}

void call_reply(struct call *c, const void *body)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct bytes packed = {NULL, 0};
    if (out) {
        msg_pack(c->op->reply, body, out);
        packed = wire_out_bytes(out);
    }
    if (!packed.p) {
        struct err err = {0};
        err_set(&err, ERR_BUSY, "no memory for the reply");
        call_fail(c, &err);
        return;
    }
    call_reply_packed(c, packed);
}

void call_reply_packed(struct call *c, struct bytes body)
{
    log_call(c, NULL);
    rates_answered(&c->user->rates, &c->a->conf, (enum op_index)call_op(c), body.n);
    sessions_reply(c->a->sessions, c->lc, c->session, c->counter, ERR_NONE, body);
    call_free(c);
}

void call_fail(struct call *c, const struct err *err)
{
    log_call(c, err);
    send_error(c->a, c->lc, c->session, c->counter, err);
    call_free(c);
}

void call_pass_on(void *c, const struct worker_answer *answer)
{
    if (answer->err.code != ERR_NONE)
        call_fail(c, &answer->err);
    else
        call_reply_packed(c, answer->body);
}

size_t call_op(const struct call *c)
{
    return c->op ? (size_t)(c->op - table) : OP_AT_unknown;
}

void call_about(struct call *c, const char *what)
{
    str_copy(c->what, sizeof c->what, what);
}
