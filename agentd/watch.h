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
/* From the monitor: a new watcher (takes both fds), or its end, with status as of waitpid(). */
void watch_attach(struct watch *w, uint32_t process, int fd, int stderr_fd);
void watch_ended(struct watch *w, uint32_t process, int status);

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
    int64_t boot_time;     /* slurmctld's, Unix seconds; 0: not known */
};
void watch_status(const struct watch *w, struct watch_status *out);
/* Is there a watcher? */
bool watch_runs(const struct watch *w);
/* The cluster's name: as configured, else as slurmctld said; "" while it is not known. */
const char *watch_cluster(const struct watch *w);

/* Loads that somebody waits for: the last of one job, and the last of all that has changed.  One
 * job is loaded at once, a table when it is due: nobody waits for what others asked.  {0}: none. */
struct watch_mark {
    int64_t one, all;
    int64_t owed_us; /* of watch_changed(): the last that is not asked for; in us, 0: none */
    bool owed_more;  /* and some of them are in no list */
};
/* Asks for a job, or with 0 for whatever has changed.  mark (NULL: nobody waits) then stands for
 * this load and for those it stood for before. */
void watch_load(struct watch *w, uint32_t job_id, struct watch_mark *mark);
/* The user has changed the job, and may ask for it now; but most do not at once, and a load costs
 * slurmctld nearly as much as the change.  So it is loaded when a request waits for what happens to
 * it, when its user asks (watch_when()), when nobody has changed anything for a moment, or soon,
 * with all that has changed.  The mark stays where it is until it is covered. */
void watch_changed(struct watch *w, uint32_t job_id, uint32_t uid, struct watch_mark *mark);
/* What is known of the job is told anew: its data has been moved on, see staging.h. */
void watch_retell(struct watch *w, uint32_t job_id);
/* Asks for the settings and for the whole table, whatever has changed. */
void watch_load_anew(struct watch *w);
/* Have these loads, or later ones, been put into the table? */
bool watch_covers(const struct watch *w, const struct watch_mark *mark);
/* How fresh the table is to whom the mark belongs: stale as well while it lacks their change. */
void watch_status_for(const struct watch *w, const struct watch_mark *mark,
                      struct watch_status *out);
typedef void (*watch_fn)(void *arg);
/* Calls fn(arg) when that is so, or after a while all the same; before this returns
 * only when the broker ends. */
void watch_when(struct watch *w, struct watch_mark *mark, watch_fn fn, void *arg);
/* Calls fn(arg) once, after the first report, good or bad. */
void watch_on_first(struct watch *w, watch_fn fn, void *arg);

#endif
