/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_request.h: a command line with sbatch's options as a request: what submit and run share */
#ifndef CLIENT_CLI_REQUEST_H
#define CLIENT_CLI_REQUEST_H

#include "client/cli.h"
#include "client/cli_sbatch.h"

struct cli_request {
    struct cli_sbatch args;
    struct sagent_submit_request submit; /* borrows from all of this, and from argv */
    char *script, *line;
    const char **variables;
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

/* What Slurm and the server remarked. */
void cli_request_say(const struct sagent_submit_reply *r);
/* Says what cli_request_make() found wrong and gives the exit status. */
int cli_request_fail(const char *command, const struct err *err);
/* Usage, the command's own options, more (whole lines, with one behind that is empty), sbatch's. */
void cli_request_help(const char *command, const struct cli_option *own, size_t n,
                      const char *more);

#endif
