/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/str.h"

Test(str, numbers_are_whole_and_in_range)
{
    int64_t v = 42;
    cr_expect(str_to_i64("0", 0, 10, &v) && v == 0);
    cr_expect(str_to_i64("-5", -10, 10, &v) && v == -5);
    cr_expect(str_to_i64("9223372036854775807", 0, INT64_MAX, &v) && v == INT64_MAX);
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "1x", "0x1", "--1", "-", "11", "-1", "9223372036854775808", "1e1"};
    v = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(str_to_i64(bad[i], 0, 10, &v), "'%s'", bad[i]);
    cr_expect_eq(v, 42, "what is refused changes nothing");
}

Test(str, copies_are_cut_and_ended)
{
    char out[4];
    cr_expect(str_copy(out, sizeof out, "abc"));
    cr_expect_str_eq(out, "abc");
    cr_expect_not(str_copy(out, sizeof out, "abcd"));
    cr_expect_str_eq(out, "abc");
    cr_expect_not(str_copy(out, 1, "a"));
    cr_expect_str_eq(out, "");
}

Test(str, words_in_lists)
{
    cr_expect(str_in_list("a,b,c", "a"));
    cr_expect(str_in_list("a, b ,c", "b"));
    cr_expect(str_in_list("a,b,c", "c"));
    cr_expect_not(str_in_list("ab,c", "a"));
    cr_expect_not(str_in_list("a,b", "ab"));
    cr_expect_not(str_in_list("", "a"));
    cr_expect_not(str_in_list("a,,b", ""));
}

Test(str, null_is_equal_to_nothing)
{
    cr_expect_not(str_eq(NULL, NULL));
    cr_expect_not(str_eq("a", NULL));
    cr_expect(str_eq("a", "a"));
    cr_expect_str_eq(str_or(NULL, "b"), "b");
}
