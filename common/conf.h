/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conf.h: an ini file into a struct, by a table (reads with inih; knows file and line)
 *
 * agentd/conf.def and client/conf.def make the struct, the table and the defaults:
 *
 *     CONF_STR(name, "default", help)          const char *name, never NULL
 *     CONF_INT(name, default, min, max, unit, help)   int64_t name
 *     CONF_BOOL(name, default, help)           bool name; yes/no, true/false, on/off, 1/0
 */
#ifndef COMMON_CONF_H
#define COMMON_CONF_H

#include <stdio.h>

#include "common/arena.h"
#include "common/err.h"

enum conf_kind { CONF_KIND_STR, CONF_KIND_INT, CONF_KIND_BOOL };

struct conf_key {
    const char *name;
    enum conf_kind kind;
    size_t offset;
    const char *str_default;
    long long int_default, min, max;
    const char *unit;
    const char *help;
};

/* Fills *out with the defaults.  Strings are static. */
void conf_defaults(const struct conf_key *keys, size_t n, void *out);
/* Reads path over what is in *out; strings live in the arena.  One section, unknown keys and
 * sections, doubled keys and values out of range are ERR_INVALID with file, line and what would be
 * right; a file that cannot be read is ERR_NOT_FOUND or ERR_DENIED. */
int conf_load(const char *path, const char *section, const struct conf_key *keys, size_t n,
              struct arena *arena, void *out, struct err *err);
/* The same from a descriptor of a file, whose offset does not matter. */
int conf_load_fd(int fd, const char *name, const char *section, const struct conf_key *keys,
                 size_t n, struct arena *arena, void *out, struct err *err);
/* The same from memory. */
int conf_parse(const char *text, const char *name, const char *section, const struct conf_key *keys,
               size_t n, struct arena *arena, void *out, struct err *err);
/* One setting as text: the string itself, or written into buf. */
const char *conf_value(const struct conf_key *k, const void *conf, char buf[32]);
/* Writes the settings in force, each with its help, as a file that conf_load() reads. */
void conf_print(FILE *to, const char *section, const struct conf_key *keys, size_t n,
                const void *conf);

#endif
