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
    expect_found(&r, "ok", "journal", "can be written to");
    expect_found(&r, "ok", "grants", "/state/grants");
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
                           "allow_groups = root,nosuchgroup\n"
                           "deny_users = nosuchuser\nadmins = nosuchadmin\n");
    AUTO(run_free) struct run r = check(conf);
    cr_expect_eq(r.status, 1, "%s%s", r.out, r.err);
    expect_found(&r, "FAIL", "tcp", "192.0.2.1:99");
    expect_found(&r, "FAIL", "state", "0700");
    expect_found(&r, "FAIL", "hints", "/nonexistent/dir");
    expect_found(&r, "FAIL", "slurm", "/nonexistent/slurm.conf");
    cr_expect_not_null(strstr(r.out, "allow_groups names nosuchgroup"), "%s", r.out);
    cr_expect_not_null(strstr(r.out, "deny_users names nosuchuser"), "%s", r.out);
    cr_expect_not_null(strstr(r.out, "admins names nosuchadmin"), "%s", r.out);
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

static void expect_check_fails(const char *lines, const char *what, const char *text)
{
    AUTO(free) char *conf = conf_with(lines);
    AUTO(run_free) struct run r = check(conf);
    cr_expect_eq(r.status, 1);
    expect_found(&r, "FAIL", what, text);
}

/* With them nothing starts, and nothing is reloaded. */
Test(check, values_that_nobody_can_work_with)
{
    expect_check_fails("allow_from = 10.0.0/8\n", "conf", "10.0.0/8");
    expect_check_fails("deny_endpoints = foo\n", "conf", "deny_endpoints");
    expect_check_fails("listen_tcp = 10.23.0.1\n", "conf", "and a port");
    expect_check_fails("listen_tcp = ::1\n", "conf", "and a port");
    AUTO(free) char *conf = conf_with("deny_endpoints = foo\n");
    AUTO(run_free) struct run r = run_as(NULL, "slurm-agentd", "--config", conf);
    cr_expect_eq(r.status, 2);
    cr_expect_not_null(strstr(r.err, "deny_endpoints"), "%s", r.err);
}

/* As the service is: root that has no right to what is others'. */
Test(check, a_settings_file_that_is_not_roots)
{
    AUTO(free) char *conf = conf_with("");
    cr_assert_eq(run_status(run_as(NULL, "chown", user_a(), conf)), 0);
    AUTO(run_free) struct run r = check(conf);
    cr_expect_eq(r.status, 1);
    expect_found(&r, "FAIL", "conf", "must be root's");
}

Test(check, directories_and_files_that_cannot_be_used)
{
    char dir[] = "/tmp/sagent-check-XXXXXX";
    AUTO(free) char *lines = NULL, *cmd = NULL, *grants = NULL;
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chmod(dir, 0755), 0);
    expect_check_fails("state_dir = /etc/passwd\n", "state", "Not a directory");
    expect_check_fails("grants_dir = /tmp\n", "grants", "must belong to uid 0");
    expect_check_fails("grants_dir = /nonexistent/dir/grants\n", "grants", "cannot be made");
    cr_assert_gt(asprintf(&grants, "grants_dir = %s/grants\n", dir), 0);
    AUTO(free) char *conf = conf_with(grants);
    AUTO(run_free) struct run r = check(conf);
    expect_found(&r, "note", "grants", "is made when slurm-agentd starts");
    /* A backup that root has put back, and a lock that leads elsewhere. */
    cr_assert_gt(asprintf(&cmd,
                          "install -d -m 700 -o slurm-agent %s/state && install -m 600 /dev/null "
                          "%s/state/journal.db && ln -s /dev/null %s/state/journal.lock",
                          dir, dir, dir),
                 0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", cmd)), 0);
    cr_assert_gt(asprintf(&lines, "state_dir = %s/state\n", dir), 0);
    AUTO(free) char *with = conf_with(lines);
    AUTO(run_free) struct run j = check(with);
    cr_expect_eq(j.status, 1);
    expect_found(&j, "FAIL", "journal", "belongs to uid 0");
    cr_expect_not_null(strstr(j.out, "journal.lock is not a regular file"), "%s", j.out);
    /* Its port is slurm-agentd's own all the same. */
    expect_found(&j, "ok", "tcp", "which is running");
    cr_assert_eq(run_status(run_as(NULL, "rm", "-r", "--one-file-system", dir)), 0);
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

/* libslurm ends the process that it is in over such things; what it said is said again. */
Test(check, a_slurm_conf_that_libslurm_dies_of)
{
    AUTO(free) char *lines = NULL, *cmd = NULL, *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/slurm.conf", scratch(user_a())), 0);
    cr_assert_gt(asprintf(&cmd, "sed 's/^SlurmUser=.*/SlurmUser=nosuchuser/' %s/etc/slurm.conf >%s",
                          sandbox_dir(), path),
                 0);
    cr_assert_eq(run_status(run_as(NULL, "sh", "-c", cmd)), 0);
    cr_assert_gt(asprintf(&lines, "slurm_conf = %s\n", path), 0);
    AUTO(free) char *conf = conf_with(lines);
    AUTO(run_free) struct run r = check(conf);
    cr_expect_eq(r.status, 1);
    expect_found(&r, "FAIL", "slurmctld", "agent-worker ended with status 1: ");
    expect_found(&r, "FAIL", "slurmctld", "nosuchuser");
    cr_expect_not_null(strstr(r.err, "nosuchuser"), "%s", r.err);
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

/* "what FAIL: text" and a line of advice; the exit status says which error it is. */
static void expect_ping_fails(const char *user, const char *server, int status, const char *what,
                              const char *advice)
{
    AUTO(run_free)
    struct run r = run_as(user, "slurm-agent", "--server", server, "--timeout=2", "ping", "-v");
    char line[40];
    snprintf(line, sizeof line, "\n%-10s FAIL: ", what);
    cr_expect_eq(r.status, status, "%d %s%s", r.status, r.out, r.err);
    cr_expect_eq(strncmp(r.out, "address    ", 11), 0, "%s", r.out);
    cr_expect_contains(r.out, line);
    cr_expect_contains(r.out, advice);
}

Test(check, ping_says_what_is_in_the_way_and_what_to_do)
{
    const char *server = getenv("SLURM_AGENT_SERVER");
    AUTO(free) char *slurmctld = NULL;
    cr_assert_gt(asprintf(&slurmctld, "tcp://127.0.0.1:%d", atoi(getenv("SLURM_AGENT_BASE")) + 1),
                 0);
    expect_ping_fails(user_a(), "tcp://127.0.0.1:1", 12, "connection", "listen_tcp");
    expect_ping_fails(user_a(), slurmctld, 12, "connection", "systemctl status slurm-agentd");
    expect_ping_fails(NULL, server, 4, "user", "min_uid");
    sandbox("stop", "munged");
    expect_ping_fails(user_a(), server, 18, "munge", "munge -n | unmunge");
    sandbox("start", "munged");
}

/* The library's example, with its include as a program of somebody else's has it. */
Test(example, submits_prints_and_exits_as_the_job)
{
    char path[BUILD_PATH];
    build_path(path, "tests/submit_and_wait");
    /* a home that sandboxes share may hold the output of another one's job with that number */
    AUTO(free) char *command = NULL;
    cr_assert_gt(
        asprintf(&command, "#SBATCH --chdir=%s\necho of the example; exit 5", scratch(user_a())),
        0);
    AUTO(run_free) struct run r = run_as(user_a(), path, command);
    cr_expect_eq(r.status, 5, "%d %s", r.status, r.err);
    cr_expect_str_eq(r.out, "of the example\n");
    AUTO(run_free) struct run none = run_as(user_a(), path);
    cr_expect_eq(none.status, 2);
}
