/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cluster_slurm.h: what the cluster_slurm*.c files share; nobody else includes it */
#ifndef AGENTD_CLUSTER_SLURM_H
#define AGENTD_CLUSTER_SLURM_H

/* 26.05 takes a slurm_step_id_t where a job id was, unless this is set. */
#define SLURM_BACKWARD_COMPAT 1
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

#include "agentd/cluster.h"

/* What a lost answer means. */
enum slurm_call {
    SLURM_CALL_READ,   /* nothing: ask again */
    SLURM_CALL_CHANGE, /* ask again: it does no harm twice */
    SLURM_CALL_SUBMIT, /* nobody knows whether there is a job */
};

/* errno and slurm_errno start from 0 at each call: a failed one that sets none is no old one. */
void cluster_slurm_begin(void);
/* Fills err for a call that has returned rc, by errno.  what goes in front ("job 12"), or NULL; in
 * names the option that was refused, or NULL.  Returns -1. */
int cluster_slurm_fail(enum slurm_call call, int rc, const char *what, const struct sbatch *in,
                       struct err *err);
/* Slurm's own words for a number. */
const char *cluster_slurm_text(int slurm_errno);

/* ---- what differs between versions of Slurm ---- */
void cluster_slurm_free_conf(slurm_conf_t *conf);
uint32_t cluster_slurm_submitted(const submit_response_msg_t *msg);
/* In front of each name in tres_per_node. */
const char *cluster_slurm_gres_prefix(void);
/* The word for a state flag's bit, NULL for one that is Slurm's own business; buf is for unknown
 * ones. */
const char *cluster_slurm_state_flag(unsigned bit, char buf[32]);

#endif
