/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/run.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

/* Who a program runs as, and its environment: all that takes memory, before there is a child.  A
 * child has the locks of malloc() as other threads had them, and Criterion's library has some. */
struct identity {
    bool changes;
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    int n_groups;
    char **env;
    char *own[3]; /* of env */
};

static void identity_init(struct identity *id, const char *user)
{
    static const char *const names[] = {"HOME=", "USER=", "LOGNAME="};
    const struct passwd *pw = user ? getpwnam(user) : NULL;
    size_t n = 0, kept = 0;
    *id = (struct identity){.env = environ, .n_groups = ARRAY_LEN(id->groups)};
    if (!pw || pw->pw_uid == getuid())
        return;
    id->changes = true;
    id->uid = pw->pw_uid;
    id->gid = pw->pw_gid;
    cr_assert_geq(getgrouplist(user, pw->pw_gid, id->groups, &id->n_groups), 0);
    while (environ[n])
        n++;
    id->env = calloc(n + ARRAY_LEN(names) + 1, sizeof *id->env);
    cr_assert_not_null(id->env);
    for (size_t i = 0; i < n; i++) {
        bool own = false;
        for (size_t k = 0; k < ARRAY_LEN(names); k++)
            own = own || strncmp(environ[i], names[k], strlen(names[k])) == 0;
        if (!own)
            id->env[kept++] = environ[i];
    }
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        cr_assert_gt(asprintf(&id->own[k], "%s%s", names[k], k == 0 ? pw->pw_dir : user), 0);
        id->env[kept++] = id->own[k];
    }
}

static void identity_done(struct identity *id)
{
    if (!id->changes)
        return;
    for (size_t k = 0; k < ARRAY_LEN(id->own); k++)
        free(id->own[k]);
    free(id->env);
}

/* Nothing in here may allocate. */
static void child(const struct identity *id, const char *const *argv, const int in[2],
                  const int out[2], const int err[2])
{
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL); /* ignored in what a shell has in the background */
    if (id->changes &&
        (setgroups((size_t)id->n_groups, id->groups) < 0 ||
         setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0))
        _exit(126);
    execvpe(argv[0], (char *const *)argv, id->env);
    dprintf(2, "%s: %s\n", argv[0], strerrordesc_np(errno));
    _exit(127);
}

struct sink {
    int fd;
    char *text;
    size_t n;
};

static void drain(struct sink *s)
{
    char buf[65536];
    ssize_t n = read(s->fd, buf, sizeof buf);
    if (n <= 0) {
        close(s->fd);
        s->fd = -1;
        return;
    }
    s->text = realloc(s->text, s->n + (size_t)n + 1);
    memcpy(s->text + s->n, buf, (size_t)n);
    s->n += (size_t)n;
    s->text[s->n] = '\0';
}

struct running {
    const char *name;
    pid_t pid;
    struct sink out, err;
};

/* Takes what comes until the deadline or the end of both; false at the deadline. */
static bool pump(struct running *r, int64_t deadline_ms, const char *until)
{
    while (r->out.fd >= 0 || r->err.fd >= 0) {
        struct pollfd p[2] = {{.fd = r->out.fd, .events = POLLIN},
                              {.fd = r->err.fd, .events = POLLIN}};
        int64_t left = deadline_ms - clock_mono_ms();
        if (until && (strstr(r->out.text, until) || strstr(r->err.text, until)))
            return true;
        if (left <= 0 || poll(p, 2, (int)left) == 0)
            return false;
        if (p[0].revents)
            drain(&r->out);
        if (p[1].revents)
            drain(&r->err);
    }
    return true;
}

static struct running *begin(const char *user, const char *const *argv, const char *input)
{
    int in[2], out[2], err[2];
    struct running *r = calloc(1, sizeof *r);
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
              pipe2(err, O_CLOEXEC) == 0);
    /* Small inputs fit into the pipe, so that nobody waits for anybody. */
    cr_assert_lt(strlen(input), 60000);
    struct identity id;
    identity_init(&id, user);
    fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        child(&id, argv, in, out, err);
    identity_done(&id);
    close(in[0]);
    close(out[1]);
    close(err[1]);
    signal(SIGPIPE, SIG_IGN);
    ssize_t ignored = write(in[1], input, strlen(input));
    (void)ignored;
    close(in[1]);
    *r = (struct running){argv[0], pid, {out[0], calloc(1, 1), 0}, {err[0], calloc(1, 1), 0}};
    return r;
}

struct running *run_begin_argv(const char *user, const char *const *argv)
{
    return begin(user, argv, "");
}

bool run_goes_on(struct running *r, int ms, struct run *ret)
{
    bool there = !pump(r, clock_mono_ms() + ms, NULL);
    if (ret)
        *ret = (struct run){.out = r->out.text, .err = r->err.text};
    return there;
}

bool run_says(struct running *r, const char *text)
{
    pump(r, clock_mono_ms() + RUN_TIMEOUT_S * 1000, text);
    return strstr(r->out.text, text) || strstr(r->err.text, text);
}

void run_signal(struct running *r, int signal)
{
    kill(r->pid, signal);
}

struct run run_end(struct running *r)
{
    int status;
    if (!pump(r, clock_mono_ms() + RUN_TIMEOUT_S * 1000, NULL)) {
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
        cr_assert_fail("%s did not end in %d s; it wrote: %s%s", r->name, RUN_TIMEOUT_S,
                       r->out.text, r->err.text);
    }
    cr_assert_eq(waitpid(r->pid, &status, 0), r->pid);
    struct run done = {
        .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
        .out = r->out.text,
        .err = r->err.text,
    };
    free(r);
    return done;
}

struct run run_argv(const char *user, const char *const *argv, const char *input)
{
    return run_end(begin(user, argv, input));
}

void run_free(struct run *r)
{
    free(r->out);
    free(r->err);
    *r = (struct run){0};
}

int run_status(struct run r)
{
    int status = r.status;
    run_free(&r);
    return status;
}

bool wait_until(until_fn fn, void *arg, int deadline_ms)
{
    int64_t end = clock_mono_ms() + deadline_ms;
    for (;;) {
        int64_t begun = clock_mono_ms();
        if (fn(arg))
            return true;
        int64_t now = clock_mono_ms(), took = now - begun;
        if (now >= end)
            return false;
        /* Most of these run a program: half of the time is for those that it waits for. */
        poll(NULL, 0, took < 50 ? 50 : took < 250 ? (int)took : 250);
    }
}
