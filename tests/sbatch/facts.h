/* SPDX-License-Identifier: GPL-3.0-or-later */
/* facts.h: "key=value" lines, one for each thing that is compared of two jobs */
#ifndef TESTS_SBATCH_FACTS_H
#define TESTS_SBATCH_FACTS_H

#include <inttypes.h>
#include <stdio.h>

/* In quotes, in one line; NULL is NULL. */
static inline void fact_str(FILE *f, const char *key, const char *name, const char *value)
{
    if (!value) {
        fprintf(f, "%s.%s=NULL\n", key, name);
        return;
    }
    fprintf(f, "%s.%s=\"", key, name);
    for (; *value; value++)
        if (*value == '\n')
            fputs("\\n", f);
        else if (*value == '\\')
            fputs("\\\\", f);
        else
            fputc(*value, f);
    fputs("\"\n", f);
}

static inline void fact_num(FILE *f, const char *key, const char *name, uint64_t value)
{
    fprintf(f, "%s.%s=%" PRIu64 "\n", key, name, value);
}

/* '@' in front: compared with some leeway. */
static inline void fact_time(FILE *f, const char *key, const char *name, int64_t value)
{
    fprintf(f, "%s.%s=@%" PRId64 "\n", key, name, value);
}

#endif
