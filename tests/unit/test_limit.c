/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include "agentd/limit.h"

static int takes(struct limit *l, const char *key, int64_t now_ms, int tries)
{
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += limit_take(l, key, now_ms);
    return n;
}

Test(limit, a_key_has_its_rate_and_a_second_of_burst)
{
    struct limit *l = limit_new(100, 10);
    cr_expect_eq(takes(l, "a", 1000, 50), 10);
    cr_expect_eq(takes(l, "a", 1000, 50), 0);
    cr_expect_eq(takes(l, "a", 1500, 50), 5);
    cr_expect_eq(takes(l, "a", 9000, 50), 10, "it does not save up more");
    limit_free(l);
}

Test(limit, all_keys_together_have_theirs)
{
    struct limit *l = limit_new(20, 10);
    cr_expect_eq(takes(l, "a", 1000, 50), 10);
    cr_expect_eq(takes(l, "b", 1000, 50), 6, "and then the reserve begins");
    cr_expect_eq(takes(l, "b", 2000, 50), 10, "what all refused was not taken from the key");
    limit_free(l);
}

Test(limit, a_few_keys_cannot_keep_others_out)
{
    struct limit *l = limit_new(20, 10);
    takes(l, "a", 1000, 50);
    takes(l, "b", 1000, 50);
    cr_expect_eq(takes(l, "c", 1000, 50), 1, "one who was quiet");
    cr_expect_eq(takes(l, "d", 1000, 50), 1);
    cr_expect_eq(takes(l, "a", 1000, 50), 0);
    for (char key[] = "e"; *key < 'z'; ++*key)
        takes(l, key, 1000, 1);
    cr_expect_eq(takes(l, "z", 1000, 1), 0, "the whole is still the whole");
    limit_free(l);
}

Test(limit, a_clock_that_stands_still_gives_nothing)
{
    struct limit *l = limit_new(100, 10);
    cr_expect_eq(takes(l, "a", 5000, 50), 10);
    cr_expect_eq(takes(l, "a", 4000, 50), 0);
    limit_free(l);
}
