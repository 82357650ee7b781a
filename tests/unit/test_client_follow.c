/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Waiting and following, without a server: replies, back-off, exit statuses, lines */
#include <criterion/criterion.h>
#include <string.h>

#include "client/cli_follow.h"
#include "client/decode.h"
#include "client/held.h"
#include "client/result.h"
#include "common/cleanup.h"
#include "common/msg.h"
#include "tests/kit/scratch.h"

CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct sagent_events, sagent_events_free)

/* ---- replies ---- */

static struct bytes pack(const struct msg_type *type, const void *body, struct arena *arena)
{
    return msg_pack_arena(type, body, arena);
}

static struct bytes a_job(const char *id, const char *state, struct arena *arena)
{
    struct job job = {.id = id, .state = state, .phase = "RUNNING"};
    return pack(&job_type, &job, arena);
}

Test(client_follow, what_a_wait_is_answered)
{
    AUTO(arena_done) struct arena arena = {0};
    AUTO(sagent_jobs_free) struct sagent_jobs *j = result_new(sizeof *j);
    struct err err = {0};
    struct bytes job = a_job("12", "FAILED", &arena);
    struct wait_reply r = {
        .as_of = 5,
        .stale = true,
        .note = "why",
        .done = true,
        .jobs = {&job, 1},
        .missing = {(const char *const[]){"99"}, 1},
        .cursor = "c",
    };
    cr_assert_eq(decode_wait(pack(&wait_reply_type, &r, &arena), j, &err), 0, "%s", err.text);
    cr_expect(sagent_jobs_done(j));
    cr_expect(sagent_jobs_stale(j));
    cr_expect_eq(sagent_jobs_count(j), 1);
    cr_expect_str_eq(sagent_jobs_at(j, 0)->state, "FAILED");
    cr_expect_str_eq(sagent_jobs_missing(j, 0), "99");
    cr_expect_str_eq(sagent_jobs_cursor(j), "c");
    cr_expect_str_eq(sagent_jobs_note(j), "why");
    cr_expect_eq(sagent_jobs_as_of(j), 5);
}

Test(client_follow, a_wait_that_goes_on)
{
    AUTO(sagent_jobs_free) struct sagent_jobs *j = result_new(sizeof *j);
    struct err err = {0};
    cr_assert_eq(decode_wait((struct bytes){(const uint8_t *)"\x80", 1}, j, &err), 0);
    cr_expect_not(sagent_jobs_done(j));
    cr_expect_null(sagent_jobs_cursor(j));
    cr_expect_eq(sagent_jobs_count(j), 0);
}

static struct bytes an_event(const char *what, const struct bytes *jobs, size_t n,
                             struct arena *arena)
{
    struct event e = {.what = what, .was = "RUNNING", .time = 7, .job = {jobs, n}};
    return pack(&event_type, &e, arena);
}

Test(client_follow, what_events_are_answered)
{
    AUTO(arena_done) struct arena arena = {0};
    AUTO(sagent_events_free) struct sagent_events *e = result_new(sizeof *e);
    struct err err = {0};
    struct bytes a = a_job("12", "COMPLETED", &arena), b = a_job("13_1", "PENDING", &arena);
    struct bytes two[] = {an_event("end", &a, 1, &arena), an_event("future", &b, 1, &arena)};
    struct events_reply r = {.cursor = "c", .reset = true, .as_of = 9, .events = {two, 2}};
    cr_assert_eq(decode_events(pack(&events_reply_type, &r, &arena), e, &err), 0, "%s", err.text);
    cr_assert_eq(sagent_events_count(e), 2);
    cr_expect_str_eq(sagent_events_at(e, 0)->what, "end");
    cr_expect_str_eq(sagent_events_at(e, 0)->was, "RUNNING");
    cr_expect_eq(sagent_events_at(e, 0)->time, 7);
    cr_expect_str_eq(sagent_events_at(e, 0)->job->state, "COMPLETED");
    cr_expect_str_eq(sagent_events_at(e, 1)->what, "future", "a word of a newer server");
    cr_expect_str_eq(sagent_events_at(e, 1)->job->id, "13_1");
    cr_expect_null(sagent_events_at(e, 2));
    cr_expect_str_eq(sagent_events_cursor(e), "c");
    cr_expect(sagent_events_reset(e));
    cr_expect_eq(sagent_events_as_of(e), 9);
}

static enum err_code judged(const struct events_reply *r, struct arena *arena)
{
    struct err err = {0};
    AUTO(sagent_events_free) struct sagent_events *e = result_new(sizeof *e);
    int rc = decode_events(pack(&events_reply_type, r, arena), e, &err);
    cr_expect_eq(rc, err.code == ERR_NONE ? 0 : -1);
    return err.code;
}

Test(client_follow, events_that_lack_what_they_must_have)
{
    AUTO(arena_done) struct arena arena = {0};
    struct bytes job = a_job("12", "RUNNING", &arena), nameless = a_job(NULL, "RUNNING", &arena);
    struct bytes jobs[] = {job, job};
    struct bytes none = an_event("end", NULL, 0, &arena), odd = an_event(NULL, &job, 1, &arena);
    struct bytes bad = an_event("end", &nameless, 1, &arena);
    struct bytes pair = an_event("end", jobs, 2, &arena), good = an_event("end", &job, 1, &arena);
    cr_expect_eq(judged(&(struct events_reply){.events = {&good, 1}}, &arena), ERR_PROTOCOL,
                 "without a cursor a client cannot go on");
    cr_expect_eq(judged(&(struct events_reply){.cursor = "c"}, &arena), ERR_NONE);
    cr_expect_eq(judged(&(struct events_reply){.cursor = "c", .events = {&none, 1}}, &arena),
                 ERR_PROTOCOL);
    cr_expect_eq(judged(&(struct events_reply){.cursor = "c", .events = {&odd, 1}}, &arena),
                 ERR_PROTOCOL);
    cr_expect_eq(judged(&(struct events_reply){.cursor = "c", .events = {&bad, 1}}, &arena),
                 ERR_PROTOCOL);
    cr_expect_eq(judged(&(struct events_reply){.cursor = "c", .events = {&pair, 1}}, &arena),
                 ERR_PROTOCOL);
}

/* ---- what is refused before anything is asked ---- */

static struct sagent *a_handle(void)
{
    struct sagent *s;
    struct sagent_error err;
    char dir[SCRATCH_PATH], conf[SCRATCH_PATH];
    scratch_make(dir);
    scratch_write(dir, "client.conf", "");
    scratch_path(conf, dir, "client.conf");
    /* nobody is there: what is refused was refused here */
    const struct sagent_options o = {.server = "tcp://127.0.0.1:1", .conf = conf};
    cr_assert_eq(sagent_open(&o, &s, &err), 0, "%s", err.text);
    scratch_remove(dir);
    return s;
}

Test(client_follow, requests_that_cannot_be)
{
    static const char *const ids[] = {"12", ""};
    struct sagent *s = a_handle();
    struct sagent_error err;
    struct sagent_jobs *j;
    struct sagent_events *e;
    const struct sagent_wait_request waits[] = {
        {.ids = ids},
        {.ids = ids, .id_count = 2},
        {.ids = ids, .id_count = 1, .until = (enum sagent_until)3},
        {.ids = ids, .id_count = 1, .timeout_s = -1},
        {.ids = ids, .id_count = 1, .cursor = "c"},
        {.ids = ids, .id_count = 1, .reserved = {0, 1}},
    };
    const struct sagent_events_request events[] = {
        {.ids = ids, .id_count = 2},
        {.tag = -1},
        {.limit = 10001},
        {.wait_ms = 60001},
        {.wait_ms = -1},
        {.reserved = {1}},
        {.limit = -1},
        {.tag = 1LL << 32},
    };
    for (size_t i = 0; i < ARRAY_LEN(waits); i++) {
        cr_expect_eq(sagent_wait(s, &waits[i], &j, &err), -1);
        cr_expect_eq(err.code, SAGENT_ERR_INVALID, "wait %zu: %s", i, err.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        cr_expect_eq(sagent_events(s, &events[i], &e, &err), -1);
        cr_expect_eq(err.code, SAGENT_ERR_INVALID, "events %zu: %s", i, err.text);
    }
    sagent_close(s);
}

/* ---- outages ---- */

Test(client_follow, a_server_that_never_answered_is_not_waited_for)
{
    static const char *const ids[] = {"12"};
    struct sagent *s = a_handle();
    struct sagent_error err;
    struct sagent_jobs *j;
    struct sagent_events *e;
    const struct sagent_wait_request wait = {.ids = ids, .id_count = 1};
    const struct sagent_events_request events = {0};
    cr_expect_eq(sagent_wait(s, &wait, &j, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_UNREACHABLE, "%s", err.text);
    cr_expect_eq(sagent_events(s, &events, &e, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_UNREACHABLE, "%s", err.text);
    sagent_close(s);
}

Test(client_follow, pauses_grow_to_ten_seconds)
{
    static const int64_t bases[] = {200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    int64_t base = 0;
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        base = held_next_base_ms(base);
        cr_expect_eq(base, bases[i]);
        for (uint32_t chance = 0; chance < 100000; chance += 97) {
            int64_t ms = held_pause_ms(base, 0, chance);
            cr_expect(ms >= base / 2 && ms <= base, "%lld of %lld", (long long)ms, (long long)base);
        }
    }
    cr_expect_neq(held_pause_ms(10000, 0, 1), held_pause_ms(10000, 0, 2));
    cr_expect_geq(held_pause_ms(200, 3000, 0), 3000, "never before the server's advice");
}

Test(client_follow, a_request_is_held_no_longer_than_there_is_time)
{
    struct held h;
    held_init(&h, NULL, HELD_FOREVER);
    cr_expect_eq(held_wait_ms(&h, HELD_MAX_MS), HELD_MAX_MS);
    cr_expect_eq(held_wait_ms(&h, 100000), HELD_MAX_MS);
    cr_expect_eq(held_wait_ms(&h, 5), 5);
    cr_expect_not(held_is_over(&h));
    held_init(&h, NULL, 3000);
    int64_t ms = held_wait_ms(&h, HELD_MAX_MS);
    cr_expect(ms > 0 && ms <= 3000, "%lld", (long long)ms);
    held_init(&h, NULL, -1000);
    cr_expect(held_is_over(&h));
    cr_expect_eq(held_wait_ms(&h, HELD_MAX_MS), 1);
}

/* ---- how jobs ended ---- */

static const struct {
    const char *state, *phase, *nodes;
    int64_t code, signal;
    int status, start_status;
    const char *exit;
} endings[] = {
    {"COMPLETED", "SUCCEEDED", "n1", 0, 0, 0, 0, "0"},
    {"FAILED", "FAILED", "n1", 3, 0, 3, 0, "3"},
    {"FAILED", "FAILED", "n1", 255, 0, 255, 0, "255"},
    {"FAILED", "FAILED", "n1", 0, 9, 137, 0, "signal 9"},
    {"CANCELLED", "CANCELLED", "n1", 0, 15, 143, 0, "signal 15"},
    {"CANCELLED", "CANCELLED", NULL, 0, 0, 1, 1, ""},
    {"TIMEOUT", "FAILED", "n1", 0, 0, 1, 0, ""},
    {"NODE_FAIL", "FAILED", "n1", 0, 0, 1, 0, ""},
    {"RUNNING", "UNKNOWN", "n1", 0, 0, 3, 3, ""},
    {"PENDING", "REVOKED", NULL, 0, 0, 3, 3, ""},
    {"RUNNING", "RUNNING", "n1", 0, 0, 0, 0, ""},
    {"PENDING", "QUEUED", NULL, 0, 0, 0, 0, ""},
    {"SOMETHING", "FUTURE", NULL, 5, 0, 0, 0, ""},
    {"COMPLETED", NULL, "n1", 5, 0, 0, 0, ""},
};

Test(client_follow, exit_statuses)
{
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        char text[CLI_TEXT];
        struct sagent_job job = {
            .id = "1",
            .state = endings[i].state,
            .phase = endings[i].phase,
            .nodes = endings[i].nodes,
            .exit_code = endings[i].code,
            .exit_signal = endings[i].signal,
        };
        cr_expect_eq(cli_job_status(&job), endings[i].status, "%zu: %d", i, cli_job_status(&job));
        cr_expect_eq(cli_job_start_status(&job), endings[i].start_status, "%zu", i);
        cr_expect_str_eq(cli_job_exit(&job, text), endings[i].exit, "%zu", i);
    }
}

static int status_of(const struct job *jobs, size_t n, const char *missing, enum sagent_until until)
{
    AUTO(arena_done) struct arena arena = {0};
    AUTO(sagent_jobs_free) struct sagent_jobs *j = result_new(sizeof *j);
    struct bytes packed[4];
    struct err err = {0};
    for (size_t i = 0; i < n; i++)
        packed[i] = pack(&job_type, &jobs[i], &arena);
    struct wait_reply r = {.jobs = {packed, n}, .missing = {&missing, missing != NULL}};
    cr_assert_eq(decode_wait(pack(&wait_reply_type, &r, &arena), j, &err), 0);
    return cli_jobs_status(j, until);
}

Test(client_follow, of_several_jobs_the_highest_status_counts)
{
    static const struct job jobs[] = {
        {.id = "1", .state = "COMPLETED", .phase = "SUCCEEDED"},
        {.id = "2", .state = "FAILED", .phase = "FAILED", .exit_code = 7},
        {.id = "3", .state = "FAILED", .phase = "FAILED", .exit_code = 2},
    };
    cr_expect_eq(status_of(jobs, 1, NULL, SAGENT_UNTIL_END), 0);
    cr_expect_eq(status_of(jobs, 3, NULL, SAGENT_UNTIL_END), 7);
    cr_expect_eq(status_of(jobs, 1, "99", SAGENT_UNTIL_END), CLI_MISSING);
    cr_expect_eq(status_of(jobs, 3, "99", SAGENT_UNTIL_END), 7);
    cr_expect_eq(status_of(jobs, 3, NULL, SAGENT_UNTIL_CHANGE), 0);
    cr_expect_eq(status_of(jobs, 0, "99", SAGENT_UNTIL_CHANGE), CLI_MISSING);
}

Test(client_follow, ends)
{
    static const struct {
        const char *phase;
        bool ended;
    } cases[] = {{"QUEUED", false}, {"RUNNING", false},  {"SUCCEEDED", true},
                 {"FAILED", true},  {"CANCELLED", true}, {"REVOKED", true},
                 {"UNKNOWN", true}, {"FUTURE", false},   {NULL, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_expect_eq(sagent_job_ended(&(struct sagent_job){.phase = cases[i].phase}),
                     cases[i].ended, "%s", cases[i].phase);
}

/* ---- lines ---- */

static void expect_line(const char *want, const struct sagent_event *e)
{
    AUTO(free) char *line = cli_event_line(e, "->");
    cr_expect_str_eq(line, want);
}

Test(client_follow, events_as_lines)
{
    setenv("TZ", "UTC", 1);
    struct sagent_job job = {.id = "12_3", .state = "PENDING", .name = "n", .reason = "Priority"};
    struct sagent_event e = {.what = "new", .time = 1700000000, .job = &job};
    expect_line("2023-11-14T22:13:20  12_3        PENDING  n  (Priority)", &e);
    job.state = "RUNNING";
    job.nodes = "node[1-2]";
    e.was = "PENDING";
    expect_line("2023-11-14T22:13:20  12_3        PENDING -> RUNNING  n  on node[1-2]", &e);
    e.was = "RUNNING";
    expect_line("2023-11-14T22:13:20  12_3        RUNNING  n  on node[1-2]", &e);
    job.state = "COMPLETED";
    job.phase = "SUCCEEDED";
    expect_line("2023-11-14T22:13:20  12_3        RUNNING -> COMPLETED  n", &e);
    job.state = "RUNNING";
    job.phase = "UNKNOWN";
    job.outcome = "gone";
    expect_line("2023-11-14T22:13:20  12_3        RUNNING -> UNKNOWN  n  gone", &e);
    job.name = "\033[2J\n";
    expect_line("2023-11-14T22:13:20  12_3        RUNNING -> UNKNOWN  ?[2J?  gone", &e);
}

Test(client_follow, interrupting_counts_for_the_next_call_and_once)
{
    struct sagent *s = a_handle();
    struct sagent_error err;
    struct sagent_server *p;
    sagent_interrupt(s);
    sagent_interrupt(s);
    cr_expect_eq(sagent_ping(s, &p, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_INTERRUPTED, "%s", err.text);
    cr_expect_eq(sagent_ping(s, &p, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_UNREACHABLE, "%s", err.text);
    sagent_close(s);
}
