/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "agentd/conf.h"
#include "agentd/journal.h"
#include "agentd/journal_requests.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/run.h"
#include "tests/kit/record.h"
#include "tests/kit/scratch.h"

TestSuite(journal, .timeout = 200);

enum { PATIENCE_MS = 60000, DAY_S = 86400 };

/* ---- a journal of the test's own ---- */

struct desk {
    char dir[SCRATCH_PATH];
    struct agentd_conf conf;
    sd_event *loop;
    struct journal *j;
};

static void desk_open(struct desk *d)
{
    struct err err = {0};
    d->conf.state_dir = d->dir;
    d->j = journal_new(d->loop, &d->conf, &err);
    cr_assert_not_null(d->j, "%s", err.text);
}

static void desk_close(struct desk *d)
{
    journal_free(d->j);
    d->j = NULL;
}

static void desk_reopen(struct desk *d)
{
    desk_close(d);
    desk_open(d);
}

static void desk_begin(struct desk *d)
{
    *d = (struct desk){.conf = {.history_days = 30, .history_rows = 100000}};
    scratch_make(d->dir);
    cr_assert_geq(sd_event_new(&d->loop), 0);
}

static void desk_start(struct desk *d)
{
    desk_begin(d);
    desk_open(d);
}

static void desk_end(struct desk *d)
{
    desk_close(d);
    sd_event_unref(d->loop);
    scratch_remove(d->dir);
}

/* What a work was answered; texts are "id=state " of each row. */
struct answer {
    bool done;
    struct err err;
    size_t n;
    bool more;
    int64_t first, last; /* numbers */
    bool known;          /* the first one was */
    char source[16], text[1000];
};

static void on_answer(void *arg, const struct journal_row *rows, size_t n, bool more,
                      const struct err *err)
{
    struct answer *a = arg;
    cr_expect_not(a->done, "answered twice");
    a->done = true;
    a->err = *err;
    a->n = n;
    a->more = more;
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(a->text);
        if (i == 0) {
            a->first = rows[i].number;
            a->known = rows[i].known;
        }
        a->last = rows[i].number;
        snprintf(a->text + at, sizeof a->text - at, "%s=%s ", rows[i].rec->id,
                 rows[i].rec->keys.state);
        AUTO(arena_done) struct arena arena = {0};
        struct job job;
        struct err bad = {0};
        cr_expect_eq(msg_unpack(&job_type, rows[i].rec->packed, &arena, MSG_STRICT, &job, &bad), 0);
        str_copy(a->source, sizeof a->source, str_or(job.source, ""));
    }
}

static void await(struct desk *d, const struct answer *a)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!a->done && clock_mono_ms() < until)
        sd_event_run(d->loop, 100000);
    cr_assert(a->done, "the journal does not answer");
}

static struct jobrec *record(const struct job *j)
{
    char id[32];
    struct job job = *j;
    snprintf(id, sizeof id, "%lld", (long long)job.job_id);
    job.id = job.id ? job.id : id;
    return record_of(&job);
}

static void post(struct desk *d, const struct job *j, struct answer *ret)
{
    struct jobrec *rec = record(j);
    *ret = (struct answer){0};
    journal_put(d->j, &rec, 1, on_answer, ret);
    jobrec_unref(rec);
}

static struct answer put(struct desk *d, const struct job *j)
{
    struct answer a;
    post(d, j, &a);
    await(d, &a);
    return a;
}

/* The number it got; when its end was known before, that one's, negative. */
static int64_t must_put(struct desk *d, const struct job *j)
{
    struct answer a = put(d, j);
    cr_assert_eq(a.err.code, ERR_NONE, "%s", a.err.text);
    return a.known ? -a.first : a.first;
}

static struct answer find(struct desk *d, struct journal_query q)
{
    struct answer a = {0};
    if (q.filter.uid == 0)
        q.filter.uid = -1;
    journal_find(d->j, &q, on_answer, &a);
    await(d, &a);
    return a;
}

static struct answer find_ids(struct desk *d, const char *const *texts, size_t limit)
{
    struct jobid ids[20];
    struct err err = {0};
    size_t n = 0;
    for (; texts[n]; n++)
        cr_assert_eq(jobid_parse(texts[n], &ids[n], &err), 0);
    return find(d, (struct journal_query){.ids = ids, .n_ids = n, .limit = limit});
}
#define find_named(d, limit, ...) find_ids(d, (const char *const[]){__VA_ARGS__, NULL}, limit)

/* Many records in one put: job_ids from first on, their ends at end_time. */
static void put_many(struct desk *d, uint32_t first, size_t n, int64_t end_time)
{
    struct answer a = {0};
    struct jobrec **v = calloc(n, sizeof(struct jobrec *));
    for (size_t i = 0; i < n; i++)
        v[i] = record(&(struct job){.job_id = first + (int64_t)i,
                                    .uid = 1001,
                                    .state = "COMPLETED",
                                    .submit_time = 1000,
                                    .end_time = end_time});
    journal_put(d->j, v, n, on_answer, &a);
    for (size_t i = 0; i < n; i++)
        jobrec_unref(v[i]);
    free(v);
    await(d, &a);
    cr_assert_eq(a.err.code, ERR_NONE, "%s", a.err.text);
}

static void sql(struct desk *d, const char *text)
{
    char path[SCRATCH_PATH], *why = NULL;
    sqlite3 *db;
    scratch_path(path, d->dir, "journal.db");
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, &why), SQLITE_OK, "%s", why);
    sqlite3_close(db);
}

/* Lets the loop run until there is, or is no, trouble. */
static bool turns(struct desk *d, bool trouble)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while ((journal_trouble(d->j) != NULL) != trouble && clock_mono_ms() < until)
        sd_event_run(d->loop, 100000);
    return (journal_trouble(d->j) != NULL) == trouble;
}

static const struct job done = {
    .job_id = 7, .uid = 1001, .state = "COMPLETED", .submit_time = 1000, .name = "a"};

/* ---- put and find ---- */

Test(journal, gives_back_what_it_was_given_also_after_a_restart)
{
    struct desk d;
    desk_start(&d);
    cr_expect_null(journal_trouble(d.j));
    int64_t number = must_put(&d, &done);
    cr_expect_gt(number, 0);
    cr_expect_eq(journal_newest(d.j), number);
    for (int i = 0; i < 2; i++) {
        struct answer a = find_named(&d, 0, "7");
        cr_expect_str_eq(a.text, "7=COMPLETED ");
        cr_expect_eq(a.first, number);
        cr_expect_str_eq(a.source, "journal");
        cr_expect_not(a.more);
        desk_reopen(&d);
        cr_expect_eq(journal_newest(d.j), number);
    }
    cr_expect_str_eq(find_named(&d, 0, "8").text, "");
    desk_end(&d);
}

Test(journal, only_its_user_may_read_the_file)
{
    struct desk d;
    struct stat s;
    char path[SCRATCH_PATH];
    desk_start(&d);
    must_put(&d, &done);
    static const char *const names[] = {"journal.db", "journal.db-wal", "journal.db-shm",
                                        "journal.lock"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        scratch_path(path, d.dir, names[i]);
        cr_assert_eq(stat(path, &s), 0, "%s", path);
        cr_expect_eq(s.st_mode & 0777, 0600, "%s", path);
    }
    desk_close(&d);
    scratch_path(path, d.dir, "journal.db");
    chmod(path, 0644);
    desk_open(&d);
    cr_assert_eq(stat(path, &s), 0);
    cr_expect_eq(s.st_mode & 0777, 0600, "narrowed when it was wider");
    desk_end(&d);
}

Test(journal, a_run_of_a_job_ends_once)
{
    struct desk d;
    desk_start(&d);
    int64_t number = must_put(&d, &done);
    struct job other = done;
    other.state = "FAILED";
    cr_expect_eq(must_put(&d, &other), -number, "known");
    cr_expect_str_eq(find_named(&d, 0, "7").text, "7=COMPLETED ");
    other.restarts = 1;
    cr_expect_gt(must_put(&d, &other), number, "another run of it");
    other.restarts = 0;
    other.submit_time = 2000;
    cr_expect_gt(must_put(&d, &other), number, "the id was given again");
    cr_expect_eq(find_named(&d, 0, "7").n, 3);
    desk_end(&d);
}

Test(journal, unknown_gives_way_to_what_is_known)
{
    struct desk d;
    desk_start(&d);
    struct job lost = done;
    lost.state = "RUNNING";
    lost.phase = "UNKNOWN";
    lost.end_time = clock_now() + DAY_S; /* as Slurm expected it */
    int64_t number = must_put(&d, &lost);
    cr_expect_eq(must_put(&d, &lost), -number);
    cr_expect_eq(find(&d, (struct journal_query){.since = clock_now() + 60}).n, 0,
                 "no end lies ahead");
    int64_t better = must_put(&d, &done);
    cr_expect_gt(better, number);
    cr_expect_eq(must_put(&d, &lost), -better, "and not the other way round");
    struct answer a = find_named(&d, 0, "7");
    cr_expect_str_eq(a.text, "7=COMPLETED ");
    cr_expect_eq(a.first, better);
    desk_end(&d);
}

Test(journal, ids_name_jobs_tasks_and_components)
{
    struct desk d;
    desk_start(&d);
    struct job t = {.array_job_id = 20, .state = "COMPLETED", .submit_time = 1, .uid = 1001};
    t.job_id = 21, t.id = "20_1", t.array_task = "1";
    must_put(&d, &t);
    t.job_id = 22, t.id = "20_2", t.array_task = "2";
    must_put(&d, &t);
    struct job h = {.het_job_id = 30, .state = "FAILED", .submit_time = 1, .uid = 1001};
    h.job_id = 30, h.id = "30+0";
    must_put(&d, &h);
    h.job_id = 31, h.id = "30+1", h.het_offset = 1;
    must_put(&d, &h);
    cr_expect_str_eq(find_named(&d, 0, "20").text, "20_1=COMPLETED 20_2=COMPLETED ");
    cr_expect_str_eq(find_named(&d, 0, "20_2").text, "20_2=COMPLETED ");
    cr_expect_str_eq(find_named(&d, 0, "20_3").text, "");
    cr_expect_str_eq(find_named(&d, 0, "22").text, "20_2=COMPLETED ", "a task by its own number");
    cr_expect_str_eq(find_named(&d, 0, "30+1").text, "30+1=FAILED ");
    cr_expect_str_eq(find_named(&d, 0, "31", "20_1", "30", "20_1", "22").text,
                     "20_1=COMPLETED 20_2=COMPLETED 30+0=FAILED 30+1=FAILED ",
                     "each once, in the order they were put");
    desk_end(&d);
}

Test(journal, goes_on_after_a_number)
{
    struct desk d;
    struct answer a;
    size_t got = 0;
    int pages = 0;
    desk_start(&d);
    put_many(&d, 100, 50, clock_now());
    int64_t after = 0;
    do {
        a = find(&d, (struct journal_query){.after = after, .limit = 20});
        cr_assert_gt(a.first, after);
        got += a.n;
        after = a.last;
    } while (a.more && ++pages < 10);
    cr_expect_eq(got, 50);
    cr_expect_eq(find(&d, (struct journal_query){.after = after}).n, 0);
    a = find(&d, (struct journal_query){.bytes = 1});
    cr_expect_eq(a.n, 1, "one at least");
    cr_expect(a.more);
    a = find_named(&d, 2, "101", "103", "102");
    cr_expect_str_eq(a.text, "101=COMPLETED 102=COMPLETED ");
    cr_expect(a.more);
    desk_end(&d);
}

Test(journal, goes_through_more_rows_than_one_look_takes)
{
    struct desk d;
    desk_start(&d);
    struct job rare = done;
    rare.uid = 1002;
    must_put(&d, &rare);
    for (uint32_t i = 0; i < 5; i++)
        put_many(&d, 1000 + i * 10000, 10000, clock_now());
    rare.job_id = 8;
    must_put(&d, &rare);
    struct answer a =
        find(&d, (struct journal_query){.filter = {.uid = -1, .name = "a"}, .limit = 100});
    cr_expect_str_eq(a.text, "7=COMPLETED 8=COMPLETED ");
    cr_expect_not(a.more);
    desk_end(&d);
}

Test(journal, filters)
{
    struct desk d;
    desk_start(&d);
    int64_t now = clock_now();
    struct job x = done;
    x.end_time = now - 100;
    x.tag = 5;
    x.user = "alice";
    x.partition = "main";
    must_put(&d, &x);
    x.job_id = 8, x.uid = 1002, x.state = "FAILED", x.user = "bob", x.end_time = now - 10;
    x.name = "b", x.tag = 6, x.partition = "small";
    must_put(&d, &x);
    const struct {
        struct journal_query q;
        const char *text;
    } cases[] = {
        {{.filter = {.uid = 1002}}, "8=FAILED "},
        {{.filter = {.uid = 1003}}, ""},
        {{.filter = {.uid = -1, .user = "alice"}}, "7=COMPLETED "},
        {{.filter = {.uid = -1, .name = "b"}}, "8=FAILED "},
        {{.filter = {.uid = -1, .partition = "main"}}, "7=COMPLETED "},
        {{.filter = {.uid = -1, .tag = 6}}, "8=FAILED "},
        {{.filter = {.uid = -1, .states = 1u << 5}}, "8=FAILED "},
        {{.filter = {.uid = -1}, .since = now - 50}, "8=FAILED "},
        {{.filter = {.uid = -1}, .since = now - 100}, "7=COMPLETED 8=FAILED "},
        {{.filter = {.uid = 1001}, .since = now - 50}, ""},
        {{.filter = {.uid = -1}, .since = now + 5}, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_expect_str_eq(find(&d, cases[i].q).text, cases[i].text, "case %zu", i);
    desk_end(&d);
}

Test(journal, questions_see_what_was_put_before_them)
{
    struct desk d;
    struct answer a[3] = {0};
    struct job other = done;
    desk_start(&d);
    other.job_id = 8;
    const struct journal_query all = {.filter = {.uid = -1}};
    post(&d, &done, &a[0]);
    journal_find(d.j, &all, on_answer, &a[1]);
    post(&d, &other, &a[2]);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        await(&d, &a[i]);
    cr_expect_eq(strncmp(a[1].text, "7=COMPLETED ", 12), 0, "%s", a[1].text);
    cr_expect_gt(a[2].first, a[0].first);
    desk_end(&d);
}

/* ---- pruning ---- */

/* Waits until so many rows are left. */
static bool left(struct desk *d, size_t wanted)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    size_t n;
    do {
        n = find(d, (struct journal_query){.after = 0}).n;
    } while (n != wanted && clock_mono_ms() < until);
    return n == wanted;
}

Test(journal, forgets_what_ended_long_ago)
{
    struct desk d;
    desk_start(&d);
    int64_t begins = journal_begins(d.j);
    cr_expect_leq(begins, clock_now());
    put_many(&d, 1000, 600, clock_now() - 31 * DAY_S);
    put_many(&d, 5000, 10, clock_now() - 29 * DAY_S);
    int64_t newest = journal_newest(d.j);
    desk_reopen(&d);
    cr_expect(left(&d, 10));
    cr_expect_eq(journal_begins(d.j), begins, "it goes up alone");
    cr_expect_eq(journal_newest(d.j), newest);
    cr_expect_str_eq(find_named(&d, 0, "1000").text, "");
    sql(&d, "DELETE FROM ended");
    desk_reopen(&d);
    cr_expect_gt(must_put(&d, &done), newest, "numbers of pruned rows are not given again");
    desk_end(&d);
}

Test(journal, keeps_so_many_rows)
{
    struct desk d;
    desk_begin(&d);
    d.conf.history_rows = 100;
    desk_open(&d);
    put_many(&d, 1000, 1300, clock_now() + 100);
    struct job latest = done;
    latest.end_time = clock_now();
    must_put(&d, &latest);
    desk_reopen(&d);
    cr_expect(left(&d, 100));
    cr_expect_geq(journal_begins(d.j), clock_now() - 60, "it says that what ended before is gone");
    desk_end(&d);
}

Test(journal, a_clock_that_jumps_does_not_take_all)
{
    struct desk d;
    desk_start(&d);
    put_many(&d, 1000, 10900, clock_now() - 31 * DAY_S);
    desk_reopen(&d);
    cr_expect(left(&d, 900), "a tenth of history_rows in a day");
    for (int i = 0; i < 20; i++)
        cr_assert_eq(find(&d, (struct journal_query){.after = 0}).n, 900);
    desk_end(&d);
}

/* ---- trouble ---- */

Test(journal, a_bad_row_is_passed_over)
{
    struct desk d;
    desk_start(&d);
    struct job other = done;
    int64_t number = must_put(&d, &done);
    other.job_id = 8;
    must_put(&d, &other);
    other.job_id = 9;
    other.uid = 1002;
    must_put(&d, &other);
    desk_close(&d);
    char text[200];
    snprintf(text, sizeof text,
             "UPDATE record SET body = x'81a3' WHERE number = %lld;"
             "UPDATE record SET body = (SELECT body FROM record WHERE number = %lld) "
             "WHERE number = %lld",
             (long long)number, (long long)number + 1, (long long)number + 2);
    sql(&d, text);
    desk_open(&d);
    cr_expect_str_eq(find(&d, (struct journal_query){.after = 0}).text, "8=COMPLETED ",
                     "nor one of another user");
    cr_expect_null(journal_trouble(d.j));
    desk_end(&d);
}

static atomic_bool disk_hangs;

static void on_request(void *arg, const struct request_row *rows, size_t n, bool begun,
                       const struct err *err)
{
    struct answer *a = arg;
    (void)rows;
    (void)n;
    (void)begun;
    a->done = true;
    a->err = *err;
}

/* What sqlite calls, in place of libc's. */
int fdatasync(int fd)
{
    while (atomic_load(&disk_hangs))
        poll(NULL, 0, 10);
    return (int)syscall(SYS_fdatasync, fd);
}

Test(journal, a_disk_that_hangs_keeps_nobody_waiting)
{
    struct desk d;
    struct answer kept, early, late;
    desk_start(&d);
    must_put(&d, &done);
    struct job other = done;
    other.job_id = 8;
    atomic_store(&disk_hangs, true);
    post(&d, &other, &kept);
    poll(NULL, 0, 100); /* the thread has taken it */
    early = (struct answer){0};
    const struct journal_query q = {.asker = 1001, .filter = {.uid = -1}};
    journal_find(d.j, &q, on_answer, &early);
    await(&d, &early);
    cr_expect_eq(early.err.code, ERR_BUSY, "%s", early.err.text);
    cr_expect_not(kept.done);
    late = (struct answer){0};
    journal_request_get(d.j, 1001, (const uint8_t[REQUEST_ID]){1}, on_request, &late);
    await(&d, &late);
    cr_expect_eq(late.err.code, ERR_BUSY, "what became of a submit: nobody knows now");
    cr_expect_not(kept.done);
    late = (struct answer){0};
    journal_find(d.j, &q, on_answer, &late);
    await(&d, &late);
    cr_expect_eq(late.err.code, ERR_BUSY);
    cr_expect_not(kept.done);
    atomic_store(&disk_hangs, false);
    await(&d, &kept);
    cr_expect_eq(kept.err.code, ERR_NONE);
    cr_expect_str_eq(find(&d, q).text, "7=COMPLETED 8=COMPLETED ");
    desk_end(&d);
}

static void expect_refused(struct desk *d, const char *part)
{
    desk_open(d);
    cr_assert_not_null(journal_trouble(d->j));
    cr_expect_not_null(strstr(journal_trouble(d->j), part), "no \"%s\" in: %s", part,
                       journal_trouble(d->j));
    struct answer a = put(d, &done);
    cr_expect_eq(a.err.code, ERR_INTERNAL);
    cr_expect_eq(a.n, 1, "its rows are told all the same");
    cr_expect_eq(a.first, 0);
    cr_expect_not_null(strstr(a.err.text, part), "%s", a.err.text);
    cr_expect_eq(find(d, (struct journal_query){.after = 0}).err.code, ERR_INTERNAL);
}

Test(journal, a_newer_one_is_left_alone)
{
    struct desk d;
    desk_start(&d);
    must_put(&d, &done);
    desk_close(&d);
    sql(&d, "PRAGMA user_version = 99");
    expect_refused(&d, "a newer slurm-agentd");
    desk_close(&d);
    sql(&d, "PRAGMA user_version = 6");
    desk_open(&d);
    cr_expect_str_eq(find_named(&d, 0, "7").text, "7=COMPLETED ");
    desk_end(&d);
}

Test(journal, another_programs_file_is_left_alone)
{
    struct desk d;
    desk_begin(&d);
    sql(&d, "CREATE TABLE theirs (x)");
    expect_refused(&d, "no journal of slurm-agentd");
    desk_end(&d);
}

Test(journal, a_second_one_keeps_off)
{
    struct desk d, second;
    desk_start(&d);
    second = d;
    expect_refused(&second, "another slurm-agentd");
    desk_close(&second);
    must_put(&d, &done);
    desk_end(&d);
}

Test(journal, a_damaged_file_says_so_and_numbers_go_on_after_it)
{
    struct desk d;
    char path[SCRATCH_PATH], away[SCRATCH_PATH];
    desk_start(&d);
    put_many(&d, 1000, 2000, clock_now());
    int64_t newest = journal_newest(d.j);
    desk_close(&d);
    scratch_path(path, d.dir, "journal.db");
    scratch_path(away, d.dir, "journal.bad");
    FILE *f = fopen(path, "r+");
    cr_assert_not_null(f);
    for (long at = 8192; at < 65536; at += 512) {
        fseek(f, at, SEEK_SET);
        fputs("not what was here before", f);
    }
    fclose(f);
    expect_refused(&d, "move it");
    cr_assert_eq(rename(path, away), 0);
    cr_expect(turns(&d, false), "%s", journal_trouble(d.j));
    cr_expect_gt(must_put(&d, &done), newest);
    desk_close(&d);
    f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is a text ", f);
    fclose(f);
    expect_refused(&d, "move it");
    desk_end(&d);
}

Test(journal, works_when_its_directory_can_be_used_at_last)
{
    struct desk d;
    desk_begin(&d);
    cr_assert_eq(rmdir(d.dir), 0);
    expect_refused(&d, "No such file or directory");
    cr_assert_eq(mkdir(d.dir, 0700), 0);
    cr_expect(turns(&d, false), "%s", journal_trouble(d.j));
    cr_expect_gt(must_put(&d, &done), 0);
    desk_end(&d);
}

Test(journal, one_that_is_moved_away_while_it_is_used)
{
    struct desk d;
    char path[SCRATCH_PATH], away[SCRATCH_PATH];
    desk_start(&d);
    int64_t number = must_put(&d, &done);
    scratch_path(path, d.dir, "journal.db");
    scratch_path(away, d.dir, "journal.old");
    cr_assert_eq(rename(path, away), 0);
    cr_expect_gt(must_put(&d, &done), number, "a new one does not know it");
    cr_expect_eq(access(path, F_OK), 0);
    desk_end(&d);
}

Test(journal, a_full_disk_is_told_and_read_and_used_again)
{
    struct desk d;
    char path[SCRATCH_PATH];
    desk_begin(&d);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", d.dir, "tmpfs", 0, "size=1m") < 0) {
        scratch_remove(d.dir);
        cr_skip_test("needs a mount of its own: root alone");
    }
    desk_open(&d);
    must_put(&d, &done);
    scratch_path(path, d.dir, "filler");
    AUTO(fclose) FILE *f = fopen(path, "w");
    setbuf(f, NULL);
    while (fputc('x', f) != EOF)
        if (fseek(f, 511, SEEK_CUR) < 0)
            break;
    static char page[65536];
    while (fwrite(page, 1, sizeof page, f) == sizeof page)
        ;
    struct job big = done;
    static char long_text[60000];
    memset(long_text, 'x', sizeof long_text - 1);
    big.job_id = 8;
    big.comment = long_text;
    struct answer a = put(&d, &big);
    cr_assert_eq(a.err.code, ERR_INTERNAL);
    cr_expect_not_null(strstr(a.err.text, "make room"), "%s", a.err.text);
    cr_assert_not_null(journal_trouble(d.j));
    cr_expect_str_eq(find_named(&d, 0, "7").text, "7=COMPLETED ", "what is there can be read");
    cr_assert_eq(ftruncate(fileno(f), 0), 0);
    cr_expect(turns(&d, false), "%s", journal_trouble(d.j));
    cr_expect_gt(must_put(&d, &big), 0);
    desk_close(&d);
    umount2(d.dir, MNT_DETACH);
    desk_end(&d);
}

/* ---- what has not ended ---- */

static struct answer seen(struct desk *d)
{
    struct answer a = {0};
    journal_seen(d->j, on_answer, &a);
    await(d, &a);
    return a;
}

static void saw(struct desk *d, struct job j, const char *state)
{
    struct answer a = {0};
    j.state = state;
    j.phase = NULL;
    struct jobrec *rec = record(&j);
    journal_saw(d->j, &rec, 1, on_answer, &a);
    await(d, &a);
    cr_expect_eq(a.err.code, ERR_NONE, "%s", a.err.text);
    jobrec_unref(rec);
}

Test(journal, keeps_what_has_not_ended_until_it_has)
{
    struct desk d;
    struct job other = done;
    desk_start(&d);
    other.job_id = 8;
    saw(&d, done, "PENDING");
    saw(&d, other, "PENDING");
    saw(&d, done, "RUNNING");
    cr_expect_str_eq(seen(&d).text, "7=RUNNING 8=PENDING ");
    desk_reopen(&d);
    cr_expect_str_eq(seen(&d).text, "7=RUNNING 8=PENDING ");
    must_put(&d, &done);
    cr_expect_str_eq(seen(&d).text, "8=PENDING ");
    saw(&d, other, "CANCELLED");
    cr_expect_str_eq(seen(&d).text, "");
    cr_expect_str_eq(find(&d, (struct journal_query){.after = 0}).text, "7=COMPLETED ",
                     "none of it is history");
    struct job later = done;
    later.submit_time += 100;
    saw(&d, later, "PENDING");
    must_put(&d, &done);
    cr_expect_str_eq(seen(&d).text, "7=PENDING ", "another job with that id is none of it");
    desk_end(&d);
}

Test(journal, one_of_the_first_version_is_brought_up_to_date)
{
    struct desk d;
    desk_start(&d);
    must_put(&d, &done);
    desk_close(&d);
    sql(&d, "DROP TABLE seen; DROP TABLE request; DROP TABLE request_user; DROP TABLE staging;"
            "DELETE FROM meta WHERE name NOT IN ('begins', 'opened');"
            "PRAGMA user_version = 1");
    desk_open(&d);
    cr_expect_null(journal_trouble(d.j));
    cr_expect_str_eq(find_named(&d, 0, "7").text, "7=COMPLETED ");
    saw(&d, done, "RUNNING");
    cr_expect_str_eq(seen(&d).text, "7=RUNNING ");
    cr_expect_geq(journal_whole(d.j), clock_now() - 60, "nobody knows what ended unseen");
    desk_end(&d);
}

Test(journal, knows_when_jobs_may_have_ended_unseen)
{
    struct desk d;
    int64_t now = clock_now();
    desk_start(&d);
    int64_t begins = journal_begins(d.j);
    cr_expect_not(journal_loaded(d.j, now, 300), "the first of all: it begins here");
    cr_expect_not(journal_loaded(d.j, now + 1, 300));
    desk_reopen(&d);
    cr_expect_not(journal_loaded(d.j, now + 299, 300), "slurmctld remembers all that ended");
    cr_expect_leq(journal_whole(d.j), begins + 2,
                  "both are of when it was made, one after the other");
    desk_reopen(&d);
    cr_expect(journal_loaded(d.j, now + 700, 300));
    cr_expect_not(journal_loaded(d.j, now + 701, 300));
    cr_expect(journal_loaded(d.j, now + 1100, 300), "slurmctld was out of reach");
    desk_reopen(&d);
    cr_expect_eq(journal_whole(d.j), now + 1100);
    cr_expect_not(journal_loaded(d.j, now + 99999, 0), "it remembers them for ever");
    desk_end(&d);
}

/* ---- the queue ---- */

/* 40 questions of one user that each look through all of many rows. */
enum { SLOW = 40, SLOW_ROWS = 60000 };

static void ask_slowly(struct desk *d, struct answer *a)
{
    const struct journal_query q = {.asker = 1, .filter = {.uid = -1, .name = "of nobody"}};
    struct jobrec **v = calloc(SLOW_ROWS, sizeof(struct jobrec *));
    struct answer kept = {0};
    for (size_t i = 0; i < SLOW_ROWS; i++) {
        struct job j = done;
        j.job_id = 1000 + (int64_t)i;
        v[i] = record(&j);
    }
    journal_put(d->j, v, SLOW_ROWS, on_answer, &kept);
    await(d, &kept);
    cr_assert_eq(kept.err.code, ERR_NONE);
    for (size_t i = 0; i < SLOW_ROWS; i++)
        jobrec_unref(v[i]);
    free(v);
    for (int i = 0; i < SLOW; i++)
        journal_find(d->j, &q, on_answer, &a[i]);
}

static int answered(const struct answer *a)
{
    int n = 0;
    for (int i = 0; i < SLOW; i++)
        n += a[i].done;
    return n;
}

Test(journal, one_users_questions_keep_nobody_else_waiting)
{
    struct desk d;
    struct answer slow[SLOW] = {0}, quick = {0}, written = {0};
    desk_start(&d);
    ask_slowly(&d, slow);
    const struct journal_query q = {.asker = 2, .filter = {.uid = -1}, .limit = 1};
    journal_find(d.j, &q, on_answer, &quick);
    await(&d, &quick);
    cr_expect_lt(answered(slow), SLOW / 2, "users take turns");
    post(&d, &done, &written);
    await(&d, &written);
    cr_expect_eq(written.err.code, ERR_NONE);
    cr_expect_lt(answered(slow), SLOW, "what is written goes first");
    for (int i = 0; i < SLOW; i++) {
        await(&d, &slow[i]);
        cr_expect_eq(slow[i].err.code, ERR_NONE, "%s", slow[i].err.text);
    }
    desk_end(&d);
}

Test(journal, has_a_cap_on_what_waits)
{
    struct desk d;
    size_t n = 300000, refused = 0, kept = 0;
    struct answer *a = calloc(10, sizeof *a);
    struct jobrec **v = calloc(n, sizeof(struct jobrec *));
    struct jobrec *rec = record(&done);
    for (size_t i = 0; i < n; i++)
        v[i] = rec;
    desk_start(&d);
    for (int i = 0; i < 10; i++)
        journal_put(d.j, v, n, on_answer, &a[i]);
    for (int i = 0; i < 10; i++) {
        await(&d, &a[i]);
        refused += a[i].err.code == ERR_BUSY;
        kept += a[i].err.code == ERR_NONE;
    }
    cr_expect_geq(refused, 3);
    cr_expect_geq(kept, 3);
    cr_expect_eq(refused + kept, 10);
    jobrec_unref(rec);
    free(v);
    free(a);
    desk_end(&d);
}

Test(journal, does_at_its_end_what_was_posted_and_calls_back)
{
    struct desk d;
    struct answer a[50];
    desk_start(&d);
    for (int64_t i = 0; i < 50; i++) {
        struct job x = done;
        x.job_id = 100 + i;
        post(&d, &x, &a[i]);
    }
    desk_reopen(&d);
    for (int i = 0; i < 50; i++)
        cr_expect(a[i].done && a[i].err.code == ERR_NONE);
    cr_expect_eq(find(&d, (struct journal_query){.after = 0}).n, 50);
    desk_end(&d);
}
