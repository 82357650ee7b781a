/* SPDX-License-Identifier: GPL-3.0-or-later */
/* wait, watch and run, as a user and their scripts would use them */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(follow, .timeout = 300);

enum { MOMENT_MS = 1500 }; /* for something that must not happen */

static const char yes[] = "#!/bin/sh\ntrue\n";
static const char three[] = "#!/bin/sh\nexit 3\n";
static const char killed[] = "#!/bin/sh\nkill -9 $$\n";

static struct run waited_argv(const char *const *words)
{
    const char *argv[RUN_MAX_ARGS] = {"slurm-agent", "wait"};
    for (int n = 2; *words; n++)
        argv[n] = *words++;
    return run_argv(user_a(), argv, "");
}
#define waited(...) waited_argv((const char *const[]){__VA_ARGS__, NULL})

static void expect_end(struct running *r, int status)
{
    AUTO(run_free) struct run end = run_end(r);
    cr_expect_eq(end.status, status, "%d, not %d: %s%s", end.status, status, end.out, end.err);
}

/* A script that goes on when the file `go` of scratch is there, two minutes at most. */
static char *gate_script(const char *before, const char *after)
{
    char *text;
    cr_assert_gt(asprintf(&text,
                          "#!/bin/sh\n%s\ni=0\nwhile [ ! -e %s/go ] && [ $i -lt 1200 ]; do sleep "
                          "0.1; i=$((i+1)); done\n%s\n",
                          before, scratch(user_a()), after),
                 0);
    return text;
}

static void go(void)
{
    free(scratch_file(user_a(), "go", ""));
}

/* ---- wait ---- */

Test(follow, wait_exits_as_the_job_did)
{
    AUTO(free) char *good = submit(user_a(), yes, "--job-name=good");
    AUTO(free) char *bad = submit(user_a(), three);
    AUTO(free) char *dead = submit(user_a(), killed);
    AUTO(run_free) struct run g = waited(good);
    cr_expect_eq(g.status, 0, "%s", g.err);
    cr_expect_contains(g.out, "COMPLETED");
    cr_expect_contains(g.out, "good");
    AUTO(run_free) struct run b = waited(bad);
    cr_expect_eq(b.status, 3, "%s", b.err);
    cr_expect_contains(b.out, "exit status 3");
    AUTO(run_free) struct run d = waited(dead);
    cr_expect_eq(d.status, 137, "%s", d.err);
    cr_expect_contains(d.out, "signal 9");
    AUTO(run_free)
    struct run listed = run_as(user_a(), "slurm-agent", "list", "--since=now-1hour", "--name=good");
    cr_expect_contains(listed.out, good);
    AUTO(run_free) struct run all = waited("--quiet", good, bad, dead);
    cr_expect_eq(all.status, 137, "the highest of them: %s", all.err);
    cr_expect_str_eq(all.out, "");
}

Test(follow, wait_for_a_cancelled_job)
{
    AUTO(free) char *id = submit(user_a(), yes, "--hold");
    struct running *wait = run_begin(user_a(), "slurm-agent", "wait", id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    cancel_quietly(user_a(), id);
    expect_end(wait, 1);
    AUTO(run_free) struct run json = waited("--json", id);
    cr_expect_eq(json.status, 1);
    json_t *j = json_loads(json.out, 0, NULL);
    cr_assert_not_null(j, "%s", json.out);
    cr_expect(json_is_true(json_object_get(j, "done")));
    json_t *job = json_array_get(json_object_get(j, "jobs"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(job, "phase")), "CANCELLED");
    json_decref(j);
}

/* slurmctld calls it CANCELLED at once, and knows the exit status when its processes have gone. */
Test(follow, wait_for_a_job_that_is_cancelled_while_it_runs)
{
    AUTO(free) char *script = gate_script("trap 'sleep 1; exit 3' TERM\necho > begun", "exit 4");
    AUTO(free) char *dir = NULL;
    cr_assert_gt(asprintf(&dir, "--chdir=%s", scratch(user_a())), 0);
    AUTO(free) char *trap = submit(user_a(), script, dir);
    AUTO(free) char *plain = submit(user_a(), "#!/bin/sh\nexec sleep 100\n");
    AUTO(free) char *begun = NULL;
    cr_assert_gt(asprintf(&begun, "%s/begun", scratch(user_a())), 0);
    wait_state(user_a(), trap, "RUNNING");
    wait_state(user_a(), plain, "RUNNING");
    int64_t deadline = clock_mono_ms() + 20000;
    while (access(begun, F_OK) < 0 && clock_mono_ms() < deadline)
        usleep(10000);
    struct running *before = run_begin(user_a(), "slurm-agent", "wait", trap);
    cr_expect(run_goes_on(before, 0, NULL));
    cancel_quietly(user_a(), trap);
    AUTO(run_free) struct run after = waited(trap);
    cr_expect_eq(after.status, 3, "%d %s%s", after.status, after.out, after.err);
    expect_end(before, 3);
    cancel_quietly(user_a(), plain);
    AUTO(run_free) struct run p = waited(plain);
    cr_expect_eq(p.status, 143, "%d %s%s", p.status, p.out, p.err);
}

Test(follow, wait_for_any_and_for_all_and_no_longer_than_allowed)
{
    AUTO(free) char *held = submit(user_a(), yes, "--hold");
    AUTO(free) char *bad = submit(user_a(), three);
    AUTO(run_free) struct run any = waited("--any", held, bad);
    cr_expect_eq(any.status, 3, "%s", any.err);
    cr_expect_null(strstr(any.out, "PENDING"), "only what has ended: %s", any.out);
    int64_t began_ms = clock_mono_ms();
    AUTO(run_free) struct run all = waited("--timeout=2", held, bad);
    int64_t took_ms = clock_mono_ms() - began_ms;
    cr_expect_eq(all.status, 11, "TIMEOUT: %s", all.err);
    cr_expect_contains(all.err, "2 s");
    cr_expect(took_ms >= 1900 && took_ms < 6000, "%lld ms", (long long)took_ms);
    cancel_quietly(user_a(), held);
    AUTO(run_free) struct run end = waited("--timeout=30", held, bad);
    cr_expect_eq(end.status, 3, "%s", end.err);
}

Test(follow, wait_for_jobs_that_nobody_knows)
{
    AUTO(run_free) struct run none = waited("999999");
    cr_expect_eq(none.status, 3);
    cr_expect_contains(none.err, "999999");
    cr_expect_str_eq(none.out, "");
    AUTO(free) char *good = submit(user_a(), yes);
    AUTO(run_free) struct run both = waited("999999", good);
    cr_expect_eq(both.status, 3, "%s", both.err);
    cr_expect_contains(both.out, "COMPLETED");
    AUTO(run_free) struct run wrong = waited("12_x");
    cr_expect_eq(wrong.status, 2, "%s", wrong.err);
    cr_expect_contains(wrong.err, "12_x");
}

Test(follow, wait_until_a_job_starts)
{
    AUTO(free) char *script = gate_script("", "exit 5");
    AUTO(free) char *id = submit(user_a(), script, "--hold");
    struct running *wait = run_begin(user_a(), "slurm-agent", "wait", "--until=start", id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL), "a held job has not started");
    cr_assert_eq(run_status(run_as(user_a(), "scontrol", "release", id)), 0);
    expect_end(wait, 0);
    go();
    AUTO(run_free) struct run end = waited(id);
    cr_expect_eq(end.status, 5, "%s", end.err);
    AUTO(run_free) struct run started = waited("--until=start", id);
    cr_expect_eq(started.status, 0, "it did start: %s", started.err);
}

Test(follow, wait_until_a_job_changes)
{
    /* Newer Slurms start it at once: it must not have ended by the first look at it. */
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nsleep 3\n", "--hold");
    struct running *wait =
        run_begin(user_a(), "slurm-agent", "wait", "--json", "--until=change", id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL), "nothing has happened");
    cr_assert_eq(run_status(run_as(user_a(), "scontrol", "release", id)), 0);
    AUTO(run_free) struct run first = run_end(wait);
    cr_expect_eq(first.status, 0, "%s", first.err);
    json_t *j = json_loads(first.out, 0, NULL);
    cr_assert_not_null(j, "%s%s", first.out, first.err);
    const char *cursor = json_string_value(json_object_get(j, "cursor"));
    cr_assert_not_null(cursor, "%s", first.out);
    /* what has happened behind the cursor is not waited for, and not lost */
    wait_state(user_a(), id, "COMPLETED");
    AUTO(run_free)
    struct run next = waited("--until=change", "--timeout=20", "--cursor", cursor, id);
    cr_expect_eq(next.status, 0, "%s", next.err);
    cr_expect_contains(next.out, "COMPLETED");
    json_decref(j);
    AUTO(run_free) struct run ended = waited("--until=change", id);
    cr_expect_eq(ended.status, 0, "it will not change any more: %s", ended.err);
    cr_expect_contains(ended.out, "COMPLETED");
    AUTO(run_free) struct run none = waited("--until=change", "999999", id);
    cr_expect_eq(none.status, 3, "%s%s", none.out, none.err);
    cr_expect_contains(none.err, "999999");
}

Test(follow, mistakes_of_the_command_line)
{
    AUTO(run_free) struct run until = waited("--until=later", "1");
    cr_expect_eq(until.status, 2);
    cr_expect_contains(until.err, "end, start or change");
    AUTO(run_free) struct run cursor = waited("--cursor=x", "1");
    cr_expect_eq(cursor.status, 2);
    cr_expect_contains(cursor.err, "--until=change");
    AUTO(run_free)
    struct run full =
        run_as(user_a(), "sh", "-c", "exec timeout 20 slurm-agent watch -s --json >/dev/full");
    cr_expect_eq(full.status, 1, "%d %s", full.status, full.err);
    cr_expect_contains(full.err, "No space left");
    AUTO(run_free) struct run timeout = waited("--timeout=0", "1");
    cr_expect_eq(timeout.status, 2);
    cr_expect_contains(timeout.err, "seconds");
    AUTO(run_free) struct run none = run_as(user_a(), "slurm-agent", "wait");
    cr_expect_eq(none.status, 2);
    AUTO(run_free)
    struct run both = run_as(user_a(), "slurm-agent", "watch", "--cursor=x", "--snapshot");
    cr_expect_eq(both.status, 2);
    cr_expect_contains(both.err, "exclude");
    AUTO(run_free) struct run odd = run_as(user_a(), "slurm-agent", "watch", "--cursor=x");
    cr_expect_eq(odd.status, 2, "a cursor that is none: %s", odd.err);
    AUTO(run_free)
    struct run since = run_as(user_a(), "slurm-agent", "list", "--since=yesterday");
    cr_expect_eq(since.status, 2, "%s", since.err);
    cr_expect_contains(since.err, "now-2hours");
    AUTO(run_free)
    struct run json = run_as(user_a(), "slurm-agent", "run", "--json", "--wrap=true");
    cr_expect_eq(json.status, 2);
    cr_expect_contains(json.err, "submit");
    AUTO(run_free)
    struct run away =
        run_as(user_a(), "slurm-agent", "--server", "tcp://127.0.0.1:1", "wait", "12");
    cr_expect_eq(away.status, 12, "a wrong address is not waited for: %s", away.err);
}

Test(follow, a_signal_ends_a_wait_at_once)
{
    AUTO(free) char *id = submit(user_a(), yes, "--hold");
    struct running *wait = run_begin(user_a(), "slurm-agent", "wait", id);
    cr_expect(run_goes_on(wait, MOMENT_MS, NULL));
    int64_t began_ms = clock_mono_ms();
    run_signal(wait, SIGINT);
    expect_end(wait, 130);
    cr_expect_lt(clock_mono_ms() - began_ms, 5000);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING", "the job is left alone");
    cancel_quietly(user_a(), id);
}

/* ---- the library ---- */

static void *interrupt_soon(void *arg)
{
    usleep(300000);
    sagent_interrupt(arg);
    return NULL;
}

Test(follow, a_call_that_waits_is_interrupted_and_the_handle_goes_on)
{
    AUTO(free) char *id = submit(user_a(), yes, "--hold");
    struct sagent *s;
    struct sagent_error err;
    struct sagent_jobs *jobs;
    struct sagent_events *events;
    pthread_t thread;
    become(user_a());
    cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
    const char *const ids[] = {id};
    const struct sagent_wait_request wait = {.ids = ids, .id_count = 1, .timeout_s = 30};
    const struct sagent_wait_request shortly = {.ids = ids, .id_count = 1, .timeout_s = 1};
    const struct sagent_events_request next = {.ids = ids, .id_count = 1};
    int64_t began_ms = clock_mono_ms();
    cr_assert_eq(pthread_create(&thread, NULL, interrupt_soon, s), 0);
    cr_expect_eq(sagent_wait(s, &wait, &jobs, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_INTERRUPTED, "%s", err.text);
    pthread_join(thread, NULL);
    cr_assert_eq(pthread_create(&thread, NULL, interrupt_soon, s), 0);
    cr_expect_eq(sagent_events(s, &next, &events, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_INTERRUPTED, "%s", err.text);
    pthread_join(thread, NULL);
    cr_expect_lt(clock_mono_ms() - began_ms, 10000);
    cr_assert_eq(sagent_wait(s, &shortly, &jobs, &err), 0, "%s", err.text);
    cr_expect_not(sagent_jobs_done(jobs), "the time is over");
    cr_expect_eq(sagent_jobs_count(jobs), 0);
    sagent_jobs_free(jobs);
    sagent_close(s);
    cancel_quietly(user_a(), id);
}

/* ---- watch ---- */

/* The same for watch's lines about one job. */
static int job_lines(const char *text, const char *id, const char *state)
{
    char column[64];
    snprintf(column, sizeof column, "  %s ", id);
    return lines_with(text, column, state);
}

/* The last line's cursor; free() it. */
static char *last_cursor(const char *text)
{
    const char *found = NULL, *mark = "\"cursor\":\"";
    for (const char *p = text; (p = strstr(p, mark)); p++)
        found = p + strlen(mark);
    cr_assert_not_null(found, "%s", text);
    return strndup(found, strcspn(found, "\""));
}

Test(follow, watch_prints_what_happens)
{
    AUTO(free) char *script = gate_script("", "exit 3");
    struct running *lines = run_begin(user_a(), "slurm-agent", "watch", "--name=watched");
    struct running *objects =
        run_begin(user_a(), "slurm-agent", "watch", "--json", "--name=watched");
    cr_expect(run_goes_on(lines, MOMENT_MS, NULL));
    AUTO(free) char *other = submit(user_a(), yes, "--job-name=not-that-one");
    AUTO(free) char *id = submit(user_a(), script, "--job-name=watched");
    wait_state(user_a(), other, "COMPLETED");
    wait_state(user_a(), id, "RUNNING");
    cr_assert(run_says(lines, "RUNNING  watched  on node"), "where it runs");
    go();
    cr_assert(run_says(lines, "FAILED  watched  exit status 3"));
    cr_assert(run_says(objects, "\"what\":\"end\""));
    struct run l, o;
    run_goes_on(lines, MOMENT_MS, &l);
    cr_expect(run_goes_on(objects, 0, &o));
    cr_expect_eq(job_lines(l.out, id, "FAILED"), 1, "%s", l.out);
    cr_expect_null(strstr(l.out, "not-that-one"), "%s", l.out);
    cr_expect_eq(job_lines(l.out, other, ""), 0, "%s", l.out);
    cr_expect_eq(lines_with(o.out, "\"what\":\"new\"", "\"cursor\":\""), 1, "%s", o.out);
    cr_expect_eq(lines_with(o.out, "\"what\":\"end\"", "\"was\":\"RUNNING\""), 1, "%s", o.out);
    run_signal(lines, SIGINT);
    run_signal(objects, SIGTERM);
    expect_end(lines, 130);
    expect_end(objects, 143);
}

Test(follow, watch_of_jobs_ends_with_them)
{
    AUTO(free) char *script = gate_script("", "exit 3");
    AUTO(free) char *one = submit(user_a(), script), *two = submit(user_a(), script);
    wait_state(user_a(), one, "RUNNING");
    struct running *watch = run_begin(user_a(), "slurm-agent", "watch", one, two);
    cr_expect(run_says(watch, one), "begins with what is there");
    cr_expect(run_goes_on(watch, MOMENT_MS, NULL));
    go();
    AUTO(run_free) struct run end = run_end(watch);
    cr_expect_eq(end.status, 0, "%s", end.err);
    cr_expect_eq(job_lines(end.out, one, "FAILED"), 1, "%s", end.out);
    cr_expect_eq(job_lines(end.out, two, "FAILED"), 1, "%s", end.out);
    AUTO(run_free) struct run gone = run_as(user_a(), "slurm-agent", "watch", one, "999999");
    cr_expect_eq(gone.status, 3, "%s", gone.err);
    cr_expect_contains(gone.err, "999999");
}

Test(follow, a_cursor_goes_on_over_a_restart_without_an_end_lost_or_doubled)
{
    AUTO(free) char *first = submit(user_a(), three, "--job-name=cursed");
    AUTO(run_free)
    struct run before = run_as(user_a(), "slurm-agent", "watch", "--json", first);
    cr_assert_eq(before.status, 0, "%s", before.err);
    AUTO(free) char *cursor = last_cursor(before.out);
    AUTO(free) char *meanwhile = submit(user_a(), yes, "--job-name=cursed");
    wait_state(user_a(), meanwhile, "COMPLETED");
    sandbox("stop", "agentd");
    sandbox("start", "agentd");
    AUTO(free) char *second = submit(user_a(), yes, "--job-name=cursed");
    struct running *watch =
        run_begin(user_a(), "slurm-agent", "watch", "--cursor", cursor, "--name=cursed");
    cr_assert(run_says(watch, second));
    wait_state(user_a(), second, "COMPLETED");
    struct run after;
    for (int i = 0; i < 40; i++)
        if (run_goes_on(watch, 500, &after) && job_lines(after.out, second, "COMPLETED"))
            break;
    run_goes_on(watch, MOMENT_MS, &after);
    cr_expect_eq(job_lines(after.out, first, "FAILED"), 0, "known already: %s", after.out);
    cr_expect_eq(job_lines(after.out, meanwhile, "COMPLETED"), 1, "%s", after.out);
    cr_expect_eq(job_lines(after.out, second, "COMPLETED"), 1, "%s", after.out);
    cr_expect_contains(after.err, "missed");
    run_signal(watch, SIGINT);
    expect_end(watch, 130);
}

/* ---- run ---- */

static char *chdir_option(void)
{
    char *option;
    cr_assert_gt(asprintf(&option, "--chdir=%s", scratch(user_a())), 0);
    return option;
}

Test(follow, run_shows_both_streams_and_exits_as_the_job)
{
    AUTO(free) char *dir = chdir_option();
    AUTO(free)
    char *path = scratch_file(user_a(), "job.sh",
                              "#!/bin/sh\n#SBATCH --error=e.txt\necho one $1\necho two >&2\n"
                              "printf 'no newline at the end'\nexit 7\n");
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "run", "--output=o.txt", dir, path, "argument");
    cr_expect_eq(r.status, 7, "%s", r.err);
    cr_expect_str_eq(r.out, "one argument\nno newline at the end");
    cr_expect_contains(r.err, "slurm-agent: job ");
    cr_expect_contains(r.err, "\ntwo\n");
    cr_expect_contains(r.err, "exit status 7");
    AUTO(run_free)
    struct run same = run_as(user_a(), "slurm-agent", "run", "--quiet", dir, "--wrap",
                             "echo to both; echo of them >&2");
    cr_expect_eq(same.status, 0, "%s", same.err);
    cr_expect_str_eq(same.out, "to both\nof them\n", "one file: shown once, on stdout");
    cr_expect_str_eq(same.err, "");
    AUTO(run_free)
    struct run dead = run_as(user_a(), "slurm-agent", "run", dir, "--wrap", "kill -9 $$");
    cr_expect_eq(dead.status, 137, "%s", dead.err);
    AUTO(run_free)
    struct run array = run_as(user_a(), "slurm-agent", "run", dir, "--array=1-2", "--wrap",
                              "exit $SLURM_ARRAY_TASK_ID");
    cr_expect_eq(array.status, 2, "%s", array.err);
    cr_expect_contains(array.err, "array");
    AUTO(run_free)
    struct run refused =
        run_as(user_a(), "slurm-agent", "run", "--partition=nosuch", "--wrap=true");
    cr_expect_eq(refused.status, 2, "%s", refused.err);
    cr_expect_contains(refused.err, "nosuch");
}

/* What comes after "slurm-agent: job "; free() it. */
static char *job_of(struct running *r)
{
    struct run so_far;
    cr_assert(run_says(r, "slurm-agent: job "));
    run_goes_on(r, 0, &so_far);
    const char *id = strstr(so_far.err, "slurm-agent: job ") + strlen("slurm-agent: job ");
    return strndup(id, strcspn(id, " \n"));
}

static struct running *begin_run(const char *before, const char *after)
{
    AUTO(free) char *dir = chdir_option();
    AUTO(free) char *script = gate_script(before, after);
    AUTO(free) char *path = scratch_file(user_a(), "gate.sh", script);
    return run_begin(user_a(), "slurm-agent", "run", "--error=err.txt", dir, path);
}

Test(follow, ctrl_c_cancels_and_waits_for_the_end)
{
    struct running *run = begin_run("echo begun", "echo not cancelled");
    cr_assert(run_says(run, "begun"), "its output comes while it runs");
    AUTO(free) char *id = job_of(run);
    run_signal(run, SIGINT);
    cr_assert(run_says(run, "cancelling job"));
    AUTO(run_free) struct run end = run_end(run);
    cr_expect_eq(end.status, 143, "ended by SIGTERM: %d %s", end.status, end.err);
    cr_expect_null(strstr(end.out, "not cancelled"), "%s", end.out);
    cr_expect_contains(end.err, "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
}

Test(follow, a_held_job_is_cancelled_too_and_has_no_output)
{
    AUTO(free) char *dir = chdir_option();
    struct running *run =
        run_begin(user_a(), "slurm-agent", "run", "--hold", dir, "--wrap", "echo never");
    cr_assert(run_says(run, "PENDING (JobHeldUser)"), "why nothing happens");
    cr_expect(run_goes_on(run, MOMENT_MS, NULL));
    run_signal(run, SIGTERM);
    expect_end(run, 1);
}

Test(follow, the_second_ctrl_c_leaves_the_job_alone)
{
    /* a job that SIGTERM does not end at once: KillWait is 30 s */
    struct running *run = begin_run("trap '' TERM\necho begun", "exit 0");
    cr_assert(run_says(run, "begun"));
    AUTO(free) char *id = job_of(run);
    AUTO(free) char *how = NULL;
    cr_assert_gt(asprintf(&how, "slurm-agent logs -f %s", id), 0);
    run_signal(run, SIGINT);
    cr_assert(run_says(run, "cancelling job"));
    cr_expect(run_goes_on(run, 200, NULL));
    run_signal(run, SIGINT);
    AUTO(run_free) struct run end = run_end(run);
    cr_expect_eq(end.status, 130, "%s", end.err);
    cr_expect_contains(end.err, how);
    go();
}

Test(follow, run_survives_a_restart_of_agentd)
{
    struct running *run = begin_run("echo begun\necho error >&2", "echo gone on\nexit 4");
    cr_assert(run_says(run, "begun"));
    cr_assert(run_says(run, "error"));
    sandbox("stop", "agentd");
    cr_assert(run_says(run, "trying again"), "it says so");
    sandbox("start", "agentd");
    cr_assert(run_says(run, "answers again"));
    go();
    AUTO(run_free) struct run end = run_end(run);
    cr_expect_eq(end.status, 4, "%s", end.err);
    cr_expect_str_eq(end.out, "begun\ngone on\n", "nothing twice, nothing lost");
    cr_expect_eq(lines_with(end.err, "error", ""), 1, "%s", end.err);
}

Test(follow, run_survives_a_restart_of_slurmctld)
{
    struct running *run = begin_run("echo begun", "echo gone on\nexit 6");
    cr_assert(run_says(run, "begun"));
    sandbox("stop", "slurmctld");
    go();
    bool there = run_goes_on(run, 2 * MOMENT_MS, NULL);
    sandbox("start", "slurmctld");
    cr_expect(there, "nobody has said that it has ended");
    AUTO(run_free) struct run end = run_end(run);
    cr_expect_eq(end.status, 6, "%s", end.err);
    cr_expect_str_eq(end.out, "begun\ngone on\n");
}
