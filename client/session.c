/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/session.h"

#include <stdlib.h>
#include <string.h>

#include "client/conn.h"
#include "client/reply.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "common/seal.h"
#include "common/str.h"

enum {
    OP_HEAD = 4,
    MAX_SESSIONS = 3, /* begun for one call, when the server forgets them */
    GOODBYE_MS = 500,
    BUSY_SPREAD_MS = 200,
    SHED_FIRST_MS = 250, /* doubled up to: */
    SHED_MOST_MS = 5000,
};

struct csession {
    struct csession_settings set;
    struct conn *conn;
    struct seal seal;
    bool begun;
    bool replied;     /* see csession_replied() */
    bool interrupted; /* see csession_interrupted() */
    uint8_t instance[SEAL_ID];
    uint32_t lifetime_s;
    int64_t renew_at_ms; /* clock_mono_ms() */
};

CLEANUP_FN(struct csession, csession_free)

struct csession *csession_new(const struct csession_settings *settings)
{
    AUTO(csession_free) struct csession *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->set = *settings;
    s->conn = conn_new(settings->address, settings->stop_fd);
    return s->conn ? TAKE(s) : NULL;
}

uint32_t csession_lifetime_s(const struct csession *s)
{
    return s->lifetime_s;
}

static void forget(struct csession *s)
{
    if (s->begun)
        seal_done(&s->seal);
    s->begun = false;
}

/* ---- HELLO and WELCOME ---- */

/* What one HELLO is made of. */
struct hello_state {
    struct hello hello;
    uint8_t secret[SEAL_KEY];
    uint8_t hash[SEAL_HASH];
    char *cred;
};

static void cleanup_hello(struct hello_state *h)
{
    seal_forget(h->secret, sizeof h->secret);
    free(h->cred);
}

static const char *munge_socket(const struct csession *s)
{
    return *s->set.munge_socket ? s->set.munge_socket : NULL;
}

static int say_hello(struct csession *s, struct hello_state *h, int64_t deadline_ms,
                     struct bytes *ret_answer, struct err *err)
{
    enum conn_fate fate;
    h->hello.version_min = h->hello.version_max = PROTOCOL_VERSION;
    str_copy(h->hello.cluster, sizeof h->hello.cluster, s->set.cluster);
    seal_keypair(h->hello.key, h->secret);
    if (cred_encode_hello(munge_socket(s), &h->hello, &h->cred, err) < 0)
        return -1;
    size_t n = strlen(h->cred);
    seal_hash(h->cred, n, h->hash);
    AUTO(free) uint8_t *frame = malloc(SEAL_HEADER + n);
    if (!frame)
        return err_set(err, ERR_INTERNAL, "no memory");
    seal_put_header(frame, &(struct seal_header){.kind = SEAL_HELLO});
    memcpy(frame + SEAL_HEADER, h->cred, n);
    return conn_exchange(s->conn, (struct bytes){frame, SEAL_HEADER + n}, deadline_ms, ret_answer,
                         &fate, err);
}

static int take_welcome(struct csession *s, const struct hello_state *h, struct bytes answer,
                        struct err *err)
{
    struct seal_header head;
    struct bytes payload;
    struct welcome w;
    struct cred_origin from;
    uint8_t welcome_hash[SEAL_HASH];
    if (seal_get_header(answer, &head, &payload, err) < 0)
        return err_while(err, "the answer of %s to HELLO", s->set.address);
    if (head.kind == SEAL_REFUSED)
        return reply_refused(payload, err);
    if (head.kind != SEAL_WELCOME)
        return err_set(err, ERR_PROTOCOL, "%s answered HELLO with a frame of kind '%c'",
                       s->set.address, (char)head.kind);
    if (cred_decode_welcome(munge_socket(s), payload, &w, &from, err) < 0)
        return err_while(err, "the WELCOME of %s", s->set.address);
    struct reply_expected x = {
        .address = s->set.address,
        .cluster = s->set.cluster,
        .server_uid = s->set.server_uid,
        .hello_hash = h->hash,
        .session = head.session,
    };
    if (reply_check_welcome(&w, &from, &x, err) < 0)
        return -1;
    seal_hash(payload.p, payload.n, welcome_hash);
    if (seal_init(&s->seal, SEAL_CLIENT, w.session, h->hello.key, h->secret, w.key, h->hash,
                  welcome_hash, err) < 0)
        return -1;
    s->begun = true;
    s->lifetime_s = w.lifetime_s;
    memcpy(s->instance, w.instance, SEAL_ID);
    return 0;
}

static int begin_once(struct csession *s, int64_t deadline_ms, struct err *err)
{
    struct hello_state h __attribute__((cleanup(cleanup_hello))) = {0};
    struct bytes answer = {0};
    forget(s);
    /* Connected first: a credential does not get older while a host does not answer. */
    if (seal_setup(err) < 0 || conn_ready(s->conn, deadline_ms, err) < 0)
        return -1;
    int64_t start_ms = clock_mono_ms();
    if (say_hello(s, &h, deadline_ms, &answer, err) < 0)
        return -1;
    int rc = take_welcome(s, &h, answer, err);
    free((void *)answer.p);
    s->renew_at_ms = start_ms + (int64_t)s->lifetime_s * 800; /* 80 % of it */
    return rc;
}

/* How long to wait before HELLO is said again; -1: it is no use. */
static int64_t pause_ms(const struct csession *s, const struct err *why, int64_t *shed_ms)
{
    uint32_t chance;
    seal_random(&chance, sizeof chance);
    if (why->code == ERR_BUSY || (why->code == ERR_MUNGE && why->retry_after_ms))
        return why->retry_after_ms + chance % (why->retry_after_ms + BUSY_SPREAD_MS);
    if (why->code != ERR_UNREACHABLE || !conn_was_shed(s->conn))
        return -1;
    *shed_ms = *shed_ms ? 2 * *shed_ms : SHED_FIRST_MS;
    if (*shed_ms > SHED_MOST_MS)
        *shed_ms = SHED_MOST_MS;
    return *shed_ms / 2 + chance % *shed_ms;
}

/* Clients that all begin at once are let in one after the other; a HELLO changes nothing, so that
 * it can be said again.  A server that only hangs up may not want this host at all: half of the
 * time is enough for that. */
static int begin(struct csession *s, int64_t deadline_ms, struct err *err)
{
    int64_t shed_ms = 0, now = clock_mono_ms(), half = now + (deadline_ms - now) / 2;
    while (begin_once(s, deadline_ms, err) < 0) {
        int64_t ms = pause_ms(s, err, &shed_ms);
        int64_t end = err->code == ERR_BUSY ? deadline_ms : half;
        if (ms < 0 || ms >= end - clock_mono_ms())
            return -1;
        *err = (struct err){0};
        conn_hang_up(s->conn); /* a server has room for a few strangers only */
        if (conn_pause(s->set.stop_fd, ms, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- requests ---- */

enum outcome { DONE, FAILED, AGAIN };

struct request {
    enum op_number op;
    struct bytes plain;
    int64_t deadline_ms;
    int timeout_ms;
};

/* A submit that may have reached the server, and to which no sealed reply came. */
static int in_doubt(const struct request *r, struct err *err)
{
    struct err cause = *err;
    *err = (struct err){0};
    if (cause.code == ERR_TIMEOUT)
        return err_set(err, ERR_IN_DOUBT,
                       "the server did not answer in %d s: the job may or may not have been "
                       "submitted; look before you submit it again",
                       (r->timeout_ms + 999) / 1000);
    return err_set(err, ERR_IN_DOUBT,
                   "%s: the job may or may not have been submitted; look before you submit it "
                   "again",
                   cause.text);
}

#define OPEN_END ": what was asked may yet be done, or have been done"

/* May it be sent again when nobody knows whether it was carried out? */
static bool repeatable(enum op_number op)
{
    return op != OP_job_submit && op != OP_job_control;
}

static enum outcome not_exchanged(struct csession *s, const struct request *r, enum conn_fate fate,
                                  bool first, struct err *err)
{
    bool lost = err->code == ERR_UNREACHABLE;
    s->interrupted |= err->code == ERR_INTERRUPTED;
    if (fate == CONN_SENT && lost && first && repeatable(r->op)) {
        *err = (struct err){0};
        return AGAIN;
    }
    if (fate == CONN_SENT && r->op == OP_job_submit)
        in_doubt(r, err);
    else if (err->code == ERR_TIMEOUT) {
        bool open_end = fate == CONN_SENT && !repeatable(r->op);
        *err = (struct err){0};
        err_set(err, ERR_TIMEOUT, "the server at %s did not answer in %d s%s", s->set.address,
                (r->timeout_ms + 999) / 1000, open_end ? OPEN_END : "");
    } else if (err->code == ERR_INTERRUPTED && fate == CONN_SENT && !repeatable(r->op)) {
        *err = (struct err){0};
        err_set(err, ERR_INTERRUPTED, "interrupted" OPEN_END);
    }
    return FAILED;
}

static enum outcome unseal(struct csession *s, const struct request *r, uint64_t counter,
                           struct bytes answer, struct bytes *ret_plain, struct err *err)
{
    struct seal_header head;
    struct bytes payload;
    if (seal_get_header(answer, &head, &payload, err) == 0 && head.kind == SEAL_REFUSED) {
        struct err said = {0};
        reply_refused(payload, &said);
        *err = said;
        if (said.code != ERR_SESSION) {
            if (r->op == OP_job_submit)
                in_doubt(r, err);
            return FAILED;
        }
        forget(s);
        return AGAIN;
    }
    size_t n = answer.n > SEAL_OVERHEAD ? answer.n - SEAL_OVERHEAD : 0;
    AUTO(free) uint8_t *plain = malloc(n + 1);
    if (!plain)
        err_set(err, ERR_INTERNAL, "no memory");
    if (err->code == ERR_NONE && seal_open_reply(&s->seal, counter, answer, plain, err) == 0) {
        *ret_plain = (struct bytes){TAKE(plain), n};
        return DONE;
    }
    if (r->op == OP_job_submit)
        in_doubt(r, err);
    return FAILED;
}

static enum outcome exchange(struct csession *s, const struct request *r, bool first,
                             struct bytes *ret_plain, struct err *err)
{
    uint64_t counter;
    enum conn_fate fate;
    struct bytes answer;
    AUTO(free) uint8_t *frame = malloc(r->plain.n + SEAL_OVERHEAD);
    if (!frame) {
        err_set(err, ERR_INTERNAL, "no memory");
        return FAILED;
    }
    if (seal_request(&s->seal, r->plain, frame, &counter, err) < 0)
        return FAILED;
    struct bytes sealed = {frame, r->plain.n + SEAL_OVERHEAD};
    if (conn_exchange(s->conn, sealed, r->deadline_ms, &answer, &fate, err) < 0)
        return not_exchanged(s, r, fate, first, err);
    enum outcome o = unseal(s, r, counter, answer, ret_plain, err);
    free((void *)answer.p);
    return o;
}

static bool lasts(const struct csession *s)
{
    return s->begun && clock_mono_ms() < s->renew_at_ms;
}

/* Whoever is on the path can have made up that it should be sent anew: after that, what became of a
 * submit is not known. */
static int fail(struct csession *s, const struct request *r, bool sent, struct err *err)
{
    s->interrupted |= err->code == ERR_INTERRUPTED;
    if (sent && r->op == OP_job_submit)
        in_doubt(r, err);
    return -1;
}

static int ask(struct csession *s, const struct request *r, struct bytes *ret_plain,
               struct err *err)
{
    for (int i = 0; i < MAX_SESSIONS; i++) {
        *err = (struct err){0}; /* of the attempt before */
        if (!lasts(s) && begin(s, r->deadline_ms, err) < 0)
            return fail(s, r, i > 0, err);
        switch (exchange(s, r, i == 0, ret_plain, err)) {
        case DONE:
            return 0;
        case FAILED:
            return err->code == ERR_IN_DOUBT ? -1 : fail(s, r, i > 0, err);
        case AGAIN:
            break;
        }
    }
    *err = (struct err){0};
    err_set(err, ERR_SESSION, "the server at %s forgets every session", s->set.address);
    return fail(s, r, true, err);
}

int csession_call(struct csession *s, enum op_number op, struct bytes body, int timeout_ms,
                  struct bytes *ret_plain, struct bytes *ret_body, struct err *err)
{
    size_t n = OP_HEAD + body.n;
    if (n + SEAL_OVERHEAD > WIRE_MAX_FRAME)
        return err_set(err, ERR_LIMIT, "the request is of %zu bytes, at most %d are possible", n,
                       WIRE_MAX_FRAME - SEAL_OVERHEAD);
    AUTO(free) uint8_t *plain = malloc(n);
    if (!plain)
        return err_set(err, ERR_INTERNAL, "no memory");
    memcpy(plain, (const uint8_t[OP_HEAD]){(uint8_t)(op >> 8), (uint8_t)op}, OP_HEAD);
    if (body.n)
        memcpy(plain + OP_HEAD, body.p, body.n);
    struct request r = {
        .op = op,
        .plain = {plain, n},
        .deadline_ms = clock_mono_ms() + timeout_ms,
        .timeout_ms = timeout_ms,
    };
    struct bytes answer = {0};
    s->replied = s->interrupted = false;
    if (ask(s, &r, &answer, err) < 0)
        return -1;
    if (reply_open(answer, ret_body, err) < 0) {
        s->replied = true;
        free((void *)answer.p);
        return -1;
    }
    *ret_plain = answer;
    return 0;
}

int csession_ready(struct csession *s, int timeout_ms, struct err *err)
{
    s->replied = s->interrupted = false;
    return lasts(s) ? 0 : begin(s, clock_mono_ms() + timeout_ms, err);
}

void csession_forget(struct csession *s)
{
    forget(s);
}

const uint8_t *csession_instance(const struct csession *s)
{
    return s->instance;
}

bool csession_replied(const struct csession *s)
{
    return s->replied;
}

bool csession_interrupted(const struct csession *s)
{
    return s->interrupted;
}

/* Sessions are counted per user, so that one not given back would be missed. */
static void say_goodbye(struct csession *s)
{
    static const uint8_t text[] = {OP_session_end >> 8, OP_session_end, 0, 0, 0x80 /* {} */};
    struct err ignored = {0};
    struct bytes plain = {0};
    if (!lasts(s) || !conn_is_up(s->conn))
        return;
    struct request r = {
        .op = OP_session_end,
        .plain = {text, sizeof text},
        .deadline_ms = clock_mono_ms() + GOODBYE_MS,
    };
    exchange(s, &r, false, &plain, &ignored);
    free((void *)plain.p);
}

void csession_free(struct csession *s)
{
    if (!s)
        return;
    if (s->conn)
        say_goodbye(s);
    forget(s);
    conn_free(s->conn);
    free(s);
}
