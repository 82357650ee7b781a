/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What becomes of submits: the first answer, and every one after it */
#include "tests/unit/requests_world.h"

static const uint8_t two[REQUEST_ID] = {2};
static const uint8_t other[REQUEST_HASH] = {8};

TestSuite(requests, .init = set_up, .fini = tear_down, .timeout = 30);

Test(requests, a_new_one_is_on_disk_before_it_goes)
{
    w.slow = true;
    struct client c = {0};
    requests_submit(w.r, ALICE, one, content, on_turn, &c);
    cr_expect_eq(c.told, 0);
    answer_begin();
    cr_assert_eq(c.told, 1);
    cr_expect_eq(c.turn, REQUEST_GO);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_SUBMITTING);
    cr_expect_eq(c.row.attempt, 1);
    cr_expect_eq(c.row.tag, request_tag(ALICE, one, 1));
    cr_expect_geq(c.row.tag, INT64_C(0x80000000));
    cr_expect_lt(c.row.tag, INT64_C(0xfffffffe));
    cr_expect_eq(requests_busy(w.r), 1);
}

Test(requests, a_journal_that_cannot_be_written_takes_none)
{
    w.broken = true;
    struct client c = ask();
    cr_expect_eq(c.turn, REQUEST_FAIL);
    cr_expect_eq(c.err.code, ERR_INTERNAL);
    cr_expect_null(requests_find(w.r, ALICE, one));
    w.broken = false;
    must_go();
}

Test(requests, an_outcome_is_noted_and_is_the_answer_from_then_on)
{
    submitted(17);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_SUBMITTED);
    cr_expect_eq(on_disk(ALICE, one)->job_id, 17);
    struct client again = ask();
    cr_expect_eq(again.turn, REQUEST_ANSWER);
    cr_expect_eq(again.row.job_id, 17);
    cr_expect_eq(requests_busy(w.r), 0);
}

Test(requests, what_slurm_refused_has_no_job)
{
    struct client c = must_go();
    outcome(&c, REQUEST_REFUSED, 0);
    refusal_appears(17, 1);
    load(true);
    cr_expect_eq(ask().state, REQUEST_REFUSED);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_REFUSED);
}

Test(requests, what_slurm_refuses_has_no_job_either_when_that_is_seen_first)
{
    struct client c = must_go();
    refusal_appears(17, 1);
    outcome(&c, REQUEST_REFUSED, 0);
    load(true);
    cr_expect_eq(ask().state, REQUEST_REFUSED);
}

/* As when the user has as many jobs as may be: its record must not be taken for the job. */
Test(requests, what_slurm_refuses_for_now_has_no_job_and_is_submitted_again)
{
    for (int first = 0; first < 2; first++) {
        struct client c = must_go();
        if (first)
            refusal_appears(17, 1);
        outcome(&c, REQUEST_NOT_SUBMITTED, 0);
        if (!first)
            refusal_appears(17, 1);
        load(true);
        cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
        struct client again = must_go();
        outcome(&again, REQUEST_SUBMITTED, 18);
        appears(18, 2, "PENDING");
        load(true);
        cr_expect_eq(ask().row.job_id, 18);
        tear_down();
        set_up();
    }
}

/* What the journal could not write goes with the next attempt: else that finds the row of before.
 */
Test(requests, an_outcome_that_was_not_noted_goes_with_the_next_attempt)
{
    struct client c = must_go();
    w.broken = true;
    outcome(&c, REQUEST_NOT_SUBMITTED, 0);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_SUBMITTING);
    w.broken = false;
    cr_expect_eq(must_go().row.attempt, 2);
}

Test(requests, a_refusal_says_slurms_own_number_again)
{
    struct client c = must_go();
    outcome(&c, REQUEST_REFUSED, 0);
    cr_expect_eq(ask().row.submit_time, 2000);
    restart();
    cr_expect_eq(ask().row.submit_time, 2000);
}

Test(requests, what_was_called_refused_and_runs_is_its_job)
{
    struct client c = must_go();
    outcome(&c, REQUEST_REFUSED, 0);
    appears(17, 1, "RUNNING");
    struct client again = ask();
    cr_expect_eq(again.state, REQUEST_SUBMITTED);
    cr_expect_eq(again.row.job_id, 17);
}

Test(requests, the_answer_outlives_the_broker_and_memory)
{
    submitted(17);
    appears(17, 1, "COMPLETED");
    load(true);
    cr_expect_eq(state(), REQUEST_ENDED);
    pass(120);
    requests_tick(w.r);
    cr_assert_null(requests_find(w.r, ALICE, one));
    struct client again = ask();
    cr_expect_eq(again.turn, REQUEST_ANSWER);
    cr_expect_eq(again.state, REQUEST_ENDED);
    cr_expect_eq(again.row.job_id, 17);
}

Test(requests, other_content_is_a_conflict_in_memory_and_on_disk)
{
    submitted(17);
    cr_expect_eq(ask_as(ALICE, one, other).err.code, ERR_CONFLICT);
    restart();
    cr_expect_eq(ask_as(ALICE, one, other).err.code, ERR_CONFLICT);
    cr_expect_eq(ask().row.job_id, 17, "and the first one's is still there");
    w.n = 0;
    requests_free(w.r);
    start();
}

Test(requests, other_content_that_comes_first_to_a_new_broker_does_not_count)
{
    struct client c = must_go();
    outcome(&c, REQUEST_NOT_SUBMITTED, 0);
    requests_free(w.r);
    start();
    w.slow = true;
    struct client wrong = {0}, right = {0};
    requests_submit(w.r, ALICE, one, other, on_turn, &wrong);
    requests_submit(w.r, ALICE, one, content, on_turn, &right);
    answer_begin();
    cr_expect_eq(wrong.err.code, ERR_CONFLICT);
    answer_begin();
    cr_expect_eq(right.turn, REQUEST_GO);
}

Test(requests, other_content_that_could_not_be_noted_does_not_count_either)
{
    struct client c = must_go(), wrong = {0}, as_wrong = {0};
    outcome(&c, REQUEST_NOT_SUBMITTED, 0);
    requests_free(w.r);
    start();
    w.slow = true;
    requests_submit(w.r, ALICE, one, other, on_turn, &wrong);
    requests_submit(w.r, ALICE, one, other, on_turn, &as_wrong);
    answer_begin();
    w.broken = true;
    answer_begin();
    cr_expect_eq(as_wrong.turn, REQUEST_FAIL);
    w.broken = w.slow = false;
    cr_expect_eq(ask().turn, REQUEST_GO);
}

Test(requests, another_users_id_means_nothing)
{
    submitted(17);
    struct client bob = ask_as(BOB, one, content);
    cr_expect_eq(bob.turn, REQUEST_GO);
    cr_expect_neq(bob.row.tag, request_tag(ALICE, one, 1));
}

Test(requests, a_second_one_joins_the_first)
{
    struct client first = must_go(), second = {0};
    requests_submit(w.r, ALICE, one, content, on_turn, &second);
    cr_expect_eq(second.told, 0);
    outcome(&first, REQUEST_SUBMITTED, 17);
    cr_expect_eq(second.told, 1);
    cr_expect_eq(second.turn, REQUEST_ANSWER);
    cr_expect_eq(second.row.job_id, 17);
}

Test(requests, one_that_joined_does_not_wait_for_ever)
{
    must_go();
    struct client second = {0};
    requests_submit(w.r, ALICE, one, content, on_turn, &second);
    pass(25);
    requests_tick(w.r);
    cr_expect_eq(second.told, 1);
    cr_expect_eq(second.state, REQUEST_SUBMITTING);
}

Test(requests, a_refusal_is_the_answer_and_is_not_tried_again)
{
    struct client c = must_go();
    outcome(&c, REQUEST_REFUSED, 0);
    struct client again = ask();
    cr_expect_eq(again.turn, REQUEST_ANSWER);
    cr_expect_eq(again.state, REQUEST_REFUSED);
    cr_expect_eq(again.row.code, ERR_INVALID);
    cr_expect_str_eq(again.row.text, "so it went");
    requests_free(w.r);
    start();
    cr_expect_eq(ask().state, REQUEST_REFUSED);
}

Test(requests, what_was_not_submitted_is_tried_again_with_another_tag)
{
    struct client c = must_go();
    outcome(&c, REQUEST_NOT_SUBMITTED, 0);
    struct client again = must_go();
    cr_expect_eq(again.row.attempt, 2);
    cr_expect_neq(again.row.tag, c.row.tag);
    outcome(&again, REQUEST_NOT_SUBMITTED, 0);
    requests_free(w.r);
    start();
    cr_expect_eq(must_go().row.attempt, 3, "by the journal alone");
}

Test(requests, one_that_is_tried_again_at_once_was_noted_before)
{
    struct client c = must_go();
    struct err err = {0};
    err_set(&err, ERR_SLURM_DOWN, "so it went");
    requests_outcome(w.r, c.q, REQUEST_NOT_SUBMITTED, 0, &err, NULL, NULL);
    cr_expect_eq(must_go().row.attempt, 2, "no tick came in between");
}

Test(requests, a_job_that_shows_settles_a_doubt)
{
    struct client c = must_go(), joined = {0};
    struct err err = {0};
    err_set(&err, ERR_IN_DOUBT, "no answer");
    requests_outcome(w.r, c.q, REQUEST_IN_DOUBT, 0, &err, on_turn, &joined);
    cr_expect_eq(joined.told, 0);
    cr_expect_eq(requests_in_doubt(w.r, ALICE), 1);
    cr_expect_eq(requests_in_doubt(w.r, BOB), 0);
    appears(17, 1, "PENDING");
    cr_expect_eq(joined.told, 1);
    cr_expect_eq(joined.row.job_id, 17);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests, a_job_that_showed_before_the_worker_died_settles_it_at_once)
{
    struct client c = must_go();
    appears(17, 1, "RUNNING");
    outcome(&c, REQUEST_IN_DOUBT, 0);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests, a_job_that_is_there_counts_more_than_a_workers_refusal)
{
    struct client c = must_go();
    appears(17, 1, "RUNNING");
    outcome(&c, REQUEST_REFUSED, 0);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests, a_user_has_so_many_and_no_more)
{
    for (uint8_t i = 0; i < MAX; i++)
        cr_assert_eq(ask_as(ALICE, (uint8_t[REQUEST_ID]){[1] = i + 1}, content).turn, REQUEST_GO);
    cr_expect_eq(ask().err.code, ERR_LIMIT);
    cr_expect_eq(ask_as(BOB, one, content).turn, REQUEST_GO);
}

Test(requests, ids_differ_in_every_byte)
{
    submitted(17);
    cr_expect_eq(ask_as(ALICE, two, content).turn, REQUEST_GO);
    uint8_t last[REQUEST_ID] = {1, [15] = 1};
    cr_expect_eq(ask_as(ALICE, last, content).turn, REQUEST_GO);
}

Test(requests, who_waits_when_the_server_stops_is_told_what_is_known)
{
    doubted();
    struct client again = {0};
    requests_submit(w.r, ALICE, one, content, on_turn, &again);
    requests_stop(w.r);
    cr_expect_eq(again.told, 1);
    cr_expect_eq(again.state, REQUEST_IN_DOUBT);
}

Test(requests, a_user_whose_uid_shares_a_bucket_has_his_own_count)
{
    for (uint8_t i = 0; i < MAX; i++)
        cr_assert_eq(ask_as(ALICE, (uint8_t[REQUEST_ID]){[1] = i + 1}, content).turn, REQUEST_GO);
    cr_expect_eq(ask_as(ALICE + 4096, one, content).turn, REQUEST_GO);
}

/* The broker lives on: it has seen the job, and must not forget that before it is on disk. */
Test(requests, an_outcome_that_a_full_disk_swallowed_is_not_forgotten)
{
    load(true);
    struct client c = must_go();
    w.broken = true; /* from now on */
    outcome(&c, REQUEST_SUBMITTED, 17);
    appears(17, 1, "COMPLETED");
    watch_for(200);
    w.broken = false;
    watch_for(200);
    vanishes(17); /* MinJobAge */
    watch_for(200);
    cr_assert_eq(on_disk(ALICE, one)->state, REQUEST_ENDED, "%d on disk",
                 (int)on_disk(ALICE, one)->state);
    cr_expect_eq(ask().row.job_id, 17, "asked again it is the same job");
}

Test(requests, an_outcome_that_a_full_disk_swallowed_makes_no_second_job)
{
    struct client c2 = {0};
    load(true);
    struct client c = must_go();
    w.broken = true;
    outcome(&c, REQUEST_SUBMITTED, 17);
    appears(17, 1, "COMPLETED");
    watch_for(400);
    vanishes(17);
    w.broken = false;
    requests_submit(w.r, ALICE, one, content, on_turn, &c2);
    watch_for(400);
    cr_assert_eq(c2.told, 1);
    struct client c3 = ask();
    cr_expect_neq(c3.turn, REQUEST_GO, "a second job of the same request is made");
    cr_expect_eq(c3.row.job_id, 17);
}

/* What is noted is on its way when something changes, which the disk does not take: the state is
 * the same. */
Test(requests, a_change_while_the_one_before_is_noted_is_not_forgotten)
{
    load(true);
    submitted(17);
    appears(17, 1, "PENDING");
    vanishes(17);
    reboot();
    load(true);
    cr_assert_eq(state(), REQUEST_LOST);
    struct client again = must_go();
    outcome(&again, REQUEST_SUBMITTED, 18);
    appears(18, 2, "COMPLETED");
    requests_tick(w.r);
    w.later = true;
    appears(17, 1, "PENDING"); /* is back: a twin, which the text says */
    requests_tick(w.r);
    cr_assert_eq(w.noted_n, 1);
    vanishes(17);
    appears(17, 1, "RUNNING"); /* has started: another text */
    w.later = false;
    w.broken = true;
    requests_tick(w.r);
    answer_notes();
    appears(17, 1, "COMPLETED");
    w.broken = false;
    watch_for(8000);
    cr_expect_not_null(strstr(on_disk(ALICE, one)->text, "has started"), "on disk is: %s",
                       on_disk(ALICE, one)->text);
}

Test(requests, a_job_that_is_requeued_after_its_end_lives_again)
{
    submitted(17);
    appears(17, 1, "COMPLETED");
    load(true);
    cr_assert_eq(state(), REQUEST_ENDED);
    appears(17, 1, "PENDING");
    load(true);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_SUBMITTED);
    appears(17, 1, "COMPLETED");
    load(true);
    cr_expect_eq(state(), REQUEST_ENDED);
}
