/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/rights.h"

#include "common/clock.h"

enum {
    WORKERS_PER_USER = 8,
    LEFTOVERS_PER_ROLE = 2, /* of a user: killed, and still there */
    /* Workers started in a second, in all and for one user. */
    SPAWN_RATE = 200,
    SPAWN_RATE_PER_USER = 20,
    GRANT_RATE_PER_USER = 200,
};

int rights_init(struct rights *r, const struct lease_policy *policy, struct err *err)
{
    *r = (struct rights){.leases = leases_new(policy), .grants = grants_new()};
    return r->leases && r->grants ? 0 : err_set(err, ERR_INTERNAL, "no memory");
}

void rights_free(struct rights *r)
{
    leases_free(r->leases);
    grants_free(r->grants);
    *r = (struct rights){0};
}

static struct lease *lease_now(struct rights *r, uint32_t uid)
{
    return leases_find(r->leases, uid, clock_mono_ms() / 1000);
}

/* ---- workers ---- */

/* Leftovers count, also those of an earlier broker: nobody gathers them without end. */
static int may_have_another(const struct process *list, const struct monitor_request *req,
                            struct err *err)
{
    size_t workers = processes_of(list, req->uid);
    if (workers >= WORKERS_PER_USER)
        return err_set(err, ERR_BUSY, "uid %u has %zu workers, as many as are allowed", req->uid,
                       workers);
    size_t left = processes_left(list, req->uid, req->role);
    if (left >= LEFTOVERS_PER_ROLE)
        return err_set(err, ERR_BUSY,
                       "%zu %s workers of uid %u were killed and are still there (a hung file "
                       "system, or a tracer?): no other is started before they have gone",
                       left, process_role_word(req->role), req->uid);
    return 0;
}

/* The broker starts few and keeps them; one that was taken over would fork without end. */
static int take_turn(struct rights *r, struct lease *l, struct err *err)
{
    int64_t now = clock_mono_ms();
    if (!bucket_has(&r->spawns, SPAWN_RATE, now))
        return err_set(err, ERR_BUSY,
                       "%d workers were started in the last second, as many as may "
                       "be",
                       SPAWN_RATE);
    if (!bucket_take(&l->spawns, SPAWN_RATE_PER_USER, now))
        return err_set(err, ERR_BUSY,
                       "%d workers of uid %u were started in the last second, as "
                       "many as may be",
                       SPAWN_RATE_PER_USER, l->uid);
    bucket_take(&r->spawns, SPAWN_RATE, now);
    return 0;
}

int rights_spawn(struct rights *r, const struct monitor_request *req,
                 const struct agentd_conf *conf, const struct process *list, struct identity *ret,
                 struct err *err)
{
    if (req->role != ROLE_CONTROL && req->role != ROLE_FILE && req->role != ROLE_ACCT)
        return err_set(err, ERR_DENIED, "there is no role %u", req->role);
    struct lease *l = lease_now(r, req->uid);
    if (!l)
        return err_set(err, ERR_DENIED,
                       "uid %u has not authenticated itself lately: no worker is started for it",
                       req->uid);
    size_t workers = processes_all(list, KIND_WORKER);
    if (workers >= (size_t)conf->max_workers)
        return err_set(err, ERR_BUSY, "%zu workers are running, as many as are allowed", workers);
    if (may_have_another(list, req, err) < 0 || take_turn(r, l, err) < 0)
        return -1;
    *ret = (struct identity){.uid = l->uid, .gid = l->gid, .ngroups = l->ngroups};
    for (size_t i = 0; i < l->ngroups; i++)
        ret->groups[i] = l->groups[i];
    return 0;
}

/* ---- staging: see grant.h ---- */

static int may_stage(struct rights *r, const struct monitor_request *req,
                     const struct agentd_conf *c, const struct process *list, struct err *err)
{
    if (!leases_serve(r->leases, req->uid))
        return err_set(err, ERR_DENIED, "uid %u is not served", req->uid);
    if (processes_count(list, KIND_STAGE) >= (size_t)c->max_stage_workers)
        return err_set(err, ERR_BUSY, "%lld stage workers are running, as many as are allowed",
                       (long long)c->max_stage_workers);
    /* Leftovers count. */
    if (processes_staging(list, req->uid) >= (size_t)c->stage_workers_per_user)
        return err_set(err, ERR_BUSY, "uid %u has %lld stage workers, as many as are allowed",
                       req->uid, (long long)c->stage_workers_per_user);
    if (!bucket_take(&r->spawns, SPAWN_RATE, clock_mono_ms()))
        return err_set(err, ERR_BUSY, "%d workers were started in the last second", SPAWN_RATE);
    return 0;
}

int rights_stage(struct rights *r, const struct monitor_request *req,
                 const struct agentd_conf *conf, const struct process *list, struct identity *ret,
                 const struct grant **ret_grant, struct err *err)
{
    const struct grant *g = grants_find(r->grants, req->uid, req->request, clock_now());
    if (!g)
        return err_set(
            err, ERR_DENIED,
            "nothing of uid %u allows it: it goes on when they use slurm-agent here again",
            req->uid);
    if (may_stage(r, req, conf, list, err) < 0)
        return -1;
    const struct lease *l = lease_now(r, req->uid);
    *ret = (struct identity){
        .uid = g->uid, .gid = l ? l->gid : g->gid, .ngroups = l ? l->ngroups : g->ngroups};
    for (size_t i = 0; i < ret->ngroups; i++)
        ret->groups[i] = l ? l->groups[i] : g->groups[i];
    *ret_grant = g;
    return 0;
}

int rights_grant(struct rights *r, const struct monitor_request *req, struct err *err)
{
    struct lease *l = lease_now(r, req->uid);
    if (!l)
        return err_set(err, ERR_DENIED,
                       "uid %u has not authenticated itself lately: nothing is granted for it",
                       req->uid);
    int64_t now = clock_mono_ms();
    if (!bucket_take(&l->grants, GRANT_RATE_PER_USER, now))
        return err_set(err, ERR_BUSY, "more than %d staged jobs of uid %u in a second",
                       GRANT_RATE_PER_USER, req->uid);
    return grants_add(r->grants, l, req, clock_now(), err);
}
