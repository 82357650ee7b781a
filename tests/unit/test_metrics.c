/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "agentd/metrics.h"

static const struct row {
    const char *kind, *name, *help;
} rows[] = {
#define COUNTER(id, name, a, b, help) {"counter", name, help},
#define HISTOGRAM(id, name, a, help) {"histogram", name, help},
#define READING(id, kind, name, a, divisor, help) {kind, name, help},
#include "agentd/metrics.def"
#undef COUNTER
#undef HISTOGRAM
#undef READING
};

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);
    return n > m && strcmp(s + n - m, with) == 0;
}

Test(metrics, names_are_as_prometheus_wants_them)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        bool counter = strcmp(r->kind, "counter") == 0, gauge = strcmp(r->kind, "gauge") == 0;
        cr_expect(counter == ends(r->name, "_total"), "%s: a %s", r->name, r->kind);
        if (!counter && !gauge)
            cr_expect(ends(r->name, "_duration_seconds"), "%s: a %s", r->name, r->kind);
        cr_expect_gt(strlen(r->help), 3);
        cr_expect_null(strpbrk(r->help, "\n\"\\"), "%s", r->help);
        for (const char *p = r->name; *p; p++)
            cr_expect(islower(*p) || *p == '_', "%s", r->name);
        for (size_t k = 0; k < i; k++)
            cr_expect_str_neq(r->name, rows[k].name);
    }
}

Test(metrics, a_duration_is_counted_in_the_first_bucket_that_holds_it)
{
    const int64_t bounds[] = {METRICS_BOUNDS};
    struct histogram h = {0};
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        cr_expect(i == 0 || bounds[i] > bounds[i - 1]);
        histogram_add(&h, bounds[i]);
        cr_expect_eq(h.buckets[i], i ? 2 : 1, "bound %zu", i);
        histogram_add(&h, bounds[i] + 1);
        cr_expect_eq(h.buckets[i + 1], 1, "above bound %zu", i);
    }
    struct histogram back = {0};
    histogram_add(&back, -5); /* of a clock of another host, say */
    cr_expect_eq(back.buckets[0], 1);
    cr_expect_eq(back.sum, 0);
}

Test(metrics, each_error_has_a_place_of_its_own)
{
    bool seen[DIM_result_N] = {false};
    static const enum err_code codes[] = {
        ERR_NONE,
#define ERR(name, number, status, retry, help) ERR_##name,
#include "common/errors.def"
#undef ERR
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        size_t at = result_of(codes[i]);
        cr_assert_lt(at, DIM_result_N);
        cr_expect(!seen[at], "%s shares its place", err_name(codes[i]));
        seen[at] = true;
    }
    cr_expect_eq(result_of((enum err_code)60000), RESULT_INTERNAL);
}
