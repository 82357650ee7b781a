/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/str.h"

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

const char *log_quoted(const char *s, char *out, size_t size)
{
    size_t n = 0;
    out[n++] = '"';
    for (; *s; s++) {
        bool special = *s == '"' || *s == '\\';
        if (n + special + 3 > size) /* it, the last quote and the end */
            break;
        if (special)
            out[n++] = '\\';
        out[n++] = *s;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
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
    line[len] = '\0';
    str_printable(line + n); /* one call is one line, whatever the strings held */
    line[len] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len + 1);
    (void)ignored;
    errno = saved;
}
