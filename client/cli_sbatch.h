/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_sbatch.h: the command line of submit, as sbatch reads it; no input and no output */
#ifndef CLIENT_CLI_SBATCH_H
#define CLIENT_CLI_SBATCH_H

#include "client/cli_stage.h"
#include "client/slurmagent.h"
#include "common/err.h"

/* For the server; of one name the last, in the order of the last.  Names are copies. */
struct cli_pairs {
    struct sagent_pair *v;
    size_t n;
};

struct cli_sbatch {
    struct cli_pairs *sets; /* of each component: ':' parts them; one at least */
    size_t set_count;
    const char *remote_script; /* --remote-script: a path on the cluster */
    const char *wrap;          /* --wrap, which is among the options too */
    const char *export_list;   /* --export; NULL: not given */
    const char *request_id;    /* --request-id */
    const char *retry;         /* --retry: seconds */
    struct cli_stage stage;    /* what is moved for the job */
    const char *script;        /* a path here; NULL: stdin, or one of the two above */
    const char *const *arguments;
    size_t argument_count;
    bool json, parsable, wait, test_only, quiet, verbose;
    bool help, usage, version; /* nothing else counts then */
};

/* argv[0] is not looked at.  Strings are borrowed from argv, but for names in options.  ERR_INVALID
 * names the option, and what was perhaps meant.  cli_sbatch_done() also after a failure. */
int cli_sbatch_parse(int argc, char **argv, struct cli_sbatch *out, struct err *err);
void cli_sbatch_done(struct cli_sbatch *s);

/* The options in sbatch's variables (SBATCH_*); values are borrowed from env, *ret_export is
 * SBATCH_EXPORT's.  -1 without memory; cli_pairs_done() in any case. */
int cli_sbatch_defaults(char *const *env, struct cli_pairs *out, const char **ret_export);
void cli_pairs_done(struct cli_pairs *p);

/* What of env (NAME=value, NULL at the end) the job is offered, as --export's list says: NULL none,
 * ALL all, NONE and NIL none, else the variables that are named.  *ret_login: start from the login
 * environment on the cluster.  Gives an array for free() with room for extra more, strings borrowed
 * from env; NULL without memory. */
const char **cli_sbatch_environment(const char *list, char *const *env, size_t extra, size_t *ret_n,
                                    bool *ret_login);

/* Is ALL among what the list names? */
bool cli_sbatch_is_all(const char *list);

/* Long names, for help: i from 0, NULL past the end. */
const char *cli_sbatch_name(size_t i, char *ret_letter);

/* What sbatch's --help and --usage say, of the options that are offered, on stdout; name is how the
 * program was called. */
void cli_sbatch_help(const char *name);
void cli_sbatch_usage(const char *name);

#endif
