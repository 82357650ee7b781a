/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/family.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

uint32_t family_uid(void)
{
    return getuid() == 0 ? 4242 : getuid();
}

static void link_programs(const char *dir)
{
    static const char *const names[] = {"agent-broker", "agent-auth", "agent-worker",
                                        "agent-stage"};
    char fake[BUILD_PATH], libexec[SCRATCH_PATH], path[SCRATCH_PATH];
    build_path(fake, "tests/libexec/fake_child");
    scratch_path(libexec, dir, "libexec");
    /* As tight as it may be: users need not reach what they are made to run. */
    cr_assert_eq(mkdir(libexec, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        scratch_path(path, libexec, names[i]);
        cr_assert_eq(symlink(fake, path), 0);
    }
}

static void run_monitor(const struct family *f, const char *conf, pid_t parent)
{
    char exe[BUILD_PATH], log[SCRATCH_PATH];
    build_path(exe, "bin/slurm-agentd");
    scratch_path(log, f->dir, "log");
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0644);
    dup2(fd, 2);
    /* Something to clean up for the children: a descriptor, a variable, a mask, an ignored signal.
     */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR2, SIG_IGN);
    setenv("LD_LIBRARY_PATH", "/nonexistent", 1);
    setenv("NOTIFY_SOCKET", "/run/nobody-listens", 1);
    setenv("SECRET", "of root's shell", 1);
    unsetenv("JOURNAL_STREAM");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    execl(exe, "slurm-agentd", "--config", conf, getuid() == 0 ? NULL : "--single-user",
          (char *)NULL);
    _exit(127);
}

static void listen_for_kids(struct family *f)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[SCRATCH_PATH];
    scratch_path(path, f->dir, "test");
    memcpy(a.sun_path, path, strlen(path) + 1);
    f->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    cr_assert(bind(f->listening, (struct sockaddr *)&a, sizeof a) == 0 && chmod(path, 0777) == 0 &&
              listen(f->listening, 64) == 0);
}

static void forget_kids(struct family *f);

static void start_monitor(struct family *f)
{
    char conf[SCRATCH_PATH];
    pid_t parent = getpid();
    scratch_path(conf, f->dir, "agentd.conf");
    fflush(NULL);
    f->monitor = fork();
    cr_assert_geq(f->monitor, 0);
    if (f->monitor == 0)
        run_monitor(f, conf, parent);
    family_gather(f);
}

void family_start(struct family *f, const char *settings)
{
    char text[2000];
    *f = (struct family){.monitor = -1, .listening = -1};
    signal(SIGPIPE, SIG_IGN);
    scratch_make(f->dir);
    link_programs(f->dir);
    snprintf(text, sizeof text,
             "[agentd]\nuser = nobody\nwatch_user = daemon\nlibexec_dir = %s/libexec\n"
             "grants_dir = %s/grants\n%s",
             f->dir, f->dir, settings);
    scratch_write(f->dir, "agentd.conf", text);
    listen_for_kids(f);
    start_monitor(f);
}

void family_restart(struct family *f)
{
    forget_kids(f);
    kill(f->monitor, SIGKILL);
    waitpid(f->monitor, NULL, 0);
    start_monitor(f);
}

/* ---- children ---- */

/* Receives a packet with at most two descriptors; -1 when none comes. */
static ssize_t receive(int fd, void *buf, size_t size, int fds[2])
{
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {buf, size};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    fds[0] = fds[1] = -1;
    if (poll(&p, 1, FAMILY_PATIENCE_MS) != 1)
        return -1;
    ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return n;
}

static struct kid *accept_kid(struct family *f)
{
    struct pollfd p = {.fd = f->listening, .events = POLLIN};
    struct ucred who;
    socklen_t size = sizeof who;
    if (poll(&p, 1, FAMILY_PATIENCE_MS) != 1)
        return NULL;
    struct kid *k = calloc(1, sizeof *k);
    k->test = accept4(f->listening, NULL, NULL, SOCK_CLOEXEC);
    cr_assert(k->test >= 0 && getsockopt(k->test, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0);
    k->pid = who.pid;
    k->uid = who.uid;
    if (receive(k->test, k->report, sizeof k->report - 1, k->fds) > 0)
        return k;
    kid_free(k);
    return NULL;
}

static bool is_wanted(const struct kid *k, const char *program, const char *argument)
{
    char line[200];
    snprintf(line, sizeof line, "\narg=%s\n", program);
    if (!strstr(k->report, line))
        return false;
    snprintf(line, sizeof line, "\narg=%s\n", argument ? argument : program);
    return strstr(k->report, line) != NULL;
}

struct kid *family_next(struct family *f, const char *program, const char *argument)
{
    for (size_t i = 0; i < FAMILY_WAITING; i++)
        if (f->waiting[i] && is_wanted(f->waiting[i], program, argument))
            return TAKE(f->waiting[i]);
    for (;;) {
        struct kid *k = accept_kid(f);
        if (!k) {
            char log[SCRATCH_PATH];
            scratch_path(log, f->dir, "log");
            cr_assert_fail("no %s %s came; the monitor's log: %s", program,
                           argument ? argument : "", scratch_read(log));
        }
        if (is_wanted(k, program, argument))
            return k;
        size_t i = 0;
        while (i < FAMILY_WAITING && f->waiting[i])
            i++;
        cr_assert_lt(i, FAMILY_WAITING);
        f->waiting[i] = k;
    }
}

void kid_free(struct kid *k)
{
    if (!k)
        return;
    close(k->test);
    for (int i = 0; i < 2; i++)
        if (k->fds[i] >= 0)
            close(k->fds[i]);
    free(k);
}

void kid_order(struct kid *k, const char *order)
{
    char answer[16] = "";
    struct pollfd p = {.fd = k->test, .events = POLLIN};
    cr_assert_eq(send(k->test, order, strlen(order), 0), (ssize_t)strlen(order));
    if (strncmp(order, "exit", 4) == 0)
        return;
    cr_assert(poll(&p, 1, FAMILY_PATIENCE_MS) == 1 && recv(k->test, answer, sizeof answer, 0) == 4);
    cr_assert_str_eq(answer, "done");
}

bool pid_gone(pid_t pid)
{
    int64_t end = clock_mono_ms() + FAMILY_PATIENCE_MS;
    while (kill(pid, 0) == 0 || errno == EPERM) {
        if (clock_mono_ms() > end)
            return false;
        poll(NULL, 0, 5);
    }
    return true;
}

const char *pid_status(pid_t pid, const char *field)
{
    static char value[4096];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    AUTO(free) char *text = scratch_read(path);
    size_t n = strlen(field);
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        if (strncmp(line, field, n) == 0 && line[n] == ':') {
            char *v = line + n + 1 + strspn(line + n + 1, " \t");
            for (size_t end = strlen(v); end && v[end - 1] == ' '; end--)
                v[end - 1] = '\0';
            for (char *tab = v; (tab = strchr(tab, '\t'));)
                *tab = ' ';
            snprintf(value, sizeof value, "%s", v);
            return value;
        }
    return "";
}

/* ---- the whole ---- */

static void forget_kids(struct family *f)
{
    kid_free(f->broker);
    kid_free(f->watcher);
    for (int i = 0; i < MONITOR_AUTHS; i++)
        kid_free(f->auths[i]);
    for (size_t i = 0; i < FAMILY_WAITING; i++)
        kid_free(f->waiting[i]);
    f->broker = f->watcher = NULL;
    memset(f->auths, 0, sizeof f->auths);
    memset(f->waiting, 0, sizeof f->waiting);
}

void family_gather(struct family *f)
{
    int auths = 0;
    bool watcher = false;
    f->draining = false;
    kid_free(f->broker);
    f->broker = family_next(f, "agent-broker", NULL);
    while (auths < MONITOR_AUTHS || !watcher) {
        struct said s = family_hear(f);
        if (s.ev.say == SAY_DRAIN && auths == 0 && !watcher) {
            f->draining = s.ev.status;
            continue;
        }
        if (s.ev.say == SAY_AUTH)
            f->auth_numbers[auths++] = s.ev.process;
        else {
            cr_assert_eq(s.ev.say, SAY_WATCHER);
            f->watcher_number = s.ev.process;
            watcher = true;
        }
        close(s.fds[0]);
        if (s.fds[1] >= 0)
            close(s.fds[1]);
    }
    for (int i = 0; i < MONITOR_AUTHS; i++) {
        kid_free(f->auths[i]);
        f->auths[i] = family_next(f, "agent-auth", NULL);
    }
    kid_free(f->watcher);
    f->watcher = family_next(f, "agent-worker", "watch");
}

int family_ended(struct family *f, int ms)
{
    int64_t end = clock_mono_ms() + ms;
    int status;
    while (waitpid(f->monitor, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > end)
            return -1;
        poll(NULL, 0, 10);
    }
    f->monitor = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void family_stop(struct family *f)
{
    forget_kids(f);
    if (f->listening >= 0)
        close(f->listening);
    if (f->monitor > 0) {
        kill(f->monitor, SIGKILL);
        waitpid(f->monitor, NULL, 0);
    }
    if (*f->dir)
        scratch_remove(f->dir);
    *f = (struct family){.monitor = -1, .listening = -1};
}

bool family_logged(struct family *f, const char *text)
{
    char path[SCRATCH_PATH];
    int64_t end = clock_mono_ms() + FAMILY_PATIENCE_MS;
    scratch_path(path, f->dir, "log");
    for (;;) {
        AUTO(free) char *log = scratch_read(path);
        if (strstr(log, text))
            return true;
        if (clock_mono_ms() > end)
            return false;
        poll(NULL, 0, 20);
    }
}

/* ---- speaking as the broker and as auth ---- */

struct said family_hear(struct family *f)
{
    struct said s;
    cr_assert_eq(receive(f->broker->fds[0], &s.ev, sizeof s.ev, s.fds), sizeof s.ev,
                 "the monitor says nothing");
    return s;
}

static void ask(struct family *f, const struct monitor_request *req)
{
    cr_assert_eq(send(f->broker->fds[0], req, sizeof *req, 0), sizeof *req);
}

struct said family_spawn(struct family *f, uint32_t uid, uint32_t role)
{
    struct monitor_request req = {
        .ask = ASK_SPAWN, .serial = ++f->serial, .uid = uid, .role = role};
    ask(f, &req);
    struct said s = family_hear(f);
    cr_expect_eq(s.ev.serial, req.serial);
    cr_expect_eq(s.ev.uid, uid);
    cr_expect_eq(s.ev.role, role);
    return s;
}

struct said family_ask(struct family *f, struct monitor_request *req)
{
    req->serial = ++f->serial;
    ask(f, req);
    struct said s = family_hear(f);
    cr_expect_eq(s.ev.serial, req->serial);
    cr_expect_eq(s.ev.uid, req->uid);
    return s;
}

void family_tell(struct family *f, const struct monitor_request *req)
{
    ask(f, req);
}

void family_kill(struct family *f, uint32_t process)
{
    ask(f, &(struct monitor_request){.ask = ASK_KILL, .serial = ++f->serial, .process = process});
}

struct lease_reply family_lease(struct family *f, int i, uint32_t uid, int64_t lifetime_s,
                                uint32_t hello)
{
    struct lease_request req = {.uid = uid, .gid = getuid() == 0 ? 4300 : getgid()};
    struct lease_reply reply;
    struct pollfd p = {.fd = f->auths[i]->fds[0], .events = POLLIN};
    req.lifetime_s = lifetime_s;
    req.ngroups = 3;
    for (uint32_t g = 0; g < req.ngroups; g++)
        req.groups[g] = 4300 + g;
    hello = hello ? hello : 1000000 + ++f->last_hello;
    memcpy(req.hello_hash, &hello, sizeof hello);
    cr_assert_eq(send(p.fd, &req, sizeof req, 0), sizeof req);
    cr_assert(poll(&p, 1, FAMILY_PATIENCE_MS) == 1 &&
                  recv(p.fd, &reply, sizeof reply, 0) == sizeof reply,
              "the monitor does not answer auth");
    return reply;
}

void said_close(struct said *s)
{
    for (int i = 0; i < 2; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
}

struct kid *family_worker(struct family *f, struct said *ret)
{
    cr_assert_eq(family_lease(f, 0, family_uid(), 600, 0).code, ERR_NONE);
    *ret = family_spawn(f, family_uid(), ROLE_CONTROL);
    cr_assert_eq(ret->ev.say, SAY_SPAWNED, "%s", ret->ev.text);
    return family_next(f, "agent-worker", "control");
}
