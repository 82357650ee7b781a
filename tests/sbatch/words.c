/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sbatch/words.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One word, in place; NULL at the end of the line. */
static char *next_word(char **at)
{
    char *p = *at + strspn(*at, " \t"), *to = p, *word = p;
    char quote = 0;
    if (!*p)
        return NULL;
    for (; *p && (quote || (*p != ' ' && *p != '\t')); p++) {
        if (quote && *p == quote) {
            quote = 0;
        } else if (!quote && (*p == '"' || *p == '\'')) {
            quote = *p;
        } else if (*p == '\\' && p[1]) {
            p++;
            *to++ = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p;
        } else {
            *to++ = *p;
        }
    }
    *at = *p ? p + 1 : p;
    *to = '\0';
    return word;
}

static void split(struct test_case *c, char *text)
{
    char *word;
    c->name = next_word(&text);
    while ((word = next_word(&text))) {
        if (c->n == CASE_WORDS)
            errx(2, "line %u has too many words", c->number);
        c->words[c->n++] = word;
    }
}

size_t cases_read(const char *path, struct test_case *out, size_t max)
{
    char *line = NULL;
    size_t size = 0, n = 0;
    unsigned number = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        err(2, "%s", path);
    while (getline(&line, &size, f) >= 0) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        if (line[strspn(line, " \t")] == '\0' || line[0] == '#')
            continue;
        if (n == max)
            errx(2, "%s has more than %zu cases", path, max);
        out[n] = (struct test_case){.number = number, .line = strdup(line)};
        split(&out[n], strdup(line));
        for (size_t i = 0; i < n; i++)
            if (strcmp(out[i].name, out[n].name) == 0)
                errx(2, "%s:%u: there is a case %s already", path, number, out[n].name);
        n++;
    }
    free(line);
    fclose(f);
    return n;
}

const char *case_directive(const char *word, const char *what)
{
    size_t n = strlen(what);
    if (word[0] != '@' || strncmp(word + 1, what, n) != 0)
        return NULL;
    return word[n + 1] == ':' ? word + n + 2 : word[n + 1] == '\0' ? word + n + 1 : NULL;
}

bool case_has(const struct test_case *c, const char *what)
{
    for (size_t i = 0; i < c->n; i++)
        if (case_directive(c->words[i], what))
            return true;
    return false;
}

char *case_expand(const char *text, const char *dir, const char *job_id)
{
    char *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);
    for (; *text; text++) {
        if (*text != '%' || !text[1] || !strchr("DJ%", text[1]))
            fputc(*text, f);
        else if (*++text == 'D')
            fputs(dir, f);
        else if (*text == 'J')
            fputs(job_id, f);
        else
            fputc('%', f);
    }
    fclose(f);
    return out;
}
