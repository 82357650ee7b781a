/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <munge.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "tests/kit/munged.h"

enum { SOMEBODY = 4242, SOMEBODY_ELSE = 4243 };

static struct munged m;

static void setup(void)
{
    munged_start(&m);
}

static void teardown(void)
{
    munged_stop(&m);
}

static struct hello a_hello(void)
{
    struct hello h = {.version_min = 1, .version_max = 3, .cluster = "tiger"};
    memset(h.key, 0xab, sizeof h.key);
    return h;
}

static struct welcome a_welcome(void)
{
    struct welcome w = {.version = 1, .lifetime_s = 900, .cluster = "tiger"};
    memset(w.session, 1, sizeof w.session);
    memset(w.key, 2, sizeof w.key);
    memset(w.hello_hash, 3, sizeof w.hello_hash);
    memset(w.instance, 4, sizeof w.instance);
    return w;
}

static char *encode_hello(const char *socket)
{
    struct err err = {0};
    struct hello h = a_hello();
    char *cred = NULL;
    cr_assert_eq(cred_encode_hello(socket, &h, &cred, &err), 0, "%s", err.text);
    return cred;
}

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static struct err decode_hello(const char *socket, struct bytes cred)
{
    struct err err = {0};
    struct hello h;
    struct cred_origin from;
    int rc = cred_decode_hello(socket, cred, &h, &from, &err);
    cr_expect_eq(rc, err.code == ERR_NONE ? 0 : -1);
    return err;
}

/* What another program would make. */
static char *encode_raw(const char *socket, const void *payload, int n, int ttl_s)
{
    munge_ctx_t ctx = munge_ctx_create();
    char *cred = NULL;
    cr_assert_eq(munge_ctx_set(ctx, MUNGE_OPT_SOCKET, socket), EMUNGE_SUCCESS);
    cr_assert_eq(munge_ctx_set(ctx, MUNGE_OPT_TTL, ttl_s), EMUNGE_SUCCESS);
    munge_err_t rc = munge_encode(&cred, ctx, payload, n);
    cr_assert_eq(rc, EMUNGE_SUCCESS, "%s", munge_ctx_strerror(ctx));
    munge_ctx_destroy(ctx);
    return cred;
}

static char *encode_hello_ttl(const char *socket, int ttl_s)
{
    struct hello h = a_hello();
    uint8_t payload[CRED_HELLO_SIZE];
    cred_pack_hello(&h, payload);
    return encode_raw(socket, payload, sizeof payload, ttl_s);
}

#define expect_refused(e, its_code, words)                                                         \
    do {                                                                                           \
        struct err e_ = (e);                                                                       \
        cr_expect_eq(e_.code, its_code, "%s: %s", err_name(e_.code), e_.text);                     \
        cr_expect_not_null(strstr(e_.text, words), "\"%s\" is not in: %s", words, e_.text);        \
    } while (0)

TestSuite(cred, .init = setup, .fini = teardown, .timeout = 60);

Test(cred, hello_round_trip)
{
    struct err err = {0};
    struct hello h = a_hello(), got;
    struct cred_origin from;
    AUTO(free) char *cred = encode_hello(m.socket);
    cr_expect_lt(strlen(cred), CRED_MAX);
    cr_assert_eq(cred_decode_hello(m.socket, text(cred), &got, &from, &err), 0, "%s", err.text);
    cr_expect_eq(got.version_min, 1);
    cr_expect_eq(got.version_max, 3);
    cr_expect_str_eq(got.cluster, "tiger");
    cr_expect_arr_eq(got.key, h.key, SEAL_KEY);
    cr_expect_eq(from.uid, getuid());
    cr_expect_eq(from.gid, getgid());
    cr_expect_lt(llabs(from.encoded_at - clock_now()), 5);
    cr_expect_neq(from.address[0], '\0');
}

Test(cred, hello_counts_once)
{
    AUTO(free) char *cred = encode_hello(m.socket);
    cr_expect_eq(decode_hello(m.socket, text(cred)).code, ERR_NONE);
    expect_refused(decode_hello(m.socket, text(cred)), ERR_AUTH, "used before");
}

/* munged forgets, which is why the monitor remembers. */
Test(cred, a_restarted_munged_takes_a_hello_again)
{
    AUTO(free) char *cred = encode_hello(m.socket);
    cr_expect_eq(decode_hello(m.socket, text(cred)).code, ERR_NONE);
    munged_end(&m);
    munged_begin(&m);
    cr_expect_eq(decode_hello(m.socket, text(cred)).code, ERR_NONE);
}

Test(cred, credentials_of_others_are_refused)
{
    static const char slurm[] = "\x26\x00\x00\x00 SLURM auth header";
    AUTO(free) char *cred = encode_raw(m.socket, slurm, sizeof slurm, 300);
    expect_refused(decode_hello(m.socket, text(cred)), ERR_AUTH, "credential of something else");
    AUTO(free) char *empty = encode_raw(m.socket, NULL, 0, 300);
    expect_refused(decode_hello(m.socket, text(empty)), ERR_AUTH, "credential of something else");
}

Test(cred, a_welcome_is_no_hello_nor_the_other_way_round)
{
    struct err err = {0};
    struct welcome w = a_welcome(), got;
    struct cred_origin from;
    AUTO(free) char *welcome = NULL;
    cr_assert_eq(cred_encode_welcome(m.socket, &w, getuid(), &welcome, &err), 0, "%s", err.text);
    expect_refused(decode_hello(m.socket, text(welcome)), ERR_AUTH, "something else");
    AUTO(free) char *hello = encode_hello(m.socket);
    cr_expect_eq(cred_decode_welcome(m.socket, text(hello), &got, &from, &err), -1);
    cr_expect_eq(err.code, ERR_AUTH);
}

Test(cred, another_key_is_named_as_the_cause)
{
    struct munged other;
    munged_start(&other);
    AUTO(free) char *cred = encode_hello(other.socket);
    expect_refused(decode_hello(m.socket, text(cred)), ERR_AUTH, "do not have the same munge key");
    munged_stop(&other);
}

Test(cred, truncated_and_changed_ones_are_refused)
{
    AUTO(free) char *cred = encode_hello(m.socket);
    size_t n = strlen(cred);
    for (size_t cut = 1; cut < n; cut++)
        cr_expect_eq(decode_hello(m.socket, (struct bytes){(uint8_t *)cred, cut}).code, ERR_AUTH,
                     "%zu of %zu bytes", cut, n);
    for (size_t i = 0; i < n - 4; i += 5) { /* the last ones may hold unused bits */
        char old = cred[i];
        cred[i] = old == 'Q' ? 'R' : 'Q';
        cr_expect_eq(decode_hello(m.socket, text(cred)).code, ERR_AUTH, "byte %zu", i);
        cred[i] = old;
    }
    cr_expect_eq(decode_hello(m.socket, text(cred)).code, ERR_NONE, "it was good all the time");
}

Test(cred, garbage_and_wrong_sizes_are_refused)
{
    char big[CRED_MAX + 2];
    memset(big, 'A', sizeof big);
    memcpy(big, "MUNGE:", 6);
    big[CRED_MAX + 1] = '\0';
    expect_refused(decode_hello(m.socket, text(big)), ERR_LIMIT, "4097");
    big[CRED_MAX] = '\0';
    cr_expect_eq(decode_hello(m.socket, text(big)).code, ERR_AUTH, "the largest is read");
    expect_refused(decode_hello(m.socket, text("")), ERR_LIMIT, "0 bytes");
    cr_expect_eq(decode_hello(m.socket, (struct bytes){NULL, 0}).code, ERR_LIMIT);
    cr_expect_eq(decode_hello(m.socket, (struct bytes){(const uint8_t *)"MU\0NGE", 6}).code,
                 ERR_LIMIT);
    cr_expect_eq(decode_hello(m.socket, text("let me in")).code, ERR_AUTH);
    cr_expect_eq(decode_hello(m.socket, text("MUNGE:!!!!:")).code, ERR_AUTH);
}

Test(cred, an_expired_one_names_the_clocks)
{
    struct munged late;
    munged_start_shifted(&late, &m, -400);
    AUTO(free) char *cred = encode_hello(late.socket);
    struct err e = decode_hello(m.socket, text(cred));
    expect_refused(e, ERR_AUTH, "clocks of the two hosts differ");
    int age = 0;
    cr_expect_eq(sscanf(e.text, "the MUNGE credential is %d s old", &age), 1);
    cr_expect(age >= 399 && age < 460, "about 400 s: %s", e.text);
    munged_stop(&late);
}

Test(cred, one_from_the_future_names_the_clocks)
{
    struct munged early;
    munged_start_shifted(&early, &m, 400);
    AUTO(free) char *cred = encode_hello(early.socket);
    struct err e = decode_hello(m.socket, text(cred));
    expect_refused(e, ERR_AUTH, "clocks");
    cr_expect_not_null(strstr(e.text, "s from the future"), "%s", e.text);
    munged_stop(&early);
}

Test(cred, a_long_ttl_of_the_clients_does_not_help)
{
    struct munged late, early;
    munged_start_shifted(&late, &m, -310);
    munged_start_shifted(&early, &m, 310);
    AUTO(free) char *old = encode_hello_ttl(late.socket, 3600);
    expect_refused(decode_hello(m.socket, text(old)), ERR_AUTH, "more than 300");
    AUTO(free) char *future = encode_hello_ttl(early.socket, 3600);
    expect_refused(decode_hello(m.socket, text(future)), ERR_AUTH, "from the future");
    munged_stop(&late);
    munged_stop(&early);
    munged_start_shifted(&late, &m, -290);
    AUTO(free) char *fresh = encode_hello(late.socket);
    cr_expect_eq(decode_hello(m.socket, text(fresh)).code, ERR_NONE, "290 s are all right");
    munged_stop(&late);
}

Test(cred, a_short_ttl_of_the_clients_counts)
{
    struct munged late;
    munged_start_shifted(&late, &m, -30);
    AUTO(free) char *cred = encode_hello_ttl(late.socket, 1);
    expect_refused(decode_hello(m.socket, text(cred)), ERR_AUTH, "s old");
    munged_stop(&late);
}

Test(cred, without_munged_it_says_what_to_do)
{
    struct err err = {0};
    struct hello h = a_hello();
    char *none = NULL;
    AUTO(free) char *cred = encode_hello(m.socket);
    munged_end(&m);
    expect_refused(decode_hello(m.socket, text(cred)), ERR_MUNGE, "is the munge service running?");
    cr_expect_eq(cred_encode_hello(m.socket, &h, &none, &err), -1);
    expect_refused(err, ERR_MUNGE, m.socket);
    cr_expect_null(none);
}

/* Decodes as uid, in a child.  Gives the error's code. */
static int decode_welcome_as(uid_t uid, const char *cred)
{
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct err err = {0};
        struct welcome w;
        struct cred_origin from;
        if (uid != getuid() && setresuid(uid, uid, uid) < 0)
            _exit(99);
        cred_decode_welcome(m.socket, text(cred), &w, &from, &err);
        _exit((int)err.code);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(cred, welcome_is_for_one_user)
{
    struct err err = {0};
    struct welcome w = a_welcome(), got;
    struct cred_origin from;
    AUTO(free) char *own = NULL;
    AUTO(free) char *somebodys = NULL;
    cr_assert_eq(cred_encode_welcome(m.socket, &w, getuid(), &own, &err), 0, "%s", err.text);
    cr_assert_eq(cred_decode_welcome(m.socket, text(own), &got, &from, &err), 0, "%s", err.text);
    uint8_t sent[CRED_WELCOME_SIZE], came[CRED_WELCOME_SIZE];
    cred_pack_welcome(&w, sent);
    cred_pack_welcome(&got, came);
    cr_expect_arr_eq(came, sent, sizeof sent);
    cr_expect_eq(from.uid, getuid());
    cr_assert_eq(cred_encode_welcome(m.socket, &w, SOMEBODY, &somebodys, &err), 0, "%s", err.text);
    cr_expect_eq(cred_decode_welcome(m.socket, text(somebodys), &got, &from, &err), -1);
    expect_refused(err, ERR_AUTH, "for another user");
    if (getuid() == 0) {
        cr_expect_eq(decode_welcome_as(SOMEBODY_ELSE, somebodys), ERR_AUTH);
        cr_expect_eq(decode_welcome_as(SOMEBODY, somebodys), 0);
    }
}

/* ---- payloads, without munge ---- */

TestSuite(cred_payload, .timeout = 20);

Test(cred_payload, every_field_is_where_the_protocol_says)
{
    struct hello h = a_hello();
    struct welcome w = a_welcome();
    uint8_t hi[CRED_HELLO_SIZE], we[CRED_WELCOME_SIZE];
    cr_expect_eq(CRED_HELLO_SIZE, 116);
    cr_expect_eq(CRED_WELCOME_SIZE, 184);
    cred_pack_hello(&h, hi);
    cr_expect_arr_eq(hi, "SLURM-AGENT-HI1\n\0\1\0\3tiger\0", 26);
    cr_expect_arr_eq(hi + 84, h.key, SEAL_KEY);
    cred_pack_welcome(&w, we);
    cr_expect_arr_eq(we, "SLURM-AGENT-WE1\n\0\1\0\0\0\0\3\x84tiger\0", 30);
    cr_expect_arr_eq(we + 88, w.session, SEAL_ID);
    cr_expect_arr_eq(we + 104, w.key, SEAL_KEY);
    cr_expect_arr_eq(we + 136, w.hello_hash, SEAL_HASH);
    cr_expect_arr_eq(we + 168, w.instance, SEAL_ID);
}

static enum err_code unpack(const uint8_t *payload, size_t n)
{
    struct err err = {0};
    struct hello h;
    cred_unpack_hello((struct bytes){payload, n}, &h, &err);
    return err.code;
}

Test(cred_payload, only_the_exact_size_and_tag)
{
    struct hello h = a_hello();
    uint8_t p[CRED_HELLO_SIZE + 1] = {0};
    cred_pack_hello(&h, p);
    for (size_t n = 0; n <= CRED_HELLO_SIZE + 1; n++)
        cr_expect_eq(unpack(p, n), n == CRED_HELLO_SIZE ? ERR_NONE : ERR_AUTH, "%zu bytes", n);
    for (size_t i = 0; i < CRED_TAG; i++) {
        p[i] ^= 0x20;
        cr_expect_eq(unpack(p, CRED_HELLO_SIZE), ERR_AUTH, "byte %zu", i);
        p[i] ^= 0x20;
    }
}

Test(cred_payload, a_cluster_is_a_name_that_ends)
{
    struct hello h = a_hello();
    uint8_t p[CRED_HELLO_SIZE];
    cred_pack_hello(&h, p);
    memset(p + 20, 'x', CRED_CLUSTER_MAX);
    cr_expect_eq(unpack(p, sizeof p), ERR_AUTH, "no end");
    p[20 + CRED_CLUSTER_MAX - 1] = '\0';
    cr_expect_eq(unpack(p, sizeof p), ERR_NONE, "the longest");
    p[25] = '\n';
    cr_expect_eq(unpack(p, sizeof p), ERR_AUTH, "a line feed for our log");
    memset(p + 20, 0, CRED_CLUSTER_MAX);
    cr_expect_eq(unpack(p, sizeof p), ERR_NONE, "any cluster");
}
