/* SPDX-License-Identifier: GPL-3.0-or-later */
/* jobverb.h: what can be done to jobs: job_verbs.def */
#ifndef COMMON_JOBVERB_H
#define COMMON_JOBVERB_H

#include <stdbool.h>

#include "common/err.h"

enum job_verb {
#define VERB(name, number, with, choose, unasked, help) JOB_VERB_##name = (number),
#include "common/job_verbs.def"
#undef VERB
};

enum job_verb_with { VERB_NOTHING, VERB_SIGNAL, VERB_MESSAGE, VERB_OPTIONS };
enum job_verb_unasked { VERB_ONCE, VERB_TWICE, VERB_GUARDED };

struct job_verb_row {
    enum job_verb verb;
    const char *word;
    enum job_verb_with with;
    const char *choose; /* states, with commas */
    enum job_verb_unasked unasked;
    const char *help;
};

/* NULL for a word, or a number, that is no verb. */
const struct job_verb_row *jobverb_find(const char *word);
const struct job_verb_row *jobverb_row(int verb);

#endif
