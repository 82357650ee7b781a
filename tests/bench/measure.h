/* SPDX-License-Identifier: GPL-3.0-or-later */
/* measure.h: callers in processes of their own, what they took, and what it cost others
 *
 * The benchmark itself is root (or, in a sandbox without root, the only user) and never calls a
 * library that minds a fork: whatever talks to a server runs in a child, as a user of the sandbox.
 */
#ifndef TESTS_BENCH_MEASURE_H
#define TESTS_BENCH_MEASURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MAX_USERS = 8, MAX_ROUNDS = 15, MAX_CALLERS = 64 };

/* One run of the benchmark. */
struct bench {
    bool quick;
    int rounds, callers;
    double rounds_s;   /* no other round is begun past this */
    int cell_ms;       /* a cell ends after this */
    size_t cell_calls; /* or when a caller has submitted, or cancelled, so many */
    const char *users[MAX_USERS];
    int n_users;
    const char *sandbox;
    pid_t slurmctld, agentd, slurmrestd, echo; /* 0: there is none */
    uint32_t *ids;                             /* the jobs that are queued all the time */
    size_t n_ids;
};

/* ---- figures ---- */

/* Sorts; 0 without any. */
double quantile(double *v, size_t n, double percent);
double median(const double *v, size_t n);
/* Rounded to what is worth reading. */
json_t *figure(double v);
/* of[name], 0 where it is not there. */
double number_of(const json_t *of, const char *name);

/* ---- CPU ---- */

/* Microseconds that processes have used so far, threads that have ended included. */
struct cpu {
    double slurmctld, slurmrestd;
    double agentd; /* monitor, broker, auths, workers and watcher together */
    double broker;
    double echo;
};
struct cpu cpu_now(const struct bench *b);
struct cpu cpu_since(const struct bench *b, struct cpu then);
/* Resident memory of the broker, KiB. */
long broker_kib(const struct bench *b);
/* Percent of the machine that is busy while nobody here asks for anything: looks for 200 ms. */
double busy_percent(void);

/* ---- disk ---- */

/* Appends n times 4 KiB in dir, each with fdatasync(): how long each took. */
void disk_sync(const char *dir, double *ms, size_t n);

/* ---- children ---- */

/* fork(); the child ends with this process. */
pid_t fork_child(void);
/* Turns this process into the user, for good.  As an ordinary user: nothing. */
void become(const char *user);

/* What one caller does, in its own process.  call() is timed; what it returns is kept. */
struct task {
    void *(*open)(void *arg);
    uint32_t (*call)(void *open, void *arg, int caller, size_t n); /* n from 0: not timed */
    void (*close)(void *open);
    double (*took)(void *open); /* what the last call took; NULL: from its begin to its return */
    void *arg;
    size_t max_calls; /* of each caller; 0: as many as fit */
    int ms;
    size_t min_calls; /* of each caller, even if they take longer than that */
};

struct taken {
    double *ms; /* of all callers; n of them */
    size_t n;
    /* What was kept, of calls that were not timed too: caller i's is from first[i] to first[i+1].
     */
    uint32_t *kept;
    size_t first[MAX_CALLERS + 1];
    double seconds;
    struct cpu cpu;
};
/* Begins when all callers have connected and made one call.  users[i % n_users] is caller i's. */
void take(const struct bench *b, const struct task *task, int callers, const char *const *users,
          int n_users, struct taken *out);
void taken_free(struct taken *t);

/* What fn gives, made in a child as that user. */
json_t *in_child(const char *user, json_t *(*fn)(const struct bench *b), const struct bench *b);

#endif
