/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The real agent-auth with a private munged; the test is its broker and its monitor. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agentd/monitor_proto.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "common/ops.h"
#include "tests/kit/munged.h"

enum { PATIENCE_MS = 10000, LIFETIME_S = 600, UNKNOWN_UID = 3999999 };

static struct munged m;
static char dir[SCRATCH_PATH];
static int broker = -1, monitor = -1;
static pid_t auth;
/* What the monitor was asked last, and what it is to say. */
static struct lease_request lease;
static struct lease_reply lease_answer;
static int leases;

static void run_auth(const char *conf, bool single_user, int to_monitor, int to_broker,
                     pid_t parent)
{
    char exe[BUILD_PATH];
    build_path(exe, "libexec/agent-auth");
    int log = open("/dev/null", O_WRONLY);
    dup2(to_monitor, 103);
    dup2(to_broker, 104);
    dup2(103, MONITOR_FD);
    dup2(104, AUTH_FD);
    dup2(log, 2);
    for (int fd = 5; fd < 256; fd++)
        close(fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    execl(exe, "agent-auth", "--config", conf, single_user ? "--single-user" : NULL, (char *)NULL);
    _exit(127);
}

static void start(bool single_user, const char *settings)
{
    int b[2], mon[2];
    char conf[SCRATCH_PATH], text[1000];
    pid_t parent = getpid();
    snprintf(text, sizeof text, "[agentd]\nmunge_socket = %s\n%s", m.socket, settings);
    scratch_write(dir, "agentd.conf", text);
    scratch_path(conf, dir, "agentd.conf");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, b), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, mon), 0);
    fflush(NULL);
    auth = fork();
    cr_assert_geq(auth, 0);
    if (auth == 0)
        run_auth(conf, single_user, mon[1], b[1], parent);
    close(mon[1]);
    close(b[1]);
    broker = b[0];
    monitor = mon[0];
}

/* Its exit status; -1: it did not end. */
static int ended(void)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    int status;
    while (waitpid(auth, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > end)
            return -1;
        poll(NULL, 0, 10);
    }
    auth = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void teardown(void)
{
    if (auth > 0) {
        kill(auth, SIGKILL);
        waitpid(auth, NULL, 0);
    }
    auth = 0;
    munged_stop(&m);
    scratch_remove(dir);
}

/* A test that is skipped has no teardown. */
static void skip(const char *why)
{
    teardown();
    cr_skip_test("%s", why);
}

static void setup(void)
{
    struct err err = {0};
    cr_assert_eq(seal_setup(&err), 0);
    signal(SIGPIPE, SIG_IGN);
    munged_start(&m);
    scratch_make(dir);
    leases = 0;
    lease_answer = (struct lease_reply){0};
    if (!getpwuid(getuid()))
        skip("needs a user that is in passwd");
}

/* A HELLO that the user with that uid has encoded. */
static char *hello_of(uid_t uid, const struct hello *h)
{
    int p[2], status;
    char cred[CRED_MAX + 1];
    cr_assert_eq(pipe(p), 0);
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct err err = {0};
        char *c = NULL;
        if (uid != getuid() && setresuid(uid, uid, uid) < 0)
            _exit(1);
        if (cred_encode_hello(m.socket, h, &c, &err) < 0)
            _exit(2);
        _exit(write(p[1], c, strlen(c)) == (ssize_t)strlen(c) ? 0 : 3);
    }
    close(p[1]);
    ssize_t n = read(p[0], cred, CRED_MAX);
    close(p[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(status == 0 && n > 0, "no HELLO: status %x", status);
    cred[n] = '\0';
    return strdup(cred);
}

static struct hello a_hello(const char *cluster)
{
    struct hello h = {.version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION};
    uint8_t secret[SEAL_KEY];
    snprintf(h.cluster, sizeof h.cluster, "%s", cluster);
    seal_keypair(h.key, secret);
    return h;
}

static struct auth_request a_request(const char *cred, const char *cluster)
{
    struct auth_request req = {.serial = 7, .lifetime_s = LIFETIME_S};
    snprintf(req.cluster, sizeof req.cluster, "%s", cluster);
    memset(req.session, 0x51, sizeof req.session);
    memset(req.server_key, 0x52, sizeof req.server_key);
    memset(req.instance, 0x53, sizeof req.instance);
    req.cred_size = (uint32_t)strlen(cred);
    memcpy(req.cred, cred, req.cred_size);
    return req;
}

/* The reply to what the broker asks, with the monitor's part played on the way. */
static struct auth_reply ask(const struct auth_request *req)
{
    struct auth_reply reply;
    cr_assert_eq(send(broker, req, sizeof *req, 0), sizeof *req);
    for (;;) {
        struct pollfd p[2] = {{.fd = broker, .events = POLLIN}, {.fd = monitor, .events = POLLIN}};
        cr_assert_gt(poll(p, 2, PATIENCE_MS), 0, "auth does not answer");
        if (p[1].revents) {
            cr_assert_eq(recv(monitor, &lease, sizeof lease, 0), sizeof lease);
            leases++;
            cr_assert_eq(send(monitor, &lease_answer, sizeof lease_answer, 0), sizeof lease_answer);
        }
        if (p[0].revents) {
            cr_assert_eq(recv(broker, &reply, sizeof reply, 0), sizeof reply);
            cr_expect_eq(reply.serial, req->serial);
            return reply;
        }
    }
}

static struct auth_reply ask_as(uid_t uid, const struct hello *h, const char *cluster)
{
    AUTO(free) char *cred = hello_of(uid, h);
    struct auth_request req = a_request(cred, cluster);
    return ask(&req);
}

static struct auth_reply simply_ask_as(uid_t uid)
{
    struct hello h = a_hello("");
    return ask_as(uid, &h, "tiger");
}

#define expect_refused(r, its_code, words)                                                         \
    do {                                                                                           \
        struct auth_reply r_ = (r);                                                                \
        cr_expect_eq(r_.code, (uint32_t)its_code, "%s: %s", err_name(r_.code), r_.text);           \
        cr_expect_not_null(strstr(r_.text, words), "\"%s\" is not in: %s", words, r_.text);        \
        cr_expect(r_.welcome_size == 0 && r_.uid == 0, "nothing but the refusal is told");         \
    } while (0)

/* A user who may be served: alice when we can be anybody, else ourselves; skips without one. */
static const struct passwd *somebody(void)
{
    const struct passwd *pw = getuid() == 0 ? getpwnam("alice") : getpwuid(getuid());
    if (!pw || pw->pw_uid < 1000)
        skip("needs a user alice with a uid of 1000 or more, or to run as such a user");
    return pw;
}

TestSuite(auth, .init = setup, .fini = teardown, .timeout = 120);

Test(auth, a_user_gets_a_lease_and_a_welcome)
{
    const struct passwd *pw = somebody();
    uid_t uid = pw->pw_uid;
    struct hello h = a_hello("tiger");
    AUTO(free) char *cred = hello_of(uid, &h);
    struct auth_request req = a_request(cred, "tiger");
    start(false, "");
    struct auth_reply r = ask(&req);
    cr_assert_eq(r.code, 0, "%s", r.text);
    cr_expect_eq(r.uid, uid);
    cr_expect_eq(r.gid, pw->pw_gid);
    cr_expect_str_eq(r.user, pw->pw_name);
    cr_expect_eq(r.version, PROTOCOL_VERSION);
    cr_expect_arr_eq(r.client_key, h.key, SEAL_KEY);
    cr_expect_lt(llabs(r.until - clock_now() - LIFETIME_S), 10);
    cr_expect_eq(leases, 1);
    cr_expect_eq(lease.uid, uid);
    cr_expect_eq(lease.gid, pw->pw_gid);
    cr_expect_eq(lease.lifetime_s, LIFETIME_S);
    gid_t groups[LEASE_MAX_GROUPS];
    int n = LEASE_MAX_GROUPS;
    getgrouplist(pw->pw_name, pw->pw_gid, groups, &n);
    cr_assert_eq(lease.ngroups, (uint32_t)n);
    cr_expect_arr_eq(lease.groups, groups, (size_t)n * sizeof *groups);
    cr_expect_gt(r.welcome_size, 0);
    cr_expect_leq(r.welcome_size, CRED_MAX);
}

Test(auth, the_welcome_holds_what_the_client_checks)
{
    struct hello h = a_hello("tiger");
    struct err err = {0};
    struct welcome w;
    struct cred_origin from;
    uint8_t hash[SEAL_HASH];
    AUTO(free) char *cred = hello_of(getuid(), &h);
    struct auth_request req = a_request(cred, "tiger");
    start(true, "");
    struct auth_reply r = ask(&req);
    cr_assert_eq(r.code, 0, "%s", r.text);
    struct bytes welcome = {(const uint8_t *)r.welcome, r.welcome_size};
    cr_assert_eq(cred_decode_welcome(m.socket, welcome, &w, &from, &err), 0, "%s", err.text);
    seal_hash(cred, strlen(cred), hash);
    cr_expect_arr_eq(w.hello_hash, hash, SEAL_HASH);
    cr_expect_arr_eq(w.session, req.session, SEAL_ID);
    cr_expect_arr_eq(w.key, req.server_key, SEAL_KEY);
    cr_expect_arr_eq(w.instance, req.instance, SEAL_ID);
    cr_expect_str_eq(w.cluster, "tiger");
    cr_expect_eq(w.lifetime_s, LIFETIME_S);
    cr_expect_eq(w.version, PROTOCOL_VERSION);
    cr_expect_eq(from.uid, getuid());
}

Test(auth, what_the_monitor_refuses_is_refused)
{
    start(true, "");
    lease_answer.code = ERR_BUSY;
    snprintf(lease_answer.text, sizeof lease_answer.text, "full of leases");
    expect_refused(simply_ask_as(getuid()), ERR_BUSY, "full of leases");
    lease_answer.code = 0;
    cr_expect_eq(simply_ask_as(getuid()).code, 0, "and the next one is heard");
}

/* munge passes over white space: many texts are the same credential. */
Test(auth, the_monitor_is_told_the_same_of_every_text_of_a_hello)
{
    struct hello h = a_hello("");
    uint8_t first[SEAL_HASH];
    char other[CRED_MAX];
    AUTO(free) char *cred = hello_of(getuid(), &h);
    struct auth_request req = a_request(cred, "tiger");
    start(true, "");
    cr_expect_eq(ask(&req).code, 0);
    memcpy(first, lease.hello_hash, SEAL_HASH);
    munged_end(&m);
    munged_begin(&m);
    snprintf(other, sizeof other, "%.10s \n%s more", cred, cred + 10);
    req = a_request(other, "tiger");
    struct auth_reply r = ask(&req);
    cr_assert_eq(r.code, 0, "munge took it: %s", r.text);
    cr_expect_eq(leases, 2);
    cr_expect_arr_eq(lease.hello_hash, first, SEAL_HASH, "so that the monitor can refuse it");
    h = a_hello("");
    cr_expect_eq(ask_as(getuid(), &h, "tiger").code, 0);
    cr_expect_arr_neq(lease.hello_hash, first, SEAL_HASH);
}

Test(auth, a_used_hello_gets_no_lease)
{
    struct hello h = a_hello("");
    AUTO(free) char *cred = hello_of(getuid(), &h);
    struct auth_request req = a_request(cred, "tiger");
    start(true, "");
    cr_expect_eq(ask(&req).code, 0);
    expect_refused(ask(&req), ERR_AUTH, "used before");
    cr_expect_eq(leases, 1);
}

Test(auth, versions_must_meet)
{
    struct hello old = a_hello(""), newer = a_hello(""), wide = a_hello("");
    old.version_min = old.version_max = PROTOCOL_VERSION - 1;
    newer.version_min = newer.version_max = PROTOCOL_VERSION + 1;
    wide.version_min = 0;
    wide.version_max = 9;
    start(true, "");
    expect_refused(ask_as(getuid(), &old, ""), ERR_PROTOCOL, "protocol 0 to 0, this server 1");
    expect_refused(ask_as(getuid(), &newer, ""), ERR_PROTOCOL, "protocol 2 to 2, this server 1");
    cr_expect_eq(ask_as(getuid(), &wide, "").code, 0);
    cr_expect_eq(leases, 1);
}

Test(auth, the_cluster_must_be_the_one_that_is_meant)
{
    struct hello lion = a_hello("lion"), any = a_hello("");
    start(true, "");
    expect_refused(ask_as(getuid(), &lion, "tiger"), ERR_AUTH, "cluster 'tiger', not of 'lion'");
    expect_refused(ask_as(getuid(), &lion, ""), ERR_BUSY, "name is not known yet");
    cr_expect_eq(leases, 0);
    cr_expect_eq(ask_as(getuid(), &any, "").code, 0, "whoever names none need not wait for it");
}

Test(auth, root_is_not_served)
{
    if (getuid() != 0)
        skip("needs root");
    start(false, "min_uid = 1\n");
    struct auth_reply r = simply_ask_as(0);
    cr_expect_eq(r.code, 0, "%s", r.text);
    cr_expect_eq(r.rights, RIGHT_STATS | RIGHT_ADMIN, "it may look after the server");
    cr_expect_not_null(strstr(r.text, "root is not served"), "%s", r.text);
    cr_expect_eq(leases, 1);
    cr_expect_eq(lease.hello_alone, 1, "no worker is ever started for it");
}

static uid_t uid_of(const char *name)
{
    const struct passwd *pw = getpwnam(name);
    cr_assert(pw && pw->pw_uid > 0 && pw->pw_uid < 1000, "%s", name);
    return pw->pw_uid;
}

/* With users of low uids that every Debian has. */
Test(auth, who_is_named_may_administer_and_is_no_user_for_that)
{
    if (getuid() != 0)
        skip("needs root");
    uid_t admin = uid_of("daemon"), reader = uid_of("bin"), other = uid_of("sys");
    start(false, "admins = daemon\nstats_users = bin, sys\ndeny_users = sys\n");
    struct auth_reply r = simply_ask_as(admin);
    cr_expect_eq(r.code, 0, "%s", r.text);
    cr_expect_eq(r.rights, RIGHT_STATS | RIGHT_ADMIN);
    cr_expect_eq(lease.hello_alone, 1);
    cr_expect_not_null(strstr(r.text, "uids below 1000 are not served"), "%s", r.text);
    r = simply_ask_as(reader);
    cr_expect_eq(r.code, 0, "%s", r.text);
    cr_expect_eq(r.rights, RIGHT_STATS);
    cr_expect_eq(lease.hello_alone, 1);
    expect_refused(simply_ask_as(other), ERR_DENIED, "uids below 1000");
}

Test(auth, an_admin_who_is_a_user_has_both)
{
    const struct passwd *pw = somebody();
    uid_t uid = pw->pw_uid;
    char settings[300];
    snprintf(settings, sizeof settings, "admins = nobody , %s\n", pw->pw_name);
    start(false, settings);
    struct auth_reply r = simply_ask_as(uid);
    cr_expect_eq(r.code, 0, "%s", r.text);
    cr_expect_eq(r.rights, RIGHT_JOBS | RIGHT_STATS | RIGHT_ADMIN);
    cr_expect_eq(lease.hello_alone, 0);
}

Test(auth, a_uid_that_nobody_knows_is_named)
{
    if (getuid() != 0)
        skip("needs root");
    start(false, "");
    expect_refused(simply_ask_as(UNKNOWN_UID), ERR_DENIED, "uid 3999999 is not known");
    cr_expect_eq(leases, 0);
}

Test(auth, system_accounts_are_refused)
{
    const struct passwd *pw = getpwnam("nobody");
    if (getuid() != 0 || !pw)
        skip("needs root and a user nobody");
    uid_t uid = pw->pw_uid;
    start(false, "");
    expect_refused(simply_ask_as(uid), ERR_DENIED, "may not log in");
    cr_expect_eq(leases, 0);
}

Test(auth, low_uids_are_refused)
{
    uid_t uid = somebody()->pw_uid;
    char conf[64];
    snprintf(conf, sizeof conf, "min_uid = %u\n", uid + 1);
    start(false, conf);
    expect_refused(simply_ask_as(uid), ERR_DENIED, "are not served");
    cr_expect_eq(leases, 0);
}

Test(auth, denied_users_are_refused)
{
    const struct passwd *pw = somebody();
    char conf[300];
    snprintf(conf, sizeof conf, "deny_users = mallory, %s ,trudy\n", pw->pw_name);
    start(false, conf);
    expect_refused(simply_ask_as(pw->pw_uid), ERR_DENIED, "deny_users");
    cr_expect_eq(leases, 0);
}

Test(auth, only_members_of_the_allowed_groups_are_served)
{
    const struct passwd *pw = somebody();
    uid_t uid = pw->pw_uid;
    const struct group *g = getgrgid(pw->pw_gid);
    char conf[300], group[100];
    cr_assert_not_null(g);
    snprintf(group, sizeof group, "%s", g->gr_name);
    start(false, "allow_groups = no-such-group, daemon\n");
    struct auth_reply r = simply_ask_as(uid);
    expect_refused(r, ERR_DENIED, "allow_groups");
    cr_expect_null(strstr(r.text, "daemon"), "which groups is nobody's business: %s", r.text);
    cr_expect_eq(leases, 0);
    close(broker);
    cr_expect_eq(ended(), 0);
    snprintf(conf, sizeof conf, "allow_groups = no-such-group , %s\n", group);
    start(false, conf);
    cr_expect_eq(simply_ask_as(uid).code, 0);
}

Test(auth, a_single_users_server_is_for_that_user_alone)
{
    start(true, "min_uid = 4000000\n");
    cr_expect_eq(simply_ask_as(getuid()).code, 0, "min_uid does not count");
    if (getuid() == 0 && getpwnam("nobody"))
        expect_refused(simply_ask_as(getpwnam("nobody")->pw_uid), ERR_DENIED, "serves uid 0 alone");
}

Test(auth, without_munged_it_says_so_and_lives)
{
    struct hello h = a_hello("");
    AUTO(free) char *cred = hello_of(getuid(), &h);
    struct auth_request req = a_request(cred, "tiger");
    start(true, "");
    munged_end(&m);
    expect_refused(ask(&req), ERR_MUNGE, "on the server: munged");
    munged_begin(&m);
    cr_expect_eq(ask(&req).code, 0);
}

Test(auth, garbage_is_an_answer_not_an_end)
{
    struct auth_request req = a_request("MUNGE:not one:", "tiger");
    start(true, "");
    cr_expect_eq(ask(&req).code, ERR_AUTH);
    memset(req.cred, 'A', sizeof req.cred);
    memset(req.cluster, 'c', sizeof req.cluster);
    req.cred_size = sizeof req.cred;
    cr_expect_eq(ask(&req).code, ERR_AUTH);
    req.cred_size = UINT32_MAX;
    cr_expect_eq(ask(&req).code, ERR_LIMIT);
    req.cred_size = 0;
    cr_expect_eq(ask(&req).code, ERR_LIMIT);
    cr_expect_eq(simply_ask_as(getuid()).code, 0);
}

Test(auth, a_packet_of_another_size_ends_it)
{
    start(true, "");
    cr_assert_eq(send(broker, "hello", 5, 0), 5);
    cr_expect_eq(ended(), 1);
}

Test(auth, it_ends_when_the_broker_goes)
{
    start(true, "");
    close(broker);
    cr_expect_eq(ended(), 0);
}

Test(auth, it_ends_when_the_monitor_goes)
{
    start(true, "");
    close(monitor);
    cr_expect_eq(ended(), 1);
}

/* A stale "yes" must not stand for the next question's answer. */
Test(auth, it_ends_when_the_monitor_speaks_unasked)
{
    start(true, "");
    cr_assert_eq(send(monitor, &lease_answer, sizeof lease_answer, 0), sizeof lease_answer);
    cr_expect_eq(ended(), 1);
}

Test(auth, it_ends_when_the_monitor_does_not_answer_in_time)
{
    struct hello h = a_hello("");
    struct auth_reply reply;
    AUTO(free) char *cred = hello_of(getuid(), &h);
    struct auth_request req = a_request(cred, "tiger");
    start(true, "");
    cr_assert_eq(send(broker, &req, sizeof req, 0), sizeof req);
    struct pollfd p = {.fd = broker, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1);
    cr_assert_eq(recv(broker, &reply, sizeof reply, 0), sizeof reply);
    expect_refused(reply, ERR_BUSY, "monitor does not answer");
    cr_expect_eq(ended(), 1);
}
