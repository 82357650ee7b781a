/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "common/manifest.h"
#include "common/str.h"

static struct arena arena;

static void teardown(void)
{
    arena_done(&arena);
}

TestSuite(manifest, .fini = teardown);

static struct bytes pack_input(const char *from, const char *to)
{
    const struct stage_input in = {.from = from, .to = to};
    return msg_pack_arena(&stage_input_type, &in, &arena);
}

static struct bytes pack_output(const char *from, const char *to, const char *on)
{
    const struct stage_output out = {.from = from, .to = to, .on = on};
    return msg_pack_arena(&stage_output_type, &out, &arena);
}

/* "" when it is taken; else what is said.  base: the rest of the manifest. */
static const char *refusal(const struct stage_manifest *base, struct bytes input,
                           struct bytes output)
{
    static char text[sizeof((struct err *)0)->text];
    struct stage_manifest m = *base;
    struct manifest read;
    struct err err = {0};
    struct bytes *v = arena_array(&arena, 2, sizeof *v);
    v[0] = input;
    v[1] = output;
    m.inputs = (struct raws){v, input.n > 0};
    m.outputs = (struct raws){v + 1, output.n > 0};
    manifest_read(msg_pack_arena(&stage_manifest_type, &m, &arena), &arena, &read, &err);
    str_copy(text, sizeof text, err.text);
    return text;
}

static const struct bytes none = {NULL, 0};
static const struct stage_manifest clients = {0};
static const struct stage_manifest arrays = {.work_dir = "/w", .array = true};
static const struct stage_manifest jobs = {.work_dir = "/w"};

#define expect_in(part, from, to)                                                                  \
    expect_part(refusal(&clients, pack_input(from, to), none), part, from)
#define expect_out(base, part, from, to)                                                           \
    expect_part(refusal(base, none, pack_output(from, to, NULL)), part, from)

static void expect_part(const char *text, const char *part, const char *what)
{
    cr_expect(*part ? strstr(text, part) != NULL : !*text, "%s: '%s', not '%s'", what, text, part);
}

Test(manifest, inputs_are_checked)
{
    expect_in("", "s3://bucket/key", "a/b");
    expect_in("", "s3://bucket/key", NULL);
    expect_in("", "s3://bucket/prefix/", "/scratch/x/");
    expect_in("", "file:///data/x", "..a/b..");
    expect_in("'..'", "s3://bucket/key", "..");
    expect_in("'..'", "s3://bucket/key", "a/../b");
    expect_in("'..'", "s3://bucket/key", "a/..");
    expect_in("control characters", "s3://bucket/key", "a\nb");
    expect_in("input", "http://bucket/key", "a");
    expect_in("input", "key", "a");
    expect_in("no URL", NULL, "a");
    expect_in("'~' is the shell's", "s3://bucket/key", "~/a");
    expect_in("'~' is the shell's", "s3://bucket/key", "~");
    expect_in("", "s3://bucket/key", "./~");
    expect_in("", "s3://bucket/key", "~a");
    expect_in("ends with a slash", "s3://bucket/key", "a/.");
    expect_in("ends with a slash", "s3://bucket/key", ".");
    expect_in("", "s3://bucket/key", "./");
    expect_in("", "s3://bucket/key", "a/b.");
}

Test(manifest, outputs_are_checked)
{
    expect_out(&clients, "", "a", "s3://bucket/key");
    expect_out(&clients, "", "a", "s3://bucket/prefix/");
    expect_out(&clients, "", "a/*.txt", "s3://bucket/prefix-%j/");
    expect_out(&clients, "must end with a slash", "a/*.txt", "s3://bucket/key");
    expect_out(&clients, "must end with a slash", "a/", "s3://bucket/key");
    expect_out(&clients, "'..'", "../a", "s3://bucket/key");
    expect_out(&clients, "no path", "", "s3://bucket/key");
    expect_out(&clients, "only %j", "a%", "s3://bucket/key");
    expect_out(&clients, "only %j", "a", "s3://bucket/%x");
    expect_part(refusal(&clients, none, pack_output("a", "s3://b-b/c", "later")), "on 'later'",
                "on");
}

Test(manifest, an_arrays_tasks_are_told_apart)
{
    expect_out(&clients, "", "a.%a", "s3://bucket/%a"); /* nobody knows yet */
    expect_out(&jobs, "the job is no array", "a.%a", "s3://bucket/key");
    expect_out(&arrays, "put %a into it", "a.%a", "s3://bucket/%A");
    expect_out(&arrays, "put %a into it", "a.%a", "s3://bucket/%%a");
    expect_out(&arrays, "", "a", "s3://bucket/%A/%a");
    expect_out(&arrays, "", "a", "s3://bucket/%j");
}

Test(manifest, an_empty_one_and_what_the_server_says_are_refused)
{
    expect_part(refusal(&clients, none, none), "empty", "nothing");
    struct manifest m = {.body = {.work_dir = "/w"}};
    struct err err = {0};
    cr_expect_eq(manifest_check_request(&m, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    m.body = (struct stage_manifest){.held = true};
    cr_expect_eq(manifest_check_request(&m, &(struct err){0}), -1);
}

Test(manifest, two_inputs_are_not_one_file)
{
    struct bytes v[] = {pack_input("s3://bucket/a", "x"), pack_input("s3://bucket/b", "x")};
    struct stage_manifest m = {.inputs = {v, 2}};
    struct manifest read;
    struct err err = {0};
    cr_expect_eq(
        manifest_read(msg_pack_arena(&stage_manifest_type, &m, &arena), &arena, &read, &err), -1);
    cr_expect_not_null(strstr(err.text, "same file: x"), "%s", err.text);
}

static void expect_same(const char *one, const char *two, bool same)
{
    struct bytes v[] = {pack_input("s3://bucket/a", one), pack_input("s3://bucket/b", two)};
    struct stage_manifest m = {.inputs = {v, 2}};
    struct manifest read;
    struct err err = {0};
    manifest_read(msg_pack_arena(&stage_manifest_type, &m, &arena), &arena, &read, &err);
    cr_expect_eq(err.code != ERR_NONE, same, "%s and %s: %s", one, two, err.text);
}

Test(manifest, one_file_in_two_words_is_one)
{
    expect_same("a", "./a", true);
    expect_same("a/b", "a//./b", true);
    expect_same("/a", "//a", true);
    expect_same("/a", "a", false);
    expect_same(".a", "a", false);
    expect_same("./", ".//", false); /* a and b in a directory */
}

static int read_inputs(struct bytes *v, size_t n, struct err *err)
{
    AUTO(arena_done) struct arena small;
    struct manifest read;
    struct stage_manifest m = {.inputs = {v, n}};
    arena_init(&small, 256 << 10);
    return manifest_read(msg_pack_arena(&stage_manifest_type, &m, &arena), &small, &read, err);
}

/* Of two hundred, and with memory for so many, not for each pair. */
Test(manifest, two_of_many_inputs_are_not_one_file)
{
    enum { N = 200 };
    struct bytes v[N];
    char to[64];
    struct err err = {0};
    for (size_t i = 0; i < N; i++) {
        snprintf(to, sizeof to, "directory/of/inputs/%zu", i * 7919 % 1000);
        v[i] = i % 50 == 49 ? pack_input("s3://bucket/tree/", "tree/")
                            : pack_input("s3://bucket/a", to);
    }
    cr_expect_eq(read_inputs(v, N, &err), 0, "%s", err.text);
    v[3] = pack_input("s3://bucket/b", "directory/of/inputs/0");
    cr_expect_eq(read_inputs(v, N, &err), -1);
    cr_expect_not_null(strstr(err.text, "same file: directory/of/inputs/0"), "%s", err.text);
}

static const char *target(const char *from, const char *to)
{
    return manifest_target(&(struct stage_input){.from = from, .to = to}, &arena);
}

Test(manifest, targets_have_names)
{
    cr_expect_str_eq(target("s3://bucket/a/key", NULL), "key");
    cr_expect_str_eq(target("s3://bucket/a/key", "d/"), "d/key");
    cr_expect_str_eq(target("s3://bucket/a/key", "d/other"), "d/other");
    cr_expect_str_eq(target("s3://bucket/a/", NULL), "");
    cr_expect_str_eq(target("s3://bucket/a/", "d"), "d/");
    cr_expect_str_eq(target("s3://bucket/a/", "d/"), "d/");
}

Test(manifest, patterns_become_numbers)
{
    const struct manifest_job job = {.job_id = 12, .array_job_id = 10, .task = 3};
    cr_expect_str_eq(manifest_expand("%A_%a-%j%%j", &job, &arena), "10_3-12%j");
    cr_expect_str_eq(manifest_expand("", &job, &arena), "");
    cr_expect_str_eq(manifest_expand("plain", &job, &arena), "plain");
}

Test(manifest, an_end_has_its_outputs)
{
    struct stage_output always = {.on = "always"}, failure = {.on = "failure"}, success = {0};
    cr_expect(manifest_wants(&always, true) && manifest_wants(&always, false));
    cr_expect(manifest_wants(&failure, true) && !manifest_wants(&failure, false));
    cr_expect(!manifest_wants(&success, true) && manifest_wants(&success, false));
    struct manifest m = {.outputs = &success, .n_outputs = 1};
    cr_expect(manifest_has_outputs(&m, false) && !manifest_has_outputs(&m, true));
    m.body.stdout_to = "s3://bucket/x";
    cr_expect(manifest_has_outputs(&m, true));
}
