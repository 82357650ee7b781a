/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values that slurmctld takes apart itself: here they are only held against its grammar, so that a
 * slip gets an answer that names it.  Never stricter than slurmctld. */
#include "agentd/sbatch_impl.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* ---- --array ---- */

/* An index as slurmctld reads it: without digits it is 0, as in "%2", and brackets may stand
 * anywhere around it. */
static bool array_index(const char **p, bool *ret_given, int64_t *ret)
{
    *ret = 0;
    const char *s = *p + strspn(*p, " \t");
    *ret_given = isdigit((unsigned char)*s) || *s == '+';
    if (*ret_given && !sbatch_number(p, UINT32_MAX, ret))
        return false;
    if (**p == ']')
        (*p)++;
    return true;
}

static const char *array_part(const char *p)
{
    static const char form[] =
        "not an array: give indexes and ranges, as in 0-31, 1,3,5-7 or 1-7:2, and %N for N at a "
        "time";
    int64_t first, last, step;
    bool given;
    if (*p == '[')
        p++;
    if (!array_index(&p, &given, &first))
        return form;
    if (*p == '-' && given) {
        p++;
        if (!array_index(&p, &given, &last))
            return form;
        if (last < first)
            return given ? "a range of the array ends before it begins" : form;
        if (*p == ':') {
            p++;
            if (!array_index(&p, &given, &step) || !given)
                return form;
            if (step == 0)
                return "a step of 0 in the array";
        }
    }
    return *p && *p != '%' && *p != ',' ? form : NULL; /* what follows % is not looked at */
}

const char *sbatch_value_array(const struct sbatch_value *v)
{
    const char **target = v->target;
    for (const char *p = v->text;; p++) {
        size_t n = strcspn(p, ",");
        const char *wrong = n ? array_part(p) : NULL;
        if (wrong)
            return wrong;
        p += n;
        if (!*p)
            break;
    }
    *target = v->text;
    return NULL;
}

/* ---- --dependency ---- */

/* 12, 12_3, 12_*, 12_[1-3], 12+5 (minutes), 12(failed): slurmctld reads more loosely than this
 * between the number's end and the next separator, so that is left to it. */
static bool depends_on(const char *p, size_t n)
{
    const char *end = p + n;
    while (p < end && isspace((unsigned char)*p))
        p++;
    if (p < end && (*p == '+' || *p == '-'))
        p++;
    const char *digits = p;
    while (p < end && isdigit((unsigned char)*p))
        p++;
    return p > digits && (p == end || *p == '_' || *p == '+' || *p == '(');
}

/* The length up to one of the separators, which do not count inside [ ]. */
static size_t until(const char *p, size_t n, const char *separators)
{
    bool bracket = false;
    size_t i;
    for (i = 0; i < n; i++) {
        if (p[i] == '[')
            bracket = true;
        else if (p[i] == ']')
            bracket = false;
        else if (!bracket && strchr(separators, p[i]))
            break;
    }
    return i;
}

static const char *condition(const char *p, size_t n)
{
    static const char *const types[] = {"after",     "afterany",         "afterok", "afternotok",
                                        "aftercorr", "afterburstbuffer", "expand"};
    static const char form[] = "not a dependency: give TYPE:ID[:ID...], or singleton, several with "
                               ", (all) or ? (any)";
    size_t word = until(p, n, ":");
    if (n == strlen("singleton") && strncasecmp(p, "singleton", n) == 0)
        return NULL;
    if (word == n) /* a number alone: afterany to slurmctld */
        return depends_on(p, n) ? NULL : form;
    size_t i;
    for (i = 0; i < ARRAY_LEN(types); i++)
        if (word == strlen(types[i]) && strncasecmp(p, types[i], word) == 0)
            break;
    if (i == ARRAY_LEN(types))
        return "not a type of dependency: give after, afterany, afterok, afternotok, aftercorr, "
               "afterburstbuffer, expand or singleton";
    while (word < n) {
        word++;
        size_t len = until(p + word, n - word, ":");
        if (!depends_on(p + word, len))
            return "a dependency without a job id, or with one that is not a number";
        word += len;
    }
    return NULL;
}

const char *sbatch_value_dependency(const struct sbatch_value *v)
{
    const char **target = v->target;
    size_t left = strlen(v->text);
    *target = v->text;
    if (left == 0) /* takes back what the script says */
        return NULL;
    for (const char *p = v->text;;) {
        size_t n = until(p, left, ",?");
        const char *wrong = condition(p, n);
        if (wrong)
            return wrong;
        if (n == left)
            break;
        p += n + 1;
        left -= n + 1;
    }
    *target = v->text;
    return NULL;
}

/* ---- --mail-type ---- */

static const struct {
    const char *name;
    int64_t bits;
} mail_words[] = {
    {"BEGIN", SBATCH_MAIL_BEGIN},
    {"END", SBATCH_MAIL_END},
    {"FAIL", SBATCH_MAIL_FAIL},
    {"REQUEUE", SBATCH_MAIL_REQUEUE},
    {"ALL", SBATCH_MAIL_BEGIN | SBATCH_MAIL_END | SBATCH_MAIL_FAIL | SBATCH_MAIL_REQUEUE |
                SBATCH_MAIL_STAGE_OUT | SBATCH_MAIL_INVALID_DEPEND},
    {"STAGE_OUT", SBATCH_MAIL_STAGE_OUT},
    {"TIME_LIMIT", SBATCH_MAIL_TIME100},
    {"TIME_LIMIT_90", SBATCH_MAIL_TIME90},
    {"TIME_LIMIT_80", SBATCH_MAIL_TIME80},
    {"TIME_LIMIT_50", SBATCH_MAIL_TIME50},
    {"ARRAY_TASKS", SBATCH_MAIL_ARRAY_TASKS},
    {"INVALID_DEPEND", SBATCH_MAIL_INVALID_DEPEND},
};

const char *sbatch_value_mail_type(const struct sbatch_value *v)
{
    static const char form[] =
        "not events: give NONE, ALL, BEGIN, END, FAIL, REQUEUE, STAGE_OUT, TIME_LIMIT, "
        "TIME_LIMIT_90, TIME_LIMIT_80, TIME_LIMIT_50, ARRAY_TASKS or INVALID_DEPEND, several with "
        "commas";
    int64_t bits = 0;
    bool none = false, any = false;
    for (const char *p = v->text; *p;) {
        p += strspn(p, ", \t");
        size_t n = strcspn(p, ", \t"), i;
        if (n == 0)
            break;
        any = true;
        if (n == strlen("NONE") && strncasecmp(p, "NONE", n) == 0) {
            none = true;
        } else {
            for (i = 0; i < ARRAY_LEN(mail_words); i++)
                if (strlen(mail_words[i].name) == n && strncasecmp(p, mail_words[i].name, n) == 0)
                    break;
            if (i == ARRAY_LEN(mail_words))
                return form;
            bits |= mail_words[i].bits;
        }
        p += n;
    }
    if (!any)
        return form;
    /* As sbatch: a later --mail-type adds to an earlier one, and NONE adds nothing. */
    int64_t *target = v->target;
    *target = (*target == SBATCH_UNSET ? 0 : *target) | (none ? 0 : bits);
    return NULL;
}
