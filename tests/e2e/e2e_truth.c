/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waits and events while things around them fail: nothing ends that did not end, and each end is
 * told once */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"

TestSuite(truth, .timeout = 300);
TestSuite(reuse, .timeout = 300); /* of ids: MaxJobId is FirstJobId + 10 there */

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

/* A child of the sandbox's slurm-agentd by what is in its command line: kill -9. */
static void kill_child(const char *words)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "sh", "-c",
                          "for p in $(cat /proc/$(cut -d' ' -f1 "
                          "$SLURM_AGENT_SANDBOX/run/agentd.pid)/task/*/children); do tr '\\0' ' ' "
                          "</proc/$p/cmdline | grep -q -- \"$0\" && kill -9 $p && echo $p; done",
                          words);
    cr_assert_neq(r.out[0], '\0', "no process has %s in its command line", words);
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

Test(truth, a_wait_goes_on_while_slurmctld_hangs)
{
    struct gate g = gated("hangs", "exit 6");
    struct running *wait = begin_wait(g.id);
    sandbox("pause", "slurmctld");
    go(&g);
    bool there = run_goes_on(wait, 3 * MOMENT_MS, NULL);
    sandbox("resume", "slurmctld");
    cr_expect(there);
    expect_exit(wait, 6, "exit status 6");
    gate_done(&g);
}

Test(truth, a_wait_goes_on_while_munged_hangs)
{
    struct gate g = gated("munged", "exit 7");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("pause", "munged");
    go(&g);
    bool there = run_goes_on(wait, MOMENT_MS, NULL);
    sandbox("resume", "munged");
    cr_expect(there);
    expect_exit(wait, 7, "exit status 7");
    gate_done(&g);
}

Test(truth, a_wait_goes_on_when_the_watcher_is_killed)
{
    struct gate g = gated("watcher", "exit 8");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    kill_child("--role watch");
    go(&g);
    expect_exit(wait, 8, "exit status 8");
    gate_done(&g);
}

Test(truth, a_wait_goes_on_when_the_broker_is_killed_or_stopped)
{
    struct gate g = gated("broker", "exit 9");
    struct running *wait = begin_wait(g.id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    kill_child("agent-broker");
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("stop", "agentd");
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    sandbox("start", "agentd");
    go(&g);
    expect_exit(wait, 9, "exit status 9");
    gate_done(&g);
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

/* Lines of `watch` that hold all of these. */
static int lines_with(const char *text, const char *a, const char *b)
{
    int n = 0;
    for (const char *p = text, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, '\n');
        AUTO(free) char *line = strndup(p, (size_t)(end - p));
        n += strstr(line, a) && strstr(line, b);
    }
    return n;
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
    kill_child("agent-broker");
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
        AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=now");
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
