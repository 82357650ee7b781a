/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/peer.h"

#include <criterion/criterion.h>
#include <grp.h>
#include <nng/protocol/reqrep0/req.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/kit/run.h"

enum { PATIENCE_MS = 10000 };

void become(const char *user)
{
    const struct passwd *pw = getpwnam(user);
    cr_assert_not_null(pw, "%s", user);
    if (pw->pw_uid == getuid())
        return;
    cr_assert_eq(initgroups(user, pw->pw_gid), 0);
    cr_assert_eq(setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid), 0);
    cr_assert_eq(setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid), 0);
}

const char *munge_socket(void)
{
    return getenv("SLURM_AGENT_MUNGE_SOCKET");
}

/* There may be no broker just now, or one that ends. */
static bool is_reached(void *arg)
{
    const struct peer *p = arg;
    return nng_dial(p->sock, getenv("SLURM_AGENT_SERVER"), NULL, 0) == 0;
}

void peer_connect(struct peer *p)
{
    struct err err = {0};
    memset(p, 0, sizeof *p);
    cr_assert_eq(seal_setup(&err), 0);
    cr_assert_eq(nng_req0_open(&p->sock), 0);
    cr_assert_eq(nng_socket_set_size(p->sock, NNG_OPT_RECVMAXSZ, 8 << 20), 0);
    cr_assert_eq(nng_socket_set_ms(p->sock, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE), 0);
    cr_assert(wait_until(is_reached, p, PATIENCE_MS), "nobody lets us in");
}

void peer_close(struct peer *p)
{
    nng_close(p->sock);
    free(p->hello);
    memset(p, 0, sizeof *p);
}

struct bytes peer_exchange(struct peer *p, struct bytes frame, int ms)
{
    struct bytes none = {NULL, 0};
    void *got;
    size_t n;
    nng_socket_set_ms(p->sock, NNG_OPT_SENDTIMEO, ms);
    nng_socket_set_ms(p->sock, NNG_OPT_RECVTIMEO, ms);
    if (nng_send(p->sock, (void *)frame.p, frame.n, 0) != 0 ||
        nng_recv(p->sock, &got, &n, NNG_FLAG_ALLOC) != 0)
        return none;
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, got, n);
    nng_free(got, n);
    return (struct bytes){copy, n};
}

struct bytes peer_say(struct peer *p, const struct seal_header *h, struct bytes payload, int ms)
{
    AUTO(free) uint8_t *frame = malloc(SEAL_HEADER + payload.n);
    seal_put_header(frame, h);
    if (payload.n)
        memcpy(frame + SEAL_HEADER, payload.p, payload.n);
    return peer_exchange(p, (struct bytes){frame, SEAL_HEADER + payload.n}, ms);
}

struct bytes peer_hello_raw(struct peer *p, const char *cred)
{
    struct seal_header h = {.kind = SEAL_HELLO};
    return peer_say(p, &h, (struct bytes){(const uint8_t *)cred, strlen(cred)}, PATIENCE_MS);
}

int peer_times_anew(void)
{
    char path[300], line[1000];
    int n = 0;
    snprintf(path, sizeof path, "%s/log/agentd.log", getenv("SLURM_AGENT_SANDBOX"));
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "nng does not let go") != NULL;
    if (f)
        fclose(f);
    return n;
}

/* Another broker answers where this one could not. */
static bool is_another_broker(void *arg)
{
    const struct peer *p = arg;
    return peer_times_anew() != p->anew;
}

static struct bytes say_hello(struct peer *p, const struct hello *hello)
{
    struct err err = {0};
    p->anew = peer_times_anew();
    cr_assert_eq(cred_encode_hello(munge_socket(), hello, &p->hello, &err), 0, "%s", err.text);
    return peer_hello_raw(p, p->hello);
}

void peer_login(struct peer *p)
{
    struct err err = {0};
    struct hello hello = {.version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION};
    uint8_t secret[SEAL_KEY], hh[SEAL_HASH], wh[SEAL_HASH];
    seal_keypair(hello.key, secret);
    struct bytes frame = say_hello(p, &hello), cred;
    if (!frame.p && wait_until(is_another_broker, p, PATIENCE_MS)) {
        peer_close(p);
        peer_connect(p);
        frame = say_hello(p, &hello);
    }
    cr_assert_not_null(frame.p, "no answer to HELLO");
    struct seal_header h;
    cr_assert_eq(seal_get_header(frame, &h, &cred, &err), 0, "%s", err.text);
    if (h.kind != SEAL_WELCOME) {
        err = peer_refusal(frame);
        cr_assert_fail("HELLO refused: %s", err.text);
    }
    struct welcome w;
    struct cred_origin from;
    cr_assert_eq(cred_decode_welcome(munge_socket(), cred, &w, &from, &err), 0, "%s", err.text);
    seal_hash(p->hello, strlen(p->hello), hh);
    seal_hash(cred.p, cred.n, wh);
    cr_assert_eq(memcmp(hh, w.hello_hash, SEAL_HASH), 0);
    memcpy(p->session, w.session, SEAL_ID);
    cr_assert_eq(
        seal_init(&p->seal, SEAL_CLIENT, w.session, hello.key, secret, w.key, hh, wh, &err), 0,
        "%s", err.text);
    free((void *)frame.p);
}

struct bytes peer_seal(struct peer *p, enum op_number op, struct bytes body, uint64_t *ret_counter)
{
    struct err err = {0};
    AUTO(free) uint8_t *plain = malloc(4 + body.n);
    uint8_t *frame = malloc(4 + body.n + SEAL_OVERHEAD);
    plain[0] = (uint8_t)(op >> 8);
    plain[1] = (uint8_t)op;
    plain[2] = plain[3] = 0;
    if (body.n)
        memcpy(plain + 4, body.p, body.n);
    cr_assert_eq(
        seal_request(&p->seal, (struct bytes){plain, 4 + body.n}, frame, ret_counter, &err), 0);
    return (struct bytes){frame, 4 + body.n + SEAL_OVERHEAD};
}

struct bytes peer_call(struct peer *p, enum op_number op, struct bytes body)
{
    uint64_t counter;
    struct err err = {0};
    struct bytes frame = peer_seal(p, op, body, &counter);
    struct bytes reply = peer_exchange(p, frame, PATIENCE_MS);
    free((void *)frame.p);
    if (!reply.p || reply.n < SEAL_OVERHEAD) {
        free((void *)reply.p);
        return (struct bytes){NULL, 0};
    }
    uint8_t *plain = malloc(reply.n);
    int rc = seal_open_reply(&p->seal, counter, reply, plain, &err);
    size_t n = reply.n - SEAL_OVERHEAD;
    free((void *)reply.p);
    if (rc < 0) {
        free(plain);
        return (struct bytes){NULL, 0};
    }
    return (struct bytes){plain, n};
}

struct err peer_refusal(struct bytes frame)
{
    struct err err = {0};
    struct seal_header h;
    struct bytes payload;
    if (!frame.p)
        err_set(&err, ERR_TIMEOUT, "no answer");
    else if (seal_get_header(frame, &h, &payload, &err) == 0 && h.kind == SEAL_REFUSED)
        msg_unpack_error(payload, &err);
    free((void *)frame.p);
    return err;
}

/* ---- for most tests ---- */

const uint8_t peer_empty_map[1] = {0x80};

void peer_begin(struct peer *p, const char *user)
{
    become(user);
    peer_connect(p);
    peer_login(p);
}

enum err_code peer_code(struct bytes plain)
{
    enum err_code code =
        plain.n >= 4 ? (enum err_code)(plain.p[0] << 8 | plain.p[1]) : ERR_INTERNAL;
    free((void *)plain.p);
    return code;
}

bool peer_began_anew(struct peer *p)
{
    if (peer_times_anew() == p->anew)
        return false;
    peer_close(p);
    peer_connect(p);
    peer_login(p);
    return true;
}

void peer_expect_alive(struct peer *p)
{
    struct bytes r = peer_call(p, OP_ping, PEER_EMPTY);
    if (!r.p && peer_began_anew(p))
        r = peer_call(p, OP_ping, PEER_EMPTY);
    cr_expect_not_null(r.p, "the server does not answer any more");
    cr_expect_eq(peer_code(r), ERR_NONE);
}
