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

enum { STEP_US = 20000, SETTLE_S = 150 };

struct fault *fault;
struct failpoint_plan *fault_plan;

int64_t fault_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
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

void fault_id(uint32_t n, char out[64])
{
    snprintf(out, 64, "fault-%llx-%u", (unsigned long long)fault->seed, n);
}

void fault_name(uint32_t n, char out[32])
{
    snprintf(out, 32, "f-%u", n);
}

void fault_ran_path(uint32_t n, char out[4096])
{
    snprintf(out, 4096, "%s/ran/f-%u", fault->dir, n);
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
    printf("fault: SEED=%llu, %u requests in %lld s by %d clients\n",
           (unsigned long long)fault->seed, fault->requests, (long long)seconds, FAULT_CLIENTS);
    fflush(stdout);
}

static uint32_t answered(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fault->requests; i++)
        n += fault->request[i].answered;
    return n;
}

static void run(pid_t clients[FAULT_CLIENTS])
{
    int64_t said_ms = fault_ms();
    while (fault_ms() < fault->last_ms) {
        fault_chaos_step(clients);
        if (fault_ms() - said_ms > 20000) {
            said_ms = fault_ms();
            printf("fault: %lld s, %u answered, %u kills, %u stops\n",
                   (long long)(said_ms - fault->begun_ms) / 1000, answered(), fault->kills,
                   fault->stops);
            fflush(stdout);
        }
        usleep(STEP_US);
    }
}

/* All is repaired, and the clients go on until each has its answer. */
static void settle(pid_t clients[FAULT_CLIENTS])
{
    int64_t end = fault_ms() + SETTLE_S * 1000;
    fault->calm = true;
    while (fault_ms() < end && (answered() < fault->requests || !fault_chaos_whole())) {
        fault_chaos_step(clients);
        usleep(STEP_US);
    }
    printf("fault: %u of %u answered %lld s after the last kill\n", answered(), fault->requests,
           (long long)(fault_ms() - fault->last_ms) / 1000);
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

static void print_points(void)
{
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
    for (int i = 0; i < FAILPOINTS_COUNT; i++)
        printf("%-16s %-8s %8u %8u %8u\n", names[i], processes[i], fault_plan->at[i].visits,
               fault_plan->at[i].killed, fault_plan->at[i].stopped);
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
    usleep(5000000); /* slurmdbd lags, and so may a job that nobody expects */
    ask();
    fault_chaos_print();
    print_points();
    return fault_count() ? 0 : 1;
}
