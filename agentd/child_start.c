/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/child_start.h"

#include <getopt.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "agentd/conf.h"
#include "common/str.h"

/* What the monitor gave is what is used; SLURM_JWT, SLURM_CONF and their like would change what
 * libslurm does, whoever set them, and others what libcurl does. */
static int clean_environment(void)
{
    return clearenv() != 0 || setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1) < 0 ||
                   setenv("LANG", "C.UTF-8", 1) < 0
               ? -1
               : 0;
}

static int parse_role(const char *word, enum worker_role *ret)
{
    static const struct {
        const char *word;
        enum worker_role role;
    } roles[] = {{"control", ROLE_CONTROL},
                 {"file", ROLE_FILE},
                 {"watch", ROLE_WATCH},
                 {"acct", ROLE_ACCT},
                 {"stage", ROLE_STAGE}};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (str_eq(word, roles[i].word)) {
            *ret = roles[i].role;
            return 0;
        }
    }
    return -1;
}

static int parse_args(int argc, char **argv, struct child_args *ret)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"settings-on-stdin", no_argument, NULL, 'i'},
        {"role", required_argument, NULL, 'r'},   {"grant", required_argument, NULL, 'g'},
        {"check", no_argument, NULL, 'k'},        {NULL, 0, NULL, 0},
    };
    bool have_role = false;
    int c;
    *ret = (struct child_args){0};
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'c')
            ret->config = optarg;
        else if (c == 'i')
            ret->config = AGENTD_CONF_STDIN;
        else if (c == 'g')
            ret->grant = optarg;
        else if (c == 'k')
            ret->check = true;
        else if (c == 'r' && parse_role(optarg, &ret->role) == 0)
            have_role = true;
        else
            return -1;
    }
    return optind == argc && have_role ? 0 : -1;
}

int child_start(const char *name, int argc, char **argv, struct child_args *ret)
{
    prctl(PR_SET_NAME, name); /* older kernels name it after a descriptor, see spawn.c */
#ifndef __SANITIZE_ADDRESS__  /* whose look for leaks traces its own process */
    /* It is its user, who must all the same not trace it, nor take its descriptors: they lead to
     * the broker, and what is traced and killed goes only when its tracer wants.  `make install`
     * makes the program unreadable, so that it is so from the exec on. */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    return clean_environment() < 0 || parse_args(argc, argv, ret) < 0 ? -1 : 0;
}
