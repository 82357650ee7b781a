/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sbatch.h: sbatch's options and #SBATCH lines, parsed into our own types
 *
 * Pure: no libslurm, no file system, no user database.  Used by the worker, in both roles, as the
 * user.  One row an option in sbatch_options.def.
 */
#ifndef AGENTD_SBATCH_H
#define AGENTD_SBATCH_H

#include <stdint.h>

#include "common/msg.h"

/* "not said" for the numbers below, where 0 is a value */
#define SBATCH_UNSET INT64_MIN
/* UNLIMITED / INFINITE */
#define SBATCH_INFINITE INT64_MAX

enum sbatch_exclusive {
    SBATCH_EXCLUSIVE_UNSET,
    SBATCH_EXCLUSIVE_NODE,
    SBATCH_EXCLUSIVE_USER,
    SBATCH_EXCLUSIVE_MCS
};

/* bits of mail_type: the adapter turns them into Slurm's */
enum sbatch_mail {
    SBATCH_MAIL_BEGIN = 1 << 0,
    SBATCH_MAIL_END = 1 << 1,
    SBATCH_MAIL_FAIL = 1 << 2,
    SBATCH_MAIL_REQUEUE = 1 << 3,
    SBATCH_MAIL_TIME100 = 1 << 4, /* TIME_LIMIT */
    SBATCH_MAIL_TIME90 = 1 << 5,
    SBATCH_MAIL_TIME80 = 1 << 6,
    SBATCH_MAIL_TIME50 = 1 << 7,
    SBATCH_MAIL_STAGE_OUT = 1 << 8,
    SBATCH_MAIL_ARRAY_TASKS = 1 << 9,
    SBATCH_MAIL_INVALID_DEPEND = 1 << 10,
};

/* What a job asks for, as said: NULL, SBATCH_UNSET and 0 of an enum mean not said. */
struct sbatch {
    const char *job_name, *partition, *account, *qos, *constraint, *gres;
    const char *std_out, *std_err, *std_in;
    const char *array;      /* checked expression: 1-10:2%3 */
    const char *dependency; /* checked expression */
    const char *comment, *chdir, *export_env, *mail_user;
    int64_t time_limit_min; /* minutes, rounded up as sbatch does; SBATCH_INFINITE */
    int64_t min_nodes, max_nodes;
    int64_t ntasks, cpus_per_task;
    int64_t mem_per_node_mb, mem_per_cpu_mb; /* MiB; 0 is all of the node's */
    int64_t begin;                           /* Unix seconds */
    int64_t requeue;                         /* 0 or 1 */
    int64_t mail_type;                       /* enum sbatch_mail bits; 0 is NONE */
    enum sbatch_exclusive exclusive;
    bool hold;
};

/* Checks the script as sbatch does (empty, no #! line, DOS line ends, NUL bytes, longer than
 * max_script), reads its #SBATCH lines with sbatch's quoting and stop rules, and lays the request's
 * options over them.  now is what "now+1hour" counts from.  Errors are ERR_INVALID and name option
 * and value (and the script's line), ERR_UNSUPPORTED for options of sbatch this server does not
 * offer; never is one ignored.  Strings live in the arena. */
int sbatch_parse(struct bytes script, const struct pairs *options, size_t max_script, int64_t now,
                 struct arena *arena, struct sbatch *out, struct err *err);

/* The job's environment: the request's variables as --export says (in->export_env), then what
 * sbatch adds itself: SLURM_SUBMIT_DIR, SLURM_SUBMIT_HOST, SLURM_JOB_NAME, SLURM_PRIO_PROCESS,
 * SLURM_UMASK 0022, SLURM_NTASKS and kin, SLURM_GET_USER_ENV=1 when login is set or --export is
 * NONE or a list.  "NAME=value" strings, never none. */
int sbatch_environment(const struct sbatch *in, const struct pairs *offered, bool login,
                       const char *work_dir, const char *submit_host, struct arena *arena,
                       struct strs *out, struct err *err);

/* The options known here, for --help and documents: NULL-terminated names. */
extern const char *const sbatch_option_names[];

#endif
