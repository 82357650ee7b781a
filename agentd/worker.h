/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker.h: the broker's handle on worker processes: one for each user and role, started on demand
 *
 * A worker does one request at a time; the others of its user wait, reads of logs apart: they take
 * turns with the rest, so that many followers hold up nothing else.  A request has a deadline from
 * when it is sent; past it the worker is killed.  Belongs to the loop.
 */
#ifndef AGENTD_WORKER_H
#define AGENTD_WORKER_H

#include "agentd/jobrec.h"
#include "agentd/monitor_proto.h"
#include "common/msg.h"

struct agentd;
struct gate;
struct workers;

/* What became of a request. */
struct worker_answer {
    bool sent;         /* it had been handed to the worker: what it asked for may have been done */
    uint32_t process;  /* that worker, as the monitor numbers it; 0: not sent */
    bool answered;     /* err and body are the worker's own words, not a tale of its end */
    struct err err;    /* ERR_NONE: body is the reply; it has been read once as its type */
    struct bytes body; /* borrowed until the callback returns */
};
typedef void (*worker_done_fn)(void *arg, const struct worker_answer *answer);

/* Numbers of worker_ops.def. */
enum worker_op {
#define WOP(id, number, role, request, reply, help) WORKER_##id = (number),
#include "agentd/worker_ops.def"
#undef WOP
};

struct workers *workers_new(struct agentd *a, struct err *err);
void workers_free(struct workers *w);
/* What calls to slurmctld go through (gate.h). */
struct gate *workers_gate(const struct workers *w);
size_t workers_count(const struct workers *w);
/* Is that worker of the user to end, and the monitor has not said that it has? */
bool workers_ending(struct workers *w, uint32_t uid, uint32_t process);
/* Processes and calls that wait, by role. */
void workers_use(const struct workers *w, int64_t running[ROLE_STAGE + 1],
                 int64_t waiting[ROLE_STAGE + 1]);

/* Asks uid's worker of the op's role; copies the body.  done is called exactly once, never before
 * this returns.  -1 when too much waits already or slurmctld is too slow (gate.h), and then nothing
 * is done, and done is not called. */
int workers_ask(struct workers *w, uint32_t uid, enum worker_op op, struct bytes body,
                worker_done_fn done, void *arg, struct err *err);

/* The same for what must be done however slow slurmctld is: it goes before the user's others, and
 * does not wait for theirs.  The caller's own table bounds how many there are. */
int workers_insist(struct workers *w, uint32_t uid, enum worker_op op, struct bytes body,
                   worker_done_fn done, void *arg, struct err *err);

typedef int (*worker_job_fn)(void *arg, struct jobrec *rec);
/* Reads an answer's jobs_reply (strings in arena; *ret is zero where there is none) and calls fn
 * for each of its jobs, borrowed.  -1 with the answer's own error or what is wrong with a job; and,
 * without filling err, when fn gives non-zero, which ends it. */
int worker_jobs(const struct worker_answer *answer, struct arena *arena, struct jobs_reply *ret,
                worker_job_fn fn, void *arg, struct err *err);

/* From the monitor. */
void workers_spawned(struct workers *w, const struct monitor_event *ev, int fd, int stderr_fd);
void workers_refused(struct workers *w, const struct monitor_event *ev);
void workers_ended(struct workers *w, const struct monitor_event *ev);

#endif
