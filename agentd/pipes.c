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
    /* Answers that one connection does not take. */
    UNSENT = 256,
    UNSENT_BYTES = 32 << 20,
    /* Connections of strangers: each may have a frame of 6 MiB half sent. */
    STRANGERS_OF_ONE = 64,
    STRANGERS = 1024,
    OWERS = 1024, /* buckets, a power of two */
};

struct pipe_entry {
    uint32_t id; /* 0: free */
    bool welcome;
    unsigned open, unsent;
    size_t unsent_bytes;
    int64_t since_ms, used_ms;
    char origin[PIPES_ORIGIN], key[PIPES_ORIGIN];
};

/* A user whose answers are not all taken. */
struct ower {
    struct ower *next;
    int64_t uid;
    size_t bytes;
};

struct pipes {
    const struct agentd_conf *conf;
    pthread_mutex_t lock;
    struct pipe_entry *v; /* open addressing */
    size_t n, strangers;
    uint64_t removed;
    struct ower *owers[OWERS];
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
    for (size_t i = 0; i < OWERS; i++)
        while (p->owers[i]) {
            struct ower *o = p->owers[i];
            p->owers[i] = o->next;
            free(o);
        }
    pthread_mutex_destroy(&p->lock);
    free(p->v);
    free(p);
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

static void count_key(const struct pipes *p, const char *key, size_t *ret_all,
                      size_t *ret_strangers)
{
    *ret_all = *ret_strangers = 0;
    for (size_t i = 0; i < SLOTS; i++)
        if (p->v[i].id && str_eq(p->v[i].key, key)) {
            (*ret_all)++;
            *ret_strangers += !p->v[i].welcome;
        }
}

static bool has_room(const struct pipes *p, const char *key)
{
    size_t all, strangers;
    if (p->n >= (size_t)p->conf->max_pipes || p->n >= SLOTS / 2 || p->strangers >= STRANGERS)
        return false;
    if (p->n < (size_t)p->conf->max_pipes_per_address && p->strangers < STRANGERS_OF_ONE)
        return true; /* without counting */
    count_key(p, key, &all, &strangers);
    return all < (size_t)p->conf->max_pipes_per_address && strangers < STRANGERS_OF_ONE;
}

bool pipes_add(struct pipes *p, uint32_t id, const char *origin, const char *key)
{
    int64_t now = clock_mono_ms();
    struct pipe_entry e = {.id = id, .since_ms = now, .used_ms = now};
    str_copy(e.origin, sizeof e.origin, origin);
    str_copy(e.key, sizeof e.key, key);
    pthread_mutex_lock(&p->lock);
    bool room = has_room(p, key);
    if (room) {
        size_t i = home(id);
        while (p->v[i].id)
            i = (i + 1) & (SLOTS - 1);
        p->v[i] = e;
        p->n++;
        p->strangers++;
    }
    pthread_mutex_unlock(&p->lock);
    return room;
}

/* Linear probing: entries behind a removed one must stay findable, so they move up. */
void pipes_remove(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    p->removed++;
    if (e) {
        size_t hole = (size_t)(e - p->v);
        p->n--;
        p->strangers -= !e->welcome;
        for (size_t i = (hole + 1) & (SLOTS - 1); p->v[i].id; i = (i + 1) & (SLOTS - 1)) {
            if (((i - home(p->v[i].id)) & (SLOTS - 1)) < ((i - hole) & (SLOTS - 1)))
                continue;
            p->v[hole] = p->v[i];
            hole = i;
        }
        p->v[hole] = (struct pipe_entry){0};
    }
    pthread_mutex_unlock(&p->lock);
}

void pipes_welcome(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e && !e->welcome) {
        e->welcome = true;
        p->strangers--;
    }
    pthread_mutex_unlock(&p->lock);
}

void pipes_origin(struct pipes *p, uint32_t id, char origin[PIPES_ORIGIN], char key[PIPES_ORIGIN])
{
    pthread_mutex_lock(&p->lock);
    const struct pipe_entry *e = find(p, id);
    str_copy(origin, PIPES_ORIGIN, e ? e->origin : "gone");
    str_copy(key, PIPES_ORIGIN, e ? e->key : "gone");
    pthread_mutex_unlock(&p->lock);
}

/* ---- what is owed ---- */

static struct ower **ower_of(struct pipes *p, int64_t uid)
{
    struct ower **at = &p->owers[(uint64_t)uid & (OWERS - 1)];
    while (*at && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

static void owe(struct pipes *p, int64_t uid, size_t bytes)
{
    struct ower **at = ower_of(p, uid);
    p->owed += bytes;
    if (!*at && (*at = calloc(1, sizeof **at)))
        (*at)->uid = uid;
    if (*at)
        (*at)->bytes += bytes;
}

static void owe_less(struct pipes *p, int64_t uid, size_t bytes)
{
    struct ower **at = ower_of(p, uid), *o = *at;
    p->owed -= bytes < p->owed ? bytes : p->owed;
    if (!o)
        return;
    o->bytes -= bytes < o->bytes ? bytes : o->bytes;
    if (o->bytes)
        return;
    *at = o->next;
    free(o);
}

bool pipes_received(struct pipes *p, uint32_t id)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        e->open++;
        e->used_ms = clock_mono_ms();
    }
    bool good = e && e->open <= (e->welcome ? OPEN_WELCOME : OPEN_STRANGER);
    pthread_mutex_unlock(&p->lock);
    return good;
}

bool pipes_sending(struct pipes *p, uint32_t id, int64_t uid, size_t bytes)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        e->unsent++;
        e->unsent_bytes += bytes;
    }
    /* One answer of any size is all right. */
    bool good = !e || e->unsent == 1 || (e->unsent <= UNSENT && e->unsent_bytes <= UNSENT_BYTES);
    owe(p, uid, bytes);
    pthread_mutex_unlock(&p->lock);
    return good;
}

void pipes_answered(struct pipes *p, uint32_t id, int64_t uid, size_t bytes)
{
    pthread_mutex_lock(&p->lock);
    struct pipe_entry *e = find(p, id);
    if (e) {
        e->open -= e->open > 0;
        e->used_ms = clock_mono_ms();
        if (bytes && e->unsent) {
            e->unsent--;
            e->unsent_bytes -= bytes < e->unsent_bytes ? bytes : e->unsent_bytes;
        }
    }
    if (bytes)
        owe_less(p, uid, bytes);
    pthread_mutex_unlock(&p->lock);
}

size_t pipes_owed(struct pipes *p, int64_t uid)
{
    pthread_mutex_lock(&p->lock);
    const struct ower *o = *ower_of(p, uid);
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

uint64_t pipes_removed(struct pipes *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->removed;
    pthread_mutex_unlock(&p->lock);
    return n;
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

size_t pipes_idle(struct pipes *p, uint32_t *ids, size_t max)
{
    int64_t now = clock_mono_ms();
    int64_t stranger = now - p->conf->first_frame_s * 1000;
    /* A client that is only quiet renews its session on the way. */
    int64_t unused = now - (2 * p->conf->session_s + 60) * 1000;
    size_t n = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < SLOTS && n < max; i++) {
        const struct pipe_entry *e = &p->v[i];
        if (e->id && (e->welcome ? !e->open && e->used_ms < unused : e->since_ms < stranger))
            ids[n++] = e->id;
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}
