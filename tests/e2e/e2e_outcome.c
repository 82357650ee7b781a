/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How jobs end that do not end by themselves: what state says, in whose terms, and what `wait`
 * exits with.  The sandbox has a partition `urgent`, whose jobs preempt those of main. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(outcome, .timeout = 300);

/* Which signal depends on Slurm's release. */
enum { BY_SIGNAL = -1, BY_SIGNAL_OR_UNKNOWN = -2 };

static const char sleeps[] = "#!/bin/sh\nexec sleep 200\n";

static void expect_outcome(const char *id, int status, const char *state, const char *outcome)
{
    struct run w = run_as(user_a(), "slurm-agent", "wait", "--timeout=40", id);
    for (int i = 0; i < 2 && w.status == 11; i++) { /* slurmctld looks at limits twice a minute */
        run_free(&w);
        w = run_as(user_a(), "slurm-agent", "wait", "--timeout=40", id);
    }
    bool as_expected = w.status == status || (status < 0 && w.status > 128) ||
                       (status == BY_SIGNAL_OR_UNKNOWN && w.status == 1);
    cr_expect(as_expected, "%d, not %d: %s%s", w.status, status, w.out, w.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), state);
    cr_expect_str_eq(job_field(user_a(), id, "phase"), "FAILED");
    cr_expect_contains(w.out, outcome);
    AUTO(run_free) struct run watched = run_as(user_a(), "slurm-agent", "watch", id);
    cr_expect_contains(watched.out, outcome);
    run_free(&w);
}

static void admin(const char *command)
{
    AUTO(run_free) struct run r = run_as(NULL, "sh", "-c", command);
    cr_assert_eq(r.status, 0, "%s: %s%s", command, r.out, r.err);
}

Test(outcome, the_time_limit)
{
    AUTO(free) char *id = submit(user_a(), sleeps, "--time=1");
    AUTO(free) char *command = NULL;
    wait_state(user_a(), id, "RUNNING");
    cr_assert_gt(
        asprintf(&command, "scontrol update jobid=%s endtime=$(date -d '+1 sec' +%%FT%%T)", id), 0);
    admin(command);
    expect_outcome(id, 143, "TIMEOUT", "it ran into its time limit");
}

Test(outcome, a_node_that_fails)
{
    AUTO(free) char *id = submit(user_a(), sleeps, "--no-requeue");
    wait_state(user_a(), id, "RUNNING");
    AUTO(free) char *node = strdup(job_field(user_a(), id, "nodes"));
    AUTO(free) char *down = NULL, *up = NULL; /* it registers, and may be back by itself */
    cr_assert_gt(asprintf(&down, "scontrol update nodename=%s state=down reason=test", node), 0);
    cr_assert_gt(
        asprintf(
            &up,
            "scontrol update nodename=%s state=resume || sinfo -h -n %s -o %%t | grep -qv down",
            node, node),
        0);
    admin(down);
    /* as with preemption */
    expect_outcome(id, BY_SIGNAL_OR_UNKNOWN, "NODE_FAIL", "a node of it failed");
    admin(up);
}

/* Whose end the estimate counts on: as sbatch says it. */
static void expect_preempts(const char *id)
{
    AUTO(run_free)
    struct run ours = run_as(user_a(), "slurm-agent", "submit", "--test-only", "--partition=urgent",
                             "--wrap=true"),
               theirs =
                   run_as(user_a(), "sbatch", "--test-only", "--partition=urgent", "--wrap=true");
    cr_assert_eq(theirs.status, 0, "%s", theirs.err);
    cr_assert_eq(ours.status, 0, "%s", ours.err);
    const char *by_sbatch = strstr(theirs.err, "Preempts:");
    cr_assert_not_null(by_sbatch, "%s", theirs.err);
    cr_expect_contains(by_sbatch, id);
    const char *by_us = strstr(ours.err, "Preempts:");
    cr_assert_not_null(by_us, "%s%s", ours.out, ours.err);
    cr_expect_contains(by_us, id);
}

Test(outcome, preemption)
{
    AUTO(free) char *low = submit(user_a(), sleeps, "--nodes=4", "--exclusive");
    wait_state(user_a(), low, "RUNNING");
    expect_preempts(low);
    AUTO(free) char *urgent = submit(user_a(), "#!/bin/sh\ntrue\n", "--partition=urgent");
    /* slurmctld ends it at times before slurmd has said how the script did */
    expect_outcome(low, BY_SIGNAL_OR_UNKNOWN, "PREEMPTED", "preempted by another job");
    wait_state(user_a(), urgent, "COMPLETED");
}
