/* SPDX-License-Identifier: GPL-3.0-or-later */
/* put and fetch as users type them */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/str.h"
#include "tests/kit/run.h"
#include "tests/store/store_kit.h"

static char cli[BUILD_PATH], base[64], before[4096];

static void set_up(void)
{
    kit_set_up();
    build_path(cli, "bin/slurm-agent");
    snprintf(base, sizeof base, "s3://data/%s", kit.prefix);
    cr_assert_not_null(getcwd(before, sizeof before));
    cr_assert_eq(chdir(kit.dir), 0);
}

static void tear_down(void)
{
    if (*before)
        cr_assert_eq(chdir(before), 0);
    kit_tear_down();
}

TestSuite(cli, .init = set_up, .fini = tear_down, .timeout = 120);

#define run(...) run_as(NULL, cli, __VA_ARGS__)

static const char *below(const char *name)
{
    static char url[4][1200];
    static int next;
    char *out = url[next++ % 4];
    snprintf(out, sizeof url[0], "%s%s", base, name);
    return out;
}

static void make(const char *path, const char *text)
{
    AUTO(close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void make_tree(void)
{
    cr_assert_eq(mkdir("tree", 0700), 0);
    cr_assert_eq(mkdir("tree/deep er", 0700), 0);
    make("tree/one.csv", "1");
    make("tree/two.txt", "22");
    make("tree/deep er/three.csv", "333");
    cr_assert_eq(symlink(".", "tree/loop"), 0);
    cr_assert_eq(symlink("two.txt", "tree/link"), 0);
}

static bool has(const char *path, const char *text)
{
    AUTO(free) char *got = scratch_read(path);
    return str_eq(got, text);
}

Test(cli, directories_go_and_come_back)
{
    make_tree();
    AUTO(run_free) struct run put = run("put", "-r", "tree", below("a/"));
    cr_assert_eq(put.status, 0, "%s", put.err);
    cr_expect(strstr(put.out, "tree/deep er/three.csv -> "), "%s", put.out);
    cr_expect(strstr(put.err, "tree/loop is left out: it is a link to a directory"), "%s", put.err);
    AUTO(run_free) struct run all = run("fetch", "-r", below("a/"), "back");
    cr_assert_eq(all.status, 0, "%s", all.err);
    cr_expect(has("back/tree/one.csv", "1"));
    cr_expect(has("back/tree/link", "22"));
    cr_expect(has("back/tree/deep er/three.csv", "333"));
    cr_expect_eq(access("back/tree/loop", F_OK), -1);
    AUTO(run_free) struct run named = run("fetch", "--recursive", below("a/tree"));
    cr_expect_eq(named.status, 0, "%s", named.err);
    AUTO(run_free) struct run renamed = run("put", "-r", "tree", below("b"));
    cr_expect_eq(renamed.status, 0, "%s", renamed.err);
    AUTO(run_free) struct run one = run("fetch", below("b/one.csv"));
    cr_expect_eq(one.status, 0, "%s", one.err);
    cr_expect(has("one.csv", "1"));
}

Test(cli, globs_match_within_one_directory)
{
    make_tree();
    AUTO(run_free) struct run put = run("put", "-qr", "tree/.", below(""));
    cr_assert_eq(put.status, 0, "%s", put.err);
    cr_expect_str_eq(put.out, "");
    AUTO(run_free) struct run some = run("fetch", below("*.csv"), "globbed");
    cr_expect_eq(some.status, 0, "%s", some.err);
    cr_expect(has("globbed/one.csv", "1"));
    cr_expect_eq(access("globbed/deep er", F_OK), -1);
    AUTO(run_free) struct run none = run("fetch", below("*.h5"));
    cr_expect_eq(none.status, 3);
    cr_expect(strstr(none.err, "nothing like"), "%s", none.err);
}

/* Keys are the store's: who may write there must not write elsewhere here. */
Test(cli, keys_that_lead_out_are_refused_and_the_rest_comes)
{
    kit_put("p/../../evil", "in", 4);
    kit_put("p//etc/evil", "in", 4);
    kit_put("p/good", "in", 4);
    AUTO(run_free) struct run r = run("fetch", "-r", below("p/"), "d/e");
    cr_expect_eq(r.status, 2, "%s", r.err);
    cr_expect(strstr(r.err, "'..'"), "%s", r.err);
    cr_expect(strstr(r.err, "absolute path"), "%s", r.err);
    cr_expect_eq(access("evil", F_OK), -1);
    cr_expect_eq(access("d/evil", F_OK), -1);
    cr_expect_eq(access("d/e/good", F_OK), 0);
    cr_assert_eq(symlink("/tmp", "d/e/link"), 0);
    kit_put("p/link/evil", "in", 4);
    AUTO(run_free) struct run through = run("fetch", "-r", below("p/"), "d/e");
    cr_expect(strstr(through.err, "leads out"), "%s", through.err);
}

/* As on a terminal of so many columns; its output is what that shows. */
static struct run on_terminal(int columns, const char *command)
{
    char text[BUILD_PATH + 1400];
    snprintf(text, sizeof text, "stty columns %d; exec '%s' %s", columns, cli, command);
    return run_as(NULL, "script", "-qec", text, "/dev/null");
}

/* The longest of what is written over each other in one line. */
static size_t widest(const char *shown)
{
    size_t most = 0;
    for (const char *p = shown; *p; p += *p != '\0') {
        size_t n = strcspn(p, "\r\n");
        most = n > most ? n : most;
        p += n;
    }
    return most;
}

Test(cli, a_terminal_shows_a_bar_in_place_of_lines)
{
    char command[1300];
    make_tree();
    snprintf(command, sizeof command, "put -r tree %s", below("bar/"));
    AUTO(run_free) struct run put = on_terminal(100, command);
    cr_assert_eq(put.status, 0, "%s", put.out);
    cr_expect(strstr(put.out, "[") && strstr(put.out, "]") && strstr(put.out, "% ") &&
                  strstr(put.out, " of 8 B") && strstr(put.out, "/4 files"),
              "bytes and files: %s", put.out);
    cr_expect(strstr(put.out, "4 files, 8 B in "), "how much it was: %s", put.out);
    cr_expect_null(strstr(put.out, " -> "), "no lines: %s", put.out);
    cr_expect_lt(widest(put.out), 100, "%s", put.out);
    snprintf(command, sizeof command, "fetch -r %s back", below("bar/"));
    AUTO(run_free) struct run get = on_terminal(30, command);
    cr_assert_eq(get.status, 0, "%s", get.out);
    cr_expect_null(strstr(get.out, "["), "there is no room for one: %s", get.out);
    cr_expect(strstr(get.out, "% "), "%s", get.out);
    cr_expect(has("back/tree/two.txt", "22"));
    snprintf(command, sizeof command, "put --quiet tree/one.csv %s", below("quiet"));
    AUTO(run_free) struct run quiet = on_terminal(100, command);
    cr_expect_eq(quiet.status, 0);
    cr_expect_str_eq(quiet.out, "");
}

Test(cli, json_has_a_line_for_each_file)
{
    make("f", "12345");
    AUTO(run_free) struct run put = run("put", "--json", "f", below("f"));
    cr_expect_eq(put.status, 0);
    cr_expect(strstr(put.out, "\"size\":5,\"etag\":\"827ccb0eea8a706c4c34a16891f84e7b\""), "%s",
              put.out);
    AUTO(run_free) struct run none = run("fetch", "--json", below("none/"), "-r");
    cr_expect_eq(none.status, 3, "%s", none.err);
    cr_expect_eq(unlink("f"), 0);
    AUTO(run_free) struct run get = run("fetch", "--json", below("f"), "g");
    cr_expect_eq(get.status, 0);
    cr_expect(strstr(get.out, "\"to\":\"g\""), "%s", get.out);
    cr_expect(strstr(get.out, "\"checked\":true"), "%s", get.out);
}

Test(cli, mistakes_are_told)
{
    make_tree();
    static const struct {
        const char *args[5];
        int status;
        const char *says;
    } bad[] = {
        {{"put", "tree", "s3://data/x/"}, 2, "--recursive"},
        {{"put", "none", "s3://data/x/"}, 3, "none: No such file"},
        {{"put", "tree/one.csv", "tree/two.txt", "s3://data/x"}, 2, "has to end with '/'"},
        {{"put", "tree/one.csv", "/elsewhere"}, 2, "give s3://bucket/key"},
        {{"put", "s3://data/x"}, 2, "usage"},
        {{"fetch", "s3://data/"}, 2, "--recursive"},
        {{"fetch", "s3://data/none-such"}, 3, "s3://data/none-such at http"},
        {{"fetch", "--parallel=17", "s3://data/x"}, 2, "1 to 16"},
        {{"fetch", "--profile=none", "s3://data/x"}, 3, "no profile none"},
        {{"fetch", "--endpoint-url=data", "s3://data/x"}, 2, "https://host"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *argv[8] = {cli};
        for (size_t a = 0; bad[i].args[a]; a++)
            argv[a + 1] = bad[i].args[a];
        AUTO(run_free) struct run r = run_argv(NULL, argv, "");
        cr_expect_eq(r.status, bad[i].status, "%zu: %s", i, r.err);
        cr_expect(strstr(r.err, bad[i].says) || bad[i].args[2] == NULL, "%zu: %s", i, r.err);
    }
}

/* The sandbox's profile "tls" has another endpoint, and names the authority of its certificate. */
Test(cli, profiles_are_those_of_the_aws_files)
{
    make("f", "12345");
    AUTO(run_free) struct run put = run("put", "--profile=tls", "f", below("f"));
    cr_expect_eq(put.status, 0, "%s", put.err);
    setenv("AWS_PROFILE", "tls", 1);
    AUTO(run_free) struct run get = run("fetch", below("f"), "g");
    cr_expect_eq(get.status, 0, "%s", get.err);
    cr_expect(has("g", "12345"));
    setenv("AWS_CA_BUNDLE", "/etc/hostname", 1);
    AUTO(run_free) struct run bad = run("fetch", below("f"), "h");
    cr_expect_eq(bad.status, 21, "%s", bad.err);
    cr_expect(strstr(bad.err, "https://localhost"), "%s", bad.err);
}

/* A store in a directory needs no keys and no server. */
Test(cli, file_urls_are_stores_too)
{
    char url[200];
    make_tree();
    snprintf(url, sizeof url, "file://%s/store/", kit.dir);
    AUTO(run_free) struct run put = run("put", "-r", "tree", url);
    cr_expect_eq(put.status, 0, "%s", put.err);
    AUTO(run_free) struct run get = run("fetch", "-r", url, "back");
    cr_expect_eq(get.status, 0, "%s", get.err);
    cr_expect(has("back/tree/deep er/three.csv", "333"));
}

/* The library's example, linked as a program of somebody else's. */
Test(cli, a_program_with_the_library_does_it_too)
{
    char example[BUILD_PATH];
    build_path(example, "tests/put_and_fetch");
    make("f", "12345");
    AUTO(run_free) struct run r = run_as(NULL, example, "f", below("f"), "g");
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect(strstr(r.out, "g: 5 bytes, checked"), "%s", r.out);
    cr_expect(has("g", "12345"));
    AUTO(run_free) struct run bad = run_as(NULL, example, "none", below("f"), "g");
    cr_expect_eq(bad.status, 3);
}

Test(cli, another_s3_client_sees_the_same)
{
    if (run_status(run_as(NULL, "which", "s3cmd")) != 0)
        cr_skip_test("s3cmd is not installed");
    char host[80], opt[120], bucket[120], access_key[100];
    snprintf(host, sizeof host, "%s", strchr(kit.http, ':') + 3);
    snprintf(opt, sizeof opt, "--host=%s", host);
    snprintf(bucket, sizeof bucket, "--host-bucket=%s", host);
    snprintf(access_key, sizeof access_key, "--access_key=%s", kit.conf.access_key);
    close(kit_file("in", 20 * 1024 * 1024));
    AUTO(run_free) struct run put = run("put", "in", below("by us"));
    cr_assert_eq(put.status, 0, "%s", put.err);
    AUTO(run_free)
    struct run get =
        run_as(NULL, "s3cmd", "-c", "/dev/null", opt, bucket, "--no-ssl", access_key,
               "--secret_key=root-secret", "--region=us-east-1", "get", below("by us"), "theirs");
    cr_expect_eq(get.status, 0, "%s%s", get.out, get.err);
    cr_expect(kit_same("in", "theirs"));
    AUTO(run_free)
    struct run back =
        run_as(NULL, "s3cmd", "-c", "/dev/null", opt, bucket, "--no-ssl", access_key,
               "--secret_key=root-secret", "--region=us-east-1", "put", "in", below("by them"));
    cr_expect_eq(back.status, 0, "%s%s", back.out, back.err);
    AUTO(run_free) struct run ours = run("fetch", "--json", below("by them"), "ours");
    cr_expect_eq(ours.status, 0, "%s", ours.err);
    cr_expect(kit_same("in", "ours"));
    cr_expect(strstr(ours.out, "\"checked\":true"), "%s", ours.out);
}
