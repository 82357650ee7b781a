/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may do what to whom: real users, as root alone can have them */
#include <criterion/criterion.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(authz, .timeout = 120);
TestSuite(private, .timeout = 120);

Test(authz, another_users_job_cannot_be_ended_or_signalled)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nsleep 60\n", "--hold");
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "cancel", id);
    cr_expect_eq(r.status, 4, "DENIED: %s", r.err);
    cr_expect_contains(r.err, id);
    cr_expect_contains(r.err, "not yours");
    AUTO(run_free)
    struct run s = run_as(user_b(), "slurm-agent", "cancel", "--signal=TERM", id);
    cr_expect_eq(s.status, 4, "%s", s.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING");
    cancel_quietly(user_a(), id);
}

Test(authz, another_users_script_cannot_be_read)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\necho secret-of-a\n", "--hold");
    AUTO(run_free) struct run own = run_as(user_a(), "slurm-agent", "script", id);
    cr_expect_contains(own.out, "secret-of-a");
    AUTO(run_free) struct run other = run_as(user_b(), "slurm-agent", "script", id);
    cr_expect_neq(other.status, 0);
    cr_expect_null(strstr(other.out, "secret-of-a"));
    cr_expect_null(strstr(other.err, "secret-of-a"));
    cancel_quietly(user_a(), id);
}

Test(authz, root_is_refused)
{
    AUTO(run_free) struct run r = run_as(NULL, "slurm-agent", "whoami");
    cr_expect_eq(r.status, 4, "DENIED: %s%s", r.out, r.err);
    cr_expect_contains(r.err, "root");
}

Test(authz, system_users_are_refused)
{
    AUTO(run_free) struct run r = run_as("daemon", "slurm-agent", "whoami");
    cr_expect_eq(r.status, 4, "DENIED: %s%s", r.out, r.err);
    cr_expect_contains(r.err, "1000");
}

Test(authz, a_script_is_read_with_the_users_own_rights)
{
    AUTO(free) char *path = scratch_file(user_a(), "mine.sh", "#!/bin/sh\ntrue\n");
    cr_assert_eq(run_status(run_as(user_a(), "chmod", "600", path)), 0);
    AUTO(run_free)
    struct run own =
        run_as(user_a(), "slurm-agent", "submit", "--hold", "--parsable", "--remote-script", path);
    cr_expect_eq(own.status, 0, "%s", own.err);
    AUTO(run_free)
    struct run other = run_as(user_b(), "slurm-agent", "submit", "--hold", "--remote-script", path);
    cr_expect_eq(other.status, 4, "DENIED: %s", other.err);
    cr_expect_contains(other.err, path);
    cr_expect_contains(other.err, "Permission denied");
    own.out[strcspn(own.out, "\n")] = '\0';
    cancel_quietly(user_a(), own.out);
}

/* A sandbox with PrivateData=jobs. */

Test(private, others_jobs_are_not_seen)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=private-one");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING", "the own job is");
    AUTO(run_free) struct run get = run_as(user_b(), "slurm-agent", "get", "--json", id);
    cr_expect_eq(get.status, 3, "NOT_FOUND: %s%s", get.out, get.err);
    cr_expect_null(strstr(get.out, "private-one"));
    AUTO(run_free) struct run list = run_as(user_b(), "slurm-agent", "list", "--all", "--json");
    cr_expect_eq(list.status, 0, "%s", list.err);
    cr_expect_null(strstr(list.out, "private-one"));
    AUTO(run_free)
    struct run user = run_as(user_b(), "slurm-agent", "list", "--user", user_a(), "--json");
    cr_expect_null(strstr(user.out, "private-one"));
    AUTO(run_free) struct run own = run_as(user_a(), "slurm-agent", "list", "--json");
    cr_expect_contains(own.out, "private-one");
    cancel_quietly(user_a(), id);
}
