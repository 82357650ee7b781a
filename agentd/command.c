/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/command.h"

#include <stdio.h>
#include <stdlib.h>

/* name=value into buf, when we have the variable and it fits. */
static int pass_on(char **envp, int n, const char *name, char *buf, size_t size)
{
    const char *value = getenv(name);
    if (value && (size_t)snprintf(buf, size, "%s=%s", name, value) < size)
        envp[n++] = buf;
    return n;
}

void command_make(struct command *out, const char *program, const char *conf_path, const char *role,
                  bool single_user, bool notifies)
{
    const char **argv = out->argv;
    int n = 0, e = 0;
    argv[n++] = program;
    if (conf_path) {
        argv[n++] = "--config";
        argv[n++] = conf_path;
    }
    argv[n++] = "--settings-on-stdin";
    if (role) {
        argv[n++] = "--role";
        argv[n++] = role;
    } else if (single_user) {
        argv[n++] = "--single-user";
    }
    argv[n] = NULL;
    out->envp[e++] = "PATH=/usr/local/bin:/usr/bin:/bin";
    out->envp[e++] = "LANG=C.UTF-8";
    if (!role)
        e = pass_on(out->envp, e, "JOURNAL_STREAM", out->journal, sizeof out->journal);
    if (notifies) {
        /* Not WATCHDOG_PID, which is ours. */
        e = pass_on(out->envp, e, "NOTIFY_SOCKET", out->notify, sizeof out->notify);
        e = pass_on(out->envp, e, "WATCHDOG_USEC", out->watchdog, sizeof out->watchdog);
    }
    out->envp[e] = NULL;
}
