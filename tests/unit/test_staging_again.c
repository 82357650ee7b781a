/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What must not be lost, or told too early: ends that are shown before the journal can be read, and
 * what a slurmctld that was killed has forgotten */
#include "agentd/events.h"
#include "tests/unit/staging_world.h"

TestSuite(staging_again, .init = set_up, .fini = tear_down, .timeout = 60);

static void run_and_store_it(void)
{
    struct chan_head h;
    run_it();
    show("COMPLETED", 100);
    int fd = worker(STAGE_OP_out, &h);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    expect_ask(ASK_REVOKE);
    ended(fd);
}

struct told {
    size_t ends;
    bool whole;     /* one of them SUCCEEDED */
    bool cancelled; /* or CANCELLED */
};

static int count_end(void *arg, uint64_t seq, const struct event_entry *ev)
{
    struct told *t = arg;
    (void)seq;
    if (ev->what == EVENT_END || ev->what == EVENT_LOST) {
        t->ends++;
        t->whole |= ev->rec->phase == PHASE_SUCCEEDED;
        t->cancelled |= ev->rec->phase == PHASE_CANCELLED;
    }
    return 0;
}

static struct told ends_told(void)
{
    struct told t = {0};
    live_flush(m.a.live);
    fake_monitor_run_for(&m, 500);
    events_each(live_events(m.a.live), 0, count_end, &t);
    return t;
}

static void move_away(char away[static SCRATCH_PATH + 8])
{
    end_broker();
    snprintf(away, SCRATCH_PATH + 8, "%s.away", dir);
    cr_assert_eq(rename(dir, away), 0);
    begin_broker();
}

static void let_read(const char *away)
{
    int64_t openings = journal_openings(m.a.journal), end = clock_mono_ms() + 2 * PATIENCE_MS;
    cr_assert_eq(rename(away, dir), 0);
    while (journal_openings(m.a.journal) == openings && clock_mono_ms() < end)
        fake_monitor_run_for(&m, 50);
}

static void show_other(const char *state, int64_t tag, int64_t submit, int64_t end, bool full)
{
    AUTO(arena_done) struct arena arena = {0};
    const struct job j = {.id = "77",
                          .job_id = 77,
                          .uid = UID + 1,
                          .state = state,
                          .priority = 100,
                          .submit_time = submit,
                          .start_time = submit,
                          .end_time = end,
                          .nodes = "node1",
                          .tag = tag};
    struct bytes jobs[] = {msg_pack_arena(&job_type, &j, &arena)};
    load_of(jobs, 1, full);
}

/* ---- the journal cannot be read ---- */

/* Another broker, whose journal cannot be read, is shown the end of the job. */
static void end_unread(char away[static SCRATCH_PATH + 8])
{
    move_away(away);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT, "for all it knows");
    expect_told("when the journal can be read");
}

Test(staging_again, an_end_shown_before_the_journal_could_be_read_has_its_outputs_stored)
{
    char away[SCRATCH_PATH + 8];
    struct chan_head h;
    run_it();
    end_unread(away);
    let_read(away);
    int fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    expect_ask(ASK_REVOKE);
    ended(fd);
}

Test(staging_again, an_end_without_outputs_is_one_when_the_journal_can_be_read)
{
    char away[SCRATCH_PATH + 8];
    end_unread(away);
    let_read(away);
    for (int64_t end = clock_mono_ms() + PATIENCE_MS;
         phase() != PHASE_SUCCEEDED && clock_mono_ms() < end;)
        fake_monitor_run_for(&m, 50);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    cr_expect(fake_monitor_quiet(&m));
}

/* Its answer was the last thing of the broker before: SUBMITTED on disk. */
Test(staging_again, a_job_of_no_load_is_not_told_as_done_when_the_journal_can_be_read)
{
    char away[SCRATCH_PATH + 8];
    struct chan_head h;
    begin(false);
    cr_expect_eq(state_on_disk(), STAGING_SUBMITTED);
    move_away(away);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    let_read(away);
    int fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    struct told t = ends_told();
    cr_expect_eq(t.ends, 0, "its end is told, and its outputs are not stored: SUCCEEDED %d",
                 t.whole);
    close(fd);
}

/* The same, and then they cannot be stored: what is told, and kept? */
Test(staging_again, one_whose_outputs_fail_is_never_told_as_whole)
{
    char away[SCRATCH_PATH + 8];
    struct chan_head h;
    begin(false);
    cr_expect_eq(state_on_disk(), STAGING_SUBMITTED);
    move_away(away);
    show("COMPLETED", 100);
    let_read(away);
    int fd = worker(STAGE_OP_out, &h);
    say_error(fd, h, ERR_NOT_FOUND, "a required output is not there");
    cr_expect_eq(phase(), PHASE_FAILED);
    struct told t = ends_told();
    cr_expect_eq(t.ends, 1);
    cr_expect_not(t.whole);
    ended(fd);
}

/* Forgotten by slurmctld before the journal can be read. */
Test(staging_again, one_that_goes_before_the_journal_can_be_read_is_not_told_as_done)
{
    char away[SCRATCH_PATH + 8];
    run_it();
    move_away(away);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    show_nothing();
    struct told t = ends_told();
    cr_expect_not(t.whole, "nobody knows yet whether it has outputs");
    let_read(away);
    struct chan_head h;
    int fd = worker(STAGE_OP_out, &h); /* its end was seen: no slurmdbd is needed */
    close(fd);
}

/* sbatch by hand: its tag is a session id. */
Test(staging_again, a_job_that_came_through_no_agent_is_done_without_the_journal)
{
    char away[SCRATCH_PATH + 8];
    move_away(away);
    show_other("COMPLETED", 4711, made, made + 1, true);
    cr_assert_not_null(table_get(m.a.table, 77));
    cr_expect_eq(table_get(m.a.table, 77)->phase, PHASE_SUCCEEDED);
    cr_assert_eq(rename(away, dir), 0);
}

/* ---- a run that is done again ---- */

/* Killed with the broker, and up again a long time after, as both are when a host is. */
static void all_killed(void)
{
    end_broker();
    begin_broker();
    boot_time = clock_now() + 500;
    show("PENDING", 0);
}

Test(staging_again, a_run_that_a_killed_slurmctld_forgot_is_released_and_stored_again)
{
    struct chan_head h;
    boot_time = clock_now() - 1000;
    run_it();
    show("COMPLETED", 100);
    int fd = worker(STAGE_OP_out, &h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
    close(fd);
    all_killed();
    fd = worker(STAGE_OP_release, &h);
    cr_expect_eq(state_on_disk(), STAGING_RELEASING);
    close(fd);
    all_killed(); /* in the middle of it */
    fd = worker(STAGE_OP_release, &h);
    say_done(fd, h);
    ended(fd);
    show("RUNNING", 100);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT, "what the second run leaves is not stored yet");
    fd = worker(STAGE_OP_out, &h);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    expect_ask(ASK_REVOKE);
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    ended(fd);
}

Test(staging_again, a_stored_end_that_a_killed_slurmctld_forgot_is_stored_again)
{
    struct chan_head h;
    boot_time = clock_now() - 1000;
    run_and_store_it();
    boot_time = clock_now() + 5;
    show("PENDING", 100);
    cr_expect_eq(phase(), PHASE_QUEUED);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
    int fd = worker(STAGE_OP_out, &h);
    say_done(fd, h);
    cr_expect_eq(phase(), PHASE_SUCCEEDED);
    ended(fd);
}

/* The watcher was asked for another job first, as it is whenever somebody waits for it. */
Test(staging_again, a_forgotten_end_is_noticed_after_the_load_of_another_job)
{
    boot_time = clock_now() - 1000;
    run_and_store_it();
    boot_time = clock_now() + 5;
    show_other("RUNNING", 4711, made, 0, false);
    show("PENDING", 100);
    cr_expect_eq(phase(), PHASE_QUEUED);
    show("RUNNING", 100);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT, "what the second run left is not stored");
}

/* slurmctld was down for less than an interval: its settings, which are asked for each 10 s, are
 * still the ones of before. */
Test(staging_again, a_forgotten_end_is_noticed_before_the_settings_are_known)
{
    int64_t boot;
    boot_time = clock_now() - 1000;
    run_and_store_it();
    boot = clock_now() + 5;
    show("PENDING", 100);
    show("RUNNING", 100);
    boot_time = boot;
    show("RUNNING", 100);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT, "what the second run left is not stored");
}

/* It starts at once, before the first load of that slurmctld. */
Test(staging_again, a_run_done_again_that_is_first_shown_running_is_stored)
{
    boot_time = clock_now() - 1000;
    run_and_store_it();
    boot_time = clock_now() + 5;
    show("RUNNING", 100);
    cr_expect_eq(phase(), PHASE_RUNNING);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT, "what the second run left is not stored");
}

/* As in a_stored_end_that_a_killed_slurmctld_forgot_is_stored_again, but held as it was saved, and
 * with the clock as it is. */
Test(staging_again, a_stored_job_that_is_held_again_is_released_again)
{
    boot_time = clock_now() - 1000;
    run_and_store_it();
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    fake_monitor_run_for(&m, 1500);
    boot_time = clock_now();
    fake_monitor_run_for(&m, 2000);
    show("PENDING", 0);
    fake_monitor_run_for(&m, 1000);
    cr_expect_eq(state_on_disk(), STAGING_RELEASING, "%d: it stays held for ever",
                 (int)state_on_disk());
}

/* The host dies, and broker and slurmctld with it, when all was over. */
Test(staging_again, one_that_was_over_and_is_shown_again_to_another_broker_is_stored)
{
    boot_time = clock_now() - 1000;
    run_and_store_it();
    cr_expect_eq(state_on_disk(), STAGING_OVER);
    end_broker();
    begin_broker();
    boot_time = clock_now() + 1000;
    show("PENDING", 100);
    show("COMPLETED", 100);
    cr_expect_eq(phase(), PHASE_STAGING_OUT);
}

/* Its inputs could not be had: FAILED, with the reason, for all brokers. */
Test(staging_again, one_that_was_dropped_is_not_told_as_cancelled_without_the_journal)
{
    char away[SCRATCH_PATH + 8];
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_error(fd, h, ERR_NOT_FOUND, "no such object");
    close(fd);
    cr_expect_eq(state_on_disk(), STAGING_DROPPING);
    move_away(away);
    show("CANCELLED", 0);
    let_read(away);
    fake_monitor_run_for(&m, 3000);
    cr_expect_eq(phase(), PHASE_FAILED);
    struct told t = ends_told();
    cr_expect_eq(t.ends, 1);
    cr_expect_not(t.cancelled, "FAILED, for its inputs could not be had: history keeps it so");
}
