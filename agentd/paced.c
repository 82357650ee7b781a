/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/paced.h"

#include <sys/queue.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/metrics.h"
#include "common/clock.h"

enum {
    WAIT_OF_USER = 32, /* of each class */
    WAIT_MS = 1000,    /* at most, as far as one can tell */
    REFUSED_OF_USER = 256,
    REFUSED_MS = 250,
    ALL = 16384,
    REFUSED = 12288, /* of them */
    ACCURACY_US = 500,
};

struct paced_call {
    TAILQ_ENTRY(paced_call) link;
    struct paced *paced;
    struct call *call;
    sd_event_source *timer;
    enum rate_index class;
    bool refused;
    struct err err; /* then */
};

struct paced {
    struct agentd *a;
    TAILQ_HEAD(, paced_call) all;
    size_t count, refused;
    bool stopping;
};

/* It is kept no longer. */
static struct call *release(struct paced_call *w)
{
    struct call *c = w->call;
    TAILQ_REMOVE(&w->paced->all, w, link);
    w->paced->count--;
    if (w->refused) {
        w->paced->refused--;
        c->user->rates.refused--;
        c->user->calls++; /* it is answered now */
        c->started_us = clock_mono_us();
    } else {
        c->user->rates.waiting[w->class]--;
    }
    sd_event_source_disable_unref(w->timer);
    free(w);
    return c;
}

static int on_time(sd_event_source *s, uint64_t usec, void *arg)
{
    struct paced_call *w = arg;
    struct err err = w->err;
    (void)usec;
    if (w->refused) {
        call_fail(release(w), &err);
        return 0;
    }
    int ms = rates_take_turn(&w->call->user->rates, &w->paced->a->conf, w->class, clock_mono_ms());
    if (ms == 0)
        call_run(release(w));
    else if (sd_event_source_set_time_relative(s, (uint64_t)ms * 1000) < 0 ||
             sd_event_source_set_enabled(s, SD_EVENT_ONESHOT) < 0)
        call_run(release(w));
    return 0;
}

static struct paced_call *keep(struct paced *p, struct call *c, int64_t ms)
{
    struct paced_call *w = p->count < ALL && !p->stopping ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    *w = (struct paced_call){.paced = p, .call = c};
    if (sd_event_add_time_relative(p->a->loop, &w->timer, CLOCK_MONOTONIC, (uint64_t)ms * 1000,
                                   ACCURACY_US, on_time, w) < 0) {
        free(w);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&p->all, w, link);
    p->count++;
    return w;
}

bool paced_wait(struct paced *p, struct call *c, enum rate_index class, int64_t ms)
{
    struct rates *r = &c->user->rates;
    struct paced_call *w =
        r->waiting[class] < WAIT_OF_USER && ms <= WAIT_MS ? keep(p, c, ms) : NULL;
    if (!w)
        return false;
    w->class = class;
    r->waiting[class]++;
    metrics_add(delayed, class, 0, 1);
    return true;
}

bool paced_refuse(struct paced *p, struct call *c, const struct err *err)
{
    struct user *u = c->user;
    /* Who waits for an answer before he asks again, on however many connections, has no more. */
    size_t most = u->sessions > REFUSED_OF_USER ? u->sessions : REFUSED_OF_USER;
    if (u->rates.refused >= most)
        return false;
    struct paced_call *w = p->refused < REFUSED ? keep(p, c, REFUSED_MS) : NULL;
    if (!w) {
        call_fail(c, err);
        return true;
    }
    w->refused = true;
    w->err = *err;
    p->refused++;
    u->rates.refused++;
    u->calls--;
    call_trim(c);
    return true;
}

void paced_let_go(struct paced *p, const struct user *u)
{
    struct err err = {.retry_after_ms = REFUSED_MS};
    struct paced_call *next;
    err_set(&err, ERR_BUSY, "the session was ended while the request waited for its turn");
    for (struct paced_call *w = TAILQ_FIRST(&p->all); w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->call->user == u)
            call_fail(release(w), &err);
    }
}

struct paced *paced_new(struct agentd *a, struct err *err)
{
    struct paced *p = calloc(1, sizeof *p);
    if (!p) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    p->a = a;
    TAILQ_INIT(&p->all);
    return p;
}

void paced_stop(struct paced *p)
{
    struct err err = {.retry_after_ms = 2000};
    if (!p)
        return;
    p->stopping = true;
    err_set(&err, ERR_BUSY, "the server is stopping");
    while (!TAILQ_EMPTY(&p->all))
        call_fail(release(TAILQ_FIRST(&p->all)), &err);
}

void paced_free(struct paced *p)
{
    paced_stop(p);
    free(p);
}
