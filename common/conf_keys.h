/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conf_keys.h: rows of a conf.def as struct conf_key; for the one array that is made of them
 *
 *     #define CONF_STRUCT agentd_conf
 *     #include "common/conf_keys.h"
 *     static const struct conf_key keys[] = {
 *     #include "where it is/conf.def"
 *     };
 *
 * No guard: it defines macros for the file that includes it, once.
 */
#include <stddef.h>

#include "common/conf.h"

#define CONF_STR(n, def, h)                                                                        \
    {.name = #n,                                                                                   \
     .kind = CONF_KIND_STR,                                                                        \
     .offset = offsetof(struct CONF_STRUCT, n),                                                    \
     .str_default = (def),                                                                         \
     .unit = "",                                                                                   \
     .help = h},
#define CONF_INT(n, def, lo, hi, u, h)                                                             \
    {.name = #n,                                                                                   \
     .kind = CONF_KIND_INT,                                                                        \
     .offset = offsetof(struct CONF_STRUCT, n),                                                    \
     .int_default = (def),                                                                         \
     .min = (lo),                                                                                  \
     .max = (hi),                                                                                  \
     .unit = u,                                                                                    \
     .help = h},
#define CONF_BOOL(n, def, h)                                                                       \
    {.name = #n,                                                                                   \
     .kind = CONF_KIND_BOOL,                                                                       \
     .offset = offsetof(struct CONF_STRUCT, n),                                                    \
     .int_default = (def),                                                                         \
     .unit = "",                                                                                   \
     .help = h},
