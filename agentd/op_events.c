/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_events.c: job.events: what happens to jobs, from a cursor on
 *
 * A cursor of this broker is a place in its event log.  One that is too old, or of an earlier
 * broker, still says which ends its client knows: the rest of them come from the journal, then the
 * present state of what has not ended, and then events again.  So each end comes once.
 */
#include <string.h>

#include "agentd/cursor.h"
#include "agentd/find.h"
#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/live.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    EVENTS_MAX_MS = 60000,
    EVENTS_LIMIT = 1000,
    EVENT_ROOM = 128, /* what an event is larger than its job */
};

struct follow {
    struct hold hold;
    struct events_request req; /* in the call's arena */
    struct job_filter filter;
    struct job_filter asked; /* the same, before privacy() */
    struct jobid *ids;       /* req.ids.n of them, sorted */
    struct cursor at;
    bool reset;
    bool blind; /* PrivateData=jobs hides jobs from the watcher */
    size_t limit;
    struct bytes *out; /* events, packed */
    size_t n, bytes;
};

static void look(struct follow *f);

/* ---- whose events ---- */

/* Asked anew before anything is told: PrivateData is known once slurmctld has answered, and may be
 * set while a request is held. */
static int privacy(struct follow *f, struct err *err)
{
    const struct user *user = f->hold.call->user;
    struct watch_status st;
    watch_status(f->hold.call->a->watch, &st);
    f->filter = f->asked;
    f->blind = !st.sees_all;
    if (!st.private_jobs)
        return 0;
    if (f->req.all_users ||
        (f->req.user && f->filter.uid != user->uid && !str_eq(f->req.user, user->name)))
        return err_set(err, ERR_DENIED, "PrivateData=jobs: events of your own jobs alone are told");
    f->filter.uid = user->uid;
    f->filter.user = NULL;
    return 0;
}

/* ---- the answer ---- */

static void reply(struct follow *f)
{
    struct call *c = f->hold.call;
    struct watch_status st;
    char cursor[CURSOR_TEXT];
    watch_status(c->a->watch, &st);
    cursor_format(&f->at, cursor);
    struct events_reply r = {
        .as_of = st.as_of,
        .stale = st.stale,
        .note = *st.error ? st.error : NULL,
        .cursor = cursor,
        .reset = f->reset,
        .events = {f->out, f->n},
    };
    if (!r.note && !st.sees_all)
        r.note = "PrivateData=jobs hides jobs from the server: they have no events";
    call_reply(c, &r);
}

static bool wanted(const struct follow *f, const struct jobrec *rec)
{
    return job_filter_matches(&f->filter, &rec->keys) &&
           (f->req.ids.n == 0 || jobrec_named_any(rec, f->ids, f->req.ids.n));
}

/* False when it does not fit any more. */
static bool take(struct follow *f, const struct event_entry *ev)
{
    struct arena *arena = &f->hold.call->arena;
    if (f->n == f->limit || f->bytes + ev->rec->packed.n + EVENT_ROOM > WIRE_MAX_JOBS)
        return false;
    if (!f->out && !(f->out = arena_array(arena, f->limit, sizeof *f->out)))
        return false;
    struct bytes job = ev->rec->packed;
    struct event e = {
        .what = event_word(ev->what),
        .time = ev->time,
        .was = *ev->was ? ev->was : NULL,
        .job = {&job, 1},
    };
    struct bytes packed = msg_pack_arena(&event_type, &e, arena);
    if (!packed.p)
        return false;
    f->out[f->n++] = packed;
    f->bytes += packed.n;
    return true;
}

/* ---- events of the log ---- */

static int take_event(void *arg, uint64_t seq, const struct event_entry *ev)
{
    struct follow *f = arg;
    (void)seq;
    bool known = ev->number && ev->number <= f->at.end; /* it came from the journal already */
    if (!known && wanted(f, ev->rec) && !take(f, ev))
        return -1;
    if (ev->number > f->at.end)
        f->at.end = ev->number;
    return 0;
}

static void hold(struct follow *f, bool table)
{
    struct err err = {0};
    if (clock_mono_ms() >= f->hold.deadline_ms) {
        reply(f);
        return;
    }
    int rc = hold_begin(&f->hold, 0, &err);
    if (rc == 0 && table)
        rc = hold_for(&f->hold, HELD_TABLE, 0, &err);
    for (size_t i = 0; rc == 0 && !table && i < f->req.ids.n; i++)
        rc = hold_for(&f->hold, HELD_JOB, f->ids[i].id, &err);
    if (rc == 0 && !table && f->req.ids.n == 0)
        rc = f->filter.uid >= 0 ? hold_for(&f->hold, HELD_USER, (uint32_t)f->filter.uid, &err)
                                : hold_for(&f->hold, HELD_ALL, 0, &err);
    if (rc == 0)
        rc = hold_weighs(&f->hold, f->req.ids.n, &err);
    if (rc < 0)
        call_fail(f->hold.call, &err);
}

static void resume(struct hold *h, enum held_why why)
{
    struct follow *f = (struct follow *)h; /* its first member */
    struct err err = {0};
    if (why == HELD_STOPPING) {
        err_set(&err, ERR_BUSY, "the server is stopping");
        call_fail(h->call, &err);
    } else {
        look(f);
    }
}

/* ---- from the journal and the table ---- */

static void on_ends(void *arg, const struct journal_row *rows, size_t n, bool more,
                    const struct err *err)
{
    struct call *c = arg;
    struct follow *f = c->state;
    struct err mine = *err;
    if (mine.code != ERR_NONE || privacy(f, &mine) < 0) {
        call_fail(c, &mine);
        return;
    }
    size_t i = 0;
    for (; i < n; i++) {
        const struct event_entry ev = {
            .what = rows[i].rec->phase == PHASE_UNKNOWN ? EVENT_LOST : EVENT_END,
            .time = rows[i].time,
            .rec = rows[i].rec,
        };
        if (wanted(f, ev.rec) && !take(f, &ev))
            break;
        f->at.end = rows[i].number;
    }
    if (i == n && !more)
        f->at.mode = CURSOR_LIVE;
    if (f->n || more)
        reply(f);
    else
        look(f);
}

static void ends_from_journal(struct follow *f)
{
    struct call *c = f->hold.call;
    const struct journal_query q = {
        .asker = c->user->uid,
        .ids = f->ids,
        .n_ids = f->req.ids.n,
        .filter = f->filter,
        .after = f->at.end,
        .limit = f->limit,
        .bytes = WIRE_MAX_JOBS / 2,
    };
    journal_find(c->a->journal, &q, on_ends, c);
}

static int take_present(void *arg, struct jobrec *rec)
{
    struct follow *f = arg;
    struct event_entry ev = {.what = EVENT_STATE, .time = clock_now(), .rec = rec};
    /* Ends came from the journal, but for those that it had not got when they were told. */
    bool ends = f->at.mode == CURSOR_LIVE && rec->ended;
    bool skip = ends && !table_owed(f->hold.call->a->table, rec, f->at.end);
    if (ends) {
        ev.what = EVENT_END;
        ev.time = rec->end_time;
    }
    if (!skip && wanted(f, rec) && !take(f, &ev))
        return 1;
    f->at.after = rec->job_id;
    return 0;
}

/* Jobs that are named are found wherever they are known. */
static void on_found(struct call *c, const struct found *found, const struct err *err)
{
    struct follow *f = c->state;
    struct err mine = *err;
    if (mine.code == ERR_SLURM_DOWN) { /* not known yet */
        hold(f, true);
        return;
    }
    if (mine.code != ERR_NONE || privacy(f, &mine) < 0) {
        call_fail(c, &mine);
        return;
    }
    for (size_t i = 0; i < found->n; i++)
        if (found->recs[i]->job_id > f->at.after && take_present(f, found->recs[i]) != 0) {
            reply(f);
            return;
        }
    f->at.mode = CURSOR_EVENTS;
    f->at.after = 0;
    look(f);
}

static void look(struct follow *f)
{
    struct agentd *a = f->hold.call->a;
    struct err err = {0};
    if (!live_ready(a->live)) {
        hold(f, true);
        return;
    }
    if (privacy(f, &err) < 0) {
        call_fail(f->hold.call, &err);
        return;
    }
    if (f->at.mode == CURSOR_ENDS) {
        ends_from_journal(f);
        return;
    }
    if (f->at.mode == CURSOR_PRESENT && f->req.ids.n) {
        find_jobs(f->hold.call, &f->req.ids, on_found);
        return;
    }
    if (f->at.mode != CURSOR_EVENTS && table_each(a->table, f->at.after, take_present, f) == 0) {
        f->at.mode = CURSOR_EVENTS;
        f->at.after = 0;
    }
    if (f->at.mode == CURSOR_EVENTS)
        f->at.seq = events_each(live_events(a->live), f->at.seq, take_event, f);
    /* Nothing is left to hear: ends that this broker told before the journal had them among it. */
    if (f->at.mode == CURSOR_EVENTS && f->at.seq == events_newest(live_events(a->live)) &&
        live_told(a->live) > f->at.end)
        f->at.end = live_told(a->live);
    /* That the cursor was too old is told at once, be there nothing else to tell; and at the
     * beginning, that there will be none of what is hidden. */
    bool news = f->reset || (f->blind && !f->req.cursor);
    if (f->n || news || f->at.mode != CURSOR_EVENTS)
        reply(f);
    else
        hold(f, false);
}

/* ---- the operation ---- */

/* Where to begin.  What happens from here on has a higher seq, so that nothing falls in between. */
static int begin(struct follow *f, struct err *err)
{
    const struct agentd *a = f->hold.call->a;
    const struct cursor now = {
        .epoch = cursor_epoch(a->instance),
        .mode = f->req.snapshot ? CURSOR_PRESENT : CURSOR_EVENTS,
        .seq = events_newest(live_events(a->live)),
        .end = journal_newest(a->journal),
    };
    f->at = now;
    if (!f->req.cursor)
        return 0;
    if (f->req.snapshot)
        return err_set(err, ERR_INVALID, "cursor and snapshot exclude each other");
    struct cursor c;
    if (cursor_parse(f->req.cursor, &c, err) < 0)
        return -1;
    if (c.epoch == now.epoch && events_reach(live_events(a->live), c.seq)) {
        f->at = c;
        return 0;
    }
    f->reset = true;
    f->at.mode = CURSOR_ENDS;
    /* One from a journal that was here before: its client has heard of nothing in this one. */
    f->at.end = c.end <= now.end ? c.end : 0;
    return 0;
}

static int read_request(struct follow *f, struct err *err)
{
    struct call *c = f->hold.call;
    struct events_request *req = &f->req;
    struct job_filter *filter = &f->asked;
    if (job_filter_whose(filter, req->user, req->all_users, c->user->uid, err) < 0)
        return -1;
    /* A job that is named is wanted, whoever's it is. */
    if (req->ids.n && !req->user)
        filter->uid = -1;
    filter->partition = req->partition;
    filter->name = req->name;
    filter->tag = req->tag;
    f->limit = req->limit ? (size_t)req->limit : EVENTS_LIMIT;
    f->ids = arena_array(&c->arena, req->ids.n + 1, sizeof *f->ids);
    if (!f->ids)
        return err_set(err, ERR_BUSY, "no memory");
    if (jobids_parse(req->ids.v, req->ids.n, f->ids, err) < 0)
        return -1;
    if (req->ids.n)
        qsort(f->ids, req->ids.n, sizeof *f->ids, jobid_order);
    return begin(f, err);
}

/* With what the user has done before in the table: its jobs are told as they are, and not again. */
static void look_from_now(void *arg)
{
    struct call *c = arg;
    struct follow *f = c->state;
    struct err err = {0};
    if (begin(f, &err) < 0)
        call_fail(c, &err);
    else
        look(f);
}

void op_job_events(struct call *c)
{
    struct err err = {0};
    struct follow *f = arena_alloc(&c->arena, sizeof *f);
    if (!f)
        err_set(&err, ERR_BUSY, "no memory");
    if (f && call_unpack(c, &f->req, &err) == 0) {
        int64_t wait_ms = f->req.wait_ms ? f->req.wait_ms : EVENTS_MAX_MS;
        hold_init(&f->hold, c, wait_ms, resume);
        c->state = f;
        read_request(f, &err);
    }
    if (err.code != ERR_NONE)
        call_fail(c, &err);
    else if (f->req.snapshot && f->req.ids.n && !watch_covers(c->a->watch, &c->user->seen_by))
        watch_when(c->a->watch, &c->user->seen_by, look_from_now, c);
    else
        look(f);
}
