/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

/* The line that text makes on stderr, without the program's name. */
static const char *logged(const char *text)
{
    static char line[2000];
    int fds[2], saved = dup(STDERR_FILENO);
    cr_assert_eq(pipe(fds), 0);
    dup2(fds[1], STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
    log_setup("t", LOG_LEVEL_INFO);
    log_info("%s", text);
    dup2(saved, STDERR_FILENO);
    ssize_t n = read(fds[0], line, sizeof line - 1);
    cr_assert_gt(n, 3);
    line[n] = '\0';
    close(fds[0]);
    close(fds[1]);
    close(saved);
    return line + strlen("t: ");
}

Test(log, a_line_is_one_line)
{
    cr_expect_str_eq(logged("a\nb\rc\td\x7f"), "a?b?c?d?\n");
}

Test(log, nothing_controls_the_terminal)
{
    cr_expect_str_eq(logged("\x1b[2J"), "?[2J\n");
    cr_expect_str_eq(logged("\x9b"
                            "2J"),
                     "?2J\n", "a bare C1 byte");
    cr_expect_str_eq(logged("\xc2\x9b"
                            "2J"),
                     "??2J\n", "the same in UTF-8");
    cr_expect_str_eq(logged("\xe2\x82"), "??\n", "cut off");
    cr_expect_str_eq(logged("\xc0\x8a"), "??\n", "a newline, overlong");
    cr_expect_str_eq(logged("\xe0\x82\x9b"), "???\n", "overlong");
    cr_expect_str_eq(logged("\xff"), "?\n");
}

/* A partition's name, say, that would be a line about another job. */
Test(log, what_is_quoted_ends_where_it_ends)
{
    char out[64], small[8];
    cr_expect_str_eq(log_quoted("no partition 'x\" job=9 code=OK \"'", out, sizeof out),
                     "\"no partition 'x\\\" job=9 code=OK \\\"'\"");
    cr_expect_str_eq(log_quoted("a\\", out, sizeof out), "\"a\\\\\"");
    cr_expect_str_eq(log_quoted("", out, sizeof out), "\"\"");
    cr_expect_str_eq(log_quoted("abcdefgh", small, sizeof small), "\"abcde\"");
    cr_expect_str_eq(log_quoted("abcd\"h", small, sizeof small), "\"abcd\"",
                     "nothing is cut in two");
    cr_expect_str_eq(log_quoted("abc\"h", small, sizeof small), "\"abc\\\"\"");
}

Test(log, words_of_any_language_stay)
{
    static const char *const good[] = {"J\xc3\xb6rg", "\xc2\xa0", "\xe2\x82\xac", "\xe6\xbc\xa2",
                                       "\xf0\x9f\x90\xa7"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const char *line = logged(good[i]);
        cr_expect(strncmp(line, good[i], strlen(good[i])) == 0, "%s became %s", good[i], line);
    }
}
