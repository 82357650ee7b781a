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
    const size_t n = ARRAY_LEN(keys);
    int rc = 0;
    conf_defaults(keys, n, out);
    if (path && str_eq(path, AGENTD_CONF_STDIN))
        rc =
            conf_load_fd(STDIN_FILENO, "the settings on stdin", "agentd", keys, n, arena, out, err);
    else if (path)
        rc = conf_load(path, "agentd", keys, n, arena, out, err);
    if (rc == 0 && !find_level(out->log_level))
        rc = err_set(err, ERR_INVALID,
                     "%s: log_level = %s: give err, warning, notice, info or debug",
                     str_or(path, "agentd.conf"), out->log_level);
    return rc;
}

void agentd_conf_print(FILE *to, const struct agentd_conf *conf)
{
    conf_print(to, "agentd", keys, ARRAY_LEN(keys), conf);
}

/* What the monitor needs root's rights for, which it has given up. */
static bool is_fixed(const char *name)
{
    static const char *const names[] = {"user", "watch_user", "libexec_dir"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (str_eq(names[i], name))
            return true;
    return false;
}

int agentd_conf_renew(const struct agentd_conf *now, struct agentd_conf *next, struct arena *arena,
                      agentd_conf_change_fn fn, void *arg, struct err *err)
{
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct conf_key *k = &keys[i];
        char was[32], is[32];
        struct agentd_conf_change c = {
            .name = k->name,
            .was = conf_value(k, now, was),
            .is = conf_value(k, next, is),
            .fixed = is_fixed(k->name),
        };
        if (str_eq(c.was, c.is))
            continue;
        fn(arg, &c);
        n += !c.fixed;
        const char **at = (const char **)(void *)((char *)next + k->offset);
        if (c.fixed && !(*at = arena_strdup(arena, c.was)))
            return err_set(err, ERR_INTERNAL, "no memory");
    }
    return n;
}

enum log_level agentd_conf_log_level(const struct agentd_conf *conf)
{
    const enum log_level *l = find_level(conf->log_level);
    return l ? *l : LOG_LEVEL_INFO;
}
