/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/live.h"

#include "agentd/agentd.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/table.h"
#include "common/log.h"
#include "common/str.h"

enum { BATCH_MAX = 1000 };

/* The end of a job's run, on its way to the journal. */
struct ending {
    struct jobrec *rec;
    char was[20];
};

/* Those of one load. */
struct batch {
    struct live *live;
    size_t n;
    struct ending v[BATCH_MAX];
};

struct live {
    struct agentd *a;
    struct events *log;
    struct batch *batch;
    size_t waiting; /* batches that the journal has not answered */
    bool loaded;    /* once at least */
    bool ready;     /* and what that showed has been answered by the journal */
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
    if (l->ready || !l->loaded || l->waiting)
        return;
    l->ready = true;
    held_happened(l->a->held, HELD_TABLE, 0);
}

/* Told only now: a client whose cursor is past an end never hears of it again, so it had better be
 * on disk.  A journal that cannot be written must not keep ends from clients, though. */
static void on_kept(void *arg, const struct journal_row *rows, size_t n, bool more,
                    const struct err *err)
{
    struct batch *b = arg;
    struct live *l = b->live;
    (void)more;
    for (size_t i = 0; i < b->n; i++) {
        const struct ending *e = &b->v[i];
        int64_t number = err->code == ERR_NONE && i < n ? rows[i].number : 0;
        table_kept(l->a->table, e->rec, number);
        if (!number || !rows[i].known)
            add(l, e->rec->phase == PHASE_UNKNOWN ? EVENT_LOST : EVENT_END, e->was, number, e->rec);
    }
    l->waiting--;
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
    l->waiting++;
    journal_put(l->a->journal, recs, b->n, on_kept, b);
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

static struct jobrec *pack(const struct job *j)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct err err = {0};
    if (!out)
        return NULL;
    msg_pack(&job_type, j, out);
    struct bytes b = wire_out_bytes(out);
    return b.p ? jobrec_new(b, &err) : NULL;
}

/* As it is to be remembered: that its nodes were still being cleaned up is of no use later. */
static struct jobrec *final_record(struct jobrec *rec)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    if (msg_unpack(&job_type, rec->packed, &arena, MSG_LENIENT, &j, &err) < 0 || !j.flags.n)
        return jobrec_ref(rec);
    const char **kept = arena_array(&arena, j.flags.n, sizeof *kept);
    size_t n = 0;
    for (size_t i = 0; kept && i < j.flags.n; i++)
        if (!str_eq(j.flags.v[i], "COMPLETING"))
            kept[n++] = j.flags.v[i];
    j.flags = (struct strs){kept, n};
    struct jobrec *final = kept ? pack(&j) : NULL;
    return final ? final : jobrec_ref(rec);
}

/* Absence is no end: it is told as what it is. */
static void lost(struct live *l, const struct jobrec *old)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    if (msg_unpack(&job_type, old->packed, &arena, MSG_LENIENT, &j, &err) < 0)
        return;
    j.phase = phase_word(PHASE_UNKNOWN);
    j.flags = (struct strs){NULL, 0};
    j.outcome = arena_printf(
        &arena, "slurmctld has forgotten it; it was %s when last seen, how it ended is not known",
        str_or(j.state, "there"));
    struct jobrec *rec = pack(&j);
    log_warning("job %s of uid %u has gone from slurmctld; it was %s when last seen", old->id,
                old->keys.uid, old->keys.state);
    if (rec)
        ended(l, old->keys.state, rec);
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
    if (rec->ended && (!old || !old->ended || !jobrec_same_run(old, rec)))
        ended(l, was, final_record(rec));
    else if (old || l->loaded) /* what is there at the start is nobody's news */
        add(l, old ? EVENT_CHANGE : EVENT_NEW, was, 0, rec);
    wake(l, rec);
}

void live_gone(struct live *l, const struct jobrec *old)
{
    if (!old->ended)
        lost(l, old);
    wake(l, old);
}

void live_loaded(struct live *l)
{
    keep(l);
    l->loaded = true;
    check_ready(l);
    held_happened(l->a->held, HELD_TABLE, 0);
}

bool live_ready(const struct live *l)
{
    return l->ready;
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
    return l;
}

void live_free(struct live *l)
{
    if (!l)
        return;
    batch_free(l->batch);
    events_free(l->log);
    free(l);
}
