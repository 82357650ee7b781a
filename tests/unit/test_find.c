/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Jobs by id from a table and a journal, as they are while slurmctld has not been heard: what is
 * known is given, and an id that nobody knows is SLURM_DOWN */
#include <criterion/criterion.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/find.h"
#include "agentd/journal.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/record.h"
#include "tests/kit/scratch.h"

enum { PATIENCE_MS = 10000 };

static struct agentd a;
static struct user user = {.uid = 1001, .name = "alice"};
static char dir[SCRATCH_PATH];

static void set_up(void)
{
    struct err err = {0};
    scratch_make(dir);
    cr_assert_geq(sd_event_new(&a.loop), 0);
    a.conf = (struct agentd_conf){.state_dir = dir, .history_days = 30, .history_rows = 1000};
    a.table = table_new(20000);
    a.journal = journal_new(a.loop, &a.conf, &err);
    a.watch = watch_new(&a, &err);
    cr_assert_eq(err.code, ERR_NONE, "%s", err.text);
}

static void tear_down(void)
{
    journal_free(a.journal);
    watch_free(a.watch);
    table_free(a.table);
    sd_event_unref(a.loop);
    scratch_remove(dir);
}

TestSuite(find, .init = set_up, .fini = tear_down, .timeout = 60);

static struct jobrec *record(struct job j)
{
    j.uid = j.uid ? j.uid : 1001;
    return record_of(&j);
}

static void in_table(struct job j)
{
    struct jobrec *old = NULL;
    struct err err = {0};
    cr_assert_eq(table_put(a.table, record(j), &old, &err), 0);
    jobrec_unref(old);
}

static void on_put(void *arg, const struct journal_row *rows, size_t n, bool more,
                   const struct err *err)
{
    bool *done = arg;
    (void)rows;
    (void)n;
    (void)more;
    cr_assert_eq(err->code, ERR_NONE, "%s", err->text);
    *done = true;
}

static void run_until(const bool *done)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!*done && clock_mono_ms() < until)
        sd_event_run(a.loop, 100000);
    cr_assert(*done);
}

static void in_journal(struct job j)
{
    bool done = false;
    struct jobrec *rec = record(j);
    journal_put(a.journal, &rec, 1, on_put, &done);
    jobrec_unref(rec);
    run_until(&done);
}

struct answer {
    bool done;
    struct err err;
    bool stale;
    size_t n;
    char text[500];
};

static void on_found(struct call *c, const struct found *f, const struct err *err)
{
    struct answer *x = c->state;
    cr_expect_not(x->done, "answered twice");
    x->done = true;
    x->err = *err;
    x->stale = f->stale;
    x->n = f->n;
    for (size_t i = 0; i < f->n; i++) {
        size_t at = strlen(x->text);
        snprintf(x->text + at, sizeof x->text - at, "%s=%s ", f->recs[i]->id,
                 f->recs[i]->keys.state);
    }
}

static struct answer find_ids(const char *const *ids)
{
    struct answer x = {0};
    struct call c = {.a = &a, .user = &user, .state = &x};
    struct strs s = {ids, 0};
    while (ids[s.n])
        s.n++;
    find_jobs(&c, &s, on_found);
    run_until(&x.done);
    return x;
}
#define FIND(...) find_ids((const char *const[]){__VA_ARGS__, NULL})

static struct job task(uint32_t job_id, const char *id, const char *number, const char *state)
{
    return (struct job){.job_id = job_id,
                        .id = id,
                        .array_job_id = 20,
                        .array_task = number,
                        .state = state,
                        .submit_time = 100,
                        .tag = 5};
}

Test(find, from_the_table_then_from_the_journal)
{
    in_table((struct job){.job_id = 7, .id = "7", .state = "RUNNING", .submit_time = 100});
    in_journal((struct job){.job_id = 6, .id = "6", .state = "FAILED", .submit_time = 90});
    struct answer x = FIND("7", "6");
    cr_expect_eq(x.err.code, ERR_NONE, "%s", x.err.text);
    cr_expect_str_eq(x.text, "6=FAILED 7=RUNNING ");
    cr_expect(x.stale);
    x = FIND("7", "8");
    cr_expect_eq(x.err.code, ERR_SLURM_DOWN, "%s", x.err.text);
    cr_expect_eq(FIND("7", "x").err.code, ERR_INVALID);
}

Test(find, the_newest_run_of_a_job)
{
    struct job j = {.job_id = 7, .id = "7", .state = "FAILED", .submit_time = 100};
    in_journal(j);
    j.restarts = 1;
    j.state = "COMPLETED";
    in_journal(j);
    j.restarts = 0;
    j.submit_time = 50;
    j.state = "TIMEOUT";
    in_journal(j);
    cr_expect_str_eq(FIND("7").text, "7=COMPLETED ");
    j.submit_time = 200;
    j.state = "PENDING";
    in_table(j);
    cr_expect_str_eq(FIND("7").text, "7=PENDING ", "the id was given again");
}

Test(find, an_array_is_what_the_table_has_and_what_it_had)
{
    in_table(task(20, "20_[4-9]", "4-9", "PENDING"));
    in_table(task(23, "20_3", "3", "RUNNING"));
    in_journal(task(21, "20_1", "1", "COMPLETED"));
    in_journal(task(22, "20_2", "2", "FAILED"));
    struct job first_run = task(23, "20_3", "3", "NODE_FAIL");
    first_run.submit_time = 99;
    in_journal(first_run);
    cr_expect_str_eq(FIND("20").text, "20_[4-9]=PENDING 20_1=COMPLETED 20_2=FAILED 20_3=RUNNING ");
    cr_expect_str_eq(FIND("20_2").text, "20_2=FAILED ");
    cr_expect_str_eq(FIND("22").text, "20_2=FAILED ", "by its own number");
    cr_expect_str_eq(FIND("20_2", "20", "22", "20_3").text,
                     "20_[4-9]=PENDING 20_1=COMPLETED 20_2=FAILED 20_3=RUNNING ", "each once");
    cr_expect_str_eq(FIND("20_5").text, "20_[4-9]=PENDING ");
}

Test(find, an_array_whose_id_came_again_has_none_of_the_old_tasks)
{
    struct job old = task(31, "20_7", "7", "COMPLETED");
    old.submit_time = 10;
    old.tag = 4;
    in_journal(old);
    in_journal(task(21, "20_1", "1", "COMPLETED"));
    struct job requeued = task(22, "20_2", "2", "FAILED");
    requeued.submit_time = 130;
    requeued.restarts = 1;
    in_journal(requeued);
    cr_expect_str_eq(FIND("20").text, "20_1=COMPLETED 20_2=FAILED ", "the newest row says whose");
    struct job newer = task(40, "20_1", "1", "RUNNING");
    newer.submit_time = 500;
    newer.tag = 6;
    in_table(newer);
    cr_expect_str_eq(FIND("20").text, "20_1=RUNNING ", "the table does, where it has the array");
    cr_expect_eq(FIND("20_2").err.code, ERR_NONE);
}

Test(find, components_with_tags_of_their_own_are_one_job)
{
    struct job h = {.het_job_id = 30, .state = "COMPLETED", .submit_time = 100};
    h.job_id = 30, h.id = "30+0", h.tag = 1;
    in_journal(h);
    h.job_id = 31, h.id = "30+1", h.het_offset = 1, h.tag = 2;
    in_journal(h);
    cr_expect_str_eq(FIND("30").text, "30+0=COMPLETED 30+1=COMPLETED ");
    cr_expect_str_eq(FIND("30+1").text, "30+1=COMPLETED ");
}

Test(find, others_jobs_are_not_told_before_it_is_known_whether_they_are_private)
{
    in_journal(
        (struct job){.job_id = 7, .id = "7", .state = "FAILED", .submit_time = 100, .uid = 1002});
    struct answer x = FIND("7");
    cr_expect_eq(x.err.code, ERR_SLURM_DOWN, "%s", x.text);
    cr_expect_str_eq(x.text, "");
}

Test(find, a_journal_that_cannot_be_read_hides_no_job_of_the_table)
{
    struct err err = {0};
    journal_free(a.journal);
    a.conf.state_dir = "/nonexistent/dir";
    a.journal = journal_new(a.loop, &a.conf, &err);
    in_table(task(23, "20_3", "3", "RUNNING"));
    cr_expect_str_eq(FIND("20").text, "20_3=RUNNING ");
}

Test(find, each_id_of_a_large_array_in_one_request)
{
    /* as fast as one by one: every id compared with every task would take minutes */
    enum { TASKS = 10000 };
    static char text[2 * TASKS][16];
    static const char *ids[2 * TASKS + 1];
    for (int i = 0; i < TASKS; i++) {
        char number[16];
        snprintf(text[i], sizeof text[i], "20_%d", i);
        snprintf(number, sizeof number, "%d", i);
        in_table(task(30000 + (uint32_t)(i * 7) % TASKS, text[i], number, "RUNNING"));
        snprintf(text[TASKS + i], sizeof text[i], "20_%d", 1000000 + i);
    }
    for (int i = 0; i < TASKS; i++)
        ids[i] = text[i];
    int64_t begin = clock_mono_ms();
    struct answer x = find_ids(ids);
    cr_expect_eq(x.err.code, ERR_NONE, "%s", x.err.text);
    cr_expect_eq(x.n, TASKS);
    for (int i = 0; i < TASKS; i++)
        ids[i] = text[TASKS + i];
    x = find_ids(ids);
    cr_expect_eq(x.err.code, ERR_SLURM_DOWN, "nobody knows any");
    cr_expect_lt(clock_mono_ms() - begin, 5000);
}

Test(find, the_same_id_many_times_is_one_record)
{
    static const char *ids[5001];
    in_table(task(31, "20_1", "1", "RUNNING"));
    in_table(task(32, "20_2", "2", "RUNNING"));
    for (int i = 0; i < 5000; i++)
        ids[i] = i % 2 ? "20" : "20_2";
    struct answer x = find_ids(ids);
    cr_expect_str_eq(x.text, "20_1=RUNNING 20_2=RUNNING ");
    for (int i = 0; i < 5000; i++)
        ids[i] = i % 2 ? "20_[1-2]" : "20_2";
    x = find_ids(ids);
    cr_expect_eq(x.err.code, ERR_LIMIT, "each list is compared with all tasks");
    ids[0] = "20_[2-9]"; /* of the two */
    ids[1] = "20_2";
    ids[2] = "20_2";
    ids[3] = NULL;
    x = find_ids(ids);
    cr_expect_str_eq(x.text, "20_2=RUNNING ");
}
