/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What records become: events, final records in a real journal, wake-ups of held requests */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/cursor.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/live.h"
#include "agentd/table.h"
#include "common/clock.h"
#include "tests/kit/record.h"
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
        .max_held_ids_per_user = 8,
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
    if (!j.uid)
        j.uid = 1001;
    if (!j.submit_time)
        j.submit_time = 100;
    return record_of(&j);
}

static int64_t as_of = 1000;
static int64_t min_job_age_s = 300;

static void loaded(void)
{
    const struct live_load load = {++as_of, min_job_age_s, true};
    live_loaded(a.live, &load);
}

/* A job of that id with these states after one another, each seen in a load of its own. */
static void seen(uint32_t id, const char *const *states)
{
    struct jobrec *old = NULL;
    for (size_t i = 0; states[i]; i++) {
        struct jobrec *now = record((struct job){.job_id = id, .id = "7", .state = states[i]});
        live_saw(a.live, old, now);
        loaded();
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
    int64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!live_ready(a.live) && clock_mono_ms() < deadline)
        run_loop();
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
    loaded();
    live_saw(a.live, NULL, first);
    loaded();
    cr_expect_str_eq(logged(1), "end:7:>FAILED ");
    live_saw(a.live, first, queued);
    live_saw(a.live, queued, second);
    loaded();
    cr_expect_str_eq(logged(3), "end:7:>FAILED change:7:FAILED>PENDING end:7:PENDING>COMPLETED ");
    jobrec_unref(first);
    jobrec_unref(queued);
    jobrec_unref(second);
}

Test(live, absence_is_told_as_absence)
{
    struct jobrec *running = record((struct job){.job_id = 7, .id = "7", .state = "RUNNING"});
    struct jobrec *done = record((struct job){.job_id = 8, .state = "COMPLETED"});
    loaded();
    live_gone(a.live, running);
    live_gone(a.live, done);
    loaded();
    cr_expect_str_eq(logged(1), "lost:7:RUNNING>UNKNOWN ",
                     "a purged job that had ended is no loss");
    jobrec_unref(running);
    jobrec_unref(done);
}

Test(live, a_killed_job_that_goes_before_its_exit_status_was_killed)
{
    const char *const completing[] = {"COMPLETING"};
    struct jobrec *dying = record((struct job){.job_id = 7,
                                               .id = "7",
                                               .state = "CANCELLED",
                                               .phase = "RUNNING",
                                               .flags = {completing, 1}});
    loaded();
    live_saw(a.live, NULL, dying);
    loaded();
    live_gone(a.live, dying);
    loaded();
    cr_expect_str_eq(logged(2), "new:7:>CANCELLED end:7:CANCELLED>CANCELLED ");
    jobrec_unref(dying);
}

/* ---- what ended while no broker ran ---- */

/* As a load shows it: in the table, too. */
static void present(struct job j)
{
    struct jobrec *old, *rec = record(j);
    struct err err = {0};
    cr_assert_eq(table_put(a.table, rec, &old, &err), 0);
    live_saw(a.live, old, rec);
    jobrec_unref(old);
}

static void next_broker(void)
{
    stop();
    table_free(a.table);
    a.table = table_new(100);
    start_again();
}

static void until_ready(void)
{
    int64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!live_ready(a.live) && clock_mono_ms() < deadline)
        run_loop();
    cr_assert(live_ready(a.live));
}

Test(live, what_went_while_no_broker_ran_is_lost_once)
{
    present((struct job){.job_id = 7, .id = "7", .state = "PENDING"});
    present((struct job){.job_id = 8, .id = "8", .state = "RUNNING"});
    loaded();
    until_ready();
    present((struct job){.job_id = 7, .id = "7", .state = "RUNNING"});
    loaded();
    next_broker();
    present((struct job){.job_id = 8, .id = "8", .state = "RUNNING"});
    loaded();
    cr_expect_str_eq(logged(1), "lost:7:RUNNING>UNKNOWN ");
    cr_expect_gt(journal_newest(a.journal), 0);
    until_ready();
    next_broker();
    present((struct job){.job_id = 8, .id = "8", .state = "COMPLETED"});
    present((struct job){.job_id = 9, .id = "9", .state = "COMPLETED"});
    loaded();
    cr_expect_str_eq(logged(2), "end:8:>COMPLETED end:9:>COMPLETED ");
    next_broker();
    present((struct job){.job_id = 10, .id = "10", .state = "COMPLETED"});
    loaded();
    cr_expect_str_eq(logged(1), "end:10:>COMPLETED ", "7 and 8 are past");
}

Test(live, nothing_is_lost_before_a_whole_load_nor_where_jobs_are_hidden)
{
    present((struct job){.job_id = 7, .id = "7", .state = "RUNNING"});
    loaded();
    until_ready();
    next_broker();
    live_loaded(a.live, &(struct live_load){0, 300, true});
    for (int i = 0; i < 3; i++)
        run_loop();
    cr_expect_not(live_ready(a.live));
    live_loaded(a.live, &(struct live_load){++as_of, 300, false});
    until_ready();
    cr_expect_eq(events_newest(live_events(a.live)), 0);
}

static struct job task(int64_t job_id, const char *tasks, const char *state)
{
    static char id[2][32];
    static int which;
    char *text = id[which++ % 2];
    snprintf(text, 32, strspn(tasks, "0123456789") == strlen(tasks) ? "20_%s" : "20_[%s]", tasks);
    return (struct job){
        .job_id = job_id, .id = text, .array_job_id = 20, .array_task = tasks, .state = state};
}

static int note_id(void *arg, uint64_t seq, const struct event_entry *ev)
{
    char *text = arg;
    (void)seq;
    if (ev->what == EVENT_LOST)
        snprintf(text + strlen(text), 100, "%s ", ev->rec->id);
    return 0;
}

static void expect_lost(uint64_t events, const char *ids)
{
    char text[500] = "";
    logged(events);
    events_each(live_events(a.live), 0, note_id, text);
    cr_expect_str_eq(text, ids);
}

Test(live, each_task_is_missed_that_nobody_has_seen_beginning)
{
    present(task(20, "5-9", "PENDING"));
    present(task(21, "4", "RUNNING"));
    loaded();
    until_ready();
    next_broker();
    present(task(20, "8-9", "PENDING"));
    present(task(22, "6", "RUNNING"));
    loaded();
    expect_lost(3, "20_5 20_7 20_4 ");
    until_ready();
    next_broker();
    loaded();
    expect_lost(3, "20_8 20_9 20_6 ");
    until_ready();
    next_broker();
    loaded();
    until_ready();
    expect_lost(0, "");
}

Test(live, tasks_are_missed_when_slurmctld_was_out_of_reach_for_long)
{
    present(task(20, "5-9", "PENDING"));
    loaded();
    present(task(20, "9", "PENDING"));
    present(task(22, "6", "RUNNING"));
    loaded();
    cr_expect_eq(events_newest(live_events(a.live)), 2, "the rest has begun and is still to come");
    next_broker();
    present(task(20, "5-9", "PENDING"));
    loaded();
    until_ready();
    present(task(20, "9", "PENDING"));
    as_of += 1000;
    loaded();
    expect_lost(5, "20_5 20_6 20_7 20_8 ");
}

/* ---- a journal in trouble ---- */

struct looked {
    bool done;
    size_t n;
    int64_t number;
};

static void on_looked(void *arg, const struct journal_row *rows, size_t n, bool more,
                      const struct err *err)
{
    struct looked *l = arg;
    (void)more;
    (void)err;
    *l = (struct looked){true, n, n ? rows[0].number : 0};
}

Test(live, an_end_that_could_not_be_kept_is_kept_later_and_told_once)
{
    char lock[SCRATCH_PATH];
    stop();
    scratch_path(lock, dir, "journal.lock");
    int fd = open(lock, O_RDWR | O_CREAT, 0600);
    cr_assert(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
    start_again();
    cr_assert_not_null(journal_trouble(a.journal));
    present((struct job){.job_id = 7, .id = "7", .state = "RUNNING"});
    loaded();
    present((struct job){.job_id = 7, .id = "7", .state = "FAILED"});
    loaded();
    cr_expect_str_eq(logged(1), "end:7:RUNNING>FAILED ");
    close(fd);
    int64_t deadline = clock_mono_ms() + 3 * PATIENCE_MS;
    while (live_told(a.live) == 0 && clock_mono_ms() < deadline) {
        run_loop();
        loaded();
    }
    struct looked l = {0};
    journal_find(a.journal, &(struct journal_query){.filter = {.uid = -1}}, on_looked, &l);
    while (!l.done)
        run_loop();
    cr_expect_eq(l.n, 1);
    cr_expect_eq(l.number, live_told(a.live), "who has heard it need not hear it again");
    cr_expect_eq(events_newest(live_events(a.live)), 1);
}

Test(live, a_journal_that_does_not_answer_keeps_no_end_from_anybody)
{
    loaded();
    until_ready();
    present((struct job){.job_id = 7, .id = "7", .state = "RUNNING"});
    present((struct job){.job_id = 7, .id = "7", .state = "FAILED"});
    loaded();
    /* Its answers come through the loop, which is not run. */
    int64_t begun = clock_mono_ms(), first = live_told(a.live);
    while (events_newest(live_events(a.live)) < 2 && clock_mono_ms() < begun + PATIENCE_MS) {
        poll(NULL, 0, 50);
        live_tick(a.live);
    }
    cr_expect_geq(clock_mono_ms() - begun, 4000, "it has some time");
    cr_expect_str_eq(logged(2), "new:7:>RUNNING end:7:RUNNING>FAILED ");
    cr_expect_eq(live_told(a.live), first, "without a number");
    while (live_told(a.live) == first && clock_mono_ms() < begun + 2 * PATIENCE_MS)
        run_loop();
    cr_expect_gt(live_told(a.live), first);
    cr_expect_eq(live_told(a.live), journal_newest(a.journal), "it was kept all the same");
    cr_expect_eq(events_newest(live_events(a.live)), 2, "and is not told again");
}

Test(live, an_id_that_slurm_gave_again_is_another_job)
{
    struct jobrec *then = record((struct job){.job_id = 7, .state = "RUNNING"});
    struct jobrec *now = record((struct job){.job_id = 7, .state = "PENDING", .submit_time = 900});
    loaded();
    live_saw(a.live, then, now);
    loaded();
    cr_expect_str_eq(logged(2), "new:7:>PENDING lost:7:RUNNING>UNKNOWN ");
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
    loaded();
    live_saw(a.live, one, two);
    cr_expect_str_eq(logged(0), "");
    live_saw(a.live, two, held);
    cr_expect_str_eq(logged(1), "change:7:PENDING>PENDING ");
    jobrec_unref(one);
    jobrec_unref(two);
    jobrec_unref(held);
}

/* That its nodes are clean is no news; what its steps ended with is. */
Test(live, an_end_is_told_once_whatever_becomes_of_its_nodes)
{
    const char *const completing[] = {"COMPLETING"};
    const struct job job = {.job_id = 7, .state = "FAILED", .exit_code = 3};
    struct job dirty = job, other = job;
    dirty.flags = (struct strs){(const char **)completing, 1};
    other.derived_exit_code = 5;
    struct jobrec *running = record((struct job){.job_id = 7, .state = "RUNNING"}),
                  *failed = record(dirty), *clean = record(job), *told = record(other);
    loaded();
    live_saw(a.live, running, failed);
    loaded();
    cr_expect_str_eq(logged(1), "end:7:RUNNING>FAILED ");
    live_saw(a.live, failed, clean);
    loaded();
    live_saw(a.live, clean, told);
    cr_expect_str_eq(logged(2), "end:7:RUNNING>FAILED change:7:FAILED>FAILED ");
    jobrec_unref(running);
    jobrec_unref(failed);
    jobrec_unref(clean);
    jobrec_unref(told);
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

Test(live, what_happens_during_a_look_shows)
{
    uint64_t before = held_news(a.held, HELD_JOB, 20), other = held_news(a.held, HELD_JOB, 21);
    cr_expect_eq(held_news(a.held, HELD_JOB, 20), before);
    held_happened(a.held, HELD_JOB, 20); /* nobody is held yet */
    cr_expect_gt(held_news(a.held, HELD_JOB, 20), before);
    cr_expect_eq(held_news(a.held, HELD_JOB, 21), other, "a busy cluster is no reason to look");
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

Test(live, what_a_user_waits_for_is_capped_and_counts_once)
{
    struct hold h, other;
    struct call c, d;
    struct err err = {0};
    hold(&h, &c, 60000, HELD_JOB, 20);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(hold_for(&h, HELD_JOB, 20, &err), 0, "the same again is free");
    cr_expect_eq(alice.held_keys, 1);
    hold(&other, &d, 60000, HELD_JOB, 20);
    for (uint32_t i = 21; i < 27; i++)
        cr_assert_eq(hold_for(&h, HELD_JOB, i, &err), 0, "%s", err.text);
    cr_expect_eq(hold_for(&h, HELD_JOB, 27, &err), -1);
    cr_expect_eq(err.code, ERR_BUSY);
    cr_expect_not_null(strstr(err.text, "alice"), "%s", err.text);
    cr_expect_eq(held_count(a.held), 1, "it is not held any more");
    cr_expect_eq(alice.held_keys, 1);
    held_stop(a.held);
    cr_expect_eq(alice.held_keys, 0);
}

Test(live, what_a_held_request_keeps_counts_as_what_it_waits_for)
{
    struct hold h, other;
    struct call c, d;
    struct err err = {0};
    hold(&h, &c, 60000, HELD_JOB, 20); /* the tasks of one array, say */
    cr_assert_eq(hold_weighs(&h, 7, &err), 0, "%s", err.text);
    cr_expect_eq(alice.held_keys, 7);
    hold(&other, &d, 60000, HELD_JOB, 20);
    cr_assert_eq(hold_weighs(&other, 1, &err), 0, "it counts already");
    cr_expect_eq(alice.held_keys, 8);
    cr_expect_eq(hold_weighs(&other, 2, &err), -1);
    cr_expect_eq(err.code, ERR_BUSY);
    cr_expect_eq(held_count(a.held), 1, "it is not held any more");
    cr_expect_eq(alice.held_keys, 7);
    held_stop(a.held);
    cr_expect_eq(alice.held_keys, 0);
}

Test(live, what_is_hidden_is_not_told_as_lost)
{
    struct jobrec *running = record((struct job){.job_id = 7, .state = "RUNNING"});
    struct hold h;
    struct call c;
    loaded();
    live_saw(a.live, NULL, running);
    hold(&h, &c, 60000, HELD_JOB, 7);
    live_hidden(a.live, running);
    loaded();
    run_loop();
    cr_expect_eq(resumed[HELD_HAPPENED], 1, "who waits for it looks again");
    cr_expect_eq(events_newest(live_events(a.live)), 1, "%s", logged(1));
    jobrec_unref(running);
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
