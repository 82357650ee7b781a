/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which records an id names, looked up instead of compared one by one */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/str.h"
#include "tests/kit/record.h"

TestSuite(jobrec, .timeout = 30);

static const struct job jobs[] = {
    {.job_id = 7, .id = "7"},
    {.job_id = 8, .id = "8"},
    {.job_id = 20, .array_job_id = 20, .array_task = "4-9%2", .id = "20_[4-9%2]"},
    {.job_id = 21, .array_job_id = 20, .array_task = "1", .id = "20_1"},
    {.job_id = 22, .array_job_id = 20, .array_task = "2", .id = "20_2"},
    {.job_id = 30, .het_job_id = 30, .het_offset = 0, .id = "30+0"},
    {.job_id = 31, .het_job_id = 30, .het_offset = 1, .id = "30+1"},
};
static const char *const ids[] = {"7",    "8",    "9",    "20",         "21",       "20_1", "20_2",
                                  "20_4", "20_5", "20_9", "20_[1,5-6]", "20_[1-2]", "30",   "31",
                                  "30+0", "30+1", "30+2", "21_1",       "7_0",      "7+0"};

static bool named_by_one(const struct jobrec *r, const struct jobid *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (jobrec_named(r, &v[i]))
            return true;
    return false;
}

/* Every set of three ids against every record. */
Test(jobrec, looking_ids_up_is_comparing_with_each)
{
    enum { N = ARRAY_LEN(ids) };
    struct jobrec *r[ARRAY_LEN(jobs)];
    struct err err = {0};
    size_t hits = 0;
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        r[i] = record_of(&jobs[i]);
    for (size_t a = 0; a < N; a++)
        for (size_t b = 0; b < N; b++)
            for (size_t c = 0; c < N; c++) {
                const char *const texts[] = {ids[a], ids[b], ids[c]};
                struct jobid v[3];
                cr_assert_eq(jobids_parse(texts, 3, v, &err), 0, "%s", err.text);
                qsort(v, 3, sizeof *v, jobid_order);
                for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
                    for (size_t n = 0; n <= 3; n++) {
                        bool want = named_by_one(r[i], v, n);
                        cr_assert_eq(jobrec_named_any(r[i], v, n), want, "%s by %zu of %s %s %s",
                                     r[i]->id, n, texts[0], texts[1], texts[2]);
                        hits += want;
                    }
            }
    cr_expect_gt(hits, 0);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
        jobrec_unref(r[i]);
}

Test(jobrec, lists_of_tasks_are_bounded)
{
    const char *texts[JOBID_LISTS_MAX + 1];
    struct jobid v[JOBID_LISTS_MAX + 1];
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        texts[i] = "20_[1-2]";
    cr_expect_eq(jobids_parse(texts, JOBID_LISTS_MAX, v, &err), 0, "%s", err.text);
    cr_expect_eq(jobids_parse(texts, JOBID_LISTS_MAX + 1, v, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
    cr_expect_not_null(strstr(err.text, "20_[1-2]"), "%s", err.text);
}

Test(jobrec, a_job_whose_end_is_not_known_is_in_no_state)
{
    const struct job j = {.job_id = 7, .id = "7", .state = "COMPLETED", .phase = "UNKNOWN"};
    struct jobrec *r = record_of(&j);
    struct job_filter f = {.uid = -1};
    struct err err = {0};
    const char *completed = "COMPLETED";
    cr_expect_str_eq(r->keys.state, "UNKNOWN");
    cr_expect(job_filter_matches(&f, &r->keys));
    cr_assert_eq(jobstate_set(&(struct strs){&completed, 1}, &f.states, &err), 0);
    cr_expect_not(job_filter_matches(&f, &r->keys));
    jobrec_unref(r);
}
