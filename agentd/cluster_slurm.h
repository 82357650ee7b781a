/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cluster_slurm.h: what the cluster_slurm*.c files share; nobody else includes it */
#ifndef AGENTD_CLUSTER_SLURM_H
#define AGENTD_CLUSTER_SLURM_H

/* 26.05 takes a slurm_step_id_t where a job id was, unless this is set. */
#define SLURM_BACKWARD_COMPAT 1
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <slurm/slurmdb.h>

#include "agentd/cluster.h"

/* Advice on when to come again, to who has as many jobs as may be. */
enum { CLUSTER_SLURM_FULL_MS = 30000 };

/* What a lost answer means. */
enum slurm_call {
    SLURM_CALL_READ,   /* nothing: ask again */
    SLURM_CALL_CHANGE, /* ask again: it does no harm twice */
    SLURM_CALL_SUBMIT, /* nobody knows whether there is a job */
    SLURM_CALL_ACCT,   /* as READ, of slurmdbd */
};

/* errno and slurm_errno start from 0 at each call: a failed one that sets none is no old one. */
void cluster_slurm_begin(void);
/* Fills err for a call that has returned rc, by errno.  what goes in front ("job 12"), or NULL; in
 * names the option that was refused, or NULL.  Returns -1. */
int cluster_slurm_fail(enum slurm_call call, int rc, const char *what, const struct sbatch *in,
                       struct err *err);
/* Slurm's own words for a number. */
const char *cluster_slurm_text(int slurm_errno);

/* ---- parts of a job's description ---- */

/* A component's options as sbatch hands them to libslurm; strings are borrowed and the arena's. */
int cluster_slurm_describe(const struct sbatch *in, const struct cluster_submission *whole,
                           struct arena *arena, job_desc_msg_t *out, struct err *err);
/* Bits of enum sbatch_mail as Slurm's. */
uint16_t cluster_slurm_mail(int64_t ours);
/* A member of enum sbatch_shared as Slurm's; NO_VAL16 for SBATCH_UNSET. */
uint16_t cluster_slurm_shared(int64_t ours);
/* What update says of GPUs and other generic resources; -1 without memory. */
int cluster_slurm_change_gpus(const struct sbatch *in, struct arena *arena, job_desc_msg_t *d);
/* What is to be changed, into a description of slurm_init_job_desc_msg(). */
int cluster_slurm_changes(const struct cluster_update *in, job_desc_msg_t *d, struct err *err);

/* std_in, std_out and std_err, patterns expanded as far as they are known; out->user is there. */
void cluster_slurm_files(const job_info_t *in, struct arena *arena, struct job *out);

/* The value of a slurm.conf line "Key=value"; false for another key or none. */
bool cluster_slurm_conf_value(const char *line, const char *key, char *out, size_t size);

/* ---- parts of a record, slurmctld's or slurmdbd's: strings are borrowed or the record's ---- */
enum { CLUSTER_SLURM_FLAGS = 24 };

/* What a struct job borrows while it is shown. */
struct cluster_slurm_record {
    struct arena arena;
    const char *flags[CLUSTER_SLURM_FLAGS];
    char unknown_flags[CLUSTER_SLURM_FLAGS][32];
    char state[32], reason[32];
};

struct cluster_slurm_id {
    uint32_t job_id, array_job_id, array_task_id, het_job_id, het_offset;
    const char *waiting_tasks; /* "4-9%2", of a record that stands for several */
};

/* The user's name, or the number; good until another user is asked for. */
const char *cluster_slurm_user(uint32_t uid);
/* NULL for an empty one. */
const char *cluster_slurm_cut(struct cluster_slurm_record *r, const char *s, size_t max);
/* 0 for Slurm's "none" and "no limit". */
int64_t cluster_slurm_number(uint32_t v);
int64_t cluster_slurm_when(time_t t);
const char *cluster_slurm_state(struct cluster_slurm_record *r, uint32_t state);
struct strs cluster_slurm_flags(struct cluster_slurm_record *r, uint32_t state);
void cluster_slurm_set_id(struct cluster_slurm_record *r, const struct cluster_slurm_id *in,
                          struct job *out);
/* wait() statuses. */
void cluster_slurm_exit(uint32_t exit_code, uint32_t derived, struct job *out);
void cluster_slurm_memory(uint64_t mem, struct job *out);

/* Shows those of slurmdbd's rows that in asks for; sorts rows.  As cluster_acct_jobs(). */
int cluster_slurm_rows(slurmdb_job_rec_t **rows, size_t n, const struct acct_request *in,
                       bool *found, cluster_job_fn fn, void *arg, struct err *err);

/* Of those whose submit line names a request (cluster_tag_mark()), the job of the latest attempt.
 */
void cluster_slurm_find_request(slurmdb_job_rec_t *const *rows, size_t n, const char *mark,
                                struct found_request *out);

/* ---- what differs between versions of Slurm ---- */
void cluster_slurm_free_conf(slurm_conf_t *conf);
uint32_t cluster_slurm_submitted(const submit_response_msg_t *msg);
uint32_t cluster_slurm_will_run_job(const will_run_response_msg_t *msg);
int cluster_slurm_get_steps(uint32_t job_id, job_step_info_response_msg_t **ret, uint16_t flags);
const char *cluster_slurm_step_tres(const job_step_info_t *step);
/* --power, which newer ones have no more. */
void cluster_slurm_set_power(bool level, job_desc_msg_t *d);
/* In front of each name in tres_per_node. */
const char *cluster_slurm_gres_prefix(void);
/* The word for a state flag's bit, NULL for one that is Slurm's own business; buf is for unknown
 * ones. */
const char *cluster_slurm_state_flag(unsigned bit, char buf[32]);

#endif
