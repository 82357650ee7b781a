/* SPDX-License-Identifier: GPL-3.0-or-later */
/* arguments.h: slurm-agentd's command line */
#ifndef AGENTD_ARGUMENTS_H
#define AGENTD_ARGUMENTS_H

#include <stdbool.h>

enum todo {
    TODO_RUN,
    TODO_CHECK,
    TODO_PRINT,   /* the settings */
    TODO_TRY,     /* whether they can be read */
    TODO_NOTHING, /* it is done: --help, --version */
    TODO_UNUSABLE /* what is wrong has been said */
};

struct arguments {
    const char *conf_path; /* NULL: none was named, and the usual one is not there */
    bool single_user;
};

enum todo arguments_read(int argc, char **argv, struct arguments *out);

#endif
