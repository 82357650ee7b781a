/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/jobs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"

static const char *user_number(int wanted)
{
    static char names[2][64];
    static int n = -1;
    if (n < 0) {
        const char *env = getenv("SLURM_AGENT_USERS");
        cr_assert_not_null(env, "no sandbox: make sandbox, then . build/sandbox/env");
        n = sscanf(env, "%63s %63s", names[0], names[1]);
    }
    return wanted < n ? names[wanted] : NULL;
}

const char *user_a(void)
{
    return user_number(0);
}

const char *user_b(void)
{
    return user_number(1);
}

const char *sandbox_dir(void)
{
    const char *dir = getenv("SLURM_AGENT_SANDBOX");
    cr_assert_not_null(dir, "no sandbox: make sandbox, then . build/sandbox/env");
    return dir;
}

void sandbox(const char *command, const char *part)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "bash", "tests/sandbox/sandbox.sh", command, sandbox_dir(), part);
    cr_assert_eq(r.status, 0, "%s %s: %s%s", command, part, r.out, r.err);
}

int sandbox_later(const char *command, const char *part)
{
    int fds[2];
    char byte;
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork(); /* touches nothing but what exec needs: nng's threads are not here */
    cr_assert_geq(pid, 0);
    if (pid > 0) {
        close(fds[0]);
        return fds[1];
    }
    close(fds[1]);
    while (read(fds[0], &byte, 1) < 0 && errno == EINTR)
        ;
    execlp("bash", "bash", "tests/sandbox/sandbox.sh", command, sandbox_dir(), part, NULL);
    _exit(127);
}

void sandbox_now(int later)
{
    int status;
    close(later);
    cr_expect(wait(&status) > 0 && status == 0, "sandbox.sh: status %x", (unsigned)status);
}

static char scratch_dir[128];

/* Criterion runs each test in a process of its own, so this is one directory a test. */
static void remove_scratch(void)
{
    if (!*scratch_dir)
        return;
    run_status(run_as(NULL, "rm", "-rf", "--one-file-system", scratch_dir));
}

const char *scratch(const char *user)
{
    if (*scratch_dir)
        return scratch_dir;
    snprintf(scratch_dir, sizeof scratch_dir, "/tmp/sagent-e2e-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch_dir));
    const struct passwd *pw = getpwnam(user);
    cr_assert_not_null(pw);
    if (geteuid() == 0)
        cr_assert_eq(chown(scratch_dir, pw->pw_uid, pw->pw_gid), 0);
    cr_assert_eq(chmod(scratch_dir, 0755), 0);
    atexit(remove_scratch);
    return scratch_dir;
}

char *scratch_file(const char *user, const char *name, const char *text)
{
    char *path;
    cr_assert_gt(asprintf(&path, "%s/%s", scratch(user), name), 0);
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f, "%s", path);
    fputs(text, f);
    fclose(f);
    const struct passwd *pw = getpwnam(user);
    if (geteuid() == 0)
        cr_assert_eq(chown(path, pw->pw_uid, pw->pw_gid), 0);
    return path;
}

char *slurp(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return NULL;
    char *text = calloc(1, 1 << 20);
    size_t n = fread(text, 1, (1 << 20) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

struct run try_submit_argv(const char *user, const char *script, const char *const *options)
{
    const char *argv[RUN_MAX_ARGS] = {"slurm-agent", "submit", "--parsable"};
    int n = 3;
    AUTO(free) char *path = scratch_file(user, "job.sh", script);
    AUTO(free) char *chdir_option = NULL;
    cr_assert_gt(asprintf(&chdir_option, "--chdir=%s", scratch(user)), 0);
    argv[n++] = chdir_option; /* a later --chdir takes its place */
    for (int i = 0; options[i]; i++)
        argv[n++] = options[i];
    argv[n++] = path;
    argv[n] = NULL;
    return run_argv(user, argv, "");
}

char *submit_argv(const char *user, const char *script, const char *const *options)
{
    struct run r = try_submit_argv(user, script, options);
    cr_assert_eq(r.status, 0, "submit: %s", r.err);
    r.out[strcspn(r.out, ";\n")] = '\0';
    cr_assert_gt(strlen(r.out), 0, "submit printed no id");
    free(r.err);
    return r.out;
}

json_t *job_json(const char *user, const char *id)
{
    AUTO(run_free) struct run r = run_as(user, "slurm-agent", "get", "--json", id);
    json_t *all = json_loads(r.out, 0, NULL);
    json_t *job = json_array_get(json_object_get(all, "jobs"), 0);
    json_incref(job);
    json_decref(all);
    return job;
}

const char *job_field(const char *user, const char *id, const char *field)
{
    static char text[8192];
    json_t *job = job_json(user, id);
    json_t *v = json_object_get(job, field);
    text[0] = '\0';
    if (json_is_string(v))
        str_copy(text, sizeof text, json_string_value(v));
    else if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        str_copy(text, sizeof text, json_is_true(v) ? "true" : "false");
    json_decref(job);
    return text;
}

struct waiting {
    const char *user, *id, *states;
    char last[64];
};

static bool state_is(void *arg)
{
    struct waiting *w = arg;
    str_copy(w->last, sizeof w->last, job_field(w->user, w->id, "state"));
    return *w->last && str_in_list(w->states, w->last);
}

void wait_state(const char *user, const char *id, const char *states)
{
    struct waiting w = {.user = user, .id = id, .states = states};
    cr_assert(wait_until(state_is, &w, 40000), "job %s is %s, not %s", id, w.last, states);
}

struct requeued {
    const char *user, *id;
};

static bool is_queued(void *arg)
{
    const struct requeued *q = arg;
    AUTO(run_free)
    struct run r = run_as(q->user, "squeue", "--noheader", "--format=%T", "--jobs", q->id);
    return strcmp(r.out, "PENDING\n") == 0;
}

void requeue_now(const char *user, const char *id)
{
    struct requeued q = {user, id};
    AUTO(free) char *target = NULL;
    cr_assert_gt(asprintf(&target, "JobId=%s", id), 0);
    cr_assert_eq(run_status(run_as(user, "scontrol", "requeue", id)), 0);
    /* When the node has cleaned up slurmctld sets the begin, whatever it was set to while the job
     * was COMPLETING (and, to the agent, PENDING). */
    cr_assert(wait_until(is_queued, &q, 40000), "job %s is not queued again", id);
    /* slurmd takes no credential of the second in which it revoked the first run's */
    cr_assert_eq(run_status(run_as(user, "scontrol", "update", target, "StartTime=now+1")), 0);
}

void cancel_quietly(const char *user, const char *id)
{
    run_status(run_as(user, "slurm-agent", "cancel", "--quiet", id));
}

static void late_path(const char *suffix, char path[static 300])
{
    snprintf(path, 300, "%s/run/slurm/late%s", sandbox_dir(), suffix);
}

void keep_next_submit(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s/etc/job_submit.lua", sandbox_dir());
    if (access(path, F_OK) < 0)
        cr_skip_test("no job_submit/lua");
    late_path("", path);
    FILE *f = fopen(path, "we");
    cr_assert(f && fputs("60", f) > 0);
    cr_assert_eq(fclose(f), 0);
}

void let_submit_go(void)
{
    char path[300];
    late_path(".kept", path);
    cr_expect_eq(unlink(path), 0, "it was not kept for long enough");
}

const char *request_field(const char *user, const char *id, const char *field)
{
    static char text[400];
    AUTO(run_free)
    struct run r = run_as(user, "slurm-agent", "get", "--json", "--request-id", id);
    json_error_t e;
    json_t *j = json_loads(r.out, 0, &e), *v = json_object_get(j, field);
    *text = '\0';
    if (json_is_string(v))
        snprintf(text, sizeof text, "%s", json_string_value(v));
    else if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    json_decref(j);
    return text;
}

void signal_agentd_child(const char *signal, const char *words)
{
    AUTO(run_free)
    struct run r = run_as(NULL, "sh", "-c",
                          "for p in $(cat /proc/$(cut -d' ' -f1 "
                          "$SLURM_AGENT_SANDBOX/run/agentd.pid)/task/*/children); do tr '\\0' ' ' "
                          "</proc/$p/cmdline | grep -q -- \"$0\" && kill -$1 $p && echo $p; done",
                          words, signal);
    cr_assert_neq(r.out[0], '\0', "no process has %s in its command line", words);
}

void kill_agentd_child(const char *words)
{
    signal_agentd_child("KILL", words);
}

int lines_with(const char *text, const char *a, const char *b)
{
    int n = 0;
    for (const char *p = text, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, '\n');
        AUTO(free) char *line = strndup(p, (size_t)(end - p));
        n += strstr(line, a) && strstr(line, b);
    }
    return n;
}
