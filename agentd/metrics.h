/* SPDX-License-Identifier: GPL-3.0-or-later */
/* metrics.h: what the broker counts: the rows of metrics.def as plain memory
 *
 * Counting is an addition to a fixed place: no lock, no allocation, no look-up by name.  Belongs to
 * the loop; other threads hand what they have measured to it with their answers.
 */
#ifndef AGENTD_METRICS_H
#define AGENTD_METRICS_H

#include "agentd/monitor_proto.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/msg.h"

/* ---- dimensions: DIM_<name>_N values each ---- */

enum { DIM_none_N = 1 };
/* op: the operations, and what is none. */
enum op_index {
#define OP(id, name, number, who, body_max, request, reply, help) OP_AT_##id,
#include "common/ops.def"
#undef OP
    OP_AT_unknown,
    DIM_op_N
};
/* result: OK and the errors. */
enum result_index {
    RESULT_OK,
#define ERR(name, number, status, retry, help) RESULT_##name,
#include "common/errors.def"
#undef ERR
    DIM_result_N
};
size_t result_of(enum err_code code);
/* work: what workers are asked, and the watcher's loads. */
enum work_index {
#define WOP(id, number, role, request, reply, help) WORK_##id,
#include "agentd/worker_ops.def"
#undef WOP
    WORK_watch,
    DIM_work_N
};
/* role: by enum worker_role. */
enum { DIM_role_N = ROLE_STAGE + 1 };
/* request: by the states of requests.def. */
enum request_index {
#define REQUEST(name, number, may_submit, help) REQUEST_AT_##name,
#include "agentd/requests.def"
#undef REQUEST
    DIM_request_N
};
/* task: what stage workers do. */
enum task_index {
#define SOP(id, number, moves, help) TASK_##id,
#include "agentd/stage_ops.def"
#undef SOP
    DIM_task_N
};
/* staging: by the states of staging.def. */
enum staging_index {
#define STAGING(name, number, help) STAGING_AT_##name,
#include "agentd/staging.def"
#undef STAGING
    DIM_staging_N
};
/* shed: why connections are ended, by sheds.def. */
enum shed_index {
#define SHED(word, help) SHED_##word,
#include "agentd/sheds.def"
#undef SHED
    DIM_shed_N
};
/* rate: the classes of rates.def. */
enum rate_index {
#define RATE(class, setting, help) RATE_AT_##class,
#include "agentd/rates.def"
#undef RATE
    DIM_rate_N
};
/* cap: the settings of caps.def. */
enum cap_index {
#define CAP(name, used) CAP_##name,
#define CAP_EACH(name, used) CAP_##name,
#define CAP_MOST(name, used) CAP_##name,
#include "agentd/caps.def"
#undef CAP
#undef CAP_EACH
#undef CAP_MOST
    DIM_cap_N
};
/* The setting's name. */
const char *metrics_cap_word(enum cap_index cap);

/* ---- counting ---- */

/* Upper bounds of a histogram's buckets, in microseconds; there is one more for the rest. */
#define METRICS_BOUNDS                                                                             \
    100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,         \
        2500000, 5000000, 10000000, 30000000, 60000000, 300000000
enum { METRICS_BUCKETS = sizeof((int[]){METRICS_BOUNDS}) / sizeof(int) + 1 };

struct histogram {
    int64_t sum;
    int64_t buckets[METRICS_BUCKETS];
};

struct metrics {
#define COUNTER(id, name, a, b, help) int64_t id[DIM_##a##_N][DIM_##b##_N];
#define HISTOGRAM(id, name, a, help) struct histogram id[DIM_##a##_N];
#define READING(id, kind, name, a, divisor, help)
#include "agentd/metrics.def"
#undef COUNTER
#undef HISTOGRAM
#undef READING
};
/* The broker's one; all zero at its start. */
extern struct metrics metrics;

#define metrics_add(id, a, b, n) ((void)(metrics.id[a][b] += (n)))
#define metrics_took(id, a, since_us) histogram_add(&metrics.id[a], clock_mono_us() - (since_us))
void histogram_add(struct histogram *h, int64_t us);

/* ---- telling ---- */

struct agentd;
/* Families of all that there is, in the arena; series that have never counted are left out. */
int metrics_tell(const struct agentd *a, struct arena *arena, struct raws *out, struct err *err);

/* What is looked up: out has as many places as the dimension has values, all zero. */
#define COUNTER(id, name, a, b, help)
#define HISTOGRAM(id, name, a, help)
#define READING(id, kind, name, a, divisor, help)                                                  \
    void reading_##id(const struct agentd *a_, int64_t out[DIM_##a##_N]);
#include "agentd/metrics.def"
#undef COUNTER
#undef HISTOGRAM
#undef READING

#endif
