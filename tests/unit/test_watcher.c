/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/watcher.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agentd/chan.h"
#include "agentd/watch_diff.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

/* ---- the difference of two tables ---- */

static int see(struct watch_diff *d, uint32_t id, const char *content)
{
    return watch_diff_see(d, id, (struct bytes){(const uint8_t *)content, strlen(content)});
}

static void count_gone(void *arg, uint32_t id)
{
    *(uint64_t *)arg += id;
}

Test(watch_diff, tells_new_same_and_changed)
{
    AUTO(watch_diff_free) struct watch_diff *d = watch_diff_new();
    cr_expect_eq(see(d, 1, "PENDING"), 1);
    cr_expect_eq(see(d, 1, "PENDING"), 0);
    cr_expect_eq(see(d, 1, "RUNNING"), 1);
    cr_expect_eq(see(d, 2, "RUNNING"), 1);
    cr_expect_eq(watch_diff_count(d), 2u);
}

Test(watch_diff, every_byte_counts)
{
    AUTO(watch_diff_free) struct watch_diff *d = watch_diff_new();
    char text[] = "a job of some length, more than a word or two";
    see(d, 1, text);
    for (size_t i = 0; i < strlen(text); i++) {
        text[i] ^= 1;
        cr_expect_eq(see(d, 1, text), 1, "byte %zu", i);
    }
    cr_expect_eq(watch_diff_see(d, 1, (struct bytes){(const uint8_t *)text, strlen(text) - 1}), 1);
}

Test(watch_diff, names_the_gone_once)
{
    AUTO(watch_diff_free) struct watch_diff *d = watch_diff_new();
    uint64_t gone = 0;
    watch_diff_begin(d);
    see(d, 1, "x");
    see(d, 2, "x");
    see(d, 4, "x");
    watch_diff_end(d, count_gone, &gone);
    cr_expect_eq(gone, 0u);
    watch_diff_begin(d);
    see(d, 2, "x");
    watch_diff_end(d, count_gone, &gone);
    cr_expect_eq(gone, 5u);
    watch_diff_begin(d);
    see(d, 2, "x");
    watch_diff_end(d, count_gone, &gone);
    cr_expect_eq(gone, 5u);
    cr_expect_eq(see(d, 1, "x"), 1, "an id that comes back is new");
}

Test(watch_diff, forgets_one)
{
    AUTO(watch_diff_free) struct watch_diff *d = watch_diff_new();
    see(d, 7, "x");
    cr_expect(watch_diff_forget(d, 7));
    cr_expect_not(watch_diff_forget(d, 7));
    cr_expect_eq(watch_diff_count(d), 0u);
}

Test(watch_diff, stays_whole_while_growing_and_shrinking)
{
    AUTO(watch_diff_free) struct watch_diff *d = watch_diff_new();
    enum { N = 20000 };
    uint64_t gone = 0, sum = 0;
    for (uint32_t i = 1; i <= N; i++)
        cr_assert_eq(see(d, i * 7919, "x"), 1);
    watch_diff_begin(d);
    for (uint32_t i = 1; i <= N; i++)
        if (i % 3 == 0)
            cr_assert_eq(see(d, i * 7919, "x"), 0);
        else
            sum += (uint32_t)(i * 7919);
    watch_diff_end(d, count_gone, &gone);
    cr_expect_eq(gone, sum);
    cr_expect_eq(watch_diff_count(d), (size_t)N / 3);
    for (uint32_t i = 1; i <= N; i++)
        cr_assert_eq(watch_diff_forget(d, i * 7919), i % 3 == 0);
    cr_expect_eq(watch_diff_count(d), 0u);
}

/* ---- the interval ---- */

Test(watcher, loads_as_often_as_configured_but_never_all_the_time)
{
    cr_expect_eq(watcher_interval_ms(1000, 300, 10), 1000);
    cr_expect_eq(watcher_interval_ms(1000, 300, 200), 4000, "a twentieth of the time");
    cr_expect_eq(watcher_interval_ms(1000, 2, 10), 1000);
    cr_expect_eq(watcher_interval_ms(1000, 1, 10), 500, "half of MinJobAge");
    cr_expect_eq(watcher_interval_ms(1000, 2, 900), 1000, "no job may be missed");
    cr_expect_eq(watcher_interval_ms(1000, 0, 10), 1000, "MinJobAge=0 is never");
    cr_expect_eq(watcher_interval_ms(1000, 300, 20000), 60000);
}

Test(watcher, whole_loads_that_are_asked_for_keep_a_distance)
{
    cr_expect_eq(watcher_gap_ms(1000, 10), 1000);
    cr_expect_eq(watcher_gap_ms(30000, 10), 1000);
    cr_expect_eq(watcher_gap_ms(8000, 400), 2000, "a fifth of the time");
    cr_expect_eq(watcher_gap_ms(100, 1), 100, "as configured");
}

/* ---- a watcher with a scheduler of our own ---- */

enum { FAKE_MAX = 3000 };

static struct {
    pthread_mutex_t lock;
    const char *states[FAKE_MAX]; /* by job_id; NULL: no such job */
    const char *phase;            /* of all */
    int64_t version;              /* what load_jobs() gives as update_time */
    enum err_code failure;
    int loads, ones, abouts;
    bool hides; /* PrivateData=jobs, from a watcher that is nobody special */
    bool about_fails;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .version = 1};

static int fake_open(const char *slurm_conf, struct err *err)
{
    (void)slurm_conf;
    (void)err;
    return 0;
}

static int fake_fails(struct err *err)
{
    return fake.failure ? err_set(err, fake.failure, "Slurm: it is away") : 0;
}

static int fake_about(struct cluster_about *out, struct err *err)
{
    pthread_mutex_lock(&fake.lock);
    fake.abouts++;
    *out = (struct cluster_about){.name = "fake",
                                  .private_jobs = true,
                                  .sees_all = !fake.hides,
                                  .accounting = true,
                                  .slurm_uid = 64030,
                                  .min_job_age_s = 300};
    int rc = fake.about_fails ? err_set(err, ERR_SLURM_DOWN, "gone again") : fake_fails(err);
    pthread_mutex_unlock(&fake.lock);
    return rc;
}

static int show(uint32_t id, cluster_job_fn fn, void *arg)
{
    struct job j = {.id = "x", .job_id = id, .state = fake.states[id], .phase = fake.phase};
    return fn(arg, &j);
}

static int fake_load_jobs(int64_t *update_time, cluster_job_fn fn, void *arg, struct err *err)
{
    pthread_mutex_lock(&fake.lock);
    int rc = fake_fails(err);
    fake.loads++;
    if (rc == 0 && *update_time == fake.version)
        rc = 1;
    for (uint32_t i = 1; rc == 0 && i < FAKE_MAX; i++)
        if (fake.states[i])
            show(i, fn, arg);
    if (rc == 0)
        *update_time = fake.version;
    pthread_mutex_unlock(&fake.lock);
    return rc;
}

static int fake_load_job(uint32_t id, cluster_job_fn fn, void *arg, struct err *err)
{
    pthread_mutex_lock(&fake.lock);
    int rc = fake_fails(err);
    fake.ones++;
    if (rc == 0 && !fake.states[id])
        rc = err_set(err, ERR_NOT_FOUND, "no job %u", id);
    else if (rc == 0)
        show(id, fn, arg);
    pthread_mutex_unlock(&fake.lock);
    return rc;
}

static void fake_name_in(const char *slurm_conf, char out[64])
{
    (void)slurm_conf;
    str_copy(out, 64, "fake-of-file");
}

static const struct watcher_source fake_source = {fake_open, fake_about, fake_name_in,
                                                  fake_load_jobs, fake_load_job};

static void set_job(uint32_t id, const char *state)
{
    pthread_mutex_lock(&fake.lock);
    fake.states[id] = state;
    fake.version++;
    pthread_mutex_unlock(&fake.lock);
}

static void set_failure(enum err_code code)
{
    pthread_mutex_lock(&fake.lock);
    fake.failure = code;
    pthread_mutex_unlock(&fake.lock);
}

static struct {
    struct arena arena;
    struct agentd_conf conf;
    pthread_t thread;
    int fd, theirs;
    int rc;
    /* the load read last, over all of its frames */
    int64_t seq, one_seq, code, first_id;
    size_t frames, jobs, gone;
    bool full;
    bool accounting, sees_all;
    int64_t slurm_uid;
    char state[32], cluster[64];
} t;

static void *run(void *arg)
{
    (void)arg;
    t.rc = watcher_run(&t.conf, &fake_source, t.theirs);
    close(t.theirs);
    return NULL;
}

static void start(int64_t poll_ms)
{
    int fds[2];
    struct err err = {0};
    cr_assert_eq(agentd_conf_load(NULL, &t.arena, &t.conf, &err), 0);
    t.conf.poll_ms = poll_ms;
    t.conf.slurm_conf = "/nonexistent/slurm.conf";
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    t.fd = fds[0];
    t.theirs = fds[1];
    cr_assert_eq(pthread_create(&t.thread, NULL, run, NULL), 0);
}

/* The watcher's process ends when the broker goes. */
static int stop(void)
{
    shutdown(t.fd, SHUT_WR);
    char rest[65536];
    while (read(t.fd, rest, sizeof rest) > 0)
        ;
    pthread_join(t.thread, NULL);
    close(t.fd);
    arena_done(&t.arena);
    return t.rc;
}

/* Reads the frames of one load. */
static void next_load(void)
{
    t.frames = t.jobs = t.gone = 0;
    t.full = false;
    t.first_id = 0;
    for (bool last = false; !last;) {
        AUTO(arena_done) struct arena arena = {0};
        AUTO(free) uint8_t *body = NULL;
        struct watch_report r;
        struct chan_head head;
        struct err err = {0};
        struct job job;
        cr_assert_eq(chan_read(t.fd, &head, &body, &err), 1, "%s", err.text);
        cr_assert_eq(msg_unpack(&watch_report_type, (struct bytes){body, head.size}, &arena,
                                MSG_STRICT, &r, &err),
                     0, "%s", err.text);
        cr_expect_leq(r.jobs.n, 1000u);
        cr_expect(!r.full || t.frames == 0, "a table begins once");
        t.frames++;
        t.jobs += r.jobs.n;
        t.gone += r.gone.n;
        t.full |= r.full;
        t.seq = r.seq;
        t.one_seq = r.one_seq;
        t.code = r.code;
        t.accounting = r.accounting;
        t.sees_all = r.sees_all;
        t.slurm_uid = r.slurm_uid;
        str_copy(t.cluster, sizeof t.cluster, str_or(r.cluster, ""));
        for (size_t i = 0; i < r.jobs.n; i++) {
            cr_assert_eq(msg_unpack(&job_type, r.jobs.v[i], &arena, MSG_STRICT, &job, &err), 0);
            if (!t.first_id) {
                t.first_id = job.job_id;
                str_copy(t.state, sizeof t.state, job.state);
            }
        }
        last = r.last;
    }
}

static void command(int64_t seq, uint32_t job_id)
{
    struct watch_command cmd = {.seq = seq, .job_id = job_id};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct chan_head head = {0};
    struct err err = {0};
    msg_pack(&watch_command_type, &cmd, out);
    cr_assert_eq(chan_write(t.fd, &head, wire_out_bytes(out), &err), 0);
}

/* A poll that never comes by itself: what is read is the answer to the command. */
enum { NEVER_MS = 60000 };

Test(watcher, begins_with_the_whole_table_in_bounded_frames, .timeout = 30)
{
    for (uint32_t i = 1; i <= 2500; i++)
        fake.states[i] = "RUNNING";
    start(NEVER_MS);
    next_load();
    cr_expect(t.full);
    cr_expect_eq(t.jobs, 2500u);
    cr_expect_eq(t.frames, 3u);
    cr_expect_str_eq(t.cluster, "fake");
    cr_expect(t.accounting);
    cr_expect_eq(t.slurm_uid, 64030);
    cr_expect_eq(stop(), 0);
}

Test(watcher, sends_what_has_changed_and_what_is_gone, .timeout = 30)
{
    set_job(5, "PENDING");
    set_job(6, "PENDING");
    start(NEVER_MS);
    next_load();
    set_job(5, "RUNNING");
    set_job(6, NULL);
    command(3, 0);
    next_load();
    cr_expect_eq(t.seq, 3);
    cr_expect_not(t.full);
    cr_expect_eq(t.jobs, 1u);
    cr_expect_eq(t.first_id, 5);
    cr_expect_str_eq(t.state, "RUNNING");
    cr_expect_eq(t.gone, 1u);
    stop();
}

Test(watcher, says_so_when_nothing_has_changed, .timeout = 30)
{
    set_job(5, "PENDING");
    start(100);
    next_load();
    for (int i = 0; i < 3; i++) {
        next_load();
        cr_expect_eq(t.jobs, 0u);
        cr_expect_eq(t.gone, 0u);
        cr_expect_eq(t.code, 0);
    }
    stop();
}

/* slurmctld shows nothing new when time has passed, and that may be what matters. */
Test(watcher, looks_again_at_jobs_whose_exit_status_is_awaited, .timeout = 30)
{
    fake.phase = "RUNNING";
    set_job(5, "CANCELLED");
    start(100);
    next_load();
    fake.phase = "CANCELLED";
    int n = 0;
    do
        next_load();
    while (++n < 30 && !t.jobs);
    cr_expect_eq(t.first_id, 5, "after %d loads", n);
    cr_expect_gt(n, 5, "not each time");
    for (n = 0; n < 15; n++) {
        next_load();
        cr_expect_eq(t.jobs, 0u);
    }
    stop();
}

Test(watcher, loads_one_job_when_asked_for_it, .timeout = 30)
{
    start(NEVER_MS);
    next_load();
    int loads = fake.loads;
    set_job(9, "PENDING");
    command(1, 9);
    next_load();
    cr_expect_eq(t.one_seq, 1);
    cr_expect_eq(t.jobs, 1u);
    cr_expect_not(t.full);
    command(2, 11);
    next_load();
    cr_expect_eq(t.one_seq, 2);
    cr_expect_eq(t.jobs, 0u);
    cr_expect_eq(t.gone, 1u);
    cr_expect_eq(t.code, 0);
    cr_expect_eq(fake.loads, loads);
    stop();
}

Test(watcher, answers_waiting_commands_together, .timeout = 30)
{
    set_job(1, "RUNNING");
    set_job(2, "RUNNING");
    start(NEVER_MS);
    pthread_mutex_lock(&fake.lock); /* its first load waits for us */
    command(1, 1);
    command(2, 2);
    command(3, 1);
    pthread_mutex_unlock(&fake.lock);
    while (t.one_seq < 3)
        next_load();
    cr_expect_eq(t.one_seq, 3);
    cr_expect_leq(t.jobs, 2u);
    stop();
}

Test(watcher, whole_loads_that_are_asked_for_are_a_gap_apart, .timeout = 30)
{
    set_job(1, "RUNNING");
    start(NEVER_MS);
    int64_t begin = clock_mono_ms(), seq = 0;
    next_load();
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 30; i++)
            command(++seq, 0);
        set_job(1, round % 2 ? "COMPLETED" : "RUNNING");
        while (t.seq < seq)
            next_load();
    }
    int64_t seconds = (clock_mono_ms() - begin) / 1000;
    cr_expect_geq(seconds, 2);
    cr_expect_leq(fake.loads, seconds + 2);
    stop();
}

Test(watcher, one_job_does_not_wait_for_a_whole_load, .timeout = 60)
{
    set_job(9, "PENDING");
    start(NEVER_MS);
    next_load();
    bool overtook = false;
    for (int64_t seq = 2; !overtook && seq <= 20; seq += 2) { /* a slow machine may miss the gap */
        command(seq - 1, 0);
        command(seq, 9);
        while (t.seq < seq - 1) {
            next_load();
            overtook |= t.one_seq == seq && t.seq < seq - 1;
        }
        cr_expect_eq(t.code, 0);
    }
    cr_expect(overtook);
    stop();
}

Test(watcher, single_jobs_beyond_a_rate_come_with_the_next_whole_load, .timeout = 60)
{
    enum { N = 1500 };
    start(NEVER_MS);
    int64_t begin = clock_mono_ms();
    next_load();
    size_t jobs = 0;
    for (uint32_t i = 1; i <= N || t.one_seq < N;) {
        struct pollfd p = {.fd = t.fd, .events = POLLIN};
        if (i <= N && poll(&p, 1, 0) == 0) { /* it does not read while nobody reads its reports */
            set_job(i, "PENDING");
            command(i, i);
            i++;
            continue;
        }
        next_load();
        jobs += t.jobs;
        cr_expect_leq((size_t)t.one_seq, jobs, "what it says it covers it has sent");
    }
    int64_t took_ms = clock_mono_ms() - begin;
    cr_expect_leq(fake.ones, 200 + took_ms / 5 + 1);
    cr_expect_leq(fake.loads, 2 + took_ms / 1000);
    cr_expect_eq(jobs, (size_t)N);
    stop();
}

Test(watcher, a_single_load_that_fails_is_made_good_by_a_whole_one, .timeout = 30)
{
    set_job(9, "PENDING");
    start(NEVER_MS);
    next_load();
    set_failure(ERR_SLURM_DOWN);
    set_job(9, "RUNNING");
    command(1, 9);
    do
        next_load();
    while (!t.code);
    cr_expect_eq(t.one_seq, 0);
    set_failure(ERR_NONE);
    while (t.code)
        next_load();
    cr_expect_eq(t.one_seq, 1, "though its interval is a minute");
    cr_expect_eq(t.jobs, 1u);
    cr_expect_str_eq(t.state, "RUNNING");
    stop();
}

Test(watcher, reports_a_failure_and_asks_anew_afterwards, .timeout = 30)
{
    set_job(1, "RUNNING");
    start(100);
    next_load();
    int abouts = fake.abouts;
    set_failure(ERR_SLURM_DOWN);
    do
        next_load();
    while (!t.code);
    cr_expect_eq(t.code, ERR_SLURM_DOWN);
    set_failure(ERR_NONE);
    do
        next_load();
    while (t.code);
    cr_expect_str_eq(t.cluster, "fake");
    cr_expect_gt(fake.abouts, abouts);
    cr_expect_eq(t.jobs, 0u, "it is as it was");
    cr_expect_not(t.full);
    stop();
}

static void hide(bool hides, bool about_fails)
{
    pthread_mutex_lock(&fake.lock);
    fake.hides = hides;
    fake.about_fails = about_fails;
    pthread_mutex_unlock(&fake.lock);
}

Test(watcher, a_job_is_not_gone_before_it_is_known_whether_it_is_hidden, .timeout = 30)
{
    set_job(1, "RUNNING");
    set_job(2, "RUNNING");
    start(100);
    next_load();
    cr_expect(t.sees_all);
    hide(true, true);
    set_job(1, NULL);
    set_job(2, "COMPLETED");
    size_t changed = 0;
    do {
        next_load();
        changed += t.jobs;
        cr_expect_eq(t.gone, 0u);
    } while (!t.code);
    hide(true, false);
    while (t.gone == 0) {
        next_load();
        changed += t.jobs;
    }
    cr_expect_not(t.sees_all, "said with it, at the latest");
    cr_expect_eq(changed, 1u, "what had changed has not got lost, nor come twice");
    stop();
}

Test(watcher, nor_is_one_that_was_loaded_alone, .timeout = 30)
{
    set_job(1, "RUNNING");
    start(NEVER_MS);
    next_load();
    cr_expect(t.sees_all);
    hide(true, false);
    set_job(1, NULL);
    command(1, 1);
    next_load();
    cr_expect_eq(t.gone, 1u);
    cr_expect_not(t.sees_all);
    stop();
}

Test(watcher, a_first_load_that_fails_is_still_followed_by_a_whole_table, .timeout = 30)
{
    set_job(1, "RUNNING");
    set_failure(ERR_MUNGE);
    start(100);
    next_load();
    cr_expect_eq(t.code, ERR_MUNGE);
    set_failure(ERR_NONE);
    do
        next_load();
    while (t.code);
    cr_expect(t.full);
    cr_expect_eq(t.jobs, 1u);
    stop();
}

Test(watcher, nonsense_from_the_broker_ends_it, .timeout = 30)
{
    start(NEVER_MS);
    next_load();
    struct chan_head head = {.size = 0xffffffff};
    cr_assert_eq(write(t.fd, &head, sizeof head), (ssize_t)sizeof head);
    cr_expect_eq(stop(), 1);
}
