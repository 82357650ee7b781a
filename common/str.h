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
/* Is word one of the comma separated words of list (spaces around them ignored)? */
bool str_in_list(const char *list, const char *word);

#endif
