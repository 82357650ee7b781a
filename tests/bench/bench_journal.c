/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What it costs that a submit's intent is on disk first: held jobs, by one caller and by many,
 * beside the time the disk itself takes to have 4 KiB. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"

enum { MAX_ROUNDS = 100000, MANY = 32 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *what, double *ms, int n)
{
    qsort(ms, (size_t)n, sizeof *ms, compare);
    printf("%-28s p50 %7.2f ms, p95 %7.2f ms", what, ms[n / 2], ms[(long)(n - 1) * 95 / 100]);
}

static void bench_disk(const char *dir, int n)
{
    char path[4096], block[4096] = {1};
    AUTO(free) double *ms = calloc((size_t)n, sizeof *ms);
    snprintf(path, sizeof path, "%s/bench-fsync", dir);
    AUTO(close) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || !ms)
        die(path, "cannot be made");
    for (int i = 0; i < n; i++) {
        double t = now_ms(CLOCK_MONOTONIC);
        if (write(fd, block, sizeof block) != sizeof block || fdatasync(fd) < 0)
            die(path, "cannot be written");
        ms[i] = now_ms(CLOCK_MONOTONIC) - t;
    }
    unlink(path);
    print("4 KiB and fdatasync", ms, n);
    putchar('\n');
}

static void caller(double *ms, int n)
{
    static const struct sagent_pair options[] = {{"hold", NULL}, {"output", "/dev/null"}};
    struct sagent *s = open_client();
    for (int i = -1; i < n; i++) { /* the first has the session and the workers made */
        double t = now_ms(CLOCK_MONOTONIC);
        free(submit(s, "#!/bin/sh\n", options, 2));
        if (i >= 0)
            ms[i] = now_ms(CLOCK_MONOTONIC) - t;
    }
    sagent_close(s);
}

static void bench_submit(const char *what, int callers, int n)
{
    size_t size = (size_t)(callers * n) * sizeof(double);
    double *ms = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char title[64];
    if (ms == MAP_FAILED)
        die("memory", "there is none");
    double begin = now_ms(CLOCK_MONOTONIC);
    fflush(stdout);
    for (int i = 0; i < callers; i++)
        if (fork() == 0) { /* nng is not for processes that fork later */
            caller(ms + i * n, n);
            _exit(0);
        }
    for (int i = 0, status; i < callers; i++)
        if (wait(&status) < 0 || status != 0)
            die("submit", "a caller failed");
    double took = now_ms(CLOCK_MONOTONIC) - begin;
    snprintf(title, sizeof title, "%s, %d caller%s", what, callers, callers == 1 ? "" : "s");
    print(title, ms, callers * n);
    printf(", %.0f a second\n", callers * (n + 1) / took * 1000);
    munmap(ms, size);
}

int main(int argc, char **argv)
{
    int64_t n;
    if (argc != 4 || !str_to_i64(argv[3], 10, MAX_ROUNDS, &n)) {
        fprintf(stderr, "usage: bench_journal disk DIR ROUNDS | submit TITLE ROUNDS\n");
        return 2;
    }
    if (strcmp(argv[1], "disk") == 0) {
        bench_disk(argv[2], (int)n);
        return 0;
    }
    bench_submit(argv[2], 1, (int)n);
    bench_submit(argv[2], MANY, (int)(n / MANY + 10));
    return 0;
}
