/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_table.c: text in columns, cut to a width when it has to be */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

enum { GAP = 2, DEFAULT_WIDTH = 80 };

struct cli_table {
    const struct cli_column *columns;
    size_t n;
    char **cells; /* row by row */
    size_t used, room;
};

struct cli_table *cli_table_new(const struct cli_column *columns, size_t n)
{
    struct cli_table *t = calloc(1, sizeof *t);
    if (!t)
        cli_no_memory();
    t->columns = columns;
    t->n = n;
    return t;
}

void cli_table_free(struct cli_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->used; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void cli_table_add(struct cli_table *t, const char *text)
{
    if (t->used == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        char **cells = reallocarray(t->cells, room, sizeof *cells);
        if (!cells)
            cli_no_memory();
        t->cells = cells;
        t->room = room;
    }
    char *copy = strdup(str_or(text, ""));
    if (!copy)
        cli_no_memory();
    t->cells[t->used++] = str_printable(copy);
}

/* ---- layout ---- */

/* Characters, as a terminal of UTF-8 counts most of them. */
static size_t length(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

/* Bytes of the first n characters. */
static size_t prefix(const char *s, size_t n)
{
    const char *p = s;
    while (*p && (n || (*p & 0xc0) == 0x80)) {
        if ((*p & 0xc0) != 0x80)
            n--;
        p++;
        while ((*p & 0xc0) == 0x80)
            p++;
    }
    return (size_t)(p - s);
}

static void natural_widths(const struct cli_table *t, size_t *widths)
{
    for (size_t c = 0; c < t->n; c++)
        widths[c] = length(t->columns[c].title);
    for (size_t i = 0; i < t->used; i++) {
        size_t n = length(t->cells[i]);
        if (n > widths[i % t->n])
            widths[i % t->n] = n;
    }
}

static size_t sum(const size_t *widths, size_t n)
{
    size_t total = n ? (n - 1) * GAP : 0;
    for (size_t c = 0; c < n; c++)
        total += widths[c];
    return total;
}

/* The column that gives way first, all of what it can, then the next. */
static void shrink(const struct cli_table *t, size_t width, size_t *widths)
{
    for (int order = 1; order <= (int)t->n; order++)
        for (size_t c = 0; c < t->n; c++) {
            size_t total = sum(widths, t->n), keep = t->columns[c].keep;
            if (total <= width)
                return;
            if (t->columns[c].shrink != order || widths[c] <= keep)
                continue;
            size_t excess = total - width, spare = widths[c] - keep;
            widths[c] -= excess < spare ? excess : spare;
        }
}

static void put_cell(FILE *f, const char *text, size_t width, bool right, bool last,
                     const char *ellipsis)
{
    size_t n = length(text), dots = length(ellipsis);
    if (n > width) {
        size_t kept = width > dots ? width - dots : 0;
        fwrite(text, 1, prefix(text, kept), f);
        fputs(ellipsis, f);
        n = kept + dots;
    } else {
        if (right)
            fprintf(f, "%*s", (int)(width - n), "");
        fputs(text, f);
        if (right)
            n = width;
    }
    if (!last)
        fprintf(f, "%*s", (int)((n < width ? width - n : 0) + GAP), "");
}

char *cli_table_layout(const struct cli_table *t, size_t width, const char *ellipsis)
{
    char *out = NULL;
    size_t size;
    AUTO(free) size_t *widths = calloc(t->n ? t->n : 1, sizeof *widths);
    FILE *f = open_memstream(&out, &size);
    if (!widths || !f)
        cli_no_memory();
    natural_widths(t, widths);
    if (width)
        shrink(t, width, widths);
    for (size_t c = 0; c < t->n; c++)
        put_cell(f, t->columns[c].title, widths[c], t->columns[c].right, c + 1 == t->n, ellipsis);
    fputc('\n', f);
    for (size_t i = 0; i < t->used; i++) {
        size_t c = i % t->n;
        bool last = c + 1 == t->n;
        put_cell(f, t->cells[i], widths[c], t->columns[c].right, last, ellipsis);
        if (last)
            fputc('\n', f);
    }
    if (fclose(f) != 0)
        cli_no_memory();
    return out;
}

/* ---- printing ---- */

static size_t terminal_width(void)
{
    struct winsize w;
    int64_t columns;
    const char *env = getenv("COLUMNS");
    if (!isatty(STDOUT_FILENO))
        return 0; /* for a program or a file nothing is cut */
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
        return w.ws_col;
    if (env && str_to_i64(env, 1, 10000, &columns))
        return (size_t)columns;
    return DEFAULT_WIDTH;
}

void cli_table_print(const struct cli_table *t)
{
    const char *ellipsis = str_eq(nl_langinfo(CODESET), "UTF-8") ? "…" : "+";
    AUTO(free) char *text = cli_table_layout(t, terminal_width(), ellipsis);
    fputs(text, stdout);
}
