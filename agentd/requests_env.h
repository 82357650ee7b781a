/* SPDX-License-Identifier: GPL-3.0-or-later */
/* requests_env.h: requests.c in the broker: its journal, watcher, table and workers */
#ifndef AGENTD_REQUESTS_ENV_H
#define AGENTD_REQUESTS_ENV_H

#include "agentd/requests.h"

struct agentd;

/* Sets a->requests. */
int requests_start(struct agentd *a, struct err *err);
/* Ends what requests_start() began; requests_stop() comes before, while the journal is there. */
void requests_end(struct agentd *a);

#endif
