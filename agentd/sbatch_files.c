/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is in files that options name */
#include "agentd/sbatch_impl.h"

#include <string.h>

#include "common/str.h"

/* ---- --nodefile ---- */

static bool is_end(uint8_t c)
{
    return c == ',' || c == '\n' || c == ' ' || c == '\t' || c == '\r' || c == '\0' || c == '#';
}

/* NAME or NAME*N, from p on to end, into to (NULL: counted alone).  Bytes, with a comma behind
 * each. */
static size_t one_name(const uint8_t *p, size_t n, char *to)
{
    enum { MOST = 100000 };
    const uint8_t *star = memchr(p, '*', n);
    size_t len = star ? (size_t)(star - p) : n, used = 0;
    int64_t times = 1;
    char digits[16];
    if (star && n - len - 1 < sizeof digits) {
        const char *at = digits;
        memcpy(digits, star + 1, n - len - 1);
        digits[n - len - 1] = '\0';
        if (!sbatch_number(&at, MOST, &times))
            times = 1;
    }
    for (int64_t i = 0; len && i < times; i++, used += len + 1)
        if (to) {
            memcpy(to + used, p, len);
            to[used + len] = ',';
        }
    return used;
}

static size_t all_names(struct bytes text, char *to)
{
    size_t used = 0;
    for (size_t i = 0; i < text.n;) {
        size_t n = 0;
        if (text.p[i] == '#') {
            while (i < text.n && text.p[i] != '\n')
                i++;
            continue;
        }
        while (i + n < text.n && !is_end(text.p[i + n]))
            n++;
        used += one_name(text.p + i, n, to ? to + used : NULL);
        i += n + (i + n < text.n && text.p[i + n] != '#');
    }
    return used;
}

const char *sbatch_node_list(struct bytes text, struct arena *arena, struct err *err)
{
    enum { MOST = 1000000 };
    size_t n = all_names(text, NULL);
    if (n == 0) {
        err_set(err, ERR_INVALID, "there is no node in the file");
        return NULL;
    }
    char *list = n <= MOST ? arena_alloc(arena, n + 1) : NULL;
    if (!list) {
        err_set(err, ERR_LIMIT, "the file names too many nodes");
        return NULL;
    }
    all_names(text, list);
    list[n - 1] = '\0'; /* the last comma */
    return list;
}

/* ---- --export-file ---- */

/* As for a login environment, these are the place's own. */
static bool is_left_out(const char *name)
{
    return str_eq(name, "DISPLAY") || str_eq(name, "ENVIRONMENT") || str_eq(name, "HOSTNAME");
}

/* Of one name the last. */
static void put(struct pair *v, size_t *n, const char *name, const char *value)
{
    size_t i = 0;
    while (i < *n && !str_eq(v[i].name, name))
        i++;
    *n += i == *n;
    v[i] = (struct pair){name, value};
}

int sbatch_exported(struct bytes text, struct arena *arena, struct pairs *out, struct err *err)
{
    enum { NAME_MAX_BYTES = 255, MOST = 4096 };
    size_t n = 0, count = 0;
    char *copy = arena_alloc(arena, text.n + 2);
    if (!copy)
        return err_set(err, ERR_LIMIT, "no memory for the variables of --export-file");
    memcpy(copy, text.p, text.n);
    copy[text.n] = copy[text.n + 1] = '\0';
    for (char *p = copy; *p; p += strlen(p) + 1)
        count++;
    if (count > MOST)
        return err_set(err, ERR_LIMIT, "--export-file: more than %d variables", MOST);
    struct pair *v = arena_array(arena, count + 1, sizeof *v);
    if (!v)
        return err_set(err, ERR_LIMIT, "no memory for the variables of --export-file");
    for (char *p = copy, *next; *p; p = next) {
        char *equals = strchr(p, '=');
        next = p + strlen(p) + 1;
        if (!equals || equals == p || equals - p > NAME_MAX_BYTES)
            continue;
        *equals = '\0';
        if (!is_left_out(p))
            put(v, &n, p, equals + 1);
    }
    *out = (struct pairs){v, n};
    return 0;
}
