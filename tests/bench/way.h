/* SPDX-License-Identifier: GPL-3.0-or-later */
/* way.h: the ways to ask Slurm for the same things
 *
 * All but missing() run in a caller's own process, as its user, and die() when something fails.
 */
#ifndef TESTS_BENCH_WAY_H
#define TESTS_BENCH_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whose CPU a call costs besides slurmctld's. */
enum way_server { WAY_NONE, WAY_AGENTD, WAY_SLURMRESTD };

struct way {
    const char *name;
    const char *status_from; /* "memory": no RPC to slurmctld; else "RPC" */
    enum way_server server;
    bool one_user;                /* its callers are all the first user */
    bool slow;                    /* the short form has one caller of it */
    const char *(*missing)(void); /* why it cannot be had here; NULL, or returns NULL: it can */
    void *(*open)(void);
    void (*status)(void *open, uint32_t id);
    uint32_t (*submit)(void *open); /* a held job */
    void (*cancel)(void *open, uint32_t id);
    void (*close)(void *open);
};

extern const struct way way_libslurm;  /* in process, SHOW_LOCAL */
extern const struct way way_agent_tcp; /* speaks the protocol itself: raw.h */
extern const struct way way_agent_ipc;
extern const struct way way_library; /* libslurmagent over tcp */
extern const struct way way_slurmrestd;
extern const struct way way_agent_command; /* slurm-agent, a process each */
extern const struct way way_commands;      /* sbatch, scontrol, scancel */
extern const struct way way_ssh_master;
extern const struct way way_ssh_fresh;

#define WAY_SCRIPT "#!/bin/sh\ntrue\n"

#endif
