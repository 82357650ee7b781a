/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/conf.h"

#define CONF_STRUCT agentd_conf
#include "common/conf_keys.h"

#include "common/cleanup.h"
#include "common/str.h"

static const struct conf_key keys[] = {
#include "agentd/conf.def"
};

static const struct {
    const char *name;
    enum log_level level;
} levels[] = {
    {"err", LOG_LEVEL_ERR},   {"warning", LOG_LEVEL_WARNING}, {"notice", LOG_LEVEL_NOTICE},
    {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG},
};

static const enum log_level *find_level(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++)
        if (str_eq(levels[i].name, name))
            return &levels[i].level;
    return NULL;
}

int agentd_conf_load(const char *path, struct arena *arena, struct agentd_conf *out,
                     struct err *err)
{
    conf_defaults(keys, ARRAY_LEN(keys), out);
    if (path && conf_load(path, "agentd", keys, ARRAY_LEN(keys), arena, out, err) < 0)
        return -1;
    if (!find_level(out->log_level))
        return err_set(err, ERR_INVALID,
                       "%s: log_level = %s: give err, warning, notice, info or debug",
                       str_or(path, "agentd.conf"), out->log_level);
    return 0;
}

void agentd_conf_print(const struct agentd_conf *conf)
{
    conf_print(stdout, "agentd", keys, ARRAY_LEN(keys), conf);
}

enum log_level agentd_conf_log_level(const struct agentd_conf *conf)
{
    const enum log_level *l = find_level(conf->log_level);
    return l ? *l : LOG_LEVEL_INFO;
}
