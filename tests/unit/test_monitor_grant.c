/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Grants: the real slurm-agentd, with children that the test plays. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/family.h"

static struct family f = {.monitor = -1, .listening = -1};

static void setup(void)
{
    family_start(&f, "");
}

static void teardown(void)
{
    family_stop(&f);
}

TestSuite(monitor_grant, .init = setup, .fini = teardown, .timeout = 120);

static struct monitor_request request(enum monitor_ask ask, uint8_t number)
{
    struct monitor_request r = {.ask = ask, .uid = family_uid(), .lifetime_s = 600};
    memset(r.request, number, sizeof r.request);
    memset(r.hash, 0x40 | number, sizeof r.hash);
    return r;
}

static enum err_code grant(uint8_t number)
{
    struct monitor_request r = request(ASK_GRANT, number);
    struct said s = family_ask(&f, &r);
    cr_expect_eq(s.ev.say, SAY_GRANTED);
    return (enum err_code)s.ev.code;
}

static struct said stage(uint8_t number)
{
    struct monitor_request r = request(ASK_STAGE, number);
    memset(r.hash, 0xee, sizeof r.hash); /* whatever the broker says now */
    return family_ask(&f, &r);
}

static void lease(void)
{
    cr_assert_eq(family_lease(&f, 0, family_uid(), 600, 0).code, ERR_NONE);
}

static size_t files(void)
{
    char path[SCRATCH_PATH];
    size_t n = 0;
    scratch_path(path, f.dir, "grants");
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

static void expect_refused(struct said s, enum err_code code)
{
    cr_expect_eq(s.ev.say, SAY_REFUSED);
    cr_expect_eq(s.ev.role, ROLE_STAGE);
    cr_expect_eq((enum err_code)s.ev.code, code, "%s", s.ev.text);
    said_close(&s);
}

/* Of a user who is there, and of one who is not any more. */
Test(monitor_grant, is_given_while_its_user_is_there)
{
    cr_expect_eq(grant(1), ERR_DENIED);
    cr_expect_eq(files(), 0);
    cr_assert_eq(family_lease(&f, 0, family_uid(), 1, 0).code, ERR_NONE);
    cr_expect_eq(grant(1), ERR_NONE);
    cr_expect_eq(files(), 1);
    poll(NULL, 0, 2000); /* the lease is over then */
    cr_expect_eq(grant(2), ERR_DENIED);
    expect_refused(stage(2), ERR_DENIED);
    struct said s = stage(1);
    cr_assert_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    cr_expect_eq(s.ev.role, ROLE_STAGE);
    said_close(&s);
}

/* The worker hears from the monitor what was granted then, as who it was then. */
Test(monitor_grant, says_which_manifest_it_was)
{
    char want[200], id[2 * MONITOR_REQUEST + 1], hash[2 * SEAL_HASH + 1];
    struct monitor_request r = request(ASK_GRANT, 7);
    lease();
    cr_assert_eq(grant(7), ERR_NONE);
    struct said s = stage(7);
    cr_assert_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    struct kid *k = family_next(&f, "agent-stage", NULL);
    str_hex(r.request, sizeof r.request, id);
    str_hex(r.hash, sizeof r.hash, hash);
    snprintf(want, sizeof want, "arg=--grant\narg=%s:%s\n", id, hash);
    cr_expect_not_null(strstr(k->report, want), "%s", k->report);
    cr_expect_eq(k->uid, family_uid());
    if (getuid() == 0)
        cr_expect_str_eq(pid_status(k->pid, "Groups"), "4300 4301 4302");
    cr_expect_str_eq(pid_status(k->pid, "CapPrm"), "0000000000000000");
    kid_free(k);
    said_close(&s);
}

Test(monitor_grant, outlives_broker_and_monitor)
{
    lease();
    cr_assert_eq(grant(3), ERR_NONE);
    kill(f.broker->pid, SIGKILL);
    family_gather(&f);
    struct said s = stage(3);
    cr_expect_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    said_close(&s);
    family_restart(&f);
    s = stage(3);
    cr_expect_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    said_close(&s);
    expect_refused(stage(4), ERR_DENIED);
}

Test(monitor_grant, is_over_when_it_is_revoked)
{
    lease();
    cr_assert_eq(grant(5), ERR_NONE);
    struct monitor_request r = request(ASK_REVOKE, 5);
    family_tell(&f, &r);
    expect_refused(stage(5), ERR_DENIED);
    cr_expect_eq(files(), 0);
}

Test(monitor_grant, ends_in_time)
{
    struct monitor_request r = request(ASK_GRANT, 6);
    lease();
    r.lifetime_s = 1;
    cr_assert_eq(family_ask(&f, &r).ev.code, ERR_NONE);
    poll(NULL, 0, 2100);
    expect_refused(stage(6), ERR_DENIED);
    r.lifetime_s = INT64_MAX;
    cr_expect_eq(family_ask(&f, &r).ev.code, ERR_DENIED);
    r.lifetime_s = -1;
    cr_expect_eq(family_ask(&f, &r).ev.code, ERR_DENIED);
}

Test(monitor_grant, of_one_user_two_workers_run)
{
    lease();
    cr_assert_eq(grant(8), ERR_NONE);
    uint32_t last = 0;
    for (int i = 0; i < 2; i++) {
        struct said s = stage(8);
        cr_assert_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
        last = s.ev.process;
        said_close(&s);
    }
    expect_refused(stage(8), ERR_BUSY);
    struct said c = family_spawn(&f, family_uid(), ROLE_CONTROL);
    cr_expect_eq(c.ev.say, SAY_SPAWNED, "nobody's cancel is behind a transfer");
    said_close(&c);
    family_kill(&f, last);
    cr_expect_eq(family_hear(&f).ev.say, SAY_ENDED);
    struct said s = stage(8);
    cr_expect_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    said_close(&s);
}

/* What is no grant of ours is none. */
Test(monitor_grant, believes_no_other_file)
{
    char path[2 * SCRATCH_PATH + 80], name[2 * SCRATCH_PATH + 80];
    lease();
    cr_assert_eq(grant(9), ERR_NONE);
    struct monitor_request r = request(ASK_GRANT, 10);
    char id[2 * MONITOR_REQUEST + 1], was[2 * MONITOR_REQUEST + 1];
    str_hex(r.request, sizeof r.request, id);
    r = request(ASK_GRANT, 9);
    str_hex(r.request, sizeof r.request, was);
    snprintf(path, sizeof path, "%s/grants/%u-%s", f.dir, family_uid(), was);
    snprintf(name, sizeof name, "%s/grants/%u-%s", f.dir, family_uid(), id);
    cr_assert_eq(link(path, name), 0, "a grant under another name");
    snprintf(name, sizeof name, "%s/grants/short", f.dir);
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
    family_restart(&f);
    expect_refused(stage(10), ERR_DENIED);
    struct said s = stage(9);
    cr_expect_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    said_close(&s);
    cr_expect(family_logged(&f, "grant short is not used"));
}
