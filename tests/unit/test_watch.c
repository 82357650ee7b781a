/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which loads of changed jobs the watcher is asked for, and when */
#include "tests/unit/staging_world.h"

static void begin_quiet(void);
TestSuite(watch, .init = begin_quiet, .fini = tear_down, .timeout = 60);

enum { QUIET_MS = 50, SOON_MS = 5000, OTHER = 2002, MANY = 30 };

static struct watch_mark mark, others;

/* The next command within ms.  False: there is none. */
static bool next_command(struct watch_command *ret, int ms)
{
    struct pollfd p = {.fd = watcher, .events = POLLIN};
    AUTO(arena_done) struct arena arena = {0};
    struct chan_head head;
    AUTO(free) uint8_t *body = NULL;
    struct err err = {0};
    for (int64_t end = clock_mono_ms() + ms; poll(&p, 1, 0) == 0;) {
        if (clock_mono_ms() >= end)
            return false;
        fake_monitor_run_for(&m, 5);
    }
    cr_assert_eq(chan_read(watcher, &head, &body, &err), 1, "%s", err.text);
    struct bytes b = {body, head.size};
    cr_assert_eq(msg_unpack(&watch_command_type, b, &arena, MSG_STRICT, ret, &err), 0);
    return true;
}

/* What a new watcher is asked for has been. */
static void begin_quiet(void)
{
    struct watch_command c;
    set_up();
    while (next_command(&c, 300))
        ;
}

static void expect_silence(int ms)
{
    struct watch_command c;
    cr_expect(!next_command(&c, ms), "a load of %lld is asked for", (long long)c.job_id);
}

static struct watch_command expect_load(uint32_t of)
{
    struct watch_command c = {0};
    cr_assert(next_command(&c, SOON_MS), "no load is asked for");
    cr_expect_eq(c.job_id, of);
    return c;
}

/* A load that began just now has come in. */
static void whole_load(void)
{
    report(&(struct watch_report){.full = true,
                                  .last = true,
                                  .begun_ms = clock_mono_ms(),
                                  .as_of = ++as_of,
                                  .sees_all = true,
                                  .cluster = "c",
                                  .slurm_version = "1"});
}

static void count(void *arg)
{
    ++*(int *)arg;
}

Test(watch, a_change_that_nobody_asks_for_is_loaded_when_it_is_quiet)
{
    watch_changed(m.a.watch, 12, UID, &mark);
    expect_silence(QUIET_MS);
    expect_load(12);
    expect_silence(300);
}

Test(watch, many_changes_in_a_row_are_one_load)
{
    for (uint32_t n = 0; n < MANY; n++) {
        watch_changed(m.a.watch, 100 + n, UID, &mark);
        expect_silence(10);
    }
    expect_load(0);
    expect_silence(300);
}

/* The user who has changed something sees it, and has nobody else's loaded. */
Test(watch, whoever_asks_has_their_own_changes_loaded_at_once)
{
    int told = 0;
    watch_changed(m.a.watch, 12, UID, &mark);
    watch_changed(m.a.watch, 13, OTHER, &others);
    cr_expect(!watch_covers(m.a.watch, &mark));
    watch_when(m.a.watch, &mark, count, &told);
    struct watch_command c = expect_load(12);
    cr_expect_eq(told, 0, "before it is there");
    report(
        &(struct watch_report){.last = true, .one_seq = c.seq, .as_of = ++as_of, .cluster = "c"});
    fake_monitor_run_for(&m, 200);
    cr_expect_eq(told, 1);
    cr_expect(watch_covers(m.a.watch, &mark));
    cr_expect(!watch_covers(m.a.watch, &others));
    expect_load(13);
}

Test(watch, a_whole_load_shows_what_was_changed_before_it_began)
{
    watch_changed(m.a.watch, 12, UID, &mark);
    fake_monitor_run_for(&m, 5);
    whole_load();
    cr_expect(watch_covers(m.a.watch, &mark));
    expect_silence(300);
    watch_changed(m.a.watch, 12, UID, &mark);
    cr_expect(!watch_covers(m.a.watch, &mark), "that load is older");
    expect_load(12);
}

/* Its owner has no mark of his own for it. */
Test(watch, what_another_user_has_changed_is_loaded_at_once)
{
    show("PENDING", 1);
    watch_changed(m.a.watch, JOB, OTHER, &others);
    struct watch_command c;
    cr_expect(next_command(&c, QUIET_MS));
    cr_expect_eq(c.job_id, JOB);
}
