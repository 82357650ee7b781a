/* SPDX-License-Identifier: GPL-3.0-or-later */
/* child_start.h: how the processes begin that run as users: agent-worker and agent-stage */
#ifndef AGENTD_CHILD_START_H
#define AGENTD_CHILD_START_H

#include <stdbool.h>

#include "agentd/monitor_proto.h"

/* What the monitor says on the command line, see command.c. */
struct child_args {
    const char *config; /* for agentd_conf_load() */
    enum worker_role role;
    bool check;        /* --check: say whether all is well, see check.h */
    const char *grant; /* REQUEST:HASH; NULL: none */
};

/* Out of its user's reach, with an environment of its own; then the arguments, of which the caller
 * refuses those that it has no use for.  -1: such arguments, or no memory. */
int child_start(const char *name, int argc, char **argv, struct child_args *ret);

#endif
