/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What records become: events, final records in a real journal, wake-ups of held requests */
#include <criterion/criterion.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/cursor.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/live.h"
#include "agentd/table.h"
#include "common/clock.h"
#include "tests/kit/scratch.h"

enum { PATIENCE_MS = 10000 };

static struct agentd a;
static char dir[SCRATCH_PATH];

static void start_again(void)
{
    struct err err = {0};
    a.journal = journal_new(a.loop, &a.conf, &err);
    a.held = held_new(&a, &err);
    a.live = live_new(&a, &err);
    cr_assert_eq(err.code, ERR_NONE, "%s", err.text);
}

static void stop(void)
{
    held_stop(a.held);
    journal_free(a.journal);
    live_free(a.live);
    held_free(a.held);
}

static void set_up(void)
{
    scratch_make(dir);
    cr_assert_geq(sd_event_new(&a.loop), 0);
    a.conf = (struct agentd_conf){
        .state_dir = dir,
        .history_days = 30,
        .history_rows = 1000,
        .events_mib = 1,
        .max_held = 10,
        .max_held_per_user = 5,
    };
    a.table = table_new(100);
    start_again();
}

static void tear_down(void)
{
    stop();
    table_free(a.table);
    sd_event_unref(a.loop);
    scratch_remove(dir);
}

TestSuite(live, .init = set_up, .fini = tear_down, .timeout = 60);

static struct jobrec *record(struct job j)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct err err = {0};
    if (!j.uid)
        j.uid = 1001;
    if (!j.submit_time)
        j.submit_time = 100;
    msg_pack(&job_type, &j, out);
    struct jobrec *r = jobrec_new(wire_out_bytes(out), &err);
    cr_assert_not_null(r, "%s", err.text);
    return r;
}

/* A job of that id with these states after one another, each seen in a load of its own. */
static void seen(uint32_t id, const char *const *states)
{
    struct jobrec *old = NULL;
    for (size_t i = 0; states[i]; i++) {
        struct jobrec *now = record((struct job){.job_id = id, .id = "7", .state = states[i]});
        live_saw(a.live, old, now);
        live_loaded(a.live);
        jobrec_unref(old);
        old = now;
    }
    jobrec_unref(old);
}
#define SEEN(id, ...) seen(id, (const char *const[]){__VA_ARGS__, NULL})

static void run_loop(void)
{
    cr_assert_geq(sd_event_run(a.loop, 100000), 0);
}

static int note(void *arg, uint64_t seq, const struct event_entry *ev)
{
    char *text = arg;
    size_t n = strlen(text);
    (void)seq;
    snprintf(text + n, 500 - n, "%s:%u:%s>%s ", event_word(ev->what), ev->rec->job_id, ev->was,
             ev->rec->keys.state);
    return 0;
}

/* The log as "new:7:>PENDING …", once it has that many events. */
static const char *logged(uint64_t n)
{
    static char text[500];
    int64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (events_newest(live_events(a.live)) < n && clock_mono_ms() < deadline)
        run_loop();
    text[0] = '\0';
    events_each(live_events(a.live), 0, note, text);
    return text;
}

Test(live, what_is_there_at_the_start_is_no_news_but_its_ends_are)
{
    SEEN(7, "PENDING", "PENDING", "RUNNING", "COMPLETED");
    SEEN(8, "FAILED");
    SEEN(9, "RUNNING");
    cr_expect_str_eq(logged(4), "change:7:PENDING>RUNNING new:9:>RUNNING "
                                "end:7:RUNNING>COMPLETED end:8:>FAILED ");
    cr_expect(live_ready(a.live));
}

Test(live, an_end_is_told_once_also_by_the_next_broker)
{
    SEEN(7, "RUNNING", "COMPLETED");
    cr_expect_str_eq(logged(1), "end:7:RUNNING>COMPLETED ");
    int64_t first = journal_newest(a.journal);
    stop();
    start_again();
    cr_expect_eq(journal_newest(a.journal), first);
    SEEN(7, "COMPLETED");
    SEEN(8, "COMPLETED");
    cr_expect_str_eq(logged(1), "end:8:>COMPLETED ", "the journal knew 7");
    cr_expect_gt(journal_newest(a.journal), first);
}

Test(live, a_requeued_job_ends_again)
{
    struct jobrec *first =
        record((struct job){.job_id = 7, .state = "FAILED", .submit_time = 100, .tag = 5});
    struct jobrec *queued = record(
        (struct job){.job_id = 7, .state = "PENDING", .submit_time = 160, .restarts = 1, .tag = 5});
    struct jobrec *second = record((struct job){
        .job_id = 7, .state = "COMPLETED", .submit_time = 160, .restarts = 1, .tag = 5});
    live_loaded(a.live);
    live_saw(a.live, NULL, first);
    live_loaded(a.live);
    cr_expect_str_eq(logged(1), "end:7:>FAILED ");
    live_saw(a.live, first, queued);
    live_saw(a.live, queued, second);
    live_loaded(a.live);
    cr_expect_str_eq(logged(3), "end:7:>FAILED change:7:FAILED>PENDING end:7:PENDING>COMPLETED ");
    jobrec_unref(first);
    jobrec_unref(queued);
    jobrec_unref(second);
}

Test(live, absence_is_told_as_absence)
{
    struct jobrec *running = record((struct job){.job_id = 7, .id = "7", .state = "RUNNING"});
    struct jobrec *done = record((struct job){.job_id = 8, .state = "COMPLETED"});
    live_loaded(a.live);
    live_gone(a.live, running);
    live_gone(a.live, done);
    live_loaded(a.live);
    cr_expect_str_eq(logged(1), "lost:7:RUNNING>RUNNING ",
                     "a purged job that had ended is no loss");
    jobrec_unref(running);
    jobrec_unref(done);
}

Test(live, an_id_that_slurm_gave_again_is_another_job)
{
    struct jobrec *then = record((struct job){.job_id = 7, .state = "RUNNING"});
    struct jobrec *now = record((struct job){.job_id = 7, .state = "PENDING", .submit_time = 900});
    live_loaded(a.live);
    live_saw(a.live, then, now);
    live_loaded(a.live);
    cr_expect_str_eq(logged(2), "new:7:>PENDING lost:7:RUNNING>RUNNING ");
    jobrec_unref(then);
    jobrec_unref(now);
}

Test(live, what_says_nothing_new_is_not_told)
{
    struct jobrec *one =
        record((struct job){.job_id = 7, .state = "PENDING", .start_time = 500, .priority = 10});
    struct jobrec *two =
        record((struct job){.job_id = 7, .state = "PENDING", .start_time = 700, .priority = 12});
    struct jobrec *held = record((struct job){.job_id = 7, .state = "PENDING", .priority = 0});
    live_loaded(a.live);
    live_saw(a.live, one, two);
    cr_expect_str_eq(logged(0), "");
    live_saw(a.live, two, held);
    cr_expect_str_eq(logged(1), "change:7:PENDING>PENDING ");
    jobrec_unref(one);
    jobrec_unref(two);
    jobrec_unref(held);
}

Test(live, a_journal_that_cannot_be_written_keeps_no_end_from_anybody)
{
    stop();
    a.conf.state_dir = "/nonexistent/slurm-agent";
    start_again();
    cr_expect_not_null(journal_trouble(a.journal));
    SEEN(7, "RUNNING", "COMPLETED");
    cr_expect_str_eq(logged(1), "end:7:RUNNING>COMPLETED ");
}

/* ---- held requests ---- */

static struct user alice = {.uid = 1001, .name = "alice"};
static int resumed[HELD_STOPPING + 1];

static void on_resume(struct hold *h, enum held_why why)
{
    (void)h;
    resumed[why]++;
}

static void hold(struct hold *h, struct call *c, int64_t wait_ms, enum held_kind kind,
                 uint32_t number)
{
    struct err err = {0};
    *c = (struct call){.a = &a, .user = &alice};
    alice.calls++;
    hold_init(h, c, wait_ms, on_resume);
    cr_assert_eq(hold_begin(h, 0, &err), 0, "%s", err.text);
    cr_assert_eq(hold_for(h, kind, number, &err), 0, "%s", err.text);
}

Test(live, a_change_wakes_those_who_wait_for_it_and_nobody_else)
{
    struct hold job, task, other, user, all, bob;
    struct call c[6];
    hold(&job, &c[0], 60000, HELD_JOB, 20);
    hold(&task, &c[1], 60000, HELD_JOB, 23);
    hold(&other, &c[2], 60000, HELD_JOB, 24);
    hold(&user, &c[3], 60000, HELD_USER, 1001);
    alice.held--; /* room for one more: the cap is not what is tested here */
    hold(&all, &c[4], 60000, HELD_ALL, 0);
    alice.held--;
    hold(&bob, &c[5], 60000, HELD_USER, 1002);
    alice.held += 2;
    cr_expect_eq(held_count(a.held), 6);
    struct jobrec *r = record((struct job){.job_id = 23, .array_job_id = 20, .state = "RUNNING"});
    live_saw(a.live, NULL, r);
    jobrec_unref(r);
    run_loop();
    cr_expect_eq(resumed[HELD_HAPPENED], 4);
    cr_expect_eq(held_count(a.held), 2);
    held_stop(a.held);
    cr_expect_eq(resumed[HELD_STOPPING], 2);
    cr_expect_eq(alice.held, 0);
    cr_expect_eq(alice.calls, 6);
}

Test(live, a_hold_ends_in_time)
{
    struct hold h;
    struct call c;
    hold(&h, &c, 30, HELD_JOB, 20);
    int64_t begin = clock_mono_ms();
    while (!resumed[HELD_EXPIRED] && clock_mono_ms() < begin + PATIENCE_MS)
        run_loop();
    cr_expect_eq(resumed[HELD_EXPIRED], 1);
    cr_expect_geq(clock_mono_ms() - begin, 30);
}

Test(live, holds_are_capped_for_one_user_and_for_all)
{
    struct hold h[6];
    struct call c[6];
    struct err err = {0};
    for (int i = 0; i < 5; i++)
        hold(&h[i], &c[i], 60000, HELD_JOB, 20);
    c[5] = c[4];
    hold_init(&h[5], &c[5], 60000, on_resume);
    cr_expect_eq(hold_begin(&h[5], 0, &err), -1);
    cr_expect_eq(err.code, ERR_BUSY);
    cr_expect_not_null(strstr(err.text, "alice"), "%s", err.text);
    held_stop(a.held);
    err = (struct err){0};
    cr_expect_eq(hold_begin(&h[5], 0, &err), -1, "the broker ends");
    cr_expect_eq(err.code, ERR_BUSY);
}

/* ---- the log and cursors ---- */

Test(live, the_oldest_events_go_and_readers_are_told)
{
    struct events *e = events_new(100000);
    struct jobrec *r = record((struct job){.job_id = 7, .state = "RUNNING"});
    for (int i = 0; i < 3000; i++)
        cr_assert(events_add(e, EVENT_CHANGE, "PENDING", 0, r));
    cr_expect_eq(events_newest(e), 3000);
    cr_expect(events_reach(e, 3000));
    cr_expect(events_reach(e, 2999));
    cr_expect_not(events_reach(e, 0), "a MiB is not enough for all of them");
    cr_expect_not(events_reach(e, 3001), "of another broker");
    uint64_t first = 0;
    while (!events_reach(e, first))
        first++;
    cr_expect_gt(first, 1000);
    events_free(e);
    cr_expect_eq(r->refs, 1);
    jobrec_unref(r);
}

Test(live, a_cursor_comes_back_as_it_was_and_nothing_else_is_one)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "0123456789abcdef-e-1-2",
                                      "0123456789abcdef-x-1-2-3",
                                      "0123456789abcdef-e-1-2-3 ",
                                      "0123456789abcdef-e--1-2-3",
                                      "0123456789abcdef-e-1--2-3",
                                      "0123456789abcdef-e-01-2-3",
                                      "0123456789abcdef-e-1-2-99999999999",
                                      "0123456789ABCDEF-e-1-2-3"};
    const struct cursor c = {0x0123456789abcdef, CURSOR_LIVE, 1234567890123, 99, 4000000000};
    struct cursor back;
    struct err err = {0};
    char text[CURSOR_TEXT];
    cursor_format(&c, text);
    cr_assert_eq(cursor_parse(text, &back, &err), 0, "%s", err.text);
    cr_expect(back.epoch == c.epoch && back.mode == c.mode && back.seq == c.seq &&
              back.end == c.end && back.after == c.after);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err = (struct err){0};
        cr_expect_eq(cursor_parse(bad[i], &back, &err), -1, "%s", bad[i]);
        cr_expect_eq(err.code, ERR_INVALID);
    }
}
