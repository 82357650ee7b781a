/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_request.h: a command line with sbatch's options as a request: what submit and run share */
#ifndef CLIENT_CLI_REQUEST_H
#define CLIENT_CLI_REQUEST_H

#include "client/cli.h"
#include "client/cli_sbatch.h"

enum { CLI_REQUEST_MADE = 16 };

struct cli_request {
    struct cli_sbatch args;
    struct sagent_submit_request submit; /* borrows from all of this, and from argv */
    struct cli_pairs defaults;
    struct sagent_options_set default_set; /* the same */
    struct sagent_options_set *components;
    char *script, *path, *dir, *line;
    const char **variables;
    char *made[CLI_REQUEST_MADE]; /* variables that are in no environment */
    size_t made_count;
};

/* Reads argv as sbatch does, and the script; submit stays empty when help or version is asked for.
 * cli_request_done() also after a failure. */
int cli_request_make(const struct cli *cli, int argc, char **argv, struct cli_request *out,
                     struct err *err);
void cli_request_done(struct cli_request *r);
static inline void cleanup_cli_request_done(struct cli_request *r)
{
    cli_request_done(r);
}

/* Adds to the error what would help, to those who have not asked for it. */
void cli_request_advise(const struct cli_request *r, struct sagent_error *err);
/* What Slurm and the server remarked; warn: its warnings, too. */
void cli_request_say(const struct sagent_submit_reply *r, bool warn);
/* Says what cli_request_make() found wrong and gives the exit status. */
int cli_request_fail(const char *command, const struct err *err);
/* Usage, the command's own options, more (whole lines, with one behind that is empty), sbatch's. */
void cli_request_help(const char *command, const struct cli_option *own, size_t n,
                      const char *more);
/* The part of it about a job's data. */
void cli_staging_help(void);

#endif
