/* SPDX-License-Identifier: GPL-3.0-or-later */
/* bucket.h: a token bucket: so many a second, with a burst of one second's worth */
#ifndef AGENTD_BUCKET_H
#define AGENTD_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    int64_t tokens_m; /* thousandths */
    int64_t at_ms;
};

static inline void bucket_fill(struct bucket *b, int64_t rate)
{
    b->tokens_m = rate * 1000;
}

static inline bool bucket_has(struct bucket *b, int64_t rate, int64_t now_ms)
{
    int64_t passed = now_ms - b->at_ms;
    if (passed > 0) {
        b->at_ms = now_ms;
        if (passed > 2000) /* a second's worth may be owed */
            passed = 2000;
        b->tokens_m += passed * rate;
        if (b->tokens_m > rate * 1000)
            bucket_fill(b, rate);
    }
    return b->tokens_m >= 1000;
}

/* As if nothing had been taken for a second. */
static inline bool bucket_is_full(struct bucket *b, int64_t rate, int64_t now_ms)
{
    return bucket_has(b, rate, now_ms) && b->tokens_m >= rate * 1000;
}

/* False, and nothing taken, when there is none. */
static inline bool bucket_take(struct bucket *b, int64_t rate, int64_t now_ms)
{
    if (!bucket_has(b, rate, now_ms))
        return false;
    b->tokens_m -= 1000;
    return true;
}

/* Takes more, for what has been done already: at most a second's worth is owed then. */
static inline void bucket_owe(struct bucket *b, int64_t rate, int64_t n)
{
    b->tokens_m -= n < 2 * rate ? n * 1000 : 2 * rate * 1000;
    if (b->tokens_m < -rate * 1000)
        b->tokens_m = -rate * 1000;
}

#endif
