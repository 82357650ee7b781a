/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What bash offers behind slurm-agent */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(completion, .timeout = 120);

/* line: the words, one blank between them; the last one is being written. */
static struct run offered(const char *line)
{
    char here[4096];
    AUTO(free) char *cmd = NULL;
    cr_assert_not_null(getcwd(here, sizeof here));
    cr_assert_gt(
        asprintf(&cmd,
                 ". /usr/share/bash-completion/bash_completion; "
                 "_init_completion() { cword=$COMP_CWORD words=(\"${COMP_WORDS[@]}\") "
                 "cur=${words[cword]} prev=${words[cword-1]}; "
                 "if [[ $cur == --*=* ]]; then prev=${cur%%%%=*} cur=${cur#*=} split=true; fi; }; "
                 "compopt() { :; }; eval \"$1\"; "
                 "COMP_WORDS=(%s) COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _slurm_agent; "
                 "printf '%%s\\n' \"${COMPREPLY[@]}\"",
                 line),
        0);
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s/client/completion/slurm-agent.bash", here), 0);
    AUTO(run_free) struct run text = run_as(NULL, "cat", path);
    cr_assert_eq(text.status, 0, "%s", text.err);
    return run_as(user_a(), "bash", "-c", cmd, "_", text.out);
}

/* Exactly these, one a line. */
#define expect_offer(line, expected)                                                               \
    do {                                                                                           \
        AUTO(run_free) struct run r_ = offered(line);                                              \
        cr_expect_str_eq(r_.out, expected, "%s:\n%s%s", line, r_.out, r_.err);                     \
    } while (0)

Test(completion, commands_options_and_values)
{
    expect_offer("slurm-agent w", "wait\nwatch\nwhoami\n");
    expect_offer("slurm-agent --clu", "--cluster=\n");
    expect_offer("slurm-agent list --par", "--partition=\n");
    expect_offer("slurm-agent submit --cpus-p", "--cpus-per-gpu\n--cpus-per-task\n");
    expect_offer("slurm-agent wait --until=s", "start\n");
    expect_offer("slurm-agent list --state COMPLE", "COMPLETED\n");
    expect_offer("slurm-agent help er", "errors\n");
}

Test(completion, partitions_and_the_users_own_jobs)
{
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    AUTO(free) char *line = NULL;
    AUTO(free) char *expected = NULL;
    expect_offer("slurm-agent submit --partition=m", "main\n");
    expect_offer("slurm-agent list -p ''", "main\n");
    cr_assert_gt(asprintf(&line, "slurm-agent cancel %s", id), 0);
    cr_assert_gt(asprintf(&expected, "%s\n", id), 0);
    AUTO(run_free) struct run r = offered(line);
    cr_expect_not_null(strstr(r.out, expected), "%s: %s%s", id, r.out, r.err);
    AUTO(free) char *staging = NULL;
    cr_assert_gt(asprintf(&staging, "slurm-agent staging %s", id), 0);
    AUTO(run_free) struct run s = offered(staging);
    cr_expect_not_null(strstr(s.out, expected), "%s: %s%s", id, s.out, s.err);
    cancel_quietly(user_a(), id);
}

/* What a server says is never executed. */
Test(completion, hostile_words_are_not_offered)
{
    AUTO(free)
    char *fake = scratch_file(user_a(), "slurm-agent",
                              "#!/bin/sh\n"
                              "printf 'JOBID STATE\\n$(touch${IFS}$HOME/taken) R\\n1;reboot R\\n"
                              "12_[1-3] R\\n'\n");
    AUTO(free) char *dir = strdup(fake);
    *strrchr(dir, '/') = '\0';
    AUTO(free) char *path = NULL;
    cr_assert_gt(asprintf(&path, "%s:%s", dir, getenv("PATH")), 0);
    cr_assert_eq(run_status(run_as(user_a(), "chmod", "755", fake)), 0);
    setenv("PATH", path, 1);
    expect_offer("slurm-agent cancel ''", "12_[1-3]\n");
    AUTO(run_free) struct run r = run_as(user_a(), "sh", "-c", "test ! -e $HOME/taken");
    cr_expect_eq(r.status, 0);
}
