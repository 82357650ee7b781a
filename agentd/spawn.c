/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int identity_find(const char *setting, const char *name, struct identity *out, struct err *err)
{
    const struct passwd *pw = getpwnam(name);
    int n = LEASE_MAX_GROUPS;
    if (!pw)
        return err_set(
            err, ERR_INVALID,
            "there is no user %s: make it (useradd --system %s) or set %s in agentd.conf", name,
            name, setting);
    if (pw->pw_uid == 0)
        return err_set(err, ERR_INVALID, "%s = %s: broker and watcher must not run as root",
                       setting, name);
    if (getgrouplist(name, pw->pw_gid, out->groups, &n) < 0)
        return err_set(err, ERR_INVALID, "user %s is in more than %d groups", name,
                       LEASE_MAX_GROUPS);
    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;
    out->ngroups = (size_t)n;
    return 0;
}

/* Without this a child with uid 0 would get every capability of the bounding set by its exec. */
static int lock_secure_bits(struct err *err)
{
    const int want = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED;
    int have = prctl(PR_GET_SECUREBITS);
    if (have >= 0 && (have & want) == want)
        return 0;
    if (have < 0 || prctl(PR_SET_SECUREBITS, have | want) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot set the secure bits (CAP_SETPCAP)");
    return 0;
}

static int drop_capabilities(struct err *err)
{
    const uint64_t keep = 1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_KILL;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (lock_secure_bits(err) < 0)
        return -1;
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (!(keep >> cap & 1) && prctl(PR_CAPBSET_READ, cap) == 1 &&
            prctl(PR_CAPBSET_DROP, cap) < 0)
            return err_errno(err, ERR_INTERNAL, "cannot drop capability %d", cap);
    for (int i = 0; i < 2; i++)
        data[i].permitted = data[i].effective = (uint32_t)(keep >> 32 * i);
    if (syscall(SYS_capset, &head, data) < 0)
        return err_errno(err, ERR_INTERNAL,
                         "CAP_SETUID, CAP_SETGID and CAP_KILL are needed, and not all are there");
    return 0;
}

int spawn_harden(bool as_root, struct err *err)
{
    struct rlimit none = {0, 0};
    if (as_root && drop_capabilities(err) < 0)
        return -1;
    /* Single-user holds nothing that the user does not: their debugger may look. */
    if (as_root && prctl(PR_SET_DUMPABLE, 0) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot stop being dumpable");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot give up privileges");
    umask(077);
    return chdir("/") < 0 ? err_errno(err, ERR_INTERNAL, "/") : 0;
}

/* ---- the child's side: only async-signal-safe calls from fork to exec ---- */

static void become(const struct identity *who)
{
    if (!who)
        return;
    if (setgroups(who->ngroups, who->groups) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
        setresuid(who->uid, who->uid, who->uid) < 0)
        _exit(SPAWN_EXIT_PRIVILEGE);
    if (who->uid != 0 && setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
        _exit(SPAWN_EXIT_PRIVILEGE); /* it must not be able to go back */
}

/* Puts fds[i] at descriptor 3 + i and closes everything else above. */
static void place_descriptors(const int *fds, unsigned n)
{
    int high[4];
    for (unsigned i = 0; i < n; i++) /* out of the way of the targets */
        if ((high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64)) < 0)
            _exit(SPAWN_EXIT_PRIVILEGE);
    for (unsigned i = 0; i < n; i++)
        if (dup2(high[i], 3 + (int)i) < 0)
            _exit(SPAWN_EXIT_PRIVILEGE);
}

static void run_child(const struct spawn *s, pid_t parent)
{
    sigset_t none;
    unsigned n = 0;
    sigemptyset(&none);
    /* The kernel's own call: glibc keeps two signals to itself, which may come here ignored. */
    static const unsigned long default_action[8];
    for (int sig = 1; sig < NSIG; sig++)
        syscall(SYS_rt_sigaction, sig, default_action, NULL, NSIG / 8);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(s->in_fd, 0);
    dup2(s->null_fd, 1);
    if (s->err_fd >= 0)
        dup2(s->err_fd, 2);
    while (n < 2 && s->fds[n] >= 0)
        n++;
    /* The program's own descriptor must outlive the closing: it goes to the end of the row. */
    int row[3] = {s->fds[0], s->fds[1], -1};
    row[n] = s->exe;
    place_descriptors(row, n + 1);
    int exe = 3 + (int)n;
    if (syscall(SYS_close_range, (unsigned)exe + 1, ~0U, 0) < 0 ||
        fcntl(exe, F_SETFD, FD_CLOEXEC) < 0)
        _exit(SPAWN_EXIT_PRIVILEGE);
    become(s->who);
    /* Changing users clears it, so it comes after; and the parent may have gone before. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(SPAWN_EXIT_PRIVILEGE);
    syscall(SYS_execveat, exe, "", s->argv, s->envp, AT_EMPTY_PATH);
    _exit(SPAWN_EXIT_PRIVILEGE);
}

pid_t spawn_child(const struct spawn *s)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        run_child(s, parent);
    return pid;
}
