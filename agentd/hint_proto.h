/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hint_proto.h: what slurm-agent-hint says to the broker: "look at this job now"
 *
 * One datagram of fixed size, in the host's byte order: it never leaves the host.  Nothing is
 * believed of it but that it may be worth while to ask slurmctld.
 */
#ifndef AGENTD_HINT_PROTO_H
#define AGENTD_HINT_PROTO_H

#include <stdint.h>

/* As in conf.def: slurmctld gives its programs no arguments. */
#define HINT_SOCKET "/run/slurm-agentd/hint.sock"

enum { HINT_MAGIC = 0x54484153, HINT_VERSION = 1 };

struct hint_packet {
    uint32_t magic, version;
    uint32_t job_id;        /* SLURM_JOB_ID; an array's last task has the array's */
    uint32_t array_job_id;  /* 0: not of an array */
    uint32_t array_task_id; /* then */
};

#endif
