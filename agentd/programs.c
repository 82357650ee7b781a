/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/programs.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int programs_find_users(struct programs *p, const struct agentd_conf *conf, bool single_user,
                        struct err *err)
{
    if (single_user && geteuid() == 0)
        return err_set(err, ERR_INVALID, "--single-user is for users, not for root");
    if (single_user) {
        p->root = (struct identity){.uid = getuid(), .gid = getgid()};
        p->broker_user = p->watch_user = p->root;
        return 0;
    }
    if (geteuid() != 0)
        return err_set(err, ERR_INVALID,
                       "started by uid %u: serving several users needs root; --single-user serves "
                       "this user alone",
                       getuid());
    if (identity_find("user", conf->user, &p->broker_user, err) < 0)
        return -1;
    if (*conf->watch_user)
        return identity_find("watch_user", conf->watch_user, &p->watch_user, err);
    p->watch_user = p->broker_user;
    return 0;
}

/* Also fills 0 to 2 when somebody started us without: children get descriptors by number. */
static int open_null(struct programs *p, struct err *err)
{
    do
        p->null = open("/dev/null", O_RDWR);
    while (p->null >= 0 && p->null <= STDERR_FILENO);
    if (p->null < 0 || fcntl(p->null, F_SETFD, FD_CLOEXEC) < 0)
        return err_errno(err, ERR_INTERNAL, "/dev/null");
    return 0;
}

int programs_open(struct programs *p, const struct agentd_conf *conf, struct err *err)
{
    static const char *const names[PROGRAMS] = {"agent-broker", "agent-auth", "agent-worker",
                                                "agent-worker", "agent-stage"};
    memcpy(p->names, names, sizeof names);
    if (open_null(p, err) < 0)
        return -1;
    for (int i = 0; i < PROGRAMS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", conf->libexec_dir, p->names[i]);
        /* By descriptor: users need not be able to walk to it, and an upgrade does not mix builds.
         */
        p->exe[i] = open(path, O_PATH | O_CLOEXEC);
        if (p->exe[i] < 0)
            return err_errno(err, ERR_INVALID, "%s (libexec_dir in agentd.conf)", path);
    }
    return 0;
}
