/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/jobstate.h"

#include <strings.h>

#include "common/str.h"

static const struct {
    const char *word, *abbreviation;
    enum phase phase;
    const char *ending;
} states[] = {
#define JOB_STATE(word, abbreviation, phase, ending) {#word, #abbreviation, PHASE_##phase, ending},
#include "common/job_states.def"
#undef JOB_STATE
};

enum effect { EFFECT_KEEP, EFFECT_AGAIN, EFFECT_REVOKED };

static const struct {
    unsigned bit;
    const char *word;
    enum effect effect;
} flags_known[] = {
#define JOB_FLAG(bit, word, effect, help) {(bit), #word, EFFECT_##effect},
#include "common/job_flags.def"
#undef JOB_FLAG
};

static const struct {
    const char *word;
    bool ended;
} phases[] = {
#define PHASE(word, ended, help) {#word, (ended)},
#include "common/phases.def"
#undef PHASE
};

static size_t find_state(const char *word)
{
    size_t i = 0;
    while (i < ARRAY_LEN(states) && !str_eq(states[i].word, word))
        i++;
    return i;
}

const char *jobstate_word(unsigned number)
{
    return number < ARRAY_LEN(states) ? states[number].word : NULL;
}

int jobstate_set(const struct strs *said, uint32_t *ret_set, struct err *err)
{
    *ret_set = 0;
    for (size_t i = 0; i < said->n; i++) {
        const char *word = said->v[i];
        size_t k = 0;
        while (k < ARRAY_LEN(states) && strcasecmp(word, states[k].word) != 0 &&
               strcasecmp(word, states[k].abbreviation) != 0)
            k++;
        if (k == ARRAY_LEN(states))
            return err_set(err, ERR_INVALID,
                           "'%s' is no job state: give PENDING, RUNNING, COMPLETED, FAILED ...",
                           word);
        *ret_set |= 1U << k;
    }
    return 0;
}

bool jobstate_in(uint32_t set, const char *word)
{
    size_t i = find_state(word);
    return i < ARRAY_LEN(states) && set & 1U << i;
}

const char *jobstate_flag(unsigned bit)
{
    for (size_t i = 0; i < ARRAY_LEN(flags_known); i++)
        if (flags_known[i].bit == bit)
            return flags_known[i].word;
    return NULL;
}

static bool has_effect(const struct strs *flags, enum effect effect)
{
    for (size_t i = 0; i < flags->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(flags_known); k++)
            if (flags_known[k].effect == effect && str_eq(flags->v[i], flags_known[k].word))
                return true;
    return false;
}

enum phase jobstate_phase(const char *state, const struct strs *flags)
{
    size_t i = find_state(state);
    enum phase phase = i < ARRAY_LEN(states) ? states[i].phase : PHASE_RUNNING;
    if (has_effect(flags, EFFECT_REVOKED))
        return PHASE_REVOKED;
    if (phase_ended(phase) && has_effect(flags, EFFECT_AGAIN))
        return PHASE_QUEUED;
    return phase;
}

const char *jobstate_ending(const char *state)
{
    size_t i = find_state(state);
    return i < ARRAY_LEN(states) ? states[i].ending : NULL;
}

const char *phase_word(enum phase phase)
{
    return phases[phase].word;
}

enum phase phase_find(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        if (str_eq(phases[i].word, word))
            return (enum phase)i;
    return PHASE_RUNNING;
}

bool phase_ended(enum phase phase)
{
    return phases[phase].ended;
}
