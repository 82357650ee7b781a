/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who keeps a new broker waiting.  The processes are said to have been killed long ago and have not
 * been: so they can be put into each state at leisure. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agentd/monitor_proto.h"
#include "agentd/processes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/scratch.h"

enum { PATIENCE_MS = 10000 };

static pid_t child, other;

static void teardown(void)
{
    pid_t both[] = {other, child};
    for (size_t i = 0; i < ARRAY_LEN(both); i++)
        if (both[i] > 0) {
            kill(both[i], SIGKILL);
            waitpid(both[i], NULL, 0);
        }
}

TestSuite(processes, .fini = teardown, .timeout = 60);

static pid_t begin(void (*body)(void))
{
    pid_t parent = getpid(), pid = fork();
    cr_assert_geq(pid, 0);
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        body();
    _exit(0);
}

static void spin(void)
{
    for (volatile bool on = true; on;)
        ;
}

static void *spin_thread(void *arg)
{
    (void)arg;
    spin();
    return NULL;
}

static void sleep_on(void)
{
    for (;;)
        pause();
}

static void *sleep_thread(void *arg)
{
    (void)arg;
    sleep_on();
    return NULL;
}

/* The leader is dead, and another thread is not. */
static void leave_a_spinning_thread(void)
{
    pthread_t t;
    prctl(PR_SET_NAME, "a) Z (b");
    if (pthread_create(&t, NULL, spin_thread, NULL) == 0)
        pthread_exit(NULL);
}

static void spin_beside_a_thread(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, sleep_thread, NULL) == 0)
        spin();
}

static void sleep_beside_a_thread(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, sleep_thread, NULL) == 0)
        sleep_on();
}

static void end(void)
{
}

static char state_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    AUTO(free) char *text = scratch_read(path);
    const char *p = strrchr(text, ')');
    return p ? p[2] : '?';
}

static bool gets_into(pid_t pid, char state)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (state_of(pid) != state && clock_mono_ms() < until)
        poll(NULL, 0, 5);
    return state_of(pid) == state;
}

static struct process killed(pid_t pid, enum kind kind, uint32_t role, int64_t ms_ago)
{
    return (struct process){.kind = kind,
                            .pid = pid,
                            .fd = -1,
                            .uid = 1001,
                            .role = role,
                            .killed_ms = clock_mono_ms() - ms_ago};
}

static bool in_the_way(pid_t pid)
{
    struct process p = killed(pid, KIND_WORKER, ROLE_CONTROL, PROCESS_LINGER_MS + 1000);
    return processes_in_the_way(&p);
}

/* Within patience: a process that begins gets into its state sooner or later. */
static bool stays_or_leaves(pid_t pid, bool way)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (in_the_way(pid) != way && clock_mono_ms() < until)
        poll(NULL, 0, 5);
    return in_the_way(pid) == way;
}

static void expect_always_in_the_way(void)
{
    for (int i = 0; i < 100; i++)
        cr_assert(in_the_way(child), "%d", i);
}

Test(processes, one_that_runs_is_in_the_way)
{
    child = begin(spin);
    expect_always_in_the_way();
}

Test(processes, one_whose_dead_leader_left_a_running_thread_is_in_the_way)
{
    child = begin(leave_a_spinning_thread);
    cr_assert(gets_into(child, 'Z'));
    expect_always_in_the_way();
}

Test(processes, one_with_a_running_and_a_sleeping_thread_is_in_the_way)
{
    child = begin(spin_beside_a_thread);
    expect_always_in_the_way();
}

Test(processes, one_that_nobody_sees_is_in_the_way)
{
    child = begin(end);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    pid_t gone = child;
    child = 0;
    cr_expect(in_the_way(gone), "not listed, so not proved");
}

Test(processes, one_that_is_held_in_the_kernel_is_not)
{
    child = begin(sleep_on);
    cr_expect(gets_into(child, 'S') && stays_or_leaves(child, false));
    other = begin(sleep_beside_a_thread);
    cr_expect(gets_into(other, 'S') && stays_or_leaves(other, false));
}

Test(processes, a_zombie_is_not)
{
    child = begin(end);
    cr_assert(gets_into(child, 'Z'));
    cr_expect(!in_the_way(child));
}

Test(processes, all_have_time_to_go)
{
    child = begin(end);
    cr_assert(gets_into(child, 'Z'));
    struct process p = killed(child, KIND_WORKER, ROLE_FILE, PROCESS_LINGER_MS / 2);
    cr_expect(processes_in_the_way(&p));
    p.killed_ms = 0;
    cr_expect(processes_in_the_way(&p), "not even killed");
    cr_expect(!processes_in_the_way(NULL));
}

Test(processes, only_who_changes_jobs_is_in_the_way_for_ever)
{
    static const struct {
        enum kind kind;
        uint32_t role;
        bool way;
    } rows[] = {{KIND_WORKER, ROLE_CONTROL, true}, {KIND_BROKER, 0, true},
                {KIND_WORKER, ROLE_FILE, false},   {KIND_WORKER, ROLE_ACCT, false},
                {KIND_WATCHER, ROLE_WATCH, false}, {KIND_AUTH, 0, false}};
    child = begin(spin);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct process p = killed(child, rows[i].kind, rows[i].role, PROCESS_LINGER_MS + 1000);
        cr_expect_eq(processes_in_the_way(&p), rows[i].way, "row %zu", i);
    }
}

Test(processes, leftovers_are_counted_by_uid_and_role)
{
    child = begin(end);
    struct process v[4];
    const uint32_t roles[] = {ROLE_FILE, ROLE_FILE, ROLE_CONTROL, ROLE_FILE};
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = killed(child, KIND_WORKER, roles[i], PROCESS_LINGER_MS + 1000);
        v[i].next = i + 1 < ARRAY_LEN(v) ? &v[i + 1] : NULL;
    }
    v[3].uid = 1002;
    cr_expect_eq(processes_left(v, 1001, ROLE_FILE), 0, "none has been named yet");
    v[1].killed_ms = clock_mono_ms();
    processes_name_lingering(v);
    cr_expect_eq(processes_left(v, 1001, ROLE_FILE), 1);
    v[1].killed_ms = v[0].killed_ms;
    processes_name_lingering(v);
    cr_expect_eq(processes_left(v, 1001, ROLE_FILE), 2);
    cr_expect_eq(processes_left(v, 1001, ROLE_CONTROL), 1);
    cr_expect_eq(processes_left(v, 1002, ROLE_FILE), 1);
    cr_expect_eq(processes_left(v, 1003, ROLE_FILE), 0);
}
