/* SPDX-License-Identifier: GPL-3.0-or-later */
/* jobs.h: jobs of a sandbox (SLURM_AGENT_SANDBOX, see tests/sandbox) through the built CLI */
#ifndef TESTS_KIT_JOBS_H
#define TESTS_KIT_JOBS_H

#include <jansson.h>

#include "tests/kit/run.h"

/* The sandbox's users: alice and bob as root, the own user otherwise. */
const char *user_a(void);
const char *user_b(void); /* NULL when there is one alone */
/* A directory of the user's that goes with the test; static. */
const char *scratch(const char *user);
/* Writes a file there and gives its path; free() it. */
char *scratch_file(const char *user, const char *name, const char *text);
/* Reads a whole file; free() it.  NULL when it is not there. */
char *slurp(const char *path);
/* The sandbox's directory. */
const char *sandbox_dir(void);
/* sandbox.sh COMMAND DIR PART: stop, start, pause, resume.  Fails the test when it fails. */
void sandbox(const char *command, const char *part);
/* The same when the descriptor that is returned is closed, be it because the test has crashed; for
 * tests that become a user.  sandbox_now() closes it and waits for the end. */
int sandbox_later(const char *command, const char *part);
void sandbox_now(int later);

/* Submits script as user with up to 12 further arguments before the script; gives the id, which
 * belongs to the caller.  Fails the test when refused. */
char *submit_argv(const char *user, const char *script, const char *const *options);
#define submit(user, script, ...)                                                                  \
    submit_argv(user, script, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
/* What the submit of script wrote: for those that are refused. */
struct run try_submit_argv(const char *user, const char *script, const char *const *options);
#define try_submit(user, script, ...)                                                              \
    try_submit_argv(user, script, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* The job's JSON as user sees it, or NULL; json_decref() it. */
json_t *job_json(const char *user, const char *id);
/* One field as text; "" when not set; static until the next call. */
const char *job_field(const char *user, const char *id, const char *field);
/* Waits until the job's state is one of those in the list "COMPLETED,FAILED"; fails the test after
 * 40 s. */
void wait_state(const char *user, const char *id, const char *states);
/* scontrol requeue as user (NULL: root), and has the next run begin without the two minutes that
 * slurmctld puts in between. */
void requeue_now(const char *user, const char *id);
/* Ends a job without looking at the outcome: for the end of tests. */
void cancel_quietly(const char *user, const char *id);

/* In a sandbox with late=1: slurmctld keeps the next submit until it is let go, a minute at most.
 * Skips the test where slurmctld cannot. */
void keep_next_submit(void);
void let_submit_go(void);
/* One field of what became of a submit; "" when it is not there.  Static. */
const char *request_field(const char *user, const char *id, const char *field);

/* kill -9 for the child of the sandbox's slurm-agentd that has words in its command line.  Fails
 * the test when there is none. */
void kill_agentd_child(const char *words);
/* The same with another signal (STOP). */
void signal_agentd_child(const char *signal, const char *words);
/* How many lines of text hold both. */
int lines_with(const char *text, const char *a, const char *b);

#define cr_expect_contains(text, part)                                                             \
    cr_expect_not_null(strstr(text, part), "no \"%s\" in: %s", part, text)

#endif
