/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pipes.h: connections, and what each of them and each user has the server keep
 *
 * nng tells of connections on its own threads, so all of this is under one lock.  Whoever connects
 * costs memory before he has said who he is, and whoever does not read his replies goes on costing
 * it: both are counted here.
 */
#ifndef AGENTD_PIPES_H
#define AGENTD_PIPES_H

#include "agentd/conf.h"
#include "agentd/metrics.h"
#include "common/cleanup.h"

enum { PIPES_ORIGIN = 64 };

struct pipes;

struct pipes *pipes_new(const struct agentd_conf *conf);
void pipes_free(struct pipes *p); /* NULL is fine */

/* A new connection; origin is who it is told to be, key what is counted together (an address, an
 * IPv6 network, a local uid).  False: there are too many, close it. */
bool pipes_add(struct pipes *p, uint32_t id, const char *origin, const char *key);
void pipes_remove(struct pipes *p, uint32_t id);
/* Its user is known: it may stay, and ask for more at once. */
void pipes_welcome(struct pipes *p, uint32_t id);
/* It is to be closed: nothing is taken from it any more, and pipes_idle() gives it. */
void pipes_doom(struct pipes *p, uint32_t id);
/* "gone" when it has. */
void pipes_origin(struct pipes *p, uint32_t id, char origin[PIPES_ORIGIN], char key[PIPES_ORIGIN]);

/* A frame came from it.  False: too many are unanswered, close it. */
bool pipes_received(struct pipes *p, uint32_t id);
/* Its user has too many: it is closed for that. */
void pipes_greedy(struct pipes *p, uint32_t id);
/* Its answer goes to nng, for uid (-1: nobody's).  False: it does not read, close it. */
bool pipes_sending(struct pipes *p, uint32_t id, int64_t uid, size_t bytes);
/* The frame is dealt with: the answer has gone (bytes as above), or there was none (0). */
void pipes_answered(struct pipes *p, uint32_t id, int64_t uid, size_t bytes);
/* Bytes of answers that a user's connections, or all, have not taken, as far as can be known: what
 * one connection was sent last counts until something follows it. */
size_t pipes_owed(struct pipes *p, int64_t uid);
size_t pipes_owed_all(struct pipes *p);

/* How many connections there are, and how many have gone so far. */
size_t pipes_count(struct pipes *p);
uint64_t pipes_removed(struct pipes *p);
/* How many were to be closed, by reason: each counts once. */
void pipes_sheds(struct pipes *p, int64_t out[DIM_shed_N]);
/* How many connections of one key there are at most, and whose they are. */
size_t pipes_most(struct pipes *p, char key[PIPES_ORIGIN]);
/* Does one wait for an answer?  And is there little room for more? */
bool pipes_busy(struct pipes *p);
bool pipes_crowded(struct pipes *p);

/* Those that should be closed: nobody's for too long, without any use for long, or idle while they
 * may owe too much; when it is crowded also those that take nothing.  Fills at most max ids, gives
 * how many. */
size_t pipes_idle(struct pipes *p, bool crowded, uint32_t *ids, size_t max);

#endif
