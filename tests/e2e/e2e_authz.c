/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may do what to whom: real users, as root alone can have them */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(authz, .timeout = 120);
TestSuite(private, .timeout = 120);

Test(authz, another_users_job_cannot_be_ended_or_signalled)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\nsleep 60\n", "--hold");
    AUTO(run_free) struct run r = run_as(user_b(), "slurm-agent", "cancel", id);
    cr_expect_eq(r.status, 4, "DENIED: %s", r.err);
    cr_expect_contains(r.err, id);
    cr_expect_contains(r.err, "not yours");
    AUTO(run_free)
    struct run s = run_as(user_b(), "slurm-agent", "cancel", "--signal=TERM", id);
    cr_expect_eq(s.status, 4, "%s", s.err);
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING");
    cancel_quietly(user_a(), id);
}

/* Who did what, and what came of it, is in the server's log: of each job. */
Test(authz, what_became_of_a_cancel_is_logged_for_each_job)
{
    AUTO(free) char *a = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    AUTO(free) char *b = submit(user_b(), "#!/bin/sh\ntrue\n", "--hold");
    cr_expect_eq(run_status(run_as(user_b(), "slurm-agent", "cancel", a)), 4);
    cr_expect_neq(run_status(run_as(user_b(), "slurm-agent", "cancel", b, a, "999999")), 0);
    AUTO(free) char *path = NULL, *own = NULL, *others = NULL, *all = NULL;
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    AUTO(free) char *log = slurp(path);
    cr_assert_not_null(log);
    cr_assert_gt(asprintf(&own, "op=job.control verb=cancel job=%s from=", b), 0);
    cr_assert_gt(asprintf(&others, "op=job.control verb=cancel job=%s from=", a), 0);
    cr_assert_gt(asprintf(&all, "op=job.control verb=cancel job=%s,... jobs=3 refused=2 from=", b),
                 0);
    cr_expect_eq(lines_with(log, own, "code=OK"), 1, "%s", log);
    cr_expect_eq(lines_with(log, others, "code=DENIED"), 2, "%s", log);
    cr_expect_eq(lines_with(log, others, "code=OK"), 0, "%s", log);
    cr_expect_eq(lines_with(log, "op=job.control verb=cancel job=999999 from=", "code=NOT_FOUND"),
                 1, "%s", log);
    cr_expect_eq(lines_with(log, all, "code=DENIED"), 1, "%s", log);
    cancel_quietly(user_a(), a);
}

/* However many there are in one request. */
Test(authz, each_job_that_a_request_changes_has_its_line)
{
    enum { TASKS = 30 };
    char command[60 * TASKS], begin[80];
    AUTO(free) char *path = NULL;
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--array=1-30");
    size_t n = (size_t)snprintf(command, sizeof command, "exec slurm-agent cancel");
    for (int i = 1; i <= TASKS; i++)
        n += (size_t)snprintf(command + n, sizeof command - n, " %s_%d", id, i);
    AUTO(run_free) struct run r = run_as(user_a(), "sh", "-c", command);
    cr_expect_eq(r.status, 0, "%s%s", r.out, r.err);
    cr_assert_gt(asprintf(&path, "%s/log/agentd.log", sandbox_dir()), 0);
    AUTO(free) char *log = slurp(path);
    for (int i = 1; i <= TASKS; i++) {
        snprintf(begin, sizeof begin, "op=job.control verb=cancel job=%s_%d from=", id, i);
        cr_expect_eq(lines_with(log, begin, "code=OK"), 1, "%s", begin);
    }
}

Test(authz, another_users_script_cannot_be_read)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\necho secret-of-a\n", "--hold");
    AUTO(run_free) struct run own = run_as(user_a(), "slurm-agent", "script", id);
    cr_expect_contains(own.out, "secret-of-a");
    AUTO(run_free) struct run other = run_as(user_b(), "slurm-agent", "script", id);
    cr_expect_neq(other.status, 0);
    cr_expect_null(strstr(other.out, "secret-of-a"));
    cr_expect_null(strstr(other.err, "secret-of-a"));
    cancel_quietly(user_a(), id);
}

Test(authz, root_is_refused)
{
    AUTO(run_free) struct run r = run_as(NULL, "slurm-agent", "whoami");
    cr_expect_eq(r.status, 4, "DENIED: %s%s", r.out, r.err);
    cr_expect_contains(r.err, "root");
}

Test(authz, system_users_are_refused)
{
    AUTO(run_free) struct run r = run_as("daemon", "slurm-agent", "whoami");
    cr_expect_eq(r.status, 4, "DENIED: %s%s", r.out, r.err);
    cr_expect_contains(r.err, "1000");
}

Test(authz, a_script_is_read_with_the_users_own_rights)
{
    AUTO(free) char *path = scratch_file(user_a(), "mine.sh", "#!/bin/sh\ntrue\n");
    cr_assert_eq(run_status(run_as(user_a(), "chmod", "600", path)), 0);
    AUTO(run_free)
    struct run own =
        run_as(user_a(), "slurm-agent", "submit", "--hold", "--parsable", "--remote-script", path);
    cr_expect_eq(own.status, 0, "%s", own.err);
    AUTO(run_free)
    struct run other = run_as(user_b(), "slurm-agent", "submit", "--hold", "--remote-script", path);
    cr_expect_eq(other.status, 4, "DENIED: %s", other.err);
    cr_expect_contains(other.err, path);
    cr_expect_contains(other.err, "Permission denied");
    own.out[strcspn(own.out, "\n")] = '\0';
    cancel_quietly(user_a(), own.out);
}

/* A worker's own descriptors and memory are not its user's: once its stdin was agentd.conf. */
Test(authz, a_worker_reads_nothing_of_its_own_for_its_user)
{
    static const char *const options[] = {"--nodelist", "--exclude",     "--nodefile",
                                          "--bbf",      "--export-file", "--remote-script"};
    static const char *const files[] = {"/dev/stdin", "/proc/self/fd/0", "/proc/self/maps"};
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        for (size_t k = 0; k < ARRAY_LEN(files); k++) {
            const char *wrap = str_eq(options[i], "--remote-script") ? "--hold" : "--wrap=true";
            AUTO(run_free)
            struct run r =
                run_as(user_b(), "slurm-agent", "submit", "--hold", options[i], files[k], wrap);
            cr_expect_eq(r.status, 2, "INVALID: %d %s%s", r.status, r.out, r.err);
            cr_expect_contains(r.err, "leads into /proc");
            cr_expect_null(strstr(r.err, "listen"), "%s", r.err);
        }
}

enum { MAX_WORKERS = 8 };

/* The user's among the monitor's children. */
static size_t workers_of(const char *user, pid_t pids[MAX_WORKERS])
{
    const struct passwd *pw = getpwnam(user);
    char path[200];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/run/agentd.pid", sandbox_dir());
    AUTO(free) char *monitor = slurp(path);
    cr_assert(pw && monitor);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", atoi(monitor), atoi(monitor));
    AUTO(free) char *children = slurp(path);
    for (char *save = NULL, *word = strtok_r(children, " ", &save); word && n < MAX_WORKERS;
         word = strtok_r(NULL, " ", &save)) {
        snprintf(path, sizeof path, "grep -q '^Uid:\t%u\t' /proc/%.20s/status", pw->pw_uid, word);
        if (run_status(run_as(NULL, "sh", "-c", path)) == 0)
            pids[n++] = (pid_t)atoi(word);
    }
    return n;
}

/* Its memory, its descriptors and its end are out of reach; we are its user. */
static void expect_untouchable(pid_t pid)
{
    char path[64], byte;
    struct iovec to = {&byte, 1}, from = {(void *)workers_of, 1};
    cr_expect(ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0 && errno == EPERM, "seize %d: %s", (int)pid,
              strerror(errno));
    cr_expect(ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0 && errno == EPERM, "attach %d: %s",
              (int)pid, strerror(errno));
    cr_expect(process_vm_readv(pid, &to, 1, &from, 1, 0) < 0 && errno == EPERM, "read %d: %s",
              (int)pid, strerror(errno));
    AUTO(close) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    cr_assert_geq(pidfd, 0);
    for (int fd = 2; fd <= 3; fd++)
        cr_expect(syscall(SYS_pidfd_getfd, pidfd, fd, 0) < 0 && errno == EPERM, "fd %d of %d: %s",
                  fd, (int)pid, strerror(errno));
    static const char *const names[] = {"fd", "mem", "environ", "maps"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, names[i]);
        AUTO(close) int fd = open(path, O_RDONLY);
        cr_expect(fd < 0 && (errno == EACCES || errno == EPERM), "%s: %s", path, strerror(errno));
    }
}

Test(authz, a_users_worker_is_out_of_the_users_reach)
{
#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("a sanitizer traces its own process");
#endif
    pid_t pids[MAX_WORKERS];
    struct stat st;
    char path[64];
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    cancel_quietly(user_a(), id);
    size_t n = workers_of(user_a(), pids);
    cr_assert_geq(n, 2, "control and file");
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pids[0]);
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0711, "so that it is so before it has said so: %o", st.st_mode);
    become(user_a());
    for (size_t i = 0; i < n; i++)
        expect_untouchable(pids[i]);
}

/* What a user has it do cannot take the host's memory. */
Test(authz, a_users_worker_has_a_bound_on_its_memory)
{
#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("a sanitizer's shadow is larger than any bound");
#endif
    pid_t pids[MAX_WORKERS];
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    cancel_quietly(user_a(), id);
    size_t n = workers_of(user_a(), pids);
    cr_assert_geq(n, 2, "control and file");
    for (size_t i = 0; i < n; i++) {
        char path[64];
        long long soft = 0, hard = 0;
        snprintf(path, sizeof path, "/proc/%d/limits", (int)pids[i]);
        AUTO(free) char *limits = slurp(path);
        const char *line = limits ? strstr(limits, "Max data size") : NULL;
        cr_assert_not_null(line);
        cr_expect_eq(sscanf(line, "Max data size %lld %lld", &soft, &hard), 2, "%s", line);
        cr_expect_eq(hard, 2048LL << 20);
        cr_expect_eq(soft, hard);
    }
}

/* A few bytes that are gigabytes to whoever writes the names down; slurmctld would, too. */
Test(authz, lists_of_too_many_nodes_are_refused_at_once)
{
    static const char list[] = "n[1-9999][1-9999][1-9999]";
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    const char *const calls[][8] = {
        {"slurm-agent", "submit", "-H", "--nodelist", list, "--wrap=true"},
        {"slurm-agent", "submit", "-H", "--exclude", list, "--wrap=true"},
        {"slurm-agent", "update", id, "--nodelist", list},
        {"slurm-agent", "update", id, "--exclude", list},
        {"slurm-agent", "cancel", "--nodelist", list, "--me"},
    };
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        AUTO(run_free) struct run r = run_argv(user_a(), calls[i], "");
        cr_expect_neq(r.status, 0, "%s", r.out);
        cr_expect_contains(r.err, list);
        cr_expect_contains(r.err, "65536 hosts");
    }
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING");
    cancel_quietly(user_a(), id);
}

/* A sandbox with PrivateData=jobs. */

Test(private, others_jobs_are_not_seen)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold", "--job-name=private-one");
    cr_expect_str_eq(job_field(user_a(), id, "state"), "PENDING", "the own job is");
    AUTO(run_free) struct run get = run_as(user_b(), "slurm-agent", "get", "--json", id);
    cr_expect_eq(get.status, 3, "NOT_FOUND: %s%s", get.out, get.err);
    cr_expect_null(strstr(get.out, "private-one"));
    AUTO(run_free) struct run list = run_as(user_b(), "slurm-agent", "list", "--all", "--json");
    cr_expect_eq(list.status, 0, "%s", list.err);
    cr_expect_null(strstr(list.out, "private-one"));
    AUTO(run_free)
    struct run user = run_as(user_b(), "slurm-agent", "list", "--user", user_a(), "--json");
    cr_expect_null(strstr(user.out, "private-one"));
    AUTO(run_free) struct run own = run_as(user_a(), "slurm-agent", "list", "--json");
    cr_expect_contains(own.out, "private-one");
    cancel_quietly(user_a(), id);
}
