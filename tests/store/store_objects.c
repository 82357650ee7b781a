/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Objects of a real store: what goes in comes out */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/str.h"
#include "tests/store/store_kit.h"

enum { MIB = 1024 * 1024 };

TestSuite(objects, .init = kit_set_up, .fini = kit_tear_down, .timeout = 120);

Test(objects, of_any_size_come_back_checked)
{
    static const size_t sizes[] = {0, 1, 65537, 16 * MIB, 16 * MIB + 1, 40 * MIB + 7};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct stage_info info = {0};
        kit_put("sized", "in", sizes[i]);
        cr_assert_eq(kit_fetch("sized", "out", &info), ERR_NONE, "%zu: %s", sizes[i], kit.err.text);
        cr_expect_eq(info.size_bytes, sizes[i]);
        cr_expect(info.checked, "%zu: %s", sizes[i], info.etag);
        cr_expect_leq(clock_now() - info.modified_s, 120);
        cr_expect(kit_same("in", "out"), "%zu", sizes[i]);
    }
}

/* Each of these is spoilt by some client. */
static const char *const odd_keys[] = {
    "a b",      "a+b",        "a%20b",      "a%b",      "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80",
    "a/../b",   "../up",      "./dot/.",    "a//b",     "a?b=c&d",
    "a#b",      "a;b,c",      "a:b@c",      "'\"<>&",   "~tilde!*()",
    "back\\sl", "{curly}[1]", "=eq$dollar", " leading", "trailing ",
};

struct seen {
    size_t n;
    bool found[ARRAY_LEN(odd_keys)];
};

static int see(void *arg, const char *key, const struct stage_info *info)
{
    struct seen *s = arg;
    s->n++;
    for (size_t i = 0; i < ARRAY_LEN(odd_keys); i++)
        if (str_eq(key + strlen(kit.prefix), odd_keys[i]))
            s->found[i] = info->size_bytes == 10 + i;
    return 0;
}

Test(objects, with_odd_keys_are_put_listed_fetched_copied_and_deleted)
{
    struct seen seen = {0};
    struct stage_url all = kit_url(""), copy = kit_url("copy of + it");
    for (size_t i = 0; i < ARRAY_LEN(odd_keys); i++)
        kit_put(odd_keys[i], "in", 10 + i);
    cr_assert_eq(stage_list(kit.s, &all, 1000, see, &seen, NULL, &kit.err), 0, "%s", kit.err.text);
    cr_expect_eq(seen.n, ARRAY_LEN(odd_keys));
    for (size_t i = 0; i < ARRAY_LEN(odd_keys); i++) {
        struct stage_url u = kit_url(odd_keys[i]);
        struct stage_info info = {0};
        cr_expect(seen.found[i], "%s", odd_keys[i]);
        cr_expect_eq(stage_copy(kit.s, &u, &copy, NULL, &info, &kit.err), 0, "%s", kit.err.text);
        cr_expect_eq(stage_delete(kit.s, &u, NULL, &kit.err), 0, "%s", kit.err.text);
        cr_expect_eq(kit_fetch(odd_keys[i], "out", &info), ERR_NOT_FOUND, "%s", odd_keys[i]);
        cr_expect_eq(kit_fetch("copy of + it", "out", &info), ERR_NONE, "%s", kit.err.text);
        cr_expect_eq(info.size_bytes, 10 + i, "%s", odd_keys[i]);
    }
}

Test(objects, a_key_may_have_1024_bytes)
{
    char key[1025];
    memset(key, 'k', sizeof key);
    for (size_t i = 100; i < 1024; i += 100)
        key[i] = '/';
    key[1024 - strlen(kit.prefix)] = '\0';
    struct stage_info info = {0};
    kit_put(key, "in", 5);
    cr_expect_eq(kit_fetch(key, "out", &info), ERR_NONE, "%s", kit.err.text);
    cr_expect(kit_same("in", "out"));
}

struct told {
    int n, stop_at;
    char last[1100];
};

static int tell(void *arg, const char *key, const struct stage_info *info)
{
    struct told *t = arg;
    cr_expect_lt(strcmp(t->last, key), 0, "%s", key);
    str_copy(t->last, sizeof t->last, key);
    cr_expect_eq(strlen(info->etag), 32);
    return ++t->n == t->stop_at;
}

static int put_one(void *arg, size_t i, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "many/%02zu", i);
    struct stage_url u = kit_url(name);
    return stage_put(kit.s, &u, *(int *)arg, NULL, NULL, err);
}

Test(objects, lists_go_on_past_a_page_and_stop_when_told)
{
    AUTO(close) int fd = kit_file("in", 100);
    struct stage_url u = kit_url("many/");
    struct told all = {0}, some = {.stop_at = 4}, few = {0};
    kit.conf.page_keys = 7;
    kit_reopen();
    cr_assert_eq(stage_each(35, 7, put_one, &fd, &kit.err), 0, "%s", kit.err.text);
    cr_expect_eq(stage_list(kit.s, &u, 35, tell, &all, NULL, &kit.err), 0, "%s", kit.err.text);
    cr_expect_eq(all.n, 35);
    u = kit_url("many/1");
    cr_expect_eq(stage_list(kit.s, &u, 1000, tell, &some, NULL, &kit.err), -1);
    cr_expect_eq(kit.err.code, ERR_INTERRUPTED);
    kit.err = (struct err){0};
    cr_expect_eq(stage_list(kit.s, &u, 9, tell, &few, NULL, &kit.err), -1);
    cr_expect_eq(kit.err.code, ERR_LIMIT);
    cr_expect_eq(few.n, 9);
}

Test(objects, errors_name_object_and_endpoint_and_what_the_store_said)
{
    struct stage_url none = kit_url("none"), bucket = kit_url("x");
    struct stage_info info;
    str_copy(bucket.bucket, sizeof bucket.bucket, "no-such-bucket");
    cr_expect_eq(kit_fetch("none", "out", &info), ERR_NOT_FOUND);
    cr_expect(strstr(kit.err.text, "s3://data/t-"), "%s", kit.err.text);
    cr_expect(strstr(kit.err.text, kit.http), "%s", kit.err.text);
    cr_expect(strstr(kit.err.text, "NoSuchKey"), "%s", kit.err.text);
    cr_expect_eq(stage_head(kit.s, &none, NULL, &info, &kit.err), -1);
    AUTO(close) int fd = kit_file("in", 10);
    kit.err = (struct err){0};
    cr_expect_eq(stage_put(kit.s, &bucket, fd, NULL, &info, &kit.err), -1);
    cr_expect(strstr(kit.err.text, "NoSuchBucket"), "%s", kit.err.text);
    cr_expect_eq(kit.err.code, ERR_NOT_FOUND);
    cr_expect_eq(stage_list(kit.s, &bucket, 10, see, NULL, NULL, &(struct err){0}), -1);
}

Test(objects, keys_that_are_wrong_are_refused_and_in_no_error)
{
    kit.conf.secret_key = "not-the-secret";
    kit.conf.session_token = "some-session-token";
    kit_reopen();
    struct stage_info info;
    cr_expect_eq(kit_fetch("x", "out", &info), ERR_DENIED, "%s", kit.err.text);
    cr_expect(strstr(kit.err.text, "SignatureDoesNotMatch"), "%s", kit.err.text);
    cr_expect_not(strstr(kit.err.text, "not-the-secret"));
    cr_expect_not(strstr(kit.err.text, "some-session"));
    kit.conf.secret_key = "root-secret";
    kit.conf.session_token = NULL;
    kit.conf.region = "eu-west-1";
    kit_reopen();
    cr_expect_eq(kit_fetch("x", "out", &info), ERR_STORE, "%s", kit.err.text);
    cr_expect(strstr(kit.err.text, "us-east-1"), "%s", kit.err.text);
}

Test(objects, other_users_buckets_are_not_ones_own)
{
    if (geteuid() != 0)
        cr_skip_test("needs a second user");
    struct stage_info info;
    kit_put("mine", "in", 10);
    kit.conf.access_key = "bob:bob";
    kit.conf.secret_key = "bob-secret";
    kit_reopen();
    cr_expect_eq(kit_fetch("mine", "out", &info), ERR_NOT_FOUND, "%s", kit.err.text);
}

Test(objects, https_verifies_by_the_authority_that_is_named)
{
    struct stage_info info;
    kit.conf.endpoint = kit.https;
    kit.conf.ca_file = kit.ca;
    kit_reopen();
    kit_put("tls", "in", 20 * MIB);
    cr_expect_eq(kit_fetch("tls", "out", &info), ERR_NONE, "%s", kit.err.text);
    cr_expect(kit_same("in", "out"));
    kit.conf.ca_file = NULL;
    kit_reopen();
    cr_expect_eq(kit_fetch("tls", "out", &info), ERR_STORE, "%s", kit.err.text);
    cr_expect(strstr(kit.err.text, "certificate"), "%s", kit.err.text);
    kit.conf.ca_file = "/nonexistent/ca.pem";
    kit_reopen();
    cr_expect_eq(kit_fetch("tls", "out", &info), ERR_STORE, "%s", kit.err.text);
}

/* The sandbox's certificate is for *.localhost, which leads here by what every resolver must do. */
Test(objects, the_bucket_may_be_in_the_hosts_name)
{
    struct stage_info info;
    kit.conf.endpoint = kit.https;
    kit.conf.ca_file = kit.ca;
    kit.conf.addressing = STAGE_ADDRESSING_VIRTUAL;
    kit_reopen();
    kit_put("virtual", "in", 1000);
    cr_expect_eq(kit_fetch("virtual", "out", &info), ERR_NONE, "%s", kit.err.text);
    cr_expect(kit_same("in", "out"));
}

Test(objects, addresses_that_are_denied_are_not_connected_to)
{
    struct stage_info info;
    kit.conf.deny_endpoints = "10.0.0.0/8, 127.0.0.0/8, ::1";
    kit_reopen();
    cr_expect_eq(kit_fetch("x", "out", &info), ERR_DENIED);
    cr_expect(strstr(kit.err.text, "127.0.0.1"), "%s", kit.err.text);
    kit.conf.endpoint = kit.https; /* localhost: a name */
    kit_reopen();
    cr_expect_eq(kit_fetch("x", "out", &info), ERR_DENIED, "%s", kit.err.text);
    static const char *const always[] = {"http://169.254.169.254", "http://[fe80::1]",
                                         "http://[::ffff:169.254.169.254]"};
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        kit.conf.endpoint = always[i];
        kit.conf.deny_endpoints = NULL;
        kit_reopen();
        cr_expect_eq(kit_fetch("x", "out", &info), ERR_DENIED, "%s", kit.err.text);
    }
}

Test(objects, an_endpoint_is_a_scheme_a_host_and_a_port)
{
    static const char *const bad[] = {"localhost:80",     "ftp://host",    "http://user:pw@host",
                                      "http://host/path", "http://host?q", "http://",
                                      "file:///x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct stage *s = NULL;
        struct err err = {0};
        kit.conf.endpoint = bad[i];
        cr_expect_eq(stage_open(STAGE_S3, &kit.conf, &s, &err), -1, "%s", bad[i]);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_not(strstr(err.text, "pw"));
    }
}

Test(objects, nobody_there_is_store_down_after_some_tries)
{
    struct stage_info info;
    kit.conf.endpoint = "http://127.0.0.1:1";
    kit.conf.tries = 2;
    kit_reopen();
    cr_expect_eq(kit_fetch("x", "out", &info), ERR_STORE_DOWN);
    cr_expect(strstr(kit.err.text, "(2 tries)"), "%s", kit.err.text);
}

Test(objects, a_proxy_of_the_environment_counts_only_where_it_may)
{
    struct stage_info info;
    kit_put("proxied", "in", 10);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "", 1);
    kit_reopen();
    cr_expect_eq(kit_fetch("proxied", "out", &info), ERR_NONE, "%s", kit.err.text);
    kit.conf.proxy_from_environment = true;
    kit.conf.tries = 1;
    kit_reopen();
    cr_expect_eq(kit_fetch("proxied", "out", &info), ERR_STORE_DOWN, "%s", kit.err.text);
}

static int stop_at(void *arg, int64_t more_bytes)
{
    int64_t *left = arg;
    *left -= more_bytes;
    return *left < 0;
}

Test(objects, a_transfer_that_is_stopped_leaves_nothing)
{
    int64_t left = 20 * MIB;
    struct stage_run run = {.progress = stop_at, .arg = &left};
    struct stage_url u = kit_url("stopped");
    struct stage_info info;
    AUTO(close) int fd = kit_file("in", 40 * MIB);
    cr_expect_eq(stage_put(kit.s, &u, fd, &run, &info, &kit.err), -1);
    cr_expect_eq(kit.err.code, ERR_INTERRUPTED, "%s", kit.err.text);
    cr_expect_eq(kit_fetch("stopped", "out", &info), ERR_NOT_FOUND);
    kit_put("whole", "in", 40 * MIB);
    left = 20 * MIB;
    u = kit_url("whole");
    kit.err = (struct err){0};
    cr_expect_eq(stage_fetch(kit.s, &u, kit.dirfd, "out", 0600, &run, &info, &kit.err), -1);
    cr_expect_eq(kit.err.code, ERR_INTERRUPTED);
    const char *out = "out";
    cr_expect_eq(stage_sweep_parts(kit.dirfd, &out, 1), 0);
    cr_expect_eq(faccessat(kit.dirfd, "out", F_OK, 0), -1);
}

static int sum(void *arg, int64_t more_bytes)
{
    *(int64_t *)arg += more_bytes;
    return 0;
}

Test(objects, progress_adds_up_to_the_size)
{
    int64_t told = 0;
    struct stage_run run = {.progress = sum, .arg = &told};
    struct stage_url u = kit_url("counted");
    AUTO(close) int fd = kit_file("in", 40 * MIB + 3);
    cr_assert_eq(stage_put(kit.s, &u, fd, &run, NULL, &kit.err), 0, "%s", kit.err.text);
    cr_expect_eq(told, 40 * MIB + 3);
    told = 0;
    cr_assert_eq(stage_fetch(kit.s, &u, kit.dirfd, "out", 0600, &run, NULL, &kit.err), 0);
    cr_expect_eq(told, 40 * MIB + 3);
}
