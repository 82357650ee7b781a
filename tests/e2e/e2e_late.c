/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Jobs with inputs that slurmctld makes when their sender has given up: in the sandbox of
 * e2e_requests.c, where a job_submit plugin keeps one for as long as it is told */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(late, .timeout = 300);

enum { DOUBT_MS = 60000 };

static char id[100]; /* of the request */

/* Its script says what its input says. */
static struct running *begin_staged(const char *name, const char *retry)
{
    const char *dir = scratch(user_a());
    AUTO(free) char *make = NULL, *input = NULL, *script = NULL, *work = NULL;
    cr_assert_gt(asprintf(&make, "mkdir -p %s/work && echo data >%s/stored", dir, dir), 0);
    cr_assert_eq(run_status(run_as(user_a(), "sh", "-c", make)), 0);
    cr_assert_gt(asprintf(&input, "--input=file://%s/stored:in", dir), 0);
    cr_assert_gt(asprintf(&work, "%s/work", dir), 0);
    script = scratch_file(user_a(), "late.sh", "#!/bin/sh\ngrep data in\n");
    snprintf(id, sizeof id, "%s-%lld", name, (long long)clock_mono_ms());
    return run_begin(user_a(), "slurm-agent", "submit", "--parsable", "--retry", retry,
                     "--request-id", id, "--job-name", name, "--chdir", work, input, script);
}

/* One field of what became of it; static. */
static const char *became(const char *field)
{
    return request_field(user_a(), id, field);
}

static bool has_no_job(void *arg)
{
    (void)arg;
    return strcmp(became("state"), "NOT_SUBMITTED") == 0;
}

static bool second_in_doubt(void *arg)
{
    (void)arg;
    return atoi(became("attempt")) > 1 && strcmp(became("state"), "IN_DOUBT") == 0;
}

static bool has_job(void *arg)
{
    (void)arg;
    return atoll(became("job_id")) > 0;
}

static bool succeeded(void *arg)
{
    return strcmp(job_field(user_a(), arg, "phase"), "SUCCEEDED") == 0;
}

static void expect_runs_with_its_input(void)
{
    char job[30];
    cr_assert(wait_until(has_job, NULL, DOUBT_MS), "it is %s", became("state"));
    snprintf(job, sizeof job, "%s", became("job_id"));
    cr_expect(wait_until(succeeded, job, DOUBT_MS), "job %s is %s, %s, %s", job,
              job_field(user_a(), job, "state"), job_field(user_a(), job, "phase"),
              job_field(user_a(), job, "staging"));
}

static bool none_waits(void *arg)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "squeue", "-h", "-a", "-o", "%i", "-t", "PENDING", "-n", arg);
    return r.status == 0 && *r.out == '\0';
}

Test(late, a_job_that_nobody_waits_for_any_more_gets_its_inputs)
{
    keep_next_submit();
    cr_expect_neq(run_status(run_end(begin_staged("forlorn", "1"))), 0);
    cr_assert(wait_until(has_no_job, NULL, DOUBT_MS), "it is %s", became("state"));
    let_submit_go();
    expect_runs_with_its_input();
}

Test(late, so_does_one_that_the_next_broker_finds)
{
    keep_next_submit();
    cr_expect_neq(run_status(run_end(begin_staged("orphan", "1"))), 0);
    cr_assert(wait_until(has_no_job, NULL, DOUBT_MS), "it is %s", became("state"));
    sandbox("kill", "agentd");
    sandbox("start", "agentd");
    let_submit_go();
    expect_runs_with_its_input();
}

/* While the first is kept no other comes through: the second is in doubt when it turns up. */
Test(late, whichever_of_two_attempts_it_is_of)
{
    keep_next_submit();
    struct running *r = begin_staged("either", "60");
    cr_expect(wait_until(second_in_doubt, NULL, DOUBT_MS), "it is %s", became("state"));
    let_submit_go();
    cr_expect_eq(run_status(run_end(r)), 0);
    expect_runs_with_its_input();
    cr_expect(wait_until(none_waits, "either", DOUBT_MS), "another one stays held");
}
