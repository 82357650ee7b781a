/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/turns.h"

static void append(struct turns *t, struct turns_queue *q)
{
    q->next = NULL;
    if (t->last)
        t->last->next = q;
    else
        t->first = q;
    t->last = q;
}

void turns_add(struct turns *t, struct turn *item, uint64_t who)
{
    struct turns_queue *q = &t->queues[who % TURNS_QUEUES];
    item->next = NULL;
    if (q->first) {
        q->last->next = item;
    } else {
        q->first = item;
        append(t, q);
    }
    q->last = item;
}

bool turns_any(const struct turns *t)
{
    return t->first != NULL;
}

struct turn *turns_take(struct turns *t)
{
    struct turns_queue *q = t->first;
    if (!q)
        return NULL;
    struct turn *item = q->first;
    t->first = q->next;
    if (!t->first)
        t->last = NULL;
    q->first = item->next;
    if (q->first)
        append(t, q);
    return item;
}
