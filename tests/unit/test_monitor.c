/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The real slurm-agentd with children that the test plays.  As root it changes users; otherwise the
 * same is tested with --single-user, and what needs two users is skipped. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/family.h"
#include "tests/kit/run.h"

static struct family f = {.monitor = -1, .listening = -1};

static void setup(void)
{
    family_start(&f, "");
}

static void teardown(void)
{
    family_stop(&f);
}

static bool root(void)
{
    return getuid() == 0;
}

#define needs_root()                                                                               \
    do {                                                                                           \
        if (!root()) {                                                                             \
            teardown(); /* a test that is skipped has none */                                      \
            cr_skip_test("needs root");                                                            \
        }                                                                                          \
    } while (0)

static enum err_code lease(uint32_t uid)
{
    return (enum err_code)family_lease(&f, 0, uid, 600, 0).code;
}

static void expect_status(pid_t pid, const char *field, const char *value)
{
    const char *got = pid_status(pid, field);
    cr_expect_str_eq(got, value, "%s of %d is '%s', not '%s'", field, (int)pid, got, value);
}

static void expect_link(pid_t pid, const char *what, const char *value)
{
    char path[64], got[200] = "";
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
    ssize_t n = readlink(path, got, sizeof got - 1);
    cr_expect(n > 0 && strcmp(got, value) == 0, "%s is '%s', not '%s'", path, got, value);
}

/* What holds for every child. */
static void expect_confined(const struct kid *k, const char *fds)
{
    expect_status(k->pid, "CapInh", "0000000000000000");
    expect_status(k->pid, "CapPrm", "0000000000000000");
    expect_status(k->pid, "CapEff", "0000000000000000");
    expect_status(k->pid, "CapAmb", "0000000000000000");
    if (root())
        expect_status(k->pid, "CapBnd", "00000000000000e0");
    expect_status(k->pid, "NoNewPrivs", "1");
    expect_status(k->pid, "Umask", "0077");
    expect_status(k->pid, "SigBlk", "0000000000000000");
    expect_status(k->pid, "SigIgn", "0000000000000000");
    expect_link(k->pid, "cwd", "/");
    expect_link(k->pid, "fd/0", "/memfd:agentd.conf (deleted)");
    expect_link(k->pid, "fd/1", "/dev/null");
    cr_expect(strncmp(k->report, fds, strlen(fds)) == 0, "open: %.30s", k->report);
    cr_expect_not_null(
        strstr(k->report, "env=PATH=/usr/local/bin:/usr/bin:/bin\nenv=LANG=C.UTF-8\n"));
    cr_expect_null(strstr(k->report, "SECRET"));
    cr_expect_null(strstr(k->report, "LD_LIBRARY_PATH"));
    char limits[64];
    snprintf(limits, sizeof limits, "/proc/%d/limits", (int)k->pid);
    AUTO(free) char *text = scratch_read(limits);
    cr_expect_not_null(strstr(text, "Max core file size        0                    0 "), "%s",
                       text);
}

static void expect_user(pid_t pid, unsigned uid, unsigned gid, const char *groups)
{
    char four[100];
    snprintf(four, sizeof four, "%u %u %u %u", uid, uid, uid, uid);
    expect_status(pid, "Uid", four);
    snprintf(four, sizeof four, "%u %u %u %u", gid, gid, gid, gid);
    expect_status(pid, "Gid", four);
    if (groups)
        expect_status(pid, "Groups", groups);
}

static bool passes(int from, int to)
{
    char c = 0;
    struct pollfd p = {.fd = to, .events = POLLIN};
    return send(from, "x", 1, MSG_NOSIGNAL) == 1 && poll(&p, 1, FAMILY_PATIENCE_MS) == 1 &&
           recv(to, &c, 1, 0) == 1 && c == 'x';
}

TestSuite(monitor, .init = setup, .fini = teardown, .timeout = 120);

/* ---- who the children are ---- */

Test(monitor, keeps_three_capabilities_and_nothing_else)
{
    needs_root();
    expect_status(f.monitor, "CapPrm", "00000000000000e0");
    expect_status(f.monitor, "CapEff", "00000000000000e0");
    expect_status(f.monitor, "CapBnd", "00000000000000e0");
    expect_status(f.monitor, "CapInh", "0000000000000000");
    expect_status(f.monitor, "NoNewPrivs", "1");
}

Test(monitor, the_broker_is_its_user)
{
    expect_confined(f.broker, "fds=0 1 2 3 \n");
    if (root())
        expect_user(f.broker->pid, 65534, 65534, "65534");
    else
        expect_user(f.broker->pid, getuid(), getgid(), NULL);
    cr_expect_not_null(strstr(f.broker->report, "env=NOTIFY_SOCKET=/run/nobody-listens\n"));
    cr_expect_eq(strstr(f.broker->report, "arg=--single-user\n") != NULL, !root());
}

/* uid 0, and an exec that gives it nothing. */
Test(monitor, auth_has_no_capabilities)
{
    for (int i = 0; i < MONITOR_AUTHS; i++) {
        expect_confined(f.auths[i], "fds=0 1 2 3 4 \n");
        expect_user(f.auths[i]->pid, getuid(), getgid(), root() ? "" : NULL);
        cr_expect_null(strstr(f.auths[i]->report, "NOTIFY_SOCKET"));
    }
}

Test(monitor, the_watcher_is_its_user)
{
    expect_confined(f.watcher, "fds=0 1 2 3 \n");
    if (root())
        expect_user(f.watcher->pid, 1, 1, "1");
    cr_expect_not_null(strstr(f.watcher->report, "arg=--role\narg=watch\n"));
    cr_expect_null(strstr(f.watcher->report, "NOTIFY_SOCKET"));
}

Test(monitor, a_worker_is_its_user_with_all_groups)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    cr_expect_eq(k->uid, family_uid());
    expect_confined(k, "fds=0 1 2 3 \n");
    if (root())
        expect_user(k->pid, 4242, 4300, "4300 4301 4302");
    else
        expect_user(k->pid, getuid(), getgid(), NULL);
    cr_expect_not_null(strstr(k->report, "arg=--role\narg=control\n"));
    cr_expect_null(strstr(k->report, "NOTIFY_SOCKET"));
    cr_expect(passes(s.fds[0], k->fds[0]) && passes(k->fds[0], s.fds[0]),
              "3 is the broker's socket");
    kid_order(k, "write oops");
    char oops[5] = "";
    cr_expect(read(s.fds[1], oops, 4) == 4 && strcmp(oops, "oops") == 0, "2 is the broker's pipe");
    said_close(&s);
    kid_free(k);
}

/* ---- leases ---- */

Test(monitor, a_taken_over_broker_gets_nothing_without_a_lease)
{
    const uint32_t uids[] = {0, 1, 999, 1000, 4242, 4243, 65534, UINT32_MAX, getuid()};
    for (size_t i = 0; i < ARRAY_LEN(uids); i++)
        for (uint32_t role = ROLE_CONTROL; role <= ROLE_FILE; role++) {
            struct said s = family_spawn(&f, uids[i], role);
            cr_expect_eq(s.ev.say, SAY_REFUSED, "uid %u", uids[i]);
            cr_expect_eq(s.ev.code, ERR_DENIED);
            cr_expect_not_null(strstr(s.ev.text, "has not authenticated itself"), "%s", s.ev.text);
            cr_expect(s.fds[0] == -1 && s.fds[1] == -1);
        }
    cr_expect(family_logged(&f, "refused: uid 4242 has not"));
}

Test(monitor, a_lease_is_for_its_uid_alone)
{
    cr_assert_eq(lease(family_uid()), ERR_NONE);
    cr_expect_eq(family_spawn(&f, family_uid() + 1, ROLE_FILE).ev.say, SAY_REFUSED);
    cr_expect_eq(family_spawn(&f, 0, ROLE_FILE).ev.say, SAY_REFUSED);
}

Test(monitor, gives_no_lease_to_root_or_low_uids)
{
    cr_expect_eq(lease(0), ERR_DENIED);
    cr_expect_eq(lease(999), ERR_DENIED);
    cr_expect_eq(lease(UINT32_MAX), ERR_DENIED);
    if (!root())
        cr_expect_eq(lease(getuid() + 1), ERR_DENIED, "single-user");
    cr_expect_eq(family_spawn(&f, 0, ROLE_FILE).ev.say, SAY_REFUSED);
    cr_expect_eq(family_spawn(&f, 999, ROLE_FILE).ev.say, SAY_REFUSED);
}

Test(monitor, gives_no_lease_that_is_too_long_or_has_too_many_groups)
{
    struct lease_request req = {.uid = family_uid(), .ngroups = LEASE_MAX_GROUPS + 1};
    struct lease_reply reply;
    cr_expect_eq(family_lease(&f, 0, family_uid(), 901, 0).code, ERR_DENIED);
    cr_expect_eq(family_lease(&f, 0, family_uid(), INT64_MAX, 0).code, ERR_DENIED);
    cr_assert_eq(send(f.auths[1]->fds[0], &req, sizeof req, 0), sizeof req);
    cr_assert_eq(recv(f.auths[1]->fds[0], &reply, sizeof reply, 0), sizeof reply);
    cr_expect_eq(reply.code, ERR_DENIED);
    cr_expect_eq(family_spawn(&f, family_uid(), ROLE_FILE).ev.say, SAY_REFUSED);
}

Test(monitor, takes_a_hello_once)
{
    cr_expect_eq(family_lease(&f, 0, family_uid(), 600, 77).code, ERR_NONE);
    cr_expect_eq(family_lease(&f, 1, family_uid(), 600, 77).code, ERR_AUTH);
    kill(f.broker->pid, SIGKILL);
    family_gather(&f);
    cr_expect_eq(family_lease(&f, 1, family_uid(), 600, 77).code, ERR_AUTH, "nor for a new broker");
}

Test(monitor, a_lease_ends)
{
    cr_assert_eq(family_lease(&f, 0, family_uid(), 1, 0).code, ERR_NONE);
    poll(NULL, 0, 2000);
    cr_expect_eq(family_spawn(&f, family_uid(), ROLE_FILE).ev.say, SAY_REFUSED);
}

Test(monitor, starts_no_other_role_on_request)
{
    cr_assert_eq(lease(family_uid()), ERR_NONE);
    const uint32_t roles[] = {0, ROLE_WATCH, ROLE_STAGE, ROLE_STAGE + 1, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        struct said s = family_spawn(&f, family_uid(), roles[i]);
        cr_expect_eq(s.ev.say, SAY_REFUSED);
        cr_expect_eq(s.ev.code, ERR_DENIED);
    }
}

Test(monitor, one_user_has_eight_workers)
{
    cr_assert_eq(lease(family_uid()), ERR_NONE);
    uint32_t last = 0;
    for (int i = 0; i < 8; i++) {
        struct said s = family_spawn(&f, family_uid(), ROLE_FILE);
        cr_expect_eq(s.ev.say, SAY_SPAWNED);
        cr_expect_gt(s.ev.process, last, "numbers count up");
        last = s.ev.process;
        said_close(&s);
    }
    struct said s = family_spawn(&f, family_uid(), ROLE_FILE);
    cr_expect_eq(s.ev.say, SAY_REFUSED);
    cr_expect_eq(s.ev.code, ERR_BUSY);
    cr_assert_eq(lease(family_uid()), ERR_NONE);
    cr_expect_eq(family_spawn(&f, family_uid(), ROLE_FILE).ev.say, SAY_REFUSED,
                 "a renewal is no way");
    family_kill(&f, last);
    cr_expect_eq(family_hear(&f).ev.say, SAY_ENDED);
    s = family_spawn(&f, family_uid(), ROLE_FILE);
    cr_expect_eq(s.ev.say, SAY_SPAWNED, "one has gone: there is room");
    said_close(&s);
}

static void setup_small(void)
{
    family_start(&f, "max_workers = 2\nmin_uid = 4242\n");
}

TestSuite(monitor_settings, .init = setup_small, .fini = teardown, .timeout = 60);

Test(monitor_settings, all_users_have_max_workers)
{
    needs_root();
    cr_expect_eq(lease(4241), ERR_DENIED, "below min_uid");
    for (uint32_t uid = 4242; uid <= 4244; uid++)
        cr_assert_eq(lease(uid), ERR_NONE);
    for (uint32_t uid = 4242; uid <= 4243; uid++) {
        struct said s = family_spawn(&f, uid, ROLE_FILE);
        cr_expect_eq(s.ev.say, SAY_SPAWNED);
        said_close(&s);
    }
    struct said s = family_spawn(&f, 4244, ROLE_FILE);
    cr_expect_eq(s.ev.say, SAY_REFUSED);
    cr_expect_eq(s.ev.code, ERR_BUSY);
}

/* ---- ends ---- */

Test(monitor, kills_a_worker_when_asked_and_says_how_it_ended)
{
    struct said s, ended;
    struct kid *k = family_worker(&f, &s);
    family_kill(&f, s.ev.process);
    ended = family_hear(&f);
    cr_expect_eq(ended.ev.say, SAY_ENDED);
    cr_expect_eq(ended.ev.process, s.ev.process);
    cr_expect_eq(ended.ev.uid, family_uid());
    cr_expect_eq(ended.ev.role, ROLE_CONTROL);
    cr_expect_eq(ended.ev.status, SIGKILL);
    cr_expect(pid_gone(k->pid));
    said_close(&s);
    kid_free(k);
    k = family_worker(&f, &s);
    kid_order(k, "exit 5");
    ended = family_hear(&f);
    cr_expect_eq(ended.ev.process, s.ev.process);
    cr_expect_eq(ended.ev.status, 5 << 8);
    said_close(&s);
    kid_free(k);
}

Test(monitor, kills_nobody_it_does_not_know)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    family_kill(&f, 0);
    family_kill(&f, 1); /* the broker itself */
    family_kill(&f, s.ev.process + 1);
    family_kill(&f, (uint32_t)k->pid);
    family_kill(&f, UINT32_MAX);
    cr_expect_eq(family_spawn(&f, 0, ROLE_FILE).ev.say, SAY_REFUSED, "the next is this answer");
    cr_expect(kill(k->pid, 0) == 0 && kill(f.broker->pid, 0) == 0);
    said_close(&s);
    kid_free(k);
}

static void expect_replaced(uint32_t say, uint32_t number)
{
    struct said ended = family_hear(&f), next = family_hear(&f);
    cr_expect_eq(ended.ev.say, SAY_ENDED);
    cr_expect_eq(ended.ev.process, number);
    cr_expect_eq(next.ev.say, say);
    cr_expect_gt(next.ev.process, number);
    cr_expect_neq(next.fds[0], -1);
    cr_expect_eq(next.fds[1] != -1, say == SAY_WATCHER);
    said_close(&next);
}

Test(monitor, auth_and_watcher_are_replaced)
{
    family_kill(&f, f.auth_numbers[0]);
    expect_replaced(SAY_AUTH, f.auth_numbers[0]);
    kid_free(family_next(&f, "agent-auth", NULL));
    kid_order(f.watcher, "exit 1");
    expect_replaced(SAY_WATCHER, f.watcher_number);
    kid_free(family_next(&f, "agent-worker", "watch"));
    cr_expect_eq(kill(f.broker->pid, 0), 0, "the broker stays");
}

Test(monitor, a_bad_packet_of_auth_ends_that_auth)
{
    cr_assert_eq(send(f.auths[0]->fds[0], "lease me", 8, 0), 8);
    cr_expect(pid_gone(f.auths[0]->pid));
    struct said ended = family_hear(&f), next = family_hear(&f);
    cr_expect(ended.ev.say == SAY_ENDED && next.ev.say == SAY_AUTH);
    said_close(&next);
    cr_expect_eq(family_lease(&f, 1, family_uid(), 600, 0).code, ERR_NONE, "the other one works");
    cr_expect_eq(kill(f.broker->pid, 0), 0, "the broker stays");
    cr_expect(family_logged(&f, "sent a packet of 8 bytes"));
}

/* Everybody of before has gone by the time the new broker is there, and no lease is left. */
static void expect_new_family(pid_t worker_pid)
{
    pid_t old[] = {f.broker->pid, f.auths[0]->pid, f.auths[1]->pid, f.watcher->pid, worker_pid};
    struct kid *broker = family_next(&f, "agent-broker", NULL);
    for (size_t i = 0; i < ARRAY_LEN(old); i++)
        cr_expect_neq(kill(old[i], 0), 0, "%zu: %d is still there", i, (int)old[i]);
    kid_free(f.broker);
    f.broker = NULL;
    f.waiting[FAMILY_WAITING - 1] = broker;
    family_gather(&f);
    cr_expect_eq(family_spawn(&f, family_uid(), ROLE_CONTROL).ev.say, SAY_REFUSED,
                 "no lease is left");
}

static void expect_packet_ends_broker(const void *packet, size_t n)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    cr_assert_eq(send(f.broker->fds[0], packet, n, 0), (ssize_t)n);
    expect_new_family(k->pid);
    said_close(&s);
    kid_free(k);
}

Test(monitor, a_short_packet_ends_the_broker_and_all)
{
    expect_packet_ends_broker("x", 1);
}

Test(monitor, a_long_packet_ends_the_broker_and_all)
{
    char packet[sizeof(struct monitor_request) + 1] = {ASK_SPAWN};
    expect_packet_ends_broker(packet, sizeof packet);
}

Test(monitor, an_unknown_request_ends_the_broker_and_all)
{
    struct monitor_request req = {.ask = ASK_RELOAD + 1};
    expect_packet_ends_broker(&req, sizeof req);
}

/* It was asked of the service, not of one of its processes. */
Test(monitor, a_broker_that_takes_over_drains_as_the_one_before_did)
{
    struct monitor_request req = {.ask = ASK_DRAIN};
    family_tell(&f, &req);
    struct said s = family_hear(&f);
    cr_expect_eq(s.ev.say, SAY_DRAIN);
    cr_expect_eq(s.ev.status, 1);
    kid_order(f.broker, "exit 0");
    expect_new_family(f.watcher->pid);
    cr_expect(f.draining, "the next broker is told before it has anybody to serve");
    req.ask = ASK_RESUME;
    family_tell(&f, &req);
    s = family_hear(&f);
    cr_expect_eq(s.ev.say, SAY_DRAIN);
    cr_expect_eq(s.ev.status, 0);
}

Test(monitor, says_what_became_of_a_reload)
{
    struct monitor_request req = {.ask = ASK_RELOAD};
    struct said s = family_ask(&f, &req);
    cr_expect_eq(s.ev.say, SAY_RELOADED);
    cr_expect_eq(s.ev.code, ERR_NONE, "%s", s.ev.text);
    cr_expect_eq(s.ev.status, 0, "nothing has changed");
    s = family_ask(&f, &req);
    cr_expect_eq(s.ev.code, ERR_BUSY, "a broker that was taken over reads no file over and over");
}

Test(monitor, when_the_broker_dies_all_do_before_the_next_one)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    kill(f.broker->pid, SIGKILL);
    expect_new_family(k->pid);
    said_close(&s);
    kid_free(k);
}

/* ---- how often ---- */

Test(monitor, starts_twenty_workers_of_a_user_in_a_second)
{
    cr_assert_eq(lease(family_uid()), ERR_NONE);
    int64_t begin = clock_mono_ms(), took = 0;
    int started = 0;
    struct said s = {0};
    while (took < FAMILY_PATIENCE_MS) {
        s = family_spawn(&f, family_uid(), ROLE_ACCT);
        took = clock_mono_ms() - begin;
        if (s.ev.say != SAY_SPAWNED)
            break;
        started++;
        family_kill(&f, s.ev.process);
        said_close(&s);
        cr_assert_eq(family_hear(&f).ev.say, SAY_ENDED);
    }
    cr_expect_eq(s.ev.say, SAY_REFUSED);
    cr_expect_eq(s.ev.code, ERR_BUSY);
    cr_expect_not_null(strstr(s.ev.text, "in the last second"), "%s", s.ev.text);
    cr_expect(started >= 20 && started <= 21 + took * 20 / 1000, "%d in %lld ms", started,
              (long long)took);
}

Test(monitor, a_broker_that_ends_by_itself_is_started_again)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    kid_order(f.broker, "exit 0");
    expect_new_family(k->pid);
    cr_expect(family_logged(&f, "ended with status 0"));
    said_close(&s);
    kid_free(k);
}

Test(monitor, a_broker_that_cannot_work_ends_it)
{
    pid_t auth = f.auths[0]->pid;
    kid_order(f.broker, "exit 2");
    cr_expect_eq(family_ended(&f, FAMILY_PATIENCE_MS), 2);
    cr_expect(pid_gone(auth));
    cr_expect(family_logged(&f, "cannot work as things are"));
}

Test(monitor, a_broker_that_does_not_listen_is_replaced)
{
    struct monitor_request req = {.ask = ASK_SPAWN, .uid = 0, .role = ROLE_FILE};
    pid_t pid = f.broker->pid;
    int64_t end = clock_mono_ms() + FAMILY_PATIENCE_MS;
    while (kill(pid, 0) == 0 && clock_mono_ms() < end)
        if (send(f.broker->fds[0], &req, sizeof req, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            poll(NULL, 0, 1);
    cr_expect(pid_gone(pid));
    cr_expect(family_logged(&f, "does not read what we say"));
    family_gather(&f);
}

static size_t descriptors(pid_t pid)
{
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    cr_assert_not_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* It may be about to close some of its own. */
static bool has_at_most(void *most)
{
    return descriptors(f.monitor) <= *(size_t *)most;
}

Test(monitor, takes_no_descriptors)
{
    struct monitor_request req = {.ask = ASK_SPAWN, .uid = 0, .role = ROLE_FILE};
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {&req, sizeof req};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    *c = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(c), &f.listening, sizeof f.listening);
    size_t most = descriptors(f.monitor);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(sendmsg(f.broker->fds[0], &h, 0), sizeof req);
        cr_expect_eq(family_hear(&f).ev.say, SAY_REFUSED);
    }
    cr_expect(wait_until(has_at_most, &most, 10000), "%zu, were %zu", descriptors(f.monitor), most);
}

Test(monitor, leaks_no_descriptors)
{
    struct said s;
    size_t before = descriptors(f.monitor);
    for (int i = 0; i < 20; i++) {
        kid_free(family_worker(&f, &s));
        said_close(&s);
        family_kill(&f, s.ev.process);
        cr_expect_eq(family_hear(&f).ev.say, SAY_ENDED);
    }
    cr_expect_eq(descriptors(f.monitor), before);
}

/* ---- signals ---- */

static void expect_clean_stop(int sig)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    pid_t all[] = {f.broker->pid, f.auths[0]->pid, f.auths[1]->pid, f.watcher->pid, k->pid};
    kill(f.monitor, sig);
    cr_expect_eq(family_ended(&f, 5000), 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        cr_expect_neq(kill(all[i], 0), 0);
    said_close(&s);
    kid_free(k);
}

Test(monitor, sigterm_ends_everybody)
{
    expect_clean_stop(SIGTERM);
}

Test(monitor, sigint_ends_everybody)
{
    expect_clean_stop(SIGINT);
}

Test(monitor, a_broker_that_does_not_end_has_ten_seconds)
{
    pid_t pid = f.broker->pid;
    kid_order(f.broker, "ignore-term");
    int64_t start = clock_mono_ms();
    kill(f.monitor, SIGTERM);
    cr_expect_eq(family_ended(&f, 20000), 0);
    int64_t took = clock_mono_ms() - start;
    cr_expect(took > 9000 && took < 13000, "%lld ms", (long long)took);
    cr_expect_neq(kill(pid, 0), 0);
}

/* ---- settings ---- */

static void write_conf(const char *user, const char *settings)
{
    char text[2000];
    snprintf(text, sizeof text,
             "[agentd]\nuser = %s\nwatch_user = daemon\nlibexec_dir = %s/libexec\n%s", user, f.dir,
             settings);
    scratch_write(f.dir, "agentd.conf", text);
}

/* As the child has it: "min_uid = 1000". */
static const char *setting_of(struct kid *k, const char *name)
{
    static char text[300];
    char order[100];
    struct pollfd p = {.fd = k->test, .events = POLLIN};
    snprintf(order, sizeof order, "setting \n%s = ", name);
    cr_assert_gt(send(k->test, order, strlen(order), 0), 0);
    cr_assert_eq(poll(&p, 1, FAMILY_PATIENCE_MS), 1);
    ssize_t n = recv(k->test, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void expect_setting(struct kid *k, const char *name, const char *value)
{
    char want[300];
    snprintf(want, sizeof want, "%s = %s", name, value);
    const char *got = setting_of(k, name);
    cr_expect_str_eq(got, want);
}

static bool hears_hup(struct kid *k, int ms)
{
    char word[8] = "";
    struct pollfd p = {.fd = k->test, .events = POLLIN};
    return poll(&p, 1, ms) == 1 && recv(p.fd, word, 3, 0) == 3 && strcmp(word, "hup") == 0;
}

Test(monitor, sighup_gives_a_new_broker_the_new_settings)
{
    pid_t old = f.broker->pid;
    kid_order(f.broker, "await-hup");
    write_conf("root", "poll_ms = 4321\nmin_uid = 3000\ngrants_dir = /nonexistent/other\n");
    expect_setting(f.broker, "poll_ms", "1000");
    kill(f.monitor, SIGHUP);
    cr_assert(hears_hup(f.broker, FAMILY_PATIENCE_MS));
    cr_expect(family_logged(&f, "poll_ms = 4321, was 1000"));
    cr_expect(family_logged(&f, "user = root: this takes a restart"));
    cr_expect(family_logged(&f, "grants_dir = /nonexistent/other: this takes a restart"));
    kid_order(f.broker, "exit 0");
    family_gather(&f);
    cr_expect_neq(f.broker->pid, old);
    expect_setting(f.broker, "poll_ms", "4321");
    expect_setting(f.watcher, "poll_ms", "4321");
    cr_expect_str_neq(setting_of(f.broker, "user"), "user = root");
    cr_expect(!root() || lease(2999) == ERR_DENIED, "its own settings are new, too");
}

Test(monitor, settings_that_are_wrong_or_the_same_change_nothing)
{
    kid_order(f.broker, "await-hup");
    kill(f.monitor, SIGHUP);
    cr_expect(family_logged(&f, "no setting has changed"));
    write_conf("nobody", "poll_ms = soon\n");
    kill(f.monitor, SIGHUP);
    cr_expect(family_logged(&f, "the settings stay as they were"));
    cr_expect(family_logged(&f, "poll_ms"));
    cr_expect_not(hears_hup(f.broker, 500));
    /* nor does it matter to who comes later */
    kid_order(f.broker, "exit 0");
    family_gather(&f);
    expect_setting(f.broker, "poll_ms", "1000");
}

Test(monitor, settings_that_do_not_work_give_way_to_the_earlier_ones)
{
    kid_order(f.broker, "await-hup");
    write_conf("nobody", "poll_ms = 4321\n");
    kill(f.monitor, SIGHUP);
    cr_assert(hears_hup(f.broker, FAMILY_PATIENCE_MS));
    kid_order(f.broker, "exit 0");
    family_gather(&f);
    expect_setting(f.broker, "poll_ms", "4321");
    kid_order(f.broker, "exit 2");
    family_gather(&f);
    cr_expect(family_logged(&f, "back to the earlier"));
    expect_setting(f.broker, "poll_ms", "1000");
    kid_order(f.broker, "exit 2");
    cr_expect_eq(family_ended(&f, 20000), 2, "there is nothing more to go back to");
}

Test(monitor, nobody_outlives_it)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    pid_t all[] = {f.broker->pid, f.auths[0]->pid, f.auths[1]->pid, f.watcher->pid, k->pid};
    kill(f.monitor, SIGKILL);
    cr_expect_eq(family_ended(&f, 5000), 128 + SIGKILL);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        cr_expect(pid_gone(all[i]) || pid_status(all[i], "State")[0] == 'Z', "%d", (int)all[i]);
    said_close(&s);
    kid_free(k);
}

/* ---- the command line ---- */

TestSuite(slurm_agentd, .timeout = 60);

static struct run run_daemon(const char *a, const char *b, const char *c)
{
    char exe[BUILD_PATH];
    build_path(exe, "bin/slurm-agentd");
    const char *argv[] = {exe, a, b, c, NULL};
    return run_argv(NULL, argv, "");
}

static void expect_run(struct run r, int status, const char *words)
{
    cr_expect_eq(r.status, status, "%d: %s%s", r.status, r.out, r.err);
    cr_expect(strstr(r.out, words) || strstr(r.err, words), "\"%s\" is not in: %s%s", words, r.out,
              r.err);
    run_free(&r);
}

Test(slurm_agentd, says_what_it_does_not_understand)
{
    expect_run(run_daemon("--frobnicate", NULL, NULL), 2, "usage:");
    expect_run(run_daemon("start", NULL, NULL), 2, "'start' is no option");
    expect_run(run_daemon("--config", NULL, NULL), 2, "usage:");
    expect_run(run_daemon("--help", NULL, NULL), 0, "--single-user");
    expect_run(run_daemon("--version", NULL, NULL), 0, "slurm-agentd ");
}

Test(slurm_agentd, prints_settings_that_it_can_read)
{
    char dir[SCRATCH_PATH], path[SCRATCH_PATH];
    scratch_make(dir);
    scratch_write(dir, "one", "[agentd]\nmin_uid = 1234\n");
    scratch_path(path, dir, "one");
    struct run first = run_daemon("--config", path, "--print-config");
    cr_expect_eq(first.status, 0, "%s", first.err);
    cr_expect_not_null(strstr(first.out, "min_uid = 1234\n"), "%s", first.out);
    scratch_write(dir, "two", first.out);
    scratch_path(path, dir, "two");
    struct run second = run_daemon("--config", path, "--print-config");
    cr_expect_str_eq(second.out, first.out);
    run_free(&first);
    run_free(&second);
    scratch_remove(dir);
}

/* Runs it with these settings, which must not work. */
static void expect_unusable(const char *settings, const char *option, const char *words)
{
    char dir[SCRATCH_PATH], path[SCRATCH_PATH];
    scratch_make(dir);
    scratch_write(dir, "conf", settings);
    scratch_path(path, dir, "conf");
    expect_run(run_daemon("--config", path, option), 2, words);
    scratch_remove(dir);
}

Test(slurm_agentd, names_wrong_settings)
{
    expect_run(run_daemon("--config", "/nonexistent/agentd.conf", NULL), 2,
               "/nonexistent/agentd.conf");
    expect_unusable("[agentd]\nmin_uid = x\n", NULL, "conf:2");
    expect_unusable("[agentd]\nmin_gid = 1\n", NULL, "min_gid");
}

Test(slurm_agentd, single_user_is_not_for_root_and_all_users_are_not_for_others)
{
    if (root())
        expect_unusable("[agentd]\n", "--single-user", "not for root");
    else
        expect_unusable("[agentd]\n", NULL, "--single-user");
}

Test(slurm_agentd, programs_must_be_there)
{
    expect_unusable("[agentd]\nlibexec_dir = /nonexistent\nuser = nobody\n",
                    root() ? NULL : "--single-user", "/nonexistent/agent-broker");
}

Test(slurm_agentd, broker_and_watcher_are_never_root)
{
    needs_root();
    expect_unusable("[agentd]\nuser = root\n", NULL, "must not run as root");
    expect_unusable("[agentd]\nuser = nobody\nwatch_user = root\n", NULL, "watch_user = root");
    expect_unusable("[agentd]\nuser = no-such-user\n", NULL, "there is no user no-such-user");
}

Test(slurm_agentd, needs_its_capabilities)
{
    char exe[BUILD_PATH], dir[SCRATCH_PATH], path[SCRATCH_PATH];
    needs_root();
    build_path(exe, "bin/slurm-agentd");
    scratch_make(dir);
    scratch_write(dir, "conf", "[agentd]\nuser = nobody\nlibexec_dir = /tmp\n");
    scratch_path(path, dir, "conf");
    const char *programs[] = {"agent-broker", "agent-auth", "agent-worker", "agent-stage"};
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        scratch_write(dir, programs[i], "");
    AUTO(free) char *text = NULL;
    cr_assert_gt(asprintf(&text, "[agentd]\nuser = nobody\nlibexec_dir = %s\n", dir), 0);
    scratch_write(dir, "conf", text);
    expect_run(run_as(NULL, "setpriv", "--bounding-set", "-kill", exe, "--config", path), 2,
               "CAP_KILL");
    expect_run(run_as(NULL, "setpriv", "--bounding-set", "-setpcap", exe, "--config", path), 2,
               "CAP_SETPCAP");
    scratch_remove(dir);
}
