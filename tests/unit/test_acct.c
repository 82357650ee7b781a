/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmdbd's rows as jobs: which are whose, and what each says */
#include <criterion/criterion.h>
#include <string.h>

#include "agentd/cluster_slurm.h"
#include "common/str.h"

enum { MAX = 16, T = 1700000000 };

static struct {
    slurmdb_job_rec_t rows[MAX];
    size_t n;
    struct arena arena;
    struct job jobs[MAX]; /* shown; strings are the arena's */
    size_t shown;
    bool found[MAX];
    struct err err;
} t;

static slurmdb_job_rec_t *row(uint32_t id, uint32_t state, int64_t submit, int64_t end)
{
    slurmdb_job_rec_t *r = &t.rows[t.n++];
    *r = (slurmdb_job_rec_t){
        .jobid = id,
        .array_task_id = NO_VAL,
        .het_job_offset = NO_VAL,
        .uid = 1001,
        .user = (char *)"alice",
        .jobname = (char *)"name",
        .submit_line = (char *)"sbatch job.sh",
        .state = state,
        .submit = submit,
        .eligible = submit,
        .start = end ? end : submit,
        .end = end,
        .requid = INFINITE,
        .timelimit = 90,
        .nodes = (char *)"node1",
        .alloc_nodes = 1,
        .db_index = t.n,
    };
    return r;
}

static slurmdb_job_rec_t *task(uint32_t id, uint32_t array, uint32_t number, int64_t submit)
{
    slurmdb_job_rec_t *r = row(id, JOB_COMPLETE, submit, submit + 5);
    r->array_job_id = array;
    r->array_task_id = number;
    return r;
}

/* A later run says so from 24.11 on; before, by its being the same job in all else. */
static void is_restart(slurmdb_job_rec_t *r)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(24, 11, 0)
    r->restart_cnt = 1;
#else
    (void)r;
#endif
}

static const char *keep(const char *s)
{
    return s ? arena_strdup(&t.arena, s) : NULL;
}

static int see(void *arg, const struct job *j)
{
    (void)arg;
    cr_assert_lt(t.shown, (size_t)MAX);
    struct job *k = &t.jobs[t.shown++];
    *k = *j;
    const char **strings[] = {&k->id,    &k->array_task, &k->user,         &k->state,
                              &k->phase, &k->outcome,    &k->cancelled_by, &k->nodes,
                              &k->tres,  &k->source,     &k->name,         &k->comment};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++)
        *strings[i] = keep(*strings[i]);
    return 0;
}

static int ask_submitted(const char *const *ids, const int64_t *submits, size_t n)
{
    const struct acct_request in = {.ids = {ids, n}, .submit_times = {submits, submits ? n : 0}};
    slurmdb_job_rec_t *rows[MAX];
    /* slurmdbd's order is not ours */
    for (size_t i = 0; i < t.n; i++)
        rows[i] = &t.rows[t.n - 1 - i];
    t.shown = 0;
    memset(t.found, 0, sizeof t.found);
    t.err = (struct err){0};
    return cluster_slurm_rows(rows, t.n, &in, t.found, see, NULL, &t.err);
}

static const struct job *only(const char *id, int64_t submit)
{
    cr_assert_eq(ask_submitted(&id, &submit, 1), 0, "%s", t.err.text);
    cr_assert_eq(t.shown, 1u, "%s: %zu jobs", id, t.shown);
    cr_expect(t.found[0]);
    return &t.jobs[0];
}

static size_t count(const char *id)
{
    cr_assert_eq(ask_submitted(&id, NULL, 1), 0, "%s", t.err.text);
    cr_expect_eq(t.found[0], t.shown > 0);
    return t.shown;
}

static void done(void)
{
    arena_done(&t.arena);
}

TestSuite(acct, .fini = done);

/* ---- what a row says ---- */

Test(acct, an_ended_job)
{
    slurmdb_job_rec_t *r = row(12, JOB_FAILED, T, T + 60);
    r->start = T + 2;
    r->exitcode = 3 << 8;
    r->derived_ec = 4 << 8;
    r->gid = 100;
    r->tres_alloc_str = (char *)"1=4,2=2048,3=18446744073709551614,4=1,5=4";
    r->req_mem = 512 | MEM_PER_CPU;
    const struct job *j = only("12", 0);
    cr_expect_str_eq(j->id, "12");
    cr_expect_str_eq(j->state, "FAILED");
    cr_expect_str_eq(j->phase, "FAILED");
    cr_expect_str_eq(j->outcome, "exit status 3");
    cr_expect_str_eq(j->source, "slurmdbd");
    cr_expect_str_eq(j->user, "alice");
    cr_expect_str_eq(j->tres, "cpu=4,mem=2048M,node=1,billing=4");
    cr_expect_null(j->cancelled_by);
    cr_expect_eq(j->exit_code, 3);
    cr_expect_eq(j->derived_exit_code, 4);
    cr_expect_eq(j->uid, 1001);
    cr_expect_eq(j->gid, 100);
    cr_expect_eq(j->submit_time, T);
    cr_expect_eq(j->start_time, T + 2);
    cr_expect_eq(j->end_time, T + 60);
    cr_expect_eq(j->time_limit, 90 * 60);
    cr_expect_eq(j->cpus, 4);
    cr_expect_eq(j->mem_per_cpu, 512 << 20);
    cr_expect_eq(j->restarts, 0);
}

Test(acct, a_job_that_a_signal_ended)
{
    row(12, JOB_FAILED, T, T + 1)->exitcode = 9;
    const struct job *j = only("12", 0);
    cr_expect_eq(j->exit_code, 0);
    cr_expect_eq(j->exit_signal, 9);
    cr_expect_str_eq(j->outcome, "killed by signal 9 (SIGKILL)");
}

Test(acct, who_cancelled_a_job)
{
    row(12, JOB_CANCELLED, T, T + 1)->requid = 0;
    cr_expect_str_eq(only("12", 0)->cancelled_by, "root");
    cr_expect_str_eq(t.jobs[0].outcome, "cancelled by root");
    t.rows[0].requid = NO_VAL;
    cr_expect_null(only("12", 0)->cancelled_by);
    t.rows[0].requid = 0;
    t.rows[0].state = JOB_TIMEOUT;
    cr_expect_null(only("12", 0)->cancelled_by, "it was not cancelled");
}

Test(acct, a_job_that_never_ran)
{
    slurmdb_job_rec_t *r = row(12, JOB_CANCELLED, T, T + 9);
    r->nodes = (char *)"None assigned";
    r->timelimit = NO_VAL;
    r->eligible = 0;
    r->tres_req_str = (char *)"1=2,4=1";
    const struct job *j = only("12", 0);
    cr_expect_null(j->nodes);
    cr_expect_eq(j->start_time, 0, "slurmdbd gives its end");
    cr_expect_eq(j->time_limit, 0);
    cr_expect_eq(j->cpus, 2);
}

Test(acct, a_row_that_is_not_final_proves_nothing)
{
    static const struct {
        uint32_t state;
        const char *said;
    } rows[] = {{JOB_RUNNING, "RUNNING"},
                {JOB_PENDING, "PENDING"},
                {JOB_SUSPENDED, "SUSPENDED"},
                {JOB_REQUEUE, "REQUEUED"}};
    row(12, JOB_RUNNING, T, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        t.rows[0].state = rows[i].state;
        const struct job *j = only("12", 0);
        cr_expect_str_eq(j->phase, "UNKNOWN");
        cr_expect_eq(j->end_time, 0);
        cr_expect_not_null(strstr(j->outcome, rows[i].said), "%s", j->outcome);
        cr_expect_not_null(strstr(j->outcome, "how it ended is not known"));
    }
}

Test(acct, a_row_that_was_closed_for_a_lost_job_proves_nothing)
{
    static const uint32_t nobody[] = {NO_VAL, INFINITE};
    slurmdb_job_rec_t *r = row(12, JOB_CANCELLED, T, T + 9);
    for (size_t i = 0; i < ARRAY_LEN(nobody); i++) {
        r->requid = nobody[i];
        r->nodes = (char *)"node1";
        const struct job *j = only("12", 0);
        cr_expect_str_eq(j->phase, "UNKNOWN");
        cr_expect_eq(j->end_time, 0);
        cr_expect_not_null(strstr(j->outcome, "slurmctld lost it"), "%s", j->outcome);
        r->nodes = (char *)"None assigned";
        cr_expect_str_eq(only("12", 0)->phase, "CANCELLED", "it waited for what cannot come");
    }
}

Test(acct, what_slurmdbd_says_is_not_believed)
{
    slurmdb_job_rec_t *r = row(12, JOB_COMPLETE, T, T + 1);
    char name[3000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    static const char *const tres[] = {"", "1", "1=", ",,,", "1=x,", "=1,=2,=", "cpu=1,1=3"};
    r->jobname = name;
    r->user = NULL;
    r->partition = NULL;
    r->state = 200;
    for (size_t i = 0; i < ARRAY_LEN(tres); i++) {
        r->tres_alloc_str = (char *)tres[i];
        r->tres_req_str = NULL;
        cr_expect_eq(only("12", 0)->cpus, 0, "%s", tres[i]);
    }
    cr_expect_eq(strlen(t.jobs[0].name), 1024u);
    cr_expect_str_eq(t.jobs[0].phase, "UNKNOWN", "a state of a later Slurm");
}

/* ---- which rows are one job ---- */

Test(acct, ids_are_given_again)
{
    row(12, JOB_FAILED, T, T + 10);
    row(12, JOB_COMPLETE, T + 90000, T + 90010)->uid = 1002;
    cr_expect_str_eq(only("12", 0)->state, "COMPLETED", "the latest");
    cr_expect_eq(t.jobs[0].restarts, 0);
    cr_expect_str_eq(only("12", T)->state, "FAILED", "the one that was submitted then");
    cr_expect_str_eq(only("12", T + 90000)->state, "COMPLETED");
    const char *id = "12";
    cr_expect_eq(ask_submitted(&id, (int64_t[]){T + 1}, 1), 0);
    cr_expect_eq(t.shown, 0u, "no job was submitted then");
    cr_expect_not(t.found[0]);
}

Test(acct, an_id_that_a_lost_job_had_is_the_next_jobs)
{
    row(12, JOB_RUNNING, T, 0); /* for ever, for slurmdbd */
    row(12, JOB_COMPLETE, T + 3, T + 5);
    cr_expect_str_eq(only("12", 0)->state, "COMPLETED");
    cr_expect_eq(t.jobs[0].restarts, 0);
    cr_expect_str_eq(only("12", T)->phase, "UNKNOWN");
}

Test(acct, of_a_requeued_job_the_last_run)
{
    row(12, JOB_REQUEUE, T, T + 10);
    is_restart(row(12, JOB_NODE_FAIL, T + 12, T + 20));
    is_restart(row(12, JOB_COMPLETE, T + 20, T + 30));
    const struct job *j = only("12", 0);
    cr_expect_str_eq(j->state, "COMPLETED");
    cr_expect_eq(j->submit_time, T + 20);
    cr_expect_eq(j->restarts, 2);
    cr_expect_eq(only("12", T)->submit_time, T + 20, "asked by when it was first submitted");
    cr_expect_eq(only("12", T + 12)->submit_time, T + 20, "or by a run between");
}

Test(acct, a_second_that_passes_while_a_job_is_requeued_makes_no_other_job_of_it)
{
    row(12, JOB_REQUEUE, T, T + 10);
    is_restart(row(12, JOB_COMPLETE, T + 9, T + 30));
    cr_expect_eq(only("12", T)->restarts, 1);
}

Test(acct, a_changed_size_is_no_restart)
{
    row(12, JOB_RESIZING, T, T + 10);
    row(12, JOB_COMPLETE, T, T + 30);
    cr_expect_str_eq(only("12", T)->state, "COMPLETED");
    cr_expect_eq(t.jobs[0].restarts, 0);
}

/* ---- what an id names ---- */

Test(acct, an_array_and_its_tasks)
{
    task(12, 12, 3, T);
    task(13, 12, 1, T);
    task(14, 12, 2, T);
    row(15, JOB_COMPLETE, T, T + 1);
    cr_expect_eq(count("12"), 3u);
    cr_expect_eq(count("12_[1-9]"), 3u);
    cr_expect_str_eq(only("12_3", 0)->id, "12_3");
    cr_expect_str_eq(only("14", 0)->id, "12_2", "a task by its own number");
    cr_expect_eq(count("12_4"), 0u);
    cr_expect_eq(count("15_1"), 0u);
    cr_expect_eq(count("12+0"), 0u);
}

Test(acct, an_earlier_array_with_the_id_is_left_out)
{
    for (uint32_t i = 0; i < 4; i++)
        task(12 + i, 12, i, T - 900000);
    task(12, 12, 0, T);
    task(13, 12, 1, T);
    cr_expect_eq(count("12"), 2u);
    cr_expect_eq(t.jobs[0].submit_time, T);
    cr_expect_eq(t.jobs[1].submit_time, T);
    cr_expect_eq(only("12_1", T - 900000)->submit_time, T - 900000);
}

Test(acct, a_task_that_was_requeued_does_not_hide_the_others)
{
    task(12, 12, 3, T);
    task(13, 12, 1, T)->state = JOB_FAILED;
    task(14, 12, 2, T);
    is_restart(task(13, 12, 1, T + 300));
    cr_expect_eq(count("12"), 3u);
    cr_expect_eq(only("12_1", 0)->submit_time, T + 300);
    cr_expect_eq(t.jobs[0].restarts, 1);
}

Test(acct, tasks_that_waited_are_one_row)
{
    slurmdb_job_rec_t *r = row(12, JOB_PENDING, T, 0);
    r->array_job_id = 12;
    r->array_task_str = (char *)"0x15C"; /* 2 3 4 6 8 */
    r->array_max_tasks = 2;
    r->nodes = (char *)"None assigned";
    task(13, 12, 1, T);
    const struct job *j = only("12_4", 0);
    cr_expect_str_eq(j->array_task, "2-4,6,8%2");
    cr_expect_str_eq(j->id, "12_[2-4,6,8%2]");
    cr_expect_str_eq(j->phase, "UNKNOWN");
    cr_expect_eq(count("12_5"), 0u);
    cr_expect_eq(count("12_400"), 0u);
    cr_expect_eq(count("12"), 2u);
    r->array_task_str = (char *)"0xno";
    cr_expect_eq(count("12_4"), 0u);
    cr_expect_eq(count("12"), 2u);
}

Test(acct, components_of_a_het_job)
{
    for (uint32_t i = 0; i < 2; i++) {
        slurmdb_job_rec_t *r = row(20 + i, JOB_COMPLETE, T + i, T + 9);
        r->het_job_id = 20;
        r->het_job_offset = i;
    }
    cr_expect_eq(count("20"), 2u);
    cr_expect_str_eq(only("20+1", 0)->id, "20+1");
    cr_expect_str_eq(only("21", 0)->id, "20+1");
    cr_expect_str_eq(only("20+0", T)->id, "20+0");
    cr_expect_eq(count("20+2"), 0u);
}

Test(acct, many_ids_each_with_its_time)
{
    const char *ids[] = {"13", "12", "99", "12_1", "12"};
    const int64_t submits[] = {0, T, 0, 0, T + 5};
    row(12, JOB_COMPLETE, T, T + 1);
    row(13, JOB_COMPLETE, T, T + 1);
    cr_assert_eq(ask_submitted(ids, submits, ARRAY_LEN(ids)), 0);
    cr_expect_eq(t.shown, 2u);
    const bool found[] = {true, true, false, false, false};
    for (size_t i = 0; i < ARRAY_LEN(found); i++)
        cr_expect_eq(t.found[i], found[i], "%s", ids[i]);
    const char *twice[] = {"12", "12"};
    cr_assert_eq(ask_submitted(twice, NULL, 2), 0);
    cr_expect_eq(t.shown, 1u, "a job is shown once");
    cr_expect(t.found[0] && t.found[1]);
    const char *bad[] = {"12", "x"};
    cr_expect_eq(ask_submitted(bad, NULL, 2), -1);
    cr_expect_eq(t.err.code, ERR_INVALID);
}

/* ---- by time ---- */

static size_t ended(int64_t since, int64_t until)
{
    const struct acct_request in = {.since = since, .until = until};
    slurmdb_job_rec_t *rows[MAX];
    for (size_t i = 0; i < t.n; i++)
        rows[i] = &t.rows[i];
    t.shown = 0;
    cr_assert_eq(cluster_slurm_rows(rows, t.n, &in, NULL, see, NULL, &t.err), 0);
    return t.shown;
}

Test(acct, what_has_ended_in_a_time)
{
    row(11, JOB_COMPLETE, T - 50, T - 1);
    row(12, JOB_COMPLETE, T - 50, T);
    row(13, JOB_RUNNING, T - 50, 0);
    row(14, JOB_REQUEUE, T - 50, T + 2);
    is_restart(row(14, JOB_RUNNING, T + 2, 0));
    row(15, JOB_FAILED, T - 50, T + 9);
    cr_expect_eq(ended(T, 0), 2u, "those that still run are not told");
    cr_expect_str_eq(t.jobs[0].id, "12");
    cr_expect_str_eq(t.jobs[1].id, "15");
    cr_expect_eq(ended(T, T + 8), 1u);
}

/* ---- a request ---- */

static struct found_request find_request(const char *mark)
{
    struct found_request out = {0};
    slurmdb_job_rec_t *rows[MAX];
    for (size_t i = 0; i < t.n; i++)
        rows[i] = &t.rows[i];
    cluster_slurm_find_request(rows, t.n, mark, &out);
    return out;
}

static slurmdb_job_rec_t *submitted_as(uint32_t id, const char *line)
{
    slurmdb_job_rec_t *r = row(id, JOB_COMPLETE, T + id, T + id + 5);
    r->submit_line = (char *)line;
    return r;
}

Test(acct, the_job_of_a_request_is_that_of_its_latest_attempt)
{
    submitted_as(11, "sbatch a #slurm-agent=aa/1");
    submitted_as(12, "sbatch a #slurm-agent=ab/7");
    submitted_as(13, "sbatch a #slurm-agent=aa/3");
    submitted_as(14, "sbatch a #slurm-agent=aa/2");
    struct found_request r = find_request("#slurm-agent=aa/");
    cr_expect_eq(r.job_id, 13);
    cr_expect_eq(r.submit_time, T + 13);
    cr_expect_eq(find_request("#slurm-agent=ac/").job_id, 0);
}

Test(acct, a_request_is_named_by_the_end_of_the_line_alone)
{
    submitted_as(11, "sbatch '#slurm-agent=aa/1' #slurm-agent=ab/1");
    submitted_as(12, "sbatch #slurm-agent=aa/1x");
    submitted_as(13, NULL);
    cr_expect_eq(find_request("#slurm-agent=aa/").job_id, 0);
    cr_expect_eq(find_request("#slurm-agent=ab/").job_id, 11);
}

Test(acct, the_job_of_a_request_is_the_whole_array_or_het_job)
{
    task(22, 20, 1, T)->submit_line = (char *)"sbatch #slurm-agent=aa/1";
    slurmdb_job_rec_t *het = submitted_as(31, "sbatch #slurm-agent=ab/1");
    het->het_job_id = 30;
    cr_expect_eq(find_request("#slurm-agent=aa/").job_id, 20);
    cr_expect_eq(find_request("#slurm-agent=ab/").job_id, 30);
}
