/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/find.h"

#include <string.h>

#include "agentd/journal.h"
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
    struct jobrec **recs; /* references */
    size_t n, room;
    bool failed; /* no memory for one of them */
    struct watch_status watch;
    bool down; /* slurmctld has not said anything about these jobs */
    bool anew; /* it has been asked for what the table lacked */
    const char *source;
    char note[500];
};

/* ---- the answer ---- */

static void find_free(struct find *f)
{
    for (size_t i = 0; i < f->n; i++)
        jobrec_unref(f->recs[i]);
    free(f->recs);
    free(f);
}

static void fail(struct find *f, const struct err *err)
{
    const struct found none = {0};
    f->fn(f->call, &none, err);
    find_free(f);
}

static int by_job_id(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    return (x->job_id > y->job_id) - (x->job_id < y->job_id);
}

static int by_group(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    return x->group != y->group ? (x->group < y->group ? -1 : 1) : by_job_id(a, b);
}

static uint32_t job_id_of(const struct jobrec *r)
{
    return r->job_id;
}

static uint32_t group_of(const struct jobrec *r)
{
    return r->group;
}

typedef uint32_t (*key_fn)(const struct jobrec *r);

/* The first of v, sorted by that key, whose key is not below. */
static size_t lower_bound(struct jobrec *const *v, size_t n, key_fn key, uint32_t wanted)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key(v[mid]) < wanted)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* v is in the order of by_group. */
static bool group_has(struct jobrec *const *v, size_t n, const struct jobid *id)
{
    for (size_t i = lower_bound(v, n, group_of, id->id); i < n && v[i]->group == id->id; i++)
        if (jobrec_named(v[i], id))
            return true;
    return false;
}

/* recs are in the order of by_job_id. */
static bool has_job(const struct find *f, uint32_t job_id)
{
    size_t i = lower_bound(f->recs, f->n, job_id_of, job_id);
    return i < f->n && f->recs[i]->job_id == job_id;
}

/* Sorts recs by job_id, and gives which of the ids name none of them; -1 without memory. */
static int find_missing(struct find *f, bool *ret_missing)
{
    struct jobrec **groups = calloc(f->n + 1, sizeof(struct jobrec *));
    if (!groups)
        return -1;
    if (f->n) {
        qsort(f->recs, f->n, sizeof(struct jobrec *), by_job_id);
        memcpy(groups, f->recs, f->n * sizeof(struct jobrec *));
        qsort(groups, f->n, sizeof(struct jobrec *), by_group);
    }
    for (size_t i = 0; i < f->n_ids; i++) {
        const struct jobid *id = &f->parsed[i];
        ret_missing[i] =
            !group_has(groups, f->n, id) && !(id->kind == JOBID_PLAIN && has_job(f, id->id));
    }
    free(groups);
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
    AUTO(free) bool *missing = calloc(f->n_ids + 1, sizeof *missing);
    AUTO(free) const char **texts = calloc(f->n_ids + 1, sizeof *texts);
    struct found found = {
        .recs = f->recs,
        .n = f->n,
        .missing = texts,
        .as_of = f->watch.as_of,
        .stale = f->watch.stale || f->down,
        .source = f->source,
    };
    if (f->failed || !missing || !texts || find_missing(f, missing) < 0) {
        no_memory(f);
        return;
    }
    for (size_t i = 0; i < f->n_ids; i++)
        if (missing[i])
            texts[found.n_missing++] = f->ids[i];
    if (f->down && found.n_missing) {
        err_set(&err, ERR_SLURM_DOWN, "%s%s",
                f->watch.as_of ? "" : "slurmctld has not answered since slurm-agentd started: ",
                f->watch.error);
        fail(f, &err);
        return;
    }
    str_copy(found.note, sizeof found.note, found.stale ? f->watch.error : f->note);
    found.n = f->n;
    f->fn(f->call, &found, &err);
    find_free(f);
}

static void add(struct find *f, struct jobrec *rec)
{
    if (f->n == f->room) {
        size_t room = f->room ? 2 * f->room : 8;
        struct jobrec **v = reallocarray(f->recs, room, sizeof(struct jobrec *));
        if (!v) {
            f->failed = true;
            return;
        }
        f->recs = v;
        f->room = room;
    }
    f->recs[f->n++] = jobrec_ref(rec);
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

/* f->recs[0..n) are in the order of by_job_id: those that were there before the question. */
static void take_answer(struct find *f, size_t n, struct jobrec *rec)
{
    size_t i = lower_bound(f->recs, n, job_id_of, rec->job_id);
    if (!is_answer(f, rec))
        return;
    if (i == n || f->recs[i]->job_id != rec->job_id) {
        add(f, rec);
    } else if (f->recs[i]->phase == PHASE_UNKNOWN && rec->phase != PHASE_UNKNOWN &&
               f->recs[i]->keys.uid == rec->keys.uid) {
        jobrec_unref(f->recs[i]);
        f->recs[i] = jobrec_ref(rec);
    }
}

static void on_accounting(void *arg, const struct worker_answer *answer)
{
    struct find *f = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r = {0};
    struct err err = answer->err;
    size_t n = f->n;
    if (err.code == ERR_NONE)
        msg_unpack(&jobs_reply_type, answer->body, &arena, MSG_LENIENT, &r, &err);
    for (size_t i = 0; err.code == ERR_NONE && i < r.jobs.n; i++) {
        struct jobrec *rec = jobrec_new(r.jobs.v[i], &err);
        if (rec)
            take_answer(f, n, rec);
        jobrec_unref(rec);
    }
    if (err.code != ERR_NONE) /* what is known already is worth telling */
        str_copy(f->note, sizeof f->note, err.text);
    finish(f);
}

/* What nobody else knows, and how the jobs ended that were lost from sight. */
static int make_question(const struct find *f, const bool *missing, struct arena *arena,
                         struct acct_request *out)
{
    size_t room = f->n_ids + f->n, n = 0;
    const char **ids = arena_array(arena, room + 1, sizeof *ids);
    int64_t *times = arena_array(arena, room + 1, sizeof *times);
    if (!ids || !times)
        return -1;
    for (size_t i = 0; i < f->n_ids; i++)
        if (missing[i])
            ids[n++] = f->ids[i];
    for (size_t i = 0; i < f->n && n < IDS_MAX; i++) {
        const struct jobrec *rec = f->recs[i];
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
    for (size_t i = 0; i < f->n; i++)
        jobrec_unref(f->recs[i]);
    f->n = 0;
    watch_status(f->call->a->watch, &f->watch);
    ask_table(f);
}

/* A job may be younger than the table: nobody is told that there is none before slurmctld has been
 * asked for it.  True when it is, and look_again() goes on. */
static bool ask_anew(struct find *f, const bool *missing)
{
    enum { ONE_BY_ONE = 20 };
    struct watch *w = f->call->a->watch;
    struct watch_mark mark = {0};
    size_t n = 0;
    if (f->anew || f->down || f->watch.stale || f->watch.private_jobs)
        return false;
    for (size_t i = 0; i < f->n_ids; i++)
        n += missing[i];
    for (size_t i = 0; n <= ONE_BY_ONE && i < f->n_ids; i++)
        if (missing[i])
            watch_load(w, f->parsed[i].id, &mark);
    if (n > ONE_BY_ONE)
        watch_load(w, 0, &mark);
    f->anew = true;
    if (n)
        watch_when(w, &mark, look_again, f);
    return n > 0;
}

static void ask_accounting(struct find *f)
{
    const struct call *c = f->call;
    AUTO(arena_done) struct arena arena = {0};
    AUTO(free) bool *missing = calloc(f->n_ids + 1, sizeof *missing);
    struct acct_request req;
    struct bytes body = {0};
    struct err err = {0};
    if (f->failed || !missing || find_missing(f, missing) < 0 ||
        make_question(f, missing, &arena, &req) < 0) {
        no_memory(f);
        return;
    }
    if (ask_anew(f, missing))
        return;
    if (!f->watch.accounting || !c->a->workers) {
        finish(f);
        return;
    }
    if (req.ids.n)
        body = msg_pack_arena(&acct_request_type, &req, &arena);
    if (req.ids.n == 0) {
        finish(f);
    } else if (!body.p) {
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
        if ((i == 0 || v[i]->job_id != v[i - 1]->job_id) && !has_job(f, v[i]->job_id))
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
 * slurmctld shows of a group says whose it is, else its newest row.  groups: f's records in the
 * order of by_group. */
static void take_groups(struct find *f, struct jobrec *const *groups, size_t n_groups,
                        struct jobrec **v, size_t n)
{
    if (n)
        qsort(v, n, sizeof(struct jobrec *), by_group);
    for (size_t i = 0, end; i < n; i = end) {
        const struct jobrec *now = NULL;
        uint32_t group = v[i]->group;
        for (size_t k = lower_bound(groups, n_groups, group_of, group);
             k < n_groups && groups[k]->group == group; k++)
            now = later(now, groups[k]);
        bool live = now != NULL;
        for (end = i; end < n && v[end]->group == group; end++)
            if (!live)
                now = later(now, v[end]);
        for (size_t k = i; k < end; k++)
            if (same_group(v[k], now))
                add(f, v[k]);
    }
}

static int choose(struct find *f, const struct journal_row *rows, size_t n)
{
    size_t n_groups = f->n;
    AUTO(free) struct jobrec **v = calloc(n + 1, sizeof(struct jobrec *));
    AUTO(free) struct jobrec **groups = calloc(n_groups + 1, sizeof(struct jobrec *));
    if (!v || !groups)
        return -1;
    for (size_t i = 0; i < n; i++)
        v[i] = rows[i].rec;
    if (f->n) {
        qsort(f->recs, f->n, sizeof(struct jobrec *), by_job_id);
        memcpy(groups, f->recs, n_groups * sizeof(struct jobrec *));
        qsort(groups, n_groups, sizeof(struct jobrec *), by_group);
    }
    n = newest_runs(f, v, n);
    take_groups(f, groups, n_groups, v, n);
    return f->failed ? -1 : 0;
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
    if (err->code != ERR_NONE)
        str_copy(f->note, sizeof f->note, err->text);
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
    size_t i = lower_bound(f->recs, f->n, job_id_of, id->id);
    bool alone =
        i < f->n && f->recs[i]->job_id == id->id && !f->recs[i]->in_array && !f->recs[i]->in_het;
    bool part = i < f->n && f->recs[i]->job_id == id->id && f->recs[i]->group != id->id;
    return !alone && !part;
}

static void ask_journal(struct find *f)
{
    const struct call *c = f->call;
    AUTO(free) bool *missing = calloc(f->n_ids + 1, sizeof *missing);
    AUTO(free) struct jobid *wanted = calloc(f->n_ids + 1, sizeof *wanted);
    struct journal_query q = {
        .ids = wanted,
        /* nor is it known what PrivateData says while slurmctld has not been heard */
        .filter = {.uid = f->watch.private_jobs || f->down ? (int64_t)c->user->uid : -1},
        .bytes = JOURNAL_BYTES,
    };
    if (f->failed || !missing || !wanted || find_missing(f, missing) < 0) {
        no_memory(f);
        return;
    }
    for (size_t i = 0; i < f->n_ids; i++)
        if (may_have_more(f, &f->parsed[i], missing[i]))
            wanted[q.n_ids++] = f->parsed[i];
    if (q.n_ids)
        journal_find(c->a->journal, &q, on_journal, f);
    else
        ask_accounting(f);
}

/* ---- from slurmctld ---- */

static int take(void *arg, struct jobrec *rec)
{
    struct find *f = arg;
    add(f, rec);
    return f->failed ? -1 : 0;
}

/* 12 and 12_3 name the same record. */
static void drop_doubles(struct find *f)
{
    size_t kept = 0;
    if (f->n)
        qsort(f->recs, f->n, sizeof(struct jobrec *), by_job_id);
    for (size_t i = 0; i < f->n; i++)
        if (kept && f->recs[kept - 1]->job_id == f->recs[i]->job_id)
            jobrec_unref(f->recs[i]);
        else
            f->recs[kept++] = f->recs[i];
    f->n = kept;
}

static void ask_table(struct find *f)
{
    for (size_t i = 0; i < f->n_ids && !f->failed; i++)
        table_find(f->call->a->table, &f->parsed[i], take, f);
    f->source = "table";
    drop_doubles(f);
    ask_journal(f);
}

/* What a worker gives goes to the user whose worker it is, and to nobody else. */
static void on_worker(void *arg, const struct worker_answer *answer)
{
    struct find *f = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r = {0};
    struct err err = answer->err;
    if (err.code == ERR_SLURM_DOWN) { /* what has ended may be known all the same */
        f->down = true;
        str_copy(f->watch.error, sizeof f->watch.error, err.text);
        ask_journal(f);
        return;
    }
    if (err.code == ERR_NONE)
        msg_unpack(&jobs_reply_type, answer->body, &arena, MSG_LENIENT, &r, &err);
    for (size_t i = 0; err.code == ERR_NONE && i < r.jobs.n; i++) {
        struct jobrec *rec = jobrec_new(r.jobs.v[i], &err);
        if (rec)
            add(f, rec);
        jobrec_unref(rec);
    }
    if (err.code != ERR_NONE) {
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
    watch_status(f->call->a->watch, &f->watch);
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
    struct find *f = calloc(1, sizeof *f + n * (sizeof *f->ids + sizeof *f->parsed));
    if (!f) {
        err_set(err, ERR_BUSY, "no memory");
        return NULL;
    }
    f->call = c;
    f->fn = fn;
    f->ids = (const char **)(f + 1);
    f->parsed = (struct jobid *)(f->ids + n);
    f->n_ids = n;
    for (size_t i = 0; i < n; i++) {
        f->ids[i] = ids->v[i];
        if (jobid_parse(ids->v[i], &f->parsed[i], err) < 0)
            break;
    }
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
