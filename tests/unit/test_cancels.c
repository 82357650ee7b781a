/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who cancelled a job, where it was done through this server */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "agentd/cancels.h"
#include "common/clock.h"
#include "tests/kit/record.h"

static struct cancels *cancels;

static void set_up(void)
{
    cancels = cancels_new();
    cr_assert_not_null(cancels);
}

static void tear_down(void)
{
    cancels_free(cancels);
}

TestSuite(cancels, .init = set_up, .fini = tear_down, .timeout = 30);

/* What is told of the job: "outcome/canceller". */
static const char *told(struct job j)
{
    if (!j.phase)
        j.phase = phase_word(jobstate_phase(j.state, &j.flags));
    static char text[200];
    AUTO(arena_done) struct arena arena = {0};
    struct job out;
    struct err err = {0};
    struct jobrec *r = cancels_tell(cancels, record_of(&j));
    cr_assert_eq(msg_unpack(&job_type, r->packed, &arena, MSG_LENIENT, &out, &err), 0);
    snprintf(text, sizeof text, "%s/%s", out.outcome ? out.outcome : "-",
             out.cancelled_by ? out.cancelled_by : "-");
    cr_expect_eq(r->refs, 1);
    jobrec_unref(r);
    return text;
}

Test(cancels, are_told_of_what_they_named_and_of_nothing_else)
{
    int64_t now = clock_now();
    cancels_note(cancels, "7", "alice");
    cancels_note(cancels, "7", "bob");
    cancels_note(cancels, "20_3", "bob");
    cancels_note(cancels, "30_[1-4]", "alice");
    cr_expect_str_eq(told((struct job){.job_id = 7, .state = "CANCELLED", .submit_time = now}),
                     "cancelled by alice/alice", "the second found it ended");
    cr_expect_str_eq(told((struct job){.job_id = 7, .state = "RUNNING", .submit_time = now}),
                     "-/-");
    cr_expect_str_eq(told((struct job){.job_id = 7, .state = "FAILED", .submit_time = now}), "-/-");
    cr_expect_str_eq(told((struct job){.job_id = 8, .state = "CANCELLED", .submit_time = now}),
                     "-/-");
    cr_expect_str_eq(told((struct job){.job_id = 7, .state = "CANCELLED", .submit_time = now + 5}),
                     "-/-", "another job, which got the id later");
    cr_expect_str_eq(told((struct job){.job_id = 23,
                                       .array_job_id = 20,
                                       .array_task = "3",
                                       .state = "CANCELLED",
                                       .submit_time = now}),
                     "cancelled by bob/bob");
    cr_expect_str_eq(told((struct job){.job_id = 24,
                                       .array_job_id = 20,
                                       .array_task = "4",
                                       .state = "CANCELLED",
                                       .submit_time = now}),
                     "-/-");
    cr_expect_str_eq(told((struct job){.job_id = 31,
                                       .array_job_id = 30,
                                       .array_task = "2",
                                       .state = "CANCELLED",
                                       .submit_time = now}),
                     "cancelled by alice/alice");
    cr_expect_str_eq(told((struct job){.job_id = 7,
                                       .state = "CANCELLED",
                                       .cancelled_by = "root",
                                       .outcome = "as slurmdbd said",
                                       .submit_time = now}),
                     "as slurmdbd said/root");
}

Test(cancels, the_oldest_are_forgotten)
{
    int64_t now = clock_now();
    cancels_note(cancels, "7", "alice");
    for (int i = 0; i < 10000; i++)
        cancels_note(cancels, "8", "bob");
    cr_expect_str_eq(told((struct job){.job_id = 7, .state = "CANCELLED", .submit_time = now}),
                     "-/-");
    cr_expect_str_eq(told((struct job){.job_id = 8, .state = "CANCELLED", .submit_time = now}),
                     "cancelled by bob/bob");
    char longer[300] = "9_[1";
    for (size_t n = strlen(longer); n < 250; n += 2)
        memcpy(longer + n, ",1", 3);
    memcpy(longer + strlen(longer), "]", 2);
    cancels_note(cancels, longer, "bob");
    cr_expect_str_eq(told((struct job){.job_id = 8, .state = "CANCELLED", .submit_time = now}),
                     "cancelled by bob/bob");
}

static struct job cancelled(uint32_t id, int64_t uid)
{
    return (struct job){.job_id = id, .uid = uid, .state = "CANCELLED", .submit_time = clock_now()};
}

/* The load that shows the end may come before the worker's answer. */
Test(cancels, what_the_owner_asked_for_is_told_before_the_answer)
{
    uint64_t asked = cancels_ask(cancels, "7", "alice", 1001);
    cr_expect_str_eq(told(cancelled(7, 1001)), "cancelled by alice/alice");
    cr_expect_str_eq(told(cancelled(7, 1002)), "-/-", "whether she may is not known yet");
    cancels_answered(cancels, asked, true);
    cancels_answered(cancels, asked, false);
    cr_expect_str_eq(told(cancelled(7, 1002)), "cancelled by alice/alice", "it is known");
}

Test(cancels, what_came_to_nothing_is_dropped_and_drives_nobody_out)
{
    cancels_note(cancels, "7", "alice");
    for (int i = 0; i < 10000; i++)
        cancels_answered(cancels, cancels_ask(cancels, "8", "bob", 1001), false);
    cr_expect_str_eq(told(cancelled(7, 1001)), "cancelled by alice/alice");
    cr_expect_str_eq(told(cancelled(8, 1001)), "-/-");
}

Test(cancels, are_told_while_the_job_dies)
{
    struct job j = cancelled(7, 1001);
    j.phase = phase_word(PHASE_RUNNING);
    cancels_note(cancels, "7", "alice");
    cr_expect_str_eq(told(j), "-/alice");
}
