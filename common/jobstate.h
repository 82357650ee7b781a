/* SPDX-License-Identifier: GPL-3.0-or-later */
/* jobstate.h: Slurm's job states and what they mean: job_states.def, job_flags.def, phases.def */
#ifndef COMMON_JOBSTATE_H
#define COMMON_JOBSTATE_H

#include "common/msg.h"

enum phase {
#define PHASE(word, ended, help) PHASE_##word,
#include "common/phases.def"
#undef PHASE
};

/* Slurm's word for a base state by its number; NULL for one that this build does not know. */
const char *jobstate_word(unsigned number);
/* A set of states said as words or squeue's short forms, in any case, as bits 1 << number.
 * ERR_INVALID names the word that is none. */
int jobstate_set(const struct strs *said, uint32_t *ret_set, struct err *err);
/* Is the word one of the set? */
bool jobstate_in(uint32_t set, const char *word);

/* The word for a flag bit of job_state; NULL for one that this build does not know. */
const char *jobstate_flag(unsigned bit);

/* A state and its flags in an engine's terms.  A state that is not known is RUNNING: better to wait
 * for what can be understood than to take a job for ended. */
enum phase jobstate_phase(const char *state, const struct strs *flags);
/* How a job in that state ended, in words; NULL when there is nothing to explain. */
const char *jobstate_ending(const char *state);

const char *phase_word(enum phase phase);
/* RUNNING for a word that is not known, or NULL. */
enum phase phase_find(const char *word);
bool phase_ended(enum phase phase);

#endif
