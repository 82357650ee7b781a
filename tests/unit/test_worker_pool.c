/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The broker's handle on workers, with the test as the monitor and as a worker that may be hostile.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

#include "agentd/gate.h"
#include "agentd/worker.h"
#include "common/cleanup.h"
#include "common/fdio.h"
#include "tests/fake/fake_monitor.h"

struct result {
    bool done;
    struct worker_answer answer;
    char body[64];
};

static void on_done(void *arg, const struct worker_answer *a)
{
    struct result *r = arg;
    cr_assert_not(r->done, "answered twice");
    r->done = true;
    r->answer = *a;
    if (a->err.code == ERR_NONE)
        memcpy(r->body, a->body.p, a->body.n < sizeof r->body ? a->body.n : sizeof r->body);
}

static const uint8_t empty_map[] = {0x80};

static void ask(struct fake_monitor *m, uint32_t uid, enum worker_op op, struct result *r)
{
    struct err err = {0};
    *r = (struct result){0};
    cr_assert_eq(workers_ask(m->a.workers, uid, op, (struct bytes){empty_map, 1}, on_done, r, &err),
                 0, "%s", err.text);
}

static struct chan_head read_head(struct fake_monitor *m, int fd)
{
    struct chan_head h;
    uint8_t body[4096];
    fake_monitor_run_for(m, 20);
    cr_assert_eq(fdio_read_full(fd, &h, sizeof h), 1);
    cr_assert_leq(h.size, sizeof body);
    cr_assert_eq(fdio_read_full(fd, body, h.size), 1);
    return h;
}

static void answer(int fd, struct chan_head h, const void *body, uint32_t size)
{
    h.size = size;
    cr_assert_eq(fdio_send_full(fd, &h, sizeof h), 0);
    if (size)
        cr_assert_eq(fdio_send_full(fd, body, size), 0);
}

Test(worker_pool, a_request_goes_to_a_worker_of_its_user_and_role)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    ask(&m, 1001, WORKER_info, &r);
    struct monitor_request req = fake_monitor_next(&m);
    cr_expect_eq(req.ask, ASK_SPAWN);
    cr_expect_eq(req.uid, 1001);
    cr_expect_eq(req.role, ROLE_CONTROL);
    int fd = fake_monitor_spawned(&m, &req);
    struct chan_head h = read_head(&m, fd);
    cr_expect_eq(h.op, WORKER_info);
    answer(fd, h, empty_map, 1);
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(r.answer.err.code, ERR_NONE, "%s", r.answer.err.text);
    cr_expect(r.answer.answered);
    /* the next one goes to the same process */
    ask(&m, 1001, WORKER_info, &r);
    h = read_head(&m, fd);
    answer(fd, h, empty_map, 1);
    fake_monitor_run_until(&m, &r.done);
    cr_expect(fake_monitor_quiet(&m));
    close(fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, a_refused_spawn_fails_what_waits_for_it)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    ask(&m, 1001, WORKER_prepare, &r);
    struct monitor_request req = fake_monitor_next(&m);
    cr_expect_eq(req.role, ROLE_FILE);
    fake_monitor_say(&m, SAY_REFUSED, &req, 0, ERR_DENIED, "no lease for uid 1001");
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(r.answer.err.code, ERR_DENIED);
    cr_expect_str_eq(r.answer.err.text, "no lease for uid 1001");
    cr_expect_not(r.answer.sent);
    fake_monitor_stop(&m);
}

/* Each of these ends that worker, fails its request as sent but not answered, and leaves bob's be.
 */
static void hostile(const void *bytes, size_t size, bool echo_head)
{
    struct fake_monitor m;
    struct result alice, bob;
    fake_monitor_start(&m);
    ask(&m, 1001, WORKER_submit, &alice);
    struct monitor_request alice_req = fake_monitor_next(&m);
    int alice_fd = fake_monitor_spawned(&m, &alice_req);
    ask(&m, 1002, WORKER_info, &bob);
    struct monitor_request bob_req = fake_monitor_next(&m);
    int bob_fd = fake_monitor_spawned(&m, &bob_req);
    struct chan_head ah = read_head(&m, alice_fd), bh = read_head(&m, bob_fd);

    if (echo_head)
        answer(alice_fd, ah, bytes, (uint32_t)size);
    else
        cr_assert_eq(fdio_send_full(alice_fd, bytes, size), 0);
    fake_monitor_run_until(&m, &alice.done);
    cr_expect(alice.answer.sent);
    cr_expect_not(alice.answer.answered);
    cr_expect_neq(alice.answer.err.code, ERR_NONE);
    struct monitor_request kill_req = fake_monitor_next(&m);
    cr_expect_eq(kill_req.ask, ASK_KILL);
    cr_expect_eq(kill_req.process, 1);
    cr_expect_not(bob.done);
    answer(bob_fd, bh, empty_map, 1);
    fake_monitor_run_until(&m, &bob.done);
    cr_expect_eq(bob.answer.err.code, ERR_NONE);

    /* once it is reaped, alice's next request gets a new process */
    ask(&m, 1001, WORKER_info, &alice);
    fake_monitor_run_for(&m, 20);
    cr_expect(fake_monitor_quiet(&m), "not before the old one is gone");
    fake_monitor_say(&m, SAY_ENDED, &alice_req, 1, ERR_NONE, "");
    struct monitor_request again = fake_monitor_next(&m);
    cr_expect_eq(again.ask, ASK_SPAWN);
    cr_expect_eq(again.uid, 1001);
    close(alice_fd);
    close(bob_fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, an_answer_that_is_no_msgpack_ends_that_worker)
{
    hostile("\xc1\xc1\xc1", 3, true);
}

Test(worker_pool, an_answer_of_another_kind_ends_that_worker)
{
    hostile("\x81\xa2id\x01", 5, true);
}

Test(worker_pool, an_answer_with_fields_nobody_knows_ends_that_worker)
{
    hostile("\x81\xa3uid\x00", 6, true);
}

Test(worker_pool, a_frame_that_announces_too_much_ends_that_worker)
{
    struct chan_head h = {.size = UINT32_MAX, .serial = 1, .op = WORKER_submit};
    hostile(&h, sizeof h, false);
}

Test(worker_pool, an_answer_to_another_request_ends_that_worker)
{
    struct chan_head h = {.size = 0, .serial = 4000, .op = WORKER_submit};
    hostile(&h, sizeof h, false);
}

Test(worker_pool, an_error_that_cannot_be_read_ends_that_worker)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    ask(&m, 1001, WORKER_submit, &r);
    struct monitor_request req = fake_monitor_next(&m);
    int fd = fake_monitor_spawned(&m, &req);
    struct chan_head h = read_head(&m, fd);
    h.code = ERR_INVALID;
    answer(fd, h, "\x93", 1);
    fake_monitor_run_until(&m, &r.done);
    cr_expect_not(r.answer.answered);
    cr_expect_eq(fake_monitor_next(&m).ask, ASK_KILL);
    close(fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, past_its_deadline_a_worker_is_killed)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    m.a.conf.call_deadline_s = 1;
    ask(&m, 1001, WORKER_submit, &r);
    struct monitor_request req = fake_monitor_next(&m);
    int fd = fake_monitor_spawned(&m, &req);
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(r.answer.err.code, ERR_TIMEOUT);
    cr_expect(r.answer.sent);
    cr_expect_not(r.answer.answered);
    cr_expect_eq(fake_monitor_next(&m).ask, ASK_KILL);
    cr_assert_eq(r.answer.process, m.last_process);
    cr_expect(workers_ending(m.a.workers, 1001, r.answer.process), "until the monitor says so");
    cr_expect_not(workers_ending(m.a.workers, 1002, r.answer.process));
    cr_expect_not(workers_ending(m.a.workers, 1001, r.answer.process + 1));
    fake_monitor_say(&m, SAY_ENDED, &req, 1, ERR_NONE, "");
    fake_monitor_run_for(&m, 100);
    cr_expect_not(workers_ending(m.a.workers, 1001, r.answer.process));
    close(fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, a_slurmdbd_that_hangs_holds_up_nothing_else)
{
    struct fake_monitor m;
    struct result acct, info;
    fake_monitor_start(&m);
    m.a.conf.acct_deadline_s = 1;
    ask(&m, 1001, WORKER_load_acct, &acct);
    struct monitor_request req = fake_monitor_next(&m);
    cr_expect_eq(req.role, (uint32_t)ROLE_ACCT);
    int fd = fake_monitor_spawned(&m, &req);
    read_head(&m, fd);
    ask(&m, 1001, WORKER_info, &info);
    struct monitor_request control = fake_monitor_next(&m);
    cr_expect_eq(control.role, (uint32_t)ROLE_CONTROL);
    int control_fd = fake_monitor_spawned(&m, &control);
    answer(control_fd, read_head(&m, control_fd), empty_map, 1);
    fake_monitor_run_until(&m, &info.done);
    cr_expect_eq(info.answer.err.code, ERR_NONE);
    cr_expect_not(acct.done);
    fake_monitor_run_until(&m, &acct.done);
    cr_expect_eq(acct.answer.err.code, ERR_SLURM_DOWN);
    cr_expect_not_null(strstr(acct.answer.err.text, "slurmdbd"), "%s", acct.answer.err.text);
    cr_expect_eq(fake_monitor_next(&m).ask, ASK_KILL);
    close(fd);
    close(control_fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, a_dead_worker_fails_its_request_and_the_next_ones_get_another)
{
    struct fake_monitor m;
    struct result first, second;
    fake_monitor_start(&m);
    ask(&m, 1001, WORKER_submit, &first);
    struct monitor_request req = fake_monitor_next(&m);
    int fd = fake_monitor_spawned(&m, &req);
    read_head(&m, fd);
    ask(&m, 1001, WORKER_info, &second);
    close(fd);
    fake_monitor_run_until(&m, &first.done);
    cr_expect(first.answer.sent);
    cr_expect_not(first.answer.answered);
    cr_expect_not(second.done, "it waits for the next process");
    cr_expect_eq(fake_monitor_next(&m).ask, ASK_KILL);
    fake_monitor_say(&m, SAY_ENDED, &req, 1, ERR_NONE, "");
    req = fake_monitor_next(&m);
    cr_expect_eq(req.ask, ASK_SPAWN);
    fd = fake_monitor_spawned(&m, &req);
    struct chan_head h = read_head(&m, fd);
    answer(fd, h, empty_map, 1);
    fake_monitor_run_until(&m, &second.done);
    cr_expect_eq(second.answer.err.code, ERR_NONE);
    close(fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, workers_that_keep_dying_do_not_keep_requests_waiting)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    ask(&m, 1001, WORKER_info, &r);
    for (uint32_t i = 1; !r.done; i++) {
        cr_assert_lt(i, 10);
        struct monitor_request req = fake_monitor_next(&m);
        if (req.ask == ASK_KILL)
            continue;
        fake_monitor_say(&m, SAY_REFUSED, &req, 0, ERR_BUSY, "fork: no processes left");
        fake_monitor_run_for(&m, 20);
    }
    cr_expect_eq(r.answer.err.code, ERR_BUSY);
    fake_monitor_stop(&m);
}

Test(worker_pool, an_idle_worker_ends)
{
    struct fake_monitor m;
    struct result r;
    fake_monitor_start(&m);
    m.a.conf.worker_idle_s = 1;
    ask(&m, 1001, WORKER_info, &r);
    struct monitor_request req = fake_monitor_next(&m);
    int fd = fake_monitor_spawned(&m, &req);
    answer(fd, read_head(&m, fd), empty_map, 1);
    fake_monitor_run_until(&m, &r.done);
    cr_expect_eq(fake_monitor_next(&m).ask, ASK_KILL);
    close(fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, one_users_queue_has_a_cap)
{
    struct fake_monitor m;
    struct result r[3];
    struct err err = {0};
    fake_monitor_start(&m);
    m.a.conf.max_queued_per_user = 2;
    ask(&m, 1001, WORKER_info, &r[0]);
    ask(&m, 1001, WORKER_info, &r[1]);
    cr_expect_eq(workers_ask(m.a.workers, 1001, WORKER_info, (struct bytes){empty_map, 1}, on_done,
                             &r[2], &err),
                 -1);
    cr_expect_eq(err.code, ERR_BUSY);
    fake_monitor_stop(&m);
    cr_expect(r[0].done && r[1].done, "stopping answers what waits");
}

/* A late twin is cancelled also when no place is free, and before what its user has queued. */
Test(worker_pool, who_insists_does_not_wait_for_a_place)
{
    struct fake_monitor m;
    struct result alice, bob, twin;
    struct err err = {0};
    fake_monitor_start(&m);
    m.a.conf.max_slurm_calls = 1;
    m.a.conf.max_queued_per_user = 1;
    ask(&m, 1001, WORKER_info, &alice);
    ask(&m, 1002, WORKER_info, &bob);
    twin = (struct result){0};
    cr_assert_eq(workers_insist(m.a.workers, 1002, WORKER_control, (struct bytes){empty_map, 1},
                                on_done, &twin, &err),
                 0, "%s", err.text);
    struct monitor_request req = fake_monitor_next(&m);
    int alice_fd = fake_monitor_spawned(&m, &req);
    struct chan_head h = read_head(&m, alice_fd);
    req = fake_monitor_next(&m);
    int bob_fd = fake_monitor_spawned(&m, &req);
    struct chan_head th = read_head(&m, bob_fd);
    cr_expect_eq(th.op, WORKER_control);
    answer(bob_fd, th, empty_map, 1);
    fake_monitor_run_until(&m, &twin.done);
    cr_expect_not(bob.done);
    answer(alice_fd, h, empty_map, 1);
    fake_monitor_run_until(&m, &alice.done);
    answer(bob_fd, read_head(&m, bob_fd), empty_map, 1);
    fake_monitor_run_until(&m, &bob.done);
    close(alice_fd);
    close(bob_fd);
    fake_monitor_stop(&m);
}

/* One call to slurmctld at a time: a user who has many more does not go before the others. */
Test(worker_pool, users_take_turns_at_slurmctld)
{
    struct fake_monitor m;
    struct result alice[2], bob, file;
    fake_monitor_start(&m);
    m.a.conf.max_slurm_calls = 1;
    ask(&m, 1001, WORKER_info, &alice[0]);
    ask(&m, 1001, WORKER_info, &alice[1]);
    ask(&m, 1002, WORKER_info, &bob);
    struct monitor_request req = fake_monitor_next(&m);
    int alice_fd = fake_monitor_spawned(&m, &req);
    struct chan_head h = read_head(&m, alice_fd);
    req = fake_monitor_next(&m);
    cr_assert_eq(req.uid, 1002);
    int bob_fd = fake_monitor_spawned(&m, &req);
    fake_monitor_run_for(&m, 20);
    cr_expect_eq(gate_look(workers_gate(m.a.workers)).calls, 1);
    ask(&m, 1001, WORKER_prepare, &file); /* is none of slurmctld's */
    req = fake_monitor_next(&m);
    int file_fd = fake_monitor_spawned(&m, &req);
    struct chan_head fh = read_head(&m, file_fd);
    answer(alice_fd, h, empty_map, 1);
    fake_monitor_run_until(&m, &alice[0].done);
    struct chan_head bh = read_head(&m, bob_fd);
    cr_expect_not(alice[1].done);
    answer(bob_fd, bh, empty_map, 1);
    fake_monitor_run_until(&m, &bob.done);
    answer(alice_fd, read_head(&m, alice_fd), empty_map, 1);
    fake_monitor_run_until(&m, &alice[1].done);
    cr_expect_eq(gate_look(workers_gate(m.a.workers)).calls, 0);
    answer(file_fd, fh, empty_map, 1);
    fake_monitor_run_until(&m, &file.done);
    close(alice_fd);
    close(bob_fd);
    close(file_fd);
    fake_monitor_stop(&m);
}

/* It is in before its worker dies, and not any more after that. */
Test(worker_pool, a_dead_worker_gives_its_place_back)
{
    struct fake_monitor m;
    struct result alice, bob;
    fake_monitor_start(&m);
    m.a.conf.max_slurm_calls = 1;
    ask(&m, 1001, WORKER_info, &alice);
    struct monitor_request alice_req = fake_monitor_next(&m);
    int alice_fd = fake_monitor_spawned(&m, &alice_req);
    read_head(&m, alice_fd);
    ask(&m, 1002, WORKER_info, &bob);
    struct monitor_request req = fake_monitor_next(&m);
    int bob_fd = fake_monitor_spawned(&m, &req);
    fake_monitor_say(&m, SAY_ENDED, &alice_req, 1, ERR_NONE, "");
    fake_monitor_run_until(&m, &alice.done);
    answer(bob_fd, read_head(&m, bob_fd), empty_map, 1);
    fake_monitor_run_until(&m, &bob.done);
    cr_expect_eq(bob.answer.err.code, ERR_NONE, "%s", bob.answer.err.text);
    close(alice_fd);
    close(bob_fd);
    fake_monitor_stop(&m);
}

/* Everything that waits for a worker of alice's, and the order in which it comes to it. */
Test(worker_pool, readers_of_logs_take_turns_with_the_rest)
{
    enum { POLLS = 6, CALLS = 2 };
    static const enum worker_op expected[] = {WORKER_log,     WORKER_prepare, WORKER_log,
                                              WORKER_prepare, WORKER_log,     WORKER_log,
                                              WORKER_log,     WORKER_log};
    struct fake_monitor m;
    struct result polls[POLLS], calls[CALLS];
    fake_monitor_start(&m);
    for (int i = 0; i < POLLS; i++)
        ask(&m, 1001, WORKER_log, &polls[i]);
    for (int i = 0; i < CALLS; i++)
        ask(&m, 1001, WORKER_prepare, &calls[i]);
    struct monitor_request req = fake_monitor_next(&m);
    int fd = fake_monitor_spawned(&m, &req);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct chan_head h = read_head(&m, fd);
        cr_expect_eq(h.op, (uint32_t)expected[i], "request %zu is %u", i, h.op);
        answer(fd, h, empty_map, 1);
        fake_monitor_run_for(&m, 20);
    }
    for (int i = 0; i < POLLS; i++)
        cr_expect(polls[i].done && polls[i].answer.err.code == ERR_NONE);
    close(fd);
    fake_monitor_stop(&m);
}

Test(worker_pool, too_many_readers_of_logs_are_told_and_the_rest_is_not)
{
    enum { MANY = 2000 };
    struct fake_monitor m;
    static struct result polls[MANY];
    struct result call;
    int refused = 0;
    fake_monitor_start(&m);
    for (int i = 0; i < MANY; i++) {
        struct err err = {0};
        if (workers_ask(m.a.workers, 1001, WORKER_log, (struct bytes){empty_map, 1}, on_done,
                        &polls[i], &err) == 0)
            continue;
        cr_expect_eq(err.code, ERR_BUSY);
        refused++;
    }
    cr_expect_gt(refused, 0);
    cr_expect_lt(refused, MANY);
    ask(&m, 1001, WORKER_prepare, &call);
    fake_monitor_stop(&m);
    cr_expect(call.done, "at the stop");
    cr_expect_eq(call.answer.err.code, ERR_BUSY);
}
