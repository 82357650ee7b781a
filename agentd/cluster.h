/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cluster.h: what we ask of the scheduler, in our own types
 *
 * Only cluster_slurm*.c include slurm/ headers.  All calls block, for as long as Slurm's own
 * timeouts let them; they run in worker and watcher, as the user the process is, on one thread.
 * libslurm may exit(1) or abort() in any of them.  Slurm's errors come back as SLURM_DOWN (nothing
 * was done), IN_DOUBT (a submit that may have been done), NOT_FOUND, DENIED, INVALID or SLURM, with
 * slurm_errno and Slurm's text set.
 */
#ifndef AGENTD_CLUSTER_H
#define AGENTD_CLUSTER_H

#include "agentd/sbatch_changes.h"
#include "common/jobverb.h"
#include "common/msg.h"

/* Checks that conf is there and readable (libslurm would block for a minute, then exit), sets
 * SLURM_CONF and starts libslurm.  Call first. */
int cluster_open(const char *slurm_conf, struct err *err);
void cluster_close(void);

/* "22.05.8": the libslurm this is built with. */
const char *cluster_version(void);

struct cluster_about {
    char name[64];      /* ClusterName */
    char version[32];   /* slurmctld's */
    bool private_jobs;  /* PrivateData=jobs */
    bool sees_all;      /* no job is hidden from this process's user for that */
    bool accounting;    /* there is a slurmdbd */
    uint32_t slurm_uid; /* SlurmUser */
    int64_t min_job_age_s;
    int64_t message_timeout_s;
    int64_t credential_s; /* how long munge lets a request to slurmctld live */
    int64_t boot_time;    /* when slurmctld started */
};
/* Asks slurmctld for its configuration. */
int cluster_about(struct cluster_about *out, struct err *err);
/* Is it in a federation?  No when slurmctld does not say. */
bool cluster_is_federated(void);

/* ClusterName as slurm_conf says it, for while slurmctld does not answer: "" when it does not say
 * so itself (it may be in an Include). */
void cluster_name_in(const char *slurm_conf, char out[64]);

/* How slurmctld and slurmdbd show whose request a job is. */
struct cluster_tag {
    uint32_t alloc_sid;   /* 0: as it comes */
    struct bytes request; /* its id; n 0: none */
    int64_t attempt;
};
/* A job, or the components of a heterogeneous one, settled.  Their chdir is a whole path. */
struct cluster_submission {
    const struct sbatch_jobs *jobs;
    struct bytes script;
    struct strs arguments, environment;
    const char *submit_line;
    struct cluster_tag tag;
};
/* As this process's user. */
int cluster_submit(const struct cluster_submission *in, struct arena *arena,
                   struct submit_reply *out, struct err *err);
/* When and where it would start; nothing is submitted. */
int cluster_will_run(const struct cluster_submission *in, struct arena *arena,
                     struct submit_reply *out, struct err *err);
/* A list of nodes as Slurm writes them; option names it in the error. */
int cluster_nodes(const char *option, const char *list, struct arena *arena,
                  struct sbatch_nodes *out, struct err *err);
/* submit_line as it is given to Slurm: "... #slurm-agent=0011..ff/1", and what of it is before the
 * attempt.  NULL without memory. */
const char *cluster_tag_mark(const struct bytes *request, struct arena *arena);
const char *cluster_tagged_line(const char *submit_line, const struct cluster_tag *tag,
                                struct arena *arena);

/* Called for each record; the job and its strings are good until it returns.  Negative stops. */
typedef int (*cluster_job_fn)(void *arg, const struct job *job);

/* The table.  *update_time 0 loads it whole; otherwise 1 is returned when nothing has changed since
 * (granularity one second: what has changed in that second comes again).  0: all records were
 * given, and *update_time is set for the next time. */
int cluster_load_jobs(int64_t *update_time, cluster_job_fn fn, void *arg, struct err *err);
/* Whatever an id names: a job, an array with all its tasks, a het job with its components.
 * ERR_NOT_FOUND when slurmctld does not know it (or may not tell this user). */
int cluster_load_job(uint32_t job_id, cluster_job_fn fn, void *arg, struct err *err);

/* Jobs as slurmdbd knows them, of the users that in asks for.  With ids, each once, and *found (one
 * for each id, false before) says which ids named one; of a job that was requeued its last run.
 * Without ids, those that have ended in that time.  A job that has not ended for slurmdbd has phase
 * UNKNOWN: who asks is to know that slurmctld has forgotten it.  slurmdbd lags by seconds, and
 * while it does not answer this may block for minutes.  ERR_UNSUPPORTED: there is no slurmdbd. */
int cluster_acct_jobs(const struct acct_request *in, bool *found, cluster_job_fn fn, void *arg,
                      struct err *err);

/* The job of the caller's that was active after since and whose submit line, as
 * cluster_tagged_line() makes it, names that request: of the latest attempt.  None: job_id 0, which
 * proves nothing (a job that is held, say, is not there yet). */
int cluster_acct_request(const struct request_query *in, struct found_request *out,
                         struct err *err);

/* Called for each step with its job's number; all is good until it returns. */
typedef int (*cluster_step_fn)(void *arg, uint32_t job_id, const struct step *step);
/* The steps of a job, or of all of an array's tasks; id and job are left to the caller but for the
 * step's own part of id: "batch", "0".  A job without any is no error. */
int cluster_steps(uint32_t job_id, cluster_step_fn fn, void *arg, struct err *err);

/* The script or environment that slurmdbd has of the latest job with that id; gives: *ret is
 * free()d by the caller.  ERR_UNSUPPORTED says what the administrator must set. */
int cluster_acct_text(const struct acct_text_request *in, char **ret, struct err *err);

struct cluster_signal {
    int number; /* 0: end the job (SIGCONT, SIGTERM, then SIGKILL) */
    bool batch, full;
};
/* Name with or without SIG, or a number: ERR_INVALID names the value. */
int cluster_parse_signal(const char *text, int *ret, struct err *err);
struct cluster_update {
    const struct sbatch *changes; /* sbatch_changes() */
    const char *work_dir;         /* of the job: where its files are */
    struct arena *arena;
};

struct cluster_control {
    struct cluster_signal signal; /* cancel */
    const char *message;          /* notify */
    struct cluster_update update; /* update */
};
/* Does it to what id, as Slurm writes it, names (notify: to a plain number).  how NULL: nothing is
 * said besides.  *ret_remark is set (static) when there was nothing to do: it had ended, it was not
 * suspended.  A hold is a user's, as `scontrol uhold` makes it; release is the owner's to do after
 * it, and frees all of an array or het job. */
int cluster_control(enum job_verb verb, const char *id, const struct cluster_control *how,
                    const char **ret_remark, struct err *err);
/* Are the two lists (node[1-4],node9) about one node at least?  ERR_INVALID: wanted is no list. */
int cluster_nodes_meet(const char *nodes, const char *wanted, bool *ret, struct err *err);
/* gives: *ret is free()d by the caller. */
int cluster_script(uint32_t job_id, char **ret, struct err *err);
/* Never fails for slurmctld's being down: says so in out. */
int cluster_info(struct arena *arena, struct info_reply *out, struct err *err);

#endif
