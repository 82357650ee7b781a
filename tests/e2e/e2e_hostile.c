/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Clients that do what no client should: each is refused or shed, and nobody else notices */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"
#include "tests/kit/stats.h"

TestSuite(hostile, .timeout = 120);
TestSuite(greedy, .timeout = 300);

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

#define TEXT(s) ((struct bytes){(const uint8_t *)(s), strlen(s)})

Test(hostile, requests_that_are_none)
{
    struct peer p;
    peer_begin(&p, user_a());
    cr_expect_eq(peer_code(peer_call(&p, 999, PEER_EMPTY)), ERR_UNSUPPORTED);
    cr_expect_eq(peer_code(peer_call(&p, OP_ping, TEXT("\x81\xa1x\x01"))), ERR_UNSUPPORTED,
                 "unknown field");
    cr_expect_eq(peer_code(peer_call(&p, OP_ping, TEXT("\xc1"))), ERR_PROTOCOL);
    cr_expect_eq(peer_code(peer_call(&p, OP_ping, (struct bytes){NULL, 0})), ERR_PROTOCOL);
    cr_expect_eq(peer_code(peer_call(&p, OP_job_get, TEXT("\x81\xa3ids\xdd\x10\x00"))),
                 ERR_PROTOCOL);
    static const uint8_t greedy[] = "\x81\xa3ids\xdd\x10\x00\x00\x00";
    cr_expect_eq(peer_code(peer_call(&p, OP_job_get, (struct bytes){greedy, 10})), ERR_PROTOCOL);
    static uint8_t big[70000];
    cr_expect_eq(peer_code(peer_call(&p, OP_ping, (struct bytes){big, sizeof big})), ERR_LIMIT);
    peer_expect_alive(&p);
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
    cr_expect_eq(peer_refusal(peer_say(&p, &h, PEER_EMPTY, 5000)).code, ERR_PROTOCOL);
    h.kind = SEAL_SEALED;
    cr_expect_eq(peer_refusal(peer_say(&p, &h, PEER_EMPTY, 5000)).code, ERR_SESSION);
    peer_close(&p);
    settle();
}

static char *server_log(void)
{
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    return slurp(path);
}

static bool rest_is_logged(void *arg)
{
    const char *mine = arg;
    AUTO(free) char *log = server_log();
    return log && lines_with(log, mine, "more failed and are not shown") > 0;
}

/* Failing costs nothing: it must not drive others' lines out of the log. */
Test(hostile, failures_of_one_user_do_not_fill_the_log)
{
    enum { CALLS = 3000 };
    char mine[32];
    struct peer p;
    AUTO(free) char *before = server_log();
    int64_t begun = clock_mono_ms();
    peer_begin(&p, user_a());
    snprintf(mine, sizeof mine, "call uid=%u", (unsigned)getuid());
    for (int i = 0; i < CALLS; i++)
        cr_assert_eq(peer_code(peer_call(&p, OP_ping, TEXT("\xc1"))), ERR_PROTOCOL);
    int64_t seconds = (clock_mono_ms() - begun) / 1000 + 2;
    cr_assert_gt(CALLS, seconds * 30, "too slow to tell");
    wait_until(never, NULL, 1000);
    cr_assert_eq(peer_code(peer_call(&p, OP_ping, TEXT("\xc1"))), ERR_PROTOCOL);
    cr_expect(wait_until(rest_is_logged, mine, 10000));
    AUTO(free) char *log = server_log();
    int lines = lines_with(log, mine, "code=PROTOCOL") - lines_with(before, mine, "code=PROTOCOL");
    cr_expect_gt(lines, 0);
    cr_expect_leq(lines, seconds * 30, "%d lines in %d s", lines, (int)seconds);
    peer_close(&p);
}

/* ---- below nng ---- */

/* -1: refused. */
static int try_connect(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    int port = 0;
    cr_assert_eq(sscanf(getenv("SLURM_AGENT_SERVER"), "tcp://127.0.0.1:%d", &port), 1);
    sa.sin_port = htons((uint16_t)port);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool is_connected(void *arg)
{
    int *fd = arg;
    *fd = try_connect();
    return *fd >= 0;
}

/* There may be no broker just now: see settle(). */
static int raw_connect(void)
{
    int fd;
    cr_assert(wait_until(is_connected, &fd, 10000), "%s", strerror(errno));
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
    peer_begin(&p, user_a());
    int fd = raw_connect();
    static const uint8_t size[8] = {0, 0, 0, 1, 0, 0, 0, 0}; /* 4 GiB */
    cr_assert_eq(write(fd, sp_req, sizeof sp_req), 8);
    cr_assert_eq(write(fd, size, sizeof size), 8);
    cr_expect(closed_within(fd, 5000));
    close(fd);
    peer_expect_alive(&p);
    peer_close(&p);
}

/* Before nng has greeted them, which must not end the listener (nng_mends.c): then nobody is
 * taken in until the broker has found that out. */
Test(hostile, clients_that_hang_up_at_once_keep_nobody_out)
{
    const struct linger reset = {.l_onoff = 1};
    int anew = peer_times_anew();
    for (int i = 0; i < 500; i++) {
        int fd = raw_connect();
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    struct peer p;
    peer_begin(&p, user_a());
    peer_expect_alive(&p);
    peer_close(&p);
    cr_expect_eq(peer_times_anew(), anew);
}

/* A byte of the greeting each second and more would take it for ever. */
static void dribble(int fds[], int n, const uint8_t *text, int at)
{
    for (int i = 0; i < n; i++) {
        ssize_t ignored = send(fds[i], text + at, 1, MSG_NOSIGNAL);
        (void)ignored;
    }
}

/* Some say no more than half a greeting, some nothing behind it, some half a frame, some go on byte
 * by byte: none is there when its time is over, and others are served meanwhile. */
Test(hostile, connections_that_say_nothing_are_ended)
{
    enum { EACH = 12, KINDS = 4, SILENT = EACH * KINDS };
    static const uint8_t half_frame[11] = {[7] = 100, 1, 2, 3};
    int fds[SILENT], *slow = fds + 3 * EACH;
    double before = stats_series(NULL, "connections_shed_total", "reason=silent");
    int anew = peer_times_anew();
    for (int i = 0; i < SILENT; i++) {
        int kind = i / EACH;
        size_t n = kind == 0 ? 3 : kind == 3 ? 0 : sizeof sp_req;
        fds[i] = raw_connect();
        cr_assert_eq(write(fds[i], sp_req, n), (ssize_t)n);
        if (kind == 2)
            cr_assert_eq(write(fds[i], half_frame, sizeof half_frame), (ssize_t)sizeof half_frame);
    }
    for (int at = 0; at < 7; at++) {
        dribble(slow, EACH, sp_req, at);
        cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "ping")), 0);
        poll(NULL, 0, 1400);
    }
    int ended[KINDS] = {0};
    for (int i = 0; i < SILENT; i++) {
        ended[i / EACH] += closed_within(fds[i], 15000);
        close(fds[i]);
    }
    for (int kind = 0; kind < KINDS; kind++)
        cr_expect_eq(ended[kind], EACH, "%d of kind %d", ended[kind], kind);
    /* What nng has not taken in yet it ends by itself, and tells nobody; a broker that had to begin
     * anew (nng before 1.8, DESIGN.md section 2) begins to count anew, too. */
    double after = stats_series(NULL, "connections_shed_total", "reason=silent");
    cr_expect(after >= before + 2 * EACH || peer_times_anew() != anew, "%g, then %g", before,
              after);
}

/* Others' requests while somebody misbehaves: the slowest of many, in ms. */
static int64_t slowest_ping(struct peer *p, int rounds)
{
    int64_t worst = 0;
    for (int i = 0; i < rounds; i++) {
        int64_t begin = clock_mono_ms();
        peer_expect_alive(p);
        int64_t took = clock_mono_ms() - begin;
        worst = took > worst ? took : worst;
    }
    return worst;
}

Test(hostile, clients_that_never_read_do_not_slow_others)
{
    struct peer p;
    peer_begin(&p, user_a());
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
            struct bytes frame = peer_seal(&p, OP_job_list, PEER_EMPTY, &counter);
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
    peer_expect_alive(&p);
    peer_close(&p);
    settle();
}

/* A request down a connection of its own, whose answer nobody may read; -1 when it was refused. */
static int ask_raw(struct peer *p, enum op_number op, struct bytes body)
{
    uint64_t counter;
    struct bytes frame = peer_seal(p, op, body, &counter);
    const uint8_t head[12] = {
        [6] = (uint8_t)((frame.n + 4) >> 8), [7] = (uint8_t)(frame.n + 4), [8] = 0x80, /* nng's
                                                                                          request id
                                                                                        */
    };
    int fd = try_connect();
    bool sent = fd >= 0 && send(fd, sp_req, sizeof sp_req, MSG_NOSIGNAL) == sizeof sp_req &&
                send(fd, head, sizeof head, MSG_NOSIGNAL) == sizeof head &&
                send(fd, frame.p, frame.n, MSG_NOSIGNAL) == (ssize_t)frame.n;
    free((void *)frame.p);
    if (sent)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A held job with a script of so many bytes. */
static struct run large_script(int bytes)
{
    char command[300];
    snprintf(command, sizeof command,
             "f=$(mktemp) && { echo '#!/bin/sh'; head -c %d /dev/zero | tr '\\0' '#'; } >$f && "
             "slurm-agent submit --parsable --hold --chdir=/tmp $f; rm -f $f",
             bytes);
    struct run job = run_as(user_a(), "sh", "-c", command);
    cr_assert_eq(job.status, 0, "%s", job.err);
    job.out[strcspn(job.out, ";\n")] = '\0';
    return job;
}

/* Asks for a large script and leaves in the middle of it, over and over.  The broker may find nng
 * stuck meanwhile and start anew, which is its cure: then that is enough of it. */
static void leave_early(struct peer *p, const char *id, int rounds)
{
    struct script_request req = {.id = id};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    msg_pack(&script_request_type, &req, out);
    for (int i = 0; i < rounds; i++) {
        uint8_t some[70000];
        int fd = ask_raw(p, OP_job_script, wire_out_bytes(out));
        /* until the answer is under way */
        bool came = fd >= 0 && recv(fd, some, sizeof some, MSG_WAITALL) == (ssize_t)sizeof some;
        if (fd >= 0)
            close(fd);
        if (!came) {
            cr_expect_gt(i, 0, "not even one answer began");
            settle();
            return;
        }
    }
}

Test(hostile, clients_that_leave_in_the_middle_of_an_answer)
{
    AUTO(run_free) struct run job = large_script(3000000);
    struct peer p;
    peer_begin(&p, user_a());
    leave_early(&p, job.out, 100);
    cr_assert(wait_until(server_answers, NULL, 10000));
    /* A server that cannot let go of them has no room for the 65th stranger. */
    for (int i = 0; i < 100; i++) {
        int fd = raw_connect();
        ssize_t ignored = send(fd, sp_req, sizeof sp_req, MSG_NOSIGNAL);
        (void)ignored;
        close(fd);
    }
    struct peer next;
    peer_begin(&next, user_a());
    peer_expect_alive(&next);
    peer_close(&next);
    peer_close(&p);
    run_status(run_as(NULL, "slurm-agent", "cancel", "--quiet", job.out));
    settle();
}

/* ---- memory ---- */

/* The broker's resident memory. */
static long broker_mib(void)
{
    char path[600];
    int monitor = 0;
    long mib = 0;
    snprintf(path, sizeof path, "%s/run/agentd.pid", sandbox_dir());
    AUTO(free) char *pid = slurp(path);
    cr_assert(pid && sscanf(pid, "%d", &monitor) == 1, "%s", path);
    DIR *d = opendir("/proc");
    for (const struct dirent *e; d && (e = readdir(d));) {
        long kib = 0;
        int parent = 0;
        snprintf(path, sizeof path, "/proc/%s/status", e->d_name);
        AUTO(free) char *status = atoi(e->d_name) ? slurp(path) : NULL;
        const char *ppid = status ? strstr(status, "\nPPid:") : NULL;
        const char *rss = status ? strstr(status, "\nVmRSS:") : NULL;
        if (ppid && rss && strncmp(status, "Name:\tagent-broker\n", 19) == 0 &&
            sscanf(ppid, " PPid: %d", &parent) == 1 && parent == monitor &&
            sscanf(rss, " VmRSS: %ld", &kib) == 1)
            mib = kib / 1024;
    }
    closedir(d);
    return mib ? mib : LONG_MAX / 2; /* between two brokers */
}

static void expect_memory(const char *when, long before, long more, int ms)
{
#ifndef __SANITIZE_ADDRESS__ /* keeps what is freed */
    long now = broker_mib();
    for (int64_t end = clock_mono_ms() + ms; now > before + more && clock_mono_ms() < end;) {
        poll(NULL, 0, 50);
        now = broker_mib();
    }
    cr_expect_leq(now, before + more, "%s: %ld MiB, %ld before", when, now, before);
#else
    (void)when, (void)before, (void)more, (void)ms;
#endif
}

/* nng before 1.8 may not let go of connections that end in the middle of something: then it takes
 * until the broker has noticed, and has started anew. */
static void expect_recovery(long before)
{
    enum { PATIENCE_MS = 120000 };
    int status = -1;
    for (int64_t end = clock_mono_ms() + PATIENCE_MS; status && clock_mono_ms() < end;) {
        AUTO(run_free) struct run r = run_as(NULL, "slurm-agent", "ping");
        status = r.status;
    }
    cr_expect_eq(status, 0, "it serves nobody any more");
    expect_memory("after they left", before, 50, PATIENCE_MS);
}

/* All but the last byte of a frame as large as they may be. */
static void send_most_of_a_frame(int fd)
{
    static const uint8_t mib[1 << 20];
    const uint32_t size = WIRE_MAX_FRAME - 64;
    const uint8_t head[8] = {
        0, 0, 0, 0, size >> 24, (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size};
    if (send(fd, sp_req, sizeof sp_req, MSG_NOSIGNAL) < 0 ||
        send(fd, head, sizeof head, MSG_NOSIGNAL) < 0)
        return;
    for (size_t left = size - 1, n; left; left -= n) {
        n = left < sizeof mib ? left : sizeof mib;
        if (send(fd, mib, n, MSG_NOSIGNAL) != (ssize_t)n)
            return;
    }
}

Test(greedy, half_frames_of_strangers_cost_little)
{
    enum { MANY = 200 };
    int fds[MANY];
    struct peer p;
    peer_begin(&p, user_a());
    long before = broker_mib();
    for (int i = 0; i < MANY; i++) {
        fds[i] = raw_connect();
        send_most_of_a_frame(fds[i]);
    }
    expect_memory("200 frames of 6 MiB without their ends", before, 64 * 6 + 50, 5000);
    peer_expect_alive(&p);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    expect_recovery(before);
    peer_close(&p);
}

Test(greedy, answers_that_nobody_reads_cost_little)
{
    enum { MANY = 150 };
    int fds[MANY];
    AUTO(run_free) struct run job = large_script(4000000);
    struct script_request req = {.id = job.out};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    msg_pack(&script_request_type, &req, out);
    struct peer p;
    peer_begin(&p, user_a());
    long before = broker_mib();
    for (int i = 0; i < MANY; i++) {
        uint8_t greeting[8];
        fds[i] = ask_raw(&p, OP_job_script, wire_out_bytes(out));
        cr_assert_geq(fds[i], 0);
        struct pollfd pfd = {.fd = fds[i], .events = POLLIN};
        /* its greeting, then the beginning of its answer */
        cr_assert_eq(recv(fds[i], greeting, sizeof greeting, MSG_WAITALL), 8);
        cr_assert_eq(poll(&pfd, 1, 10000), 1);
    }
    expect_memory("150 answers of 4 MB, unread", before, 256 + 80, 5000);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    expect_recovery(before);
    peer_close(&p);
    run_status(run_as(NULL, "slurm-agent", "cancel", "--quiet", job.out));
}

Test(hostile, local_users_are_told_apart)
{
    char server[200], want[40];
    struct passwd *pw = getpwnam(user_a());
    snprintf(server, sizeof server, "--server=%s", getenv("SLURM_AGENT_IPC"));
    snprintf(want, sizeof want, "local:%u", pw ? pw->pw_uid : 0);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", server, "whoami", "--json");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_contains(r.out, want);
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
    peer_begin(&p, user_a());
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
    peer_begin(&p, user_a());
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
    peer_expect_alive(&p);
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
    peer_begin(&p[0], user_a());
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
        struct bytes frame = peer_call(&p[0], OP_ping, PEER_EMPTY);
        free((void *)frame.p);
        uint64_t counter;
        struct bytes more = peer_seal(&p[0], OP_job_submit, wire_out_bytes(out), &counter);
        struct bytes reply = peer_exchange(&p[0], more, 300);
        code =
            reply.p ? ERR_BUSY : ERR_NONE; /* nothing else answers while slurmctld stands still */
        free((void *)reply.p);
        free((void *)more.p);
    }
    struct bytes alive = peer_call(&p[0], OP_ping, PEER_EMPTY);
    code = code == ERR_BUSY ? peer_code(alive) : ERR_INTERNAL;
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
