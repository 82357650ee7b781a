/* SPDX-License-Identifier: GPL-3.0-or-later */
/* staging_world.h: for the tests of staging.c and what belongs to it, which are monitor, watcher
 * and stage worker; the journal is a real one; each file of them has its own */
#ifndef TESTS_UNIT_STAGING_WORLD_H
#define TESTS_UNIT_STAGING_WORLD_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "agentd/cancels.h"
#include "agentd/chan.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/live.h"
#include "agentd/requests_env.h"
#include "agentd/requests.h"
#include "agentd/stage_op.h"
#include "agentd/stagers.h"
#include "agentd/staging.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/fdio.h"
#include "tests/fake/fake_monitor.h"
#include "tests/kit/scratch.h"

enum { UID = 1001, JOB = 12, PATIENCE_MS = 10000 };

static struct fake_monitor m;
static char dir[SCRATCH_PATH];
static int watcher = -1; /* our end */
static bool accounting;
static int64_t as_of, made;                /* the last load; the job */
static int64_t boot_time;                  /* slurmctld's */
static uint8_t id[REQUEST_ID] = {1, 2, 3}; /* the request at hand, */
static uint32_t job_id = JOB;              /* and its job */
static const char *const URL_IN = "file:///store/in", *const URL_OUT = "file:///store/out";

static inline void begin_watch(void)
{
    int sock[2], errs[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
    cr_assert_eq(pipe(errs), 0);
    watcher = sock[0];
    watch_attach(m.a.watch, 77, sock[1], errs[0]);
    close(errs[1]);
}

static inline void begin_broker(void)
{
    struct err err = {0};
    fake_monitor_start(&m);
    m.a.conf.state_dir = dir;
    m.a.conf.events_mib = 1;
    m.a.table = table_new(100);
    m.a.cancels = cancels_new();
    m.a.journal = journal_new(m.a.loop, &m.a.conf, &err);
    m.a.held = held_new(&m.a, &err);
    m.a.live = live_new(&m.a, &err);
    cr_assert_eq(requests_start(&m.a, &err), 0);
    m.a.watch = watch_new(&m.a, &err);
    m.a.stagers = stagers_new(&m.a);
    m.a.staging = staging_new(&m.a, &err);
    cr_assert_eq(err.code, ERR_NONE, "%s", err.text);
    begin_watch();
}

static inline void end_broker(void)
{
    watch_stop(m.a.watch);
    held_stop(m.a.held);
    journal_free(m.a.journal);
    watch_free(m.a.watch);
    cancels_free(m.a.cancels);
    staging_free(m.a.staging);
    stagers_free(m.a.stagers);
    requests_end(&m.a);
    live_free(m.a.live);
    held_free(m.a.held);
    table_free(m.a.table);
    fake_monitor_stop(&m);
    close(watcher);
}

static inline void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(seal_setup(&err), 0);
    scratch_make(dir);
    as_of = made = clock_now();
    begin_broker();
}

static inline void tear_down(void)
{
    end_broker();
    scratch_remove(dir);
}

/* ---- the manifest ---- */

static inline struct bytes manifest(struct arena *arena, bool held)
{
    const struct stage_input in = {.from = URL_IN};
    const struct stage_output out = {.from = "o", .to = URL_OUT, .required = true};
    struct bytes inputs[] = {msg_pack_arena(&stage_input_type, &in, arena)};
    struct bytes outputs[] = {msg_pack_arena(&stage_output_type, &out, arena)};
    const struct stage_manifest all = {
        .inputs = {inputs, 1}, .outputs = {outputs, 1}, .work_dir = "/w", .held = held};
    return msg_pack_arena(&stage_manifest_type, &all, arena);
}

struct begun {
    bool done;
    struct err err;
};

static inline void on_begun(void *arg, const struct err *err)
{
    struct begun *b = arg;
    cr_assert_not(b->done, "told twice");
    b->done = true;
    b->err = *err;
}

static inline void begin_granted(bool held)
{
    AUTO(arena_done) struct arena arena = {0};
    struct begun b = {0};
    uint8_t hash[SEAL_HASH];
    struct bytes packed = manifest(&arena, held);
    staging_begin(m.a.staging, UID, id, 1, packed, on_begun, &b);
    struct monitor_request req = fake_monitor_next(&m);
    cr_assert_eq(req.ask, ASK_GRANT);
    seal_hash(packed.p, packed.n, hash);
    cr_expect_arr_eq(req.hash, hash, SEAL_HASH);
    cr_expect_arr_eq(req.request, id, REQUEST_ID);
    fake_monitor_run_for(&m, 100);
    cr_expect_not(b.done, "not before it is granted");
    fake_monitor_say(&m, SAY_GRANTED, &req, 0, ERR_NONE, "");
    fake_monitor_run_until(&m, &b.done);
    cr_assert_eq(b.err.code, ERR_NONE, "%s", b.err.text);
}

static inline void begin(bool held)
{
    begin_granted(held);
    staging_submitted(m.a.staging, UID, id, job_id);
}

static inline void job_at_hand(uint8_t n)
{
    id[0] = n;
    job_id = JOB + n - 1;
}

/* ---- as the watcher ---- */

static inline void report(const struct watch_report *r)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct chan_head head = {0};
    struct err err = {0};
    msg_pack(&watch_report_type, r, out);
    cr_assert_eq(chan_write(watcher, &head, wire_out_bytes(out), &err), 0);
    fake_monitor_run_for(&m, 60);
}

static inline void load_of(struct bytes *jobs, size_t n, bool full)
{
    report(&(struct watch_report){.jobs = {jobs, n},
                                  .full = full,
                                  .last = true,
                                  .as_of = ++as_of,
                                  .sees_all = true,
                                  .accounting = accounting,
                                  .cluster = "c",
                                  .slurm_version = "1",
                                  .boot_time = boot_time});
}

static inline void show(const char *state, int64_t priority)
{
    AUTO(arena_done) struct arena arena = {0};
    char text[12];
    snprintf(text, sizeof text, "%u", job_id);
    const struct job j = {
        .id = text,
        .job_id = job_id,
        .uid = UID,
        .state = state,
        .priority = priority,
        .submit_time = made,
        .nodes = strcmp(state, "PENDING") != 0 && strcmp(state, "CANCELLED") != 0 ? "node1" : NULL,
        .tag = request_tag(UID, id, 1),
    };
    struct bytes jobs[] = {msg_pack_arena(&job_type, &j, &arena)};
    load_of(jobs, 1, false);
}

static inline void show_nothing(void)
{
    load_of(NULL, 0, true);
}

static inline enum phase phase(void)
{
    const struct jobrec *rec = table_get(m.a.table, job_id);
    cr_assert_not_null(rec);
    return rec->phase;
}

static inline void expect_told(const char *part)
{
    AUTO(arena_done) struct arena arena = {0};
    struct job j;
    struct err err = {0};
    cr_assert_eq(
        msg_unpack(&job_type, table_get(m.a.table, job_id)->packed, &arena, MSG_LENIENT, &j, &err),
        0);
    cr_expect(j.staging && strstr(j.staging, part), "'%s', not '%s'", j.staging, part);
}

/* ---- as a stage worker ---- */

/* The next request to the monitor must be for one. */
static inline struct monitor_request next_stage(void)
{
    struct monitor_request req;
    do
        req = fake_monitor_next(&m);
    while (req.ask == ASK_KILL); /* of the one before, which has ended */
    cr_assert_eq(req.ask, ASK_STAGE, "%u", req.ask);
    return req;
}

/* Starts it, and reads its task. */
static inline int start_worker(const struct monitor_request *req, enum stage_op op,
                               struct chan_head *ret_head)
{
    cr_expect_arr_eq(req->request, id, REQUEST_ID);
    int fd = fake_monitor_spawned(&m, req);
    struct err err = {0};
    AUTO(free) uint8_t *body = NULL;
    fake_monitor_run_for(&m, 50);
    cr_assert_eq(chan_read(fd, ret_head, &body, &err), 1, "%s", err.text);
    cr_expect_eq((enum stage_op)ret_head->op, op);
    return fd;
}

static inline int worker(enum stage_op op, struct chan_head *ret_head)
{
    struct monitor_request req = next_stage();
    return start_worker(&req, op, ret_head);
}

/* What it is asked next. */
static inline void next_task(int fd, enum stage_op op, struct chan_head *ret_head)
{
    struct err err = {0};
    AUTO(free) uint8_t *body = NULL;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (int64_t end = clock_mono_ms() + PATIENCE_MS; poll(&p, 1, 0) == 0;) {
        cr_assert_lt(clock_mono_ms(), end, "it is asked nothing");
        fake_monitor_run_for(&m, 10);
    }
    cr_assert_eq(chan_read(fd, ret_head, &body, &err), 1, "%s", err.text);
    cr_expect_eq((enum stage_op)ret_head->op, op);
}

static inline void say(int fd, struct chan_head head, const struct stage_report *r)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct err err = {0};
    msg_pack(&stage_report_type, r, out);
    cr_assert_eq(chan_write(fd, &head, wire_out_bytes(out), &err), 0);
    fake_monitor_run_for(&m, 50);
}

static inline void say_done(int fd, struct chan_head head)
{
    say(fd, head,
        &(struct stage_report){.done = true, .files = 1, .files_total = 1, .text = "1 file"});
}

static inline void say_error(int fd, struct chan_head head, enum err_code code, const char *text)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct err err = {0}, sent = {0};
    err_set(&err, code, "%s", text);
    msg_pack_error(&err, out);
    head.code = code;
    cr_assert_eq(chan_write(fd, &head, wire_out_bytes(out), &sent), 0);
    fake_monitor_run_for(&m, 50);
}

static inline void expect_ask(enum monitor_ask ask)
{
    struct monitor_request req;
    do
        req = fake_monitor_next(&m);
    while (req.ask == ASK_KILL);
    cr_expect_eq(req.ask, ask, "%u", req.ask);
}

/* The worker has been let go, and has ended. */
static inline void ended(int fd)
{
    struct monitor_request req = {.ask = ASK_STAGE, .uid = UID};
    close(fd);
    fake_monitor_say(&m, SAY_ENDED, &req, m.last_process, ERR_NONE, "");
    fake_monitor_run_for(&m, 30);
}

/* ---- on disk ---- */

struct disk {
    bool done;
    int64_t state;
};

static inline void on_rows(void *arg, const struct staging_row *rows, size_t n,
                           const struct err *err)
{
    struct disk *d = arg;
    cr_assert_eq(err->code, ERR_NONE);
    for (size_t i = 0; i < n; i++)
        if (rows[i].task == STAGING_JOB)
            d->state = rows[i].state;
    d->done = true;
}

static inline int64_t state_on_disk(void)
{
    struct disk d = {0};
    journal_staging_get(m.a.journal, UID, job_id, on_rows, &d);
    fake_monitor_run_until(&m, &d.done);
    return d.state;
}

/* ---- a job that runs ---- */

static inline void run_it(void)
{
    struct chan_head h;
    begin(false);
    show("PENDING", 0);
    int fd = worker(STAGE_OP_in, &h);
    say_done(fd, h);
    next_task(fd, STAGE_OP_release, &h);
    say_done(fd, h);
    ended(fd);
    show("RUNNING", 100);
    cr_expect_eq(state_on_disk(), STAGING_RELEASED);
}

#endif
