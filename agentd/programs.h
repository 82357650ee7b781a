/* SPDX-License-Identifier: GPL-3.0-or-later */
/* programs.h: what the monitor starts, and as whom: found at its start, while it still can */
#ifndef AGENTD_PROGRAMS_H
#define AGENTD_PROGRAMS_H

#include "agentd/conf.h"
#include "agentd/spawn.h"

enum { PROGRAMS = 5 }; /* one for each enum kind, see processes.h */

struct programs {
    const char *names[PROGRAMS];
    int exe[PROGRAMS]; /* O_PATH, opened while we still could read everything */
    struct identity root, broker_user, watch_user;
    int null; /* /dev/null */
};

/* Users by name.  single_user: all of them are us. */
int programs_find_users(struct programs *p, const struct agentd_conf *conf, bool single_user,
                        struct err *err);
/* The files; fills descriptors 0 to 2 as well, when somebody started us without. */
int programs_open(struct programs *p, const struct agentd_conf *conf, struct err *err);

#endif
