/* SPDX-License-Identifier: GPL-3.0-or-later */
/* logs: a job's output read and followed, as its user and as somebody who may not */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(logs, .timeout = 180);

static struct run logs_argv(const char *user, const char *const *options)
{
    const char *argv[RUN_MAX_ARGS] = {"slurm-agent", "logs"};
    int n = 2;
    for (int i = 0; options[i]; i++)
        argv[n++] = options[i];
    return run_argv(user, argv, "");
}
#define logs(user, ...) logs_argv(user, (const char *const[]){__VA_ARGS__, NULL})

static void gives(const char *user, const char *text, const char *const *options)
{
    AUTO(run_free) struct run r = logs_argv(user, options);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(r.out, text, "'%s', not '%s' (%s)", r.out, text, r.err);
}
#define expect_logs(user, text, ...) gives(user, text, (const char *const[]){__VA_ARGS__, NULL})

static char *ended(const char *script, const char *option)
{
    char *id = option ? submit(user_a(), script, option) : submit(user_a(), script);
    wait_state(user_a(), id, "COMPLETED,FAILED");
    return id;
}

static char *in_scratch(const char *name)
{
    char *path;
    cr_assert_gt(asprintf(&path, "%s/%s", scratch(user_a()), name), 0);
    return path;
}

/* ---- a reader that runs beside the test ---- */

static void shell(const char *user, const char *command)
{
    AUTO(run_free) struct run r = run_as(user, "bash", "-c", command);
    cr_assert_eq(r.status, 0, "%s: %s%s", command, r.out, r.err);
}

/* Starts `slurm-agent logs -f` with its output in the files out and err of scratch, and in the end
 * its status in rc. */
static void follow(const char *id, const char *options)
{
    AUTO(free) char *command = NULL;
    cr_assert_gt(asprintf(&command,
                          "{ cd %s; slurm-agent logs --follow %s %s >out 2>err; echo $? >rc.new; "
                          "mv rc.new rc; } </dev/null >/dev/null 2>&1 &",
                          scratch(user_a()), options, id),
                 0);
    shell(user_a(), command);
}

struct expected {
    const char *path, *text;
    char *seen;
};

static bool file_has(void *arg)
{
    struct expected *x = arg;
    free(x->seen);
    x->seen = slurp(x->path);
    return x->seen && strstr(x->seen, x->text);
}

static void wait_file(const char *name, const char *text)
{
    AUTO(free) char *path = in_scratch(name);
    struct expected x = {.path = path, .text = text};
    cr_expect(wait_until(file_has, &x, 60000), "%s has no '%s': %s", path, text,
              x.seen ? x.seen : "(not there)");
    free(x.seen);
}

/* The reader has ended, with status 0 and this output. */
static void followed(const char *text)
{
    AUTO(free) char *out = in_scratch("out"), *err = in_scratch("err"), *rc = in_scratch("rc");
    wait_file("rc", "\n");
    AUTO(free) char *said = slurp(out), *complaint = slurp(err), *status = slurp(rc);
    cr_assert_not_null(said);
    cr_expect_str_eq(status, "0\n", "%s", complaint);
    cr_expect_str_eq(said, text, "'%s', not '%s' (%s)", said, text, complaint);
}

/* ---- names ---- */

Test(logs, stdout_and_stderr_of_a_job)
{
    AUTO(free) char *both = ended("#!/bin/sh\necho out\necho err >&2\n", NULL);
    expect_logs(user_a(), "out\nerr\n", both);
    AUTO(run_free) struct run same = logs(user_a(), "--stderr", both);
    cr_expect_str_eq(same.out, "out\nerr\n");
    cr_expect_contains(same.err, "same file as stdout");
    AUTO(free) char *apart = ended("#!/bin/sh\necho out\necho err >&2\n", "--error=e-%j");
    expect_logs(user_a(), "out\n", apart);
    expect_logs(user_a(), "err\n", "--stderr", apart);
    expect_logs(user_a(), "err\n", "--stderr", "--follow", apart);
}

/* The name that we make is the name of the file that Slurm made. */
static void named_as_the_file(const char *pattern)
{
    AUTO(free) char *option = NULL;
    cr_assert_gt(asprintf(&option, "--output=%s", pattern), 0);
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\necho $SLURM_JOB_ID\n", option, "--job-name=a name");
    AUTO(free) char *text = NULL;
    cr_assert_gt(asprintf(&text, "%s\n", id), 0);
    wait_state(user_a(), id, "COMPLETED,FAILED");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "COMPLETED", "%s", pattern);
    cr_expect_eq(access(job_field(user_a(), id, "std_out"), F_OK), 0, "%s: %s", pattern,
                 job_field(user_a(), id, "std_out"));
    expect_logs(user_a(), text, id);
}

Test(logs, names_are_those_that_slurm_gives)
{
    static const char *const patterns[] = {
        "1-%A-%a-%J-%j-%N-%n-%s-%t-%u-%x",
        "2-%5A-%12j-%99J-%0j-%5N-%4n-%4s-%3t-%9u-%9x",
        "3-%%-%%j-%q-%5%-%12q-%5",
        "4-%b",
        "5-\\%j-%N",
        "6-\\\\-%j",
        "./7-%j.%",
        "8 - %x",
    };
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        named_as_the_file(patterns[i]);
}

Test(logs, tasks_of_an_array)
{
    static const char script[] = "#!/bin/sh\necho task $SLURM_ARRAY_TASK_ID\n";
    for (int i = 0; i < 2; i++) {
        AUTO(free)
        char *id = i == 0 ? submit(user_a(), script, "--array=3,12")
                          : submit(user_a(), script, "--array=3,12", "--output=x-%A-%5a-%j-%b");
        AUTO(free) char *three = NULL, *twelve = NULL, *none = NULL;
        cr_assert_gt(asprintf(&three, "%s_3", id), 0);
        cr_assert_gt(asprintf(&twelve, "%s_12", id), 0);
        cr_assert_gt(asprintf(&none, "%s_4", id), 0);
        expect_logs(user_a(), "task 3\n", "--follow", three);
        expect_logs(user_a(), "task 12\n", "--follow", twelve);
        AUTO(run_free) struct run all = logs(user_a(), id);
        cr_expect_eq(all.status, 2, "INVALID: %s", all.err);
        cr_expect_contains(all.err, "ask for one task");
        cr_expect_contains(all.err, "_1");
        AUTO(run_free) struct run other = logs(user_a(), none);
        cr_expect_eq(other.status, 3, "%s", other.err);
    }
}

/* ---- where it begins ---- */

Test(logs, the_last_lines_and_from_an_offset)
{
    AUTO(free) char *id = ended("#!/bin/sh\nprintf 'one\\ntwo\\nthree\\nfour'\n", NULL);
    expect_logs(user_a(), "three\nfour", "--tail", "2", id);
    expect_logs(user_a(), "four", "-n1", "-f", id);
    expect_logs(user_a(), "one\ntwo\nthree\nfour", "--tail=1000000", id);
    expect_logs(user_a(), "", "--tail", "0", id);
    expect_logs(user_a(), "", "--tail", "0", "-f", id);
    expect_logs(user_a(), "two\nthree\nfour", "--offset=4", id);
    expect_logs(user_a(), "", "--offset=18", id);
    AUTO(run_free) struct run past = logs(user_a(), "--offset=1000", id);
    cr_expect_str_eq(past.out, "", "there is nothing there yet");
    cr_expect_eq(past.status, 0, "%s", past.err);
    AUTO(run_free) struct run both = logs(user_a(), "--offset=1", "--tail=1", id);
    cr_expect_eq(both.status, 2);
    AUTO(run_free) struct run word = logs(user_a(), "--tail=many", id);
    cr_expect_eq(word.status, 2);
    cr_expect_contains(word.err, "whole number");
}

Test(logs, every_byte_comes_through)
{
    AUTO(free)
    char *id = ended(
        "#!/bin/bash\nfor k in {1..3000}; do for i in {0..255}; do printf -v x '\\\\x%02x' $i; "
        "all+=$x; done; break; done\nfor k in {1..4000}; do printf \"$all\"; done\n",
        "--output=bytes");
    AUTO(free) char *command = NULL;
    cr_assert_gt(asprintf(&command,
                          "cd %s && slurm-agent logs %s >copy && cmp bytes copy && slurm-agent "
                          "logs -f %s | cmp - bytes && [ $(stat -c %%s copy) = 1024000 ]",
                          scratch(user_a()), id, id),
                 0);
    shell(user_a(), command);
}

/* ---- following ---- */

Test(logs, followed_from_before_the_start_to_the_end)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\nfor i in 1 2 3; do echo line $i; sleep 0.7; done\n",
                      "--begin=now+3");
    AUTO(run_free) struct run r = logs(user_a(), "--follow", id);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(r.out, "line 1\nline 2\nline 3\n");
    cr_expect_contains(r.err, "has not started");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "COMPLETED");
}

Test(logs, lines_come_while_the_job_runs)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\necho first\nwhile [ ! -e go ]; do sleep 0.1; done\n"
                                "echo last\n");
    follow(id, "");
    wait_file("out", "first\n");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "RUNNING");
    free(scratch_file(user_a(), "go", ""));
    followed("first\nlast\n");
}

Test(logs, written_anew_while_followed)
{
    AUTO(free)
    char *id = submit(user_a(),
                      "#!/bin/sh\necho the first text\nwhile [ ! -e go ]; do sleep 0.1; done\n"
                      "echo x > log\nwhile [ ! -e go2 ]; do sleep 0.1; done\n"
                      "mv log log.old\necho another file > log\n",
                      "--output=log");
    follow(id, "");
    wait_file("out", "first text\n");
    free(scratch_file(user_a(), "go", ""));
    wait_file("out", "text\nx\n");
    wait_file("err", "written anew");
    free(scratch_file(user_a(), "go2", ""));
    followed("the first text\nx\nanother file\n");
}

static void requeue(const char *mode, const char *expected_all, const char *note)
{
    AUTO(free)
    char *script = scratch_file(
        user_a(), "requeue.sh",
        "#!/bin/sh\necho run ${SLURM_RESTART_COUNT:-0}\n"
        "while [ -z \"$SLURM_RESTART_COUNT\" ] && [ ! -e never ]; do sleep 0.1; done\n");
    AUTO(free) char *command = NULL;
    cr_assert_gt(asprintf(&command,
                          "cd %s && sbatch --parsable --requeue --output=log --open-mode=%s %s",
                          scratch(user_a()), mode, script),
                 0);
    AUTO(run_free) struct run r = run_as(user_a(), "bash", "-c", command);
    cr_assert_eq(r.status, 0, "%s", r.err);
    r.out[strcspn(r.out, "\n")] = '\0';
    wait_state(user_a(), r.out, "RUNNING");
    follow(r.out, "");
    wait_file("out", "run 0\n");
    requeue_now(user_a(), r.out);
    wait_file("out", expected_all);
    wait_file("rc", "0\n");
    AUTO(free) char *err_path = in_scratch("err");
    AUTO(free) char *err = slurp(err_path);
    cr_expect_eq(strstr(err, "written anew") != NULL, note != NULL, "%s", err);
}

Test(logs, a_requeued_job_writes_its_log_anew)
{
    requeue("truncate", "run 1\n", "written anew");
}

Test(logs, a_requeued_job_appends_to_its_log)
{
    requeue("append", "run 1\n", NULL);
}

Test(logs, followed_over_a_restart_of_the_server)
{
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\necho first\nwhile [ ! -e go ]; do sleep 0.1; done\n"
                                "echo last\n");
    follow(id, "");
    wait_file("out", "first\n");
    sandbox("stop", "agentd");
    wait_file("err", "trying again");
    free(scratch_file(user_a(), "go", ""));
    sandbox("start", "agentd");
    wait_file("err", "answers again");
    followed("first\nlast\n");
}

Test(logs, a_reader_of_ours_that_goes_ends_it)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\necho first\nsleep 100\n");
    AUTO(free) char *command = NULL;
    cr_assert_gt(asprintf(&command, "slurm-agent logs --follow %s | head -n1", id), 0);
    AUTO(run_free) struct run r = run_as(user_a(), "timeout", "40", "bash", "-c", command);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(r.out, "first\n");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "RUNNING");
    cancel_quietly(user_a(), id);
}

/* ---- what is not there ---- */

Test(logs, a_job_that_has_not_started)
{
    AUTO(free) char *dir = NULL;
    cr_assert_gt(asprintf(&dir, "--chdir=%s", scratch(user_a())), 0);
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\necho x\n", "--hold", dir, "--output=one-for-all");
    AUTO(run_free) struct run r = logs(user_a(), id);
    cr_expect_eq(r.status, 0, "%s", r.err);
    cr_expect_str_eq(r.out, "");
    cr_expect_contains(r.err, "has not started");
    free(scratch_file(user_a(), "one-for-all", "another job's\n"));
    cancel_quietly(user_a(), id);
    wait_state(user_a(), id, "CANCELLED");
    AUTO(run_free) struct run gone = logs(user_a(), id);
    cr_expect_eq(gone.status, 3, "NOT_FOUND: %s", gone.err);
    cr_expect_contains(gone.err, "before it ran");
    AUTO(run_free) struct run followed_ = logs(user_a(), "--follow", id);
    cr_expect_eq(followed_.status, 3, "NOT_FOUND: %s", followed_.err);
}

Test(logs, a_file_that_has_gone)
{
    char host[256];
    cr_assert_eq(gethostname(host, sizeof host), 0);
    AUTO(free) char *id = ended("#!/bin/sh\nrm gone\n", "--output=gone");
    AUTO(run_free) struct run plain = logs(user_a(), id);
    cr_expect_eq(plain.status, 3, "NOT_FOUND: %s", plain.err);
    cr_expect_contains(plain.err, "/gone: No such file");
    cr_expect_contains(plain.err, host);
    AUTO(run_free) struct run follow_ = logs(user_a(), "--follow", id);
    cr_expect_eq(follow_.status, 3, "NOT_FOUND: %s", follow_.err);
    cr_expect_contains(follow_.err, "/gone: No such file");
}

Test(logs, what_is_no_log)
{
    AUTO(run_free) struct run unknown = logs(user_a(), "999999");
    cr_expect_eq(unknown.status, 3, "NOT_FOUND: %s", unknown.err);
    AUTO(run_free) struct run word = logs(user_a(), "job-one");
    cr_expect_eq(word.status, 2, "INVALID: %s", word.err);
    AUTO(run_free) struct run none = logs(user_a(), "--follow");
    cr_expect_eq(none.status, 2, "%s", none.err);
    AUTO(free) char *null = ended("#!/bin/sh\necho x\n", "--output=/dev/null");
    AUTO(run_free) struct run nothing = logs(user_a(), "-f", null);
    cr_expect_eq(nothing.status, 0);
    cr_expect_contains(nothing.err, "/dev/null");
    AUTO(free) char *pipe = ended("#!/bin/sh\nrm pipe; mkfifo pipe\n", "--output=pipe");
    AUTO(run_free) struct run fifo = logs(user_a(), "-f", pipe);
    cr_expect_eq(fifo.status, 2, "INVALID: %s", fifo.err);
    cr_expect_contains(fifo.err, "not a regular file");
}

/* ---- whose ---- */

Test(logs, the_file_systems_permissions_decide)
{
    if (!user_b())
        cr_skip_test("two users are needed");
    AUTO(free)
    char *id = submit(user_a(), "#!/bin/sh\necho secret of a\n", "--output=private/log-%j");
    cancel_quietly(user_a(), id);
    AUTO(free) char *dir = in_scratch("private");
    AUTO(free) char *make = NULL;
    cr_assert_gt(asprintf(&make, "mkdir -m 700 %s", dir), 0);
    shell(user_a(), make);
    AUTO(free)
    char *secret = ended("#!/bin/sh\necho secret of a\nchmod 600 $PWD/private/log-*\n",
                         "--output=private/log-%j");
    expect_logs(user_a(), "secret of a\n", secret);
    for (int i = 0; i < 2; i++) {
        AUTO(run_free)
        struct run r = i ? logs(user_b(), secret) : logs(user_b(), "--follow", secret);
        cr_expect_eq(r.status, 4, "DENIED: %s", r.err);
        cr_expect_str_eq(r.out, "");
        cr_expect_contains(r.err, "private/log-");
        cr_expect_contains(r.err, "Permission denied");
    }
    AUTO(free) char *open_to_all = ended("#!/bin/sh\necho for all\n", NULL);
    expect_logs(user_b(), "for all\n", open_to_all);
}

/* A client that names a file would have it read as itself, but that is not what this is for. */
Test(logs, a_client_may_not_name_the_file)
{
    struct peer p;
    AUTO(arena_done) struct arena arena = {0};
    const struct log_request req = {.id = "1", .path = "/etc/passwd"};
    struct err err = {0};
    become(user_a());
    peer_connect(&p);
    peer_login(&p);
    struct bytes body = msg_pack_arena(&log_request_type, &req, &arena);
    struct bytes reply = peer_call(&p, OP_job_log, body);
    cr_assert_not_null(reply.p);
    cr_assert_geq(reply.n, 4u);
    cr_expect_eq(reply.p[0] << 8 | reply.p[1], ERR_INVALID);
    msg_unpack_error((struct bytes){reply.p + 4, reply.n - 4}, &err);
    cr_expect_contains(err.text, "path is the server's to set");
    free((void *)reply.p);
    peer_close(&p);
}

/* A sandbox with PrivateData=jobs. */
Test(private, a_log_of_ones_own)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\necho private; sleep 1; echo end\n");
    expect_logs(user_a(), "private\nend\n", "--follow", id);
    AUTO(run_free) struct run r = logs(user_b(), id);
    cr_expect_eq(r.status, 3, "NOT_FOUND: %s", r.err);
    cr_expect_null(strstr(r.err, ".out"), "%s", r.err);
}
