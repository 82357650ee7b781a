/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is tried again leaves room for what is not */
#include "tests/unit/staging_world.h"

TestSuite(staging_runs, .init = set_up, .fini = tear_down, .timeout = 60);

/* A stage worker, whichever job it is for: that one is at hand from then on. */
struct stage_worker {
    int fd;
    uint32_t process;
    uint8_t of;
    struct chan_head head;
};

static struct stage_worker any_worker(enum stage_op op)
{
    struct stage_worker w;
    struct monitor_request req = next_stage();
    w.of = req.request[0];
    job_at_hand(w.of);
    w.fd = start_worker(&req, op, &w.head);
    w.process = m.last_process;
    return w;
}

static void end(const struct stage_worker *w)
{
    close(w->fd);
    fake_monitor_ended(&m, UID, w->process, 0);
    fake_monitor_run_for(&m, 30);
}

static void refuse_release(struct stage_worker *w)
{
    say_error(w->fd, w->head, ERR_BUSY, "slurmdbd has not numbered it yet");
    end(w);
}

static void fetch(uint8_t n)
{
    job_at_hand(n);
    begin(false);
    show("PENDING", 0);
}

/* Its inputs are whole, and slurmctld does not let it go. */
static struct stage_worker is_whole(uint8_t n)
{
    fetch(n);
    struct stage_worker w = any_worker(STAGE_OP_in);
    cr_assert_eq(w.of, n);
    say_done(w.fd, w.head);
    next_task(w.fd, STAGE_OP_release, &w.head);
    return w;
}

Test(staging_runs, jobs_that_are_refused_again_and_again_leave_a_worker_to_others)
{
    struct stage_worker refused[3];
    m.a.conf.stage_workers_per_user = 3;
    for (uint8_t n = 0; n < 3; n++)
        refused[n] = is_whole((uint8_t)(n + 1));
    m.a.conf.stage_workers_per_user = 2;
    for (uint8_t n = 0; n < 3; n++)
        refuse_release(&refused[n]);
    struct stage_worker again = any_worker(STAGE_OP_release);
    fake_monitor_run_for(&m, 2000); /* all three are due */
    cr_expect(fake_monitor_quiet(&m), "a second one is tried again");
    fetch(4);
    struct stage_worker fresh = any_worker(STAGE_OP_in);
    cr_expect_eq(fresh.of, 4);
    refuse_release(&again);
    struct stage_worker next = any_worker(STAGE_OP_release);
    cr_expect_neq(next.of, 4);
    say_done(next.fd, next.head);
    end(&next);
    end(&fresh);
}

/* Where there is one alone, it is for all. */
Test(staging_runs, one_worker_is_for_those_that_are_tried_again_as_well)
{
    m.a.conf.stage_workers_per_user = 1;
    struct stage_worker first = is_whole(1);
    refuse_release(&first);
    struct stage_worker again = any_worker(STAGE_OP_release);
    say_done(again.fd, again.head);
    end(&again);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
}

/* A store that was down, and then four workers that die: that is not five that died. */
Test(staging_runs, refusals_are_no_deaths)
{
    fetch(1);
    struct stage_worker w = any_worker(STAGE_OP_in);
    say_error(w.fd, w.head, ERR_STORE_DOWN, "no answer");
    end(&w);
    for (int i = 0; i < 4; i++) {
        w = any_worker(STAGE_OP_in);
        end(&w);
    }
    cr_expect_eq(phase(), PHASE_STAGING_IN);
    expect_told("tried again soon");
}

/* Two workers would be there for it. */
Test(staging_runs, much_that_is_under_way_keeps_a_users_next_transfer_waiting)
{
    const int64_t gib = 1 << 30;
    m.a.conf.stage_workers_per_user = 2;
    m.a.conf.max_stage_gib_per_user = 2;
    fetch(1);
    struct stage_worker first = any_worker(STAGE_OP_in);
    struct stage_report r = {.files_total = 1, .bytes = gib, .bytes_total = 3 * gib};
    say(first.fd, first.head, &r);
    fetch(2);
    fake_monitor_run_for(&m, 1500);
    cr_expect(fake_monitor_quiet(&m), "it begins although 2 GiB are left");
    expect_told("waiting until your other jobs' data has been moved");
    r.bytes++;
    say(first.fd, first.head, &r);
    struct stage_worker second = any_worker(STAGE_OP_in);
    cr_expect_eq(second.of, 2);
    /* What is not true counts for nothing. */
    r = (struct stage_report){.files_total = 1, .bytes = INT64_MIN, .bytes_total = INT64_MAX};
    say(second.fd, second.head, &r);
    cr_expect_lt(stagers_left_of(m.a.stagers, UID), 2 * gib);
    end(&second);
    end(&first);
}
