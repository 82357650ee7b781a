/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sagent_upload(), into a directory as the store */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/slurmagent_store.h"
#include "common/cleanup.h"
#include "common/str.h"
#include "tests/kit/scratch.h"

CLEANUP_FN(struct sagent_uploaded, sagent_uploaded_free)

static char dir[SCRATCH_PATH], store[200], id_hex[] = "00112233445566778899aabbccddeeff";
static struct sagent *s;
static struct sagent_error err;

static void path(char out[SCRATCH_PATH], const char *name)
{
    scratch_path(out, dir, name);
}

static void make_directory(const char *name)
{
    char p[SCRATCH_PATH];
    path(p, name);
    cr_assert_eq(mkdir(p, 0755), 0, "%s", p);
}

static void set_up(void)
{
    char conf[300], p[SCRATCH_PATH];
    scratch_make(dir);
    make_directory("case");
    make_directory("case/sub");
    make_directory("empty");
    scratch_write(dir, "mesh", "mesh");
    scratch_write(dir, "case/a", "aa");
    scratch_write(dir, "case/sub/b", "bbb");
    snprintf(store, sizeof store, "file://%s/store/", dir);
    snprintf(conf, sizeof conf, "[client]\nupload_store = %s\n", store);
    scratch_write(dir, "client.conf", conf);
    path(p, "client.conf");
    const struct sagent_options options = {.conf = p};
    cr_assert_eq(sagent_open(&options, &s, &err), 0, "%s", err.text);
}

static void tear_down(void)
{
    sagent_close(s);
    scratch_remove(dir);
}

TestSuite(upload, .init = set_up, .fini = tear_down, .timeout = 30);

static int try_with(const struct sagent_upload *files, size_t n, const char *id,
                    const struct sagent_transfer_options *o, struct sagent_uploaded **ret)
{
    const struct sagent_upload_request r = {.files = files, .file_count = n, .request_id = id};
    return sagent_upload(s, &r, o, ret, &err);
}

static struct sagent_uploaded *upload(const char *name, const char *to, const char *id)
{
    static char p[SCRATCH_PATH];
    struct sagent_uploaded *up = NULL;
    path(p, name);
    const struct sagent_upload file = {p, to};
    cr_assert_eq(try_with(&file, 1, id, NULL, &up), 0, "%s", err.text);
    return up;
}

static const struct sagent_input *input(const struct sagent_uploaded *up, size_t i)
{
    cr_assert_lt(i, up->staging->input_count);
    return &up->staging->inputs[i];
}

static char *content(const char *url)
{
    return scratch_read(url + strlen("file://"));
}

static ino_t inode(const char *url)
{
    struct stat st;
    return stat(url + strlen("file://"), &st) == 0 ? st.st_ino : 0;
}

static bool store_is_empty(void)
{
    char p[SCRATCH_PATH];
    path(p, "store");
    return rmdir(p) == 0 || access(p, F_OK) != 0;
}

Test(upload, a_file_becomes_an_input_below_the_request)
{
    char begin[300];
    AUTO(sagent_uploaded_free) struct sagent_uploaded *up = upload("mesh", NULL, id_hex);
    snprintf(begin, sizeof begin, "%s%s/", store, id_hex);
    cr_expect_str_eq(up->request_id, id_hex);
    cr_expect_str_eq(up->prefix, begin);
    cr_expect_eq(up->file_count, 1);
    cr_expect_eq(up->bytes, 4);
    const struct sagent_input *in = input(up, 0);
    cr_expect_eq(strncmp(in->from, begin, strlen(begin)), 0, "%s", in->from);
    cr_expect_str_eq(strrchr(in->from, '/'), "/mesh");
    cr_expect_str_eq(in->to, "mesh");
    AUTO(free) char *is = content(in->from);
    cr_expect_str_eq(is, "mesh");
}

Test(upload, a_directory_takes_its_name_along_and_one_with_a_dot_none)
{
    AUTO(sagent_uploaded_free) struct sagent_uploaded *up = upload("case", NULL, NULL);
    const struct sagent_input *in = input(up, 0);
    cr_expect_str_eq(in->from + strlen(in->from) - 6, "/case/");
    cr_expect_str_eq(in->to, "case/");
    char url[400];
    snprintf(url, sizeof url, "%ssub/b", in->from);
    AUTO(free) char *is = content(url);
    cr_expect_str_eq(is, "bbb");
    AUTO(sagent_uploaded_free) struct sagent_uploaded *dot = upload("case/.", NULL, NULL);
    cr_expect_str_eq(input(dot, 0)->to, "");
    cr_expect_eq(input(dot, 0)->from[strlen(input(dot, 0)->from) - 1], '/');
    AUTO(sagent_uploaded_free) struct sagent_uploaded *named = upload("case/", "data", NULL);
    cr_expect_str_eq(input(named, 0)->to, "data/");
}

Test(upload, comes_behind_what_else_is_moved)
{
    char p[SCRATCH_PATH];
    path(p, "mesh");
    const struct sagent_upload file = {p, "in/"};
    const struct sagent_input other = {"file:///elsewhere/x", "x"};
    const struct sagent_output out = {.from = "o", .to = "file:///out/o", .on = "always"};
    const struct sagent_staging staging = {
        .inputs = &other, .input_count = 1, .outputs = &out, .output_count = 1, .quota = 77};
    const struct sagent_upload_request r = {.files = &file, .file_count = 1, .staging = &staging};
    AUTO(sagent_uploaded_free) struct sagent_uploaded *up = NULL;
    cr_assert_eq(sagent_upload(s, &r, NULL, &up, &err), 0, "%s", err.text);
    cr_expect_eq(up->staging->input_count, 2);
    cr_expect_str_eq(input(up, 0)->from, "file:///elsewhere/x");
    cr_expect_str_eq(input(up, 1)->to, "in/");
    cr_expect_str_eq(up->staging->outputs[0].on, "always");
    cr_expect_eq(up->staging->quota, 77);
}

Test(upload, the_same_again_is_the_same_request_and_moves_nothing)
{
    AUTO(sagent_uploaded_free) struct sagent_uploaded *a = upload("case", NULL, "mine");
    char url[400];
    snprintf(url, sizeof url, "%sa", input(a, 0)->from);
    ino_t before = inode(url);
    AUTO(sagent_uploaded_free) struct sagent_uploaded *b = upload("case", NULL, "mine");
    cr_expect_str_eq(b->request_id, a->request_id);
    cr_expect_str_eq(input(b, 0)->from, input(a, 0)->from);
    cr_expect_eq(inode(url), before, "it was stored again");
    /* What was there before is not the second one's to remove. */
    cr_expect_eq(sagent_upload_undo(b, &err), 0, "%s", err.text);
    cr_expect_eq(inode(url), before);
    cr_expect_eq(sagent_upload_undo(a, &err), 0, "%s", err.text);
    cr_expect(store_is_empty());
}

Test(upload, a_file_that_has_changed_is_another_object)
{
    AUTO(sagent_uploaded_free) struct sagent_uploaded *a = upload("mesh", NULL, "mine");
    scratch_write(dir, "mesh", "MESH");
    AUTO(sagent_uploaded_free) struct sagent_uploaded *b = upload("mesh", NULL, "mine");
    cr_expect_str_neq(input(b, 0)->from, input(a, 0)->from);
    AUTO(free) char *is = content(input(a, 0)->from);
    cr_expect_str_eq(is, "mesh", "the first submit's input was overwritten");
    cr_expect_eq(sagent_upload_undo(b, &err), 0, "%s", err.text);
    AUTO(free) char *still = content(input(a, 0)->from);
    cr_expect_str_eq(still, "mesh");
}

/* ---- on the way ---- */

static void change_other(void *arg, const struct sagent_transfer *t, const struct sagent_error *e)
{
    (void)e;
    if (strcmp(strrchr(t->from, '/'), "/a") == 0)
        scratch_write(dir, arg, "changed meanwhile");
}

static int try_with_a_change(const char *id, struct sagent_uploaded **ret)
{
    char p[SCRATCH_PATH];
    path(p, "case");
    const struct sagent_upload file = {p, NULL};
    const struct sagent_store_options one = {.parallel = 1};
    const struct sagent_transfer_options o = {.on_file = change_other, .arg = "case/sub/b"};
    const struct sagent_upload_request r = {
        .files = &file, .file_count = 1, .request_id = id, .store_options = &one};
    return sagent_upload(s, &r, &o, ret, &err);
}

Test(upload, what_changes_meanwhile_is_refused_and_nothing_stays)
{
    struct sagent_uploaded *up = NULL;
    cr_assert_eq(try_with_a_change(NULL, &up), -1);
    cr_expect_eq(err.code, SAGENT_ERR_INVALID);
    cr_expect_not_null(strstr(err.text, "case/sub/b"), "%s", err.text);
    cr_expect_not_null(strstr(err.text, "has changed"), "%s", err.text);
    cr_expect(store_is_empty());
}

static int stop(void *arg, int64_t done, int64_t all, int64_t files, int64_t all_files)
{
    (void)all;
    (void)all_files;
    (void)done;
    return files >= *(int64_t *)arg;
}

Test(upload, an_interrupted_one_goes_on_with_its_id)
{
    char p[SCRATCH_PATH];
    int64_t after = 1;
    path(p, "case");
    const struct sagent_upload file = {p, NULL};
    const struct sagent_store_options one = {.parallel = 1};
    struct sagent_transfer_options o = {.on_bytes = stop, .arg = &after};
    struct sagent_upload_request r = {
        .files = &file, .file_count = 1, .request_id = "mine", .store_options = &one};
    AUTO(sagent_uploaded_free) struct sagent_uploaded *up = NULL;
    cr_assert_eq(sagent_upload(s, &r, &o, &up, &err), -1);
    cr_expect_eq(err.code, SAGENT_ERR_INTERRUPTED, "%s", err.text);
    cr_expect(!store_is_empty(), "what is there is to be gone on from");
    AUTO(sagent_uploaded_free) struct sagent_uploaded *again = upload("case", NULL, "mine");
    char url[400];
    snprintf(url, sizeof url, "%ssub/b", input(again, 0)->from);
    AUTO(free) char *is = content(url);
    cr_expect_str_eq(is, "bbb");
    /* Without an id nobody could. */
    r.request_id = NULL;
    cr_assert_eq(sagent_upload(s, &r, &o, &up, &err), -1);
    cr_expect_eq(sagent_upload_undo(again, &err), 0);
    snprintf(url, sizeof url, "%sa", input(again, 0)->from);
    cr_expect_neq(inode(url), 0, "the interrupted one's");
}

/* ---- what is wrong ---- */

static void expect_refused(const char *name, const char *to, int code, const char *text)
{
    char p[SCRATCH_PATH];
    struct sagent_uploaded *up = NULL;
    path(p, name);
    const struct sagent_upload file = {p, to};
    cr_assert_eq(try_with(&file, 1, NULL, NULL, &up), -1, "%s", name);
    cr_expect_eq(err.code, code, "%s: %s", name, err.text);
    cr_expect_not_null(strstr(err.text, text), "%s", err.text);
    cr_expect(store_is_empty());
}

Test(upload, mistakes_are_told_before_anything_is_moved)
{
    expect_refused("none", NULL, SAGENT_ERR_NOT_FOUND, "/none");
    expect_refused("empty", NULL, SAGENT_ERR_NOT_FOUND, "no file in this directory");
    expect_refused("mesh", "../x", SAGENT_ERR_INVALID, "'..' is not allowed");
    struct sagent_uploaded *up = NULL;
    cr_expect_eq(try_with(NULL, 0, NULL, NULL, &up), -1);
    cr_expect_eq(err.code, SAGENT_ERR_INVALID);
    char a[SCRATCH_PATH];
    path(a, "mesh");
    const struct sagent_upload twice[] = {{a, NULL}, {a, "mesh"}};
    cr_expect_eq(try_with(twice, 2, NULL, NULL, &up), -1);
    cr_expect_not_null(strstr(err.text, "same file"), "%s", err.text);
    struct sagent_upload_request r = {.files = twice, .file_count = 1, .store = "s3://bucket/key"};
    cr_expect_eq(sagent_upload(s, &r, NULL, &up, &err), -1);
    cr_expect_not_null(strstr(err.text, "end with '/'"), "%s", err.text);
    r.store = "";
    cr_expect_eq(sagent_upload(s, &r, NULL, &up, &err), -1);
    cr_expect_not_null(strstr(err.text, "upload_store"), "%s", err.text);
    r.store = NULL;
    r.request_id = "";
    cr_expect_eq(sagent_upload(s, &r, NULL, &up, &err), -1);
    cr_expect_not_null(strstr(err.text, "request id"), "%s", err.text);
    cr_expect(store_is_empty());
}
