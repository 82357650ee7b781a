/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is fetched of a job's outputs, and where it comes */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store_plan.h"
#include "common/str.h"
#include "tests/kit/scratch.h"

static struct arena arena;

static void begin(void)
{
    arena_init(&arena, 1 << 20);
}

static void done(void)
{
    arena_done(&arena);
}

TestSuite(store_plan_output, .init = begin, .fini = done);

Test(store_plan_output, an_output_comes_under_its_own_path)
{
    static const char *const cases[][2] = {
        {"sum.txt", "sum.txt"},
        {"res/deep/sum.txt", "res/deep/sum.txt"},
        {"res/", "res"},
        {"res//", "res"},
        {"res/*.csv", "res"},
        {"*.csv", ""},
        {"a/b*/c/*.csv", "a"},
        {"/scratch/alice/sum.txt", "sum.txt"},
        {"/scratch/alice/res/", "res"},
        {"/scratch/alice/*.csv", "alice"},
        {"/*.csv", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_expect_str_eq(store_plan_output_name(cases[i][0], &arena), cases[i][1], "%s",
                         cases[i][0]);
}

/* ---- a store with more in it than the job's ---- */

static const char *const objects[] = {
    "p/1.csv", "p/2.csv", "p/3.log", "p/.4.csv", "p/d.csv/x", "p/sub/5.csv", "p/sub/deep/6.csv",
};

/* The paths in the plan, a space after each. */
static const char *planned(const char *dir, const char *from, const char *key, int expected)
{
    static char text[400];
    struct stage_url u;
    struct err err = {0};
    struct stage_run run = {0};
    struct stage *s = NULL;
    struct store_plan p;
    cr_assert_eq(stage_url_parse(arena_printf(&arena, "file://%s/%s", dir, key), &u, &err), 0);
    cr_assert_eq(stage_open(STAGE_FILE, NULL, &s, &err), 0);
    store_plan_init(&p);
    *text = '\0';
    cr_expect_eq(store_plan_output(&p, s, from, &u, "", &run, &err), expected ? -1 : 0, "%s: %s",
                 from, err.text);
    cr_expect_eq((int)err.code, expected, "%s: %s", from, err.text);
    for (size_t i = 0; i < p.n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", p.items[i].path);
    store_plan_done(&p);
    stage_close(s);
    return text;
}

Test(store_plan_output, of_a_patterns_output_what_fits_comes)
{
    char dir[SCRATCH_PATH];
    scratch_make(dir);
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", dir, objects[i]);
        for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash;
             slash = strchr(slash + 1, '/')) {
            *slash = '\0';
            mkdir(path, 0755);
            *slash = '/';
        }
        int fd = open(path, O_WRONLY | O_CREAT, 0644);
        cr_assert_geq(fd, 0);
        close(fd);
    }
    cr_expect_str_eq(planned(dir, "*.csv", "p/", 0), "1.csv 2.csv d.csv/x ");
    cr_expect_str_eq(planned(dir, "out/*.csv", "p/", 0), "out/1.csv out/2.csv out/d.csv/x ");
    cr_expect_str_eq(planned(dir, "d*/", "p/", 0), "d.csv/x ");
    cr_expect_str_eq(planned(dir, "s*//*.csv", "p/", 0), "sub/5.csv ");
    cr_expect_str_eq(planned(dir, "s*", "p/", 0), "sub/5.csv sub/deep/6.csv ");
    cr_expect_str_eq(planned(dir, "/tmp/res/", "p/sub/", 0), "res/5.csv res/deep/6.csv ");
    cr_expect_str_eq(planned(dir, "res/one", "p/", 0), "res/one ");
    cr_expect_str_eq(planned(dir, "res/one", "p/1.csv", 0), "res/one ");
    planned(dir, "*.txt", "p/", ERR_NOT_FOUND);
    planned(dir, "res/", "q/", ERR_NOT_FOUND);
    planned(dir, "res/", "p", ERR_INVALID);
    scratch_remove(dir);
}
