/* SPDX-License-Identifier: GPL-3.0-or-later */
/* command.h: arguments and environment of the monitor's children */
#ifndef AGENTD_COMMAND_H
#define AGENTD_COMMAND_H

#include <stdbool.h>

struct command {
    const char *argv[10]; /* with room for one more */
    char *envp[6];
    char journal[64], notify[128], watchdog[64];
};

/* Fills out, which must stay where it is.  The settings come on stdin; conf_path: what they are of,
 * NULL for none; role: a worker's, NULL for the others; notifies: tells systemd when it is ready,
 * and that its loop goes round. */
void command_make(struct command *out, const char *program, const char *conf_path, const char *role,
                  bool single_user, bool notifies);

#endif
