/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monlink.h: the broker's end of the line to the monitor */
#ifndef AGENTD_MONLINK_H
#define AGENTD_MONLINK_H

#include "agentd/monitor_proto.h"

struct sd_event;
struct monlink;

/* fds: -1 where the event brings none; whoever handles the event owns them. */
typedef void (*monlink_event_fn)(void *arg, const struct monitor_event *event, int fds[2]);
/* Takes fd.  When the monitor goes, the loop is told to exit. */
struct monlink *monlink_new(struct sd_event *loop, int fd, monlink_event_fn on_event, void *arg,
                            struct err *err);
void monlink_free(struct monlink *m);

/* Asks for a worker; the answer is an event with this serial. */
int monlink_spawn(struct monlink *m, uint32_t serial, uint32_t uid, enum worker_role role,
                  struct err *err);
/* Asks for a stage worker of a request that has a grant; answered in the same way. */
int monlink_stage(struct monlink *m, uint32_t serial, uint32_t uid,
                  const uint8_t request[REQUEST_ID], struct err *err);
/* Asks for a grant; the answer is SAY_GRANTED with this serial. */
int monlink_grant(struct monlink *m, uint32_t serial, uint32_t uid,
                  const uint8_t request[REQUEST_ID], const uint8_t hash[SEAL_HASH],
                  int64_t lifetime_s, struct err *err);
void monlink_revoke(struct monlink *m, uint32_t uid, const uint8_t request[REQUEST_ID]);
/* What takes no more than its name: ASK_DRAIN, ASK_RESUME, ASK_RELOAD. */
int monlink_say(struct monlink *m, enum monitor_ask what, uint32_t serial, struct err *err);
/* Ends a process; an event tells when it is gone. */
void monlink_kill(struct monlink *m, uint32_t process);

#endif
