/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_sbatch.h: the command line of submit, as sbatch reads it; no input and no output */
#ifndef CLIENT_CLI_SBATCH_H
#define CLIENT_CLI_SBATCH_H

#include "client/slurmagent.h"
#include "common/err.h"

struct cli_sbatch {
    struct sagent_pair *options; /* for the server; of one name the last */
    size_t option_count;
    const char *wrap;          /* --wrap */
    const char *remote_script; /* --remote-script: a path on the cluster */
    const char *export_list;   /* --export; NULL: not given */
    const char *request_id;    /* --request-id */
    const char *retry;         /* --retry: seconds */
    const char *script;        /* a path here; NULL: stdin, or one of the two above */
    const char *const *arguments;
    size_t argument_count;
    bool json, parsable, quiet, help, version;
};

/* argv[0] is not looked at.  Strings are borrowed from argv, but for names in options.  ERR_INVALID
 * names the option, and what was perhaps meant.  cli_sbatch_done() also after a failure. */
int cli_sbatch_parse(int argc, char **argv, struct cli_sbatch *out, struct err *err);
void cli_sbatch_done(struct cli_sbatch *s);

/* What of env (NAME=value, NULL at the end) the job is offered, as --export's list says: NULL none,
 * ALL all, NONE and NIL none, else the variables that are named.  *ret_login: start from the login
 * environment on the cluster.  Gives an array for free(), strings borrowed from env; NULL
 * without memory. */
const char **cli_sbatch_environment(const char *list, char *const *env, size_t *ret_n,
                                    bool *ret_login);

/* Long names, for help: i from 0, NULL past the end. */
const char *cli_sbatch_name(size_t i, char *ret_letter);

#endif
