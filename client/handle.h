/* SPDX-License-Identifier: GPL-3.0-or-later */
/* handle.h: struct sagent, and what every public call has in common */
#ifndef CLIENT_HANDLE_H
#define CLIENT_HANDLE_H

#include "client/conf.h"
#include "client/session.h"
#include "client/slurmagent.h"
#include "common/msg.h"

struct sagent;

/* A call: its reply's body is good until handle_done(). */
struct handle_call {
    struct bytes plain, body;
};

/* Packs the request, asks, and gives the reply's body. */
int handle_ask(struct sagent *s, enum op_number op, const struct msg_type *type,
               const void *request, struct handle_call *ret, struct err *err);
/* The same in so long and no longer. */
int handle_ask_within(struct sagent *s, int64_t ms, enum op_number op, const struct msg_type *type,
                      const void *request, struct handle_call *ret, struct err *err);
/* One attempt with a time limit of its own, for requests that the server holds. */
int handle_ask_for(struct sagent *s, int timeout_ms, enum op_number op, const struct msg_type *type,
                   const void *request, struct handle_call *ret, struct err *err);
/* Adds to an error that no server was configured, when that is why none was reached. */
void handle_explain(const struct sagent *s, struct err *err);
void handle_done(struct handle_call *call);
/* Longest wait of a call that changes nothing. */
int handle_timeout_ms(const struct sagent *s);
/* Longest wait of a submit, all tries together. */
int handle_submit_timeout_ms(const struct sagent *s);
/* Has a server ever answered to this handle?  Then an outage is one, and not a wrong address. */
bool handle_has_been_served(const struct sagent *s);
/* Tells the program of an outage; err NULL: it is over, if there was one. */
void handle_outage(struct sagent *s, const struct err *err);
/* Waits; ERR_INTERRUPTED after sagent_interrupt(). */
int handle_pause(struct sagent *s, int64_t ms, struct err *err);

/* Empties *out at the begin of a public call; NULL is fine. */
void handle_begin(struct sagent_error *out);
/* Ends one that has failed.  Returns -1. */
int handle_fail(const struct err *err, struct sagent_error *out);
/* ERR_INVALID unless the n words are zero. */
int handle_reserved(const uintptr_t *reserved, size_t n, struct err *err);

/* sbatch's options as a request has them.  ERR_INVALID: one has no name, or comes twice. */
int handle_take_options(const struct sagent_pair *in, size_t n, struct arena *arena,
                        struct pairs *out, struct err *err);
/* ERR_INVALID when there is none, or one is empty. */
int handle_check_ids(const char *const *ids, size_t n, struct err *err);

struct csession *handle_session(struct sagent *s);
const struct client_conf *handle_conf(const struct sagent *s);

#endif
