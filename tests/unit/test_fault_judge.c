/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fault suite's count: what is a double must be found, what is none must not be one */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/fault/fault_judge.h"

enum { AT = 1000000, LET_GO = AT + 28 };

static const struct fault_span late[] = {{AT, LET_GO}};
static const int64_t kills[] = {AT + 500};
static const struct fault_world calm = {.late = late, .n_late = 1};
static const struct fault_world killed = {kills, 1, late, 1};

/* It was sent while requests were kept, and again when nothing of it had come. */
static const struct fault_told seven = {
    .job_id = 7,
    .told_s = LET_GO + 1,
    .state = "SUBMITTED",
    .job_now = 7,
    .sent_s = {AT + 1, AT + 20},
    .n_sent = 2,
};
static const struct fault_job job = {
    .id = 7, .attempt = 2, .made_s = LET_GO, .shown = true, .started = true};

static struct fault_verdict judge(const struct fault_world *w, const struct fault_told *told,
                                  const struct fault_job *jobs, size_t n)
{
    struct fault_verdict v;
    fault_judge(w, told, jobs, n, &v);
    return v;
}

/* The job and that one. */
static struct fault_verdict beside(const struct fault_world *w, struct fault_job other)
{
    other.id = other.id ? other.id : 5;
    other.attempt = other.attempt ? other.attempt : 1;
    other.made_s = other.made_s ? other.made_s : LET_GO;
    const struct fault_job jobs[] = {other, job};
    return judge(w, &seven, jobs, 2);
}

static void expect_double(struct fault_verdict v, const char *why)
{
    cr_expect_eq(v.fate, FAULT_DOUBLED);
    cr_expect_str_eq(v.why ? v.why : "(none)", why);
}

Test(fault_judge, one_job_is_one)
{
    struct fault_verdict v = judge(&calm, &seven, &job, 1);
    cr_expect_eq(v.fate, FAULT_ONE);
    cr_expect_null(v.why);
}

Test(fault_judge, a_second_job_that_runs_is_a_double)
{
    expect_double(beside(&calm, (struct fault_job){.shown = true, .started = true}),
                  "another job has started");
    expect_double(beside(&killed, (struct fault_job){.shown = true, .started = true}),
                  "another job has started");
}

Test(fault_judge, a_second_job_that_waits_is_a_double_reported_or_not)
{
    expect_double(beside(&calm, (struct fault_job){.shown = true}), "another job waits");
    expect_double(beside(&calm, (struct fault_job){.shown = true, .reported = true}),
                  "another job waits");
}

Test(fault_judge, a_twin_is_cancelled_and_reported)
{
    struct fault_verdict v =
        beside(&calm, (struct fault_job){.shown = true, .cancelled = true, .reported = true});
    cr_expect_eq(v.fate, FAULT_ONE);
    cr_expect_eq(v.twins, 1);
    cr_expect_eq(v.twins_started, 0);
    expect_double(beside(&calm, (struct fault_job){.shown = true, .cancelled = true}),
                  "a twin was cancelled and never reported");
}

Test(fault_judge, a_twin_that_had_started_is_reported)
{
    struct fault_verdict v =
        beside(&calm, (struct fault_job){.shown = true, .started = true, .reported = true});
    cr_expect_eq(v.fate, FAULT_ONE);
    cr_expect_eq(v.twins, 1);
    cr_expect_eq(v.twins_started, 1);
}

static const char no_excuse[] = "a twin, though it was not kept back and sent again";

/* Reported, cancelled before it started, and all that: only what was late by force may be twice. */
Test(fault_judge, a_twin_is_made_when_requests_are_let_go)
{
    struct fault_job twin = {.shown = true, .cancelled = true, .reported = true};
    static const int at[] = {AT + 5, AT + 20, LET_GO - 2, LET_GO + 16, LET_GO + 400};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        twin.made_s = at[i];
        expect_double(beside(&calm, twin), no_excuse);
        expect_double(beside(&killed, twin), no_excuse);
    }
    twin.made_s = LET_GO + 14;
    cr_expect_eq(beside(&calm, twin).twins, 1);
}

/* The same twin of a request that was under way at another time. */
Test(fault_judge, a_twin_is_of_a_request_that_was_kept_and_sent_again)
{
    static const struct {
        int64_t sent_s[3];
        size_t n;
        bool excused;
    } cases[] = {
        {{AT, AT + 13}, 2, true},
        {{AT - 20, AT - 5, AT + 20}, 3, true}, /* the first one was on its way still */
        {{AT + 1, LET_GO + 5}, 2, true},       /* it was told so a moment before */
        {{AT + 1}, 1, false},
        {{AT - 40, AT - 10}, 2, false},
        {{AT - 5, AT + 12}, 2, false}, /* nobody may have said so soon that there is no job */
        {{AT + 10, AT + 22}, 2, false},
        {{AT + 1, LET_GO + 16}, 2, false}, /* it was there by then */
        {{LET_GO + 1, LET_GO + 14}, 2, false},
    };
    const struct fault_job jobs[] = {{.id = 5,
                                      .attempt = 1,
                                      .made_s = LET_GO,
                                      .shown = true,
                                      .cancelled = true,
                                      .reported = true},
                                     job};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fault_told told = seven;
        memcpy(told.sent_s, cases[i].sent_s, sizeof cases[i].sent_s);
        told.n_sent = cases[i].n;
        struct fault_verdict v = judge(&calm, &told, jobs, 2);
        if (cases[i].excused)
            cr_expect_eq(v.fate, FAULT_ONE, "case %zu: %s", i, v.why);
        else
            expect_double(v, no_excuse);
    }
}

/* ---- what Slurm refuses ---- */

static const struct fault_told no = {.state = "REFUSED", .refuses = true, .refused = true};

Test(fault_judge, what_is_refused_has_no_job)
{
    cr_expect_eq(judge(&calm, &no, NULL, 0).fate, FAULT_NO);
    const struct fault_job record = {
        .id = 5, .attempt = 1, .made_s = AT, .shown = true, .ended = true};
    cr_expect_eq(judge(&calm, &no, &record, 1).fate, FAULT_NO, "it never began");
}

Test(fault_judge, what_is_to_be_refused_and_has_a_job_is_a_double)
{
    struct fault_job bad = {.id = 5, .attempt = 1, .made_s = AT, .shown = true};
    expect_double(judge(&calm, &no, &bad, 1), "another job waits");
    bad.started = true;
    expect_double(judge(&calm, &no, &bad, 1), "another job has started");
    struct fault_told told = no;
    told.job_id = 5;
    expect_double(judge(&calm, &told, NULL, 0), "Slurm was to refuse it, and a job was told");
}

Test(fault_judge, a_refusal_is_told_and_stays)
{
    struct fault_told told = no;
    told.refused = false;
    cr_expect_eq(judge(&calm, &told, NULL, 0).fate, FAULT_OPEN);
    told = no;
    told.state = "NOT_SUBMITTED";
    cr_expect_eq(judge(&calm, &told, NULL, 0).fate, FAULT_OPEN);
    told = no;
    told.differs = true;
    cr_expect_eq(judge(&calm, &told, NULL, 0).fate, FAULT_OPEN);
}

/* ---- an slurmctld without its state ---- */

Test(fault_judge, what_slurmctld_lost_with_its_state_is_said_to_be_lost)
{
    const struct fault_job lost = {.id = 7, .attempt = 2, .made_s = AT + 20, .wiped = true};
    struct fault_told told = seven;
    told.state = "LOST";
    cr_expect_eq(judge(&calm, &told, &lost, 1).fate, FAULT_SAID_LOST);
    told.state = "SUBMITTED";
    cr_expect_eq(judge(&calm, &told, &lost, 1).fate, FAULT_LOST, "nobody says so");
    told.state = "ENDED";
    cr_expect_eq(judge(&calm, &told, &lost, 1).fate, FAULT_LOST, "it had not");
    struct fault_job ended = lost;
    ended.ended = ended.started = true;
    cr_expect_eq(judge(&calm, &told, &ended, 1).fate, FAULT_OVER);
}

Test(fault_judge, a_double_that_was_lost_with_the_state_is_one)
{
    expect_double(beside(&calm, (struct fault_job){.wiped = true, .started = true}),
                  "another job has started");
    expect_double(beside(&calm, (struct fault_job){.attempt = 2, .wiped = true}),
                  "two jobs of one attempt");
    struct fault_verdict v = beside(&calm, (struct fault_job){.wiped = true});
    cr_expect_eq(v.fate, FAULT_ONE, "it can neither be cancelled any more nor run");
    cr_expect_eq(v.forgotten, 1);
    v = beside(&calm, (struct fault_job){.wiped = true, .cancelled = true});
    cr_expect_eq(v.fate, FAULT_ONE, "slurmdbd ends what slurmctld has not when it starts");
    cr_expect_eq(v.forgotten, 1);
    expect_double(
        beside(&calm,
               (struct fault_job){.wiped = true, .wiped_cancelled = true, .cancelled = true}),
        "a twin was cancelled and never reported");
}

Test(fault_judge, two_jobs_of_one_attempt_are_a_double)
{
    expect_double(beside(&calm, (struct fault_job){.attempt = 2, .shown = true, .cancelled = true}),
                  "two jobs of one attempt");
    expect_double(beside(&killed, (struct fault_job){.attempt = 2, .made_s = AT + 499}),
                  "two jobs of one attempt");
}

Test(fault_judge, a_job_that_a_killed_slurmctld_has_forgotten_is_no_double)
{
    const struct fault_job before = {.made_s = AT + 499, .started = true};
    struct fault_verdict v = beside(&killed, before);
    cr_expect_eq(v.fate, FAULT_ONE);
    cr_expect_eq(v.forgotten, 1);
    expect_double(beside(&calm, before),
                  "another job, which slurmctld has not, and was not killed");
    expect_double(beside(&killed, (struct fault_job){.made_s = AT + 502, .started = true}),
                  "another job, which slurmctld has not, and was not killed");
    expect_double(beside(&killed, (struct fault_job){.made_s = AT + 469, .started = true}),
                  "another job, which slurmctld has not, and was not killed");
}

Test(fault_judge, an_id_that_was_given_again_is_the_later_attempts)
{
    struct fault_verdict v = beside(&killed, (struct fault_job){.id = 7, .made_s = AT + 499});
    cr_expect_eq(v.fate, FAULT_ONE);
    cr_expect_eq(v.forgotten, 1);
}

Test(fault_judge, a_job_that_is_not_there_is_lost)
{
    struct fault_told lost = {.job_id = 7, .told_s = AT + 499, .state = "LOST", .job_now = 7};
    cr_expect_eq(judge(&calm, &lost, NULL, 0).fate, FAULT_LOST, "it was not killed");
    cr_expect_eq(judge(&killed, &lost, NULL, 0).fate, FAULT_SAID_LOST);
    lost.state = "NOT_SUBMITTED";
    cr_expect_eq(judge(&calm, &lost, NULL, 0).fate, FAULT_LOST);
    cr_expect_eq(judge(&killed, &lost, NULL, 0).fate, FAULT_NOT_SUBMITTED);
    lost.state = "SUBMITTED";
    cr_expect_eq(judge(&killed, &lost, NULL, 0).fate, FAULT_LOST, "nobody says so");
    lost.state = "ENDED";
    cr_expect_eq(judge(&killed, &lost, NULL, 0).fate, FAULT_LOST, "nobody saw it run");
    lost.told_s = AT + 400;
    lost.state = "LOST";
    cr_expect_eq(judge(&killed, &lost, NULL, 0).fate, FAULT_LOST, "it was killed long after");
}

Test(fault_judge, one_that_ran_and_was_forgotten_is_over)
{
    const struct fault_told told = {
        .job_id = 7, .told_s = AT + 499, .state = "ENDED", .job_now = 7};
    struct fault_job ran = {.id = 7, .attempt = 1, .made_s = AT + 498, .started = true};
    cr_expect_eq(judge(&killed, &told, &ran, 1).fate, FAULT_OVER);
    cr_expect_eq(judge(&calm, &told, &ran, 1).fate, FAULT_LOST);
    struct fault_told cancelled = told; /* held: slurmdbd never knew it */
    cancelled.cancelled = true;
    cr_expect_eq(judge(&killed, &cancelled, NULL, 0).fate, FAULT_OVER);
    cr_expect_eq(judge(&calm, &cancelled, NULL, 0).fate, FAULT_LOST);
}

Test(fault_judge, the_agent_must_say_the_same_as_slurm)
{
    struct fault_told told = seven;
    told.state = "NOT_SUBMITTED";
    cr_expect_eq(judge(&killed, &told, &job, 1).fate, FAULT_LOST);
    told.state = "SUBMITTED";
    told.job_now = 8;
    cr_expect_eq(judge(&calm, &told, &job, 1).fate, FAULT_LOST);
    told = seven;
    told.differs = true;
    cr_expect_eq(judge(&calm, &told, &job, 1).fate, FAULT_LOST);
}

Test(fault_judge, what_has_no_answer_is_open_and_its_jobs_are_doubles_all_the_same)
{
    const struct fault_told none = {.state = "IN_DOUBT"};
    cr_expect_eq(judge(&calm, &none, NULL, 0).fate, FAULT_OPEN);
    struct fault_verdict v = judge(&calm, &none, &job, 1);
    cr_expect_eq(v.fate, FAULT_DOUBLED);
}

/* Both had been made when slurmctld lost its state. */
Test(fault_judge, two_jobs_that_were_lost_together_are_a_double)
{
    const struct fault_told told = {.job_id = 17, .told_s = AT, .state = "LOST"};
    const struct fault_job jobs[] = {
        {.id = 17, .attempt = 2, .made_s = AT, .wiped = 1, .cancelled = true},
        {.id = 16, .attempt = 1, .made_s = AT - 9, .wiped = 1, .cancelled = true},
    };
    cr_expect_eq(judge(&calm, &told, jobs, 2).fate, FAULT_DOUBLED);
}

/* It was made just before slurmctld's plugin kept the next one. */
Test(fault_judge, nothing_is_saved_while_requests_are_kept)
{
    static const struct fault_span kept = {AT + 1, AT + 40};
    static const int64_t near[] = {AT + 55}, far[] = {AT + 90};
    const struct fault_world soon = {near, 1, &kept, 1}, late_one = {far, 1, &kept, 1},
                             none = {near, 1, NULL, 0};
    cr_expect(fault_killed_near(&soon, AT, AT));
    cr_expect_not(fault_killed_near(&late_one, AT, AT));
    cr_expect_not(fault_killed_near(&none, AT, AT));
}
