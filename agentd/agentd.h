/* SPDX-License-Identifier: GPL-3.0-or-later */
/* agentd.h: the broker as a whole: one pointer for each part, in the order they are started
 *
 * Everything here lives on the one loop thread; see README.md in this directory for the processes.
 */
#ifndef AGENTD_AGENTD_H
#define AGENTD_AGENTD_H

#include "agentd/conf.h"
#include "common/seal.h"

struct sd_event;

struct agentd {
    struct agentd_conf conf;
    bool single_user;
    struct sd_event *loop;
    struct monlink *monitor; /* to the monitor */
    struct authlink *auth;   /* to the auth processes */
    struct table *table;
    struct journal *journal;
    struct paced *paced; /* requests of who asks too often */
    struct held *held;   /* requests that wait for something to happen */
    struct live *live;   /* what happens to jobs */
    struct cancels *cancels;
    struct requests *requests; /* submits by request id */
    struct requests_glue *requests_glue;
    struct staging *staging; /* jobs whose data is moved */
    struct stagers *stagers; /* and who moves it */
    struct admin *admin;     /* administrators' requests that wait for the monitor */
    time_t started;          /* Unix seconds */
    bool ready;              /* systemd has been told */
    bool draining;           /* no new submits */
    uint64_t stop_by_us;     /* of the monotonic clock: the end, when it was asked for */
    char status[1200];       /* as systemd was told it last, see status.h */
    struct watch *watch;     /* to the watcher; writes table */
    struct hints *hints;     /* of slurmctld, for watch; may be NULL */
    struct workers *workers;
    struct sessions *sessions;
    struct listen *listen;
    uint8_t instance[SEAL_ID]; /* of this broker's memory */
    size_t call_bytes;         /* bodies of all requests under way */
};

#endif
