/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_sbatch_help.c: --help and --usage under sbatch's name */
#include <stdio.h>
#include <string.h>

#include "client/cli_sbatch.h"
#include "common/cleanup.h"

enum { NONE, REQUIRED, OPTIONAL };
enum { COLUMN = 33, WIDTH = 79, FORM = 80 };

static const struct row {
    const char *name;
    char letter;
    int takes;
    const char *value, *help;
} rows[] = {
#define SBATCH(name, letter, takes, value, help) {name, letter, takes, value, help},
#define HERE(name, letter, help) {name, letter, NONE, NULL, help},
#define REFUSED(name, letter, takes)
#define NEWER(name, takes)
#include "client/cli_sbatch.def"
#undef SBATCH
#undef HERE
#undef REFUSED
#undef NEWER
};

/* "--name=VALUE" */
static void long_form(const struct row *r, char out[FORM])
{
    const char *value = r->value ? r->value : "";
    snprintf(out, FORM,
             r->takes == NONE       ? "--%s%s"
             : r->takes == REQUIRED ? "--%s=%s"
                                    : "--%s[=%s]",
             r->name, value);
}

void cli_sbatch_help(const char *name)
{
    printf("Usage: %s [OPTION...] [: OPTION...]... [SCRIPT [ARGUMENT...]]\n\n"
           "Submits a batch script, from a file or stdin, through slurm-agent.\n\n",
           name);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        char letter[] = {'-', r->letter, ',', '\0'}, form[FORM];
        long_form(r, form);
        int n = printf("  %3s %s", r->letter ? letter : "", form);
        if (n >= COLUMN) {
            putchar('\n');
            n = 0;
        }
        printf("%*s%s\n", COLUMN - n, "", r->help);
    }
}

void cli_sbatch_usage(const char *name)
{
    int indent = (int)strlen("Usage:  ") + (int)strlen(name), column = indent - 1;
    printf("Usage: %s", name);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        char form[FORM], word[FORM + 2];
        if (r->letter && r->takes == REQUIRED)
            snprintf(form, sizeof form, "-%c %s", r->letter, r->value);
        else
            long_form(r, form);
        snprintf(word, sizeof word, "[%s]", form);
        if (column + 1 + (int)strlen(word) > WIDTH) {
            printf("\n%*s", indent - 1, "");
            column = indent - 1;
        }
        column += printf(" %s", word);
    }
    printf("\n%*s [SCRIPT [ARGUMENT...]]\n", indent - 1, "");
}
