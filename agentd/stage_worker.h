/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_worker.h: the stage worker: one user, one request, its data
 *
 * A program of its own, agent-stage: object store libraries are large, and no other worker needs
 * them.  Started by the monitor under a grant (grant.h); what it was granted it has from the
 * monitor's arguments alone.  Blocking; calls of one thread, transfers on several.
 */
#ifndef AGENTD_STAGE_WORKER_H
#define AGENTD_STAGE_WORKER_H

#include <pthread.h>

#include "agentd/chan.h"
#include "agentd/conf.h"
#include "agentd/request_tag.h"
#include "agentd/stage_op.h"
#include "common/manifest.h"
#include "common/seal.h"
#include "common/stage.h"

/* What the monitor said. */
struct stage_granted {
    uint8_t request[REQUEST_ID];
    uint8_t hash[SEAL_HASH];
};
/* "REQUEST:HASH" in hexadecimal digits; -1 for anything else. */
int stage_granted_parse(const char *text, struct stage_granted *out);
/* The tag of the granted request's job.  LIMIT: whoever could choose among all attempts would find
 * one with the tag of another of the user's jobs. */
enum { STAGE_ATTEMPTS_MAX = 10000 };
int stage_granted_tag(const struct stage_granted *g, uint32_t uid, int64_t attempt, uint32_t *ret,
                      struct err *err);

/* How far a task is; told on fd at most twice a second. */
struct stage_meter {
    pthread_mutex_t lock;
    int fd; /* -1: nobody wants to know */
    struct chan_head head;
    struct stage_report now;
    int64_t told_ms;
    bool stop;    /* whoever asked has gone */
    int64_t most; /* bytes that may be moved; 0: not yet known */
    bool is_more; /* than that came */
    int64_t deadline_ms;
};
void stage_meter_init(struct stage_meter *m, int fd, const struct chan_head *head,
                      int64_t timeout_s);
void stage_meter_done(struct stage_meter *m);
/* For the seam. */
struct stage_run stage_meter_run(struct stage_meter *m);
void stage_meter_file(struct stage_meter *m);
/* While it is found out what there is to move: says that we live.  -1: it is to end. */
int stage_meter_look(struct stage_meter *m, struct err *err);

/* One task: runs it and fills *out, the last report; strings live in the arena.  m is the manifest,
 * which is the granted one. */
struct stage_job {
    const struct agentd_conf *conf;
    const struct manifest *m;
    const struct stage_task *task;
    struct stage_meter *meter;
    struct arena *arena;
};
int stage_in(struct stage_job *j, struct stage_report *out, struct err *err);
int stage_out(struct stage_job *j, struct stage_report *out, struct err *err);
int stage_sweep(struct stage_job *j, struct err *err);

/* What moving has in common: stage_common.c */
struct stage_stores {
    struct stage *of[2]; /* by enum stage_scheme; NULL: not open */
};
struct stage *stage_stores_get(struct stage_stores *s, struct stage_job *j,
                               enum stage_scheme scheme, struct err *err);
void stage_stores_done(struct stage_stores *s);
/* Where a file goes.  The first bytes of path, `own`, are a directory's as the user gave it, with
 * the slash: followed as it leads.  What is behind them is kept beneath it: others may be able to
 * make links there. */
struct stage_place {
    const char *path;
    size_t own;
};
/* The directory that it goes into, and its name there. */
int stage_place_open(const struct stage_job *j, const struct stage_place *p, bool make_dirs,
                     const char **ret_name, struct err *err);
/* What earlier workers that were killed have left half done in n places; each directory is read
 * once.  Sorts them. */
int stage_places_sweep(const struct stage_job *j, struct stage_place *v, size_t n, struct err *err);
/* A directory to start from, opened as its path leads. */
int stage_open_base(const char *dir, struct err *err);
/* More than the job may have moved? */
int stage_check_quota(const struct stage_job *j, int64_t bytes, const char *what, struct err *err);
/* The same of what was really moved, which may be more than was planned; when it is err becomes
 * that. */
int stage_check_moved(const struct stage_job *j, int rc, const char *what, struct err *err);
/* "3 files, 12.4 MiB" */
const char *stage_amount(int64_t files, int64_t bytes, struct arena *arena);
enum { STAGE_FILES_MAX = 100000, STAGE_THREADS = 4 };

#endif
