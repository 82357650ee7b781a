/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hint.h: the socket where slurm-agent-hint says which job to look at now
 *
 * Datagrams of root and of SlurmUser count, others are dropped; a flood of either costs slurmctld
 * one load of the table a second and the broker next to nothing.  Belongs to the loop.
 */
#ifndef AGENTD_HINT_H
#define AGENTD_HINT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct agentd;
struct sd_event;
struct hints;

enum {
    HINT_RATE = 50,       /* single loads a second; what exceeds them is one load of the table */
    HINT_WHOLE_MS = 1000, /* between two of those */
    HINTS_A_TURN = 64,    /* datagrams read in one go */
    HINT_PAUSE_MS = 50,   /* then */
};

/* Whom hints reach; tests have their own. */
struct hint_hooks {
    void (*load)(void *arg, uint32_t job_id); /* 0: the table */
    bool (*may)(void *arg, uint32_t uid);     /* whether this sender counts */
    void *arg;
};

/* At conf's hint_socket, for the watcher.  NULL without one: the log then says why, if it is not
 * that none is wanted. */
struct hints *hints_new(struct agentd *a);
struct hints *hints_open(struct sd_event *loop, const char *path, const struct hint_hooks *hooks,
                         struct err *err);
void hints_free(struct hints *h);

#endif
