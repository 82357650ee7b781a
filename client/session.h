/* SPDX-License-Identifier: GPL-3.0-or-later */
/* session.h: csession - one authenticated session: HELLO and WELCOME, then sealed requests
 *
 * Belongs to its handle's thread.  It begins with the first call, and anew before its lifetime is
 * over and when the server says that it does not know it.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include "common/err.h"
#include "common/ops.h"
#include "common/wire.h"

/* Borrowed for the life of the session. */
struct csession_settings {
    const char *address;
    const char *cluster;      /* "": any */
    const char *munge_socket; /* "": munge's own */
    int64_t server_uid;
    int stop_fd; /* see conn.h */
};

struct csession;

/* NULL without memory. */
struct csession *csession_new(const struct csession_settings *settings);
/* Tells the server when it can be told at once.  NULL is fine. */
void csession_free(struct csession *s);

/* One request and its reply's body.  *ret_plain is the caller's to free (.p); *ret_body is borrowed
 * from it.  An error of OP_job_submit means that nothing was submitted now, but for ERR_IN_DOUBT.
 */
int csession_call(struct csession *s, enum op_number op, struct bytes body, int timeout_ms,
                  struct bytes *ret_plain, struct bytes *ret_body, struct err *err);

/* Begins a session when there is none that lasts. */
int csession_ready(struct csession *s, int timeout_ms, struct err *err);
/* The next call begins with a HELLO. */
void csession_forget(struct csession *s);
/* Which journal the server had at the last WELCOME: SEAL_ID bytes. */
const uint8_t *csession_instance(const struct csession *s);
/* Was the last call's error the server's own answer to it, under the session? */
bool csession_replied(const struct csession *s);
/* Was it interrupted, whatever its error says? */
bool csession_interrupted(const struct csession *s);

/* Of the session there is; 0 before the first. */
uint32_t csession_lifetime_s(const struct csession *s);

#endif
