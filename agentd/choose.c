/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/choose.h"

#include <string.h>

#include "agentd/table.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/str.h"

enum {
    PAGE = 1000,       /* jobs: a worker deals with them in a few seconds */
    OPENED_MAX = 2000, /* records that are unpacked for a page */
    LOOKED_AT = 10000, /* records that a list of ids may name, and ids that a worker is given */
    TASKS_BYTES = 200, /* of one id's list of tasks; a longer one becomes several ids */
};

struct choosing {
    struct call *call;
    chosen_fn fn;
    const struct control_request *req;
    struct strs states;
    struct job_filter filter;
    struct chosen out;
    size_t room;
    size_t opened, looked_at;
    uint32_t het; /* the last het job that was chosen: all of it */
    bool no_memory, full;
    /* of the id that is looked at */
    const struct jobid *id;
    size_t known, fits;
};

bool choose_wanted(const struct control_request *req)
{
    return req->me || req->all_users || req->user || req->states.n || req->partition || req->name ||
           req->account || req->qos || req->reservation || req->wckey || req->nodelist;
}

/* ---- what is chosen ---- */

static bool make_room(struct choosing *c)
{
    struct arena *arena = &c->call->arena;
    if (c->out.n < c->room)
        return true;
    size_t room = c->room ? c->room * 2 : 64;
    const char **ids = arena_array(arena, room, sizeof *ids);
    int64_t *submits = arena_array(arena, room, sizeof *submits);
    int64_t *restarts = arena_array(arena, room, sizeof *restarts);
    if (!ids || !submits || !restarts)
        return false;
    if (c->out.n) {
        memcpy(ids, c->out.ids, c->out.n * sizeof *ids);
        memcpy(submits, c->out.submit_times, c->out.n * sizeof *submits);
        memcpy(restarts, c->out.restarts, c->out.n * sizeof *restarts);
    }
    c->out.ids = ids;
    c->out.submit_times = submits;
    c->out.restarts = restarts;
    c->room = room;
    return true;
}

/* Takes an id of the arena's, or NULL without memory. */
static void add(struct choosing *c, const struct jobrec *rec, const char *id)
{
    if (!id || !make_room(c)) {
        c->no_memory = true;
        return;
    }
    c->out.ids[c->out.n] = id;
    c->out.submit_times[c->out.n] = rec->submit_time;
    c->out.restarts[c->out.n++] = rec->restarts;
}

/* "4-9,12%2": what waits of an array, named by its tasks, so that those that run are left out. */
static void add_waiting(struct choosing *c, const struct jobrec *rec)
{
    const char *list = rec->array_task;
    size_t left = strcspn(list, "%");
    while (left && !c->no_memory) {
        size_t n = left < TASKS_BYTES ? left : TASKS_BYTES;
        while (n < left && n && list[n] != ',')
            n--;
        if (n == 0)
            return; /* no list of Slurm's */
        add(c, rec, arena_printf(&c->call->arena, "%u_[%.*s]", rec->group, (int)n, list));
        n += n < left;
        list += n;
        left -= n;
    }
}

static void add_job(struct choosing *c, const struct jobrec *rec)
{
    struct arena *arena = &c->call->arena;
    if (rec->in_het) {
        if (c->het != rec->group)
            add(c, rec, arena_printf(arena, "%u", rec->group));
        c->het = rec->group;
    } else if (rec->in_array && rec->task == JOBREC_NO_TASK) {
        add_waiting(c, rec);
    } else {
        add(c, rec, arena_strdup(arena, rec->id));
    }
}

/* ---- does it fit? ---- */

static bool same(const char *wanted, const char *is)
{
    return !wanted || str_eq(wanted, str_or(is, ""));
}

/* What the table does not keep beside the packed record. */
static bool fits_closely(struct choosing *c, const struct jobrec *rec)
{
    const struct control_request *req = c->req;
    AUTO(arena_done) struct arena arena = {0};
    struct err ignored = {0};
    struct job j;
    if (!req->account && !req->qos && !req->reservation && !req->wckey)
        return true;
    c->opened++;
    if (msg_unpack(&job_type, rec->packed, &arena, MSG_LENIENT, &j, &ignored) < 0)
        return false;
    const char *wckey = str_or(j.wckey, "");
    return same(req->account, j.account) && same(req->qos, j.qos) &&
           same(req->reservation, j.reservation) &&
           same(req->wckey, wckey + (*wckey == '*')); /* a default one */
}

static bool fits(struct choosing *c, const struct jobrec *rec)
{
    return job_filter_matches(&c->filter, &rec->keys) && fits_closely(c, rec);
}

/* ---- from the table ---- */

static int see_any(void *arg, struct jobrec *rec)
{
    struct choosing *c = arg;
    if (fits(c, rec))
        add_job(c, rec);
    if (c->no_memory)
        return -1;
    if (c->out.n < PAGE && c->opened < OPENED_MAX)
        return 0;
    c->out.next = rec->job_id;
    return 1;
}

static int see_named(void *arg, struct jobrec *rec)
{
    struct choosing *c = arg;
    c->known++;
    if (++c->looked_at > LOOKED_AT)
        return -1;
    if (fits(c, rec)) {
        c->fits++;
        add_job(c, rec);
    }
    return c->no_memory ? -1 : 0;
}

static int choose_named(struct choosing *c, struct err *err)
{
    struct arena *arena = &c->call->arena;
    const struct strs *ids = &c->req->ids;
    struct jobid *parsed = arena_array(arena, ids->n, sizeof *parsed);
    c->out.unfit = arena_array(arena, ids->n, sizeof *c->out.unfit);
    c->out.unknown = arena_array(arena, ids->n, sizeof *c->out.unknown);
    if (!parsed || !c->out.unfit || !c->out.unknown)
        return err_set(err, ERR_BUSY, "no memory");
    if (jobids_parse(ids->v, ids->n, parsed, err) < 0)
        return -1;
    for (size_t i = 0; i < ids->n && !c->no_memory; i++) {
        c->known = c->fits = 0;
        c->het = 0;
        if ((table_find(c->call->a->table, &parsed[i], see_named, c) < 0 && !c->no_memory) ||
            c->out.n > LOOKED_AT)
            return err_set(err, ERR_LIMIT,
                           "these ids name more than %d jobs: ask for fewer at once", LOOKED_AT);
        if (c->known && !c->fits)
            c->out.unfit[c->out.n_unfit++] = ids->v[i];
        else if (!c->known)
            c->out.unknown[c->out.n_unknown++] = ids->v[i];
    }
    return 0;
}

static void finish(struct choosing *c, struct err *err)
{
    if (c->no_memory)
        err_set(err, ERR_BUSY, "no memory");
    c->fn(c->call, &c->out, err);
}

/* ---- PrivateData=jobs ---- */

static int see_workers(void *arg, struct jobrec *rec)
{
    struct choosing *c = arg;
    if (fits(c, rec))
        add_job(c, rec);
    return c->no_memory ? -1 : 0;
}

static void on_loaded(void *arg, const struct worker_answer *answer)
{
    struct choosing *c = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r;
    struct err err = {0};
    if (worker_jobs(answer, &arena, &r, see_workers, c, &err) == 0) {
        c->out.next = r.next;
        for (size_t i = 0; i < r.missing.n; i++)
            if (i < c->req->ids.n)
                c->out.unknown[c->out.n_unknown++] = arena_strdup(&c->call->arena, r.missing.v[i]);
    }
    finish(c, &err);
}

static void ask_worker(struct choosing *c, struct err *err)
{
    struct call *call = c->call;
    const struct control_request *req = c->req;
    const struct get_request get = {.ids = req->ids};
    const struct list_request list = {
        .user = req->user,
        .all_users = req->all_users,
        .states = c->states,
        .partition = req->partition,
        .name = req->name,
        .after = req->after,
        .limit = PAGE,
    };
    bool named = req->ids.n != 0;
    struct bytes body = named ? msg_pack_arena(&get_request_type, &get, &call->arena)
                              : msg_pack_arena(&list_request_type, &list, &call->arena);
    c->out.unknown = arena_array(&call->arena, req->ids.n, sizeof *c->out.unknown);
    if (!body.p || !c->out.unknown)
        err_set(err, ERR_BUSY, "no memory");
    else if (!call->a->workers)
        err_set(err, ERR_BUSY, "the server is stopping");
    else
        workers_ask(call->a->workers, call->user->uid, named ? WORKER_load_get : WORKER_load_list,
                    body, on_loaded, c, err);
}

/* ---- the way ---- */

static void choose_now(void *arg)
{
    struct choosing *c = arg;
    struct watch_status watch;
    struct err err = {0};
    watch_status(c->call->a->watch, &watch);
    if (!watch.as_of || watch.stale)
        err_set(&err, ERR_SLURM_DOWN, "which jobs fit is not known: slurmctld does not answer: %s",
                watch.error);
    else if (watch.private_jobs) {
        ask_worker(c, &err);
        if (err.code == ERR_NONE)
            return;
    } else if (c->req->ids.n) {
        choose_named(c, &err);
    } else {
        table_each(c->call->a->table, (uint32_t)c->req->after, see_any, c);
    }
    finish(c, &err);
}

/* "PENDING,RUNNING" */
static int split_states(struct choosing *c, const char *list)
{
    const char **v = arena_array(&c->call->arena, 8, sizeof *v);
    char *rest = arena_strdup(&c->call->arena, list);
    if (!v || !rest)
        return -1;
    c->states = (struct strs){v, 0};
    for (char *word; c->states.n < 8 && (word = strsep(&rest, ","));)
        v[c->states.n++] = word;
    return 0;
}

static int read_filters(struct choosing *c, const struct job_verb_row *verb, struct err *err)
{
    const struct control_request *req = c->req;
    bool anybody = req->all_users || (req->ids.n && !req->user && !req->me);
    c->filter = (struct job_filter){.name = req->name, .partition = req->partition};
    c->states = req->states;
    if (req->states.n == 0 && split_states(c, verb->choose) < 0)
        return err_set(err, ERR_BUSY, "no memory");
    return job_filter_whose(&c->filter, req->user, anybody, c->call->user->uid, err) < 0 ||
                   jobstate_set(&c->states, &c->filter.states, err) < 0
               ? -1
               : 0;
}

void choose_jobs(struct call *call, const struct control_request *req,
                 const struct job_verb_row *verb, chosen_fn fn)
{
    struct err err = {0};
    const struct chosen none = {0};
    struct choosing *c = arena_alloc(&call->arena, sizeof *c);
    if (!c) {
        err_set(&err, ERR_BUSY, "no memory");
        fn(call, &none, &err);
        return;
    }
    *c = (struct choosing){.call = call, .fn = fn, .req = req};
    if (read_filters(c, verb, &err) < 0)
        finish(c, &err);
    else if (watch_covers(call->a->watch, &call->user->seen_by))
        choose_now(c);
    else
        watch_when(call->a->watch, &call->user->seen_by, choose_now, c);
}
