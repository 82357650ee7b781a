/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Options, #SBATCH lines and what comes before what.  The expectations were held against sbatch
 * 22.05.8; where this parser differs on purpose the test says so. */
#include "agentd/sbatch.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/str.h"

enum { MAX_SCRIPT = 4 << 20 };

static struct arena arena;

static void arena_start(void)
{
    arena_init(&arena, 0);
}

static void arena_end(void)
{
    arena_done(&arena);
}

TestSuite(sbatch, .init = arena_start, .fini = arena_end);
TestSuite(sbatch_script, .init = arena_start, .fini = arena_end);

static const char *served(const void *conf)
{
    (void)conf;
    return "sandbox";
}

static int parse_bytes(const void *script, size_t n, const struct pair *options, size_t n_options,
                       struct sbatch *out, struct err *err)
{
    struct pairs pairs = {options, n_options};
    struct sbatch_source in = {.script = {script, n},
                               .options = &pairs,
                               .n_options = 1,
                               .max_script = MAX_SCRIPT,
                               .now = 1795434052,
                               .cluster = served};
    struct sbatch_jobs jobs;
    *err = (struct err){0};
    if (sbatch_parse(&in, &arena, &jobs, err) < 0 || sbatch_settle(&jobs.v[0], NULL, err) < 0)
        return -1;
    *out = jobs.v[0];
    return 0;
}

/* A script of #!/bin/sh and these lines. */
static int parse_lines(const char *lines, struct sbatch *out, struct err *err)
{
    const char *script = arena_printf(&arena, "#!/bin/sh\n%s", lines);
    return parse_bytes(script, strlen(script), NULL, 0, out, err);
}

static int parse_options(const struct pair *options, size_t n, struct sbatch *out, struct err *err)
{
    return parse_bytes("#!/bin/sh\n", 10, options, n, out, err);
}

#define OPTIONS(...)                                                                               \
    (const struct pair[]){__VA_ARGS__},                                                            \
        sizeof((const struct pair[]){__VA_ARGS__}) / sizeof(struct pair)

/* ---- options of the request ---- */

Test(sbatch, nothing_said_is_nothing_set)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_lines("hostname\n", &job, &err), 0, "%s", err.text);
    cr_expect_null(job.name);
    cr_expect_null(job.std_out);
    cr_expect_null(job.array_inx);
    cr_expect_null(job.export_env);
    cr_expect_eq(job.time_limit, SBATCH_UNSET);
    cr_expect_eq(job.min_nodes, SBATCH_UNSET);
    cr_expect_eq(job.max_nodes, SBATCH_UNSET);
    cr_expect_eq(job.ntasks, SBATCH_UNSET);
    cr_expect_eq(job.cpus_per_task, SBATCH_UNSET);
    cr_expect_eq(job.mem_per_node, SBATCH_UNSET);
    cr_expect_eq(job.mem_per_cpu, SBATCH_UNSET);
    cr_expect_eq(job.begin_time, SBATCH_UNSET);
    cr_expect_eq(job.requeue, SBATCH_UNSET);
    cr_expect_eq(job.mail_type, SBATCH_UNSET);
    cr_expect_eq(job.shared, SBATCH_UNSET);
    cr_expect_eq(job.hold, SBATCH_UNSET);
}

Test(sbatch, every_option_reaches_its_place)
{
    struct sbatch job;
    struct err err;
    int rc = parse_options(
        OPTIONS({"job-name", "n a"}, {"partition", "p"}, {"account", "a"}, {"qos", "q"},
                {"time", "5"}, {"nodes", "2-3"}, {"ntasks", "4"}, {"cpus-per-task", "2"},
                {"mem", "1G"}, {"output", "o"}, {"error", "e"}, {"input", "i"}, {"array", "1-3"},
                {"dependency", "singleton"}, {"hold", ""}, {"begin", "uts1900000000"},
                {"comment", "c"}, {"export", "NONE"}, {"chdir", "/d"}, {"constraint", "x&y"},
                {"gres", "gpu:2"}, {"exclusive", "user"}, {"requeue", ""}, {"mail-type", "END"},
                {"mail-user", "alice"}),
        &job, &err);
    cr_assert_eq(rc, 0, "%s", err.text);
    cr_expect_str_eq(job.name, "n a");
    cr_expect_str_eq(job.partition, "p");
    cr_expect_str_eq(job.account, "a");
    cr_expect_str_eq(job.qos, "q");
    cr_expect_eq(job.time_limit, 5);
    cr_expect_eq(job.min_nodes, 2);
    cr_expect_eq(job.max_nodes, 3);
    cr_expect_eq(job.ntasks, 4);
    cr_expect_eq(job.cpus_per_task, 2);
    cr_expect_eq(job.mem_per_node, 1024);
    cr_expect_str_eq(job.std_out, "o");
    cr_expect_str_eq(job.std_err, "e");
    cr_expect_str_eq(job.std_in, "i");
    cr_expect_str_eq(job.array_inx, "1-3");
    cr_expect_str_eq(job.dependency, "singleton");
    cr_expect_eq(job.hold, 1);
    cr_expect_eq(job.begin_time, 1900000000);
    cr_expect_str_eq(job.comment, "c");
    cr_expect_str_eq(job.export_env, "NONE");
    cr_expect_str_eq(job.chdir, "/d");
    cr_expect_str_eq(job.features, "x&y");
    cr_expect_str_eq(job.gres, "gpu:2");
    cr_expect_eq(job.shared, SBATCH_SHARED_USER);
    cr_expect_eq(job.requeue, 1);
    cr_expect_eq(job.mail_type, SBATCH_MAIL_END);
    cr_expect_str_eq(job.mail_user, "alice");
}

Test(sbatch, values_do_not_point_into_the_request)
{
    char name[] = "first";
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_options(OPTIONS({"job-name", name}), &job, &err), 0);
    strcpy(name, "other");
    cr_expect_str_eq(job.name, "first");
}

Test(sbatch, a_failure_changes_nothing)
{
    struct sbatch job = {.ntasks = 77, .name = "before"};
    struct err err;
    cr_assert_eq(parse_options(OPTIONS({"job-name", "x"}, {"ntasks", "no"}), &job, &err), -1);
    cr_expect_eq(job.ntasks, 77);
    cr_expect_str_eq(job.name, "before");
}

static void expect_refused(const char *name, const char *value, enum err_code code,
                           const char *text)
{
    struct sbatch job;
    struct err err;
    cr_expect_eq(parse_options(OPTIONS({name, value}), &job, &err), -1, "%s", name);
    cr_expect_eq(err.code, code, "%s: %s", name, err.text);
    cr_expect_str_eq(err.text, text);
}

Test(sbatch, options_nobody_knows_are_wrong)
{
    expect_refused("foo", "1", ERR_INVALID, "there is no option --foo");
    expect_refused("", "", ERR_INVALID, "there is no option --");
    expect_refused("time=5", "", ERR_INVALID, "there is no option --time=5");
    expect_refused("a\nb", "", ERR_INVALID, "there is no option --a?b");
    expect_refused("N", "1", ERR_INVALID, "there is no option --N");
}

Test(sbatch, options_refused_say_why)
{
    expect_refused("uid", "1", ERR_UNSUPPORTED,
                   "--uid: root's alone to say; through the agent a job is of who submits it");
}

#define OTHER_CLUSTER "an agent serves one cluster, here sandbox: talk to the other one's agent"

Test(sbatch, the_cluster_that_is_served_may_be_named_and_no_other)
{
    static const char *const own[] = {"sandbox", "SandBox", "sandbox,sandbox"};
    static const char *const others[] = {"",         ",",   "sandbo",        "sandboxx",
                                         "sandbox,", "all", "sandbox,other", ",sandbox"};
    char text[200];
    struct sbatch job;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        cr_expect_eq(parse_options(OPTIONS({"clusters", own[i]}), &job, &err), 0, "%s", err.text);
        cr_expect_str_eq(job.clusters, own[i]);
    }
    cr_expect_eq(parse_options(OPTIONS({"cluster", "sandbox"}), &job, &err), 0, "%s", err.text);
    cr_expect_eq(parse_lines("#SBATCH -M sandbox\n", &job, &err), 0, "%s", err.text);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        snprintf(text, sizeof text, "--clusters=%s: " OTHER_CLUSTER, others[i]);
        expect_refused("clusters", others[i], ERR_INVALID, text);
    }
}

Test(sbatch, abbreviations_are_those_of_getopt)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_options(OPTIONS({"job", "x"}, {"part", "y"}), &job, &err), 0);
    cr_expect_str_eq(job.name, "x");
    cr_expect_str_eq(job.partition, "y");
    /* an exact name wins over those it begins: --mem and --mem-per-cpu, --time and --time-min */
    cr_assert_eq(parse_options(OPTIONS({"mem", "1"}, {"time", "1"}), &job, &err), 0);
    expect_refused("mai", "x", ERR_INVALID, "--mai may be any of --mail-type --mail-user");
    expect_refused("nt", "x", ERR_INVALID,
                   "--nt may be any of --ntasks --ntasks-per-core --ntasks-per-gpu "
                   "--ntasks-per-node --ntasks-per-socket --ntasks-per-tres");
    cr_assert_eq(parse_options(OPTIONS({"c", "x"}), &job, &err), -1);
    cr_expect(
        strstr(err.text, "--c may be any of --chdir --cluster-constraint --clusters --comment"),
        "%s", err.text);
}

Test(sbatch, flags_take_no_value_and_the_rest_may_be_empty)
{
    expect_refused("hold", "yes", ERR_INVALID, "--hold takes no value");
    expect_refused("time", "", ERR_INVALID,
                   "--time=: not a time: give minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s or "
                   "UNLIMITED");
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_options(OPTIONS({"comment", ""}, {"hold", NULL}), &job, &err), 0);
    cr_expect_str_eq(job.comment, "");
    cr_expect_eq(job.hold, 1);
}

Test(sbatch, long_and_odd_values_are_shown_cut_and_clean)
{
    char value[300];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    value[3] = '\033';
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_options(OPTIONS({"ntasks", value}), &job, &err), -1);
    cr_expect(strstr(err.text, "--ntasks=xxx?xxx"), "%s", err.text);
    cr_expect(strstr(err.text, "xxx...: not a number"), "%s", err.text);
}

Test(sbatch, later_ones_win)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_options(OPTIONS({"requeue", ""}, {"no-requeue", ""}), &job, &err), 0);
    cr_expect_eq(job.requeue, 0);
    cr_assert_eq(parse_options(OPTIONS({"no-requeue", ""}, {"requeue", ""}), &job, &err), 0);
    cr_expect_eq(job.requeue, 1);
    cr_assert_eq(parse_options(OPTIONS({"ntasks", "2"}, {"ntasks", "3"}), &job, &err), 0);
    cr_expect_eq(job.ntasks, 3);
}

Test(sbatch, the_request_wins_over_the_script)
{
    static const char script[] = "#!/bin/sh\n#SBATCH -J script -n 5 --requeue -a 1-3\n";
    struct sbatch job;
    struct err err;
    cr_assert_eq(parse_bytes(script, sizeof script - 1,
                             OPTIONS({"job-name", "request"}, {"no-requeue", ""}, {"array", ""}),
                             &job, &err),
                 0, "%s", err.text);
    cr_expect_str_eq(job.name, "request");
    cr_expect_eq(job.ntasks, 5);
    cr_expect_eq(job.requeue, 0);
    cr_expect_str_eq(job.array_inx, "");
}

Test(sbatch, an_error_in_the_script_counts_even_if_overridden)
{
    static const char script[] = "#!/bin/sh\n#SBATCH -t abc\n";
    struct sbatch job;
    struct err err;
    cr_expect_eq(parse_bytes(script, sizeof script - 1, OPTIONS({"time", "5"}), &job, &err), -1);
}

Test(sbatch, both_kinds_of_memory_exclude_each_other_at_any_level)
{
    static const char script[] = "#!/bin/sh\n#SBATCH --mem=100\n";
    struct sbatch job;
    struct err err;
    cr_expect_eq(parse_bytes(script, sizeof script - 1, OPTIONS({"mem-per-cpu", "7"}), &job, &err),
                 -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.text, "--mem and --mem-per-cpu exclude each other, be they in the script "
                               "or in the request");
}

Test(sbatch, there_are_no_more_nodes_than_tasks)
{
    static const struct {
        const char *nodes, *tasks;
        int64_t min, max;
    } cases[] = {
        {"2", "1", 1, 1},   {"2-4", "3", 2, 3}, {"2-4", "8", 2, 4},
        {"3-5", "2", 2, 2}, {"2", "2", 2, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbatch job;
        struct err err;
        cr_assert_eq(parse_options(OPTIONS({"nodes", cases[i].nodes}, {"ntasks", cases[i].tasks}),
                                   &job, &err),
                     0);
        cr_expect_eq(job.min_nodes, cases[i].min, "-N %s -n %s", cases[i].nodes, cases[i].tasks);
        cr_expect_eq(job.max_nodes, cases[i].max, "-N %s -n %s", cases[i].nodes, cases[i].tasks);
    }
}

Test(sbatch, the_list_of_names_is_what_is_offered)
{
    size_t n = 0;
    cr_expect_str_eq(sbatch_option_names[0], "account");
    for (; sbatch_option_names[n]; n++) {
        struct sbatch job;
        struct err err;
        if (parse_options(OPTIONS({sbatch_option_names[n], ""}), &job, &err) < 0)
            cr_expect_eq(err.code, ERR_INVALID, "%s", sbatch_option_names[n]);
    }
    cr_expect_geq(n, 100);
}

Test(sbatch, too_little_memory_is_an_error)
{
    struct arena small;
    arena_init(&small, 64);
    static const char script[] =
        "#!/bin/sh\n#SBATCH -J aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n";
    struct sbatch_source in = {
        .script = {(const uint8_t *)script, sizeof script - 1}, .max_script = MAX_SCRIPT, .now = 1};
    struct sbatch_jobs jobs;
    struct err err = {0};
    cr_expect_eq(sbatch_parse(&in, &small, &jobs, &err), -1);
    cr_expect_eq(err.code, ERR_LIMIT);
    arena_done(&small);
}

/* ---- the script itself ---- */

static void expect_script(const char *script, size_t n, const char *text)
{
    struct sbatch job;
    struct err err;
    cr_expect_eq(parse_bytes(script, n, NULL, 0, &job, &err), text ? -1 : 0, "%s", script);
    if (text) {
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_str_eq(err.text, text);
    }
}

#define SCRIPT(s) (s), sizeof(s) - 1

Test(sbatch_script, is_checked_as_sbatch_does)
{
    static const char no_magic[] = "the script does not begin with #! and the path of an "
                                   "interpreter, e.g. #!/bin/sh";
    expect_script(SCRIPT(""), "the script is empty");
    expect_script(NULL, 0, "the script is empty");
    expect_script(SCRIPT(" \n\t\n"), "the script is empty: there is only white space in it");
    expect_script(SCRIPT("echo\n"), no_magic);
    expect_script(SCRIPT("\n#!/bin/sh\n"), no_magic);
    expect_script(SCRIPT("#"), no_magic);
    expect_script(SCRIPT("#!"), NULL);
    expect_script(SCRIPT("#!\n"), NULL);
    expect_script(SCRIPT("#!/bin/sh\n\0"),
                  "the script has a NUL byte at offset 10: is it a binary?");
    expect_script(SCRIPT("#!/bin/sh\necho\r\n"),
                  "the script has DOS line ends (CR LF), the first after 14 bytes: convert it, for "
                  "instance with dos2unix");
    expect_script(SCRIPT("#!/bin/sh\necho\r"), NULL);
    expect_script(SCRIPT("#!/bin/sh\n\r \n"), NULL);
}

Test(sbatch_script, larger_than_the_cluster_takes)
{
    static const uint8_t script[] = "#!/bin/sh\n";
    struct sbatch_source in = {.script = {script, 10}, .max_script = 10, .now = 1};
    struct sbatch_jobs jobs;
    struct err err = {0};
    cr_expect_eq(sbatch_parse(&in, &arena, &jobs, &err), 0);
    in.max_script = 9;
    cr_expect_eq(sbatch_parse(&in, &arena, &jobs, &err), -1);
    cr_expect_str_eq(err.text, "the script has 10 bytes, the cluster takes at most 9");
}

/* What the lines give: job name and number of tasks, or the error's text. */
static const struct {
    const char *lines, *name;
    int64_t ntasks;
    const char *text;
} line_cases[] = {
    /* where lines are looked for */
    {"#SBATCH -J a\n\n  # comment\n#SBATCH -n 3\n", "a", 3, NULL},
    {"#SBATCH -J a\necho\n#SBATCH -n 3\n", "a", SBATCH_UNSET, NULL},
    {"  :\n#SBATCH -n 3\n", NULL, SBATCH_UNSET, NULL},
    {" #SBATCH -J a\n#SBATCH -n 3\n", NULL, 3, NULL},
    {"#sbatch -J a\n# SBATCH -n 3\n##SBATCH -n 3\n", NULL, SBATCH_UNSET, NULL},
    {"#SBATCH-Ja\n#SBATCH\t-n3", "a", 3, NULL},
    {"#SBATCHX -n 3\n", NULL, 0, "script line 2: 'X' is not an option"},
    {"#SLURM -n 3\n", NULL, 3, NULL},
    {"#SBATCH\n#SBATCH \n#SBATCH # -n 3\n", NULL, SBATCH_UNSET, NULL},
    {"#SBATCH -J a\r", "a", SBATCH_UNSET, NULL},
    {"#SBATCH -J a\v-n\f3", "a", 3, NULL},
    /* options */
    {"#SBATCH --job-name a --ntasks 3\n", "a", 3, NULL},
    {"#SBATCH --job-name=a --ntasks=3\n", "a", 3, NULL},
    {"#SBATCH -Ja -n3", "a", 3, NULL},
    {"#SBATCH -HJa -n 3", "a", 3, NULL},
    {"#SBATCH --jo=a --ntasks 3\n", "a", 3, NULL},
    {"#SBATCH -J =a\n", "=a", SBATCH_UNSET, NULL},
    {"#SBATCH -J -n 3\n", "-n", 0, "script line 2: '3' is not an option"},
    {"#SBATCH --job-name= -n 3\n", "", 3, NULL},
    {"#SBATCH -n\n#SBATCH 3\n", NULL, 3, NULL},
    {"#SBATCH -n3 --\n", NULL, 3, NULL},
    {"#SBATCH --\n#SBATCH -Ja\n", NULL, 0, "script line 3: '-Ja' is not an option"},
    {"#SBATCH -n3 -\n", NULL, 0, "script line 2: '-' is not an option"},
    {"#SBATCH foo\n", NULL, 0, "script line 2: 'foo' is not an option"},
    {"#SBATCH -Ja foo -n 3\n", NULL, 0, "script line 2: 'foo' is not an option"},
    {"#SBATCH --exclusive user\n", NULL, 0, "script line 2: 'user' is not an option"},
    {"#SBATCH -n\n", NULL, 0, "script line 2: -n (--ntasks) needs a value"},
    {"\n#SBATCH --ntasks\necho\n", NULL, 0, "script line 3: --ntasks needs a value"},
    {"#SBATCH --hold=yes\n", NULL, 0, "script line 2: --hold takes no value"},
    {"#SBATCH -Z\n", NULL, 0, "script line 2: there is no option -Z"},
    {"#SBATCH --nonesuch=1\n", NULL, 0, "script line 2: there is no option --nonesuch"},
    {"#SBATCH --=3\n", NULL, 0, "script line 2: there is no option --"},
    {"#SBATCH -n=3\n", NULL, 0,
     "script line 2: --ntasks==3: not a number: give a whole number from 1 on"},
    {"\n#SBATCH --time=abc\n", NULL, 0,
     "script line 3: --time=abc: not a time: give minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s or "
     "UNLIMITED"},
    {"#SBATCH -n\n#SBATCH x\n", NULL, 0,
     "script line 2: --ntasks=x: not a number: give a whole number from 1 on"},
    /* quotes, backslashes and comments */
    {"#SBATCH -J \"a b\" -n 3\n", "a b", 3, NULL},
    {"#SBATCH -J 'a b' -n 3\n", "a b", 3, NULL},
    {"#SBATCH -J a\"b c\"d -n 3\n", "ab cd", 3, NULL},
    {"#SBATCH -J \"a'b\" -n 3\n", "a'b", 3, NULL},
    {"#SBATCH -J a\\b -n 3\n", "ab", 3, NULL},
    {"#SBATCH -J a\\\\b -n 3\n", "a\\b", 3, NULL},
    {"#SBATCH -J a\\\"b -n 3\n", "a\"b", 3, NULL},
    {"#SBATCH -J \"a\\\"b\" -n 3\n", "a\"b", 3, NULL},
    {"#SBATCH -J 'a\\'b' -n 3\n", "a'b", 3, NULL},
    {"#SBATCH -J 'a\\ b' -n 3\n", "a b", 3, NULL},
    {"#SBATCH -n 3 -J a\\\n", "a", 3, NULL},
    {"#SBATCH -J a\\ b\n", NULL, 0, "script line 2: 'b' is not an option"},
    {"#SBATCH -J a#b -n 3\n", "a", SBATCH_UNSET, NULL},
    {"#SBATCH -J \"a#b\" -n 3\n", "a#b", 3, NULL},
    {"#SBATCH -J a\\#b -n 3\n", "a#b", 3, NULL},
    {"#SBATCH -n 3 # 'not closed\n", NULL, 3, NULL},
    {"#SBATCH -J \":\" -n 3\n", ":", 3, NULL},
    {"#SBATCH -n 3 -J \"\"x\n", "x", 3, NULL},
    {"#SBATCH -n 3 \"\"\n", NULL, 3, NULL},
    {"#SBATCH -n 3 \"\" # more\n", NULL, 3, NULL},
    {"#SBATCH -n 3 \\ \n", NULL, 3, NULL},
    {"#SBATCH -n 3 -J \"\"\n", NULL, 0, "script line 2: -J (--job-name) needs a value"},
    {"#SBATCH -J \"ab\n", NULL, 0, "script line 2: the quote \" is not closed"},
    {"#SBATCH -J 'ab\\'\n", NULL, 0, "script line 2: the quote ' is not closed"},
    {"#SBATCH : -n 2\n", NULL, 0, "script line 2: a ':' where an option was expected"},
    {"#SBATCH -J :x\n", NULL, 0, "script line 2: a ':' where an option was expected"},
    /* sbatch would silently drop -n 3 */
    {"#SBATCH -J \"\" -n 3\n", NULL, 0,
     "script line 2: an empty word, after which sbatch would ignore the rest of the line"},
};

Test(sbatch_script, lines_are_read_as_sbatch_does)
{
    for (size_t i = 0; i < ARRAY_LEN(line_cases); i++) {
        struct sbatch job;
        struct err err;
        int rc = parse_lines(line_cases[i].lines, &job, &err);
        cr_expect_eq(rc, line_cases[i].text ? -1 : 0, "%s: %s", line_cases[i].lines, err.text);
        if (rc < 0) {
            cr_expect_str_eq(err.text, str_or(line_cases[i].text, ""), "%s", line_cases[i].lines);
            cr_expect_eq(err.code, ERR_INVALID, "%s", line_cases[i].lines);
            continue;
        }
        cr_expect_eq(job.ntasks, line_cases[i].ntasks, "%s", line_cases[i].lines);
        cr_expect_str_eq(str_or(job.name, "(none)"), str_or(line_cases[i].name, "(none)"), "%s",
                         line_cases[i].lines);
    }
}

Test(sbatch_script, what_is_refused_is_named_with_its_line)
{
    struct sbatch job;
    struct err err;
    cr_expect_eq(parse_lines("#SBATCH -n 2\n#SBATCH -HM other\n", &job, &err), -1);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_str_eq(err.text, "script line 3: --clusters=other: " OTHER_CLUSTER);
}

/* ---- heterogeneous jobs ---- */

/* "name:ntasks:mem" of each component, with commas. */
static const char *components_of(const char *lines, const struct pairs *options, size_t n)
{
    const char *script = arena_printf(&arena, "#!/bin/sh\n%s", lines), *all = "";
    struct sbatch_source in = {.script = {(const uint8_t *)script, strlen(script)},
                               .options = options,
                               .n_options = n,
                               .max_script = MAX_SCRIPT,
                               .now = 1795434052};
    struct sbatch_jobs jobs;
    struct err err = {0};
    if (sbatch_parse(&in, &arena, &jobs, &err) < 0)
        return arena_printf(&arena, "%s: %s", err_name(err.code), err.text);
    for (size_t i = 0; i < jobs.n; i++) {
        const struct sbatch *job = &jobs.v[i];
        all = arena_printf(&arena, "%s%s%s:%lld:%lld", all, i ? "," : "", str_or(job->name, ""),
                           job->ntasks == SBATCH_UNSET ? -1LL : (long long)job->ntasks,
                           job->mem_per_node == SBATCH_UNSET ? -1LL : (long long)job->mem_per_node);
    }
    return all;
}

Test(sbatch_script, hetjob_begins_a_component)
{
    cr_expect_str_eq(components_of("#SBATCH -n 2\n#SBATCH hetjob\n#SBATCH -n 3\n", NULL, 0),
                     ":2:-1,:3:-1");
    cr_expect_str_eq(components_of("#SBATCH -n 2\n#SBATCH PACKJOB\n", NULL, 0), ":2:-1,:-1:-1");
    /* what holds for the whole job goes on, what is a component's own does not */
    cr_expect_str_eq(
        components_of("#SBATCH -J a -n 2 --mem=7\n#SBATCH hetjob\n#SBATCH --mem=8\n", NULL, 0),
        "a:2:7,a:-1:8");
    /* a script with one component is no heterogeneous job */
    cr_expect_str_eq(components_of("#SBATCH -n 2\necho\n#SBATCH hetjob\n", NULL, 0), ":2:-1");
}

Test(sbatch, several_sets_of_options_are_several_components)
{
    static const struct pair first[] = {{"ntasks", "2"}, {"job-name", "a"}},
                             second[] = {{"mem", "5"}};
    static const struct pairs both[] = {{first, 2}, {second, 1}};
    cr_expect_str_eq(components_of("", both, 2), "a:2:5,a:-1:5");
    /* the last set stands for further components of the script, as the script's options lie below
     */
    cr_expect_str_eq(components_of("#SBATCH -n 7\n#SBATCH hetjob\n#SBATCH -n 8\n", both, 2),
                     "a:2:5,a:8:5");
    cr_expect_str_eq(components_of("#SBATCH -n 7\n#SBATCH hetjob\n#SBATCH -n 8\n", both, 1),
                     "a:2:-1,a:2:-1");
}

Test(sbatch, an_error_names_the_component)
{
    static const struct pair good[] = {{"ntasks", "2"}}, bad[] = {{"ntasks", "x"}};
    static const struct pairs both[] = {{good, 1}, {bad, 1}};
    cr_expect_str_eq(
        components_of("", both, 2),
        "INVALID: component 1: --ntasks=x: not a number: give a whole number from 1 on");
}

Test(sbatch, there_is_a_limit_to_components)
{
    struct pairs *sets = calloc(SBATCH_MAX_COMPONENTS + 1, sizeof *sets);
    cr_assert(sets);
    cr_expect(strchr(components_of("", sets, SBATCH_MAX_COMPONENTS), ','));
    cr_expect_str_eq(components_of("", sets, SBATCH_MAX_COMPONENTS + 1),
                     "INVALID: the heterogeneous job has more than 128 components, Slurm's limit");
    free(sets);
}

/* ---- variables SBATCH_* ---- */

static int with_defaults(const struct pair *defaults, size_t n, const char *lines,
                         struct sbatch *out, struct err *err)
{
    const char *script = arena_printf(&arena, "#!/bin/sh\n%s", lines);
    struct pairs pairs = {defaults, n};
    struct sbatch_source in = {.script = {(const uint8_t *)script, strlen(script)},
                               .defaults = &pairs,
                               .max_script = MAX_SCRIPT,
                               .now = 1795434052};
    struct sbatch_jobs jobs;
    *err = (struct err){0};
    if (sbatch_parse(&in, &arena, &jobs, err) < 0)
        return -1;
    *out = jobs.v[0];
    return 0;
}

Test(sbatch, defaults_lie_over_the_script)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(with_defaults(OPTIONS({"job-name", "b"}, {"requeue", "no"}),
                               "#SBATCH -J a -n 3 --requeue\n", &job, &err),
                 0, "%s", err.text);
    cr_expect_str_eq(job.name, "b");
    cr_expect_eq(job.ntasks, 3);
    cr_expect_eq(job.requeue, SBATCH_UNSET);
    cr_assert_eq(with_defaults(OPTIONS({"requeue", ""}), "", &job, &err), 0);
    cr_expect_eq(job.requeue, 1);
    cr_expect_eq(with_defaults(OPTIONS({"ntasks", "x"}), "", &job, &err), -1);
    cr_expect(strstr(err.text, "SBATCH_*") && strstr(err.text, "--ntasks=x"), "%s", err.text);
}

Test(sbatch, memory_that_is_said_wins_over_the_environments)
{
    struct sbatch job;
    struct err err;
    cr_assert_eq(with_defaults(OPTIONS({"mem", "5"}), "#SBATCH --mem-per-cpu=7\n", &job, &err), 0);
    cr_expect_eq(job.mem_per_node, SBATCH_UNSET);
    cr_expect_eq(job.mem_per_cpu, 7);
    cr_expect_eq(with_defaults(OPTIONS({"mem", "5"}, {"mem-per-gpu", "7"}), "", &job, &err), -1);
}

/* ---- scripts that options make, and files ---- */

Test(sbatch, wrap_makes_a_script)
{
    struct pairs set = {(const struct pair[]){{"ntasks", "1"}, {"wrap", "echo 'a b'"}}, 2};
    struct sbatch_source in = {.options = &set, .n_options = 1};
    struct bytes script;
    struct err err = {0};
    cr_assert_eq(sbatch_wrap(&in, &arena, &script, &err), 0);
    static const char want[] =
        "#!/bin/sh\n# This script was created by sbatch --wrap.\n\necho 'a b'\n";
    cr_assert_eq(script.n, strlen(want));
    cr_expect_arr_eq(script.p, want, script.n);
    set.n = 1;
    cr_assert_eq(sbatch_wrap(&in, &arena, &script, &err), 0);
    cr_expect_eq(script.n, 0);
}

Test(sbatch, lines_go_behind_the_first)
{
    static const struct {
        const char *script, *lines, *want;
    } cases[] = {
        {"#!/bin/sh\nx\n", "#BB a", "#!/bin/sh\n#BB a\nx\n"},
        {"#!/bin/sh\nx\n", "#BB a\n", "#!/bin/sh\n#BB a\nx\n"},
        {"#!/bin/sh", "#BB a\n", "#!/bin/sh\n#BB a\n"},
        {"#!/bin/sh\n", "", "#!/bin/sh\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes out;
        struct err err = {0};
        cr_assert_eq(sbatch_add_lines(
                         (struct bytes){(const uint8_t *)cases[i].script, strlen(cases[i].script)},
                         (struct bytes){(const uint8_t *)cases[i].lines, strlen(cases[i].lines)},
                         &arena, &out, &err),
                     0);
        cr_expect_str_eq(arena_strndup(&arena, (const char *)out.p, out.n), cases[i].want);
    }
}

Test(sbatch, a_file_of_nodes)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"n1\nn2\n", "n1,n2"}, {"n1 n2", "n1,n2"}, {"# none of this\nn[1-2]\n", "n[1-2]"},
        {"n1*2\n", "n1,n1"},   {"", NULL},         {"# only this\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        const char *list = sbatch_node_list(
            (struct bytes){(const uint8_t *)cases[i].text, strlen(cases[i].text)}, &arena, &err);
        cr_expect_str_eq(str_or(list, "(none)"), str_or(cases[i].want, "(none)"), "%s",
                         cases[i].text);
        cr_expect_eq(!list, err.code != ERR_NONE);
    }
}

Test(sbatch, a_file_of_variables)
{
    static const char text[] = "A=1\0B=x=y\nz\0C=";
    struct pairs out;
    struct err err = {0};
    cr_assert_eq(
        sbatch_exported((struct bytes){(const uint8_t *)text, sizeof text}, &arena, &out, &err), 0,
        "%s", err.text);
    cr_assert_eq(out.n, 3);
    cr_expect_str_eq(out.v[0].name, "A");
    cr_expect_str_eq(out.v[1].value, "x=y\nz");
    cr_expect_str_eq(out.v[2].value, "");
}

Test(sbatch, named_nodes_count)
{
    struct sbatch job;
    struct err err;
    static const struct sbatch_nodes two = {.distinct = "n[1-2]", .count = 2, .distinct_count = 2};
    cr_assert_eq(parse_options(OPTIONS({"ntasks", "1"}), &job, &err), 0);
    job.min_nodes = job.max_nodes = SBATCH_UNSET;
    job.ntasks = SBATCH_UNSET;
    cr_assert_eq(sbatch_settle(&job, &two, &err), 0);
    cr_expect_str_eq(job.req_nodes, "n[1-2]");
    cr_expect_eq(job.min_nodes, 2);
}

Test(sbatch_script, words_that_only_look_like_hetjob)
{
    struct sbatch job;
    struct err err;
    parse_lines("#SBATCH hetjobs\n", &job, &err);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_assert_eq(parse_lines("#SBATCH -J \"hetjob\"\n", &job, &err), 0);
    cr_expect_str_eq(job.name, "hetjob");
}

/* sbatch obeys such lines, even behind the first command: they may not be passed over unsaid. */
Test(sbatch_script, lines_for_other_batch_systems_need_a_word)
{
    static const char *const refused[] = {"#PBS -N x\n", "#SBATCH -n 1\necho\n#BSUB -J x",
                                          "#PBSX\n"};
    static const char *const fine[] = {"#PBS\n",       "#BSUB \t\n",
                                       " #PBS -N x\n", "# PBS -N x\n",
                                       "#pbs -N x\n",  "#PBS -N x\n#SBATCH --ignore-pbs\n"};
    struct sbatch job;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        cr_expect_eq(parse_lines(refused[i], &job, &err), -1, "%s", refused[i]);
        cr_expect_eq(err.code, ERR_UNSUPPORTED);
    }
    cr_expect_str_eq(err.text,
                     "script line 2: #PBS lines, which sbatch would obey, are not offered "
                     "by this server yet: write #SBATCH, or give --ignore-pbs");
    for (size_t i = 0; i < ARRAY_LEN(fine); i++)
        cr_expect_eq(parse_lines(fine[i], &job, &err), 0, "%s: %s", fine[i], err.text);
    static const char script[] = "#!/bin/sh\n#PBS -N x\n";
    cr_expect_eq(parse_bytes(SCRIPT(script), OPTIONS({"ignore-pbs", ""}), &job, &err), 0);
}

/* One word in two bytes: neither time nor memory may grow with the square of the line. */
Test(sbatch_script, a_line_of_a_million_words, .timeout = 20)
{
    enum { WORDS = 1000000 };
    char *script = calloc(1, 32 + 3 * WORDS);
    cr_assert(script);
    char *p = stpcpy(script, "#!/bin/sh\n#SBATCH ");
    for (size_t i = 0; i < WORDS; i++)
        p = stpcpy(p, "-H ");
    struct sbatch job;
    struct err err;
    cr_expect_eq(parse_bytes(script, (size_t)(p - script), NULL, 0, &job, &err), 0, "%s", err.text);
    cr_expect_eq(job.hold, 1);
    cr_expect_lt(arena.used_bytes, 4 * WORDS);
    free(script);
}
