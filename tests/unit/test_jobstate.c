/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Slurm's states and flags as phases, and what became of a job in words */
#include <criterion/criterion.h>
#include <string.h>

#include "agentd/outcome.h"
#include "common/jobstate.h"

static enum phase phase(const char *state, const char *flag)
{
    const struct strs flags = {&flag, flag ? 1 : 0};
    return jobstate_phase(state, &flags);
}

Test(jobstate, every_state_of_slurm_has_a_phase)
{
    static const struct {
        const char *state;
        enum phase phase;
    } cases[] = {
        {"PENDING", PHASE_QUEUED},      {"RUNNING", PHASE_RUNNING},
        {"SUSPENDED", PHASE_RUNNING},   {"COMPLETED", PHASE_SUCCEEDED},
        {"CANCELLED", PHASE_CANCELLED}, {"FAILED", PHASE_FAILED},
        {"TIMEOUT", PHASE_FAILED},      {"NODE_FAIL", PHASE_FAILED},
        {"PREEMPTED", PHASE_FAILED},    {"BOOT_FAIL", PHASE_FAILED},
        {"DEADLINE", PHASE_FAILED},     {"OUT_OF_MEMORY", PHASE_FAILED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(phase(cases[i].state, NULL), cases[i].phase, "%s", cases[i].state);
        cr_expect_str_eq(jobstate_word((unsigned)i), cases[i].state, "in the order of job_states");
    }
    cr_expect_null(jobstate_word(ARRAY_LEN(cases)));
}

Test(jobstate, a_state_of_a_later_slurm_is_no_end)
{
    cr_expect_eq(phase("UNKNOWN_13", NULL), PHASE_RUNNING);
    cr_expect_eq(phase("UNKNOWN_13", "UNKNOWN_FLAG_30"), PHASE_RUNNING);
    cr_expect_eq(phase("COMPLETED", "UNKNOWN_FLAG_30"), PHASE_SUCCEEDED);
    cr_expect_eq(phase_find("STAGED_ELSEWHERE"), PHASE_RUNNING);
}

Test(jobstate, flags_say_what_comes_next)
{
    cr_expect_eq(phase("COMPLETED", "COMPLETING"), PHASE_SUCCEEDED);
    cr_expect_eq(phase("RUNNING", "COMPLETING"), PHASE_RUNNING);
    cr_expect_eq(phase("NODE_FAIL", "REQUEUED"), PHASE_QUEUED);
    cr_expect_eq(phase("PREEMPTED", "REQUEUED"), PHASE_QUEUED);
    cr_expect_eq(phase("FAILED", "SPECIAL_EXIT"), PHASE_QUEUED);
    cr_expect_eq(phase("FAILED", "REQUEUE_HOLD"), PHASE_QUEUED);
    cr_expect_eq(phase("RUNNING", "CONFIGURING"), PHASE_RUNNING);
    cr_expect_eq(phase("CANCELLED", "REVOKED"), PHASE_REVOKED, "no failure, and not cancelled");
    cr_expect_eq(phase("PENDING", "REVOKED"), PHASE_REVOKED);
}

Test(jobstate, sets_of_states_are_said_in_words)
{
    const char *good[] = {"pd", "Running", "OOM"}, *bad[] = {"R", "SLEEPING"};
    struct err err = {0};
    uint32_t set;
    cr_assert_eq(jobstate_set(&(struct strs){good, 3}, &set, &err), 0);
    cr_expect(jobstate_in(set, "PENDING"));
    cr_expect(jobstate_in(set, "RUNNING"));
    cr_expect(jobstate_in(set, "OUT_OF_MEMORY"));
    cr_expect_not(jobstate_in(set, "COMPLETED"));
    cr_expect_not(jobstate_in(set, "UNKNOWN_13"));
    cr_expect_eq(jobstate_set(&(struct strs){bad, 2}, &set, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.text, "SLEEPING"));
}

static struct arena arena;

static const char *outcome(struct job j)
{
    outcome_fill(&j, 0, &arena);
    return j.outcome ? j.outcome : "(none)";
}

Test(jobstate, how_a_job_ended_in_words)
{
    cr_expect_str_eq(outcome((struct job){.state = "COMPLETED"}), "(none)");
    cr_expect_str_eq(outcome((struct job){.state = "RUNNING", .exit_code = 3}), "(none)");
    cr_expect_str_eq(outcome((struct job){.state = "FAILED", .exit_code = 3}), "exit status 3");
    cr_expect_str_eq(outcome((struct job){.state = "FAILED", .exit_signal = 9}),
                     "killed by signal 9 (SIGKILL)");
    cr_expect_str_eq(outcome((struct job){.state = "FAILED", .exit_signal = 99}),
                     "killed by signal 99");
    cr_expect_str_eq(outcome((struct job){.state = "FAILED", .reason = "JobLaunchFailure"}),
                     "failed: JobLaunchFailure");
    cr_expect_str_eq(outcome((struct job){.state = "CANCELLED", .cancelled_by = "bob"}),
                     "cancelled by bob");
    cr_expect_str_eq(outcome((struct job){.state = "FAILED", .exit_signal = 53}),
                     "its input, output or error file could not be opened");
    cr_expect_str_eq(outcome((struct job){.state = "CANCELLED"}), "cancelled");
    cr_expect_str_eq(outcome((struct job){.state = "TIMEOUT", .exit_signal = 15}),
                     "it ran into its time limit");
    cr_expect_str_eq(outcome((struct job){.state = "OUT_OF_MEMORY", .exit_code = 125}),
                     "it ran out of memory");
    arena_done(&arena);
}

static const char *phase_at(int64_t now, struct job j)
{
    static const char *const completing[] = {"COMPLETING"};
    j.flags = (struct strs){completing, 1};
    j.end_time = 1000;
    outcome_fill(&j, now, &arena);
    cr_expect_eq(outcome_awaited(&j), strcmp(j.phase, "RUNNING") == 0 && j.state[0] != 'R');
    cr_expect_eq(j.outcome == NULL, j.phase[0] == 'R' || j.phase[0] == 'S', "%s", j.phase);
    arena_done(&arena);
    return j.phase;
}

Test(jobstate, a_killed_job_ends_with_its_exit_status)
{
    cr_expect_str_eq(phase_at(1001, (struct job){.state = "CANCELLED"}), "RUNNING");
    cr_expect_str_eq(phase_at(1001, (struct job){.state = "TIMEOUT"}), "RUNNING");
    cr_expect_str_eq(phase_at(1001, (struct job){.state = "CANCELLED", .exit_code = 3}),
                     "CANCELLED");
    cr_expect_str_eq(phase_at(1001, (struct job){.state = "TIMEOUT", .exit_signal = 15}), "FAILED");
    cr_expect_str_eq(phase_at(1001, (struct job){.state = "COMPLETED"}), "SUCCEEDED");
    cr_expect_str_eq(phase_at(1001, (struct job){.state = "RUNNING"}), "RUNNING");
    cr_expect_str_eq(phase_at(1300, (struct job){.state = "CANCELLED"}), "CANCELLED",
                     "its node may never say");
}
