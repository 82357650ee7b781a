/* SPDX-License-Identifier: GPL-3.0-or-later */
/* session.h: who is who: HELLO to session, sealed frames to calls, users and their caps
 *
 * Belongs to the loop.
 */
#ifndef AGENTD_SESSION_H
#define AGENTD_SESSION_H

#include "agentd/agentd.h"
#include "agentd/watch.h"
#include "common/msg.h"

struct listen_call;
struct sessions;

/* A uid that has, or lately had, a session. */
struct user {
    uint32_t uid, gid;
    char name[256];
    size_t sessions;           /* open ones */
    size_t calls;              /* requests under way; a user with any is kept */
    size_t held;               /* requests held back (held.h), not counted in calls */
    size_t held_keys;          /* what they wait for */
    size_t call_bytes;         /* their bodies */
    struct watch_mark seen_by; /* the loads that show this user's own changes */
    struct user *next;
};

struct sessions *sessions_new(struct agentd *a, struct err *err);
void sessions_free(struct sessions *s);
size_t sessions_count(const struct sessions *s);

/* The uid of the session that the frame names, which nothing has proven yet; -1: none. */
int64_t sessions_whose(const struct sessions *s, struct bytes frame);
/* A whole frame from the network; answers it sooner or later. */
void sessions_frame(struct sessions *s, struct listen_call *lc, struct bytes frame);

/* What a call needs to know of its session. */
struct session_info {
    int64_t ends; /* Unix seconds */
    char munge_host[64];
};
/* Forgets the session: its client is done.  Replies that it is still owed are not sent. */
void sessions_end(struct sessions *s, const uint8_t id[SEAL_ID]);
/* False when the session is not known any more. */
bool sessions_info(const struct sessions *s, const uint8_t id[SEAL_ID], struct session_info *out);
/* Seals and sends the reply to the request with that counter: a 4-byte plaintext head (code) and
 * the body.  A session past its end still gets its replies. */
void sessions_reply(struct sessions *s, struct listen_call *lc, const uint8_t id[SEAL_ID],
                    uint64_t counter, enum err_code code, struct bytes body);

#endif
