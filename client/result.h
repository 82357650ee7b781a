/* SPDX-License-Identifier: GPL-3.0-or-later */
/* result.h: what a call gives: a public struct and the arena that everything in it lives in */
#ifndef CLIENT_RESULT_H
#define CLIENT_RESULT_H

#include <stddef.h>

#include "common/arena.h"

/* A zeroed struct of size bytes; NULL without memory. */
void *result_new(size_t size);
struct arena *result_arena(void *result);
/* NULL is fine. */
void result_free(void *result);

#endif
