/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sbatch.h: sbatch's options and #SBATCH lines, parsed into our own types
 *
 * Pure: no libslurm, no file system, no user database.  Used by the worker, in both roles, as the
 * user.  One row an option in sbatch_options.def, what they set in sbatch_fields.def.
 */
#ifndef AGENTD_SBATCH_H
#define AGENTD_SBATCH_H

#include <stdint.h>

#include "common/msg.h"

/* "not said" for numbers, where 0 is a value */
#define SBATCH_UNSET INT64_MIN
/* UNLIMITED / INFINITE */
#define SBATCH_INFINITE INT64_MAX

/* ---- our own words: the adapter turns them into Slurm's ---- */

enum sbatch_shared {
    SBATCH_SHARED_NONE, /* --exclusive */
    SBATCH_SHARED_OK,
    SBATCH_SHARED_USER,
    SBATCH_SHARED_MCS
};

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

enum sbatch_flag {
    SBATCH_SPREAD_JOB = 1 << 0,
    SBATCH_USE_MIN_NODES = 1 << 1,
    SBATCH_GRES_DISABLE_BIND = 1 << 2,
    SBATCH_GRES_ENFORCE_BIND = 1 << 3,
};

enum sbatch_warn { SBATCH_WARN_BATCH = 1 << 0, SBATCH_WARN_RESERVATION = 1 << 1 };

enum sbatch_open_mode { SBATCH_APPEND, SBATCH_TRUNCATE };

enum sbatch_profile {
    SBATCH_PROFILE_ENERGY = 1 << 0,
    SBATCH_PROFILE_TASK = 1 << 1,
    SBATCH_PROFILE_LUSTRE = 1 << 2,
    SBATCH_PROFILE_NETWORK = 1 << 3,
    SBATCH_PROFILE_NONE = 1 << 4,
    SBATCH_PROFILE_ALL = 1 << 5,
};

enum sbatch_mem_bind {
    SBATCH_MEM_VERBOSE = 1 << 0,
    SBATCH_MEM_NONE = 1 << 1,
    SBATCH_MEM_RANK = 1 << 2,
    SBATCH_MEM_MAP = 1 << 3,
    SBATCH_MEM_MASK = 1 << 4,
    SBATCH_MEM_LOCAL = 1 << 5,
    SBATCH_MEM_SORT = 1 << 6,
    SBATCH_MEM_PREFER = 1 << 7,
};

/* SBATCH_DIST_ARBITRARY and SBATCH_DIST_PLANE: of nodes; SBATCH_DIST_FCYCLIC: of sockets and cores
 */
enum sbatch_dist {
    SBATCH_DIST_BLOCK,
    SBATCH_DIST_CYCLIC,
    SBATCH_DIST_FCYCLIC,
    SBATCH_DIST_ARBITRARY,
    SBATCH_DIST_PLANE
};

/* instead of kHz, and governors */
enum sbatch_freq {
    SBATCH_FREQ_LOW = -20,
    SBATCH_FREQ_MEDIUM,
    SBATCH_FREQ_HIGHM1,
    SBATCH_FREQ_HIGH,
    SBATCH_GOV_CONSERVATIVE,
    SBATCH_GOV_ONDEMAND,
    SBATCH_GOV_PERFORMANCE,
    SBATCH_GOV_POWERSAVE,
    SBATCH_GOV_SCHEDUTIL,
    SBATCH_GOV_USERSPACE,
};

/* What a job, or one component of a heterogeneous one, asks for: texts NULL and numbers
 * SBATCH_UNSET when not said. */
struct sbatch {
#define TEXT(scope, member) const char *member;
#define NUMBER(scope, member) int64_t member;
#define SENT_TEXT TEXT
#define SENT_NUMBER NUMBER
#include "agentd/sbatch_fields.def"
#undef TEXT
#undef NUMBER
#undef SENT_TEXT
#undef SENT_NUMBER
};

/* Nothing said. */
extern const struct sbatch sbatch_unsaid;

struct sbatch_source {
    struct bytes script;
    const struct pairs *defaults; /* of SBATCH_* variables; NULL: none */
    const struct pairs *options;  /* one for each component that the request has */
    size_t n_options;             /* 0 is as one without any */
    size_t max_script;
    int64_t now;                              /* what "now+1hour" counts from */
    const char *(*cluster)(const void *conf); /* the name of the one that is served, asked for when
                                                 it counts; NULL, or gives NULL: not to be had */
    const void *conf;
};

/* The components of a heterogeneous job: Slurm's own limit. */
enum { SBATCH_MAX_COMPONENTS = 128 };

struct sbatch_jobs {
    struct sbatch *v; /* a job, or the components of a heterogeneous one */
    size_t n;
};

/* Checks the script as sbatch does (empty, no #! line, DOS line ends, NUL bytes, longer than
 * max_script), reads its #SBATCH lines with sbatch's quoting and stop rules, and lays defaults over
 * them, and the request's options over those.  As with sbatch the last set of options stands for
 * further components that the script has.  Errors are ERR_INVALID and name option and value (and
 * the script's line), ERR_UNSUPPORTED for what this server does not offer; never is an option
 * ignored.  Strings live in the arena. */
int sbatch_parse(const struct sbatch_source *in, struct arena *arena, struct sbatch_jobs *out,
                 struct err *err);

/* --wrap: the script it makes, or an empty one when there is no such option. */
int sbatch_wrap(const struct sbatch_source *in, struct arena *arena, struct bytes *ret,
                struct err *err);
/* --bbf: a script with these lines behind its first. */
int sbatch_add_lines(struct bytes script, struct bytes lines, struct arena *arena,
                     struct bytes *ret, struct err *err);

/* The names in a file of --nodefile, with commas: NAME*N is N times NAME, # begins a comment.  NULL
 * and an error without any. */
const char *sbatch_node_list(struct bytes text, struct arena *arena, struct err *err);
/* The variables in a file of --export-file: strings NAME=value, a NUL behind each. */
int sbatch_exported(struct bytes text, struct arena *arena, struct pairs *out, struct err *err);

/* The nodes that nodelist names, as the scheduler reads it. */
struct sbatch_nodes {
    const char *distinct; /* each once */
    int64_t count, distinct_count;
};

/* What sbatch concludes once all is read: tasks from nodes, nodes from tasks and from named nodes,
 * and what does not go together.  nodes: NULL without nodelist. */
int sbatch_settle(struct sbatch *job, const struct sbatch_nodes *nodes, struct err *err);

struct sbatch_env_source {
    const struct pairs *offered;  /* what --export picks from */
    const struct pairs *exported; /* --export-file's; NULL: none */
    bool login;                   /* start from the login environment */
    bool export_none;             /* that and nothing else, unless --export is said */
    const char *submit_dir, *submit_host;
};

/* The job's environment: the request's variables as --export says, then what sbatch adds itself:
 * SLURM_SUBMIT_DIR, SLURM_JOB_NAME, SLURM_NTASKS and kin, those of a heterogeneous job's components
 * with _HET_GROUP_N behind, SLURM_GET_USER_ENV=1 when login is set or --export is NONE or a list.
 * "NAME=value" strings, never none. */
int sbatch_environment(const struct sbatch_jobs *jobs, const struct sbatch_env_source *in,
                       struct arena *arena, struct strs *out, struct err *err);

/* Was the option, by its long name, said of the job?  *ret_text is its value, when that is a text.
 */
bool sbatch_said(const struct sbatch *job, const char *option, const char **ret_text);

/* The options known here, for --help and documents: NULL-terminated names. */
extern const char *const sbatch_option_names[];

#endif
