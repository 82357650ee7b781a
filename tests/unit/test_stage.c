/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/stage.h"
#include "common/stage_impl.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "common/beneath.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/scratch.h"

static struct {
    char dir[SCRATCH_PATH];
    int dirfd;
    struct stage *s;
    struct err err;
} t;

static void set_up(void)
{
    scratch_make(t.dir);
    t.dirfd = open(t.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(stage_open(STAGE_FILE, NULL, &t.s, &t.err), 0);
}

static void tear_down(void)
{
    stage_close(t.s);
    close(t.dirfd);
    scratch_remove(t.dir);
}

TestSuite(stage, .timeout = 60);

Test(stage, sizes_that_no_object_has_are_not_counted)
{
    int64_t sum = 7;
    struct err err = {0};
    cr_expect_eq(stage_add_size(&sum, STAGE_OBJECT_MAX, &err), 0);
    cr_expect_eq(sum, (int64_t)STAGE_OBJECT_MAX + 7);
    cr_expect_eq(stage_add_size(&sum, STAGE_OBJECT_MAX + 1, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
    cr_expect_eq(stage_add_size(&sum, UINT64_MAX - 6, &err), -1, "that is -7 to who does not look");
    sum = INT64_MAX - 10;
    cr_expect_eq(stage_add_size(&sum, 11, &err), -1);
}
TestSuite(stage_file, .init = set_up, .fini = tear_down, .timeout = 60);
TestSuite(beneath, .init = set_up, .fini = tear_down, .timeout = 60);

static const char *refusal(const char *url)
{
    static struct err err;
    struct stage_url u;
    err = (struct err){0};
    cr_assert_eq(stage_url_parse(url, &u, &err), -1, "%s", url);
    cr_expect_eq(err.code, ERR_INVALID);
    return err.text;
}

Test(stage, urls_name_buckets_and_keys_byte_for_byte)
{
    static const struct {
        const char *text, *bucket, *key;
        bool prefix;
    } good[] = {
        {"s3://data", "data", "", true},
        {"s3://data/", "data", "", true},
        {"s3://my.old_Bucket-1/a", "my.old_Bucket-1", "a", false},
        {"s3://data/in/", "data", "in/", true},
        {"s3://data//in/../x", "data", "/in/../x", false},
        {"s3://data/a b+c%20d?e#f&g=h", "data", "a b+c%20d?e#f&g=h", false},
        {"s3://data/\xc3\xbc\xe2\x82\xac", "data", "\xc3\xbc\xe2\x82\xac", false},
        {"file:///srv/data/x", "", "/srv/data/x", false},
        {"file:///srv/", "", "/srv/", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct stage_url u, again;
        struct err err = {0};
        char text[STAGE_URL_TEXT];
        cr_assert_eq(stage_url_parse(good[i].text, &u, &err), 0, "%s", err.text);
        cr_expect_str_eq(u.bucket, good[i].bucket);
        cr_expect_str_eq(u.key, good[i].key);
        cr_expect_eq(stage_url_is_prefix(&u), good[i].prefix, "%s", good[i].text);
        cr_assert_eq(stage_url_parse(stage_url_text(&u, text), &again, &err), 0, "%s", err.text);
        cr_expect_str_eq(again.key, u.key);
    }
}

Test(stage, what_is_no_url_is_told_what_would_be_right)
{
    cr_expect(strstr(refusal("/srv/x"), "give s3://bucket/key or file:///dir/name"));
    cr_expect(strstr(refusal("https://data/x"), "give s3://"));
    cr_expect(strstr(refusal("S3://data/x"), "give s3://"));
    cr_expect(strstr(refusal("s3://"), "no bucket"));
    cr_expect(strstr(refusal("s3:///x"), "no bucket"));
    cr_expect(strstr(refusal("s3://ab/x"), "3 to 255"));
    cr_expect(strstr(refusal("s3://-ab/x"), "begins and ends"));
    cr_expect(strstr(refusal("s3://user:key@host/x"), "letters, digits"));
    cr_expect(strstr(refusal("s3://data/a\nb"), "control character"));
    cr_expect(strstr(refusal("file://srv/x"), "file:///dir/name"));
    cr_expect(strstr(refusal("file:///srv/../x"), "'..'"));
}

Test(stage, a_key_has_1024_bytes_and_no_more)
{
    char text[STAGE_URL_TEXT] = "s3://data/";
    struct stage_url u, joined;
    struct err err = {0};
    memset(text + 10, 'k', 1024);
    cr_assert_eq(stage_url_parse(text, &u, &err), 0, "%s", err.text);
    cr_expect_eq(strlen(u.key), 1024);
    cr_expect_eq(stage_url_join(&u, "k", &joined, &err), -1);
    cr_expect(strstr(err.text, "at most 1024 bytes"), "%s", err.text);
    memset(text + 10, 'k', 1025);
    cr_expect(strstr(refusal(text), "at most 1024 bytes"));
}

static int count(void *arg, size_t i, struct err *err)
{
    atomic_int *seen = arg;
    atomic_fetch_add(&seen[i], 1);
    return i == 77 ? err_set(err, ERR_STORE, "the %zuth", i) : 0;
}

Test(stage, each_does_all_of_it_once_and_stops_at_the_first_error)
{
    static atomic_int seen[100];
    struct err err = {0};
    cr_expect_eq(stage_each(77, 5, count, seen, &err), 0);
    for (int i = 0; i < 77; i++)
        cr_expect_eq(seen[i], 1);
    cr_expect_eq(stage_each(100, 0, count, seen, &err), -1);
    cr_expect_str_eq(err.text, "the 77th");
    cr_expect_eq(seen[78], 0);
    cr_expect_eq(stage_each(0, 4, count, seen, &(struct err){0}), 0);
}

static struct stage_url url(const char *rel)
{
    char text[STAGE_URL_TEXT];
    struct stage_url u;
    snprintf(text, sizeof text, "file://%s/%s", t.dir, rel);
    cr_assert_eq(stage_url_parse(text, &u, &t.err), 0, "%s", t.err.text);
    return u;
}

static int local(const char *text)
{
    scratch_write(t.dir, "local", text);
    return openat(t.dirfd, "local", O_RDONLY | O_CLOEXEC);
}

static void put(const char *rel, const char *text)
{
    struct stage_url to = url(rel);
    struct stage_info info;
    AUTO(close) int fd = local(text);
    cr_assert_eq(stage_put(t.s, &to, fd, NULL, &info, &t.err), 0, "%s", t.err.text);
    cr_expect_eq(info.size_bytes, strlen(text));
}

static char *content(const char *name)
{
    char path[SCRATCH_PATH];
    scratch_path(path, t.dir, name);
    return scratch_read(path);
}

Test(stage_file, what_is_put_is_fetched_with_its_directories_made)
{
    put("store/deep/er/x y", "hello");
    struct stage_url from = url("store/deep/er/x y");
    struct stage_info info;
    cr_assert_eq(stage_fetch(t.s, &from, t.dirfd, "got", 0640, NULL, &info, &t.err), 0, "%s",
                 t.err.text);
    AUTO(free) char *got = content("got");
    cr_expect_str_eq(got, "hello");
    cr_expect_eq(info.size_bytes, 5);
    cr_expect_leq(clock_now() - info.modified_s, 60);
    struct stat st;
    cr_expect_eq(fstatat(t.dirfd, "got", &st, 0), 0);
    cr_expect_eq(st.st_mode & 07777 & ~0640u, 0);
}

static int add_key(void *arg, const char *key, const struct stage_info *info)
{
    char *to = arg;
    cr_expect_eq(info->size_bytes, 1);
    strcat(strcat(to, key + strlen(t.dir)), " ");
    return 0;
}

Test(stage_file, list_is_in_the_order_of_keys_and_by_prefix)
{
    char keys[1000] = "";
    put("s/a/b", "1");
    put("s/a.b", "1");
    put("s/a/a/z", "1");
    put("s/ab", "1");
    put("s/.b.0123abcd.part", "1"); /* looks like a fetch that was killed */
    cr_expect_eq(symlinkat(".", t.dirfd, "s/loop"), 0);
    cr_expect_eq(symlinkat("ab", t.dirfd, "s/link"), 0);
    struct stage_url u = url("s/");
    cr_assert_eq(stage_list(t.s, &u, 100, add_key, keys, NULL, &t.err), 0, "%s", t.err.text);
    cr_expect_str_eq(keys, "/s/a.b /s/a/a/z /s/a/b /s/ab /s/link ");
    *keys = '\0';
    u = url("s/a/");
    cr_assert_eq(stage_list(t.s, &u, 2, add_key, keys, NULL, &t.err), 0, "%s", t.err.text);
    cr_expect_str_eq(keys, "/s/a/a/z /s/a/b ");
    *keys = '\0';
    u = url("s/a");
    cr_assert_eq(stage_list(t.s, &u, 3, add_key, keys, NULL, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_LIMIT);
    cr_expect_str_eq(keys, "/s/a.b /s/a/a/z /s/a/b ");
    u = url("nothing/");
    cr_expect_eq(stage_list(t.s, &u, 3, add_key, keys, NULL, &(struct err){0}), 0);
}

Test(stage_file, copy_head_and_delete)
{
    struct stage_url a = url("s/a"), b = url("s/new/b");
    struct stage_info info;
    put("s/a", "abc");
    cr_assert_eq(stage_copy(t.s, &a, &b, NULL, &info, &t.err), 0, "%s", t.err.text);
    cr_assert_eq(stage_head(t.s, &b, NULL, &info, &t.err), 0, "%s", t.err.text);
    cr_expect_eq(info.size_bytes, 3);
    cr_expect_eq(stage_delete(t.s, &b, NULL, &t.err), 0);
    cr_expect_eq(stage_delete(t.s, &b, NULL, &t.err), 0);
    cr_expect_eq(stage_head(t.s, &b, NULL, &info, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_NOT_FOUND);
    cr_expect(strstr(t.err.text, "file:///tmp/"), "%s", t.err.text);
}

static int stop(void *arg, int64_t more_bytes)
{
    (void)arg;
    return more_bytes > 0;
}

static int sweep(const char *name)
{
    return stage_sweep_parts(t.dirfd, &name, 1);
}

/* Whatever goes wrong: nothing new under the name, nothing beside it. */
Test(stage_file, a_fetch_that_fails_leaves_nothing)
{
    struct stage_url from = url("s/a"), none = url("s/none"), slash = url("s/");
    struct stage_run stopped = {.progress = stop}, late = {.deadline_ms = 1};
    put("s/a", "abc");
    scratch_write(t.dir, "got", "old");
    struct err err = {0};
    cr_expect_eq(stage_fetch(t.s, &from, t.dirfd, "got", 0666, &stopped, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_INTERRUPTED);
    err = (struct err){0};
    cr_expect_eq(stage_fetch(t.s, &from, t.dirfd, "got", 0666, &late, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_TIMEOUT);
    err = (struct err){0};
    cr_expect_eq(stage_fetch(t.s, &none, t.dirfd, "got", 0666, NULL, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_NOT_FOUND);
    err = (struct err){0};
    cr_expect_eq(stage_fetch(t.s, &slash, t.dirfd, "got", 0666, NULL, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    err = (struct err){0};
    cr_expect_eq(stage_fetch(t.s, &from, t.dirfd, "../got", 0666, NULL, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    AUTO(free) char *got = content("got");
    cr_expect_str_eq(got, "old");
    cr_expect_eq(sweep("got"), 0);
}

Test(stage_file, sweep_takes_the_parts_of_that_name_alone)
{
    scratch_write(t.dir, ".got.0123abcd.part", "");
    scratch_write(t.dir, ".got.0123abce.part", "");
    scratch_write(t.dir, ".got.2.0123abcd.part", "");
    scratch_write(t.dir, ".got.123abcd.part", "");
    scratch_write(t.dir, "got.0123abcd.part", "");
    cr_expect_eq(sweep("got"), 2);
    cr_expect_eq(faccessat(t.dirfd, ".got.2.0123abcd.part", F_OK, 0), 0);
    char name[256], part[300];
    memset(name, 'n', 255);
    name[255] = '\0';
    snprintf(part, sizeof part, ".%.240s.0123abcd.part", name);
    AUTO(close) int fd = openat(t.dirfd, part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_expect_eq(sweep(name), 1);
}

Test(stage_file, sweep_takes_the_parts_of_many_names_at_once)
{
    const char *names[] = {"d", "b", "a", "bb", "b"};
    scratch_write(t.dir, ".a.0123abcd.part", "");
    scratch_write(t.dir, ".b.0123abcd.part", "");
    scratch_write(t.dir, ".bb.0123abcd.part", "");
    scratch_write(t.dir, ".c.0123abcd.part", "");
    scratch_write(t.dir, ".d.0123abcd.part", "");
    cr_expect_eq(stage_sweep_parts(t.dirfd, names, ARRAY_LEN(names)), 4);
    cr_expect_eq(faccessat(t.dirfd, ".c.0123abcd.part", F_OK, 0), 0);
}

/* Another job's worker fetches the same into the same directory. */
Test(stage_file, sweep_leaves_what_somebody_writes)
{
    char part[NAME_MAX + 1];
    int fd = stage_part_open(t.dirfd, "got", 0600, part, &t.err);
    cr_assert_geq(fd, 0, "%s", t.err.text);
    cr_expect_eq(sweep("got"), 0);
    cr_expect_eq(faccessat(t.dirfd, part, F_OK, 0), 0);
    close(fd);
    cr_expect_eq(sweep("got"), 1);
}

Test(stage_file, a_store_of_one_kind_takes_no_url_of_another)
{
    struct stage_url u;
    struct stage_info info;
    cr_assert_eq(stage_url_parse("s3://data/x", &u, &t.err), 0);
    cr_expect_eq(stage_head(t.s, &u, NULL, &info, &t.err), -1);
    cr_expect_eq(t.err.code, ERR_INVALID);
}

static enum err_code beneath(const char *path, bool make)
{
    const char *name;
    struct err err = {0};
    AUTO(close) int fd = beneath_open_parent(t.dirfd, path, make, &name, &err);
    cr_expect_eq(fd < 0, err.code != ERR_NONE);
    return err.code;
}

/* As of files by absolute paths where /home is a link. */
Test(beneath, follows_absolute_links_from_the_root)
{
    const char *name;
    char path[PATH_MAX];
    AUTO(close) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    scratch_write(t.dir, "file", "x");
    cr_assert_eq(symlinkat(t.dir, t.dirfd, "link"), 0);
    snprintf(path, sizeof path, "%s/link/file", t.dir);
    AUTO(close) int fd = beneath_open_file(root, path + 1, &t.err);
    cr_expect_geq(fd, 0, "%s", t.err.text);
    AUTO(close) int dir = beneath_open_parent(root, path + 1, false, &name, &t.err);
    cr_expect_geq(dir, 0, "%s", t.err.text);
    cr_expect_eq(beneath("link/file", false), ERR_INVALID);
}

Test(beneath, opens_nothing_of_proc)
{
    AUTO(close) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(close) int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(close) int fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    scratch_write(t.dir, "file", "x");
    char path[PATH_MAX];
    scratch_path(path, t.dir, "file");
    AUTO(close) int file = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(dup2(file, 0), 0);
    cr_expect_lt(beneath_open_file(root, "proc/self/maps", &t.err), 0);
    cr_expect_lt(beneath_open_file(root, "proc/self/fd/0", &t.err), 0);
    cr_expect_lt(beneath_open_file(proc, "maps", &t.err), 0);
    cr_expect_lt(beneath_open_file(fds, "0", &t.err), 0);
}

Test(beneath, objects_are_nothing_of_proc)
{
    static const char *const names[] = {"/proc/self/fd/0", "/dev/stdin", "/proc/self/maps"};
    char path[PATH_MAX];
    scratch_write(t.dir, "file", "x");
    scratch_path(path, t.dir, "file");
    AUTO(close) int file = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(dup2(file, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct stage_url u;
        struct stage_info info;
        t.err = (struct err){0};
        snprintf(path, sizeof path, "file://%s", names[i]);
        cr_assert_eq(stage_url_parse(path, &u, &t.err), 0);
        cr_expect_eq(stage_head(t.s, &u, NULL, &info, &t.err), -1, "%s", path);
        cr_expect_not_null(strstr(t.err.text, "leads into /proc"), "%s", t.err.text);
    }
}

Test(beneath, makes_directories_and_gives_the_last_name)
{
    const char *name;
    AUTO(close) int fd = beneath_open_parent(t.dirfd, "a//b/c.txt", true, &name, &t.err);
    cr_assert_geq(fd, 0, "%s", t.err.text);
    cr_expect_str_eq(name, "c.txt");
    AUTO(close) int made = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_expect_geq(made, 0);
    AUTO(close) int found = beneath_open_file(t.dirfd, "a/b/c.txt", &t.err);
    cr_expect_geq(found, 0, "%s", t.err.text);
    cr_expect_eq(beneath("plain", false), ERR_NONE);
    cr_expect_eq(beneath("no/such", false), ERR_NOT_FOUND);
}

Test(beneath, nothing_leads_out)
{
    cr_assert_eq(mkdirat(t.dirfd, "in", 0700), 0);
    cr_assert_eq(mkdirat(t.dirfd, "in/side", 0700), 0);
    cr_assert_eq(symlinkat("in/side", t.dirfd, "stays"), 0);
    cr_assert_eq(symlinkat("/tmp", t.dirfd, "out"), 0);
    cr_assert_eq(symlinkat("../..", t.dirfd, "in/up"), 0);
    cr_expect_eq(beneath("stays/x", false), ERR_NONE);
    cr_expect_eq(beneath("stays/y/x", true), ERR_NONE);
    static const char *const bad[] = {"../x",    "in/../x", "/etc/passwd", "out/x", "out/y/x",
                                      "in/up/x", "",        "in/",         "..",    "in/."};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_expect_eq(beneath(bad[i], true), ERR_INVALID, "%s", bad[i]);
    cr_assert_eq(symlinkat("/etc/passwd", t.dirfd, "in/passwd"), 0);
    cr_expect_eq(beneath_open_file(t.dirfd, "in/passwd", &t.err), -1);
    cr_expect_eq(t.err.code, ERR_INVALID, "%s", t.err.text);
}

Test(beneath, opens_regular_files_alone)
{
    cr_assert_eq(mkfifoat(t.dirfd, "fifo", 0600), 0);
    cr_expect_eq(beneath_open_file(t.dirfd, "fifo", &t.err), -1);
    cr_expect(strstr(t.err.text, "not a regular file"), "%s", t.err.text);
}

Test(beneath, a_path_of_many_directories_is_no_burden)
{
    char path[2 * 1000 + 2];
    for (int i = 0; i < 1000; i++)
        memcpy(path + 2 * i, "d/", 2);
    strcpy(path + 2000, "x");
    cr_expect_eq(beneath(path, false), ERR_NOT_FOUND);
}
