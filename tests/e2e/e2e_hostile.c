/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Clients that do what no client should: each is refused or shed, and nobody else notices */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <munge.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(sessions, .timeout = 120);
TestSuite(hostile, .timeout = 120);

static bool server_answers(void *arg)
{
    (void)arg;
    return run_status(run_as(NULL, "slurm-agent", "ping")) == 0;
}

static bool never(void *arg)
{
    server_answers(arg);
    return false;
}

/* nng may have got stuck by what was done to it (listen.c): then the broker notices within these
 * seconds, and starts anew; the next test is not to meet that. */
static void settle(void)
{
    wait_until(never, NULL, 9000);
    cr_expect(wait_until(server_answers, NULL, 10000));
}

static const uint8_t empty_map[] = {0x80};
#define EMPTY ((struct bytes){empty_map, 1})
#define TEXT(s) ((struct bytes){(const uint8_t *)(s), strlen(s)})

static enum err_code code_of(struct bytes plain)
{
    enum err_code code =
        plain.n >= 4 ? (enum err_code)(plain.p[0] << 8 | plain.p[1]) : ERR_INTERNAL;
    free((void *)plain.p);
    return code;
}

static void expect_alive(struct peer *p)
{
    struct bytes r = peer_call(p, OP_ping, EMPTY);
    cr_expect_not_null(r.p, "the server does not answer any more");
    cr_expect_eq(code_of(r), ERR_NONE);
}

static void login(struct peer *p)
{
    become(user_a());
    peer_connect(p);
    peer_login(p);
}

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
    login(&p);
    peer_connect(&q);
    struct err e = hello_refused(&q, p.hello);
    cr_expect_eq(e.code, ERR_AUTH, "%s", e.text);
    expect_alive(&p);
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
    login(&p);
    struct bytes frame = peer_seal(&p, OP_ping, EMPTY, &counter);
    struct bytes first = peer_exchange(&p, frame, 5000);
    cr_assert_not_null(first.p);
    cr_expect_eq(first.p[4], SEAL_REPLY);
    free((void *)first.p);
    cr_expect_eq(peer_refusal(peer_exchange(&p, frame, 5000)).code, ERR_SESSION, "replayed");
    free((void *)frame.p);
    expect_alive(&p);
    peer_close(&p);
}

Test(sessions, frames_may_overtake_each_other_within_the_window)
{
    struct peer p;
    uint64_t counter;
    login(&p);
    struct bytes early = peer_seal(&p, OP_ping, EMPTY, &counter);
    struct bytes late = peer_seal(&p, OP_ping, EMPTY, &counter);
    struct bytes r = peer_exchange(&p, late, 5000);
    cr_expect(r.p && r.p[4] == SEAL_REPLY);
    free((void *)r.p);
    r = peer_exchange(&p, early, 5000);
    cr_expect(r.p && r.p[4] == SEAL_REPLY);
    free((void *)r.p);
    free((void *)early.p);
    free((void *)late.p);
    struct bytes old = peer_seal(&p, OP_ping, EMPTY, &counter);
    p.seal.tx_counter += SEAL_WINDOW + 1;
    expect_alive(&p);
    cr_expect_eq(peer_refusal(peer_exchange(&p, old, 5000)).code, ERR_SESSION, "too old");
    free((void *)old.p);
    peer_close(&p);
}

Test(sessions, a_changed_bit_anywhere_is_refused)
{
    struct peer p;
    uint64_t counter;
    login(&p);
    struct bytes good = peer_seal(&p, OP_ping, EMPTY, &counter);
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
    login(&p);
    peer_connect(&q);
    peer_login(&q);
    struct bytes frame = peer_seal(&p, OP_ping, EMPTY, &counter);
    uint8_t *mixed = (uint8_t *)frame.p;
    memcpy(mixed + 8, q.session, SEAL_ID);
    cr_expect_eq(peer_refusal(peer_exchange(&q, frame, 5000)).code, ERR_SESSION);
    free(mixed);
    expect_alive(&p);
    expect_alive(&q);
    peer_close(&p);
    peer_close(&q);
}

Test(sessions, an_ended_session_is_over)
{
    struct peer p;
    uint64_t counter;
    login(&p);
    cr_expect_eq(code_of(peer_call(&p, OP_session_end, EMPTY)), ERR_NONE);
    struct bytes frame = peer_seal(&p, OP_ping, EMPTY, &counter);
    cr_expect_eq(peer_refusal(peer_exchange(&p, frame, 5000)).code, ERR_SESSION);
    free((void *)frame.p);
    peer_close(&p);
}

Test(hostile, requests_that_are_none)
{
    struct peer p;
    login(&p);
    cr_expect_eq(code_of(peer_call(&p, 999, EMPTY)), ERR_UNSUPPORTED);
    cr_expect_eq(code_of(peer_call(&p, OP_ping, TEXT("\x81\xa1x\x01"))), ERR_UNSUPPORTED,
                 "unknown field");
    cr_expect_eq(code_of(peer_call(&p, OP_ping, TEXT("\xc1"))), ERR_PROTOCOL);
    cr_expect_eq(code_of(peer_call(&p, OP_ping, (struct bytes){NULL, 0})), ERR_PROTOCOL);
    cr_expect_eq(code_of(peer_call(&p, OP_job_get, TEXT("\x81\xa3ids\xdd\x10\x00"))), ERR_PROTOCOL);
    static const uint8_t greedy[] = "\x81\xa3ids\xdd\x10\x00\x00\x00";
    cr_expect_eq(code_of(peer_call(&p, OP_job_get, (struct bytes){greedy, 10})), ERR_PROTOCOL);
    static uint8_t big[70000];
    cr_expect_eq(code_of(peer_call(&p, OP_ping, (struct bytes){big, sizeof big})), ERR_LIMIT);
    expect_alive(&p);
    peer_close(&p);
}

Test(hostile, frames_that_are_none)
{
    struct peer p;
    become(user_a());
    peer_connect(&p);
    static const uint8_t garbage[64] = {0xff, 0xfe, 1, 2, 3};
    for (size_t n = 0; n <= sizeof garbage; n += 8)
        cr_expect_eq(peer_refusal(peer_exchange(&p, (struct bytes){garbage, n}, 5000)).code,
                     ERR_PROTOCOL, "%zu bytes", n);
    struct seal_header h = {.kind = SEAL_WELCOME};
    cr_expect_eq(peer_refusal(peer_say(&p, &h, EMPTY, 5000)).code, ERR_PROTOCOL);
    h.kind = SEAL_SEALED;
    cr_expect_eq(peer_refusal(peer_say(&p, &h, EMPTY, 5000)).code, ERR_SESSION);
    peer_close(&p);
    settle();
}

/* ---- below nng ---- */

static int raw_connect(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    int port = 0;
    cr_assert_eq(sscanf(getenv("SLURM_AGENT_SERVER"), "tcp://127.0.0.1:%d", &port), 1);
    sa.sin_port = htons((uint16_t)port);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static bool closed_within(int fd, int ms)
{
    char buf[256];
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    for (int64_t end = clock_mono_ms() + ms;;) {
        int64_t left = end - clock_mono_ms();
        if (left <= 0 || poll(&pfd, 1, (int)left) <= 0)
            return false;
        if (read(fd, buf, sizeof buf) <= 0)
            return true;
    }
}

/* SP's greeting of a REQ socket. */
static const uint8_t sp_req[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};

Test(hostile, a_message_that_announces_gigabytes_loses_its_connection)
{
    struct peer p;
    login(&p);
    int fd = raw_connect();
    static const uint8_t size[8] = {0, 0, 0, 1, 0, 0, 0, 0}; /* 4 GiB */
    cr_assert_eq(write(fd, sp_req, sizeof sp_req), 8);
    cr_assert_eq(write(fd, size, sizeof size), 8);
    cr_expect(closed_within(fd, 5000));
    close(fd);
    expect_alive(&p);
    peer_close(&p);
}

Test(hostile, connections_that_say_nothing_are_ended)
{
    struct peer p;
    login(&p);
    enum { SILENT = 50 };
    int fds[SILENT];
    for (int i = 0; i < SILENT; i++) {
        fds[i] = raw_connect();
        cr_assert_eq(write(fds[i], sp_req, i % 2 ? 8 : 3), i % 2 ? 8 : 3);
    }
    expect_alive(&p);
    int ended = 0;
    for (int i = 1; i < SILENT; i += 2)
        ended += closed_within(fds[i], 15000);
    cr_expect_eq(ended, SILENT / 2, "%d of %d", ended, SILENT / 2);
    for (int i = 0; i < SILENT; i++)
        close(fds[i]);
    expect_alive(&p);
    peer_close(&p);
}

/* Others' requests while somebody misbehaves: the slowest of many, in ms. */
static int64_t slowest_ping(struct peer *p, int rounds)
{
    int64_t worst = 0;
    for (int i = 0; i < rounds; i++) {
        int64_t begin = clock_mono_ms();
        expect_alive(p);
        int64_t took = clock_mono_ms() - begin;
        worst = took > worst ? took : worst;
    }
    return worst;
}

Test(hostile, clients_that_never_read_do_not_slow_others)
{
    struct peer p;
    login(&p);
    /* many requests with large answers down connections that nobody reads */
    enum { GREEDY = 8, REQUESTS = 100 };
    int fds[GREEDY];
    for (int i = 0; i < GREEDY; i++) {
        fds[i] = raw_connect();
        int small = 1024;
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        cr_assert_eq(write(fds[i], sp_req, sizeof sp_req), 8);
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    for (int n = 0; n < REQUESTS; n++)
        for (int i = 0; i < GREEDY; i++) {
            uint64_t counter;
            struct bytes frame = peer_seal(&p, OP_job_list, EMPTY, &counter);
            uint8_t head[12] = {0};
            head[6] = (uint8_t)((frame.n + 4) >> 8);
            head[7] = (uint8_t)(frame.n + 4);
            head[8] = 0x80; /* nng's request id */
            head[11] = (uint8_t)n;
            ssize_t ignored = send(fds[i], head, sizeof head, MSG_NOSIGNAL);
            ignored = send(fds[i], frame.p, frame.n, MSG_NOSIGNAL);
            (void)ignored;
            free((void *)frame.p);
        }
    /* Not a timing test: a server that one of them blocked would take seconds. */
    cr_expect_lt(slowest_ping(&p, 200), 2000);
    for (int i = 0; i < GREEDY; i++)
        close(fds[i]);
    expect_alive(&p);
    peer_close(&p);
    settle();
}

/* Asks for a large script and leaves in the middle of it. */
static void leave_early(struct peer *p, const char *id, int rounds)
{
    struct script_request req = {.id = id};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    msg_pack(&script_request_type, &req, out);
    for (int i = 0; i < rounds; i++) {
        uint64_t counter;
        uint8_t head[12] = {0}, some[70000];
        struct bytes frame = peer_seal(p, OP_job_script, wire_out_bytes(out), &counter);
        int fd = raw_connect();
        head[7] = (uint8_t)(frame.n + 4);
        head[6] = (uint8_t)((frame.n + 4) >> 8);
        head[8] = 0x80;
        bool sent = write(fd, sp_req, sizeof sp_req) == 8 && write(fd, head, 12) == 12 &&
                    write(fd, frame.p, frame.n) == (ssize_t)frame.n;
        /* until the answer is under way */
        bool came = sent && recv(fd, some, sizeof some, MSG_WAITALL) == (ssize_t)sizeof some;
        close(fd);
        free((void *)frame.p);
        cr_assert(came, "round %d", i);
    }
}

Test(hostile, clients_that_leave_in_the_middle_of_an_answer)
{
    AUTO(run_free)
    struct run job = run_as(user_a(), "sh", "-c",
                            "f=$(mktemp) && { echo '#!/bin/sh'; head -c 3000000 /dev/zero | tr "
                            "'\\0' '#'; } >$f && slurm-agent submit --parsable --hold --chdir=/tmp "
                            "$f; rm -f $f");
    cr_assert_eq(job.status, 0, "%s", job.err);
    job.out[strcspn(job.out, ";\n")] = '\0';
    struct peer p;
    login(&p);
    leave_early(&p, job.out, 100);
    /* A server that cannot let go of them has no room for the 65th stranger. */
    for (int i = 0; i < 100; i++) {
        int fd = raw_connect();
        cr_assert_eq(write(fd, sp_req, sizeof sp_req), 8);
        close(fd);
    }
    struct peer next;
    login(&next);
    expect_alive(&next);
    peer_close(&next);
    peer_close(&p);
    run_status(run_as(NULL, "slurm-agent", "cancel", "--quiet", job.out));
    settle();
}

/* One who has not even said who it is: each of its frames is refused, and it takes no refusal. */
static void send_garbage(int fd, int frames)
{
    static const uint8_t frame[8 + 5] = {[7] = 5, [8] = 0x80, [12] = 'x'};
    int small = 1024;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    cr_assert_eq(write(fd, sp_req, sizeof sp_req), 8);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < frames; i++) {
        ssize_t ignored = send(fd, frame, sizeof frame, MSG_NOSIGNAL);
        (void)ignored;
    }
}

Test(hostile, a_stranger_that_never_reads_holds_nobody_up)
{
    struct peer p;
    login(&p);
    for (int round = 0; round < 3; round++) {
        int fd = raw_connect();
        send_garbage(fd, 20000);
        /* Not a timing test: contexts that are all waiting for it would be free after 5 s. */
        cr_expect_lt(slowest_ping(&p, 50), 2000);
        close(fd);
    }
    peer_close(&p);
    settle();
}

Test(hostile, strangers_from_one_address_are_few)
{
    struct peer p;
    login(&p);
    enum { MANY = 100 };
    int fds[MANY], closed = 0;
    for (int i = 0; i < MANY; i++) {
        fds[i] = raw_connect();
        cr_assert_eq(write(fds[i], sp_req, sizeof sp_req), 8);
    }
    for (int i = 0; i < MANY; i++)
        closed += closed_within(fds[i], i ? 100 : 1000);
    cr_expect_geq(closed, MANY - 64, "64 at most may each hold half a frame: %d", closed);
    cr_expect_lt(closed, MANY, "and some must be let in");
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    expect_alive(&p);
    peer_close(&p);
    settle();
}

enum { BIG_SCRIPT = 4 << 20, BIG_PEERS = 16 };

/* Sends as many large submits as there may be, and one more; gives that one's answer. */
static enum err_code too_many_bytes(void)
{
    struct peer p[BIG_PEERS + 1];
    static char script[BIG_SCRIPT];
    memset(script, '#', sizeof script);
    memcpy(script, "#!/bin/sh\n", 10);
    const struct pair options[] = {{"hold", ""}, {"chdir", "/tmp"}, {"job-name", "many-bytes"}};
    struct submit_request req = {
        .script = {(const uint8_t *)script, sizeof script},
        .options = {options, ARRAY_LEN(options)},
        .login_environment = true,
    };
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    msg_pack(&submit_request_type, &req, out);
    login(&p[0]);
    for (int i = 1; i <= BIG_PEERS; i++) {
        uint64_t counter;
        peer_connect(&p[i]);
        peer_login(&p[i]);
        struct bytes frame = peer_seal(&p[i], OP_job_submit, wire_out_bytes(out), &counter);
        nng_socket_set_ms(p[i].sock, NNG_OPT_SENDTIMEO, 10000);
        if (nng_send(p[i].sock, (void *)frame.p, frame.n, 0) != 0)
            return ERR_INTERNAL;
        free((void *)frame.p);
    }
    /* the last of them may still be on its way */
    enum err_code code = ERR_NONE;
    for (int tries = 0; tries < 50 && code != ERR_BUSY; tries++) {
        struct bytes frame = peer_call(&p[0], OP_ping, EMPTY);
        free((void *)frame.p);
        uint64_t counter;
        struct bytes more = peer_seal(&p[0], OP_job_submit, wire_out_bytes(out), &counter);
        struct bytes reply = peer_exchange(&p[0], more, 300);
        code =
            reply.p ? ERR_BUSY : ERR_NONE; /* nothing else answers while slurmctld stands still */
        free((void *)reply.p);
        free((void *)more.p);
    }
    struct bytes alive = peer_call(&p[0], OP_ping, EMPTY);
    code = code == ERR_BUSY ? code_of(alive) : ERR_INTERNAL;
    for (int i = 0; i <= BIG_PEERS; i++)
        peer_close(&p[i]);
    return code;
}

Test(outage, requests_under_way_are_capped_in_bytes)
{
    sandbox("pause", "slurmctld");
    int later = sandbox_later("resume", "slurmctld");
    cr_expect_eq(too_many_bytes(), ERR_NONE);
    sandbox_now(later);
    run_status(run_as(NULL, "sh", "-c",
                      "slurm-agent cancel --quiet $(slurm-agent list --name=many-bytes --json | "
                      "sed -n 's/.*\"id\": \"\\([0-9]*\\)\".*/\\1/p')"));
}
