/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/held.h"

#include "common/clock.h"
#include "common/seal.h"

enum { FIRST_BASE_MS = 200, MAX_BASE_MS = 10000 };

void held_init(struct held *h, struct sagent *s, int64_t give_ms)
{
    *h = (struct held){.s = s, .end_ms = HELD_FOREVER};
    if (give_ms != HELD_FOREVER)
        h->end_ms = clock_mono_ms() + give_ms;
}

int64_t held_left_ms(const struct held *h)
{
    return h->end_ms == HELD_FOREVER ? HELD_FOREVER : h->end_ms - clock_mono_ms();
}

int64_t held_wait_ms(const struct held *h, int64_t wanted_ms)
{
    int64_t left = held_left_ms(h), ms = wanted_ms < HELD_MAX_MS ? wanted_ms : HELD_MAX_MS;
    if (left < ms)
        ms = left;
    return ms < 1 ? 1 : ms;
}

bool held_is_over(const struct held *h)
{
    return held_left_ms(h) <= 0;
}

int held_ask(struct held *h, int64_t wait_ms, enum op_number op, const struct msg_type *type,
             const void *request, struct handle_call *ret, struct err *err)
{
    int64_t left = held_left_ms(h), limit = wait_ms + HELD_SLACK_MS;
    if (left < 0)
        left = 0;
    if (left < limit - HELD_GRACE_MS)
        limit = left + HELD_GRACE_MS;
    int rc = handle_ask_for(h->s, (int)limit, op, type, request, ret, err);
    if (rc == 0)
        handle_outage(h->s, NULL);
    return rc;
}

int64_t held_next_base_ms(int64_t base_ms)
{
    int64_t next = base_ms ? 2 * base_ms : FIRST_BASE_MS;
    return next < MAX_BASE_MS ? next : MAX_BASE_MS;
}

int64_t held_pause_ms(int64_t base_ms, int64_t advice_ms, uint32_t chance)
{
    int64_t half = base_ms / 2;
    return advice_ms + half + chance % (half + 1);
}

int64_t held_longer_pause_ms(int64_t *base_ms, int64_t most_base_ms, int64_t advice_ms)
{
    uint32_t chance;
    seal_random(&chance, sizeof chance);
    *base_ms = held_next_base_ms(*base_ms);
    if (*base_ms > most_base_ms)
        *base_ms = most_base_ms;
    return held_pause_ms(*base_ms, advice_ms, chance);
}

int held_again(struct held *h, struct err *err)
{
    /* BUSY is a server's word: there is one. */
    bool met = handle_has_been_served(h->s) || err->code == ERR_BUSY;
    if (!err_retry(err->code) || !met)
        return -1;
    handle_outage(h->s, err);
    int64_t ms = held_longer_pause_ms(&h->base_ms, MAX_BASE_MS, err->retry_after_ms);
    if (ms >= held_left_ms(h))
        return -1;
    *err = (struct err){0};
    return handle_pause(h->s, ms, err);
}

int held_was_early(struct held *h, int64_t asked_ms, int64_t wait_ms, struct err *err)
{
    if (clock_mono_ms() - asked_ms >= wait_ms / 2) {
        h->base_ms = 0;
        return 0;
    }
    return handle_pause(h->s, held_wait_ms(h, held_longer_pause_ms(&h->base_ms, MAX_BASE_MS, 0)),
                        err);
}
