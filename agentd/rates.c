/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/rates.h"

enum { RATE_AT_none = DIM_rate_N };

static const unsigned char classes[DIM_op_N] = {
#define RATED(op, class) [OP_AT_##op] = RATE_AT_##class + 1, /* 0: rates.def lacks it */
#include "agentd/rates.def"
#undef RATED
};

static int64_t rate_of(const struct agentd_conf *conf, enum rate_index class)
{
    const int64_t rates[] = {
#define RATE(class, setting, help) [RATE_AT_##class] = conf->setting,
#include "agentd/rates.def"
#undef RATE
    };
    return rates[class];
}

const char *rates_setting(enum rate_index class)
{
    static const char *const names[] = {
#define RATE(class, setting, help) [RATE_AT_##class] = #setting,
#include "agentd/rates.def"
#undef RATE
    };
    return names[class];
}

/* DIM_rate_N: none. */
static enum rate_index class_of(enum op_index op)
{
    return (enum rate_index)(classes[op] ? classes[op] - 1 : RATE_AT_queries);
}

/* Until there are n tokens. */
static int wait_ms(const struct bucket *b, int64_t rate, int64_t n)
{
    return (int)((n * 1000 - b->tokens_m + rate - 1) / rate);
}

int rates_take_turn(struct rates *r, const struct agentd_conf *conf, enum rate_index class,
                    int64_t now_ms)
{
    struct bucket *b = &r->buckets[class];
    int64_t rate = rate_of(conf, class);
    return bucket_take(b, rate, now_ms) ? 0 : wait_ms(b, rate, 1);
}

int rates_take(struct rates *r, const struct agentd_conf *conf, enum op_index op, int64_t now_ms,
               enum rate_index *ret_class)
{
    enum rate_index class = class_of(op);
    if (class == (enum rate_index)RATE_AT_none)
        return 0;
    *ret_class = class;
    if (!r->waiting[class])
        return rates_take_turn(r, conf, class, now_ms);
    struct bucket *b = &r->buckets[class];
    int64_t rate = rate_of(conf, class);
    bucket_has(b, rate, now_ms);
    int ms = wait_ms(b, rate, (int64_t)r->waiting[class] + 1);
    return ms > 1 ? ms : 1;
}

void rates_answered(struct rates *r, const struct agentd_conf *conf, enum op_index op, size_t bytes)
{
    if (class_of(op) == RATE_AT_queries)
        bucket_owe(&r->buckets[RATE_AT_queries], rate_of(conf, RATE_AT_queries),
                   (int64_t)(bytes / RATES_BYTES));
}

bool rates_rested(struct rates *r, const struct agentd_conf *conf)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < DIM_rate_N; i++)
        if (r->buckets[i].at_ms && !bucket_is_full(&r->buckets[i], rate_of(conf, i), now))
            return false;
    return true;
}

int64_t rates_used(const struct rates *r, const struct agentd_conf *conf, enum rate_index class)
{
    struct bucket b = r->buckets[class];
    int64_t rate = rate_of(conf, class);
    bucket_has(&b, rate, clock_mono_ms());
    return b.tokens_m > 0 ? rate - b.tokens_m / 1000 : rate;
}
