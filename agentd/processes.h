/* SPDX-License-Identifier: GPL-3.0-or-later */
/* processes.h: the monitor's children, from fork to wait */
#ifndef AGENTD_PROCESSES_H
#define AGENTD_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agentd/monitor_proto.h"

enum { PROCESS_LINGER_MS = 5000 }; /* for a killed process to be gone */

enum kind { KIND_BROKER, KIND_AUTH, KIND_WATCHER, KIND_WORKER, KIND_STAGE };

struct process {
    struct process *next;
    enum kind kind;
    uint32_t number; /* never used twice */
    pid_t pid;
    int fd; /* our end, broker and auth; -1 otherwise */
    uint32_t uid, role;
    int64_t born_ms, killed_ms; /* killed_ms: 0 while we have not killed it */
    bool lingers;               /* a leftover: killed PROCESS_LINGER_MS ago, and still there */
    bool earlier;               /* of a broker that has ended: the next one never hears of it */
};

/* "broker" and so on. */
const char *process_kind_word(enum kind kind);
/* "control" and so on, also for agent-worker's command line. */
const char *process_role_word(enum worker_role role);
/* Does it run as a user, for one of theirs? */
bool process_is_users(const struct process *p);
/* SIGKILL; nothing that it has sent, or sends until it is reaped, is read any more. */
void process_kill(struct process *p);

/* Takes the one with that pid off the list; NULL when there is none. */
struct process *processes_take(struct process **list, pid_t pid);
/* Those of the broker that is there: leftovers of an earlier one do no work for it. */
size_t processes_count(const struct process *list, enum kind kind);
/* Leftovers included. */
size_t processes_all(const struct process *list, enum kind kind);
/* Workers that run as uid, leftovers included. */
size_t processes_of(const struct process *list, uint32_t uid);
/* The same of stage workers. */
size_t processes_staging(const struct process *list, uint32_t uid);
/* Leftovers of uid in that role. */
size_t processes_left(const struct process *list, uint32_t uid, uint32_t role);
/* Must a new broker wait?  For all of them while they may be about to go, and for those that may
 * still have slurmctld do something until they certainly cannot. */
bool processes_in_the_way(const struct process *list);
/* Marks those that were killed and do not go, and says so once of each. */
void processes_name_lingering(struct process *list);

#endif
