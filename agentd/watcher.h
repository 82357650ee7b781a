/* SPDX-License-Identifier: GPL-3.0-or-later */
/* watcher.h: polls slurmctld's job table and sends the broker what has changed
 *
 * One process, one thread.  Its only input are watch_command frames: "load now", "load job N". Each
 * load is answered with watch_report frames, the last of which says so; loads never overlap.
 *
 * Whatever is asked, slurmctld's load has a limit: whole tables are a gap apart, and what exceeds
 * so many single jobs a second waits for the next whole table.
 */
#ifndef AGENTD_WATCHER_H
#define AGENTD_WATCHER_H

#include "agentd/cluster.h"
#include "agentd/conf.h"

/* The scheduler as the watcher needs it; tests have their own. */
struct watcher_source {
    int (*open)(const char *slurm_conf, struct err *err);
    int (*about)(struct cluster_about *out, struct err *err);
    void (*name_in)(const char *slurm_conf, char out[64]);
    int (*load_jobs)(int64_t *update_time, cluster_job_fn fn, void *arg, struct err *err);
    int (*load_job)(uint32_t job_id, cluster_job_fn fn, void *arg, struct err *err);
};

/* Until the broker has gone (0), or something needs a fresh process: slurm.conf has changed, or the
 * broker's end cannot be used (1). */
int watcher_run(const struct agentd_conf *conf, const struct watcher_source *source, int fd);

/* How long until the next load: what is configured, longer when loading takes more than a twentieth
 * of it, never so long that a job may end and be forgotten in between. */
int64_t watcher_interval_ms(int64_t poll_ms, int64_t min_job_age_s, int64_t load_ms);

/* How soon after a whole load another one may be asked for: a second, or five times as long as it
 * takes when that is more; never longer than the interval. */
int64_t watcher_gap_ms(int64_t interval_ms, int64_t load_ms);

#endif
