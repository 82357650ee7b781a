/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/prom.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

enum { SERIES_MAX = 5000, WORD = 200 };

struct reading {
    char *seen[SERIES_MAX]; /* series, and "TYPE name" */
    size_t n;
    char family[WORD], type[WORD], helped[WORD];
    bool inside; /* buckets of one series, with the labels of, without le */
    char of[400];
    double last, inf;
    bool has_inf;
    char *why;
};

static bool wrong(struct reading *r, const char *what, const char *line)
{
    snprintf(r->why, 300, "%s: %.200s", what, line);
    return false;
}

static size_t name_length(const char *s)
{
    size_t n = 0;
    if (isdigit((unsigned char)*s))
        return 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_')
        n++;
    return n;
}

static bool once(struct reading *r, const char *what, const char *line)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->seen[i], what) == 0)
            return wrong(r, "twice", line);
    if (r->n == SERIES_MAX)
        return wrong(r, "too many series", line);
    r->seen[r->n++] = strdup(what);
    return true;
}

static bool read_comment(struct reading *r, const char *line)
{
    char name[WORD], type[WORD], key[2 * WORD];
    if (sscanf(line, "# HELP %199s", name) == 1) {
        snprintf(r->helped, sizeof r->helped, "%s", name);
        return strlen(line) > strlen("# HELP ") + strlen(name) + 1 || wrong(r, "no help", line);
    }
    if (sscanf(line, "# TYPE %199s %199s", name, type) != 2)
        return wrong(r, "no such comment", line);
    if (strcmp(name, r->helped) != 0)
        return wrong(r, "a TYPE without its HELP", line);
    if (strcmp(type, "counter") != 0 && strcmp(type, "gauge") != 0 &&
        strcmp(type, "histogram") != 0)
        return wrong(r, "no such type", line);
    snprintf(r->family, sizeof r->family, "%s", name);
    snprintf(r->type, sizeof r->type, "%s", type);
    r->of[0] = '\0';
    snprintf(key, sizeof key, "TYPE %s", name);
    return once(r, key, line);
}

/* Past {a="b",...}; le gets that label's value, others the labels without it. */
static const char *read_labels(const char *s, char le[WORD], char others[400])
{
    size_t n = 0;
    le[0] = others[0] = '\0';
    if (*s != '{')
        return s;
    do {
        const char *name = ++s;
        size_t length = name_length(s);
        char value[WORD];
        size_t v = 0;
        if (!length || s[length] != '=' || s[length + 1] != '"')
            return NULL;
        for (s += length + 2; *s && *s != '"'; s++) {
            if (*s == '\\' && !strchr("\\\"n", *++s))
                return NULL;
            if (v + 1 < sizeof value)
                value[v++] = *s;
        }
        value[v] = '\0';
        if (*s++ != '"')
            return NULL;
        if (length == 2 && strncmp(name, "le", 2) == 0)
            snprintf(le, WORD, "%s", value);
        else
            n += (size_t)snprintf(others + n, n < 400 ? 400 - n : 0, "%.*s=%s,", (int)length, name,
                                  value);
    } while (*s == ',');
    return *s == '}' ? s + 1 : NULL;
}

static bool read_bucket(struct reading *r, const char *le, const char *of, double v,
                        const char *line)
{
    if (!*le)
        return wrong(r, "a bucket without le", line);
    if (!r->inside || strcmp(r->of, of) != 0) { /* the first of a series */
        snprintf(r->of, sizeof r->of, "%s", of);
        r->inside = true;
        r->last = 0;
        r->has_inf = false;
    }
    if (v < r->last)
        return wrong(r, "buckets are not cumulative", line);
    r->last = v;
    if (strcmp(le, "+Inf") == 0) {
        r->has_inf = true;
        r->inf = v;
        r->inside = false;
    }
    return true;
}

static bool read_sample(struct reading *r, const char *line)
{
    char le[WORD], others[400], series[600];
    size_t n = name_length(line), f = strlen(r->family);
    const char *end = n ? read_labels(line + n, le, others) : NULL;
    char *number_end;
    if (!end || *end != ' ')
        return wrong(r, "no sample", line);
    double v = strtod(end + 1, &number_end);
    if (number_end == end + 1 || *number_end)
        return wrong(r, "no number", line);
    snprintf(series, sizeof series, "%.*s", (int)(end - line), line);
    if (!once(r, series, line))
        return false;
    if (n < f || strncmp(line, r->family, f) != 0)
        return wrong(r, "a sample of another family", line);
    const char *suffix = line + f;
    size_t m = n - f;
    if (strcmp(r->type, "histogram") != 0)
        return m == 0 || wrong(r, "a sample of another family", line);
    if (m == 7 && strncmp(suffix, "_bucket", m) == 0)
        return read_bucket(r, le, others, v, line);
    if (m == 6 && strncmp(suffix, "_count", m) == 0)
        return (r->has_inf && r->inf == v) || wrong(r, "the count is not that of +Inf", line);
    return (m == 4 && strncmp(suffix, "_sum", m) == 0) || wrong(r, "no part of one", line);
}

bool prom_good(const char *text, char why[300])
{
    AUTO(free) char *copy = strdup(text);
    AUTO(free) struct reading *r = calloc(1, sizeof *r);
    bool good = true;
    r->why = why;
    if (!*text || text[strlen(text) - 1] != '\n')
        return wrong(r, "it does not end with a line feed", "");
    char *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line && good; line = strtok_r(NULL, "\n", &save))
        good = *line == '#' ? read_comment(r, line) : read_sample(r, line);
    for (size_t i = 0; i < r->n; i++)
        free(r->seen[i]);
    return good;
}

bool prom_value(const char *text, const char *series, double *ret)
{
    size_t n = strlen(series);
    for (const char *at = text; (at = strstr(at, series)); at += n)
        if ((at == text || at[-1] == '\n') && at[n] == ' ') {
            *ret = strtod(at + n, NULL);
            return true;
        }
    return false;
}
