/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"

struct sample {
    const char *name;
    int64_t number;
    bool on;
};

static const struct conf_key keys[] = {
    {.name = "name",
     .kind = CONF_KIND_STR,
     .offset = offsetof(struct sample, name),
     .str_default = "none",
     .unit = "",
     .help = "a name"},
    {.name = "number",
     .kind = CONF_KIND_INT,
     .offset = offsetof(struct sample, number),
     .int_default = 5,
     .min = 1,
     .max = 10,
     .unit = "seconds",
     .help = "a number"},
    {.name = "on",
     .kind = CONF_KIND_BOOL,
     .offset = offsetof(struct sample, on),
     .int_default = 1,
     .unit = "",
     .help = "a switch"},
};

static struct arena arena;

static int parse(const char *text, struct sample *out, struct err *err)
{
    conf_defaults(keys, ARRAY_LEN(keys), out);
    return conf_parse(text, "x.conf", "main", keys, ARRAY_LEN(keys), &arena, out, err);
}

/* The text is refused, and the message has both parts. */
static void refused(const char *text, const char *part1, const char *part2)
{
    struct sample s;
    struct err err = {0};
    cr_expect_eq(parse(text, &s, &err), -1, "%s", text);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.text, part1), "%s", err.text);
    cr_expect_not_null(strstr(err.text, part2), "%s", err.text);
}

static void tear_down(void)
{
    arena_done(&arena);
}

TestSuite(conf, .fini = tear_down);

Test(conf, defaults_without_a_file)
{
    struct sample s;
    struct err err = {0};
    cr_assert_eq(parse("", &s, &err), 0);
    cr_expect_str_eq(s.name, "none");
    cr_expect_eq(s.number, 5);
    cr_expect(s.on);
}

Test(conf, settings_are_read)
{
    struct sample s;
    struct err err = {0};
    cr_assert_eq(parse("# comment\n[main]\nname = a b ; comment\nnumber=10\non = no\n", &s, &err),
                 0, "%s", err.text);
    cr_expect_str_eq(s.name, "a b");
    cr_expect_eq(s.number, 10);
    cr_expect_not(s.on);
}

Test(conf, mistakes_are_named_with_file_and_line)
{
    refused("[main]\n\nnumber = 11\n", "x.conf:3", "from 1 to 10 seconds");
    refused("[main]\nnumber = many\n", "x.conf:2", "many");
    refused("[main]\non = maybe\n", "x.conf:2", "yes or no");
    refused("[main]\nnmae = x\n", "x.conf:2", "no setting 'nmae'");
    refused("[other]\nname = x\n", "x.conf:2", "[main]");
    refused("name = x\n", "x.conf:1", "[main]");
    refused("[main]\nname = x\nname = y\n", "x.conf:3", "twice");
    refused("[main]\nnonsense\n", "x.conf:2", "name = value");
    refused("[main\n", "x.conf:1", "[section]");
}

Test(conf, a_line_is_never_cut_silently)
{
    char text[600] = "[main]\nname = ";
    memset(text + strlen(text), 'a', 300);
    refused(text, "x.conf:2", "longer than");
}

Test(conf, what_is_printed_can_be_read_again)
{
    struct sample s, again;
    struct err err = {0};
    char text[2000] = "";
    cr_assert_eq(parse("[main]\nname = a b\nnumber = 7\non = off\n", &s, &err), 0);
    FILE *f = fmemopen(text, sizeof text, "w");
    conf_print(f, "main", keys, ARRAY_LEN(keys), &s);
    fclose(f);
    cr_assert_eq(parse(text, &again, &err), 0, "%s", err.text);
    cr_expect_str_eq(again.name, "a b");
    cr_expect_eq(again.number, 7);
    cr_expect_not(again.on);
}

Test(conf, files_that_are_none)
{
    char dir[] = "/tmp/sagent-conf-XXXXXX", path[64];
    struct sample s;
    struct err missing = {0}, directory = {0}, nul = {0};
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/c", dir);
    cr_expect_eq(conf_load(path, "main", keys, ARRAY_LEN(keys), &arena, &s, &missing), -1);
    cr_expect_eq(missing.code, ERR_NOT_FOUND);
    cr_expect_not_null(strstr(missing.text, path));
    cr_expect_eq(conf_load(dir, "main", keys, ARRAY_LEN(keys), &arena, &s, &directory), -1);
    cr_expect_eq(directory.code, ERR_INVALID);
    FILE *f = fopen(path, "we");
    fwrite("[main]\nname = a\0b\n", 1, 18, f);
    fclose(f);
    cr_expect_eq(conf_load(path, "main", keys, ARRAY_LEN(keys), &arena, &s, &nul), -1);
    cr_expect_not_null(strstr(nul.text, "NUL"), "%s", nul.text);
    unlink(path);
    rmdir(dir);
}
