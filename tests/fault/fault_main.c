/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fault/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEP_US = 20000, SETTLE_S = 300 };

struct fault *fault;
struct failpoint_plan *fault_plan;

int64_t fault_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t fault_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

uint32_t fault_chance(uint64_t *state, uint32_t below)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % below);
}

void fault_die(const char *what)
{
    fprintf(stderr, "fault: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int64_t setting(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoll(text, NULL, 0) : otherwise;
}

static void *shared(size_t size, int fd)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        fault_die("memory");
    return p;
}

/* Every process of the agent maps it, as whoever it runs. */
static void open_plan(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/etc/agentd.conf.failpoints", fault->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || fchmod(fd, 0666) < 0 || ftruncate(fd, sizeof *fault_plan) < 0)
        fault_die(path);
    fault_plan = shared(sizeof *fault_plan, fd);
    close(fd);
}

static void begin(int64_t seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    fault = shared(sizeof *fault, -1);
    fault->dir = getenv("SLURM_AGENT_SANDBOX");
    if (!fault->dir || getuid() != 0) {
        fputs("fault: run by root, in the environment of a sandbox (tests/fault/run.sh)\n", stderr);
        exit(2);
    }
    fault->seed =
        (uint64_t)setting("SEED", (int64_t)(t.tv_nsec / 1000 + t.tv_sec % 4096 * 1000000));
    fault->requests = (uint32_t)setting("REQUESTS", seconds * 10 > 1000 ? seconds * 10 : 1000);
    if (fault->requests > FAULT_MAX)
        fault->requests = FAULT_MAX;
    fault->begun_ms = fault_ms() + 500;
    fault->last_ms = fault->begun_ms + seconds * 1000;
    open_plan();
    fault_make_store();
    printf("fault: SEED=%llu, %u requests in %lld s by %d clients\n",
           (unsigned long long)fault->seed, fault->requests, (long long)seconds, FAULT_CLIENTS);
    fflush(stdout);
}

static uint32_t done(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fault->requests; i++)
        n += fault->request[i].done;
    return n;
}

/* On a busy machine they take longer, and are not spared for that. */
static bool goes_on(void)
{
    int64_t now = fault_ms(), span = fault->last_ms - fault->begun_ms;
    return now < fault->last_ms || fault_late_wants_more() ||
           (now < fault->last_ms + span && done() < fault->requests / 10 * 9);
}

static void say_now_and_then(void)
{
    static int64_t said_ms;
    if (fault_ms() - said_ms < 20000)
        return;
    said_ms = fault_ms();
    printf("fault: %lld s, %u done, %u kills, %u stops%s\n",
           (long long)(said_ms - fault->begun_ms) / 1000, done(), fault->kills, fault->stops,
           fault->calm ? ", nothing is broken any more" : "");
    fflush(stdout);
}

static void run(pid_t clients[FAULT_CLIENTS])
{
    while (goes_on()) {
        fault_chaos_step(clients);
        say_now_and_then();
        usleep(STEP_US);
    }
}

/* All is repaired, and the clients go on until each has its answer, and has done what it is to do;
 * on a busy machine many are late, so that it is over when no other one has come for long. */
static void settle(pid_t clients[FAULT_CLIENTS])
{
    int64_t begun = fault_ms(), end = begun + SETTLE_S * 1000;
    uint32_t before = 0;
    fault->calm_s = fault_s();
    fault->calm = true;
    while (fault_ms() < end && (done() < fault->requests || !fault_chaos_whole())) {
        fault_chaos_step(clients);
        usleep(STEP_US);
        say_now_and_then();
        if (done() > before)
            end = fault_ms() + SETTLE_S * 1000;
        before = done();
    }
    printf("fault: %u of %u done %lld s after the last kill\n", done(), fault->requests,
           (long long)(fault_ms() - begun) / 1000);
    for (int i = 0; i < FAULT_CLIENTS; i++)
        if (clients[i] > 0) {
            kill(clients[i], SIGKILL);
            waitpid(clients[i], NULL, 0);
        }
}

/* nng is not for processes that fork: each user's questions have their own. */
static void ask(void)
{
    for (int user = 0; user < FAULT_USERS; user++) {
        pid_t pid = fork();
        if (pid == 0) {
            fault_ask_all(user);
            _exit(0);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0)
            fault_die("asking what became of the requests");
    }
}

static void plant_double(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        fault_plant_double();
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        fault_die("planting a double");
}

/* False when one was never passed. */
static bool print_points(void)
{
    bool all = true;
    static const char *const names[] = {
#define POINT(name, process, where) #name,
#include "common/failpoint.def"
#undef POINT
    };
    static const char *const processes[] = {
#define POINT(name, process, where) process,
#include "common/failpoint.def"
#undef POINT
    };
    printf("%-16s %-8s %8s %8s %8s\n", "fail point", "process", "visited", "killed", "stopped");
    for (int i = 0; i < FAILPOINTS_COUNT; i++) {
        printf("%-16s %-8s %8u %8u %8u\n", names[i], processes[i], fault_plan->at[i].visits,
               fault_plan->at[i].killed, fault_plan->at[i].stopped);
        all = all && fault_plan->at[i].visits;
    }
    return all;
}

int main(void)
{
    pid_t clients[FAULT_CLIENTS];
    begin(setting("FAULT_S", 100));
    fault_chaos_begin();
    for (int i = 0; i < FAULT_CLIENTS; i++)
        clients[i] = fault_client_start(i);
    run(clients);
    settle(clients);
    if (setting("FAULT_PLANT", 0))
        plant_double();
    usleep(5000000); /* slurmdbd lags, and so may a job that nobody expects */
    ask();
    fault_chaos_print();
    bool all = print_points();
    return fault_count() && all ? 0 : 1;
}
