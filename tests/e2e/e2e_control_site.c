/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Control where the site offers more: GPUs, workload keys, a reservation, `top` for everybody; and
 * more jobs than are dealt with in one go.  The sandbox has a slurmdbd, four GPUs on each of two
 * nodes, TrackWCKey and enable_user_top. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(control_site, .timeout = 240);

enum { SOON_MS = 40000, MANY = 1020, AT_ONCE = 60 };

static const char sleeper[] = "#!/bin/sh\nexec sleep 300\n";

static void must(struct run r, const char *what)
{
    cr_assert_eq(r.status, 0, "%s: %s%s", what, r.out, r.err);
    run_free(&r);
}

/* ---- update ---- */

/* What scontrol shows of the job. */
static struct run shown(const char *id)
{
    return run_as(NULL, "scontrol", "-o", "show", "job", id);
}

static void update_two(const char *id, const char *option, const char *more)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "update", id, option, more);
    cr_expect_eq(r.status, 0, "%s: %s", option, r.err);
    cr_expect_str_eq(r.err, "", "%s", option);
}

static void update(const char *id, const char *option)
{
    update_two(id, option, NULL);
}

static void expect_changed(const char *id, const char *option, const char *text)
{
    update(id, option);
    AUTO(run_free) struct run r = shown(id);
    cr_expect_contains(r.out, text);
}

/* Version 23.11 writes gres/gpu where earlier ones write gres:gpu. */
static void expect_gpus(const char *id, const char *option, const char *more, const char *front,
                        const char *rest)
{
    char old[80], now[80];
    snprintf(old, sizeof old, "%sgres:gpu%s", front, rest);
    snprintf(now, sizeof now, "%sgres/gpu%s", front, rest);
    update_two(id, option, more);
    AUTO(run_free) struct run r = shown(id);
    cr_expect(strstr(r.out, old) || strstr(r.out, now), "%s: no %s in %s", option, old, r.out);
}

Test(control_site, update_of_what_nodes_must_have)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold", "--time=60");
    expect_changed(id, "--cpus-per-task=2", "CPUs/Task=2 ");
    expect_changed(id, "--cpus=2-4", "NumCPUs=2-4 ");
    expect_changed(id, "--sockets-per-node=1", "Socks/Node=1 ");
    expect_changed(id, "--cores-per-socket=3", "ReqB:S:C:T=0:0:3:");
    expect_changed(id, "--threads-per-core=1", "ReqB:S:C:T=0:0:3:1 ");
    expect_changed(id, "--tmp=1G", "MinTmpDiskNode=1G ");
    expect_changed(id, "--delay-boot=5", "DelayBoot=00:05:00 ");
    expect_changed(id, "--time=+1:00:00", "TimeLimit=02:00:00 ");
    expect_changed(id, "--time=-110", "TimeLimit=00:10:00 ");
    update(id, "--reset-accrue-time");
    AUTO(run_free)
    struct run less = run_as(user_a(), "slurm-agent", "update", id, "--time=-10");
    cr_expect_eq(less.status, 2, "%s", less.err);
    cr_expect_contains(less.err, "has 10 minutes");
    cancel_quietly(user_a(), id);
}

Test(control_site, update_of_gpus)
{
    static const struct {
        const char *option, *clear, *front, *rest;
    } cases[] = {
        {"--gpus=2", "--gpus=", "TresPerJob=", ":2"},
        {"--gpus=tesla:1", "--gpus=", "TresPerJob=", ":tesla:1"},
        {"--gpus-per-node=1", "--gpus-per-node=", "TresPerNode=", ":1"},
        {"--gres=gpu:tesla:2", "--gres=", "TresPerNode=", ":tesla:2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(free) char *id = submit(user_a(), sleeper, "--hold");
        expect_gpus(id, cases[i].option, NULL, cases[i].front, cases[i].rest);
        update(id, cases[i].clear);
        AUTO(run_free) struct run r = shown(id);
        cr_expect_null(strstr(r.out, "gpu:"), "%s: %s", cases[i].clear, r.out);
        cancel_quietly(user_a(), id);
    }
}

Test(control_site, update_of_what_each_gpu_has)
{
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold", "--gpus=1");
    expect_gpus(id, "--cpus-per-gpu=2", "--gpus=1", "CpusPerTres=", ":2");
    expect_gpus(id, "--mem-per-gpu=100M", "--gpus=1", "MemPerTres=", ":100");
    cancel_quietly(user_a(), id);
}

/* 22.05's slurmctld checks them by what else is said at the same time, newer ones by what the job
 * has. */
Test(control_site, update_of_gpus_of_sockets_and_tasks)
{
    AUTO(free) char *sockets = submit(user_a(), sleeper, "--hold");
    expect_gpus(sockets, "--gpus-per-socket=2", "--sockets-per-node=1", "TresPerSocket=", ":2");
    AUTO(run_free)
    struct run alone = run_as(user_a(), "slurm-agent", "update", sockets, "--gpus-per-socket=1");
    if (alone.status == 0) {
        AUTO(run_free) struct run r = shown(sockets);
        cr_expect(strstr(r.out, "TresPerSocket=gres/gpu:1"), "%s", r.out);
    } else {
        cr_expect_eq(alone.status, 2, "%d %s", alone.status, alone.err);
        cr_expect_contains(alone.err, "--gpus-per-socket=1: Slurm: ");
    }
    cancel_quietly(user_a(), sockets);
    AUTO(free) char *tasks = submit(user_a(), sleeper, "--hold", "-n2");
    update_two(tasks, "--gpus-per-task=2", "--ntasks=2");
    expect_changed(tasks, "--gpu-bind=closest", "gpu:closest");
    expect_changed(tasks, "--gpu-freq=low", "TresFreq=gpu:low");
    cancel_quietly(user_a(), tasks);
}

Test(control_site, what_operators_alone_may_change_slurm_refuses)
{
    static const char *const options[] = {
        "--contiguous=yes",   "--core-spec=1", "--thread-spec=1",    "--ntasks-per-node=2",
        "--oversubscribe=no", "--reboot=yes",  "--deadline=now+1day"};
    AUTO(free) char *id = submit(user_a(), sleeper, "--hold");
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "update", id, options[i]);
        cr_expect_eq(r.status, 4, "%s: %d %s", options[i], r.status, r.err);
        cr_expect_contains(r.err, "permission denied");
    }
    must(run_as(NULL, "sacctmgr", "-i", "modify", "user", user_b(), "set", "adminlevel=admin"),
         "admin");
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "update", id, options[i]);
        cr_expect_neq(r.status, 4, "%s: %s", options[i], r.err);
    }
    must(run_as(NULL, "sacctmgr", "-i", "modify", "user", user_b(), "set", "adminlevel=none"),
         "no admin");
    AUTO(run_free) struct run r = shown(id);
    cr_expect_contains(r.out, "Contiguous=1 ");
    cr_expect_contains(r.out, "OverSubscribe=NO ");
    cancel_quietly(user_a(), id);
}

Test(control_site, each_job_that_is_updated_has_its_own_result)
{
    AUTO(free) char *one = submit(user_a(), sleeper, "--hold", "--time=10");
    AUTO(free) char *many = submit(user_a(), sleeper, "--hold", "--time=10", "--array=1-3");
    AUTO(free) char *none = submit(user_a(), sleeper, "--hold", "--time=UNLIMITED");
    AUTO(free) char *two = NULL;
    cr_assert_gt(asprintf(&two, "%s_2", many), 0);
    AUTO(run_free)
    struct run split = run_as(user_a(), "slurm-agent", "update", two, "--time=20");
    cr_expect_eq(split.status, 0, "%s", split.err);
    AUTO(run_free)
    struct run r =
        run_as(user_a(), "slurm-agent", "update", "--time=+5", "999999", many, none, one, two);
    cr_expect_eq(r.status, 3, "%s", r.err);
    cr_expect_contains(r.err, "999999: Slurm: ");
    cr_expect_contains(r.err, "each with its own limit");
    cr_expect_contains(r.err, "has no time limit");
    cr_expect_str_eq(job_field(user_a(), one, "time_limit"), "900");
    cr_expect_str_eq(job_field(user_a(), two, "time_limit"), "1500");
    cr_expect_str_eq(job_field(user_a(), none, "time_limit"), "-1");
    AUTO(run_free)
    struct run all = run_as(user_a(), "slurm-agent", "cancel", one, many, none);
    cr_expect_eq(all.status, 0, "%s", all.err);
}

/* ---- top ---- */

Test(control_site, top_puts_a_job_in_front_of_ones_others)
{
    AUTO(free) char *first = submit(user_a(), sleeper, "--begin=now+1hour");
    AUTO(free) char *second = submit(user_a(), sleeper, "--begin=now+1hour");
    AUTO(run_free) struct run not_mine = run_as(user_b(), "slurm-agent", "top", second);
    cr_expect_eq(not_mine.status, 4, "%d %s", not_mine.status, not_mine.err);
    cr_expect_contains(not_mine.err, "you may not do that (top)");
    must(run_as(user_a(), "slurm-agent", "top", second), "top");
    long before = strtol(job_field(user_a(), first, "priority"), NULL, 10),
         after = strtol(job_field(user_a(), second, "priority"), NULL, 10);
    cr_expect_gt(after, before);
    AUTO(run_free)
    struct run unknown = run_as(user_a(), "slurm-agent", "top", "999999", first);
    cr_expect_eq(unknown.status, 3, "%s", unknown.err);
    cr_expect_gt(strtol(job_field(user_a(), first, "priority"), NULL, 10),
                 strtol(job_field(user_a(), second, "priority"), NULL, 10));
    cancel_quietly(user_a(), first);
    cancel_quietly(user_a(), second);
}

/* ---- filters ---- */

static void expect_only(const char *filter, const char *chosen, const char *spared)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "cancel", filter);
    cr_expect_eq(r.status, 0, "%s: %s", filter, r.err);
    cr_expect_str_eq(job_field(user_a(), chosen, "state"), "CANCELLED", "%s", filter);
    cr_expect_str_eq(job_field(user_a(), spared, "state"), "PENDING", "%s", filter);
}

Test(control_site, a_reservation_chooses)
{
    must(run_as(NULL, "scontrol", "create", "reservation", "reservationname=choose",
                "starttime=now", "duration=1-0", "nodes=node2", "users=alice,bob"),
         "reservation");
    AUTO(free) char *in = submit(user_a(), sleeper, "--hold", "--reservation=choose");
    AUTO(free) char *out = submit(user_a(), sleeper, "--hold");
    AUTO(free) char *his = submit(user_b(), sleeper, "--hold", "--reservation=choose");
    expect_only("--reservation=choose", in, out);
    cr_expect_str_eq(job_field(user_b(), his, "state"), "PENDING");
    cancel_quietly(user_a(), out);
    cancel_quietly(user_b(), his);
    must(run_as(NULL, "scontrol", "delete", "reservationname=choose"), "reservation");
}

/* The default key has a star in front, in what slurmctld shows. */
Test(control_site, a_workload_key_chooses)
{
    /* they may be there: of a run before */
    run_status(run_as(NULL, "sacctmgr", "-i", "add", "user", user_a(), "wckey=key"));
    run_status(run_as(NULL, "sacctmgr", "-i", "add", "user", user_a(), "wckey=usual"));
    must(run_as(NULL, "sacctmgr", "-i", "modify", "user", user_a(), "set", "defaultwckey=usual"),
         "default wckey");
    AUTO(free) char *with = submit(user_a(), sleeper, "--hold", "--wckey=key");
    AUTO(free) char *without = submit(user_a(), sleeper, "--hold");
    AUTO(run_free) struct run r = shown(without);
    cr_expect_contains(r.out, "WCKey=*usual ");
    AUTO(free) char *third = submit(user_a(), sleeper, "--hold", "--wckey=key");
    expect_only("--wckey=key", with, without);
    cr_expect_str_eq(job_field(user_a(), third, "state"), "CANCELLED");
    AUTO(free) char *other = submit(user_a(), sleeper, "--hold", "--wckey=key");
    expect_only("--wckey=usual", without, other);
    cancel_quietly(user_a(), other);
}

/* ---- more than one page ---- */

static bool none_waits(void *name)
{
    AUTO(run_free) struct run r = run_as(NULL, "squeue", "-h", "-t", "PD", "-n", name);
    return r.status == 0 && !*r.out;
}

static int count_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* Jobs of their own, not tasks: a page has a thousand of them. */
Test(control_site, a_filter_fits_more_jobs_than_one_page)
{
    char command[400];
    snprintf(command, sizeof command,
             "cd && seq %d | xargs -P 8 -I{} sbatch -Q -H -J crowd -o /dev/null --wrap true",
             AT_ONCE);
    for (int made = 0; made < MANY; made += AT_ONCE)
        must(run_as(user_a(), "sh", "-c", command), "sbatch");
    must(run_as(user_b(), "sh", "-c", "cd && sbatch -Q -H -J crowd -o /dev/null --wrap true"),
         "sbatch");
    AUTO(run_free)
    struct run q = run_as(NULL, "squeue", "-h", "-t", "PD", "-n", "crowd", "-u", user_a());
    cr_assert_eq(count_lines(q.out), MANY);
    must(run_as(user_a(), "slurm-agent", "hold", "--name=crowd", "--account=acc", "-Q"), "hold");
    must(run_as(user_a(), "slurm-agent", "cancel", "--name=crowd"), "cancel");
    AUTO(run_free) struct run left = run_as(NULL, "squeue", "-h", "-t", "PD", "-n", "crowd");
    cr_expect_eq(count_lines(left.out), 1, "bob's is left: %s", left.out);
    must(run_as(user_b(), "slurm-agent", "cancel", "--name=crowd"), "cancel");
    static char crowd[] = "crowd";
    cr_expect(wait_until(none_waits, crowd, SOON_MS));
}
