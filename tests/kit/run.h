/* SPDX-License-Identifier: GPL-3.0-or-later */
/* run.h: programs run to their end, as a user, with what they wrote */
#ifndef TESTS_KIT_RUN_H
#define TESTS_KIT_RUN_H

#include <stdbool.h>
#include <sys/types.h>

enum { RUN_MAX_ARGS = 64, RUN_TIMEOUT_S = 60 };

struct run {
    int status;      /* exit status; 128 + signal */
    char *out, *err; /* NUL-terminated, never NULL */
};

/* Runs argv[0] (found in PATH) as user; NULL or the own name: as we are.  input goes to stdin.
 * A run past RUN_TIMEOUT_S is killed and fails the test. */
struct run run_argv(const char *user, const char *const *argv, const char *input);
/* The same with the arguments listed. */
#define run_as(user, ...) run_argv(user, (const char *const[]){__VA_ARGS__, NULL}, "")
void run_free(struct run *r);
/* For a run of which only this matters. */
int run_status(struct run r);
static inline void cleanup_run_free(struct run *r)
{
    run_free(r);
}

/* Polls until true or the deadline; false then. */
typedef bool (*until_fn)(void *arg);
bool wait_until(until_fn fn, void *arg, int deadline_ms);

#endif
