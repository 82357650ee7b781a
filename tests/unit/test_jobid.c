/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/jobid.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/cleanup.h"

Test(jobid, reads_every_form)
{
    static const struct {
        const char *text;
        struct jobid id;
    } cases[] = {
        {"1", {JOBID_PLAIN, 1, 0}},
        {"12", {JOBID_PLAIN, 12, 0}},
        {"4294967280", {JOBID_PLAIN, 4294967280, 0}},
        {"12_0", {JOBID_TASK, 12, 0}},
        {"12_3", {JOBID_TASK, 12, 3}},
        {"12+0", {JOBID_HET, 12, 0}},
        {"12+1", {JOBID_HET, 12, 1}},
        {"12_[1-4]", {JOBID_TASKS, 12, 0}},
        {"12_[1-4,9%2]", {JOBID_TASKS, 12, 0}},
        {"12_[1-9:2]", {JOBID_TASKS, 12, 0}},
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
        struct jobid id = {JOBID_HET, 7, 8};
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
