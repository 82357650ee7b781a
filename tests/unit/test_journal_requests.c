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
#include "tests/kit/record.h"
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
    conf = (struct agentd_conf){
        .history_days = 30, .history_rows = 100000, .max_request_ids_per_user = 1000000};
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
    sqlite3_busy_timeout(db, 20000); /* the journal may be at it */
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
    journal_request_note(j, &row, 1, NULL, NULL);
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

Test(journal_requests, one_whose_mark_was_removed_knows_nothing)
{
    uint8_t instance[SEAL_ID];
    cr_assert(begin(row_of(1, REQUEST_SUBMITTING)).begun);
    memcpy(instance, journal_instance(j), SEAL_ID);
    close_it();
    shell("rm journal.lock");
    open_it();
    cr_expect_eq(get(1).n, 0);
    cr_expect_arr_neq(journal_instance(j), instance, SEAL_ID);
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

static int64_t count_rows(void)
{
    char path[SCRATCH_PATH + 16];
    sqlite3 *db;
    sqlite3_stmt *st;
    snprintf(path, sizeof path, "%s/journal.db", dir);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, "SELECT count(*) FROM request", -1, &st, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

/* To whoever sends one again that is gone, it is a new submit. */
Test(journal_requests, a_clock_that_jumps_ahead_does_not_take_all)
{
    note(row_of(1, REQUEST_ENDED));
    close_it();
    sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
        "INSERT INTO request (uid, id, hash, state, attempt, tag, begun, changed, job_id, "
        "submit_time, code, text) SELECT 1001, randomblob(16), x'09', 4, 1, 1, 1, 1, 1, 1, 0, '' "
        "FROM n");
    open_it();
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (count_rows() > 3001 && clock_mono_ms() < until)
        ;
    for (int i = 0; i < 20; i++)
        cr_assert_eq(get(1).n, 1);
    cr_expect_eq(count_rows(), 3001, "%lld are left", (long long)count_rows());
}

/* ---- how many a user may have ---- */

static void expect_no_room(uint8_t id, const char *until)
{
    struct answer a = begin(row_of(id, REQUEST_SUBMITTING));
    cr_expect_not(a.begun);
    cr_expect_eq(a.err.code, ERR_LIMIT);
    cr_expect_not_null(strstr(a.err.text, "max_request_ids_per_user"), "%s", a.err.text);
    cr_expect_not_null(strstr(a.err.text, until), "%s", a.err.text);
    cr_expect_eq(get(id).n, 0, "nothing is noted of it");
}

static void few(void)
{
    close_it();
    conf.max_request_ids_per_user = 2;
    open_it();
}

Test(journal_requests, a_user_has_so_many_and_no_more)
{
    few();
    cr_assert(begin(row_of(1, REQUEST_SUBMITTING)).begun);
    cr_assert(begin(row_of(2, REQUEST_SUBMITTING)).begun);
    expect_no_room(3, "none of them is over yet");
    struct request_row over = row_of(2, REQUEST_ENDED);
    over.changed = 1700000000;
    note(over);
    expect_no_room(3, "the oldest goes at 2023-12-14 22:13 UTC");
    struct request_row bobs = row_of(3, REQUEST_SUBMITTING);
    bobs.uid = 1002;
    cr_expect(begin(bobs).begun, "others have room");
}

Test(journal_requests, ids_that_are_there_need_no_room)
{
    few();
    begin(row_of(1, REQUEST_SUBMITTING));
    begin(row_of(2, REQUEST_SUBMITTING));
    note(row_of(1, REQUEST_NOT_SUBMITTED));
    struct answer a = begin(row_of(1, REQUEST_SUBMITTING));
    cr_expect(a.begun, "%s", a.err.text);
    cr_expect_eq(a.rows[0].attempt, 2);
    a = begin(row_of(2, REQUEST_SUBMITTING));
    cr_expect_eq(a.err.code, ERR_NONE);
    cr_expect_eq(a.n, 1);
    note(row_of(3, REQUEST_SUBMITTED)); /* it was begun in a journal that was lost, say */
    cr_expect_eq(get(3).n, 1);
}

/* Those in one transaction count as well; nobody else's submit fails with one. */
Test(journal_requests, who_comes_together_with_others_counts_as_well)
{
    struct answer a[4] = {0};
    few();
    for (uint8_t i = 0; i < 4; i++) {
        struct request_row row = row_of(i, REQUEST_SUBMITTING);
        row.uid = i == 3 ? 1002 : 1001;
        journal_request_begin(j, &row, on_rows, &a[i]);
    }
    for (int i = 0; i < 4; i++)
        await(&a[i]);
    cr_expect(a[0].begun && a[1].begun && a[3].begun);
    cr_expect_eq(a[2].err.code, ERR_LIMIT);
}

Test(journal_requests, there_is_room_when_old_ones_have_gone)
{
    few();
    note(row_of(1, REQUEST_ENDED));
    note(row_of(2, REQUEST_ENDED));
    expect_no_room(3, "the oldest goes at");
    close_it();
    sql("UPDATE request SET changed = changed - 40 * 86400");
    open_it(); /* it prunes at once */
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (get(1).n && clock_mono_ms() < until)
        ;
    cr_expect(begin(row_of(3, REQUEST_SUBMITTING)).begun);
    cr_expect(begin(row_of(4, REQUEST_SUBMITTING)).begun);
    expect_no_room(5, "none of them is over yet");
}

/* What an earlier version kept is counted when the file is opened. */
Test(journal_requests, rows_of_before_count)
{
    begin(row_of(1, REQUEST_SUBMITTING));
    begin(row_of(2, REQUEST_SUBMITTING));
    close_it();
    sql("DROP TRIGGER request_new; DROP TRIGGER request_gone; DROP INDEX request_user_over;"
        "DROP TABLE request_user; DROP INDEX seen_grp; ALTER TABLE seen DROP COLUMN grp;"
        "PRAGMA user_version = 5");
    conf.max_request_ids_per_user = 2;
    open_it();
    expect_no_room(3, "none of them is over yet");
    cr_expect_eq(get(2).n, 1);
}

/* A request with a final record of a job that carries its tag, when the journal is opened. */
static struct request_row row_with(enum request_state state, int64_t submit_time, const char *phase)
{
    struct request_row row = row_of(1, state);
    char text[300];
    row.job_id = state == REQUEST_SUBMITTED ? 17 : 0;
    note(row);
    close_it();
    snprintf(
        text, sizeof text,
        "INSERT INTO ended (job_id, submit_time, restarts, grp, uid, tag, end_time, phase, state, "
        "name, user, partition) VALUES (17, %lld, 0, 17, 1001, %lld, 2, '%s', '', '', '', '')",
        (long long)submit_time, (long long)row.tag, phase);
    sql(text);
    open_it();
    return get(1).rows[0];
}

Test(journal_requests, one_whose_job_has_ended_on_disk_is_over)
{
    struct request_row row = row_with(REQUEST_SUBMITTED, 1, "SUCCEEDED");
    cr_expect_eq(row.state, REQUEST_ENDED);
    cr_expect_eq(row.submit_time, 1, "which was not known when it was noted");
}

/* Job 17 has ended; what had not, as last seen, is of group 17. */
static enum request_state state_beside(int64_t job_id, int64_t submit_time)
{
    char text[200];
    snprintf(text, sizeof text,
             "INSERT INTO seen (job_id, submit_time, body, grp) VALUES (%lld, %lld, x'', 17)",
             (long long)job_id, (long long)submit_time);
    sql(text);
    return (enum request_state)row_with(REQUEST_SUBMITTED, 1, "SUCCEEDED").state;
}

Test(journal_requests, one_whose_other_tasks_have_not_ended_is_not_over)
{
    cr_expect_eq(state_beside(18, 1), REQUEST_SUBMITTED);
}

Test(journal_requests, one_that_was_requeued_is_not_over)
{
    cr_expect_eq(state_beside(17, 5), REQUEST_SUBMITTED);
}

Test(journal_requests, one_whose_job_has_gone_without_an_end_is_not)
{
    cr_expect_eq(row_with(REQUEST_SUBMITTED, 1, "UNKNOWN").state, REQUEST_SUBMITTED,
                 "it may be LOST");
}

Test(journal_requests, one_under_way_whose_job_has_ended_on_disk_is_over)
{
    int64_t now = clock_now();
    struct request_row row = row_with(REQUEST_SUBMITTING, now, "SUCCEEDED");
    cr_expect_eq(row.state, REQUEST_ENDED);
    cr_expect_eq(row.job_id, 17);
    cr_expect_eq(row.submit_time, now);
}

/* The record that slurmctld keeps of what it refused: its answer was not noted. */
Test(journal_requests, one_under_way_that_was_refused_had_no_job)
{
    struct request_row row = row_of(1, REQUEST_SUBMITTING);
    const struct job refused = {.job_id = 17,
                                .id = "17",
                                .uid = 1001,
                                .state = "FAILED",
                                .phase = "FAILED",
                                .submit_time = clock_now(),
                                .start_time = clock_now(),
                                .end_time = clock_now(),
                                .tag = row.tag};
    struct jobrec *rec = record_of(&refused);
    note(row);
    journal_put(j, &rec, 1, NULL, NULL);
    cr_expect_eq(get(1).n, 1); /* after both */
    jobrec_unref(rec);
    close_it();
    open_it();
    cr_expect_eq(get(1).rows[0].state, REQUEST_SUBMITTING);
}

Test(journal_requests, one_in_doubt_whose_job_has_gone_without_an_end_had_that_job)
{
    struct request_row row = row_with(REQUEST_IN_DOUBT, clock_now(), "UNKNOWN");
    cr_expect_eq(row.state, REQUEST_SUBMITTED);
    cr_expect_eq(row.job_id, 17);
}

Test(journal_requests, one_in_doubt_has_not_the_job_of_long_ago_with_its_tag)
{
    cr_expect_eq(row_with(REQUEST_IN_DOUBT, clock_now() - 7200, "SUCCEEDED").state,
                 REQUEST_IN_DOUBT);
}
