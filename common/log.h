/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log.h: lines on stderr, with the <N> levels journald reads when it is journald who reads
 *
 * Thread-safe: a line is one write().  Never a credential, a script or an environment.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* who: the program's short name, static.  Levels above max are not written. */
void log_setup(const char *who, enum log_level max);
/* s between double quotes, with a backslash before those in it and before backslashes: what a user
 * chose cannot end it and go on as a field.  Cut where out ends.  Gives out. */
const char *log_quoted(const char *s, char *out, size_t size);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
