/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/outcome.h"

#include <string.h>

#include "common/jobstate.h"
#include "common/str.h"

/* No signal of the system's: slurmstepd says so that it could not set up the job's files. */
enum { SIGNAL_OF_FILES = 53 };

/* As long as slurmctld takes to give a silent node up (SlurmdTimeout's default). */
enum { EXIT_STATUS_MAX_S = 300 };

static const char *how_it_failed(const struct job *j, struct arena *arena)
{
    if (j->exit_signal == SIGNAL_OF_FILES && !j->exit_code)
        return "its input, output or error file could not be opened";
    const char *name = sigabbrev_np((int)j->exit_signal);
    if (j->exit_signal && name)
        return arena_printf(arena, "killed by signal %d (SIG%s)", (int)j->exit_signal, name);
    if (j->exit_signal)
        return arena_printf(arena, "killed by signal %d", (int)j->exit_signal);
    if (j->exit_code)
        return arena_printf(arena, "exit status %d", (int)j->exit_code);
    return j->reason ? arena_printf(arena, "failed: %s", j->reason) : jobstate_ending(j->state);
}

static const char *how_it_ended(const struct job *j, enum phase phase, struct arena *arena)
{
    if (phase == PHASE_CANCELLED && j->cancelled_by)
        return arena_printf(arena, "cancelled by %s", j->cancelled_by);
    if (str_eq(j->state, "FAILED"))
        return how_it_failed(j, arena);
    return jobstate_ending(j->state);
}

static bool has_flag(const struct job *j, const char *word)
{
    for (size_t i = 0; i < j->flags.n; i++)
        if (str_eq(j->flags.v[i], word))
            return true;
    return false;
}

/* slurmctld gives a job that is killed its last state at once; its processes may take KillWait to
 * go, and the exit status comes after that. */
static bool is_dying(const struct job *j, int64_t now)
{
    return has_flag(j, "COMPLETING") && !str_eq(j->state, "COMPLETED") && !j->exit_code &&
           !j->exit_signal && now < j->end_time + EXIT_STATUS_MAX_S;
}

void outcome_fill(struct job *j, int64_t now, struct arena *arena)
{
    enum phase phase = jobstate_phase(j->state, &j->flags);
    if (phase_ended(phase) && phase != PHASE_REVOKED && is_dying(j, now))
        phase = PHASE_RUNNING;
    j->phase = phase_word(phase);
    outcome_explain(j, arena);
}

void outcome_explain(struct job *j, struct arena *arena)
{
    enum phase phase = phase_find(j->phase);
    if (phase_ended(phase))
        j->outcome = how_it_ended(j, phase, arena);
}

bool outcome_awaited(const struct job *j)
{
    return j->phase && !phase_ended(phase_find(j->phase)) &&
           phase_ended(jobstate_phase(j->state, &j->flags));
}
