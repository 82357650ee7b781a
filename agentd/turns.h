/* SPDX-License-Identifier: GPL-3.0-or-later */
/* turns.h: what waits, served in turns: one of each who, then the next of each
 *
 * First come first served would let one user's thousands go before everybody else's one.  Belongs
 * to the loop.
 */
#ifndef AGENTD_TURNS_H
#define AGENTD_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins the struct that waits. */
struct turn {
    struct turn *next;
};

enum { TURNS_QUEUES = 1024 };

/* Some of many share a queue: nothing is to be allocated for them. */
struct turns_queue {
    struct turn *first, *last;
    struct turns_queue *next; /* whose turn is next, of those that are not empty */
};

/* All zero is empty. */
struct turns {
    struct turns_queue queues[TURNS_QUEUES];
    struct turns_queue *first, *last;
};

void turns_add(struct turns *t, struct turn *item, uint64_t who);
bool turns_any(const struct turns *t);
/* NULL when nothing waits. */
struct turn *turns_take(struct turns *t);

#endif
