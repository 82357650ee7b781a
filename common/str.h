/* SPDX-License-Identifier: GPL-3.0-or-later */
/* str.h: the string helpers that are needed in more than one place */
#ifndef COMMON_STR_H
#define COMMON_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A whole decimal number between min and max with nothing before or behind; false otherwise, and
 * *ret is left alone. */
bool str_to_i64(const char *s, int64_t min, int64_t max, int64_t *ret);
/* Copies with truncation, always NUL-terminated; false when it did not fit. */
bool str_copy(char *out, size_t size, const char *s);
static inline bool str_eq(const char *a, const char *b)
{
    return a && b && __builtin_strcmp(a, b) == 0;
}
static inline const char *str_or(const char *s, const char *otherwise)
{
    return s ? s : otherwise;
}
/* Lower case hexadecimal digits, NUL-terminated: 2 * n + 1 bytes. */
void str_hex(const void *bytes, size_t n, char *out);
/* How many of the first max bytes of s, without the part of a character (UTF-8) at their end. */
size_t str_cut(const char *s, size_t max);
/* How many bytes the character at s has (UTF-8); 0: it is none, or one that controls a terminal or
 * how others are shown (C0, C1, the direction of writing, ...). */
size_t str_shown(const char *s);
/* Makes '?' of each byte that is not of a character to be shown; gives s. */
char *str_printable(char *s);
/* Is word one of the comma separated words of list (spaces around them ignored)? */
bool str_in_list(const char *list, const char *word);

#endif
