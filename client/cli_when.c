/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_when.c: points in time as users write them */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

/* now, now-2hours; false for what is not such a form. */
static bool relative(const char *text, int64_t now, int64_t *ret)
{
    static const struct {
        const char *word;
        int64_t s;
    } units[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800}};
    char number[12], *end;
    if (str_eq(text, "now")) {
        *ret = now;
        return true;
    }
    if (strncmp(text, "now-", 4) != 0)
        return false;
    text += 4;
    size_t digits = strspn(text, "0123456789");
    int64_t n;
    if (digits == 0 || digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (!str_to_i64(number, 0, 1000000000, &n))
        return false;
    end = (char *)text + digits;
    if (!*end) { /* seconds, as sacct has it */
        *ret = now - n;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].word);
        if (strncmp(end, units[i].word, len) == 0 && (!end[len] || str_eq(end + len, "s"))) {
            *ret = now - n * units[i].s;
            return true;
        }
    }
    return false;
}

/* Local time.  What is not there (a 31st of June, the hour that summer time leaves out) is none. */
static bool calendar(const char *text, int64_t *ret)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"};
    static const size_t lengths[] = {10, 16, 19};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {.tm_isdst = -1};
        if (strlen(text) != lengths[i])
            continue;
        const char *end = strptime(text, forms[i], &tm);
        if (!end || *end)
            continue;
        struct tm given = tm;
        time_t t = mktime(&tm);
        if (t == (time_t)-1 || tm.tm_mday != given.tm_mday || tm.tm_hour != given.tm_hour)
            return false;
        *ret = t;
        return true;
    }
    return false;
}

bool cli_when(const char *text, int64_t now, int64_t *ret)
{
    if (*text == '@')
        return str_to_i64(text + 1, 1, 253402300799, ret); /* the year 9999 */
    return (relative(text, now, ret) || calendar(text, ret)) && *ret > 0;
}
