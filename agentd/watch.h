/* SPDX-License-Identifier: GPL-3.0-or-later */
/* watch.h: the broker's end of the line to the watcher: its reports go into the table
 *
 * Belongs to the loop.
 */
#ifndef AGENTD_WATCH_H
#define AGENTD_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct agentd;
struct watch;

struct watch *watch_new(struct agentd *a, struct err *err);
void watch_free(struct watch *w);
/* Lets every waiting query go on with what the table has; loads are not asked for any more. */
void watch_stop(struct watch *w);
/* From the monitor: a new watcher (takes both fds), or its end. */
void watch_attach(struct watch *w, uint32_t process, int fd, int stderr_fd);
void watch_ended(struct watch *w, uint32_t process);

/* How fresh the table is. */
struct watch_status {
    int64_t as_of;    /* Unix seconds of the last load; 0: none yet */
    bool stale;       /* older than it should be */
    bool down;        /* the last load failed */
    char error[500];  /* what it said, or why the table is stale; "" otherwise */
    char cluster[64]; /* "" until slurmctld has answered once */
    char slurm_version[64];
    bool private_jobs;     /* PrivateData=jobs is set, or it is not known yet whether it is */
    bool sees_all;         /* nothing is hidden from the watcher for that */
    bool accounting;       /* there is a slurmdbd */
    uint32_t slurm_uid;    /* SlurmUser; 0 also until it is known */
    int64_t min_job_age_s; /* MinJobAge; 0: for ever, or not known */
};
void watch_status(const struct watch *w, struct watch_status *out);
/* The cluster's name: as configured, else as slurmctld said; "" while it is not known. */
const char *watch_cluster(const struct watch *w);

/* Loads that somebody waits for: the last of one job, and the last of all that has changed.  One
 * job is loaded at once, a table when it is due: nobody waits for what others asked.  {0}: none. */
struct watch_mark {
    int64_t one, all;
};
/* Asks for a job, or with 0 for whatever has changed.  mark (NULL: nobody waits) then stands for
 * this load and for those it stood for before. */
void watch_load(struct watch *w, uint32_t job_id, struct watch_mark *mark);
/* Asks for the settings and for the whole table, whatever has changed. */
void watch_load_anew(struct watch *w);
/* Have these loads, or later ones, been put into the table? */
bool watch_covers(const struct watch *w, const struct watch_mark *mark);
typedef void (*watch_fn)(void *arg);
/* Calls fn(arg) when that is so, or after a while all the same; never before this returns. */
void watch_when(struct watch *w, const struct watch_mark *mark, watch_fn fn, void *arg);
/* Calls fn(arg) once, after the first report, good or bad. */
void watch_on_first(struct watch *w, watch_fn fn, void *arg);

#endif
