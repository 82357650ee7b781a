/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "agentd/command.h"
#include "agentd/processes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fdio.h"
#include "common/str.h"

enum {
    /* A restart waits for this, also while slurmctld is down. */
    PATIENCE_MS = 5000,
    OUTPUT = 16384,
};

void check_line(struct check *c, enum check_result result, const char *what, const char *text)
{
    const char *word = result == CHECK_OK ? "ok" : result == CHECK_NOTE ? "note" : "FAIL";
    c->findings++;
    c->failed += result == CHECK_FAIL;
    printf("%-5s %-10s ", word, what);
    for (const char *p = text; *p; p++)
        putchar((unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
    putchar('\n');
}

struct check_program {
    const char *name;
    const char *role;           /* a worker's, or NULL */
    const struct identity *who; /* NULL: as we are */
    int exe;                    /* O_PATH */
    const char *what;           /* of the line that is printed when it does not end in time */
    const char *advice;         /* and what to do then */
};

/* "+munge<TAB>text"; whatever else a program writes is a finding, too. */
static void show(struct check *c, const struct check_program *p, char *line)
{
    char *tab = strchr(line, '\t');
    if (!tab || !strchr("+-!", line[0])) {
        check_line(c, CHECK_FAIL, p->what, line);
        return;
    }
    *tab = '\0';
    check_line(c, (enum check_result)line[0], line + 1, tab + 1);
}

static void show_all(struct check *c, const struct check_program *p, char *text)
{
    char *save = NULL;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        show(c, p, l);
}

/* What a program writes: its findings, and whatever libraries have to say on stderr. */
struct output {
    int fd; /* our end of the pipe */
    bool ended;
    size_t n;
    char text[OUTPUT];
};

/* What is past the size is read, and not kept. */
static void take(struct output *o)
{
    char more[512];
    size_t left = sizeof o->text - 1 - o->n;
    ssize_t got = read(o->fd, left ? o->text + o->n : more, left ? left : sizeof more);
    o->ended = got == 0 || (got < 0 && errno != EINTR);
    o->n += left && got > 0 ? (size_t)got : 0;
}

/* All that it writes until it ends; false when that takes too long. */
static bool gather(struct output *out, struct output *errs)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!out->ended || !errs->ended) {
        struct pollfd p[] = {{.fd = out->ended ? -1 : out->fd, .events = POLLIN},
                             {.fd = errs->ended ? -1 : errs->fd, .events = POLLIN}};
        int64_t left = until - clock_mono_ms();
        if (left <= 0)
            return false;
        if (poll(p, 2, (int)left) <= 0)
            continue;
        if (p[0].revents)
            take(out);
        if (p[1].revents)
            take(errs);
    }
    return true;
}

/* Passes stderr on; the last two lines of it go to out. */
static void pass_on(struct output *errs, char *out, size_t size)
{
    char *save = NULL, *before = NULL, *last = NULL;
    for (char *p = errs->text; *p; p++)
        if (((unsigned char)*p < ' ' && *p != '\n') || *p == 0x7f)
            *p = '?';
    for (char *l = strtok_r(errs->text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        fprintf(stderr, "%s\n", l);
        before = last;
        last = l;
    }
    snprintf(out, size, "%s%s%s", str_or(before, ""), before ? "; " : "",
             str_or(last, "it did not say why"));
}

static pid_t start(const struct check *c, const struct check_program *p, int fd, int err_fd)
{
    struct command cmd;
    size_t n = 0;
    command_make(&cmd, p->name, c->conf_path, p->role, c->single_user, false);
    while (cmd.argv[n])
        n++;
    cmd.argv[n++] = "--check";
    cmd.argv[n] = NULL;
    struct spawn s = {
        .who = c->single_user ? NULL : p->who,
        .exe = p->exe,
        .argv = (char *const *)cmd.argv,
        .envp = cmd.envp,
        .fds = {fd, -1},
        .in_fd = c->settings_fd,
        .null_fd = c->programs->null,
        .err_fd = err_fd,
    };
    return spawn_child(&s);
}

/* False when something is wrong. */
static bool run(struct check *c, const struct check_program *p)
{
    char text[600], last[500];
    int out[2] = {-1, -1}, errs[2] = {-1, -1}, status = 0;
    unsigned failed = c->failed;
    AUTO(free) struct output *said = calloc(2, sizeof *said);
    fflush(stdout);
    if (!said || pipe2(out, O_CLOEXEC) < 0 || pipe2(errs, O_CLOEXEC) < 0) {
        check_line(c, CHECK_FAIL, p->what, strerror(errno));
        fdio_close_pair(out);
        return false;
    }
    pid_t pid = start(c, p, out[1], errs[1]);
    int cannot = errno;
    said[0].fd = out[0];
    said[1].fd = errs[0];
    close(TAKE_FD(out[1]));
    close(TAKE_FD(errs[1]));
    bool ended = pid > 0 && gather(&said[0], &said[1]);
    fdio_close_pair(out);
    fdio_close_pair(errs);
    if (pid > 0 && !ended)
        kill(pid, SIGKILL);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    show_all(c, p, said[0].text);
    pass_on(&said[1], last, sizeof last);
    if (pid > 0 && !ended)
        snprintf(text, sizeof text, "no answer in %d s: %s", PATIENCE_MS / 1000, p->advice);
    else if (pid > 0 && status == 0)
        return c->failed == failed;
    else if (pid < 0)
        snprintf(text, sizeof text, "cannot start %s: %s", p->name, strerror(cannot));
    else if (WIFEXITED(status) && WEXITSTATUS(status) == SPAWN_EXIT_PRIVILEGE)
        snprintf(text, sizeof text,
                 "%s could not become uid %u, or be executed: CAP_SETUID and CAP_SETGID are needed",
                 p->name, p->who->uid);
    else
        snprintf(text, sizeof text, "%s ended with status %d: %s", p->name,
                 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), last);
    check_line(c, CHECK_FAIL, p->what, text);
    return false;
}

/* Each program as it would run, and nothing of what it would do. */
void check_programs(struct check *c)
{
    const struct programs *p = c->programs;
    const struct check_program broker = {
        .name = p->names[KIND_BROKER],
        .who = &p->broker_user,
        .exe = p->exe[KIND_BROKER],
        .what = "broker",
        .advice = "is a directory of its settings on a file system that hangs?",
    };
    const struct check_program auth = {
        .name = p->names[KIND_AUTH],
        .who = &p->root,
        .exe = p->exe[KIND_AUTH],
        .what = "munge",
        .advice = "munged hangs (systemctl restart munge)",
    };
    const struct check_program watcher = {
        .name = p->names[KIND_WATCHER],
        .role = "watch",
        .who = &p->watch_user,
        .exe = p->exe[KIND_WATCHER],
        .what = "slurmctld",
        .advice = "slurmctld is down, or cannot be reached (scontrol ping)",
    };
    run(c, &broker);
    if (run(c, &auth))
        run(c, &watcher);
    else
        check_line(c, CHECK_NOTE, "slurmctld", "not asked, since that takes munge");
}

int check_end(const struct check *c)
{
    if (c->failed)
        printf("%u of %u need somebody's attention\n", c->failed, c->findings);
    else
        printf("all is well\n");
    return c->failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
