/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many submits of a user go to the journal at a time, and what becomes of the others */
#include "agentd/requests_set.h"
#include "tests/unit/requests_world.h"

enum { MANY = 3 * REQUESTS_AHEAD };

static struct client clients[MANY];

static void set_up_many(void)
{
    most = MANY;
    set_up();
    memset(clients, 0, sizeof clients);
}

TestSuite(requests_turns, .init = set_up_many, .fini = tear_down, .timeout = 30);

static const uint8_t *nth(size_t i)
{
    static uint8_t id[REQUEST_ID];
    id[0] = (uint8_t)(i + 1);
    return id;
}

/* The first n of alice's; REQUESTS_AHEAD of them go. */
static void submit(size_t n)
{
    for (size_t i = 0; i < n; i++)
        requests_submit(w.r, ALICE, nth(i), content, on_turn, &clients[i]);
}

static size_t gone(void)
{
    size_t n = 0;
    for (size_t i = 0; i < MANY; i++)
        n += clients[i].told && clients[i].turn == REQUEST_GO;
    return n;
}

static void take_all_turns(void)
{
    for (size_t i = 1; i <= REQUESTS_AHEAD; i++)
        requests_submit(w.r, ALICE, nth(i), content, on_turn, &clients[i]);
}

/* So many attempts of one are over, and the next one waits for its turn. */
static void attempt_waits(int over, struct client *again)
{
    for (int i = 0; i < over; i++) {
        struct client c = must_go();
        outcome(&c, REQUEST_NOT_SUBMITTED, 0);
    }
    take_all_turns();
    requests_submit(w.r, ALICE, one, content, on_turn, again);
    cr_assert_eq(again->told, 0);
}

Test(requests_turns, a_few_go_and_the_others_when_these_have_ended)
{
    submit(MANY);
    cr_expect_eq(gone(), REQUESTS_AHEAD);
    cr_expect_eq(w.n, REQUESTS_AHEAD, "what waits is not on disk");
    cr_expect_eq(requests_busy(w.r), MANY);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(clients[i].turn, REQUEST_GO);
        outcome(&clients[i], REQUEST_SUBMITTED, (int64_t)i + 10);
        cr_expect_eq(gone(), i + 1 + REQUESTS_AHEAD < MANY ? i + 1 + REQUESTS_AHEAD : MANY);
    }
    cr_expect_eq(requests_busy(w.r), 0);
    for (size_t i = 0; i < MANY; i++)
        cr_expect_eq(ask_as(ALICE, nth(i), content).row.job_id, (int64_t)i + 10);
}

Test(requests_turns, other_users_do_not_wait_for_them)
{
    submit(MANY);
    cr_expect_eq(ask_as(BOB, nth(0), content).turn, REQUEST_GO);
}

/* Of what waited nothing is in doubt. */
Test(requests_turns, the_broker_dies)
{
    submit(MANY);
    memset(clients, 0, sizeof clients);
    restart();
    cr_expect_eq(requests_in_doubt(w.r, ALICE), REQUESTS_AHEAD);
    requests_submit(w.r, ALICE, nth(MANY - 1), content, on_turn, &clients[0]);
    cr_expect_eq(clients[0].turn, REQUEST_GO);
    cr_expect_eq(clients[0].row.attempt, 1);
}

Test(requests_turns, doubts_take_no_turn)
{
    submit(MANY);
    for (size_t i = 0; i < REQUESTS_AHEAD; i++)
        outcome(&clients[i], REQUEST_IN_DOUBT, 0);
    cr_expect_eq(gone(), (size_t)2 * REQUESTS_AHEAD);
    static struct client again; /* is told in the end */
    requests_submit(w.r, ALICE, nth(0), content, on_turn, &again);
    outcome(&clients[REQUESTS_AHEAD], REQUEST_SUBMITTED, 17);
    cr_expect_eq(gone(), (size_t)2 * REQUESTS_AHEAD + 1);
}

Test(requests_turns, who_waits_for_too_long_is_told_that_nothing_was_submitted)
{
    submit(REQUESTS_AHEAD + 1);
    struct client *last = &clients[REQUESTS_AHEAD];
    pass(TURN_S);
    requests_tick(w.r);
    cr_expect_eq(last->told, 0);
    pass(1);
    requests_tick(w.r);
    cr_assert_eq(last->told, 1);
    cr_expect_eq(last->turn, REQUEST_FAIL);
    cr_expect_eq(last->err.code, ERR_BUSY);
    cr_expect_gt(last->err.retry_after_ms, 0);
    cr_expect_null(on_disk(ALICE, nth(REQUESTS_AHEAD)));
    outcome(&clients[0], REQUEST_SUBMITTED, 17);
    cr_expect_eq(last->told, 1);
    cr_expect_eq(ask_as(ALICE, nth(REQUESTS_AHEAD), content).turn, REQUEST_GO);
}

Test(requests_turns, the_same_id_waits_with_it)
{
    static const uint8_t other[REQUEST_HASH] = {8};
    submit(REQUESTS_AHEAD + 1);
    struct client *last = &clients[REQUESTS_AHEAD], same = {0}, differs = {0};
    requests_submit(w.r, ALICE, nth(REQUESTS_AHEAD), content, on_turn, &same);
    requests_submit(w.r, ALICE, nth(REQUESTS_AHEAD), other, on_turn, &differs);
    outcome(&clients[0], REQUEST_SUBMITTED, 17);
    cr_assert_eq(last->turn, REQUEST_GO);
    cr_expect_eq(same.told, 0);
    outcome(last, REQUEST_SUBMITTED, 18);
    cr_expect_eq(same.turn, REQUEST_ANSWER);
    cr_expect_eq(same.row.job_id, 18);
    cr_expect_eq(differs.err.code, ERR_CONFLICT);
}

/* Its first attempt is over, and the second one waits for its turn; then the first one's job turns
 * up. */
Test(requests_turns, an_earlier_job_turns_up_while_another_attempt_waits)
{
    struct client again = {0};
    attempt_waits(1, &again);
    requests_tick(w.r);
    cr_expect_eq(again.told, 0);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_NOT_SUBMITTED, "nothing else until it goes");
    appears(17, 1, "PENDING");
    cr_assert_eq(again.told, 1);
    cr_expect_eq(again.turn, REQUEST_ANSWER);
    cr_expect_eq(again.row.job_id, 17);
    outcome(&clients[1], REQUEST_SUBMITTED, 18);
    cr_expect_eq(again.told, 1);
    requests_tick(w.r);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_SUBMITTED);
    cr_expect_eq(on_disk(ALICE, one)->job_id, 17);
    cr_expect_eq(ask_as(ALICE, nth(REQUESTS_AHEAD + 1), content).turn, REQUEST_GO, "its place");
}

/* The second attempt of one waits for too long: it stays what it was. */
Test(requests_turns, another_attempt_waits_for_too_long)
{
    struct client again = {0};
    attempt_waits(1, &again);
    pass(TURN_S + 1);
    requests_tick(w.r);
    cr_expect_eq(again.err.code, ERR_BUSY);
    cr_expect_eq(state(), REQUEST_NOT_SUBMITTED);
    outcome(&clients[1], REQUEST_SUBMITTED, 18);
    cr_expect_eq(must_go().row.attempt, 2);
}

Test(requests_turns, a_journal_that_fails_fails_all_that_wait)
{
    submit(MANY);
    w.broken = true;
    outcome(&clients[0], REQUEST_SUBMITTED, 17);
    for (size_t i = REQUESTS_AHEAD; i < MANY; i++) {
        cr_expect_eq(clients[i].told, 1);
        cr_expect_eq(clients[i].turn, REQUEST_FAIL);
    }
    cr_expect_eq(requests_busy(w.r), REQUESTS_AHEAD - 1);
}

/* The journal has it already, with its job: that takes no longer than its answer. */
Test(requests_turns, what_the_journal_answers_leaves_its_turn)
{
    for (size_t i = 0; i < MANY; i++) {
        struct request_row row = {.uid = ALICE,
                                  .state = REQUEST_ENDED,
                                  .attempt = 1,
                                  .begun = wall,
                                  .changed = wall,
                                  .job_id = (int64_t)i + 10};
        memcpy(row.id, nth(i), REQUEST_ID);
        memcpy(row.hash, content, REQUEST_HASH);
        keep(&row);
    }
    submit(MANY);
    for (size_t i = 0; i < MANY; i++) {
        cr_expect_eq(clients[i].turn, REQUEST_ANSWER);
        cr_expect_eq(clients[i].row.job_id, (int64_t)i + 10);
    }
    cr_expect_eq(requests_busy(w.r), 0);
}

Test(requests_turns, a_server_that_stops_begins_none)
{
    submit(MANY);
    requests_close(w.r);
    cr_expect_eq(clients[REQUESTS_AHEAD].err.code, ERR_BUSY);
    outcome(&clients[0], REQUEST_SUBMITTED, 17);
    cr_expect_eq(gone(), REQUESTS_AHEAD);
    cr_expect_eq(ask_as(ALICE, nth(MANY - 1), content).err.code, ERR_BUSY);
    cr_expect_eq(requests_busy(w.r), REQUESTS_AHEAD - 1);
}

/* Whoever asks about it must not be told that there is no such request: it will be submitted. */
Test(requests_turns, what_waits_is_known)
{
    submit(REQUESTS_AHEAD + 1);
    cr_expect_eq(clients[REQUESTS_AHEAD].told, 0);
    cr_expect(requests_is_asked(w.r, ALICE, nth(REQUESTS_AHEAD)));
    cr_expect_not(requests_is_asked(w.r, ALICE, nth(0)));
    cr_expect_not(requests_is_asked(w.r, BOB, nth(REQUESTS_AHEAD)));
}

/* Settled as having no job, it must not be submitted after that by a try of before. */
Test(requests_turns, an_attempt_that_waits_is_under_way)
{
    struct err err = {0};
    struct client again = {0};
    attempt_waits(1, &again);
    cr_expect_neq(state(), REQUEST_NOT_SUBMITTED);
    cr_expect(requests_is_asked(w.r, ALICE, one));
    cr_expect_lt(requests_resolve(w.r, ALICE, one, 0, &err), 0, "it is being submitted");
    outcome(&clients[1], REQUEST_SUBMITTED, 18);
    cr_expect_eq(again.turn, REQUEST_GO);
}

/* Its job has turned up, and lives; then its turn expires, and that is nothing to it. */
Test(requests_turns, a_turn_that_nobody_waits_for_expires)
{
    struct client again = {0};
    attempt_waits(2, &again);
    appears(17, 2, "RUNNING");
    cr_assert_eq(again.row.job_id, 17);
    pass(TURN_S + 1);
    requests_tick(w.r);
    pass(3601);
    requests_tick(w.r);
    cr_expect_eq(state(), REQUEST_SUBMITTED, "its job lives: it is not forgotten");
    appears(17, 2, "COMPLETED");
    requests_tick(w.r);
    cr_expect_eq(on_disk(ALICE, one)->state, REQUEST_ENDED);
}

/* The same with a late twin, which is being cancelled. */
Test(requests_turns, a_turn_that_nobody_waits_for_expires_and_its_job_stays)
{
    struct client again = {0};
    attempt_waits(2, &again);
    appears(17, 2, "RUNNING");
    appears(16, 1, "PENDING");
    cr_expect_eq(w.cancelled, 16);
    pass(TURN_S + 1);
    requests_tick(w.r);
    requests_tick(w.r);
    cr_expect_eq(on_disk(ALICE, one)->job_id, 17, "it is %lld",
                 (long long)on_disk(ALICE, one)->job_id);
}

/* A broker has begun, and its journal's rows come when a client has asked already. */
Test(requests_turns, the_journal_is_read_while_one_waits)
{
    submit(REQUESTS_AHEAD);
    struct request_row row = {.uid = ALICE,
                              .state = REQUEST_SUBMITTING,
                              .attempt = 1,
                              .begun = wall,
                              .changed = wall,
                              .tag = request_tag(ALICE, nth(REQUESTS_AHEAD), 1)};
    memcpy(row.id, nth(REQUESTS_AHEAD), REQUEST_ID);
    memcpy(row.hash, content, REQUEST_HASH);
    keep(&row);
    requests_submit(w.r, ALICE, nth(REQUESTS_AHEAD), content, on_turn, &clients[REQUESTS_AHEAD]);
    requests_opened(w.r, &row, 1);
    pass(TURN_S + 1);
    requests_tick(w.r);
    cr_expect_eq(clients[REQUESTS_AHEAD].told, 1);
    cr_expect_eq(requests_in_doubt(w.r, ALICE), 1, "nobody looks for its job");
}

/* From one that ends to the next, by a journal that takes its time. */
Test(requests_turns, what_has_its_turn_is_busy)
{
    submit(REQUESTS_AHEAD + 1);
    w.slow = true;
    for (size_t i = 0; i < REQUESTS_AHEAD; i++)
        outcome(&clients[i], REQUEST_SUBMITTED, (int64_t)i + 10);
    cr_expect_eq(requests_busy(w.r), 1);
    answer_begin();
    cr_expect_eq(requests_busy(w.r), 1);
}

static struct client re_asked;

static void on_turn_ask_again(void *arg, enum request_turn turn, struct request *q,
                              const struct err *err)
{
    on_turn(arg, turn, q, err);
    requests_submit(w.r, ALICE, one, content, on_turn, &re_asked);
}

/* Who is told that it made no job asks anew at once. */
Test(requests_turns, asked_anew_in_the_callback_it_leaves_its_turn)
{
    memset(&re_asked, 0, sizeof re_asked);
    struct client first = must_go(), joins = {0};
    requests_submit(w.r, ALICE, one, content, on_turn_ask_again, &joins);
    outcome(&first, REQUEST_NOT_SUBMITTED, 0);
    cr_assert_eq(re_asked.turn, REQUEST_GO);
    cr_expect_eq(requests_busy(w.r), 1, "it is being submitted");
    outcome(&re_asked, REQUEST_SUBMITTED, 17);
    take_all_turns();
    cr_expect_eq(gone(), REQUESTS_AHEAD);
}

/* The journal's row comes late, for two that wait; the first has other content. */
Test(requests_turns, the_journal_is_read_while_two_wait)
{
    static const uint8_t other[REQUEST_HASH] = {8};
    struct client differs = {0};
    submit(REQUESTS_AHEAD);
    struct client *same = &clients[REQUESTS_AHEAD];
    const uint8_t *id = nth(REQUESTS_AHEAD);
    requests_submit(w.r, ALICE, id, other, on_turn, &differs);
    requests_submit(w.r, ALICE, id, content, on_turn, same);
    struct request_row row = {
        .uid = ALICE, .state = REQUEST_NOT_SUBMITTED, .attempt = 1, .begun = wall, .changed = wall};
    memcpy(row.id, id, REQUEST_ID);
    memcpy(row.hash, content, REQUEST_HASH);
    keep(&row);
    requests_opened(w.r, &row, 1);
    cr_expect_eq(differs.told + same->told, 0);
    outcome(&clients[0], REQUEST_SUBMITTED, 9);
    cr_expect_eq(differs.err.code, ERR_CONFLICT);
    cr_assert_eq(same->turn, REQUEST_GO);
    cr_expect_eq(same->row.attempt, 2);
    cr_expect_eq(requests_busy(w.r), REQUESTS_AHEAD);
    outcome(same, REQUEST_SUBMITTED, 17);
    cr_expect_eq(requests_busy(w.r), REQUESTS_AHEAD - 1);
}

/* What waited for long has had the time that is one's own when it goes. */
Test(requests_turns, who_joined_is_not_told_of_a_doubt_when_it_goes)
{
    struct client joined = {0};
    submit(REQUESTS_AHEAD + 1);
    requests_submit(w.r, ALICE, nth(REQUESTS_AHEAD), content, on_turn, &joined);
    pass(REQUEST_WAIT_MS / 1000 + 1);
    outcome(&clients[0], REQUEST_SUBMITTED, 9);
    requests_tick(w.r);
    cr_expect_eq(joined.told, 0);
    outcome(&clients[REQUESTS_AHEAD], REQUEST_SUBMITTED, 17);
    cr_expect_eq(joined.row.job_id, 17);
}
