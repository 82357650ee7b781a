/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/munged.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

enum { KEY_BYTES = 64, START_MS = 10000, END_MS = 5000 };

static void write_key(const char *dir, const uint8_t *key)
{
    char path[SCRATCH_PATH];
    scratch_path(path, dir, "key");
    AUTO(close) int fd = open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && write(fd, key, KEY_BYTES) == KEY_BYTES, "%s", path);
}

static void copy_key(const char *dir, const char *from)
{
    char path[SCRATCH_PATH];
    uint8_t key[KEY_BYTES];
    scratch_path(path, from, "key");
    AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && read(fd, key, sizeof key) == KEY_BYTES, "%s", path);
    write_key(dir, key);
}

static bool answers(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    AUTO(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(a.sun_path, path, strlen(path) + 1);
    return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
}

/* Allocates nothing: Criterion's library has threads, and a child the locks of malloc() as those
 * had them.  So it is env that changes the environment; shift: what the clock needs, or empty. */
static void run_munged(const struct munged *m, const char *shift, const char *preload, pid_t parent)
{
    char key[SCRATCH_PATH + 32], pid[SCRATCH_PATH + 32], seed[SCRATCH_PATH + 32],
        sock[SCRATCH_PATH + 32];
    const char *argv[16] = {"env", "-u", "LD_PRELOAD"};
    size_t n = 3;
    snprintf(key, sizeof key, "--key-file=%s/key", m->dir);
    snprintf(pid, sizeof pid, "--pid-file=%s/pid", m->dir);
    snprintf(seed, sizeof seed, "--seed-file=%s/seed", m->dir);
    snprintf(sock, sizeof sock, "--socket=%s", m->socket);
    if (*shift) {
        argv[n++] = shift;
        argv[n++] = preload;
    }
    const char *const munged[] = {
        "/usr/sbin/munged", "--foreground", "--force", key, pid, seed, sock, "--num-threads=2"};
    memcpy(argv + n, munged, sizeof munged);
    /* A test that crashes leaves no daemon behind. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(m->dir) < 0)
        _exit(125);
    int log = open("log", O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(log, 1);
    dup2(log, 2);
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    execv("/usr/bin/env", (char *const *)argv);
    _exit(127);
}

static void begin(struct munged *m, int shift_s)
{
    char lib[BUILD_PATH], preload[BUILD_PATH + 16], shift[32] = "";
    pid_t parent = getpid();
    int64_t end = clock_mono_ms() + START_MS;
    build_path(lib, "tests/libexec/shifted_clock.so");
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", lib);
    if (shift_s)
        snprintf(shift, sizeof shift, "CLOCK_SHIFT_S=%d", shift_s);
    fflush(NULL);
    m->pid = fork();
    cr_assert_geq(m->pid, 0);
    if (m->pid == 0)
        run_munged(m, shift, preload, parent);
    while (!answers(m->socket)) {
        cr_assert_eq(waitpid(m->pid, NULL, WNOHANG), 0, "munged has ended: see %s/log", m->dir);
        cr_assert_lt(clock_mono_ms(), end, "munged does not answer at %s", m->socket);
        poll(NULL, 0, 10);
    }
}

void munged_begin(struct munged *m)
{
    begin(m, 0);
}

static void make_dir(struct munged *m)
{
    scratch_make(m->dir);
    scratch_path(m->socket, m->dir, "munge.sock");
}

void munged_start(struct munged *m)
{
    uint8_t key[KEY_BYTES];
    make_dir(m);
    cr_assert_eq(getrandom(key, sizeof key, 0), KEY_BYTES);
    write_key(m->dir, key);
    begin(m, 0);
}

void munged_start_shifted(struct munged *m, const struct munged *same_key, int shift_s)
{
    make_dir(m);
    copy_key(m->dir, same_key->dir);
    begin(m, shift_s);
}

void munged_end(struct munged *m)
{
    if (m->pid <= 0)
        return;
    /* munged may forget one that comes just before it waits for its next client. */
    int64_t end = clock_mono_ms() + END_MS;
    kill(m->pid, SIGTERM);
    while (waitpid(m->pid, NULL, WNOHANG) == 0) {
        poll(NULL, 0, 10);
        kill(m->pid, clock_mono_ms() < end ? SIGTERM : SIGKILL);
    }
    m->pid = 0;
}

void munged_stop(struct munged *m)
{
    munged_end(m);
    scratch_remove(m->dir);
}
