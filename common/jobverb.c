/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/jobverb.h"

#include "common/cleanup.h"
#include "common/str.h"

static const struct job_verb_row rows[] = {
#define VERB(name, number, with, choose, unasked, help)                                            \
    {JOB_VERB_##name, #name, VERB_##with, choose, VERB_##unasked, help},
#include "common/job_verbs.def"
#undef VERB
};

const struct job_verb_row *jobverb_find(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(rows[i].word, word))
            return &rows[i];
    return NULL;
}

const struct job_verb_row *jobverb_row(int verb)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if ((int)rows[i].verb == verb)
            return &rows[i];
    return NULL;
}
