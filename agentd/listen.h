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
#include "common/wire.h"

struct sd_event;
struct listen;
/* One request that waits for its answer. */
struct listen_call;

/* frame is borrowed until the call is answered. */
typedef void (*listen_frame_fn)(void *arg, struct listen_call *call, struct bytes frame);

/* Starts to listen where conf says.  ERR_INVALID names an address that cannot be had. */
struct listen *listen_new(struct sd_event *loop, const struct agentd_conf *conf,
                          listen_frame_fn on_frame, void *arg, struct err *err);
/* Ends all connections; unanswered calls must not be used afterwards. */
void listen_free(struct listen *l);

/* Where the frame came from: a numeric address, or "local" for the unix socket. */
const char *listen_origin(const struct listen_call *call);
/* The connection has authenticated itself: it may stay. */
void listen_welcome(struct listen_call *call);
/* Room for a reply of size bytes, in place of the request's frame; NULL without memory.  Then
 * fill it and listen_send(). */
uint8_t *listen_reply(struct listen_call *call, size_t size);
void listen_send(struct listen_call *call);
/* Ends the connection instead of answering. */
void listen_drop(struct listen_call *call);

#endif
