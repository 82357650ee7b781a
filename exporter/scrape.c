/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "exporter/scrape.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"
#include "common/thread.h"
#include "exporter/text.h"

enum { LATE_MS = 1000, /* the library keeps its deadline itself, but for munge's part */ };

struct scrape {
    struct sagent *agent; /* the thread's, but for sagent_interrupt() */
    int timeout_ms;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t asked;
    /* under the lock */
    bool stopping, told, was_up;
    struct scrape_waiter *waiting;
    struct scrape_answer *last;
    int64_t last_ms;
};

/* ---- answers ---- */

static void unref(struct scrape_answer *a)
{
    if (!a || --a->refs > 0)
        return;
    free(a->text);
    free(a);
}

/* NULL without memory. */
static struct scrape_answer *make_answer(const struct sagent_stats *stats, int64_t took_us,
                                         const char *why)
{
    struct scrape_answer *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->refs = 1;
    a->up = stats != NULL;
    str_copy(a->why, sizeof a->why, why);
    a->text = text_make(stats, took_us, &a->size);
    if (a->text)
        return a;
    free(a);
    return NULL;
}

/* Those of the list have their answer; a may be NULL. */
static void give(struct scrape *s, struct scrape_waiter *list, struct scrape_answer *a)
{
    while (list) {
        struct scrape_waiter *w = list;
        list = w->next;
        pthread_mutex_lock(&s->lock);
        w->answer = a;
        if (a)
            a->refs++;
        pthread_mutex_unlock(&s->lock);
        w->done(w); /* it may be gone after this */
    }
}

void scrape_release(struct scrape *s, struct scrape_answer *a)
{
    pthread_mutex_lock(&s->lock);
    unref(a);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the thread ---- */

/* Under the lock.  Once for each change, not for each question. */
static void tell(struct scrape *s, bool up, const char *why)
{
    if (s->told && up == s->was_up)
        return;
    s->told = true;
    s->was_up = up;
    if (up)
        log_notice("slurm-agentd at %s answers", sagent_address(s->agent));
    else
        log_warning("slurm-agentd at %s: %s", sagent_address(s->agent), why);
}

static struct scrape_answer *ask_server(struct scrape *s)
{
    struct sagent_stats *stats = NULL;
    struct sagent_error err = {0};
    int64_t begun_us = clock_mono_us();
    bool up = sagent_stats(s->agent, &stats, &err) == 0;
    struct scrape_answer *a =
        make_answer(up ? stats : NULL, clock_mono_us() - begun_us, up ? "" : err.text);
    sagent_stats_free(stats);
    return a;
}

static void *thread(void *arg)
{
    struct scrape *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        if (!s->waiting) {
            pthread_cond_wait(&s->asked, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        struct scrape_answer *a = ask_server(s);
        pthread_mutex_lock(&s->lock);
        if (a && !s->stopping)
            tell(s, a->up, a->why);
        unref(s->last);
        s->last = a;
        s->last_ms = clock_mono_ms();
        struct scrape_waiter *list = TAKE(s->waiting);
        if (a)
            a->refs++;
        pthread_mutex_unlock(&s->lock);
        give(s, list, a);
        pthread_mutex_lock(&s->lock);
        unref(a);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- whoever asks ---- */

struct scrape *scrape_new(const struct sagent_options *options)
{
    struct scrape *s = calloc(1, sizeof *s);
    struct sagent_error err;
    if (!s) {
        log_err("no memory");
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->asked, NULL);
    s->timeout_ms = options->timeout_ms;
    if (sagent_open(options, &s->agent, &err) < 0)
        log_err("%s", err.text);
    else if (thread_start(&s->thread, thread, s) != 0)
        log_err("cannot start a thread");
    else
        return s;
    scrape_free(s);
    return NULL;
}

void scrape_stop(struct scrape *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->asked);
    struct scrape_waiter *list = TAKE(s->waiting);
    pthread_mutex_unlock(&s->lock);
    give(s, list, NULL);
    sagent_interrupt(s->agent);
    pthread_join(s->thread, NULL);
}

void scrape_free(struct scrape *s)
{
    if (!s)
        return;
    sagent_close(s->agent);
    unref(s->last);
    pthread_cond_destroy(&s->asked);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void scrape_ask(struct scrape *s, struct scrape_waiter *w)
{
    struct scrape_answer *fresh = NULL;
    w->answer = NULL;
    w->since_ms = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    if (s->last && w->since_ms - s->last_ms < SCRAPE_FRESH_MS) {
        fresh = s->last;
        fresh->refs++;
    } else if (!stopping) {
        w->next = s->waiting;
        s->waiting = w;
        pthread_cond_signal(&s->asked);
    }
    pthread_mutex_unlock(&s->lock);
    if (!fresh && !stopping)
        return;
    w->answer = fresh;
    w->done(w);
}

void scrape_tick(struct scrape *s)
{
    struct scrape_waiter *late = NULL;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    for (struct scrape_waiter **at = &s->waiting; *at;) {
        struct scrape_waiter *w = *at;
        if (now - w->since_ms < s->timeout_ms + LATE_MS) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = late;
        late = w;
    }
    if (late)
        tell(s, false, "munged, or the server, does not answer");
    pthread_mutex_unlock(&s->lock);
    if (!late)
        return;
    struct scrape_answer *a = make_answer(NULL, (int64_t)(s->timeout_ms + LATE_MS) * 1000,
                                          "no answer in time: munged, or the server, hangs");
    give(s, late, a);
    scrape_release(s, a);
}
