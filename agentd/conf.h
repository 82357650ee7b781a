/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conf.h: agentd.conf as a struct; each program of agentd reads it for itself */
#ifndef AGENTD_CONF_H
#define AGENTD_CONF_H

#include <stdint.h>

#include "common/conf.h"
#include "common/log.h"

struct agentd_conf {
#define CONF_STR(name, def, help) const char *name;
#define CONF_INT(name, def, min, max, unit, help) int64_t name;
#define CONF_BOOL(name, def, help) bool name;
#include "agentd/conf.def"
#undef CONF_STR
#undef CONF_INT
#undef CONF_BOOL
};

/* path NULL: the defaults alone.  Strings live in the arena. */
int agentd_conf_load(const char *path, struct arena *arena, struct agentd_conf *out,
                     struct err *err);
void agentd_conf_print(const struct agentd_conf *conf);
enum log_level agentd_conf_log_level(const struct agentd_conf *conf);

#endif
