/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/result.h"

#include <stdlib.h>

enum { RESULT_MAX = 1 << 30 }; /* bytes: a million jobs take less */

struct holder {
    struct arena arena;
    max_align_t data[]; /* the public struct */
};

static struct holder *holder_of(void *result)
{
    return (struct holder *)((char *)result - offsetof(struct holder, data));
}

void *result_new(size_t size)
{
    struct holder *h = calloc(1, sizeof *h + size);
    if (!h)
        return NULL;
    arena_init(&h->arena, RESULT_MAX);
    return h->data;
}

struct arena *result_arena(void *result)
{
    return &holder_of(result)->arena;
}

void result_free(void *result)
{
    if (!result)
        return;
    struct holder *h = holder_of(result);
    arena_done(&h->arena);
    free(h);
}
