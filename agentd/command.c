/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/command.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/str.h"

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

void command_grant(struct command *out, const uint8_t request[MONITOR_REQUEST],
                   const uint8_t hash[SEAL_HASH])
{
    int n = 0;
    while (out->argv[n])
        n++;
    str_hex(request, MONITOR_REQUEST, out->grant);
    out->grant[2 * (size_t)MONITOR_REQUEST] = ':';
    str_hex(hash, SEAL_HASH, out->grant + 2 * (size_t)MONITOR_REQUEST + 1);
    out->argv[n++] = "--grant";
    out->argv[n++] = out->grant;
    out->argv[n] = NULL;
}
