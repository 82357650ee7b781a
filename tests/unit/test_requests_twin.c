/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Jobs that come late, of earlier attempts too, and those that slurmctld forgets */
#include "tests/unit/requests_world.h"

TestSuite(requests_twin, .init = set_up, .fini = tear_down, .timeout = 30);

Test(requests_twin, a_job_that_comes_late_without_a_retry_is_its_job)
{
    load(true);
    doubted();
    watch_for(400);
    cr_assert_eq(state(), REQUEST_NOT_SUBMITTED);
    appears(17, 1, "PENDING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(ask().row.job_id, 17);
    cr_expect_eq(w.cancelled, 0);
}

Test(requests_twin, a_late_twin_is_cancelled_and_reported)
{
    load(true);
    doubted();
    watch_for(400);
    submitted(18);
    appears(18, 2, "PENDING");
    appears(17, 1, "PENDING");
    cr_expect_eq(w.cancelled, 17);
    struct client again = ask();
    cr_expect_eq(again.row.job_id, 18);
    cr_expect(strstr(again.row.text, "job 17"), "%s", again.row.text);
    w.cancelled = 0;
    watch_for(20);
    cr_expect_eq(w.cancelled, 17, "until it has gone");
    w.cancelled = 0;
    appears(17, 1, "COMPLETED");
    watch_for(20);
    cr_expect_eq(w.cancelled, 0);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests_twin, a_late_twin_that_runs_is_left_alone_and_reported)
{
    load(true);
    doubted();
    watch_for(400);
    submitted(18);
    appears(17, 1, "RUNNING");
    watch_for(30);
    cr_expect_eq(w.cancelled, 0);
    struct client again = ask();
    cr_expect_eq(again.row.job_id, 18);
    cr_expect(strstr(again.row.text, "job 17"), "%s", again.row.text);
}

/* Its job is short, and the twin waits on: it must not run unseen. */
static void end_18(void)
{
    load(true);
    doubted();
    watch_for(400);
    submitted(18);
    appears(18, 2, "COMPLETED");
    load(true);
    cr_assert_eq(state(), REQUEST_ENDED);
}

Test(requests_twin, a_late_twin_of_a_request_that_has_ended_is_cancelled_and_reported)
{
    end_18();
    pass(300);
    load(true);
    appears(17, 1, "PENDING");
    cr_expect_eq(w.cancelled, 17);
    requests_tick(w.r);
    cr_expect(strstr(on_disk(ALICE, one)->text, "job 17"), "%s", on_disk(ALICE, one)->text);
    w.cancelled = 0;
    watch_for(20);
    cr_expect_eq(w.cancelled, 17, "until it has gone");
    appears(17, 1, "CANCELLED");
    w.cancelled = 0;
    watch_for(20);
    cr_expect_eq(w.cancelled, 0);
    cr_expect_eq(ask().row.job_id, 18);
    cr_expect_eq(state(), REQUEST_ENDED);
    watch_for(4000);
    cr_expect_null(requests_find(w.r, ALICE, one), "and it is forgotten");
}

Test(requests_twin, a_late_twin_of_a_request_that_has_ended_is_seen_by_the_next_broker)
{
    end_18();
    restart();
    pass(300);
    load(true);
    appears(17, 1, "PENDING");
    cr_expect_eq(w.cancelled, 17);
}

Test(requests_twin, a_late_twin_that_is_being_cancelled_goes_also_when_the_job_ends_meanwhile)
{
    load(true);
    doubted();
    watch_for(400);
    submitted(18);
    appears(17, 1, "PENDING");
    appears(18, 2, "COMPLETED");
    w.cancelled = 0;
    watch_for(20);
    cr_expect_eq(w.cancelled, 17);
}

Test(requests_twin, a_late_twin_of_a_request_that_has_ended_and_runs_is_reported)
{
    end_18();
    appears(17, 1, "RUNNING");
    requests_tick(w.r);
    cr_expect_eq(w.cancelled, 0);
    cr_expect(strstr(on_disk(ALICE, one)->text, "job 17"), "%s", on_disk(ALICE, one)->text);
}

Test(requests_twin, a_late_twin_that_shows_before_the_retry_is_sent_is_its_job)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO);
    appears(17, 1, "PENDING");
    cr_expect_not(requests_send(w.r, c.q), "nothing is sent");
    cr_expect_eq(requests_busy(w.r), 0);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_late_twin_that_nobody_noticed_is_its_job_when_it_is_tried_again)
{
    load(true);
    doubted();
    watch_for(400);
    cr_assert_eq(state(), REQUEST_NOT_SUBMITTED);
    requests_tick(w.r); /* it is on disk */
    requests_free(w.r);
    start(); /* and in the memory of nobody */
    appears(17, 1, "PENDING");
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO);
    cr_expect_not(requests_send(w.r, c.q), "nothing is sent");
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_job_that_comes_after_the_retry_was_refused_is_its_job)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = must_go();
    outcome(&c, REQUEST_REFUSED, 0);
    appears(17, 1, "PENDING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_late_twin_that_shows_while_the_retry_is_under_way_goes)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = must_go();
    appears(17, 1, "PENDING");
    outcome(&c, REQUEST_SUBMITTED, 18);
    cr_expect_eq(w.cancelled, 17);
    cr_expect_eq(ask().row.job_id, 18);
}

Test(requests_twin, a_job_that_was_never_shown_by_an_slurmctld_that_was_killed_is_lost)
{
    load(true);
    submitted(17);
    pass(1);
    load(true);
    cr_expect_eq(state(), REQUEST_SUBMITTED, "it has not been restarted");
    reboot();
    load(true);
    cr_expect_eq(state(), REQUEST_LOST);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_LOST);
    cr_expect_eq(must_go().row.attempt, 2);
}

/* Its answer comes when the next one runs already. */
Test(requests_twin, a_job_of_which_a_killed_slurmctld_told_late_is_lost)
{
    for (int restarts = 0; restarts < 2; restarts++) {
        load(true);
        struct client c = must_go();
        reboot();
        outcome(&c, REQUEST_SUBMITTED, 17);
        pass(1);
        if (restarts)
            restart();
        load(true);
        pass(1);
        load(true);
        cr_expect_eq(state(), REQUEST_LOST, "%d", restarts);
    }
}

Test(requests_twin, a_job_that_was_shown_and_is_forgotten_is_lost)
{
    load(true);
    submitted(17);
    appears(17, 1, "RUNNING");
    load(true);
    reboot();
    vanishes(17);
    load(true);
    cr_expect_eq(state(), REQUEST_LOST);
}

Test(requests_twin, a_job_that_a_backup_controller_does_not_know_is_lost)
{
    load(true);
    submitted(17);
    appears(17, 1, "RUNNING");
    load(true);
    pass(5);
    boot_time -= 100000; /* it had started long before the one that is dead now */
    vanishes(17);
    load(true);
    cr_expect_eq(state(), REQUEST_LOST);
}

Test(requests_twin, a_job_that_a_backup_controller_knows_is_not_lost_later)
{
    load(true);
    submitted(17);
    appears(17, 1, "RUNNING");
    load(true);
    pass(5);
    boot_time -= 100000;
    load(true);
    pass(5);
    vanishes(17);
    load(true);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests_twin, another_job_with_the_same_id_is_not_its_job)
{
    load(true);
    submitted(17);
    appears(17, 1, "PENDING");
    load(true);
    reboot();
    struct jobrec *old = w.table[0];
    w.table[0] = record_of(&(struct job){.job_id = 17,
                                         .id = "17",
                                         .uid = ALICE,
                                         .state = "PENDING",
                                         .phase = "QUEUED",
                                         .submit_time = wall});
    requests_saw(w.r, w.table[0]);
    requests_gone(w.r, old);
    jobrec_unref(old);
    load(true);
    cr_expect_eq(state(), REQUEST_LOST);
}

Test(requests_twin, with_slurmctld_left_alive_nothing_is_lost)
{
    load(true);
    submitted(17);
    appears(17, 1, "RUNNING");
    load(true);
    pass(10);
    vanishes(17);
    load(true);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    watch_for(700);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_ENDED);
}

Test(requests_twin, a_job_that_ended_and_was_forgotten_while_nobody_looked_is_not_lost)
{
    load(true);
    submitted(17);
    appears(17, 1, "RUNNING");
    load(true);
    pass(1000);
    boot_time = wall - 10;
    vanishes(17);
    load(true);
    cr_expect_eq(state(), REQUEST_ENDED);
}

Test(requests_twin, a_lost_job_that_comes_back_is_its_job_again)
{
    load(true);
    submitted(17);
    reboot();
    load(true);
    cr_assert_eq(state(), REQUEST_LOST);
    appears(17, 1, "PENDING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests_twin, a_late_twin_that_ran_while_the_retry_was_in_doubt_is_its_job)
{
    load(true);
    doubted();
    watch_for(400);
    doubted();
    appears(17, 1, "PENDING");
    appears(17, 1, "RUNNING");
    watch_for(400);
    struct client c = ask();
    cr_expect_neq(c.turn, REQUEST_GO, "would run twice");
    cr_expect_eq(c.row.job_id, 17);
}

Test(requests_twin, a_late_twin_that_shows_while_the_retry_is_refused_is_its_job)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = must_go();
    appears(17, 1, "PENDING");
    outcome(&c, REQUEST_REFUSED, 0);
    appears(17, 1, "RUNNING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_late_twin_that_runs_is_not_cancelled_when_the_retry_ends_up_submitted)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = must_go();
    appears(17, 1, "RUNNING");
    outcome(&c, REQUEST_SUBMITTED, 18);
    cr_expect_eq(w.cancelled, 0);
}

Test(requests_twin, a_late_twin_that_ended_while_the_retry_was_in_doubt_is_its_job)
{
    load(true);
    doubted();
    watch_for(400);
    doubted();
    appears(17, 1, "COMPLETED");
    vanishes(17);
    watch_for(400);
    struct client c = ask();
    cr_expect_neq(c.turn, REQUEST_GO, "would run twice");
    cr_expect_eq(c.row.job_id, 17);
    cr_expect_eq(state(), REQUEST_ENDED);
}

Test(requests_twin, of_two_late_jobs_the_second_goes_whichever_attempt_it_is_of)
{
    load(true);
    doubted();
    watch_for(400);
    doubted();
    watch_for(400);
    cr_assert_eq(state(), REQUEST_NOT_SUBMITTED);
    appears(17, 1, "PENDING");
    cr_expect_eq(ask().row.job_id, 17);
    appears(18, 2, "PENDING");
    cr_expect_eq(w.cancelled, 18);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_late_job_of_the_last_attempt_goes_when_an_earlier_one_has_been_taken)
{
    load(true);
    doubted();
    watch_for(400);
    doubted();
    appears(17, 1, "PENDING");
    watch_for(400);
    cr_expect_eq(ask().row.job_id, 17);
    appears(17, 1, "COMPLETED");
    cr_assert_eq(state(), REQUEST_ENDED);
    appears(18, 2, "PENDING");
    cr_expect_eq(w.cancelled, 18);
    appears(18, 2, "RUNNING");
    requests_tick(w.r);
    cr_expect_not_null(strstr(on_disk(ALICE, one)->text, "job 18"), "%s",
                       on_disk(ALICE, one)->text);
}

Test(requests_twin, a_late_twin_that_is_its_job_is_its_job_for_the_next_broker_too)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO);
    appears(17, 1, "PENDING");
    cr_expect_not(requests_send(w.r, c.q), "nothing is sent");
    requests_tick(w.r);
    reboot(); /* slurmctld, which saved it */
    restart();
    appears(17, 1, "PENDING");
    load(true);
    cr_expect_eq(state(), REQUEST_SUBMITTED, "it is there: %d", (int)state());
    watch_for(700);
    cr_expect_eq(state(), REQUEST_SUBMITTED, "it is there: %d", (int)state());
    appears(17, 1, "COMPLETED");
    cr_expect_eq(state(), REQUEST_ENDED, "%d", (int)state());
}

/* ---- jobs that are much older than the retry ---- */

static void appears_of(uint32_t id, int64_t attempt, const char *word, int64_t submit_time)
{
    int64_t now = wall;
    wall = submit_time;
    appears(id, attempt, word);
    wall = now;
}

/* slurmctld starts without its state (StateSaveLocation was not mounted), and later with it.
 * Returns when job 17 was made. */
static int64_t lost_after(int64_t lived_s)
{
    load(true);
    submitted(17);
    int64_t made = wall;
    appears(17, 1, "PENDING");
    watch_for(lived_s);
    boot_time = wall;
    pass(1);
    vanishes(17);
    load(true);
    watch_for(20);
    cr_assert_eq(state(), REQUEST_LOST);
    return made;
}

static void lost_and_back(int64_t lived_s)
{
    int64_t made = lost_after(lived_s);
    submitted(18);
    appears(18, 2, "PENDING");
    watch_for(60);
    boot_time = wall;
    pass(1);
    appears_of(17, 1, "PENDING", made);
    watch_for(30);
    cr_expect_eq(w.cancelled, 17);
    cr_expect(strstr(on_disk(ALICE, one)->text, "job 17"), "%s", on_disk(ALICE, one)->text);
    cr_expect_eq(ask().row.job_id, 18);
}

Test(requests_twin, a_lost_job_that_is_back_after_its_retry_goes_and_is_reported)
{
    lost_and_back(1000);
}

Test(requests_twin, a_lost_job_of_hours_ago_that_is_back_after_its_retry_goes_and_is_reported)
{
    lost_and_back(7200);
}

Test(requests_twin, a_lost_job_of_hours_ago_that_is_back_before_the_retry_is_sent_is_its_job)
{
    int64_t made = lost_after(7200);
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO);
    appears_of(17, 1, "RUNNING", made);
    cr_expect_not(requests_send(w.r, c.q), "nothing is sent");
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_lost_job_of_hours_ago_that_is_back_is_known_to_the_next_broker)
{
    int64_t made = lost_after(7200);
    submitted(18);
    appears(18, 2, "PENDING");
    restart();
    appears(18, 2, "PENDING");
    appears_of(17, 1, "PENDING", made);
    cr_expect_eq(w.cancelled, 17);
}

Test(requests_twin, a_job_of_hours_ago_that_nobody_noticed_is_its_job_when_it_is_tried_again)
{
    load(true);
    doubted();
    watch_for(400);
    watch_for(3700);
    cr_assert_null(requests_find(w.r, ALICE, one));
    appears(17, 1, "RUNNING");
    watch_for(3700);
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO);
    cr_expect_not(requests_send(w.r, c.q), "nothing is sent");
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_twin, a_job_that_is_much_older_than_its_own_attempt_is_anothers)
{
    struct jobrec *old = job(9, 1, "PENDING");
    pass(100000);
    load(true);
    doubted();
    watch_for(400);
    submitted(18);
    appears(18, 2, "PENDING");
    requests_saw(w.r, old);
    jobrec_unref(old);
    watch_for(20);
    cr_expect_eq(w.cancelled, 0);
    cr_expect_eq(ask().row.job_id, 18);
}

/* ---- while the journal fails ---- */

static struct client retry_that_the_journal_fails(const char *word)
{
    struct client c = {0};
    load(true);
    doubted();
    watch_for(400);
    w.slow = true;
    requests_submit(w.r, ALICE, one, content, on_turn, &c);
    appears(17, 1, word);
    if (str_eq(word, "COMPLETED"))
        vanishes(17);
    w.broken = true;
    answer_begin();
    w.broken = w.slow = false;
    cr_assert_eq(c.told, 1);
    return c;
}

Test(requests_twin, a_job_that_shows_while_the_journal_fails_the_retry_is_its_job)
{
    struct client c = retry_that_the_journal_fails("RUNNING");
    cr_expect_eq(c.turn, REQUEST_ANSWER);
    cr_expect_eq(c.row.job_id, 17);
    watch_for(60);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(on_disk(ALICE, one)->job_id, 17);
    cr_expect_eq(ask().row.job_id, 17);
    cr_expect_eq(w.cancelled, 0);
}

Test(requests_twin, a_job_that_came_and_went_while_the_journal_failed_the_retry_is_its_job)
{
    struct client c = retry_that_the_journal_fails("COMPLETED");
    cr_expect_eq(c.row.job_id, 17);
    cr_expect_eq(state(), REQUEST_ENDED);
}
