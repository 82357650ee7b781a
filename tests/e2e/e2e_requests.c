/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One job for each request id, while what it needs comes and goes; MessageTimeout is short, and so
 * is the life of credentials */
#include <criterion/criterion.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/e2e/e2e_requests.h"

TestSuite(requests, .timeout = 300);

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

/* It ended well, with one job of that name: its id. */
static char *end_submit(struct running *r, const char *name)
{
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    cr_expect_eq(jobs_named(name), 1);
    done.out[strcspn(done.out, "\n")] = '\0';
    return strdup(done.out);
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

/* slurmctld shows a job that it refused for its nodes. */
static bool has_refused_job(void *name)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "squeue", "-h", "-a", "-t", "all", "-o", "%T", "-n", name);
    return strstr(r.out, "FAILED");
}

static bool is_listed_as_failed(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "list", "--name", arg);
    return strstr(r.out, "FAILED");
}

Test(requests, a_refusal_stays_one_though_slurmctld_shows_its_job)
{
    AUTO(free) char *id = strdup(fresh("nodes")), *exclude = NULL;
    AUTO(run_free) struct run nodes = run_as(NULL, "sinfo", "-h", "-o", "%N");
    nodes.out[strcspn(nodes.out, "\n")] = '\0';
    cr_assert_gt(asprintf(&exclude, "--exclude=%s", nodes.out), 0);
    for (int i = 0; i < 2; i++) {
        AUTO(run_free)
        struct run r = run_as(user_a(), "slurm-agent", "submit", "--request-id", id, "--job-name",
                              id, exclude, script());
        cr_expect_eq(r.status, 2, "%d %s%s", r.status, r.out, r.err);
        cr_expect(wait_until(has_refused_job, id, 20000));
        cr_expect(wait_until(is_listed_as_failed, id, 20000));
        cr_expect_str_eq(became(id, "state"), "REFUSED");
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
    AUTO(free) char *job = end_submit(r, "once_broker");
    cr_expect_str_eq(became(id, "job_id"), job);
    cancel_quietly(user_a(), job);
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
    AUTO(free) char *job = end_submit(r, "once_worker");
    cancel_quietly(user_a(), job);
}

Test(requests, a_heterogeneous_job_is_made_once_with_all_its_components)
{
    const char *id = fresh("het");
    sandbox("pause", "slurmctld");
    struct running *r =
        run_begin(user_a(), "slurm-agent", "submit", "--parsable", "--hold", "-J", "once_het",
                  "--retry", "60", "--request-id", id, "-n1", ":", "-n1", script());
    struct wanted w = {id, "SUBMITTING"};
    cr_expect(wait_until(is_so, &w, 10000), "it is %s", became(id, "state"));
    kill_agentd_child("agent-broker");
    sandbox("resume", "slurmctld");
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    cr_expect_eq(jobs_named("once_het"), 2, "the leader and one more");
    done.out[strcspn(done.out, "\n")] = '\0';
    cr_expect_str_eq(became(id, "job_id"), done.out);
    cancel_quietly(user_a(), done.out);
}

Test(requests, an_slurmctld_that_answers_too_late_makes_no_second_job)
{
    const char *id = fresh("late");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_late");
    expect_becomes(id, "IN_DOUBT");
    sandbox("resume", "slurmctld");
    AUTO(free) char *job = end_submit(r, "once_late");
    cancel_quietly(user_a(), job);
}

static bool one_job_named(void *arg)
{
    return jobs_named(arg) == 1;
}

static bool is_tried_again(void *id)
{
    return atoi(became(id, "attempt")) > 1;
}

/* slurmctld has authenticated it, and a job_submit plugin keeps it for longer than any request may
 * be on its way. */
Test(requests, a_late_twin_is_cancelled_and_reported)
{
    const char *id = fresh("twin");
    keep_next_submit();
    struct running *r = begin_submit(id, "twins");
    cr_expect(wait_until(is_tried_again, (void *)id, DOUBT_MS), "it is %s", became(id, "state"));
    let_submit_go();
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%s", done.err);
    done.out[strcspn(done.out, "\n")] = '\0';
    cr_expect(wait_until(one_job_named, "twins", 20000));
    cr_expect_contains(became(id, "text"), "late twin");
    cr_expect_str_eq(became(id, "job_id"), done.out);
    cr_expect_str_eq(job_field(user_a(), done.out, "state"), "PENDING");
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
    AUTO(free) char *job = end_submit(r, "once_killed");
    cr_expect_str_eq(became(id, "attempt"), "2", "after it was proved that there is no job");
    cancel_quietly(user_a(), job);
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

static bool says_stopping(void *arg)
{
    AUTO(free) char *log = NULL;
    cr_assert_gt(asprintf(&log, "%s/log/agentd.log", sandbox_dir()), 0);
    AUTO(free) char *text = slurp(log);
    return text && lines_with(text, "agent-broker", ": stopping") > *(const int *)arg;
}

/* slurm-agentd is told to stop while slurmctld hangs with a submit. */
static struct running *begin_stop(void)
{
    AUTO(free) char *log = NULL;
    cr_assert_gt(asprintf(&log, "%s/log/agentd.log", sandbox_dir()), 0);
    AUTO(free) char *text = slurp(log);
    int before = lines_with(text, "agent-broker", ": stopping");
    struct running *stop =
        run_begin(NULL, "bash", "tests/sandbox/sandbox.sh", "stop", sandbox_dir(), "agentd");
    cr_expect(wait_until(says_stopping, &before, 10000));
    return stop;
}

Test(requests, a_server_that_stops_answers_for_what_slurm_answers_meanwhile)
{
    const char *id = fresh("answered");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_answered");
    struct wanted w = {id, "SUBMITTING"};
    cr_expect(wait_until(is_so, &w, 10000), "it is %s", became(id, "state"));
    struct running *stop = begin_stop();
    sandbox("resume", "slurmctld");
    AUTO(free) char *job = end_submit(r, "once_answered"); /* nobody else is there to answer */
    cr_expect_eq(run_status(run_end(stop)), 0);
    sandbox("start", "agentd");
    cr_expect_str_eq(became(id, "state"), "SUBMITTED");
    cr_expect_str_eq(became(id, "job_id"), job);
    cr_expect_str_eq(became(id, "attempt"), "1");
    cancel_quietly(user_a(), job);
}

Test(requests, a_server_that_stops_leaves_the_rest_to_its_journal)
{
    const char *id = fresh("left");
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_left");
    struct wanted w = {id, "SUBMITTING"};
    cr_expect(wait_until(is_so, &w, 10000), "it is %s", became(id, "state"));
    struct running *stop = begin_stop();
    cr_expect_eq(run_status(run_end(stop)), 0);
    sandbox("start", "agentd");
    sandbox("resume", "slurmctld");
    AUTO(free) char *job = end_submit(r, "once_left");
    cr_expect_str_eq(became(id, "job_id"), job);
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
    AUTO(free) char *ended = strdup(fresh("ended"));
    AUTO(free) char *job = must_submit(old);
    AUTO(free) char *gone = must_submit(ended);
    cancel_quietly(user_a(), gone);
    expect_becomes(ended, "ENDED");
    sandbox("stop", "agentd"); /* the next one has it in its journal alone */
    sandbox("start", "agentd");
    AUTO(run_free)
    struct run pid =
        run_as(NULL, "bash", "tests/sandbox/sandbox.sh", "pid", sandbox_dir(), "agentd");
    cr_assert_eq(pid.status, 0, "%s", pid.err);
    cr_assert_eq(kill(atoi(pid.out), SIGUSR1), 0);
    AUTO(free) char *new = strdup(fresh("new"));
    cr_expect(wait_until(is_draining, new, 60000));
    /* However little time there is: what it says is not lost over a last try without any. */
    for (int i = 0; i < 8; i++) {
        char timeout[24];
        snprintf(timeout, sizeof timeout, "--timeout=%d", 1 + i % 3);
        AUTO(run_free)
        struct run r = run_as(user_a(), "slurm-agent", timeout, "submit", "--wrap", "true");
        cr_expect_eq(r.status, 7, "%s: %d: %s", timeout, r.status, r.err);
    }
    AUTO(run_free) struct run ping = run_as(user_a(), "slurm-agent", "ping");
    cr_expect_contains(ping.out, ", it is draining: no new submits are taken");
    AUTO(run_free) struct run verbose = run_as(user_a(), "slurm-agent", "ping", "--verbose");
    cr_expect_contains(verbose.out, "submits    refused: the server is draining");
    AUTO(run_free) struct run json = run_as(user_a(), "slurm-agent", "ping", "--json");
    cr_expect_contains(json.out, "\"draining\": true");
    AUTO(free) char *again = must_submit(old);
    cr_expect_str_eq(job, again);
    AUTO(free) char *gone_again = must_submit(ended);
    cr_expect_str_eq(gone, gone_again);
    AUTO(run_free)
    struct run other =
        run_as(user_a(), "slurm-agent", "submit", "--request-id", ended, "--wrap", "other content");
    cr_expect_eq(other.status, 16, "%d: %s", other.status, other.err);
    cr_assert_eq(kill(atoi(pid.out), SIGUSR2), 0);
    AUTO(free) char *late = must_submit(new);
    AUTO(run_free) struct run after = run_as(user_a(), "slurm-agent", "ping", "--verbose");
    cr_expect_contains(after.out, "submits    are taken\n");
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

/* ---- the library ---- */

static void *interrupt_soon(void *arg)
{
    usleep(300000);
    sagent_interrupt(arg);
    return NULL;
}

Test(requests, a_submit_that_is_interrupted_ends_at_once_and_is_in_doubt)
{
    const struct passwd *pw = getpwnam(user_a());
    const struct sagent_pair options[] = {{"output", "/dev/null"}};
    const struct sagent_submit_request r = {.script = "#!/bin/sh\n",
                                            .script_size = 10,
                                            .options = options,
                                            .option_count = 1,
                                            .login_environment = true,
                                            .retry_s = 60};
    struct sagent *s;
    struct sagent_error err;
    struct sagent_submit_reply *reply;
    pthread_t thread;
    int later = sandbox_later("resume", "slurmctld");
    sandbox("pause", "slurmctld");
    cr_assert(pw && (getuid() == pw->pw_uid || setuid(pw->pw_uid) == 0));
    cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
    cr_assert_eq(pthread_create(&thread, NULL, interrupt_soon, s), 0);
    int64_t began_ms = clock_mono_ms();
    cr_expect_eq(sagent_submit(s, &r, &reply, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_IN_DOUBT, "%d: %s", err.code, err.text);
    cr_expect_contains(err.text, "request id");
    cr_expect_lt(clock_mono_ms() - began_ms, 3000);
    pthread_join(thread, NULL);
    sagent_close(s);
    sandbox_now(later);
}

/* ---- a cancel is carried out once at least ---- */

static bool is_cancelled(void *arg)
{
    return strcmp(job_field(user_a(), arg, "state"), "CANCELLED") == 0;
}

/* While slurmctld hangs, what is to carry it out is killed. */
static void cancel_outlives(const char *process)
{
    AUTO(free) char *job = must_submit(fresh("cancelled"));
    sandbox("pause", "slurmctld");
    struct running *r = run_begin(user_a(), "slurm-agent", "cancel", job);
    cr_expect(run_goes_on(r, 300, NULL), "it hangs with slurmctld");
    kill_agentd_child(process);
    cr_expect(run_goes_on(r, 300, NULL), "it is asked again");
    sandbox("resume", "slurmctld");
    AUTO(run_free) struct run done = run_end(r);
    cr_expect_eq(done.status, 0, "%d: %s", done.status, done.err);
    cr_expect(wait_until(is_cancelled, job, 20000));
}

Test(requests, a_cancel_outlives_the_broker)
{
    cancel_outlives("agent-broker");
}

Test(requests, a_cancel_outlives_the_worker)
{
    cancel_outlives("control");
}

/* ---- disks ---- */

/* The journal is on a file system of one MiB that nobody else sees, and empty; gives its directory.
 * NULL: it cannot be. */
static char *begin_small_disk(void)
{
    const struct passwd *pw = getpwnam("slurm-agent");
    char *dir = NULL, options[80];
    cr_assert_gt(asprintf(&dir, "%s/state/agentd", sandbox_dir()), 0);
    snprintf(options, sizeof options, "size=1m,mode=700,uid=%d", pw ? (int)pw->pw_uid : 0);
    sandbox("stop", "agentd");
    if (!pw || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, options) < 0) {
        sandbox("start", "agentd");
        free(dir);
        return NULL;
    }
    return dir;
}

static void end_small_disk(char *dir)
{
    sandbox("stop", "agentd");
    cr_expect_eq(umount2(dir, MNT_DETACH), 0);
    sandbox("start", "agentd");
    free(dir);
}

static bool is_refused_for_the_disk(void *arg)
{
    AUTO(run_free) struct run r = submit_as(user_a(), fresh("full"));
    if (r.status == 0) { /* the journal had room for it */
        r.out[strcspn(r.out, "\n")] = '\0';
        cancel_quietly(user_a(), r.out);
    }
    return r.status == 20 && strstr(r.err, "nothing was submitted") && strstr(r.err, arg);
}

static bool is_submitted(void *arg)
{
    return run_status(submit_as(user_a(), arg)) == 0;
}

Test(requests, a_full_disk_takes_no_submit_and_known_ids_have_their_answer)
{
    AUTO(free) char *old = strdup(fresh("before")), *new = NULL, *file = NULL;
    char *dir = begin_small_disk();
    if (!dir)
        cr_skip_test("no mount of its own here");
    sandbox("start", "agentd");
    AUTO(free) char *job = must_submit(old);
    cr_assert_gt(asprintf(&file, "%s/filler", dir), 0);
    AUTO(fclose) FILE *f = fopen(file, "we");
    cr_assert_not_null(f);
    while (fputc('x', f) != EOF && fflush(f) == 0)
        ;
    cr_expect(wait_until(is_refused_for_the_disk, "make room", DOUBT_MS));
    cr_expect_str_eq(job_field(user_a(), job, "state"), "PENDING", "reads go on");
    AUTO(free) char *again = must_submit(old);
    cr_expect_str_eq(job, again);
    cr_expect_eq(ftruncate(fileno(f), 0), 0);
    new = strdup(fresh("after"));
    cr_expect(wait_until(is_submitted, new, DOUBT_MS), "there is room");
    AUTO(free) char *after = must_submit(new);
    cancel_quietly(user_a(), job);
    cancel_quietly(user_a(), after);
    end_small_disk(dir);
}

Test(requests, a_read_only_file_system_takes_no_submit_and_known_ids_have_their_answer)
{
    AUTO(free) char *old = strdup(fresh("before"));
    char *dir = begin_small_disk();
    if (!dir)
        cr_skip_test("no mount of its own here");
    sandbox("start", "agentd");
    AUTO(free) char *job = must_submit(old);
    sandbox("stop", "agentd");
    cr_assert_eq(mount("none", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, ""), 0);
    sandbox("start", "agentd");
    AUTO(run_free) struct run r = submit_as(user_a(), fresh("read_only"));
    cr_expect_eq(r.status, 20, "%d: %s", r.status, r.err);
    cr_expect_contains(r.err, "nothing was submitted");
    cr_expect_contains(r.err, "must be able to write");
    cr_expect_str_eq(job_field(user_a(), job, "state"), "PENDING", "reads go on");
    cr_assert_eq(mount("none", dir, "tmpfs", MS_REMOUNT, ""), 0);
    AUTO(free) char *again = NULL;
    cr_expect(wait_until(is_submitted, old, DOUBT_MS), "it is tried again");
    again = must_submit(old);
    cr_expect_str_eq(job, again);
    cancel_quietly(user_a(), job);
    end_small_disk(dir);
}

static bool is_asked_in_vain(void *arg)
{
    AUTO(free) char *log = slurp(arg);
    const char *since = log ? strstr(log, "outage begins") : NULL;
    return since && strstr(since, "op=job.submit from=127.0.0.1 code=JOURNAL");
}

/* In doubt, it meets a broker that cannot say yet which journal it has. */
Test(requests, a_submit_waits_for_the_journal_that_knows_it)
{
    const char *id = fresh("unopened");
    AUTO(free) char *log = NULL, *begin = NULL, *hide = NULL, *show = NULL;
    cr_assert_gt(asprintf(&log, "%s/log/agentd.log", sandbox_dir()), 0);
    cr_assert_gt(asprintf(&begin, "echo outage begins >>%s", log), 0);
    cr_assert_gt(asprintf(&hide, "chmod 0 %s/state/agentd", sandbox_dir()), 0);
    cr_assert_gt(asprintf(&show, "chmod 700 %s/state/agentd", sandbox_dir()), 0);
    sandbox("pause", "slurmctld");
    struct running *r = begin_submit(id, "once_unopened");
    expect_becomes(id, "IN_DOUBT");
    sandbox("kill", "agentd");
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", hide)), 0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", begin)), 0);
    sandbox("start", "agentd");
    cr_expect(wait_until(is_asked_in_vain, log, DOUBT_MS));
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", show)), 0);
    sandbox("resume", "slurmctld");
    AUTO(free) char *job = end_submit(r, "once_unopened");
    cancel_quietly(user_a(), job);
}

Test(requests, a_submit_waits_for_munged)
{
    const char *id = fresh("munged");
    sandbox("stop", "munged");
    struct running *r = begin_submit(id, "once_munged");
    cr_expect(run_goes_on(r, 500, NULL));
    sandbox("start", "munged");
    AUTO(free) char *job = end_submit(r, "once_munged");
    cancel_quietly(user_a(), job);
}
