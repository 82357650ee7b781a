/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/gate.h"

#include <stdlib.h>

#include "agentd/metrics.h"
#include "common/log.h"

enum {
    SHARE = 8,        /* of the average, that one call makes */
    MOST = 4,         /* times what is too long: more does not count */
    SILENCE = 2,      /* times the same: a call that is not answered has taken at least that */
    PROBE_MS = 1000,  /* between two calls that find out */
    ADVICE_MS = 1000, /* on top of what is left of that */
    COUNT_MS = 1000,  /* between two calls of a user that count */
};

struct gate {
    const struct agentd_conf *conf;
    struct gate_call *in;
    size_t n_in;
    int64_t pace_us;  /* of calls that have ended */
    int64_t shown_us; /* with those under way */
    bool slow, silent;
    bool probing;
    int64_t since_us,
        next_us;       /* while it is slow: since when, and when the next call may find out */
    int64_t prompt_us; /* when the newest of the calls began that were answered in time */
    int64_t refused;
};

struct gate *gate_new(const struct agentd_conf *conf)
{
    struct gate *g = calloc(1, sizeof *g);
    if (g)
        g->conf = conf;
    return g;
}

void gate_free(struct gate *g)
{
    free(g);
}

static int64_t too_long_us(const struct gate *g)
{
    return g->conf->slurm_slow_ms * 1000;
}

static int64_t with(const struct gate *g, int64_t pace_us, int64_t took_us)
{
    int64_t most = MOST * too_long_us(g);
    return pace_us + ((took_us < most ? took_us : most) - pace_us) / SHARE;
}

static void begin_slow(struct gate *g, int64_t now_us)
{
    g->slow = true;
    g->since_us = now_us;
    g->next_us = now_us + PROBE_MS * 1000;
    g->refused = 0;
    metrics_add(slurm_slowed, 0, 0, 1);
    log_warning("slurmctld %s: %zu calls under way, %lld ms each on average (slurm_slow_ms %lld): "
                "new ones are refused until it is faster",
                g->silent ? "does not answer" : "is slow", g->n_in, (long long)(g->shown_us / 1000),
                (long long)g->conf->slurm_slow_ms);
}

static void end_slow(struct gate *g, int64_t now_us)
{
    g->slow = g->silent = false;
    g->pace_us = g->shown_us = 0;
    log_notice("slurmctld answers in time again, after %lld s; %lld calls were refused meanwhile",
               (long long)((now_us - g->since_us) / 1000000), (long long)g->refused);
}

int gate_check(struct gate *g, int64_t now_us, struct err *err)
{
    if (!g->slow || (!g->probing && now_us >= g->next_us))
        return 0;
    int64_t left_us = now_us < g->next_us ? g->next_us - now_us : 0;
    g->refused++;
    metrics_add(slurm_refused, 0, 0, 1);
    err->retry_after_ms = (int)(left_us / 1000) + ADVICE_MS;
    if (g->silent)
        return err_set(err, ERR_SLURM_DOWN,
                       "slurmctld does not answer calls that were made before this one, which was "
                       "not made: try again later");
    return err_set(
        err, ERR_BUSY,
        "slurmctld takes %lld ms a call, which is too long (slurm_slow_ms): this one was "
        "not made, try again later",
        (long long)(g->shown_us / 1000));
}

bool gate_enter(struct gate *g, struct gate_call *c, int64_t now_us)
{
    if (g->slow && (g->probing || now_us < g->next_us))
        return false;
    /* Those that were let in to find out, and were not answered, are on top. */
    if (g->n_in >= (size_t)g->conf->max_slurm_calls << g->slow)
        return false;
    *c = (struct gate_call){
        .next = g->in,
        .at = &g->in,
        .begun_us = now_us,
        .counted_us = c->counted_us,
        .inside = true,
        .probe = g->slow,
    };
    if (g->in)
        g->in->at = &c->next;
    g->in = c;
    g->n_in++;
    g->probing = g->slow;
    return true;
}

static void take_out(struct gate *g, struct gate_call *c)
{
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    c->inside = false;
    g->n_in--;
}

/* What began before it was slow says nothing about now. */
static void probed(struct gate *g, const struct gate_call *c, bool good, int64_t now_us)
{
    g->probing = false;
    if (!c->counts)
        g->next_us = now_us; /* the next one may tell */
    else if (good)
        end_slow(g, now_us);
    else
        g->next_us = now_us + PROBE_MS * 1000;
}

/* slurmctld has answered in time what it was asked later: that this one takes long says nothing of
 * it.  A worker that its user has stopped looks like that. */
static bool is_belied(const struct gate *g, const struct gate_call *c)
{
    return c->begun_us < g->prompt_us;
}

void gate_leave(struct gate *g, struct gate_call *c, bool silent, int64_t now_us)
{
    if (!c->inside)
        return;
    take_out(g, c);
    int64_t took_us = now_us - c->begun_us, least_us = SILENCE * too_long_us(g);
    if (silent && took_us < least_us)
        took_us = least_us;
    bool too_long = took_us > too_long_us(g), tells = c->counts && (!too_long || !is_belied(g, c));
    if (c->counts && !too_long && c->begun_us > g->prompt_us)
        g->prompt_us = c->begun_us;
    if (g->slow) {
        if (c->counts)
            g->silent = silent;
        if (c->probe)
            probed(g, c, !too_long, now_us);
        return;
    }
    if (!tells || (c->counted_us && now_us - c->counted_us < COUNT_MS * 1000))
        return;
    c->counted_us = now_us;
    g->pace_us = g->shown_us = with(g, g->pace_us, took_us);
    g->silent = silent;
    if (g->pace_us > too_long_us(g))
        begin_slow(g, now_us);
}

/* It is slow still, or a worker that its user has stopped: the next one may find out. */
static void give_up_probe(struct gate *g, int64_t now_us)
{
    for (struct gate_call *c = g->in; c; c = c->next)
        if (c->probe && now_us - c->begun_us > too_long_us(g)) {
            c->probe = g->probing = false;
            g->next_us = now_us + PROBE_MS * 1000;
        }
}

void gate_tick(struct gate *g, int64_t now_us)
{
    int64_t pace_us = g->pace_us;
    size_t n = 0;
    if (g->slow) {
        give_up_probe(g, now_us);
        return;
    }
    for (const struct gate_call *c = g->in; c; c = c->next)
        if (c->counts && !is_belied(g, c) && now_us - c->begun_us > too_long_us(g)) {
            pace_us = with(g, pace_us, now_us - c->begun_us);
            n++;
        }
    g->shown_us = pace_us;
    if (n && pace_us > too_long_us(g)) {
        g->silent = true; /* as far as anybody knows */
        begin_slow(g, now_us);
    }
}

struct gate_state gate_look(const struct gate *g)
{
    return (struct gate_state){.calls = g->n_in, .pace_us = g->shown_us, .slow = g->slow};
}
