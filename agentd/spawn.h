/* SPDX-License-Identifier: GPL-3.0-or-later */
/* spawn.h: the monitor's privileges, and the way from it to another program as another user
 *
 * spawn.c is the only file that forks, changes users and executes.
 */
#ifndef AGENTD_SPAWN_H
#define AGENTD_SPAWN_H

#include <sys/types.h>

#include "agentd/monitor_proto.h"

enum { SPAWN_EXIT_PRIVILEGE = 120 /* a child could not become who it should be */ };

/* Who a child is to be. */
struct identity {
    uid_t uid;
    gid_t gid;
    size_t ngroups;
    gid_t groups[LEASE_MAX_GROUPS];
};

/* The user with that name, never root, with all groups; setting: where the name comes from. */
int identity_find(const char *setting, const char *name, struct identity *out, struct err *err);

/* Gives up for good what is not needed; as_root: keeps CAP_SETUID, CAP_SETGID and CAP_KILL alone,
 * and no exec gives a child of uid 0 any.  Last step of the start: most files cannot be read after.
 */
int spawn_harden(bool as_root, struct err *err);

struct spawn {
    const struct identity *who; /* NULL: stay who we are */
    int exe;                    /* O_PATH */
    char *const *argv;
    char *const *envp;
    int fds[2];  /* to be 3 and 4; -1 ends them */
    int in_fd;   /* its stdin */
    int null_fd; /* its stdout */
    int err_fd;  /* its stderr; -1: ours */
};
/* -1 with errno when there was no fork; whatever fails later ends the child with
 * SPAWN_EXIT_PRIVILEGE.  The child has no other descriptor, and dies with us. */
pid_t spawn_child(const struct spawn *s);

#endif
