/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Submits in doubt: what proves that there is no job, and what does not; and who else may say so */
#include "tests/unit/requests_world.h"

TestSuite(requests_doubt, .init = set_up, .fini = tear_down, .timeout = 30);

Test(requests_doubt, a_call_is_over_when_its_worker_has_ended)
{
    load(true);
    doubted();
    w.ending = WORKER;
    watch_for(400);
    cr_expect_eq(state(), REQUEST_IN_DOUBT, "it may send it yet");
    w.ending = 0;
    pass(10);
    load(true);
    pass(10);
    load(true);
    cr_expect_eq(state(), REQUEST_IN_DOUBT, "it may have sent it just now");
    watch_for(400);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* It has ended long ago, as far as this call goes. */
Test(requests_doubt, a_later_worker_that_will_not_end_keeps_no_doubt_open)
{
    load(true);
    doubted();
    w.ending = WORKER + 1;
    watch_for(400);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* Its answer was lost, and slurmctld shows what it was. */
Test(requests_doubt, what_slurm_has_refused_is_not_in_doubt)
{
    load(true);
    doubted();
    refusal_appears(17, 1);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
    struct client again = must_go(); /* and is told why */
    cr_expect_eq(again.row.attempt, 2);
    outcome(&again, REQUEST_REFUSED, 0);
    refusal_appears(18, 2);
    load(true);
    cr_expect_eq(state(), REQUEST_REFUSED);
}

Test(requests_doubt, what_slurm_has_refused_before_the_worker_died_is_not_in_doubt)
{
    load(true);
    struct client c = must_go();
    refusal_appears(17, 1);
    outcome(&c, REQUEST_IN_DOUBT, 0);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* It was taken, and its user has cancelled it; or it failed at once on its node. */
Test(requests_doubt, what_never_began_is_a_job_all_the_same_when_it_was_taken)
{
    static const struct {
        const char *state, *node;
    } ends[] = {{"CANCELLED", NULL}, {"FAILED", "node1"}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        load(true);
        doubted();
        struct job j = {.job_id = 17,
                        .id = "1",
                        .uid = ALICE,
                        .state = ends[i].state,
                        .nodes = ends[i].node,
                        .phase = ends[i].state,
                        .submit_time = wall,
                        .start_time = wall,
                        .end_time = wall,
                        .tag = request_tag(ALICE, one, 1)};
        appears_as(17, record_of(&j));
        cr_expect_eq(ask().row.job_id, 17, "%s", ends[i].state);
        tear_down();
        set_up();
    }
}

Test(requests_doubt, a_doubt_says_so_when_nothing_settles_it_in_time)
{
    doubted();
    struct client again = {0};
    requests_submit(w.r, ALICE, one, content, on_turn, &again);
    cr_expect_eq(again.told, 0);
    pass(25);
    requests_tick(w.r);
    cr_expect_eq(again.turn, REQUEST_ANSWER);
    cr_expect_eq(again.state, REQUEST_IN_DOUBT);
}

Test(requests_doubt, absence_is_no_proof_while_the_call_may_still_arrive)
{
    load(true);
    doubted();
    watch_for(300);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    cr_expect_gt(w.anew, 10, "whole loads are asked for");
    watch_for(30);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_NOT_SUBMITTED);
    cr_expect_eq(must_go().row.attempt, 2);
}

Test(requests_doubt, absence_counts_in_whole_loads_alone)
{
    doubted();
    for (int i = 0; i < 60; i++) {
        pass(10);
        load(false);
    }
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    load(true);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_load_that_began_before_the_call_was_over_says_nothing)
{
    struct requests_load l = {
        .whole = true, .boot_time = boot_time, .min_job_age_ms = 1000000, .rpc_ms = 310000};
    min_job_age_ms = l.min_job_age_ms;
    load(true);
    struct client c = must_go();
    pass(1);
    l.begun_ms = mono;
    l.as_of = wall;
    pass(1);
    outcome(&c, REQUEST_IN_DOUBT, 0);
    pass(400);
    requests_loaded(w.r, &l);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    load(true);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* One that reads its settings anew by starting anew keeps its sockets and what is queued there, a
 * backup is not the primary that hangs with the request unread, and its host's clock may go ahead.
 */
Test(requests_doubt, an_slurmctld_that_booted_after_the_call_proves_nothing_about_its_queue)
{
    load(true);
    doubted();
    reboot();
    load(true);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(300);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(20);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* munge goes by that clock: what is in a queue is good for longer. */
Test(requests_doubt, a_clock_that_was_set_back_lengthens_the_wait)
{
    load(true);
    doubted();
    watch_for(100);
    wall -= 200;
    watch_for(250);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(200);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_clock_that_was_set_back_by_a_day_does_not_make_it_last_a_day)
{
    load(true);
    doubted();
    wall -= 86400;
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_submit_late_in_a_time_without_loads_is_watched)
{
    load(true);
    pass(600);
    doubted();
    watch_for(330);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_clock_that_went_ahead_may_have_made_slurmctld_forget)
{
    load(true);
    doubted();
    watch_for(10);
    wall += 400; /* an ended job is forgotten by that clock */
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_boot_in_the_future_is_a_clock_that_was_set_back)
{
    load(true);
    doubted();
    boot_time = wall + 1000;
    pass(2);
    load(true);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, absence_is_no_proof_when_a_job_may_have_come_and_gone_unseen)
{
    load(true);
    doubted();
    pass(400); /* nobody looked; a short job is forgotten after 300 s */
    boot_time = wall - 10;
    load(true);
    watch_for(600);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, what_a_dead_broker_left_is_in_doubt)
{
    must_go();
    restart();
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    requests_tick(w.r);
    appears(17, 1, "RUNNING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests_doubt, what_a_dead_broker_left_is_found_in_a_table_that_came_before_the_journal)
{
    must_go();
    requests_free(w.r);
    start();
    appears(17, 1, "RUNNING");
    requests_opened(w.r, w.disk, w.n);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_doubt, what_a_dead_broker_left_is_proved_absent_from_its_successors_start_on)
{
    must_go();
    pass(20);
    restart();
    load(true);
    watch_for(300);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(30);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, brokers_that_die_one_after_the_other_do_not_begin_the_wait_anew)
{
    must_go();
    for (int i = 0; i < 40; i++) {
        restart();
        load(true);
        pass(4);
        load(true);
        pass(4);
    }
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_gap_between_brokers_that_may_have_hidden_a_job_is_one)
{
    must_go();
    restart();
    load(true);
    watch_for(100);
    pass(400);
    restart();
    watch_for(600);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, what_was_left_too_long_ago_stays_in_doubt)
{
    must_go();
    pass(1000);
    restart();
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_clock_that_was_set_back_proves_nothing)
{
    must_go();
    wall -= 3000; /* so that it is not known how long nobody looked */
    restart();
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_clock_that_was_set_back_while_no_broker_ran_hides_no_gap)
{
    must_go();
    pass(1000);
    wall -= 900; /* it looks as if 100 s had passed */
    restart();
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    restart();
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT, "the next broker knows it, too");
}

Test(requests_doubt, a_job_that_ended_while_a_clock_was_set_back_and_no_broker_ran_is_not_lost)
{
    load(true);
    submitted(17);
    appears(17, 1, "RUNNING");
    pass(1000);
    wall -= 900;
    boot_time = wall - 10;
    w.jobs--;
    jobrec_unref(w.table[0]);
    restart();
    watch_for(1000);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_ENDED);
}

Test(requests_doubt, a_host_that_starts_anew_has_another_clock_that_proves_as_much)
{
    must_go();
    pass(20);
    mono = 1000;
    restart();
    load(true);
    watch_for(330);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* Its call was over one second ago, whatever the clock says; MinJobAge hides no gap. */
static void clock_goes_ahead(void)
{
    min_job_age_ms = 3600000;
    load(true);
    doubted();
    requests_tick(w.r);
    wall += 400;
    mono += 1000;
}

static void must_wait_the_whole_time(void)
{
    load(true);
    pass(1);
    load(true);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(300);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(30);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_clock_that_went_ahead_while_no_broker_ran_does_not_shorten_the_wait)
{
    clock_goes_ahead();
    restart();
    must_wait_the_whole_time();
}

Test(requests_doubt, a_clock_that_went_ahead_while_no_broker_ran_misleads_no_later_broker)
{
    clock_goes_ahead();
    restart();
    load(true);
    watch_for(30); /* it notes the doubt, by its own clock */
    restart();
    watch_for(270);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(60);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_clock_that_went_ahead_in_a_brokers_life_does_not_mislead_the_next)
{
    clock_goes_ahead();
    load(true);
    watch_for(30);
    restart();
    watch_for(270);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    watch_for(60);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

/* munge takes what is in a queue until that clock has come so far again. */
Test(requests_doubt, a_clock_that_was_set_back_while_no_broker_ran_lengthens_the_wait)
{
    min_job_age_ms = 3600000;
    load(true);
    doubted();
    requests_tick(w.r);
    pass(100);
    wall -= 300;
    restart();
    appears(9, 7, "RUNNING");
    load(true);
    watch_for(400);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_clock_that_was_set_back_hides_no_job)
{
    doubted();
    wall -= 3000;
    appears(17, 1, "RUNNING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

/* Which of the two it is cannot be known: it must not be submitted a second time. */
Test(requests_doubt, a_clock_that_was_set_back_far_before_the_call_lets_nothing_be_proved)
{
    struct client c = must_go();
    wall -= 7200;
    outcome(&c, REQUEST_IN_DOUBT, 0);
    appears(17, 1, "RUNNING");
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_longer_min_job_age_does_not_mend_a_gap)
{
    min_job_age_ms = 60000;
    load(true);
    doubted();
    watch_for(10);
    pass(200); /* it may have come, ended and been forgotten */
    min_job_age_ms = 300000;
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_shorter_min_job_age_counts_from_then_on)
{
    load(true);
    doubted();
    watch_for(10);
    pass(40);
    min_job_age_ms = 60000;
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_job_of_long_ago_with_the_same_tag_is_another)
{
    struct jobrec *old = job(9, 1, "RUNNING");
    pass(100000);
    doubted();
    requests_saw(w.r, old);
    jobrec_unref(old);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, who_may_not_see_all_concludes_nothing)
{
    doubted();
    struct requests_load l = {
        .blind = true, .min_job_age_ms = 300000, .rpc_ms = 310000, .boot_time = BEGIN_S - 100};
    for (int i = 0; i < 100; i++) {
        pass(10);
        l.begun_ms = mono;
        l.as_of = wall;
        requests_loaded(w.r, &l);
    }
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    cr_expect_eq(w.anew, 0);
}

/* ---- doubts that stay ---- */

/* It may have come and gone while nobody looked. */
static void stuck(void)
{
    load(true);
    doubted();
    pass(400);
    load(true);
    pass(10);
    load(true);
    cr_assert_eq(state(), REQUEST_IN_DOUBT);
    cr_assert(request_stuck(requests_find(w.r, ALICE, one)));
}

static enum err_code resolve(int64_t job_id)
{
    struct err err = {0};
    int rc = requests_resolve(w.r, ALICE, one, job_id, &err);
    cr_expect_eq(rc == 0, err.code == ERR_NONE);
    requests_tick(w.r);
    return err.code;
}

Test(requests_doubt, a_user_says_that_there_is_no_job_and_may_submit_again)
{
    stuck();
    cr_expect_eq(resolve(0), ERR_NONE);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_NOT_SUBMITTED);
    cr_expect_eq(resolve(0), ERR_NONE, "said twice");
    cr_expect_eq(must_go().row.attempt, 2);
    cr_expect_eq(resolve(0), ERR_BUSY, "it is under way");
}

Test(requests_doubt, a_user_says_nothing_while_the_call_may_yet_be_carried_out)
{
    load(true);
    doubted();
    watch_for(100);
    cr_expect_eq(resolve(0), ERR_BUSY);
    pass(400);
    cr_expect_eq(resolve(0), ERR_SLURM_DOWN, "what slurmctld has now is not known");
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    load(true);
    cr_expect_eq(resolve(0), ERR_NONE);
}

Test(requests_doubt, a_user_says_nothing_to_a_broker_that_has_just_started)
{
    must_go();
    pass(1000);
    restart();
    cr_expect_eq(resolve(0), ERR_SLURM_DOWN);
    load(true);
    cr_expect_eq(resolve(0), ERR_SLURM_DOWN, "that began before");
    pass(1);
    load(true);
    cr_expect_eq(resolve(0), ERR_BUSY);
    watch_for(400);
    cr_expect_eq(resolve(0), ERR_NONE);
}

Test(requests_doubt, a_user_names_no_job_that_does_not_carry_the_tag)
{
    stuck();
    cr_expect_eq(resolve(17), ERR_CONFLICT);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_user_names_the_job_that_a_clock_made_look_older)
{
    struct client c = must_go();
    wall -= 7200;
    outcome(&c, REQUEST_IN_DOUBT, 0);
    appears(17, 1, "RUNNING");
    watch_for(1200);
    cr_assert_eq(state(), REQUEST_IN_DOUBT);
    cr_expect_eq(resolve(18), ERR_CONFLICT);
    cr_expect_eq(resolve(17), ERR_NONE);
    cr_expect_eq(ask().row.job_id, 17);
    cr_expect_eq(resolve(17), ERR_NONE);
    cr_expect_eq(resolve(0), ERR_CONFLICT, "it is known by now");
    appears(17, 1, "COMPLETED");
    vanishes(17);
    cr_expect_eq(state(), REQUEST_ENDED);
}

Test(requests_doubt, a_users_word_is_for_their_own_request)
{
    struct err err = {0};
    stuck();
    cr_expect_eq(requests_resolve(w.r, BOB, one, 0, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests_doubt, a_job_that_turned_up_counts_more_than_the_users_word)
{
    stuck();
    appears(17, 1, "RUNNING");
    cr_expect_eq(resolve(0), ERR_CONFLICT);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests_doubt, who_waits_for_a_doubt_hears_of_the_users_word)
{
    struct client waits = {0};
    stuck();
    requests_submit(w.r, ALICE, one, content, on_turn, &waits);
    cr_expect_eq(resolve(0), ERR_NONE);
    cr_expect_eq(waits.told, 1);
    cr_expect_eq(waits.state, REQUEST_NOT_SUBMITTED);
}

Test(requests_doubt, a_job_that_slurmdbd_knows_settles_a_doubt_and_is_not_lost_later)
{
    stuck();
    requests_found(w.r, ALICE, one, 17, wall - 400);
    requests_tick(w.r);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_ENDED);
    cr_expect_eq(on_disk(ALICE, one)->job_id, 17);
    reboot();
    watch_for(100);
    cr_expect_eq(ask().row.job_id, 17);
    cr_expect_eq(resolve(0), ERR_CONFLICT);
    requests_found(w.r, ALICE, one, 18, wall);
    cr_expect_eq(ask().row.job_id, 17, "it is not in doubt any more");
}

/* ---- what slurmctld refuses, and what looks like it ---- */

static struct job bare_job(uint32_t id, const char *state)
{
    return (struct job){.job_id = id,
                        .id = "1",
                        .uid = ALICE,
                        .state = state,
                        .phase = state,
                        .submit_time = wall,
                        .start_time = wall,
                        .end_time = wall,
                        .tag = request_tag(ALICE, one, 1)};
}

/* slurmctld cancels the components that it took of a heterogeneous job which it then refuses. */
static void cancelled_component(uint32_t id)
{
    struct job j = bare_job(id, "CANCELLED");
    j.het_job_id = id;
    appears_as(id, record_of(&j));
}

Test(requests_doubt, components_of_a_refused_het_job_are_no_job)
{
    struct client c = must_go();
    outcome(&c, REQUEST_REFUSED, 0);
    cancelled_component(17);
    load(true);
    cr_expect_eq(ask().state, REQUEST_REFUSED, "is %d", (int)ask().state);
}

Test(requests_doubt, components_seen_before_the_refusal_are_no_job)
{
    struct client c = must_go();
    cancelled_component(17);
    outcome(&c, REQUEST_REFUSED, 0);
    load(true);
    cr_expect_eq(ask().state, REQUEST_REFUSED, "is %d", (int)ask().state);
}

/* Refused for now so many times; the next broker sees those of the first, and it is sent again. */
static void refused_for_now(int times)
{
    for (int i = 0; i < times; i++) {
        struct client c = must_go();
        outcome(&c, REQUEST_NOT_SUBMITTED, 0);
    }
    restart();
    cancelled_component(17);
    load(true);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED, "is %d", (int)state());
    must_go();
}

Test(requests_doubt, components_of_a_het_job_that_was_refused_before_are_no_job)
{
    refused_for_now(1);
    cancelled_component(17);
    load(true);
    cr_expect_eq(state(), REQUEST_SUBMITTING, "nor of the next attempt");
}

Test(requests_doubt, components_of_earlier_attempts_are_no_job)
{
    refused_for_now(2);
}

/* Without an answer they may as well be a job that was cancelled before it began. */
Test(requests_doubt, components_without_an_answer_are_the_job)
{
    load(true);
    doubted();
    cancelled_component(17);
    cr_expect_eq(ask().state, REQUEST_SUBMITTED, "is %d", (int)state());
}

Test(requests_doubt, an_older_refusal_of_the_same_id_settles_nothing)
{
    load(true);
    struct job j = bare_job(17, "FAILED");
    j.submit_time = j.start_time = j.end_time = wall - 200;
    doubted();
    appears_as(17, record_of(&j));
    cr_expect_eq(state(), REQUEST_IN_DOUBT, "is %d", (int)state());
}

/* Requeued; or found impossible by the scheduler, some time after it was taken. */
Test(requests_doubt, a_job_that_failed_without_a_node_is_one)
{
    load(true);
    struct job requeued = bare_job(17, "FAILED"), later = bare_job(17, "FAILED");
    requeued.restarts = 1;
    later.start_time = later.end_time = wall + 5;
    cr_expect_not(jobrec_is_refusal(record_of(&requeued)));
    doubted();
    appears_as(17, record_of(&later));
    cr_expect_eq(ask().state, REQUEST_ENDED, "is %d", (int)state());
}
