/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

static void usage(FILE *to)
{
    fputs("usage: slurm-agentd [--config FILE] [--single-user]\n"
          "       slurm-agentd [--config FILE] --check | --check-config | --print-config\n\n"
          "Serves Slurm to slurm-agent's clients; stays in the foreground.\n\n"
          "  --config FILE   settings (" SYSCONFDIR "/slurm-agent/agentd.conf, if it is there)\n"
          "  --single-user   without root, for this user alone\n"
          "  --check         does everything work that is needed? a line for each thing; exit "
          "status 1 if not\n"
          "  --check-config  are the settings good?  exit status 2 if not\n"
          "  --print-config  the settings in force, each with what it means\n"
          "  --version, --help\n",
          to);
}

static const char default_conf[] = SYSCONFDIR "/slurm-agent/agentd.conf";

enum todo arguments_read(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"single-user", no_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},        {"check-config", no_argument, NULL, 't'},
        {"print-config", no_argument, NULL, 'p'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    enum todo todo = TODO_RUN;
    int c;
    *out = (struct arguments){0};
    if (access(default_conf, F_OK) == 0)
        out->conf_path = default_conf;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            out->conf_path = optarg;
            break;
        case 's':
            out->single_user = true;
            break;
        case 'k':
            todo = TODO_CHECK;
            break;
        case 't':
            todo = TODO_TRY;
            break;
        case 'p':
            todo = TODO_PRINT;
            break;
        case 'v':
            puts("slurm-agentd " VERSION);
            return TODO_NOTHING;
        case 'h':
            usage(stdout);
            return TODO_NOTHING;
        default:
            usage(stderr);
            return TODO_UNUSABLE;
        }
    }
    if (optind == argc)
        return todo;
    fprintf(stderr, "slurm-agentd: '%s' is no option\n", argv[optind]);
    usage(stderr);
    return TODO_UNUSABLE;
}
