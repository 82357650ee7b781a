/* SPDX-License-Identifier: GPL-3.0-or-later */
/* table.h: the newest known state of every job, in memory
 *
 * Written by watch.c with the watcher's records, read by queries.  Belongs to the loop.
 */
#ifndef AGENTD_TABLE_H
#define AGENTD_TABLE_H

#include "agentd/jobrec.h"

struct table;

/* Holds at most max jobs. */
struct table *table_new(size_t max);
void table_free(struct table *t); /* NULL is fine */
CLEANUP_FN(struct table, table_free)

size_t table_count(const struct table *t);

/* Takes the reference, on success and failure alike.  ERR_LIMIT when full: the table is as it was
 * then.  *ret_old is what was there under that job_id, the caller's to unref, or NULL. */
int table_put(struct table *t, struct jobrec *rec, struct jobrec **ret_old, struct err *err);
/* Gives the record, the caller's to unref; NULL when there is none. */
struct jobrec *table_remove(struct table *t, uint32_t job_id);
/* Between these two, jobs that are not put are removed at the end: a load of the whole table.
 * gone gets the reference of each. */
void table_begin_full(struct table *t);
typedef void (*table_gone_fn)(void *arg, struct jobrec *rec);
void table_end_full(struct table *t, table_gone_fn gone, void *arg);

/* Borrowed until the table changes; NULL when there is none. */
struct jobrec *table_get(const struct table *t, uint32_t job_id);

/* The journal has the end of that run on disk, with that number: noted as long as the table has the
 * run.  0: it has not, and the end is told all the same. */
void table_kept(struct table *t, const struct jobrec *rec, int64_t number);
/* 0: it is not known to have it. */
int64_t table_number(const struct table *t, const struct jobrec *rec);
/* Was the end told without the journal, and is it not among what that has up to number? */
bool table_owed(const struct table *t, const struct jobrec *rec, int64_t number);

typedef int (*table_fn)(void *arg, struct jobrec *rec);
/* Calls fn for each record that the id names, in order of job_id; returns how many there were, or
 * fn's first negative result.  Records are borrowed until the table changes. */
int table_find(const struct table *t, const struct jobid *id, table_fn fn, void *arg);
/* Calls fn for each job with a job_id above after, in order, until fn returns non-zero, which is
 * returned; 0 at the end. */
int table_each(const struct table *t, uint32_t after, table_fn fn, void *arg);

#endif
