/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Children of the real slurm-agentd that were killed and do not go: held by a tracer, or in a file
 * system that hangs */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/family.h"

static struct family f = {.monitor = -1, .listening = -1};

static void setup(void)
{
    family_start(&f, "");
}

static void teardown(void)
{
    family_stop(&f);
}

static void take_lease(void)
{
    cr_assert_eq(family_lease(&f, 0, family_uid(), 600, 0).code, ERR_NONE);
}

TestSuite(monitor_left, .init = setup, .fini = teardown, .timeout = 60);

/* Of alice's own: it holds a process of hers that was killed, and never lets it go. */
static pid_t trace(pid_t pid)
{
    int ready[2];
    char c = 0;
    cr_assert_eq(pipe(ready), 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 && write(ready[1], "y", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    ssize_t n = read(ready[0], &c, 1);
    close(ready[0]);
    cr_assert(n == 1 && c == 'y', "cannot trace");
    return tracer;
}

/* Any broker that comes in spite of somebody old; the old one's kid is freed. */
static void expect_broker_beside(pid_t old)
{
    struct kid *broker = family_next(&f, "agent-broker", NULL);
    cr_expect_eq(kill(old, 0), 0, "%d is still there", (int)old);
    kid_free(f.broker);
    f.broker = NULL;
    f.waiting[FAMILY_WAITING - 1] = broker;
    family_gather(&f);
}

Test(monitor_left, a_dead_worker_that_is_held_does_not_keep_a_new_broker_away)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    pid_t tracer = trace(k->pid);
    kill(f.broker->pid, SIGKILL);
    expect_broker_beside(k->pid);
    cr_expect_str_eq(pid_status(k->pid, "State"), "Z (zombie)");
    kill(tracer, SIGKILL);
    waitpid(tracer, NULL, 0);
    cr_expect(pid_gone(k->pid));
    said_close(&s);
    kid_free(k);
}

/* Holds it in the middle of its exit, where it has its sockets still. */
static void hold_at_exit(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_TRACEEXIT) == 0)
        return;
    teardown();
    cr_skip_test("needs to trace processes");
}

static void let_go(pid_t pid)
{
    cr_expect_eq(waitpid(pid, NULL, 0), pid);
    cr_expect_eq(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
}

Test(monitor_left, a_new_broker_gives_those_that_were_killed_time_to_go)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    hold_at_exit(k->pid);
    kill(f.broker->pid, SIGKILL);
    cr_expect(pid_gone(f.watcher->pid));
    struct pollfd p = {.fd = f.listening, .events = POLLIN};
    cr_expect_eq(poll(&p, 1, 2000), 0, "nobody new has come");
    let_go(k->pid);
    struct kid *broker = family_next(&f, "agent-broker", NULL);
    cr_expect_neq(kill(k->pid, 0), 0, "it has gone before");
    kid_free(broker);
    said_close(&s);
    kid_free(k);
}

Test(monitor_left, a_killed_worker_that_is_stopped_in_its_exit_does_not_keep_a_new_broker_away)
{
    struct said s;
    struct kid *k = family_worker(&f, &s);
    hold_at_exit(k->pid);
    kill(f.broker->pid, SIGKILL);
    expect_broker_beside(k->pid);
    cr_expect(family_logged(&f, "was killed and is still there"));
    let_go(k->pid);
    cr_expect(pid_gone(k->pid));
    struct said next = family_spawn(&f, 0, ROLE_CONTROL);
    cr_expect_eq(next.ev.say, SAY_REFUSED, "the new broker hears nothing of its end");
    said_close(&s);
    kid_free(k);
}

/* ---- a hung file system ---- */

/* One of our own, in a mount namespace of our own.  It hangs as soon as somebody looks into it, and
 * until hung is closed. */
static int hung = -1;

static bool mount_hung(void)
{
    static uint8_t in[64 << 10];
    char path[SCRATCH_PATH], options[100];
    scratch_path(path, f.dir, "hung");
    hung = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40777,user_id=0,group_id=0,allow_other",
             hung);
    if (hung < 0 || mkdir(path, 0755) < 0 || mount("hung", path, "fuse", 0, options) < 0 ||
        read(hung, in, sizeof in) < (ssize_t)sizeof(struct fuse_in_header))
        return false;
    struct {
        struct fuse_out_header head;
        struct fuse_init_out init;
    } out = {
        .head = {.len = sizeof out, .unique = ((const struct fuse_in_header *)(void *)in)->unique},
        /* Parallel: whoever looks sends a request of its own. */
        .init = {.major = FUSE_KERNEL_VERSION,
                 .minor = 31,
                 .flags = FUSE_PARALLEL_DIROPS,
                 .max_write = 4096},
    };
    return write(hung, &out, sizeof out) == sizeof out;
}

static void setup_hung(void)
{
    /* Before the monitor: it and its children see what we mount. */
    bool alone = getuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
                 mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    setup();
    if (!alone || !mount_hung())
        hung = -1;
}

static void teardown_hung(void)
{
    char path[SCRATCH_PATH];
    scratch_path(path, f.dir, "hung");
    if (hung >= 0)
        close(hung);
    umount2(path, MNT_DETACH);
    teardown();
}

#define needs_hung()                                                                               \
    do {                                                                                           \
        if (hung < 0) {                                                                            \
            teardown_hung();                                                                       \
            cr_skip_test("needs to mount file systems");                                           \
        }                                                                                          \
    } while (0)

TestSuite(monitor_hung, .init = setup_hung, .fini = teardown_hung, .timeout = 60);

/* The worker looks there; killed, it does not go. */
static void hang(const struct kid *k)
{
    static uint8_t in[64 << 10];
    const struct fuse_in_header *head = (const void *)in;
    struct pollfd p = {.fd = hung, .events = POLLIN};
    char order[SCRATCH_PATH + 40];
    snprintf(order, sizeof order, "look %s/hung/%d", f.dir, (int)k->pid);
    cr_assert_eq(send(k->test, order, strlen(order), 0), (ssize_t)strlen(order));
    /* Once the request is taken, not even a signal ends the wait for its answer. */
    do
        cr_assert(poll(&p, 1, FAMILY_PATIENCE_MS) == 1 && read(hung, in, sizeof in) > 0);
    while (head->opcode != FUSE_LOOKUP);
}

Test(monitor_hung, does_not_keep_a_new_broker_away)
{
    struct said s;
    needs_hung();
    struct kid *k = family_worker(&f, &s);
    hang(k);
    kill(f.broker->pid, SIGKILL);
    expect_broker_beside(k->pid);
    cr_expect_str_eq(pid_status(k->pid, "State"), "D (disk sleep)");
    close(hung);
    hung = -1;
    cr_expect(pid_gone(k->pid), "it ends by itself, and is reaped");
    said_close(&s);
    kid_free(k);
}

/* The monitor's number of a file worker that has been killed and does not go. */
static void leave_one(void)
{
    take_lease();
    struct said s = family_spawn(&f, family_uid(), ROLE_FILE);
    cr_assert_eq(s.ev.say, SAY_SPAWNED, "%s", s.ev.text);
    struct kid *k = family_next(&f, "agent-worker", "file");
    hang(k);
    family_kill(&f, s.ev.process);
    said_close(&s);
    kid_free(k);
}

/* The first file worker that is refused, or is not, within the usual patience. */
static struct said spawn_in_time(bool refused)
{
    int64_t end = clock_mono_ms() + FAMILY_PATIENCE_MS;
    for (;;) {
        struct said s = family_spawn(&f, family_uid(), ROLE_FILE);
        if ((s.ev.say == SAY_REFUSED) == refused || clock_mono_ms() > end)
            return s;
        if (s.ev.say == SAY_SPAWNED) {
            kid_free(family_next(&f, "agent-worker", "file"));
            family_kill(&f, s.ev.process);
            cr_assert_eq(family_hear(&f).ev.say, SAY_ENDED);
        }
        said_close(&s);
        poll(NULL, 0, 200);
    }
}

Test(monitor_hung, a_user_has_two_leftovers_of_a_role)
{
    needs_hung();
    leave_one();
    leave_one();
    struct said s = spawn_in_time(true);
    cr_expect_eq(s.ev.say, SAY_REFUSED);
    cr_expect_eq(s.ev.code, ERR_BUSY);
    cr_expect_not_null(strstr(s.ev.text, "2 file workers of uid 4242 were killed and are still"),
                       "%s", s.ev.text);
    s = family_spawn(&f, family_uid(), ROLE_CONTROL);
    cr_assert_eq(s.ev.say, SAY_SPAWNED, "the other role works: %s", s.ev.text);
    kid_free(family_next(&f, "agent-worker", "control"));
    said_close(&s);
    kill(f.broker->pid, SIGKILL);
    kid_free(f.broker);
    f.broker = NULL;
    family_gather(&f);
    take_lease();
    s = family_spawn(&f, family_uid(), ROLE_FILE);
    cr_expect_eq(s.ev.say, SAY_REFUSED, "those of an earlier broker count");
    close(hung);
    hung = -1;
    s = spawn_in_time(false);
    cr_expect_eq(s.ev.say, SAY_SPAWNED, "they have gone: %s", s.ev.text);
    said_close(&s);
}
