/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"

Test(arena, bytes_come_zeroed_and_aligned)
{
    AUTO(arena_done) struct arena a;
    arena_init(&a, 0);
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(&a, n);
        cr_assert_not_null(p);
        cr_expect_eq((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xff, n);
    }
}

Test(arena, what_is_larger_than_a_block_fits)
{
    AUTO(arena_done) struct arena a = {0};
    char *small = arena_strdup(&a, "before");
    char *large = arena_alloc(&a, 1 << 20);
    cr_assert_not_null(large);
    memset(large, 1, 1 << 20);
    cr_expect_str_eq(small, "before");
}

Test(arena, the_cap_holds)
{
    AUTO(arena_done) struct arena a;
    arena_init(&a, 100);
    cr_expect_null(arena_alloc(&a, 101));
    cr_expect_not_null(arena_alloc(&a, 90));
    cr_expect_null(arena_alloc(&a, 16), "96 are used");
    arena_done(&a);
    cr_expect_not_null(arena_alloc(&a, 90), "all of it is free again");
}

Test(arena, sizes_that_overflow_are_refused)
{
    AUTO(arena_done) struct arena a = {0};
    cr_expect_null(arena_alloc(&a, SIZE_MAX));
    cr_expect_null(arena_array(&a, SIZE_MAX / 8, 16));
    cr_expect_null(arena_strndup(&a, "", SIZE_MAX));
    cr_expect_not_null(arena_array(&a, 0, 16));
}

Test(arena, strings_are_copied_and_ended)
{
    AUTO(arena_done) struct arena a = {0};
    cr_expect_str_eq(arena_strndup(&a, "abcdef", 3), "abc");
    cr_expect_str_eq(arena_strndup(&a, NULL, 0), "");
    cr_expect_str_eq(arena_printf(&a, "%s-%d", "x", 7), "x-7");
}
