/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/failpoint.h"

#ifdef FAILPOINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct failpoint_plan *plan;

/* The environment of children is made from nothing, so the place is found by --config. */
static void map_plan(void)
{
    char args[4096], path[4096] = "";
    FILE *f = fopen("/proc/self/cmdline", "re");
    size_t n = f ? fread(args, 1, sizeof args - 1, f) : 0;
    if (f)
        fclose(f);
    args[n] = '\0';
    for (const char *p = args; p < args + n; p += strlen(p) + 1)
        if (strcmp(p, "--config") == 0 && p + 9 < args + n)
            snprintf(path, sizeof path, "%.4000s.failpoints", p + 9);
    int fd = *path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        plan = at;
}

void failpoint_visit(enum failpoint point)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, map_plan);
    if (!plan)
        return;
    struct failpoint_state *s = &plan->at[point];
    uint32_t hang_ms = atomic_exchange(&s->hang_ms, 0);
    if (hang_ms)
        usleep(hang_ms * 1000);
    uint32_t visit = atomic_fetch_add(&s->visits, 1) + 1, every = s->every;
    if (!every || visit % every != 0 || s->act == FAILPOINT_NOTHING)
        return;
    bool stop = s->act == FAILPOINT_STOP || (s->act == FAILPOINT_BOTH && s->killed > s->stopped);
    if (!stop) {
        atomic_fetch_add(&s->killed, 1);
        kill(getpid(), SIGKILL);
        pause();
    }
    int32_t nobody = 0;
    if (!atomic_compare_exchange_strong(&s->pid, &nobody, getpid()))
        return; /* one at a time */
    atomic_fetch_add(&s->stopped, 1);
    raise(SIGSTOP); /* of a process with threads all stop */
    s->pid = 0;
}

#else
typedef int failpoint_none; /* C has no empty files */
#endif
