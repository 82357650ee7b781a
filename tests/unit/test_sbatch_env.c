/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch.h"

#include <criterion/criterion.h>
#include <string.h>

#include "common/str.h"

static struct arena arena;

static void start(void)
{
    arena_init(&arena, 0);
    setenv("SLURM_OF_THE_DAEMON", "1", 1);
}

static void end(void)
{
    arena_done(&arena);
}

TestSuite(sbatch_env, .init = start, .fini = end);

static const struct pair OFFERED[] = {
    {"FOO", "foo"},          {"PATH", "/bin"},         {"SLURM_FOO", "sf"},
    {"EMPTY", ""},           {"SLURM_CONF", "/x"},     {"SLURM_JWT", "secret"},
    {"SLURM_UMASK", "0077"}, {"SLURM_JOB_NAME", "me"}, {"SLURM_RLIMIT_CORE", "5"},
};

/* All of it, sorted, one a line. */
static const char *environment_of(const struct sbatch *in, const struct pair *v, size_t n,
                                  bool login)
{
    struct strs out;
    struct err err = {0};
    struct sbatch job = *in;
    struct pairs offered = {v, n};
    struct sbatch_env_source from = {
        .offered = &offered, .login = login, .submit_dir = "/work", .submit_host = "head"};
    if (sbatch_environment(&(struct sbatch_jobs){&job, 1}, &from, &arena, &out, &err) < 0)
        return arena_printf(&arena, "%s: %s", err_name(err.code), err.text);
    const char *all = "";
    for (size_t i = 0; i < out.n; i++)
        all = arena_printf(&arena, "%s%s\n", all, out.v[i]);
    return all;
}

static const char *export_as(const char *list, bool login)
{
    struct sbatch in = sbatch_unsaid;
    in.export_env = list;
    return environment_of(&in, OFFERED, ARRAY_LEN(OFFERED), login);
}

#define OWN_PRIO "SLURM_PRIO_PROCESS=0\n"
#define OWN_DIR "SLURM_SUBMIT_DIR=/work\nSLURM_SUBMIT_HOST=head\n"
#define OWN_REST OWN_DIR "SLURM_UMASK=0022\n"
/* of OFFERED */
#define OFFERED_REST OWN_DIR "SLURM_UMASK=0077\n"
#define ALL_OFFERED "EMPTY=\nFOO=foo\nPATH=/bin\n"
#define LOGIN "SLURM_GET_USER_ENV=1\n"

Test(sbatch_env, all_is_the_default)
{
    static const char want[] = ALL_OFFERED "SLURM_FOO=sf\n" OWN_PRIO OFFERED_REST;
    cr_expect_str_eq(export_as(NULL, false), want);
    cr_expect_str_eq(export_as("ALL", false), want);
    cr_expect_str_eq(export_as("all", false), want);
}

Test(sbatch_env, login_starts_from_the_users_own)
{
    cr_expect_str_eq(export_as(NULL, true),
                     ALL_OFFERED "SLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
}

Test(sbatch_env, none_and_nil_pass_slurms_own_only)
{
    cr_expect_str_eq(export_as("NONE", false),
                     "SLURM_EXPORT_ENV=NONE\nSLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    cr_expect_str_eq(export_as("none", false),
                     "SLURM_EXPORT_ENV=none\nSLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    cr_expect_str_eq(export_as("NIL", true),
                     "SLURM_EXPORT_ENV=NIL\nSLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    cr_expect_str_eq(export_as("", false),
                     "SLURM_EXPORT_ENV=\nSLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
}

Test(sbatch_env, a_list_names_and_sets)
{
    cr_expect_str_eq(export_as("FOO", false),
                     "FOO=foo\nSLURM_EXPORT_ENV=FOO\nSLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    cr_expect_str_eq(
        export_as("NOSUCH,BAR=1,FOO,,", false),
        "BAR=1\nFOO=foo\nSLURM_EXPORT_ENV=NOSUCH,BAR=1,FOO,,\nSLURM_FOO=sf\n" LOGIN OWN_PRIO
            OFFERED_REST);
    cr_expect_str_eq(export_as("ALL,FOO=bar,all", false),
                     "EMPTY=\nFOO=bar\nPATH=/bin\nSLURM_EXPORT_ENV=ALL,FOO=bar,all\n"
                     "SLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    cr_expect_str_eq(
        export_as("A=1=2,B=,A=3", false),
        "A=3\nB=\nSLURM_EXPORT_ENV=A=1=2,B=,A=3\nSLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    /* sbatch keeps the quotes that keep the comma */
    cr_expect_str_eq(export_as("A='x,y',B=\"p,q\"", false),
                     "A='x,y'\nB=\"p,q\"\nSLURM_EXPORT_ENV=A='x,y',B=\"p,q\"\n"
                     "SLURM_FOO=sf\n" LOGIN OWN_PRIO OFFERED_REST);
    /* what is Slurm's own the environment says */
    cr_expect(strstr(export_as("ALL,SLURM_UMASK=0027", false), "\nSLURM_UMASK=0077\n"));
}

Test(sbatch_env, a_list_cannot_set_everything)
{
    cr_expect_str_eq(export_as("SLURM_CONF=/y", false),
                     "INVALID: --export: SLURM_CONF cannot be set for a job");
    cr_expect_str_eq(export_as("A=1,SLURM_JWT=x", false),
                     "INVALID: --export: SLURM_JWT cannot be set for a job");
    cr_expect_str_eq(export_as("SLURM_RLIMIT_CORE=0", false),
                     "INVALID: --export: SLURM_RLIMIT_CORE cannot be set for a job");
    cr_expect_str_eq(export_as("A=1,=2", false),
                     "INVALID: --export=A=1,=2: a value without a name");
}

Test(sbatch_env, says_what_was_asked_for)
{
    struct sbatch in = sbatch_unsaid;
    in.name = "n a";
    in.ntasks = 4;
    in.cpus_per_task = 2;
    in.dependency = "singleton";
    cr_expect_str_eq(environment_of(&in, NULL, 0, false),
                     "SLURM_CPUS_PER_TASK=2\nSLURM_JOB_DEPENDENCY=singleton\nSLURM_JOB_NAME=n a\n"
                     "SLURM_NPROCS=4\nSLURM_NTASKS=4\n" OWN_PRIO OWN_REST);
}

Test(sbatch_env, is_never_empty_nor_the_daemons)
{
    struct strs out;
    struct err err = {0};
    struct sbatch job = sbatch_unsaid;
    struct sbatch_env_source from = {.submit_dir = "/"};
    cr_assert_eq(sbatch_environment(&(struct sbatch_jobs){&job, 1}, &from, &arena, &out, &err), 0);
    cr_expect_eq(out.n, 3);
    cr_expect_null(strstr(export_as(NULL, true), "OF_THE_DAEMON"));
}

Test(sbatch_env, names_are_checked)
{
    cr_expect_str_eq(
        environment_of(&sbatch_unsaid, (struct pair[]){{"A", "1"}, {"", "x"}}, 2, false),
        "INVALID: environment: a variable without a name");
    cr_expect_str_eq(environment_of(&sbatch_unsaid, (struct pair[]){{"A=B", "x"}}, 1, false),
                     "INVALID: environment: the name 'A=B' has a = in it");
}

Test(sbatch_env, values_keep_their_bytes_and_the_last_wins)
{
    static const struct pair v[] = {
        {"X", "1"}, {"X", "a\nb=c\xff"}, {"BASH_FUNC_f%%", "() { :;}"}, {"N", NULL}};
    cr_expect_str_eq(environment_of(&sbatch_unsaid, v, ARRAY_LEN(v), false),
                     "BASH_FUNC_f%%=() { :;}\nN=\n" OWN_PRIO OWN_REST "X=a\nb=c\xff\n");
}

Test(sbatch_env, a_failure_changes_nothing)
{
    struct strs out = {.n = 42};
    struct err err = {0};
    struct pair bad = {"", ""};
    struct pairs offered = {&bad, 1};
    struct sbatch job = sbatch_unsaid;
    struct sbatch_env_source from = {.offered = &offered, .submit_dir = "/", .submit_host = "h"};
    cr_expect_eq(sbatch_environment(&(struct sbatch_jobs){&job, 1}, &from, &arena, &out, &err), -1);
    cr_expect_eq(out.n, 42);
}

/* The largest request there is: sixteen thousand variables and a list as long as may be. */
Test(sbatch_env, much_of_everything, .timeout = 20)
{
    enum { N = 16384, LIST = 65000 };
    struct pair *v = calloc(N, sizeof *v);
    char *list = calloc(1, LIST + 8);
    cr_assert(v && list);
    for (size_t i = 0; i < N; i++)
        v[i] = (struct pair){arena_printf(&arena, "V%zu", i), "x"};
    for (size_t i = 0; i + 4 <= LIST; i += 4)
        memcpy(list + i, i % 8 ? "ALL," : "V12,", 4);
    struct sbatch in = sbatch_unsaid;
    in.export_env = list;
    struct strs out;
    struct err err = {0};
    struct pairs offered = {v, N};
    struct sbatch_env_source from = {.offered = &offered, .submit_dir = "/", .submit_host = "h"};
    cr_assert_eq(sbatch_environment(&(struct sbatch_jobs){&in, 1}, &from, &arena, &out, &err), 0,
                 "%s", err.text);
    cr_expect_eq(out.n, N + 6);
    free(v);
    free(list);
}
