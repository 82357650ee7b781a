/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker_gather.h: the jobs of a worker's answer, packed, sorted, and as many as fit into a frame
 *
 * Jobs come in any order; what no longer fits is dropped from the end of the order.
 */
#ifndef AGENTD_WORKER_GATHER_H
#define AGENTD_WORKER_GATHER_H

#include "common/msg.h"

struct gathered {
    int64_t key;
    uint32_t job_id;
    struct bytes packed; /* owned */
};

struct gathering {
    struct gathered *v;
    size_t n, size, bytes;
    bool cut;      /* something was dropped */
    int64_t below; /* then: all with a lower key are there, and from this one on not all are */
    bool failed;   /* no memory */
    struct wire_out *out;
};

int gathering_init(struct gathering *g, struct err *err);
void gathering_done(struct gathering *g);
static inline void cleanup_gathering_done(struct gathering *g)
{
    gathering_done(g);
}

/* Packs and keeps a job.  0; -1 with failed set. */
int gathering_add(struct gathering *g, int64_t key, const struct job *j);
/* Sorts by key, then job_id, and drops what does not fit.  limit 0: as many as fit. */
void gathering_trim(struct gathering *g, size_t limit);
/* Drops all from the nth on. */
void gathering_drop(struct gathering *g, size_t n);
/* Fills jobs, as_of and source; their memory is the arena's. */
int gathering_finish(const struct gathering *g, const char *source, struct arena *arena,
                     struct jobs_reply *out, struct err *err);

#endif
