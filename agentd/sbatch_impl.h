/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sbatch_impl.h: what the sbatch*.c files share; nobody else includes it */
#ifndef AGENTD_SBATCH_IMPL_H
#define AGENTD_SBATCH_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agentd/sbatch.h"

/* A job while its options are read: what sbatch.h gives out, and what only the reading needs. */
struct sbatch_reading {
    struct sbatch job;
    bool ignore_pbs;
};

struct sbatch_value {
    const char *text; /* "" for a flag; lives as long as the job */
    int64_t now;
    struct sbatch_reading *reading;
    void *target; /* the member of reading that the option's row names */
};

/* Reads one value into its target.  Returns NULL, or what is wrong with the value, in words that
 * follow "--option=value: ". */
typedef const char *(*sbatch_value_fn)(const struct sbatch_value *v);

/* One for each name in the fourth column of sbatch_options.def. */
#define OPTION(name, letter, kind, how, target, help)                                              \
    const char *sbatch_value_##how(const struct sbatch_value *v);
#define LATER(name, letter, kind)
#include "agentd/sbatch_options.def"
#undef OPTION
#undef LATER

/* A decimal number as strtol() takes it for sbatch: blanks and a + in front.  Leaves *p behind the
 * digits; false without any, or above max. */
bool sbatch_number(const char **p, int64_t max, int64_t *ret);

enum { SBATCH_SHOWN = 84 };
/* Makes a value fit to be quoted in a one-line error: cut at 80 bytes, control characters as '?'.
 * Returns buf. */
const char *sbatch_shown(const char *value, size_t n, char buf[SBATCH_SHOWN]);

/* ERR_INVALID for what sbatch or slurmctld would not take as a script. */
int sbatch_script_check(struct bytes script, size_t max_script, struct err *err);

/* Called with each word of the #SBATCH lines, in order.  Negative stops. */
typedef int (*sbatch_word_fn)(void *arg, size_t line, const char *word, struct err *err);
/* Words are in the arena. */
int sbatch_script_words(struct bytes script, struct arena *arena, sbatch_word_fn fn, void *arg,
                        struct err *err);

/* sbatch would obey #PBS and #BSUB lines, wherever they are; here the first one is an error. */
int sbatch_script_refuse_pbs(struct bytes script, struct err *err);

#endif
