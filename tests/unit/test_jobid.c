/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/jobid.h"

#include <criterion/criterion.h>
#include <string.h>
#include <string.h>

#include "common/cleanup.h"

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
