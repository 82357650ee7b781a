/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One user who asks too much, a slurmctld that does not keep up, and many clients at once: nobody
 * else is to notice
 *
 * fair: in a sandbox with query_rate_per_user = 100, slurm_slow_ms = 300 and msgtimeout=4.  crowd:
 * with the settings as they are by default. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/scratch.h"
#include "tests/kit/stats.h"

TestSuite(fair, .timeout = 180);
TestSuite(crowd, .timeout = 240);

enum { RATE = 100 };

/* nng, which tests have in use already, cannot be used after a fork. */
static const char *program(void)
{
    static char path[BUILD_PATH];
    build_path(path, "tests/bench_fair");
    return path;
}

/* A number behind these words of what it wrote; -1: they are not there. */
static long number_after(const char *text, const char *words)
{
    const char *at = strstr(text, words);
    long n;
    return at && sscanf(at + strlen(words), "%ld", &n) == 1 ? n : -1;
}

static double queries(const char *series)
{
    double n = stats_series(NULL, series, "class=queries");
    return n < 0 ? 0 : n;
}
#define too_often() queries("requests_too_often_total")
#define delayed() queries("requests_delayed_total")

/* ---- one who asks too much ---- */

/* Fewer calls than the rate, so that only others could have them refused. */
static void ask_quietly(const char *when)
{
    AUTO(run_free) struct run r = run_as(user_b(), program(), "ask", "90");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_eq(number_after(r.out, "failed "), 0, "%s", r.out);
    fprintf(stderr, "%s: %s", when, r.out);
}

/* More at once than may wait for their turn. */
Test(fair, a_flooder_is_told_when_to_come_again_and_others_have_their_answers)
{
    double before = too_often();
    ask_quietly("quiet");
    int64_t begun = clock_mono_ms();
    struct running *flooder = run_begin(user_a(), program(), "flood", "job.list", "64", "60");
    cr_expect(run_says(flooder, "refused"), "it never is");
    ask_quietly("beside a flood");
    run_signal(flooder, SIGTERM);
    AUTO(run_free) struct run r = run_end(flooder);
    long seconds = (long)(clock_mono_ms() - begun) / 1000 + 1;
    fprintf(stderr, "the flooder: %s", strstr(r.out, "answered"));
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_eq(number_after(r.out, "without advice "), 0, "%s", r.out);
    cr_expect_gt(number_after(r.out, "answered "), 0, "%s", r.out);
    cr_expect_leq(number_after(r.out, "answered "), RATE * (seconds + 1), "%s", r.out);
    /* 32 of 64 connections have it said each quarter of a second, however soon they ask again */
    cr_expect_leq(number_after(r.out, "refused "), 32 * 4 * (seconds + 1), "%s", r.out);
    cr_expect_gt(too_often(), before);
}

/* A hundred are answered, 32 wait, 256 are told so late. */
Test(fair, who_sends_on_without_an_answer_loses_the_connection)
{
    AUTO(run_free) struct run r = run_as(user_a(), program(), "pipeline", "600");
    cr_expect(strstr(r.out, "hung up") || strstr(r.err, "does not take a request"), "%s%s", r.out,
              r.err);
    cr_expect_geq(stats_series(NULL, "connections_shed_total", "reason=greedy"), 1);
    ask_quietly("behind it");
}

/* Each of them waits for an answer before it asks again. */
Test(fair, hundreds_of_callers_lose_no_connection)
{
    AUTO(run_free) struct run r = run_as(user_a(), program(), "flood", "job.list", "400", "3");
    cr_expect_eq(r.status, 0, "%s%s", r.out, r.err);
    cr_expect_eq(number_after(r.out, "without advice "), 0, "%s", r.out);
}

/* As often as it may be, with nobody told to come again. */
static void expect_paced(const char *const argv[])
{
    double refused = too_often(), waited = delayed();
    int64_t begun = clock_mono_ms();
    AUTO(run_free) struct run r = run_argv(user_a(), argv, "");
    long seconds = (long)(clock_mono_ms() - begun) / 1000 + 1;
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_geq(number_after(r.out, "answered "), RATE, "a second's worth at once: %s", r.out);
    cr_expect_leq(number_after(r.out, "answered "), RATE * (seconds + 1), "%s", r.out);
    cr_expect_gt(delayed(), waited, "none had to wait");
    cr_expect_eq(too_often(), refused, "some were refused");
}

Test(fair, a_few_callers_go_as_fast_as_they_may)
{
    expect_paced((const char *[]){program(), "flood", "job.list", "8", "3", NULL});
}

Test(fair, callers_of_the_library_have_what_they_may_and_see_no_error)
{
    expect_paced((const char *[]){program(), "polite", "8", "3", NULL});
}

/* ---- a slow slurmctld ---- */

enum { CALLERS = 6 };

static bool is_slow(void *arg)
{
    (void)arg;
    return stats_series(NULL, "slurmctld_slow", "") == 1;
}

/* Asks, for that is how it is found out. */
static bool is_fast(void *arg)
{
    (void)arg;
    run_status(run_as(user_a(), "slurm-agent", "cancel", "--quiet", "60000001"));
    return !is_slow(NULL);
}

static char *server_log(void)
{
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    return slurp(path);
}

/* The first may be let in, to find out. */
static bool is_refused_at_once(void *arg)
{
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "--timeout=1", "info");
    (void)arg;
    return strstr(r.err, "not made") != NULL;
}

Test(fair, calls_to_a_slow_slurmctld_are_refused_until_it_is_faster)
{
    struct running *callers[CALLERS];
    AUTO(free) char *before = server_log();
    double refused = stats_series(NULL, "slurmctld_calls_refused_total", "");
    run_status(run_as(user_a(), "slurm-agent", "cancel", "--quiet", "60000001"));
    sandbox("pause", "slurmctld");
    for (int i = 0; i < CALLERS; i++)
        callers[i] = run_begin(i % 2 ? user_a() : user_b(), "slurm-agent", "--timeout=30", "cancel",
                               "60000002");
    cr_expect(wait_until(is_slow, NULL, 60000), "nobody has noticed");
    cr_expect_gt(stats_series(NULL, "slurmctld_call_seconds_average", ""), 0.3);
    cr_expect(wait_until(is_refused_at_once, NULL, 20000), "calls are made all the same");
    cr_expect_gt(stats_series(NULL, "slurmctld_calls_refused_total", ""), refused);
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "list");
    cr_expect_eq(r.status, 0, "what is known is told all the same: %s", r.err);
    sandbox("resume", "slurmctld");
    cr_expect(wait_until(is_fast, NULL, 60000), "it is faster, and nobody has noticed");
    for (int i = 0; i < CALLERS; i++) {
        struct run end = run_end(callers[i]);
        run_free(&end);
    }
    AUTO(run_free) struct run after = run_as(user_b(), "slurm-agent", "cancel", "60000002");
    cr_expect_eq(after.status, 3, "slurmctld's own answer: %s", after.err);
    AUTO(free) char *log = server_log();
    int begun = lines_with(log, "slurm_slow_ms", "new ones are refused") -
                lines_with(before, "slurm_slow_ms", "new ones are refused");
    int ended = lines_with(log, "answers in time again", "were refused meanwhile") -
                lines_with(before, "answers in time again", "were refused meanwhile");
    cr_expect_geq(begun, 1);
    cr_expect_eq(begun, ended, "a line when it begins and one when it ends: %d, %d", begun, ended);
}

/* ---- a crowd ---- */

enum { PROCESSES = 5, FEW = 150, CROWDS = 3, CROWD = 3000, CROWD_MS = 150000 };
#define EACH "30"
#define THOUSAND "1000"

/* How many are in of those that one process brings. */
static long await(struct running *r, int64_t deadline_ms)
{
    struct run said = {0};
    while (run_goes_on(r, 100, &said) && !strstr(said.out, "in ") && clock_mono_ms() < deadline_ms)
        ;
    cr_expect_eq(number_after(said.out, "failed "), 0, "%s%s", said.out, said.err);
    return number_after(said.out, "in ");
}

static void leave(struct running *all[], int n)
{
    for (int i = 0; i < n; i++)
        run_signal(all[i], SIGTERM);
    for (int i = 0; i < n; i++) {
        struct run r = run_end(all[i]);
        cr_expect_eq(r.status, 0, "%s", r.err);
        run_free(&r);
    }
}

/* More of one local user than may be strangers, and more HELLOs than a second lets through. */
Test(crowd, callers_of_the_library_that_come_at_once_all_get_in)
{
    struct running *all[PROCESSES];
    int64_t end = clock_mono_ms() + CROWD_MS;
    long in = 0;
    for (int i = 0; i < PROCESSES; i++)
        all[i] = run_begin(user_a(), program(), "stay", EACH, getenv("SLURM_AGENT_IPC"));
    for (int i = 0; i < PROCESSES; i++)
        in += await(all[i], end);
    /* Not that none has gone since: nng 1.5 may need a new broker after so many that it refuses. */
    cr_expect_eq(in, FEW);
    leave(all, PROCESSES);
}

/* As many of three addresses, two of which are local users.  What they cost the broker is what it
 * has for them while they are idle. */
Test(crowd, three_thousand_at_once_all_get_in_and_cost_little)
{
    static char path[BUILD_PATH];
    build_path(path, "tests/crowd");
    const char *ipc = getenv("SLURM_AGENT_IPC"), *tcp = getenv("SLURM_AGENT_SERVER");
    double before = stats_series(NULL, "broker_resident_memory_bytes", "");
    double crowd = stats_series(NULL, "connections_shed_total", "reason=crowd");
    int64_t begun = clock_mono_ms();
    struct running *all[CROWDS] = {
        run_begin(user_a(), path, THOUSAND, ipc),
        run_begin(user_b(), path, THOUSAND, ipc),
        run_begin(user_a(), path, THOUSAND, tcp),
    };
    long in = 0;
    for (int i = 0; i < CROWDS; i++)
        in += await(all[i], begun + CROWD_MS);
    int64_t took = clock_mono_ms() - begun;
    cr_expect_eq(in, CROWD);
    cr_expect_geq(stats_series(NULL, "connections", ""), CROWD);
    double cost = stats_series(NULL, "broker_resident_memory_bytes", "") - before;
    double turned_away = stats_series(NULL, "connections_shed_total", "reason=crowd") - crowd;
    fprintf(stderr,
            "%ld in after %.1f s (%.0f connections were turned away meanwhile), %.1f MB for them: "
            "%.1f MB for 2,000\n",
            in, (double)took / 1000, turned_away, cost / 1e6, cost / 1e6 * 2000 / CROWD);
#ifndef __SANITIZE_ADDRESS__ /* keeps what is freed */
    cr_expect_lt(cost * 2000 / CROWD, 50e6);
#endif
    AUTO(run_free) struct run one_more = run_as(user_b(), "slurm-agent", "ping");
    cr_expect_eq(one_more.status, 0, "%s", one_more.err);
    leave(all, CROWDS);
}
