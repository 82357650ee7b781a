/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rates.h: how often a user may ask for what: token buckets by rates.def
 *
 * Used by dispatch.c; each user has one struct rates.  Belongs to the loop.
 */
#ifndef AGENTD_RATES_H
#define AGENTD_RATES_H

#include "agentd/bucket.h"
#include "agentd/conf.h"
#include "agentd/metrics.h"

/* All zero is a user who has not asked for anything for a while. */
struct rates {
    struct bucket buckets[DIM_rate_N];
    unsigned waiting[DIM_rate_N]; /* requests that wait for a token, see paced.h */
    unsigned refused;             /* and that are refused, which their sender is not told yet */
};

/* 0: it may be done, and a token is gone.  Else in how many milliseconds there may be one, behind
 * those that wait; nothing is taken, and its class is in *ret_class then. */
int rates_take(struct rates *r, const struct agentd_conf *conf, enum op_index op, int64_t now_ms,
               enum rate_index *ret_class);
/* The same for one of those that wait. */
int rates_take_turn(struct rates *r, const struct agentd_conf *conf, enum rate_index class,
                    int64_t now_ms);
/* What a large answer costs besides, once it is there: of queries a token for each RATES_BYTES, so
 * that whoever lists everything over and over has no more of our time than others.  At most a
 * second's worth is owed. */
enum { RATES_BYTES = 64 << 10 };
void rates_answered(struct rates *r, const struct agentd_conf *conf, enum op_index op,
                    size_t bytes);
/* Could it be forgotten, with nothing owed? */
bool rates_rested(struct rates *r, const struct agentd_conf *conf);
/* Tokens of the last second, for caps.def. */
int64_t rates_used(const struct rates *r, const struct agentd_conf *conf, enum rate_index class);
/* The setting's name. */
const char *rates_setting(enum rate_index class);

#endif
