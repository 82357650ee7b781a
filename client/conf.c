/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/conf.h"

#define CONF_STRUCT client_conf
#include "common/conf_keys.h"

static const char section[] = "client";

static const struct conf_key keys[] = {
#include "client/conf.def"
};

void client_conf_defaults(struct client_conf *out)
{
    conf_defaults(keys, ARRAY_LEN(keys), out);
}

int client_conf_parse(const char *text, const char *name, struct arena *arena,
                      struct client_conf *out, struct err *err)
{
    return conf_parse(text, name, section, keys, ARRAY_LEN(keys), arena, out, err);
}

static int load(const char *path, struct arena *arena, struct client_conf *out, struct err *err)
{
    return conf_load(path, section, keys, ARRAY_LEN(keys), arena, out, err);
}

/* A file that need not be there.  Nor need it be readable when in a home: after su, HOME may be
 * another user's. */
static int load_optional(const char *dir, const char *below, bool home, struct arena *arena,
                         struct client_conf *out, struct err *err)
{
    struct err found = {0};
    if (!dir)
        return 0;
    const char *path = arena_printf(arena, "%s/%s", dir, below);
    if (!path)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (load(path, arena, out, &found) == 0 || found.code == ERR_NOT_FOUND ||
        (home && found.code == ERR_DENIED))
        return 0;
    return err_set(err, found.code, "%s", found.text);
}

int client_conf_load(const struct client_conf_paths *paths, struct arena *arena,
                     struct client_conf *out, struct err *err)
{
    client_conf_defaults(out);
    if (paths->only) {
        if (load(paths->only, arena, out, err) < 0)
            return -1;
    } else if (load_optional(paths->system_dir, "slurm-agent/client.conf", false, arena, out, err) <
                   0 ||
               load_optional(paths->home, ".config/slurm-agent/client.conf", true, arena, out,
                             err) < 0) {
        return -1;
    }
    if (paths->server_env && *paths->server_env) {
        out->server = arena_strdup(arena, paths->server_env);
        if (!out->server)
            return err_set(err, ERR_INTERNAL, "no memory");
    }
    return 0;
}
