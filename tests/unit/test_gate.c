/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include "agentd/gate.h"

enum { SLOW_MS = 1000, MOST = 3, USERS = 16 };
#define S 1000000LL

static struct agentd_conf conf = {.slurm_slow_ms = SLOW_MS, .max_slurm_calls = MOST};

static bool is_refused(struct gate *g, int64_t now_us, enum err_code code)
{
    struct err err = {0};
    int rc = gate_check(g, now_us, &err);
    if (rc < 0) {
        cr_expect_eq(err.code, code, "%s", err.text);
        cr_expect_gt(err.retry_after_ms, 0);
    }
    return rc < 0;
}

/* A call of that user from then on, and how it went. */
static void call(struct gate *g, struct gate_call *c, int64_t at_us, int64_t took_us, bool silent)
{
    cr_assert(gate_enter(g, c, at_us));
    c->counts = true;
    gate_leave(g, c, silent, at_us + took_us);
}

/* Calls of one user after the other, none of whom waits for another, until new ones are refused. */
static int calls_until_slow(struct gate *g, int64_t *now_us, int64_t took_us, bool silent)
{
    struct gate_call users[USERS] = {0};
    for (int n = 0; n < USERS; n++) {
        if (gate_look(g).slow)
            return n;
        call(g, &users[n], *now_us, took_us, silent);
        *now_us += took_us;
    }
    return -1;
}

Test(gate, so_many_calls_are_in_at_a_time)
{
    struct gate *g = gate_new(&conf);
    struct gate_call c[MOST + 1] = {0};
    for (int i = 0; i < MOST; i++)
        cr_assert(gate_enter(g, &c[i], S));
    cr_expect_not(gate_enter(g, &c[MOST], S));
    cr_expect_eq(gate_look(g).calls, MOST);
    cr_expect_not(is_refused(g, S, ERR_BUSY), "it may wait");
    gate_leave(g, &c[1], false, S);
    gate_leave(g, &c[1], false, S); /* a second time is none */
    cr_expect_eq(gate_look(g).calls, MOST - 1);
    cr_expect(gate_enter(g, &c[MOST], S));
    cr_expect_not(gate_enter(g, &c[1], S));
    gate_free(g);
}

Test(gate, calls_that_are_fast_and_one_that_is_not_change_nothing)
{
    struct gate *g = gate_new(&conf);
    struct gate_call a = {0}, b = {0};
    int64_t now = S;
    for (int i = 0; i < 50; i++, now += 2 * S)
        call(g, &a, now, S / 100, false);
    call(g, &b, now, 100 * S, true);
    cr_expect_not(gate_look(g).slow, "it counts for no more than four times what is too long");
    cr_expect_gt(gate_look(g).pace_us, SLOW_MS * 1000 / 4);
    gate_free(g);
}

Test(gate, slow_calls_of_several_users_have_new_ones_refused_until_one_is_fast)
{
    struct gate *g = gate_new(&conf);
    struct gate_call probe = {0}, other = {0};
    int64_t now = S;
    int n = calls_until_slow(g, &now, 3 * S, false);
    cr_assert_gt(n, 2);
    cr_expect(is_refused(g, now, ERR_BUSY));
    cr_expect_not(gate_enter(g, &probe, now), "nor does one that has waited come in");
    now += S;
    cr_expect_not(is_refused(g, now, ERR_BUSY), "one is to find out");
    cr_assert(gate_enter(g, &probe, now));
    probe.counts = true;
    cr_expect(is_refused(g, now, ERR_BUSY), "and one only");
    cr_expect_not(gate_enter(g, &other, now));
    now += 2 * S;
    gate_leave(g, &probe, false, now);
    cr_expect(is_refused(g, now, ERR_BUSY), "it was slow");
    now += S;
    call(g, &probe, now, S / 100, false);
    cr_expect_not(is_refused(g, now, ERR_BUSY));
    cr_expect_not(gate_look(g).slow);
    cr_expect_eq(gate_look(g).pace_us, 0);
    gate_free(g);
}

Test(gate, what_cannot_tell_does_not_end_it)
{
    struct gate *g = gate_new(&conf);
    struct gate_call probe = {0}, old = {0};
    int64_t now = S;
    cr_assert(gate_enter(g, &old, now));
    old.counts = true;
    calls_until_slow(g, &now, 3 * S, false);
    gate_leave(g, &old, false, now + 1);
    cr_expect(gate_look(g).slow, "it began before");
    now += S;
    cr_assert(gate_enter(g, &probe, now)); /* one about a thousand jobs, say */
    gate_leave(g, &probe, false, now);
    cr_expect(gate_look(g).slow);
    cr_expect(gate_enter(g, &probe, now), "but the next one may");
    gate_free(g);
}

Test(gate, a_slurmctld_that_does_not_answer_is_called_so)
{
    struct gate *g = gate_new(&conf);
    int64_t now = S;
    cr_assert_gt(calls_until_slow(g, &now, S / 100, true), 2);
    cr_expect(is_refused(g, now, ERR_SLURM_DOWN));
    gate_free(g);
}

Test(gate, calls_under_way_count_once_they_are_slow)
{
    struct agentd_conf many = {.slurm_slow_ms = SLOW_MS, .max_slurm_calls = USERS};
    struct gate *g = gate_new(&many);
    struct gate_call c[USERS] = {0};
    for (int i = 0; i < USERS; i++) {
        cr_assert(gate_enter(g, &c[i], S));
        c[i].counts = true;
    }
    gate_tick(g, S + SLOW_MS * 1000);
    cr_expect_not(gate_look(g).slow);
    gate_tick(g, S + 2 * SLOW_MS * 1000);
    cr_expect(gate_look(g).slow);
    gate_free(g);
}

Test(gate, one_under_way_for_ever_is_no_reason)
{
    struct gate *g = gate_new(&conf);
    struct gate_call c = {0};
    cr_assert(gate_enter(g, &c, S));
    c.counts = true;
    for (int i = 1; i < 500; i++)
        gate_tick(g, S + i * S / 2);
    cr_expect_not(gate_look(g).slow);
    gate_free(g);
}

/* What a worker says of slurmctld is its user's word. */
Test(gate, one_user_does_not_decide_for_all)
{
    struct gate *g = gate_new(&conf);
    struct gate_call liar = {0}, others[4] = {0};
    int64_t now = S;
    for (int i = 0; i < 2000; i++, now += S / 200) {
        call(g, &liar, now, 1, true);
        if (i % 50 == 0)
            call(g, &others[i / 50 % 4], now, S / 1000, false);
    }
    cr_expect_not(gate_look(g).slow);
    gate_free(g);
}

/* Workers that their users have stopped, beside one that works. */
Test(gate, calls_under_way_say_nothing_once_a_later_one_was_answered)
{
    struct agentd_conf many = {.slurm_slow_ms = SLOW_MS, .max_slurm_calls = USERS};
    struct gate *g = gate_new(&many);
    struct gate_call stopped[USERS - 1] = {0}, other = {0};
    int64_t now = S;
    for (int i = 0; i < USERS - 1; i++) {
        cr_assert(gate_enter(g, &stopped[i], now));
        stopped[i].counts = true;
    }
    call(g, &other, now + 1, S / 100, false);
    for (int i = 1; i < 50; i++)
        gate_tick(g, now += S / 2);
    cr_expect_not(gate_look(g).slow);
    for (int i = 0; i < USERS - 1; i++)
        gate_leave(g, &stopped[i], true, now += S);
    cr_expect_not(gate_look(g).slow);
    gate_free(g);
}

Test(gate, one_that_does_not_find_out_in_time_keeps_no_other_from_it)
{
    struct gate *g = gate_new(&conf);
    struct gate_call stopped = {0}, next = {0};
    int64_t now = S;
    calls_until_slow(g, &now, 3 * S, false);
    now += S;
    cr_assert(gate_enter(g, &stopped, now));
    stopped.counts = true;
    now += 2 * SLOW_MS * 1000;
    cr_expect_not(gate_enter(g, &next, now));
    gate_tick(g, now);
    cr_expect_not(gate_enter(g, &next, now));
    now += S;
    call(g, &next, now, S / 100, false);
    cr_expect_not(gate_look(g).slow);
    gate_leave(g, &stopped, true, now + S);
    cr_expect_not(gate_look(g).slow, "it began before");
    cr_expect_eq(gate_look(g).calls, 0);
    gate_free(g);
}
