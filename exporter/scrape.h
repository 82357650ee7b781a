/* SPDX-License-Identifier: GPL-3.0-or-later */
/* scrape.h: what slurm-agentd answers, asked on a thread of its own
 *
 * However many ask, there is one question under way; whoever comes meanwhile shares the next
 * answer, and one that is SCRAPE_FRESH_MS old is given again.  Who waits for longer than the
 * deadline is told so, be it that the thread hangs in munge.
 */
#ifndef EXPORTER_SCRAPE_H
#define EXPORTER_SCRAPE_H

#include <stdbool.h>
#include <stddef.h>

#include "client/slurmagent_admin.h"

enum { SCRAPE_FRESH_MS = 500 };

struct scrape;

/* An answer, counted: the text, and whether the server has answered. */
struct scrape_answer {
    char *text;
    size_t size;
    bool up;
    char why[500]; /* it has not */
    int refs;      /* the scrape's lock */
};

/* One who waits; part of the caller's struct. */
struct scrape_waiter {
    /* Called once, from any thread, with answer set; NULL without memory. */
    void (*done)(struct scrape_waiter *w);
    struct scrape_answer *answer; /* scrape_release() it */
    /* private */
    struct scrape_waiter *next;
    long long since_ms;
};

/* options as for sagent_open(); timeout_ms is the deadline.  NULL after having logged why. */
struct scrape *scrape_new(const struct sagent_options *options);
/* Answers all who wait, and whoever asks from now on, with nothing; waits for the thread, which may
 * take 20 s while munged hangs. */
void scrape_stop(struct scrape *s);
/* After scrape_stop(), when nobody has an answer any more. */
void scrape_free(struct scrape *s); /* NULL is fine */

void scrape_ask(struct scrape *s, struct scrape_waiter *w);
void scrape_release(struct scrape *s, struct scrape_answer *a); /* NULL is fine */
/* Now and then: answers those whose deadline is over. */
void scrape_tick(struct scrape *s);

#endif
