/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

#include "agentd/authlink.h"
#include "tests/fake/fake_monitor.h"

struct result {
    bool done;
    enum err_code code;
    char text[500];
    int64_t retry_after_ms;
    uint32_t uid;
};

static void on_done(void *arg, const struct auth_reply *reply, const struct err *err)
{
    struct result *r = arg;
    cr_assert_not(r->done, "answered twice");
    r->done = true;
    r->code = err->code;
    strcpy(r->text, err->text);
    r->retry_after_ms = err->retry_after_ms;
    r->uid = reply ? reply->uid : 0;
}

static void ask(struct fake_monitor *m, struct result *r)
{
    struct auth_request req = {.cred_size = 1};
    struct err err = {0};
    *r = (struct result){0};
    cr_assert_eq(authlink_ask(m->a.auth, &req, on_done, r, &err), 0, "%s", err.text);
}

static struct auth_request take(struct fake_monitor *m, int fd)
{
    struct auth_request req;
    fake_monitor_run_for(m, 20);
    cr_assert_eq(recv(fd, &req, sizeof req, MSG_DONTWAIT), (ssize_t)sizeof req);
    return req;
}

Test(authlink, each_process_has_one_hello_at_a_time)
{
    struct fake_monitor m;
    struct result r[3];
    fake_monitor_start(&m);
    int fd = fake_monitor_auth(&m);
    for (int i = 0; i < 3; i++)
        ask(&m, &r[i]);
    for (uint32_t i = 0; i < 3; i++) {
        struct auth_request req = take(&m, fd), none;
        cr_expect_lt(recv(fd, &none, sizeof none, MSG_DONTWAIT), 0, "one at a time");
        struct auth_reply reply = {.serial = req.serial, .uid = 1000 + i};
        cr_assert_eq(send(fd, &reply, sizeof reply, 0), (ssize_t)sizeof reply);
        fake_monitor_run_until(&m, &r[i].done);
        cr_expect_eq(r[i].code, ERR_NONE);
        cr_expect_eq(r[i].uid, 1000 + i);
    }
    close(fd);
    fake_monitor_stop(&m);
}

Test(authlink, a_refusal_is_passed_on)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    int fd = fake_monitor_auth(&m);
    ask(&m, &r);
    struct auth_reply reply = {.serial = take(&m, fd).serial, .code = ERR_DENIED, .text = "no"};
    cr_assert_eq(send(fd, &reply, sizeof reply, 0), (ssize_t)sizeof reply);
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(r.code, ERR_DENIED);
    cr_expect_str_eq(r.text, "no");
    close(fd);
    fake_monitor_stop(&m);
}

Test(authlink, one_that_hangs_is_killed_and_the_other_goes_on)
{
    struct fake_monitor m;
    struct result r[2];
    fake_monitor_start(&m);
    m.a.conf.auth_deadline_s = 1;
    int hung = fake_monitor_auth(&m);
    fake_monitor_run_for(&m, 20);
    ask(&m, &r[0]);
    take(&m, hung);
    int good = fake_monitor_auth(&m);
    fake_monitor_run_for(&m, 20);
    ask(&m, &r[1]);
    struct auth_reply reply = {.serial = take(&m, good).serial, .uid = 1002};
    cr_assert_eq(send(good, &reply, sizeof reply, 0), (ssize_t)sizeof reply);
    fake_monitor_run_until(&m, &r[1].done);
    cr_expect_eq(r[1].uid, 1002);
    fake_monitor_run_until(&m, &r[0].done);
    cr_expect_eq(r[0].code, ERR_MUNGE);
    struct monitor_request kill_req = fake_monitor_next(&m);
    cr_expect_eq(kill_req.ask, ASK_KILL);
    cr_expect_eq(kill_req.process, 1);
    close(hung);
    close(good);
    fake_monitor_stop(&m);
}

Test(authlink, without_any_process_a_hello_waits_only_so_long)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    m.a.conf.auth_deadline_s = 1;
    ask(&m, &r);
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(r.code, ERR_MUNGE);
    fake_monitor_stop(&m);
}

Test(authlink, a_packet_of_another_size_or_to_another_hello_ends_that_process)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    int fd = fake_monitor_auth(&m);
    ask(&m, &r);
    struct auth_reply reply = {.serial = take(&m, fd).serial + 1, .uid = 1};
    cr_assert_eq(send(fd, &reply, sizeof reply, 0), (ssize_t)sizeof reply);
    struct monitor_request kill_req = fake_monitor_next(&m);
    cr_expect_eq(kill_req.ask, ASK_KILL);
    fake_monitor_say(&m, SAY_ENDED, &(struct monitor_request){0}, kill_req.process, ERR_NONE, "");
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(r.code, ERR_MUNGE);
    cr_expect_gt(r.retry_after_ms, 0, "another process may say otherwise");
    cr_expect_eq(r.uid, 0);
    close(fd);
    fake_monitor_stop(&m);
}

/* The next broker answers them. */
Test(authlink, those_that_wait_when_the_broker_ends_are_to_come_again)
{
    struct fake_monitor m;
    struct result r[2];
    fake_monitor_start(&m);
    int fd = fake_monitor_auth(&m);
    ask(&m, &r[0]);
    take(&m, fd);
    ask(&m, &r[1]);
    fake_monitor_stop(&m);
    for (int i = 0; i < 2; i++) {
        cr_assert(r[i].done);
        cr_expect_eq(r[i].code, ERR_MUNGE);
        cr_expect_gt(r[i].retry_after_ms, 0);
    }
    close(fd);
}
