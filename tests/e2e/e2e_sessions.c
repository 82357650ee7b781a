/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is no session: credentials and frames that were made for something or somebody else */
#include <criterion/criterion.h>
#include <munge.h>
#include <poll.h>
#include <string.h>

#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(sessions, .timeout = 120);

#define TEXT(s) ((struct bytes){(const uint8_t *)(s), strlen(s)})

static char *hello_text(const struct hello *h)
{
    struct err err = {0};
    char *cred = NULL;
    cr_assert_eq(cred_encode_hello(munge_socket(), h, &cred, &err), 0, "%s", err.text);
    return cred;
}

/* A credential with any payload, ttl and (as root alone can) time. */
static char *munge_text(const void *payload, int size, int ttl)
{
    char *cred = NULL;
    munge_ctx_t ctx = munge_ctx_create();
    munge_ctx_set(ctx, MUNGE_OPT_SOCKET, munge_socket());
    if (ttl)
        munge_ctx_set(ctx, MUNGE_OPT_TTL, ttl);
    munge_err_t rc = munge_encode(&cred, ctx, payload, size);
    cr_assert_eq(rc, EMUNGE_SUCCESS, "%s", munge_strerror(rc));
    munge_ctx_destroy(ctx);
    return cred;
}

static struct err hello_refused(struct peer *p, const char *cred)
{
    return peer_refusal(peer_hello_raw(p, cred));
}

Test(sessions, a_replayed_hello_is_refused)
{
    struct peer p, q;
    peer_begin(&p, user_a());
    peer_connect(&q);
    struct err e = hello_refused(&q, p.hello);
    cr_expect_eq(e.code, ERR_AUTH, "%s", e.text);
    peer_expect_alive(&p);
    peer_close(&p);
    peer_close(&q);
}

Test(sessions, a_slurm_credential_is_no_hello)
{
    /* Slurm's auth/munge puts a hash of the message into the payload */
    struct peer p;
    become(user_a());
    peer_connect(&p);
    static const uint8_t slurm_like[33] = {0x01, 0xab};
    AUTO(free) char *cred = munge_text(slurm_like, sizeof slurm_like, 0);
    struct err e = hello_refused(&p, cred);
    cr_expect_eq(e.code, ERR_AUTH);
    cr_expect_contains(e.text, "something else");
    AUTO(free) char *nothing = munge_text(NULL, 0, 0);
    e = hello_refused(&p, nothing);
    cr_expect_eq(e.code, ERR_AUTH);
    peer_close(&p);
}

Test(sessions, a_hello_that_is_cut_or_garbled_is_refused)
{
    struct peer p;
    become(user_a());
    peer_connect(&p);
    struct hello h = {.version_min = 1, .version_max = 1};
    AUTO(free) char *cred = hello_text(&h);
    cred[strlen(cred) / 2] ^= 1;
    cr_expect_eq(hello_refused(&p, cred).code, ERR_AUTH);
    cr_expect_eq(hello_refused(&p, "MUNGE:AwQFAAA").code, ERR_AUTH);
    cr_expect_eq(hello_refused(&p, "").code, ERR_PROTOCOL);
    AUTO(free) char *huge = malloc(8192);
    memset(huge, 'A', 8191);
    huge[8191] = '\0';
    cr_expect_eq(hello_refused(&p, huge).code, ERR_PROTOCOL);
    peer_close(&p);
}

Test(sessions, an_expired_hello_is_refused_with_its_age)
{
    struct peer p;
    become(user_a());
    peer_connect(&p);
    uint8_t payload[CRED_HELLO_SIZE];
    struct hello h = {.version_min = 1, .version_max = 1};
    cred_pack_hello(&h, payload);
    AUTO(free) char *cred = munge_text(payload, sizeof payload, 1);
    /* munge counts whole seconds: past the second after its TTL is past it for sure */
    for (int64_t end = clock_mono_ms() + 2500; clock_mono_ms() < end;)
        poll(NULL, 0, 100);
    struct err e = hello_refused(&p, cred);
    cr_expect_eq(e.code, ERR_AUTH);
    cr_expect_contains(e.text, "s old");
    cr_expect_contains(e.text, "clocks");
    peer_close(&p);
}

Test(sessions, another_cluster_and_another_version_are_refused)
{
    struct peer p;
    become(user_a());
    peer_connect(&p);
    struct hello h = {.version_min = 1, .version_max = 1, .cluster = "elsewhere"};
    AUTO(free) char *cluster = hello_text(&h);
    struct err e = hello_refused(&p, cluster);
    cr_expect_eq(e.code, ERR_AUTH);
    cr_expect_contains(e.text, "elsewhere");
    h = (struct hello){.version_min = 7, .version_max = 9};
    AUTO(free) char *version = hello_text(&h);
    e = hello_refused(&p, version);
    cr_expect_eq(e.code, ERR_PROTOCOL, "%s", e.text);
    cr_expect_contains(e.text, "7");
    peer_close(&p);
}

Test(sessions, a_credential_for_somebody_else_is_refused)
{
    struct peer p;
    become(user_a());
    peer_connect(&p);
    struct err err = {0};
    struct welcome w = {.version = 1};
    char *cred = NULL;
    cr_assert_eq(cred_encode_welcome(munge_socket(), &w, 65533, &cred, &err), 0, "%s", err.text);
    cr_expect_eq(hello_refused(&p, cred).code, ERR_AUTH);
    free(cred);
    peer_close(&p);
}

/* The helper beside this program. */
static char *helper(const char *name)
{
    char self[4096], *path;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    cr_assert_gt(n, 0);
    self[n] = '\0';
    cr_assert_gt(asprintf(&path, "%.*s/libexec/%s", (int)(strrchr(self, '/') - self), self, name),
                 0);
    return path;
}

Test(sessions, hello_and_slurm_credentials_are_of_no_use_to_each_other)
{
    /* squeue's own code, with our HELLO where its credential would be; its own is kept unused */
    struct hello h = {.version_min = 1, .version_max = 1};
    AUTO(free) char *preload = helper("munge_swap.so");
    scratch(user_a());
    become(user_a());
    AUTO(free) char *cred = hello_text(&h);
    AUTO(free) char *ours = scratch_file(user_a(), "ours", cred);
    AUTO(free) char *theirs = scratch_file(user_a(), "theirs", "");
    AUTO(free) char *settings[3] = {NULL};
    AUTO(run_free) struct run good = run_as(NULL, "squeue");
    cr_assert_eq(good.status, 0, "%s", good.err);
    cr_assert_gt(asprintf(&settings[0], "LD_PRELOAD=%s", preload), 0);
    cr_assert_gt(asprintf(&settings[1], "MUNGE_SWAP_GIVE=%s", ours), 0);
    cr_assert_gt(asprintf(&settings[2], "MUNGE_SWAP_TAKE=%s", theirs), 0);
    AUTO(run_free)
    struct run r = run_as(NULL, "env", settings[0], settings[1], settings[2], "squeue");
    cr_expect_neq(r.status, 0, "slurmctld took a HELLO for a credential");
    cr_expect_null(strstr(r.out, "JOBID"), "%s", r.out);
    cr_expect_contains(r.err, "slurm_load_jobs error");
    AUTO(free) char *slurms = slurp(theirs);
    cr_assert(slurms && strncmp(slurms, "MUNGE:", 6) == 0, "no credential of Slurm's: %s", r.err);
    struct peer p;
    peer_connect(&p);
    struct err e = hello_refused(&p, slurms);
    cr_expect_eq(e.code, ERR_AUTH, "%s", e.text);
    cr_expect_contains(e.text, "something else");
    peer_close(&p);
    free(settings[1]);
    free(settings[2]);
}

Test(sessions, a_sealed_frame_counts_once)
{
    struct peer p;
    uint64_t counter;
    peer_begin(&p, user_a());
    struct bytes frame = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    struct bytes first = peer_exchange(&p, frame, 5000);
    cr_assert_not_null(first.p);
    cr_expect_eq(first.p[4], SEAL_REPLY);
    free((void *)first.p);
    cr_expect_eq(peer_refusal(peer_exchange(&p, frame, 5000)).code, ERR_SESSION, "replayed");
    free((void *)frame.p);
    peer_expect_alive(&p);
    peer_close(&p);
}

Test(sessions, frames_may_overtake_each_other_within_the_window)
{
    struct peer p;
    uint64_t counter;
    peer_begin(&p, user_a());
    struct bytes early = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    struct bytes late = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    struct bytes r = peer_exchange(&p, late, 5000);
    cr_expect(r.p && r.p[4] == SEAL_REPLY);
    free((void *)r.p);
    r = peer_exchange(&p, early, 5000);
    cr_expect(r.p && r.p[4] == SEAL_REPLY);
    free((void *)r.p);
    free((void *)early.p);
    free((void *)late.p);
    struct bytes old = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    p.seal.tx_counter += SEAL_WINDOW + 1;
    peer_expect_alive(&p);
    cr_expect_eq(peer_refusal(peer_exchange(&p, old, 5000)).code, ERR_SESSION, "too old");
    free((void *)old.p);
    peer_close(&p);
}

Test(sessions, a_changed_bit_anywhere_is_refused)
{
    struct peer p;
    uint64_t counter;
    peer_begin(&p, user_a());
    struct bytes good = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    for (size_t i = 0; i < good.n; i++) {
        AUTO(free) uint8_t *bad = malloc(good.n);
        memcpy(bad, good.p, good.n);
        bad[i] ^= 0x40;
        struct bytes r = peer_exchange(&p, (struct bytes){bad, good.n}, 5000);
        cr_expect(r.p && r.p[4] == SEAL_REFUSED, "byte %zu", i);
        free((void *)r.p);
    }
    struct bytes r = peer_exchange(&p, good, 5000);
    cr_expect(r.p && r.p[4] == SEAL_REPLY, "forgeries do not use up the counter");
    free((void *)r.p);
    free((void *)good.p);
    peer_close(&p);
}

Test(sessions, one_session_cannot_speak_for_another)
{
    struct peer p, q;
    uint64_t counter;
    peer_begin(&p, user_a());
    peer_connect(&q);
    peer_login(&q);
    struct bytes frame = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    uint8_t *mixed = (uint8_t *)frame.p;
    memcpy(mixed + 8, q.session, SEAL_ID);
    cr_expect_eq(peer_refusal(peer_exchange(&q, frame, 5000)).code, ERR_SESSION);
    free(mixed);
    peer_expect_alive(&p);
    peer_expect_alive(&q);
    peer_close(&p);
    peer_close(&q);
}

Test(sessions, an_ended_session_is_over)
{
    struct peer p;
    uint64_t counter;
    peer_begin(&p, user_a());
    cr_expect_eq(peer_code(peer_call(&p, OP_session_end, PEER_EMPTY)), ERR_NONE);
    struct bytes frame = peer_seal(&p, OP_ping, PEER_EMPTY, &counter);
    cr_expect_eq(peer_refusal(peer_exchange(&p, frame, 5000)).code, ERR_SESSION);
    free((void *)frame.p);
    peer_close(&p);
}

enum { CLIENTS = 250 }; /* five seconds' of hello_rate_per_address */

Test(sessions, clients_that_come_all_at_once_get_in_one_after_the_other)
{
    become(user_a());
    for (int i = 0; i < CLIENTS; i++) {
        struct sagent *s;
        struct sagent_server *server = NULL;
        struct sagent_error err;
        cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
        int rc = sagent_ping(s, &server, &err);
        sagent_server_free(server);
        sagent_close(s);
        cr_assert_eq(rc, 0, "client %d: %s", i, err.text);
    }
}
