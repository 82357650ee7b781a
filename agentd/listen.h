/* SPDX-License-Identifier: GPL-3.0-or-later */
/* listen.h: the sockets clients come in by (only listen.c has nng)
 *
 * nng's own threads receive; what they got is posted to the loop, where everything below is called.
 * Each frame is answered exactly once, by listen_send() or listen_drop(), in any order and at any
 * later time.
 */
#ifndef AGENTD_LISTEN_H
#define AGENTD_LISTEN_H

#include "agentd/conf.h"
#include "agentd/metrics.h"
#include "common/wire.h"

struct sd_event;
struct listen;
/* One request that waits for its answer. */
struct listen_call;

/* frame is borrowed until the call is answered. */
typedef void (*listen_frame_fn)(void *arg, struct listen_call *call, struct bytes frame);
/* The uid that the frame says it is of, unproven; -1: none that is known. */
typedef int64_t (*listen_whose_fn)(void *arg, struct bytes frame);

/* Can it be listened at tcp (address:port) now?  Nobody is served there.  *ret_in_use: another
 * program does already. */
int listen_try(const char *tcp, bool *ret_in_use, struct err *err);
/* Starts to listen where conf says.  ERR_INVALID names an address that cannot be had. */
struct listen *listen_new(struct sd_event *loop, const struct agentd_conf *conf,
                          listen_frame_fn on_frame, listen_whose_fn whose, void *arg,
                          struct err *err);
/* Ends all connections; unanswered calls must not be used afterwards. */
void listen_free(struct listen *l);

/* Where the frame came from: a numeric address, or "local:UID" for the unix socket. */
const char *listen_origin(const struct listen_call *call);
/* What limits count together: the same, but for IPv6 its /64 network. */
const char *listen_key(const struct listen_call *call);
/* The frame has been copied: its memory is given back while the call goes on. */
void listen_done_with_frame(struct listen_call *call);
/* Bytes of answers that the connections of a user have not taken; uid -1: all connections. */
size_t listen_owed(struct listen *l, int64_t uid);
/* How much of everything there is. */
struct listen_use {
    size_t connections, frames; /* frames wait for their turn */
    uint64_t gone;              /* connections that were */
};
void listen_use(struct listen *l, struct listen_use *out);
/* Connections that were ended, by reason (sheds.def). */
void listen_sheds(struct listen *l, int64_t out[DIM_shed_N]);
/* The most connections that one key has (see listen_key()), and which. */
size_t listen_most(struct listen *l, char *key, size_t size);
/* The connection has authenticated itself: it may stay. */
void listen_welcome(struct listen_call *call);
/* Room for a reply of size bytes, in place of the request's frame; NULL without memory.  Then
 * fill it and listen_send(). */
uint8_t *listen_reply(struct listen_call *call, size_t size);
/* uid: whose the answer is; -1: of nobody who is known. */
void listen_send(struct listen_call *call, int64_t uid);
/* Ends the connection instead of answering. */
void listen_drop(struct listen_call *call);
/* The same, because its user has too many requests without an answer. */
void listen_drop_greedy(struct listen_call *call);

#endif
