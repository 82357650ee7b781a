/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>

#include "agentd/turns.h"

struct item {
    struct turn turn;
    int number;
};

static int take(struct turns *t)
{
    struct item *i = (struct item *)turns_take(t);
    return i ? i->number : -1;
}

Test(turns, one_of_each_in_the_order_they_came)
{
    static struct turns t;
    struct item v[7];
    static const uint64_t who[7] = {5, 5, 5, 5, 6, 7, 6};
    cr_expect_eq(take(&t), -1);
    cr_expect_not(turns_any(&t));
    for (int i = 0; i < 7; i++) {
        v[i].number = i;
        turns_add(&t, &v[i].turn, who[i]);
    }
    cr_expect(turns_any(&t));
    static const int want[7] = {0, 4, 5, 1, 6, 2, 3};
    for (int i = 0; i < 7; i++)
        cr_expect_eq(take(&t), want[i], "turn %d", i);
    cr_expect_eq(take(&t), -1);
}

Test(turns, who_comes_late_waits_for_one_turn_of_the_others)
{
    static struct turns t;
    enum { MANY = 1000 };
    static struct item v[MANY + 1];
    for (int i = 0; i < MANY; i++) {
        v[i].number = i;
        turns_add(&t, &v[i].turn, 1);
    }
    cr_expect_eq(take(&t), 0);
    v[MANY].number = MANY;
    turns_add(&t, &v[MANY].turn, 2);
    cr_expect_eq(take(&t), 1);
    cr_expect_eq(take(&t), MANY);
    for (int i = 2; i < MANY; i++)
        cr_expect_eq(take(&t), i);
    cr_expect_eq(take(&t), -1);
}
