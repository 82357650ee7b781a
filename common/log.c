/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Set once at start, before any thread. */
static const char *program = "slurm-agent";
static enum log_level level_max = LOG_LEVEL_INFO;
static bool journal;

void log_setup(const char *who, enum log_level max)
{
    program = who;
    level_max = max;
    journal = getenv("JOURNAL_STREAM") != NULL;
}

static bool continues(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* How many bytes the UTF-8 character at p has; 0: it is none, or one that controls a terminal. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    if (*p < 0x80)
        return *p >= 0x20 && *p != 0x7f;
    if (*p >= 0xc2 && *p < 0xe0) /* U+0080 to U+009F are the C1 controls */
        return n >= 2 && continues(p[1]) && (*p > 0xc2 || p[1] >= 0xa0) ? 2 : 0;
    if (*p >= 0xe0 && *p < 0xf0)
        return n >= 3 && continues(p[1]) && continues(p[2]) && (*p > 0xe0 || p[1] >= 0xa0) ? 3 : 0;
    if (*p >= 0xf0 && *p < 0xf5)
        return n >= 4 && continues(p[1]) && continues(p[2]) && continues(p[3]) ? 4 : 0;
    return 0;
}

/* One call is one line, whatever the strings held, and does nothing to the terminal it is shown on.
 */
static void make_plain(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length((const unsigned char *)text + i, n - i);
        if (!length)
            text[i] = '?';
        i += length ? length : 1;
    }
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (level > level_max)
        return;
    int saved = errno;
    char line[1400];
    int n = journal ? snprintf(line, sizeof line, "<%d>%s: ", (int)level, program)
                    : snprintf(line, sizeof line, "%s: ", program);
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    make_plain(line + n, len - (size_t)n);
    line[len] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len + 1);
    (void)ignored;
    errno = saved;
}
