/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli.h: what the parts of the command slurm-agent share */
#ifndef CLIENT_CLI_H
#define CLIENT_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "client/slurmagent.h"

enum { CLI_FAILED = 1, CLI_USAGE = 2, CLI_MISSING = 3 };

/* Options in front of the command, and the command line as typed. */
struct cli {
    struct sagent_options options;
    int argc;
    char **argv;
    bool sbatch; /* called as sbatch: to be, say and exit like it */
};

/* A handler gets its own name as argv[0] and returns the exit status. */
#define CMD(name, handler, synopsis, help) int handler(struct cli *cli, int argc, char **argv);
#include "client/cli_commands.def"
#undef CMD

struct cli_command {
    const char *name;
    int (*run)(struct cli *cli, int argc, char **argv);
    const char *synopsis, *help;
};

/* NULL when there is none. */
const struct cli_command *cli_find(const char *name);
/* Says that there is none, and which is near; gives the exit status. */
int cli_unknown(const char *name);
/* All commands and the options in front of them. */
void cli_overview(FILE *to);

/* The program's name in what is said; "slurm-agent" unless said otherwise. */
void cli_call_me(const char *name);
/* "slurm-agent: text" on stderr, control characters replaced. */
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Says an error and gives its exit status. */
int cli_fail(const struct sagent_error *err);
/* Says that there is no memory and ends the program. */
_Noreturn void cli_no_memory(void);
/* NULL after having said why, with *ret_status set. */
struct sagent *cli_open(const struct cli *cli, int *ret_status);
/* Flushes stdout: status, or CLI_FAILED after having said why. */
int cli_end_output(int status);
/* The same for what goes on: ends the program when nobody can read it. */
void cli_flush_output(void);

/* ---- options of commands (cli_args.c) ---- */

struct cli_option {
    const char *name; /* long form */
    char letter;      /* 0: none */
    bool *flag;       /* one of these two is set */
    const char **value;
    const char *metavar;
    const char *help;
};

/* How to use a command and its options, on stdout. */
void cli_usage(const char *command, const struct cli_option *options, size_t n);
/* The options alone, a line each. */
void cli_option_lines(const struct cli_option *options, size_t n);

struct cli_args {
    const char **positional; /* borrowed from argv; free() the array */
    size_t n;
    int next;        /* CLI_STOP: index of the first argument that was not read */
    char error[300]; /* what is wrong, for the user */
};

enum cli_order {
    CLI_MIXED, /* options and other arguments in any order; -- ends the options */
    CLI_STOP,  /* up to the first argument that is no option */
};

/* -1 with error filled, and nothing to free. */
int cli_parse(const struct cli_option *options, size_t n, enum cli_order order, int argc,
              char **argv, struct cli_args *out);
/* What every handler begins with: parses, adds --help, and takes min to max other arguments.  True
 * to go on (free() args->positional), false to end with *ret_status. */
bool cli_begin(const struct cli_option *options, size_t n, size_t min, size_t max, int argc,
               char **argv, struct cli_args *ret_args, int *ret_status);
/* The same, with more (whole lines) behind the options in what --help prints. */
bool cli_begin_more(const struct cli_option *options, size_t n, const char *more, size_t min,
                    size_t max, int argc, char **argv, struct cli_args *ret_args, int *ret_status);
/* The one of n names that is nearest to said; NULL when none is near. */
const char *cli_nearest(const char *said, const char *const *names, size_t n);

/* ---- tables (cli_table.c) ---- */

struct cli_column {
    const char *title;
    bool right;  /* aligned */
    int shrink;  /* 0: never; else cut in this order when the table is too wide */
    size_t keep; /* not below this many characters */
};

struct cli_table;

struct cli_table *cli_table_new(const struct cli_column *columns, size_t n);
void cli_table_free(struct cli_table *t);
/* Adds the next cell of the current row; copies.  NULL is an empty cell. */
void cli_table_add(struct cli_table *t, const char *text);
/* The table with its titles; free() it.  width 0: as wide as it is.  ellipsis: ends what is cut. */
char *cli_table_layout(const struct cli_table *t, size_t width, const char *ellipsis);
/* On stdout, cut to the terminal when it is one. */
void cli_table_print(const struct cli_table *t);

/* ---- words and numbers (cli_output.c) ---- */

enum { CLI_TEXT = 64 };

/* d-hh:mm:ss as squeue writes it. */
const char *cli_duration(int64_t seconds, char out[CLI_TEXT]);
/* The local time as 2024-12-31T23:59:59; "" for 0. */
const char *cli_time(int64_t t, char out[CLI_TEXT]);
const char *cli_number(int64_t v, char out[CLI_TEXT]);

/* A point in time as --since takes it: 2024-12-31, 2024-12-31T23:59[:59] (local time), now,
 * now-2hours (seconds, minutes, hours, days, weeks), @UNIX SECONDS.  False for anything else. */
#define CLI_WHEN_FORMS "2024-12-31, 2024-12-31T23:59, now-2hours, now-3days or @UNIX_SECONDS"
bool cli_when(const char *text, int64_t now, int64_t *ret);
/* "→" where the terminal can show it, else "->". */
const char *cli_arrow(void);

struct json_t;
/* A JSON string of any bytes. */
struct json_t *cli_json_string(const char *s);
/* Sets what is set: not NULL, not "". */
void cli_json_set(struct json_t *object, const char *key, const char *value);
void cli_json_set_number(struct json_t *object, const char *key, int64_t value);
struct json_t *cli_json_job(const struct sagent_job *job);
/* Prints and frees. */
void cli_json_print(struct json_t *json);
/* The same in one line, which is flushed. */
void cli_json_print_line(struct json_t *json);

/* ---- answers about jobs (cli_jobs.c) ---- */

/* jobs, as_of, stale, note, source and missing. */
struct json_t *cli_json_jobs(const struct sagent_jobs *jobs);
/* A line of the long form. */
void cli_print_text(const char *name, const char *value);
void cli_print_integer(const char *name, int64_t v);
/* Seconds the job has run, by the server's clock. */
/* Its state in one word: Slurm's, or the phase where that says more: inputs are fetched, outputs
 * are stored or could not be, nobody knows. */
const char *cli_job_state(const struct sagent_job *job);
int64_t cli_run_time(const struct sagent_job *job, int64_t as_of);
void cli_say_stale(int64_t as_of, const char *note);
void cli_say_missing(const char *id);

/* ---- what became of a submit (cli_resolve.c) ---- */

int cli_show_request(struct sagent *s, const char *id, bool json);

#endif
