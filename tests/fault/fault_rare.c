/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What happens a few times in a run: a slurmctld that is started without its state, and a monitor
 * that stands still together with a worker, for longer than its call may take. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/fault/fault.h"

/* ---- slurmctld without its state ----
 *
 * It has no job any more.  What it had is taken down just before it is killed: those that were made
 * in between are what any slurmctld forgets that is killed.  It goes on with other numbers, since
 * nodes refuse for minutes to run a job whose number they know. */

enum { WIPE_EACH_MS = 300000, GONE_MS = 3000, NUMBERS = 100000 };

static int64_t wipe_next_ms;
static pid_t taking_down;
static uint32_t wipes, wipe_tries;

static bool wait_for_slurmctld_to_go(void)
{
    for (int64_t end = fault_ms() + GONE_MS; fault_ms() < end; usleep(2000))
        if (!fault_part_pid("slurmctld"))
            return true;
    return false;
}

static void set_next_number(void)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/etc/slurm.conf", fault->dir);
    FILE *f = fopen(path, "ae");
    if (!f || fprintf(f, "FirstJobId=%u\n", (wipes + 1) * NUMBERS) < 0 || fclose(f) != 0)
        fault_die(path);
}

static void wipe(void)
{
    static const char *const names[] = {"job_state", "job_state.old"};
    char path[4096];
    fault_kill_slurmctld();
    if (!wait_for_slurmctld_to_go())
        return;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/state/slurmctld/%s", fault->dir, names[i]);
        if (unlink(path) < 0 && errno != ENOENT)
            fault_die(path);
    }
    set_next_number();
    wipes++;
}

static void step_wipe(void)
{
    int status;
    if (taking_down) {
        if (waitpid(taking_down, &status, WNOHANG) != taking_down)
            return;
        taking_down = 0;
        if (status == 0 && !fault->calm && !fault_late_now())
            wipe();
        else
            wipe_next_ms = fault_ms() + GONE_MS; /* slurmctld was killed just then, or hung */
        return;
    }
    if (fault_ms() < wipe_next_ms || fault_ms() > fault->last_ms || fault_late_now() ||
        getenv("FAULT_SPARE_SLURMCTLD") || wipe_tries > 1000)
        return;
    wipe_next_ms += WIPE_EACH_MS;
    wipe_tries++;
    fflush(stdout);
    taking_down = fork();
    if (taking_down == 0)
        _exit(fault_take_down(wipes) ? 0 : 1);
    if (taking_down < 0)
        fault_die("fork");
}

/* ---- monitor and worker stand still ----
 *
 * The worker stops just before it asks slurmctld.  Its deadline passes, the broker wants it killed,
 * and nobody does that; then it goes on, and submits.  Nobody may say before that there is no job.
 */

enum {
    STILL_EACH_MS = 200000,
    STILL_LEAST_MS = 13000,
    ARMED_MS = 8000,
    AGAIN_MS = 1000,
    HEAD_START_MS = 300
};

static int64_t still_next_ms, armed_until_ms, stands_until_ms;
static uint32_t stills, usual_every;

static void disarm(void)
{
    struct failpoint_state *s = &fault_plan->at[FAILPOINT_before_rpc];
    s->every = fault->calm ? 0 : usual_every;
    s->act = FAILPOINT_BOTH;
    armed_until_ms = 0;
}

static void stand_still(pid_t worker, int64_t ms)
{
    pid_t monitor = fault_part_pid("agentd");
    if (!monitor || kill(monitor, SIGSTOP) < 0)
        return;
    fault_stop_for(worker, ms);
    fault_stop_for(monitor, ms + HEAD_START_MS);
    stands_until_ms = fault_ms() + ms + HEAD_START_MS;
    fault->stops++;
    stills++;
}

static void step_still(uint32_t (*roll)(uint32_t below))
{
    struct failpoint_state *s = &fault_plan->at[FAILPOINT_before_rpc];
    int64_t now = fault_ms();
    if (armed_until_ms) {
        pid_t worker = s->pid;
        bool stands = worker && fault_stands(worker);
        if (stands)
            stand_still(worker, STILL_LEAST_MS + roll(4000));
        else if (now > armed_until_ms) /* none came by */
            still_next_ms = now + AGAIN_MS;
        if (stands || now > armed_until_ms || fault->calm)
            disarm();
        return;
    }
    if (now < still_next_ms || now > fault->last_ms || fault_late_now() || s->pid)
        return;
    still_next_ms += STILL_EACH_MS;
    armed_until_ms = now + ARMED_MS;
    usual_every = s->every;
    s->act = FAILPOINT_STOP;
    s->every = 1;
}

/* ---- all of it ---- */

void fault_rare_begin(void)
{
    wipe_next_ms = fault->begun_ms + 12000;
    still_next_ms = fault->begun_ms + 18000;
}

void fault_rare_step(uint32_t (*roll)(uint32_t below))
{
    step_wipe();
    step_still(roll);
}

bool fault_rare_stands(void)
{
    return fault_ms() < stands_until_ms;
}

uint32_t fault_rare_wipes(void)
{
    return wipes;
}

void fault_rare_print(void)
{
    printf("slurmctld started without its state: %u times\n", wipes);
    printf("monitor and worker stood still for longer than a call may take: %u times\n", stills);
}
