/* SPDX-License-Identifier: GPL-3.0-or-later */
/* get, list, cancel, info, ping and whoami, as a user would use them */
#include <criterion/criterion.h>
#include <pwd.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(query, .timeout = 120);
TestSuite(cancel, .timeout = 120);
TestSuite(cluster, .timeout = 120);

static const char sleeper[] =
    "#!/bin/sh\ntrap 'echo got usr1' USR1\necho ready\ni=0\nwhile [ $i -lt 600 ]; do "
    "sleep 0.1; i=$((i+1)); done\n";

Test(query, many_ids_at_once_and_those_that_are_unknown)
{
    AUTO(free) char *a = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    AUTO(free) char *b = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", a, "999999", b);
    cr_expect_eq(r.status, 3, "an unknown job is NOT_FOUND");
    json_t *all = json_loads(r.out, 0, NULL);
    cr_assert_not_null(all, "%s", r.out);
    cr_expect_eq(json_array_size(json_object_get(all, "jobs")), 2);
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(all, "missing"), 0)),
                     "999999");
    cr_expect_gt(json_integer_value(json_object_get(all, "as_of")), 1700000000);
    cr_expect_not(json_is_true(json_object_get(all, "stale")));
    cr_expect_contains(r.err, "999999");
    json_decref(all);
    cancel_quietly(user_a(), a);
    cancel_quietly(user_a(), b);
}

Test(query, a_table_for_people)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=readable");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", id);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_contains(r.out, "JOBID");
    cr_expect_contains(r.out, "STATE");
    cr_expect_contains(r.out, "readable");
    cr_expect_contains(r.out, "PENDING");
    cancel_quietly(user_a(), id);
}

Test(query, list_shows_own_jobs_and_filters)
{
    AUTO(free) char *a = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=filter-me");
    AUTO(free) char *b = submit(user_b(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=filter-me");
    wait_state(user_b(), b, "PENDING"); /* others see it when he has, or soon */
    AUTO(run_free)
    struct run own = run_as(user_a(), "slurm-agent", "list", "--name=filter-me");
    cr_expect_contains(own.out, a);
    cr_expect_null(strstr(own.out, user_b()), "%s", own.out);
    AUTO(run_free)
    struct run other =
        run_as(user_a(), "slurm-agent", "list", "--user", user_b(), "--name=filter-me");
    cr_expect_contains(other.out, b);
    cr_expect_null(strstr(other.out, user_a()), "%s", other.out);
    AUTO(run_free)
    struct run all = run_as(user_a(), "slurm-agent", "list", "--all", "--name=filter-me",
                            "--state=PENDING", "--partition=main");
    cr_expect_contains(all.out, user_a());
    cr_expect_contains(all.out, user_b());
    AUTO(run_free)
    struct run none =
        run_as(user_a(), "slurm-agent", "list", "--all", "--name=filter-me", "--state=RUNNING");
    cr_expect_null(strstr(none.out, "filter-me"), "%s", none.out);
    AUTO(run_free)
    struct run bad = run_as(user_a(), "slurm-agent", "list", "--state=SLEEPING");
    cr_expect_eq(bad.status, 2);
    cr_expect_contains(bad.err, "SLEEPING");
    cancel_quietly(user_a(), a);
    cancel_quietly(user_b(), b);
}

static bool is_past(void *arg)
{
    const int64_t *until = arg;
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "ping");
    return r.status == 0 && clock_mono_ms() > *until;
}

/* Each command is a session of its own, that ends with it. */
Test(query, what_one_session_submits_the_next_one_sees)
{
    signal_agentd_child("STOP", "--role watch");
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=read-your-own");
    int64_t until = clock_mono_ms() + 1500; /* users without a session are forgotten each second */
    cr_expect(wait_until(is_past, &until, 20000));
    AUTO(run_free)
    struct run early = run_as(user_a(), "slurm-agent", "list", "--name=read-your-own");
    signal_agentd_child("CONT", "--role watch");
    AUTO(run_free)
    struct run late = run_as(user_a(), "slurm-agent", "list", "--name=read-your-own");
    /* after some seconds it is said why, instead */
    cr_expect(strstr(early.err, "your last change is not in the job table yet") ||
                  strstr(early.err, "slurmctld has not answered since"),
              "%s", early.err);
    cr_expect_contains(late.out, id);
    cr_expect_eq(late.err[0], '\0', "%s", late.err);
    cancel_quietly(user_a(), id);
}

Test(cancel, ends_a_running_job)
{
    AUTO(free) char *id = submit(user_a(), sleeper);
    wait_state(user_a(), id, "RUNNING");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "cancel", id);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
    AUTO(run_free) struct run again = run_as(user_a(), "slurm-agent", "cancel", id);
    cr_expect_eq(again.status, 0, "cancelling an ended job is no failure: %s", again.err);
    cr_expect_contains(again.err, "already ended");
}

Test(cancel, one_task_of_an_array)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--array=1-3", "--hold");
    AUTO(free) char *one = NULL, *two = NULL;
    cr_assert_gt(asprintf(&one, "%s_1", id), 0);
    cr_assert_gt(asprintf(&two, "%s_2", id), 0);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "cancel", two);
    cr_expect_eq(r.status, 0, "%s", r.err);
    /* A task that never left the array has no record of its own: it is just not there any more. */
    AUTO(run_free) struct run gone = run_as(user_a(), "slurm-agent", "get", two);
    cr_expect_eq(gone.status, 3, "%s%s", gone.out, gone.err);
    cr_expect_str_eq(job_field(user_a(), one, "state"), "PENDING");
    cr_expect_str_eq(job_field(user_a(), one, "array_task"), "1,3");
    AUTO(free) char *some = NULL;
    cr_assert_gt(asprintf(&some, "%s_[1-2]", id), 0);
    AUTO(run_free) struct run rest = run_as(user_a(), "slurm-agent", "cancel", some);
    cr_expect_eq(rest.status, 0, "%s", rest.err);
    cr_expect_str_eq(job_field(user_a(), id, "array_task"), "3");
    cancel_quietly(user_a(), id);
}

static bool is_ready(void *path)
{
    AUTO(free) char *text = slurp(path);
    return text && strstr(text, "ready");
}

Test(cancel, sends_a_signal)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--output=signal");
    wait_state(user_a(), id, "RUNNING");
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/signal", scratch(user_a())), 0);
    /* before the trap is set the signal would end the shell */
    cr_assert(wait_until(is_ready, path, 20000), "the script did not begin");
    for (int i = 0; i < 100; i++) {
        AUTO(run_free)
        struct run r = run_as(user_a(), "slurm-agent", "cancel", "--signal=USR1", "--full", id);
        cr_assert_eq(r.status, 0, "%s", r.err);
        AUTO(free) char *text = slurp(path);
        if (text && strstr(text, "got usr1"))
            break;
        cr_assert_lt(i, 99, "the signal did not arrive");
    }
    cr_expect_str_eq(job_field(user_a(), id, "state"), "RUNNING");
    AUTO(run_free)
    struct run batch = run_as(user_a(), "slurm-agent", "cancel", "--signal=USR1", "--batch", id);
    cr_expect_eq(batch.status, 0, "%s", batch.err);
    AUTO(run_free)
    struct run bad = run_as(user_a(), "slurm-agent", "cancel", "--signal=NOSUCH", id);
    cr_expect_neq(bad.status, 0);
    cr_expect_contains(bad.err, "NOSUCH");
    cancel_quietly(user_a(), id);
}

Test(cluster, whoami_names_the_real_user)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "whoami", "--json");
    json_t *j = json_loads(r.out, 0, NULL);
    cr_assert_not_null(j, "%s%s", r.out, r.err);
    cr_expect_str_eq(json_string_value(json_object_get(j, "user")), user_a());
    cr_expect_eq((uid_t)json_integer_value(json_object_get(j, "uid")), getpwnam(user_a())->pw_uid);
    json_decref(j);
}

Test(cluster, info_and_ping)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "info");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_contains(r.out, "sandbox");
    cr_expect_contains(r.out, "main");
    cr_expect_contains(r.out, "idle");
    AUTO(run_free) struct run p = run_as(user_a(), "slurm-agent", "ping", "--verbose");
    cr_expect_eq(p.status, 0, "%s", p.err);
    cr_expect_contains(p.out, "sandbox");
}

Test(cluster, the_unix_socket_is_another_way_in)
{
    AUTO(run_free)
    struct run r = run_as(user_b(), "slurm-agent", "--server", getenv("SLURM_AGENT_IPC"), "whoami");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_contains(r.out, user_b());
}
