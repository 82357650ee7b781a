/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Doubts that stay: slurmctld forgets jobs within seconds, and slurmdbd is there */
#include <signal.h>

#include "tests/e2e/e2e_requests.h"

TestSuite(doubt, .timeout = 300);

enum { EARLY_MS = 5000 }; /* how long a credential lives in this sandbox */

static bool is_stuck(void *arg)
{
    return strstr(became(arg, "text"), "slurm-agent resolve") != NULL;
}

/* slurmctld has it unread when slurm-agentd is killed. */
static void leave_unread(const char *id, const char *name)
{
    sandbox("pause", "slurmctld");
    struct running *r = run_begin(user_a(), "slurm-agent", "submit", "--request-id", id,
                                  "--job-name", name, "--output=/dev/null", "--wrap", "true");
    struct wanted w = {id, "SUBMITTING"};
    cr_expect(wait_until(is_so, &w, 10000), "it is %s", became(id, "state"));
    sandbox("kill", "agentd");
    run_signal(r, SIGKILL);
    run_status(run_end(r));
}

/* The id of the job with that name that slurmdbd has as completed; "" while there is none.  Static.
 */
static const char *completed(const char *name)
{
    static char id[40];
    AUTO(run_free)
    struct run r =
        run_as(NULL, "sacct", "-a", "-n", "-X", "-P", "-o", "JobID,State", "--name", name);
    const char *end = strstr(r.out, "|COMPLETED");
    snprintf(id, sizeof id, "%.*s", end ? (int)(end - r.out) : 0, r.out);
    return id;
}

static bool has_come_and_gone(void *arg)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "squeue", "-h", "-a", "-t", "all", "-o", "%i", "-n", arg);
    return r.status == 0 && !*r.out && *completed(arg);
}

/* Its job, which has the id as its name, has done so by the time that an slurm-agentd runs again.
 */
static void come_and_go(char *id, char *name)
{
    leave_unread(id, name);
    sandbox("resume", "slurmctld");
    cr_assert(wait_until(has_come_and_gone, name, 60000));
    sandbox("start", "agentd");
}

Test(doubt, slurmdbd_knows_the_job_that_slurmctld_has_forgotten)
{
    AUTO(free) char *id = strdup(fresh("gone"));
    come_and_go(id, id);
    expect_becomes(id, "ENDED");
    cr_expect_str_eq(became(id, "job_id"), completed(id));
    cr_expect_str_eq(became(id, "attempt"), "1");
}

Test(doubt, who_submits_again_has_the_job_that_slurmctld_has_forgotten)
{
    AUTO(free) char *id = strdup(fresh("again"));
    come_and_go(id, id);
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--parsable", "--request-id", id,
                          "--job-name", id, "--output=/dev/null", "--wrap", "true");
    cr_expect_eq(r.status, 0, "%d: %s", r.status, r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    cr_expect_str_eq(r.out, completed(id));
}

struct word {
    const char *id;
    struct run answer;
};

/* Until the first look at slurmctld's jobs nobody's word is taken. */
static bool has_weighed_the_word(void *arg)
{
    struct word *w = arg;
    run_free(&w->answer);
    w->answer = run_as(user_a(), "slurm-agent", "resolve", "--none", w->id);
    return w->answer.status != 8;
}

Test(doubt, slurmdbd_counts_more_than_the_users_word)
{
    AUTO(free) char *id = strdup(fresh("word"));
    come_and_go(id, id);
    struct word w = {.id = id};
    cr_expect(wait_until(has_weighed_the_word, &w, 20000));
    cr_expect_eq(w.answer.status, 16, "%d: %s%s", w.answer.status, w.answer.out, w.answer.err);
    cr_expect_contains(w.answer.err, completed(id));
    run_free(&w.answer);
}

static bool is_settled(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "resolve", "--none", arg);
    return r.status == 0;
}

/* A line as of every change. */
static void expect_logged(void)
{
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    AUTO(free) char *log = slurp(path);
    cr_expect_geq(lines_with(log, " op=job.resolve job=none from=", " request="), 1);
}

Test(doubt, the_user_says_that_there_is_no_job)
{
    AUTO(free) char *id = strdup(fresh("none"));
    int64_t begun = clock_mono_ms();
    leave_unread(id, "never_was");
    sandbox("kill", "slurmctld");
    sandbox("start", "slurmctld");
    sandbox("start", "agentd");
    cr_assert(wait_until(is_stuck, id, 20000), "%s: %s", became(id, "state"), became(id, "text"));
    AUTO(run_free) struct run early = run_as(user_a(), "slurm-agent", "resolve", "--none", id);
    /* A host that took that long for all this has no too early any more. */
    bool was_late = early.status == 0 && clock_mono_ms() - begun > EARLY_MS;
    if (!was_late) {
        cr_expect_eq(early.status, 7, "%d: %s%s", early.status, early.out, early.err);
        cr_expect_contains(early.err, "may yet carry it out");
        cr_expect_str_eq(became(id, "state"), "IN_DOUBT");
    }
    AUTO(run_free) struct run both = run_as(user_a(), "slurm-agent", "resolve", id);
    cr_expect_eq(both.status, 2, "%s", both.err);
    if (user_b()) {
        AUTO(run_free) struct run bob = run_as(user_b(), "slurm-agent", "resolve", "--none", id);
        cr_expect_eq(bob.status, 3, "%d: %s", bob.status, bob.err);
    }
    cr_expect(was_late || wait_until(is_settled, id, DOUBT_MS));
    cr_expect_str_eq(became(id, "state"), "NOT_SUBMITTED");
    expect_logged();
    AUTO(run_free) struct run job = run_as(user_a(), "slurm-agent", "resolve", "--job=77777", id);
    cr_expect_eq(job.status, 16, "%d: %s", job.status, job.err);
    AUTO(run_free)
    struct run again = run_as(user_a(), "slurm-agent", "submit", "--parsable", "--request-id", id,
                              "--job-name=never_was", "--output=/dev/null", "--wrap", "true");
    cr_expect_eq(again.status, 0, "%s", again.err);
    cr_expect_str_eq(became(id, "attempt"), "2");
}

static bool is_refused(void *arg)
{
    const char *const *said = arg;
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "resolve", said[0], said[1]);
    return r.status == 16 && strstr(r.err, "tag");
}

Test(doubt, the_user_names_no_job_that_is_not_of_it)
{
    AUTO(free) char *id = strdup(fresh("named"));
    AUTO(free) char *other = must_submit(fresh("other"));
    leave_unread(id, "not_that_one");
    sandbox("kill", "slurmctld");
    sandbox("start", "slurmctld");
    sandbox("start", "agentd");
    cr_assert(wait_until(is_stuck, id, 20000), "%s: %s", became(id, "state"), became(id, "text"));
    AUTO(free) char *option = NULL;
    cr_assert_gt(asprintf(&option, "--job=%s", other), 0);
    const char *const said[] = {option, id};
    cr_expect(wait_until(is_refused, (void *)said, DOUBT_MS));
    cr_expect_str_eq(became(id, "state"), "IN_DOUBT");
    cancel_quietly(user_a(), other);
}
