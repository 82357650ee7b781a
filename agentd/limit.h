/* SPDX-License-Identifier: GPL-3.0-or-later */
/* limit.h: how many a second: token buckets, one for all and one for each address
 *
 * Belongs to one thread.
 */
#ifndef AGENTD_LIMIT_H
#define AGENTD_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct limit;
/* rate tokens a second, in all and for each key; a burst of one second's worth.  The last quarter
 * of the whole is for keys that have taken nothing for a second. */
struct limit *limit_new(int64_t rate, int64_t rate_per_key);
void limit_free(struct limit *l);
/* Takes a token of both buckets, or of none. */
bool limit_take(struct limit *l, const char *key, int64_t now_ms);

#endif
