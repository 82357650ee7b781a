/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One job for each request id, while what it needs comes and goes; MessageTimeout is short, and so
 * is the life of credentials */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(requests, .timeout = 300);

enum { DOUBT_MS = 60000 }; /* longer than a doubt lasts here */

static const char *script(void)
{
    static char *path;
    free(path);
    path = scratch_file(user_a(), "r.sh", "#!/bin/sh\nsleep 60\n");
    return path;
}

/* An id that no other test has, and no run before. */
static const char *fresh(const char *name)
{
    static char id[100];
    snprintf(id, sizeof id, "%s-%lld", name, (long long)clock_mono_ms());
    return id;
}

static struct run submit_as(const char *user, const char *id)
{
    return run_as(user, "slurm-agent", "submit", "--parsable", "--hold", "--request-id", id,
                  script());
}

/* The job's id; the caller's to free. */
static char *must_submit(const char *id)
{
    AUTO(run_free) struct run r = submit_as(user_a(), id);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    return strdup(r.out);
}

/* One field of what became of it; static. */
static const char *became(const char *id, const char *field)
{
    static char text[400];
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "get", "--json", "--request-id", id);
    json_error_t e;
    json_t *j = json_loads(r.out, 0, &e), *v = json_object_get(j, field);
    *text = '\0';
    if (json_is_string(v))
        snprintf(text, sizeof text, "%s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    json_decref(j);
    return text;
}

struct wanted {
    const char *id, *state;
};

static bool is_so(void *arg)
{
    const struct wanted *w = arg;
    return strcmp(became(w->id, "state"), w->state) == 0;
}

static void expect_becomes(const char *id, const char *state)
{
    struct wanted w = {id, state};
    cr_expect(wait_until(is_so, &w, DOUBT_MS), "it is %s", became(id, "state"));
}

/* How many jobs slurmctld has with that in their submit line's place: the name. */
static int jobs_named(const char *name)
{
    AUTO(run_free) struct run r = run_as(NULL, "squeue", "-h", "-a", "-o", "%j", "-n", name);
    int n = 0;
    for (const char *p = r.out; *p; p++)
        n += *p == '\n';
    return n;
}

static struct running *begin_submit(const char *id, const char *name)
{
    return run_begin(user_a(), "slurm-agent", "submit", "--parsable", "--hold", "--retry", "60",
                     "--request-id", id, "--job-name", name, script());
}

Test(requests, the_same_id_is_the_same_job_also_after_a_restart)
{
    const char *id = fresh("same");
    AUTO(free) char *first = must_submit(id);
    AUTO(free) char *second = must_submit(id);
    cr_expect_str_eq(first, second);
    cr_expect_str_eq(became(id, "state"), "SUBMITTED");
    cr_expect_str_eq(became(id, "job_id"), first);
    sandbox("stop", "agentd");
    sandbox("start", "agentd");
    AUTO(free) char *third = must_submit(id);
    cr_expect_str_eq(first, third);
    cancel_quietly(user_a(), first);
    expect_becomes(id, "ENDED");
    AUTO(free) char *fourth = must_submit(id);
    cr_expect_str_eq(first, fourth, "also of a job that has ended");
}

Test(requests, another_users_id_is_another_request)
{
    if (!user_b())
        cr_skip_test("needs two users");
    const char *id = fresh("theirs");
    AUTO(free) char *mine = must_submit(id);
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "get", "--request-id", id);
    cr_expect_eq(r.status, 3, "%s", r.out);
    AUTO(run_free)
    struct run other = run_as(user_b(), "slurm-agent", "submit", "--parsable", "--hold",
                              "--request-id", id, "--wrap", "true");
    cr_expect_eq(other.status, 0, "%s", other.err);
    cr_expect_neq(atoi(other.out), atoi(mine));
    cancel_quietly(user_a(), mine);
    other.out[strcspn(other.out, "\n")] = '\0';
    cancel_quietly(user_b(), other.out);
}

Test(requests, other_content_is_a_conflict)
{
    const char *id = fresh("conflict");
    AUTO(free) char *job = must_submit(id);
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--request-id", id, "--time=9",
                          "--hold", script());
    cr_expect_eq(r.status, 16, "%s", r.err);
    cr_expect_contains(r.err, "another submit");
    cancel_quietly(user_a(), job);
}

Test(requests, a_refusal_is_remembered)
{
    const char *id = fresh("refused");
    for (int i = 0; i < 2; i++) {
        AUTO(run_free)
        struct run r = run_as(user_a(), "slurm-agent", "submit", "--request-id", id,
                              "--partition=nosuch", script());
        cr_expect_eq(r.status, 2, "%s", r.err);
        cr_expect_contains(r.err, "partition");
        cr_expect_str_eq(became(id, "state"), "REFUSED");
        cr_expect_str_eq(became(id, "attempt"), "1");
    }
}

Test(requests, what_was_wrong_before_slurm_was_asked_may_be_mended)
{
    const char *id = fresh("mended");
    AUTO(free) char *dir = NULL, *chdir = NULL;
    cr_assert_gt(asprintf(&dir, "%s/mended", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&chdir, "--chdir=%s", dir), 0);
    const char *const argv[] = {"slurm-agent", "submit", "--parsable", "--hold", "--request-id", id,
                                chdir,         script(), NULL};
    AUTO(run_free) struct run bad = run_argv(user_a(), argv, "");
    cr_expect_eq(bad.status, 3, "%s", bad.err);
    cr_expect_str_eq(became(id, "state"), "NOT_SUBMITTED");
    cr_assert_eq(run_status(run_as(user_a(), "mkdir", dir)), 0);
    AUTO(run_free) struct run good = run_argv(user_a(), argv, "");
    cr_expect_eq(good.status, 0, "%s", good.err);
    cr_expect_str_eq(became(id, "attempt"), "2");
    good.out[strcspn(good.out, "\n")] = '\0';
    cancel_quietly(user_a(), good.out);
}

Test(requests, the_job_carries_tag_and_id)
{
    const char *id = fresh("tag");
    AUTO(free) char *job = must_submit(id);
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", job);
    char sid[64];
    snprintf(sid, sizeof sid, ":%s\n", became(id, "tag"));
    cr_expect_contains(r.out, sid);
    cr_expect_str_eq(job_field(user_a(), job, "tag"), became(id, "tag"));
    cancel_quietly(user_a(), job);
}

Test(requests, a_broker_that_dies_while_slurmctld_hangs_makes_no_second_job)
{
    const char *id = fresh("broker");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_broker");
    struct wanted w = {id, "SUBMITTING"};
    cr_expect(wait_until(is_so, &w, 10000), "it is %s", became(id, "state"));
    kill_agentd_child("agent-broker");
    sandbox("resume", "slurmctld");
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    cr_expect_eq(jobs_named("once_broker"), 1);
    done.out[strcspn(done.out, "\n")] = '\0';
    cr_expect_str_eq(became(id, "job_id"), done.out);
    cancel_quietly(user_a(), done.out);
}

Test(requests, a_worker_that_dies_makes_no_second_job)
{
    const char *id = fresh("worker");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_worker");
    struct wanted w = {id, "SUBMITTING"};
    cr_expect(wait_until(is_so, &w, 10000), "it is %s", became(id, "state"));
    kill_agentd_child("control");
    expect_becomes(id, "IN_DOUBT");
    sandbox("resume", "slurmctld");
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    cr_expect_eq(jobs_named("once_worker"), 1);
    done.out[strcspn(done.out, "\n")] = '\0';
    cancel_quietly(user_a(), done.out);
}

Test(requests, an_slurmctld_that_answers_too_late_makes_no_second_job)
{
    const char *id = fresh("late");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_late");
    expect_becomes(id, "IN_DOUBT");
    sandbox("resume", "slurmctld");
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    cr_expect_eq(jobs_named("once_late"), 1);
    done.out[strcspn(done.out, "\n")] = '\0';
    cancel_quietly(user_a(), done.out);
}

Test(requests, an_slurmctld_that_is_killed_with_the_request_unread_gets_it_again)
{
    const char *id = fresh("killed");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_killed");
    expect_becomes(id, "IN_DOUBT");
    sandbox("kill", "slurmctld");
    sandbox("start", "slurmctld");
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    cr_expect_eq(jobs_named("once_killed"), 1);
    cr_expect_str_eq(became(id, "attempt"), "2", "after it was proved that there is no job");
    done.out[strcspn(done.out, "\n")] = '\0';
    cancel_quietly(user_a(), done.out);
}

Test(requests, an_slurmctld_that_is_down_was_asked_for_nothing)
{
    const char *id = fresh("down");
    sandbox("stop", "slurmctld");
    AUTO(run_free) struct run r = submit_as(user_a(), id);
    cr_expect_eq(r.status, 8, "%s", r.err);
    cr_expect_str_eq(became(id, "state"), "NOT_SUBMITTED");
    sandbox("start", "slurmctld");
    AUTO(free) char *job = must_submit(id);
    cancel_quietly(user_a(), job);
}

static bool is_draining(void *arg)
{
    AUTO(run_free) struct run r = submit_as(user_a(), arg);
    return r.status == 7;
}

Test(requests, a_server_that_drains_takes_no_new_submit_and_answers_for_old_ones)
{
    AUTO(free) char *old = strdup(fresh("old"));
    AUTO(free) char *job = must_submit(old);
    AUTO(run_free)
    struct run pid =
        run_as(NULL, "bash", "tests/sandbox/sandbox.sh", "pid", sandbox_dir(), "agentd");
    cr_assert_eq(pid.status, 0, "%s", pid.err);
    cr_assert_eq(kill(atoi(pid.out), SIGUSR1), 0);
    AUTO(free) char *new = strdup(fresh("new"));
    cr_expect(wait_until(is_draining, new, 60000));
    AUTO(free) char *again = must_submit(old);
    cr_expect_str_eq(job, again);
    cr_assert_eq(kill(atoi(pid.out), SIGUSR2), 0);
    AUTO(free) char *late = must_submit(new);
    cancel_quietly(user_a(), job);
    cancel_quietly(user_a(), late);
}

Test(requests, a_journal_that_was_restored_answers_for_nobody)
{
    const char *id = fresh("restored");
    AUTO(free) char *copy = NULL, *file = NULL, *wal = NULL;
    cr_assert_gt(asprintf(&file, "%s/state/agentd/journal.db", sandbox_dir()), 0);
    cr_assert_gt(asprintf(&wal, "%s-wal", file), 0);
    cr_assert_gt(asprintf(&copy, "%s/state/copy.db", sandbox_dir()), 0);
    sandbox("stop", "agentd");
    cr_assert_eq(run_status(run_as(NULL, "cp", "-p", file, copy)), 0);
    sandbox("start", "agentd");
    AUTO(free) char *job = must_submit(id);
    sandbox("stop", "agentd");
    /* into the same file, so that its number and birth stay */
    cr_assert_eq(run_status(run_as(NULL, "cp", copy, file)), 0);
    run_status(run_as(NULL, "rm", "-f", wal));
    sandbox("start", "agentd");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--request-id", id);
    cr_expect_eq(r.status, 3, "%s", r.out);
    AUTO(free) char *log = NULL, *text = NULL;
    cr_assert_gt(asprintf(&log, "%s/log/agentd.log", sandbox_dir()), 0);
    text = slurp(log);
    cr_expect_contains(text, "request ids that it knows are void");
    cancel_quietly(user_a(), job);
}

Test(requests, a_damaged_journal_takes_no_submit_and_reads_go_on)
{
    AUTO(free) char *file = NULL, *away = NULL, *wal = NULL;
    AUTO(free) char *job = must_submit(fresh("before"));
    cr_assert_gt(asprintf(&file, "%s/state/agentd/journal.db", sandbox_dir()), 0);
    cr_assert_gt(asprintf(&wal, "%s-wal", file), 0);
    cr_assert_gt(asprintf(&away, "%s.away", file), 0);
    sandbox("stop", "agentd");
    cr_assert_eq(run_status(run_as(NULL, "mv", file, away)), 0);
    run_status(run_as(NULL, "rm", "-f", wal));
    cr_assert_eq(run_status(run_as("slurm-agent", "cp", "/etc/passwd", file)), 0);
    sandbox("start", "agentd");
    AUTO(run_free) struct run r = submit_as(user_a(), fresh("damaged"));
    cr_expect_eq(r.status, 20, "%d: %s", r.status, r.err);
    cr_expect_contains(r.err, "nothing was submitted");
    cr_expect_contains(r.err, "move it");
    cr_expect_str_eq(job_field(user_a(), job, "state"), "PENDING");
    cr_assert_eq(run_status(run_as(NULL, "mv", away, file)), 0);
    sandbox("stop", "agentd");
    sandbox("start", "agentd");
    cancel_quietly(user_a(), job);
}

Test(requests, cancelling_twice_is_no_error)
{
    AUTO(free) char *job = must_submit(fresh("cancel"));
    for (int i = 0; i < 2; i++) {
        AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "cancel", job);
        cr_expect_eq(r.status, 0, "%s", r.err);
    }
}
