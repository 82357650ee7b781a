/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The worker's log: pieces of a file, its last lines, and what happens to it meanwhile */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agentd/worker_ops.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/scratch.h"

static struct {
    char dir[SCRATCH_PATH], path[128];
    struct arena arena;
    struct log_request in;
    struct log_reply out;
    struct err err;
} t;

static void set_up(void)
{
    scratch_make(t.dir);
    snprintf(t.path, sizeof t.path, "%s/log", t.dir);
    t.in.path = t.path;
}

static void tear_down(void)
{
    scratch_remove(t.dir);
    arena_done(&t.arena);
}

TestSuite(worker_log, .init = set_up, .fini = tear_down, .timeout = 60);

static void write_with(int flags, const void *p, size_t n)
{
    AUTO(close) int fd = open(t.path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, p, n), (ssize_t)n);
}

static void put(const char *text)
{
    write_with(O_TRUNC, text, strlen(text));
}

static void append(const char *text)
{
    write_with(O_APPEND, text, strlen(text));
}

static int look(void)
{
    struct worker_call c = {.arena = &t.arena};
    t.out = (struct log_reply){0};
    t.err = (struct err){0};
    return wop_log(&c, &t.in, &t.out, &t.err);
}

static void gives(const char *text, int64_t offset)
{
    cr_assert_eq(look(), 0, "%s", t.err.text);
    cr_expect_eq(t.out.data.n, strlen(text), "%.*s, not %s", (int)t.out.data.n,
                 (const char *)t.out.data.p, text);
    cr_expect(t.out.data.n == 0 || memcmp(t.out.data.p, text, strlen(text)) == 0, "%.*s, not %s",
              (int)t.out.data.n, (const char *)t.out.data.p, text);
    cr_expect_eq(t.out.offset, offset, "offset %lld", (long long)t.out.offset);
}

/* As a client goes on. */
static void go_on(void)
{
    t.in.offset = t.out.offset + (int64_t)t.out.data.n;
    t.in.file = t.out.file;
    t.in.tail = 0;
}

static void refused(enum err_code code, const char *with)
{
    cr_assert_eq(look(), -1);
    cr_expect_eq(t.err.code, code, "%s: %s", err_name(t.err.code), t.err.text);
    cr_expect_not_null(strstr(t.err.text, with), "'%s' has no '%s'", t.err.text, with);
}

static void tail_is(int64_t lines, const char *text, int64_t offset)
{
    t.in.tail = lines;
    gives(text, offset);
    cr_expect_not(t.out.restarted);
}

Test(worker_log, pieces_follow_each_other)
{
    put("one\ntwo\n");
    t.in.max = 5;
    gives("one\nt", 0);
    cr_expect_eq(t.out.size, 8);
    cr_expect_str_eq(t.out.path, t.path);
    go_on();
    gives("wo\n", 5);
    cr_expect_not(t.out.restarted);
    go_on();
    gives("", 8);
    append("three\n");
    gives("three", 8);
    cr_expect_eq(t.out.size, 14);
}

Test(worker_log, every_byte_comes_through)
{
    uint8_t all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    write_with(0, all, sizeof all);
    cr_assert_eq(look(), 0, "%s", t.err.text);
    cr_assert_eq(t.out.data.n, 256u);
    cr_expect_eq(memcmp(t.out.data.p, all, 256), 0);
}

Test(worker_log, a_piece_has_a_cap)
{
    static char big[3 << 20];
    memset(big, 'x', sizeof big);
    write_with(0, big, sizeof big);
    cr_assert_eq(look(), 0);
    cr_expect_eq(t.out.data.n, 262144u);
    t.in.max = INT64_MAX;
    cr_assert_eq(look(), 0);
    cr_expect_eq(t.out.data.n, 1048576u);
    cr_expect_eq(t.out.size, 3 << 20);
}

Test(worker_log, the_last_lines)
{
    put("a\nbb\nccc\n");
    tail_is(1, "ccc\n", 5);
    tail_is(2, "bb\nccc\n", 2);
    tail_is(3, "a\nbb\nccc\n", 0);
    tail_is(1000000, "a\nbb\nccc\n", 0);
    append("dddd");
    tail_is(1, "dddd", 9);
    tail_is(2, "ccc\ndddd", 5);
    put("");
    tail_is(5, "", 0);
    put("\n");
    tail_is(1, "\n", 0);
    put("\n\n\n");
    tail_is(2, "\n\n", 1);
    put("no newline");
    tail_is(1, "no newline", 0);
}

Test(worker_log, the_last_lines_over_blocks)
{
    enum { LINES = 70000 };
    static char text[LINES * 8 + 1];
    for (int i = 0; i < LINES; i++)
        sprintf(text + (size_t)i * 8, "%07d\n", i % 10000000);
    write_with(0, text, LINES * 8);
    for (int64_t n = 1; n < LINES; n = n * 3 + 1) {
        t.in.tail = n;
        cr_assert_eq(look(), 0);
        cr_expect_eq(t.out.offset, (LINES - n) * 8, "%lld lines", (long long)n);
    }
    /* a newline as the first and the last byte of a block, and one line longer than two */
    static char edges[3 * 65536];
    memset(edges, 'x', sizeof edges);
    edges[65535] = edges[65536] = '\n';
    write_with(O_TRUNC, edges, sizeof edges);
    t.in.max = 1;
    tail_is(1, "x", 65537);
    tail_is(2, "\n", 65536);
    tail_is(3, "x", 0);
}

Test(worker_log, shorter_than_the_offset_begins_anew)
{
    put("one\ntwo\n");
    gives("one\ntwo\n", 0);
    go_on();
    put("x\n");
    gives("x\n", 0);
    cr_expect(t.out.restarted);
    go_on();
    gives("", 2);
    cr_expect_not(t.out.restarted);
}

Test(worker_log, emptied_and_grown_again_begins_anew)
{
    put("one\ntwo\n");
    gives("one\ntwo\n", 0);
    go_on();
    put("three\nfour\nfive\n");
    gives("three\nfour\nfive\n", 0);
    cr_expect(t.out.restarted);
}

Test(worker_log, another_file_in_its_place_begins_anew)
{
    char other[160];
    put("one\n");
    gives("one\n", 0);
    go_on();
    snprintf(other, sizeof other, "%s.old", t.path);
    cr_assert_eq(rename(t.path, other), 0);
    put("one\n");
    gives("one\n", 0);
    cr_expect(t.out.restarted);
}

Test(worker_log, a_token_holds_for_any_offset)
{
    put("0123456789");
    t.in.max = 4;
    gives("0123", 0);
    t.in.file = t.out.file;
    t.in.offset = 6;
    gives("6789", 6);
    cr_expect_not(t.out.restarted);
    t.in.offset = 0;
    gives("0123", 0);
    cr_expect_not(t.out.restarted);
}

Test(worker_log, a_token_that_is_none_is_refused)
{
    static const char *const tokens[] = {"x", "1.2", "1.2.3.4", "1.ffffffffffffffff.3", "1.2.3 "};
    put("one\n");
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        t.in.file = tokens[i];
        refused(ERR_INVALID, tokens[i]);
    }
}

Test(worker_log, paths_are_whole)
{
    t.in.path = NULL;
    refused(ERR_PROTOCOL, "whole path");
    t.in.path = "relative";
    refused(ERR_PROTOCOL, "whole path");
}

Test(worker_log, what_cannot_be_read_is_named_with_its_host)
{
    char host[256];
    cr_assert_eq(gethostname(host, sizeof host), 0);
    refused(ERR_NOT_FOUND, t.path);
    cr_expect_not_null(strstr(t.err.text, "No such file"));
    cr_expect_not_null(strstr(t.err.text, host));
    t.in.path = t.dir;
    refused(ERR_INVALID, "is a directory");
    t.in.path = "/dev/zero";
    refused(ERR_INVALID, "not a regular file");
    t.in.path = t.path;
    cr_assert_eq(mkfifo(t.path, 0600), 0);
    refused(ERR_INVALID, "not a regular file");
}

Test(worker_log, a_link_is_followed_with_the_users_rights)
{
    char link[160];
    put("secret\n");
    snprintf(link, sizeof link, "%s.link", t.path);
    cr_assert_eq(symlink(t.path, link), 0);
    t.in.path = link;
    gives("secret\n", 0);
    cr_assert_eq(chmod(t.path, 0), 0);
    if (geteuid() == 0) { /* nobody; the process ends with the test */
        cr_assert_eq(chmod(t.dir, 0711), 0);
        cr_assert_eq(seteuid(65534), 0);
    }
    refused(ERR_DENIED, "Permission denied");
    if (geteuid() == 65534)
        cr_assert_eq(seteuid(0), 0);
}

/* 10 GB that take no room on the disk. */
Test(worker_log, a_huge_log_costs_neither_memory_nor_time)
{
    const int64_t huge = 10000000000;
    struct rusage before, after;
    put("begin\n");
    cr_assert_eq(truncate(t.path, huge), 0);
    append("last but one\nlast\n");
    int64_t t0 = clock_mono_ms();
    getrusage(RUSAGE_SELF, &before);
    tail_is(1, "last\n", huge + 13);
    go_on();
    gives("", huge + 18);
    t.in.max = 6;
    t.in.offset = 0;
    gives("begin\n", 0);
    t.in.file = NULL;
    t.in.offset = huge;
    t.in.max = 0;
    gives("last but one\nlast\n", huge);
    t.in.tail = 1000; /* they are not there: the search ends 64 MiB back */
    t.in.max = 1;
    cr_assert_eq(look(), 0, "%s", t.err.text);
    cr_expect_eq(t.out.offset, huge + 13 - 0, "the first whole line that was found: %lld",
                 (long long)t.out.offset);
    getrusage(RUSAGE_SELF, &after);
    cr_expect_lt(after.ru_maxrss - before.ru_maxrss, 8192, "KiB");
    cr_expect_lt(clock_mono_ms() - t0, 5000);
}
