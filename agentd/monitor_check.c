/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monitor_check.c: slurm-agentd --check from its beginning: what is the monitor's own (its
 * settings' file, the users, the programs, the grants, how many processes there may be), then the
 * programs */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agentd/check.h"
#include "agentd/grant.h"
#include "agentd/settings.h"
#include "common/cleanup.h"
#include "common/str.h"

enum {
    OTHERS = 100,    /* broker's threads, auths, watcher and what else is there */
    STAGE_TASKS = 8, /* a stage worker's threads */
};

int check_conf_owner(const char *path, bool single_user, char *out, size_t size)
{
    struct stat st;
    if (!path || single_user || geteuid() != 0 || stat(path, &st) < 0)
        return 0;
    if (st.st_uid == 0 && (st.st_mode & 022) == 0)
        return 0;
    snprintf(
        out, size,
        "%s belongs to uid %u with mode %04o: it must be root's, and be written to by root alone; the "
        "service has no right to read what it may not (chown root:root, chmod 644)",
        path, st.st_uid, (unsigned)st.st_mode & 07777);
    return -1;
}

static void check_grants(struct check *c, const struct agentd_conf *conf)
{
    struct err err = {0};
    bool there;
    char text[600];
    if (grants_check(conf->grants_dir, &there, &err) < 0) {
        snprintf(text, sizeof text, "%s: nothing can be staged", err.text);
        check_line(c, CHECK_FAIL, "grants", text);
        return;
    }
    snprintf(text, sizeof text, "%s%s", conf->grants_dir,
             there ? "" : " is not there (grants_dir), and is made when slurm-agentd starts");
    check_line(c, there ? CHECK_OK : CHECK_NOTE, "grants", text);
}

/* Of the service, when it runs under systemd as it is installed; 0: not known, or without a limit.
 */
static long long tasks_max(void)
{
    char text[32] = "";
    AUTO(close)
    int fd =
        open("/sys/fs/cgroup/system.slice/slurm-agentd.service/pids.max", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    return n > 0 ? strtoll(text, NULL, 10) : 0;
}

static void check_tasks(struct check *c, const struct agentd_conf *conf, long long most)
{
    char text[400];
    long long need = conf->max_workers + STAGE_TASKS * conf->max_stage_workers + OTHERS;
    if (most <= 0 || need <= most)
        return;
    snprintf(
        text, sizeof text,
        "max_workers = %lld and max_stage_workers = %lld may take %lld processes and threads, of which "
        "the service may have %lld: raise TasksMax in it (systemctl edit slurm-agentd), or lower them",
        (long long)conf->max_workers, (long long)conf->max_stage_workers, need, most);
    check_line(c, CHECK_FAIL, "tasks", text);
}

int monitor_check(const char *conf_path, bool single_user, struct settings *settings,
                  struct programs *programs, const struct err *conf_err)
{
    struct check c = {.conf_path = conf_path, .single_user = single_user};
    const struct agentd_conf *conf = &settings->conf;
    struct err err = {0};
    char text[400];
    if (conf_err->code != ERR_NONE) {
        check_line(&c, CHECK_FAIL, "conf", conf_err->text);
        return check_end(&c);
    }
    if (check_conf_owner(conf_path, single_user, text, sizeof text) < 0)
        check_line(&c, CHECK_FAIL, "conf", text);
    else
        check_line(&c, CHECK_OK, "conf", str_or(conf_path, "no file: the defaults"));
    if (programs_find_users(programs, conf, single_user, &err) < 0) {
        check_line(&c, CHECK_FAIL, "users", err.text);
        return check_end(&c);
    }
    snprintf(text, sizeof text, "broker is uid %u, watcher %u; users from uid %lld on are served",
             programs->broker_user.uid, programs->watch_user.uid, (long long)conf->min_uid);
    check_line(&c, CHECK_OK, "users", text);
    if (programs_open(programs, conf, &err) < 0 || settings_share(settings, &err) < 0 ||
        spawn_harden(!single_user, &err) < 0) {
        check_line(&c, CHECK_FAIL, "programs", err.text);
        return check_end(&c);
    }
    check_line(&c, CHECK_OK, "programs", conf->libexec_dir);
    check_grants(&c, conf);
    check_tasks(&c, conf, tasks_max());
    c.settings_fd = settings->fd;
    c.programs = programs;
    check_programs(&c);
    return check_end(&c);
}
