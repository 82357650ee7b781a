/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Jobs that slurmctld has forgotten and slurmdbd knows.  The sandbox has a slurmdbd, MinJobAge=2
 * and an agentd that keeps no history, and gives slurmdbd ACCT_DEADLINE_S. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/jobs.h"

TestSuite(acct, .timeout = 240);

enum {
    FORGOTTEN_MS = 60000, /* slurmctld looks every 10 s */
    KNOWN_MS = 20000,     /* slurmdbd lags */
    ACCT_DEADLINE_S = 4,
    SOON_MS = 3000,
};

static bool is_forgotten(void *id)
{
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", id);
    return r.status != 0 && strstr(r.err, "Invalid job id");
}

static bool is_from_slurmdbd(void *id)
{
    return str_eq(job_field(user_a(), id, "source"), "slurmdbd");
}

static bool has_ended(void *id)
{
    return is_from_slurmdbd(id) && !str_eq(job_field(user_a(), id, "phase"), "UNKNOWN");
}

static void until_forgotten(const char *id)
{
    cr_assert(wait_until(is_forgotten, (void *)id, FORGOTTEN_MS), "slurmctld keeps job %s", id);
}

static void lose_history(void)
{
    sandbox("stop", "agentd");
    int status = run_status(
        run_as(NULL, "sh", "-c", "rm \"$SLURM_AGENT_SANDBOX\"/state/agentd/journal.db*"));
    sandbox("start", "agentd");
    cr_assert_eq(status, 0);
}

/* Until slurmdbd, and nobody else, can say how it ended. */
static void until_accounted(const char *id)
{
    until_forgotten(id);
    lose_history();
    cr_assert(wait_until(has_ended, (void *)id, KNOWN_MS), "job %s: %s", id,
              job_field(user_a(), id, "state"));
}

static void expect(const char *id, const char *field, const char *value)
{
    const char *is = job_field(user_a(), id, field);
    cr_expect_str_eq(is, value, "%s of job %s is \"%s\", not \"%s\"", field, id, is, value);
}

static void expect_same(const char *id, const char *field, const char *column)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "env", "SLURM_TIME_FORMAT=%s", "sacct", "--noheader", "--parsable2",
                          "--allocations", "--jobs", id, "--format", column);
    r.out[strcspn(r.out, "\n")] = '\0';
    cr_expect_neq(r.out[0], '\0', "sacct has no %s of job %s: %s", column, id, r.err);
    expect(id, field, r.out);
}

static char *run_batch(const char *script, const char *option)
{
    AUTO(free) char *file = scratch_file(user_a(), "direct.sh", script);
    AUTO(free) char *dir = strdup(scratch(user_a()));
    char *chdir = NULL;
    cr_assert_gt(asprintf(&chdir, "--chdir=%s", dir), 0);
    AUTO(run_free)
    struct run r = run_as(user_a(), "sbatch", "--parsable", chdir, option, file);
    free(chdir);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, ";\n")] = '\0';
    return strdup(r.out);
}

Test(acct, a_forgotten_job_is_whole)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\nsleep 1\nexit 3\n", "--time=7", "--job-name=forgotten",
                      "--ntasks=2");
    until_accounted(id);
    expect(id, "state", "FAILED");
    expect(id, "phase", "FAILED");
    expect(id, "outcome", "exit status 3");
    expect(id, "exit_code", "3");
    expect(id, "name", "forgotten");
    expect(id, "user", user_a());
    expect(id, "account", "acc");
    expect(id, "partition", "main");
    expect(id, "time_limit", "420");
    expect(id, "cpus", "2");
    expect(id, "work_dir", scratch(user_a()));
    expect_same(id, "submit_time", "Submit");
    expect_same(id, "start_time", "Start");
    expect_same(id, "end_time", "End");
    expect_same(id, "nodes", "NodeList");
    cr_expect_str_eq(job_field(user_b(), id, "state"), "FAILED", "another user may see it too");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", id, "999999");
    cr_expect_eq(r.status, 3);
    cr_expect_contains(r.err, "999999");
    cr_expect_null(strstr(r.err, id), "%s", r.err);
}

Test(acct, who_cancelled_a_forgotten_job)
{
    static const char sleeper[] = "#!/bin/sh\nexec sleep 300\n";
    AUTO(free) char *own = submit(user_a(), sleeper);
    AUTO(free) char *roots = submit(user_a(), sleeper);
    wait_state(user_a(), roots, "RUNNING");
    cancel_quietly(user_a(), own);
    cr_assert_eq(run_status(run_as(NULL, "scancel", roots)), 0);
    until_forgotten(own);
    until_accounted(roots);
    expect(own, "phase", "CANCELLED");
    expect(own, "cancelled_by", user_a());
    expect(roots, "cancelled_by", "root");
    expect(roots, "outcome", "cancelled by root");
}

Test(acct, a_job_that_came_and_went_while_agentd_was_down)
{
    sandbox("stop", "agentd");
    AUTO(free) char *id = run_batch("#!/bin/sh\nkill -9 $$\n", "--job-name=unseen");
    bool forgotten = wait_until(is_forgotten, id, FORGOTTEN_MS);
    sandbox("start", "agentd");
    cr_assert(forgotten);
    cr_assert(wait_until(has_ended, id, KNOWN_MS));
    expect(id, "name", "unseen");
    expect(id, "outcome", "killed by signal 9 (SIGKILL)");
    expect(id, "exit_signal", "9");
}

Test(acct, of_a_requeued_job_the_last_run)
{
    AUTO(free)
    char *id =
        submit(user_a(), "#!/bin/sh\n[ -n \"$SLURM_RESTART_COUNT\" ] && exit 4\nexec sleep 300\n",
               "--requeue");
    wait_state(user_a(), id, "RUNNING");
    requeue_now(NULL, id);
    until_accounted(id);
    expect(id, "state", "FAILED");
    expect(id, "exit_code", "4");
    expect(id, "restarts", "1");
}

Test(acct, tasks_of_a_forgotten_array)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\nexit $SLURM_ARRAY_TASK_ID\n", "--array=0-2");
    AUTO(free) char *task = NULL, *none = NULL;
    cr_assert_gt(asprintf(&task, "%s_2", id), 0);
    cr_assert_gt(asprintf(&none, "%s_7", id), 0);
    until_accounted(id);
    expect(task, "exit_code", "2");
    expect(task, "id", task);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", id, none);
    json_t *all = json_loads(r.out, 0, NULL);
    cr_expect_eq(json_array_size(json_object_get(all, "jobs")), 3, "%s", r.out);
    cr_expect_eq(json_array_size(json_object_get(all, "missing")), 1, "%s", r.out);
    json_decref(all);
}

/* ---- slurmdbd away ---- */

Test(acct, a_slurmdbd_that_hangs_holds_up_its_own_question_alone)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexec sleep 300\n");
    wait_state(user_a(), id, "RUNNING");
    sandbox("pause", "slurmdbd");
    int64_t begin = clock_mono_ms();
    struct running *get = run_begin(user_a(), "slurm-agent", "get", id, "999999");
    bool waits = run_goes_on(get, 1000, NULL);
    int64_t cancel_begin = clock_mono_ms();
    AUTO(run_free) struct run cancel = run_as(user_a(), "slurm-agent", "cancel", id);
    int64_t cancel_ms = clock_mono_ms() - cancel_begin;
    AUTO(run_free) struct run r = run_end(get);
    int64_t took = clock_mono_ms() - begin;
    sandbox("resume", "slurmdbd");
    cr_expect(waits);
    cr_expect_eq(cancel.status, 0, "%s", cancel.err);
    cr_expect_lt(cancel_ms, SOON_MS, "the cancel waited for slurmdbd");
    cr_expect_lt(took, ACCT_DEADLINE_S * 1000 + SOON_MS, "%lld ms", (long long)took);
    cr_expect_contains(r.out, "RUNNING");
    cr_expect_contains(r.err, "slurmdbd");
    cr_expect_contains(r.err, "999999");
}

Test(acct, a_slurmdbd_that_is_down_is_named_at_once)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexit 5\n");
    until_accounted(id);
    sandbox("stop", "slurmdbd");
    int64_t begin = clock_mono_ms();
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", id);
    int64_t took = clock_mono_ms() - begin;
    sandbox("start", "slurmdbd");
    cr_expect_lt(took, SOON_MS);
    cr_expect_neq(r.status, 0);
    cr_expect_contains(r.err, "slurmdbd does not answer");
    cr_expect(wait_until(has_ended, id, KNOWN_MS), "and again when it is back");
}

/* ---- slurmctld that has lost its state ---- */

static bool is_unknown(void *id)
{
    return is_from_slurmdbd(id) && str_eq(job_field(user_a(), id, "phase"), "UNKNOWN");
}

static bool runs_for_slurmdbd(void *id)
{
    AUTO(run_free)
    struct run r =
        run_as(NULL, "sacct", "--noheader", "--allocations", "--jobs", id, "--format=State");
    return strstr(r.out, "RUNNING");
}

/* Submits a job that agentd does not see, and has slurmctld start again without it. */
static char *lost_job(const char *before, const char *after)
{
    sandbox("stop", "agentd");
    int prepared = run_status(run_as(NULL, "sh", "-c", before));
    char *id = run_batch("#!/bin/sh\nexec sleep 600\n", "--job-name=lost");
    bool running = wait_until(runs_for_slurmdbd, id, KNOWN_MS);
    sandbox("kill", "slurmctld");
    int changed = run_status(run_as(NULL, "sh", "-c", after));
    sandbox("start", "slurmctld");
    sandbox("start", "agentd");
    cr_assert(running);
    cr_assert_eq(prepared, 0);
    cr_assert_eq(changed, 0);
    /* a job that is as new as that might still come */
    cr_expect(wait_until(is_unknown, id, 120000), "phase %s", job_field(user_a(), id, "phase"));
    return id;
}

/* As after a crash just after the submit: slurmctld saves its state every few seconds. */
Test(acct, of_a_job_that_was_never_saved_nobody_knows_how_it_ended)
{
    AUTO(free)
    char *id = lost_job("cd \"$SLURM_AGENT_SANDBOX\"/state && for i in 1 2 3 4 5; do rm -rf "
                        "--one-file-system kept; cp -a slurmctld kept && break; done",
                        "cd \"$SLURM_AGENT_SANDBOX\"/state && rm -rf --one-file-system slurmctld "
                        "&& mv kept slurmctld");
    expect(id, "name", "lost");
    expect(id, "state", "RUNNING");
    expect(id, "outcome",
           "slurmdbd last saw it RUNNING, and slurmctld does not know it: how it ended is not "
           "known");
}

Test(acct, when_slurmctld_has_lost_all_its_state_nothing_was_cancelled)
{
    AUTO(free)
    char *id = lost_job("true", "cd \"$SLURM_AGENT_SANDBOX\"/state/slurmctld && "
                                "rm -rf --one-file-system job_state* hash.*");
    expect(id, "name", "lost");
    /* slurmdbd was told that it was cancelled; by newer ones nothing at all */
    AUTO(free) char *state = strdup(job_field(user_a(), id, "state"));
    bool closed = strcmp(state, "CANCELLED") == 0;
    AUTO(free) char *open = NULL;
    cr_assert_gt(asprintf(&open, "slurmdbd last saw it %s, and slurmctld does not know it", state),
                 0);
    cr_expect_contains(job_field(user_a(), id, "outcome"),
                       closed ? "slurmctld lost it while it ran, and slurmdbd closed its record: "
                                "how it ended is not known"
                              : open);
    expect(id, "phase", "UNKNOWN");
}
