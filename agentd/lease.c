/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/lease.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

struct seen {
    int64_t at;
    uint32_t uid;
    uint8_t hash[SEAL_HASH];
};

struct leases {
    struct lease_policy policy;
    struct lease v[LEASE_MAX];
    size_t n;
    /* A ring in the order they came, so that what is too old to matter is always at its tail. */
    struct seen hellos[LEASE_HELLOS];
    size_t first, nhellos;
};

struct leases *leases_new(const struct lease_policy *policy)
{
    struct leases *t = calloc(1, sizeof *t);
    if (t)
        t->policy = *policy;
    return t;
}

void leases_free(struct leases *t)
{
    if (!t)
        return;
    leases_drop(t);
    free(t);
}

void leases_set_policy(struct leases *t, const struct lease_policy *policy)
{
    t->policy = *policy;
}

void leases_drop(struct leases *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i].groups);
    t->n = 0;
}

static bool served(const struct lease_policy *p, uint32_t uid)
{
    if (p->only_uid >= 0)
        return uid == p->only_uid;
    return uid != 0 && uid >= p->min_uid && uid < UINT32_MAX;
}

bool leases_serve(const struct leases *t, uint32_t uid)
{
    return served(&t->policy, uid);
}

static int check(const struct lease_policy *p, const struct lease_request *req, struct err *err)
{
    if (!req->hello_alone && !served(p, req->uid))
        return err_set(err, ERR_DENIED, "uid %u is not served", req->uid);
    if (req->ngroups > LEASE_MAX_GROUPS)
        return err_set(err, ERR_DENIED, "uid %u has more than %d groups", req->uid,
                       LEASE_MAX_GROUPS);
    if (req->lifetime_s < 0 || req->lifetime_s > p->longest_s)
        return err_set(err, ERR_DENIED, "a lease may last %lld s at most", (long long)p->longest_s);
    return 0;
}

static int take_hello(struct leases *t, const struct lease_request *req, int64_t now,
                      struct err *err)
{
    size_t of_user = 0;
    while (t->nhellos && now - t->hellos[t->first].at > LEASE_HELLO_S) {
        t->first = (t->first + 1) % LEASE_HELLOS;
        t->nhellos--;
    }
    for (size_t i = 0; i < t->nhellos; i++) {
        const struct seen *s = &t->hellos[(t->first + i) % LEASE_HELLOS];
        if (memcmp(s->hash, req->hello_hash, SEAL_HASH) == 0)
            return err_set(err, ERR_AUTH, "the HELLO has been used before");
        of_user += s->uid == req->uid;
    }
    if (of_user >= LEASE_HELLOS_PER_USER)
        return err_set(err, ERR_BUSY, "too many HELLOs of uid %u in the last %d s", req->uid,
                       LEASE_HELLO_S);
    if (t->nhellos == LEASE_HELLOS)
        return err_set(err, ERR_BUSY, "too many HELLOs in the last %d s", LEASE_HELLO_S);
    struct seen *s = &t->hellos[(t->first + t->nhellos++) % LEASE_HELLOS];
    s->at = now;
    s->uid = req->uid;
    memcpy(s->hash, req->hello_hash, SEAL_HASH);
    return 0;
}

static struct lease *find_uid(struct leases *t, uint32_t uid)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].uid == uid)
            return &t->v[i];
    return NULL;
}

/* A free place; that of an ended lease when there is none. */
static struct lease *free_place(struct leases *t, int64_t now)
{
    if (t->n < LEASE_MAX)
        return &t->v[t->n];
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].until <= now)
            return &t->v[i];
    return NULL;
}

int leases_grant(struct leases *t, const struct lease_request *req, int64_t now, struct err *err)
{
    if (check(&t->policy, req, err) < 0)
        return -1;
    if (req->hello_alone)
        return take_hello(t, req, now, err);
    struct lease *known = find_uid(t, req->uid);
    struct lease *l = known ? known : free_place(t, now);
    if (!l)
        return err_set(err, ERR_BUSY, "%d users have a lease, as many as there may be", LEASE_MAX);
    AUTO(free) uint32_t *groups = calloc(req->ngroups ? req->ngroups : 1, sizeof *groups);
    if (!groups)
        return err_set(err, ERR_BUSY, "no memory for a lease");
    if (take_hello(t, req, now, err) < 0)
        return -1;
    memcpy(groups, req->groups, req->ngroups * sizeof *groups);
    if (l == &t->v[t->n])
        t->n++;
    else
        free(l->groups);
    *l = (struct lease){
        .uid = req->uid,
        .gid = req->gid,
        .until = now + req->lifetime_s,
        .ngroups = req->ngroups,
        .groups = TAKE(groups),
        .spawns = known ? known->spawns : (struct bucket){0},
        .grants = known ? known->grants : (struct bucket){0},
    };
    return 0;
}

struct lease *leases_find(struct leases *t, uint32_t uid, int64_t now)
{
    struct lease *l = find_uid(t, uid);
    return l && l->until > now ? l : NULL;
}
