/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Errors a user can act on: the text says what was wrong and what would be right */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(errors, .timeout = 120);
TestSuite(outage, .timeout = 300);

static const char good[] = "#!/bin/sh\ntrue\n";

/* The submit is refused with that status, and the message has both parts. */
#define refused(status_, part1, part2, script, ...)                                                \
    do {                                                                                           \
        AUTO(run_free) struct run r_ = try_submit(user_a(), script __VA_OPT__(, ) __VA_ARGS__);    \
        cr_expect_eq(r_.status, status_, "%d: %s%s", r_.status, r_.out, r_.err);                   \
        cr_expect_contains(r_.err, part1);                                                         \
        cr_expect_contains(r_.err, part2);                                                         \
    } while (0)

Test(errors, option_values_are_named)
{
    refused(2, "--partition=nosuch", "partition", good, "--partition=nosuch");
    refused(2, "--time=abc", "minutes", good, "--time=abc");
    refused(2, "--mem=12Q", "12Q", good, "--mem=12Q");
    refused(2, "Memory specification", "Slurm", good, "--mem=900G");
    refused(2, "--array=5-1", "5-1", good, "--array=5-1");
    refused(2, "nosuchoption", "option", good, "--nosuchoption=1");
    refused(2, "--clusters", "one cluster", good, "--clusters=x");
}

Test(errors, an_option_in_the_script_is_named_with_its_line)
{
    refused(2, "line 3", "time=never", "#!/bin/sh\n#SBATCH -n 1\n#SBATCH --time=never\ntrue\n");
}

Test(errors, scripts_that_sbatch_refuses)
{
    refused(2, "empty", "script", "");
    refused(2, "#!", "interpreter", "echo no interpreter\n");
    refused(2, "DOS", "line", "#!/bin/sh\r\necho dos\r\n");
}

Test(errors, a_script_with_nul_bytes)
{
    AUTO(free) char *path = scratch_file(user_a(), "nul.sh", "");
    FILE *f = fopen(path, "we");
    cr_assert_eq(fwrite("#!/bin/sh\n\0\n", 1, 12, f), 12);
    fclose(f);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "submit", path);
    cr_expect_eq(r.status, 2, "%s", r.err);
    cr_expect_contains(r.err, "NUL");
}

Test(errors, a_script_that_is_too_large)
{
    AUTO(free) char *path = scratch_file(user_a(), "large.sh", "#!/bin/sh\n");
    cr_assert_eq(truncate(path, 4194305), 0);
    AUTO(run_free)
    struct run there = run_as(user_a(), "slurm-agent", "submit", "--remote-script", path);
    cr_expect_eq(there.status, 6, "LIMIT: %s", there.err);
    cr_expect_contains(there.err, "4194304");
    cr_expect_contains(there.err, path);
}

Test(errors, scripts_on_the_cluster)
{
    const char *dir = scratch(user_a());
    AUTO(free) char *missing = NULL, *fifo = NULL;
    cr_assert_gt(asprintf(&missing, "%s/missing.sh", dir), 0);
    cr_assert_gt(asprintf(&fifo, "%s/fifo", dir), 0);
    AUTO(run_free)
    struct run m = run_as(user_a(), "slurm-agent", "submit", "--remote-script", missing);
    cr_expect_eq(m.status, 3, "NOT_FOUND: %s", m.err);
    cr_expect_contains(m.err, missing);
    AUTO(run_free) struct run d = run_as(user_a(), "slurm-agent", "submit", "--remote-script", dir);
    cr_expect_eq(d.status, 2, "%s", d.err);
    cr_expect_contains(d.err, "regular file");
    AUTO(run_free) struct run made = run_as(user_a(), "mkfifo", fifo);
    cr_assert_eq(made.status, 0);
    AUTO(run_free)
    struct run f = run_as(user_a(), "slurm-agent", "submit", "--remote-script", fifo);
    cr_expect_eq(f.status, 2, "%s", f.err);
    cr_expect_contains(f.err, "regular file");
}

Test(errors, a_script_that_is_not_here)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "submit", "/nonexistent/x.sh");
    cr_expect_neq(r.status, 0);
    cr_expect_contains(r.err, "/nonexistent/x.sh");
    cr_expect_contains(r.err, "No such file");
}

Test(errors, a_working_directory_that_is_not_there)
{
    refused(3, "/nonexistent/dir", "No such file", good, "--chdir=/nonexistent/dir");
}

Test(errors, an_unknown_job)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "cancel", "999999");
    cr_expect_eq(r.status, 3, "NOT_FOUND: %s", r.err);
    cr_expect_contains(r.err, "999999");
    AUTO(run_free) struct run g = run_as(user_a(), "slurm-agent", "get", "12_x");
    cr_expect_eq(g.status, 2, "%s", g.err);
    cr_expect_contains(g.err, "12_x");
    cr_expect_contains(g.err, "12_3");
}

Test(errors, no_server_there)
{
    AUTO(run_free)
    struct run r = run_as(user_a(), "slurm-agent", "--server", "tcp://127.0.0.1:1", "ping");
    cr_expect_eq(r.status, 12, "UNREACHABLE: %s", r.err);
    cr_expect_contains(r.err, "127.0.0.1:1");
    cr_expect_contains(r.err, "refused");
}

Test(errors, a_server_of_another_cluster)
{
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "--cluster", "elsewhere", "ping");
    cr_expect_eq(r.status, 5, "AUTH: %s", r.err);
    cr_expect_contains(r.err, "elsewhere");
    cr_expect_contains(r.err, "sandbox");
}

/* A client.conf of the test's own beside the sandbox's. */
static char *client_conf(const char *lines)
{
    AUTO(free) char *text = NULL;
    cr_assert_gt(asprintf(&text, "[client]\nserver = %s\n%s", getenv("SLURM_AGENT_SERVER"), lines),
                 0);
    return scratch_file(user_a(), "client.conf", text);
}

Test(errors, munged_is_down_on_the_clients_side)
{
    AUTO(free) char *conf = client_conf("munge_socket = /nonexistent/munge.sock\n");
    setenv("SLURM_AGENT_CONF", conf, 1);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "ping");
    cr_expect_eq(r.status, 18, "MUNGE: %s", r.err);
    cr_expect_contains(r.err, "/nonexistent/munge.sock");
}

Test(errors, a_server_that_is_not_who_it_should_be)
{
    AUTO(free) char *socket = NULL;
    cr_assert_gt(asprintf(&socket, "munge_socket = %s\nserver_uid = 4242\n",
                          getenv("SLURM_AGENT_MUNGE_SOCKET")),
                 0);
    AUTO(free) char *conf = client_conf(socket);
    setenv("SLURM_AGENT_CONF", conf, 1);
    AUTO(run_free) struct run r = run_as(user_a(), "slurm-agent", "ping");
    cr_expect_eq(r.status, 5, "AUTH: %s", r.err);
    cr_expect_contains(r.err, "4242");
}

/* ---- outages: each puts things right again before it asserts ---- */

struct asked {
    const char *id;
    struct run get;
};

/* A table that was loaded a moment ago is as good as it should be. */
static bool is_told_stale(void *arg)
{
    struct asked *a = arg;
    run_free(&a->get);
    a->get = run_as(user_a(), "slurm-agent", "get", "--json", a->id);
    return strstr(a->get.out, "\"stale\": true");
}

Test(outage, slurmctld_is_down)
{
    AUTO(free) char *id = submit(user_a(), good, "--hold");
    wait_state(user_a(), id, "PENDING");
    sandbox("stop", "slurmctld");
    AUTO(run_free) struct run sub = try_submit(user_a(), good, "--hold");
    struct asked a = {.id = id};
    bool stale = wait_until(is_told_stale, &a, 20000);
    AUTO(run_free) struct run get = a.get;
    AUTO(run_free) struct run list = run_as(user_a(), "slurm-agent", "list", "--json");
    AUTO(run_free) struct run info = run_as(user_a(), "slurm-agent", "info");
    sandbox("start", "slurmctld");
    cr_expect_eq(sub.status, 8, "SLURM_DOWN: %d %s", sub.status, sub.err);
    cr_expect_contains(sub.err, "slurmctld");
    cr_expect_eq(get.status, 0, "%s", get.err);
    cr_expect(stale, "%s", get.out);
    cr_expect_contains(get.out, "PENDING");
    cr_expect_eq(list.status, 0, "%s", list.err);
    cr_expect_contains(list.out, id);
    cr_expect_contains(info.out, "down");
    wait_state(user_a(), id, "PENDING");
    cancel_quietly(user_a(), id);
}

/* A munged of the test's own, with that key; ends with other_munged_stop(). */
struct other_munged {
    char dir[64], socket[96];
};

static struct other_munged other_munged_start(const char *key)
{
    struct other_munged m;
    AUTO(free) char *cmd = NULL;
    snprintf(m.dir, sizeof m.dir, "/tmp/sagent-munge-XXXXXX");
    cr_assert_not_null(mkdtemp(m.dir));
    cr_assert_eq(chmod(m.dir, 0755), 0);
    snprintf(m.socket, sizeof m.socket, "%s/s", m.dir);
    cr_assert_gt(asprintf(&cmd,
                          "%s >%s/key && chmod 400 %s/key && exec /usr/sbin/munged --force "
                          "--key-file=%s/key --socket=%s --pid-file=%s/pid --log-file=%s/log "
                          "--seed-file=%s/seed",
                          key, m.dir, m.dir, m.dir, m.socket, m.dir, m.dir, m.dir),
                 0);
    AUTO(run_free) struct run r = run_as(NULL, "sh", "-c", cmd);
    cr_assert_eq(r.status, 0, "%s", r.err);
    return m;
}

static void other_munged_stop(const struct other_munged *m)
{
    AUTO(free) char *cmd = NULL;
    cr_assert_gt(asprintf(&cmd, "kill $(cat %s/pid); rm -rf --one-file-system %s", m->dir, m->dir),
                 0);
    run_status(run_as(NULL, "sh", "-c", cmd));
}

/* What a client that uses this munged is told. */
static struct run ping_with(const struct other_munged *m)
{
    AUTO(free) char *line = NULL;
    cr_assert_gt(asprintf(&line, "munge_socket = %s\n", m->socket), 0);
    AUTO(free) char *conf = client_conf(line);
    setenv("SLURM_AGENT_CONF", conf, 1);
    return run_as(user_a(), "slurm-agent", "ping");
}

Test(outage, munged_is_down_on_the_servers_side)
{
    /* a second munged with the same key, so that the client's side goes on */
    AUTO(free) char *key = NULL;
    cr_assert_gt(asprintf(&key, "cat %s/etc/munge/munge.key", sandbox_dir()), 0);
    struct other_munged m = other_munged_start(key);
    sandbox("stop", "munged");
    AUTO(run_free) struct run r = ping_with(&m);
    sandbox("start", "munged");
    AUTO(run_free) struct run after = ping_with(&m);
    other_munged_stop(&m);
    cr_expect_eq(r.status, 18, "MUNGE: %d %s", r.status, r.err);
    cr_expect_contains(r.err, "server");
    cr_expect_eq(after.status, 0, "%s", after.err);
}

Test(outage, the_wrong_munge_key)
{
    struct other_munged m = other_munged_start("head -c 1024 /dev/urandom");
    AUTO(run_free) struct run r = ping_with(&m);
    other_munged_stop(&m);
    cr_expect_eq(r.status, 5, "AUTH: %d %s", r.status, r.err);
    cr_expect_contains(r.err, "key");
}

Test(outage, a_broker_that_is_killed_comes_back)
{
    AUTO(free) char *id = submit(user_a(), good, "--hold");
    kill_agentd_child("agent-broker");
    wait_state(user_a(), id, "PENDING");
    cancel_quietly(user_a(), id);
}
