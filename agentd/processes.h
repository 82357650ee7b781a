/* SPDX-License-Identifier: GPL-3.0-or-later */
/* processes.h: the monitor's children, from fork to wait */
#ifndef AGENTD_PROCESSES_H
#define AGENTD_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_LINGER_MS = 5000 }; /* for a killed process to be gone */

enum kind { KIND_BROKER, KIND_AUTH, KIND_WATCHER, KIND_WORKER };

struct process {
    struct process *next;
    enum kind kind;
    uint32_t number; /* never used twice */
    pid_t pid;
    int fd; /* our end, broker and auth; -1 otherwise */
    uint32_t uid, role;
    int64_t born_ms, killed_ms; /* killed_ms: 0 while we have not killed it */
    bool lingers;               /* and have said so */
    bool earlier;               /* of a broker that has ended: the next one never hears of it */
};

/* "broker" and so on. */
const char *process_kind_word(enum kind kind);
/* SIGKILL; nothing that it has sent, or sends until it is reaped, is read any more. */
void process_kill(struct process *p);

/* Takes the one with that pid off the list; NULL when there is none. */
struct process *processes_take(struct process **list, pid_t pid);
size_t processes_count(const struct process *list, enum kind kind);
/* Workers that run as uid. */
size_t processes_of(const struct process *list, uint32_t uid);
/* May one of them, killed or not, still send something to slurmctld? */
bool processes_may_send(const struct process *list);
/* Says once of each that was killed and does not go. */
void processes_name_lingering(struct process *list, bool broker_is_there);

#endif
