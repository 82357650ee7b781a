/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
    const char *digits = *s == '-' ? s + 1 : s;
    if (!isdigit((unsigned char)*digits))
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

bool str_copy(char *out, size_t size, const char *s)
{
    size_t n = strlen(s);
    bool fits = n < size;
    if (!fits)
        n = size - 1;
    memcpy(out, s, n);
    out[n] = '\0';
    return fits;
}

bool str_in_list(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; *p;) {
        p += strspn(p, ", \t");
        size_t len = strcspn(p, ",");
        size_t trimmed = len;
        while (trimmed && isspace((unsigned char)p[trimmed - 1]))
            trimmed--;
        if (trimmed == n && n && memcmp(p, word, n) == 0)
            return true;
        p += len;
    }
    return false;
}
