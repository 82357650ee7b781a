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

/* A program that runs beside the test; no input. */
struct running;
struct running *run_begin_argv(const char *user, const char *const *argv);
#define run_begin(user, ...) run_begin_argv(user, (const char *const[]){__VA_ARGS__, NULL})
/* Is it still there after ms, having written so far what *ret has (either may be NULL)?  The texts
 * are the program's until the next call. */
bool run_goes_on(struct running *r, int ms, struct run *ret);
/* Has it written text, on either stream, within RUN_TIMEOUT_S? */
bool run_says(struct running *r, const char *text);
void run_signal(struct running *r, int signal);
/* Waits for its end, RUN_TIMEOUT_S at most, and frees it. */
struct run run_end(struct running *r);

/* Polls until true or the deadline; false then. */
typedef bool (*until_fn)(void *arg);
bool wait_until(until_fn fn, void *arg, int deadline_ms);

#endif
