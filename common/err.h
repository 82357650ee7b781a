/* SPDX-License-Identifier: GPL-3.0-or-later */
/* err.h: what went wrong, in words a user can act on
 *
 * A function that can fail returns 0 or -1 and takes a struct err * last.  It is filled once, where
 * the cause is found; callers may put context in front.  No thread, no globals.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

enum err_code {
    ERR_NONE = 0,
#define ERR(name, number, status, retry, help) ERR_##name = (number),
#include "common/errors.def"
#undef ERR
};

struct err {
    enum err_code code; /* ERR_NONE until something fails */
    int slurm_errno;    /* Slurm's own number (slurm_errno.h), 0 when Slurm was not the one */
    int retry_after_ms; /* with a code that may be retried; 0 when there is no advice */
    bool bad_option;    /* an option of sbatch's that is none, or a value it does not take */
    char text[500];     /* one sentence, no newline */
};

/* Fills *e unless it is filled already: the first cause wins.  Keeps errno.  Returns -1. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with ": " and strerror(errno) behind the text. */
int err_errno(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "doing x: " in front of a filled error.  Returns -1. */
int err_while(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "DENIED" and so on; "UNKNOWN" for a number this build does not know. */
const char *err_name(enum err_code code);
/* One line about the code. */
const char *err_help(enum err_code code);
/* May the same request succeed later? */
bool err_retry(enum err_code code);
/* The CLI's exit status. */
int err_exit_status(enum err_code code);
/* ERR_INTERNAL for numbers this build does not know. */
enum err_code err_from_wire(long long number);

#endif
