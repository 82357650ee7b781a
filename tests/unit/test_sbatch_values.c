/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The grammars of the values.  The expectations were held against sbatch 22.05.8. */
#include "agentd/sbatch.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "common/str.h"

static struct arena arena;

/* Monday 2026-11-23 11:40:52 UTC */
static const int64_t NOW = 1795434052;

static void start(void)
{
    arena_init(&arena, 0);
    setenv("TZ", "UTC", 1);
    tzset();
}

static void end(void)
{
    arena_done(&arena);
}

TestSuite(sbatch_values, .init = start, .fini = end);

static int parse(const char *name, const char *value, struct sbatch *out, struct err *err)
{
    struct pair pair = {name, value};
    struct pairs pairs = {&pair, 1};
    struct sbatch_source in = {.script = {(const uint8_t *)"#!/bin/sh\n", 10},
                               .options = &pairs,
                               .n_options = 1,
                               .max_script = 4096,
                               .now = NOW};
    struct sbatch_jobs jobs;
    *err = (struct err){0};
    if (sbatch_parse(&in, &arena, &jobs, err) < 0)
        return -1;
    *out = jobs.v[0];
    return 0;
}

struct number_case {
    const char *value;
    int64_t want;
};

static void good_numbers(const char *name, size_t member, const struct number_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sbatch job;
        struct err err;
        cr_expect_eq(parse(name, c[i].value, &job, &err), 0, "--%s='%s': %s", name, c[i].value,
                     err.text);
        if (err.code == ERR_NONE)
            cr_expect_eq(*(int64_t *)((char *)&job + member), c[i].want, "--%s='%s': %lld", name,
                         c[i].value, (long long)*(int64_t *)((char *)&job + member));
    }
}

/* Each is ERR_INVALID, and the text begins with --name=value and says why. */
static void bad_values(const char *name, const char *why, const char *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sbatch job;
        struct err err;
        const char *front = arena_printf(&arena, "--%s=%s: %s", name, values[i], why);
        cr_expect_eq(parse(name, values[i], &job, &err), -1, "%s", front);
        cr_expect_eq(err.code, ERR_INVALID, "%s", front);
        cr_expect_eq(strncmp(err.text, front, strlen(front)), 0, "%s, not %s", err.text, front);
    }
}

#define GOOD(name, member, ...)                                                                    \
    good_numbers(name, offsetof(struct sbatch, member), (const struct number_case[]){__VA_ARGS__}, \
                 ARRAY_LEN(((const struct number_case[]){__VA_ARGS__})))
#define BAD(name, why, ...)                                                                        \
    bad_values(name, why, (const char *const[]){__VA_ARGS__},                                      \
               ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

Test(sbatch_values, time)
{
    GOOD("time", time_limit, {"1", 1}, {"10", 10}, {"90:30", 91}, {"0:1", 1}, {"0:01:01", 2},
         {"60:60", 61}, {"1:00:00", 60}, {"1-0", 1440}, {"1-25", 2940}, {"1-1:30", 1530},
         {"1-1:30:01", 1531}, {"2-", 2880}, {"007", 7}, {"24855-0", 35791200},
         {"0", SBATCH_INFINITE}, {"0:00", SBATCH_INFINITE}, {"UNLIMITED", SBATCH_INFINITE},
         {"infinite", SBATCH_INFINITE}, {"-1", SBATCH_INFINITE});
    /* sbatch makes a huge number of -5, and lets large ones wrap around */
    BAD("time", "not a time: give minutes", "", "abc", "1:", ":30", "1-:", "-5", "1--2", "1:2:3:4",
        "5min", " 5", "5 ", "+5", "1:-2", "1-2-3", "-", ":", "99999999999", "1.5", "unlimitedx");
    BAD("time", "more than 68 years", "24856-0", "400000-0", "35791395", "4294967295");
}

Test(sbatch_values, nodes)
{
    GOOD("nodes", min_nodes, {"1", 1}, {"2-3", 2}, {"0-2", 0}, {"0", 0}, {"1k", 1024}, {"2K", 2048},
         {"1m", 1048576}, {"2k-3k", 2048}, {"2 ", 2}, {" 2", 2});
    GOOD("nodes", max_nodes, {"1", 1}, {"-4", 4}, {"2-3", 3}, {"3-3", 3}, {"0", SBATCH_UNSET},
         {"2k-3K", 3072}, {"1-1M", 1048576});
    BAD("nodes", "not a number of nodes: give", "", "a", "--1", "1-", "1-a", "1-2-3", "1:", "1-k",
        "1kk", "1,2", "1-4:2", "99999999999", "9999999m", "1.5");
    BAD("nodes", "the largest number of nodes is smaller", "3-1", "1-0");
}

Test(sbatch_values, tasks_and_cpus)
{
    GOOD("ntasks", ntasks, {"1", 1}, {"+3", 3}, {" 3", 3}, {"2147483647", 2147483647});
    BAD("ntasks", "not a number: give a whole number from 1 on", "", "0", "-1", "abc", "1k",
        "2147483648", "3 ", "0x3", "1.5", "99999999999999999999");
    GOOD("cpus-per-task", cpus_per_task, {"1", 1}, {"65533", 65533});
    BAD("cpus-per-task", "not a number: give a whole number from 1 to 65533", "", "0", "-1",
        "65534", "65536", "x");
}

Test(sbatch_values, memory)
{
    GOOD("mem", mem_per_node, {"0", 0}, {"100", 100}, {"1K", 1}, {"100k", 1}, {"1024K", 1},
         {"1025K", 2}, {"0K", 0}, {"3M", 3}, {"1g", 1024}, {"2G", 2048}, {"1T", 1048576},
         {"1GB", 1024}, {"1Gb", 1024}, {"1KB", 1}, {"1000000T", 1048576000000});
    GOOD("mem-per-cpu", mem_per_cpu, {"0", 0}, {"7", 7}, {"10K", 1});
    BAD("mem", "not a size: give megabytes", "", "abc", "-5", "1P", "1.5G", "1Gx", "1GBB", "1 G",
        "100B", "B", "G", "99999999999999999999");
    BAD("mem", "more memory than there can be", "8796093022207T", "2000000000T");
    BAD("mem-per-cpu", "not a size", "x");
}

static void begins_at(const char *value, const char *want)
{
    struct sbatch job;
    struct err err;
    char got[64];
    cr_expect_eq(parse("begin", value, &job, &err), 0, "--begin='%s': %s", value, err.text);
    if (err.code != ERR_NONE)
        return;
    time_t t = job.begin_time;
    struct tm tm;
    strftime(got, sizeof got, "%FT%T", localtime_r(&t, &tm));
    cr_expect_str_eq(got, want, "--begin='%s' is %s", value, got);
}

Test(sbatch_values, begin)
{
    static const struct {
        const char *value, *want;
    } cases[] = {
        {"now", "2026-11-23T11:40:52"},
        {"now+1hour", "2026-11-23T12:40:52"},
        {"now + 1 hour", "2026-11-23T12:40:52"},
        {"now+60", "2026-11-23T11:41:52"},
        {"NOW+2Weeks", "2026-12-07T11:40:52"},
        {"now+1day ", "2026-11-24T11:40:52"},
        {"now+90seconds", "2026-11-23T11:42:22"},
        {"now-1hour", "2026-11-23T10:40:52"},
        {"10:00", "2026-11-24T10:00:00"},
        {"11:40", "2026-11-24T11:40:00"},
        {"11:41", "2026-11-23T11:41:00"},
        {"23:59:30", "2026-11-23T23:59:30"},
        {"9:05", "2026-11-24T09:05:00"},
        {"10:00 PM", "2026-11-23T22:00:00"},
        {"10:00pm", "2026-11-23T22:00:00"},
        {"12:00am", "2026-11-24T00:00:00"},
        {"12:30pm", "2026-11-23T12:30:00"},
        {"0:30 am", "2026-11-24T00:30:00"},
        {"midnight", "2026-11-24T00:00:00"},
        {"noon", "2026-11-23T12:00:00"},
        {"NOON", "2026-11-23T12:00:00"},
        {"fika", "2026-11-23T15:00:00"},
        {"teatime", "2026-11-23T16:00:00"},
        {"elevenses", "2026-11-24T11:00:00"}, /* of newer Slurms */
        {"today", "2026-11-23T00:00:00"},
        {"tomorrow", "2026-11-24T00:00:00"},
        {"tomorrow 10:00", "2026-11-24T10:00:00"},
        {"noon tomorrow", "2026-11-24T12:00:00"},
        {"1225", "2026-12-25T00:00:00"},
        {"122527", "2027-12-25T00:00:00"},
        {"12/25", "2026-12-25T00:00:00"},
        {"1/2", "2027-01-02T00:00:00"},
        {"12/25/27", "2027-12-25T00:00:00"},
        {"12.25.27", "2027-12-25T00:00:00"},
        {"12/25-10:00", "2026-12-25T10:00:00"},
        {"16:00 12/12", "2026-12-12T16:00:00"},
        {"11/23 11:00", "2027-11-23T11:00:00"},
        {"2027-01-20", "2027-01-20T00:00:00"},
        {"2027-01-2", "2027-01-02T00:00:00"},
        {"2027-01-20T12:34", "2027-01-20T12:34:00"},
        {"2027-01-20T12:34:56", "2027-01-20T12:34:56"},
        {"2027-01-20 12:34", "2027-01-20T12:34:00"},
        {"2020-01-01", "2020-01-01T00:00:00"},
        {"2027-02-30", "2027-03-02T00:00:00"},
        {"uts1900000000", "2030-03-17T17:46:40"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        begins_at(cases[i].value, cases[i].want);
    BAD("begin", "not a time: give now", "", " ", "--", "abc", "1", "13:00pm", "25:00", "10:60",
        "10:00:60", "10:0", "1325", "1232", "2027-1-2", "2027-13-01", "2027-01-32", "12/25/2027",
        "2027-01-20t12:34", "1900000000", "uts", "uts1", "uts19x", "uts-1900000000", "now+",
        "now+x", "now+1x", "now+5min", "nowx", "now+1hours2minutes", "now+1hour 10:00",
        "now tomorrow", "tomorrow now", "now+9999999999", "now+99999999999999999999", "1970-01-01",
        "/", "1:", "12:");
}

Test(sbatch_values, begin_is_in_the_local_time_zone)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse("begin", "2027-07-01T12:00", &job, &err), 0);
    cr_expect_eq(job.begin_time, 1814436000); /* 10:00 UTC */
    cr_assert_eq(parse("begin", "2027-01-01T12:00", &job, &err), 0);
    cr_expect_eq(job.begin_time, 1798801200); /* 11:00 UTC */
}

static void good_texts(const char *name, size_t member, const char *const *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct sbatch job;
        struct err err;
        cr_expect_eq(parse(name, values[i], &job, &err), 0, "--%s='%s': %s", name, values[i],
                     err.text);
        if (err.code == ERR_NONE)
            cr_expect_str_eq(*(const char **)((char *)&job + member), values[i]);
    }
}

#define PASSED_ON(name, member, ...)                                                               \
    good_texts(name, offsetof(struct sbatch, member), (const char *const[]){__VA_ARGS__},          \
               ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

Test(sbatch_values, array)
{
    PASSED_ON("array", array_inx, "0", "0-31", "1,3,5-7", "1-7:2", "1-4%2", "1-3,5%2", "1%2,3",
              "%2", "1%", "1,,2", "1,2,", ",1", "1, 2", " 1", "[1-3]", "[1-3]%2", "[1-3%2]", "007",
              "1-3%2%1", "1-3:2,7-9", "1,1", "0-", "1-3%99999999999");
    BAD("array", "not an array: give indexes", "abc", "1-2-3", "1:2", "0x1", "-1", "1-", "1.5",
        "1-3 ", "1-3:", "1-3:x", "1;2", "1,2,x", "99999999999", "1-99999999999");
    BAD("array", "a range of the array ends before it begins", "5-1", "1,5-1", "5-1%2");
    BAD("array", "a step of 0 in the array", "1-5:0");
}

Test(sbatch_values, dependency)
{
    PASSED_ON("dependency", dependency, "after:12", "after:12+5", "after:12+5min",
              "after:12+5,afterok:13", "afterany:12", "afterok:12:13", "afternotok:12",
              "aftercorr:12", "afterburstbuffer:12", "expand:12", "AFTEROK:12", "singleton",
              "Singleton", "afterok:12,afterany:13", "afterok:12?afterany:13", "afterok:12_1",
              "afterok:12_*", "afterok:12_[1-2]", "afterok:12_[1,2]", "afterok:12,13",
              "afterok: 12", "afterok:12(failed)", "12", "12,13", "singleton,12", "afterok:+12",
              "afterok:-1", "after:12+5:13+7", "after:12+ 5");
    BAD("dependency", "not a type of dependency: give after", "foo:1", "12:13", "singleton:1",
        "+afterok:12", " afterok:12", ":12", "after :12");
    BAD("dependency", "a dependency without a job id", "afterok:", "afterok::12",
        "afterok:12:", "afterok:abc", "afterok:12x", "afterok:12 ", "afterok:12;13",
        "afterok:12.1");
    BAD("dependency", "not a dependency: give TYPE:ID", "afterok", ",afterok:12", "afterok:12,",
        "afterok:12?", "afterok:12,,afterok:13", "singleton ", " singleton", "singleton,", "x", ",",
        "?");
}

Test(sbatch_values, empty_array_and_dependency_are_none)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse("array", "", &job, &err), 0);
    cr_expect_str_eq(job.array_inx, "");
    cr_assert_eq(parse("dependency", "", &job, &err), 0);
    cr_expect_str_eq(job.dependency, "");
}

Test(sbatch_values, mail_type)
{
    enum {
        ALL = SBATCH_MAIL_BEGIN | SBATCH_MAIL_END | SBATCH_MAIL_FAIL | SBATCH_MAIL_REQUEUE |
              SBATCH_MAIL_STAGE_OUT | SBATCH_MAIL_INVALID_DEPEND
    };
    GOOD("mail-type", mail_type, {"NONE", 0}, {"BEGIN", SBATCH_MAIL_BEGIN},
         {"begin", SBATCH_MAIL_BEGIN}, {"END,FAIL", SBATCH_MAIL_END | SBATCH_MAIL_FAIL},
         {"REQUEUE", SBATCH_MAIL_REQUEUE}, {"ALL", ALL},
         {"all,ARRAY_TASKS", ALL | SBATCH_MAIL_ARRAY_TASKS}, {"TIME_LIMIT", SBATCH_MAIL_TIME100},
         {"TIME_LIMIT_90", SBATCH_MAIL_TIME90}, {"TIME_LIMIT_80", SBATCH_MAIL_TIME80},
         {"TIME_LIMIT_50", SBATCH_MAIL_TIME50}, {"STAGE_OUT", SBATCH_MAIL_STAGE_OUT},
         {"INVALID_DEPEND", SBATCH_MAIL_INVALID_DEPEND}, {"BEGIN,", SBATCH_MAIL_BEGIN},
         {",BEGIN", SBATCH_MAIL_BEGIN}, {"NONE,BEGIN", 0}, {"BEGIN,NONE", 0},
         {"BEGIN, END", SBATCH_MAIL_BEGIN | SBATCH_MAIL_END});
    /* sbatch passes over unknown words behind a known one */
    BAD("mail-type", "not events: give NONE", "", ",", "FOO", "BEGIN,FOO", "BEGINX",
        "TIME_LIMIT_70");
}

Test(sbatch_values, exclusive)
{
    static const struct {
        const char *value;
        enum sbatch_shared want;
    } cases[] = {
        {"", SBATCH_SHARED_NONE},
        {"user", SBATCH_SHARED_USER},
        {"USER", SBATCH_SHARED_USER},
        {"mcs", SBATCH_SHARED_MCS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbatch job;
        struct err err;
        cr_assert_eq(parse("exclusive", cases[i].value, &job, &err), 0);
        cr_expect_eq(job.shared, cases[i].want, "%s", cases[i].value);
    }
    BAD("exclusive", "give nothing, user or mcs", "yes", "foo", "users");
}

Test(sbatch_values, files_and_resources_called_none)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse("output", "none", &job, &err), 0);
    cr_expect_str_eq(job.std_out, "/dev/null");
    cr_assert_eq(parse("input", "NONE", &job, &err), 0);
    cr_expect_str_eq(job.std_in, "/dev/null");
    cr_assert_eq(parse("error", "none.txt", &job, &err), 0);
    cr_expect_str_eq(job.std_err, "none.txt");
    cr_assert_eq(parse("gres", "none", &job, &err), 0);
    cr_expect_null(job.gres);
    BAD("gres", "this server has no list of resources to show", "help", "list");
}
