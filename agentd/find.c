/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/find.h"

#include <string.h>

#include "agentd/journal.h"
#include "agentd/metrics.h"
#include "agentd/staging.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/str.h"

enum {
    JOURNAL_BYTES = 16 << 20, /* of records, older runs among them; a reply takes 5 MiB */
    IDS_MAX = 10000,          /* that slurmdbd is asked for at once */
    NEW_S = 60,
};

/* Outlives what the caller does with its call until the answer, and is gone after it. */
struct find {
    struct call *call;
    find_fn fn;
    size_t n_ids;
    const char **ids;     /* the caller's texts */
    struct jobid *parsed; /* the same */
    bool *missing;        /* which of them name none of recs: find_missing() */
    struct jobrecs recs;
    bool failed, incomplete; /* no memory for one of them */
    struct watch_status watch;
    bool down;   /* slurmctld has not said anything about these jobs */
    bool anew;   /* it has been asked for what the table lacked, or that was nothing */
    bool waited; /* that was something */
    const char *source;
    char note[500];
};

/* ---- the answer ---- */

static void find_free(struct find *f)
{
    jobrecs_clear(&f->recs);
    free(f);
}

static void fail(struct find *f, const struct err *err)
{
    const struct found none = {0};
    f->fn(f->call, &none, err);
    find_free(f);
}

/* v is sorted by group. */
static bool group_has(struct jobrec *const *v, size_t n, const struct jobid *id)
{
    v = jobrecs_of_id(v, n, id, &n);
    for (size_t i = 0; i < n; i++)
        if (jobrec_named(v[i], id))
            return true;
    return false;
}

/* recs are sorted by id. */
static struct jobrec **with_id(const struct find *f, uint32_t job_id)
{
    return jobrecs_with_id(f->recs.v, f->recs.n, job_id);
}

/* Sorts recs by id, and sets which of the ids name none of them; -1 without memory. */
static int find_missing(struct find *f)
{
    AUTO(free) struct jobrec **groups = f->failed ? NULL : jobrecs_by_group(f->recs.v, f->recs.n);
    if (!groups)
        return -1;
    jobrecs_sort_by_id(f->recs.v, f->recs.n);
    for (size_t i = 0; i < f->n_ids; i++) {
        const struct jobid *id = &f->parsed[i];
        f->missing[i] =
            !group_has(groups, f->recs.n, id) && !(id->kind == JOBID_PLAIN && with_id(f, id->id));
    }
    return 0;
}

static void no_memory(struct find *f)
{
    struct err err = {0};
    err_set(&err, ERR_BUSY, "no memory");
    fail(f, &err);
}

static void finish(struct find *f)
{
    struct err err = {0};
    AUTO(free) const char **texts = calloc(f->n_ids + 1, sizeof *texts);
    struct found found = {
        .recs = f->recs.v,
        .n = f->recs.n,
        .missing = texts,
        .as_of = f->watch.as_of,
        .stale = f->watch.stale || f->down,
        .incomplete = f->incomplete,
        .source = f->source,
    };
    if (!texts) {
        no_memory(f);
        return;
    }
    for (size_t i = 0; i < f->n_ids; i++)
        if (f->missing[i])
            texts[found.n_missing++] = f->ids[i];
    if (f->down && found.n_missing) {
        err_set(&err, ERR_SLURM_DOWN, "%s%s",
                f->watch.as_of ? "" : "slurmctld has not answered since slurm-agentd started: ",
                f->watch.error);
        fail(f, &err);
        return;
    }
    if (!f->waited && !found.n_missing && f->source && str_eq(f->source, "table"))
        metrics_add(memory_answers, call_op(f->call), 0, 1);
    str_copy(found.note, sizeof found.note, found.stale ? f->watch.error : f->note);
    f->fn(f->call, &found, &err);
    find_free(f);
}

static int add(void *arg, struct jobrec *rec)
{
    struct find *f = arg;
    f->failed |= !jobrecs_add(&f->recs, rec);
    return f->failed ? -1 : 0;
}

/* A record that a worker gave, as it is told. */
static int add_told(void *arg, struct jobrec *rec)
{
    struct find *f = arg;
    struct jobrec *told = staging_tell(f->call->a->staging, jobrec_ref(rec));
    int rc = add(f, told);
    jobrec_unref(told);
    return rc;
}

/* ---- from slurmdbd ---- */

/* Does the record say how its job ended?  A row that is not final proves nothing while slurmctld
 * may know better: it does not answer, or the job is so new that no load has shown it. */
static bool is_answer(const struct find *f, const struct jobrec *rec)
{
    if (rec->phase != PHASE_UNKNOWN)
        return rec->ended;
    return !f->down && !f->watch.stale && rec->submit_time + NEW_S < f->watch.as_of;
}

/* What slurmdbd says, beside what was there before the question: recs[0..before), sorted by id. */
struct answer {
    struct find *f;
    size_t before;
};

static int take_answer(void *arg, struct jobrec *rec)
{
    const struct answer *a = arg;
    struct find *f = a->f;
    if (!is_answer(f, rec))
        return 0;
    struct jobrec **there = jobrecs_with_id(f->recs.v, a->before, rec->job_id);
    if (!there)
        return add_told(f, rec);
    if ((*there)->phase == PHASE_UNKNOWN && rec->phase != PHASE_UNKNOWN &&
        (*there)->keys.uid == rec->keys.uid) {
        jobrec_unref(*there);
        *there = staging_tell(f->call->a->staging, jobrec_ref(rec));
    }
    return 0;
}

/* A task of which the end is known, beside the record that it is not. */
static bool is_known(const struct jobrec *missed, struct jobrec *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i]->task == missed->task && v[i]->phase != PHASE_UNKNOWN &&
            v[i]->submit_time == missed->submit_time)
            return true;
    return false;
}

/* A task that was missed while it waited has no job id of its own: slurmdbd's row is another. */
static int drop_missed(struct find *f)
{
    struct jobrecs *l = &f->recs;
    AUTO(free) struct jobrec **groups = jobrecs_by_group(l->v, l->n);
    AUTO(free) struct jobrec **gone = calloc(l->n + 1, sizeof(struct jobrec *));
    size_t kept = 0, n_gone = 0;
    if (!groups || !gone)
        return -1;
    for (size_t i = 0; i < l->n; i++) {
        struct jobrec *rec = l->v[i];
        const struct jobid id = {.kind = JOBID_TASK, .id = rec->group, .second = rec->task};
        size_t n;
        struct jobrec *const *v = jobrecs_of_id(groups, l->n, &id, &n);
        bool missed = rec->phase == PHASE_UNKNOWN && rec->in_array && rec->task != JOBREC_NO_TASK;
        if (!missed || !is_known(rec, v, n))
            l->v[kept++] = rec;
        else
            gone[n_gone++] = rec;
    }
    l->n = kept;
    for (size_t i = 0; i < n_gone; i++)
        jobrec_unref(gone[i]);
    return 0;
}

static void on_accounting(void *arg, const struct worker_answer *answer)
{
    struct find *f = arg;
    struct answer a = {f, f->recs.n};
    struct jobs_reply r;
    struct err err = {0};
    AUTO(arena_done) struct arena arena = {0};
    if (worker_jobs(answer, &arena, &r, take_answer, &a, &err) < 0 && !f->failed)
        str_copy(f->note, sizeof f->note, err.text); /* what is known already is worth telling */
    if (drop_missed(f) < 0 || find_missing(f) < 0)
        no_memory(f);
    else
        finish(f);
}

/* Of an array that was there before somebody looked all the time, tasks may have ended unseen: one
 * of those that are known.  groups: recs, sorted by group. */
static const struct jobrec *may_lack_tasks(const struct find *f, const struct jobid *id,
                                           struct jobrec *const *groups)
{
    size_t n;
    struct jobrec *const *v = jobrecs_of_id(groups, f->recs.n, id, &n);
    bool many = id->kind == JOBID_PLAIN || id->kind == JOBID_TASKS;
    bool old = n && v[0]->submit_time < journal_whole(f->call->a->journal);
    return many && old && v[0]->in_array ? v[0] : NULL;
}

/* What nobody else knows, and how the jobs ended that were lost from sight. */
static int make_question(const struct find *f, struct arena *arena, struct acct_request *out)
{
    size_t room = 2 * f->n_ids + f->recs.n, n = 0;
    AUTO(free) struct jobrec **groups = jobrecs_by_group(f->recs.v, f->recs.n);
    const char **ids = arena_array(arena, room + 1, sizeof *ids);
    int64_t *times = arena_array(arena, room + 1, sizeof *times);
    if (!ids || !times || !groups)
        return -1;
    for (size_t i = 0; i < f->n_ids; i++)
        if (f->missing[i])
            ids[n++] = f->ids[i];
    for (size_t i = 0; i < f->n_ids && n < IDS_MAX; i++) {
        const struct jobrec *task = f->missing[i] ? NULL : may_lack_tasks(f, &f->parsed[i], groups);
        if (!task)
            continue;
        times[n] = task->submit_time;
        ids[n++] = f->ids[i];
    }
    for (size_t i = 0; i < f->recs.n && n < IDS_MAX; i++) {
        const struct jobrec *rec = f->recs.v[i];
        if (rec->phase != PHASE_UNKNOWN || strchr(rec->id, '['))
            continue;
        times[n] = rec->submit_time;
        ids[n++] = rec->id;
    }
    *out = (struct acct_request){
        .cluster = *f->watch.cluster ? f->watch.cluster : NULL,
        .ids = {ids, n},
        .submit_times = {times, n},
        .all_users = true, /* slurmdbd decides what the user may see */
    };
    return 0;
}

static void ask_table(struct find *f);

/* The load that was asked for has come, or does not come in time. */
static void look_again(void *arg)
{
    struct find *f = arg;
    jobrecs_clear(&f->recs);
    watch_status(f->call->a->watch, &f->watch);
    ask_table(f);
}

/* A job may be younger than the table: nobody is told that there is none before slurmctld has been
 * asked for it.  True when it is, and look_again() goes on. */
static bool ask_anew(struct find *f)
{
    enum { ONE_BY_ONE = 20 };
    struct watch *w = f->call->a->watch;
    struct watch_mark mark = {0};
    size_t n = 0;
    if (f->anew || f->down || f->watch.stale || f->watch.private_jobs)
        return false;
    for (size_t i = 0; i < f->n_ids; i++)
        n += f->missing[i];
    for (size_t i = 0; n <= ONE_BY_ONE && i < f->n_ids; i++)
        if (f->missing[i])
            watch_load(w, f->parsed[i].id, &mark);
    if (n > ONE_BY_ONE)
        watch_load(w, 0, &mark);
    f->anew = true;
    f->waited = n > 0;
    if (n)
        watch_when(w, &mark, look_again, f);
    return n > 0;
}

static void ask_accounting(struct find *f)
{
    const struct call *c = f->call;
    AUTO(arena_done) struct arena arena = {0};
    struct acct_request req;
    struct err err = {0};
    if (ask_anew(f))
        return;
    if (!f->watch.accounting || !c->a->workers) {
        finish(f);
        return;
    }
    if (make_question(f, &arena, &req) < 0) {
        no_memory(f);
        return;
    }
    if (req.ids.n == 0) {
        finish(f);
        return;
    }
    struct bytes body = msg_pack_arena(&acct_request_type, &req, &arena);
    if (!body.p) {
        no_memory(f);
    } else if (workers_ask(c->a->workers, c->user->uid, WORKER_load_acct, body, on_accounting, f,
                           &err) < 0) {
        str_copy(f->note, sizeof f->note, err.text);
        finish(f);
    }
}

/* ---- from the journal ---- */

/* The newest run of a job_id comes first. */
static int newest_first(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    if (x->job_id != y->job_id)
        return x->job_id < y->job_id ? -1 : 1;
    if (x->submit_time != y->submit_time)
        return x->submit_time > y->submit_time ? -1 : 1;
    return (x->restarts < y->restarts) - (x->restarts > y->restarts);
}

/* Of each job_id the newest run, unless slurmctld has it still: then that is newer, the same job or
 * another one with its id.  Gives how many are left. */
static size_t newest_runs(const struct find *f, struct jobrec **v, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(v, n, sizeof(struct jobrec *), newest_first);
    for (size_t i = 0; i < n; i++)
        if ((i == 0 || v[i]->job_id != v[i - 1]->job_id) && !with_id(f, v[i]->job_id))
            v[kept++] = v[i];
    return kept;
}

/* Of two records, or NULL, the one that says what the group is now. */
static const struct jobrec *later(const struct jobrec *a, const struct jobrec *b)
{
    return !a || b->submit_time > a->submit_time ? b : a;
}

/* Is rec of the same array or het job as now?  Tasks that are requeued get another submit time,
 * components may have tags of their own. */
static bool same_group(const struct jobrec *rec, const struct jobrec *now)
{
    return rec->keys.uid == now->keys.uid &&
           (rec->keys.tag == now->keys.tag || rec->submit_time == now->submit_time);
}

/* An array's id comes again like any other, and then its old tasks are not of the new array.  What
 * slurmctld shows of a group says whose it is, else its newest row.  groups: f's n_groups records
 * in the order of their groups. */
static void take_groups(struct find *f, struct jobrec *const *groups, size_t n_groups,
                        struct jobrec **v, size_t n)
{
    jobrecs_sort_by_group(v, n);
    for (size_t i = 0, end; i < n; i = end) {
        size_t of_group, there;
        struct jobrec *const *live = jobrecs_of_group(groups, n_groups, v[i]->group, &there);
        jobrecs_of_group(v + i, n - i, v[i]->group, &of_group);
        const struct jobrec *now = NULL;
        for (size_t k = 0; k < there; k++)
            now = later(now, live[k]);
        end = i + of_group;
        for (size_t k = i; !there && k < end; k++)
            now = later(now, v[k]);
        for (size_t k = i; k < end; k++)
            if (same_group(v[k], now))
                add(f, v[k]);
    }
}

static int choose(struct find *f, const struct journal_row *rows, size_t n)
{
    size_t n_groups = f->recs.n;
    AUTO(free) struct jobrec **v = calloc(n + 1, sizeof(struct jobrec *));
    AUTO(free) struct jobrec **groups = jobrecs_by_group(f->recs.v, n_groups);
    if (!v || !groups)
        return -1;
    for (size_t i = 0; i < n; i++)
        v[i] = rows[i].rec;
    n = newest_runs(f, v, n);
    take_groups(f, groups, n_groups, v, n);
    return find_missing(f);
}

static void on_journal(void *arg, const struct journal_row *rows, size_t n, bool more,
                       const struct err *err)
{
    struct find *f = arg;
    struct err mine = {0};
    if (err->code == ERR_BUSY) { /* stopping, or too much to do: worth another try */
        fail(f, err);
        return;
    }
    if (more) {
        err_set(&mine, ERR_LIMIT, "the ids name more jobs than fit: ask for fewer at once");
        fail(f, &mine);
        return;
    }
    if (err->code != ERR_NONE) {
        str_copy(f->note, sizeof f->note, err->text);
        f->incomplete = true;
    }
    if (choose(f, rows, n) < 0)
        no_memory(f);
    else
        ask_accounting(f);
}

/* Is it worth while to look for more of what the id names?  A single job that is there is all of
 * it; of an array, tasks may be gone already. */
static bool may_have_more(const struct find *f, const struct jobid *id, bool missing)
{
    if (missing || id->kind == JOBID_TASKS)
        return true;
    if (id->kind != JOBID_PLAIN)
        return false;
    struct jobrec **there = with_id(f, id->id);
    bool alone = there && !(*there)->in_array && !(*there)->in_het;
    bool part = there && (*there)->group != id->id;
    return !alone && !part;
}

static void ask_journal(struct find *f)
{
    const struct call *c = f->call;
    AUTO(free) struct jobid *wanted = calloc(f->n_ids + 1, sizeof *wanted);
    struct journal_query q = {
        .asker = c->user->uid,
        .ids = wanted,
        /* nor is it known what PrivateData says while slurmctld has not been heard */
        .filter = {.uid = f->watch.private_jobs || f->down ? (int64_t)c->user->uid : -1},
        .bytes = JOURNAL_BYTES,
    };
    if (!wanted || find_missing(f) < 0) {
        no_memory(f);
        return;
    }
    for (size_t i = 0; i < f->n_ids; i++)
        if (may_have_more(f, &f->parsed[i], f->missing[i]))
            wanted[q.n_ids++] = f->parsed[i];
    if (q.n_ids)
        journal_find(c->a->journal, &q, on_journal, f);
    else
        ask_accounting(f);
}

/* ---- from slurmctld ---- */

/* 12 and 12_3 name the same record. */
static void drop_doubles(struct find *f)
{
    struct jobrecs *l = &f->recs;
    size_t kept = 0;
    jobrecs_sort_by_id(l->v, l->n);
    for (size_t i = 0; i < l->n; i++)
        if (kept && l->v[kept - 1]->job_id == l->v[i]->job_id)
            jobrec_unref(l->v[i]);
        else
            l->v[kept++] = l->v[i];
    l->n = kept;
}

/* Some ids with the same number in front, in order: what the table has of it is read once, for each
 * of an array's ten thousand tasks may be asked for. */
static void take_named(struct find *f, const struct jobid *ids, size_t n)
{
    struct jobrecs *l = &f->recs;
    size_t first = l->n, kept = l->n;
    const struct jobid all = {.kind = JOBID_PLAIN, .id = ids->id};
    table_find(f->call->a->table, n == 1 ? ids : &all, add, f);
    if (n == 1 || ids->kind == JOBID_PLAIN || f->failed || l->n == first)
        return;
    size_t n_all = l->n - first;
    struct jobrec **v = l->v + first;
    AUTO(free) bool *named = calloc(n_all, sizeof *named);
    f->failed = !named;
    if (!named)
        return;
    jobrecs_sort_by_group(v, n_all);
    for (size_t i = 0; i < n; i++) {
        size_t m;
        struct jobrec *const *at = jobrecs_of_id(v, n_all, &ids[i], &m);
        for (size_t k = 0; k < m; k++)
            if (jobrec_named(at[k], &ids[i]))
                named[at + k - v] = true;
    }
    for (size_t k = 0; k < n_all; k++)
        if (named[k])
            l->v[kept++] = v[k];
        else
            jobrec_unref(v[k]);
    l->n = kept;
}

static void ask_table(struct find *f)
{
    AUTO(free) struct jobid *ids = calloc(f->n_ids + 1, sizeof *ids);
    f->failed |= !ids;
    if (ids && f->n_ids) {
        memcpy(ids, f->parsed, f->n_ids * sizeof *ids);
        qsort(ids, f->n_ids, sizeof *ids, jobid_order);
    }
    for (size_t i = 0, end; i < f->n_ids && !f->failed; i = end) {
        for (end = i + 1; end < f->n_ids && ids[end].id == ids[i].id;)
            end++;
        take_named(f, ids + i, end - i);
    }
    f->source = "table";
    drop_doubles(f);
    ask_journal(f);
}

/* What a worker gives goes to the user whose worker it is, and to nobody else. */
static void on_worker(void *arg, const struct worker_answer *answer)
{
    struct find *f = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r;
    struct err err = {0};
    int rc = worker_jobs(answer, &arena, &r, add_told, f, &err);
    if (answer->err.code == ERR_SLURM_DOWN) { /* what has ended may be known all the same */
        f->down = true;
        str_copy(f->watch.error, sizeof f->watch.error, answer->err.text);
        ask_journal(f);
        return;
    }
    if (rc < 0 && !f->failed) {
        fail(f, &err);
        return;
    }
    f->watch.as_of = r.as_of;
    f->watch.stale = r.stale;
    drop_doubles(f);
    ask_journal(f);
}

static void ask_worker(struct find *f)
{
    const struct get_request req = {.ids = {f->ids, f->n_ids}};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    const struct call *c = f->call;
    struct err err = {0};
    if (!out) {
        no_memory(f);
        return;
    }
    f->source = "slurmctld";
    msg_pack(&get_request_type, &req, out);
    struct bytes body = wire_out_bytes(out);
    if (!body.p)
        no_memory(f);
    else if (workers_ask(c->a->workers, c->user->uid, WORKER_load_get, body, on_worker, f, &err) <
             0)
        fail(f, &err);
}

static void begin(void *arg)
{
    struct find *f = arg;
    watch_status_for(f->call->a->watch, &f->call->user->seen_by, &f->watch);
    f->down = f->watch.as_of == 0;
    if (f->watch.private_jobs && !f->down)
        ask_worker(f);
    else
        ask_table(f);
}

/* ---- the question ---- */

static struct find *find_new(struct call *c, const struct strs *ids, find_fn fn, struct err *err)
{
    size_t n = ids->n;
    struct find *f =
        calloc(1, sizeof *f + n * (sizeof *f->ids + sizeof *f->parsed + sizeof *f->missing));
    if (!f) {
        err_set(err, ERR_BUSY, "no memory");
        return NULL;
    }
    f->call = c;
    f->fn = fn;
    f->ids = (const char **)(f + 1);
    f->parsed = (struct jobid *)(f->ids + n);
    f->missing = (bool *)(f->parsed + n);
    f->n_ids = n;
    for (size_t i = 0; i < n; i++)
        f->ids[i] = ids->v[i];
    jobids_parse(f->ids, n, f->parsed, err);
    return f;
}

void find_jobs(struct call *c, const struct strs *ids, find_fn fn)
{
    struct err err = {0};
    struct find *f = find_new(c, ids, fn, &err);
    if (err.code != ERR_NONE) {
        const struct found none = {0};
        fn(c, &none, &err);
        free(f);
    } else if (watch_covers(c->a->watch, &c->user->seen_by)) {
        begin(f);
    } else {
        watch_when(c->a->watch, &c->user->seen_by, begin, f);
    }
}
