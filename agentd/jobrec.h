/* SPDX-License-Identifier: GPL-3.0-or-later */
/* jobrec.h: one state of one job, shared by the table, the event log, the journal and replies
 *
 * Immutable once made: packed as it will be sent, with what queries ask about beside it.  Whoever
 * keeps one holds a reference.  Belongs to the loop; a thread may read one that the loop holds.
 */
#ifndef AGENTD_JOBREC_H
#define AGENTD_JOBREC_H

#include "agentd/jobid.h"
#include "common/cleanup.h"
#include "common/jobstate.h"

/* What lists and events can be filtered by. */
struct job_keys {
    uint32_t uid;
    int64_t tag;
    const char *state, *name, *user, *partition; /* never NULL */
};

#define JOBREC_NO_TASK UINT32_MAX

struct jobrec {
    size_t refs;
    uint32_t job_id;
    uint32_t group; /* the array's or het job's id, else job_id */
    uint32_t het_offset;
    uint32_t task; /* of an array, when it is one alone; else JOBREC_NO_TASK */
    bool in_array, in_het;
    bool ended; /* phase is an end */
    bool held;  /* it waits, and its priority is 0 */
    enum phase phase;
    int64_t submit_time, start_time, end_time, restarts;
    uint64_t change; /* a hash of what is worth telling about when it becomes different */
    struct job_keys keys;
    const char *id, *array_task; /* never NULL */
    struct bytes packed;         /* a `job` body */
};

/* packed is a whole `job` body, copied.  ERR_PROTOCOL for what is none, ERR_LIMIT without memory.
 */
struct jobrec *jobrec_new(struct bytes packed, struct err *err);
/* The same of a job that is to be packed. */
struct jobrec *jobrec_of(const struct job *job, struct err *err);
struct jobrec *jobrec_ref(struct jobrec *r);
void jobrec_unref(struct jobrec *r); /* NULL is fine */
CLEANUP_FN(struct jobrec, jobrec_unref)

/* Is now a later state of the job that then was?  Slurm gives ids again, and a requeue sets
 * submit_time anew. */
bool jobrec_same_job(const struct jobrec *then, const struct jobrec *now);
/* And the same run of it? */
bool jobrec_same_run(const struct jobrec *a, const struct jobrec *b);
/* Has it had a node? */
bool jobrec_ran(const struct jobrec *r);
/* slurmctld keeps a record of some of what it refuses: as of a job that has failed at once and
 * never had a node.  One that was taken and then cancelled is CANCELLED; one that was taken and
 * that the scheduler then finds impossible FAILED, too, but later. */
bool jobrec_is_refusal(const struct jobrec *r);
/* Or a component of a heterogeneous job, which slurmctld cancels when it refuses another one; it
 * looks like a component that was cancelled before it began. */
bool jobrec_is_refused_part(const struct jobrec *r);
/* Is it one of those that the id names? */
bool jobrec_named(const struct jobrec *r, const struct jobid *id);
/* One of n that are in the order of jobid_order()?  Looks at a few of them: ten thousand tasks of
 * an array may be asked for. */
bool jobrec_named_any(const struct jobrec *r, const struct jobid *ids, size_t n);

/* ---- several ---- */

/* A growing list of references.  {0} is an empty one. */
struct jobrecs {
    struct jobrec **v;
    size_t n, room;
};

/* Takes a reference of its own; false without memory. */
bool jobrecs_add(struct jobrecs *l, struct jobrec *rec);
/* Gives all of them back; the list is empty then. */
void jobrecs_clear(struct jobrecs *l);

void jobrecs_sort_by_id(struct jobrec **v, size_t n);
/* By group, and in it by task: what an array's or het job's id names is beside one another. */
void jobrecs_sort_by_group(struct jobrec **v, size_t n);
/* A copy of v so sorted, for free(); NULL without memory. */
struct jobrec **jobrecs_by_group(struct jobrec *const *v, size_t n);
/* Where the record is in v, which is sorted by id; NULL when it has none. */
struct jobrec **jobrecs_with_id(struct jobrec **v, size_t n, uint32_t job_id);
/* The records of a group in v, which is sorted by group: the first, and how many. */
struct jobrec *const *jobrecs_of_group(struct jobrec *const *v, size_t n, uint32_t group,
                                       size_t *ret_n);
/* Those of them that the id may name by their group: each of a large array's tasks is found without
 * looking at the others. */
struct jobrec *const *jobrecs_of_id(struct jobrec *const *v, size_t n, const struct jobid *id,
                                    size_t *ret_n);

/* ---- filters ---- */

/* Every condition must hold; one that is 0, NULL or -1 always does. */
struct job_filter {
    int64_t uid; /* -1: anybody */
    const char *user, *name, *partition;
    uint32_t states; /* jobstate_set() */
    int64_t tag;
};

bool job_filter_matches(const struct job_filter *f, const struct job_keys *k);
/* Whose jobs a request is about: user by name or number, everybody, or else the caller. */
int job_filter_whose(struct job_filter *f, const char *user, bool all_users, uint32_t caller,
                     struct err *err);

#endif
