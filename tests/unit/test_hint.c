/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The hint socket, with the test as slurm-agent-hint and as whoever else finds it; and the program
 */
#include "agentd/hint.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "agentd/conf.h"
#include "agentd/hint_proto.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/run.h"
#include "tests/kit/scratch.h"

enum { PATIENCE_MS = 10000, STRANGER = 4242 };

static struct {
    char dir[SCRATCH_PATH], path[SCRATCH_PATH];
    sd_event *loop;
    struct hints *hints;
    int fd;
    uint32_t allowed;
    uint32_t last_id;
    int ones, wholes, asked_may;
} t;

static void on_load(void *arg, uint32_t job_id)
{
    (void)arg;
    if (job_id)
        t.ones++;
    else
        t.wholes++;
    t.last_id = job_id;
}

static bool may(void *arg, uint32_t uid)
{
    (void)arg;
    t.asked_may++;
    return uid == t.allowed;
}

static void start(void)
{
    const struct hint_hooks hooks = {on_load, may, NULL};
    struct err err = {0};
    scratch_make(t.dir);
    scratch_path(t.path, t.dir, "hint.sock");
    t.allowed = getuid();
    cr_assert_geq(sd_event_new(&t.loop), 0);
    t.hints = hints_open(t.loop, t.path, &hooks, &err);
    cr_assert_not_null(t.hints, "%s", err.text);
    t.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(t.fd, 0);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    str_copy(to.sun_path, sizeof to.sun_path, t.path);
    cr_assert_eq(connect(t.fd, (const struct sockaddr *)&to, sizeof to), 0);
}

static void stop(void)
{
    hints_free(t.hints);
    sd_event_unref(t.loop);
    close(t.fd);
    scratch_remove(t.dir);
}

static void say(const void *bytes, size_t size)
{
    cr_assert_eq(send(t.fd, bytes, size, MSG_DONTWAIT), (ssize_t)size);
}

static struct hint_packet packet(uint32_t job_id)
{
    return (struct hint_packet){.magic = HINT_MAGIC, .version = HINT_VERSION, .job_id = job_id};
}

static void say_job(uint32_t job_id)
{
    struct hint_packet p = packet(job_id);
    say(&p, sizeof p);
}

/* Until n senders have been looked at. */
static void run_until_looked_at(int n)
{
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (t.asked_may < n) {
        cr_assert_lt(clock_mono_ms(), end, "%d of %d datagrams", t.asked_may, n);
        sd_event_run(t.loop, 20000);
    }
}

Test(hint, loads_the_job_it_is_told_of, .timeout = 60)
{
    start();
    say_job(4711);
    run_until_looked_at(1);
    cr_expect_eq(t.ones, 1);
    cr_expect_eq(t.last_id, 4711u);
    stop();
}

Test(hint, a_task_is_loaded_by_its_own_id_and_else_by_the_arrays, .timeout = 60)
{
    start();
    struct hint_packet p = packet(18);
    p.array_job_id = 17;
    p.array_task_id = 3;
    say(&p, sizeof p);
    run_until_looked_at(1);
    cr_expect_eq(t.last_id, 18u);
    p.job_id = 0;
    say(&p, sizeof p);
    run_until_looked_at(2);
    cr_expect_eq(t.last_id, 17u);
    cr_expect_eq(t.wholes, 0);
    stop();
}

Test(hint, whoever_else_writes_there_is_not_heard, .timeout = 60)
{
    start();
    t.allowed = getuid() + 1;
    say_job(1);
    run_until_looked_at(1);
    cr_expect_eq(t.ones + t.wholes, 0);
    stop();
}

/* As root: a user without any right to do more than write to the socket, which its mode allows. */
Test(hint, the_kernel_says_who_writes, .timeout = 60)
{
    if (getuid() != 0)
        cr_skip_test("needs root");
    start();
    pid_t pid = fork();
    if (pid == 0) {
        struct hint_packet p = packet(1);
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        str_copy(to.sun_path, sizeof to.sun_path, t.path);
        int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        if (setgid(STRANGER) < 0 || setuid(STRANGER) < 0 ||
            sendto(fd, &p, sizeof p, 0, (const struct sockaddr *)&to, sizeof to) != sizeof p)
            _exit(1);
        _exit(0);
    }
    int status;
    cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
    run_until_looked_at(1);
    cr_expect_eq(t.ones + t.wholes, 0);
    t.allowed = STRANGER;
    say_job(2); /* root is not allowed now */
    run_until_looked_at(2);
    cr_expect_eq(t.ones + t.wholes, 0);
    stop();
}

Test(hint, datagrams_of_another_form_do_nothing, .timeout = 60)
{
    start();
    struct {
        struct hint_packet p;
        char more[100000];
    } big = {.p = packet(1)};
    const size_t sizes[] = {0, 1, sizeof big.p - 1, sizeof big.p + 1, 4096, sizeof big};
    int n = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        say(&big, sizes[i]);
        run_until_looked_at(++n);
    }
    struct hint_packet p = packet(1);
    p.magic ^= 1;
    say(&p, sizeof p);
    p = packet(1);
    p.version++;
    say(&p, sizeof p);
    run_until_looked_at(n + 2);
    cr_expect_eq(t.ones + t.wholes, 0);
    say_job(5); /* and it goes on */
    run_until_looked_at(n + 3);
    cr_expect_eq(t.ones, 1);
    stop();
}

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

Test(hint, descriptors_that_are_sent_along_are_not_taken, .timeout = 60)
{
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    start();
    struct hint_packet p = packet(1);
    struct iovec iov = {&p, sizeof p};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control.buf};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), (int[]){0, 1}, 2 * sizeof(int));
    int before = open_descriptors();
    cr_assert_eq(sendmsg(t.fd, &m, 0), (ssize_t)sizeof p);
    run_until_looked_at(1);
    cr_expect_eq(open_descriptors(), before);
    stop();
}

Test(hint, a_flood_asks_for_the_table_once_a_second, .timeout = 60)
{
    start();
    int64_t begin = clock_mono_ms(), end = begin + 2500;
    int sent = 0;
    while (clock_mono_ms() < end) {
        struct hint_packet p = packet((uint32_t)++sent);
        if (send(t.fd, &p, sizeof p, MSG_DONTWAIT) < 0) /* full: let it be read */
            sent--;
        sd_event_run(t.loop, 1000);
    }
    int64_t took_ms = clock_mono_ms() - begin;
    cr_expect_gt(sent, 300);
    cr_expect_leq(t.ones, HINT_RATE + took_ms * HINT_RATE / 1000 + 1);
    cr_expect_geq(t.wholes, 2);
    cr_expect_leq(t.wholes, 1 + took_ms / HINT_WHOLE_MS);
    /* what came last is not forgotten: the table is asked for once more, then never again */
    int wholes = t.wholes;
    say_job(0);
    for (int64_t late = clock_mono_ms() + PATIENCE_MS; t.wholes == wholes;) {
        cr_assert_lt(clock_mono_ms(), late);
        sd_event_run(t.loop, 20000);
    }
    stop();
}

Test(hint, an_old_socket_goes_and_another_file_stays, .timeout = 60)
{
    const struct hint_hooks hooks = {on_load, may, NULL};
    struct err err = {0};
    start();
    hints_free(t.hints);
    t.hints = hints_open(t.loop, t.path, &hooks, &err);
    cr_expect_not_null(t.hints, "%s", err.text);
    char file[SCRATCH_PATH];
    scratch_path(file, t.dir, "file");
    scratch_write(t.dir, "file", "kept");
    cr_expect_null(hints_open(t.loop, file, &hooks, &err));
    cr_expect_not_null(strstr(err.text, "no socket"), "%s", err.text);
    cr_expect_eq(access(file, F_OK), 0);
    err = (struct err){0};
    cr_expect_null(hints_open(t.loop, "/nonexistent/hint.sock", &hooks, &err));
    cr_expect_not_null(strstr(err.text, "/nonexistent/hint.sock"), "%s", err.text);
    stop();
}

/* ---- the program ---- */

static struct run program(const char *job, const char *option, const char *value)
{
    char path[BUILD_PATH];
    build_path(path, "libexec/slurm-agent-hint");
    return run_as(NULL, "env", "-i", job, "SLURM_ARRAY_JOB_ID=41", "SLURM_ARRAY_TASK_ID=7", path,
                  "--socket", t.path, option, value);
}

Test(hint, the_program_says_what_slurmctld_told_it, .timeout = 60)
{
    start();
    AUTO(run_free) struct run r = program("SLURM_JOB_ID=42", NULL, NULL);
    cr_expect_eq(r.status, 0);
    cr_expect_str_empty(r.out);
    cr_expect_str_empty(r.err);
    run_until_looked_at(1);
    cr_expect_eq(t.last_id, 42u);
    AUTO(run_free) struct run array = program("SLURM_JOB_ID=none", "--verbose", NULL);
    cr_expect_eq(array.status, 0);
    run_until_looked_at(2);
    cr_expect_eq(t.last_id, 41u);
    stop();
}

Test(hint, the_program_never_fails_and_never_waits, .timeout = 60)
{
    struct agentd_conf conf;
    struct arena arena = {0};
    struct err err = {0};
    cr_assert_eq(agentd_conf_load(NULL, &arena, &conf, &err), 0);
    cr_expect_str_eq(conf.hint_socket, HINT_SOCKET, "what it does without --socket");
    arena_done(&arena);
    start();
    for (int i = 0; i < 1000; i++) { /* nobody reads */
        struct hint_packet p = packet(1);
        if (send(t.fd, &p, sizeof p, MSG_DONTWAIT) < 0)
            break;
        cr_assert_lt(i, 999, "the socket never fills");
    }
    const char *const options[][2] = {
        {"--verbose", NULL}, {"--nonsense", "--verbose"},  {"stray", "--verbose"},
        {NULL, NULL},        {"--socket", "/nonexistent"}, {"--socket", "/"},
        {"--socket", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        AUTO(run_free) struct run r = program("SLURM_JOB_ID=42", options[i][0], options[i][1]);
        bool verbose = str_eq(options[i][0], "--verbose") || str_eq(options[i][1], "--verbose");
        cr_expect_eq(r.status, 0, "%zu: %s", i, r.err);
        cr_expect_str_empty(r.out);
        cr_expect_eq(*r.err != '\0', verbose, "%zu: %s", i, r.err);
    }
    stop();
}
