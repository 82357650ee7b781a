/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sbatch/submit.h"

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, MAX_ARGS = CASE_WORDS + 8, MAX_ENV = 64, MAX_GROUPS = 64 };

/* What a child needs, made before the fork: it may only call what is async-signal-safe. */
struct command {
    char *argv[MAX_ARGS], *env[MAX_ENV], *program;
    size_t argc, envc;
    const char *dir;
    mode_t mask;
    uid_t uid;
    gid_t gid, groups[MAX_GROUPS];
    int group_count, in, out, err;
};

static char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        errx(2, "no memory");
    va_end(ap);
    return s;
}

static void arg(struct command *m, char *s)
{
    if (m->argc + 1 == MAX_ARGS)
        errx(2, "too many arguments");
    m->argv[m->argc++] = s;
}

/* Of one name the later. */
static void env(struct command *m, char *s)
{
    size_t n = (size_t)(strchrnul(s, '=') - s) + 1, i;
    for (i = 0; i < m->envc; i++)
        if (strncmp(m->env[i], s, n) == 0)
            break;
    if (i + 1 >= MAX_ENV)
        errx(2, "too many variables");
    if (i < m->envc)
        free(m->env[i]);
    else
        m->envc++;
    m->env[i] = s;
}

static void write_file(const struct command *m, const char *name, const char *body)
{
    char *path = text("%s/%s", m->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, body, strlen(body)) != (ssize_t)strlen(body) ||
        fchown(fd, m->uid, m->gid) < 0)
        err(2, "%s", path);
    close(fd);
    free(path);
}

static void who(struct command *m, const char *user)
{
    struct passwd pw, *found = NULL;
    char buf[4096];
    if (getpwnam_r(user, &pw, buf, sizeof buf, &found) || !found)
        errx(2, "there is no user %s", user);
    m->uid = pw.pw_uid;
    m->gid = pw.pw_gid;
    m->group_count = MAX_GROUPS;
    getgrouplist(user, pw.pw_gid, m->groups, &m->group_count);
    env(m, text("HOME=%s", pw.pw_dir));
    env(m, text("USER=%s", user));
}

static int temporary(const char *name, const char *body)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0 || (body && write(fd, body, strlen(body)) < 0))
        err(2, "memfd");
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void make(const struct place *p, const struct test_case *c, const char *dir, bool agent,
                 struct command *m)
{
    const char *value;
    bool behind = false, named = true;
    char *body = NULL, *lines = strdup(""), *stdin_body = NULL;
    *m = (struct command){.dir = dir, .mask = 022};
    who(m, p->user);
    m->program = text("%s/sbatch", agent ? p->agent_dir : p->sbatch_dir);
    env(m, text("PATH=/usr/local/bin:/usr/bin:/bin"));
    env(m, text("LANG=C.UTF-8"));
    env(m, text("SLURM_CONF=%s", p->slurm_conf));
    env(m, text("SLURM_AGENT_CONF=%s", p->agent_conf));
    if (!agent && p->spy)
        env(m, text("LD_PRELOAD=%s", p->spy));
    arg(m, strdup("sbatch"));
    if (!case_has(c, "nohold"))
        arg(m, strdup("-H"));
    for (size_t i = 0; i < c->n; i++) {
        char *word = case_expand(c->words[i], dir, p->job_id);
        if ((value = case_directive(word, "env")))
            env(m, strdup(value));
        else if ((value = case_directive(word, "script"))) {
            free(lines);
            lines = text("%s\n", value);
        } else if ((value = case_directive(word, "body")))
            body = strdup(value);
        else if ((value = case_directive(word, "file"))) {
            char *name = strdup(value), *equals = strchrnul(name, '=');
            if (*equals)
                *equals++ = '\0';
            write_file(m, name, equals);
            free(name);
        } else if ((value = case_directive(word, "umask")))
            m->mask = (mode_t)strtol(value, NULL, 8);
        else if (case_directive(word, "stdin") || case_directive(word, "none"))
            named = false;
        else if (case_directive(word, "args"))
            behind = true;
        else if (word[0] != '@' && !behind)
            arg(m, strdup(word));
        free(word);
    }
    if (!body)
        body = text("#!/bin/sh\n%strue\n", lines);
    if (named) {
        write_file(m, "job.sh", body);
        arg(m, strdup("job.sh"));
    } else {
        stdin_body = body;
    }
    for (size_t i = 0, on = 0; i < c->n; i++) {
        if (on)
            arg(m, case_expand(c->words[i], dir, p->job_id));
        on |= case_directive(c->words[i], "args") != NULL;
    }
    m->in = temporary("in", stdin_body);
    m->out = temporary("out", NULL);
    m->err = temporary("err", NULL);
    free(body);
    free(lines);
}

static void done(struct command *m)
{
    for (size_t i = 0; i < m->argc; i++)
        free(m->argv[i]);
    for (size_t i = 0; i < m->envc; i++)
        free(m->env[i]);
    free(m->program);
    close(m->in);
    close(m->out);
    close(m->err);
}

_Noreturn static void become(struct command *m)
{
    if (syscall(SYS_setgroups, m->group_count, m->groups) < 0 ||
        syscall(SYS_setresgid, m->gid, m->gid, m->gid) < 0 ||
        syscall(SYS_setresuid, m->uid, m->uid, m->uid) < 0 || chdir(m->dir) < 0 ||
        dup2(m->in, 0) < 0 || dup2(m->out, 1) < 0 || dup2(m->err, 2) < 0)
        _exit(126);
    umask(m->mask);
    execve(m->program, m->argv, m->env);
    _exit(127);
}

/* Its exit status; -1 when it was killed, or had to be. */
static int wait_for(pid_t pid)
{
    int status, fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (fd >= 0 && poll(&p, 1, PATIENCE_MS) == 0)
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    if (waitpid(pid, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *contents(int fd)
{
    struct stat st;
    fstat(fd, &st);
    char *s = calloc(1, (size_t)st.st_size + 1);
    if (!s || pread(fd, s, (size_t)st.st_size, 0) < 0)
        err(2, "output");
    return s;
}

void submit_case(const struct place *p, const struct test_case *c, const char *dir, bool agent,
                 struct result *ret)
{
    struct command m;
    make(p, c, dir, agent, &m);
    pid_t pid = fork();
    if (pid == 0)
        become(&m);
    *ret = (struct result){.status = wait_for(pid)};
    ret->out = contents(m.out);
    ret->err = contents(m.err);
    done(&m);
    if (sscanf(ret->out, "Submitted batch job %" SCNu32, &ret->job_id) != 1)
        sscanf(ret->out, "%" SCNu32, &ret->job_id);
}

void result_done(struct result *r)
{
    free(r->out);
    free(r->err);
}
