/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A journal whose disk is full, or hangs, for some seconds. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/fault/fault.h"

enum { FULL_EACH_MS = 60000, HANG_EACH_MS = 30000, PAGE = 4096 };

static int64_t full_next_ms, full_until_ms, hang_next_ms;
static uint32_t fulls, hangs;
static bool has_disk; /* one of its own: run.sh */

static bool resize(unsigned long long bytes)
{
    char dir[4096], options[80];
    snprintf(dir, sizeof dir, "%s/state/agentd", fault->dir);
    snprintf(options, sizeof options, "size=%llu", bytes);
    return mount("none", dir, "tmpfs", MS_REMOUNT, options) == 0;
}

/* As full as it is. */
static bool fill(void)
{
    char dir[4096];
    struct statvfs s;
    snprintf(dir, sizeof dir, "%s/state/agentd", fault->dir);
    for (unsigned i = 0; i < 10; i++) { /* what is written meanwhile must still fit */
        if (statvfs(dir, &s) < 0)
            return false;
        unsigned long long used = (unsigned long long)(s.f_blocks - s.f_bfree) * s.f_frsize;
        if (resize(used + (unsigned long long)i * PAGE))
            return true;
    }
    return false;
}

static void step_full(uint32_t (*roll)(uint32_t below))
{
    int64_t now = fault_ms();
    if (full_until_ms && (now >= full_until_ms || fault->calm)) {
        if (!resize(1ULL << 30))
            fault_die("the journal's disk");
        full_until_ms = 0;
    }
    if (!has_disk || full_until_ms || now < full_next_ms || fault->calm || fault_late_now())
        return;
    full_next_ms = now + FULL_EACH_MS + roll(10000);
    if (!fill())
        return;
    full_until_ms = now + 3000 + roll(4000);
    fulls++;
}

/* The thread that writes it stands still, as it does when the disk does not answer. */
static void step_hang(uint32_t (*roll)(uint32_t below))
{
    if (fault_ms() < hang_next_ms || fault->calm || fault_late_now())
        return;
    hang_next_ms = fault_ms() + HANG_EACH_MS + roll(10000);
    fault_plan->at[FAILPOINT_before_commit].hang_ms = 2000 + roll(7000);
    hangs++;
}

void fault_disk_begin(void)
{
    has_disk = getenv("FAULT_DISK") && *getenv("FAULT_DISK");
    full_next_ms = fault->begun_ms + 8000;
    hang_next_ms = fault->begun_ms + 20000;
}

void fault_disk_step(uint32_t (*roll)(uint32_t below))
{
    step_full(roll);
    step_hang(roll);
}

bool fault_disk_is_full(void)
{
    return full_until_ms;
}

void fault_disk_print(void)
{
    printf("the journal's disk: full %u times%s, hung %u times\n", fulls,
           has_disk ? "" : " (no mount of its own here)", hangs);
}
