/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log.c: a job's log through the agent, beside read() of the same file in the same run
 *
 * The log lies in $TMPDIR or /tmp.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/sections.h"

enum { MIB = 1 << 20, ROUNDS = 3 };

static char path[256];

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

static json_t *stream(const struct bench *b)
{
    static const struct {
        const char *name;
        int64_t max;
    } pieces[] = {{"64 KiB", 64 << 10}, {"256 KiB", 256 << 10}, {"1 MiB", 1 << 20}};
    double plain[ROUNDS], rate[ARRAY_LEN(pieces)][ROUNDS];
    size_t mib = b->quick ? 64 : 512;
    double mb = (double)mib * MIB / 1e6;
    snprintf(path, sizeof path, "%s/bench-log-%d", str_or(getenv("TMPDIR"), "/tmp"), (int)getpid());
    struct sagent *s = open_client();
    AUTO(free) char *id = run_job(s);
    fill(mib);
    for (int i = 0; i < ROUNDS; i++) {
        plain[i] = mb / read_plain(mib);
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++)
            rate[k][i] = mb / read_log(s, id, mib, pieces[k].max);
    }
    sagent_close(s);
    unlink(path);
    json_t *o =
        json_pack("{si so}", "mib", (int)mib, "read_mb_per_s", figure(median(plain, ROUNDS)));
    for (size_t k = 0; k < ARRAY_LEN(pieces); k++)
        json_object_set_new(o, pieces[k].name, figure(median(rate[k], ROUNDS)));
    return o;
}

json_t *bench_log(const struct bench *b)
{
    json_t *o = in_child(b->users[0], stream, b);
    printf(
        "\n== a log of %.0f MiB, MB a second (medians of %d rounds), by size of the pieces asked "
        "for\n%10s %10s %10s %18s\n%10.0f %10.0f %10.0f %18.0f\n",
        number_of(o, "mib"), ROUNDS, "64 KiB", "256 KiB", "1 MiB", "read() of the file",
        number_of(o, "64 KiB"), number_of(o, "256 KiB"), number_of(o, "1 MiB"),
        number_of(o, "read_mb_per_s"));
    return o;
}
