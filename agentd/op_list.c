/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_list.c: job.list: jobs by what they are, page by page
 *
 * Without `since` the answer is the table.  With PrivateData=jobs the table would show everybody
 * what the watcher sees, so there the caller's own worker asks slurmctld.
 *
 * With `since`, what has ended comes first, in the order of the journal's numbers (after_ended),
 * then the table, in the order of job_id (after).  No run of a job is lost or told twice, though
 * jobs end and are forgotten by slurmctld between two pages: let `upto` be the number at which the
 * first part was at its end; it goes with each page of the second.  A run whose end has a number up
 * to that came in the first part, unless it is too old for `since`; the second part leaves it out,
 * since the table knows the numbers of its ended runs (table_kept).  Any other run has a higher
 * number or none yet.  It was in the table when the first part was at its end, or has come later;
 * it belongs to the page of the second part in which its job_id lies.  When that page is made, the
 * run is in the table, or slurmctld has forgotten it; then it is in the journal with a number above
 * upto, and is taken from there.
 *
 * What ended before the journal begins, or while nobody looked, comes before all of it from
 * slurmdbd; of that time the journal has some as well, so that these may come twice.
 */
#include <string.h>

#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/staging.h"
#include "agentd/live.h"
#include "agentd/metrics.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/str.h"

/* Numbers of the journal are microseconds since 1970 when it began, and up; seconds are below. */
#define NUMBERS ((int64_t)1000000000000)

enum {
    BESIDE_MAX = 512 << 10, /* bytes of ended jobs that may go with a worker's page */
    LATER_BYTES = 16 << 20, /* of what has ended between two pages */
    READY_MS = 5000,        /* for the first ends after a start to be in the journal */
};

struct listing {
    struct hold hold;
    struct call *c;
    struct list_request req;
    struct job_filter filter;
    struct watch_status watch;
    int64_t since;  /* of what the journal and the table tell */
    int64_t upto;   /* see above */
    int64_t newest; /* the journal's, before it was asked: the answer has all up to it */
    struct bytes *v;
    size_t n, size, bytes;
    char note[500];
    /* while a page of the table is made */
    struct jobrecs picked;
    size_t picked_bytes;
    bool no_memory;
    uint32_t end; /* the page is of job_ids up to this */
};

/* ---- the answer ---- */

static void fail(struct listing *l, const struct err *err)
{
    call_fail(l->c, err);
}

static void fail_memory(struct listing *l)
{
    struct err err = {0};
    err_set(&err, ERR_BUSY, "no memory");
    fail(l, &err);
}

static bool is_full(const struct listing *l)
{
    return (l->req.limit && (int64_t)l->n >= l->req.limit) || l->bytes >= WIRE_MAX_JOBS;
}

/* Copied: what is gathered in one turn of the loop goes out in another. */
static bool gather(struct listing *l, struct bytes packed)
{
    struct arena *arena = &l->c->arena;
    uint8_t *copy = arena_alloc(arena, packed.n + 1);
    if (l->n == l->size) {
        size_t size = l->size ? l->size * 2 : 64;
        struct bytes *v = arena_array(arena, size, sizeof *v);
        if (!v)
            return false;
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->size = size;
    }
    if (!copy)
        return false;
    memcpy(copy, packed.p, packed.n);
    l->v[l->n++] = (struct bytes){copy, packed.n};
    l->bytes += packed.n;
    return true;
}

static void reply(struct listing *l, const char *source, int64_t next, int64_t next_ended)
{
    const struct jobs_reply r = {
        .as_of = l->watch.as_of,
        .stale = l->watch.stale,
        .note = l->watch.stale ? l->watch.error
                : *l->note     ? l->note
                               : NULL,
        .source = source,
        .jobs = {l->v, l->n},
        .next = next,
        .next_ended = next_ended,
    };
    if (str_eq(source, "table"))
        metrics_add(memory_answers, call_op(l->c), 0, 1);
    call_reply(l->c, &r);
}

/* ---- a page of the table ---- */

/* Did it end before what is asked for, or come in the first part? */
static bool is_past(const struct listing *l, const struct jobrec *rec)
{
    int64_t number = table_number(l->c->a->table, rec);
    return l->req.since && rec->ended &&
           (rec->end_time < l->since || (number && number <= l->upto));
}

static bool pick(struct listing *l, struct jobrec *rec)
{
    l->picked_bytes += rec->packed.n;
    l->no_memory |= !jobrecs_add(&l->picked, rec);
    return !l->no_memory;
}

static int pick_present(void *arg, struct jobrec *rec)
{
    struct listing *l = arg;
    if (!job_filter_matches(&l->filter, &rec->keys) || is_past(l, rec))
        return 0;
    bool full = (l->req.limit && (int64_t)(l->n + l->picked.n) >= l->req.limit) ||
                l->bytes + l->picked_bytes + rec->packed.n > WIRE_MAX_JOBS;
    if (full || !pick(l, rec)) {
        l->end = rec->job_id - 1;
        return 1;
    }
    return 0;
}

static int by_job_id(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    if (x->job_id != y->job_id)
        return x->job_id < y->job_id ? -1 : 1;
    return (x->submit_time > y->submit_time) - (x->submit_time < y->submit_time);
}

/* Runs of the page that have ended since the first part, and that the table has no more. */
static void pick_forgotten(struct listing *l, const struct journal_row *rows, size_t n)
{
    for (size_t i = 0; i < n && !l->no_memory; i++) {
        struct jobrec *rec = rows[i].rec;
        const struct jobrec *there = table_get(l->c->a->table, rec->job_id);
        if (rec->job_id > (uint32_t)l->req.after && rec->job_id <= l->end &&
            !(there && jobrec_same_run(there, rec)))
            pick(l, rec);
    }
    if (l->picked.n)
        qsort(l->picked.v, l->picked.n, sizeof(struct jobrec *), by_job_id);
}

/* Pages end between two job_ids, so that they can go on after one. */
static void gather_picked(struct listing *l)
{
    for (size_t i = 0; i < l->picked.n; i++) {
        const struct jobrec *rec = l->picked.v[i];
        bool begins = i == 0 || l->picked.v[i - 1]->job_id != rec->job_id;
        if (begins && is_full(l)) {
            l->end = rec->job_id - 1;
            return;
        }
        l->no_memory |= !gather(l, rec->packed);
    }
}

static void ask_worker(struct listing *l);

/* What is asked of journal, worker or slurmdbd takes its time: whether the table may be shown is
 * decided when it is. */
static void table_page(struct listing *l, const struct journal_row *rows, size_t n)
{
    watch_status_for(l->c->a->watch, &l->c->user->seen_by, &l->watch);
    if (l->watch.private_jobs) {
        if (l->watch.as_of)
            ask_worker(l);
        else
            reply(l, "journal", 0, 0);
        return;
    }
    l->end = UINT32_MAX;
    table_each(l->c->a->table, (uint32_t)l->req.after, pick_present, l);
    pick_forgotten(l, rows, n);
    gather_picked(l);
    jobrecs_clear(&l->picked);
    if (l->no_memory) {
        fail_memory(l);
        return;
    }
    bool more = l->end != UINT32_MAX;
    /* A page that had room for ended jobs alone: the first part goes on. */
    int64_t next = more && l->end > l->req.after ? l->end : 0;
    reply(l, "table", next, more && l->req.since ? l->upto : 0);
}

/* ---- PrivateData=jobs ---- */

/* As it is told: its data may not be where it should be. */
static bool gather_told(struct listing *l, struct jobrec *rec)
{
    struct jobrec *told = staging_tell(l->c->a->staging, jobrec_ref(rec));
    bool memory = gather(l, told->packed);
    jobrec_unref(told);
    return memory;
}

static int take_page(void *arg, struct jobrec *rec)
{
    struct listing *l = arg;
    l->no_memory |= !is_past(l, rec) && !gather_told(l, rec);
    return l->no_memory ? -1 : 0;
}

static void on_page(void *arg, const struct worker_answer *answer)
{
    struct listing *l = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r;
    struct err err = {0};
    if (worker_jobs(answer, &arena, &r, take_page, l, &err) < 0) {
        if (l->no_memory)
            fail_memory(l);
        else
            fail(l, &err);
        return;
    }
    l->watch.as_of = r.as_of;
    l->watch.stale = r.stale;
    reply(l, "slurmctld", r.next, r.next ? l->upto : 0);
}

static void ask_worker(struct listing *l)
{
    struct call *c = l->c;
    struct err err = {0};
    bool plain = !l->req.since;
    if (!c->a->workers)
        err_set(&err, ERR_BUSY, "the server is stopping");
    if (err.code != ERR_NONE ||
        workers_ask(c->a->workers, c->user->uid, WORKER_load_list, c->body,
                    plain ? call_pass_on : on_page, plain ? (void *)c : l, &err) < 0)
        fail(l, &err);
}

/* ---- what has ended ---- */

/* Rows of the journal after upto that the caller may be told of; false: none. */
static bool ask_journal(struct listing *l, size_t limit, size_t bytes, journal_fn fn)
{
    struct call *c = l->c;
    struct journal_query q = {
        .asker = c->user->uid,
        .filter = l->filter,
        .since = l->since,
        .after = l->upto,
        .limit = limit,
        .bytes = bytes,
    };
    watch_status(c->a->watch, &l->watch);
    if (l->watch.private_jobs && q.filter.uid >= 0 && q.filter.uid != c->user->uid)
        return false;
    if (l->watch.private_jobs)
        q.filter.uid = c->user->uid;
    journal_find(c->a->journal, &q, fn, l);
    return true;
}

/* Gives whether the listing goes on. */
static bool journal_answered(struct listing *l, const struct err *err)
{
    if (err->code == ERR_NONE)
        return true;
    if (err->code == ERR_BUSY) { /* the client comes again */
        fail(l, err);
        return false;
    }
    str_copy(l->note, sizeof l->note, err->text);
    return true;
}

static void on_later(void *arg, const struct journal_row *rows, size_t n, bool more,
                     const struct err *err)
{
    struct listing *l = arg;
    struct err mine = {0};
    if (!journal_answered(l, err))
        return;
    if (more) {
        err_set(&mine, ERR_BUSY, "more jobs end than can be listed: list fewer at once");
        fail(l, &mine);
        return;
    }
    table_page(l, rows, n);
}

static void second_part(struct listing *l)
{
    watch_status(l->c->a->watch, &l->watch);
    if (l->watch.private_jobs || !ask_journal(l, 0, LATER_BYTES, on_later))
        table_page(l, NULL, 0);
}

static void on_ended(void *arg, const struct journal_row *rows, size_t n, bool more,
                     const struct err *err)
{
    struct listing *l = arg;
    if (!journal_answered(l, err))
        return;
    for (size_t i = 0; i < n; i++) {
        if (!gather(l, rows[i].rec->packed)) {
            fail_memory(l);
            return;
        }
        l->upto = rows[i].number;
    }
    if (!more && l->newest > l->upto)
        l->upto = l->newest;
    bool alone = l->watch.private_jobs && l->bytes > BESIDE_MAX;
    if (more || is_full(l) || alone)
        reply(l, l->watch.private_jobs ? "slurmctld" : "table", 0, l->upto);
    else
        second_part(l);
}

static void first_part(struct listing *l)
{
    l->newest = journal_newest(l->c->a->journal);
    if (!ask_journal(l, (size_t)l->req.limit, WIRE_MAX_JOBS, on_ended))
        second_part(l);
}

/* ---- what ended before the journal is whole ---- */

static int take_old(void *arg, struct jobrec *rec)
{
    return gather_told(arg, rec) ? 0 : -1;
}

static void on_accounting(void *arg, const struct worker_answer *answer)
{
    struct listing *l = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct jobs_reply r;
    struct err err = {0};
    if (worker_jobs(answer, &arena, &r, take_old, l, &err) < 0) { /* the rest is worth telling */
        str_copy(l->note, sizeof l->note, err.code == ERR_NONE ? "no memory" : err.text);
        l->since = l->req.since;
        first_part(l);
        return;
    }
    str_copy(l->note, sizeof l->note, str_or(r.note, ""));
    bool more = r.next_ended > l->req.after_ended && r.next_ended < NUMBERS;
    if (more || is_full(l) || l->bytes > BESIDE_MAX)
        reply(l, "slurmdbd", 0, more ? r.next_ended : NUMBERS);
    else
        first_part(l);
}

static void ask_accounting(struct listing *l, int64_t whole)
{
    struct call *c = l->c;
    const struct list_request *in = &l->req;
    struct err err = {0};
    const struct acct_request req = {
        .cluster = *l->watch.cluster ? l->watch.cluster : NULL,
        .since = in->after_ended ? in->after_ended : in->since,
        .until = whole - 1,
        .user = in->user,
        .all_users = in->all_users,
        .states = in->states,
        .partition = in->partition,
        .name = in->name,
        .limit = in->limit,
    };
    struct bytes body = msg_pack_arena(&acct_request_type, &req, &c->arena);
    if (!body.p)
        fail_memory(l);
    else if (!c->a->workers || workers_ask(c->a->workers, c->user->uid, WORKER_load_acct, body,
                                           on_accounting, l, &err) < 0)
        first_part(l);
}

/* ---- the operation ---- */

static void list_since(struct listing *l)
{
    int64_t begins = journal_begins(l->c->a->journal), whole = journal_whole(l->c->a->journal);
    bool older = l->watch.accounting && l->req.since < whole;
    bool numbers = l->req.after_ended >= NUMBERS;
    l->since = older && l->req.since < begins ? begins : l->req.since;
    l->upto = numbers ? l->req.after_ended : 0;
    if (l->req.after)
        second_part(l);
    else if (older && !numbers)
        ask_accounting(l, whole);
    else
        first_part(l);
}

static void resume(struct hold *h, enum held_why why)
{
    struct listing *l = (struct listing *)h; /* its first member */
    struct err err = {0};
    if (why != HELD_STOPPING) {
        list_since(l);
        return;
    }
    err_set(&err, ERR_BUSY, "the server is stopping");
    fail(l, &err);
}

/* Until the ends that the first load showed are in the journal, they would be told twice. */
static void list_when_ready(struct listing *l)
{
    struct err err = {0};
    if (!l->watch.as_of || live_ready(l->c->a->live)) {
        list_since(l);
        return;
    }
    hold_init(&l->hold, l->c, READY_MS, resume);
    if (hold_begin(&l->hold, 0, &err) < 0 || hold_for(&l->hold, HELD_TABLE, 0, &err) < 0)
        fail(l, &err);
}

static void list_now(void *arg)
{
    struct call *c = arg;
    struct listing *l = c->state;
    struct err err = {0};
    watch_status(c->a->watch, &l->watch);
    if (l->req.since) {
        list_when_ready(l);
    } else if (!l->watch.as_of) {
        err_set(&err, ERR_SLURM_DOWN, "slurmctld has not answered since slurm-agentd started: %s",
                l->watch.error);
        fail(l, &err);
    } else {
        table_page(l, NULL, 0);
    }
}

static int read_request(struct listing *l, struct err *err)
{
    struct call *c = l->c;
    if (call_unpack(c, &l->req, err) < 0)
        return -1;
    l->filter.partition = l->req.partition;
    l->filter.name = l->req.name;
    if (l->req.after_ended && !l->req.since)
        return err_set(err, ERR_INVALID, "after_ended goes with since");
    if (job_filter_whose(&l->filter, l->req.user, l->req.all_users, c->user->uid, err) < 0)
        return -1;
    return jobstate_set(&l->req.states, &l->filter.states, err);
}

void op_job_list(struct call *c)
{
    struct err err = {0};
    struct listing *l = arena_alloc(&c->arena, sizeof *l);
    if (!l) {
        err_set(&err, ERR_BUSY, "no memory");
        call_fail(c, &err);
        return;
    }
    l->c = c;
    if (read_request(l, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    c->state = l;
    if (watch_covers(c->a->watch, &c->user->seen_by))
        list_now(c);
    else
        watch_when(c->a->watch, &c->user->seen_by, list_now, c);
}
