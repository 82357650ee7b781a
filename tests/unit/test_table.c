/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "agentd/table.h"

static int put(struct table *t, const struct job *j, struct err *err)
{
    struct jobrec *rec = jobrec_of(j, err), *old = NULL;
    int rc = rec ? table_put(t, rec, &old, err) : -1;
    jobrec_unref(old);
    return rc;
}

static void must_put(struct table *t, const struct job *j)
{
    struct err err = {0};
    cr_assert_eq(put(t, j, &err), 0, "%s", err.text);
}

static void gone(void *arg, struct jobrec *rec)
{
    (void)arg;
    jobrec_unref(rec);
}

/* The ids that a search gives, as "12 13 ". */
struct found {
    char text[512];
};

static int note(void *arg, struct jobrec *rec)
{
    struct found *f = arg;
    size_t n = strlen(f->text);
    snprintf(f->text + n, sizeof f->text - n, "%u ", rec->job_id);
    return 0;
}

static const char *find(struct table *t, const char *id)
{
    static struct found f;
    struct jobid parsed;
    struct err err = {0};
    f.text[0] = '\0';
    cr_assert_eq(jobid_parse(id, &parsed, &err), 0, "%s", err.text);
    table_find(t, &parsed, note, &f);
    return f.text;
}

static const char *all(struct table *t)
{
    static struct found f;
    f.text[0] = '\0';
    table_each(t, 0, note, &f);
    return f.text;
}

Test(table, finds_a_job_by_its_id)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 7, .uid = 1001, .state = "PENDING", .name = "a"});
    cr_expect_str_eq(find(t, "7"), "7 ");
    cr_expect_str_eq(find(t, "8"), "");
    cr_expect_str_eq(find(t, "7_1"), "", "it is no array");
    cr_expect_str_eq(find(t, "7+0"), "", "it is no heterogeneous job");
}

Test(table, keeps_the_newest_record)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 7, .state = "PENDING"});
    must_put(t, &(struct job){.job_id = 7, .state = "RUNNING", .name = "a longer one"});
    cr_expect_eq(table_count(t), 1);
    cr_expect_str_eq(all(t), "7 ");
}

Test(table, an_array_is_all_its_tasks_and_each_task_is_found)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 20, .array_job_id = 20, .array_task = "3-5,9-13:2%2"});
    must_put(t, &(struct job){.job_id = 21, .array_job_id = 20, .array_task = "1"});
    must_put(t, &(struct job){.job_id = 23, .array_job_id = 20, .array_task = "2"});
    must_put(t, &(struct job){.job_id = 22});
    cr_expect_str_eq(find(t, "20"), "20 21 23 ");
    cr_expect_str_eq(find(t, "20_1"), "21 ");
    cr_expect_str_eq(find(t, "20_4"), "20 ", "a waiting task is in the remainder's record");
    cr_expect_str_eq(find(t, "20_11"), "20 ");
    cr_expect_str_eq(find(t, "20_12"), "", "the step leaves it out");
    cr_expect_str_eq(find(t, "20_[1-2]"), "21 23 ");
    cr_expect_str_eq(find(t, "21"), "21 ", "a task by its own number");
    cr_expect_str_eq(find(t, "22"), "22 ");
}

Test(table, a_het_job_is_all_its_components)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 30, .het_job_id = 30, .het_offset = 0});
    must_put(t, &(struct job){.job_id = 31, .het_job_id = 30, .het_offset = 1});
    cr_expect_str_eq(find(t, "30"), "30 31 ");
    cr_expect_str_eq(find(t, "30+1"), "31 ");
    cr_expect_str_eq(find(t, "30+2"), "");
}

Test(table, a_full_load_drops_what_it_did_not_name)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 1});
    must_put(t, &(struct job){.job_id = 2});
    table_begin_full(t);
    must_put(t, &(struct job){.job_id = 2});
    must_put(t, &(struct job){.job_id = 3});
    cr_expect_str_eq(all(t), "1 2 3 ", "nothing goes before the load is whole");
    table_end_full(t, gone, NULL);
    cr_expect_str_eq(all(t), "2 3 ");
    cr_expect_eq(table_count(t), 2);
}

Test(table, a_removed_job_can_come_back)
{
    AUTO(table_free) struct table *t = table_new(2);
    must_put(t, &(struct job){.job_id = 1});
    jobrec_unref(table_remove(t, 1));
    jobrec_unref(table_remove(t, 1));
    cr_expect_eq(table_count(t), 0);
    cr_expect_str_eq(find(t, "1"), "");
    must_put(t, &(struct job){.job_id = 1, .state = "PENDING"});
    cr_expect_str_eq(find(t, "1"), "1 ");
    cr_expect_eq(table_count(t), 1);
    must_put(t, &(struct job){.job_id = 2});
}

Test(table, an_id_that_slurm_gave_to_another_kind_of_job_moves)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 21, .array_job_id = 20, .array_task = "1"});
    must_put(t, &(struct job){.job_id = 21});
    cr_expect_str_eq(find(t, "20"), "");
    cr_expect_str_eq(find(t, "21"), "21 ");
    jobrec_unref(table_remove(t, 21));
    must_put(t, &(struct job){.job_id = 21, .array_job_id = 19, .array_task = "1"});
    cr_expect_str_eq(find(t, "19"), "21 ");
    cr_expect_eq(table_count(t), 1);
}

Test(table, put_refuses_when_full_and_changes_nothing)
{
    AUTO(table_free) struct table *t = table_new(1);
    struct err err = {0};
    must_put(t, &(struct job){.job_id = 7});
    cr_assert_eq(put(t, &(struct job){.job_id = 8}, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
    cr_expect_str_eq(err.text, "the job table is full (1)");
    cr_expect_str_eq(all(t), "7 ");
    must_put(t, &(struct job){.job_id = 7, .state = "RUNNING"});
}

Test(table, a_record_is_made_of_a_job_alone)
{
    AUTO(table_free) struct table *t = table_new(1);
    struct err err = {0};
    cr_expect_null(jobrec_new((struct bytes){(const uint8_t *)"\x81\xa2", 2}, &err));
    cr_expect_eq(err.code, ERR_PROTOCOL);
    err = (struct err){0};
    cr_expect_eq(put(t, &(struct job){.name = "no id"}, &err), -1);
    cr_expect_eq(err.code, ERR_PROTOCOL);
}

Test(table, stays_sorted_and_whole_under_many_changes)
{
    AUTO(table_free) struct table *t = table_new(5000);
    for (int64_t i = 0; i < 3000; i++)
        must_put(t, &(struct job){.job_id = 1 + (i * 7919) % 3000, .state = "PENDING"});
    cr_expect_eq(table_count(t), 3000);
    for (uint32_t i = 1; i <= 3000; i += 3)
        jobrec_unref(table_remove(t, i));
    cr_expect_eq(table_count(t), 2000);
    for (uint32_t i = 1; i <= 3000; i++) {
        char id[16];
        snprintf(id, sizeof id, "%u", i);
        cr_assert_eq(*find(t, id) == '\0', i % 3 == 1, "job %u", i);
    }
}

Test(table, lists_from_where_a_page_ended)
{
    AUTO(table_free) struct table *t = table_new(10);
    struct found f = {0};
    for (int64_t i = 1; i <= 4; i++)
        must_put(t, &(struct job){.job_id = i * 10});
    table_each(t, 20, note, &f);
    cr_expect_str_eq(f.text, "30 40 ");
    f.text[0] = '\0';
    table_each(t, UINT32_MAX, note, &f);
    cr_expect_str_eq(f.text, "");
}

Test(table, knows_which_ends_the_journal_had_not_got)
{
    AUTO(table_free) struct table *t = table_new(10);
    must_put(t, &(struct job){.job_id = 7, .state = "RUNNING"});
    table_kept(t, table_get(t, 7), 0);
    cr_expect_not(table_owed(t, table_get(t, 7), 0), "it has not ended");
    must_put(t, &(struct job){.job_id = 7, .state = "FAILED"});
    cr_expect_not(table_owed(t, table_get(t, 7), 0), "it is not told yet");
    table_kept(t, table_get(t, 7), 0);
    cr_expect(table_owed(t, table_get(t, 7), 50));
    table_kept(t, table_get(t, 7), 40);
    cr_expect(table_owed(t, table_get(t, 7), 39));
    cr_expect_not(table_owed(t, table_get(t, 7), 40), "who has heard the journal's knows of it");
    must_put(t, &(struct job){.job_id = 7, .state = "FAILED", .restarts = 1});
    cr_expect_not(table_owed(t, table_get(t, 7), 0), "of another run");
    must_put(t, &(struct job){.job_id = 8, .state = "FAILED"});
    table_kept(t, table_get(t, 8), 41);
    cr_expect_not(table_owed(t, table_get(t, 8), 0));
}
