/* SPDX-License-Identifier: GPL-3.0-or-later */
/* echo.h: the ruler for status: what nng's reply socket costs when there is nothing behind it */
#ifndef TESTS_BENCH_ECHO_H
#define TESTS_BENCH_ECHO_H

#include <sys/types.h>

/* A process that answers whatever comes with as many bytes as a status has; it listens on return.
 * It ends with this one, or by echo_stop(). */
pid_t echo_start(const char *address);
void echo_stop(pid_t pid);

#endif
