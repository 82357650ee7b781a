/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "agentd/requests_set.h"
#include "common/str.h"

bool request_add_waiter(struct requests *r, struct request *q, const uint8_t hash[REQUEST_HASH],
                        request_fn fn, void *arg)
{
    struct request_waiter *w = calloc(1, sizeof *w), **at = &q->waiters;
    if (!w)
        return false;
    memcpy(w->hash, hash, REQUEST_HASH);
    w->deadline_ms = requests_now_ms(r) + REQUEST_WAIT_MS;
    w->fn = fn;
    w->arg = arg;
    while (*at)
        at = &(*at)->next;
    *at = w;
    return true;
}

int request_conflict(const uint8_t id[REQUEST_ID], struct err *err)
{
    char hex[2 * REQUEST_ID + 1];
    str_hex(id, REQUEST_ID, hex);
    return err_set(err, ERR_CONFLICT,
                   "request id %s was used for another submit: an id stands for one script with "
                   "its options and environment",
                   hex);
}

void request_tell(struct request *q, struct request_waiter *w, const struct err *why)
{
    struct err err = *why;
    if (err.code == ERR_NONE && memcmp(w->hash, q->hash, REQUEST_HASH) != 0)
        request_conflict(q->id, &err);
    w->fn(w->arg, err.code == ERR_NONE ? REQUEST_ANSWER : REQUEST_FAIL, q, &err);
    free(w);
}

void request_tell_all(struct request *q, const struct err *why)
{
    struct request_waiter *w = q->waiters;
    q->waiters = NULL;
    while (w) {
        struct request_waiter *next = w->next;
        request_tell(q, w, why);
        w = next;
    }
}

void request_answer_all(struct request *q)
{
    request_tell_all(q, &(struct err){0});
}

void request_expire_waiters(struct requests *r, struct request *q)
{
    struct request_waiter **at = &q->waiters;
    while (*at) {
        struct request_waiter *w = *at;
        if (w->deadline_ms > requests_now_ms(r) || q->state == REQUEST_BEGINNING) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        request_tell(q, w, &(struct err){0});
        at = &q->waiters; /* it may have asked anew */
    }
}
