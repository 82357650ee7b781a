/* SPDX-License-Identifier: GPL-3.0-or-later */
/* within.h: run what may never return, and go on without it
 *
 * For calls of libraries that wait without a deadline: nng before 1.8 may close a socket for ever.
 */
#ifndef COMMON_WITHIN_H
#define COMMON_WITHIN_H

#include <stdbool.h>

enum { WITHIN_OVERDUE_MAX = 64 };

/* Runs fn(arg) on a thread of its own, with all signals blocked, and waits for its end for at most
 * ms; for none when an earlier one is overdue still, as what that waits for is most likely what
 * this one would.  false: it has not ended; whatever it uses is its own from now on, for good.
 * Without a thread to be had fn runs on the caller's. */
bool within(int ms, void (*fn)(void *), void *arg);

/* How many were not waited for to their end and have not ended since.  From WITHIN_OVERDUE_MAX on
 * callers should begin nothing that would have to be ended so. */
unsigned within_overdue(void);

#endif
