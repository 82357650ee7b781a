/* SPDX-License-Identifier: GPL-3.0-or-later */
/* authlink.h: HELLOs on their way to the auth processes and back
 *
 * Each auth process has one HELLO at a time; the others wait in a bounded queue.  One that does not
 * answer (munged or a name service hangs) is killed, and the monitor starts another.
 */
#ifndef AGENTD_AUTHLINK_H
#define AGENTD_AUTHLINK_H

#include "agentd/monitor_proto.h"

struct agentd;
struct authlink;

/* reply is NULL when there is none: err says why. */
typedef void (*auth_done_fn)(void *arg, const struct auth_reply *reply, const struct err *err);

struct authlink *authlink_new(struct agentd *a, struct err *err);
void authlink_free(struct authlink *l);
/* From the monitor: a new auth process (takes fd), or the end of one. */
void authlink_attach(struct authlink *l, uint32_t process, int fd);
void authlink_ended(struct authlink *l, uint32_t process);

/* Copies *req; req->serial is set here.  done is called exactly once, never before this returns.
 * ERR_BUSY when the queue is full, and then done is not called. */
int authlink_ask(struct authlink *l, const struct auth_request *req, auth_done_fn done, void *arg,
                 struct err *err);

/* HELLOs that wait. */
size_t authlink_waiting(const struct authlink *l);

#endif
