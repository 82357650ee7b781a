/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is known of jobs that slurmctld has forgotten (minjobage=2): from the journal, and in the
 * sandbox of suite history_dbd from slurmdbd */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(history, .timeout = 200);
TestSuite(history_private, .timeout = 200);
TestSuite(history_dbd, .timeout = 200);

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)

enum { PURGE_MS = 40000, PLAIN_HEAD = 4 /* bytes before the body of a reply */ };

static bool forgotten(void *arg)
{
    return strcmp(job_field(user_a(), arg, "source"), "journal") == 0;
}

static void wait_forgotten(const char *id)
{
    cr_assert(wait_until(forgotten, (void *)id, PURGE_MS), "job %s: source '%s'", id,
              job_field(user_a(), id, "source"));
}

static char *format(const char *fmt, const char *id)
{
    char *text = NULL;
    size_t n = strlen(fmt) + strlen(id);
    text = malloc(n + 1);
    cr_assert_not_null(text);
    const char *at = strchr(fmt, '@');
    snprintf(text, n + 1, "%.*s%s%s", (int)(at - fmt), fmt, id, at + 1);
    return text;
}

/* ---- lists, through the library ---- */

static struct sagent *open_as(const char *user)
{
    struct sagent *s = NULL;
    struct sagent_error err;
    become(user);
    cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
    return s;
}

static struct sagent_jobs *list(struct sagent *s, const struct sagent_list_filter *f)
{
    struct sagent_jobs *jobs = NULL;
    struct sagent_error err;
    cr_assert_eq(sagent_list(s, f, &jobs, &err), 0, "%s", err.text);
    return jobs;
}

static int count(const struct sagent_jobs *jobs, const char *id)
{
    int n = 0;
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        n += strcmp(sagent_jobs_at(jobs, i)->id, id) == 0;
    return n;
}

/* ---- get ---- */

Test(history, a_forgotten_job_keeps_its_end)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexit 7\n", "--job-name=seven");
    wait_state(user_a(), id, "FAILED");
    wait_forgotten(id);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "FAILED");
    cr_expect_str_eq(job_field(user_a(), id, "phase"), "FAILED");
    cr_expect_str_eq(job_field(user_a(), id, "exit_code"), "7");
    cr_expect_str_eq(job_field(user_a(), id, "name"), "seven");
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 7, "%d %s%s", w.status, w.out, w.err);
    AUTO(run_free) struct run other = run_as(user_b(), "slurm-agent", "get", id);
    cr_expect_eq(other.status, 0, "no PrivateData: everybody may see it: %s", other.err);
    AUTO(run_free) struct run both = run_as(user_a(), "slurm-agent", "get", id, "999999");
    cr_expect_eq(both.status, 3, "%s", both.err);
    cr_expect_contains(both.err, "999999");
    sandbox("stop", "agentd");
    sandbox("start", "agentd");
    cr_expect_str_eq(job_field(user_a(), id, "exit_code"), "7", "a restart forgets nothing");
    cr_expect_str_eq(job_field(user_a(), id, "source"), "journal");
}

static bool is_there(void *path)
{
    return access(path, F_OK) == 0;
}

Test(history, a_cancelled_job_keeps_its_exit_status)
{
    AUTO(free) char *set = NULL, *script = NULL;
    cr_assert_gt(asprintf(&set, "%s/trap-is-set", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&script,
                          "#!/bin/sh\ntrap 'sleep 0.3; exit 3' TERM\n: >%s\nsleep 100 &\nwait\n",
                          set),
                 0);
    AUTO(free) char *id = submit(user_a(), script);
    cr_assert(wait_until(is_there, set, 40000), "RUNNING is said before the script runs");
    cancel_quietly(user_a(), id);
    wait_forgotten(id);
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(w.status, 3, "%d %s%s", w.status, w.out, w.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED");
    cr_expect_str_eq(job_field(user_a(), id, "source"), "journal");
}

Test(history, an_array_is_its_tasks_from_wherever_they_are_known)
{
    AUTO(free)
    char *id = submit(user_a(),
                      "#!/bin/sh\n[ $SLURM_ARRAY_TASK_ID = 3 ] && sleep 100\n"
                      "exit $SLURM_ARRAY_TASK_ID\n",
                      "--array=1-3");
    AUTO(free) char *first = format("@_1", id);
    AUTO(free) char *third = format("@_3", id);
    wait_state(user_a(), first, "FAILED");
    wait_forgotten(first);
    cr_expect_str_neq(job_field(user_a(), third, "source"), "journal", "slurmctld has it");
    cr_expect_str_eq(job_field(user_a(), third, "state"), "RUNNING");
    json_t *all = NULL;
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", id);
    all = json_loads(r.out, 0, NULL);
    cr_assert_not_null(all, "%s%s", r.out, r.err);
    cr_expect_eq(json_array_size(json_object_get(all, "jobs")), 3, "%s", r.out);
    json_decref(all);
    cancel_quietly(user_a(), id);
    wait_state(user_a(), third, "CANCELLED");
    wait_forgotten(third);
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_contains(w.out, first);
    cr_expect_contains(w.out, third);
}

static bool knows_while_down(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", arg);
    return r.status == 0 && strstr(r.out, "\"stale\": true") && strstr(r.out, "\"journal\"");
}

/* A task that slurmctld has forgotten may have failed. */
/* By sbatch: of an agent's own job it is not known whether its outputs are to be stored. */
Test(history, an_array_without_its_history_did_not_succeed)
{
    AUTO(free) char *go = NULL, *script = NULL, *file = NULL, *away = NULL;
    cr_assert_gt(asprintf(&go, "%s/go", scratch(user_a())), 0);
    cr_assert_gt(
        asprintf(&script,
                 "#!/bin/sh\n[ $SLURM_ARRAY_TASK_ID = 2 ] || exit 7\ni=0\nwhile [ ! -e %s ] "
                 "&& [ $i -lt 1200 ]; do sleep 0.1; i=$((i+1)); done\n",
                 go),
        0);
    AUTO(free) char *path = scratch_file(user_a(), "array.sh", script);
    AUTO(run_free)
    struct run sbatch = run_as(
        user_a(), "sh", "-c", "cd && exec sbatch --parsable -o /dev/null --array=1-2 \"$0\"", path);
    cr_assert_eq(sbatch.status, 0, "%s", sbatch.err);
    AUTO(free) char *id = strndup(sbatch.out, strcspn(sbatch.out, "\n"));
    AUTO(free) char *first = format("@_1", id), *second = format("@_2", id);
    wait_state(user_a(), second, "RUNNING");
    wait_state(user_a(), first, "FAILED");
    wait_forgotten(first);
    cr_assert_gt(asprintf(&file, "%s/state/agentd/journal.db", sandbox_dir()), 0);
    cr_assert_gt(asprintf(&away, "%s.away", file), 0);
    sandbox("stop", "agentd");
    cr_assert_eq(run_status(run_as(NULL, "mv", file, away)), 0);
    cr_assert_eq(run_status(run_as("slurm-agent", "cp", "/etc/passwd", file)), 0);
    sandbox("start", "agentd");
    free(scratch_file(user_a(), "go", ""));
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", id);
    sandbox("stop", "agentd");
    cr_expect_eq(run_status(run_as(NULL, "mv", away, file)), 0);
    sandbox("start", "agentd");
    cr_expect_eq(w.status, 3, "%d %s%s", w.status, w.out, w.err);
    cr_expect_contains(w.err, id);
    AUTO(run_free) struct run known = run_as(user_a(), "slurm-agent", "wait", id);
    cr_expect_eq(known.status, 7, "%d %s%s", known.status, known.out, known.err);
}

Test(history, ended_jobs_are_known_while_slurmctld_is_down)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexit 4\n");
    wait_state(user_a(), id, "FAILED");
    wait_forgotten(id);
    sandbox("stop", "slurmctld");
    bool known = wait_until(knows_while_down, id, PURGE_MS);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", id);
    sandbox("start", "slurmctld");
    cr_expect(known, "%s%s", r.out, r.err);
}

/* ---- list ---- */

static const char sbatch_two[] = "cd && for i in 1 2; do sbatch --parsable -J then -o /dev/null "
                                 "--wrap 'exit 2' || exit 1; done";

static const char sbatch_unseen[] =
    "cd && sbatch --parsable -J unseen -o /dev/null --wrap 'exit 2'";

Test(history, a_list_with_since_has_each_job_once)
{
    int64_t begun = clock_now();
    char name[40], option[60];
    snprintf(name, sizeof name, "listed-%d", (int)getpid());
    snprintf(option, sizeof option, "--job-name=%s", name);
    AUTO(free) char *gone = submit(user_a(), "#!/bin/sh\ntrue\n", option);
    wait_state(user_a(), gone, "COMPLETED");
    wait_forgotten(gone);
    AUTO(free) char *held = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", option);
    AUTO(free) char *fresh = submit(user_a(), "#!/bin/sh\ntrue\n", option);
    AUTO(free)
    char *theirs = submit(user_b(), "#!/bin/sh\ntrue\n", option, "--output=/dev/null");
    wait_state(user_a(), fresh, "COMPLETED");
    wait_state(user_b(), theirs, "COMPLETED");
    AUTO(sagent_close) struct sagent *s = open_as(user_a());
    struct sagent_list_filter f = {.name = name, .since = begun};
    for (int64_t until = clock_mono_ms() + 20000; clock_mono_ms() < until;) {
        /* slurmctld forgets fresh meanwhile */
        AUTO(sagent_jobs_free) struct sagent_jobs *jobs = list(s, &f);
        cr_assert_eq(count(jobs, gone), 1);
        cr_assert_eq(count(jobs, held), 1);
        cr_assert_eq(count(jobs, fresh), 1, "%d times", count(jobs, fresh));
        cr_assert_eq(count(jobs, theirs), 0);
        cr_assert_eq(sagent_jobs_count(jobs), 3, "%zu", sagent_jobs_count(jobs));
    }
    f.max_jobs = 2;
    AUTO(sagent_jobs_free) struct sagent_jobs *cut = list(s, &f);
    cr_expect_eq(sagent_jobs_count(cut), 2);
    cr_expect(sagent_jobs_truncated(cut));
    f.max_jobs = 0;
    f.all_users = true;
    AUTO(sagent_jobs_free) struct sagent_jobs *all = list(s, &f);
    cr_expect_eq(count(all, theirs), 1);
    f.since = clock_now() + 1000;
    AUTO(sagent_jobs_free) struct sagent_jobs *later = list(s, &f);
    cr_expect_eq(sagent_jobs_count(later), 1, "what has not ended is always there");
    cr_expect_eq(count(later, held), 1);
    f.since = begun;
    const char *failed = "FAILED";
    f.states = &failed;
    f.state_count = 1;
    AUTO(sagent_jobs_free) struct sagent_jobs *none = list(s, &f);
    cr_expect_eq(sagent_jobs_count(none), 0);
    cancel_quietly(user_a(), held);
}

/* Adds the ids of one page to seen.  Gives whether it is as fresh as it should be. */
static bool add_page(struct peer *p, struct list_request *req, char *seen, size_t size)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r;
    struct err err = {0};
    msg_pack(&list_request_type, req, out);
    struct bytes plain = peer_call(p, OP_job_list, wire_out_bytes(out));
    if (!plain.p && peer_began_anew(p))
        plain = peer_call(p, OP_job_list, wire_out_bytes(out));
    cr_assert_gt(plain.n, PLAIN_HEAD, "no answer");
    cr_assert_eq(plain.p[0] << 8 | plain.p[1], ERR_NONE);
    struct bytes body = {plain.p + PLAIN_HEAD, plain.n - PLAIN_HEAD};
    cr_assert_eq(msg_unpack(&jobs_reply_type, body, &arena, MSG_LENIENT, &r, &err), 0, "%s",
                 err.text);
    for (size_t i = 0; i < r.jobs.n; i++) {
        struct job j;
        size_t n = strlen(seen);
        cr_assert_eq(msg_unpack(&job_type, r.jobs.v[i], &arena, MSG_LENIENT, &j, &err), 0);
        snprintf(seen + n, size - n, "%s ", j.id);
    }
    req->after = r.next;
    req->after_ended = r.next_ended;
    free((void *)plain.p);
    return !r.stale;
}

static int times(const char *text, const char *id)
{
    AUTO(free) char *word = format("@ ", id);
    int n = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        n += at == text || at[-1] == ' ';
    return n;
}

Test(history, pages_lose_and_double_nothing_while_jobs_end_and_are_forgotten)
{
    enum { JOBS = 12 };
    int passes = 0;
    char *ids[JOBS], name[40], option[60];
    int64_t begun = clock_now();
    snprintf(name, sizeof name, "paged-%d", (int)getpid());
    snprintf(option, sizeof option, "--job-name=%s", name);
    for (int i = 0; i < JOBS; i++) {
        char script[60];
        snprintf(script, sizeof script, "#!/bin/sh\nsleep %d\n", i);
        ids[i] = submit(user_a(), script, option);
    }
    struct peer p;
    become(user_a());
    peer_connect(&p);
    peer_login(&p);
    for (int64_t until = clock_mono_ms() + 30000; clock_mono_ms() < until;) {
        struct list_request req = {.since = begun, .name = name, .limit = 1};
        char seen[2000] = "";
        int pages = 0;
        bool fresh = true;
        do
            fresh &= add_page(&p, &req, seen, sizeof seen);
        while ((req.after || req.after_ended) && ++pages < 100);
        cr_assert_lt(pages, 100, "it does not end: %s", seen);
        passes += fresh;
        for (int i = 0; fresh && i < JOBS; i++)
            cr_assert_eq(times(seen, ids[i]), 1, "%s: %s", ids[i], seen);
    }
    cr_expect_gt(passes, 20);
    for (int i = 0; i < JOBS; i++)
        free(ids[i]);
    peer_close(&p);
}

/* slurmctld has no record of the job. */
static bool slurmctld_forgot(void *arg)
{
    return run_status(run_as(user_a(), "scontrol", "show", "job", arg)) != 0;
}

/* ---- what ends while no broker runs ---- */

/* A job that fails with 4, an array of which one task has ended and one fails with 5, and one of
 * which all tasks are held and fail with their numbers: all of it ends unseen. */
struct unseen {
    char *job, *array, *waiting;
    int64_t begun;
    struct running *watch;
};

static struct unseen end_unseen(void)
{
    struct unseen u = {.begun = clock_now()};
    char name[40];
    snprintf(name, sizeof name, "unseen-%d", (int)getpid());
    AUTO(free)
    char *job = format("#!/bin/sh\nuntil [ -e @ ]; do sleep 0.2; done\nexit 4\n", name);
    AUTO(free)
    char *task = format("#!/bin/sh\n[ $SLURM_ARRAY_TASK_ID = 1 ] && exit 0\n"
                        "until [ -e @ ]; do sleep 0.2; done\nexit 5\n",
                        name);
    u.job = submit(user_a(), job, "--job-name=unseen");
    u.array = submit(user_a(), task, "--array=1-2", "--job-name=unseen");
    u.waiting = submit(user_a(), "#!/bin/sh\nexit $SLURM_ARRAY_TASK_ID\n", "--array=6-8", "--hold",
                       "--job-name=unseen");
    AUTO(free) char *first = format("@_1", u.array), *second = format("@_2", u.array);
    wait_state(user_a(), first, "COMPLETED");
    u.watch = run_begin(user_a(), "slurm-agent", "watch", "--json", "--name=unseen", "--snapshot");
    cr_assert(run_says(u.watch, second), "it is watched");
    sandbox("stop", "agentd");
    free(scratch_file(user_a(), name, ""));
    bool released = run_status(run_as(user_a(), "scontrol", "release", u.waiting)) == 0;
    bool gone = wait_until(slurmctld_forgot, u.job, PURGE_MS) &&
                wait_until(slurmctld_forgot, u.array, PURGE_MS) &&
                wait_until(slurmctld_forgot, u.waiting, PURGE_MS);
    sandbox("start", "agentd");
    cr_assert(released && gone);
    return u;
}

static void unseen_free(struct unseen *u)
{
    free(u->job);
    free(u->array);
    free(u->waiting);
}

/* How many lines of the watch are about the end of that job. */
static int ends_of(const char *out, const char *id)
{
    char lost[120], end[120];
    snprintf(lost, sizeof lost, "\"id\":\"%s\"", id);
    snprintf(end, sizeof end, "\"what\":\"end\"");
    return lines_with(out, lost, "\"what\":\"lost\"") + lines_with(out, lost, end);
}

static void expect_told_once(struct unseen *u)
{
    AUTO(free) char *second = format("@_2", u->array);
    AUTO(free) char *eighth = format("@_8", u->waiting);
    char last[100];
    snprintf(last, sizeof last, "\"id\":\"%s\"", eighth);
    struct run so_far = {0};
    int64_t deadline = clock_mono_ms() + 40000;
    do
        cr_assert(run_goes_on(u->watch, 500, &so_far), "%s", so_far.err);
    while (ends_of(so_far.out, eighth) == 0 && clock_mono_ms() < deadline);
    run_goes_on(u->watch, 2000, &so_far);
    cr_expect_eq(ends_of(so_far.out, u->job), 1, "%s", so_far.out);
    cr_expect_eq(ends_of(so_far.out, second), 1, "%s", so_far.out);
    cr_expect_eq(ends_of(so_far.out, eighth), 1, "%s", so_far.out);
    run_signal(u->watch, 2);
    run_status(run_end(u->watch));
}

Test(history, what_ends_while_no_broker_runs_is_told_as_unknown)
{
    struct unseen u = end_unseen();
    expect_told_once(&u);
    AUTO(free) char *eighth = format("@_8", u.waiting);
    cr_expect_str_eq(job_field(user_a(), u.job, "phase"), "UNKNOWN");
    cr_expect_str_neq(job_field(user_a(), u.job, "outcome"), "");
    cr_expect_str_eq(job_field(user_a(), eighth, "phase"), "UNKNOWN");
    const char *const all[] = {u.job, u.array, u.waiting};
    for (size_t i = 0; i < 3; i++) {
        AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "wait", all[i]);
        cr_expect_eq(r.status, 3, "%s: %d %s%s", all[i], r.status, r.out, r.err);
    }
    AUTO(run_free) struct run watch = run_as(user_a(), "slurm-agent", "watch", u.job);
    cr_expect_eq(watch.status, 3, "%d %s%s", watch.status, watch.out, watch.err);
    cr_expect_contains(watch.out, "UNKNOWN");
    AUTO(sagent_close) struct sagent *s = open_as(user_a());
    struct sagent_list_filter f = {.name = "unseen", .since = u.begun};
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = list(s, &f);
    cr_expect_eq(count(jobs, u.job), 1);
    cr_expect_eq(count(jobs, eighth), 1);
    cr_expect_eq(sagent_jobs_count(jobs), 6);
    unseen_free(&u);
}

/* ---- PrivateData=jobs ---- */

Test(history_private, the_journal_shows_ones_own_jobs_alone)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexit 7\n", "--job-name=secret");
    wait_state(user_a(), id, "FAILED");
    wait_forgotten(id);
    cr_expect_str_eq(job_field(user_a(), id, "exit_code"), "7");
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "get", id);
    cr_expect_eq(r.status, 3, "%s%s", r.out, r.err);
    AUTO(sagent_close) struct sagent *s = open_as(user_b());
    struct sagent_list_filter f = {.all_users = true, .name = "secret", .since = 1};
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = list(s, &f);
    cr_expect_eq(sagent_jobs_count(jobs), 0);
}

Test(history_private, nobody_is_told_when_others_jobs_change)
{
    AUTO(free) char *hers = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    AUTO(free) char *his = submit(user_b(), "#!/bin/sh\ntrue\n", "--hold");
    struct running *wait = run_begin(user_b(), "slurm-agent", "wait", "--until=change", hers, his);
    cr_expect(run_goes_on(wait, 2000, NULL));
    struct running *own = run_begin(user_a(), "slurm-agent", "wait", "--until=change", hers);
    cr_expect(run_goes_on(own, 1000, NULL));
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "cancel", hers)), 0);
    cr_expect_eq(run_status(run_end(own)), 0, "she is told");
    cr_expect(run_goes_on(wait, 1500, NULL), "he is not");
    cr_expect_eq(run_status(run_as(user_b(), "slurm-agent", "cancel", his)), 0);
    AUTO(run_free) struct run end = run_end(wait);
    cr_expect_contains(end.out, his);
}

/* ---- slurmdbd ---- */

static bool dbd_has(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", arg);
    return r.status == 0 && strstr(r.out, "slurmdbd");
}

Test(history_dbd, what_ended_while_the_server_was_down)
{
    sandbox("stop", "agentd");
    AUTO(run_free) struct run r = run_as(user_a(), "sh", "-c", sbatch_two);
    cr_assert_eq(r.status, 0, "%s", r.err);
    char *second = strchr(r.out, '\n');
    cr_assert_not_null(second);
    *second++ = '\0';
    second[strcspn(second, "\n")] = '\0';
    bool gone = wait_until(slurmctld_forgot, r.out, PURGE_MS) &&
                wait_until(slurmctld_forgot, second, PURGE_MS);
    sandbox("start", "agentd");
    cr_assert(gone);
    cr_expect(wait_until(dbd_has, r.out, 20000));
    cr_expect_str_eq(job_field(user_a(), r.out, "state"), "FAILED");
    cr_expect_str_eq(job_field(user_a(), r.out, "exit_code"), "2");
    AUTO(run_free) struct run w = run_as(user_a(), "slurm-agent", "wait", r.out, second);
    cr_expect_eq(w.status, 2, "%d %s%s", w.status, w.out, w.err);
    AUTO(run_free) struct run none = run_as(user_a(), "slurm-agent", "get", "999999");
    cr_expect_eq(none.status, 3, "%s%s", none.out, none.err);
}

Test(history_dbd, a_slurmdbd_that_is_down_is_named)
{
    sandbox("stop", "slurmdbd");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "999999");
    AUTO(run_free) struct run l = run_as(user_a(), "slurm-agent", "list");
    sandbox("start", "slurmdbd");
    cr_expect_eq(r.status, 3, "%s%s", r.out, r.err);
    cr_expect_contains(r.err, "note: slurmdbd");
    cr_expect_eq(l.status, 0, "%s", l.err);
}

Test(history_dbd, a_list_begins_before_the_journal)
{
    int64_t begun = clock_now();
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--job-name=before");
    wait_state(user_a(), id, "COMPLETED");
    wait_forgotten(id);
    sandbox("stop", "agentd");
    cr_assert_eq(
        run_status(run_as(NULL, "sh", "-c", "rm -f $SLURM_AGENT_SANDBOX/state/agentd/journal.*")),
        0);
    sandbox("start", "agentd");
    cr_expect(wait_until(dbd_has, id, 20000));
    AUTO(free) char *after = submit(user_a(), "#!/bin/sh\ntrue\n", "--job-name=before");
    wait_state(user_a(), after, "COMPLETED");
    wait_forgotten(after);
    AUTO(sagent_close) struct sagent *s = open_as(user_a());
    struct sagent_list_filter f = {.name = "before", .since = begun};
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = list(s, &f);
    cr_expect_eq(count(jobs, id), 1);
    cr_expect_eq(count(jobs, after), 1);
    cr_expect_eq(sagent_jobs_count(jobs), 2);
}

Test(history_dbd, what_ends_while_no_broker_runs_is_known_to_slurmdbd)
{
    struct unseen u = end_unseen();
    expect_told_once(&u);
    AUTO(free) char *eighth = format("@_8", u.waiting);
    cr_expect(wait_until(dbd_has, eighth, 20000));
    cr_expect_str_eq(job_field(user_a(), u.job, "exit_code"), "4");
    cr_expect_str_eq(job_field(user_a(), eighth, "exit_code"), "8");
    const struct {
        const char *id;
        int status;
    } all[] = {{u.job, 4}, {u.array, 5}, {u.waiting, 8}};
    for (size_t i = 0; i < 3; i++) {
        AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "wait", all[i].id);
        cr_expect_eq(r.status, all[i].status, "%s: %d %s%s", all[i].id, r.status, r.out, r.err);
    }
    sandbox("stop", "agentd");
    AUTO(run_free) struct run sub = run_as(user_a(), "sh", "-c", sbatch_unseen);
    cr_assert_eq(sub.status, 0, "%s", sub.err);
    sub.out[strcspn(sub.out, "\n")] = '\0';
    bool gone = wait_until(slurmctld_forgot, sub.out, PURGE_MS);
    sandbox("start", "agentd");
    cr_assert(gone);
    cr_expect(wait_until(dbd_has, sub.out, 20000));
    AUTO(sagent_close) struct sagent *s = open_as(user_a());
    struct sagent_list_filter f = {.name = "unseen", .since = u.begun};
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = list(s, &f);
    cr_expect_eq(count(jobs, u.job), 1);
    cr_expect_eq(count(jobs, eighth), 1);
    cr_expect_eq(count(jobs, sub.out), 1, "begun and ended while nobody looked");
    cr_expect_eq(sagent_jobs_count(jobs), 7);
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        cr_expect_str_neq(sagent_jobs_at(jobs, i)->phase, "UNKNOWN", "%s",
                          sagent_jobs_at(jobs, i)->id);
    unseen_free(&u);
}
