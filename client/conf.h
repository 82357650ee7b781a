/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conf.h: client.conf as a struct, and where it is looked for */
#ifndef CLIENT_CONF_H
#define CLIENT_CONF_H

#include <stdint.h>

#include "common/conf.h"

struct client_conf {
#define CONF_STR(name, def, help) const char *name;
#define CONF_INT(name, def, min, max, unit, help) int64_t name;
#define CONF_BOOL(name, def, help) bool name;
#include "client/conf.def"
#undef CONF_STR
#undef CONF_INT
#undef CONF_BOOL
};

/* Where settings come from.  All may be NULL. */
struct client_conf_paths {
    const char *only;       /* this file alone; it must be there */
    const char *system_dir; /* has slurm-agent/client.conf */
    const char *home;       /* has .config/slurm-agent/client.conf, which wins */
    const char *server_env; /* wins over both files */
};

/* Strings live in the arena. */
int client_conf_load(const struct client_conf_paths *paths, struct arena *arena,
                     struct client_conf *out, struct err *err);
/* One file's text over what is in *out. */
int client_conf_parse(const char *text, const char *name, struct arena *arena,
                      struct client_conf *out, struct err *err);
void client_conf_defaults(struct client_conf *out);

#endif
