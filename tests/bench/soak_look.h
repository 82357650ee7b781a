/* SPDX-License-Identifier: GPL-3.0-or-later */
/* soak_look.h: what soak.c looks at, and how it is told */
#ifndef TESTS_BENCH_SOAK_LOOK_H
#define TESTS_BENCH_SOAK_LOOK_H

#include <stdbool.h>

/* FIGURE(word, unit, what it is, most it may grow in the second half; 0: as it likes)
 * Noise is less than these bounds; what leaks at each call is more within minutes. */
#define SOAK_FIGURE_ROWS                                                                           \
    FIGURE(broker, "KiB", "memory of the broker", 3072)                                            \
    FIGURE(all, "KiB", "memory of all its processes", 8192)                                        \
    FIGURE(fds, "", "descriptors of all", 24)                                                      \
    FIGURE(threads, "", "threads of all", 4)                                                       \
    FIGURE(processes, "", "processes", 2)                                                          \
    FIGURE(journal, "KiB", "journal on disk", 0)                                                   \
    FIGURE(p99, "ms", "99 of 100 gets, at most", 0)

enum soak_figure {
#define FIGURE(word, unit, help, most) SOAK_##word,
    SOAK_FIGURE_ROWS
#undef FIGURE
        SOAK_FIGURES
};

struct soak_sample {
    double s; /* since the beginning */
    int broker_pid;
    double f[SOAK_FIGURES];
    long submits;
};

/* Fills all but s, submits and p99; monitor and its children. */
void soak_look(int monitor, const char *state_dir, struct soak_sample *out);
/* A line of the table; NULL: its head. */
void soak_print(const struct soak_sample *s);
/* A line of the chart; false when it grows too much. */
bool soak_tell(const struct soak_sample *v, int n, enum soak_figure f);

#endif
