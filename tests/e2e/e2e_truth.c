/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waits and events while things around them fail: nothing ends that did not end, and each end is
 * told once */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(truth, .timeout = 300);
TestSuite(failover, .timeout = 300); /* two slurmctld */
TestSuite(reuse, .timeout = 300);    /* of ids: MaxJobId is FirstJobId + 10 there */

enum { MOMENT_MS = 1500 }; /* for something that must not happen */

/* A job that runs until go(): its script waits for a file, two minutes at most. */
struct gate {
    char *id;
    char *file;
};

static struct gate gated(const char *name, const char *after)
{
    struct gate g = {0};
    AUTO(free) char *script = NULL;
    cr_assert_gt(asprintf(&g.file, "%s/%s", scratch(user_a()), name), 0);
    cr_assert_gt(asprintf(&script,
                          "#!/bin/sh\ni=0\nwhile [ ! -e %s ] && [ $i -lt 1200 ]; do sleep 0.1; "
                          "i=$((i+1)); done\n%s\n",
                          g.file, after),
                 0);
    g.id = submit(user_a(), script, "--requeue");
    wait_state(user_a(), g.id, "RUNNING");
    return g;
}

static void go(const struct gate *g)
{
    cr_assert_eq(run_status(run_as(user_a(), "touch", g->file)), 0);
}

static void gate_done(struct gate *g)
{
    cancel_quietly(user_a(), g->id);
    free(g->id);
    free(g->file);
}

static struct running *begin_wait(const char *id)
{
    return run_begin(user_a(), "slurm-agent", "wait", id);
}

static void expect_exit(struct running *wait, int status, const char *says)
{
    AUTO(run_free) struct run r = run_end(wait);
    cr_expect_eq(r.status, status, "%d: %s%s", r.status, r.out, r.err);
    cr_expect(strstr(r.out, says) || strstr(r.err, says), "no \"%s\" in: %s%s", says, r.out, r.err);
}

static bool is_stale(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", arg);
    return strstr(r.out, "\"stale\": true") && strstr(r.out, "\"RUNNING\"");
}

static bool answers(void *arg)
{
    (void)arg;
    return run_status(run_as(user_a(), "slurm-agent", "ping")) == 0;
}

Test(truth, a_wait_goes_on_while_slurmctld_is_down)
{
    struct gate g = gated("down", "exit 5");
    struct running *wait = begin_wait(g.id);
    sandbox("stop", "slurmctld");
    go(&g);
    cr_expect(run_goes_on(wait, 3 * MOMENT_MS, NULL), "nobody has said that it has ended");
    bool stale = wait_until(is_stale, g.id, 20000);
    cr_expect(run_goes_on(wait, 0, NULL));
    sandbox("start", "slurmctld");
    cr_expect(stale, "running when last seen, and stale");
    expect_exit(wait, 5, "exit status 5");
    gate_done(&g);
}

/* The job ends with that status while a part of the sandbox is stopped, for ms at least. */
static void wait_over_a_hanging(const char *part, int status, int ms)
{
    AUTO(free) char *ends = NULL, *says = NULL;
    cr_assert(asprintf(&ends, "exit %d", status) > 0 &&
              asprintf(&says, "exit status %d", status) > 0);
    struct gate g = gated(part, ends);
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("pause", part);
    go(&g);
    bool there = run_goes_on(wait, ms, NULL);
    sandbox("resume", part);
    cr_expect(there);
    expect_exit(wait, status, says);
    gate_done(&g);
}

Test(truth, a_wait_goes_on_while_slurmctld_hangs)
{
    wait_over_a_hanging("slurmctld", 6, 3 * MOMENT_MS);
}

Test(truth, a_wait_goes_on_while_munged_hangs)
{
    wait_over_a_hanging("munged", 7, MOMENT_MS);
}

Test(truth, a_wait_goes_on_when_the_watcher_is_killed)
{
    struct gate g = gated("watcher", "exit 8");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    kill_agentd_child("--role watch");
    go(&g);
    expect_exit(wait, 8, "exit status 8");
    gate_done(&g);
}

Test(truth, a_wait_goes_on_when_the_broker_is_killed_or_stopped)
{
    struct gate g = gated("broker", "exit 9");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    kill_agentd_child("agent-broker");
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("stop", "agentd");
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("start", "agentd");
    go(&g);
    expect_exit(wait, 9, "exit status 9");
    gate_done(&g);
}

static const char *log_path(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/log/agentd.log", sandbox_dir());
    return path;
}

static bool is_refused(void *arg)
{
    (void)arg;
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "--timeout=5", "ping");
    return r.status == 12 && strstr(r.err, "hung up before it had said anything") &&
           strstr(r.err, "allow_from");
}

struct logged {
    const char *text;
    char *log;
};

static bool is_logged(void *arg)
{
    struct logged *l = arg;
    free(l->log);
    l->log = slurp(log_path());
    return l->log && strstr(l->log, l->text);
}

/* The server's log, once it has that text, or after that time. */
static char *log_with(const char *text, int ms)
{
    struct logged l = {.text = text};
    wait_until(is_logged, &l, ms);
    return l.log;
}

/* Gives the server's log. */
static char *reload(const char *settings, const char *until)
{
    AUTO(free) char *command = NULL;
    cr_assert_gt(
        asprintf(&command,
                 "cd $SLURM_AGENT_SANDBOX && cp -n etc/agentd.conf etc/agentd.conf.old; cp "
                 "etc/agentd.conf.old etc/agentd.conf && printf '%s' >>etc/agentd.conf && "
                 "kill -HUP $(cut -d' ' -f1 run/agentd.pid)",
                 settings),
        0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", command)), 0);
    return log_with(until, 10000);
}

Test(truth, a_wait_goes_on_over_new_settings)
{
    struct gate g = gated("reload", "exit 9");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    AUTO(free) char *took = reload("poll_ms = 500\\n", "poll_ms = 500, was 1000");
    cr_expect_contains(took, "poll_ms = 500, was 1000");
    cr_assert(wait_until(answers, NULL, 20000));
    /* The old broker went by itself. */
    AUTO(free) char *gone = log_with("broker process ", 20000);
    const char *last = NULL;
    for (const char *p = gone; (p = strstr(p, "broker process ")); p++)
        last = p;
    cr_assert_not_null(last);
    cr_expect_contains(last, "ended with status 0");
    AUTO(free) char *wrong = reload("poll_ms = soon\\n", "the settings stay as they were");
    cr_expect_contains(wrong, "the settings stay as they were");
    cr_assert(wait_until(answers, NULL, 20000));
    cr_expect(run_goes_on(wait, 0, NULL));
    go(&g);
    expect_exit(wait, 9, "exit status 9");
    AUTO(free) char *back = reload("", "poll_ms = 1000, was 500");
    cr_expect_contains(back, "poll_ms = 1000, was 500");
    cr_assert(wait_until(answers, NULL, 20000));
    gate_done(&g);
}

/* Both sides say why. */
Test(truth, an_address_that_is_not_let_in)
{
    AUTO(free) char *took = reload("allow_from = 192.0.2.1\n", "allow_from = 192.0.2.1");
    cr_expect_not_null(took);
    cr_expect(wait_until(is_refused, NULL, 20000));
    AUTO(free) char *log = log_with("not in allow_from", 10000);
    cr_expect_contains(log, "connections refused, the last from 127.0.0.1: not in allow_from");
    AUTO(free) char *back = reload("", "was 192.0.2.1");
    cr_expect_not_null(back);
    cr_expect(wait_until(answers, NULL, 20000));
}

Test(truth, a_requeued_job_has_not_ended)
{
    struct gate g = gated("requeue", "exit 1");
    struct running *wait = begin_wait(g.id);
    cr_assert_eq(run_status(run_as(user_a(), "scontrol", "requeuehold", g.id)), 0);
    wait_state(user_a(), g.id, "PENDING");
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    cr_expect_str_eq(job_field(user_a(), g.id, "phase"), "QUEUED");
    cr_expect_str_eq(job_field(user_a(), g.id, "restarts"), "1");
    cancel_quietly(user_a(), g.id);
    expect_exit(wait, 1, "cancelled");
    gate_done(&g);
}

Test(truth, an_array_has_ended_when_all_its_tasks_have)
{
    AUTO(free)
    char *id = submit(user_a(),
                      "#!/bin/sh\nsleep 0.$SLURM_ARRAY_TASK_ID\nexit "
                      "$((SLURM_ARRAY_TASK_ID % 4))\n",
                      "--array=1-7%2");
    AUTO(free) char *second = NULL;
    cr_assert_gt(asprintf(&second, "%s_2", id), 0);
    struct running *all = begin_wait(id), *one = begin_wait(second);
    expect_exit(one, 2, second);
    AUTO(run_free) struct run r = run_end(all);
    cr_expect_eq(r.status, 3, "the highest exit status: %d %s%s", r.status, r.out, r.err);
    for (int i = 1; i <= 7; i++) {
        char task[64];
        snprintf(task, sizeof task, "%s_%d ", id, i);
        cr_expect_contains(r.out, task);
    }
}

Test(truth, a_heterogeneous_job_is_all_its_components)
{
    AUTO(run_free)
    struct run r = run_as(user_a(), "sh", "-c",
                          "cd && sbatch --parsable -n1 -o /dev/null : -n1 -o /dev/null --wrap "
                          "'sleep 1; exit 4'");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n;")] = '\0';
    wait_state(user_a(), r.out, "PENDING,RUNNING");
    expect_exit(begin_wait(r.out), 4, "+1");
}

Test(truth, each_end_is_told_once_over_all_restarts)
{
    struct gate g = gated("events", "exit 3");
    AUTO(free) char *number = NULL;
    cr_assert_gt(asprintf(&number, "\"job_id\":%s,", g.id), 0);
    struct running *watch = run_begin(user_a(), "slurm-agent", "watch", "--json", "--snapshot");
    cr_assert(run_says(watch, number), "the snapshot has it");
    sandbox("stop", "agentd");
    go(&g);
    AUTO(free) char *during = NULL;
    AUTO(run_free)
    struct run direct =
        run_as(user_a(), "sh", "-c", "cd && sbatch --parsable -o /dev/null --wrap 'exit 2'");
    cr_assert_gt(asprintf(&during, "\"job_id\":%d,", atoi(direct.out)), 0);
    cr_expect(run_goes_on(watch, MOMENT_MS, NULL));
    sandbox("start", "agentd");
    AUTO(free) char *after = submit(user_a(), "#!/bin/sh\nexit 1\n");
    AUTO(free) char *after_number = NULL;
    cr_assert_gt(asprintf(&after_number, "\"job_id\":%s,", after), 0);
    wait_state(user_a(), after, "FAILED");
    kill_agentd_child("agent-broker");
    cr_assert(wait_until(answers, NULL, 20000));
    AUTO(free) char *last = submit(user_a(), "#!/bin/sh\ntrue\n", "--job-name=the-last-one");
    wait_state(user_a(), last, "COMPLETED");
    cr_assert(run_says(watch, "the-last-one"));
    struct run so_far;
    run_goes_on(watch, 2 * MOMENT_MS, &so_far);
    cr_expect_eq(lines_with(so_far.out, number, "\"what\":\"end\""), 1, "%s", so_far.out);
    cr_expect_eq(lines_with(so_far.out, during, "\"what\":\"end\""), 1, "%s", so_far.out);
    cr_expect_eq(lines_with(so_far.out, after_number, "\"what\":\"end\""), 1, "%s", so_far.out);
    cr_expect_eq(lines_with(so_far.out, "the-last-one", "\"what\":\"end\""), 1, "%s", so_far.out);
    run_signal(watch, SIGINT);
    struct run end = run_end(watch);
    run_free(&end);
    gate_done(&g);
}

Test(truth, a_slurmctld_that_has_lost_its_state_is_no_end)
{
    struct gate g = gated("lost", "exit 3");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("kill", "slurmctld");
    cr_assert_eq(
        run_status(run_as(NULL, "sh", "-c",
                          "rm -f $SLURM_AGENT_SANDBOX/state/slurmctld/job_state* && rm -rf "
                          "--one-file-system $SLURM_AGENT_SANDBOX/state/slurmctld/hash.*")),
        0);
    sandbox("start", "slurmctld");
    expect_exit(wait, 3, "not known");
    cr_expect_str_eq(job_field(user_a(), g.id, "phase"), "UNKNOWN");
    cr_expect_str_eq(job_field(user_a(), g.id, "source"), "journal");
    go(&g);
    gate_done(&g);
}

/* ---- two controllers ---- */

/* slurmctld writes what has changed some seconds later; what was not written is lost with it. */
static bool state_is_saved(void *arg)
{
    const time_t *since = arg;
    AUTO(free) char *path = NULL;
    struct stat st;
    cr_assert_gt(asprintf(&path, "%s/state/slurmctld/job_state", sandbox_dir()), 0);
    return stat(path, &st) == 0 && st.st_mtime > *since;
}

/* The first dies without a word, the backup takes over, and the first takes it back. */
Test(failover, ends_are_told_once_over_a_change_of_controllers)
{
    struct gate one = gated("failover-one", "exit 5"), two = gated("failover-two", "exit 6");
    struct running *first = begin_wait(one.id), *second = begin_wait(two.id);
    struct running *watch = run_begin(user_a(), "slurm-agent", "watch", "--json", one.id, two.id);
    cr_assert(run_says(watch, two.id), "the snapshot has it");
    time_t begun = time(NULL);
    cr_assert(wait_until(state_is_saved, &begun, 30000));
    sandbox("kill", "slurmctld");
    go(&one);
    expect_exit(first, 5, "exit status 5");
    cr_expect(run_goes_on(second, 0, NULL));
    AUTO(free) char *meanwhile = submit(user_a(), "#!/bin/sh\nexit 7\n");
    wait_state(user_a(), meanwhile, "FAILED");
    sandbox("start", "slurmctld");
    cr_expect(run_goes_on(second, MOMENT_MS, NULL));
    go(&two);
    expect_exit(second, 6, "exit status 6");
    AUTO(run_free) struct run w = run_end(watch);
    cr_expect_eq(w.status, 0, "%s", w.err);
    cr_expect_eq(lines_with(w.out, "\"what\":\"end\"", "\"exit_code\":5"), 1, "%s", w.out);
    cr_expect_eq(lines_with(w.out, "\"what\":\"end\"", "\"exit_code\":6"), 1, "%s", w.out);
    cr_expect_eq(lines_with(w.out, "\"what\":\"lost\"", ""), 0, "%s", w.out);
    cr_expect_str_eq(job_field(user_a(), meanwhile, "exit_code"), "7");
    gate_done(&one);
    gate_done(&two);
}

/* ---- ids that come again ---- */

static bool is_forgotten(void *arg)
{
    return strcmp(job_field(user_a(), arg, "source"), "journal") == 0;
}

Test(reuse, an_id_that_comes_again_is_another_job)
{
    AUTO(free) char *first = submit(user_a(), "#!/bin/sh\nexit 3\n", "--job-name=then");
    expect_exit(begin_wait(first), 3, "exit status 3");
    cr_assert(wait_until(is_forgotten, first, 40000), "slurmctld forgets it");
    AUTO(free) char *again = NULL;
    for (int i = 0; i < 30 && !again; i++) {
        /* An ended job has its id until slurmctld forgets it, which newer ones do later. */
        AUTO(free)
        char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=now", "--retry=40");
        if (strcmp(id, first) == 0)
            again = TAKE(id);
        else
            cancel_quietly(user_a(), id);
    }
    cr_assert_not_null(again, "the id did not come again");
    cr_expect_str_eq(job_field(user_a(), first, "name"), "now");
    cr_expect_str_eq(job_field(user_a(), first, "state"), "PENDING");
    struct running *wait = begin_wait(first);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL), "the end of the old one is not its end");
    AUTO(run_free)
    struct run all = run_as(user_a(), "slurm-agent", "list", "--json", "--since=now-1hour");
    cr_expect_contains(all.out, "\"then\"");
    cr_expect_contains(all.out, "\"now\"");
    cancel_quietly(user_a(), first);
    expect_exit(wait, 1, "cancelled");
    cr_assert(wait_until(is_forgotten, first, 40000));
    cr_expect_str_eq(job_field(user_a(), first, "name"), "now", "the newest job of that id");
}

/* ---- who cancelled ---- */

Test(truth, it_is_said_who_cancelled_a_job)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nsleep 60\n");
    cr_assert_eq(run_status(run_as(user_a(), "slurm-agent", "cancel", id)), 0);
    wait_state(user_a(), id, "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), id, "cancelled_by"), user_a());
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_contains(r.out, "cancelled by");
}

/* ---- jobs that slurmctld has forgotten ---- */

Test(truth, watching_a_job_that_has_long_ended_shows_how)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexit 6\n");
    wait_state(user_a(), id, "FAILED");
    for (int64_t end = clock_mono_ms() + 60000; clock_mono_ms() < end;)
        if (strcmp(job_field(user_a(), id, "source"), "journal") == 0)
            break;
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "watch", "--json", id);
    cr_expect_eq(r.status, 0, "%d %s", r.status, r.err);
    cr_expect_contains(r.out, "\"what\":\"state\"");
    cr_expect_contains(r.out, "\"exit_code\":6");
    cr_expect_contains(r.out, "\"source\":\"journal\"");
}
