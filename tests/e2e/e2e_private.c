/* SPDX-License-Identifier: GPL-3.0-or-later */
/* PrivateData=jobs that is not known yet, or comes while requests are held, with a watcher that is
 * nobody special to Slurm */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

/* The sandbox's settings change meanwhile. */
TestSuite(private_switch, .timeout = 200);

enum { PATIENCE_MS = 40000 };

static bool ping_has(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "ping", "--json");
    return r.status == 0 && strstr(r.out, arg);
}

static void expect_hidden(const char *what, struct run r)
{
    cr_expect_neq(r.status, 2, "%s is no question: %s", what, r.err);
    cr_expect_null(strstr(r.out, "of-alice"), "%s: %s", what, r.out);
    cr_expect_null(strstr(r.err, "of-alice"), "%s: %s", what, r.err);
    run_free(&r);
}

Test(private_switch, what_is_asked_before_slurmctld_has_answered_shows_nothing)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=of-alice");
    sandbox("stop", "agentd");
    sandbox("stop", "slurmctld");
    sandbox("start", "agentd");
    struct running *all =
        run_begin(user_b(), "slurm-agent", "watch", "--all", "--json", "--snapshot");
    struct running *named = run_begin(user_b(), "slurm-agent", "watch", "--json", "--snapshot", id);
    bool asked = run_goes_on(all, 1000, NULL) && run_goes_on(named, 0, NULL);
    expect_hidden("since, down",
                  run_as(user_b(), "slurm-agent", "list", "--all", "--since=now-1hour", "--json"));
    sandbox("start", "slurmctld");
    cr_assert(asked);
    cr_assert(wait_until(ping_has, "\"private_jobs\": true", PATIENCE_MS));
    cr_expect(ping_has("\"hidden_jobs\": true"));
    struct run end = run_end(all);
    cr_expect_eq(end.status, 4, "DENIED: %d %s", end.status, end.err);
    cr_expect_contains(end.err, "PrivateData");
    expect_hidden("watch --all", end);
    struct run ended = run_end(named);
    cr_expect_eq(ended.status, 3, "not known: %d %s", ended.status, ended.err);
    expect_hidden("watch ID", ended);
    expect_hidden("since",
                  run_as(user_b(), "slurm-agent", "list", "--all", "--since=now-1hour", "--json"));
    cancel_quietly(user_a(), id);
}

/* The server's table has jobs that the caller may not know of. */
Test(private, filters_choose_what_the_caller_may_see)
{
    AUTO(free) char *hers = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=chosen");
    AUTO(free) char *his = submit(user_b(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=chosen");
    AUTO(run_free)
    struct run all = run_as(user_b(), "slurm-agent", "cancel", "--all", "--name=chosen");
    cr_expect_eq(all.status, 0, "%s", all.err);
    cr_expect_str_eq(job_field(user_b(), his, "state"), "CANCELLED");
    AUTO(run_free)
    struct run named = run_as(user_b(), "slurm-agent", "cancel", "--name=chosen", hers);
    cr_expect_eq(named.status, 3, "as if there were none: %s", named.err);
    cr_expect_str_eq(job_field(user_a(), hers, "state"), "PENDING");
    AUTO(run_free) struct run own = run_as(user_a(), "slurm-agent", "cancel", "--me");
    cr_expect_eq(own.status, 0, "%s", own.err);
    cr_expect_str_eq(job_field(user_a(), hers, "state"), "CANCELLED");
}

Test(private, a_watch_says_that_it_will_see_nothing)
{
    struct running *watch = run_begin(user_a(), "slurm-agent", "watch");
    cr_expect(run_says(watch, "PrivateData=jobs hides jobs"));
    cr_expect(run_goes_on(watch, 500, NULL), "it may come to see some");
    run_signal(watch, SIGINT);
    run_status(run_end(watch));
}

Test(private, the_log_says_from_the_start_that_jobs_are_hidden)
{
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    AUTO(free) char *log = slurp(path);
    cr_expect_contains(log, "PrivateData=jobs hides others' jobs from the watcher");
}

Test(private_switch, what_comes_to_be_hidden_has_not_got_lost)
{
    sandbox("reconf", "PrivateData=none");
    cr_assert(wait_until(ping_has, "\"private_jobs\": false", PATIENCE_MS));
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\nsleep 12; exit 3\n", "--job-name=of-alice");
    struct running *all =
        run_begin(user_b(), "slurm-agent", "watch", "--all", "--json", "--snapshot");
    cr_expect(run_says(all, "of-alice"));
    struct running *wait = run_begin(user_a(), "slurm-agent", "wait", id);
    sandbox("reconf", "PrivateData=jobs");
    cr_assert(wait_until(ping_has, "\"private_jobs\": true", PATIENCE_MS));
    expect_hidden("list", run_as(user_b(), "slurm-agent", "list", "--all", "--json"));
    expect_hidden("get", run_as(user_b(), "slurm-agent", "get", "--json", id));
    AUTO(run_free) struct run end = run_end(all);
    cr_expect_eq(end.status, 4, "DENIED: %d %s", end.status, end.err);
    cr_expect_null(strstr(end.out, "\"lost\""), "%s", end.out);
    cr_expect_null(strstr(end.out, "UNKNOWN"), "%s", end.out);
    AUTO(run_free) struct run waited = run_end(wait);
    cr_expect_eq(waited.status, 3, "%d %s%s", waited.status, waited.out, waited.err);
}
