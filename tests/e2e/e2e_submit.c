/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Submit: what a job is and gets, as root's users and as a single user */
#include <criterion/criterion.h>
#include <pwd.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(submit, .timeout = 120);

/* Runs a script to its end and gives its output. */
#define output_of(script, ...)                                                                     \
    output_of_argv(script, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static char *output_of_argv(const char *script, const char *const *options)
{
    const char *argv[RUN_MAX_ARGS];
    int n = 0;
    AUTO(free) char *path = NULL, *option = NULL;
    cr_assert_gt(asprintf(&path, "%s/out", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&option, "--output=%s", path), 0);
    argv[n++] = option;
    for (int i = 0; options[i]; i++)
        argv[n++] = options[i];
    argv[n] = NULL;
    AUTO(free) char *id = submit_argv(user_a(), script, argv);
    wait_state(user_a(), id, "COMPLETED,FAILED,CANCELLED,TIMEOUT");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "COMPLETED");
    char *text = slurp(path);
    cr_assert_not_null(text, "the job wrote no output");
    return text;
}

Test(submit, a_script_runs_and_its_end_is_seen)
{
    AUTO(free) char *out = output_of("#!/bin/sh\necho hello from $SLURM_JOB_ID\n");
    cr_expect_contains(out, "hello from ");
}

Test(submit, prints_what_sbatch_prints)
{
    AUTO(free) char *path = scratch_file(user_a(), "s.sh", "#!/bin/sh\ntrue\n");
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "submit", "--hold", path);
    int id = 0;
    cr_assert_eq(r.status, 0, "%s", r.err);
    cr_expect_eq(sscanf(r.out, "Submitted batch job %d\n", &id), 1, "%s", r.out);
    char text[16];
    snprintf(text, sizeof text, "%d", id);
    cr_expect_str_eq(job_field(user_a(), text, "name"), "s.sh");
    cancel_quietly(user_a(), text);
}

Test(submit, the_job_is_the_users)
{
    /* uid, primary group and every supplementary group, as a login would have them */
    AUTO(free)
    char *out = output_of("#!/bin/sh\nid -u\nid -g\nid -G | tr ' ' '\\n' | sort -n | xargs\n");
    AUTO(run_free)
    struct run r =
        run_as(user_a(), "sh", "-c", "id -u; id -g; id -G | tr ' ' '\\n' | sort -n | xargs");
    cr_expect_str_eq(out, r.out);
}

Test(submit, a_job_is_seen_right_after_its_submit)
{
    for (int i = 0; i < 10; i++) { /* four HELLOs each: 50 a second are allowed */
        AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
        AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "get", "--json", id);
        cr_expect_eq(r.status, 0, "%s", r.err);
        cr_expect_contains(r.out, "\"PENDING\"");
        cancel_quietly(user_a(), id);
        cr_expect_str_eq(job_field(user_a(), id, "state"), "CANCELLED", "and its cancel, too");
    }
}

Test(submit, arguments_reach_the_script)
{
    AUTO(free)
    char *path = scratch_file(user_a(), "a.sh", "#!/bin/sh\nfor a; do echo \"[$a]\"; done\n");
    AUTO(free) char *out = NULL, *option = NULL;
    cr_assert_gt(asprintf(&out, "%s/args", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&option, "--output=%s", out), 0);
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--parsable", option, path, "one",
                          "two words", "", "--hold", "$HOME");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    wait_state(user_a(), r.out, "COMPLETED");
    AUTO(free) char *text = slurp(out);
    cr_expect_str_eq(text, "[one]\n[two words]\n[]\n[--hold]\n[$HOME]\n");
}

Test(submit, the_script_can_come_from_stdin)
{
    const char *const argv[] = {"slurm-agent", "submit", "--parsable", "--hold", NULL};
    AUTO(run_free) struct run r = run_argv(user_a(), argv, "#!/bin/sh\necho stdin\n");
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    AUTO(run_free) struct run s = run_as(user_a(), "slurm-agent", "script", r.out);
    cr_expect_str_eq(s.out, "#!/bin/sh\necho stdin\n");
    cancel_quietly(user_a(), r.out);
}

Test(submit, a_script_on_the_cluster_is_read_there)
{
    AUTO(free)
    char *path = scratch_file(user_a(), "there.sh", "#!/bin/sh\n#SBATCH -J named\ntrue\n");
    AUTO(run_free)
    struct run r =
        run_as(user_a(), "slurm-agent", "submit", "--parsable", "--hold", "--remote-script", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    cr_expect_str_eq(job_field(user_a(), r.out, "name"), "named");
    cancel_quietly(user_a(), r.out);
}

Test(submit, nothing_of_the_daemon_is_in_the_job)
{
    AUTO(free)
    char *out = output_of("#!/bin/sh\numask\nulimit -c\npwd\nenv | sort\n", "--export=NIL");
    cr_expect_eq(strncmp(out, "0022\n", 5), 0, "umask: %s", out);
    cr_expect_null(strstr(out, "NOTIFY_SOCKET"));
    cr_expect_null(strstr(out, "JOURNAL_STREAM"));
    cr_expect_null(strstr(out, "SLURM_AGENT"));
    cr_expect_contains(out, scratch(user_a()));
    cr_expect_contains(out, "SLURM_SUBMIT_DIR=");
}

Test(submit, the_environment_is_the_login_and_what_is_exported)
{
    setenv("FROM_CLIENT", "x y", 1);
    setenv("NOT_ASKED", "z", 1);
    AUTO(free)
    char *out = output_of("#!/bin/sh\nenv\n", "--export=FROM_CLIENT,GIVEN=a=b");
    cr_expect_contains(out, "FROM_CLIENT=x y\n");
    cr_expect_contains(out, "GIVEN=a=b\n");
    cr_expect_null(strstr(out, "NOT_ASKED"));
    cr_expect_contains(out, "SLURM_JOB_ID=");
    AUTO(free) char *all = output_of("#!/bin/sh\nenv\n", "--export=ALL");
    cr_expect_contains(all, "NOT_ASKED=z\n");
}

Test(submit, options_reach_slurm)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=a name",
                      "--partition=main", "--time=1-02:03", "--nodes=1-2", "--ntasks=3",
                      "--cpus-per-task=2", "--mem=100M", "--comment=a comment", "--output=o-%j",
                      "--error=e-%j", "--begin=now+2hours", "--no-requeue");
    json_t *j = job_json(user_a(), id);
    cr_assert_not_null(j);
#define text(field) json_string_value(json_object_get(j, field))
#define number(field) json_integer_value(json_object_get(j, field))
    cr_expect_str_eq(text("name"), "a name");
    cr_expect_str_eq(text("partition"), "main");
    cr_expect_str_eq(text("user"), user_a());
    cr_expect_str_eq(text("state"), "PENDING");
    cr_expect_str_eq(text("comment"), "a comment");
    cr_expect_str_eq(text("work_dir"), scratch(user_a()));
    AUTO(free) char *out = NULL, *err = NULL;
    cr_assert_gt(asprintf(&out, "%s/o-%s", scratch(user_a()), id), 0);
    cr_assert_gt(asprintf(&err, "%s/e-%s", scratch(user_a()), id), 0);
    cr_expect_str_eq(text("std_out"), out);
    cr_expect_str_eq(text("std_err"), err);
    cr_expect_eq(number("time_limit"), (26 * 60 + 3) * 60);
    cr_expect_eq(number("tasks"), 3);
    cr_expect_eq(number("cpus_per_task"), 2);
    cr_expect_eq(number("mem_per_node"), 100 << 20);
    cr_expect_eq(number("priority"), 0, "held");
    cr_expect_geq(number("eligible_time") + number("start_time"), 0);
    cr_expect_null(json_object_get(j, "requeue"));
    json_decref(j);
    cancel_quietly(user_a(), id);
}

Test(submit, options_of_the_request_win_over_the_scripts)
{
    AUTO(free)
    char *id = submit(user_a(),
                      "#!/bin/sh\n#SBATCH --job-name=script --comment='from the script'\n"
                      "#SBATCH -H -t 5\ntrue\n#SBATCH --comment=too-late\n",
                      "--job-name=request");
    cr_expect_str_eq(job_field(user_a(), id, "name"), "request");
    cr_expect_str_eq(job_field(user_a(), id, "comment"), "from the script");
    cr_expect_str_eq(job_field(user_a(), id, "time_limit"), "300");
    cancel_quietly(user_a(), id);
}

Test(submit, an_array_has_its_tasks)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\necho $SLURM_ARRAY_TASK_ID\n", "--array=1-3",
                      "--output=task-%a");
    AUTO(free) char *task = NULL;
    cr_assert_gt(asprintf(&task, "%s_2", id), 0);
    wait_state(user_a(), task, "COMPLETED");
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/task-2", scratch(user_a())), 0);
    AUTO(free) char *text = slurp(path);
    cr_expect_str_eq(text ? text : "", "2\n");
}

Test(submit, a_dependent_job_waits)
{
    AUTO(free) char *first = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    AUTO(free) char *option = NULL;
    cr_assert_gt(asprintf(&option, "--dependency=afterok:%s", first), 0);
    AUTO(free) char *second = submit(user_a(), "#!/bin/sh\ntrue\n", option);
    cr_expect_contains(job_field(user_a(), second, "dependency"), first);
    cr_expect_str_eq(job_field(user_a(), second, "reason"), "Dependency");
    cancel_quietly(user_a(), first);
    cancel_quietly(user_a(), second);
}

Test(submit, a_failed_job_says_how)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nexit 3\n");
    wait_state(user_a(), id, "FAILED");
    cr_expect_str_eq(job_field(user_a(), id, "exit_code"), "3");
    AUTO(free) char *killed = submit(user_a(), "#!/bin/sh\nkill -9 $$\n");
    wait_state(user_a(), killed, "FAILED");
    cr_expect_str_eq(job_field(user_a(), killed, "exit_signal"), "9");
}

/* ---- as sbatch ---- */

Test(submit, a_heterogeneous_job_runs)
{
    AUTO(free)
    char *path = scratch_file(user_a(), "het.sh",
                              "#!/bin/sh\n"
                              "#SBATCH -n 1 -J leader\n"
                              "#SBATCH hetjob\n"
                              "#SBATCH -n 2\n"
                              "env | grep _HET_ | sort\n");
    AUTO(free) char *out = NULL, *option = NULL;
    cr_assert_gt(asprintf(&out, "%s/het.out", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&option, "--output=%s", out), 0);
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--parsable", option, path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    wait_state(user_a(), r.out, "COMPLETED");
    AUTO(free) char *text = slurp(out);
    cr_assert_not_null(text);
    cr_expect_contains(text, "SLURM_HET_SIZE=2\n");
    cr_expect_contains(text, "SLURM_NTASKS_HET_GROUP_1=2\n");
    AUTO(free) char *leader = NULL;
    cr_assert_gt(asprintf(&leader, "SLURM_JOB_ID_HET_GROUP_0=%s\n", r.out), 0);
    cr_expect_contains(text, leader);
}

Test(submit, colons_part_components_on_the_command_line)
{
    AUTO(free) char *path = scratch_file(user_a(), "colon.sh", "#!/bin/sh\ntrue\n");
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "submit", "--parsable", "-H", "-n1", "-J",
                          "colon", ":", "-n2", ":", "-n3", path);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    AUTO(run_free)
    struct run q = run_as(NULL, "squeue", "-h", "-a", "-o", "%i %C", "-S", "i", "-n", "colon");
    AUTO(free) char *want = NULL;
    cr_assert_gt(asprintf(&want, "%s+0 1\n%s+1 2\n%s+2 3\n", r.out, r.out, r.out), 0);
    cr_expect_str_eq(q.out, want);
    cancel_quietly(user_a(), r.out);
}

Test(submit, test_only_says_when_and_submits_nothing)
{
    AUTO(free) char *path = scratch_file(user_a(), "only.sh", "#!/bin/sh\ntrue\n");
    AUTO(run_free)
    struct run ours = run_as(user_a(), "slurm-agent", "submit", "--test-only", "-J", "only", path);
    cr_expect_eq(ours.status, 0, "%s", ours.err);
    cr_expect_contains(ours.err, "to start at 20");
    cr_expect_contains(ours.err, " using 1 processors on nodes node");
    cr_expect_contains(ours.err, " in partition main");
    AUTO(run_free) struct run q = run_as(NULL, "squeue", "-h", "-a", "-n", "only");
    cr_expect_str_eq(q.out, "");
}

Test(submit, under_sbatchs_name_it_is_sbatch)
{
    setenv("FROM_CLIENT", "x y", 1);
    AUTO(free) char *out = NULL, *command = NULL;
    cr_assert_gt(asprintf(&out, "%s/as.out", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&command,
                          "cd %s && ln -sf \"$(command -v slurm-agent)\" sbatch && "
                          "./sbatch --wait -o %s --wrap 'pwd; echo \"$FROM_CLIENT\"; exit 3'",
                          scratch(user_a()), out),
                 0);
    AUTO(run_free) struct run r = run_as(user_a(), "sh", "-c", command);
    cr_expect_eq(r.status, 3, "%s", r.err);
    cr_expect_eq(strncmp(r.out, "Submitted batch job ", 20), 0, "%s", r.out);
    AUTO(free) char *text = slurp(out), *want = NULL;
    cr_assert_gt(asprintf(&want, "%s\nx y\n", scratch(user_a())), 0);
    cr_expect_str_eq(text ? text : "", want);
    AUTO(run_free)
    struct run bad = run_as(user_a(), "sh", "-c",
                            "cd && ln -sf \"$(command -v slurm-agent)\" sbatch && "
                            "./sbatch --time=soon --wrap true; s=$?; rm sbatch; exit $s");
    cr_expect_eq(bad.status, 255, "%s", bad.err);
    cr_expect_eq(strncmp(bad.err, "sbatch: error: ", 15), 0, "%s", bad.err);
}

/* ---- --help, --usage and --version ---- */

/* What it says when it is called by that name. */
static struct run called(const char *name, const char *arguments)
{
    AUTO(free) char *command = NULL;
    cr_assert_gt(asprintf(&command, "cd %s && ln -sf \"$(command -v slurm-agent)\" %s && ./%s %s",
                          scratch(user_a()), name, name, arguments),
                 0);
    return run_as(user_a(), "sh", "-c", command);
}

Test(submit, help_is_under_the_name_that_was_called)
{
    static const struct {
        const char *name, *arguments, *first;
    } cases[] = {
        {"sbatch", "--help", "Usage: sbatch [OPTION...] [: "},
        {"sbatch", "-h --nope", "Usage: sbatch [OPTION...] [: "},
        {"slurm-agent-sbatch", "-H --help", "Usage: slurm-agent-sbatch [OPTION...] [: "},
        {"sbatch", "--usage", "Usage: sbatch [-A NAME] [--acctg"},
        {"slurm-agent-sbatch", "--usage -n", "Usage: slurm-agent-sbatch [-A NAME] [--acctg"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(run_free) struct run r = called(cases[i].name, cases[i].arguments);
        cr_expect_eq(r.status, 0, "%s: %s", cases[i].arguments, r.err);
        cr_expect_eq(strncmp(r.out, cases[i].first, strlen(cases[i].first)), 0, "%s", r.out);
        cr_expect_str_eq(r.err, "");
    }
    AUTO(run_free) struct run help = called("sbatch", "--help");
    cr_expect_contains(help.out, "\n  -t, --time=TIME ");
    cr_expect_contains(help.out, "\n      --request-id=ID ");
    cr_expect_contains(help.out, "--optional-output PATH=URL");
    AUTO(run_free) struct run wrong = called("sbatch", "--nope --help");
    cr_expect_eq(wrong.status, 255, "%s", wrong.out);
    cr_expect_str_eq(wrong.out, "");
}

Test(submit, version_is_slurms)
{
    AUTO(run_free) struct run real = run_as(user_a(), "scontrol", "--version");
    AUTO(run_free) struct run ours = called("sbatch", "-V --nope");
    const char *number = strchr(real.out, ' ');
    cr_assert_not_null(number, "%s", real.out);
    cr_expect_eq(ours.status, 0, "%s", ours.err);
    cr_expect_eq(strncmp(ours.out, "slurm ", 6), 0, "%s", ours.out);
    cr_expect_str_eq(strchr(ours.out, ' '), number);
    AUTO(run_free)
    struct run away = called("sbatch", "-V; s=$?; SLURM_EXIT_ERROR=9 "
                                       "SLURM_AGENT_SERVER=ipc:///nowhere ./sbatch -V || s=$s,$?; "
                                       "echo $s");
    cr_expect_not_null(strstr(away.out, "\n0,9\n"), "%s%s", away.out, away.err);
}

/* ---- again ---- */

Test(submit, a_repeated_submit_prints_and_exits_as_the_first)
{
    AUTO(free)
    char *path = scratch_file(user_a(), "again.sh",
                              "#!/bin/sh\n#SBATCH --wait\n#SBATCH --parsable\nexit 3\n");
    AUTO(free) char *id = NULL;
    cr_assert_gt(asprintf(&id, "--request-id=%s", path), 0);
    AUTO(run_free) struct run first = run_as(user_a(), "slurm-agent", "submit", id, path);
    AUTO(run_free) struct run second = run_as(user_a(), "slurm-agent", "submit", id, path);
    cr_expect_eq(first.status, 3, "%s", first.err);
    cr_expect_neq(first.out[0], 'S', "%s", first.out);
    cr_expect_str_eq(second.out, first.out);
    cr_expect_eq(second.status, 3, "%s", second.err);
}
