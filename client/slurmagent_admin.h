/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmagent_admin.h: what a server counts, who is there, and what its administrators may do
 *
 * For those whom the server's agentd.conf names: stats_users may read the statistics, admins do all
 * of this, and root, over the server's own unix socket.  Others are DENIED.  A server that is older
 * than these calls answers UNSUPPORTED.  What is said of errors, structs and threads in
 * slurmagent.h holds here too.
 */
#ifndef SLURMAGENT_ADMIN_H
#define SLURMAGENT_ADMIN_H

#include "slurmagent.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- statistics ---- */

/* One series of a family. */
struct sagent_sample {
    const struct sagent_pair *labels;
    size_t label_count;
    int64_t value;          /* of a histogram: the sum */
    const int64_t *buckets; /* of a histogram: how many were at most each bound and above the one
                               before, and last those above all bounds */
    size_t bucket_count;
};

struct sagent_family {
    const char *name; /* as Prometheus has it, without slurm_agent_ in front */
    const char *kind; /* counter, gauge or histogram */
    const char *help;
    int64_t divisor; /* values and bounds divided by it are in the unit that the name says */
    const int64_t *bounds;
    size_t bound_count;
    const struct sagent_sample *samples; /* those that have counted anything */
    size_t sample_count;
};

struct sagent_stats {
    const char *version; /* of slurm-agentd */
    const char *cluster;
    const char *slurm_version;
    int64_t server_time;
    const struct sagent_family *families;
    size_t family_count;
};

/* Counters begin at 0 with each broker, as broker_start_time_seconds says. */
int sagent_stats(struct sagent *s, struct sagent_stats **ret, struct sagent_error *err);
void sagent_stats_free(struct sagent_stats *p);

/* ---- limits ---- */

struct sagent_limit {
    const char *name; /* the setting in agentd.conf */
    const char *help;
    const char *unit; /* MiB; NULL: things are counted */
    int64_t used;     /* of what each user or address may have: the one who has most */
    int64_t max;
    const char *who; /* who has most; NULL: it is of all together, or nobody has any */
};

struct sagent_limits {
    const struct sagent_limit *limits;
    size_t n;
};

int sagent_limits(struct sagent *s, struct sagent_limits **ret, struct sagent_error *err);
void sagent_limits_free(struct sagent_limits *p);

/* ---- who is there ---- */

struct sagent_session_user {
    const char *user;
    int64_t uid;
    const char *const *rights; /* of JOBS, STATS and ADMIN */
    size_t right_count;
    int64_t sessions;
    int64_t requests; /* under way */
    int64_t held;     /* held back until something happens */
    int64_t submits;  /* that are open, or whose jobs are */
    int64_t seen;     /* when the last request came */
};

struct sagent_session {
    const char *id;         /* the beginning of it, as in the server's log */
    const char *origin;     /* the address its first message came from, or local:UID */
    const char *munge_host; /* the address that munged put into its credential */
    int64_t since, ends;
};

struct sagent_sessions {
    const struct sagent_session_user *users; /* the most active first */
    size_t user_count;
    const struct sagent_session *sessions; /* of the user that was asked for; the newest first */
    size_t session_count;
    int64_t more; /* how many others there are */
};

/* user: a name or uid, whose sessions are then listed, NOT_FOUND when there are none; NULL: all
 * users. */
int sagent_sessions(struct sagent *s, const char *user, struct sagent_sessions **ret,
                    struct sagent_error *err);
void sagent_sessions_free(struct sagent_sessions *p);

/* ---- what is done ---- */

/* Ends the sessions of a user, by name or uid; *ret (may be NULL) is how many there were.  Whoever
 * may still use the server comes back by the next call, and loses no submit by it. */
int sagent_drop_sessions(struct sagent *s, const char *user, int64_t *ret,
                         struct sagent_error *err);
/* draining: no new submits are taken, until it is called with false; *ret (may be NULL) is how many
 * are under way. */
int sagent_drain(struct sagent *s, bool draining, int64_t *ret, struct sagent_error *err);
/* Reads agentd.conf anew; *ret (may be NULL) is how many settings have changed.  When any has,
 * another broker takes over, and sessions end.  INVALID says what is wrong with the file, and then
 * nothing changes. */
int sagent_reload(struct sagent *s, int64_t *ret, struct sagent_error *err);

#ifdef __cplusplus
}
#endif

#endif
