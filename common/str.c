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

size_t str_cut(const char *s, size_t max)
{
    size_t n = strnlen(s, max);
    while (n && (s[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void str_hex(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[at[i] >> 4];
        *out++ = digits[at[i] & 15];
    }
    *out = '\0';
}

/* Those of a character's bytes that follow the first. */
static bool continues(const unsigned char *p, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

size_t str_shown(const char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)s;
    size_t n = *p < 0x80                 ? 1
               : *p >= 0xc2 && *p < 0xe0 ? 2
               : *p >= 0xe0 && *p < 0xf0 ? 3
               : *p >= 0xf0 && *p < 0xf5 ? 4
                                         : 0;
    if (n == 0 || !continues(p, n))
        return 0;
    uint32_t c = n > 1 ? *p & (0x7fU >> n) : *p;
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3fU);
    return c < least[n] || is_control(c) ? 0 : n;
}

char *str_printable(char *s)
{
    for (char *p = s; *p;) {
        size_t n = str_shown(p);
        if (n == 0)
            *p = '?';
        p += n ? n : 1;
    }
    return s;
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
