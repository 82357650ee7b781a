/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The CLI's parsers and tables: no server */
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "client/cli.h"
#include "client/cli_sbatch.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct cli_table, cli_table_free)

static void cleanup_sbatch(struct cli_sbatch *s)
{
    cli_sbatch_done(s);
}

#define SBATCH_ARGS __attribute__((cleanup(cleanup_sbatch))) = {0}

/* ---- submit ---- */

static int parse(struct cli_sbatch *out, struct err *err, const char *const *words)
{
    int argc = 0;
    static char *argv[64];
    argv[argc++] = (char *)"submit";
    while (*words)
        argv[argc++] = (char *)*words++;
    argv[argc] = NULL;
    return cli_sbatch_parse(argc, argv, out, err);
}

#define PARSE(out, err, ...) parse(out, err, (const char *const[]){__VA_ARGS__, NULL})

/* "name=value name : name=value": what the server would get. */
static const char *sent(const struct cli_sbatch *s)
{
    static char text[1000];
    size_t n = 0;
    text[0] = '\0';
    for (size_t k = 0; k < s->set_count; k++) {
        const struct cli_pairs *set = &s->sets[k];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", k ? " : " : "");
        for (size_t i = 0; i < set->n; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s%s%s", i ? " " : "",
                                  set->v[i].name, set->v[i].value ? "=" : "",
                                  str_or(set->v[i].value, ""));
    }
    return text;
}

static void expect_sent(const char *want, const char *const *words)
{
    struct cli_sbatch s SBATCH_ARGS;
    struct err err = {0};
    cr_expect_eq(parse(&s, &err, words), 0, "%s: %s", want, err.text);
    cr_expect_str_eq(sent(&s), want);
}

#define EXPECT_SENT(want, ...) expect_sent(want, (const char *const[]){__VA_ARGS__, NULL})

static void expect_refused(const char *part, const char *const *words)
{
    struct cli_sbatch s SBATCH_ARGS;
    struct err err = {0};
    cr_expect_eq(parse(&s, &err, words), -1, "%s", part);
    cr_expect_eq(err.code, ERR_INVALID);
    cr_expect_not_null(strstr(err.text, part), "no \"%s\" in: %s", part, err.text);
}

#define EXPECT_REFUSED(part, ...) expect_refused(part, (const char *const[]){__VA_ARGS__, NULL})

Test(client_submit, the_forms_of_sbatch)
{
    EXPECT_SENT("job-name=a b", "--job-name=a b");
    EXPECT_SENT("job-name=x", "--job-name", "x", "job.sh");
    EXPECT_SENT("job-name=x", "-J", "x", "job.sh");
    EXPECT_SENT("job-name=x", "-Jx", "job.sh");
    EXPECT_SENT("hold ntasks=4", "-Hn4", "job.sh");
    EXPECT_SENT("hold overcommit nodes=1-2", "-HON", "1-2", "job.sh");
    EXPECT_SENT("exclusive", "--exclusive", "user");
    EXPECT_SENT("exclusive=user", "--exclusive=user");
    EXPECT_SENT("no-kill=off", "-koff");
    EXPECT_SENT("job-name=", "--job-name=");
    EXPECT_SENT("nice=-5", "--nice=-5");
    EXPECT_SENT("begin=-x", "--begin", "-x");
}

Test(client_submit, of_one_option_the_last_counts)
{
    EXPECT_SENT("hold mem=2", "--mem=1", "-H", "--mem", "2");
    EXPECT_SENT("future=2", "--future=1", "--future=2");
}

Test(client_submit, abbreviations)
{
    EXPECT_SENT("partition=p", "--part=p");
    EXPECT_SENT("time=5", "--time=5");
    EXPECT_SENT("requeue", "--requ");
    EXPECT_REFUSED("--mem-per-cpu", "--mem-per=5");
    EXPECT_REFUSED("--ntasks-per-node", "--ntasks-p", "4");
}

Test(client_submit, what_is_not_known_here_is_passed_on_or_refused)
{
    EXPECT_SENT("future=1", "--future=1", "job.sh");
    EXPECT_REFUSED("--job-name", "--job-nam3", "x");
    EXPECT_REFUSED("--zzzzzzzzz=VALUE", "--zzzzzzzzz");
    EXPECT_REFUSED("-Z", "-Z");
    EXPECT_REFUSED("needs a value", "--job-name");
    EXPECT_REFUSED("-J needs a value", "-J");
    EXPECT_REFUSED("takes no value", "--hold=yes");
    EXPECT_REFUSED("no name", "--=x");
}

Test(client_submit, help_usage_and_version_end_the_reading)
{
    struct cli_sbatch h SBATCH_ARGS, u SBATCH_ARGS, v SBATCH_ARGS;
    struct err err = {0};
    cr_assert_eq(PARSE(&h, &err, "-H", "-h", "--nope"), 0, "%s", err.text);
    cr_expect(h.help && !h.usage && !h.version);
    cr_assert_eq(PARSE(&u, &err, "--usage", "--wrap"), 0, "%s", err.text);
    cr_expect(u.usage && !u.help);
    cr_assert_eq(PARSE(&v, &err, "--version", "-h"), 0, "%s", err.text);
    cr_expect(v.version && !v.help);
    EXPECT_REFUSED("--nope", "--nope", "--help");
}

Test(client_submit, the_script_ends_the_options)
{
    struct cli_sbatch s SBATCH_ARGS;
    struct err err = {0};
    cr_assert_eq(PARSE(&s, &err, "-H", "job.sh", "--hold", "-J", ""), 0);
    cr_expect_str_eq(sent(&s), "hold");
    cr_expect_str_eq(s.script, "job.sh");
    cr_assert_eq(s.argument_count, 3);
    cr_expect_str_eq(s.arguments[0], "--hold");
    cr_expect_str_eq(s.arguments[2], "");
}

Test(client_submit, dash_dash_and_dash)
{
    struct cli_sbatch a SBATCH_ARGS, b SBATCH_ARGS, c SBATCH_ARGS;
    struct err err = {0};
    cr_assert_eq(PARSE(&a, &err, "--", "-script"), 0);
    cr_expect_str_eq(a.script, "-script");
    cr_assert_eq(PARSE(&b, &err, "-", "arg"), 0);
    cr_expect_str_eq(b.script, "-", "stdin, but to sbatch");
    cr_expect_str_eq(b.arguments[0], "arg");
    cr_assert_eq(PARSE(&c, &err, "-H"), 0);
    cr_expect_null(c.script);
    cr_expect_eq(c.argument_count, 0);
}

Test(client_submit, wrap_and_remote_script)
{
    struct cli_sbatch w SBATCH_ARGS, r SBATCH_ARGS;
    struct err err = {0};
    cr_assert_eq(PARSE(&w, &err, "--wrap", "echo hi"), 0);
    cr_expect_str_eq(w.wrap, "echo hi");
    cr_expect_str_eq(sent(&w), "wrap=echo hi");
    cr_assert_eq(PARSE(&r, &err, "--remote-script=/x/y", "arg"), 0);
    cr_expect_str_eq(r.remote_script, "/x/y");
    cr_expect_null(r.script);
    cr_expect_str_eq(r.arguments[0], "arg");
    EXPECT_REFUSED("--wrap", "--wrap=x", "job.sh");
    EXPECT_REFUSED("exclude", "--wrap=x", "--remote-script=/y");
}

Test(client_submit, colons_part_components)
{
    EXPECT_SENT("ntasks=1 : ntasks=2", "-n1", ":", "-n2", "x");
    EXPECT_SENT(" :  : hold", ":", ":", "-H", "x", ":", "y");
    EXPECT_SENT("job-name=:", "-J", ":", "x");
    EXPECT_REFUSED("ntasks", "-n1", ":", "--ntsks", "x");
}

Test(client_submit, what_is_the_clients_own)
{
    struct cli_sbatch s SBATCH_ARGS;
    struct err err = {0};
    cr_assert_eq(PARSE(&s, &err, "--parsable", "--wait", "--json", "-Q", "-h"), 0);
    cr_expect(s.parsable && s.wait && s.json && s.quiet && s.help);
    cr_expect_str_eq(sent(&s), "", "the same submit, however it is printed");
}

/* ---- --export ---- */

static const char *offered(const char *list, bool *ret_login)
{
    static char text[200];
    char *const env[] = {(char *)"A=1",
                         (char *)"ALL=2",
                         (char *)"B=x,y",
                         (char *)"=odd",
                         (char *)"noequal",
                         (char *)"AB=3",
                         NULL};
    size_t n, used = 0;
    AUTO(free) const char **v = cli_sbatch_environment(list, env, 0, &n, ret_login);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", v[i]);
    return text;
}

Test(client_submit, what_of_the_environment_is_offered)
{
    static const struct {
        const char *list, *offered;
        bool login;
    } cases[] = {
        {NULL, "", true},
        {"NONE", "", true},
        {"NIL", "", false},
        {"nil", "", false},
        {"ALL", "A=1 ALL=2 B=x,y AB=3", false},
        {"ALL,C=1", "A=1 ALL=2 B=x,y AB=3", false},
        {"A", "A=1", true},
        {"A,B", "A=1 B=x,y", true},
        {"A=5,B", "B=x,y", true},
        {"C='A,B',AB", "AB=3", true},
        {"NOTSET", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool login;
        cr_expect_str_eq(offered(cases[i].list, &login), cases[i].offered, "%s", cases[i].list);
        cr_expect_eq(login, cases[i].login, "%s", cases[i].list);
    }
}

Test(client_submit, sbatchs_variables_are_options)
{
    char *const env[] = {
        (char *)"SBATCH_JOB_NAME=a", (char *)"SBATCH_NO_REQUEUE=", (char *)"SBATCH_EXPORT=NONE",
        (char *)"SBATCH_NO_SUCH=1",  (char *)"SBATCH_JOB_NAMES=1", NULL};
    struct cli_pairs pairs = {0};
    const char *list = NULL;
    cr_assert_eq(cli_sbatch_defaults(env, &pairs, &list), 0);
    cr_expect_str_eq(list, "NONE");
    size_t found = 0;
    for (size_t i = 0; i < pairs.n; i++)
        if (strcmp(pairs.v[i].name, "job-name") == 0)
            found += strcmp(pairs.v[i].value, "a") == 0;
        else if (strcmp(pairs.v[i].name, "no-requeue") == 0)
            found += strcmp(pairs.v[i].value, "") == 0;
    cr_expect_eq(found, 2);
    cli_pairs_done(&pairs);
}

/* ---- options of the other commands ---- */

Test(client_cli, options_and_arguments_in_any_order)
{
    bool flag = false, other = false;
    const char *value = NULL;
    const struct cli_option options[] = {
        {"flag", 'f', &flag, NULL, NULL, ""},
        {"other", 'o', &other, NULL, NULL, ""},
        {"value", 'v', NULL, &value, "V", ""},
    };
    const char *argv[] = {"x", "one", "-fov", "val", "--", "--flag", NULL};
    struct cli_args args;
    cr_assert_eq(cli_parse(options, 3, CLI_MIXED, 6, (char **)argv, &args), 0, "%s", args.error);
    cr_expect(flag && other);
    cr_expect_str_eq(value, "val");
    cr_assert_eq(args.n, 2);
    cr_expect_str_eq(args.positional[1], "--flag");
    free(args.positional);
}

Test(client_cli, mistakes_are_named)
{
    bool flag;
    const char *value;
    const struct cli_option options[] = {
        {"long-flag", 'f', &flag, NULL, NULL, ""},
        {"value", 'v', NULL, &value, "V", ""},
    };
    static const struct {
        const char *word, *part;
    } cases[] = {
        {"--long-flg", "did you mean --long-flag?"},
        {"--qqqqqqqq", "no option --qqqqqqqq"},
        {"--long-flag=1", "takes no value"},
        {"--value", "--value needs a value"},
        {"-fx", "no option -x"},
        {"--server=x", "in front of the command"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *argv[] = {"x", cases[i].word, NULL};
        struct cli_args args;
        cr_expect_eq(cli_parse(options, 2, CLI_MIXED, 2, (char **)argv, &args), -1);
        cr_expect_not_null(strstr(args.error, cases[i].part), "%s", args.error);
    }
}

Test(client_cli, the_command_ends_the_options_in_front_of_it)
{
    const char *server = NULL;
    const struct cli_option options[] = {{"server", 0, NULL, &server, "A", ""}};
    const char *argv[] = {"slurm-agent", "--server", "head", "get", "--json", NULL};
    struct cli_args args;
    cr_assert_eq(cli_parse(options, 1, CLI_STOP, 5, (char **)argv, &args), 0);
    cr_expect_eq(args.next, 3);
    cr_expect_str_eq(server, "head");
}

Test(client_cli, near_names)
{
    static const char *const names[] = {"submit", "get", "list", "cancel"};
    cr_expect_str_eq(cli_nearest("sumbit", names, 4), "submit");
    cr_expect_str_eq(cli_nearest("lst", names, 4), "list");
    cr_expect_null(cli_nearest("xyzzy", names, 4));
    cr_expect_null(
        cli_nearest("a-word-that-is-longer-than-sixty-four-letters-0123456789-0123456789-"
                    "0123456789",
                    names, 4));
}

/* ---- tables ---- */

static const struct cli_column columns[] = {
    {"ID", false, 0, 0},
    {"NAME", false, 1, 4},
    {"TIME", true, 0, 0},
    {"NODES", false, 2, 6},
};

static char *layout(size_t width)
{
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    static const char *const cells[] = {"1",  "short",         "0:01",    "node1",
                                        "22", "a-longer-name", "1:00:00", "node[1-100]"};
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        cli_table_add(t, cells[i]);
    return cli_table_layout(t, width, "…");
}

Test(client_table, columns_are_as_wide_as_they_must_be)
{
    AUTO(free) char *text = layout(0);
    cr_expect_str_eq(text, "ID  NAME              TIME  NODES\n"
                           "1   short             0:01  node1\n"
                           "22  a-longer-name  1:00:00  node[1-100]\n");
}

Test(client_table, the_name_gives_way_first_then_the_nodes)
{
    AUTO(free) char *narrow = layout(34), *narrower = layout(25);
    cr_expect_str_eq(narrow, "ID  NAME         TIME  NODES\n"
                             "1   short        0:01  node1\n"
                             "22  a-longe…  1:00:00  node[1-100]\n");
    cr_expect_str_eq(narrower, "ID  NAME     TIME  NODES\n"
                               "1   sho…     0:01  node1\n"
                               "22  a-l…  1:00:00  node[…\n");
}

Test(client_table, letters_are_counted_not_bytes)
{
    static const struct cli_column two[] = {{"A", false, 1, 2}, {"B", false, 0, 0}};
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(two, 2);
    cli_table_add(t, "äöü");
    cli_table_add(t, "x");
    AUTO(free) char *whole = cli_table_layout(t, 0, "…"), *cut = cli_table_layout(t, 5, "…");
    cr_expect_str_eq(whole, "A    B\näöü  x\n");
    cr_expect_str_eq(cut, "A   B\nä…  x\n");
}

Test(client_table, control_characters_do_not_reach_the_terminal)
{
    static const struct cli_column one[] = {{"A", false, 0, 0}};
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(one, 1);
    cli_table_add(t, "\033[2J\n\xc2\x9b");
    AUTO(free) char *text = cli_table_layout(t, 0, "+");
    cr_expect_str_eq(text, "A\n?[2J???\n");
}

/* ---- words ---- */

Test(client_cli, durations)
{
    static const struct {
        int64_t s;
        const char *text;
    } cases[] = {
        {-5, "0:00"},      {0, "0:00"},         {59, "0:59"},          {61, "1:01"},
        {3600, "1:00:00"}, {86399, "23:59:59"}, {86400, "1-00:00:00"}, {31536000, "365-00:00:00"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[CLI_TEXT];
        cr_expect_str_eq(cli_duration(cases[i].s, out), cases[i].text);
    }
}

Test(client_cli, points_in_time)
{
    static const struct {
        const char *text;
        int64_t t;
    } good[] = {
        {"now", 1700000000},
        {"now-90", 1699999910},
        {"now-1second", 1699999999},
        {"now-2minutes", 1699999880},
        {"now-1hour", 1699996400},
        {"now-0days", 1700000000},
        {"now-3days", 1699740800},
        {"now-1weeks", 1699395200},
        {"@1700000000", 1700000000},
        {"2023-11-14", 1699920000},
        {"2023-11-14T22:13", 1699999980},
        {"2023-11-14T22:13:20", 1700000000},
        {"2024-02-29", 1709164800},
    };
    static const char *const bad[] = {
        "",
        "yesterday",
        "now+1hour",
        "now-",
        "now-hour",
        "now-1year",
        "now-1hourss",
        "now-1 hour",
        "now--1hour",
        "@",
        "@0",
        "@-1",
        "@12x",
        "2023-11",
        "2023-11-31",
        "2023-02-29",
        "2023-13-01",
        "11/14/23",
        "2023-11-14T25:00",
        "2023-11-14T22:13:20Z",
        "1700000000",
        "now-99999999999999999999seconds",
        "now-1000000000weeks",
    };
    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t t = 0;
        cr_expect(cli_when(good[i].text, 1700000000, &t), "%s", good[i].text);
        cr_expect_eq(t, good[i].t, "%s: %lld", good[i].text, (long long)t);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t t;
        cr_expect_not(cli_when(bad[i], 1700000000, &t), "%s", bad[i]);
    }
}

Test(client_cli, a_point_in_time_is_local)
{
    int64_t t = 0;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    cr_expect(cli_when("2023-11-14T23:13:20", 0, &t));
    cr_expect_eq(t, 1700000000);
    cr_expect(cli_when("2023-07-14T00:00", 0, &t));
    cr_expect_eq(t, 1689285600, "%lld", (long long)t);
    cr_expect_not(cli_when("2023-03-26T02:30", 0, &t), "the hour that is left out");
}

Test(client_cli, every_command_is_found)
{
#define CMD(name, handler, synopsis, help) cr_expect_not_null(cli_find(#name));
#include "client/cli_commands.def"
#undef CMD
    cr_expect_null(cli_find("nosuch"));
}

Test(client_cli, uploads_are_taken_apart_at_the_last_colon)
{
    static char *const argv[] = {"submit", "--upload=a:b", "--upload",
                                 "c:d:",   "--upload=e/",  "--upload-store=s3://b/p/",
                                 "s.sh"};
    struct cli_sbatch s;
    struct err err = {0};
    cr_assert_eq(cli_sbatch_parse(ARRAY_LEN(argv), (char **)argv, &s, &err), 0, "%s", err.text);
    cr_assert_eq(s.stage.upload_count, 3);
    cr_expect_str_eq(s.stage.uploads[0].path, "a");
    cr_expect_str_eq(s.stage.uploads[0].to, "b");
    cr_expect_str_eq(s.stage.uploads[1].path, "c:d");
    cr_expect_null(s.stage.uploads[1].to);
    cr_expect_str_eq(s.stage.uploads[2].path, "e/");
    cr_expect_str_eq(s.stage.upload_store, "s3://b/p/");
    cr_expect_not(s.stage.any, "they come into the manifest when they are uploaded");
    cli_sbatch_done(&s);
    static char *const bad[] = {"--upload=:x", "--upload=s3://b/k"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *words[] = {"submit", bad[i]};
        err = (struct err){0};
        cr_expect_eq(cli_sbatch_parse(2, words, &s, &err), -1);
        cr_expect_eq(err.code, ERR_INVALID);
        cli_sbatch_done(&s);
    }
}
