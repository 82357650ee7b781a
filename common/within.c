/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/within.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/thread.h"

static atomic_uint overdue;

/* Freed by whoever is last to look at it. */
struct call {
    void (*fn)(void *);
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended, left;
};

static void call_free(struct call *c)
{
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct call *call_new(void (*fn)(void *), void *arg)
{
    struct call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fn = fn;
    c->arg = arg;
    pthread_mutex_init(&c->lock, NULL);
    thread_cond_init(&c->changed);
    return c;
}

static void *call_main(void *arg)
{
    struct call *c = arg;
    c->fn(c->arg);
    pthread_mutex_lock(&c->lock);
    bool left = c->left;
    c->ended = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (left) {
        atomic_fetch_sub(&overdue, 1);
        call_free(c);
    }
    return NULL;
}

static bool start(struct call *c)
{
    pthread_t thread;
    if (thread_start(&thread, call_main, c) != 0)
        return false;
    pthread_detach(thread);
    return true;
}

static bool has_ended_by(struct call *c, int64_t deadline_ms)
{
    pthread_mutex_lock(&c->lock);
    while (!c->ended && clock_mono_ms() < deadline_ms)
        thread_cond_wait(&c->changed, &c->lock, deadline_ms);
    bool ended = c->ended;
    c->left = !ended;
    if (!ended)
        atomic_fetch_add(&overdue, 1);
    pthread_mutex_unlock(&c->lock);
    return ended;
}

bool within(int ms, void (*fn)(void *), void *arg)
{
    struct call *c = call_new(fn, arg);
    int64_t deadline_ms = clock_mono_ms() + (atomic_load(&overdue) > 0 ? 0 : ms);
    if (!c || !start(c)) {
        if (c)
            call_free(c);
        fn(arg);
        return true;
    }
    if (!has_ended_by(c, deadline_ms))
        return false;
    call_free(c);
    return true;
}

unsigned within_overdue(void)
{
    return atomic_load(&overdue);
}
