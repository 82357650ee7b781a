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
void handle_done(struct handle_call *call);

/* Empties *out at the begin of a public call; NULL is fine. */
void handle_begin(struct sagent_error *out);
/* Ends one that has failed.  Returns -1. */
int handle_fail(const struct err *err, struct sagent_error *out);
/* ERR_INVALID unless the n words are zero. */
int handle_reserved(const uintptr_t *reserved, size_t n, struct err *err);

struct csession *handle_session(struct sagent *s);
const struct client_conf *handle_conf(const struct sagent *s);

#endif
