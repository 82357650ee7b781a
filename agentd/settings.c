/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"

int settings_load(struct settings *s, const char *path, struct err *err)
{
    return agentd_conf_load(path, &s->arena, &s->conf, err);
}

int settings_share(struct settings *s, struct err *err)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    AUTO(close) int fd = memfd_create("agentd.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    FILE *to = fd < 0 ? NULL : fdopen(dup(fd), "w");
    if (!to)
        return err_errno(err, ERR_INTERNAL, "cannot share the settings");
    agentd_conf_print(to, &s->conf);
    bool whole = !ferror(to);
    if (fclose(to) != 0 || !whole || fcntl(fd, F_ADD_SEALS, seals) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot share the settings");
    s->fd = TAKE_FD(fd);
    return 0;
}

static void log_change(void *arg, const struct agentd_conf_change *c)
{
    (void)arg;
    if (c->fixed)
        log_warning("%s = %s: this takes a restart; it stays %s", c->name, c->is, c->was);
    else
        log_notice("%s = %s, was %s", c->name, c->is, c->was);
}

int settings_reload(struct settings *s, struct settings *earlier, const char *path, struct err *err)
{
    struct settings next = {.fd = -1};
    int n = -1;
    if (settings_load(&next, path, err) == 0)
        n = agentd_conf_renew(&s->conf, &next.conf, &next.arena, log_change, NULL, err);
    if (n > 0 && settings_share(&next, err) < 0)
        n = -1;
    if (n > 0) {
        settings_done(earlier);
        *earlier = *s;
        *s = next;
    } else {
        settings_done(&next);
    }
    return n;
}

void settings_done(struct settings *s)
{
    if (s->fd >= 0)
        close(s->fd);
    arena_done(&s->arena);
    s->fd = -1;
}
