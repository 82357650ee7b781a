/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests that slurmctld makes late.
 *
 * A job_submit plugin keeps the next request, and with it all that come after it, when their
 * credentials are judged already.  For a few seconds that makes doubts.  For longer than all that
 * the agent waits for before it says that there is no job, that makes twins: the same request is
 * sent again, and then all of them are let go.  Meanwhile only jobs are submitted that do not start
 * by themselves, so that twins can be cancelled in time; and by few clients, since the agent sends
 * one after the other and each takes its whole deadline.
 *
 * The longest: a worker that is stopped as it sends (call_deadline_s), a credential's life, its
 * request in slurmctld (MessageTimeout), 5 s of slack: 25 s with the settings of run.sh.  Where the
 * broker is killed meanwhile, or the machine is busy, it takes longer until the request is sent
 * again.  That is waited for, and known from the agent: its attempt after the one that is kept is
 * in doubt.  A worker may have been killed just before it sent that; so slurmctld is asked then,
 * and when it has one job alone it is all done once more. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/fault/fault.h"

enum {
    KEPT_LEAST_S = 26,
    KEPT_MOST_S = 150,
    IDLE_S = 40,      /* until it is clear that nobody submits anything to be kept */
    DRAIN_MS = 12000, /* for what was submitted before */
    SAVED_MS = 10000, /* until slurmctld will not forget them any more */
    ASK_MS = 1000,
    ANSWER_MS = 8000,
    LATE_EACH_MS = 150000,
    AGAIN_MOST = 4, /* until there has been a twin */
    SHORT_EACH_MS = 20000,
};

static enum { NOTHING, DRAINING, KEEPING, LETTING_GO } late;
static int64_t next_ms, since_ms, short_next_ms;
static uint32_t shorts, twins;

static struct {
    int64_t request; /* by slurmctld; -1: none yet */
    int attempt;     /* of it, when it was kept */
    int again;       /* the one that was sent meanwhile; 0: none yet */
    int64_t again_ms;
    pid_t asking;
    int64_t asked_ms;
    uint32_t jobs; /* that slurmctld had in the end */
} kept, all_kept[FAULT_SPANS];

/* ---- the plugin: see tests/sandbox/slurm.sh ---- */

static void path_of(const char *name, char out[4096])
{
    snprintf(out, 4096, "%s/run/slurm/%s", fault->dir, name);
}

static void keep_the_next(uint32_t tenths)
{
    char path[4096];
    path_of("late.name", path);
    unlink(path);
    path_of("late", path);
    FILE *f = fopen(path, "we");
    if (!f)
        fault_die(path);
    fprintf(f, "%u.%u", tenths / 10, tenths % 10);
    fclose(f);
}

static void let_go(void)
{
    static const char *const names[] = {"late", "late.kept"};
    char path[4096];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        path_of(names[i], path);
        unlink(path);
    }
}

/* What waits is known from slurmctld: the agent may never have sent it what others wait for.  -1:
 * nothing. */
static int64_t read_kept(void)
{
    char path[4096], name[32] = "";
    path_of("late.name", path);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%31s", name) != 1)
        name[0] = '\0';
    if (f)
        fclose(f);
    return fault_named(name);
}

/* One that was sent before, and whose client does not send it again now, shows nothing. */
static void look_what_is_kept(void)
{
    int64_t n = read_kept();
    if (n < 0)
        return;
    if (fault_is_one_of_few((uint32_t)n)) {
        kept.request = n;
    } else {
        let_go();
        keep_the_next(KEPT_MOST_S * 10);
    }
}

/* ---- is it sent again? ---- */

/* nng is not for processes that fork: a process of its own asks, into the memory that is shared. */
static void begin_to_ask(uint32_t n)
{
    fault->request[n].attempt = 0;
    kept.asked_ms = fault_ms();
    fflush(stdout);
    kept.asking = fork();
    if (kept.asking < 0)
        fault_die("fork");
    if (kept.asking == 0) {
        fault_ask_attempt(n);
        _exit(0);
    }
}

static void end_asking(void)
{
    if (!kept.asking)
        return;
    kill(kept.asking, SIGKILL);
    waitpid(kept.asking, NULL, 0);
    kept.asking = 0;
}

static void look_whether_it_is_sent_again(void)
{
    const struct fault_request *q = &fault->request[kept.request];
    if (!kept.asking) {
        if (fault_ms() - kept.asked_ms >= ASK_MS)
            begin_to_ask((uint32_t)kept.request);
        return;
    }
    if (waitpid(kept.asking, NULL, WNOHANG) != kept.asking) {
        if (fault_ms() - kept.asked_ms > ANSWER_MS)
            end_asking();
        return;
    }
    kept.asking = 0;
    if (!kept.attempt)
        kept.attempt = q->attempt;
    if (q->attempt > kept.attempt && strcmp(q->state, "IN_DOUBT") == 0) {
        kept.again = q->attempt;
        kept.again_ms = fault_ms();
    }
}

/* How many jobs of that request slurmctld has; 0 when it does not say. */
static uint32_t count_jobs(uint32_t n)
{
    char name[32], command[128];
    unsigned jobs = 0;
    fault_name(n, name);
    snprintf(command, sizeof command, "timeout 5 squeue -h -t all -n %s -o %%i | wc -l", name);
    FILE *f = popen(command, "re"); /* NOLINT(cert-env33-c): a test's */
    if (f && fscanf(f, "%u", &jobs) != 1)
        jobs = 0;
    if (f)
        pclose(f);
    return jobs;
}

/* ---- beyond every deadline ---- */

static bool is_quiet(void)
{
    for (int i = 0; i < FAULT_CLIENTS; i++)
        if (fault->busy[i])
            return false;
    return true;
}

static bool is_kept_enough(int64_t kept_ms)
{
    if (kept.request < 0)
        look_what_is_kept();
    else if (!kept.again)
        look_whether_it_is_sent_again();
    return kept_ms >= KEPT_MOST_S * 1000 || (kept.request < 0 && kept_ms >= IDLE_S * 1000) ||
           (kept.again && kept_ms >= KEPT_LEAST_S * 1000);
}

static bool may_begin(int64_t now)
{
    return now >= next_ms && !fault->calm && fault->lates < FAULT_SPANS &&
           (now <= fault->last_ms || fault_late_wants_more());
}

static void end_one(int64_t now)
{
    if (kept.request >= 0)
        kept.jobs = count_jobs((uint32_t)kept.request);
    twins += kept.jobs > 1;
    all_kept[fault->lates] = kept;
    fault->lates++;
    late = NOTHING;
    next_ms = fault_late_wants_more() ? now : next_ms + LATE_EACH_MS;
}

static void step_late(void)
{
    int64_t now = fault_ms(), since = now - since_ms;
    struct fault_span *span = &fault->late[fault->lates];
    switch (late) {
    case NOTHING:
        if (!may_begin(now))
            return;
        fault->hush = FAULT_NOBODY;
        late = DRAINING;
        break;
    case DRAINING:
        if (since < DRAIN_MS && !is_quiet())
            return;
        memset(&kept, 0, sizeof kept);
        kept.request = -1;
        keep_the_next(KEPT_MOST_S * 10);
        span->from_s = fault_s();
        fault->hush = FAULT_FEW;
        late = KEEPING;
        break;
    case KEEPING:
        if (!is_kept_enough(since))
            return;
        end_asking();
        let_go();
        span->to_s = fault_s();
        fault->hush = FAULT_ALL;
        late = LETTING_GO;
        break;
    case LETTING_GO:
        if (since < SAVED_MS)
            return;
        end_one(now);
        break;
    }
    since_ms = now;
}

bool fault_late_now(void)
{
    return late != NOTHING;
}

bool fault_late_in_peace(void)
{
    return late == KEEPING && fault->lates % 2 == 0;
}

bool fault_late_wants_more(void)
{
    return !twins && fault->lates < AGAIN_MOST;
}

/* ---- for a few seconds ---- */

/* Who sent it has given up when its job is made, but not for so long that there may be another. */
static void step_short(uint32_t (*roll)(uint32_t below))
{
    if (fault_ms() < short_next_ms || fault->calm || late != NOTHING)
        return;
    keep_the_next(30 + roll(20));
    short_next_ms = fault_ms() + SHORT_EACH_MS + roll(10000);
    shorts++;
}

/* ---- all of it ---- */

void fault_late_begin(void)
{
    int64_t now = fault->begun_ms, span = fault->last_ms - now;
    next_ms = now + (span < LATE_EACH_MS ? span * 4 / 10 : LATE_EACH_MS / 3);
    short_next_ms = now + 12000;
}

void fault_late_step(uint32_t (*roll)(uint32_t below))
{
    step_late();
    step_short(roll);
}

void fault_late_print(void)
{
    printf(
        "kept by a job_submit plugin: %u times for some seconds, %u times beyond every deadline\n",
        shorts, fault->lates);
    for (uint32_t i = 0; i < fault->lates; i++) {
        printf("kept from %lld to %lld: ", (long long)fault->late[i].from_s,
               (long long)fault->late[i].to_s);
        if (all_kept[i].request < 0)
            printf("nothing came\n");
        else if (!all_kept[i].again)
            printf("request %lld, attempt %d, not sent again; jobs %u\n",
                   (long long)all_kept[i].request, all_kept[i].attempt, all_kept[i].jobs);
        else
            printf("request %lld, attempt %d, and attempt %d; jobs %u\n",
                   (long long)all_kept[i].request, all_kept[i].attempt, all_kept[i].again,
                   all_kept[i].jobs);
    }
}
