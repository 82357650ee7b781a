/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/jobid.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"

Test(jobid, reads_every_form)
{
    static const struct {
        const char *text;
        struct jobid id;
    } cases[] = {
        {"1", {JOBID_PLAIN, 1, 0, NULL}},
        {"12", {JOBID_PLAIN, 12, 0, NULL}},
        {"4294967280", {JOBID_PLAIN, 4294967280, 0, NULL}},
        {"12_0", {JOBID_TASK, 12, 0, NULL}},
        {"12_3", {JOBID_TASK, 12, 3, NULL}},
        {"12+0", {JOBID_HET, 12, 0, NULL}},
        {"12+1", {JOBID_HET, 12, 1, NULL}},
        {"12_[1-4]", {JOBID_TASKS, 12, 0, NULL}},
        {"12_[1-4,9%2]", {JOBID_TASKS, 12, 0, NULL}},
        {"12_[1-9:2]", {JOBID_TASKS, 12, 0, NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jobid id;
        struct err err = {0};
        cr_assert_eq(jobid_parse(cases[i].text, &id, &err), 0, "%s: %s", cases[i].text, err.text);
        cr_expect_eq(id.kind, cases[i].id.kind, "%s", cases[i].text);
        cr_expect_eq(id.id, cases[i].id.id, "%s", cases[i].text);
        cr_expect_eq(id.second, cases[i].id.second, "%s", cases[i].text);
    }
}

Test(jobid, refuses_the_rest_by_name_and_leaves_out_alone)
{
    static const char *const cases[] = {
        "",        "0",          "-1",          "+1",     "a",
        "1a",      " 1",         "1 ",          "12_",    "12+",
        "12_a",    "12_-1",      "12_[",        "12_[]",  "12_[1",
        "12_[1]x", "12_[a]",     "12_1_2",      "12+1+2", "12_1+2",
        "12,13",   "4294967281", "99999999999", "0x10",   "12_4294967295",
        "1\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jobid id = {JOBID_HET, 7, 8, NULL};
        struct err err = {0};
        cr_expect_eq(jobid_parse(cases[i], &id, &err), -1, "%s", cases[i]);
        cr_expect_eq(err.code, ERR_INVALID, "%s", cases[i]);
        cr_expect(strstr(err.text, "is not a job id"), "%s", err.text);
        cr_expect(id.kind == JOBID_HET && id.id == 7 && id.second == 8, "%s", cases[i]);
    }
}

Test(jobid, names_the_text)
{
    struct jobid id;
    struct err err = {0};
    jobid_parse("twelve", &id, &err);
    cr_expect_str_eq(err.text, "'twelve' is not a job id: give 12, 12_3, 12_[1-4] or 12+1");
}

Test(jobid, task_lists_are_read)
{
    cr_expect(jobid_tasks_contain("3", 3));
    cr_expect_not(jobid_tasks_contain("3", 4));
    cr_expect(jobid_tasks_contain("1,3,5-7", 6));
    cr_expect(jobid_tasks_contain("0-10:5%1", 10));
    cr_expect_not(jobid_tasks_contain("0-10:5%1", 9));
    cr_expect_not(jobid_tasks_contain("", 0));
    cr_expect_not(jobid_tasks_contain("0-9:0", 0), "a step of nothing");
    cr_expect_not(jobid_tasks_contain("1-3,...", 9), "a list that Slurm cut");
}

/* By trying each number. */
static bool meet_slowly(const char *a, const char *b)
{
    for (uint32_t n = 0; n <= 60; n++)
        if (jobid_tasks_contain(a, n) && jobid_tasks_contain(b, n))
            return true;
    return false;
}

Test(jobid, lists_of_tasks_meet_where_they_have_a_task_in_common)
{
    static const char *const lists[] = {"3",       "4-9%2",    "1,3,5-7", "1-9:2", "2-60:6",
                                        "5-59:9",  "0-60:7",   "60",      "0",     "10-50:10",
                                        "11-51:4", "3-60:12]", "9-1",     ""};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
            cr_expect_eq(jobid_tasks_meet(lists[i], lists[k]), meet_slowly(lists[i], lists[k]),
                         "%s and %s", lists[i], lists[k]);
    for (uint32_t step = 1; step < 14; step++)
        for (uint32_t lo = 0; lo < 30; lo++) {
            char a[40], b[40];
            snprintf(a, sizeof a, "%u-57:%u", lo, step);
            snprintf(b, sizeof b, "%u-%u:%u", 29 - lo, 60 - lo, 15 - step);
            cr_expect_eq(jobid_tasks_meet(a, b), meet_slowly(a, b), "%s and %s", a, b);
        }
    cr_expect(jobid_tasks_meet("0-4294967280:4294967279", "4294967279"));
    cr_expect_not(jobid_tasks_meet("0-4294967280:2", "1-4294967279:2"));
}

/* As slurmctld writes the waiting tasks of 0-29999:3,0-29999:7 */
static char *long_list(bool *has)
{
    enum { TASKS = 30000, ROOM = 16 };
    char *text = calloc(TASKS, ROOM), *end = text;
    cr_assert_not_null(text);
    for (uint32_t n = 0; n < TASKS; n++) {
        has[n] = n % 3 == 0 || n % 7 == 0;
        if (!has[n] || (n && has[n - 1]))
            continue;
        bool two = (n + 1) % 3 == 0 || (n + 1) % 7 == 0;
        end += snprintf(end, ROOM, two ? "%s%u-%u" : "%s%u", n ? "," : "", n, n + 1);
    }
    return text;
}

Test(jobid, long_lists_are_read_like_short_ones)
{
    static bool has[30001];
    AUTO(free) char *list = long_list(has);
    for (uint32_t n = 0; n <= 30000; n++) {
        char one[16], two[32], spread[40];
        snprintf(one, sizeof one, "%u", n);
        snprintf(two, sizeof two, "50000,%u-%u", n, n + 2);
        snprintf(spread, sizeof spread, "%u-30000:21", n);
        cr_assert_eq(jobid_tasks_contain(list, n), has[n], "%u", n);
        cr_assert_eq(jobid_tasks_meet(one, list), has[n], "%u", n);
        cr_assert(jobid_tasks_meet(two, list) || n > 29997, "%u", n); /* one of three has 3 */
        cr_assert_eq(jobid_tasks_meet(spread, list), has[n], "%u", n);
    }
}

/* Ten thousand tasks of an array are looked up in its list one by one, some times over, while the
 * broker does nothing else. */
Test(jobid, a_long_list_is_not_read_for_each_task, .timeout = 60)
{
    enum { LOOKS = 300000, MOST_MS = 10000 }; /* when each look reads all of it: minutes */
    static bool has[30001];
    AUTO(free) char *list = long_list(has);
    int64_t begun = clock_mono_ms();
    for (uint32_t i = 0; i < LOOKS && clock_mono_ms() - begun < MOST_MS; i++)
        cr_assert_eq(jobid_tasks_contain(list, i % 30000), has[i % 30000]);
    cr_expect_lt(clock_mono_ms() - begun, MOST_MS);
}
