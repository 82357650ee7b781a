/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_impl.h"

#include <string.h>
#include <strings.h>

/* isspace() of the C locale, whatever the locale is. */
static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_blank(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p))
        p++;
    return p == end;
}

int sbatch_script_check(struct bytes script, size_t max_script, struct err *err)
{
    if (script.n == 0)
        return err_set(err, ERR_INVALID, "the script is empty");
    if (script.n > max_script)
        return err_set(err, ERR_LIMIT, "the script has %zu bytes, the cluster takes at most %zu",
                       script.n, max_script);
    if (is_blank(script.p, script.p + script.n))
        return err_set(err, ERR_INVALID, "the script is empty: there is only white space in it");
    if (script.n < 2 || memcmp(script.p, "#!", 2) != 0)
        return err_set(err, ERR_INVALID,
                       "the script does not begin with #! and the path of an interpreter, "
                       "e.g. #!/bin/sh");
    const uint8_t *nul = memchr(script.p, '\0', script.n);
    if (nul)
        return err_set(err, ERR_INVALID, "the script has a NUL byte at offset %zu: is it a binary?",
                       (size_t)(nul - script.p));
    const uint8_t *dos = memmem(script.p, script.n, "\r\n", 2);
    if (dos)
        return err_set(err, ERR_INVALID,
                       "the script has DOS line ends (CR LF), the first after %zu bytes: convert "
                       "it, for instance with dos2unix",
                       (size_t)(dos - script.p));
    return 0;
}

struct lines {
    const uint8_t *next, *script_end;
    const uint8_t *p, *end; /* the line, without its newline */
    size_t number;          /* from 1 */
};

static void lines_init(struct lines *l, struct bytes script)
{
    *l = (struct lines){.next = script.p, .script_end = script.p + script.n};
}

static bool lines_next(struct lines *l)
{
    if (l->next == l->script_end)
        return false;
    l->p = l->next;
    l->end = memchr(l->p, '\n', (size_t)(l->script_end - l->p));
    l->next = l->end ? l->end + 1 : l->script_end;
    if (!l->end)
        l->end = l->script_end;
    l->number++;
    return true;
}

static bool begins(const struct lines *l, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(l->end - l->p) >= n && memcmp(l->p, word, n) == 0;
}

/* The word that parts the components of a heterogeneous job: sbatch looks for it without regard to
 * case. */
static bool is_separator(const uint8_t *p, const uint8_t *end)
{
    static const char *const words[] = {"hetjob", "packjob"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(end - p) >= n && strncasecmp((const char *)p, words[i], n) == 0 &&
            (p + n == end || is_space(p[n])))
            return true;
    }
    return false;
}

/* One word of a line.  sbatch's rules, which are not a shell's: a backslash makes the next byte
 * plain, in both kinds of quotes too, but before a blank outside of quotes it just goes away; a #
 * begins a comment in the middle of a word as well.  out has room for all that is left of the line
 * and a NUL.  1: a word, 0: none. */
static int next_word(const uint8_t **at, const uint8_t *end, size_t line, char *out, size_t *ret_n,
                     struct err *err)
{
    const uint8_t *p = *at;
    uint8_t quote = 0;
    size_t n = 0;
    while (p < end && is_space(*p))
        p++;
    if (is_separator(p, end))
        return err_set(err, ERR_INVALID,
                       "script line %zu: hetjob must stand alone on its line: sbatch would ignore "
                       "the options around it",
                       line);
    if (p < end && *p == ':')
        return err_set(err, ERR_INVALID, "script line %zu: a ':' where an option was expected",
                       line);
    const uint8_t *start = p;
    while (p < end && (quote || !is_space(*p))) {
        if (*p == '\\') {
            p++;
            if (p < end && (quote || !is_space(*p)))
                out[n++] = (char)*p++;
        } else if (quote && *p == quote) {
            quote = 0;
            p++;
        } else if (!quote && (*p == '"' || *p == '\'')) {
            quote = *p++;
        } else if (!quote && *p == '#') {
            break;
        } else {
            out[n++] = (char)*p++;
        }
    }
    if (quote)
        return err_set(err, ERR_INVALID, "script line %zu: the quote %c is not closed", line,
                       quote);
    if (n == 0 && p > start && !is_blank(p, end) && *p != '#') {
        while (is_space(*p))
            p++;
        /* sbatch silently drops what follows an empty word */
        if (*p != '#')
            return err_set(err, ERR_INVALID,
                           "script line %zu: an empty word, after which sbatch would ignore the "
                           "rest of the line",
                           line);
    }
    *at = p;
    if (n) /* after the line's last word there is no room left */
        out[n] = '\0';
    *ret_n = n;
    return n > 0;
}

/* What is behind the magic word of an #SBATCH line; NULL for another line.  Nothing need follow it,
 * and #SLURM is its old spelling. */
static const uint8_t *directive(const struct lines *l)
{
    static const char *const magic[] = {"#SBATCH", "#SLURM"};
    for (size_t i = 0; i < ARRAY_LEN(magic); i++)
        if (begins(l, magic[i]))
            return l->p + strlen(magic[i]);
    return NULL;
}

static const uint8_t *skip_spaces(const uint8_t *p, const uint8_t *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

static int words_of_line(const struct lines *l, const uint8_t *p, struct arena *arena,
                         sbatch_word_fn fn, void *arg, struct err *err)
{
    /* every word but the last has a blank behind it, where its NUL goes */
    char *out = arena_alloc(arena, (size_t)(l->end - p) + 1);
    if (!out)
        return err_set(err, ERR_LIMIT, "script line %zu: out of memory", l->number);
    for (;;) {
        size_t n = 0;
        int rc = next_word(&p, l->end, l->number, out, &n, err);
        if (rc <= 0)
            return rc;
        if (fn(arg, l->number, out, err) < 0)
            return -1;
        out += n + 1;
    }
}

int sbatch_script_words(struct bytes script, size_t component, struct arena *arena,
                        sbatch_word_fn fn, void *arg, bool *ret_more, struct err *err)
{
    struct lines l;
    size_t now = 0;
    *ret_more = false;
    lines_init(&l, script);
    while (lines_next(&l)) {
        const uint8_t *p = directive(&l);
        if (!p) {
            p = skip_spaces(l.p, l.end);
            if (p < l.end && *p != '#')
                return 0;
            continue;
        }
        p = skip_spaces(p, l.end);
        if (is_separator(p, l.end)) {
            size_t word = strncasecmp((const char *)p, "hetjob", 6) == 0 ? 6 : 7;
            now++;
            if (is_blank(p + word, l.end))
                p = l.end;
        }
        if (now > component) {
            *ret_more = true;
            return 0;
        }
        if (now == component && words_of_line(&l, p, arena, fn, arg, err) < 0)
            return -1;
    }
    return 0;
}

int sbatch_script_refuse_pbs(struct bytes script, struct err *err)
{
    static const char *const magic[] = {"#PBS", "#BSUB"};
    struct lines l;
    lines_init(&l, script);
    while (lines_next(&l)) {
        for (size_t i = 0; i < ARRAY_LEN(magic); i++) {
            if (begins(&l, magic[i]) && !is_blank(l.p + strlen(magic[i]), l.end))
                return err_set(err, ERR_UNSUPPORTED,
                               "script line %zu: %s lines, which sbatch would obey, are not "
                               "offered by this server yet: write #SBATCH, or give --ignore-pbs",
                               l.number, magic[i]);
        }
    }
    return 0;
}
