/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/jobrec.h"

#include <string.h>

#include "common/str.h"

enum { REFUSAL_S = 2 }; /* a submit is judged in less, while slurmctld's locks are held */

/* ---- what is worth telling ---- */

/* FNV-1a: keeps changes apart; nobody gains by a collision but to hide a change of their own job.
 */
static void mix(uint64_t *h, const void *p, size_t n)
{
    const unsigned char *at = p;
    for (size_t i = 0; i < n; i++)
        *h = (*h ^ at[i]) * 0x100000001b3ULL;
}

static void mix_text(uint64_t *h, const char *s)
{
    mix(h, str_or(s, ""), strlen(str_or(s, "")) + 1);
}

/* Not the guesses that slurmctld makes anew each minute: expected start, priority as it ages. */
static uint64_t change_of(const struct job *j)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    const bool held = j->priority == 0;
    const int64_t numbers[] = {j->exit_code, j->exit_signal, j->derived_exit_code, j->submit_time,
                               j->restarts,  j->time_limit,  j->suspend_time,      held};
    const char *const texts[] = {j->state, j->phase,     j->reason, j->array_task,
                                 j->nodes, j->partition, j->qos,    j->account};
    mix(&h, numbers, sizeof numbers);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        mix_text(&h, texts[i]);
    for (size_t i = 0; i < j->flags.n; i++)
        mix_text(&h, j->flags.v[i]);
    return h;
}

/* ---- a record ---- */

static const char *append(char **end, const char *s)
{
    char *at = *end;
    size_t n = strlen(s) + 1;
    memcpy(at, s, n);
    *end += n;
    return at;
}

static void fill(struct jobrec *r, const struct job *j)
{
    r->refs = 1;
    r->job_id = (uint32_t)j->job_id;
    r->group = j->array_job_id ? (uint32_t)j->array_job_id
               : j->het_job_id ? (uint32_t)j->het_job_id
                               : r->job_id;
    r->het_offset = (uint32_t)j->het_offset;
    r->in_array = j->array_job_id != 0;
    r->in_het = j->het_job_id != 0;
    r->phase = j->phase ? phase_find(j->phase) : jobstate_phase(j->state, &j->flags);
    r->ended = phase_ended(r->phase);
    r->held = j->priority == 0 && str_eq(j->state, "PENDING");
    r->submit_time = j->submit_time;
    r->start_time = j->start_time;
    r->end_time = j->end_time;
    r->restarts = j->restarts;
    r->change = change_of(j);
    r->keys.uid = (uint32_t)j->uid;
    r->keys.tag = j->tag;
}

/* One block: the struct, then packed, then the strings. */
struct jobrec *jobrec_new(struct bytes packed, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct job j;
    if (msg_unpack(&job_type, packed, &arena, MSG_LENIENT, &j, err) < 0)
        return NULL;
    if (j.job_id == 0) {
        err_set(err, ERR_PROTOCOL, "a job without job_id");
        return NULL;
    }
    /* The state of a job whose end is not known is the one it was last seen in: not one it is in.
     */
    bool unknown = str_eq(j.phase, phase_word(PHASE_UNKNOWN));
    const char *state = unknown ? j.phase : j.state;
    const char *const said[] = {state, j.name, j.user, j.partition, j.array_task, j.id};
    size_t strings = 0;
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        strings += strlen(str_or(said[i], "")) + 1;
    struct jobrec *r = calloc(1, sizeof *r + packed.n + strings);
    if (!r) {
        err_set(err, ERR_LIMIT, "no memory for another job");
        return NULL;
    }
    uint8_t *copy = (uint8_t *)(r + 1);
    memcpy(copy, packed.p, packed.n);
    char *end = (char *)copy + packed.n;
    fill(r, &j);
    r->packed = (struct bytes){copy, packed.n};
    r->keys.state = append(&end, str_or(state, ""));
    r->keys.name = append(&end, str_or(j.name, ""));
    r->keys.user = append(&end, str_or(j.user, ""));
    r->keys.partition = append(&end, str_or(j.partition, ""));
    r->array_task = append(&end, str_or(j.array_task, ""));
    int64_t task;
    bool one = r->in_array && str_to_i64(r->array_task, 0, JOBREC_NO_TASK - 1, &task);
    r->task = one ? (uint32_t)task : JOBREC_NO_TASK;
    r->id = append(&end, str_or(j.id, ""));
    return r;
}

struct jobrec *jobrec_of(const struct job *job, struct err *err)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (out)
        msg_pack(&job_type, job, out);
    struct bytes packed = out ? wire_out_bytes(out) : (struct bytes){NULL, 0};
    if (packed.p)
        return jobrec_new(packed, err);
    err_set(err, ERR_LIMIT, "no memory for another job");
    return NULL;
}

struct jobrec *jobrec_ref(struct jobrec *r)
{
    r->refs++;
    return r;
}

void jobrec_unref(struct jobrec *r)
{
    if (r && --r->refs == 0)
        free(r);
}

bool jobrec_same_job(const struct jobrec *then, const struct jobrec *now)
{
    if (then->job_id != now->job_id || then->group != now->group || then->keys.uid != now->keys.uid)
        return false;
    bool requeued = now->restarts > then->restarts && now->keys.tag == then->keys.tag;
    return then->submit_time == now->submit_time || requeued;
}

bool jobrec_same_run(const struct jobrec *a, const struct jobrec *b)
{
    return a->job_id == b->job_id && a->group == b->group && a->submit_time == b->submit_time &&
           a->restarts == b->restarts;
}

/* How it is known is in the packed body alone: -1 when that cannot be read. */
static int had_node(const struct jobrec *r)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    if (msg_unpack(&job_type, r->packed, &arena, MSG_LENIENT, &j, &err) < 0)
        return -1;
    return j.nodes || j.batch_host;
}

bool jobrec_ran(const struct jobrec *r)
{
    return had_node(r) > 0;
}

/* What cannot be read may have run. */
static bool never_began(const struct jobrec *r, const char *state)
{
    return r->ended && !r->restarts && r->start_time >= r->end_time &&
           str_eq(r->keys.state, state) && had_node(r) == 0;
}

bool jobrec_is_refusal(const struct jobrec *r)
{
    return r->end_time - r->submit_time <= REFUSAL_S && never_began(r, "FAILED");
}

bool jobrec_is_refused_part(const struct jobrec *r)
{
    return r->in_het && never_began(r, "CANCELLED");
}

bool jobrec_named(const struct jobrec *r, const struct jobid *id)
{
    switch (id->kind) {
    case JOBID_PLAIN:
        return r->group == id->id || r->job_id == id->id;
    case JOBID_TASKS:
        return r->in_array && r->group == id->id && jobid_tasks_meet(id->tasks, r->array_task);
    case JOBID_TASK:
        return r->in_array && r->group == id->id && jobid_tasks_contain(r->array_task, id->second);
    case JOBID_HET:
        return r->in_het && r->group == id->id && r->het_offset == id->second;
    }
    return false;
}

/* The first of ids, in order, whose number is not below. */
static size_t first_id(const struct jobid *ids, size_t n, uint64_t number)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ids[mid].id < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool jobrec_named_any(const struct jobrec *r, const struct jobid *ids, size_t n)
{
    const struct jobid alone = {.kind = JOBID_PLAIN, .id = r->job_id};
    if (r->job_id != r->group && n && bsearch(&alone, ids, n, sizeof *ids, jobid_order))
        return true;
    size_t first = first_id(ids, n, r->group);
    ids += first;
    n = first_id(ids, n - first, r->group + 1ULL);
    if (n == 0)
        return false;
    if (r->in_array && r->task == JOBREC_NO_TASK) { /* several tasks: each id may name some */
        for (size_t i = 0; i < n; i++)
            if (jobrec_named(r, &ids[i]))
                return true;
        return false;
    }
    const struct jobid one = {.kind = r->in_het ? JOBID_HET : JOBID_TASK,
                              .id = r->group,
                              .second = r->in_het ? r->het_offset : r->task};
    const struct jobid *found = bsearch(&one, ids, n, sizeof *ids, jobid_order);
    if (jobrec_named(r, ids) || (found && jobrec_named(r, found)))
        return true;
    for (; n && ids[n - 1].kind == JOBID_TASKS; n--)
        if (jobrec_named(r, &ids[n - 1]))
            return true;
    return false;
}

/* ---- several ---- */

bool jobrecs_add(struct jobrecs *l, struct jobrec *rec)
{
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 8;
        struct jobrec **v = reallocarray(l->v, room, sizeof(struct jobrec *));
        if (!v)
            return false;
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = jobrec_ref(rec);
    return true;
}

void jobrecs_clear(struct jobrecs *l)
{
    for (size_t i = 0; i < l->n; i++)
        jobrec_unref(l->v[i]);
    free(l->v);
    *l = (struct jobrecs){0};
}

static int by_id(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    return (x->job_id > y->job_id) - (x->job_id < y->job_id);
}

static int by_group(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->task != y->task)
        return x->task < y->task ? -1 : 1;
    return by_id(a, b);
}

void jobrecs_sort_by_id(struct jobrec **v, size_t n)
{
    if (n)
        qsort(v, n, sizeof(struct jobrec *), by_id);
}

void jobrecs_sort_by_group(struct jobrec **v, size_t n)
{
    if (n)
        qsort(v, n, sizeof(struct jobrec *), by_group);
}

struct jobrec **jobrecs_by_group(struct jobrec *const *v, size_t n)
{
    struct jobrec **copy = calloc(n + 1, sizeof(struct jobrec *));
    if (copy && n) {
        memcpy(copy, v, n * sizeof(struct jobrec *));
        jobrecs_sort_by_group(copy, n);
    }
    return copy;
}

struct jobrec **jobrecs_with_id(struct jobrec **v, size_t n, uint32_t job_id)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v[mid]->job_id < job_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && v[lo]->job_id == job_id ? &v[lo] : NULL;
}

/* The first of v, sorted by group, of that group whose task is not below. */
static size_t lower_bound(struct jobrec *const *v, size_t n, uint64_t group, uint32_t task)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v[mid]->group < group || (v[mid]->group == group && v[mid]->task < task))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct jobrec *const *jobrecs_of_group(struct jobrec *const *v, size_t n, uint32_t group,
                                       size_t *ret_n)
{
    size_t first = lower_bound(v, n, group, 0);
    *ret_n = lower_bound(v, n, group + 1ULL, 0) - first;
    return v + first;
}

struct jobrec *const *jobrecs_of_id(struct jobrec *const *v, size_t n, const struct jobid *id,
                                    size_t *ret_n)
{
    size_t first = lower_bound(v, n, id->id, 0), end = lower_bound(v, n, id->id + 1ULL, 0);
    if (id->kind == JOBID_TASK) {
        first = lower_bound(v, n, id->id, id->second);
        if (first < end && v[first]->task == id->second)
            end = lower_bound(v, n, id->id, id->second + 1);
        else /* of those that are still together */
            first = lower_bound(v, n, id->id, JOBREC_NO_TASK);
    } else if (id->kind == JOBID_HET && first < end && !v[first]->in_het) {
        end = first;
    }
    *ret_n = end - first;
    return v + first;
}

/* ---- filters ---- */

bool job_filter_matches(const struct job_filter *f, const struct job_keys *k)
{
    if (f->uid >= 0 && k->uid != f->uid)
        return false;
    if (f->user && !str_eq(k->user, f->user))
        return false;
    if (f->name && !str_eq(k->name, f->name))
        return false;
    /* A pending job may name several partitions. */
    if (f->partition && !str_in_list(k->partition, f->partition))
        return false;
    if (f->tag && k->tag != f->tag)
        return false;
    return !f->states || jobstate_in(f->states, k->state);
}

int job_filter_whose(struct job_filter *f, const char *user, bool all_users, uint32_t caller,
                     struct err *err)
{
    f->uid = -1;
    f->user = NULL;
    if (user && all_users)
        return err_set(err, ERR_INVALID, "one user and all users exclude each other");
    /* Names are compared with those in the jobs: no name service is asked here. */
    if (user && !str_to_i64(user, 0, UINT32_MAX, &f->uid))
        f->user = user;
    else if (!user && !all_users)
        f->uid = caller;
    return 0;
}
