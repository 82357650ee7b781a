/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bench_log.c: a job's log through the agent, beside read() of the same file in the same run
 *
 *     bench_log MIB
 *
 * Runs as one user, in a sandbox (SLURM_AGENT_SERVER).  The log lies in $TMPDIR or /tmp.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"

enum { MIB = 1 << 20, ROUNDS = 3 };

static char path[256];

static void remove_log(void)
{
    unlink(path);
}

/* A job whose output goes to path, ended. */
static char *run_job(struct sagent *s)
{
    const struct sagent_pair options[] = {{"output", path}, {"chdir", "/tmp"}};
    struct sagent_error err;
    char *id = submit(s, "#!/bin/sh\ntrue\n", options, ARRAY_LEN(options));
    for (bool done = false; !done;) {
        struct sagent_log_chunk *c;
        const struct sagent_log_request log = {.id = id, .follow = true};
        if (sagent_log(s, &log, &c, &err) < 0)
            die("log", err.text);
        done = c->done;
        sagent_log_chunk_free(c);
    }
    return id;
}

/* Lines, each with its own number: a piece in the wrong place shows. */
static void fill(size_t mib)
{
    AUTO(close) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    AUTO(free) char *buf = malloc(MIB);
    if (fd < 0 || !buf)
        die("fill", path);
    for (size_t i = 0; i < mib; i++) {
        for (size_t k = 0; k < MIB / 64; k++) {
            char line[65];
            snprintf(line, sizeof line, "%063zu\n", i * (MIB / 64) + k);
            memcpy(buf + k * 64, line, 64);
        }
        if (write(fd, buf, MIB) != MIB)
            die("fill", "no room");
    }
}

static double read_plain(size_t mib)
{
    AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *buf = malloc(MIB);
    double t0 = now_ms(CLOCK_MONOTONIC);
    size_t n = 0;
    for (ssize_t r; (r = read(fd, buf, MIB)) > 0;)
        n += (size_t)r;
    if (n != mib * MIB)
        die("read", "not the whole file");
    return (now_ms(CLOCK_MONOTONIC) - t0) / 1e3;
}

static void check(const struct sagent_log_chunk *c)
{
    char line[65];
    if (c->size < 64 || c->offset % 64)
        return;
    snprintf(line, sizeof line, "%063lld\n", (long long)c->offset / 64);
    if (memcmp(c->data, line, 64) != 0)
        die("log", "not what the file holds");
}

static double read_log(struct sagent *s, const char *id, size_t mib, int64_t max)
{
    struct sagent_log_request req = {.id = id, .max = max};
    struct sagent_error err;
    char file[128] = "";
    double t0 = now_ms(CLOCK_MONOTONIC);
    for (;;) {
        struct sagent_log_chunk *c;
        if (sagent_log(s, &req, &c, &err) < 0)
            die("log", err.text);
        check(c);
        size_t n = c->size;
        req.offset = c->offset + (int64_t)n;
        str_copy(file, sizeof file, str_or(c->file, ""));
        req.file = file;
        sagent_log_chunk_free(c);
        if (n == 0)
            break;
    }
    if (req.offset != (int64_t)(mib * MIB))
        die("log", "not the whole file");
    return (now_ms(CLOCK_MONOTONIC) - t0) / 1e3;
}

int main(int argc, char **argv)
{
    static const int64_t pieces[] = {64 << 10, 256 << 10, 1 << 20};
    int64_t mib;
    if (argc != 2 || !str_to_i64(argv[1], 1, 1 << 20, &mib)) {
        fprintf(stderr, "usage: bench_log MIB\n");
        return 2;
    }
    const char *dir = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/bench-log-%d", str_or(dir, "/tmp"), (int)getpid());
    struct sagent *s = open_client();
    atexit(remove_log);
    AUTO(free) char *id = run_job(s);
    fill((size_t)mib);
    printf("a log of %lld MiB, MB/s; read() is of the same file, in the page cache\n",
           (long long)mib);
    printf("%5s %10s %10s %10s %10s\n", "round", "read()", "64 KiB", "256 KiB", "1 MiB");
    for (int i = 0; i < ROUNDS; i++) {
        double mb = (double)mib * MIB / 1e6;
        printf("%5d %10.0f", i + 1, mb / read_plain((size_t)mib));
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++)
            printf(" %10.0f", mb / read_log(s, id, (size_t)mib, pieces[k]));
        printf("\n");
        fflush(stdout);
    }
    sagent_close(s);
    return 0;
}
