/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/outcome.h"

#include <string.h>

#include "common/jobstate.h"
#include "common/str.h"

/* No signal of the system's: slurmstepd says so that it could not set up the job's files. */
enum { SIGNAL_OF_FILES = 53 };

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

void outcome_fill(struct job *j, struct arena *arena)
{
    enum phase phase = jobstate_phase(j->state, &j->flags);
    j->phase = phase_word(phase);
    if (phase_ended(phase))
        j->outcome = how_it_ended(j, phase, arena);
}
