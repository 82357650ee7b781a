/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Control where there is accounting: limits, operators, and what slurmdbd keeps of scripts and
 * environments.  The sandbox has a slurmdbd, MinJobAge=2, AccountingStorageEnforce=limits and
 * MaxJobCount=20. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(control_dbd, .timeout = 240);

enum { KNOWN_MS = 60000, FORGOTTEN_MS = 60000, MAX_JOB_COUNT = 20 };

static const char sleeper[] = "#!/bin/sh\nexec sleep 300\n";

static void sacctmgr(const char *user, const char *setting)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "sacctmgr", "-i", "modify", "user", user, "set", setting);
    cr_assert_eq(r.status, 0, "sacctmgr: %s%s", r.out, r.err);
}

/* ---- scripts and environments ---- */

struct asking {
    const char *user, *command, *id, *text;
    struct run last;
};

static bool says(void *arg)
{
    struct asking *a = arg;
    run_free(&a->last);
    a->last = run_as(a->user, "slurm-agent", a->command, a->id);
    return strstr(a->last.out, a->text) || strstr(a->last.err, a->text);
}

/* slurmdbd lags. */
static void expect_says(const char *user, const char *command, const char *id, int status,
                        const char *text)
{
    struct asking a = {.user = user, .command = command, .id = id, .text = text};
    cr_expect(wait_until(says, &a, KNOWN_MS), "%s %s: no \"%s\" in: %s%s", command, id, text,
              a.last.out, a.last.err);
    cr_expect_eq(a.last.status, status, "%s %s: %d %s", command, id, a.last.status, a.last.err);
    run_free(&a.last);
}

Test(control_dbd, the_environment_is_its_owners_and_operators)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--export=SHOWN=here");
    wait_state(user_a(), id, "RUNNING");
    expect_says(user_a(), "environment", id, 0, "SHOWN=here");
    expect_says(user_b(), "environment", id, 4, user_a());
    expect_says(user_a(), "environment", "999999", 3, "knows no job 999999");
    sacctmgr(user_b(), "adminlevel=operator");
    expect_says(user_b(), "environment", id, 0, "SHOWN=here");
    expect_says(user_b(), "script", id, 0, "#!/bin/sh");
    sacctmgr(user_b(), "adminlevel=none");
    cancel_quietly(user_a(), id);
}

Test(control_dbd, a_held_jobs_environment_comes_later)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--export=SHOWN=later", "--hold");
    expect_says(user_a(), "environment", id, 3, "when it is released");
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "release", id)), 0);
    expect_says(user_a(), "environment", id, 0, "SHOWN=later");
    cancel_quietly(user_a(), id);
}

Test(control_dbd, an_array_tasks_environment)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--export=SHOWN=too", "--array=1-2");
    AUTO(free) char *two = NULL;
    cr_assert_gt(asprintf(&two, "%s_2", id), 0);
    wait_state(user_a(), two, "RUNNING");
    expect_says(user_a(), "environment", two, 0, "SHOWN=too");
    cancel_quietly(user_a(), id);
}

static bool is_forgotten(void *id)
{
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", id);
    return r.status != 0 && strstr(r.err, "Invalid job id");
}

Test(control_dbd, the_script_of_a_job_that_slurmctld_has_forgotten)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\n# of long ago\ntrue\n");
    wait_state(user_a(), id, "COMPLETED");
    cr_assert(wait_until(is_forgotten, id, FORGOTTEN_MS));
    expect_says(user_a(), "script", id, 0, "# of long ago");
    expect_says(user_b(), "script", id, 4, user_a());
    expect_says(user_a(), "script", "999999", 3, "999999");
}

static void store(const char *flags)
{
    AUTO(free) char *edit = NULL;
    cr_assert_gt(asprintf(&edit,
                          "sed -i 's/^AccountingStoreFlags=.*/AccountingStoreFlags=%s/' "
                          "$SLURM_CONF && scontrol reconfigure",
                          flags),
                 0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", edit)), 0);
}

Test(control_dbd, a_site_that_does_not_store_them_is_told_how)
{
    store("job_comment");
    AUTO(free) char *id = submit(user_a(), sleeper);
    wait_state(user_a(), id, "RUNNING");
    expect_says(user_a(), "environment", id, 2, "AccountingStoreFlags=job_env");
    cancel_quietly(user_a(), id);
    cr_assert(wait_until(is_forgotten, id, FORGOTTEN_MS));
    expect_says(user_a(), "script", id, 2, "AccountingStoreFlags=job_script");
    store("job_comment,job_script,job_env");
}

/* ---- limits ---- */

/* A submit that is one too many: the same of one test, another of the next. */
static const char *request_id(void)
{
    static char text[64];
    snprintf(text, sizeof text, "one-too-many-%d", getpid());
    return text;
}

static struct run one_too_many(void)
{
    char option[100];
    snprintf(option, sizeof option, "--request-id=%s", request_id());
    return try_submit(user_a(), sleeper, "--hold", option);
}

static void expect_full(const char *text)
{
    AUTO(run_free) struct run r = one_too_many();
    cr_expect_eq(r.status, 25, "FULL: %d %s", r.status, r.err);
    cr_expect_contains(r.err, text);
    cr_expect_contains(r.err, "Slurm: ");
    AUTO(run_free)
    struct run what =
        run_as(user_a(), "slurm-agent", "get", "--request-id", request_id(), "--json");
    cr_expect_contains(what.out, "NOT_SUBMITTED");
}

/* --retry is how long, whatever pause the server advises; and what it waits for is said. */
static void expect_patience_ends(const char *text)
{
    int64_t begun_ms = clock_mono_ms();
    AUTO(run_free)
    struct run r = try_submit(user_a(), sleeper, "--hold", "--retry=1");
    int64_t ms = clock_mono_ms() - begun_ms;
    cr_expect_eq(r.status, 25, "FULL: %d %s", r.status, r.err);
    cr_expect_contains(r.err, text);
    cr_expect_contains(r.err, "; trying again\n");
    cr_expect_null(strstr(r.err, "--retry"), "%s", r.err);
    cr_expect(ms >= 1000 && ms < 15000, "%lld ms", (long long)ms);
}

/* The same request makes a job when there is room. */
static void expect_room(void)
{
    AUTO(run_free) struct run r = one_too_many();
    cr_expect_eq(r.status, 0, "%s", r.err);
    AUTO(run_free)
    struct run end = run_as(user_a(), "slurm-agent", "cancel", "--me", "--state=PENDING");
    cr_expect_eq(end.status, 0, "%s", end.err);
}

Test(control_dbd, a_limit_on_submitted_jobs_is_full_and_has_room_again)
{
    sacctmgr(user_a(), "MaxSubmitJobs=1");
    AUTO(free) char *first = submit(user_a(), sleeper, "--hold");
    expect_full("AssocMaxSubmitJobLimit");
    expect_patience_ends("AssocMaxSubmitJobLimit");
    cancel_quietly(user_a(), first);
    expect_room();
    sacctmgr(user_a(), "MaxSubmitJobs=-1");
}

Test(control_dbd, so_is_a_qos_that_has_as_many_as_it_takes)
{
    AUTO(run_free)
    struct run set =
        run_as(NULL, "sacctmgr", "-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=1");
    cr_assert_eq(set.status, 0, "%s", set.err);
    AUTO(free) char *first = submit(user_a(), sleeper, "--hold");
    AUTO(run_free) struct run r = try_submit(user_a(), sleeper, "--hold");
    cr_expect_eq(r.status, 25, "%d %s", r.status, r.err);
    cr_expect_contains(r.err, "QOSMaxSubmitJobPerUserLimit");
    cancel_quietly(user_a(), first);
    run_status(run_as(NULL, "sacctmgr", "-i", "modify", "qos", "normal", "set",
                      "MaxSubmitJobsPerUser=-1"));
}

/* slurmctld says EAGAIN, and that of 26.05 by its name. */
Test(control_dbd, a_slurmctld_with_max_job_count_jobs_is_full)
{
    int status = 0;
    AUTO(free) char *why = NULL;
    for (int i = 0; i <= MAX_JOB_COUNT && status == 0; i++) {
        AUTO(run_free) struct run r = try_submit(user_a(), sleeper, "--hold", "--job-name=filler");
        status = r.status;
        free(why);
        why = strdup(r.err);
    }
    cr_expect_eq(status, 25, "FULL: %d %s", status, why);
    /* Slurm 26.05 has a number for it */
    cr_expect_contains(why, "MaxJobCount");
    cr_expect_contains(why, "; --retry=SECONDS goes on trying");
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "cancel", "--name=filler")), 0);
    AUTO(run_free)
    struct run room = try_submit(user_a(), sleeper, "--hold", "--job-name=filler", "--retry=60");
    cr_expect_eq(room.status, 0, "%s", room.err);
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "cancel", "--name=filler")), 0);
}

/* ---- operators ---- */

Test(control_dbd, an_operator_may_do_what_slurm_lets_operators)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--job-name=operated");
    wait_state(user_a(), id, "RUNNING");
    sacctmgr(user_b(), "adminlevel=operator");
    AUTO(run_free) struct run suspend = run_as(user_b(), "slurm-agent", "suspend", id);
    cr_expect_eq(suspend.status, 0, "%s", suspend.err);
    wait_state(user_a(), id, "SUSPENDED");
    AUTO(run_free)
    struct run resume = run_as(user_b(), "slurm-agent", "resume", "--all", "--name=operated");
    cr_expect_eq(resume.status, 0, "%s", resume.err);
    wait_state(user_a(), id, "RUNNING");
    AUTO(run_free) struct run again = run_as(user_b(), "slurm-agent", "resume", id);
    cr_expect_eq(again.status, 0, "%s", again.err);
    cr_expect_contains(again.err, "was not suspended");
    AUTO(run_free) struct run raise = run_as(user_b(), "slurm-agent", "update", "--time=20", id);
    cr_expect_eq(raise.status, 0, "%s", raise.err);
    cr_expect_str_eq(job_field(user_a(), id, "time_limit"), "1200");
    AUTO(run_free)
    struct run cancel =
        run_as(user_b(), "slurm-agent", "cancel", "--user", user_a(), "-n", "operated");
    cr_expect_eq(cancel.status, 0, "%s", cancel.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), id, "cancelled_by"), user_b());
    sacctmgr(user_b(), "adminlevel=none");
}

Test(control_dbd, account_and_qos_choose)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold");
    AUTO(run_free) struct run none = run_as(user_a(), "slurm-agent", "cancel", "--account=nosuch");
    AUTO(run_free) struct run qos = run_as(user_a(), "slurm-agent", "cancel", "--qos=nosuch");
    AUTO(run_free) struct run key = run_as(user_a(), "slurm-agent", "cancel", "--wckey=nosuch");
    AUTO(run_free)
    struct run at = run_as(user_a(), "slurm-agent", "cancel", "--reservation=nosuch");
    cr_expect_eq(none.status | qos.status | key.status | at.status, 0, "%s", none.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING");
    AUTO(run_free)
    struct run both = run_as(user_a(), "slurm-agent", "cancel", "--account=acc", "--qos=normal");
    cr_expect_eq(both.status, 0, "%s", both.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
}
