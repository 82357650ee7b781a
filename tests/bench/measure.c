/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/measure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/str.h"
#include "tests/bench/bench.h"

enum {
    CALLER_CALLS = 200000, /* that one caller can remember */
    PATIENCE_MS = 60000,   /* beyond what a cell is to take */
};

/* ---- figures ---- */

double quantile(double *v, size_t n, double percent)
{
    if (n == 0)
        return 0;
    qsort(v, n, sizeof *v, ascending);
    double at = (double)n * percent / 100;
    size_t rank = (size_t)at + ((double)(size_t)at < at); /* the nearest: with few the slowest */
    return v[rank ? rank - 1 : 0];
}

double median(const double *v, size_t n)
{
    double copy[MAX_ROUNDS];
    if (n > MAX_ROUNDS)
        n = MAX_ROUNDS;
    memcpy(copy, v, n * sizeof *v);
    return quantile(copy, n, 50);
}

json_t *figure(double v)
{
    char text[32];
    snprintf(text, sizeof text, v >= 1000 ? "%.0f" : "%.4g", v);
    return json_real(strtod(text, NULL));
}

double number_of(const json_t *of, const char *name)
{
    return json_number_value(json_object_get(of, name));
}

/* ---- CPU ---- */

static double cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
        return 0;
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Calls fn for each child of the monitor's. */
static void each_child(pid_t monitor, void (*fn)(void *arg, pid_t pid, const char *name), void *arg)
{
    DIR *d = opendir("/proc");
    const struct dirent *e;
    while (d && (e = readdir(d))) {
        int64_t pid;
        char path[300], name[64] = "";
        int parent = 0;
        if (!str_to_i64(e->d_name, 1, INT32_MAX, &pid))
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        AUTO(fclose) FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%*d (%63[^)]) %*c %d", name, &parent) == 2 && parent == monitor)
            fn(arg, (pid_t)pid, name);
    }
    if (d)
        closedir(d);
}

static void add_cpu(void *arg, pid_t pid, const char *name)
{
    struct cpu *c = arg;
    double us = cpu_of(pid);
    c->agentd += us;
    if (str_eq(name, "agent-broker"))
        c->broker = us;
}

struct cpu cpu_now(const struct bench *b)
{
    struct cpu c = {.slurmctld = cpu_of(b->slurmctld),
                    .slurmrestd = cpu_of(b->slurmrestd),
                    .echo = cpu_of(b->echo)};
    c.agentd = cpu_of(b->agentd);
    each_child(b->agentd, add_cpu, &c);
    return c;
}

struct cpu cpu_since(const struct bench *b, struct cpu then)
{
    struct cpu now = cpu_now(b);
    now.slurmctld -= then.slurmctld;
    now.slurmrestd -= then.slurmrestd;
    now.agentd -= then.agentd; /* a worker that has ended meanwhile takes its CPU along */
    now.broker -= then.broker;
    now.echo -= then.echo;
    return now;
}

static void add_memory(void *arg, pid_t pid, const char *name)
{
    char path[64], line[256];
    if (!str_eq(name, "agent-broker"))
        return;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    AUTO(fclose) FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", (long *)arg);
}

long broker_kib(const struct bench *b)
{
    long kib = 0;
    each_child(b->agentd, add_memory, &kib);
    return kib;
}

static void read_stat(double *busy, double *all)
{
    double v[8] = {0};
    AUTO(fclose) FILE *f = fopen("/proc/stat", "re");
    if (!f || fscanf(f, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", v, v + 1, v + 2, v + 3, v + 4, v + 5,
                     v + 6, v + 7) != 8)
        die("/proc/stat", "cannot be read");
    *busy = v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
    *all = *busy + v[3] + v[4]; /* idle, and waiting for a disk */
}

double busy_percent(void)
{
    double busy[2], all[2];
    read_stat(&busy[0], &all[0]);
    poll(NULL, 0, 200);
    read_stat(&busy[1], &all[1]);
    return all[1] > all[0] ? 100 * (busy[1] - busy[0]) / (all[1] - all[0]) : 0;
}

/* ---- disk ---- */

void disk_sync(const char *dir, double *ms, size_t n)
{
    char path[4096], block[4096] = {1};
    snprintf(path, sizeof path, "%s/bench-fsync", dir);
    AUTO(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path, strerror(errno));
    for (size_t i = 0; i < n; i++) {
        double t = now_ms(CLOCK_MONOTONIC);
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) < 0)
            die(path, strerror(errno));
        ms[i] = now_ms(CLOCK_MONOTONIC) - t;
    }
    unlink(path);
}

/* ---- children ---- */

void become(const char *user)
{
    const struct passwd *pw = getpwnam(user);
    if (!pw)
        die(user, "there is no such user");
    if (pw->pw_uid == getuid())
        return;
    if (initgroups(user, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        die(user, strerror(errno));
    setenv("USER", user, 1);
    setenv("LOGNAME", user, 1);
    setenv("HOME", pw->pw_dir, 1);
}

/* Shared with the callers; all of it but what they touch is never there. */
struct caller {
    size_t n, kept_n;
    double ms[CALLER_CALLS];
    uint32_t kept[CALLER_CALLS + 1];
};

/* Each is closed by the parent to let the children go on. */
struct gates {
    int begin[2], leave[2], report[2];
};

static void open_gates(struct gates *g)
{
    if (pipe2(g->begin, O_CLOEXEC) < 0 || pipe2(g->leave, O_CLOEXEC) < 0 ||
        pipe2(g->report, O_CLOEXEC) < 0)
        die("pipe", strerror(errno));
}

static void wait_for(int fd)
{
    char c;
    while (read(fd, &c, 1) < 0 && errno == EINTR)
        ;
}

static void say(int fd)
{
    if (write(fd, "", 1) != 1)
        _exit(1);
}

static void run_caller(const struct task *t, int number, struct caller *c, const struct gates *g)
{
    void *open = t->open(t->arg);
    uint32_t kept = t->call(open, t->arg, number, 0);
    if (kept)
        c->kept[c->kept_n++] = kept;
    say(g->report[1]);
    wait_for(g->begin[0]);
    size_t max = t->max_calls ? t->max_calls : CALLER_CALLS;
    double begun = now_ms(CLOCK_MONOTONIC), now = begun;
    while (c->n < max && (now < begun + t->ms || c->n < t->min_calls)) {
        kept = t->call(open, t->arg, number, c->n + 1);
        double end = now_ms(CLOCK_MONOTONIC);
        c->ms[c->n++] = t->took ? t->took(open) : end - now;
        now = end;
        if (kept)
            c->kept[c->kept_n++] = kept;
    }
    say(g->report[1]);
    wait_for(g->leave[0]);
    if (t->close)
        t->close(open);
}

/* All callers have said so; dies when one of them has. */
static void hear(const struct gates *g, int callers, int ms)
{
    double end = now_ms(CLOCK_MONOTONIC) + ms + PATIENCE_MS;
    for (int heard = 0; heard < callers;) {
        struct pollfd p = {.fd = g->report[0], .events = POLLIN};
        char c;
        int status;
        if (poll(&p, 1, 100) > 0 && read(g->report[0], &c, 1) == 1)
            heard++;
        else if (waitpid(-1, &status, WNOHANG) > 0)
            die("caller", "one has ended too early");
        else if (now_ms(CLOCK_MONOTONIC) > end)
            die("caller", "does not come back");
    }
}

pid_t fork_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("fork", strerror(errno));
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

void take(const struct bench *b, const struct task *task, int callers, const char *const *users,
          int n_users, struct taken *out)
{
    struct gates g;
    size_t size = sizeof(struct caller) * (size_t)callers;
    if (callers > MAX_CALLERS)
        die("callers", "too many");
    struct caller *c =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c == MAP_FAILED)
        die("memory", strerror(errno));
    open_gates(&g);
    for (int i = 0; i < callers; i++)
        if (fork_child() == 0) {
            close(g.begin[1]);
            close(g.leave[1]);
            become(users[i % n_users]);
            run_caller(task, i, &c[i], &g);
            _exit(0);
        }
    memset(out, 0, sizeof *out);
    hear(&g, callers, 0);
    struct cpu then = cpu_now(b);
    double begun = now_ms(CLOCK_MONOTONIC);
    close(g.begin[1]);
    hear(&g, callers, task->ms);
    out->seconds = (now_ms(CLOCK_MONOTONIC) - begun) / 1e3;
    out->cpu = cpu_since(b, then);
    close(g.leave[1]);
    for (int i = 0, status; i < callers; i++)
        if (wait(&status) < 0 || status != 0)
            die("caller", "one has failed");
    close(g.begin[0]);
    close(g.leave[0]);
    fdio_close_pair(g.report);
    for (int i = 0; i < callers; i++) {
        out->n += c[i].n;
        out->first[i + 1] = out->first[i] + c[i].kept_n;
    }
    out->ms = calloc(out->n + 1, sizeof *out->ms);
    out->kept = calloc(out->first[callers] + 1, sizeof *out->kept);
    if (!out->ms || !out->kept)
        die("memory", "there is none");
    for (size_t i = 0, n = 0; i < (size_t)callers; n += c[i++].n) {
        memcpy(out->ms + n, c[i].ms, c[i].n * sizeof *out->ms);
        memcpy(out->kept + out->first[i], c[i].kept, c[i].kept_n * sizeof *out->kept);
    }
    munmap(c, size);
}

void taken_free(struct taken *t)
{
    free(t->ms);
    free(t->kept);
    memset(t, 0, sizeof *t);
}

json_t *in_child(const char *user, json_t *(*fn)(const struct bench *b), const struct bench *b)
{
    int fds[2], status;
    if (pipe2(fds, O_CLOEXEC) < 0)
        die("pipe", strerror(errno));
    pid_t pid = fork_child();
    if (pid == 0) {
        become(user);
        json_t *made = fn(b);
        _exit(made && json_dumpfd(made, fds[1], 0) == 0 ? 0 : 1); /* nng's threads stay behind */
    }
    close(fds[1]);
    json_error_t error;
    json_t *made = json_loadfd(fds[0], 0, &error);
    close(fds[0]);
    if (waitpid(pid, &status, 0) < 0 || status != 0 || !made)
        die("child", "it has failed");
    return made;
}
