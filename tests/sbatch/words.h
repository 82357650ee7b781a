/* SPDX-License-Identifier: GPL-3.0-or-later */
/* words.h: one line of cases.txt or refusals.txt */
#ifndef TESTS_SBATCH_WORDS_H
#define TESTS_SBATCH_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum { CASE_WORDS = 200, CASE_LINES = 4000 };

/* NAME WORD...: blanks part words, quotes as in a shell, \n and \t inside of them; %D is the
 * directory it runs in, %J the id of a job that waits, %% a %.  A word with @ in front says how it
 * is run:
 *
 *   @env:NAME=value    in the environment         @script:LINES    behind the script's first line
 *   @body:TEXT         the whole script           @file:NAME=TEXT  a file in the directory
 *   @stdin             the script comes from there, @none: there is none (--wrap)
 *   @nohold            without -H                 @args            what follows, behind the script
 *   @umask:NNN                                    @stderr          what is said must be the same
 *   @says:TEXT         (refusals) must be in the agent's message, instead of option and value
 *   @since:22.05 @before:23.11  versions of Slurm
 */
struct test_case {
    char *name;
    char *line; /* as it is in the file */
    char *words[CASE_WORDS];
    size_t n;
    unsigned number; /* of the line */
};

/* Reads them all, in order; ends the program with a message when it cannot. */
size_t cases_read(const char *path, struct test_case *out, size_t max);

/* The rest of the word behind "@what:" or "@what"; NULL for another word. */
const char *case_directive(const char *word, const char *what);
bool case_has(const struct test_case *c, const char *what);

/* A copy with %D, %J and %% replaced. */
char *case_expand(const char *text, const char *dir, const char *job_id);

#endif
