/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include "agentd/rates.h"
#include "common/clock.h"

static const struct agentd_conf conf = {
    .query_rate_per_user = 100,
    .log_rate_per_user = 50,
    .call_rate_per_user = 10,
    .change_rate_per_user = 5,
};

static int takes(struct rates *r, enum op_index op, int64_t now_ms, int tries)
{
    enum rate_index class;
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += rates_take(r, &conf, op, now_ms, &class) == 0;
    return n;
}

Test(rates, each_class_has_its_own)
{
    struct rates r = {0};
    cr_expect_eq(takes(&r, OP_AT_job_submit, 5000, 20), 5);
    cr_expect_eq(takes(&r, OP_AT_job_control, 5000, 20), 0, "submits and controls are one");
    cr_expect_eq(takes(&r, OP_AT_job_script, 5000, 20), 10);
    cr_expect_eq(takes(&r, OP_AT_job_log, 5000, 200), 50);
    cr_expect_eq(takes(&r, OP_AT_job_get, 5000, 200), 100);
    cr_expect_eq(takes(&r, OP_AT_job_submit, 5400, 20), 2);
}

Test(rates, who_is_refused_is_told_which_and_until_when)
{
    struct rates r = {0};
    enum rate_index class = DIM_rate_N;
    takes(&r, OP_AT_job_submit, 5000, 5);
    cr_expect_eq(rates_take(&r, &conf, OP_AT_job_submit, 5000, &class), 200);
    cr_expect_eq(class, RATE_AT_changes);
    cr_expect_str_eq(rates_setting(class), "change_rate_per_user");
    cr_expect_eq(rates_take(&r, &conf, OP_AT_job_submit, 5199, &class), 1);
    cr_expect_eq(rates_take(&r, &conf, OP_AT_job_submit, 5200, &class), 0);
}

Test(rates, nobody_goes_before_those_who_wait)
{
    struct rates r = {0};
    enum rate_index class;
    takes(&r, OP_AT_job_submit, 5000, 5);
    r.waiting[RATE_AT_changes] = 2;
    cr_expect_eq(rates_take(&r, &conf, OP_AT_job_submit, 5000, &class), 600);
    cr_expect_eq(rates_take(&r, &conf, OP_AT_job_submit, 5400, &class), 200, "there are two");
    cr_expect_eq(rates_take_turn(&r, &conf, RATE_AT_changes, 5400), 0);
    cr_expect_eq(rates_take_turn(&r, &conf, RATE_AT_changes, 5400), 0);
    cr_expect_eq(rates_take_turn(&r, &conf, RATE_AT_changes, 5400), 200);
    cr_expect_geq(rates_take(&r, &conf, OP_AT_job_submit, 9000, &class), 1, "they go first");
    cr_expect_eq(takes(&r, OP_AT_job_get, 5400, 200), 100, "of another class");
}

Test(rates, nothing_is_forgotten_before_it_is_whole_again)
{
    struct rates r = {0};
    int64_t now = clock_mono_ms();
    cr_expect(rates_rested(&r, &conf), "nothing was asked");
    takes(&r, OP_AT_job_submit, now - 500, 5);
    cr_expect_not(rates_rested(&r, &conf), "two of five are back");
    struct rates before = {0};
    takes(&before, OP_AT_job_submit, now - 1500, 5);
    takes(&before, OP_AT_job_get, now - 1500, 5);
    cr_expect(rates_rested(&before, &conf));
}

Test(rates, to_end_a_session_and_to_administer_is_always_possible)
{
    struct rates r = {0};
    cr_expect_eq(takes(&r, OP_AT_session_end, 5000, 1000), 1000);
    cr_expect_eq(takes(&r, OP_AT_admin_drop, 5000, 1000), 1000);
    cr_expect_eq(takes(&r, OP_AT_admin_limits, 5000, 1000), 1000);
}

Test(rates, large_answers_cost_more_and_a_second_of_it_is_owed_at_most)
{
    struct rates r = {0};
    takes(&r, OP_AT_job_list, 5000, 1);
    rates_answered(&r, &conf, OP_AT_job_list, 39 * RATES_BYTES + 1);
    cr_expect_eq(takes(&r, OP_AT_job_get, 5000, 200), 60);
    rates_answered(&r, &conf, OP_AT_job_list, (size_t)4000 << 20);
    cr_expect_eq(takes(&r, OP_AT_job_get, 5990, 200), 0);
    cr_expect_eq(takes(&r, OP_AT_job_get, 6500, 200), 50);
    rates_answered(&r, &conf, OP_AT_job_log, 100 << 20);
    cr_expect_eq(takes(&r, OP_AT_job_log, 6500, 200), 50, "a log is read by its user's worker");
}

Test(rates, every_operation_has_its_row)
{
    static const char *const rows[DIM_op_N] = {
#define RATED(op, class) [OP_AT_##op] = #class,
#include "agentd/rates.def"
#undef RATED
    };
    for (int i = 0; i < OP_AT_unknown; i++)
        cr_expect_not_null(rows[i], "operation %d of ops.def", i);
}
