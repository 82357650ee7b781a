/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/pipes.h"

#include <pthread.h>
#include <string.h>

#include "common/clock.h"
#include "common/str.h"

enum {
    SLOTS = 65536, /* a power of two; half of them stay free, so that probing stays short */
    /* Unanswered frames.  Strangers say HELLO and wait; a client may have many requests held. */
    OPEN_STRANGER = 16,
    OPEN_WELCOME = 1024,
    /* Answers that one connection does not take.  Many held requests may be answered at once: a
     * number alone proves nothing, but none that goes for so long does. */
    UNSENT = 64,
    UNSENT_BYTES = 32 << 20,
    STUCK_MS = 500,
    STUCK_CROWDED_MS = 1000,
    /* Connections of strangers: each may have a frame of 6 MiB half sent. */
    STRANGERS_OF_ONE = 64,
    STRANGERS = 512,
    /* What nng gave to the transport last may be there still, and nothing tells until the next
     * answer follows it.  Smaller ones are not worth counting. */
    LAST_MIN = 16 << 10,
    LAST_IDLE_MS = 5000,
    BUCKETS = 1024, /* a power of two */
};

/* What is counted together. */
struct host {
    struct host *next;
    size_t pipes, strangers;
    char key[PIPES_ORIGIN];
};

/* A user whose answers are not all taken. */
struct ower {
    struct ower *next;
    int64_t uid;
    size_t bytes, unsent;
};

struct pipe_entry {
    uint32_t id; /* 0: free */
    bool welcome, doomed;
    bool shed; /* it is counted as that */
    unsigned open, unsent;
    size_t unsent_bytes;
    size_t last; /* bytes of the answer that the transport has, owed by last_uid */
    int64_t last_uid;
    int64_t since_ms, used_ms, moved_ms; /* moved: an answer went, or the first one waits since */
    struct host *host;
    char origin[PIPES_ORIGIN];
};

struct pipes {
    const struct agentd_conf *conf;
    pthread_mutex_t lock;
    struct pipe_entry *v; /* open addressing */
    size_t n, strangers;
    uint64_t removed;
    int64_t sheds[DIM_shed_N];
    struct host *hosts[BUCKETS];
    struct ower *owers[BUCKETS];
    size_t owed;
};

struct pipes *pipes_new(const struct agentd_conf *conf)
{
    struct pipes *p = calloc(1, sizeof *p);
    if (p)
        p->v = calloc(SLOTS, sizeof *p->v);
    if (!p || !p->v) {
        free(p);
        return NULL;
    }
    p->conf = conf;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void pipes_free(struct pipes *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        while (p->owers[i]) {
            struct ower *o = p->owers[i];
            p->owers[i] = o->next;
            free(o);
        }
        while (p->hosts[i]) {
            struct host *h = p->hosts[i];
            p->hosts[i] = h->next;
            free(h);
        }
    }
    pthread_mutex_destroy(&p->lock);
    free(p->v);
    free(p);
}

/* ---- what is owed ---- */

static struct ower **ower_at(struct pipes *p, int64_t uid)
{
    struct ower **at = &p->owers[(uint64_t)uid % BUCKETS];
    while (*at && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

/* NULL without memory. */
static struct ower *owe(struct pipes *p, int64_t uid, size_t bytes)
{
    struct ower **at = ower_at(p, uid);
    p->owed += bytes;
    if (!*at && (*at = calloc(1, sizeof **at)))
        (*at)->uid = uid;
    if (*at)
        (*at)->bytes += bytes;
    return *at;
}

static void owe_less(struct pipes *p, int64_t uid, size_t bytes, bool was_unsent)
{
    struct ower **at = ower_at(p, uid), *o = *at;
    p->owed -= bytes < p->owed ? bytes : p->owed;
    if (!o)
        return;
    o->bytes -= bytes < o->bytes ? bytes : o->bytes;
    o->unsent -= was_unsent && o->unsent;
    if (o->bytes || o->unsent)
        return;
    *at = o->next;
    free(o);
}

/* It is to be closed. */
static void shed(struct pipes *p, struct pipe_entry *e, enum shed_index why)
{
    p->sheds[why] += !e->shed;
    e->shed = true;
}

/* ---- the table ---- */

static size_t home(uint32_t id)
{
    return (id * 2654435761U) & (SLOTS - 1);
}

static struct pipe_entry *find(struct pipes *p, uint32_t id)
{
    for (size_t i = home(id); p->v[i].id; i = (i + 1) & (SLOTS - 1))
        if (p->v[i].id == id)
            return &p->v[i];
    return NULL;
}

static struct host **host_at(struct pipes *p, const char *key)
{
    uint32_t h = 2166136261U; /* FNV-1a */
    for (const char *c = key; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619U;
    struct host **at = &p->hosts[h % BUCKETS];
    while (*at && !str_eq((*at)->key, key))
        at = &(*at)->next;
    return at;
}

/* NULL when it has too many connections already, or there is no memory. */
static struct host *host_for_one_more(struct pipes *p, const char *key)
{
    if (p->n >= (size_t)p->conf->max_pipes || p->n >= SLOTS / 2 || p->strangers >= STRANGERS)
        return NULL;
    struct host **at = host_at(p, key);
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (*at)
            str_copy((*at)->key, sizeof(*at)->key, key);
        return *at;
    }
    bool room = (*at)->pipes < (size_t)p->conf->max_pipes_per_address &&
                (*at)->strangers < STRANGERS_OF_ONE;
    return room ? *at : NULL;
}

bool pipes_add(struct pipes *p, uint32_t id, const char *origin, const char *key)
{
    int64_t now = clock_mono_ms();
    struct pipe_entry e = {.id = id, .since_ms = now, .used_ms = now, .moved_ms = now};
    str_copy(e.origin, sizeof e.origin, origin);
    pthread_mutex_lock(&p->lock);
    e.host = host_for_one_more(p, key);
    if (e.host) {
        size_t i = home(id);
        while (p->v[i].id)
            i = (i + 1) & (SLOTS - 1);
        p->v[i] = e;
        p->n++;
        p->strangers++;
        e.host->pipes++;
        e.host->strangers++;
    } else {
        p->sheds[SHED_crowd]++;
    }
    pthread_mutex_unlock(&p->lock);
    return e.host != NULL;
}

static void no_stranger(struct pipes *p, const struct pipe_entry *e)
{
    if (e->welcome)
        return;
    p->strangers--;
    e->host->strangers--;
}

static void host_less(struct pipes *p, struct host *h)
{
    if (--h->pipes)
        return;
    *host_at(p, h->key) = h->next;
    free(h);
}

/* Linear probing: entries behind a removed one must stay findable, so they move up. */
static void take_out(struct pipes *p, const struct pipe_entry *e)
{
    size_t hole = (size_t)(e - p->v);
    for (size_t i = (hole + 1) & (SLOTS - 1); p->v[i].id; i = (i + 1) & (SLOTS - 1)) {
        if (((i - home(p->v[i].id)) & (SLOTS - 1)) < ((i - hole) & (SLOTS - 1)))
            continue;
        p->v[hole] = p->v[i];
        hole = i;
    }
    p->v[hole] = (struct pipe_entry){0};
}

void pipes_remove(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        p->removed++;
        p->n--;
        no_stranger(p, e);
        host_less(p, e->host);
        owe_less(p, e->last_uid, e->last, false);
        take_out(p, e);
    }
    pthread_mutex_unlock(&p->lock);
}

void pipes_welcome(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        no_stranger(p, e);
        e->welcome = true;
    }
    pthread_mutex_unlock(&p->lock);
}

void pipes_doom(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        e->doomed = true;
        shed(p, e, SHED_unread); /* unless it is counted for something else */
    }
    pthread_mutex_unlock(&p->lock);
}

void pipes_origin(struct pipes *p, uint32_t id, char origin[PIPES_ORIGIN], char key[PIPES_ORIGIN])
{
    pthread_mutex_lock(&p->lock);
    const struct pipe_entry *e = find(p, id);
    str_copy(origin, PIPES_ORIGIN, e ? e->origin : "gone");
    str_copy(key, PIPES_ORIGIN, e ? e->host->key : "gone");
    pthread_mutex_unlock(&p->lock);
}

/* ---- frames and their answers ---- */

bool pipes_received(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        e->open++;
        e->used_ms = clock_mono_ms();
    }
    bool good = e && !e->doomed && e->open <= (e->welcome ? OPEN_WELCOME : OPEN_STRANGER);
    if (e && !good)
        shed(p, e, SHED_greedy);
    pthread_mutex_unlock(&p->lock);
    return good;
}

void pipes_greedy(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e)
        shed(p, e, SHED_greedy);
    pthread_mutex_unlock(&p->lock);
}

/* Does whoever is at the other end read?  o: whose answers they are, or NULL. */
static bool reads(const struct pipes *p, const struct pipe_entry *e, const struct ower *o,
                  int64_t now)
{
    if (e->unsent == 1) /* one answer of any size is all right */
        return true;
    return e->unsent_bytes <= UNSENT_BYTES &&
           (e->unsent <= UNSENT || now - e->moved_ms < STUCK_MS) &&
           (!o || o->unsent <= (size_t)p->conf->max_held_per_user);
}

bool pipes_sending(struct pipes *p, uint32_t id, int64_t uid, size_t bytes)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    struct ower *o = owe(p, uid, bytes);
    if (o)
        o->unsent++;
    if (e) {
        e->unsent_bytes += bytes;
        if (e->unsent++ == 0)
            e->moved_ms = now;
    }
    bool good = !e || reads(p, e, o, now);
    if (!good)
        shed(p, e, SHED_unread);
    pthread_mutex_unlock(&p->lock);
    return good;
}

/* The answer has gone to the transport, behind the one that was there before it. */
static void sent(struct pipes *p, struct pipe_entry *e, int64_t uid, size_t bytes)
{
    e->unsent -= e->unsent > 0;
    e->unsent_bytes -= bytes < e->unsent_bytes ? bytes : e->unsent_bytes;
    e->moved_ms = e->used_ms;
    owe_less(p, e->last_uid, e->last, false);
    e->last = 0;
    e->last_uid = uid;
    if (bytes >= LAST_MIN && owe(p, uid, bytes))
        e->last = bytes;
}

void pipes_answered(struct pipes *p, uint32_t id, int64_t uid, size_t bytes)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        e->open -= e->open > 0;
        e->used_ms = clock_mono_ms();
        if (bytes)
            sent(p, e, uid, bytes);
    }
    if (bytes)
        owe_less(p, uid, bytes, true);
    pthread_mutex_unlock(&p->lock);
}

size_t pipes_owed(struct pipes *p, int64_t uid)
{
    pthread_mutex_lock(&p->lock);
    const struct ower *o = *ower_at(p, uid);
    size_t bytes = o ? o->bytes : 0;
    pthread_mutex_unlock(&p->lock);
    return bytes;
}

size_t pipes_owed_all(struct pipes *p)
{
    pthread_mutex_lock(&p->lock);
    size_t bytes = p->owed;
    pthread_mutex_unlock(&p->lock);
    return bytes;
}

size_t pipes_count(struct pipes *p)
{
    pthread_mutex_lock(&p->lock);
    size_t n = p->n;
    pthread_mutex_unlock(&p->lock);
    return n;
}

size_t pipes_most(struct pipes *p, char key[PIPES_ORIGIN])
{
    size_t most = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < BUCKETS; i++)
        for (const struct host *h = p->hosts[i]; h; h = h->next)
            if (h->pipes > most) {
                most = h->pipes;
                str_copy(key, PIPES_ORIGIN, h->key);
            }
    pthread_mutex_unlock(&p->lock);
    return most;
}

uint64_t pipes_removed(struct pipes *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->removed;
    pthread_mutex_unlock(&p->lock);
    return n;
}

void pipes_sheds(struct pipes *p, int64_t out[DIM_shed_N])
{
    pthread_mutex_lock(&p->lock);
    memcpy(out, p->sheds, sizeof p->sheds);
    pthread_mutex_unlock(&p->lock);
}

bool pipes_busy(struct pipes *p)
{
    bool busy = false;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < SLOTS && !busy; i++)
        busy = p->v[i].id && p->v[i].welcome && p->v[i].open;
    pthread_mutex_unlock(&p->lock);
    return busy;
}

bool pipes_crowded(struct pipes *p)
{
    pthread_mutex_lock(&p->lock);
    bool crowded = p->strangers >= STRANGERS_OF_ONE / 2 || p->n >= (size_t)p->conf->max_pipes / 2;
    pthread_mutex_unlock(&p->lock);
    return crowded;
}

/* ---- those without use ---- */

/* Its last answer may have been read long ago, but that cannot be known; closing costs an idle
 * client nothing, for it connects again when it has something to ask. */
static bool may_owe_too_much(struct pipes *p, const struct pipe_entry *e, int64_t now)
{
    if (e->open || !e->last || e->moved_ms > now - LAST_IDLE_MS)
        return false;
    const struct ower *o = *ower_at(p, e->last_uid);
    return p->owed > (size_t)p->conf->max_reply_mib << 19 ||
           (o && o->bytes > (size_t)p->conf->max_reply_mib_per_user << 19);
}

/* Should it be closed, and why? */
static bool is_idle(struct pipes *p, const struct pipe_entry *e, bool crowded, int64_t now,
                    enum shed_index *ret_why)
{
    *ret_why = SHED_unread;
    if (e->doomed || (crowded && e->unsent && e->moved_ms < now - STUCK_CROWDED_MS))
        return true;
    *ret_why = SHED_silent;
    if (!e->welcome)
        return e->since_ms < now - p->conf->first_frame_s * 1000;
    *ret_why = SHED_idle;
    /* A client that is only quiet renews its session on the way. */
    if (!e->open && e->used_ms < now - (2 * p->conf->session_s + 60) * 1000)
        return true;
    return may_owe_too_much(p, e, now);
}

size_t pipes_idle(struct pipes *p, bool crowded, uint32_t *ids, size_t max)
{
    int64_t now = clock_mono_ms();
    enum shed_index why;
    size_t n = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < SLOTS && n < max && p->n; i++)
        if (p->v[i].id && is_idle(p, &p->v[i], crowded, now, &why)) {
            shed(p, &p->v[i], why);
            ids[n++] = p->v[i].id;
        }
    pthread_mutex_unlock(&p->lock);
    return n;
}
