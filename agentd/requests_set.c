/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/requests_set.h"

#include <stdlib.h>
#include <string.h>

#include "common/seal.h"

enum { BUCKET_BITS = 16, BUCKETS = 1 << BUCKET_BITS, USERS = 4096 };

int request_set_init(struct request_set *s)
{
    *s = (struct request_set){
        .by_id = calloc(BUCKETS, sizeof(struct request *)),
        .by_tag = calloc(BUCKETS, sizeof(struct tag_node *)),
        .users = calloc(USERS, sizeof(struct request_user *)),
    };
    for (int i = 0; i < LISTS; i++)
        TAILQ_INIT(&s->lists[i]);
    TAILQ_INIT(&s->notes);
    TAILQ_INIT(&s->waiting);
    /* Users choose ids, and must not choose buckets. */
    seal_random(s->key, sizeof s->key);
    return s->by_id && s->by_tag && s->users ? 0 : -1;
}

void request_set_done(struct request_set *s)
{
    for (size_t i = 0; s->by_id && i < BUCKETS; i++)
        while (s->by_id[i])
            request_set_remove(s, s->by_id[i]);
    free(s->by_id);
    free(s->by_tag);
    free(s->users);
}

static struct request **id_bucket(const struct request_set *s, uint32_t uid, const uint8_t *id)
{
    uint64_t a, b;
    memcpy(&a, id, 8);
    memcpy(&b, id + 8, 8);
    uint64_t h = (a ^ s->key[0]) * (s->key[1] | 1);
    h ^= h >> 32;
    h = (h ^ b ^ s->key[2]) * (s->key[3] | 1);
    h ^= h >> 32;
    h = (h ^ uid) * (s->key[1] | 1);
    return &s->by_id[h >> (64 - BUCKET_BITS)];
}

static struct tag_node **tag_bucket(const struct request_set *s, uint32_t tag)
{
    return &s->by_tag[((tag ^ s->key[0]) * (s->key[2] | 1)) >> (64 - BUCKET_BITS)];
}

/* Where that user is, or would be. */
static struct request_user **find_user(const struct request_set *s, uint32_t uid)
{
    struct request_user **at = &s->users[uid % USERS];
    while (*at && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

static struct request_user *get_user(struct request_set *s, uint32_t uid)
{
    struct request_user **at = find_user(s, uid);
    if (!*at && (*at = calloc(1, sizeof **at))) {
        (*at)->uid = uid;
        TAILQ_INIT(&(*at)->turns);
    }
    return *at;
}

void request_set_drop_user(struct request_set *s, struct request_user *u)
{
    if (u->n || u->serving)
        return;
    *find_user(s, u->uid) = u->next;
    free(u);
}

struct request *request_set_find(const struct request_set *s, uint32_t uid,
                                 const uint8_t id[REQUEST_ID])
{
    for (struct request *q = *id_bucket(s, uid, id); q; q = q->next)
        if (q->uid == uid && memcmp(q->id, id, REQUEST_ID) == 0)
            return q;
    return NULL;
}

struct request *request_set_add(struct request_set *s, uint32_t uid, const uint8_t id[REQUEST_ID])
{
    struct request_user *user = get_user(s, uid);
    struct request *q = user ? calloc(1, sizeof *q) : NULL, **at = id_bucket(s, uid, id);
    if (!q) {
        if (user)
            request_set_drop_user(s, user);
        return NULL;
    }
    q->user = user;
    user->n++;
    q->uid = uid;
    memcpy(q->id, id, REQUEST_ID);
    q->next = *at;
    *at = q;
    s->count++;
    return q;
}

static void untag(struct request_set *s, struct tag_node *node)
{
    struct tag_node **at = tag_bucket(s, node->tag);
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    free(node);
}

void request_set_wait(struct request_set *s, struct request *q, int64_t now_ms)
{
    TAILQ_INSERT_TAIL(&q->user->turns, q, in_turns);
    TAILQ_INSERT_TAIL(&s->waiting, q, in_waiting);
    q->waits = true;
    q->waits_ms = now_ms;
    s->waiting_n++;
}

void request_set_unwait(struct request_set *s, struct request *q)
{
    TAILQ_REMOVE(&q->user->turns, q, in_turns);
    TAILQ_REMOVE(&s->waiting, q, in_waiting);
    q->waits = false;
    s->waiting_n--;
}

void request_set_remove(struct request_set *s, struct request *q)
{
    struct request **at = id_bucket(s, q->uid, q->id);
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    while (q->tags) {
        struct tag_node *node = q->tags;
        q->tags = node->more;
        untag(s, node);
    }
    if (q->list != LIST_NONE)
        TAILQ_REMOVE(&s->lists[q->list], q, in_list);
    if (q->noted)
        TAILQ_REMOVE(&s->notes, q, in_notes);
    if (q->waits)
        request_set_unwait(s, q);
    s->count--;
    q->user->n--;
    request_set_drop_user(s, q->user);
    free(q->text);
    free(q);
}

size_t request_set_of_user(const struct request_set *s, uint32_t uid)
{
    const struct request_user *u = *find_user(s, uid);
    return u ? u->n : 0;
}

void request_set_list(struct request_set *s, struct request *q, enum request_list list,
                      int64_t now_ms)
{
    if (q->list != LIST_NONE)
        TAILQ_REMOVE(&s->lists[q->list], q, in_list);
    q->list = list;
    q->list_ms = now_ms;
    if (list != LIST_NONE)
        TAILQ_INSERT_TAIL(&s->lists[list], q, in_list);
}

void request_set_note(struct request_set *s, struct request *q)
{
    if (!q->noted)
        TAILQ_INSERT_TAIL(&s->notes, q, in_notes);
    q->noted = true;
}

bool request_set_tag(struct request_set *s, struct request *q, int64_t attempt, int64_t begun)
{
    struct tag_node *node = calloc(1, sizeof *node);
    if (!node)
        return false;
    node->q = q;
    node->attempt = attempt;
    node->begun = begun;
    node->tag = request_tag(q->uid, q->id, attempt);
    node->more = q->tags;
    q->tags = node;
    struct tag_node **at = tag_bucket(s, node->tag);
    node->next = *at;
    *at = node;
    return true;
}

struct tag_node *request_set_tagged(const struct request_set *s, uint32_t tag)
{
    struct tag_node *node = *tag_bucket(s, tag);
    while (node && node->tag != tag)
        node = node->next;
    return node;
}
