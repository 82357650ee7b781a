/* SPDX-License-Identifier: GPL-3.0-or-later */
/* command.h: arguments and environment of the monitor's children */
#ifndef AGENTD_COMMAND_H
#define AGENTD_COMMAND_H

#include <stdbool.h>

#include "agentd/monitor_proto.h"

struct command {
    const char *argv[12]; /* with room for one more */
    char *envp[6];
    char journal[64], notify[128], watchdog[64];
    char grant[2 * (MONITOR_REQUEST + SEAL_HASH) + 2];
};

/* Fills out, which must stay where it is.  The settings come on stdin; conf_path: what they are of,
 * NULL for none; role: a worker's, NULL for the others; notifies: tells systemd when it is ready,
 * and that its loop goes round. */
void command_make(struct command *out, const char *program, const char *conf_path, const char *role,
                  bool single_user, bool notifies);
/* What a stage worker may do: for that request, with the manifest that has that hash.  It has it
 * from the monitor alone: the broker cannot say otherwise. */
void command_grant(struct command *out, const uint8_t request[MONITOR_REQUEST],
                   const uint8_t hash[SEAL_HASH]);

#endif
