/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Administrators: alice is one, daemon may read statistics, bob may neither */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/slurmagent_admin.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"
#include "tests/kit/stats.h"

TestSuite(admin, .timeout = 120);

static double series(const char *name, const char *labels)
{
    return stats_series(user_a(), name, labels);
}

static double since(double before, double now)
{
    return now - (before < 0 ? 0 : before);
}

static void expect_denied(const char *user, const char *verb, const char *arg, const char *words)
{
    AUTO(run_free) struct run r = run_as(user, "slurm-agent", "admin", verb, arg);
    cr_expect_eq(r.status, 4, "admin %s as %s: %d %s", verb, user, r.status, r.err);
    cr_expect_contains(r.err, words);
    cr_expect_str_eq(r.out, "");
}

Test(admin, others_are_refused_each_of_it)
{
    expect_denied(user_b(), "stats", NULL, "stats_users or admins");
    static const char *const verbs[] = {"limits", "sessions", "drain", "resume", "reload"};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        expect_denied(user_b(), verbs[i], NULL, "user bob is not in admins of agentd.conf");
        expect_denied("daemon", verbs[i], NULL, "user daemon is not in admins of agentd.conf");
    }
    expect_denied(user_b(), "drop", "alice", "not in admins");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "ping", "--json");
    cr_expect_null(strstr(r.out, "draining\": true"), "%s", r.out);
}

/* Below min_uid, and without a shell: it has a session, and nothing that Slurm would be asked. */
Test(admin, who_may_read_statistics_has_no_jobs)
{
    json_t *j = stats_admin("daemon", "stats", NULL);
    cr_expect_gt(json_array_size(json_object_get(j, "families")), 20);
    json_decref(j);
    static const char *const commands[][4] = {
        {"submit", "--wrap", "true", NULL}, {"list", NULL}, {"get", "1", NULL}, {"info", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const char *const *c = commands[i];
        AUTO(run_free) struct run r = run_as("daemon", "slurm-agent", c[0], c[1], c[2]);
        cr_expect_eq(r.status, 4, "%s: %d %s", c[0], r.status, r.err);
        cr_expect_contains(r.err, "uids below 1000 are not served");
    }
    cr_expect_eq(run_status(run_as("daemon", "slurm-agent", "ping")), 0);
}

Test(admin, root_is_one_on_the_servers_own_host)
{
    const char *ipc = getenv("SLURM_AGENT_IPC");
    AUTO(run_free)
    struct run here = run_as(NULL, "slurm-agent", "--server", ipc, "admin", "sessions");
    cr_expect_eq(here.status, 0, "%s", here.err);
    cr_expect_contains(here.out, "root");
    AUTO(run_free)
    struct run job = run_as(NULL, "slurm-agent", "--server", ipc, "submit", "--wrap", "true");
    cr_expect_eq(job.status, 4);
    cr_expect_contains(job.err, "root is not served");
    AUTO(run_free) struct run there = run_as(NULL, "slurm-agent", "admin", "sessions");
    cr_expect_eq(there.status, 4, "by tcp it may be root of any host: %s", there.out);
    cr_expect_contains(there.err, ipc);
}

Test(admin, what_is_counted_is_what_was_done)
{
    double submits = series("submits_total", "state=SUBMITTED");
    double gets = series("requests_total", "op=job.get,result=OK");
    double missing = series("requests_total", "op=job.script,result=NOT_FOUND");
    double saved = series("memory_answers_total", "op=job.get");
    double worker = series("worker_calls_total", "op=submit,role=control,result=OK");
    double took = series("request_duration_seconds", "op=job.get");
    double rows = series("journal_rows_total", ""), hellos = series("hellos_total", "result=OK");
    AUTO(free) char *id = submit(user_b(), "#!/bin/sh\ntrue\n", "--hold");
    for (int i = 0; i < 3; i++)
        cr_expect_eq(run_status(run_as(user_b(), "slurm-agent", "get", id)), 0);
    cr_expect_neq(run_status(run_as(user_b(), "slurm-agent", "script", "999999")), 0);
    cr_expect_eq(since(submits, series("submits_total", "state=SUBMITTED")), 1);
    cr_expect_eq(since(gets, series("requests_total", "op=job.get,result=OK")), 3);
    cr_expect_eq(since(missing, series("requests_total", "op=job.script,result=NOT_FOUND")), 1);
    double answers = since(saved, series("memory_answers_total", "op=job.get"));
    cr_expect_eq(answers, 3, "%g", answers);
    cr_expect_eq(since(worker, series("worker_calls_total", "op=submit,role=control,result=OK")),
                 1);
    cr_expect_eq(since(took, series("request_duration_seconds", "op=job.get")), 3);
    cr_expect_geq(since(rows, series("journal_rows_total", "")), 1);
    cr_expect_geq(since(hellos, series("hellos_total", "result=OK")), 5);
    cr_expect_eq(series("slurmctld_up", ""), 1);
    cr_expect_geq(series("table_jobs", ""), 1);
    cr_expect_geq(series("worker_calls_total", "op=load,role=watch,result=OK"), 1);
    cr_expect_gt(series("broker_resident_memory_bytes", ""), 1e6);
    cancel_quietly(user_b(), id);
}

Test(admin, limits_show_caps_and_who_uses_most)
{
    struct peer p;
    json_t *j, *row, *found = NULL;
    size_t i;
    peer_begin(&p, user_a()); /* and this process is alice from now on */
    j = stats_admin(user_a(), "limits", NULL);
    json_array_foreach(json_object_get(j, "limits"), i, row)
    {
        cr_expect_gt(json_integer_value(json_object_get(row, "max")), 0);
        cr_expect_leq(json_integer_value(json_object_get(row, "used")),
                      json_integer_value(json_object_get(row, "max")));
        if (strcmp(json_string_value(json_object_get(row, "name")), "max_sessions_per_user") == 0)
            found = row;
    }
    cr_assert_not_null(found);
    cr_expect_geq(json_integer_value(json_object_get(found, "used")), 2);
    cr_expect_eq(json_integer_value(json_object_get(found, "max")), 2000);
    cr_expect_str_eq(json_string_value(json_object_get(found, "who")), "alice");
    json_decref(j);
    peer_close(&p);
}

/* How many sessions bob has, as alice is told. */
static long long sessions_of_b(void)
{
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "admin", "--json", "sessions", user_b());
    if (r.status == 3) /* NOT_FOUND */
        return 0;
    json_t *j = json_loads(r.out, 0, NULL);
    long long n = (long long)json_array_size(json_object_get(j, "sessions"));
    json_decref(j);
    return n;
}

static bool b_is_there(void *arg)
{
    (void)arg;
    return sessions_of_b() > 0;
}

static bool b_has_gone(void *arg)
{
    (void)arg;
    return sessions_of_b() == 0;
}

/* bob waits for a job; his session is ended; he hears of the job's end all the same. */
Test(admin, a_dropped_session_is_a_new_one_at_the_next_call)
{
    AUTO(free) char *id = submit(user_b(), "#!/bin/sh\ntrue\n", "--hold");
    struct running *w = run_begin(user_b(), "slurm-agent", "wait", id);
    cr_assert(wait_until(b_is_there, NULL, 20000));
    double before = series("sessions_dropped_total", "");
    json_t *j = stats_admin(user_a(), "drop", user_b());
    cr_expect_eq(json_integer_value(json_object_get(j, "sessions")), 1);
    json_decref(j);
    cr_expect_eq(since(before, series("sessions_dropped_total", "")), 1);
    cr_expect(wait_until(b_is_there, NULL, 20000), "it comes again by itself");
    cr_expect(run_goes_on(w, 0, NULL), "and waits");
    cr_expect_eq(run_status(run_as(user_b(), "slurm-agent", "release", id)), 0);
    struct run r = run_end(w);
    cr_expect_eq(r.status, 0, "%s%s", r.out, r.err);
    run_free(&r);
    cr_expect(wait_until(b_has_gone, NULL, 20000));
    AUTO(run_free) struct run none = run_as(user_a(), "slurm-agent", "admin", "drop", user_b());
    cr_expect_eq(none.status, 3, "%s", none.err);
    cr_expect_contains(none.err, "bob has no session here");
}

Test(admin, ones_own_session_can_be_dropped)
{
    json_t *j = stats_admin(user_a(), "drop", user_a());
    cr_expect_geq(json_integer_value(json_object_get(j, "sessions")), 1);
    json_decref(j);
}

static bool submit_is(void *arg)
{
    return run_status(run_as(user_b(), "slurm-agent", "submit", "--test-only", "--wrap", "true")) ==
           *(int *)arg;
}

Test(admin, a_drained_server_takes_no_submits_whichever_broker_it_is)
{
    int busy = 7, fine = 0;
    json_t *j = stats_admin(user_a(), "drain", NULL);
    cr_expect_eq(json_integer_value(json_object_get(j, "submits")), 0);
    json_decref(j);
    AUTO(run_free)
    struct run r = run_as(user_b(), "slurm-agent", "submit", "--wrap", "true");
    cr_expect_eq(r.status, 7, "%d %s", r.status, r.err);
    cr_expect_contains(r.err, "takes no new submits");
    cr_expect_eq(series("draining", ""), 1);
    kill_agentd_child("agent-broker");
    cr_expect(wait_until(b_has_gone, NULL, 20000));
    cr_expect(wait_until(submit_is, &busy, 20000), "the next broker drains as well");
    cr_expect_eq(series("draining", ""), 1);
    json_decref(stats_admin(user_a(), "resume", NULL));
    cr_expect(wait_until(submit_is, &fine, 20000));
}

static void set_in_conf(const char *line)
{
    AUTO(free) char *path = NULL, *command = NULL;
    cr_assert_gt(asprintf(&path, "%s/etc/agentd.conf", sandbox_dir()), 0);
    cr_assert_gt(
        asprintf(&command, "sed -i '/^max_held =/d' %s && echo '%s' >>%s", path, line, path), 0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", command)), 0);
}

static int64_t reload(struct run *ret)
{
    *ret = run_as(user_a(), "slurm-agent", "admin", "--json", "reload");
    json_t *j = json_loads(ret->out, 0, NULL);
    int64_t changed = j ? json_integer_value(json_object_get(j, "changed")) : -1;
    json_decref(j);
    return changed;
}

/* Between two brokers nobody answers. */
static bool held_cap_is(void *arg)
{
    AUTO(run_free) struct run ping = run_as(user_a(), "slurm-agent", "ping");
    return ping.status == 0 && series("limit_max", "setting=max_held") == *(double *)arg;
}

/* The monitor reads the file at most once a second. */
static bool reload_is_taken(void *arg)
{
    struct run *r = arg;
    run_free(r);
    reload(r);
    return r->status != 7;
}

Test(admin, a_reload_says_what_it_did_and_a_bad_file_changes_nothing)
{
    double cap = 4321, before = series("broker_start_time_seconds", "");
    struct run r = {0};
    set_in_conf("max_held = 4321");
    cr_assert(wait_until(reload_is_taken, &r, 20000));
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_contains(r.out, "\"changed\": 1");
    cr_expect(wait_until(held_cap_is, &cap, 20000), "the next broker has it");
    cr_expect_geq(series("broker_start_time_seconds", ""), before);
    set_in_conf("max_held = many");
    cr_assert(wait_until(reload_is_taken, &r, 20000));
    cr_expect_eq(r.status, 2, "%d %s", r.status, r.err);
    cr_expect_contains(r.err, "max_held");
    cr_expect_eq(series("limit_max", "setting=max_held"), 4321);
    set_in_conf("max_held = 16000");
    cr_assert(wait_until(reload_is_taken, &r, 20000));
    cr_expect_eq(r.status, 0, "%s", r.err);
    cap = 16000;
    cr_expect(wait_until(held_cap_is, &cap, 20000));
    run_free(&r);
}

/* Who did it, from where, with what outcome, to what, by which request. */
Test(admin, what_is_done_has_its_line_in_the_log)
{
    char id[33];
    snprintf(id, sizeof id, "%016llx%016llx", (long long)clock_mono_us(), (long long)getpid());
    AUTO(free) char *path = NULL, *submitted = NULL;
    AUTO(run_free)
    struct run r =
        run_as(user_b(), "slurm-agent", "submit", "--hold", "--request-id", id, "--wrap", "true");
    cr_assert_eq(r.status, 0, "%s", r.err);
    AUTO(free) char *job = strdup(request_field(user_b(), id, "job_id"));
    json_decref(stats_admin(user_a(), "drain", NULL));
    json_decref(stats_admin(user_a(), "resume", NULL));
    cr_expect_eq(run_status(run_as(user_b(), "slurm-agent", "admin", "drain")), 4);
    cancel_quietly(user_b(), job);
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    cr_assert_gt(asprintf(&submitted, "op=job.submit job=%s from=127.0.0.1 code=OK ms=", job), 0);
    AUTO(free) char *log = slurp(path);
    cr_assert_not_null(log);
    cr_expect_eq(lines_with(log, submitted, id), 1, "%s", log);
    cr_expect_geq(lines_with(log, submitted, " user=bob host=127.0.0.1 call="), 1, "%s", log);
    cr_expect_geq(lines_with(log, "op=admin.drain target=server from=127.0.0.1 code=OK",
                             " user=alice host=127.0.0.1 call="),
                  1, "%s", log);
    cr_expect_geq(lines_with(log, "op=admin.drain from=127.0.0.1 code=DENIED", "user=bob"), 1, "%s",
                  log);
    char verb[80];
    snprintf(verb, sizeof verb, "op=job.control verb=cancel job=%s from=", job);
    cr_expect_geq(lines_with(log, verb, "user=bob"), 1, "%s", log);
}

/* As a server of before would: the operation is not known to it. */
Test(admin, what_a_server_does_not_know_it_says)
{
    struct peer p;
    peer_begin(&p, user_a());
    cr_expect_eq(peer_code(peer_call(&p, (enum op_number)79, PEER_EMPTY)), ERR_UNSUPPORTED);
    peer_expect_alive(&p);
    peer_close(&p);
}
