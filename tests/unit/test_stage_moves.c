/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a stage worker moves, with a directory for its store */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agentd/stage_worker.h"
#include "common/clock.h"
#include "tests/kit/scratch.h"

static struct {
    char work[SCRATCH_PATH], store[SCRATCH_PATH];
    struct agentd_conf conf;
    struct manifest m;
    struct stage_task task;
    struct stage_meter meter;
    struct arena arena;
    struct stage_job job;
    struct stage_report report;
    struct err err;
} t;

static void set_up(void)
{
    scratch_make(t.work);
    scratch_make(t.store);
    arena_init(&t.arena, 1 << 20);
    stage_meter_init(&t.meter, -1, &(struct chan_head){0}, 60);
    t.conf.max_stage_gib = 1;
    t.m.body.work_dir = t.work;
    t.job = (struct stage_job){
        .conf = &t.conf, .m = &t.m, .task = &t.task, .meter = &t.meter, .arena = &t.arena};
}

static void tear_down(void)
{
    stage_meter_done(&t.meter);
    arena_done(&t.arena);
    scratch_remove(t.store);
    scratch_remove(t.work);
}

TestSuite(stage_moves, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *in_store(const char *name)
{
    return arena_printf(&t.arena, "file://%s/%s", t.store, name);
}

static bool is_there(const char *dir, const char *name)
{
    return access(arena_printf(&t.arena, "%s/%s", dir, name), F_OK) == 0;
}

static void make_dir(const char *dir, const char *name)
{
    cr_assert_eq(mkdir(arena_printf(&t.arena, "%s/%s", dir, name), 0755), 0);
}

Test(stage_moves, what_killed_workers_left_goes_from_each_directory)
{
    static const char *const names[] = {"a", "b", "sub/a", "sub/b", "z"};
    make_dir(t.store, "sub");
    make_dir(t.work, "sub");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        scratch_write(t.store, names[i], "x");
    scratch_write(t.work, ".z.0123abcd.part", "");
    scratch_write(t.work, ".y.0123abcd.part", "");
    scratch_write(t.work, "sub/.b.0123abcd.part", "");
    scratch_write(t.work, "sub/.z.0123abcd.part", "");
    struct stage_input in = {.from = in_store("")};
    t.m.inputs = &in;
    t.m.n_inputs = 1;
    cr_assert_eq(stage_in(&t.job, &t.report, &t.err), 0, "%s", t.err.text);
    cr_expect_eq(t.report.files, 5);
    cr_expect(is_there(t.work, "sub/b"));
    cr_expect_not(is_there(t.work, ".z.0123abcd.part"));
    cr_expect_not(is_there(t.work, "sub/.b.0123abcd.part"));
    cr_expect(is_there(t.work, ".y.0123abcd.part"), "no input's");
    cr_expect(is_there(t.work, "sub/.z.0123abcd.part"), "no input's there");
}

Test(stage_moves, a_quota_holds_while_bytes_move)
{
    t.m.body.quota = 100;
    cr_assert_eq(stage_check_quota(&t.job, 100, "inputs", &t.err), 0);
    const struct stage_run run = stage_meter_run(&t.meter);
    cr_expect_eq(run.progress(run.arg, 100), 0);
    cr_expect_eq(stage_check_moved(&t.job, 0, "inputs", &t.err), 0);
    cr_expect_neq(run.progress(run.arg, 1), 0);
    cr_expect_eq(stage_check_moved(&t.job, -1, "inputs", &t.err), -1);
    cr_expect_eq(t.err.code, ERR_LIMIT);
}

static int store(const char *from, const char *to)
{
    struct stage_output out = {.from = from, .to = in_store(to)};
    t.m.outputs = &out;
    t.m.n_outputs = 1;
    t.err = (struct err){0};
    return stage_out(&t.job, &t.report, &t.err);
}

/* Who may write there could else have anything stored that the user can read. */
Test(stage_moves, links_do_not_lead_out_of_an_absolute_directory)
{
    char outside[SCRATCH_PATH];
    scratch_make(outside);
    scratch_write(outside, "secret", "s");
    make_dir(t.work, "out");
    scratch_write(t.work, "out/good.dat", "x");
    const char *out = arena_printf(&t.arena, "%s/out/", t.work);
    cr_assert_eq(symlink(arena_printf(&t.arena, "%s/secret", outside),
                         arena_printf(&t.arena, "%sabsolute.dat", out)),
                 0);
    cr_assert_eq(symlink(arena_printf(&t.arena, "../..%s/secret", outside),
                         arena_printf(&t.arena, "%srelative.dat", out)),
                 0);
    cr_assert_eq(symlink("good.dat", arena_printf(&t.arena, "%sinside.dat", out)), 0);
    make_dir(t.store, "tree");
    make_dir(t.store, "pattern");
    cr_expect_eq(store(out, "tree/"), 0, "%s", t.err.text);
    cr_expect_eq(store(arena_printf(&t.arena, "%s*.dat", out), "pattern/"), 0, "%s", t.err.text);
    static const char *const dirs[] = {"tree/", "pattern/"};
    for (int i = 0; i < 2; i++) {
        cr_expect(is_there(t.store, arena_printf(&t.arena, "%sgood.dat", dirs[i])));
        cr_expect(is_there(t.store, arena_printf(&t.arena, "%sinside.dat", dirs[i])));
        cr_expect_not(is_there(t.store, arena_printf(&t.arena, "%sabsolute.dat", dirs[i])));
        cr_expect_not(is_there(t.store, arena_printf(&t.arena, "%srelative.dat", dirs[i])));
    }
    scratch_remove(outside);
}

/* Nor could a link there have inputs written where only the user can. */
Test(stage_moves, links_do_not_lead_inputs_out_of_an_absolute_directory)
{
    char outside[SCRATCH_PATH];
    scratch_make(outside);
    make_dir(t.store, "tree");
    make_dir(t.store, "tree/x");
    scratch_write(t.store, "tree/x/keys", "k");
    make_dir(t.work, "shared");
    const char *shared = arena_printf(&t.arena, "%s/shared/", t.work);
    cr_assert_eq(symlink(outside, arena_printf(&t.arena, "%sx", shared)), 0);
    struct stage_input in = {.from = in_store("tree/"), .to = shared};
    t.m.inputs = &in;
    t.m.n_inputs = 1;
    cr_expect_eq(stage_in(&t.job, &t.report, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_INVALID, "%s", t.err.text);
    cr_expect_not_null(strstr(t.err.text, "leads out of its directory"), "%s", t.err.text);
    cr_expect_not(is_there(outside, "keys"));
    /* The directory itself is the user's word, and is made. */
    t.err = (struct err){0};
    in.to = arena_printf(&t.arena, "%sx/new/", shared);
    cr_expect_eq(stage_in(&t.job, &t.report, &t.err), 0, "%s", t.err.text);
    cr_expect(is_there(outside, "new/x/keys"));
    scratch_remove(outside);
}

Test(stage_moves, what_a_killed_worker_left_in_a_store_goes)
{
    make_dir(t.store, "to");
    scratch_write(t.work, "a", "x");
    scratch_write(t.store, "to/.a.0123abcd.part", "");
    scratch_write(t.store, "to/.b.0123abcd.part", "");
    cr_expect_eq(store("a", "to/"), 0, "%s", t.err.text);
    cr_expect(is_there(t.store, "to/a"));
    cr_expect_not(is_there(t.store, "to/.a.0123abcd.part"));
    cr_expect(is_there(t.store, "to/.b.0123abcd.part"), "another's");
}

Test(stage_moves, what_cannot_be_stored_keeps_nothing_else_from_it)
{
    make_dir(t.work, "out");
    make_dir(t.work, "out/sub");
    scratch_write(t.work, "out/good", "x");
    scratch_write(t.work, "out/sub/good", "x");
    scratch_write(t.work, "out/sub/b\nd", "x");
    cr_expect_eq(store("out/", "to/"), -1);
    cr_expect_eq(t.err.code, ERR_INVALID, "%s", t.err.text);
    cr_expect_not_null(strstr(t.err.text, "b?d"), "%s", t.err.text);
    cr_expect_not_null(strstr(t.err.text, "the other files are stored"), "%s", t.err.text);
    cr_expect(is_there(t.store, "to/good"));
    cr_expect(is_there(t.store, "to/sub/good"));
}

Test(stage_moves, a_link_to_nothing_is_said_to_be_left_out)
{
    make_dir(t.work, "out");
    scratch_write(t.work, "out/good", "x");
    cr_assert_eq(symlink("none", arena_printf(&t.arena, "%s/out/link", t.work)), 0);
    cr_expect_eq(store("out/", "to/"), 0, "%s", t.err.text);
    cr_expect_not_null(strstr(t.report.text, "left out: 1 links"), "%s", t.report.text);
}

Test(stage_moves, a_log_that_is_not_there_is_missing)
{
    t.m.body.std_out = arena_printf(&t.arena, "%s/log.%%a", t.work);
    t.m.body.stdout_to = in_store("log");
    t.task.task = MANIFEST_NO_TASK;
    cr_expect_eq(stage_out(&t.job, &t.report, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_NOT_FOUND, "%s", t.err.text);
    cr_expect_not_null(strstr(t.err.text, "standard output"), "%s", t.err.text);
    t.err = (struct err){0};
    scratch_write(t.work, "log.4294967294", "x"); /* as Slurm calls it outside arrays */
    cr_expect_eq(stage_out(&t.job, &t.report, &t.err), 0, "%s", t.err.text);
    cr_expect(is_there(t.store, "log"));
}

Test(stage_moves, an_absolute_directory_may_be_missing)
{
    cr_expect_eq(store(arena_printf(&t.arena, "%s/none/", t.work), "x/"), 0, "%s", t.err.text);
    cr_expect_eq(store(arena_printf(&t.arena, "%s/none/*.dat", t.work), "x/"), 0, "%s", t.err.text);
    struct stage_output out = {
        .from = arena_printf(&t.arena, "%s/none/", t.work), .to = in_store("x/"), .required = true};
    t.m.outputs = &out;
    cr_expect_eq(stage_out(&t.job, &t.report, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_NOT_FOUND);
    cr_expect_not_null(strstr(t.err.text, "required output"), "%s", t.err.text);
}

/* A tree takes as long as it takes, with nothing to store in it. */
Test(stage_moves, looking_for_outputs_ends_when_the_time_is_over)
{
    make_dir(t.work, "out");
    t.meter.deadline_ms = clock_mono_ms() - 1;
    cr_expect_eq(store("out/", "x/"), -1);
    cr_expect_eq(t.err.code, ERR_TIMEOUT);
    cr_expect_eq(store("*.dat", "x/"), -1);
    cr_expect_eq(t.err.code, ERR_TIMEOUT);
}

Test(stage_moves, looking_for_outputs_says_that_it_lives_and_ends_when_nobody_listens)
{
    int pair[2];
    char got[4096];
    make_dir(t.work, "out");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    t.meter.fd = pair[0];
    t.meter.told_ms = 0;
    cr_expect_eq(store("out/", "x/"), 0, "%s", t.err.text);
    cr_expect_gt(recv(pair[1], got, sizeof got, MSG_DONTWAIT), 0);
    close(pair[1]);
    t.meter.told_ms = 0;
    cr_expect_eq(store("out/", "x/"), -1);
    cr_expect_eq(t.err.code, ERR_INTERRUPTED);
    close(pair[0]);
}

Test(stage_moves, attempts_are_not_to_be_searched_for_a_tag)
{
    const struct stage_granted g = {.request = {1}};
    uint32_t tag = 0;
    cr_expect_eq(stage_granted_tag(&g, 1001, STAGE_ATTEMPTS_MAX, &tag, &t.err), 0);
    cr_expect_eq(tag, request_tag(1001, g.request, STAGE_ATTEMPTS_MAX));
    cr_expect_eq(stage_granted_tag(&g, 1001, STAGE_ATTEMPTS_MAX + 1, &tag, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_LIMIT);
}
