/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurm-agentd --check and slurm-agent ping --verbose: what is well, and what to do about the rest
 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/scratch.h"

TestSuite(check, .timeout = 120);
TestSuite(example, .timeout = 120);

/* agentd.conf of the sandbox, and lines that replace those with the same key. */
static char *conf_with(const char *lines)
{
    AUTO(free) char *cmd = NULL;
    char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/agentd.conf", scratch(user_a())), 0);
    cr_assert_gt(
        asprintf(&cmd,
                 "printf '%%s' '%s' >%s.new && awk -F ' *= *' 'NR == FNR {k[$1] = 1; next} "
                 "!($1 in k)' %s.new %s/etc/agentd.conf >%s && cat %s.new >>%s",
                 lines, path, path, sandbox_dir(), path, path, path),
        0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", cmd)), 0);
    return path;
}

static struct run check(const char *conf)
{
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/etc/agentd.conf", sandbox_dir()), 0);
    return run_as(NULL, "slurm-agentd", "--config", conf ? conf : path, "--check");
}

/* A line that begins with result and what, and has text. */
static bool found(const struct run *r, const char *result, const char *what, const char *text)
{
    char begin[40];
    snprintf(begin, sizeof begin, "%-5s %-10s ", result, what);
    const char *at = strstr(r->out, begin);
    const char *end = at ? strchr(at, '\n') : NULL;
    const char *in = at ? strstr(at, text) : NULL;
    return end && in && in < end;
}

#define expect_found(r, result, what, text)                                                        \
    cr_expect(found(r, result, what, text), "%s %s: %s\n%s%s", result, what, text, (r)->out,       \
              (r)->err)

Test(check, all_is_well_and_agentd_runs_on)
{
    AUTO(run_free) struct run r = check(NULL);
    cr_expect_eq(r.status, 0, "%s%s", r.out, r.err);
    expect_found(&r, "ok", "conf", "/etc/agentd.conf");
    expect_found(&r, "ok", "users", "uid");
    expect_found(&r, "ok", "programs", "/libexec");
    expect_found(&r, "ok", "tcp", "which is running");
    expect_found(&r, "ok", "socket", "agent.sock");
    expect_found(&r, "ok", "state", "/state/agentd");
    expect_found(&r, "ok", "munge", "made and read");
    expect_found(&r, "ok", "slurmctld", "answers");
    expect_found(&r, "ok", "version", "built for");
    expect_found(&r, "ok", "cluster", "sandbox");
    cr_expect_null(strstr(r.out, "FAIL"), "%s", r.out);
    cr_expect_eq(run_status(run_as(user_a(), "slurm-agent", "ping")), 0);
}

Test(check, each_setting_that_does_not_work_is_named_with_what_would)
{
    AUTO(free)
    char *conf = conf_with("listen_tcp = 192.0.2.1:99\n"
                           "state_dir = /tmp\n"
                           "hint_socket = /nonexistent/dir/hint.sock\n"
                           "slurm_conf = /nonexistent/slurm.conf\n"
                           "allow_from = 10.0.0/8\n"
                           "allow_groups = root,nosuchgroup\n"
                           "deny_users = nosuchuser\n");
    AUTO(run_free) struct run r = check(conf);
    cr_expect_eq(r.status, 1, "%s%s", r.out, r.err);
    expect_found(&r, "FAIL", "tcp", "192.0.2.1:99");
    expect_found(&r, "FAIL", "state", "0700");
    expect_found(&r, "FAIL", "hints", "/nonexistent/dir");
    expect_found(&r, "FAIL", "slurm", "/nonexistent/slurm.conf");
    expect_found(&r, "FAIL", "allow_from", "10.0.0/8");
    cr_expect_not_null(strstr(r.out, "allow_groups names nosuchgroup"), "%s", r.out);
    cr_expect_not_null(strstr(r.out, "deny_users names nosuchuser"), "%s", r.out);
    expect_found(&r, "ok", "munge", "made and read");
}

Test(check, a_port_that_somebody_else_has)
{
    AUTO(free) char *lines = NULL;
    /* slurmctld's, with a state directory that no broker has locked */
    char dir[] = "/tmp/sagent-state-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(run_status(run_as(NULL, "chown", "slurm-agent", dir)), 0);
    cr_assert_gt(asprintf(&lines, "listen_tcp = 127.0.0.1:%d\nstate_dir = %s\n",
                          atoi(getenv("SLURM_AGENT_BASE")) + 1, dir),
                 0);
    AUTO(free) char *conf = conf_with(lines);
    AUTO(run_free) struct run r = check(conf);
    rmdir(dir);
    cr_expect_eq(r.status, 1, "%s%s", r.out, r.err);
    expect_found(&r, "FAIL", "tcp", "another program");
    expect_found(&r, "ok", "state", dir);
}

Test(check, settings_that_cannot_be_read_and_users_that_are_not_there)
{
    AUTO(free) char *odd = conf_with("nosuchsetting = 1\n");
    AUTO(run_free) struct run r = check(odd);
    cr_expect_eq(r.status, 1);
    expect_found(&r, "FAIL", "conf", "nosuchsetting");
    AUTO(free) char *user = conf_with("user = nosuchuser\n");
    AUTO(run_free) struct run u = check(user);
    cr_expect_eq(u.status, 1);
    expect_found(&u, "FAIL", "users", "useradd");
    AUTO(free) char *programs = conf_with("libexec_dir = /nonexistent\n");
    AUTO(run_free) struct run p = check(programs);
    cr_expect_eq(p.status, 1);
    expect_found(&p, "FAIL", "programs", "/nonexistent/agent-broker");
    AUTO(run_free)
    struct run m = run_as(user_a(), "slurm-agentd", "--config", "/nonexistent.conf", "--check");
    expect_found(&m, "FAIL", "conf", "/nonexistent.conf");
}

Test(check, munged_and_slurmctld_that_do_not_answer)
{
    sandbox("stop", "munged");
    AUTO(run_free) struct run down = check(NULL);
    sandbox("start", "munged");
    expect_found(&down, "FAIL", "munge", "does not answer");
    expect_found(&down, "note", "slurmctld", "munge");
    cr_expect_eq(down.status, 1);
    sandbox("pause", "slurmctld");
    int64_t begun = clock_mono_ms();
    AUTO(run_free) struct run hung = check(NULL);
    int64_t took = clock_mono_ms() - begun;
    sandbox("resume", "slurmctld");
    expect_found(&hung, "ok", "munge", "made and read");
    expect_found(&hung, "FAIL", "slurmctld", "scontrol ping");
    cr_expect_lt(took, 15000, "%lld ms", (long long)took);
    cr_expect_eq(hung.status, 1);
}

Test(check, ping_says_what_is_between_client_and_slurmctld)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "ping", "--verbose");
    cr_expect_eq(r.status, 0, "%s", r.err);
    static const char *const parts[] = {"address    tcp://127.0.0.1:",
                                        "munge      ok",
                                        "uid 0",
                                        "session    of ",
                                        "protocol ",
                                        "server     slurm-agentd ",
                                        "cluster    sandbox",
                                        "slurm      ",
                                        "slurmctld  up",
                                        "job table  ",
                                        " old",
                                        "history    ok"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        cr_expect_not_null(strstr(r.out, parts[i]), "%s is not in\n%s", parts[i], r.out);
}

/* The library's example, with its include as a program of somebody else's has it. */
Test(example, submits_prints_and_exits_as_the_job)
{
    char path[BUILD_PATH];
    build_path(path, "tests/submit_and_wait");
    AUTO(run_free) struct run r = run_as(user_a(), path, "echo of the example; exit 5");
    cr_expect_eq(r.status, 5, "%d %s", r.status, r.err);
    cr_expect_str_eq(r.out, "of the example\n");
    AUTO(run_free) struct run none = run_as(user_a(), path);
    cr_expect_eq(none.status, 2);
}
