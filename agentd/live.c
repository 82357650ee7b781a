/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/live.h"

#include "agentd/agentd.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/missed.h"
#include "agentd/staging.h"
#include "agentd/table.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    BATCH_MAX = 1000,
    PATIENCE_MS = 5000, /* with the journal, before an end is told that it has not got */
    OWED_MAX = 100000,  /* such ends, until the journal works again */
    OWED_BYTES = 64 << 20,
    SHRUNK_MAX = 10000,
};

/* The end of a job's run, on its way to the journal. */
struct ending {
    struct jobrec *rec;
    char was[20];
};

/* Those of one load. */
struct batch {
    struct batch *next;
    struct live *live;
    int64_t posted_ms;
    bool told; /* without the journal, which took too long */
    size_t n;
    struct ending v[BATCH_MAX];
};

struct live {
    struct agentd *a;
    struct events *log;
    struct batch *batch;                 /* being made */
    struct batch *posted, **posted_tail; /* of the journal; the first ones may be told already */
    size_t untold;                       /* how many of them are not */
    int64_t told;                        /* the highest number of an end that was told */
    struct jobrecs owed;                 /* told, but not in the journal */
    size_t owed_bytes;
    bool repaying;
    struct jobrecs saw;    /* not ended; to be kept with this load */
    bool unkept;           /* the journal lacks some of what has not ended */
    struct jobrecs shrunk; /* records of waiting tasks that were larger */
    struct jobrecs before; /* what an earlier broker had seen last */
    bool heard;            /* they are here, or the journal has none */
    bool loaded;           /* once at least */
    bool compared;         /* before, with what was loaded */
    bool ready;            /* and what that showed is in the journal */
    struct live_load load; /* the last */
};

static void wake(struct live *l, const struct jobrec *rec)
{
    held_happened(l->a->held, HELD_JOB, rec->group);
    if (rec->job_id != rec->group)
        held_happened(l->a->held, HELD_JOB, rec->job_id);
    held_happened(l->a->held, HELD_USER, rec->keys.uid);
    held_happened(l->a->held, HELD_ALL, 0);
}

static void add(struct live *l, enum event_what what, const char *was, int64_t number,
                struct jobrec *rec)
{
    if (!events_add(l->log, what, was, number, rec))
        log_err("no memory for another event: clients begin anew");
    wake(l, rec);
}

/* ---- ends ---- */

static void batch_free(struct batch *b)
{
    for (size_t i = 0; b && i < b->n; i++)
        jobrec_unref(b->v[i].rec);
    free(b);
}

static void check_ready(struct live *l)
{
    if (l->ready || !l->compared || l->untold)
        return;
    l->ready = true;
    held_happened(l->a->held, HELD_TABLE, 0);
}

/* The journal has not got it: it is asked again when it works. */
static void owe(struct live *l, struct jobrec *rec)
{
    bool room = l->owed.n < OWED_MAX && l->owed_bytes + rec->packed.n < OWED_BYTES;
    if (room && jobrecs_add(&l->owed, rec))
        l->owed_bytes += rec->packed.n;
    else
        log_err("history: the end of job %s is not kept: too many ends wait for the journal",
                rec->id);
}

/* number 0: it is not in the journal. */
static void tell(struct live *l, const struct ending *e, int64_t number)
{
    add(l, e->rec->phase == PHASE_UNKNOWN ? EVENT_LOST : EVENT_END, e->was, number, e->rec);
    if (number > l->told)
        l->told = number;
}

static void unlink_posted(struct live *l, struct batch *b)
{
    struct batch **at = &l->posted;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    if (!*at)
        l->posted_tail = at;
}

/* Told only now: a client whose cursor is past an end never hears of it again, so it had better be
 * on disk.  A journal that cannot be written must not keep ends from clients, though. */
static void on_kept(void *arg, const struct journal_row *rows, size_t n, bool more,
                    const struct err *err)
{
    struct batch *b = arg;
    struct live *l = b->live;
    (void)more;
    unlink_posted(l, b);
    for (size_t i = 0; i < b->n; i++) {
        const struct ending *e = &b->v[i];
        int64_t number = err->code == ERR_NONE && i < n ? rows[i].number : 0;
        table_kept(l->a->table, e->rec, number);
        if (!number)
            owe(l, e->rec);
        if (!b->told && (!number || !rows[i].known))
            tell(l, e, number);
        else if (number > l->told)
            l->told = number;
    }
    l->untold -= !b->told;
    batch_free(b);
    check_ready(l);
}

static void keep(struct live *l)
{
    struct batch *b = TAKE(l->batch);
    struct jobrec *recs[BATCH_MAX];
    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++)
        recs[i] = b->v[i].rec;
    b->next = NULL;
    b->posted_ms = clock_mono_ms();
    *l->posted_tail = b;
    l->posted_tail = &b->next;
    l->untold++;
    journal_put(l->a->journal, recs, b->n, on_kept, b);
}

void live_tick(struct live *l)
{
    int64_t now = clock_mono_ms();
    if (!l)
        return;
    for (struct batch *b = l->posted; b && now - b->posted_ms > PATIENCE_MS; b = b->next) {
        if (b->told)
            continue;
        b->told = true;
        l->untold--;
        for (size_t i = 0; i < b->n; i++)
            tell(l, &b->v[i], 0);
    }
    check_ready(l);
}

/* ---- what the journal did not take ---- */

static void on_repaid(void *arg, const struct journal_row *rows, size_t n, bool more,
                      const struct err *err)
{
    struct live *l = arg;
    (void)more;
    l->repaying = false;
    for (size_t i = 0; i < n; i++) {
        int64_t number = err->code == ERR_NONE ? rows[i].number : 0;
        table_kept(l->a->table, rows[i].rec, number);
        if (!number)
            owe(l, rows[i].rec);
        else if (number > l->told)
            l->told = number;
    }
}

static void repay(struct live *l)
{
    struct jobrecs owed = l->owed;
    if (!owed.n || l->repaying || journal_trouble(l->a->journal))
        return;
    l->owed = (struct jobrecs){0};
    l->owed_bytes = 0;
    l->repaying = true;
    journal_put(l->a->journal, owed.v, owed.n, on_repaid, l);
    jobrecs_clear(&owed);
}

/* Takes the reference. */
static void ended(struct live *l, const char *was, struct jobrec *rec)
{
    if (!l->batch && (l->batch = calloc(1, sizeof *l->batch)))
        l->batch->live = l;
    if (!l->batch) {
        add(l, EVENT_END, was, 0, rec);
        jobrec_unref(rec);
        return;
    }
    struct ending *e = &l->batch->v[l->batch->n++];
    e->rec = rec;
    str_copy(e->was, sizeof e->was, was);
    if (l->batch->n == BATCH_MAX)
        keep(l);
}

/* As if its nodes had been cleaned up.  NULL: they are, or there is no memory. */
static struct jobrec *cleaned(const struct jobrec *rec)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    if (msg_unpack(&job_type, rec->packed, &arena, MSG_LENIENT, &j, &err) < 0 || !j.flags.n)
        return NULL;
    const char **kept = arena_array(&arena, j.flags.n, sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; kept && i < j.flags.n; i++)
        if (!str_eq(j.flags.v[i], "COMPLETING"))
            kept[n++] = j.flags.v[i];
    j.flags = (struct strs){kept, n};
    struct bytes b = kept ? msg_pack_arena(&job_type, &j, &arena) : (struct bytes){NULL, 0};
    return b.p ? jobrec_new(b, &err) : NULL;
}

/* As it is to be remembered: that its nodes were still being cleaned up is of no use later. */
static struct jobrec *final_record(struct jobrec *rec)
{
    struct jobrec *clean = cleaned(rec);
    return clean ? clean : jobrec_ref(rec);
}

/* Its end has been told as that of a job whose nodes are clean. */
static bool is_only_cleaned_up(const struct jobrec *old, const struct jobrec *rec)
{
    if (!old->ended || !rec->ended)
        return false;
    AUTO(jobrec_unref) struct jobrec *before = cleaned(old);
    AUTO(jobrec_unref) struct jobrec *after = cleaned(rec);
    return (before ? before : old)->change == (after ? after : rec)->change;
}

/* ---- what has not ended, for the next broker ---- */

static void on_saved(void *arg, const struct journal_row *rows, size_t n, bool more,
                     const struct err *err)
{
    struct live *l = arg;
    (void)rows;
    (void)n;
    (void)more;
    l->unkept |= err->code != ERR_NONE;
}

static void save(struct live *l)
{
    if (l->saw.n)
        journal_saw(l->a->journal, l->saw.v, l->saw.n, on_saved, l);
    jobrecs_clear(&l->saw);
}

static void to_save(struct live *l, struct jobrec *rec)
{
    l->unkept |= !jobrecs_add(&l->saw, rec);
}

/* Of waiting tasks, whose ends are told for each: their one record is not to come back. */
static void forget(struct live *l, const struct jobrec *old)
{
    struct jobrec *gone = missed_job(old);
    if (gone)
        to_save(l, gone);
    jobrec_unref(gone);
}

/* ---- what has gone without an end ---- */

static void lose(struct live *l, const struct jobrec *old, struct jobrec *rec)
{
    if (rec) {
        staging_missed(l->a->staging, rec);
        ended(l, old->keys.state, rec);
    } else
        log_err("no memory to tell that job %s has gone", old->id);
}

struct losing {
    struct live *live;
    const struct jobrec *old;
    struct jobrecs now; /* of the same array */
};

/* Ids come again: another array with its id is not it. */
static int gather_group(void *arg, struct jobrec *rec)
{
    struct losing *g = arg;
    bool same = rec->keys.uid == g->old->keys.uid &&
                (rec->keys.tag == g->old->keys.tag || rec->submit_time == g->old->submit_time);
    return !same || jobrecs_add(&g->now, rec) ? 0 : -1;
}

static void lose_task(void *arg, struct jobrec *rec)
{
    const struct losing *g = arg;
    lose(g->live, g->old, rec);
}

/* Waiting tasks have one record; each of them that has gone is told by itself. */
static void lose_tasks(struct live *l, const struct jobrec *old)
{
    struct losing g = {.live = l, .old = old};
    const struct jobid all = {.kind = JOBID_PLAIN, .id = old->group};
    const struct jobrec *there = table_get(l->a->table, old->job_id);
    int rc = table_find(l->a->table, &all, gather_group, &g);
    rc = rc < 0 ? rc : missed_tasks(old, g.now.v, g.now.n, lose_task, &g);
    jobrecs_clear(&g.now);
    if (rc < 0)
        lose(l, old, NULL);
    else if (rc > 0)
        lose(l, old, missed_job(old));
    else if (!there || !jobrec_same_job(old, there))
        forget(l, old);
}

static bool is_remainder(const struct jobrec *rec)
{
    return rec->in_array && rec->task == JOBREC_NO_TASK && *rec->array_task;
}

static void lost(struct live *l, const struct jobrec *old)
{
    log_warning("job %s of uid %u has gone from slurmctld; it was %s when last seen", old->id,
                old->keys.uid, old->keys.state);
    if (is_remainder(old))
        lose_tasks(l, old);
    else
        lose(l, old, missed_job(old));
}

/* ---- what an earlier broker had seen ---- */

/* Its tasks may have begun, ended and been forgotten since the load before, should that be long
 * ago. */
static void remember_shrunk(struct live *l, const struct jobrec *old)
{
    if (l->shrunk.n < SHRUNK_MAX)
        jobrecs_add(&l->shrunk, (struct jobrec *)old);
}

/* Does what the journal has of it still do, for one who comes to ask what became of it? */
static bool as_saved(const struct jobrec *old, const struct jobrec *rec)
{
    return old && !old->ended && jobrec_same_run(old, rec) &&
           str_eq(old->keys.state, rec->keys.state) && str_eq(old->array_task, rec->array_task);
}

struct comparison {
    struct live *live;
    size_t at; /* in live->before; both are in the order of job_id */
};

static int compare(void *arg, struct jobrec *rec)
{
    struct comparison *c = arg;
    struct jobrecs *before = &c->live->before;
    while (c->at < before->n && before->v[c->at]->job_id < rec->job_id)
        c->at++;
    bool there = c->at < before->n && before->v[c->at]->job_id == rec->job_id;
    if (!rec->ended && !as_saved(there ? before->v[c->at] : NULL, rec))
        to_save(c->live, rec);
    return 0;
}

/* What an earlier broker had seen, and slurmctld does not have any more, ended meanwhile. */
static void compare_before(struct live *l)
{
    struct comparison c = {l, 0};
    if (l->compared || !l->loaded || !l->heard)
        return;
    l->compared = true;
    table_each(l->a->table, 0, compare, &c);
    for (size_t i = 0; i < l->before.n && l->load.sees_all; i++) {
        const struct jobrec *old = l->before.v[i];
        const struct jobrec *now = table_get(l->a->table, old->job_id);
        if (!now && staging_gone(l->a->staging, l->before.v[i]))
            continue;
        if (!now || !jobrec_same_job(old, now))
            lost(l, old);
        else if (is_remainder(old) && !str_eq(old->array_task, now->array_task))
            lose_tasks(l, old);
    }
    staging_put_back(l->a->staging);
    jobrecs_clear(&l->before);
    keep(l);
    save(l);
}

static void on_before(void *arg, const struct journal_row *rows, size_t n, bool more,
                      const struct err *err)
{
    struct live *l = arg;
    (void)more;
    l->heard = true;
    l->unkept |= err->code != ERR_NONE;
    for (size_t i = 0; i < n; i++)
        l->unkept |= !jobrecs_add(&l->before, rows[i].rec);
    compare_before(l);
    check_ready(l);
}

static int save_again(void *arg, struct jobrec *rec)
{
    if (!rec->ended)
        to_save(arg, rec);
    return 0;
}

/* ---- from watch.c ---- */

void live_saw(struct live *l, const struct jobrec *old, struct jobrec *rec)
{
    if (old && !jobrec_same_job(old, rec)) {
        if (!old->ended)
            lost(l, old);
        old = NULL;
    }
    if (old && old->change == rec->change)
        return;
    const char *was = old ? old->keys.state : "";
    bool ends = rec->ended && (!old || !old->ended || !jobrec_same_run(old, rec));
    if (ends)
        ended(l, was, final_record(rec));
    /* What is there at the start is nobody's news. */
    bool news = !ends && (old ? !is_only_cleaned_up(old, rec) : l->loaded);
    if (news)
        add(l, old ? EVENT_CHANGE : EVENT_NEW, was, 0, rec);
    else
        wake(l, rec);
    if (l->compared && !rec->ended && !as_saved(old, rec))
        to_save(l, rec);
    if (old && is_remainder(old) && !str_eq(old->array_task, rec->array_task))
        remember_shrunk(l, old);
}

void live_gone(struct live *l, const struct jobrec *old)
{
    if (!old->ended)
        lost(l, old);
    wake(l, old);
}

void live_hidden(struct live *l, const struct jobrec *old)
{
    wake(l, old);
}

void live_loaded(struct live *l, const struct live_load *load)
{
    bool whole = load->as_of != l->load.as_of;
    bool gap = whole && journal_loaded(l->a->journal, load->as_of, load->min_job_age_s);
    l->load = *load;
    l->loaded |= load->as_of != 0;
    for (size_t i = 0; gap && i < l->shrunk.n && l->load.sees_all; i++)
        lose_tasks(l, l->shrunk.v[i]);
    if (whole)
        jobrecs_clear(&l->shrunk);
    compare_before(l);
    keep(l);
    if (l->compared && l->unkept && !journal_trouble(l->a->journal)) {
        l->unkept = false;
        table_each(l->a->table, 0, save_again, l);
    }
    save(l);
    repay(l);
    check_ready(l);
    held_happened(l->a->held, HELD_TABLE, 0);
}

void live_flush(struct live *l)
{
    keep(l);
    save(l);
}

bool live_ready(const struct live *l)
{
    return l->ready;
}

int64_t live_told(const struct live *l)
{
    return l->told;
}

const struct events *live_events(const struct live *l)
{
    return l->log;
}

struct live *live_new(struct agentd *a, struct err *err)
{
    struct live *l = calloc(1, sizeof *l);
    if (l)
        l->log = events_new((size_t)a->conf.events_mib << 20);
    if (!l || !l->log) {
        err_set(err, ERR_INTERNAL, "no memory");
        free(l);
        return NULL;
    }
    l->a = a;
    l->posted_tail = &l->posted;
    l->told = journal_newest(a->journal);
    journal_seen(a->journal, on_before, l);
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    batch_free(l->batch);
    jobrecs_clear(&l->owed);
    jobrecs_clear(&l->saw);
    jobrecs_clear(&l->shrunk);
    jobrecs_clear(&l->before);
    events_free(l->log);
    free(l);
}
