/* SPDX-License-Identifier: GPL-3.0-or-later */
/* session.h: who is who: HELLO to session, sealed frames to calls, users and their caps
 *
 * Belongs to the loop.
 */
#ifndef AGENTD_SESSION_H
#define AGENTD_SESSION_H

#include "agentd/agentd.h"
#include "agentd/rates.h"
#include "agentd/watch.h"
#include "common/msg.h"

struct listen_call;
struct sessions;

/* A uid that has, or lately had, a session. */
struct user {
    uint32_t uid, gid;
    char name[256];
    unsigned rights;           /* enum op_right, as auth said last */
    char no_jobs[200];         /* why RIGHT_JOBS is not among them */
    size_t sessions;           /* open ones */
    size_t calls;              /* requests under way; a user with any is kept */
    size_t held;               /* requests held back (held.h), not counted in calls */
    size_t held_keys;          /* what they wait for */
    size_t call_bytes;         /* their bodies */
    struct rates rates;        /* what they may ask for yet */
    struct watch_mark seen_by; /* the loads that show this user's own changes */
    int64_t seen_us;           /* the last request, by a clock that cannot be set; 0: none */
    int64_t failures_ms;       /* the second in which these failed */
    unsigned failures;         /* requests, of which the log shows the first */
    unsigned unlogged;         /* and those it does not */
    struct user *next;
};
/* Says in the log how many it did not show. */
void user_log_rest(struct user *u);

struct sessions *sessions_new(struct agentd *a, struct err *err);
void sessions_free(struct sessions *s);
size_t sessions_count(const struct sessions *s);
size_t sessions_users(const struct sessions *s);
/* fn is called for each user; for each session of one, with what sessions_info() gives. */
void sessions_each_user(const struct sessions *s, void (*fn)(void *arg, const struct user *u),
                        void *arg);

/* The uid of the session that the frame names, which nothing has proven yet; -1: none. */
int64_t sessions_whose(const struct sessions *s, struct bytes frame);
/* A whole frame from the network; answers it sooner or later. */
void sessions_frame(struct sessions *s, struct listen_call *lc, struct bytes frame);

/* What a call needs to know of its session. */
struct session_info {
    int64_t since, ends; /* Unix seconds */
    char origin[64];     /* of its HELLO */
    char munge_host[64];
};
/* How a session is called in the log: the beginning of its id. */
enum { SESSION_NAME = 17 };
const char *session_name(const uint8_t id[SEAL_ID], char out[SESSION_NAME]);
void sessions_each(const struct sessions *s, const struct user *u,
                   void (*fn)(void *arg, const char *name, const struct session_info *info),
                   void *arg);
/* Forgets the user's sessions, all but keep (which may be NULL); gives how many.  What is held back
 * for them is let go first, with the answer that the server stops: their client comes again. */
size_t sessions_drop(struct sessions *s, const struct user *u, const uint8_t *keep);
/* Forgets the session: its client is done.  Replies that it is still owed are not sent. */
void sessions_end(struct sessions *s, const uint8_t id[SEAL_ID]);
/* False when the session is not known any more. */
bool sessions_info(const struct sessions *s, const uint8_t id[SEAL_ID], struct session_info *out);
/* Seals and sends the reply to the request with that counter: a 4-byte plaintext head (code) and
 * the body.  A session past its end still gets its replies. */
void sessions_reply(struct sessions *s, struct listen_call *lc, const uint8_t id[SEAL_ID],
                    uint64_t counter, enum err_code code, struct bytes body);

#endif
