/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Staging: a job's data, with directories as stores.  What is to last some seconds is LARGE, what
 * is to be under way still when a test has looked at it VAST. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

enum { LARGE = 500000000, PATIENCE_MS = 90000 };
static const long long VAST = 40LL * LARGE;

TestSuite(staging, .timeout = 240);

/* ---- a store and a working directory ---- */

/* Makes store/ and work/; all paths are below. */
static const char *place(void)
{
    static char dir[400];
    snprintf(dir, sizeof dir, "%s", scratch(user_a()));
    cr_assert_eq(run_status(run_as(user_a(), "mkdir", "-p", dir, "-m", "755", dir)), 0);
    AUTO(free) char *both = NULL;
    cr_assert_gt(asprintf(&both, "cd %s && mkdir -p store/tree/sub work", dir), 0);
    cr_assert_eq(run_status(run_as(user_a(), "sh", "-c", both)), 0);
    return dir;
}

static char *path_of(const char *rest)
{
    char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/%s", scratch(user_a()), rest), 0);
    return path;
}

static void put(const char *rest, const char *text)
{
    AUTO(free) char *path = path_of(rest), *line = NULL;
    cr_assert_gt(asprintf(&line, "printf '%%s' '%s' > '%s'", text, path), 0);
    cr_assert_eq(run_status(run_as(user_a(), "sh", "-c", line)), 0);
}

static void put_of_size(const char *rest, long long bytes)
{
    AUTO(free) char *path = path_of(rest), *size = NULL;
    cr_assert_gt(asprintf(&size, "%lld", bytes), 0);
    cr_assert_eq(run_status(run_as(user_a(), "truncate", "-s", size, path)), 0);
}

static void expect_file(const char *rest, const char *text)
{
    AUTO(free) char *path = path_of(rest), *is = slurp(path);
    cr_expect_str_eq(is ? is : "(not there)", text, "%s has '%s'", rest, is ? is : "(not there)");
}

static bool is_there(const char *rest)
{
    AUTO(free) char *path = path_of(rest);
    return access(path, F_OK) == 0;
}

/* --NAME=BEFOREfile://STORE/KEYAFTER, in places that stay. */
static const char *url_option(const char *name, const char *before, const char *key,
                              const char *after)
{
    static char text[12][800];
    static int next;
    char *out = text[next++ % 12];
    snprintf(out, 800, "--%s=%sfile://%s/store/%s%s", name, before, scratch(user_a()), key, after);
    return out;
}
#define input(key, to) url_option("input", "", key, ":" to)
#define output(from, key) url_option("output", from "=", key, "")

static const char *work_dir(void)
{
    static char text[500];
    snprintf(text, sizeof text, "--chdir=%s/work", scratch(user_a()));
    return text;
}
#define staged(script, ...) submit(user_a(), script, work_dir(), __VA_ARGS__)

/* ---- waiting ---- */

struct wanted {
    const char *id, *field, *value;
};

static bool is_so(void *arg)
{
    const struct wanted *w = arg;
    return strcmp(job_field(user_a(), w->id, w->field), w->value) == 0;
}

static void wait_field(const char *id, const char *field, const char *value)
{
    struct wanted w = {id, field, value};
    cr_expect(wait_until(is_so, &w, PATIENCE_MS), "%s of %s is '%s', not '%s': %s", field, id,
              job_field(user_a(), id, field), value, job_field(user_a(), id, "staging"));
}

static void wait_phase(const char *id, const char *phase)
{
    wait_field(id, "phase", phase);
}

static bool moves(void *arg)
{
    return atoll(job_field(user_a(), arg, "staged_bytes")) > 0;
}

/* In the middle of it. */
static void wait_moving(char *id)
{
    cr_assert(wait_until(moves, id, PATIENCE_MS), "nothing is moved: %s",
              job_field(user_a(), id, "staging"));
}

/* In the middle of moving what is VAST: it stands still and is LARGE when it begins again. */
static void hold_moving(char *id, const char *rest)
{
    wait_moving(id);
    signal_agentd_child("STOP", "agent-stage");
    put_of_size(rest, LARGE);
}

static void expect_outcome(const char *id, const char *phase, const char *part)
{
    wait_phase(id, phase);
    cr_expect_contains(job_field(user_a(), id, "outcome"), part);
}

static int parts_left(void)
{
    AUTO(free) char *line = NULL;
    cr_assert_gt(asprintf(&line, "find %s -name '*.part' | wc -l", scratch(user_a())), 0);
    AUTO(run_free) struct run r = run_as(NULL, "sh", "-c", line);
    return atoi(r.out);
}

static bool no_parts(void *arg)
{
    (void)arg;
    return parts_left() == 0;
}

/* ---- whole ways ---- */

Test(staging, inputs_are_there_and_outputs_are_stored_when_it_is_done)
{
    place();
    put("store/one", "1");
    put("store/tree/two", "2");
    put("store/tree/sub/three +", "3");
    AUTO(free)
    char *id =
        staged("#!/bin/sh\nmkdir -p res/deep\ncat a/one all/two 'all/sub/three +' > res/sum\n"
               "echo x > res/deep/x\necho t > 1.txt; echo t > 2.txt; echo no > 3.log\n"
               "echo said\n",
               input("one", "a/"), input("tree/", "all/"), output("res/", "out-%j/"),
               output("*.txt", "texts/"), url_option("stdout-to", "", "logs/", ""));
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 0, "%s %s", w.out, w.err);
    char name[80];
    snprintf(name, sizeof name, "store/out-%s/sum", id);
    expect_file(name, "123");
    snprintf(name, sizeof name, "store/out-%s/deep/x", id);
    expect_file(name, "x\n");
    expect_file("store/texts/1.txt", "t\n");
    expect_file("store/texts/2.txt", "t\n");
    cr_expect(!is_there("store/texts/3.log"));
    snprintf(name, sizeof name, "store/logs/slurm-%s.out", id);
    expect_file(name, "said\n");
    cr_expect_str_eq(job_field(user_a(), id, "phase"), "SUCCEEDED");
    cr_expect_contains(job_field(user_a(), id, "staging"), "outputs: 5 files");
    AUTO(run_free) struct run s = run_as(user_a(), "slurm-agent", "staging", "--json", id);
    snprintf(name, sizeof name, "/store/out-%s/\"", id);
    cr_expect_contains(s.out, name);
    cr_expect_contains(s.out, "\"stored\": true");
    if (user_b()) {
        AUTO(run_free) struct run b = run_as(user_b(), "slurm-agent", "staging", id);
        cr_expect_eq(b.status, 3, "it is nobody else's business: %s", b.out);
    }
}

Test(staging, phases_are_told_as_they_come)
{
    place();
    put_of_size("store/one", LARGE); /* the watch begins while it is fetched */
    AUTO(free)
    char *id = staged("#!/bin/sh\nsleep 1\necho 1 > two\n", input("one", ""), output("two", "two"));
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "watch", "--json", id);
    const char *in = strstr(r.out, "\"phase\":\"STAGING_IN\"");
    const char *queued = in ? strstr(in, "\"phase\":\"QUEUED\"") : NULL;
    const char *running = queued ? strstr(queued, "\"phase\":\"RUNNING\"") : NULL;
    const char *out = running ? strstr(running, "\"phase\":\"STAGING_OUT\"") : NULL;
    cr_expect_not_null(out ? strstr(out, "\"phase\":\"SUCCEEDED\"") : NULL, "%s", r.out);
    expect_file("store/two", "1\n");
}

Test(staging, each_task_of_an_array_stores_its_own)
{
    place();
    put("store/one", "1");
    AUTO(free)
    char *id = staged("#!/bin/sh\ncat one > r.$SLURM_ARRAY_TASK_ID\n", "--array=1-3",
                      input("one", ""), output("r.%a", "%A/%a"));
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 0, "%s %s", w.out, w.err);
    for (int i = 1; i <= 3; i++) {
        char name[80];
        snprintf(name, sizeof name, "store/%s/%d", id, i);
        expect_file(name, "1");
    }
}

Test(staging, an_arrays_tasks_must_not_overwrite_one_another)
{
    place();
    AUTO(run_free)
    struct run r =
        try_submit(user_a(), "#!/bin/sh\n", work_dir(), "--array=1-3", output("r.%a", "same"));
    cr_expect_eq(r.status, 2);
    cr_expect_contains(r.err, "put %a into it");
}

Test(staging, run_waits_for_it_and_fails_with_it)
{
    place();
    AUTO(free) char *path = scratch_file(user_a(), "s.sh", "#!/bin/sh\necho hello\n");
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "run", work_dir(), output("none", "none"), path);
    cr_expect_eq(r.status, 1, "%s", r.err);
    cr_expect_str_eq(r.out, "hello\n");
    cr_expect_contains(r.err, "required output none is not there");
}

/* ---- a job's outputs, fetched ---- */

static struct run fetch(const char *id, const char *option)
{
    AUTO(free) char *dir = path_of("got");
    return run_as(user_a(), "slurm-agent", "fetch", option, id, dir);
}

Test(staging, fetch_has_what_a_job_stored_and_nothing_else)
{
    place();
    put("store/texts-of-others", "x");
    AUTO(free)
    char *id = staged("#!/bin/sh\nmkdir -p res/deep\necho 1 > res/one; echo 2 > res/deep/two\n"
                      "echo t > 1.txt\necho said\n",
                      output("res/", "out-%j/"), output("*.txt", ""), output("res/one", "same"),
                      url_option("stdout-to", "", "logs/", ""));
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 0, "%s %s", w.out, w.err);
    AUTO(run_free) struct run r = fetch(id, "--quiet");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_empty(r.out);
    expect_file("got/res/one", "1\n");
    expect_file("got/res/deep/two", "2\n");
    expect_file("got/1.txt", "t\n");
    cr_expect(!is_there("got/texts-of-others"));
    char name[80];
    snprintf(name, sizeof name, "got/slurm-%s.out", id);
    expect_file(name, "said\n");
    AUTO(run_free) struct run j = fetch(id, "--json");
    cr_expect_eq(j.status, 0, "%s", j.err);
    cr_expect_contains(j.out, "/got/res/deep/two\"");
    if (user_b()) {
        AUTO(run_free) struct run b = run_as(user_b(), "slurm-agent", "fetch", id);
        cr_expect_eq(b.status, 3, "it is nobody else's business: %s", b.out);
    }
}

Test(staging, fetch_of_an_array_has_a_directory_for_each_task)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\nmkdir -p r.$SLURM_ARRAY_TASK_ID\n"
                      "echo $SLURM_ARRAY_TASK_ID > r.$SLURM_ARRAY_TASK_ID/r\n",
                      "--array=1-2", output("r.%a/r", "%A/%a/r"));
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 0, "%s %s", w.out, w.err);
    AUTO(run_free) struct run r = fetch(id, "--quiet");
    cr_expect_eq(r.status, 0, "%s", r.err);
    char name[80];
    for (int i = 1; i <= 2; i++) {
        snprintf(name, sizeof name, "got/%s_%d/r.%d/r", id, i, i);
        expect_file(name, i == 1 ? "1\n" : "2\n");
    }
    snprintf(name, sizeof name, "%s_2", id);
    AUTO(run_free) struct run one = fetch(name, "--quiet");
    cr_expect_eq(one.status, 0, "%s", one.err);
    expect_file("got/r.2/r", "2\n");
    cr_expect(!is_there("got/r.1"));
}

Test(staging, fetch_of_an_array_says_that_it_has_not_ended)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\n[ $SLURM_ARRAY_TASK_ID = 1 ] || sleep 100\necho 1 > o.1\n",
                      "--array=1-2", output("o.%a", "%A/%a"));
    char name[80];
    snprintf(name, sizeof name, "%s_1", id);
    wait_phase(name, "SUCCEEDED");
    AUTO(run_free) struct run r = fetch(id, "--quiet");
    cr_expect_eq(r.status, 3, "%s", r.err);
    cr_expect_contains(r.err, "has not ended");
    snprintf(name, sizeof name, "got/%s_1/o.1", id);
    expect_file(name, "1\n");
    cancel_quietly(user_a(), id);
}

Test(staging, fetch_says_what_is_not_stored)
{
    place();
    AUTO(free) char *running = staged("#!/bin/sh\nsleep 100\n", output("o", "o"));
    AUTO(run_free) struct run r = fetch(running, "--quiet");
    cr_expect_eq(r.status, 3);
    cr_expect_contains(r.err, "it has not ended yet");
    cancel_quietly(user_a(), running);
    AUTO(free)
    char *id = staged("#!/bin/sh\necho 1 > there\n", output("missing", "m"), output("there", "t"));
    wait_phase(id, "FAILED");
    AUTO(run_free) struct run half = fetch(id, "--quiet");
    cr_expect_eq(half.status, 3, "%s", half.err);
    cr_expect_contains(half.err, "required output missing is not there");
    expect_file("got/there", "1\n");
    AUTO(free) char *store = path_of("store"), *away = path_of("away");
    cr_assert_eq(run_status(run_as(user_a(), "mv", store, away)), 0);
    AUTO(run_free) struct run gone = fetch(id, "--quiet");
    cr_expect_eq(gone.status, 3, "%s", gone.err);
    cr_expect_contains(gone.err, "is not on this host");
}

static const char *optional(const char *from, const char *key)
{
    static char before[3][60];
    static int next;
    char *b = before[next++ % 3];
    snprintf(b, sizeof before[0], "%s=", from);
    return url_option("optional-output", b, key, "");
}

Test(staging, fetch_does_not_miss_what_is_optional)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\necho 1 > there\n", optional("none", "none"),
                      optional("dir/", "dir/"), optional("*.x", "x/"), output("there", "there"));
    wait_phase(id, "SUCCEEDED");
    AUTO(run_free) struct run r = fetch(id, "--parallel=2");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_contains(r.err, "none of job ");
    cr_expect_contains(r.err, "dir/ of job ");
    cr_expect_contains(r.err, "*.x of job ");
    cr_expect_contains(r.err, " was not there, and is optional");
    expect_file("got/there", "1\n");
    AUTO(run_free) struct run j = fetch(id, "--json");
    cr_expect_eq(j.status, 0, "%s", j.err);
    cr_expect_contains(j.out, "\"optional\":true");
    AUTO(run_free) struct run s = run_as(user_a(), "slurm-agent", "staging", "--json", id);
    cr_expect_contains(s.out, "\"required\": true");
    cr_expect_contains(s.out, "\"required\": false");
    /* A required one that has gone from the store since is missed. */
    AUTO(free) char *gone = path_of("store/there");
    cr_assert_eq(run_status(run_as(user_a(), "rm", gone)), 0);
    AUTO(run_free) struct run m = fetch(id, "--quiet");
    cr_expect_eq(m.status, 3, "%s", m.err);
    cr_expect_contains(m.err, "store/there");
}

Test(staging, fetch_does_not_wait_for_what_is_being_stored)
{
    place();
    AUTO(free) char *script = NULL;
    cr_assert_gt(asprintf(&script, "#!/bin/sh\ntruncate -s %lld large\n", VAST), 0);
    AUTO(free) char *id = staged(script, output("large", "large"));
    wait_phase(id, "STAGING_OUT");
    AUTO(run_free) struct run r = fetch(id, "--quiet");
    cr_expect_eq(r.status, 3, "%s", r.err);
    cr_expect_contains(r.err, "is not stored yet (STAGING_OUT)");
    cr_expect(!is_there("got/large"));
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "cancel", id)), 0);
}

Test(staging, fetch_makes_no_two_files_one)
{
    place();
    AUTO(free) char *from = path_of("work/sub/o"), *before = NULL;
    cr_assert_gt(asprintf(&before, "%s=", from), 0);
    AUTO(free)
    char *id = staged("#!/bin/sh\nmkdir -p sub; echo 1 > o; echo 2 > sub/o\n", output("o", "a"),
                      url_option("output", before, "b", ""));
    wait_phase(id, "SUCCEEDED");
    AUTO(run_free) struct run r = fetch(id, "--quiet");
    cr_expect_eq(r.status, 2, "%s", r.err);
    cr_expect_contains(r.err, "would both become o here");
    cr_expect(!is_there("got/o"));
}

/* ---- what is not there ---- */

Test(staging, an_input_that_is_not_there_ends_the_job)
{
    place();
    AUTO(free) char *id = staged("#!/bin/sh\ntouch ran\n", input("nothing", ""));
    expect_outcome(id, "FAILED", "store/nothing");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
    cr_expect(!is_there("work/ran"));
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 1, "%s", w.err);
}

Test(staging, a_required_output_that_is_not_there_fails_it)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\necho 1 > there\n", output("missing", "m"), output("there", "t"));
    expect_outcome(id, "FAILED", "required output missing is not there");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "COMPLETED");
    expect_file("store/t", "1\n");
}

Test(staging, an_optional_output_may_be_missing)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\ntrue\n", url_option("optional-output", "missing=", "m", ""));
    wait_phase(id, "SUCCEEDED");
    cr_expect(!is_there("store/m"));
}

Test(staging, outputs_of_a_failure_are_stored_when_asked_for)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\necho why > core\nexit 3\n", output("core", "core-%j"),
                      "--output-on=failure");
    AUTO(free) char *other = staged("#!/bin/sh\necho 1 > o\nexit 3\n", output("o", "not-%j"));
    char name[80];
    wait_phase(id, "FAILED");
    snprintf(name, sizeof name, "store/core-%s", id);
    expect_file(name, "why\n");
    cr_expect_str_eq(job_field(user_a(), id, "outcome"), "exit status 3");
    wait_phase(other, "FAILED");
    snprintf(name, sizeof name, "store/not-%s", other);
    cr_expect(!is_there(name));
}

/* ---- holds ---- */

Test(staging, a_job_that_its_user_holds_stays_held)
{
    place();
    put("store/one", "1");
    AUTO(free) char *id = staged("#!/bin/sh\ncp one two\n", "--hold", input("one", ""));
    wait_phase(id, "QUEUED");
    expect_file("work/one", "1");
    poll(NULL, 0, 1500); /* long enough for a release to show */
    cr_expect_str_eq(job_field(user_a(), id, "priority"), "", "0 is left out");
    cr_expect_str_eq(job_field(user_a(), id, "phase"), "QUEUED");
    cr_expect_contains(job_field(user_a(), id, "staging"), "held, as its user wants it");
    cr_expect_eq(run_status(run_as(user_a(), "scontrol", "release", id)), 0);
    wait_phase(id, "SUCCEEDED");
}

Test(staging, a_release_by_hand_is_noticed)
{
    place();
    put_of_size("store/large", VAST);
    AUTO(free) char *id = staged("#!/bin/sh\nsleep 100\n", input("large", ""));
    wait_moving(id);
    cr_expect_eq(run_status(run_as(user_a(), "scontrol", "release", id)), 0);
    wait_phase(id, "RUNNING");
    cr_expect_contains(job_field(user_a(), id, "staging"),
                       "released by hand before its inputs were there");
    cancel_quietly(user_a(), id);
}

static bool has_parts(void *arg)
{
    return !no_parts(arg);
}

/* In the middle of fetching; goes on when the worker is killed. */
static char *held_back(const char *script, const char *option)
{
    place();
    put_of_size("store/large", VAST);
    char *id = staged(script, option, input("large", ""));
    cr_assert(wait_until(has_parts, NULL, PATIENCE_MS), "nothing is fetched");
    signal_agentd_child("STOP", "agent-stage");
    put_of_size("store/large", LARGE);
    return id;
}

static void control(const char *verb, const char *id, const char *said)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", verb, id);
    cr_expect_eq(r.status, 0, "%s%s", r.out, r.err);
    AUTO(free) char *both = NULL;
    cr_assert_gt(asprintf(&both, "%s%s", r.out, r.err), 0);
    cr_expect_contains(both, said);
}

Test(staging, a_hold_while_inputs_are_fetched_stays)
{
    AUTO(free) char *id = held_back("#!/bin/sh\ntest -s large\n", "--time=5");
    control("hold", id, "it stays held when they are");
    kill_agentd_child("agent-stage");
    wait_phase(id, "QUEUED");
    cr_expect_contains(job_field(user_a(), id, "staging"), "held, as its user wants it");
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "release", id)), 0);
    wait_phase(id, "SUCCEEDED");
}

Test(staging, a_release_while_inputs_are_fetched_waits_for_them)
{
    AUTO(free) char *id = held_back("#!/bin/sh\ntest -s large\n", "--hold");
    control("release", id, "it starts when they are");
    cr_expect_str_eq(job_field(user_a(), id, "phase"), "STAGING_IN");
    kill_agentd_child("agent-stage");
    wait_phase(id, "SUCCEEDED");
}

Test(staging, one_task_released_by_hand_leaves_the_others_waiting_for_inputs)
{
    AUTO(free) char *id = held_back("#!/bin/sh\ntest -s large\n", "--array=1-3");
    char task[3][40];
    for (int i = 0; i < 3; i++)
        snprintf(task[i], sizeof task[i], "%s_%d", id, i + 1);
    cr_expect_eq(run_status(run_as(user_a(), "scontrol", "release", task[1])), 0);
    wait_phase(task[1], "FAILED"); /* it ran without */
    kill_agentd_child("agent-stage");
    wait_phase(task[0], "SUCCEEDED");
    wait_phase(task[2], "SUCCEEDED");
    cr_expect_contains(job_field(user_a(), task[2], "staging"), "tasks were released by hand");
}

/* ---- cancels ---- */

Test(staging, a_cancel_stops_the_fetching)
{
    place();
    put_of_size("store/large", VAST);
    AUTO(free) char *id = staged("#!/bin/sh\ntrue\n", input("large", ""));
    wait_moving(id);
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "cancel", id)), 0);
    wait_phase(id, "CANCELLED");
    cr_expect(wait_until(no_parts, NULL, PATIENCE_MS), "half a file is left");
    cr_expect(!is_there("work/large"));
}

Test(staging, a_cancel_stops_the_storing)
{
    place();
    AUTO(free) char *script = NULL;
    cr_assert_gt(asprintf(&script, "#!/bin/sh\ntruncate -s %lld large\n", VAST), 0);
    AUTO(free) char *id = staged(script, output("large", "large"));
    wait_phase(id, "STAGING_OUT");
    control("cancel", id, "storing its outputs is cancelled");
    expect_outcome(id, "CANCELLED", "cancelled while they were being stored");
    cr_expect(wait_until(no_parts, NULL, PATIENCE_MS), "half a file is left");
    cr_expect(!is_there("store/large"));
}

Test(staging, a_submit_that_waits_says_what_went_wrong_with_its_data)
{
    place();
    AUTO(run_free)
    struct run r = try_submit(user_a(), "#!/bin/sh\ntrue\n", work_dir(), "--wait",
                              "--stage-timeout=5m", output("missing", "missing"));
    cr_expect_neq(r.status, 0);
    cr_expect_contains(r.err, "required output missing is not there");
}

/* ---- limits ---- */

Test(staging, a_quota_holds)
{
    place();
    put("store/one", "12345");
    AUTO(free) char *id = staged("#!/bin/sh\ntrue\n", input("one", ""), "--stage-quota=4");
    expect_outcome(id, "FAILED", "inputs are 5 bytes, at most 4 are allowed (the job's own quota)");
    AUTO(free)
    char *out = staged("#!/bin/sh\nprintf 12345 > o\n", output("o", "o"), "--stage-quota=4");
    expect_outcome(out, "FAILED", "outputs are 5 bytes, at most 4 are allowed");
    cr_expect(!is_there("store/o"));
}

Test(staging, a_timeout_is_a_time)
{
    place();
    AUTO(run_free)
    struct run r = try_submit(user_a(), "#!/bin/sh\ntrue\n", "--stage-timeout=5x");
    cr_expect_neq(r.status, 0);
    cr_expect_contains(r.err, "give seconds, or a number with m, h or d");
}

Test(staging, a_timeout_ends_it)
{
    place();
    put_of_size("store/large", VAST);
    AUTO(free)
    char *id = staged("#!/bin/sh\ntrue\n", input("large", ""), "--stage-timeout=1");
    wait_phase(id, "FAILED");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
    cr_expect(wait_until(no_parts, NULL, PATIENCE_MS), "half a file is left");
}

/* ---- deaths ---- */

Test(staging, a_stage_worker_that_is_killed_begins_again)
{
    place();
    put_of_size("store/large", VAST);
    AUTO(free)
    char *id =
        staged("#!/bin/sh\nstat -c %s large > size\n", input("large", ""), output("size", "size"));
    hold_moving(id, "store/large");
    kill_agentd_child("agent-stage");
    wait_phase(id, "SUCCEEDED");
    expect_file("store/size", "500000000\n");
    cr_expect_eq(parts_left(), 0);
}

static bool has_size(void *arg)
{
    (void)arg;
    return is_there("store/size");
}

/* Nobody says HELLO meanwhile: it goes on under the grant. */
Test(staging, goes_on_without_its_user_when_the_broker_was_killed)
{
    place();
    put_of_size("store/large", VAST);
    AUTO(free)
    char *id =
        staged("#!/bin/sh\nstat -c %s large > size\n", input("large", ""), output("size", "size"));
    hold_moving(id, "store/large");
    kill_agentd_child("agent-broker");
    cr_assert(wait_until(has_size, NULL, PATIENCE_MS), "it did not go on");
    wait_phase(id, "SUCCEEDED");
    expect_file("store/size", "500000000\n");
    cr_expect_eq(parts_left(), 0);
}

Test(staging, storing_goes_on_when_everything_was_killed)
{
    place();
    AUTO(free) char *script = NULL, *path = path_of("store/large");
    cr_assert_gt(asprintf(&script, "#!/bin/sh\ntruncate -s %lld large\n", VAST), 0);
    AUTO(free) char *id = staged(script, output("large", "large"));
    hold_moving(id, "work/large");
    sandbox("stop", "agentd");
    cr_expect_neq(access(path, F_OK), 0, "it was in the middle of it");
    sandbox("start", "agentd");
    wait_phase(id, "SUCCEEDED");
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_size, LARGE);
}

/* slurmctld has forgotten it by then: minjobage is short here. */
Test(staging, storing_takes_longer_than_slurmctld_remembers)
{
    place();
    AUTO(free) char *script = NULL;
    cr_assert_gt(asprintf(&script, "#!/bin/sh\ntruncate -s %lld large\n", 3LL * LARGE), 0);
    AUTO(free) char *id = staged(script, output("large", "large"));
    wait_phase(id, "STAGING_OUT");
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 0, "%s %s", w.out, w.err);
    cr_expect_str_eq(job_field(user_a(), id, "phase"), "SUCCEEDED");
    cr_expect(is_there("store/large"));
}

/* ---- who may what ---- */

static void expect_refused(const char *option, const char *part)
{
    AUTO(run_free)
    struct run r = try_submit(user_a(), "#!/bin/sh\n", work_dir(), option, "--hold");
    cr_expect_eq(r.status, 2, "%s was taken", option);
    cr_expect_contains(r.err, part);
}

Test(staging, paths_lead_nowhere_else)
{
    place();
    expect_refused(input("one", "../one"), "'..' is not allowed");
    expect_refused(output("a/../../b", "b"), "'..' is not allowed");
    expect_refused(output("dir/", "object"), "must end with a slash");
    expect_refused(output("a%x", "b"), "only %j, %A, %a are known");
    expect_refused(output("a.%a", "b"), "the job is no array");
    expect_refused("--input=s3:///x", "bucket");
    expect_refused("--optional-output=here", "PATH=URL");
}

Test(staging, links_do_not_lead_out_of_the_working_directory)
{
    place();
    put("store/one", "1");
    AUTO(free) char *outside = path_of("outside");
    AUTO(free) char *line = NULL;
    cr_assert_gt(asprintf(&line, "mkdir -p %s && ln -s %s %s/work/link", outside, outside,
                          scratch(user_a())),
                 0);
    cr_assert_eq(run_status(run_as(user_a(), "sh", "-c", line)), 0);
    AUTO(free) char *id = staged("#!/bin/sh\ntrue\n", input("one", "link/one"));
    wait_phase(id, "FAILED");
    cr_expect(!is_there("outside/one"));
    AUTO(free)
    char *out = staged(
        "#!/bin/sh\nln -s /etc/hostname secret\nmkdir d; ln -s /etc/hostname d/s; echo 1 > d/f\n",
        output("secret", "secret"));
    wait_phase(out, "FAILED");
    cr_expect(!is_there("store/secret"));
    AUTO(free) char *dir = staged("#!/bin/sh\ntrue\n", output("d/", "d/"));
    wait_phase(dir, "SUCCEEDED");
    expect_file("store/d/f", "1\n");
    cr_expect(!is_there("store/d/s"));
    cr_expect_contains(job_field(user_a(), dir, "staging"), "left out");
}

Test(staging, nobody_reads_what_is_not_theirs)
{
    if (!user_b())
        cr_skip_test("needs two users");
    place();
    AUTO(free) char *mine = scratch_file(user_b(), "secret", "of bob\n");
    cr_assert_eq(chmod(mine, 0600), 0);
    AUTO(free) char *option = NULL;
    cr_assert_gt(asprintf(&option, "--input=file://%s:got", mine), 0);
    AUTO(free) char *id = staged("#!/bin/sh\ntrue\n", option);
    wait_phase(id, "FAILED");
    cr_expect(!is_there("work/got"));
}

Test(staging, the_same_request_is_the_same_manifest)
{
    AUTO(free) char *request = NULL;
    cr_assert_gt(asprintf(&request, "--request-id=%s", place()), 0);
    put("store/one", "1");
    AUTO(free)
    char *id = staged("#!/bin/sh\ntrue\n", request, input("one", ""));
    AUTO(free)
    char *again = staged("#!/bin/sh\ntrue\n", request, input("one", ""));
    cr_expect_str_eq(id, again);
    AUTO(run_free)
    struct run r =
        try_submit(user_a(), "#!/bin/sh\ntrue\n", work_dir(), request, input("one", "elsewhere"));
    cr_expect_eq(r.status, 16, "%s", r.err);
    wait_phase(id, "SUCCEEDED");
}

/* ---- files of the client's ---- */

/* --upload of what is below the scratch directory. */
static const char *upload(const char *rest, const char *to)
{
    static char text[6][600];
    static int next;
    char *out = text[next++ % 6];
    snprintf(out, 600, "--upload=%s/%s%s%s", scratch(user_a()), rest, to ? ":" : "", to ? to : "");
    return out;
}
#define upload_store() url_option("upload-store", "", "up/", "")

static int uploaded_files(void)
{
    AUTO(free) char *line = NULL;
    cr_assert_gt(
        asprintf(&line, "find %s/store/up -mindepth 1 2>/dev/null | wc -l", scratch(user_a())), 0);
    AUTO(run_free) struct run r = run_as(NULL, "sh", "-c", line);
    return atoi(r.out);
}

Test(staging, uploads_are_there_when_the_job_starts)
{
    place();
    put("one", "1");
    cr_assert_eq(run_status(run_as(user_a(), "mkdir", "-p", path_of("case/sub"))), 0);
    put("case/two", "2");
    put("case/sub/three +", "3");
    AUTO(free)
    char *id = staged("#!/bin/sh\ncat in/uno case/two 'case/sub/three +' d/two > sum\n",
                      upload_store(), upload("one", "in/uno"), upload("case", NULL),
                      upload("case", "d"), output("sum", "sum"));
    wait_phase(id, "SUCCEEDED");
    expect_file("store/sum", "1232");
    AUTO(run_free) struct run s = run_as(user_a(), "slurm-agent", "staging", "--json", id);
    cr_expect_contains(s.out, "/store/up/");
    AUTO(free) char *path = scratch_file(user_a(), "s.sh", "#!/bin/sh\ncat one\n");
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "run", work_dir(), upload_store(),
                          upload("one", NULL), path);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(r.out, "1");
    cr_expect_contains(r.err, "/one -> file://");
}

Test(staging, uploads_of_a_refused_submit_go)
{
    place();
    put("one", "1");
    AUTO(run_free)
    struct run r = try_submit(user_a(), "#!/bin/sh\n", work_dir(), upload_store(),
                              upload("one", NULL), "--partition=none");
    cr_expect_neq(r.status, 0, "%s", r.err);
    cr_expect_eq(uploaded_files(), 0);
    AUTO(run_free)
    struct run t = try_submit(user_a(), "#!/bin/sh\n", work_dir(), upload_store(),
                              upload("one", NULL), "--test-only");
    cr_expect_eq(t.status, 0, "%s", t.err);
    AUTO(run_free)
    struct run none = try_submit(user_a(), "#!/bin/sh\n", work_dir(), upload("one", NULL));
    cr_expect_eq(none.status, 2);
    cr_expect_contains(none.err, "upload_store");
    AUTO(run_free)
    struct run het = try_submit(user_a(), "#!/bin/sh\n", work_dir(), upload_store(),
                                upload("one", NULL), ":", "--ntasks=1");
    cr_expect_eq(het.status, 2);
    cr_expect_contains(het.err, "heterogeneous");
    AUTO(run_free)
    struct run missing =
        try_submit(user_a(), "#!/bin/sh\n", work_dir(), upload_store(), upload("not", NULL));
    cr_expect_eq(missing.status, 3, "%s", missing.err);
    AUTO(free) char *path = scratch_file(user_a(), "s.sh", "#!/bin/sh\n");
    AUTO(run_free)
    struct run away = run_as(user_a(), "slurm-agent", "--server=ipc:///nowhere", "submit",
                             upload_store(), upload("one", NULL), path);
    cr_expect_neq(away.status, 0);
    cr_expect_eq(uploaded_files(), 0, "it was uploaded for no server");
}

Test(staging, an_interrupted_upload_goes_on_with_the_same_request)
{
    AUTO(free) char *request = NULL;
    cr_assert_gt(asprintf(&request, "--request-id=%s", place()), 0);
    cr_assert_eq(run_status(run_as(user_a(), "mkdir", path_of("case"))), 0);
    put("case/a", "1");
    put_of_size("case/b", VAST);
    AUTO(free) char *path = scratch_file(user_a(), "s.sh", "#!/bin/sh\ncat case/a\n");
    AUTO(run_free)
    struct run cut = run_as(user_a(), "timeout", "-s", "INT", "1", "slurm-agent", "submit",
                            work_dir(), request, upload_store(), upload("case", NULL), path);
    cr_expect_neq(cut.status, 0);
    cr_expect_contains(cut.err, "nothing was submitted");
    put_of_size("case/b", 1000);
    AUTO(free)
    char *id = staged("#!/bin/sh\ncat case/a\n", request, upload_store(), upload("case", NULL));
    wait_phase(id, "SUCCEEDED");
    AUTO(free)
    char *again = staged("#!/bin/sh\ncat case/a\n", request, upload_store(), upload("case", NULL));
    cr_expect_str_eq(again, id);
    int before = uploaded_files();
    put("case/a", "changed");
    AUTO(run_free)
    struct run other = try_submit(user_a(), "#!/bin/sh\ncat case/a\n", work_dir(), request,
                                  upload_store(), upload("case", NULL));
    cr_expect_eq(other.status, 16, "%s", other.err);
    cr_expect_eq(uploaded_files(), before, "the first job's files stay, and they alone");
}

/* ---- ends that nobody saw ---- */

TestSuite(staging_unseen, .timeout = 240);

static bool is_forgotten(void *id)
{
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", id);
    return r.status != 0;
}

/* Lets the job, which waits for the file work/go, end while no agentd runs. */
static void end_unseen(char *id)
{
    wait_field(id, "state", "RUNNING");
    sandbox("stop", "agentd");
    put("work/go", "");
    bool forgotten = wait_until(is_forgotten, id, PATIENCE_MS);
    sandbox("start", "agentd");
    cr_assert(forgotten, "slurmctld has not forgotten %s", id);
}
#define WAIT_FOR_GO "i=0; while [ ! -e go ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done\n"

Test(staging_unseen, outputs_of_a_success_are_stored_when_slurmdbd_tells)
{
    place();
    AUTO(free) char *id = staged("#!/bin/sh\n" WAIT_FOR_GO "echo 1 > out\n", output("out", "out"));
    end_unseen(id);
    wait_phase(id, "SUCCEEDED");
    expect_file("store/out", "1\n");
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 0, "%s %s", w.out, w.err);
}

Test(staging_unseen, a_required_output_that_is_not_there_fails_it_for_all_brokers)
{
    place();
    AUTO(free) char *id = staged("#!/bin/sh\n" WAIT_FOR_GO, output("out", "out"));
    end_unseen(id);
    expect_outcome(id, "FAILED", "required output out is not there");
    kill_agentd_child("agent-broker");
    expect_outcome(id, "FAILED", "required output out is not there");
}

Test(staging_unseen, outputs_of_a_failure_are_not_stored_as_those_of_a_success)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\n" WAIT_FOR_GO "echo half > out; exit 7\n", output("out", "out"));
    end_unseen(id);
    expect_outcome(id, "FAILED", "");
    cr_expect_eq(atoi(job_field(user_a(), id, "exit_code")), 7);
    cr_expect(!is_there("store/out"));
}

/* One has ended unseen, the other runs on. */
Test(staging_unseen, a_task_that_is_lost_is_looked_for)
{
    place();
    AUTO(free)
    char *id = staged("#!/bin/sh\n[ $SLURM_ARRAY_TASK_ID = 1 ] || exec sleep 100\n" WAIT_FOR_GO
                      "echo 1 > out.1\n",
                      "--array=1-2", output("out.%a", "out.%a"));
    char one[64], two[64];
    snprintf(one, sizeof one, "%s_1", id);
    snprintf(two, sizeof two, "%s_2", id);
    wait_field(two, "state", "RUNNING");
    end_unseen(one);
    wait_phase(one, "SUCCEEDED");
    expect_file("store/out.1", "1\n");
    cr_expect_str_eq(job_field(user_a(), two, "phase"), "RUNNING");
    cancel_quietly(user_a(), two);
}

/* ---- a plugin that lifts the hold ---- */

TestSuite(staging_lifted, .timeout = 120);

Test(staging_lifted, a_job_that_is_not_kept_held_is_cancelled)
{
    place();
    put_of_size("store/large", VAST);
    AUTO(free)
    char *id = staged("#!/bin/sh\nsleep 60\n", "--job-name=lifted", input("large", ""));
    wait_field(id, "state", "CANCELLED");
    cr_expect_contains(job_field(user_a(), id, "staging"), "job_submit plugin");
}
