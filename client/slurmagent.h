/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmagent.h: submit, watch and cancel Slurm jobs through slurm-agentd (libslurmagent)
 *
 *     struct sagent_error err;
 *     struct sagent *s;
 *     if (sagent_open(NULL, &s, &err) < 0)
 *         return complain(err.text);
 *
 * Functions that can fail return 0, or -1 with *err filled and no result written; err may be NULL.
 * *err is emptied when a call begins.  They block, at most as long as the handle's timeout (those
 * of "following jobs" say themselves how long), and beyond it up to 10 s for each MUNGE credential
 * while munged hangs.
 *
 * Zero-initialise every struct that is passed in (struct sagent_options o = {0};): a member that is
 * 0 or NULL means its default, and members that come later will be taken from what is reserved now.
 * The library copies what it needs before it returns; strings are UTF-8 as Slurm has them.
 *
 * What a call gives belongs to the caller, lives until its _free function (NULL is fine), does not
 * depend on the handle, and may grow members at its end in later versions: do not copy it by size.
 * A number that is not known is 0, a string NULL, a list empty.  Times are Unix seconds, sizes
 * bytes, durations seconds unless a name says otherwise.
 *
 * Threads: a handle may be used by one thread at a time, but for sagent_interrupt(); several
 * handles in several threads are fine.  The library has threads of its own, on which no signal is
 * delivered.  After a fork the child must exec: in it every call fails with SAGENT_ERR_INVALID, and
 * sagent_close() only frees.
 */
#ifndef SLURMAGENT_H
#define SLURMAGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ---- */

/* What went wrong.  Numbers are the protocol's and never change; new ones may come. */
enum sagent_code {
    SAGENT_OK = 0,
    SAGENT_ERR_INVALID = 1,        /* the request, an option or its value is wrong */
    SAGENT_ERR_UNSUPPORTED = 2,    /* known to Slurm, but not offered by this server */
    SAGENT_ERR_NOT_FOUND = 3,      /* no such job, file or operation */
    SAGENT_ERR_DENIED = 4,         /* this user may not do this */
    SAGENT_ERR_AUTH = 5,           /* the two sides could not authenticate each other */
    SAGENT_ERR_LIMIT = 6,          /* more than a limit allows */
    SAGENT_ERR_BUSY = 7,           /* the server has too much to do right now */
    SAGENT_ERR_SLURM_DOWN = 8,     /* slurmctld does not answer; nothing was changed */
    SAGENT_ERR_SLURM = 9,          /* Slurm refused */
    SAGENT_ERR_IN_DOUBT = 10,      /* it is not known whether Slurm did it: look before a retry */
    SAGENT_ERR_TIMEOUT = 11,       /* no answer in time */
    SAGENT_ERR_UNREACHABLE = 12,   /* the client cannot reach a server */
    SAGENT_ERR_PROTOCOL = 13,      /* the other side does not speak the protocol */
    SAGENT_ERR_SESSION = 14,       /* the session has ended and could not be renewed */
    SAGENT_ERR_INTERNAL = 15,      /* a fault in slurm-agent or its host */
    SAGENT_ERR_CONFLICT = 16,      /* the same request id came with other content */
    SAGENT_ERR_NOT_SUBMITTED = 17, /* the job was certainly not submitted; submit again */
    SAGENT_ERR_MUNGE = 18,         /* munged does not answer on one of the two hosts */
    SAGENT_ERR_INTERRUPTED = 19,   /* by sagent_interrupt() */
    SAGENT_ERR_JOURNAL = 20,       /* the server cannot write its journal; nothing was submitted */
    SAGENT_ERR_STORE = 21,         /* the object store refused, or its answer cannot be right */
    SAGENT_ERR_STORE_DOWN = 22, /* the object store does not answer, or asks to come back later */
    SAGENT_ERR_FULL = 25 /* as many jobs as Slurm lets you have, or holds: there is room when some
                            have ended */
};

struct sagent_error {
    int code;           /* enum sagent_code, or a number that a newer server knows; 0: no error */
    int slurm_errno;    /* Slurm's own number (slurm_errno.h); 0 when Slurm was not the one */
    int retry_after_ms; /* advice on when to try again; 0: none */
    bool retry;         /* the same request may succeed later */
    bool bad_option;    /* an option of sbatch's that is none, or a value it does not take */
    int exit_status;    /* what the command slurm-agent exits with for it */
    char text[500];     /* one sentence for the user, without a newline; "server: " in front of
                           what came unauthenticated */
};

/* "DENIED" and so on; "OK" for 0, "UNKNOWN" for a number this library does not know.  Static. */
const char *sagent_code_name(int code);
/* One line about the code; "" for an unknown one.  Static. */
const char *sagent_code_help(int code);
/* What the command slurm-agent exits with: 0 for SAGENT_OK. */
int sagent_code_exit_status(int code);
/* This library's version, "1.2.3".  Static. */
const char *sagent_version(void);

/* ---- a handle ---- */

struct sagent;

enum {
    SAGENT_SERVER_UID_ROOT = -1 /* sagent_options.server_uid: 0, whatever client.conf says */
};

struct sagent_options {
    const char *server;       /* tcp://HOST[:6821], HOST, HOST:PORT, ipc:///PATH or /PATH.
                                 NULL: $SLURM_AGENT_SERVER, else `server` of client.conf, else
                                 ipc:///run/slurm-agentd/agent.sock */
    const char *conf;         /* configuration file.  NULL: $SLURM_AGENT_CONF, else
                                 ~/.config/slurm-agent/client.conf over
                                 /etc/slurm-agent/client.conf, where they are there */
    const char *cluster;      /* ClusterName the server must have.  NULL: as client.conf says;
                                 where that is silent, any */
    const char *munge_socket; /* munged's socket.  NULL: as client.conf says, else munge's own */
    int64_t server_uid;       /* uid the server must have.  0: as client.conf says, else root */
    int timeout_ms;           /* longest wait in one call.  0: as client.conf says; where that is
                                 silent 60 s, and 240 s for submit and cancel: longer than the
                                 server waits for Slurm, so that its word is heard */
    /* NULL, or told on the calling thread, by the calls that go on over an outage: why it will try
       again, each time; and with err NULL that the server has answered again.  It must not use the
       handle, but for sagent_interrupt(). */
    void (*on_outage)(void *arg, const struct sagent_error *err);
    void *on_outage_arg;
    uintptr_t reserved[6]; /* zero */
};

/* Reads the configuration and makes a handle; options may be NULL.  It does not connect: the first
 * call does, and calls connect and authenticate again by themselves when that is needed.
 * INVALID: a setting or an option is wrong; NOT_FOUND, DENIED: a configuration file that was named
 * cannot be read. */
int sagent_open(const struct sagent_options *options, struct sagent **ret,
                struct sagent_error *err);
/* Ends the session (waiting 500 ms at most) and the connection, and frees.  NULL is fine. */
void sagent_close(struct sagent *s);
/* The server's address in full, tcp://head:6821.  Borrowed from the handle. */
const char *sagent_address(const struct sagent *s);
/* Makes the call that the handle is blocked in, or else its next one, fail with INTERRUPTED; a
 * sagent_submit() that had been sent fails with IN_DOUBT instead.  Several of these before a call
 * has failed count as one.  The handle stays good.  May be called by any thread and by a signal
 * handler, between sagent_open() and sagent_close(). */
void sagent_interrupt(struct sagent *s);

/* Each call below may also fail with UNREACHABLE, TIMEOUT, AUTH, MUNGE, PROTOCOL, BUSY, DENIED (the
 * user may not use the agent), SESSION, INTERRUPTED and INTERNAL. */

/* ---- the server ---- */

struct sagent_server {
    const char *version;         /* of slurm-agentd */
    int64_t protocol;            /* version of the protocol in use */
    const char *cluster;         /* ClusterName; NULL until slurmctld has answered once */
    int64_t server_time;         /* the server's clock */
    const char *slurm_version;   /* libslurm the server is built with */
    const char *slurmctld;       /* "up", "down" or "unknown" */
    const char *slurmctld_error; /* what the last failed load of the job table said */
    int64_t as_of;               /* when the job table was last loaded; 0: not yet */
    bool stale;                  /* the table is older than it should be */
    int64_t jobs;                /* jobs in the table */
    bool private_jobs;           /* PrivateData=jobs is set */
    bool hidden_jobs;    /* and hides jobs from the server: no events and no history of them */
    const char *address; /* where this client reached it */
    int64_t server_uid;  /* the uid that munged vouched for */
    int64_t session_s;   /* lifetime of a session */
    const char *journal; /* why ends of jobs are not kept, and submits refused, at present; NULL:
                            all is well */
    bool draining;       /* submits are refused, because the server is about to stop */
    int64_t in_doubt;    /* your submits that may or may not have made a job */
};

/* Is the server there, and how fresh is what it knows?  Asks no Slurm. */
int sagent_ping(struct sagent *s, struct sagent_server **ret, struct sagent_error *err);
void sagent_server_free(struct sagent_server *p);

struct sagent_identity {
    const char *user;       /* user name on the cluster */
    int64_t uid;            /* user id on the cluster */
    int64_t gid;            /* primary group id on the cluster */
    const char *cluster;    /* ClusterName */
    const char *origin;     /* the address the connection comes from */
    const char *munge_host; /* the address munged put into the credential */
    int64_t session_ends;   /* when the session ends, by the server's clock */
    bool single_user;       /* the server runs as this user alone */
};

/* Whom does the server take us for? */
int sagent_whoami(struct sagent *s, struct sagent_identity **ret, struct sagent_error *err);
void sagent_identity_free(struct sagent_identity *p);

/* ---- submit ---- */

struct sagent_pair {
    const char *name, *value; /* value NULL is the same as "" */
};

/* What is moved for a job.  URLs are s3://bucket/key or file:///path (on the cluster); one that
 * ends with a slash means all that is below it.  Paths are relative to the job's working directory,
 * or absolute, and never have ".."; %j, %A and %a in them are the job's id, its array's and its
 * task's number (outputs). */
struct sagent_input {
    const char *from; /* URL */
    const char *to; /* a file, or with a slash at its end a directory; NULL: the key's last part */
};

struct sagent_output {
    const char *from; /* a file, a directory/ or a pattern with * ? [ ] */
    const char *to;   /* URL; of an array's task with %a in it */
    bool required;    /* the job has failed when there is no such file */
    const char *on;   /* "success" (also NULL), "failure" or "always": after which end */
};

struct sagent_staging {
    const struct sagent_input *inputs;   /* there, whole, before the job starts */
    size_t input_count;                  /* 256 at most */
    const struct sagent_output *outputs; /* stored before the job counts as done */
    size_t output_count;                 /* 256 at most */
    const char *stdout_to, *stderr_to;   /* URLs; NULL: not stored */
    int64_t timeout_s;                   /* each way at most so long; 0: as the server has it */
    int64_t quota;                       /* bytes at most, each way; 0: as the server has it */
    uintptr_t reserved[4];               /* zero */
};

/* sbatch's long options, without dashes; a flag's value is NULL.  No name twice. */
struct sagent_options_set {
    const struct sagent_pair *options;
    size_t option_count;
};

struct sagent_submit_request {
    const void *script;      /* text of the batch script */
    size_t script_size;      /* bytes; the server's limit is 4 MiB unless configured otherwise */
    const char *script_path; /* instead: a file on the cluster, read there as the user */
    const char *script_name; /* the job's default name; NULL: what the server makes of it */
    const char *const *arguments; /* of the script */
    size_t argument_count;
    const struct sagent_pair *options; /* sbatch's long options, without dashes; a flag's value is
                                          NULL.  They win over the script's #SBATCH lines.
                                          No name twice */
    size_t option_count;
    const char *const *environment; /* NAME=value: what --export may pick from (all of it unless
                                       the option export says otherwise); of one name the first
                                       counts, as with getenv() */
    size_t environment_count;
    bool login_environment;  /* start from the user's login environment on the cluster */
    bool export_none;        /* unless the option export is said, here or in the script: that, and
                                nothing of environment */
    const char *submit_line; /* the command line as typed, for accounting; cut at 60,000 bytes */
    const char *request_id;  /* any text of at most 255 bytes that stands for this one submit, to
                                have the same job when it is submitted again, from any process; 32
                                hexadecimal digits are the id itself.  NULL: one is made */
    int64_t retry_s;         /* go on for so long when the server, Slurm or munge does not serve at
                                present; 0: 20 s, and only while the server is away or busy */
    const struct sagent_staging *staging; /* NULL: nothing is moved for it */
    /* a heterogeneous job: the further components (options is the first one's) */
    const struct sagent_options_set *components;
    size_t component_count;
    const struct sagent_options_set *defaults; /* NULL, or those of the environment (sbatch's
                                                  SBATCH_* variables): the script's lines give way
                                                  to them, they to options */
    const char *time_zone;  /* of times of day in begin and deadline; NULL: the head node's */
    const char *submit_dir; /* the working directory, and what relative paths start at; absolute.
                               NULL: the user's home */
    uintptr_t reserved[1];  /* zero */
};

struct sagent_submit_reply {
    const char *id; /* job id as Slurm writes it */
    int64_t job_id; /* the same as a number */
    const char
        *message; /* what slurmctld's job_submit plugin said to the user; may have newlines */
    const char *warning;    /* the job was accepted, but the user should know this */
    const char *request_id; /* 32 hexadecimal digits */
    bool again;             /* the job of an earlier submit with this request id */
    bool wait, parsable;    /* the options of sbatch, here or in the script */
    /* and test-only: nothing was submitted, id is NULL and job_id the next one; what Slurm expects:
     */
    bool test_only;
    int64_t start_time, processors;
    const char *nodes, *partition; /* partition NULL: a heterogeneous job */
    const int64_t *preempted;      /* job ids */
    size_t preempted_count;
    const char *cluster; /* its name, when --clusters was said, here or in the script */
};

/* Submits a batch job: exactly one for each request id, whatever breaks on the way.  It tries again
 * by itself until the outcome is known, for as long as a call may take (240 s unless said
 * otherwise).  IN_DOUBT: that was not enough, and the job may or may not be there; the error names
 * the request id, with which to submit again, or to look (sagent_request()).  CONFLICT: the request
 * id stands for another submit.  After any other error no job was made. */
int sagent_submit(struct sagent *s, const struct sagent_submit_request *request,
                  struct sagent_submit_reply **ret, struct sagent_error *err);
void sagent_submit_reply_free(struct sagent_submit_reply *p);

/* What became of a submit. */
struct sagent_request {
    const char *request_id; /* 32 hexadecimal digits */
    const char *state;   /* SUBMITTING, IN_DOUBT, SUBMITTED, ENDED, REFUSED, NOT_SUBMITTED or LOST
                            (docs/PROTOCOL.md); others may come */
    int64_t job_id;      /* SUBMITTED, ENDED, LOST; 0: none */
    int64_t submit_time; /* the job's; 0: not known yet */
    int64_t attempt;     /* how often it was tried */
    int64_t tag;         /* job_info.alloc_sid of the job */
    int64_t begun, changed; /* when the last attempt began, and when its state became this */
    int code;               /* enum sagent_code: why there is no job; 0 */
    const char *text;       /* the same in words */
};

/* NOT_FOUND: no submit of this user has that request id, or it is older than what is kept. */
int sagent_request(struct sagent *s, const char *request_id, struct sagent_request **ret,
                   struct sagent_error *err);
void sagent_request_free(struct sagent_request *p);

/* What the user knows about a submit that stays IN_DOUBT. */
struct sagent_resolve_request {
    const char *request_id; /* as it was submitted with */
    bool none;              /* it made no job: it may be submitted again */
    int64_t job_id; /* instead: it is this job, which must carry its tag (of an array or het job
                       the whole's id) */
    uintptr_t reserved[4]; /* zero */
};

/* Gives what became of it then; fine as well when that was known already.  BUSY, SLURM_DOWN: it
 * cannot be settled yet, for slurmctld may still carry it out.  CONFLICT: it is otherwise: it has a
 * job, or that job is not of it. */
int sagent_resolve(struct sagent *s, const struct sagent_resolve_request *request,
                   struct sagent_request **ret, struct sagent_error *err);

/* ---- jobs ---- */

struct sagent_strings {
    const char *const *v;
    size_t n;
};

/* A job as slurmctld described it; job_info is slurm_job_info_t of slurm.h. */
struct sagent_job {
    const char *id;              /* as Slurm writes it: 12, 12_3, 12_[4-9%2], 12+1 */
    int64_t job_id;              /* job_info.job_id: the record's own number */
    int64_t array_job_id;        /* job_info.array_job_id: the array it is of */
    const char *array_task;      /* the task's number, or the tasks still waiting: 4-9%2 */
    int64_t het_job_id;          /* job_info.het_job_id: the heterogeneous job it is of */
    int64_t het_offset;          /* job_info.het_job_offset */
    const char *name;            /* job_info.name */
    const char *user;            /* name of uid on the cluster */
    int64_t uid;                 /* job_info.user_id */
    int64_t gid;                 /* job_info.group_id */
    const char *account;         /* job_info.account */
    const char *partition;       /* job_info.partition; of a pending job perhaps several */
    const char *qos;             /* job_info.qos */
    const char *state;           /* base state in Slurm's words: PENDING, RUNNING, COMPLETED ... */
    struct sagent_strings flags; /* state flags: COMPLETING, CONFIGURING, REQUEUED ... */
    const char *phase;           /* for engines: QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED,
                                    REVOKED or UNKNOWN; others may come (docs/PROTOCOL.md) */
    const char *outcome;         /* how it ended, in words; NULL when it succeeded */
    const char *cancelled_by;    /* the user who cancelled it, where that is known */
    const char *reason;          /* why it waits or failed, in Slurm's words */
    const char *reason_text;     /* job_info.state_desc: the reason at length */
    int64_t exit_code;           /* exit status of the batch script */
    int64_t exit_signal;         /* signal that ended it */
    int64_t derived_exit_code;   /* highest exit status of its steps */
    int64_t submit_time;         /* job_info.submit_time: with the id a job's identity, because
                                    Slurm uses ids again */
    int64_t eligible_time;       /* job_info.eligible_time */
    int64_t start_time;          /* job_info.start_time; of a pending job the expected one */
    int64_t end_time;            /* job_info.end_time; of a running job the latest one */
    int64_t suspend_time;        /* job_info.suspend_time */
    int64_t time_limit;          /* seconds; -1 is no limit, 0 the partition's */
    int64_t priority;            /* job_info.priority; 0 is held */
    const char *nodes;           /* allocated nodes, as a Slurm host list */
    int64_t node_count;          /* nodes allocated or asked for */
    int64_t cpus;                /* job_info.num_cpus */
    int64_t tasks;               /* job_info.num_tasks */
    int64_t cpus_per_task;       /* job_info.cpus_per_task */
    int64_t mem_per_node;        /* bytes */
    int64_t mem_per_cpu;         /* bytes */
    const char *tres;            /* allocated, or else requested, trackable resources */
    const char *gres;            /* job_info.tres_per_node */
    const char *constraint;      /* job_info.features */
    const char *dependency;      /* job_info.dependency */
    const char *batch_host;      /* node the script runs on */
    const char *work_dir;        /* job_info.work_dir */
    const char *std_in;          /* file name; patterns (%j ...) expanded as far as known */
    const char *std_out;         /* file name; patterns expanded as far as known */
    const char *std_err;         /* file name; patterns expanded as far as known; NULL: with
                                    stdout */
    const char *command;         /* job_info.command */
    const char *comment;         /* job_info.comment */
    int64_t restarts;            /* job_info.restart_cnt */
    bool requeue;                /* may be requeued */
    const char *source;          /* who says so: "slurmctld", "journal" or "slurmdbd" */
    const char *reservation;     /* job_info.resv_name */
    const char *wckey;           /* job_info.wckey */
    int64_t tag;                 /* job_info.alloc_sid */
    const char *staging;         /* its data: what is being moved, or how that went; NULL: none */
    int64_t staged_files;        /* moved so far, of the way that is under way or was last */
    int64_t stage_files;         /* of so many */
    int64_t staged_bytes, stage_bytes; /* the same in bytes */
};

enum sagent_kind {
    SAGENT_STRING,  /* const char * */
    SAGENT_INTEGER, /* int64_t */
    SAGENT_BOOLEAN, /* bool */
    SAGENT_STRINGS  /* struct sagent_strings */
};

struct sagent_field {
    const char *name;
    enum sagent_kind kind;
    size_t offset; /* in struct sagent_job */
    const char *help;
};

/* Describes struct sagent_job, for language bindings and generic output.  Static. */
const struct sagent_field *sagent_job_fields(size_t *ret_n);

struct sagent_jobs;

/* Jobs by id: 12 (of an array or a heterogeneous job all of it), 12_3, 12_[1-4], 12+1.  An id that
 * is unknown is no error: see sagent_jobs_missing().  At most 10,000 ids.
 * INVALID: one is no job id; LIMIT: the answer is too large for one reply. */
int sagent_get(struct sagent *s, const char *const *ids, size_t n, struct sagent_jobs **ret,
               struct sagent_error *err);

struct sagent_list_filter {
    const char *user;          /* of this user (name or uid); NULL: of the caller */
    bool all_users;            /* of everybody */
    const char *const *states; /* in one of these states, Slurm's words or squeue's short forms */
    size_t state_count;
    const char *partition; /* in this partition */
    const char *name;      /* with this name */
    int64_t max_jobs;      /* at most so many; 0: 1,000,000 */
    int64_t since;         /* not 0: also those that slurmctld has forgotten; of all that have ended
                            * those that did so at or after this (Unix seconds) */
    uintptr_t reserved[8]; /* zero */
};

/* Jobs by what they are; filter NULL is the caller's.  Asks page by page, so jobs that change
 * meanwhile may be in an older or a newer state; as_of is the oldest page's. */
int sagent_list(struct sagent *s, const struct sagent_list_filter *filter, struct sagent_jobs **ret,
                struct sagent_error *err);

size_t sagent_jobs_count(const struct sagent_jobs *j);
/* Job i, in the order of job_id (with since, what has ended first); NULL past the end.  Borrowed
 * from j. */
const struct sagent_job *sagent_jobs_at(const struct sagent_jobs *j, size_t i);
/* When all of this was true. */
int64_t sagent_jobs_as_of(const struct sagent_jobs *j);
/* slurmctld has not answered as it should since then: jobs may have changed unseen. */
bool sagent_jobs_stale(const struct sagent_jobs *j);
/* Why it is stale, or why the journal or slurmdbd could not be asked; NULL when nothing is to be
 * said. */
const char *sagent_jobs_note(const struct sagent_jobs *j);
/* "table" (the server's, loaded every second or so) or "slurmctld". */
const char *sagent_jobs_source(const struct sagent_jobs *j);
/* There are more than max_jobs. */
bool sagent_jobs_truncated(const struct sagent_jobs *j);
/* Ids that sagent_get() was asked for and that are unknown; NULL past the end. */
size_t sagent_jobs_missing_count(const struct sagent_jobs *j);
const char *sagent_jobs_missing(const struct sagent_jobs *j, size_t i);
void sagent_jobs_free(struct sagent_jobs *j);

struct sagent_script {
    const void *data; /* as Slurm keeps it; a NUL is behind it */
    size_t size;      /* bytes, without that NUL */
};

/* The batch script of a job; one that slurmctld has forgotten is asked of slurmdbd, where the site
 * stores scripts.  NOT_FOUND, DENIED, SLURM; UNSUPPORTED: the site does not store them. */
int sagent_script(struct sagent *s, const char *id, struct sagent_script **ret,
                  struct sagent_error *err);
/* The environment a job was submitted with: NAME=value, a line each (a value may have several),
 * which slurmdbd gives to its owner and to operators.  UNSUPPORTED: the site has no slurmdbd, or
 * does not store environments: says what the administrator can set.  A job that is held has not
 * been told to slurmdbd yet (NOT_FOUND). */
int sagent_environment(struct sagent *s, const char *id, struct sagent_script **ret,
                       struct sagent_error *err);
void sagent_script_free(struct sagent_script *p);

struct sagent_step {
    const char *id;     /* 12.0, 12.batch, 12_3.extern, 12+1.interactive */
    const char *job;    /* the job's id */
    const char *name;   /* what srun was called with; "batch" */
    const char *state;  /* in Slurm's words: RUNNING ... */
    const char *nodes;  /* Slurm host list */
    int64_t tasks;      /* number of tasks */
    int64_t cpus;       /* number of CPUs */
    int64_t start_time; /* Unix seconds */
    int64_t elapsed;    /* seconds it has run, without those it was suspended */
    int64_t time_limit; /* seconds; -1: none; 0: the job's */
    const char *tres;   /* allocated trackable resources */
};

struct sagent_steps {
    const struct sagent_step *steps; /* in the order of ids */
    size_t n;
    const char *const *missing; /* ids that slurmctld does not know */
    size_t missing_count;
    int64_t as_of; /* when this was true */
};

/* The steps that are there now of up to 100 jobs, as slurmctld lets the user see them; an array's
 * id means all its tasks.  A job that waits or has ended has none.  INVALID, SLURM_DOWN, LIMIT. */
int sagent_steps(struct sagent *s, const char *const *ids, size_t n, struct sagent_steps **ret,
                 struct sagent_error *err);
void sagent_steps_free(struct sagent_steps *p);

struct sagent_stored {
    const char *id;   /* the job, or the array's task */
    const char *from; /* path */
    const char *to;   /* URL */
    bool stored;      /* all that there was is stored there */
    const char *text; /* what there is to say of this end's outputs; NULL */
    bool required;    /* the job has failed when there was none.  False, and stored: when nothing
                         is at the URL, there was nothing to store */
};

struct sagent_staged {
    int64_t job_id;    /* the job, or its array */
    const char *state; /* SUBMITTING, SUBMITTED, FETCHING, RELEASING, RELEASED, DROPPING, OVER */
    const char *text;  /* what there is to say of its inputs; NULL */
    const struct sagent_input *inputs;
    size_t input_count;
    const struct sagent_stored *outputs; /* of each end so far */
    size_t output_count;
};

/* What was moved for a job, an array or one of its tasks, from where to where.  NOT_FOUND: there
 * was nothing to be moved, or it is older than what is kept. */
int sagent_staged(struct sagent *s, const char *id, struct sagent_staged **ret,
                  struct sagent_error *err);
void sagent_staged_free(struct sagent_staged *p);

/* Has it ended?  True for the phases SUCCEEDED, FAILED, CANCELLED, REVOKED and UNKNOWN.  What this
 * library does not know is no end. */
bool sagent_job_ended(const struct sagent_job *job);

/* ---- following jobs ---- */

enum sagent_until {
    SAGENT_UNTIL_END,   /* the job has ended, for good: not one that goes back to the queue */
    SAGENT_UNTIL_START, /* it has its nodes, or has ended */
    SAGENT_UNTIL_CHANGE /* anything about one of them is new, or all have ended already */
};

struct sagent_wait_request {
    const char *const *ids; /* as sagent_get() takes them; an array's id means all its tasks */
    size_t id_count;        /* 1 to 10,000 */
    enum sagent_until until;
    bool any;              /* until one of them has; otherwise until all have */
    int timeout_s;         /* return after so long in any case; 0: wait for ever */
    const char *cursor;    /* SAGENT_UNTIL_CHANGE: what has changed since that answer's
                              sagent_jobs_cursor(); NULL: from now on */
    uintptr_t reserved[8]; /* zero */
};

/* Waits until what is asked for has happened, or timeout_s (5 s more while a server hangs) is over.
 *
 * 0 with sagent_jobs_done(): it has happened.  The jobs are those that fulfil it, in the state the
 * server knows (an array's last 5 MiB of tasks at most); ids that nobody knows are in
 * sagent_jobs_missing() and were not waited for, so look there.
 * 0 without sagent_jobs_done(): the time is over.
 *
 * It goes on waiting over lost connections, restarts of the server, and a server that is busy or
 * has no munged: it tries again after 0.2 s, then ever later, up to every 10 s.  When the time is
 * over in such an outage, the outage's error is what it returns.  A server that has not yet
 * answered to this handle is not waited for.  While slurmctld is down it waits, too: a job is never
 * taken for ended because it is not there any more.  One that went and of which neither slurmctld,
 * the server nor slurmdbd knows how it ended has the phase UNKNOWN, and says why in outcome.
 * INVALID: one is no job id, or a cursor is not the server's. */
int sagent_wait(struct sagent *s, const struct sagent_wait_request *request,
                struct sagent_jobs **ret, struct sagent_error *err);
/* sagent_wait(): what was waited for has happened. */
bool sagent_jobs_done(const struct sagent_jobs *j);
/* sagent_wait() with SAGENT_UNTIL_CHANGE: where to go on; otherwise NULL. */
const char *sagent_jobs_cursor(const struct sagent_jobs *j);

struct sagent_events_request {
    const char *cursor;     /* what has happened since that answer's sagent_events_cursor(), with
                               the same filter; NULL: from now on */
    bool snapshot;          /* without cursor: begin with the present state of all that match */
    const char *user;       /* of this user (name or uid); NULL: of the caller */
    bool all_users;         /* of everybody */
    const char *const *ids; /* of these jobs; an array's id means all its tasks */
    size_t id_count;        /* 1,000 at most */
    const char *partition;  /* in this partition */
    const char *name;       /* with this name */
    int64_t tag;            /* with this sagent_job.tag; 0: any */
    int64_t limit;          /* events at most, up to 10,000; 0: 1,000 */
    int wait_ms;            /* wait so long for the first, 60,000 at most; 0: 60,000 */
    uintptr_t reserved[8];  /* zero */
};

struct sagent_event {
    const char *what; /* "new", "change", "end", "lost" (it has gone, and nobody says how it ended),
                         or "state" (of a snapshot); others may come */
    const char *was;  /* base state before; NULL: none */
    int64_t time;     /* when the server learned of it, by its clock */
    const struct sagent_job *job; /* after it */
};

struct sagent_events;

/* What has happened to jobs, in order.  One call is one answer: call again with its cursor, for
 * ever. Then each job's end comes exactly once, over lost connections and restarts of the server,
 * too; states in between may be left out when they follow each other fast.  When the server no
 * longer knows what has happened since the cursor, sagent_events_reset() is true: missed ends come
 * first, then the present state of all other jobs that match. An outage is met by new attempts
 * until the handle's timeout (60 s) and wait_ms are over, and not at all when the server has never
 * answered to this handle.  After an error call again with the same cursor. INVALID: an id, a user
 * or a cursor that the server does not know. */
int sagent_events(struct sagent *s, const struct sagent_events_request *request,
                  struct sagent_events **ret, struct sagent_error *err);
/* May be 0: nothing has happened in time. */
size_t sagent_events_count(const struct sagent_events *e);
/* Event i, in the order the server learned of them; NULL past the end.  Borrowed from e. */
const struct sagent_event *sagent_events_at(const struct sagent_events *e, size_t i);
/* What to ask with next.  Never NULL. */
const char *sagent_events_cursor(const struct sagent_events *e);
/* Events were missed. */
bool sagent_events_reset(const struct sagent_events *e);
/* As sagent_jobs_as_of() and so on. */
int64_t sagent_events_as_of(const struct sagent_events *e);
bool sagent_events_stale(const struct sagent_events *e);
const char *sagent_events_note(const struct sagent_events *e);
void sagent_events_free(struct sagent_events *e);

/* ---- output ---- */

struct sagent_log_request {
    const char *id;        /* one job, array task (12_3) or heterogeneous job */
    bool error;            /* stderr; otherwise stdout */
    int64_t offset;        /* from this byte on */
    int64_t tail;          /* instead: the last so many lines */
    const char *file;      /* `file` of the chunk before, to notice another file in its place */
    int64_t max;           /* bytes at most, up to 1 MiB; 0: 256 KiB */
    bool follow;           /* wait until there is more, or the log has ended */
    int wait_ms;           /* follow: so long; 0, and at most: half of the handle's timeout */
    uintptr_t reserved[8]; /* zero */
};

struct sagent_log_chunk {
    const void *data;    /* what the file holds from offset on, any bytes; go on at offset + size;
                            never NULL */
    size_t size;         /* 0: nothing (new) is there now */
    int64_t offset;      /* where data begins */
    int64_t file_size;   /* of the file at that time */
    const char *file;    /* which file it was, for the next request; NULL: there was none yet */
    bool restarted;      /* the file is another one, or was written anew: offset is 0 again */
    bool done;           /* the job has ended and its log has been read to the end */
    const char *path;    /* name of the file on the cluster */
    const char *same_as; /* "stdout": stderr goes to the same file, ask for stdout; no data */
    const char *note;    /* why there is no data: the job waits, the file is not there yet */
};

/* A piece of a job's output, read on the cluster as the user.  To follow a log, ask again with
 * offset + size and file of the chunk before, until done; all else is data or more patience.  With
 * follow an outage is met by new attempts until the handle's timeout is over, and not at all when
 * the server has never answered to this handle.
 * NOT_FOUND: no such job, or it has ended and there is no such file on the server's host; DENIED:
 * the user may not read it; INVALID: not one job, or not a regular file; SLURM_DOWN. */
int sagent_log(struct sagent *s, const struct sagent_log_request *request,
               struct sagent_log_chunk **ret, struct sagent_error *err);
void sagent_log_chunk_free(struct sagent_log_chunk *p);

/* ---- control ---- */

enum sagent_verb {
    SAGENT_CANCEL = 1,  /* end jobs, or send them a signal */
    SAGENT_HOLD,        /* keep them from starting until they are released, as scontrol uhold */
    SAGENT_RELEASE,     /* let held ones start */
    SAGENT_SUSPEND,     /* stop running ones where they are; Slurm lets operators alone do it */
    SAGENT_RESUME,      /* let suspended ones go on; as suspend */
    SAGENT_REQUEUE,     /* end running ones and queue them again */
    SAGENT_REQUEUEHOLD, /* the same, and hold them */
    SAGENT_NOTIFY,      /* write a message to their standard error */
    SAGENT_TOP,         /* put them in front of the user's others, where the site allows it */
    SAGENT_UPDATE       /* change what was said when they were submitted */
};

struct sagent_control_request {
    enum sagent_verb verb;
    const char *const *ids;      /* jobs, array tasks (12_3, 12_[1-4]) or het components (12+1) */
    size_t id_count;             /* 1 to 10,000 */
    const int64_t *submit_times; /* one for each id, or NULL: refuse (CONFLICT) a job that was not
                                    submitted then (sagent_job.submit_time); 0: whichever it is */
    const int64_t *restarts;     /* requeue, with submit_times: sagent_job.restarts; one that has
                                    more by now was requeued since, and is left as it is */
    const char *signal;  /* cancel: send this one instead of ending the job: a name, with or without
                            SIG, or a number */
    bool batch;          /* cancel: the signal to the batch script alone */
    bool full;           /* cancel: the signal to the batch script and its children, too */
    const char *message; /* notify: what to write */
    const struct sagent_pair *options; /* update: sbatch options by long name, without --; an empty
                                          value clears: see sagent_update_options() */
    size_t option_count;               /* 64 at most */
    /* Filters.  With one of them only jobs that fit all of them are meant, each by its own id:
     * those of the ids, or without ids any of the caller's. */
    bool me;                   /* the caller's, whatever they are */
    const char *user;          /* this user's (name or uid) */
    bool all_users;            /* everybody's */
    const char *const *states; /* in one of these states; NULL: in one in which there is something
                                  to do: hold PENDING, requeue RUNNING and so on */
    size_t state_count;
    const char *partition, *name, *account, *qos, *reservation, *wckey;
    const char *nodelist;   /* with one of these nodes, as Slurm writes them: node[1-4] */
    uintptr_t reserved[16]; /* zero */
};

struct sagent_control_result {
    const char *id;   /* as asked; with filters the job's */
    int code;         /* SAGENT_OK or why not */
    int slurm_errno;  /* Slurm's own number */
    const char *text; /* why not; with SAGENT_OK a remark (there was nothing to do) or NULL */
};

struct sagent_controlled {
    const struct sagent_control_result *results; /* one for each id, in the order asked; with
                                                    filters one for each job that fits, and for each
                                                    id of which none does */
    size_t n;
};

/* Does something to jobs, as the user: Slurm decides who may.  0 when the server has dealt with the
 * request: each id has its own result.  What is so already (ended, held) is SAGENT_OK with a
 * remark.  Filters choose among the jobs that the server knows when it is asked, page by page; with
 * slurmctld away that is SLURM_DOWN.
 *
 * When a connection is lost before the answer has come, it asks again if doing it twice is as doing
 * it once.  So it is with all but notify and signals; with a requeue because the run of the job
 * that is meant goes with it: as submit_times and restarts say, or as a sagent_get() of its own
 * does, where an id names one job (and ids are no more than 1,000).  Otherwise UNREACHABLE, and
 * always TIMEOUT: some of it may have been done, or may yet be. */
int sagent_control(struct sagent *s, const struct sagent_control_request *request,
                   struct sagent_controlled **ret, struct sagent_error *err);
void sagent_controlled_free(struct sagent_controlled *p);

struct sagent_update_option {
    const char *name; /* sbatch's long one */
    char letter;      /* sbatch's short one, or 0 */
    bool has_value;
    bool clears; /* by an empty value */
    const char *help;
};

/* What SAGENT_UPDATE can change, as this library knows it.  Static. */
const struct sagent_update_option *sagent_update_options(size_t *ret_n);

/* ---- the cluster ---- */

struct sagent_controller {
    const char *host; /* SlurmctldHost */
    const char *role; /* "primary" or "backup" */
    bool up;          /* it answers */
};

struct sagent_partition {
    const char *name;      /* PartitionName */
    bool is_default;       /* jobs go here unless they say otherwise */
    const char *state;     /* "UP", "DOWN", "DRAIN" or "INACTIVE" */
    int64_t max_time;      /* seconds; -1 is no limit */
    int64_t default_time;  /* seconds; -1 is no limit; 0: max_time */
    int64_t nodes;         /* number of nodes */
    int64_t cpus;          /* number of CPUs */
    const char *node_list; /* Slurm host list */
};

struct sagent_node_state {
    const char *state; /* Slurm's word in lower case, as sinfo prints it: "idle" */
    int64_t count;     /* nodes in it */
};

struct sagent_cluster {
    const char *cluster;       /* ClusterName */
    const char *slurm_version; /* of slurmctld; of the server's libslurm while that is down */
    int64_t as_of;             /* when this was true */
    const char *error;         /* why partitions and nodes are missing; NULL: they are not */
    const struct sagent_controller *controllers; /* in the order of slurm.conf */
    size_t controller_count;
    const struct sagent_partition *partitions; /* as the user may see them */
    size_t partition_count;
    const struct sagent_node_state *nodes;
    size_t node_count;
};

int sagent_info(struct sagent *s, struct sagent_cluster **ret, struct sagent_error *err);
void sagent_cluster_free(struct sagent_cluster *p);

#ifdef __cplusplus
}
#endif

#endif
