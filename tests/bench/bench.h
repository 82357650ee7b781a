/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench.h: what the benchmarks share */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <time.h>

#include "client/slurmagent.h"

/* Says what went wrong and ends the program. */
_Noreturn void die(const char *what, const char *text);
double now_ms(clockid_t clock);
/* For qsort() of doubles. */
int ascending(const void *a, const void *b);
/* A handle for the sandbox's server (SLURM_AGENT_SERVER). */
struct sagent *open_client(void);
/* Gives the id; free() it. */
char *submit(struct sagent *s, const char *script, const struct sagent_pair *options, size_t n);

#endif
