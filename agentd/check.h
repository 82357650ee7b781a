/* SPDX-License-Identifier: GPL-3.0-or-later */
/* check.h: slurm-agentd --check: does everything work that is needed, and if not, what to do
 *
 * Each program looks at what it will need, as who it will be: the monitor starts it with --check
 * and prints what it says (check.c); the program says it on a pipe (check_say.c).  A line for each
 * finding.
 */
#ifndef AGENTD_CHECK_H
#define AGENTD_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "agentd/conf.h"
#include "agentd/programs.h"

/* As they go over the pipe. */
enum check_result { CHECK_OK = '+', CHECK_NOTE = '-', CHECK_FAIL = '!' };

/* ---- in the programs ---- */

/* what: one word, "munge"; the text says what was found, and with CHECK_FAIL what to do. */
void check_say(enum check_result result, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Each program's look around. */
void broker_check(const struct agentd_conf *conf);
void auth_check(const struct agentd_conf *conf);
void worker_check(const struct agentd_conf *conf);

/* ---- in the monitor ---- */

struct check {
    const char *conf_path; /* NULL: none */
    bool single_user;
    int settings_fd;
    const struct programs *programs;
    unsigned findings, failed;
};

struct settings;

/* All of it; conf_err: what was wrong with the settings.  The exit status. */
int monitor_check(const char *conf_path, bool single_user, struct settings *settings,
                  struct programs *programs, const struct err *conf_err);
/* Is the file root's, as the service needs it?  -1 with what to do about it. */
int check_conf_owner(const char *path, bool single_user, char *out, size_t size);
/* Prints a finding of the monitor's own. */
void check_line(struct check *c, enum check_result result, const char *what, const char *text);
/* Runs each program as it would run, and prints what it finds. */
void check_programs(struct check *c);
/* Prints the sum; the exit status. */
int check_end(const struct check *c);

#endif
