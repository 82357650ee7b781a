/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sbatch_impl.h: what the sbatch*.c files share; nobody else includes it */
#ifndef AGENTD_SBATCH_IMPL_H
#define AGENTD_SBATCH_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agentd/sbatch.h"

/* Nothing said. */
void sbatch_clear(struct sbatch *job);

struct sbatch_value {
    const char *text; /* "" for a flag; lives as long as the job */
    bool off;         /* a flag that is taken back: SBATCH_REQUEUE=no */
    int64_t now;
    const struct sbatch_source *source;
    struct sbatch *job;
    void *target; /* the member of job that the option's row names */
    struct arena *arena;
};

/* Reads one value into its target.  Returns NULL, or what is wrong with the value, in words that
 * follow "--option=value: ". */
typedef const char *(*sbatch_value_fn)(const struct sbatch_value *v);

/* One for each name in the column "how" of sbatch_options.def. */
#define DECLARE(how) const char *sbatch_value_##how(const struct sbatch_value *v);
#define OPTION(name, letter, kind, how, target) DECLARE(how)
#define ALIAS(name, kind, other)
#define EARLY(name, letter, kind, how, target) DECLARE(how)
#define UNNAMED(name, how, target) DECLARE(how)
#define REFUSED(name, letter, kind, reason)
#include "agentd/sbatch_options.def"
#undef DECLARE
#undef OPTION
#undef ALIAS
#undef EARLY
#undef UNNAMED
#undef REFUSED

/* The last of what sbatch_settle() does. */
int sbatch_conclude_gpus(struct sbatch *job, struct err *err);

/* What a value function says when there is no memory. */
#define SBATCH_NO_MEMORY "out of memory"

/* A decimal number as strtol() takes it for sbatch: blanks and a + in front.  Leaves *p behind the
 * digits; false without any, or above max. */
bool sbatch_number(const char **p, int64_t max, int64_t *ret);
/* minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s: seconds, or SBATCH_INFINITE.  NULL, or what is wrong.
 */
const char *sbatch_duration(const char *text, int64_t *ret);

struct sbatch_word {
    const char *word;
    int64_t value;
};
/* Whatever the case; false for none of them. */
bool sbatch_find_word(const char *p, size_t n, const struct sbatch_word *words, size_t count,
                      int64_t *ret);

enum { SBATCH_SHOWN = 84 };
/* Makes a value fit to be quoted in a one-line error: cut at 80 bytes, control characters as '?'.
 * Returns buf. */
const char *sbatch_shown(const char *value, size_t n, char buf[SBATCH_SHOWN]);

/* ERR_INVALID for what sbatch or slurmctld would not take as a script. */
int sbatch_script_check(struct bytes script, size_t max_script, struct err *err);

/* Called with each word of the #SBATCH lines, in order.  Negative stops. */
typedef int (*sbatch_word_fn)(void *arg, size_t line, const char *word, struct err *err);
/* The words for one component (from 0), in the arena; *ret_more: there are lines for a further
 * one. */
int sbatch_script_words(struct bytes script, size_t component, struct arena *arena,
                        sbatch_word_fn fn, void *arg, bool *ret_more, struct err *err);

/* sbatch would obey #PBS and #BSUB lines, wherever they are; here the first one is an error. */
int sbatch_script_refuse_pbs(struct bytes script, struct err *err);

#endif
