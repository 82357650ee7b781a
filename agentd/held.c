/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/held.h"

#include <systemd/sd-event.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/seal.h"

enum {
    BUCKETS = 16384, /* a power of two */
    TURN = 500,      /* resumed in one turn of the loop: the others' requests come in between */
    TURN_MS = 20,    /* about: one that names thousands of jobs takes some */
    ACCURACY_MS = 20,
};

/* One hold's interest in one key. */
struct held_sub {
    struct held_sub *next_of_hold;
    struct held_sub *next, **at; /* in its bucket */
    uint64_t key;
    struct hold *hold;
};

struct held {
    struct agentd *a;
    sd_event_source *run_source;
    struct held_sub *buckets[BUCKETS];
    struct hold *all;
    struct hold *ready, **ready_tail;
    size_t count;
    uint64_t news[BUCKETS];
    uint64_t salt; /* odd: nobody knows which ids share a bucket */
    bool stopping;
};

static uint64_t key_of(enum held_kind kind, uint32_t number)
{
    return (uint64_t)kind << 32 | number;
}

static size_t index_of(const struct held *w, uint64_t key)
{
    return (key * w->salt) >> 50 & (BUCKETS - 1);
}

static struct held_sub **bucket(struct held *w, uint64_t key)
{
    return &w->buckets[index_of(w, key)];
}

/* ---- one hold ---- */

void hold_init(struct hold *h, struct call *c, int64_t wait_ms,
               void (*resume)(struct hold *h, enum held_why why))
{
    *h = (struct hold){
        .call = c,
        .held = c->a->held,
        .deadline_ms = clock_mono_ms() + wait_ms,
        .resume = resume,
    };
}

static void unsubscribe(struct hold *h)
{
    while (h->subs) {
        struct held_sub *s = h->subs;
        h->subs = s->next_of_hold;
        *s->at = s->next;
        if (s->next)
            s->next->at = s->at;
        free(s);
        h->call->user->held_keys--;
    }
    h->call->user->held_keys -= h->more;
    h->n_subs = h->more = 0;
}

/* Not held any more: its call counts as one under way again. */
static void let_go(struct hold *h)
{
    unsubscribe(h);
    h->timer = sd_event_source_disable_unref(h->timer);
    *h->at = h->next;
    if (h->next)
        h->next->at = h->at;
    h->held->count--;
    h->call->user->held--;
    h->call->user->calls++;
}

static void make_ready(struct hold *h, enum held_why why)
{
    struct held *w = h->held;
    if (h->ready)
        return;
    h->ready = true;
    h->why = why;
    h->next_ready = NULL;
    *w->ready_tail = h;
    w->ready_tail = &h->next_ready;
    sd_event_source_set_enabled(w->run_source, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
    struct hold *h = arg;
    (void)s;
    (void)usec;
    make_ready(h, clock_mono_ms() >= h->deadline_ms ? HELD_EXPIRED : HELD_HAPPENED);
    return 0;
}

static int check_caps(const struct held *w, const struct user *u, struct err *err)
{
    if (w->stopping)
        return err_set(err, ERR_BUSY, "the server is stopping");
    if (w->count >= (size_t)w->a->conf.max_held)
        return err_set(err, ERR_BUSY, "%zu requests are held back, as many as are allowed",
                       w->count);
    if (u->held >= (size_t)w->a->conf.max_held_per_user)
        return err_set(err, ERR_BUSY,
                       "%zu requests of user %s are held back, as many as are allowed", u->held,
                       u->name);
    return 0;
}

int hold_begin(struct hold *h, int64_t retry_ms, struct err *err)
{
    struct held *w = h->held;
    int64_t at = h->deadline_ms;
    if (check_caps(w, h->call->user, err) < 0)
        return -1;
    if (retry_ms && clock_mono_ms() + retry_ms < at)
        at = clock_mono_ms() + retry_ms;
    if (sd_event_add_time(w->a->loop, &h->timer, CLOCK_MONOTONIC, (uint64_t)at * 1000,
                          ACCURACY_MS * 1000, on_timer, h) < 0)
        return err_set(err, ERR_BUSY, "no memory to hold another request");
    h->ready = false;
    h->next = w->all;
    h->at = &w->all;
    if (w->all)
        w->all->at = &h->next;
    w->all = h;
    w->count++;
    h->call->user->calls--;
    h->call->user->held++;
    return 0;
}

static int check_names(struct hold *h, size_t more, struct err *err)
{
    const struct user *user = h->call->user;
    size_t named = user->held_keys, max = (size_t)h->held->a->conf.max_held_ids_per_user;
    if (named <= max && more <= max - named)
        return 0;
    let_go(h);
    return err_set(err, ERR_BUSY,
                   "requests of user %s that are held back name %zu jobs, of %zu that are allowed: "
                   "name fewer, or an array as a whole",
                   user->name, named, max);
}

int hold_for(struct hold *h, enum held_kind kind, uint32_t number, struct err *err)
{
    uint64_t key = key_of(kind, number);
    struct user *user = h->call->user;
    if (h->subs && h->subs->key == key)
        return 0;
    if (check_names(h, 1, err) < 0)
        return -1;
    struct held_sub *s = malloc(sizeof *s);
    if (!s) {
        let_go(h);
        return err_set(err, ERR_BUSY, "no memory to hold another request");
    }
    user->held_keys++;
    h->n_subs++;
    struct held_sub **at = bucket(h->held, key);
    *s = (struct held_sub){
        .next_of_hold = h->subs,
        .next = *at,
        .at = at,
        .key = key,
        .hold = h,
    };
    if (*at)
        (*at)->at = &s->next;
    *at = s;
    h->subs = s;
    return 0;
}

int hold_weighs(struct hold *h, size_t n, struct err *err)
{
    size_t more = n > h->n_subs ? n - h->n_subs : 0;
    if (check_names(h, more, err) < 0)
        return -1;
    h->more = more;
    h->call->user->held_keys += more;
    return 0;
}

/* ---- all of them ---- */

bool held_awaits(const struct held *w, enum held_kind kind, uint32_t number)
{
    uint64_t key = key_of(kind, number);
    for (const struct held_sub *s = w->buckets[index_of(w, key)]; s; s = s->next)
        if (s->key == key)
            return true;
    return false;
}

void held_happened(struct held *w, enum held_kind kind, uint32_t number)
{
    uint64_t key = key_of(kind, number);
    w->news[index_of(w, key)]++;
    for (struct held_sub *s = *bucket(w, key); s; s = s->next)
        if (s->key == key)
            make_ready(s->hold, HELD_HAPPENED);
}

static void run(struct held *w, size_t max, int64_t until_ms)
{
    for (size_t n = 0; w->ready && n < max && (n == 0 || clock_mono_ms() < until_ms); n++) {
        struct hold *h = w->ready;
        w->ready = h->next_ready;
        if (!w->ready)
            w->ready_tail = &w->ready;
        let_go(h);
        h->resume(h, h->why);
    }
}

static int on_run(sd_event_source *s, void *arg)
{
    struct held *w = arg;
    run(w, TURN, clock_mono_ms() + TURN_MS);
    if (w->ready)
        sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
    return 0;
}

struct held *held_new(struct agentd *a, struct err *err)
{
    struct held *w = calloc(1, sizeof *w);
    if (!w || sd_event_add_defer(a->loop, &w->run_source, on_run, w) < 0 ||
        sd_event_source_set_enabled(w->run_source, SD_EVENT_OFF) < 0) {
        err_set(err, ERR_INTERNAL, "no memory");
        held_free(w);
        return NULL;
    }
    seal_random(&w->salt, sizeof w->salt);
    w->salt |= 1;
    w->a = a;
    w->ready_tail = &w->ready;
    return w;
}

void held_stop(struct held *w)
{
    if (!w)
        return;
    w->stopping = true;
    for (struct hold *h = w->all; h; h = h->next)
        make_ready(h, HELD_STOPPING);
    run(w, SIZE_MAX, INT64_MAX);
}

void held_let_go(struct held *w, const struct user *u)
{
    for (struct hold *h = w->all; h; h = h->next)
        if (h->call->user == u)
            make_ready(h, HELD_STOPPING);
    run(w, SIZE_MAX, INT64_MAX);
}

void held_free(struct held *w)
{
    if (!w)
        return;
    held_stop(w);
    sd_event_source_disable_unref(w->run_source);
    free(w);
}

uint64_t held_news(const struct held *w, enum held_kind kind, uint32_t number)
{
    return w->news[index_of(w, key_of(kind, number))];
}

size_t held_count(const struct held *w)
{
    return w->count;
}
