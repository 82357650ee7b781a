/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conf.h: agentd.conf as a struct; the monitor reads the file, the others what it has read */
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

/* A path: stdin, where the monitor puts what it has read, see settings.h. */
#define AGENTD_CONF_STDIN "-"

/* path NULL: the defaults alone.  Strings live in the arena. */
int agentd_conf_load(const char *path, struct arena *arena, struct agentd_conf *out,
                     struct err *err);
/* As a file that it reads. */
void agentd_conf_print(FILE *to, const struct agentd_conf *conf);

struct agentd_conf_change {
    const char *name, *was, *is;
    bool fixed; /* it cannot be changed while we run */
};
typedef void (*agentd_conf_change_fn)(void *arg, const struct agentd_conf_change *c);
/* Tells fn of each setting of next that is not as now, puts those back that are fixed (strings into
 * arena, which is next's), and gives how many others there are. */
int agentd_conf_renew(const struct agentd_conf *now, struct agentd_conf *next, struct arena *arena,
                      agentd_conf_change_fn fn, void *arg, struct err *err);
enum log_level agentd_conf_log_level(const struct agentd_conf *conf);

#endif
