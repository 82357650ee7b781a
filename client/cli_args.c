/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_args.c: the options of commands, from their tables */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

/* ---- near names ---- */

enum { NAME_MAX_BYTES = 64 };

/* Letters to insert, delete or change to get from a to b. */
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), row[NAME_MAX_BYTES + 1];
    if (na > NAME_MAX_BYTES || nb > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[nb];
}

const char *cli_nearest(const char *said, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t limit = strlen(said) / 3 + 1, least = limit + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(said, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

/* ---- parsing ---- */

struct parsing {
    const struct cli_option *options;
    size_t n;
    int argc, i; /* argv[i] is being read */
    char **argv;
    struct cli_args *out;
};

__attribute__((format(printf, 2, 3))) static int wrong(struct parsing *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->out->error, sizeof p->out->error, fmt, ap);
    va_end(ap);
    return -1;
}

static int unknown_option(struct parsing *p, const char *said, size_t n)
{
    AUTO(free) char *name = strndup(said, n);
    AUTO(free) const char **names = calloc(p->n + 1, sizeof *names);
    if (!name || !names)
        cli_no_memory();
    for (size_t i = 0; i < p->n; i++)
        names[i] = p->options[i].name;
    const char *near = cli_nearest(name, names, p->n);
    static const char *const global[] = {"server", "cluster", "conf", "timeout"};
    for (size_t i = 0; i < ARRAY_LEN(global); i++)
        if (str_eq(name, global[i]))
            return wrong(p, "--%s goes in front of the command", name);
    if (!near)
        return wrong(p, "there is no option --%s", name);
    return wrong(p, "there is no option --%.100s: did you mean --%s?", name, near);
}

/* inline_value: what is behind = or behind the letter, NULL when nothing is. */
static int apply(struct parsing *p, const struct cli_option *o, const char *shown,
                 const char *inline_value)
{
    if (o->flag) {
        if (inline_value)
            return wrong(p, "%s takes no value", shown);
        *o->flag = true;
        return 0;
    }
    if (!inline_value) {
        if (p->i + 1 >= p->argc)
            return wrong(p, "%s needs a value", shown);
        inline_value = p->argv[++p->i];
    }
    *o->value = inline_value;
    return 0;
}

static int long_option(struct parsing *p, const char *text)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    for (size_t i = 0; i < p->n; i++) {
        const struct cli_option *o = &p->options[i];
        char shown[NAME_MAX_BYTES];
        if (strlen(o->name) != n || memcmp(o->name, text, n) != 0)
            continue;
        snprintf(shown, sizeof shown, "--%s", o->name);
        return apply(p, o, shown, equals ? equals + 1 : NULL);
    }
    return unknown_option(p, text, n);
}

/* -abc, -xVALUE, -x VALUE */
static int letters(struct parsing *p, const char *text)
{
    for (; *text; text++) {
        const struct cli_option *o = NULL;
        char shown[] = {'-', *text, '\0'};
        for (size_t i = 0; i < p->n && !o; i++)
            if (p->options[i].letter == *text)
                o = &p->options[i];
        if (!o)
            return wrong(p, "there is no option %s", shown);
        if (o->value)
            return apply(p, o, shown, text[1] ? text + 1 : NULL);
        *o->flag = true;
    }
    return 0;
}

static bool is_option(const char *arg)
{
    return *arg == '-' && arg[1];
}

int cli_parse(const struct cli_option *options, size_t n, enum cli_order order, int argc,
              char **argv, struct cli_args *out)
{
    struct parsing p = {.options = options, .n = n, .argc = argc, .argv = argv, .out = out};
    bool over = false;
    *out = (struct cli_args){.positional = calloc((size_t)argc + 1, sizeof(char *))};
    if (!out->positional)
        cli_no_memory();
    for (p.i = 1; p.i < argc; p.i++) {
        const char *arg = argv[p.i];
        int rc = 0;
        if (!over && strcmp(arg, "--") == 0)
            over = true;
        else if (!over && strncmp(arg, "--", 2) == 0)
            rc = long_option(&p, arg + 2);
        else if (!over && is_option(arg))
            rc = letters(&p, arg + 1);
        else if (order == CLI_STOP)
            break;
        else
            out->positional[out->n++] = arg;
        if (rc < 0) {
            free(out->positional);
            out->positional = NULL;
            return -1;
        }
    }
    out->next = p.i;
    if (order == CLI_STOP) {
        free(out->positional);
        out->positional = NULL;
    }
    return 0;
}

bool cli_begin(const struct cli_option *options, size_t n, size_t min, size_t max, int argc,
               char **argv, struct cli_args *ret_args, int *ret_status)
{
    return cli_begin_more(options, n, NULL, min, max, argc, argv, ret_args, ret_status);
}

bool cli_begin_more(const struct cli_option *options, size_t n, const char *more, size_t min,
                    size_t max, int argc, char **argv, struct cli_args *ret_args, int *ret_status)
{
    bool help = false;
    AUTO(free) struct cli_option *all = calloc(n + 1, sizeof *all);
    if (!all)
        cli_no_memory();
    if (n)
        memcpy(all, options, n * sizeof *all);
    all[n] = (struct cli_option){"help", 'h', &help, NULL, NULL, "show this"};
    *ret_status = CLI_USAGE;
    if (cli_parse(all, n + 1, CLI_MIXED, argc, argv, ret_args) < 0) {
        cli_say("%s: %s", argv[0], ret_args->error);
        return false;
    }
    if (help) {
        cli_usage(argv[0], all, n + 1);
        if (more)
            printf("\n%s", more);
        *ret_status = cli_end_output(0);
    } else if (ret_args->n < min) {
        cli_say("%s: what is missing: see slurm-agent help %s", argv[0], argv[0]);
    } else if (ret_args->n > max) {
        cli_say("%s: '%s' is too much: see slurm-agent help %s", argv[0], ret_args->positional[max],
                argv[0]);
    } else {
        *ret_status = 0;
        return true;
    }
    free(ret_args->positional);
    ret_args->positional = NULL;
    return false;
}
