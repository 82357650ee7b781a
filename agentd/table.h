/* SPDX-License-Identifier: GPL-3.0-or-later */
/* table.h: the newest known state of every job, in memory
 *
 * Written by watch.c with the watcher's records, read by op_query.c.  Records are kept packed, so
 * an answer is a copy.  Belongs to the main loop: no locks, no other thread.
 */
#ifndef AGENTD_TABLE_H
#define AGENTD_TABLE_H

#include "agentd/jobid.h"
#include "common/cleanup.h"
#include "common/msg.h"

struct table;

/* What queries ask about; the rest of a job is in packed. */
struct table_job {
    uint32_t job_id;
    uint32_t group; /* the array's or het job's id, else job_id */
    uint32_t uid;
    uint32_t het_offset;
    bool in_array, in_het;
    const char *state, *name, *user, *partition, *array_task;
    struct bytes packed; /* a `job` body */
};

/* Holds at most max jobs. */
struct table *table_new(size_t max);
void table_free(struct table *t); /* NULL is fine */
CLEANUP_FN(struct table, table_free)

size_t table_count(const struct table *t);

/* Copies the record; packed is a whole `job` body.  ERR_PROTOCOL for what is none, ERR_LIMIT when
 * full.  On failure the table is as it was. */
int table_put(struct table *t, struct bytes packed, struct err *err);
void table_remove(struct table *t, uint32_t job_id);
/* Between these two, jobs that are not put are removed at the end: a load of the whole table. */
void table_begin_full(struct table *t);
void table_end_full(struct table *t);

typedef int (*table_fn)(void *arg, const struct table_job *job);
/* Calls fn for each record that the id names, in order of job_id; returns how many there were, or
 * fn's first negative result.  Records are borrowed until the table changes. */
int table_find(const struct table *t, const struct jobid *id, table_fn fn, void *arg);
/* Calls fn for each job with a job_id above after, in order, until fn returns non-zero, which is
 * returned; 0 at the end. */
int table_each(const struct table *t, uint32_t after, table_fn fn, void *arg);

#endif
