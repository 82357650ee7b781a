/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_wait.c: job.wait: held until the jobs it names have ended, have started, or have changed
 *
 * End and start are looked up, not listened for: whatever was missed, the next look finds it.  An
 * id whose jobs all fulfil the condition is settled and not asked about again.
 */
#include <string.h>

#include "agentd/cursor.h"
#include "agentd/find.h"
#include "agentd/held.h"
#include "agentd/live.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    WAIT_MAX_MS = 60000,
    REPLY_MAX = 5 << 20, /* bytes of jobs in one reply: a frame takes 6 MiB */
    /* Jobs that the watcher may not see are looked at through the user's own worker, so often; few,
     * since each look is a question to slurmctld. */
    UNSEEN_RETRY_MS = 5000,
    UNSEEN_MAX = 100,
};

enum until { UNTIL_END, UNTIL_START, UNTIL_CHANGE };

struct wait {
    struct hold hold;
    enum until until;
    bool any;
    uint64_t seq;         /* UNTIL_CHANGE: after this event */
    const char **ids;     /* not settled yet; the texts are behind the struct */
    struct jobid *parsed; /* the same */
    size_t n;
    const char **missing;
    size_t n_missing;
    struct jobrec **settled; /* references */
    size_t n_settled, room;
    bool any_settled;
    bool unseen; /* some are looked at through the worker */
};

static void look(struct wait *w);

/* ---- the state ---- */

static void wait_free(struct wait *w)
{
    for (size_t i = 0; i < w->n_settled; i++)
        jobrec_unref(w->settled[i]);
    free(w->settled);
    free(w);
}

static void fail(struct wait *w, const struct err *err)
{
    struct call *c = w->hold.call;
    wait_free(w);
    call_fail(c, err);
}

static int parse_until(const char *word, enum until *ret, struct err *err)
{
    static const char *const words[] = {"end", "start", "change"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eq(str_or(word, "end"), words[i])) {
            *ret = (enum until)i;
            return 0;
        }
    return err_set(err, ERR_INVALID, "until '%s': give end, start or change", word);
}

static void resume(struct hold *h, enum held_why why);

/* All of it in one block, so that ten thousand of them are no burden. */
static struct wait *wait_new(struct call *c, const struct wait_request *req, struct err *err)
{
    size_t texts = 0, n = req->ids.n;
    for (size_t i = 0; i < n; i++)
        texts += strlen(req->ids.v[i]) + 1;
    struct wait *w = calloc(1, sizeof *w + n * (2 * sizeof *w->ids + sizeof *w->parsed) + texts);
    if (!w) {
        err_set(err, ERR_BUSY, "no memory");
        return NULL;
    }
    w->ids = (const char **)(w + 1);
    w->missing = w->ids + n;
    w->parsed = (struct jobid *)(w->missing + n);
    char *text = (char *)(w->parsed + n);
    w->n = n;
    w->any = req->any;
    hold_init(&w->hold, c, req->wait_ms ? req->wait_ms : WAIT_MAX_MS, resume);
    for (size_t i = 0; i < n; i++) {
        w->ids[i] = strcpy(text, req->ids.v[i]);
        text += strlen(text) + 1;
        if (jobid_parse(w->ids[i], &w->parsed[i], err) < 0)
            break;
    }
    if (err->code == ERR_NONE && n == 0)
        err_set(err, ERR_INVALID, "no job id is given");
    if (err->code == ERR_NONE && parse_until(req->until, &w->until, err) == 0)
        return w;
    free(w);
    return NULL;
}

/* ---- the answer ---- */

static void make_cursor(const struct wait *w, char out[CURSOR_TEXT])
{
    const struct agentd *a = w->hold.call->a;
    struct cursor c = {
        .epoch = cursor_epoch(a->instance),
        .mode = CURSOR_EVENTS,
        .seq = events_newest(live_events(a->live)),
    };
    cursor_format(&c, out);
}

/* Those that did not succeed come before the others when not all of them fit: an exit status is
 * made of them. */
static size_t choose(const struct wait *w, struct bytes *out)
{
    size_t n = 0, bytes = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < w->n_settled; i++) {
            const struct jobrec *r = w->settled[i];
            if ((r->phase == PHASE_SUCCEEDED) != (pass == 1) || bytes + r->packed.n > REPLY_MAX)
                continue;
            bytes += r->packed.n;
            out[n++] = r->packed;
        }
    return n;
}

static void reply(struct wait *w, bool done, const char *note)
{
    struct call *c = w->hold.call;
    struct watch_status st;
    char cursor[CURSOR_TEXT];
    struct bytes *jobs = arena_array(&c->arena, w->n_settled + 1, sizeof *jobs);
    struct err err = {0};
    if (!jobs) {
        err_set(&err, ERR_BUSY, "no memory");
        fail(w, &err);
        return;
    }
    watch_status(c->a->watch, &st);
    make_cursor(w, cursor);
    struct wait_reply r = {
        .as_of = st.as_of,
        .stale = st.stale,
        .note = *st.error ? st.error : note,
        .done = done,
        .jobs = {jobs, done ? choose(w, jobs) : 0},
        .missing = {w->missing, w->n_missing},
        .cursor = w->until == UNTIL_CHANGE ? cursor : NULL,
    };
    if (done && r.jobs.n < w->n_settled)
        r.note = "more jobs than fit: some that succeeded are left out";
    call_reply(c, &r);
    wait_free(w);
}

static bool settle(struct wait *w, struct jobrec *rec)
{
    if (w->n_settled == w->room) {
        size_t room = w->room ? 2 * w->room : 4;
        struct jobrec **v = reallocarray(w->settled, room, sizeof(struct jobrec *));
        if (!v)
            return false;
        w->settled = v;
        w->room = room;
    }
    w->settled[w->n_settled++] = jobrec_ref(rec);
    return true;
}

/* ---- holding ---- */

static void hold(struct wait *w, bool table)
{
    struct err err = {0};
    if (clock_mono_ms() >= w->hold.deadline_ms) {
        reply(w, false, NULL);
        return;
    }
    call_trim(w->hold.call);
    if (hold_begin(&w->hold, w->unseen ? UNSEEN_RETRY_MS : 0, &err) < 0) {
        fail(w, &err);
        return;
    }
    int rc = table ? hold_for(&w->hold, HELD_TABLE, 0, &err) : 0;
    for (size_t i = 0; rc == 0 && i < w->n; i++)
        rc = hold_for(&w->hold, HELD_JOB, w->parsed[i].id, &err);
    if (rc < 0)
        fail(w, &err);
}

static void resume(struct hold *h, enum held_why why)
{
    struct wait *w = (struct wait *)h; /* its first member */
    struct err err = {0};
    if (why == HELD_STOPPING) {
        err_set(&err, ERR_BUSY, "the server is stopping");
        fail(w, &err);
    } else {
        look(w);
    }
}

/* ---- until end, until start ---- */

/* Records by group, so that an id's are beside one another. */
static int by_group(const void *a, const void *b)
{
    const struct jobrec *x = *(struct jobrec *const *)a, *y = *(struct jobrec *const *)b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->job_id > y->job_id) - (x->job_id < y->job_id);
}

static bool fulfils(const struct wait *w, const struct jobrec *rec)
{
    return w->until == UNTIL_END ? rec->ended : rec->phase != PHASE_QUEUED;
}

struct range {
    struct jobrec *const *v;
    size_t n;
};

/* Where the records that an id may name are; v is in the order of by_group. */
static struct range records_of(const struct jobid *id, struct jobrec *const *v, size_t n)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v[mid]->group < id->id)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t end = lo;
    while (end < n && v[end]->group == id->id)
        end++;
    if (end > lo)
        return (struct range){v + lo, end - lo};
    /* the plain number of one task or component */
    for (size_t i = 0; i < n; i++)
        if (v[i]->job_id == id->id)
            return (struct range){v + i, 1};
    return (struct range){v, 0};
}

enum standing { STANDS, SETTLED, NOT_THERE };

static enum standing judge(struct wait *w, const struct jobid *id, struct range r, bool *ret_memory)
{
    size_t named = 0, good = 0;
    for (size_t i = 0; i < r.n; i++)
        if (jobrec_named(r.v[i], id)) {
            named++;
            good += fulfils(w, r.v[i]);
        }
    if (named == 0)
        return NOT_THERE;
    if (good < named)
        return STANDS;
    for (size_t i = 0; i < r.n; i++)
        if (jobrec_named(r.v[i], id) && !settle(w, r.v[i]))
            *ret_memory = false;
    return SETTLED;
}

/* Keeps the ids that stand; gives whether one is unknown and may yet become known. */
static bool judge_all(struct wait *w, const struct found *f, bool *ret_memory)
{
    size_t kept = 0;
    bool unsure = false;
    if (f->n)
        qsort(f->recs, f->n, sizeof(struct jobrec *), by_group);
    for (size_t i = 0; i < w->n; i++) {
        enum standing s =
            judge(w, &w->parsed[i], records_of(&w->parsed[i], f->recs, f->n), ret_memory);
        if (s == SETTLED) {
            w->any_settled = true;
            continue;
        }
        if (s == NOT_THERE && !f->stale) {
            w->missing[w->n_missing++] = w->ids[i];
            continue;
        }
        unsure |= s == NOT_THERE;
        w->ids[kept] = w->ids[i];
        w->parsed[kept++] = w->parsed[i];
    }
    w->n = kept;
    return unsure;
}

static bool all_seen(const struct agentd *a, const struct found *f)
{
    bool seen = true;
    for (size_t i = 0; seen && i < f->n; i++)
        seen = f->recs[i]->ended || table_get(a->table, f->recs[i]->job_id) != NULL;
    return seen;
}

static void on_found(struct call *c, const struct found *f, const struct err *err)
{
    struct wait *w = c->state;
    struct err mine = {0};
    bool memory = true;
    if (err->code == ERR_SLURM_DOWN) { /* not known yet: it comes back */
        hold(w, true);
        return;
    }
    if (err->code != ERR_NONE) {
        fail(w, err);
        return;
    }
    bool unsure = judge_all(w, f, &memory);
    w->unseen = !all_seen(c->a, f);
    if (!memory)
        err_set(&mine, ERR_BUSY, "no memory");
    else if (w->unseen && c->user->held >= UNSEEN_MAX)
        err_set(&mine, ERR_BUSY,
                "PrivateData=jobs hides these jobs from the server: %d requests at most may wait",
                UNSEEN_MAX);
    if (mine.code != ERR_NONE)
        fail(w, &mine);
    else if (w->n == 0 || (w->any && w->any_settled))
        reply(w, true, *f->note ? f->note : NULL);
    else
        hold(w, unsure);
}

/* ---- until change ---- */

static int note_change(void *arg, uint64_t seq, const struct event_entry *ev)
{
    struct wait *w = arg;
    (void)seq;
    for (size_t i = 0; i < w->n; i++)
        if (jobrec_named(ev->rec, &w->parsed[i]))
            return settle(w, ev->rec) ? 0 : -1;
    return 0;
}

/* Others' jobs must not show through: Slurm decides in a look at them. */
static void on_changed(struct call *c, const struct found *f, const struct err *err)
{
    struct wait *w = c->state;
    bool memory = true;
    for (size_t i = 0; i < w->n_settled; i++)
        jobrec_unref(w->settled[i]);
    w->n_settled = 0;
    for (size_t i = 0; err->code == ERR_NONE && i < f->n; i++)
        memory &= settle(w, f->recs[i]);
    for (size_t i = 0; err->code == ERR_NONE && i < f->n_missing; i++)
        for (size_t k = 0; k < w->n; k++)
            if (str_eq(f->missing[i], w->ids[k]) && w->n_missing < w->n)
                w->missing[w->n_missing++] = w->ids[k];
    struct err mine = *err;
    if (!memory)
        err_set(&mine, ERR_BUSY, "no memory");
    if (mine.code != ERR_NONE)
        fail(w, &mine);
    else
        reply(w, true, *f->note ? f->note : NULL);
}

static void look_for_change(struct wait *w)
{
    struct agentd *a = w->hold.call->a;
    const struct events *log = live_events(a->live);
    struct watch_status st;
    bool reset = !events_reach(log, w->seq);
    watch_status(a->watch, &st);
    if (!reset)
        w->seq = events_each(log, w->seq, note_change, w);
    if (reset || (w->n_settled && st.private_jobs)) {
        const struct strs ids = {w->ids, w->n};
        find_jobs(w->hold.call, &ids, on_changed);
    } else if (w->n_settled) {
        reply(w, true, NULL);
    } else {
        hold(w, false);
    }
}

/* Where the client's cursor is; one of another broker's is before all that this one knows. */
static int read_cursor(struct wait *w, const char *text, struct err *err)
{
    const struct agentd *a = w->hold.call->a;
    struct cursor c;
    w->seq = events_newest(live_events(a->live));
    if (!text)
        return 0;
    if (cursor_parse(text, &c, err) < 0)
        return -1;
    w->seq = c.epoch == cursor_epoch(a->instance) ? c.seq : UINT64_MAX;
    return 0;
}

/* ---- the operation ---- */

static void look(struct wait *w)
{
    const struct strs ids = {w->ids, w->n};
    if (w->until == UNTIL_CHANGE)
        look_for_change(w);
    else
        find_jobs(w->hold.call, &ids, on_found);
}

void op_job_wait(struct call *c)
{
    struct wait_request req;
    struct err err = {0};
    struct wait *w = NULL;
    if (call_unpack(c, &req, &err) == 0)
        w = wait_new(c, &req, &err);
    if (w && read_cursor(w, req.cursor, &err) < 0) {
        fail(w, &err);
        return;
    }
    if (!w) {
        call_fail(c, &err);
        return;
    }
    c->state = w;
    call_trim(c);
    look(w);
}
