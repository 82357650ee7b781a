/* SPDX-License-Identifier: GPL-3.0-or-later */
/* broker_check.c: what the broker will need: addresses to listen at, directories to write
 * to; and whether the names in the settings mean anybody */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "agentd/check.h"
#include "agentd/listen.h"
#include "common/cleanup.h"
#include "common/str.h"

enum { LITTLE_MIB = 200 };

/* The journal's lock is held by a broker for as long as it runs. */
static bool is_running(const struct agentd_conf *conf)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/journal.lock", conf->state_dir);
    AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Does anybody with our uid listen at that port?  As the kernel's list says it; the other fields
 * are not looked at. */
static bool is_ours_in(const char *list, unsigned long port)
{
    char line[512];
    bool ours = false;
    FILE *f = fopen(list, "re");
    while (f && !ours && fgets(line, sizeof line, f)) {
        enum { LOCAL = 1, STATE = 3, UID = 7, LISTEN = 0x0a };
        char *field[UID + 1], *save = NULL;
        size_t n = 0;
        for (char *w = strtok_r(line, " ", &save); w && n <= UID; w = strtok_r(NULL, " ", &save))
            field[n++] = w;
        const char *at = n > UID ? strrchr(field[LOCAL], ':') : NULL;
        ours = at && strtoul(at + 1, NULL, 16) == port &&
               strtoul(field[STATE], NULL, 16) == LISTEN &&
               strtoul(field[UID], NULL, 10) == geteuid();
    }
    if (f)
        fclose(f);
    return ours;
}

static bool is_ours(const char *address)
{
    const char *colon = strrchr(address, ':');
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
    return is_ours_in("/proc/net/tcp", port) || is_ours_in("/proc/net/tcp6", port);
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 ||
           strncmp(address, "localhost:", 10) == 0;
}

static void check_tcp(const struct agentd_conf *conf)
{
    const char *at = conf->listen_tcp;
    bool in_use;
    struct err err = {0};
    if (!*at) {
        check_say(CHECK_OK, "tcp", "none (listen_tcp is empty): users of this host alone");
        return;
    }
    const char *who = is_loopback(at) ? " (loopback: users of this host alone)" : "";
    if (listen_try(at, &in_use, &err) == 0)
        check_say(CHECK_OK, "tcp", "%s is free%s", at, who);
    else if (in_use && is_ours(at))
        check_say(CHECK_OK, "tcp", "%s is in use, by slurm-agentd most likely, which is running%s",
                  at, who);
    else if (in_use)
        check_say(CHECK_FAIL, "tcp",
                  "%s is in use by another program (ss -ltnp says which): end it, or set another "
                  "port in listen_tcp",
                  at);
    else
        check_say(CHECK_FAIL, "tcp",
                  "%s: give an address of this host and a port, as in 10.0.0.1:6821, in listen_tcp",
                  err.text);
}

/* Where a socket is to be made. */
static void check_socket(const char *what, const char *setting, const char *path)
{
    char dir[4096];
    struct stat st;
    if (!*path)
        return;
    str_copy(dir, sizeof dir, path);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir) {
        check_say(CHECK_FAIL, what, "%s: give a whole path, in a directory, in %s", path, setting);
        return;
    }
    *slash = '\0';
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        check_say(CHECK_FAIL, what, "%s is too long for a socket's path: shorten %s", path,
                  setting);
    else if (stat(dir, &st) < 0)
        check_say(CHECK_FAIL, what, "%s: %s: make it and give it to user %s", dir, strerror(errno),
                  "of the broker");
    else if (access(dir, W_OK | X_OK) < 0)
        check_say(CHECK_FAIL, what,
                  "%s cannot be written to by uid %u, as the broker runs: systemd-tmpfiles "
                  "--create makes it as it should be",
                  dir, geteuid());
    else
        check_say(CHECK_OK, what, "%s", path);
}

/* Says what is wrong with a file of the journal's; one that is not there is made. */
static bool check_journal_file(const char *dir, const char *name)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (lstat(path, &st) < 0 && errno == ENOENT)
        return true;
    if (lstat(path, &st) < 0)
        check_say(CHECK_FAIL, "journal", "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        check_say(CHECK_FAIL, "journal",
                  "%s is not a regular file, and no submit is taken without it: move it away",
                  path);
    else if (access(path, R_OK | W_OK) < 0)
        check_say(
            CHECK_FAIL, "journal",
            "%s belongs to uid %u, and the broker, which is uid %u, cannot write to it, so that no submit "
            "is taken: chown it",
            path, st.st_uid, geteuid());
    else
        return true;
    return false;
}

static void check_journal(const struct agentd_conf *conf)
{
    static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm",
                                        "journal.lock"};
    bool good = true;
    if (access(conf->state_dir, R_OK | W_OK | X_OK) < 0)
        return; /* check_state() has said so */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        good = check_journal_file(conf->state_dir, names[i]) && good;
    if (good)
        check_say(CHECK_OK, "journal", "its files can be written to");
}

static void check_state(const struct agentd_conf *conf)
{
    struct stat st;
    struct statvfs fs;
    const char *dir = conf->state_dir;
    int cannot = stat(dir, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
    if (cannot)
        check_say(CHECK_FAIL, "state",
                  "%s: %s: make it and give it to the broker's user (systemd-tmpfiles --create)",
                  dir, strerror(cannot));
    else if (access(dir, R_OK | W_OK | X_OK) < 0)
        check_say(CHECK_FAIL, "state",
                  "%s cannot be written to by uid %u, as the broker runs: chown it", dir,
                  geteuid());
    else if (st.st_mode & 077)
        check_say(
            CHECK_FAIL, "state",
            "%s can be reached by others (mode %04o), and will hold what all users' jobs did: "
            "give it a directory of its own, mode 0700",
            dir, (unsigned)st.st_mode & 07777);
    else if (statvfs(dir, &fs) == 0 && fs.f_bavail * (fs.f_frsize >> 10) >> 10 < LITTLE_MIB)
        check_say(CHECK_FAIL, "state", "%s: less than %d MiB are free: make room", dir, LITTLE_MIB);
    else
        check_say(CHECK_OK, "state", "%s%s", dir,
                  is_running(conf) ? ", slurm-agentd is running" : "");
}

static bool has_group(const char *name)
{
    return getgrnam(name) != NULL;
}

static bool has_user(const char *name)
{
    return getpwnam(name) != NULL;
}

/* Says which of the list there are not. */
static void check_names(const char *setting, const char *list, bool (*has)(const char *))
{
    AUTO(free) char *names = strdup(list);
    char *save = NULL;
    for (char *n = names ? strtok_r(names, ",", &save) : NULL; n; n = strtok_r(NULL, ",", &save)) {
        n += strspn(n, " \t");
        for (size_t len = strlen(n); len && strchr(" \t", n[len - 1]); len--)
            n[len - 1] = '\0';
        if (*n && !has(n))
            check_say(CHECK_FAIL, "users", "%s names %s, whom this host does not know (getent)",
                      setting, n);
    }
}

void broker_check(const struct agentd_conf *conf)
{
    if (!*conf->listen_tcp && !*conf->listen_ipc)
        check_say(CHECK_FAIL, "listen", "nobody can reach it: set listen_tcp or listen_ipc");
    check_tcp(conf);
    check_socket("socket", "listen_ipc", conf->listen_ipc);
    check_socket("hints", "hint_socket", conf->hint_socket);
    check_state(conf);
    check_journal(conf);
    check_names("allow_groups", conf->allow_groups, has_group);
    check_names("deny_users", conf->deny_users, has_user);
    check_names("admins", conf->admins, has_user);
}
