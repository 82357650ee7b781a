/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests in a real journal: what is there after it was closed, copied, moved, damaged */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/conf.h"
#include "agentd/requests.h"
#include "common/clock.h"
#include "common/seal.h"
#include "tests/kit/run.h"
#include "tests/kit/scratch.h"

enum { PATIENCE_MS = 20000, ROWS = 8 };

static char dir[SCRATCH_PATH];
static struct agentd_conf conf;
static sd_event *loop;
static struct journal *j;

static void open_it(void)
{
    struct err err = {0};
    conf.state_dir = dir;
    j = journal_new(loop, &conf, &err);
    cr_assert_not_null(j, "%s", err.text);
}

static void close_it(void)
{
    journal_free(j);
    j = NULL;
}

static void set_up(void)
{
    struct err err = {0};
    cr_assert_eq(seal_setup(&err), 0);
    conf = (struct agentd_conf){.history_days = 30, .history_rows = 100000};
    scratch_make(dir);
    cr_assert_geq(sd_event_new(&loop), 0);
    open_it();
}

static void tear_down(void)
{
    close_it();
    sd_event_unref(loop);
    scratch_remove(dir);
}

TestSuite(journal_requests, .init = set_up, .fini = tear_down, .timeout = 60);

static void shell(const char *command)
{
    char line[500];
    snprintf(line, sizeof line, "cd %s && %s", dir, command);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", line)), 0, "%s", line);
}

static void sql(const char *text)
{
    char path[SCRATCH_PATH + 16];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/journal.db", dir);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

struct answer {
    bool done, begun;
    struct request_row rows[ROWS];
    size_t n;
    struct err err;
};

static void on_rows(void *arg, const struct request_row *rows, size_t n, bool begun,
                    const struct err *err)
{
    struct answer *a = arg;
    cr_assert_leq(n, ROWS);
    a->done = true;
    a->begun = begun;
    a->n = n;
    a->err = *err;
    if (n)
        memcpy(a->rows, rows, n * sizeof *rows);
}

static void await(const struct answer *a)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!a->done && clock_mono_ms() < until)
        sd_event_run(loop, 100000);
    cr_assert(a->done, "the journal does not answer");
}

static struct request_row row_of(uint8_t id, enum request_state state)
{
    struct request_row row = {
        .uid = 1001,
        .id = {id},
        .hash = {9},
        .state = state,
        .attempt = 1,
        .begun = clock_now(),
        .changed = clock_now(),
    };
    row.tag = request_tag(row.uid, row.id, row.attempt);
    return row;
}

static struct answer begin(struct request_row row)
{
    struct answer a = {0};
    journal_request_begin(j, &row, on_rows, &a);
    await(&a);
    return a;
}

static void note(struct request_row row)
{
    journal_request_note(j, &row, 1);
}

static struct answer get(uint8_t id)
{
    struct answer a = {0};
    struct request_row row = row_of(id, REQUEST_SUBMITTING);
    journal_request_get(j, row.uid, row.id, on_rows, &a);
    await(&a);
    return a;
}

static struct answer open_ones(void)
{
    struct answer a = {0};
    journal_requests_open(j, clock_now() - 3600, on_rows, &a);
    await(&a);
    return a;
}

Test(journal_requests, a_new_one_begins_and_is_there_again)
{
    struct answer a = begin(row_of(1, REQUEST_SUBMITTING));
    cr_assert_eq(a.err.code, ERR_NONE, "%s", a.err.text);
    cr_expect(a.begun);
    close_it();
    open_it();
    a = get(1);
    cr_assert_eq(a.n, 1);
    cr_expect_eq(a.rows[0].state, REQUEST_SUBMITTING);
    cr_expect_eq(a.rows[0].tag, row_of(1, REQUEST_SUBMITTING).tag);
    cr_expect_eq(a.rows[0].hash[0], 9);
    cr_expect_eq(get(2).n, 0);
}

Test(journal_requests, one_that_is_there_does_not_begin_again)
{
    begin(row_of(1, REQUEST_SUBMITTING));
    struct answer a = begin(row_of(1, REQUEST_SUBMITTING));
    cr_expect_not(a.begun);
    struct request_row done = row_of(1, REQUEST_SUBMITTED);
    done.job_id = 17;
    note(done);
    a = begin(row_of(1, REQUEST_SUBMITTING));
    cr_expect_not(a.begun);
    cr_expect_eq(a.rows[0].job_id, 17);
}

Test(journal_requests, one_without_a_job_begins_as_the_next_attempt)
{
    begin(row_of(1, REQUEST_SUBMITTING));
    note(row_of(1, REQUEST_NOT_SUBMITTED));
    struct answer a = begin(row_of(1, REQUEST_SUBMITTING));
    cr_expect(a.begun);
    cr_expect_eq(a.rows[0].attempt, 2);
    cr_expect_eq(a.rows[0].tag, request_tag(1001, a.rows[0].id, 2));
}

Test(journal_requests, one_without_a_job_does_not_begin_with_other_content)
{
    note(row_of(1, REQUEST_NOT_SUBMITTED));
    struct request_row other = row_of(1, REQUEST_SUBMITTING);
    other.hash[0] = 8;
    struct answer a = begin(other);
    cr_expect_not(a.begun);
    cr_expect_eq(a.rows[0].hash[0], 9);
}

Test(journal_requests, open_ones_are_given_to_the_next_broker)
{
    for (uint8_t i = REQUEST_SUBMITTING; i <= REQUEST_LOST; i++)
        note(row_of(i, (enum request_state)i));
    struct request_row long_ago = row_of(100, REQUEST_NOT_SUBMITTED);
    long_ago.changed -= 7200;
    note(long_ago);
    close_it();
    open_it();
    struct answer a = open_ones();
    uint64_t ids = 0;
    for (size_t i = 0; i < a.n; i++)
        ids |= UINT64_C(1) << a.rows[i].id[0];
    cr_expect_eq(ids,
                 UINT64_C(1) << REQUEST_SUBMITTING | UINT64_C(1) << REQUEST_IN_DOUBT |
                     UINT64_C(1) << REQUEST_SUBMITTED | UINT64_C(1) << REQUEST_NOT_SUBMITTED |
                     UINT64_C(1) << REQUEST_LOST,
                 "%llx", (unsigned long long)ids);
}

Test(journal_requests, the_journal_is_the_same_after_a_restart)
{
    uint8_t was[SEAL_ID], none[SEAL_ID] = {0};
    memcpy(was, journal_instance(j), SEAL_ID);
    cr_expect_neq(memcmp(was, none, SEAL_ID), 0);
    begin(row_of(1, REQUEST_SUBMITTING));
    close_it();
    open_it();
    cr_expect_eq(memcmp(was, journal_instance(j), SEAL_ID), 0);
    cr_expect_eq(get(1).n, 1);
}

/* What was begun since the copy was made is not in it, and so nothing in it counts. */
static void expect_void(const char *restore)
{
    uint8_t was[SEAL_ID];
    memcpy(was, journal_instance(j), SEAL_ID);
    begin(row_of(1, REQUEST_SUBMITTING));
    close_it();
    shell("mkdir copy && cp -p journal.db journal.lock copy/");
    open_it();
    begin(row_of(2, REQUEST_SUBMITTING));
    close_it();
    shell(restore);
    open_it();
    cr_expect_null(journal_trouble(j));
    cr_expect_neq(memcmp(was, journal_instance(j), SEAL_ID), 0, "%s", restore);
    cr_expect_eq(get(1).n, 0);
    cr_expect(begin(row_of(3, REQUEST_SUBMITTING)).begun, "and it takes new ones");
}

Test(journal_requests, a_copy_in_its_place_knows_nothing)
{
    expect_void("cp copy/journal.db journal.db && rm -f journal.db-*");
}

Test(journal_requests, a_copy_of_all_files_knows_nothing)
{
    expect_void("rm -f journal.* && cp -p copy/* .");
}

Test(journal_requests, a_copy_without_the_mark_knows_nothing)
{
    expect_void("rm -f journal.* && cp copy/journal.db .");
}

Test(journal_requests, one_that_is_made_anew_is_another)
{
    uint8_t was[SEAL_ID];
    memcpy(was, journal_instance(j), SEAL_ID);
    int64_t openings = journal_openings(j);
    begin(row_of(1, REQUEST_SUBMITTING));
    shell("mkdir away && mv journal.db* away/");
    struct answer a = begin(row_of(2, REQUEST_SUBMITTING));
    cr_expect_eq(a.err.code, ERR_NONE, "%s", a.err.text);
    cr_expect_neq(memcmp(was, journal_instance(j), SEAL_ID), 0);
    cr_expect_gt(journal_openings(j), openings, "whoever keeps requests reads it");
    cr_expect_eq(get(1).n, 0);
}

Test(journal_requests, one_that_is_damaged_takes_none_and_says_what_to_do)
{
    close_it();
    shell("cp /etc/passwd journal.db && rm -f journal.db-*");
    open_it();
    struct answer a = begin(row_of(1, REQUEST_SUBMITTING));
    cr_expect_eq(a.err.code, ERR_INTERNAL);
    cr_expect_not_null(strstr(a.err.text, "move it"), "%s", a.err.text);
}

Test(journal_requests, old_ones_go_and_open_ones_stay)
{
    for (uint8_t i = REQUEST_SUBMITTING; i <= REQUEST_LOST; i++) {
        struct request_row row = row_of(i, (enum request_state)i);
        note(row);
    }
    cr_assert_eq(get(REQUEST_LOST).n, 1);
    close_it();
    sql("UPDATE request SET changed = changed - 40 * 86400");
    open_it(); /* it prunes at once */
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (get(REQUEST_LOST).n && clock_mono_ms() < until)
        ;
    for (uint8_t i = REQUEST_SUBMITTING; i <= REQUEST_LOST; i++)
        cr_expect_eq(get(i).n, i <= REQUEST_OPEN_MAX, "state %d", i);
}

/* The state of a request whose job has such a final record. */
static int64_t state_with(const char *phase)
{
    struct request_row row = row_of(1, REQUEST_SUBMITTED);
    char text[300];
    row.job_id = 17;
    note(row);
    close_it();
    snprintf(
        text, sizeof text,
        "INSERT INTO ended (job_id, submit_time, restarts, grp, uid, tag, end_time, phase, state, "
        "name, user, partition) VALUES (17, 1, 0, 17, 1001, %lld, 2, '%s', '', '', '', '')",
        (long long)row.tag, phase);
    sql(text);
    open_it();
    return get(1).rows[0].state;
}

Test(journal_requests, one_whose_job_has_ended_on_disk_is_over)
{
    cr_expect_eq(state_with("SUCCEEDED"), REQUEST_ENDED);
}

Test(journal_requests, one_whose_job_has_gone_without_an_end_is_not)
{
    cr_expect_eq(state_with("UNKNOWN"), REQUEST_SUBMITTED, "it may be LOST");
}
