/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a worker writes to its stderr, when it is not a friendly one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "agentd/childlog.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/scratch.h"

enum { SECOND = 64 << 10, PIPE = 64 << 10 }; /* what is read in one; what the pipe holds */

static sd_event *loop;
static struct childlog *log_of;
static int writer;
static char dir[SCRATCH_PATH], path[SCRATCH_PATH];

/* The daemon's own stderr goes to a file. */
static void setup(void)
{
    int fds[2];
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN);
    scratch_make(dir);
    scratch_path(path, dir, "log");
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    cr_assert(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    writer = fds[1];
    cr_assert_eq(fcntl(writer, F_SETPIPE_SZ, PIPE), PIPE);
    cr_assert_eq(fcntl(writer, F_SETFL, O_NONBLOCK), 0);
    cr_assert_geq(sd_event_new(&loop), 0);
    log_of = childlog_new(loop, fds[0], "worker uid=1 role=file", &err);
    cr_assert_not_null(log_of, "%s", err.text);
}

static void teardown(void)
{
    childlog_free(log_of);
    close(writer);
    sd_event_unref(loop);
    scratch_remove(dir);
}

TestSuite(childlog, .init = setup, .fini = teardown, .timeout = 60);

/* Writes as much as is taken for ms while the loop runs; how many turns did the loop make? */
static size_t flood(const char *block, size_t size, int ms, int *ret_turns)
{
    int64_t end = clock_mono_ms() + ms;
    size_t sent = 0;
    *ret_turns = 0;
    while (clock_mono_ms() < end) {
        ssize_t n;
        while ((n = write(writer, block, size)) > 0)
            sent += (size_t)n;
        cr_assert_eq(errno, EAGAIN);
        cr_assert_geq(sd_event_run(loop, 20000), 0);
        (*ret_turns)++;
    }
    return sent;
}

static bool logged(const char *text)
{
    AUTO(free) char *log = scratch_read(path);
    return strstr(log, text) != NULL;
}

static void expect_slow(char byte)
{
    char block[4096];
    int turns;
    memset(block, byte, sizeof block);
    size_t sent = flood(block, sizeof block, 2500, &turns);
    cr_expect_leq(sent, PIPE + 3 * SECOND, "%zu bytes in 2.5 s", sent);
    cr_expect_geq(sent, PIPE + 2 * SECOND, "nor is it cut off: %zu bytes in 2.5 s", sent);
    /* 125 waits of 20 ms; a loop that finds the pipe readable makes many more turns. */
    cr_expect_leq(turns, 300, "the loop turned %d times", turns);
}

Test(childlog, empty_lines_without_end_wait)
{
    expect_slow('\n');
}

Test(childlog, a_line_without_end_waits)
{
    expect_slow('y');
}

/* The whole of it goes through, to its last line's being counted, and a short text at once. */
Test(childlog, says_what_it_did_not_show)
{
    char block[200 * 6 + 1] = "";
    int turns;
    for (int i = 0; i < 200; i++)
        memcpy(block + 6 * i, "lines\n", 6);
    cr_assert_eq(write(writer, block, 1200), 1200);
    for (turns = 0; turns < 100 && !logged("role=file: lines\n"); turns++)
        cr_assert_geq(sd_event_run(loop, 20000), 0);
    childlog_free(log_of);
    log_of = NULL;
    AUTO(free) char *log = scratch_read(path);
    size_t shown = 0;
    for (const char *p = log; (p = strstr(p, "role=file: lines\n")); p++)
        shown++;
    cr_expect_eq(shown, 20);
    cr_expect_not_null(strstr(log, "role=file: 180 more lines not shown"), "%s", log);
    cr_expect_null(strstr(log, "had to wait"));
}

/* What a process said last, whether or not its line was ended, or was shown. */
Test(childlog, gives_the_last_two_lines)
{
    static const char text[] = "first\n\nfatal: no \033[7mplugin";
    char last[200];
    childlog_last(log_of, last, sizeof last);
    cr_expect_str_eq(last, "");
    cr_assert_eq(write(writer, text, sizeof text - 1), sizeof text - 1);
    childlog_last(log_of, last, sizeof last);
    cr_expect_str_eq(last, "first; fatal: no ?[7mplugin");
    cr_expect(logged("role=file: first\n"));
    for (int i = 0; i < 50; i++)
        cr_assert_eq(write(writer, "more\n", 5), 5);
    cr_assert_eq(write(writer, "last\n\n", 6), 6);
    childlog_last(log_of, last, sizeof last);
    cr_expect_str_eq(last, "more; last");
    childlog_last(NULL, last, sizeof last);
    cr_expect_str_eq(last, "");
}

Test(childlog, says_who_had_to_wait)
{
    char block[4096];
    int turns;
    memset(block, '\n', sizeof block);
    flood(block, sizeof block, 100, &turns);
    childlog_free(log_of);
    log_of = NULL;
    cr_expect(logged("role=file: writes more than 65536 bytes a second to its stderr"));
}
