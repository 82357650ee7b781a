/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/conf.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CONF_STRUCT agentd_conf
#include "common/conf_keys.h"

#include "common/addr.h"
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

/* The settings are the site's, and whoever this process works for may have it open /dev/stdin: once
 * they are read, nothing is there. */
static int load_stdin(struct arena *arena, struct agentd_conf *out, struct err *err)
{
    int rc = conf_load_fd(STDIN_FILENO, "the settings on stdin", "agentd", keys, ARRAY_LEN(keys),
                          arena, out, err);
    AUTO(close) int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (none < 0 || dup2(none, STDIN_FILENO) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot close the settings on stdin");
    return rc;
}

/* "10.0.0.1:6821", "[::1]:6821", "head:6821". */
static bool has_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    long port = 0;
    if (!colon || colon == address || (strchr(address, ':') != colon && colon[-1] != ']'))
        return false;
    for (const char *p = colon + 1; *p; p++) {
        if (*p < '0' || *p > '9' || port > 65535)
            return false;
        port = port * 10 + (*p - '0');
    }
    return port > 0 && port <= 65535;
}

static int check_values(const char *path, const struct agentd_conf *c, struct err *err)
{
    if (!find_level(c->log_level))
        return err_set(err, ERR_INVALID,
                       "%s: log_level = %s: give err, warning, notice, info or debug", path,
                       c->log_level);
    if (*c->listen_tcp && !has_port(c->listen_tcp))
        return err_set(err, ERR_INVALID,
                       "%s: listen_tcp = %s: give an address of this host and a port, as in "
                       "10.0.0.1:6821",
                       path, c->listen_tcp);
    if (addr_check_list("allow_from", c->allow_from, err) < 0 ||
        addr_check_list("deny_endpoints", c->deny_endpoints, err) < 0)
        return err_while(err, "%s", path);
    return 0;
}

int agentd_conf_load(const char *path, struct arena *arena, struct agentd_conf *out,
                     struct err *err)
{
    const size_t n = ARRAY_LEN(keys);
    int rc = 0;
    conf_defaults(keys, n, out);
    if (path && str_eq(path, AGENTD_CONF_STDIN))
        rc = load_stdin(arena, out, err);
    else if (path)
        rc = conf_load(path, "agentd", keys, n, arena, out, err);
    return rc < 0 ? rc : check_values(str_or(path, "agentd.conf"), out, err);
}

void agentd_conf_print(FILE *to, const struct agentd_conf *conf)
{
    conf_print(to, "agentd", keys, ARRAY_LEN(keys), conf);
}

/* What the monitor needs root's rights for, which it has given up, and what it holds open. */
static bool is_fixed(const char *name)
{
    static const char *const names[] = {"user", "watch_user", "libexec_dir", "grants_dir"};
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
