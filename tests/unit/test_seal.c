/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/seal.h"

enum { MAX = 256 };

/* Both sides of one session. */
struct pair {
    struct seal client, server;
};

static const uint8_t id[SEAL_ID] = "0123456789abcde";

static void make_sides(struct pair *p, const uint8_t hh[SEAL_HASH], const uint8_t wh[SEAL_HASH],
                       const uint8_t server_wh[SEAL_HASH])
{
    uint8_t cp[SEAL_KEY], cs[SEAL_KEY], sp[SEAL_KEY], ss[SEAL_KEY];
    struct err err = {0};
    cr_assert_eq(seal_setup(&err), 0);
    seal_keypair(cp, cs);
    seal_keypair(sp, ss);
    cr_assert_eq(seal_init(&p->client, SEAL_CLIENT, id, cp, cs, sp, hh, wh, &err), 0);
    cr_assert_eq(seal_init(&p->server, SEAL_SERVER, id, sp, ss, cp, hh, server_wh, &err), 0);
}

static void make(struct pair *p)
{
    const uint8_t hh[SEAL_HASH] = "hello", wh[SEAL_HASH] = "welcome";
    make_sides(p, hh, wh, wh);
}

/* A request that holds text, into frame.  Gives its size. */
static size_t request(struct pair *p, const char *text, uint8_t frame[MAX], uint64_t *counter)
{
    struct err err = {0};
    struct bytes plain = {(const uint8_t *)text, strlen(text)};
    cr_assert_eq(seal_request(&p->client, plain, frame, counter, &err), 0, "%s", err.text);
    return plain.n + SEAL_OVERHEAD;
}

static enum err_code open_request(struct pair *p, const uint8_t *frame, size_t n)
{
    struct err err = {0};
    uint8_t out[MAX];
    uint64_t counter;
    int rc = seal_open_request(&p->server, (struct bytes){frame, n}, out, &counter, &err);
    cr_expect_eq(rc, err.code == ERR_NONE ? 0 : -1);
    return err.code;
}

static size_t reply(struct pair *p, uint64_t counter, const char *text, uint8_t frame[MAX])
{
    struct err err = {0};
    struct bytes plain = {(const uint8_t *)text, strlen(text)};
    cr_assert_eq(seal_reply(&p->server, counter, plain, frame, &err), 0, "%s", err.text);
    return plain.n + SEAL_OVERHEAD;
}

static enum err_code open_reply(struct pair *p, uint64_t counter, const uint8_t *frame, size_t n)
{
    struct err err = {0};
    uint8_t out[MAX];
    seal_open_reply(&p->client, counter, (struct bytes){frame, n}, out, &err);
    return err.code;
}

Test(seal, a_request_and_its_reply_arrive_as_they_were)
{
    struct pair p;
    struct err err = {0};
    uint8_t frame[MAX], out[MAX] = {0};
    uint64_t counter, seen;
    make(&p);
    size_t n = request(&p, "squeue", frame, &counter);
    cr_expect_eq(counter, 1);
    cr_expect_null(memmem(frame, n, "squeue", 6), "nobody can read it");
    cr_assert_eq(seal_open_request(&p.server, (struct bytes){frame, n}, out, &seen, &err), 0);
    cr_expect_eq(seen, counter);
    cr_expect_arr_eq(out, "squeue", 6);
    n = reply(&p, counter, "no jobs", frame);
    cr_assert_eq(seal_open_reply(&p.client, counter, (struct bytes){frame, n}, out, &err), 0);
    cr_expect_arr_eq(out, "no jobs", 7);
}

Test(seal, an_empty_body_is_a_body)
{
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter;
    make(&p);
    size_t n = request(&p, "", frame, &counter);
    cr_expect_eq(n, SEAL_OVERHEAD);
    cr_expect_eq(open_request(&p, frame, n), ERR_NONE);
    cr_expect_eq(open_reply(&p, counter, frame, reply(&p, counter, "", frame)), ERR_NONE);
}

Test(seal, no_bit_of_a_request_may_change)
{
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter;
    make(&p);
    size_t n = request(&p, "scancel 7", frame, &counter);
    for (size_t bit = 0; bit < n * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_expect_neq(open_request(&p, frame, n), ERR_NONE, "bit %zu", bit);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_expect_eq(p.server.rx_highest, 0, "a forgery does not move the window");
    cr_expect_eq(open_request(&p, frame, n), ERR_NONE);
}

Test(seal, no_bit_of_a_reply_may_change)
{
    struct pair p;
    uint8_t frame[MAX];
    make(&p);
    size_t n = reply(&p, 1, "done", frame);
    for (size_t bit = 0; bit < n * 8; bit++) {
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_expect_eq(open_reply(&p, 1, frame, n), ERR_PROTOCOL, "bit %zu", bit);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_expect_eq(open_reply(&p, 1, frame, n), ERR_NONE);
}

Test(seal, no_length_but_the_right_one)
{
    struct pair p;
    uint8_t frame[MAX] = {0};
    uint64_t counter;
    make(&p);
    size_t n = request(&p, "sinfo", frame, &counter);
    for (size_t cut = 0; cut < n; cut++)
        cr_expect_neq(open_request(&p, frame, cut), ERR_NONE, "%zu bytes", cut);
    cr_expect_neq(open_request(&p, frame, n + 1), ERR_NONE);
    n = reply(&p, counter, "up", frame);
    for (size_t cut = 0; cut < n; cut++)
        cr_expect_eq(open_reply(&p, counter, frame, cut), ERR_PROTOCOL, "%zu bytes", cut);
}

Test(seal, replies_cannot_be_swapped)
{
    struct pair p;
    uint8_t one[MAX], two[MAX];
    uint64_t a, b;
    make(&p);
    request(&p, "first", one, &a);
    request(&p, "second", two, &b);
    size_t n1 = reply(&p, a, "yes", one), n2 = reply(&p, b, "no!", two);
    cr_expect_eq(open_reply(&p, a, two, n2), ERR_PROTOCOL);
    cr_expect_eq(open_reply(&p, b, one, n1), ERR_PROTOCOL);
    cr_expect_eq(open_reply(&p, a, one, n1), ERR_NONE);
    cr_expect_eq(open_reply(&p, b, two, n2), ERR_NONE);
}

Test(seal, a_frame_is_of_no_use_in_the_other_direction)
{
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter;
    make(&p);
    size_t n = request(&p, "echo", frame, &counter);
    frame[4] = SEAL_REPLY;
    cr_expect_eq(open_reply(&p, counter, frame, n), ERR_PROTOCOL);
    n = reply(&p, counter, "echo", frame);
    frame[4] = SEAL_SEALED;
    cr_expect_eq(open_request(&p, frame, n), ERR_SESSION);
}

Test(seal, a_request_counts_once)
{
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter;
    make(&p);
    size_t n = request(&p, "sbatch", frame, &counter);
    cr_expect_eq(open_request(&p, frame, n), ERR_NONE);
    cr_expect_eq(open_request(&p, frame, n), ERR_SESSION);
}

Test(seal, counter_zero_is_none)
{
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter;
    make(&p);
    p.client.tx_counter = 0;
    size_t n = request(&p, "x", frame, &counter);
    cr_expect_eq(open_request(&p, frame, n), ERR_SESSION);
}

Test(seal, requests_may_overtake_each_other_within_the_window)
{
    enum { N = SEAL_WINDOW + 1 };
    static uint8_t frames[N][MAX];
    struct pair p;
    uint64_t counter;
    size_t n = 0;
    make(&p);
    for (int i = 0; i < N; i++)
        n = request(&p, "ping", frames[i], &counter);
    for (int i = N - 1; i > 0; i--)
        cr_expect_eq(open_request(&p, frames[i], n), ERR_NONE, "counter %d", i + 1);
    cr_expect_eq(open_request(&p, frames[0], n), ERR_SESSION, "older than the window");
    for (int i = 0; i < N; i++)
        cr_expect_eq(open_request(&p, frames[i], n), ERR_SESSION, "counter %d again", i + 1);
}

/* The ring of bits against the plain way to remember, with jumps of every size. */
Test(seal, the_window_remembers_like_a_list)
{
    enum { N = 20000 };
    static bool seen[N];
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter, highest = 0, step = 1;
    make(&p);
    for (int i = 0; i < 6000; i++) {
        step = step * 6364136223846793005ULL + 1442695040888963407ULL;
        uint64_t c = highest + 1 + (step >> 33) % (i % 50 ? 3 : 1500);
        if (i % 3)
            c = highest > 1200 ? highest - (step >> 33) % 1200 : 1 + (step >> 33) % 50;
        if (c >= N)
            break;
        p.client.tx_counter = c;
        size_t n = request(&p, "x", frame, &counter);
        bool fresh = !seen[c] && (c > highest || highest - c < SEAL_WINDOW);
        cr_assert_eq(open_request(&p, frame, n) == ERR_NONE, fresh, "counter %llu, highest %llu",
                     (unsigned long long)c, (unsigned long long)highest);
        seen[c] = seen[c] || fresh;
        highest = fresh && c > highest ? c : highest;
    }
    cr_expect_gt(highest, 5000, "it got somewhere");
}

Test(seal, another_session_cannot_open_it)
{
    struct pair a, b;
    uint8_t frame[MAX];
    uint64_t counter;
    make(&a);
    make(&b);
    size_t n = request(&a, "hold", frame, &counter);
    cr_expect_eq(open_request(&b, frame, n), ERR_SESSION, "same id, other keys");
    b.server.session[0] ^= 1;
    cr_expect_eq(open_request(&b, frame, n), ERR_SESSION, "other id");
}

Test(seal, both_credentials_are_in_the_keys)
{
    const uint8_t hh[SEAL_HASH] = "hello", wh[SEAL_HASH] = "welcome", other[SEAL_HASH] = "forged";
    struct pair p;
    uint8_t frame[MAX];
    uint64_t counter;
    make_sides(&p, hh, wh, other);
    size_t n = request(&p, "hold", frame, &counter);
    cr_expect_eq(open_request(&p, frame, n), ERR_SESSION);
}

Test(seal, a_forked_child_must_not_go_on)
{
    struct pair p;
    make(&p);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct err err = {0};
        uint8_t frame[MAX];
        uint64_t counter;
        int rc = seal_request(&p.client, (struct bytes){NULL, 0}, frame, &counter, &err);
        int rc2 = seal_reply(&p.server, 1, (struct bytes){NULL, 0}, frame, &err);
        _exit(rc == -1 && rc2 == -1 && err.code == ERR_SESSION ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
}

Test(seal, counters_are_never_used_up_silently)
{
    struct pair p;
    struct err err = {0};
    uint8_t frame[MAX];
    uint64_t counter;
    make(&p);
    p.client.tx_counter = UINT64_MAX;
    cr_expect_eq(seal_request(&p.client, (struct bytes){NULL, 0}, frame, &counter, &err), -1);
    cr_expect_eq(err.code, ERR_SESSION);
}

Test(seal, a_public_key_of_low_order_is_refused)
{
    /* Points of order 1, 2, 4 and 8: with them the shared secret would not depend on ours. */
    static const uint8_t bad[][SEAL_KEY] = {
        {0},
        {1},
        {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
         0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
         0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
        {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
         0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
         0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    };
    uint8_t pub[SEAL_KEY], sec[SEAL_KEY], hash[SEAL_HASH] = {0};
    struct err setup = {0};
    cr_assert_eq(seal_setup(&setup), 0);
    seal_keypair(pub, sec);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int side = SEAL_CLIENT; side <= SEAL_SERVER; side++) {
            struct seal s;
            struct err err = {0};
            cr_expect_eq(
                seal_init(&s, (enum seal_side)side, id, pub, sec, bad[i], hash, hash, &err), -1,
                "key %zu", i);
            cr_expect_eq(err.code, ERR_AUTH);
        }
}

static enum err_code get_header(const uint8_t *frame, size_t n)
{
    struct err err = {0};
    struct seal_header h;
    struct bytes payload;
    seal_get_header((struct bytes){frame, n}, &h, &payload, &err);
    return err.code;
}

Test(seal, headers_are_read_as_they_were_written)
{
    struct seal_header h = {.kind = SEAL_SEALED, .counter = 0x0102030405060708}, got;
    uint8_t frame[SEAL_HEADER + 3] = {0};
    struct bytes payload;
    struct err err = {0};
    memcpy(h.session, id, SEAL_ID);
    seal_put_header(frame, &h);
    cr_expect_arr_eq(frame, "SLA1S\0\0\0", 8);
    cr_expect_arr_eq(frame + 24, "\1\2\3\4\5\6\7\10", 8, "big endian");
    cr_assert_eq(seal_get_header((struct bytes){frame, sizeof frame}, &got, &payload, &err), 0);
    cr_expect_eq(got.kind, SEAL_SEALED);
    cr_expect_eq(got.counter, h.counter);
    cr_expect_arr_eq(got.session, id, SEAL_ID);
    cr_expect_eq(payload.p, frame + SEAL_HEADER);
    cr_expect_eq(payload.n, 3);
}

Test(seal, malformed_headers_are_refused)
{
    struct seal_header h = {.kind = SEAL_HELLO};
    uint8_t good[SEAL_HEADER], frame[SEAL_HEADER];
    seal_put_header(good, &h);
    cr_assert_eq(get_header(good, sizeof good), ERR_NONE);
    for (size_t n = 0; n < SEAL_HEADER; n++)
        cr_expect_eq(get_header(good, n), ERR_PROTOCOL, "%zu bytes", n);
    for (size_t i = 0; i < SEAL_HEADER; i++) {
        memcpy(frame, good, sizeof frame);
        frame[i] ^= 0x80;
        cr_expect_eq(get_header(frame, sizeof frame), ERR_PROTOCOL, "byte %zu", i);
    }
    for (int kind = 0; kind < 256; kind++) {
        memcpy(frame, good, sizeof frame);
        frame[4] = (uint8_t)kind;
        bool known = kind && strchr("HWSRE", kind);
        cr_expect_eq(get_header(frame, sizeof frame), known ? ERR_NONE : ERR_PROTOCOL, "%d", kind);
    }
}

Test(seal, only_kinds_that_count_have_a_counter)
{
    for (const char *kind = "HWSRE"; *kind; kind++) {
        struct seal_header h = {.kind = (enum seal_kind) * kind, .counter = 1};
        uint8_t frame[SEAL_HEADER];
        seal_put_header(frame, &h);
        bool counts = *kind == SEAL_SEALED || *kind == SEAL_REPLY;
        cr_expect_eq(get_header(frame, sizeof frame), counts ? ERR_NONE : ERR_PROTOCOL, "%c",
                     *kind);
    }
}

Test(seal, a_session_that_is_done_holds_no_keys)
{
    static const struct seal empty;
    struct pair p;
    make(&p);
    seal_done(&p.client);
    cr_expect_arr_eq(&p.client, &empty, sizeof empty);
}
