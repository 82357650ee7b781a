/* SPDX-License-Identifier: GPL-3.0-or-later */
/* admin.h: administrators' requests that wait for the monitor (op_admin.c) */
#ifndef AGENTD_ADMIN_H
#define AGENTD_ADMIN_H

#include "agentd/agentd.h"
#include "agentd/monitor_proto.h"

struct admin;

struct admin *admin_new(struct agentd *a, struct err *err);
/* Fails what waits. */
void admin_free(struct admin *m); /* NULL is fine */
/* From the monitor. */
void admin_reloaded(struct admin *m, const struct monitor_event *ev);

#endif
