/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/limit.h"

#include <stdlib.h>

#include "agentd/bucket.h"
#include "common/str.h"

/* Buckets are found by hash; two addresses that fall on one entry within the same second share or
 * displace each other, which at worst lets one of them have another second's burst. */
enum {
    LIMIT_ENTRIES = 4096,
    LIMIT_KEY = 64,
    LIMIT_RESERVE = 4, /* the last of so many parts of the whole is for those that were quiet */
};

struct keyed {
    char key[LIMIT_KEY];
    struct bucket bucket;
};

struct limit {
    int64_t rate, rate_per_key;
    struct bucket all;
    struct keyed by_key[LIMIT_ENTRIES];
};

struct limit *limit_new(int64_t rate, int64_t rate_per_key)
{
    struct limit *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->rate = rate;
    l->rate_per_key = rate_per_key;
    bucket_fill(&l->all, rate);
    return l;
}

void limit_free(struct limit *l)
{
    free(l);
}

static struct bucket *find(struct limit *l, const char *key)
{
    uint64_t h = 1469598103934665603ULL; /* FNV-1a */
    for (const char *p = key; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    struct keyed *k = &l->by_key[h % LIMIT_ENTRIES];
    if (!str_eq(k->key, key)) {
        str_copy(k->key, sizeof k->key, key);
        k->bucket.at_ms = 0;
        bucket_fill(&k->bucket, l->rate_per_key);
    }
    return &k->bucket;
}

/* A few keys may use up the rest, and those that have been quiet still get in. */
static bool may_take(struct limit *l, struct bucket *b, int64_t now_ms)
{
    return bucket_has(&l->all, l->rate, now_ms) &&
           (l->all.tokens_m >= l->rate * 1000 / LIMIT_RESERVE ||
            bucket_is_full(b, l->rate_per_key, now_ms));
}

bool limit_take(struct limit *l, const char *key, int64_t now_ms)
{
    struct bucket *b = find(l, key);
    if (!may_take(l, b, now_ms) || !bucket_take(b, l->rate_per_key, now_ms))
        return false;
    return bucket_take(&l->all, l->rate, now_ms);
}
