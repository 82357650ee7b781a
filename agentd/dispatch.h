/* SPDX-License-Identifier: GPL-3.0-or-later */
/* dispatch.h: one request from its opened frame to its one reply; ops.def to handlers
 *
 * Order for every request: length, known operation, body's size, the user's cap, body decoded by
 * its handler and fully used, run.  Belongs to the loop.
 */
#ifndef AGENTD_DISPATCH_H
#define AGENTD_DISPATCH_H

#include "agentd/session.h"
#include "common/ops.h"

/* One request.  A handler answers it exactly once with call_reply() or call_fail(), at once or
 * later; that frees it. */
struct call {
    struct agentd *a;
    struct user *user;
    struct listen_call *lc;
    const struct op_entry *op;
    uint8_t session[SEAL_ID];
    uint64_t counter;
    int64_t started_us;
    struct bytes body;  /* the request's msgpack body, owned */
    struct arena arena; /* what the body was unpacked into, and whatever else lives as long */
    void *state;        /* the handler's own, from the arena */
    char what[128];     /* for the log: the job it was about */
    char request[33];   /* for the log: a submit's request id in hex */
    enum err_code code; /* for the log, of a call that is answered: what became of the job */
};

/* Opened plaintext, borrowed.  Answers in every case. */
void dispatch(struct agentd *a, struct listen_call *lc, struct user *user,
              const uint8_t session[SEAL_ID], uint64_t counter, struct bytes plain);

/* Begins with the call: for paced.h, which may keep it for a while before. */
void call_run(struct call *c);

/* Decodes the call's body as its operation's request type, strictly. */
int call_unpack(struct call *c, void *body, struct err *err);
/* The same where nothing is asked for; false: it has been answered. */
bool call_unpack_empty(struct call *c);
/* body is a struct of the operation's reply type. */
void call_reply(struct call *c, const void *body);
/* The same for a body that is packed already. */
void call_reply_packed(struct call *c, struct bytes body);
void call_fail(struct call *c, const struct err *err);
struct worker_answer;
/* A worker_done_fn whose arg is a call: answers with what the worker gave, be it an error.  It goes
 * to the user whose worker it is, and to nobody else. */
void call_pass_on(void *c, const struct worker_answer *answer);
/* Frees the body and all that is in the arena: for a call that will wait. */
void call_trim(struct call *c);
/* Which operation it is, for metrics.h. */
size_t call_op(const struct call *c);
/* For the log's line about the call. */
void call_about(struct call *c, const char *what);
/* A line of its own about one of several jobs. */
void call_log(const struct call *c, const char *what, enum err_code code);

#define OP(id, name, number, who, body_max, request, reply, help) void op_##id(struct call *c);
#include "common/ops.def"
#undef OP

#endif
