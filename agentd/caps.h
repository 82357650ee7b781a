/* SPDX-License-Identifier: GPL-3.0-or-later */
/* caps.h: how much of what agentd.conf caps is in use, by caps.def; belongs to the loop */
#ifndef AGENTD_CAPS_H
#define AGENTD_CAPS_H

#include "agentd/agentd.h"
#include "agentd/metrics.h"

enum { CAPS_WHO = 256 };

struct cap_use {
    int64_t used, max;
    char who[CAPS_WHO]; /* has most; "" when it is of all together, or nobody has any */
};
void caps_look(const struct agentd *a, enum cap_index cap, struct cap_use *out);

/* The setting's name, unit and help, as in conf.def. */
struct cap_name {
    const char *name, *unit, *help;
};
struct cap_name caps_name(enum cap_index cap);

#endif
