/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "agentd/monitor_proto.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

const char *process_kind_word(enum kind kind)
{
    static const char *const names[] = {"broker", "auth", "watcher", "worker"};
    return names[kind];
}

void process_kill(struct process *p)
{
    /* Only we reap, so the pid is still its own. */
    kill(p->pid, SIGKILL);
    if (!p->killed_ms)
        p->killed_ms = clock_mono_ms();
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

struct process *processes_take(struct process **list, pid_t pid)
{
    while (*list && (*list)->pid != pid)
        list = &(*list)->next;
    struct process *p = *list;
    if (p)
        *list = p->next;
    return p;
}

size_t processes_count(const struct process *list, enum kind kind)
{
    size_t n = 0;
    for (const struct process *p = list; p; p = p->next)
        n += p->kind == kind;
    return n;
}

size_t processes_of(const struct process *list, uint32_t uid)
{
    size_t n = 0;
    for (const struct process *p = list; p; p = p->next)
        n += p->kind == KIND_WORKER && p->uid == uid;
    return n;
}

/* May a process that was sent SIGKILL still send what it was about to?  Not a zombie: its sockets
 * are closed, and a tracer may hold it so for ever.  Not a file worker: it has none to slurmctld,
 * and a file system may hold it.  Only we reap, so the pid is still its own. */
static bool may_still_send(const struct process *p)
{
    char path[64], text[512] = "";
    if (p->kind == KIND_WORKER && p->role == ROLE_FILE)
        return !p->killed_ms;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)p->pid);
    AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    /* "PID (name) state ...": the name is ours, but may be anything after an exec */
    const char *end = n > 0 ? strrchr(text, ')') : NULL;
    return !end || end[1] != ' ' || (end[2] != 'Z' && end[2] != 'X');
}

bool processes_may_send(const struct process *list)
{
    for (const struct process *p = list; p; p = p->next)
        if (may_still_send(p))
            return true;
    return false;
}

/* A process in a hung file system does not even die. */
void processes_name_lingering(struct process *list, bool broker_is_there)
{
    int64_t now = clock_mono_ms();
    for (struct process *p = list; p; p = p->next)
        if (p->killed_ms && !p->lingers && now - p->killed_ms > PROCESS_LINGER_MS) {
            p->lingers = true;
            log_err("%s process %u (pid %d, uid %u) was killed and is still there: a hung file "
                    "system?%s",
                    process_kind_word(p->kind), p->number, (int)p->pid, p->uid,
                    broker_is_there ? "" : " No broker is started before it has gone");
        }
}
