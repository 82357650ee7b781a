/* SPDX-License-Identifier: GPL-3.0-or-later */
/* held.h: held - requests that the server holds back, asked again over its outages
 *
 * Used by api_follow.c.  Belongs to its handle's thread.
 */
#ifndef CLIENT_HELD_H
#define CLIENT_HELD_H

#include "client/handle.h"

enum {
    HELD_MAX_MS = 60000,   /* the longest a server holds a request */
    HELD_SLACK_MS = 30000, /* it may answer so much later, having asked slurmdbd first, say */
    HELD_GRACE_MS = 5000,  /* what a call may take longer than its caller has given it */
};
#define HELD_FOREVER INT64_MAX

struct held {
    struct sagent *s;
    int64_t end_ms;  /* of clock_mono_ms(); HELD_FOREVER */
    int64_t base_ms; /* of the back-off; 0 after an answer that was held */
};

/* give_ms: all that is to take; HELD_FOREVER. */
void held_init(struct held *h, struct sagent *s, int64_t give_ms);
/* wanted_ms, or what is left of the time and of HELD_MAX_MS; at least 1. */
int64_t held_wait_ms(const struct held *h, int64_t wanted_ms);
/* What is left of the time, below 1 when it is over; HELD_FOREVER. */
int64_t held_left_ms(const struct held *h);
/* Is all the time over? */
bool held_is_over(const struct held *h);
/* One attempt; the request must ask the server to hold it for wait_ms at most. */
int held_ask(struct held *h, int64_t wait_ms, enum op_number op, const struct msg_type *type,
             const void *request, struct handle_call *ret, struct err *err);
/* After an attempt that has failed: pauses, empties *err and returns 0 when another one may help,
 * else -1.  A server that has never answered is no outage: it may be the wrong address. */
int held_again(struct held *h, struct err *err);

/* After an answer that says that there is nothing to say, to a request asked at asked_ms that was
 * to be held for wait_ms: pauses when it came much too early, so that nobody asks in circles. */
int held_was_early(struct held *h, int64_t asked_ms, int64_t wait_ms, struct err *err);

/* Back-off: 200 ms, doubled up to 10 s. */
int64_t held_next_base_ms(int64_t base_ms);
/* The next pause of a back-off whose base grows up to most_base_ms, by chance. */
int64_t held_longer_pause_ms(int64_t *base_ms, int64_t most_base_ms, int64_t advice_ms);
/* The server's advice (0: none), and on top of it between a half and all of the base, as chance
 * (any number) has it: the clients of one outage must not come back all at once. */
int64_t held_pause_ms(int64_t base_ms, int64_t advice_ms, uint32_t chance);

#endif
