/* SPDX-License-Identifier: GPL-3.0-or-later */
/* arena.h: memory that is freed all at once: what one decoded message or one answer is made of
 *
 * Not thread-safe; an arena belongs to whoever works on the message.  Bytes come zeroed.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

#include "common/cleanup.h"

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used_bytes;          /* asked for so far */
    size_t max_bytes;           /* 0: no cap */
};

/* max_bytes caps what may be asked of it; 0 is no cap. */
void arena_init(struct arena *a, size_t max_bytes);
/* Frees everything; the arena is as after arena_init(). */
void arena_done(struct arena *a);

static inline void cleanup_arena_done(struct arena *a)
{
    arena_done(a);
}

/* NULL past the cap or without memory. */
void *arena_alloc(struct arena *a, size_t size);
/* n objects of size; NULL also when the product overflows. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* Copies n bytes and puts a NUL behind. */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
