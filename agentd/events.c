/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/events.h"

#include "agentd/metrics.h"
#include "common/clock.h"
#include "common/str.h"

enum { EVENTS_FIRST = 1024 };

/* A ring: the event with sequence number s is at s % size. */
struct events {
    struct event_entry *v;
    size_t size;            /* a power of two; 0: nothing allocated yet */
    uint64_t first, newest; /* newest < first: empty */
    size_t bytes, max_bytes;
};

static struct event_entry *entry(const struct events *e, uint64_t seq)
{
    return &e->v[seq & (e->size - 1)];
}

/* A record is shared with the table while it is the job's newest: count it all the same. */
static size_t weight(const struct jobrec *rec)
{
    return sizeof(struct event_entry) + sizeof *rec + rec->packed.n;
}

static void drop_oldest(struct events *e)
{
    struct event_entry *ev = entry(e, e->first++);
    e->bytes -= weight(ev->rec);
    jobrec_unref(ev->rec);
    ev->rec = NULL;
}

static bool grow(struct events *e)
{
    struct events bigger = *e;
    bigger.size = e->size ? e->size * 2 : EVENTS_FIRST;
    bigger.v = calloc(bigger.size, sizeof *bigger.v);
    if (!bigger.v)
        return false;
    for (uint64_t s = e->first; s <= e->newest; s++)
        *entry(&bigger, s) = *entry(e, s);
    free(e->v);
    *e = bigger;
    return true;
}

struct events *events_new(size_t max_bytes)
{
    struct events *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->max_bytes = max_bytes;
    e->first = 1;
    return e;
}

void events_free(struct events *e)
{
    if (!e)
        return;
    while (e->first <= e->newest)
        drop_oldest(e);
    free(e->v);
    free(e);
}

bool events_add(struct events *e, enum event_what what, const char *was, int64_t number,
                struct jobrec *rec)
{
    metrics_add(events, 0, 0, 1);
    while (e->first <= e->newest && e->bytes + weight(rec) > e->max_bytes)
        drop_oldest(e);
    if (e->newest + 1 - e->first >= e->size && !grow(e)) {
        while (e->first <= e->newest)
            drop_oldest(e);
        e->first = ++e->newest + 1; /* the number of the one that is missing */
        return false;
    }
    struct event_entry *ev = entry(e, ++e->newest);
    *ev = (struct event_entry){
        .what = what,
        .time = clock_now(),
        .number = number,
        .rec = jobrec_ref(rec),
    };
    str_copy(ev->was, sizeof ev->was, was);
    e->bytes += weight(rec);
    return true;
}

uint64_t events_newest(const struct events *e)
{
    return e->newest;
}

bool events_reach(const struct events *e, uint64_t seq)
{
    return seq <= e->newest && seq + 1 >= e->first;
}

uint64_t events_each(const struct events *e, uint64_t seq, events_fn fn, void *arg)
{
    uint64_t s = seq + 1 > e->first ? seq + 1 : e->first;
    for (; s <= e->newest && fn(arg, s, entry(e, s)) == 0; s++)
        seq = s;
    return seq;
}

const char *event_word(enum event_what what)
{
    static const char *const words[] = {
        [EVENT_NEW] = "new",   [EVENT_CHANGE] = "change", [EVENT_END] = "end",
        [EVENT_LOST] = "lost", [EVENT_STATE] = "state",
    };
    return words[what];
}
