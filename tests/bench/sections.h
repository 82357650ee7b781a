/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sections.h: the parts of the benchmark; each prints its table and gives the same as JSON */
#ifndef TESTS_BENCH_SECTIONS_H
#define TESTS_BENCH_SECTIONS_H

#include "tests/bench/measure.h"
#include "tests/bench/way.h"

json_t *bench_peers(const struct bench *b);   /* status, submit and cancel by every way */
json_t *bench_users(const struct bench *b);   /* submits by 1 ... 8 users */
json_t *bench_clients(const struct bench *b); /* status by 1 ... 2,000 connections */
json_t *bench_follow(const struct bench *b);  /* from a job's end to the return of a wait for it */
json_t *bench_held(const struct bench *b);    /* what waits that nobody answers yet cost */
json_t *bench_log(const struct bench *b);     /* a job's output, beside read() of the file */
json_t *bench_table(const struct bench *b);   /* the job table at 1,000 ... 100,000 jobs */

enum { STATUS, SUBMIT, CANCEL, OPS };

/* Calls by that many callers, for b->cell_ms: see measure.h.  Cancel: what was submitted by as many
 * callers of that way. */
void take_calls(const struct bench *b, const struct way *way, int op, int callers,
                const struct taken *submitted, struct taken *out);
/* Cancels jobs, whoever's they are, without a figure. */
void cancel_all(const struct bench *b, const uint32_t *ids, size_t n);
/* Queues n held jobs of the first user's; gives their ids. */
uint32_t *queue_jobs(const struct bench *b, size_t n, size_t *ret_n);

/* Which targets are met; what they are taken from is in all. */
json_t *bench_targets(const json_t *all);

#endif
