/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Jobs whose data comes from an S3 store and goes there (OpenStack Swift), looked at by s3cmd */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

enum { PATIENCE_MS = 90000 };

TestSuite(s3, .timeout = 240);

/* s3cmd as that user, with their keys. */
static struct run s3(const char *user, const char *rest)
{
    char *line = NULL;
    const char *store = getenv("SLURM_AGENT_STORE");
    cr_assert_not_null(store, "a sandbox with store=swift is needed");
    const char *host = strstr(store, "//") + 2;
    cr_assert_gt(asprintf(&line,
                          "s3cmd -c /dev/null --no-ssl --host=%s --host-bucket=%s "
                          "--access_key=%s:%s --secret_key=%s-secret %s",
                          host, host, user, user, user, rest),
                 0);
    struct run r = run_as(user, "sh", "-c", line);
    free(line);
    return r;
}

static void must(struct run r)
{
    cr_assert_eq(r.status, 0, "%s %s", r.out, r.err);
    run_free(&r);
}

/* A bucket of the test's own. */
static const char *bucket(void)
{
    static char name[80];
    char line[120];
    const char *dir = scratch(user_a()), *last = strrchr(dir, '/') + 1;
    size_t n = (size_t)snprintf(name, sizeof name, "%s", last);
    for (size_t i = 0; i < n; i++)
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] - 'A' + 'a');
    snprintf(line, sizeof line, "mb s3://%s", name);
    must(s3(user_a(), line));
    return name;
}

static void put(const char *user, const char *to, const char *text)
{
    AUTO(free) char *file = scratch_file(user, "object", text), *line = NULL;
    cr_assert_gt(asprintf(&line, "put %s '%s'", file, to), 0);
    must(s3(user, line));
}

static void expect_object(const char *url, const char *text)
{
    AUTO(free) char *line = NULL;
    cr_assert_gt(asprintf(&line, "--no-progress get '%s' -", url), 0);
    AUTO(run_free) struct run r = s3(user_a(), line);
    cr_expect_str_eq(r.out, text, "%s: %s", url, r.err);
}

struct wanted {
    const char *id, *phase;
};

static bool is_so(void *arg)
{
    const struct wanted *w = arg;
    return strcmp(job_field(user_a(), w->id, "phase"), w->phase) == 0;
}

static void wait_phase(const char *id, const char *phase)
{
    struct wanted w = {id, phase};
    cr_expect(wait_until(is_so, &w, PATIENCE_MS), "%s is %s: %s %s", id,
              job_field(user_a(), id, "phase"), job_field(user_a(), id, "staging"),
              job_field(user_a(), id, "outcome"));
}

/* In the middle of it. */
static bool moves(void *arg)
{
    return atoll(job_field(user_a(), arg, "staged_bytes")) > 0;
}

static const char *text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *text_of(const char *format, ...)
{
    static char text[8][600];
    static int next;
    char *out = text[next++ % 8];
    va_list ap;
    va_start(ap, format);
    vsnprintf(out, 600, format, ap);
    va_end(ap);
    return out;
}

Test(s3, a_jobs_data_comes_from_there_and_goes_there)
{
    const char *b = bucket();
    put(user_a(), text_of("s3://%s/in/a b+c.txt", b), "one\n");
    put(user_a(), text_of("s3://%s/in/sub/two", b), "two\n");
    AUTO(free)
    char *id =
        submit(user_a(),
               "#!/bin/sh\ncat 'data/a b+c.txt' data/sub/two > sum\nmkdir r; echo 1 > 'r/x y'\n"
               "echo said\n",
               text_of("--chdir=%s", scratch(user_a())), text_of("--input=s3://%s/in/:data/", b),
               text_of("--output=sum=s3://%s/out/%%j.sum", b),
               text_of("--output=r/=s3://%s/r-%%j/", b), text_of("--stdout-to=s3://%s/logs/", b));
    wait_phase(id, "SUCCEEDED");
    expect_object(text_of("s3://%s/out/%s.sum", b, id), "one\ntwo\n");
    expect_object(text_of("s3://%s/r-%s/x y", b, id), "1\n");
    expect_object(text_of("s3://%s/logs/slurm-%s.out", b, id), "said\n");
    /* ... and nothing of her keys is left anywhere. */
    AUTO(run_free)
    struct run r = run_as(
        NULL, "grep", "-rlF", text_of("%s-secret", user_a()), text_of("%s/log", sandbox_dir()),
        text_of("%s/state/agentd", sandbox_dir()), text_of("%s/state/grants", sandbox_dir()));
    cr_expect_eq(r.status, 1, "%s%s", r.out, r.err);
}

Test(s3, what_is_not_there_is_named)
{
    const char *b = bucket();
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\ntrue\n", text_of("--chdir=%s", scratch(user_a())),
                      text_of("--input=s3://%s/nothing", b));
    wait_phase(id, "FAILED");
    const char *outcome = job_field(user_a(), id, "outcome");
    cr_expect_contains(outcome, b);
    cr_expect_contains(outcome, "nothing");
    cr_expect_null(strstr(outcome, "secret"));
}

/* Bob's worker has bob's keys, whatever his job asks for. */
Test(s3, another_users_objects_are_out_of_reach)
{
    if (!user_b())
        cr_skip_test("needs two users");
    const char *b = bucket();
    put(user_a(), text_of("s3://%s/mine", b), "of alice\n");
    AUTO(free)
    char *id = submit(user_b(), "#!/bin/sh\ntrue\n", text_of("--chdir=%s", scratch(user_b())),
                      text_of("--input=s3://%s/mine", b));
    struct wanted w = {id, "FAILED"};
    cr_expect(wait_until(is_so, &w, PATIENCE_MS), "%s", job_field(user_a(), id, "phase"));
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/mine", scratch(user_b())), 0);
    struct stat st;
    cr_expect_neq(stat(path, &st), 0, "bob has alice's object");
}

/* A job whose output of so many bytes, in several parts, is on its way to the bucket. */
static char *store_large(const char *b, const char *bytes)
{
    char *id = submit(user_a(), text_of("#!/bin/sh\ntruncate -s %s large\n", bytes),
                      text_of("--chdir=%s", scratch(user_a())),
                      text_of("--output=large=s3://%s/large", b));
    cr_assert(wait_until(moves, id, PATIENCE_MS), "%s", job_field(user_a(), id, "staging"));
    return id;
}

/* A worker that is killed between two parts. */
Test(s3, a_large_object_survives_a_killed_worker)
{
    const char *b = bucket();
    AUTO(free) char *id = store_large(b, "200000000");
    kill_agentd_child("agent-stage");
    wait_phase(id, "SUCCEEDED");
    AUTO(run_free) struct run r = s3(user_a(), text_of("ls s3://%s/large", b));
    cr_expect_contains(r.out, "200000000");
}

static bool has_no_uploads(void *arg)
{
    AUTO(run_free) struct run r = s3(user_a(), text_of("multipart s3://%s", (const char *)arg));
    cr_assert_eq(r.status, 0, "%s", r.err);
    return lines_with(r.out, "s3://", "/large") == 0;
}

Test(s3, a_cancelled_transfer_leaves_no_upload)
{
    const char *b = bucket();
    AUTO(free) char *id = store_large(b, "2000000000");
    cr_expect_not(has_no_uploads((void *)b), "it was faster than we are");
    must(run_as(user_a(), "slurm-agent", "cancel", id));
    cr_expect(wait_until(has_no_uploads, (void *)b, PATIENCE_MS));
    AUTO(run_free) struct run r = s3(user_a(), text_of("ls s3://%s/large", b));
    cr_expect_eq(lines_with(r.out, "s3://", "/large"), 0, "%s", r.out);
}

/* alice's client, with her keys as at home. */
static void use_keys(const char *user)
{
    const char *dir = getenv("SLURM_AGENT_AWS");
    cr_assert_not_null(dir);
    setenv("AWS_CONFIG_FILE", text_of("%s/%s/config", dir, user), 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", text_of("%s/%s/credentials", dir, user), 1);
}

/* A client that is killed in the middle, and the same submit again. */
Test(s3, an_upload_goes_on_where_it_was_killed)
{
    const char *b = bucket(), *dir = scratch(user_a());
    use_keys(user_a());
    AUTO(free)
    char *small = scratch_file(user_a(), "small one", "small\n"),
         *large = scratch_file(user_a(), "large", "");
    must(run_as(user_a(), "truncate", "-s", "150000000", large));
    AUTO(free)
    char *script = scratch_file(user_a(), "s.sh", "#!/bin/sh\ncat 'small one'\nwc -c < in/large\n");
    const char *request = text_of("--request-id=%s", dir),
               *store = text_of("--upload-store=s3://%s/up/", b),
               *first = text_of("--upload=%s", small), *second = text_of("--upload=%s:in/", large),
               *work = text_of("--chdir=%s/work", dir),
               *out = text_of("--stdout-to=s3://%s/out", b);
    must(run_as(user_a(), "mkdir", text_of("%s/work", dir)));
    AUTO(run_free)
    struct run cut = run_as(user_a(), "timeout", "-s", "KILL", "1", "slurm-agent", "submit", work,
                            request, store, first, second, out, script);
    cr_expect_neq(cut.status, 0, "it was faster than we are");
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--parsable", work, request, store,
                          first, second, out, script);
    cr_assert_eq(r.status, 0, "%s", r.err);
    char *id = r.out;
    id[strcspn(id, "\n")] = '\0';
    wait_phase(id, "SUCCEEDED");
    expect_object(text_of("s3://%s/out", b), "small\n150000000\n");
    AUTO(run_free)
    struct run again = run_as(user_a(), "slurm-agent", "submit", "--parsable", work, request, store,
                              first, second, out, script);
    again.out[strcspn(again.out, "\n")] = '\0';
    cr_expect_str_eq(again.out, id, "%s", again.err);
    must(run_as(user_a(), "truncate", "-s", "10", large));
    AUTO(run_free)
    struct run other = run_as(user_a(), "slurm-agent", "submit", "--parsable", work, request, store,
                              first, second, out, script);
    cr_expect_eq(other.status, 16, "%s", other.err);
    AUTO(run_free) struct run ls = s3(user_a(), text_of("ls -r s3://%s/up/", b));
    cr_expect_eq(lines_with(ls.out, "150000000", "/large"), 1, "%s", ls.out);
    cr_expect_eq(lines_with(ls.out, "s3://", "/up/"), 2, "%s", ls.out);
}
