/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agentd/check.h"
#include "agentd/monitor_proto.h"

void check_say(enum check_result result, const char *what, const char *fmt, ...)
{
    char text[600], line[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int n = snprintf(line, sizeof line, "%c%s\t%s\n", result, what, text);
    while (write(MONITOR_FD, line, (size_t)n) < 0 && errno == EINTR)
        ;
}
