/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What becomes of submits: every way from one state to another, with a journal, a slurmctld and
 * clocks that do as they are told */
#include <criterion/criterion.h>
#include <string.h>

#include "agentd/requests.h"
#include "common/seal.h"
#include "common/str.h"
#include "tests/kit/record.h"

enum { ROWS = 64, ALICE = 1001, BOB = 1002, BEGIN_S = 1000000, MAX = 8 };

static const uint8_t one[REQUEST_ID] = {1}, two[REQUEST_ID] = {2};
static const uint8_t content[REQUEST_HASH] = {7}, other[REQUEST_HASH] = {8};

/* ---- the world ---- */

static struct {
    struct requests *r;
    struct request_row disk[ROWS];
    size_t n;
    bool broken; /* the journal cannot be written */
    bool slow;   /* and answers later */
    struct request_row want;
    journal_requests_fn fn;
    void *fn_arg;
    struct jobrec *table[ROWS];
    size_t jobs;
    int anew, notes;
    int64_t cancelled;
} w;
static int64_t wall, mono;

static int64_t wall_now(void)
{
    return wall;
}

static int64_t mono_now(void)
{
    return mono;
}

static void pass(int64_t s)
{
    wall += s;
    mono += s * 1000;
}

static struct request_row *on_disk(uint32_t uid, const uint8_t *id)
{
    for (size_t i = 0; i < w.n; i++)
        if (w.disk[i].uid == uid && memcmp(w.disk[i].id, id, REQUEST_ID) == 0)
            return &w.disk[i];
    return NULL;
}

static void keep(const struct request_row *row)
{
    struct request_row *at = on_disk(row->uid, row->id);
    if (!at)
        at = &w.disk[w.n++];
    *at = *row;
}

static void answer_begin(void)
{
    struct err err = {0};
    struct request_row *there = on_disk(w.want.uid, w.want.id), row = w.want;
    journal_requests_fn fn = w.fn;
    w.fn = NULL;
    if (w.broken) {
        err_set(&err, ERR_INTERNAL, "the disk is full");
        fn(w.fn_arg, NULL, 0, false, &err);
        return;
    }
    bool begun = !there || (request_may_submit(there->state) &&
                            memcmp(there->hash, row.hash, REQUEST_HASH) == 0);
    if (!begun)
        row = *there;
    else if (there && there->attempt >= row.attempt)
        row.attempt = there->attempt + 1;
    if (begun)
        keep(&row);
    fn(w.fn_arg, &row, 1, begun, &err);
}

static void begin(void *arg, const struct request_row *want, journal_requests_fn fn, void *fn_arg)
{
    (void)arg;
    cr_assert(!w.fn, "one at a time");
    w.want = *want;
    w.fn = fn;
    w.fn_arg = fn_arg;
    if (!w.slow)
        answer_begin();
}

static void note(void *arg, const struct request_row *rows, size_t n)
{
    (void)arg;
    w.notes++;
    for (size_t i = 0; i < n; i++)
        keep(&rows[i]);
}

static void load_anew(void *arg)
{
    (void)arg;
    w.anew++;
}

static void show_table(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < w.jobs; i++)
        requests_saw(w.r, w.table[i]);
}

static bool is_there(void *arg, uint32_t uid, int64_t job_id, int64_t tag)
{
    (void)arg;
    for (size_t i = 0; i < w.jobs; i++)
        if (w.table[i]->group == job_id && w.table[i]->keys.uid == uid &&
            w.table[i]->keys.tag == tag)
            return true;
    return false;
}

static void cancel(void *arg, uint32_t uid, int64_t job_id, int64_t submit_time)
{
    (void)arg;
    (void)uid;
    (void)submit_time;
    w.cancelled = job_id;
}

static void start(void)
{
    static const struct requests_env env = {NULL,     begin,  note,     load_anew, show_table,
                                            is_there, cancel, wall_now, mono_now};
    w.r = requests_new(&env, MAX);
    cr_assert_not_null(w.r);
}

static void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(seal_setup(&err), 0);
    memset(&w, 0, sizeof w);
    wall = BEGIN_S;
    mono = 500000;
    start();
}

static void tear_down(void)
{
    requests_stop(w.r);
    requests_free(w.r);
    for (size_t i = 0; i < w.jobs; i++)
        jobrec_unref(w.table[i]);
}

TestSuite(requests, .init = set_up, .fini = tear_down, .timeout = 30);

/* The broker dies: what was not noted is not known to the next one. */
static void restart(void)
{
    requests_free(w.r);
    start();
    size_t n = 0;
    struct request_row open[ROWS];
    for (size_t i = 0; i < w.n; i++)
        if (w.disk[i].state <= REQUEST_OPEN_MAX || request_may_submit(w.disk[i].state) ||
            w.disk[i].attempt > 1)
            open[n++] = w.disk[i];
    requests_opened(w.r, open, n);
}

/* ---- a client ---- */

struct client {
    int told;
    enum request_turn turn;
    enum request_state state;
    struct request_row row;
    struct request *q;
    struct err err;
};

static void on_turn(void *arg, enum request_turn turn, struct request *q, const struct err *err)
{
    struct client *c = arg;
    c->told++;
    c->turn = turn;
    c->q = q;
    c->err = *err;
    if (!q)
        return;
    request_row(q, &c->row);
    c->state = request_state(q);
}

static struct client ask_as(uint32_t uid, const uint8_t *id, const uint8_t *hash)
{
    struct client c = {0};
    requests_submit(w.r, uid, id, hash, on_turn, &c);
    cr_assert_eq(c.told, 1);
    return c;
}

static struct client ask(void)
{
    return ask_as(ALICE, one, content);
}

static struct client must_go(void)
{
    struct client c = ask();
    cr_assert_eq(c.turn, REQUEST_GO, "state %d: %s", (int)c.state, c.err.text);
    cr_assert(requests_send(w.r, c.q));
    return c;
}

static void outcome(struct client *c, enum request_state state, int64_t job_id)
{
    struct err err = {0};
    if (state != REQUEST_SUBMITTED)
        err_set(&err, state == REQUEST_REFUSED ? ERR_INVALID : ERR_SLURM_DOWN, "so it went");
    requests_outcome(w.r, c->q, state, job_id, &err, NULL, NULL);
    requests_tick(w.r);
}

static struct client submitted(int64_t job_id)
{
    struct client c = must_go();
    outcome(&c, REQUEST_SUBMITTED, job_id);
    return c;
}

static struct client doubted(void)
{
    struct client c = must_go();
    outcome(&c, REQUEST_IN_DOUBT, 0);
    return c;
}

static enum request_state state(void)
{
    const struct request *q = requests_find(w.r, ALICE, one);
    return q ? request_state(q) : (enum request_state) - 1;
}

/* ---- slurmctld ---- */

static struct jobrec *job(uint32_t id, int64_t attempt, const char *word)
{
    struct job j = {
        .job_id = id,
        .id = "1",
        .uid = ALICE,
        .state = word,
        .phase = str_eq(word, "COMPLETED") ? "SUCCEEDED" : "QUEUED",
        .submit_time = wall,
        .tag = request_tag(ALICE, one, attempt),
    };
    return record_of(&j);
}

/* slurmctld has it from now on. */
static void appears(uint32_t id, int64_t attempt, const char *word)
{
    struct jobrec *rec = job(id, attempt, word);
    for (size_t i = 0; i < w.jobs; i++)
        if (w.table[i]->job_id == id) {
            jobrec_unref(w.table[i]);
            w.table[i] = w.table[--w.jobs];
        }
    w.table[w.jobs++] = rec;
    requests_saw(w.r, rec);
}

static void vanishes(uint32_t id)
{
    for (size_t i = 0; i < w.jobs; i++)
        if (w.table[i]->job_id == id) {
            struct jobrec *rec = w.table[i];
            w.table[i] = w.table[--w.jobs];
            requests_gone(w.r, rec);
            jobrec_unref(rec);
            return;
        }
}

static int64_t boot_time = BEGIN_S - 1000, min_job_age_ms = 300000;

static void load(bool whole)
{
    struct requests_load l = {
        .begun_ms = mono,
        .as_of = wall,
        .whole = whole,
        .boot_time = boot_time,
        .min_job_age_ms = min_job_age_ms,
        .rpc_ms = 310000,
    };
    requests_loaded(w.r, &l);
    requests_tick(w.r);
}

/* The watcher looks on, once a second. */
static void watch_for(int64_t s)
{
    for (int64_t i = 0; i < s; i += 10) {
        pass(10);
        load(true);
    }
}

static void reboot(void)
{
    pass(2);
    boot_time = wall;
    pass(2);
}

/* ---- tests ---- */

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

Test(requests, a_doubt_says_so_when_nothing_settles_it_in_time)
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

Test(requests, absence_is_no_proof_while_the_call_may_still_arrive)
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

Test(requests, absence_counts_in_whole_loads_alone)
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

Test(requests, a_load_that_began_before_the_call_was_over_says_nothing)
{
    struct client c = must_go();
    reboot();
    struct requests_load l = {.begun_ms = mono,
                              .as_of = wall,
                              .whole = true,
                              .boot_time = boot_time,
                              .min_job_age_ms = 300000,
                              .rpc_ms = 310000};
    pass(1);
    outcome(&c, REQUEST_IN_DOUBT, 0);
    requests_loaded(w.r, &l);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, absence_counts_against_an_slurmctld_that_booted_after_the_call)
{
    load(true);
    doubted();
    pass(1);
    load(true);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    reboot();
    load(true);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests, a_boot_in_the_future_is_a_clock_that_was_set_back)
{
    load(true);
    doubted();
    boot_time = wall + 1000;
    pass(2);
    load(true);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, absence_is_no_proof_when_a_job_may_have_come_and_gone_unseen)
{
    load(true);
    doubted();
    pass(400); /* nobody looked; a short job is forgotten after 300 s */
    boot_time = wall - 10;
    load(true);
    watch_for(600);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, what_a_dead_broker_left_is_in_doubt)
{
    must_go();
    restart();
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
    requests_tick(w.r);
    appears(17, 1, "RUNNING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests, what_a_dead_broker_left_is_found_in_a_table_that_came_before_the_journal)
{
    must_go();
    requests_free(w.r);
    start();
    appears(17, 1, "RUNNING");
    requests_opened(w.r, w.disk, w.n);
    cr_expect_eq(state(), REQUEST_SUBMITTED);
    cr_expect_eq(ask().row.job_id, 17);
}

Test(requests, what_a_dead_broker_left_is_proved_absent_from_its_successors_start_on)
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

Test(requests, brokers_that_die_one_after_the_other_do_not_begin_the_wait_anew)
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

Test(requests, a_gap_between_brokers_that_may_have_hidden_a_job_is_one)
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

Test(requests, what_was_left_too_long_ago_stays_in_doubt)
{
    must_go();
    pass(1000);
    restart();
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, a_clock_that_was_set_back_proves_nothing)
{
    must_go();
    wall -= 3000; /* so that it is not known how long nobody looked */
    restart();
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, a_clock_that_was_set_back_hides_no_job)
{
    doubted();
    wall -= 3000;
    appears(17, 1, "RUNNING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

/* Which of the two it is cannot be known: it must not be submitted a second time. */
Test(requests, a_clock_that_was_set_back_far_before_the_call_lets_nothing_be_proved)
{
    struct client c = must_go();
    wall -= 7200;
    outcome(&c, REQUEST_IN_DOUBT, 0);
    appears(17, 1, "RUNNING");
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, a_longer_min_job_age_does_not_mend_a_gap)
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

Test(requests, a_shorter_min_job_age_counts_from_then_on)
{
    load(true);
    doubted();
    watch_for(10);
    pass(40);
    min_job_age_ms = 60000;
    watch_for(1000);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
}

Test(requests, a_job_of_long_ago_with_the_same_tag_is_another)
{
    struct jobrec *old = job(9, 1, "RUNNING");
    pass(100000);
    doubted();
    requests_saw(w.r, old);
    jobrec_unref(old);
    cr_expect_eq(state(), REQUEST_IN_DOUBT);
}

Test(requests, a_job_that_comes_late_without_a_retry_is_its_job)
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

Test(requests, a_late_twin_is_cancelled_and_reported)
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

Test(requests, a_late_twin_that_runs_is_left_alone)
{
    load(true);
    doubted();
    watch_for(400);
    submitted(18);
    appears(17, 1, "RUNNING");
    cr_expect_eq(w.cancelled, 0);
    cr_expect_eq(ask().row.job_id, 18);
}

Test(requests, a_late_twin_that_shows_before_the_retry_is_sent_is_its_job)
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

Test(requests, a_late_twin_that_nobody_noticed_is_its_job_when_it_is_tried_again)
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

Test(requests, a_job_that_comes_after_the_retry_was_refused_is_its_job)
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

Test(requests, a_late_twin_that_shows_while_the_retry_is_under_way_goes)
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

Test(requests, a_job_that_was_never_shown_by_an_slurmctld_that_was_killed_is_lost)
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

Test(requests, a_job_that_was_shown_and_is_forgotten_is_lost)
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

Test(requests, a_job_that_a_backup_controller_does_not_know_is_lost)
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

Test(requests, a_job_that_a_backup_controller_knows_is_not_lost_later)
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

Test(requests, another_job_with_the_same_id_is_not_its_job)
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

Test(requests, with_slurmctld_left_alive_nothing_is_lost)
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

Test(requests, a_job_that_ended_and_was_forgotten_while_nobody_looked_is_not_lost)
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

Test(requests, a_lost_job_that_comes_back_is_its_job_again)
{
    load(true);
    submitted(17);
    reboot();
    load(true);
    cr_assert_eq(state(), REQUEST_LOST);
    appears(17, 1, "PENDING");
    cr_expect_eq(state(), REQUEST_SUBMITTED);
}

Test(requests, who_may_not_see_all_concludes_nothing)
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

Test(requests, a_late_twin_that_ran_while_the_retry_was_in_doubt_is_its_job)
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

Test(requests, a_late_twin_that_shows_while_the_retry_is_refused_is_its_job)
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

Test(requests, a_late_twin_that_runs_is_not_cancelled_when_the_retry_ends_up_submitted)
{
    load(true);
    doubted();
    watch_for(400);
    struct client c = must_go();
    appears(17, 1, "RUNNING");
    outcome(&c, REQUEST_SUBMITTED, 18);
    cr_expect_eq(w.cancelled, 0);
}

Test(requests, a_user_whose_uid_shares_a_bucket_has_his_own_count)
{
    for (uint8_t i = 0; i < MAX; i++)
        cr_assert_eq(ask_as(ALICE, (uint8_t[REQUEST_ID]){[1] = i + 1}, content).turn, REQUEST_GO);
    cr_expect_eq(ask_as(ALICE + 4096, one, content).turn, REQUEST_GO);
}

Test(requests, a_late_twin_that_ended_while_the_retry_was_in_doubt_is_its_job)
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
