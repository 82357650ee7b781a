/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/within.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

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
    pthread_condattr_t attr;
    struct call *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fn = fn;
    c->arg = arg;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
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
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = pthread_create(&thread, NULL, call_main, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_detach(thread);
    return rc == 0;
}

static bool has_ended_by(struct call *c, const struct timespec *deadline)
{
    pthread_mutex_lock(&c->lock);
    while (!c->ended && pthread_cond_timedwait(&c->changed, &c->lock, deadline) == 0) {
    }
    bool ended = c->ended;
    c->left = !ended;
    if (!ended)
        atomic_fetch_add(&overdue, 1);
    pthread_mutex_unlock(&c->lock);
    return ended;
}

bool within(int ms, void (*fn)(void *), void *arg)
{
    struct timespec deadline;
    struct call *c = call_new(fn, arg);
    if (atomic_load(&overdue) > 0)
        ms = 0;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += (deadline.tv_nsec / 1000000 + ms) / 1000;
    deadline.tv_nsec = (deadline.tv_nsec / 1000000 + ms) % 1000 * 1000000;
    if (!c || !start(c)) {
        if (c)
            call_free(c);
        fn(arg);
        return true;
    }
    if (!has_ended_by(c, &deadline))
        return false;
    call_free(c);
    return true;
}

unsigned within_overdue(void)
{
    return atomic_load(&overdue);
}
