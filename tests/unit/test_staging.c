/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Staged jobs' states */
#include "tests/unit/staging_world.h"

TestSuite(staging_states, .init = set_up, .fini = tear_down, .timeout = 60);

Test(staging_states, a_job_goes_its_way)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    cr_expect_eq(phase(), PHASE_STAGING_IN);
    int fd = worker(STAGE_OP_in, &h);
    say(fd, h, &(struct stage_report){.files_total = 2, .bytes = 10, .bytes_total = 20});
    expect_told("inputs: 0 of 2 files, 10 of 20 bytes");
    cr_expect_eq(state_on_disk(), STAGING_FETCHING);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASING, "on disk before it is released");
    say_done(fd, h);
    ended(fd);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    show("PENDING", 100);
    cr_expect_eq(phase(), PHASE_QUEUED);
    show("RUNNING", 100);
    cr_expect_eq(phase(), PHASE_RUNNING);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    cr_expect_not(table_get(m.a.table, JOB)->ended);
    fd = worker(STAGE_OP_out, &h);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    ended(fd);
}

/* It is Slurm's, and nobody is asked. */
static void let_go(void)
{
    struct chan_head h;
    begin(false);
    boot_time = clock_now() - 1000;
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    say_done(fd, h);
    ended(fd);
    cr_assert_eq(state_on_disk(), STAGING_RELEASED);
    show("PENDING", 100);
}

Test(staging_states, a_release_that_a_killed_slurmctld_forgot_is_done_again)
{
    struct chan_head h;
    let_go();
    boot_time = clock_now() + 1000; /* however long it was down */
    show("PENDING", 0);
    int fd = worker(STAGE_OP_release, &h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASING);
    say_done(fd, h);
    ended(fd);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    show("RUNNING", 100);
    cr_expect_eq(phase(), PHASE_RUNNING);
}

Test(staging_states, a_hold_stays_when_a_new_slurmctld_has_shown_the_release)
{
    let_go();
    boot_time = clock_now() + 3;
    show("PENDING", 100);
    fake_monitor_run_for(&m, 300);
    as_of += 7200;
    show("PENDING", 100);
    show("PENDING", 0);
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m), "its user's hold is undone");
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
}

Test(staging_states, a_hold_of_its_users_while_no_broker_ran_stays)
{
    let_go();
    end_broker();
    begin_broker();
    boot_time = clock_now() + 3600;
    show("PENDING", 0);
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m), "its user's hold is undone");
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
}

Test(staging_states, a_hold_of_its_users_after_the_release_stays)
{
    let_go();
    show("PENDING", 0);
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m));
    as_of += 100;
    show("PENDING", 0); /* slurmctld has lived for so long since: it has saved the release */
    boot_time = as_of + 5;
    show("PENDING", 0);
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m));
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
}

Test(staging_states, a_requeued_job_that_ends_before_the_next_look_has_its_outputs_stored)
{
    struct chan_head h;
    begin(true);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    ended(fd);
    show("RUNNING", 100);
    for (int run = 0; run < 2; run++) {
        show("COMPLETED", 100);
        fd = worker(STAGE_OP_out, &h);
        cr_expect_eq(phase(), PHASE_STAGING_OUT);
        say_done(fd, h);
        cr_expect_eq(phase(), PHASE_SUCCEEDED);
        expect_ask(ASK_REVOKE);
        ended(fd);
        made += 5; /* when it was requeued */
    }
    show("FAILED", 100); /* nothing is due then */
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    made += 5;
    show("COMPLETED", 100);
    ended(worker(STAGE_OP_out, &h));
}

Test(staging_states, a_job_that_is_not_held_is_dropped)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 100);
    int fd = worker(STAGE_OP_cancel, &h);
    say_done(fd, h);
    show("CANCELLED", 100);
    cr_expect_eq(phase(), PHASE_FAILED);
    expect_told("job_submit plugin");
    expect_ask(ASK_REVOKE);
    ended(fd);
}

Test(staging_states, its_users_hold_stays)
{
    struct chan_head h;
    begin(true);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_QUEUED);
    expect_told("held, as its user wants it");
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_expect(poll(&p, 1, 1000) == 1 &&
                  chan_read(fd, &h, &(uint8_t *){NULL}, &(struct err){0}) == 0,
              "it is let go, not asked for a release");
    ended(fd);
}

Test(staging_states, a_release_by_hand_is_told_and_not_done_again)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    show("RUNNING", 100);
    cr_expect_eq(phase(), PHASE_RUNNING);
    expect_told("released by hand before its inputs were there");
    say_done(fd, h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    ended(fd);
}

Test(staging_states, one_released_by_hand_is_not_ended_when_its_inputs_fail)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    show("RUNNING", 100);
    expect_told("released by hand before its inputs were there");
    say_error(fd, h, ERR_NOT_FOUND, "input file:///store/in: nothing");
    cr_expect_eq(state_on_disk(), STAGING_RELEASED, "it is its user's");
    cr_expect_eq(phase(), PHASE_RUNNING);
    expect_told("file:///store/in: nothing; it was released by hand");
    ended(fd);
    show("COMPLETED", 100);
    fd = worker(STAGE_OP_out, &h);
    say_done(fd, h);
    expect_told("outputs: 1 file; it was released by hand before its inputs were there");
    ended(fd);
}

/* Tasks 1 to n, the first ones released. */
static void show_tasks(int n, int released)
{
    AUTO(arena_done) struct arena arena = {0};
    struct bytes jobs[4];
    for (int i = 0; i < n; i++) {
        char task[16];
        snprintf(task, sizeof task, "%d", i + 1);
        const struct job j = {
            .id = arena_printf(&arena, "12_%d", i + 1),
            .job_id = JOB + n - 1 - i,
            .array_job_id = JOB,
            .array_task = task,
            .uid = UID,
            .state = "PENDING",
            .priority = i < released ? 100 : 0,
            .submit_time = made,
            .tag = request_tag(UID, id, 1),
        };
        jobs[i] = msg_pack_arena(&job_type, &j, &arena);
    }
    report(&(struct watch_report){.jobs = {jobs, (size_t)n},
                                  .last = true,
                                  .as_of = ++as_of,
                                  .sees_all = true,
                                  .cluster = "c",
                                  .slurm_version = "1"});
}

Test(staging_states, one_task_released_by_hand_leaves_the_others_to_us)
{
    struct chan_head h;
    begin(false);
    show_tasks(3, 0);
    int fd = worker(STAGE_OP_in, &h);
    show_tasks(3, 1);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    say_done(fd, h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    expect_told("released by hand before they were there");
    ended(fd);
}

static enum staged_ask asked(enum job_verb verb, const char *text)
{
    return staging_ask(m.a.staging, UID, verb, text, 0);
}

Test(staging_states, a_hold_while_inputs_are_fetched_stays)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    cr_expect_eq(asked(JOB_VERB_hold, "12"), STAGED_HELD);
    cr_expect_eq(staging_ask(m.a.staging, UID + 1, JOB_VERB_release, "12", 0), STAGED_NOT);
    cr_expect_eq(staging_ask(m.a.staging, UID, JOB_VERB_release, "12", made - 9), STAGED_NOT);
    cr_expect_eq(asked(JOB_VERB_release, "12_1"), STAGED_TASK);
    expect_told("held then, as its user wants it");
    end_broker(); /* another one knows it */
    close(fd);
    begin_broker();
    show("PENDING", 0);
    fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    expect_told("held, as its user wants it");
    cr_expect_eq(asked(JOB_VERB_release, "12"), STAGED_NOT, "Slurm does it now");
    ended(fd);
}

Test(staging_states, a_release_while_inputs_are_fetched_waits_for_them)
{
    struct chan_head h;
    begin(true);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    cr_expect_eq(asked(JOB_VERB_release, "12"), STAGED_FREE);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    cr_expect_eq(asked(JOB_VERB_hold, "12"), STAGED_RELEASING);
    say_done(fd, h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    ended(fd);
}

Test(staging_states, inputs_that_are_not_there_end_it)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_error(fd, h, ERR_NOT_FOUND, "input file:///store/in: nothing");
    ended(fd);
    fd = worker(STAGE_OP_cancel, &h);
    say_done(fd, h);
    show("CANCELLED", 0);
    cr_expect_eq(phase(), PHASE_FAILED);
    expect_told("file:///store/in: nothing");
    ended(fd);
}

Test(staging_states, a_store_that_is_down_is_tried_again)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_error(fd, h, ERR_STORE_DOWN, "no answer");
    expect_told("tried again soon: no answer");
    ended(fd);
    fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    ended(fd);
}

Test(staging_states, workers_that_die_are_followed_by_four_more)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    for (int i = 0; i < 5; i++)
        ended(worker(STAGE_OP_in, &h));
    int fd = worker(STAGE_OP_cancel, &h);
    expect_told("5 stage workers ended in the middle of it");
    ended(fd);
}

Test(staging_states, a_required_output_that_is_not_there_fails_it)
{
    struct chan_head h;
    begin(true);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    ended(fd);
    show("RUNNING", 100);
    show("COMPLETED", 100);
    fd = worker(STAGE_OP_out, &h);
    say_error(fd, h, ERR_NOT_FOUND, "required output o is not there");
    cr_expect_eq(phase(), PHASE_FAILED);
    expect_told("required output o is not there");
    ended(fd);
    end_broker(); /* another one knows it still */
    begin_broker();
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_FAILED);
}

Test(staging_states, without_a_grant_nothing_is_submitted)
{
    AUTO(arena_done) struct arena arena = {0};
    struct begun b = {0};
    staging_begin(m.a.staging, UID, id, 1, manifest(&arena, false), on_begun, &b);
    struct monitor_request req = fake_monitor_next(&m);
    fake_monitor_say(&m, SAY_GRANTED, &req, 0, ERR_DENIED, "has not authenticated itself lately");
    fake_monitor_run_until(&m, &b.done);
    cr_expect_eq(b.err.code, ERR_DENIED);
    cr_expect_not_null(strstr(b.err.text, "lately"));
    end_broker();
    begin_broker();
    show("PENDING", 0);
    cr_expect_eq(phase(), PHASE_QUEUED, "nobody knows of it");
}

/* ---- jobs that come late ---- */

static struct request *turn_q;

static void on_turn(void *arg, enum request_turn turn, struct request *q, const struct err *err)
{
    bool *done = arg;
    (void)err;
    cr_assert_eq(turn, REQUEST_GO);
    turn_q = q;
    *done = true;
}

static void take_turn(void)
{
    bool done = false;
    requests_submit(m.a.requests, UID, id, (uint8_t[REQUEST_HASH]){1}, on_turn, &done);
    fake_monitor_run_until(&m, &done);
}

/* The request's next attempt, as far as its staging; denied: there is no grant for it. */
static void attempt(int64_t number, bool denied)
{
    AUTO(arena_done) struct arena arena = {0};
    struct begun b = {0};
    take_turn();
    staging_begin(m.a.staging, UID, id, number, manifest(&arena, false), on_begun, &b);
    struct monitor_request req = fake_monitor_next(&m);
    cr_assert_eq(req.ask, ASK_GRANT, "%u", req.ask);
    fake_monitor_say(&m, SAY_GRANTED, &req, 0, denied ? ERR_DENIED : ERR_NONE, "no lease");
    fake_monitor_run_until(&m, &b.done);
    cr_expect_eq(b.err.code, denied ? ERR_DENIED : ERR_NONE);
}

/* What became of it; told: op_submit.c was there, and said so to staging.c. */
static void say_no_job(bool told)
{
    struct err no = {0};
    err_set(&no, ERR_SLURM_DOWN, "nothing was done");
    requests_outcome(m.a.requests, turn_q, REQUEST_NOT_SUBMITTED, 0, &no, NULL, NULL);
    if (told)
        staging_submitted(m.a.staging, UID, id, 0);
}

static void had_no_job(bool told)
{
    say_no_job(told);
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m), "the grant is kept");
}

static void expect_goes_its_way(void)
{
    struct chan_head h;
    int fd = worker(STAGE_OP_in, &h);
    cr_expect_eq(phase(), PHASE_STAGING_IN);
    cr_expect_eq(state_on_disk(), STAGING_FETCHING);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    say_done(fd, h);
    ended(fd);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
}

/* The first answer was a certain one. */
Test(staging_states, a_submit_that_made_no_job_is_forgotten)
{
    begin_granted(false);
    staging_submitted(m.a.staging, UID, id, 0);
    expect_ask(ASK_REVOKE);
    fake_monitor_run_for(&m, 300);
    cr_expect(fake_monitor_quiet(&m));
    show("PENDING", 0);
    cr_expect_eq(phase(), PHASE_QUEUED, "nobody knows of it");
}

/* It was in doubt, and is looked up: slurmctld may have kept it for longer than anybody waits. */
Test(staging_states, a_job_that_comes_late_gets_its_inputs)
{
    attempt(1, false);
    had_no_job(false);
    show("PENDING", 0);
    expect_goes_its_way();
}

Test(staging_states, a_job_that_comes_late_gets_them_from_another_broker)
{
    attempt(1, false);
    had_no_job(false);
    end_broker();
    begin_broker();
    fake_monitor_run_for(&m, 600);
    show("PENDING", 0);
    expect_goes_its_way();
}

Test(staging_states, a_late_job_is_the_retrys_that_has_not_been_sent)
{
    attempt(1, false);
    had_no_job(false);
    take_turn();
    show("PENDING", 0);
    cr_expect_not(requests_send(m.a.requests, turn_q));
    expect_goes_its_way();
}

Test(staging_states, a_late_job_of_the_first_attempt_is_that_of_the_second)
{
    attempt(1, false);
    had_no_job(false);
    attempt(2, false);
    show("PENDING", 0); /* with the first one's tag */
    say_no_job(true);
    expect_goes_its_way();
}

Test(staging_states, a_late_job_comes_after_a_retry_that_was_not_granted)
{
    attempt(1, false);
    had_no_job(false);
    attempt(2, true);
    had_no_job(true);
    show("PENDING", 0);
    expect_goes_its_way();
}

/* ---- another broker ---- */

Test(staging_states, another_broker_fetches_again)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    end_broker();
    close(fd);
    begin_broker();
    show("PENDING", 0);
    cr_expect_eq(phase(), PHASE_STAGING_IN);
    fd = worker(STAGE_OP_in, &h);
    ended(fd);
}

Test(staging_states, another_broker_releases_what_was_whole)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    end_broker();
    close(fd);
    begin_broker();
    show("PENDING", 0);
    cr_expect_eq(phase(), PHASE_STAGING_IN);
    fd = worker(STAGE_OP_release, &h);
    ended(fd);
}

Test(staging_states, another_broker_does_not_release_what_was_released)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    end_broker(); /* and the release was done all the same */
    close(fd);
    begin_broker();
    show("RUNNING", 100);
    cr_expect_eq(phase(), PHASE_RUNNING);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m));
}

/* Its journal may be an old copy: nothing is fetched for a job that has long gone. */
Test(staging_states, another_broker_fetches_nothing_for_a_job_that_has_gone)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    end_broker();
    close(fd);
    begin_broker();
    fake_monitor_run_for(&m, 600);
    cr_expect(fake_monitor_quiet(&m), "slurmctld has not shown it");
    as_of += 10;
    show_nothing();
    fd = worker(STAGE_OP_sweep, &h);
    say_done(fd, h);
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    ended(fd);
}

Test(staging_states, a_submit_whose_request_is_void_is_not_under_way_for_ever)
{
    struct disk d = {0};
    begin_granted(false);
    end_broker();
    begin_broker(); /* no request of that id is in its journal */
    fake_monitor_run_for(&m, 800);
    journal_staging_open(m.a.journal, on_rows, &d);
    fake_monitor_run_until(&m, &d.done);
    cr_expect_eq(d.state, STAGING_ABSENT, "%d", (int)d.state);
    show("PENDING", 0); /* it made its job */
    expect_goes_its_way();
}

/* Slurm has forgotten the job, first with one broker, then while none runs. */
Test(staging_states, an_end_is_told_when_slurmctld_has_forgotten_it)
{
    struct chan_head h;
    begin(true);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    ended(fd);
    show("RUNNING", 100);
    show("COMPLETED", 100);
    fd = worker(STAGE_OP_out, &h);
    show_nothing();
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    end_broker();
    close(fd);
    begin_broker();
    show_nothing();
    fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(phase(), PHASE_STAGING_OUT, "it is not lost");
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    ended(fd);
}

Test(staging_states, a_cancel_while_its_inputs_are_fetched_stops_that)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    show("CANCELLED", 0);
    cr_expect_eq(phase(), PHASE_CANCELLED);
    uint8_t *body = NULL;
    cr_expect_eq(chan_read(fd, &h, &body, &(struct err){0}), 0, "the worker's line is closed");
    ended(fd);
    expect_ask(ASK_REVOKE);
}

Test(staging_states, what_a_killed_worker_left_of_a_cancelled_job_goes)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    show("CANCELLED", 0);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    fake_monitor_run_for(&m, 400);
    cr_expect(fake_monitor_quiet(&m), "its grant stays for as long as half a file may be there");
    close(fd);
    show_nothing(); /* and so does what is known of it */
    fake_monitor_ended(&m, UID, m.last_process, SIGKILL);
    fd = worker(STAGE_OP_sweep, &h);
    say_done(fd, h);
    expect_ask(ASK_REVOKE);
    ended(fd);
}

/* ---- ends that nobody saw ---- */

/* As slurmdbd has it. */
static enum phase told_by_accounting(void)
{
    struct err err = {0};
    const struct job j = {.id = "12",
                          .job_id = JOB,
                          .uid = UID,
                          .state = "COMPLETED",
                          .phase = "SUCCEEDED",
                          .submit_time = made};
    struct jobrec *rec = staging_tell(m.a.staging, jobrec_of(&j, &err));
    cr_assert_not_null(rec);
    enum phase phase = rec->phase;
    jobrec_unref(rec);
    return phase;
}

Test(staging_states, an_end_while_no_broker_ran_is_over_and_never_told_as_whole)
{
    run_it();
    end_broker();
    begin_broker();
    show_nothing();
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    cr_expect_eq(told_by_accounting(), PHASE_FAILED);
    for (int i = 0; i < 2; i++) { /* nor by any other broker */
        end_broker();
        begin_broker();
        show_nothing();
        fake_monitor_run_for(&m, 300);
        cr_expect_eq(told_by_accounting(), PHASE_FAILED);
    }
}

Test(staging_states, an_end_that_no_load_showed_is_over_and_never_told_as_whole)
{
    run_it();
    show_nothing();
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    cr_expect_eq(told_by_accounting(), PHASE_FAILED);
}

/* As a stage worker that has asked slurmdbd. */
static void say_end(int fd, struct chan_head head, int64_t task, const char *phase, bool ran)
{
    AUTO(arena_done) struct arena arena = {0};
    const struct stage_end end = {
        .task = task, .job_id = JOB, .submit_time = made, .phase = phase, .ran = ran};
    struct bytes ends[] = {msg_pack_arena(&stage_end_type, &end, &arena)};
    say(fd, head, &(struct stage_report){.done = true, .ends = {ends, phase ? 1 : 0}});
}

static int lose_it(struct chan_head *ret)
{
    accounting = true;
    run_it();
    end_broker();
    begin_broker();
    show_nothing();
    return worker(STAGE_OP_ended, ret);
}

Test(staging_states, an_end_that_slurmdbd_knows_has_its_outputs_stored)
{
    struct chan_head h;
    int fd = lose_it(&h);
    cr_expect_eq(told_by_accounting(), PHASE_STAGING_OUT);
    end_broker(); /* in the middle of it */
    close(fd);
    begin_broker();
    show_nothing();
    fd = worker(STAGE_OP_ended, &h);
    say_end(fd, h, -1, "SUCCEEDED", true);
    ended(fd);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED, "its grant stays");
    fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(told_by_accounting(), PHASE_STAGING_OUT);
    say_done(fd, h);
    cr_expect_eq(told_by_accounting(), PHASE_SUCCEEDED);
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    ended(fd);
}

Test(staging_states, a_failure_that_slurmdbd_knows_has_nothing_stored_that_is_not_due)
{
    struct chan_head h;
    int fd = lose_it(&h);
    say_end(fd, h, -1, "FAILED", true);
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    ended(fd);
}

Test(staging_states, an_end_that_slurmdbd_does_not_tell_is_never_told_as_whole)
{
    struct chan_head h;
    int fd = lose_it(&h);
    say_error(fd, h, ERR_BUSY, "slurmdbd does not answer");
    cr_expect_eq(told_by_accounting(), PHASE_STAGING_OUT, "it is asked again");
    ended(fd);
    fd = worker(STAGE_OP_ended, &h);
    say_error(fd, h, ERR_UNSUPPORTED, "there is none");
    expect_ask(ASK_REVOKE);
    cr_expect_eq(told_by_accounting(), PHASE_FAILED);
    ended(fd);
}

Test(staging_states, a_missing_output_is_remembered_by_other_brokers)
{
    struct chan_head h;
    run_it();
    show("COMPLETED", 100);
    int fd = worker(STAGE_OP_out, &h);
    say_error(fd, h, ERR_NOT_FOUND, "required output o is not there");
    cr_expect_eq(phase(), PHASE_FAILED);
    ended(fd);
    show_nothing();
    cr_expect_eq(told_by_accounting(), PHASE_FAILED);
    end_broker();
    begin_broker();
    show_nothing();
    fake_monitor_run_for(&m, 300);
    cr_expect_eq(told_by_accounting(), PHASE_FAILED);
}

/* It was in doubt until slurmdbd had its job, which slurmctld never showed. */
Test(staging_states, a_job_that_ended_before_its_answer_was_noted_is_looked_for)
{
    struct chan_head h;
    struct err doubt = {0};
    accounting = true;
    attempt(1, false);
    err_set(&doubt, ERR_IN_DOUBT, "no answer");
    requests_outcome(m.a.requests, turn_q, REQUEST_IN_DOUBT, 0, &doubt, NULL, NULL);
    requests_found(m.a.requests, UID, id, JOB, made);
    show_nothing();
    int fd = worker(STAGE_OP_ended, &h);
    say_end(fd, h, -1, "SUCCEEDED", true);
    ended(fd);
    fd = worker(STAGE_OP_out, &h);
    ended(fd);
}

Test(staging_states, a_job_that_ended_before_anybody_looked_has_its_outputs_stored)
{
    struct chan_head h;
    begin(false);
    show("COMPLETED", 100); /* and its hold was lifted */
    int fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    ended(fd);
}

Test(staging_states, a_job_that_went_while_no_broker_fetched_is_over)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    end_broker();
    close(fd);
    begin_broker();
    show_nothing();
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    fd = worker(STAGE_OP_sweep, &h);
    ended(fd);
}

Test(staging_states, nothing_lasts_longer_than_its_grant)
{
    run_it();
    m.a.conf.stage_days = -1;
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    cr_expect_eq(phase(), PHASE_RUNNING);
    expect_told("stage_days");
}

Test(staging_states, outputs_of_one_that_ran_without_its_inputs_are_stored)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    show("RUNNING", 100);
    show("COMPLETED", 100);
    ended(fd);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED, "it keeps its grant");
    fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    expect_ask(ASK_REVOKE);
    ended(fd);
}

/* ---- large arrays ---- */

static struct jobrec *task_record(uint32_t task)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    const struct job j = {
        .id = arena_printf(&arena, "%d_%u", JOB, task),
        .job_id = JOB + 1 + task,
        .array_job_id = JOB,
        .array_task = arena_printf(&arena, "%u", task),
        .uid = UID,
        .state = "COMPLETED",
        .phase = "SUCCEEDED",
        .nodes = "node1",
        .submit_time = made,
        .tag = request_tag(UID, id, 1),
    };
    struct jobrec *rec = jobrec_of(&j, &err);
    cr_assert_not_null(rec, "%s", err.text);
    return rec;
}

static enum phase told_of(uint32_t task)
{
    struct jobrec *rec = staging_tell(m.a.staging, task_record(task));
    enum phase phase = rec->phase;
    jobrec_unref(rec);
    return phase;
}

/* In whatever order they end. */
Test(staging_states, each_of_ten_thousand_tasks_is_found)
{
    enum { TASKS = 10000, STEP = 7919 };
    AUTO(arena_done) struct arena arena = {0};
    struct begun b = {0};
    const struct stage_output out = {.from = "o", .to = "file:///store/%a", .required = true};
    struct bytes outputs[] = {msg_pack_arena(&stage_output_type, &out, &arena)};
    const struct stage_manifest all = {.outputs = {outputs, 1}, .work_dir = "/w", .array = true};
    staging_begin(m.a.staging, UID, id, 1, msg_pack_arena(&stage_manifest_type, &all, &arena),
                  on_begun, &b);
    struct monitor_request req = fake_monitor_next(&m);
    fake_monitor_say(&m, SAY_GRANTED, &req, 0, ERR_NONE, "");
    fake_monitor_run_until(&m, &b.done);
    staging_submitted(m.a.staging, UID, id, JOB);
    for (uint32_t i = 0; i < TASKS - 1; i++) {
        struct jobrec *rec = task_record(i * STEP % TASKS);
        staging_saw(m.a.staging, rec);
        jobrec_unref(rec);
    }
    const uint32_t last = (TASKS - 1) * STEP % TASKS;
    for (uint32_t i = 0; i < TASKS; i++)
        cr_assert_eq(told_of(i), i == last ? PHASE_SUCCEEDED : PHASE_STAGING_OUT, "%u", i);
}
