/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/limit.h"

#include <stdlib.h>

#include "common/str.h"

/* Buckets are found by hash; two addresses that fall on one entry within the same second share or
 * displace each other, which at worst lets one of them have another second's burst. */
enum { LIMIT_ENTRIES = 4096, LIMIT_KEY = 64 };

struct bucket {
    char key[LIMIT_KEY];
    int64_t tokens_m; /* thousandths */
    int64_t at_ms;
};

struct limit {
    int64_t rate, rate_per_key;
    struct bucket all;
    struct bucket by_key[LIMIT_ENTRIES];
};

struct limit *limit_new(int64_t rate, int64_t rate_per_key)
{
    struct limit *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->rate = rate;
    l->rate_per_key = rate_per_key;
    l->all.tokens_m = rate * 1000;
    return l;
}

void limit_free(struct limit *l)
{
    free(l);
}

static void refill(struct bucket *b, int64_t rate, int64_t now_ms)
{
    int64_t passed = now_ms - b->at_ms;
    if (passed <= 0)
        return;
    b->at_ms = now_ms;
    if (passed > 1000)
        passed = 1000;
    b->tokens_m += passed * rate;
    if (b->tokens_m > rate * 1000)
        b->tokens_m = rate * 1000;
}

static struct bucket *find(struct limit *l, const char *key)
{
    uint64_t h = 1469598103934665603ULL; /* FNV-1a */
    for (const char *p = key; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    struct bucket *b = &l->by_key[h % LIMIT_ENTRIES];
    if (!str_eq(b->key, key)) {
        str_copy(b->key, sizeof b->key, key);
        b->tokens_m = l->rate_per_key * 1000;
        b->at_ms = 0;
    }
    return b;
}

bool limit_take(struct limit *l, const char *key, int64_t now_ms)
{
    struct bucket *b = find(l, key);
    refill(&l->all, l->rate, now_ms);
    refill(b, l->rate_per_key, now_ms);
    if (l->all.tokens_m < 1000 || b->tokens_m < 1000)
        return false;
    l->all.tokens_m -= 1000;
    b->tokens_m -= 1000;
    return true;
}
