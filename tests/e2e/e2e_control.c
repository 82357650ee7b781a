/* SPDX-License-Identifier: GPL-3.0-or-later */
/* hold, release, requeue and what else is done to jobs, as a user would use them */
#include <criterion/criterion.h>
#include <string.h>

#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/peer.h"
#include "tests/kit/jobs.h"

TestSuite(control, .timeout = 120);

static const char sleeper[] = "#!/bin/sh\nexec sleep 300\n";

/* slurm-agent with these arguments; its exit status must be that, and stderr must have text. */
static void expect_said(const char *user, int status, const char *text, const char *verb,
                        const char *a, const char *b, const char *c)
{
    AUTO(run_free) struct run r = run_as(user, "slurm-agent", verb, a, b, c);
    cr_expect_eq(r.status, status, "%s %s %s %s: exit status %d: %s", verb, a, b ? b : "",
                 c ? c : "", r.status, r.err);
    if (text)
        cr_expect_contains(r.err, text);
    else
        cr_expect_str_eq(r.err, "", "%s %s: %s", verb, a, r.err);
}

/* By its owner. */
static void expect_held(const char *id, bool held)
{
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING");
    bool is = strcmp(job_field(user_a(), id, "reason"), "JobHeldUser") == 0;
    cr_expect_eq(is, held, "job %s: held %d", id, is);
    is = strcmp(job_field(user_a(), id, "priority"), "") == 0;
    cr_expect_eq(is, held, "job %s: priority 0 %d", id, is);
}

Test(control, hold_and_release)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--begin=now+1hour");
    expect_said(user_a(), 0, NULL, "hold", id, NULL, NULL);
    expect_held(id, true);
    expect_said(user_a(), 0, "held already", "hold", id, NULL, NULL);
    expect_said(user_a(), 0, NULL, "hold", "--quiet", id, NULL);
    expect_said(user_a(), 0, NULL, "release", id, NULL, NULL);
    expect_held(id, false);
    expect_said(user_a(), 0, "was not held", "release", id, NULL, NULL);
    cancel_quietly(user_a(), id);
    expect_said(user_a(), 9, "already finished", "hold", id, NULL, NULL);
    expect_said(user_a(), 0, "had already ended", "release", id, NULL, NULL);
}

Test(control, one_bad_id_does_not_hide_the_others)
{
    AUTO(free) char *a = submit(user_a(), sleeper, "--begin=now+1hour");
    AUTO(free) char *b = submit(user_a(), sleeper, "--begin=now+1hour");
    expect_said(user_a(), 3, "999999", "hold", a, "999999", b);
    expect_held(a, true);
    expect_held(b, true);
    expect_said(user_a(), 2, "12x", "release", a, "12x", b);
    expect_held(b, false);
    cancel_quietly(user_a(), a);
    cancel_quietly(user_a(), b);
}

Test(control, an_array_is_held_and_released_as_a_whole_or_by_its_tasks)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--array=1-3", "--begin=now+1hour");
    AUTO(free) char *two = NULL;
    cr_assert_gt(asprintf(&two, "%s_2", id), 0);
    expect_said(user_a(), 0, NULL, "hold", two, NULL, NULL);
    expect_held(two, true);
    AUTO(free) char *rest = NULL;
    cr_assert_gt(asprintf(&rest, "%s_[1,3]", id), 0);
    expect_held(rest, false);
    expect_said(user_a(), 0, NULL, "hold", id, NULL, NULL);
    expect_held(rest, true);
    expect_said(user_a(), 0, NULL, "release", id, NULL, NULL);
    expect_held(rest, false);
    expect_held(two, false);
    cancel_quietly(user_a(), id);
}

/* Up to 24.11 operators alone may suspend; 26.05 lets a job's owner. */
Test(control, what_operators_alone_may_do_is_refused_by_slurm)
{
    AUTO(free) char *id = submit(user_a(), sleeper);
    wait_state(user_a(), id, "RUNNING");
    bool lets = run_status(run_as(user_a(), "scontrol", "suspend", id)) == 0;
    if (lets)
        cr_assert_eq(run_status(run_as(user_a(), "scontrol", "resume", id)), 0);
    const char *said = lets ? NULL : "permission denied";
    expect_said(user_a(), lets ? 0 : 4, said, "suspend", id, NULL, NULL);
    expect_said(user_a(), lets ? 0 : 4, said, "resume", id, NULL, NULL);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "RUNNING");
    cancel_quietly(user_a(), id);
}

Test(control, others_jobs_are_left_alone)
{
    AUTO(free) char *held = submit(user_a(), sleeper, "--hold");
    AUTO(free) char *id = submit(user_a(), sleeper);
    wait_state(user_a(), id, "RUNNING");
    static const char *const verbs[] = {"hold",    "release", "requeue", "requeuehold",
                                        "suspend", "resume",  "top",     "cancel"};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        expect_said(user_b(), 4, "Slurm: ", verbs[i], id, NULL, NULL);
        expect_said(user_b(), 4, "Slurm: ", verbs[i], held, NULL, NULL);
    }
    expect_said(user_b(), 4, "not yours", "notify", "--message=hello", id, NULL);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "RUNNING");
    cr_expect_str_eq(job_field(user_a(), id, "restarts"), "");
    expect_held(held, true);
    cancel_quietly(user_a(), id);
    cancel_quietly(user_a(), held);
}

Test(control, requeue_and_requeuehold)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--requeue");
    wait_state(user_a(), id, "RUNNING");
    expect_said(user_a(), 0, NULL, "requeue", id, NULL, NULL);
    cr_expect_str_eq(job_field(user_a(), id, "restarts"), "1");
    expect_said(user_a(), 0, "in the queue already", "requeue", id, NULL, NULL);
    expect_said(user_a(), 9, "hold it instead", "requeuehold", id, NULL, NULL);
    cancel_quietly(user_a(), id);
    AUTO(free) char *other = submit(user_a(), sleeper, "--requeue");
    wait_state(user_a(), other, "RUNNING");
    expect_said(user_a(), 0, NULL, "requeuehold", other, NULL, NULL);
    wait_state(user_a(), other, "PENDING");
    expect_held(other, true);
    cancel_quietly(user_a(), other);
}

Test(control, a_message_is_written_to_the_jobs_stderr)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--output=notified");
    wait_state(user_a(), id, "RUNNING");
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/notified", scratch(user_a())), 0);
    for (int i = 0; i < 100; i++) { /* the step may not be there yet */
        expect_said(user_a(), 0, NULL, "notify", "--message=hello from here", id, NULL);
        AUTO(free) char *text = slurp(path);
        if (text && strstr(text, "hello from here"))
            break;
        cr_assert_lt(i, 99, "the message did not arrive");
    }
    cancel_quietly(user_a(), id);
    expect_said(user_a(), 2, "message is missing", "notify", id, NULL, NULL);
    expect_said(user_a(), 2, "not running", "notify", "--message=x", id, NULL);
}

/* ---- update ---- */

static void expect_changed(const char *id, const char *option, const char *field, const char *value)
{
    expect_said(user_a(), 0, NULL, "update", id, option, NULL);
    cr_expect_str_eq(job_field(user_a(), id, field), value, "%s: %s is %s, not %s", option, field,
                     job_field(user_a(), id, field), value);
}

Test(control, update_changes_what_an_owner_may)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold", "--time=10", "--output=before");
    AUTO(free) char *other = submit(user_a(), sleeper, "--hold");
    AUTO(free) char *after = NULL, *waits = NULL, *path = NULL;
    cr_assert_gt(asprintf(&after, "--dependency=afterany:%s", other), 0);
    cr_assert_gt(asprintf(&waits, "afterany:%s(unfulfilled)", other), 0);
    cr_assert_gt(asprintf(&path, "%s/renamed", job_field(user_a(), id, "work_dir")), 0);
    expect_changed(id, "--time=1:30:00", "time_limit", "5400");
    expect_changed(id, "--time=UNLIMITED", "time_limit", "-1");
    expect_changed(id, "--job-name=renamed", "name", "renamed");
    expect_changed(id, "--comment=a comment", "comment", "a comment");
    expect_changed(id, "--comment=", "comment", "");
    expect_changed(id, "--nodes=2-3", "node_count", "2");
    expect_changed(id, "--ntasks=4", "tasks", "4");
    expect_changed(id, "--mem=100", "mem_per_node", "104857600");
    expect_changed(id, "--mem-per-cpu=50M", "mem_per_cpu", "52428800");
    expect_changed(id, after, "dependency", waits);
    expect_changed(id, "--dependency=", "dependency", "");
    expect_changed(id, "--no-requeue", "requeue", "");
    expect_changed(id, "--requeue", "requeue", "true");
    expect_changed(id, "--output=renamed", "std_out", path);
    expect_changed(id, "--partition=main", "partition", "main");
    expect_changed(id, "--chdir=/tmp", "work_dir", "/tmp");
    expect_said(user_a(), 0, NULL, "update", id, "--nodelist=node1,node2", "--exclude=node3");
    expect_said(user_a(), 0, NULL, "update", id, "--mail-type=END,FAIL", "--mail-user=alice");
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", id);
    cr_expect_contains(r.out, "ReqNodeList=node1,node2 ExcNodeList=node3");
    cr_expect_contains(r.out, "MailUser=alice MailType=END,FAIL");
    expect_held(id, true);
    cancel_quietly(user_a(), id);
    cancel_quietly(user_a(), other);
}

/* slurmctld computes the priority anew with it, and so would let a held job start. */
Test(control, making_a_job_nicer_does_not_release_it)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold", "--begin=now+1hour");
    expect_said(user_a(), 2, "release it first", "update", id, "--nice=50", NULL);
    expect_held(id, true);
    expect_said(user_a(), 0, NULL, "release", id, NULL, NULL);
    expect_said(user_a(), 0, NULL, "update", id, "--nice=50", NULL);
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", id);
    cr_expect_contains(r.out, "Nice=50");
    cancel_quietly(user_a(), id);
}

Test(control, update_of_an_array_is_of_all_its_tasks_or_of_one)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--array=1-5%2", "--hold");
    AUTO(free) char *two = NULL;
    cr_assert_gt(asprintf(&two, "%s_2", id), 0);
    expect_said(user_a(), 0, NULL, "update", id, "--array=%3", "--comment=all");
    expect_said(user_a(), 0, NULL, "update", two, "--comment=two", NULL);
    cr_expect_str_eq(job_field(user_a(), two, "comment"), "two");
    AUTO(run_free) struct run r = run_as(NULL, "scontrol", "show", "job", id);
    cr_expect_contains(r.out, "ArrayTaskThrottle=3");
    cr_expect_contains(r.out, "Comment=all");
    cancel_quietly(user_a(), id);
}

Test(control, what_cannot_be_changed_is_refused_and_nothing_is_passed_over)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold", "--time=10");
    static const struct {
        const char *option;
        int status;
        const char *text;
    } wrong[] = {
        {"--time=soon", 2, "--time=soon"},
        {"--time=", 2, "--time needs a value"},
        {"--partition=nosuch", 2, "--partition=nosuch: Slurm: "},
        {"--constraint=nosuch", 2, "--constraint=nosuch: Slurm: "},
        {"--gres=nosuch:1", 2, "--gres=nosuch:1: Slurm: "},
        {"--licenses=nosuch", 2, "Slurm: "},
        {"--reservation=nosuch", 2, "Slurm: "},
        {"--nice=5", 2, "release it first"},
        {"--nice=x", 2, "--nice=x"},
        {"--priority=0", 2, "hold"},
        {"--deadline=now+1hour", 4, "permission denied"},
        {"--array=%2", 2, "no array"},
        {"--array=1-3", 2, "%N"},
        {"--chdir=here", 2, "begins with /"},
        {"--mem=lots", 2, "--mem=lots"},
        {"--nodes=3-1", 2, "--nodes=3-1"},
        {"--export=ALL", 2, "--export"},
        {"--begin=whenever", 2, "--begin=whenever"},
        {"--mail-type=SOMETIMES", 2, "SOMETIMES"},
        {"--dependency=nonsense", 2, "--dependency=nonsense"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        expect_said(user_a(), wrong[i].status, wrong[i].text, "update", id, wrong[i].option, NULL);
    expect_said(user_a(), 2, "what is to be changed", "update", id, NULL, NULL);
    expect_said(user_b(), 4, "not yours", "update", id, "--comment=his", NULL);
    expect_held(id, true);
    cr_expect_str_eq(job_field(user_a(), id, "time_limit"), "600");
    cr_expect_str_eq(job_field(user_a(), id, "comment"), "");
    AUTO(free) char *running = submit(user_a(), sleeper, "--time=10");
    wait_state(user_a(), running, "RUNNING");
    expect_said(user_a(), 4, "permission denied", "update", running, "--time=20", NULL);
    expect_changed(running, "--time=5", "time_limit", "300");
    expect_said(user_a(), 9, "no longer pending", "update", running, "--dependency=singleton",
                NULL);
    cancel_quietly(user_a(), id);
    cancel_quietly(user_a(), running);
}

/* ---- filters ---- */

/* A job with that name and these options. */
static char *named(const char *user, const char *name, const char *option)
{
    AUTO(free) char *text = NULL;
    cr_assert_gt(asprintf(&text, "--job-name=%s", name), 0);
    return submit(user, sleeper, text, option);
}

/* What the command does, as the job's states after it show: "ab" of the jobs a, b, c. */
static void expect_cancelled(const char *which, char *const ids[3], const char *a, const char *b)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "cancel", a, b);
    cr_expect_eq(r.status, 0, "%s %s: %s", a, b ? b : "", r.err);
    for (int i = 0; i < 3; i++) {
        bool is = strcmp(job_field(user_a(), ids[i], "state"), "CANCELLED") == 0;
        cr_expect_eq(is, strchr(which, 'a' + i) != NULL, "%s %s: job %c: %s", a, b ? b : "",
                     'a' + i, is ? "cancelled" : "left alone");
    }
}

Test(control, cancel_by_name_state_and_partition)
{
    char *ids[3] = {
        named(user_a(), "filter-one", "--hold"),
        named(user_a(), "filter-one", "--time=5"),
        named(user_a(), "filter-two", "--time=5"),
    };
    wait_state(user_a(), ids[1], "RUNNING");
    wait_state(user_a(), ids[2], "RUNNING");
    expect_cancelled("", ids, "--name=filter-none", NULL);
    expect_cancelled("", ids, "--name=filter-one", "--partition=nosuch");
    expect_cancelled("", ids, "--name=filter-one", "--nodelist=node4");
    expect_cancelled("a", ids, "--name=filter-one", "--state=PENDING");
    expect_cancelled("ab", ids, "--name=filter-one", "--partition=main");
    AUTO(free) char *at = strdup(job_field(user_a(), ids[2], "nodes"));
    AUTO(free) char *node = NULL;
    cr_assert_gt(asprintf(&node, "--nodelist=%s", at), 0);
    expect_cancelled("abc", ids, "--name=filter-two", node);
    for (int i = 0; i < 3; i++)
        free(ids[i]);
}

Test(control, ids_that_do_not_fit_are_left_alone)
{
    char *ids[3] = {
        named(user_a(), "fitting", "--hold"),
        named(user_a(), "fitting", "--hold"),
        named(user_a(), "other", "--hold"),
    };
    AUTO(run_free)
    struct run r =
        run_as(user_a(), "slurm-agent", "hold", "--name=fitting", ids[0], ids[2], "999999");
    cr_expect_eq(r.status, 3, "%s", r.err);
    cr_expect_contains(r.err, "999999");
    cr_expect_contains(r.err, "does not fit");
    AUTO(run_free)
    struct run c = run_as(user_a(), "slurm-agent", "cancel", "--name=fitting", ids[0], ids[2]);
    cr_expect_eq(c.status, 0, "%s", c.err);
    cr_expect_str_eq(job_field(user_a(), ids[0], "state"), "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), ids[1], "state"), "PENDING");
    cr_expect_str_eq(job_field(user_a(), ids[2], "state"), "PENDING");
    AUTO(run_free) struct run me = run_as(user_a(), "slurm-agent", "cancel", "--me", "--quiet");
    cr_expect_eq(me.status, 0, "%s", me.err);
    cr_expect_str_eq(job_field(user_a(), ids[1], "state"), "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), ids[2], "state"), "CANCELLED");
    for (int i = 0; i < 3; i++)
        free(ids[i]);
}

Test(control, filters_mean_the_callers_jobs_and_slurm_guards_others)
{
    AUTO(free) char *hers = named(user_a(), "shared-name", "--hold");
    AUTO(free) char *his = named(user_b(), "shared-name", "--hold");
    AUTO(run_free) struct run own = run_as(user_b(), "slurm-agent", "cancel", "--name=shared-name");
    cr_expect_eq(own.status, 0, "%s", own.err);
    cr_expect_str_eq(job_field(user_b(), his, "state"), "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), hers, "state"), "PENDING");
    AUTO(run_free)
    struct run all = run_as(user_b(), "slurm-agent", "cancel", "--all", "--name=shared-name");
    cr_expect_eq(all.status, 4, "%s", all.err);
    cr_expect_contains(all.err, "not yours");
    AUTO(run_free)
    struct run user = run_as(user_b(), "slurm-agent", "cancel", "--user", user_a());
    cr_expect_eq(user.status, 4, "%s", user.err);
    cr_expect_str_eq(job_field(user_a(), hers, "state"), "PENDING");
    cancel_quietly(user_a(), hers);
}

/* Only what waits of an array is waiting. */
Test(control, the_waiting_tasks_of_an_array_are_chosen_without_those_that_run)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--array=1-9%1", "--job-name=choosing");
    AUTO(free) char *one = NULL, *two = NULL;
    cr_assert_gt(asprintf(&one, "%s_1", id), 0);
    cr_assert_gt(asprintf(&two, "%s_[2-9%%1]", id), 0);
    wait_state(user_a(), one, "RUNNING");
    AUTO(run_free)
    struct run held = run_as(user_a(), "slurm-agent", "hold", "--name=choosing");
    cr_expect_eq(held.status, 0, "%s", held.err);
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "cancel", "--name=choosing", "-t", "PENDING");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(job_field(user_a(), one, "state"), "RUNNING");
    AUTO(run_free) struct run gone = run_as(user_a(), "slurm-agent", "get", two);
    cr_expect_eq(gone.status, 3, "%s", gone.out);
    cancel_quietly(user_a(), id);
}

Test(control, filters_that_make_no_sense_are_refused)
{
    static const char *const wrong[][3] = {
        {"--state=SLEEPING", NULL, "SLEEPING"},
        {"--state=", NULL, "empty"},
        {"--name=", NULL, "empty"},
        {"--user=alice", "--all", "exclude"},
        {"--quiet", NULL, "which jobs"},
        {"--partition=", "--me", "empty"},
        {"--signal=NOSUCH", "--me", "NOSUCH"},
    };
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        expect_said(user_a(), 2, wrong[i][2], "cancel", wrong[i][0], wrong[i][1], NULL);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING");
    cancel_quietly(user_a(), id);
}

/* As with scancel; one who has no jobs is another matter. */
Test(control, a_user_that_is_none_is_named)
{
    static const char *const verbs[] = {"cancel", "hold", "release", "requeue", "suspend"};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        expect_said(user_a(), 2, "--user=nosuchuser: invalid user name", verbs[i],
                    "--user=nosuchuser", NULL, NULL);
    expect_said(user_a(), 2, "--user=3999999999: invalid user name", "cancel", "--user=3999999999",
                NULL, NULL);
    expect_said(user_a(), 0, NULL, "cancel", "--user=daemon", NULL, NULL);
}

/* slurmctld has given it another submit time than the one it was chosen by. */
Test(control, a_job_that_was_requeued_just_now_is_not_on_other_nodes)
{
    AUTO(free) char *id = named(user_a(), "filter-requeued", "--requeue");
    AUTO(free) char *line = NULL;
    wait_state(user_a(), id, "RUNNING");
    cr_assert_gt(asprintf(&line,
                          "scontrol requeue %s && "
                          "slurm-agent cancel --name=filter-requeued --nodelist=node4",
                          id),
                 0);
    AUTO(run_free) struct run r = run_as(user_a(), "sh", "-c", line);
    cr_expect_eq(r.status, 0, "%s%s", r.out, r.err);
    cr_expect_str_eq(r.err, "");
    cancel_quietly(user_a(), id);
}

/* Slurm requeues them as a whole. */
Test(control, a_component_cannot_be_requeued_and_the_whole_is_named)
{
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--parsable", "--hold", "--wrap=true",
                          "-n1", ":", "-n1");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    AUTO(free) char *part = NULL;
    AUTO(free) char *text = NULL;
    cr_assert_gt(asprintf(&part, "%s+1", r.out), 0);
    cr_assert_gt(asprintf(&text, "(requeue takes a heterogeneous job as a whole: %s)", r.out), 0);
    expect_said(user_a(), 3, text, "requeue", part, NULL, NULL);
    cancel_quietly(user_a(), r.out);
}

/* ---- identity ---- */

/* One control of one id through the library, guarded; its code, and its text in text. */
static int guarded(struct sagent *s, enum sagent_verb verb, const char *id, int64_t submit_time,
                   int64_t restarts, char text[300])
{
    const struct sagent_control_request req = {
        .verb = verb,
        .ids = &id,
        .id_count = 1,
        .submit_times = &submit_time,
        .restarts = &restarts,
    };
    struct sagent_controlled *done = NULL;
    struct sagent_error err;
    cr_assert_eq(sagent_control(s, &req, &done, &err), 0, "%s", err.text);
    int code = done->results[0].code;
    snprintf(text, 300, "%s", str_or(done->results[0].text, ""));
    sagent_controlled_free(done);
    return code;
}

Test(control, a_requeue_that_comes_twice_is_carried_out_once)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--requeue");
    wait_state(user_a(), id, "RUNNING");
    int64_t submit_time = strtoll(job_field(user_a(), id, "submit_time"), NULL, 10);
    become(user_a());
    struct sagent *s = NULL;
    struct sagent_error err;
    char text[300];
    cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
    cr_expect_eq(guarded(s, SAGENT_REQUEUE, id, submit_time - 100, 0, text), SAGENT_ERR_CONFLICT,
                 "another job's submit time: %s", text);
    cr_expect_eq(guarded(s, SAGENT_REQUEUE, id, submit_time, 0, text), SAGENT_OK, "%s", text);
    cr_expect_str_eq(text, "");
    cr_expect_eq(guarded(s, SAGENT_REQUEUE, id, submit_time, 0, text), SAGENT_OK, "%s", text);
    cr_expect_contains(text, "has been requeued since");
    cr_expect_eq(guarded(s, SAGENT_REQUEUEHOLD, id, submit_time, 0, text), SAGENT_OK, "%s", text);
    cr_expect_contains(text, "has been requeued since");
    cr_expect_eq(guarded(s, SAGENT_CANCEL, id, submit_time - 100, 0, text), SAGENT_ERR_CONFLICT,
                 "%s", text);
    struct sagent_jobs *jobs = NULL;
    const char *ids[] = {id};
    cr_assert_eq(sagent_get(s, ids, 1, &jobs, &err), 0, "%s", err.text);
    cr_expect_eq(sagent_jobs_at(jobs, 0)->restarts, 1);
    sagent_jobs_free(jobs);
    struct sagent_controlled *done = NULL;
    const struct sagent_control_request req = {.verb = SAGENT_CANCEL, .ids = ids, .id_count = 1};
    cr_expect_eq(sagent_control(s, &req, &done, &err), 0);
    sagent_controlled_free(done);
    sagent_close(s);
}

/* ---- steps, and what there is without accounting ---- */

static bool has_step(void *step)
{
    AUTO(free) char *job = strdup(step);
    *strrchr(job, '.') = '\0';
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "steps", job);
    return strstr(r.out, ".batch") && strstr(r.out, step);
}

Test(control, steps_of_running_jobs_are_listed)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\nsrun -n1 --overlap sleep 300\n", "--array=1-2");
    AUTO(free) char *held = submit(user_a(), sleeper, "--hold");
    AUTO(free) char *one = NULL, *step = NULL, *batch = NULL, *other = NULL;
    cr_assert_gt(asprintf(&one, "%s_1", id), 0);
    cr_assert_gt(asprintf(&step, "%s_1.0", id), 0);
    cr_assert_gt(asprintf(&batch, "%s_1.batch", id), 0);
    cr_assert_gt(asprintf(&other, "%s_2.0", id), 0);
    cr_assert(wait_until(has_step, step, 30000), "no steps");
    cr_assert(wait_until(has_step, other, 30000), "no steps");
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "steps", "--json", one, held, "999999");
    cr_expect_eq(r.status, 3, "%s", r.err);
    cr_expect_contains(r.err, "999999");
    json_t *all = json_loads(r.out, 0, NULL);
    cr_assert_not_null(all, "%s", r.out);
    json_t *steps = json_object_get(all, "steps");
    cr_expect_eq(json_array_size(steps), 2, "its own alone: %s", r.out);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        json_t *s = json_array_get(steps, i);
        const char *name = json_string_value(json_object_get(s, "id"));
        cr_expect(str_eq(name, step) || str_eq(name, batch), "%s", name);
        cr_expect_str_eq(json_string_value(json_object_get(s, "state")), "RUNNING");
        cr_expect_str_eq(json_string_value(json_object_get(s, "job")), one);
        cr_expect_gt(json_integer_value(json_object_get(s, "start_time")), 1700000000);
    }
    json_decref(all);
    AUTO(run_free) struct run array = run_as(user_a(), "slurm-agent", "steps", id);
    cr_expect_contains(array.out, step);
    cr_expect_contains(array.out, other);
    AUTO(run_free) struct run none = run_as(user_a(), "slurm-agent", "steps");
    cr_expect_eq(none.status, 2);
    cancel_quietly(user_a(), id);
    cancel_quietly(user_a(), held);
}

/* ---- while the world fails ---- */

Test(control, with_slurmctld_away_nothing_is_done_and_one_wait_is_enough)
{
    AUTO(free) char *a = submit(user_a(), sleeper, "--begin=now+1hour");
    AUTO(free) char *b = submit(user_a(), sleeper, "--begin=now+1hour");
    sandbox("stop", "slurmctld");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "hold", a, b);
    sandbox("start", "slurmctld");
    cr_expect_eq(r.status, 8, "SLURM_DOWN: %d %s", r.status, r.err);
    cr_expect_contains(r.err, a);
    cr_expect_contains(r.err, "not asked");
    expect_held(a, false);
    cancel_quietly(user_a(), a);
    cancel_quietly(user_a(), b);
}

Test(control, a_worker_that_is_killed_fails_its_call_and_the_next_one_works)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--begin=now+1hour");
    int later = sandbox_later("resume", "slurmctld");
    sandbox("pause", "slurmctld");
    struct running *hold = run_begin(user_a(), "slurm-agent", "hold", id);
    bool asked = run_goes_on(hold, 1000, NULL);
    kill_agentd_child("role control");
    struct run r = run_end(hold);
    sandbox_now(later);
    cr_expect(asked, "the hold did not wait for slurmctld");
    cr_expect_neq(r.status, 0, "nobody answered: %s", r.err);
    run_free(&r);
    AUTO(run_free) struct run again = run_as(user_a(), "slurm-agent", "hold", "--quiet", id);
    cr_expect_eq(again.status, 0, "%s", again.err);
    expect_held(id, true);
    cancel_quietly(user_a(), id);
}

/* slurmctld calls some of these ended, when their numbers share a place with an array's. */
Test(control, a_number_that_no_job_has_is_unknown_whatever_it_is)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--array=1-50", "--hold");
    AUTO(run_free)
    struct run r = run_as(user_a(), "sh", "-c", "slurm-agent cancel $(seq 1000000 1000299)");
    cr_expect_eq(r.status, 3, "%d", r.status);
    cr_expect_null(strstr(r.err, "already ended"), "%s", r.err);
    cancel_quietly(user_a(), id);
}

/* One load instead of a question to slurmctld for each of them; what is there is dealt with. */
Test(control, thousands_of_unknown_ids_are_told_at_once)
{
    AUTO(free) char *one = submit(user_a(), sleeper, "--hold");
    AUTO(free) char *array = submit(user_a(), sleeper, "--array=1-3", "--hold");
    AUTO(free) char *his = submit(user_b(), sleeper, "--hold");
    char command[200];
    snprintf(command, sizeof command, "slurm-agent cancel %s $(seq 1000001 1009997) %s_2 %s", one,
             array, his);
    int64_t began = clock_mono_ms();
    AUTO(run_free) struct run r = run_as(user_a(), "sh", "-c", command);
    cr_expect_lt(clock_mono_ms() - began, 8000, "one by one it is 40 s");
    cr_expect_eq(r.status, 3, "%d", r.status);
    cr_expect_contains(r.err, "knows no job 1000001\n");
    cr_expect_contains(r.err, "knows no job 1009997\n");
    cr_expect_contains(r.err, "not yours");
    AUTO(free) char *rest = NULL;
    cr_assert_gt(asprintf(&rest, "%s_[1,3]\n", array), 0);
    AUTO(run_free) struct run q = run_as(NULL, "squeue", "-h", "-o", "%i", "-j", array);
    cr_expect_str_eq(q.out, rest);
    wait_state(user_a(), one, "CANCELLED");
    cr_expect_str_eq(job_field(user_b(), his, "state"), "PENDING");
    cancel_quietly(user_a(), array);
    cancel_quietly(user_b(), his);
}
