/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What names are made of patterns: each line was seen as a file of a job of Slurm 22.05, but for
 * the rules of later ones. */
#include "agentd/logname.h"

#include <criterion/criterion.h>

#include "common/cleanup.h"

static const struct logname_job plain = {
    .job_id = 13,
    .array_task = LOGNAME_NO_TASK,
    .user = "alice",
    .name = "my job",
    .work_dir = "/w",
    .host = "vm",
};

static void expands(const struct logname_job *j, const char *pattern, const char *expected,
                    bool whole)
{
    AUTO(arena_done) struct arena arena = {0};
    bool is_whole;
    const char *got = logname_expand(pattern, j, &arena, &is_whole);
    cr_assert_not_null(got);
    cr_expect_str_eq(got, expected, "%s is %s, not %s", pattern ? pattern : "(null)", got,
                     expected);
    cr_expect_eq(is_whole, whole, "%s", pattern ? pattern : "(null)");
}

Test(logname, every_pattern_of_a_plain_job)
{
    static const char *const cases[][2] = {
        {"A-%A", "/w/A-13"},       {"a-%a", "/w/a-4294967294"}, {"J-%J", "/w/J-13"},
        {"j-%j", "/w/j-13"},       {"N-%N", "/w/N-vm"},         {"n-%n", "/w/n-0"},
        {"s-%s", "/w/s-batch"},    {"t-%t", "/w/t-0"},          {"u-%u", "/w/u-alice"},
        {"x-%x", "/w/x-my job"},   {"pc-%%-%%j", "/w/pc-%-%j"}, {"b-%b", "/w/b-%b"},
        {"q-%q-%z", "/w/q-%q-%z"}, {"end%", "/w/end%"},         {"%j%j", "/w/1313"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expands(&plain, cases[i][0], cases[i][1], true);
}

Test(logname, widths_pad_numbers_and_are_capped)
{
    static const char *const cases[][2] = {
        {"%5j", "/w/00013"},
        {"%12j", "/w/0000000013"},
        {"%99999999999999999999j", "/w/0000000013"},
        {"%010j", "/w/0000000013"},
        {"%0j", "/w/13"},
        {"%5A", "/w/00013"},
        {"%4J", "/w/0013"},
        {"%4n", "/w/0000"},
        {"%4t", "/w/0000"},
        {"%3a", "/w/4294967294"},
        {"%4s", "/w/batch"},
        {"%5N", "/w/vm"},
        {"%5u", "/w/alice"},
        {"%9x", "/w/my job"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expands(&plain, cases[i][0], cases[i][1], true);
}

Test(logname, a_width_in_vain_leaves_its_last_digit)
{
    expands(&plain, "w-%5", "/w/w-5", true);
    expands(&plain, "w-%5%", "/w/w-5%", true);
    expands(&plain, "%5%j-w", "/w/513-w", true);
    expands(&plain, "%12q", "/w/2q", true);
    expands(&plain, "3%-%3%", "/w/3%-3%", true);
}

Test(logname, later_slurms_leave_what_is_no_pattern_whole)
{
    struct logname_job j = plain;
    j.rules = LOGNAME_LITERAL;
    expands(&j, "w-%5", "/w/w-%5", true);
    expands(&j, "w-%5%", "/w/w-%5%", true);
    expands(&j, "%2%%j-%j", "/w/%2%13-13", true);
    expands(&j, "5-%5%x", "/w/5-%5%x", true);
    expands(&j, "%q-%12q-%%-%%j", "/w/%q-%12q-%-%j", true);
    expands(&j, "%j.%", "/w/13.", true);
    expands(&j, "%", "/w/", true);
}

Test(logname, a_backslash_ends_all_expansion)
{
    struct logname_job j = plain;
    expands(&j, "bs\\%j", "/w/bs%j", true);
    expands(&j, "bs\\\\-%j", "/w/bs\\-%j", true);
    expands(&j, "%j\\", "/w/%j", true);
    j.rules = LOGNAME_DROP_BACKSLASHES;
    expands(&j, "bs\\\\-%j", "/w/bs-%j", true);
    j.host = NULL;
    expands(&j, "\\%N", "/w/%N", true);
}

Test(logname, directories_come_in_front_as_they_are)
{
    struct logname_job j = plain;
    j.work_dir = "/w/d%j";
    expands(&j, NULL, "/w/d%j/slurm-13.out", true);
    expands(&j, "/w/d%j/o", "/w/d13/o", true);
    j.work_dir = "/w/b\\s";
    expands(&j, "o-%j", "/w/b\\s/o-13", true);
    j.work_dir = "/";
    expands(&j, "o", "/o", true);
    j.work_dir = NULL;
    expands(&j, "o", "o", true);
}

Test(logname, tasks_of_an_array)
{
    struct logname_job j = plain;
    j.array_job_id = 10;
    j.array_task = 12;
    expands(&j, NULL, "/w/slurm-10_12.out", true);
    expands(&j, "", "/w/slurm-10_12.out", true);
    expands(&j, "A%A-a%a-b%b-j%j-J%J-%3a", "/w/A10-a12-b%b-j13-J13-012", true);
    j.rules = LOGNAME_MODULO;
    expands(&j, "%a-%b-%2b", "/w/12-2-02", true);
}

Test(logname, what_is_not_known_yet_stays_and_is_told)
{
    struct logname_job j = plain;
    j.host = NULL;
    expands(&j, "%5N-%j", "/w/%5N-13", false);
    expands(&j, "o-%j", "/w/o-13", true);
    j.array_job_id = 13;
    j.waiting_tasks = true;
    j.rules = LOGNAME_MODULO;
    expands(&j, NULL, "/w/slurm-13_%a.out", false);
    expands(&j, "%A-%u", "/w/13-alice", true);
    expands(&j, "%4j-%J-%b", "/w/%4j-%J-%b", false);
}
