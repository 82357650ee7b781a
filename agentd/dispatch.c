/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/dispatch.h"

#include <string.h>

#include "agentd/listen.h"
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
};

struct op_entry {
    unsigned number;
    const char *name;
    size_t body_max;
    const struct msg_type *request, *reply;
    void (*run)(struct call *c);
};

static const struct op_entry table[] = {
#define OP(id, name, number, body_max, request, reply, help)                                       \
    {(number), name, (body_max), &request##_type, &reply##_type, op_##id},
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
    return (long long)(clock_mono_ms() - c->started_ms);
}

void call_log(const struct call *c, const char *what, enum err_code code)
{
    log_info("call uid=%u op=%s %s from=%s code=%s ms=%lld", c->user->uid, c->op->name, what,
             listen_origin(c->lc), err_name(code), took_ms(c));
}

static void log_call(const struct call *c, const struct err *err)
{
    if (err)
        log_info("call uid=%u op=%s%s%s from=%s code=%s ms=%lld text=\"%s\"", c->user->uid,
                 c->op->name, *c->what ? " " : "", c->what, listen_origin(c->lc),
                 err_name(err->code), took_ms(c), err->text);
    else if (*c->what)
        call_log(c, c->what, c->code);
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

static const struct op_entry *check(const struct agentd *a, const struct user *user,
                                    struct bytes plain, struct err *err)
{
    if (plain.n < PLAIN_HEAD || plain.p[2] || plain.p[3]) {
        err_set(err, ERR_PROTOCOL, "a request begins with 2 bytes of operation and 2 zero bytes");
        return NULL;
    }
    unsigned number = (unsigned)plain.p[0] << 8 | plain.p[1];
    const struct op_entry *op = find_op(number);
    if (!op)
        err_set(err, ERR_UNSUPPORTED, "this server has no operation %u", number);
    else if (plain.n - PLAIN_HEAD > op->body_max)
        err_set(err, ERR_LIMIT, "%s: a body of %zu bytes, at most %zu are allowed", op->name,
                plain.n - PLAIN_HEAD, op->body_max);
    else if (user->calls >= (size_t)a->conf.max_queued_per_user)
        err_set(err, ERR_BUSY, "%zu requests of user %s are under way, as many as are allowed",
                user->calls, user->name);
    else
        check_bytes(a, user, plain.n - PLAIN_HEAD, err);
    return err->code == ERR_NONE ? op : NULL;
}

void dispatch(struct agentd *a, struct listen_call *lc, struct user *user,
              const uint8_t session[SEAL_ID], uint64_t counter, struct bytes plain)
{
    struct err err = {0};
    const struct op_entry *op = check(a, user, plain, &err);
    struct call *c = op ? calloc(1, sizeof *c) : NULL;
    uint8_t *body = c ? malloc(plain.n) : NULL;
    if (!body) {
        free(c);
        err_set(&err, ERR_BUSY, "no memory for another request");
        log_info("call uid=%u from=%s code=%s text=\"%s\"", user->uid, listen_origin(lc),
                 err_name(err.code), err.text);
        send_error(a, lc, session, counter, &err);
        return;
    }
    memcpy(body, plain.p + PLAIN_HEAD, plain.n - PLAIN_HEAD);
    listen_done_with_frame(lc);
    *c = (struct call){
        .a = a,
        .user = user,
        .lc = lc,
        .op = op,
        .counter = counter,
        .started_ms = clock_mono_ms(),
        .body = {body, plain.n - PLAIN_HEAD},
    };
    arena_init(&c->arena, CALL_ARENA);
    memcpy(c->session, session, SEAL_ID);
    user->calls++;
    user->call_bytes += c->body.n;
    a->call_bytes += c->body.n;
    op->run(c);
}

int call_unpack(struct call *c, void *body, struct err *err)
{
    return msg_unpack(c->op->request, c->body, &c->arena, MSG_STRICT, body, err);
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

void call_about(struct call *c, const char *what)
{
    str_copy(c->what, sizeof c->what, what);
}
