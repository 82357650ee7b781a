/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agentd/monitor_proto.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

const char *process_kind_word(enum kind kind)
{
    static const char *const names[] = {"broker", "auth", "watcher", "worker", "stage worker"};
    return names[kind];
}

const char *process_role_word(enum worker_role role)
{
    static const char *const names[] = {
        [ROLE_CONTROL] = "control", [ROLE_FILE] = "file",   [ROLE_WATCH] = "watch",
        [ROLE_ACCT] = "acct",       [ROLE_STAGE] = "stage",
    };
    return names[role];
}

bool process_is_users(const struct process *p)
{
    return p->kind == KIND_WORKER || p->kind == KIND_STAGE;
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
        n += p->kind == kind && !p->earlier;
    return n;
}

size_t processes_all(const struct process *list, enum kind kind)
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

size_t processes_staging(const struct process *list, uint32_t uid)
{
    size_t n = 0;
    for (const struct process *p = list; p; p = p->next)
        n += p->kind == KIND_STAGE && p->uid == uid;
    return n;
}

size_t processes_left(const struct process *list, uint32_t uid, uint32_t role)
{
    size_t n = 0;
    for (const struct process *p = list; p; p = p->next)
        n += p->kind == KIND_WORKER && p->uid == uid && p->role == role && p->lingers;
    return n;
}

/* ---- who may still act ---- */

/* Is this thread of /proc/PID/task on a processor, or waiting for one?  Yes when we cannot see. */
static bool thread_runs(int tasks, const char *tid)
{
    char path[300], text[256] = "";
    snprintf(path, sizeof path, "%s/stat", tid);
    AUTO(close) int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    /* "TID (name) state number ...": its name may be anything, a ')' too. */
    const char *end = n > 0 ? strrchr(text, ')') : NULL;
    return !end || end[1] != ' ' || end[2] == 'R' || end[2] == '\0';
}

/* May a process that was sent SIGKILL still execute code of its own?
 *
 * SIGKILL is pending for each of its threads then, and the kernel lets no such thread return to
 * user mode.  So only one that has not entered the kernel since may execute anything, and that one
 * is running (R).  One that is dead (Z), waits for a file server (D) or is stopped in the middle of
 * its exit by whoever traces it (t) may stay so for ever, and will never make another call.  What a
 * call in progress still sends was made before the kill, and its credential too: slurmctld does not
 * take it when that has run out (docs/DESIGN.md, section 5).
 *
 * All threads, since a leader that is dead says nothing of the others.  Only we reap, so the pid is
 * its own, and no thread is added: a clone() fails while a signal is pending. */
static bool may_execute(pid_t pid)
{
    char path[64];
    struct stat st;
    nlink_t seen = 0;
    bool runs = false;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    if (!d)
        return true;
    /* Two links, and one for each thread: while threads go, the listing may pass others over. */
    bool counted = fstat(dirfd(d), &st) == 0;
    for (const struct dirent *e; !runs && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            runs = thread_runs(dirfd(d), e->d_name);
            seen++;
        }
    closedir(d);
    return runs || !counted || seen == 0 || seen + 2 < st.st_nlink;
}

/* Whom slurmctld may obey.  The other roles and kinds only read there, or never speak to it. */
static bool changes_jobs(const struct process *p)
{
    return p->kind == KIND_BROKER || (p->kind == KIND_WORKER && p->role == ROLE_CONTROL);
}

static bool has_lingered(const struct process *p, int64_t now)
{
    return p->killed_ms && now - p->killed_ms > PROCESS_LINGER_MS;
}

bool processes_in_the_way(const struct process *list)
{
    int64_t now = clock_mono_ms();
    for (const struct process *p = list; p; p = p->next)
        if (!has_lingered(p, now) || (changes_jobs(p) && may_execute(p->pid)))
            return true;
    return false;
}

/* A process in a hung file system does not even die, and one that is traced is not ours to reap. */
void processes_name_lingering(struct process *list)
{
    int64_t now = clock_mono_ms();
    for (struct process *p = list; p; p = p->next)
        if (!p->lingers && has_lingered(p, now)) {
            p->lingers = true;
            log_err("%s process %u (pid %d, uid %u) was killed and is still there: a hung file "
                    "system, or a tracer?%s",
                    process_kind_word(p->kind), p->number, (int)p->pid, p->uid,
                    p->earlier && changes_jobs(p) && may_execute(p->pid)
                        ? " No broker is started while it may still run"
                        : "");
        }
}
