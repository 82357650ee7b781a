/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/logname.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/str.h"

enum { WIDTH_MAX = 10 }; /* Slurm's: wider ones are as wide as this */

/* A name in the making. */
struct name {
    char *p; /* NULL: only counted */
    size_t n;
};

static void put(struct name *out, const char *s, size_t n)
{
    if (out->p)
        memcpy(out->p + out->n, s, n);
    out->n += n;
}

static void put_number(struct name *out, uint32_t v, int width)
{
    char text[16];
    put(out, text, (size_t)snprintf(text, sizeof text, "%0*u", width, v));
}

enum found { EXPANDED, NO_PATTERN, NOT_KNOWN };

static enum found put_task(char letter, const struct logname_job *j, int width, struct name *out)
{
    if (letter == 'b' && !(j->rules & LOGNAME_MODULO))
        return NO_PATTERN;
    if (j->waiting_tasks)
        return NOT_KNOWN;
    put_number(out, letter == 'b' ? j->array_task % 10 : j->array_task, width);
    return EXPANDED;
}

static enum found put_text(const char *text, struct name *out)
{
    if (!text)
        return NOT_KNOWN;
    put(out, text, strlen(text));
    return EXPANDED;
}

static enum found put_pattern(char letter, const struct logname_job *j, int width, struct name *out)
{
    switch (letter) {
    case 'A':
        put_number(out, j->array_job_id ? j->array_job_id : j->job_id, width);
        return EXPANDED;
    case 'a':
    case 'b':
        return put_task(letter, j, width, out);
    case 'J': /* job and step, but of a batch script the job alone */
    case 'j':
        if (j->waiting_tasks)
            return NOT_KNOWN;
        put_number(out, j->job_id, width);
        return EXPANDED;
    case 'N':
        return put_text(j->host, out);
    case 'n': /* the first node, the only task */
    case 't':
        put_number(out, 0, width);
        return EXPANDED;
    case 's':
        return put_text("batch", out);
    case 'u':
        return put_text(j->user, out);
    case 'x':
        return put_text(j->name, out);
    default:
        return NO_PATTERN;
    }
}

/* What begins at the percent sign p; returns what comes behind it. */
static const char *expand_one(const char *p, const struct logname_job *j, struct name *out,
                              bool *whole)
{
    const char *q = p + 1;
    unsigned long width = 0;
    if (*q == '%') {
        put(out, "%", 1);
        return q + 1;
    }
    for (; isdigit((unsigned char)*q); q++)
        width = width > WIDTH_MAX ? width : width * 10 + (unsigned long)(*q - '0');
    switch (put_pattern(*q, j, width > WIDTH_MAX ? WIDTH_MAX : (int)width, out)) {
    case EXPANDED:
        return q + 1;
    case NOT_KNOWN:
        *whole = false;
        put(out, p, (size_t)(q + 1 - p));
        return q + 1;
    case NO_PATTERN:
        break;
    }
    if (j->rules & LOGNAME_LITERAL) {
        if (q > p + 1 || *q)
            put(out, p, (size_t)(q - p) + (*q != '\0'));
        return q + (*q != '\0');
    }
    /* Slurm leaves the percent sign alone, but of a width in vain just the last digit. */
    put(out, q == p + 1 ? p : q - 1, 1);
    return q;
}

static void expand(const char *p, const struct logname_job *j, struct name *out, bool *whole)
{
    while (*p) {
        size_t plain = strcspn(p, "%");
        put(out, p, plain);
        p += plain;
        if (*p)
            p = expand_one(p, j, out, whole);
    }
}

/* A backslash anywhere: nothing is expanded, and backslashes go. */
static void unescape(const char *p, unsigned rules, struct name *out)
{
    for (; *p; p++) {
        if (*p != '\\')
            put(out, p, 1);
        else if (p[1] == '\\' && !(rules & LOGNAME_DROP_BACKSLASHES))
            put(out, ++p, 1);
    }
}

static void make(const char *pattern, const struct logname_job *j, struct name *out, bool *whole)
{
    const char *dir = str_or(j->work_dir, "");
    *whole = true;
    if (*pattern != '/' && *dir) {
        put(out, dir, strlen(dir));
        if (dir[strlen(dir) - 1] != '/')
            put(out, "/", 1);
    }
    if (strchr(pattern, '\\'))
        unescape(pattern, j->rules, out);
    else
        expand(pattern, j, out, whole);
}

const char *logname_expand(const char *pattern, const struct logname_job *j, struct arena *arena,
                           bool *ret_whole)
{
    struct name out = {0};
    if (!pattern || !*pattern)
        pattern = j->array_job_id ? "slurm-%A_%a.out" : "slurm-%j.out";
    make(pattern, j, &out, ret_whole);
    char *p = arena_alloc(arena, out.n + 1); /* zeroed */
    if (!p)
        return NULL;
    out = (struct name){.p = p};
    make(pattern, j, &out, ret_whole);
    return p;
}
