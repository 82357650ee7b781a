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
    /* Jobs that the watcher may not see are looked at through the user's own worker, so often; few,
     * since each look is a question to slurmctld. */
    UNSEEN_RETRY_MS = 5000,
    UNSEEN_MAX = 100,
    AGAIN_MS = 200, /* after a look during which something happened */
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
    size_t named; /* n at first: there is room for so many */
    const char **missing;
    size_t n_missing;
    struct jobrecs settled;
    bool any_settled;
    bool unseen;   /* some are looked at through the worker */
    bool looked;   /* UNTIL_CHANGE: whether there is something that may change */
    uint64_t news; /* as of the look under way */
};

static void look(struct wait *w);
static void look_for_change(struct wait *w);

/* ---- the state ---- */

static void wait_free(struct wait *w)
{
    jobrecs_clear(&w->settled);
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

struct wanted {
    struct jobid id;
    const char *text;
};

static int by_id(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    int order = jobid_order(&x->id, &y->id);
    return order ? order : strcmp(x->text, y->text);
}

/* Each id once, those of an array beside one another: a request that names one ten thousand times
 * is as good as one that names it once.  NULL with *err. */
static struct wanted *read_ids(const struct strs *ids, size_t *ret_n, struct err *err)
{
    AUTO(free) struct wanted *v = calloc(ids->n + 1, sizeof *v);
    size_t n = 0;
    if (!v) {
        err_set(err, ERR_BUSY, "no memory");
        return NULL;
    }
    if (ids->n == 0)
        err_set(err, ERR_INVALID, "no job id is given");
    for (size_t i = 0; i < ids->n; i++) {
        v[i].text = ids->v[i];
        jobid_parse(ids->v[i], &v[i].id, err);
    }
    if (err->code != ERR_NONE)
        return NULL;
    qsort(v, ids->n, sizeof *v, by_id);
    for (size_t i = 0; i < ids->n; i++)
        if (n == 0 || by_id(&v[n - 1], &v[i]) != 0)
            v[n++] = v[i];
    *ret_n = n;
    return TAKE(v);
}

/* All of it in one block, so that ten thousand of them are no burden. */
static struct wait *wait_new(struct call *c, const struct wait_request *req, struct err *err)
{
    size_t texts = 0, n = 0;
    enum until until = UNTIL_END;
    AUTO(free) struct wanted *v = read_ids(&req->ids, &n, err);
    if (!v || parse_until(req->until, &until, err) < 0)
        return NULL;
    for (size_t i = 0; i < n; i++)
        texts += strlen(v[i].text) + 1;
    struct wait *w = calloc(1, sizeof *w + n * (2 * sizeof *w->ids + sizeof *w->parsed) + texts);
    if (!w) {
        err_set(err, ERR_BUSY, "no memory");
        return NULL;
    }
    w->ids = (const char **)(w + 1);
    w->missing = w->ids + n;
    w->parsed = (struct jobid *)(w->missing + n);
    w->named = w->n = n;
    w->until = until;
    w->any = req->any;
    hold_init(&w->hold, c, req->wait_ms ? req->wait_ms : WAIT_MAX_MS, resume);
    char *text = (char *)(w->parsed + n);
    for (size_t i = 0; i < n; i++) {
        w->ids[i] = strcpy(text, v[i].text);
        text += strlen(text) + 1;
    }
    if (jobids_parse(w->ids, n, w->parsed, err) == 0)
        return w;
    free(w);
    return NULL;
}

/* ---- the answer ---- */

static const char *make_cursor(const struct wait *w, char out[CURSOR_TEXT])
{
    const struct agentd *a = w->hold.call->a;
    struct cursor c = {
        .epoch = cursor_epoch(a->instance),
        .mode = CURSOR_EVENTS,
        .seq = w->seq, /* of the look that is answered: what comes after it is told the next time */
    };
    cursor_format(&c, out);
    return out;
}

/* Those that did not succeed come before the others when not all of them fit: an exit status is
 * made of them. */
static size_t choose(const struct wait *w, struct bytes *out)
{
    size_t n = 0, bytes = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < w->settled.n; i++) {
            const struct jobrec *r = w->settled.v[i];
            if ((r->phase == PHASE_SUCCEEDED) != (pass == 1) || bytes + r->packed.n > WIRE_MAX_JOBS)
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
    struct bytes *jobs = arena_array(&c->arena, w->settled.n + 1, sizeof *jobs);
    struct err err = {0};
    if (!jobs) {
        err_set(&err, ERR_BUSY, "no memory");
        fail(w, &err);
        return;
    }
    watch_status(c->a->watch, &st);
    struct wait_reply r = {
        .as_of = st.as_of,
        .stale = st.stale,
        .note = *st.error ? st.error : note,
        .done = done,
        .jobs = {jobs, done ? choose(w, jobs) : 0},
        .missing = {w->missing, w->n_missing},
        .cursor = w->until == UNTIL_CHANGE ? make_cursor(w, cursor) : NULL,
    };
    if (done && r.jobs.n < w->settled.n)
        r.note = "more jobs than fit: some that succeeded are left out";
    call_reply(c, &r);
    wait_free(w);
}

/* ---- holding ---- */

/* More often where slurmctld forgets sooner. */
static int64_t unseen_retry_ms(const struct wait *w)
{
    struct watch_status st;
    watch_status(w->hold.call->a->watch, &st);
    int64_t ms = st.min_job_age_s * 500;
    return ms && ms < UNSEEN_RETRY_MS ? ms : UNSEEN_RETRY_MS;
}

static uint64_t news(const struct wait *w)
{
    uint64_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        n += held_news(w->hold.held, HELD_JOB, w->parsed[i].id);
    return n;
}

/* 0: it is woken. */
static int64_t retry_ms(const struct wait *w)
{
    if (w->news != news(w))
        return AGAIN_MS;
    return w->unseen ? unseen_retry_ms(w) : 0;
}

static void hold(struct wait *w, bool table)
{
    struct err err = {0};
    if (clock_mono_ms() >= w->hold.deadline_ms) {
        reply(w, false, NULL);
        return;
    }
    call_trim(w->hold.call);
    if (hold_begin(&w->hold, retry_ms(w), &err) < 0) {
        fail(w, &err);
        return;
    }
    int rc = table ? hold_for(&w->hold, HELD_TABLE, 0, &err) : 0;
    for (size_t i = 0; rc == 0 && i < w->n; i++)
        rc = hold_for(&w->hold, HELD_JOB, w->parsed[i].id, &err);
    if (rc == 0) /* the tasks of one array are one key; what is settled is kept until the answer */
        rc = hold_weighs(&w->hold, w->named + w->settled.n, &err);
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

static bool fulfils(const struct wait *w, const struct jobrec *rec)
{
    return w->until == UNTIL_END ? rec->ended
                                 : rec->phase != PHASE_QUEUED && rec->phase != PHASE_STAGING_IN;
}

struct range {
    struct jobrec *const *v;
    size_t n;
};

/* Those that an id may name.  groups: the same records, by group. */
static struct range records_of(const struct jobid *id, const struct found *f,
                               struct jobrec *const *groups)
{
    struct range r;
    r.v = jobrecs_of_id(groups, f->n, id, &r.n);
    if (r.n || id->kind != JOBID_PLAIN)
        return r;
    /* the plain number of one task or component */
    r.v = jobrecs_with_id(f->recs, f->n, id->id);
    r.n = r.v != NULL;
    return r;
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
        if (jobrec_named(r.v[i], id) && !jobrecs_add(&w->settled, r.v[i]))
            *ret_memory = false;
    return SETTLED;
}

/* Tasks that slurmctld has forgotten may have ended otherwise, when the journal does not say. */
static bool may_lack_some(const struct wait *w, const struct range *r, const struct found *f)
{
    struct watch_status st;
    const struct jobrec *any = r->v[0];
    watch_status(w->hold.call->a->watch, &st);
    return f->incomplete && (any->in_array || any->in_het) && st.min_job_age_s &&
           f->as_of - any->submit_time >= st.min_job_age_s;
}

/* Keeps the ids that stand; gives whether one is unknown and may yet become known. */
static bool judge_all(struct wait *w, const struct found *f, bool *ret_memory)
{
    size_t kept = 0;
    bool unsure = false;
    AUTO(free) struct jobrec **groups = jobrecs_by_group(f->recs, f->n);
    if (!groups) {
        *ret_memory = false;
        return false;
    }
    for (size_t i = 0; i < w->n; i++) {
        const struct range r = records_of(&w->parsed[i], f, groups);
        enum standing s = judge(w, &w->parsed[i], r, ret_memory);
        if (s == SETTLED) {
            w->any_settled = true;
            if (w->parsed[i].kind != JOBID_TASK && may_lack_some(w, &r, f))
                w->missing[w->n_missing++] = w->ids[i];
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
    return jobrec_named_any(ev->rec, w->parsed, w->n) && !jobrecs_add(&w->settled, ev->rec) ? -1
                                                                                            : 0;
}

/* Shows all that is found, and says what is not. */
static bool take_all(struct wait *w, const struct found *f)
{
    bool memory = true;
    jobrecs_clear(&w->settled);
    for (size_t i = 0; i < f->n; i++)
        memory &= jobrecs_add(&w->settled, f->recs[i]);
    w->n_missing = 0;
    for (size_t i = 0; i < f->n_missing && !f->stale; i++)
        for (size_t k = 0; k < w->n; k++)
            if (str_eq(f->missing[i], w->ids[k]) && w->n_missing < w->n)
                w->missing[w->n_missing++] = w->ids[k];
    return memory;
}

/* Others' jobs must not show through, nor that something happened to them: Slurm decides in a look
 * at them. */
static bool may_know(const struct wait *w, const struct found *f)
{
    for (size_t i = 0; i < w->settled.n; i++)
        if (w->settled.v[i]->keys.uid == w->hold.call->user->uid ||
            jobrecs_with_id(f->recs, f->n, w->settled.v[i]->job_id))
            return true;
    return w->settled.n == 0; /* the cursor is too old: this is how things are */
}

static void on_changed(struct call *c, const struct found *f, const struct err *err)
{
    struct wait *w = c->state;
    bool memory = true;
    if (err->code == ERR_NONE && !may_know(w, f)) {
        jobrecs_clear(&w->settled);
        look_for_change(w);
        return;
    }
    if (err->code == ERR_NONE)
        memory = take_all(w, f);
    struct err mine = *err;
    if (!memory)
        err_set(&mine, ERR_BUSY, "no memory");
    if (mine.code != ERR_NONE)
        fail(w, &mine);
    else
        reply(w, true, *f->note ? f->note : NULL);
}

/* What has ended, or is not there, will not change. */
static void on_first_look(struct call *c, const struct found *f, const struct err *err)
{
    struct wait *w = c->state;
    struct err mine = *err;
    bool memory = true, open = f->stale;
    w->looked = err->code == ERR_NONE;
    if (err->code == ERR_SLURM_DOWN) {
        hold(w, true);
        return;
    }
    for (size_t i = 0; err->code == ERR_NONE && i < f->n; i++)
        open |= !f->recs[i]->ended;
    if (err->code == ERR_NONE)
        memory = take_all(w, f);
    if (!memory)
        err_set(&mine, ERR_BUSY, "no memory");
    else if (open && !f->stale && !all_seen(c->a, f))
        err_set(&mine, ERR_UNSUPPORTED,
                "PrivateData=jobs hides these jobs from the server, which does not see them "
                "change: wait until start or end");
    if (mine.code != ERR_NONE) {
        fail(w, &mine);
    } else if (!open) {
        reply(w, true, *f->note ? f->note : NULL);
    } else {
        jobrecs_clear(&w->settled);
        look_for_change(w);
    }
}

static void look_for_change(struct wait *w)
{
    struct agentd *a = w->hold.call->a;
    const struct events *log = live_events(a->live);
    struct watch_status st;
    bool reset = !events_reach(log, w->seq);
    watch_status(a->watch, &st);
    if (reset)
        w->seq = events_newest(log);
    else
        w->seq = events_each(log, w->seq, note_change, w);
    const struct strs ids = {w->ids, w->n};
    if (reset || (w->settled.n && st.private_jobs)) {
        find_jobs(w->hold.call, &ids, on_changed);
    } else if (w->settled.n) {
        reply(w, true, NULL);
    } else if (!w->looked) {
        find_jobs(w->hold.call, &ids, on_first_look);
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
    w->news = news(w);
    if (w->until == UNTIL_CHANGE)
        look_for_change(w);
    else
        find_jobs(w->hold.call, &ids, on_found);
}

/* With what the user has done before in the table: that is no change to come. */
static void look_from_now(void *arg)
{
    struct call *c = arg;
    struct wait *w = c->state;
    w->seq = events_newest(live_events(c->a->live));
    look(w);
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
    bool from_now = w->until == UNTIL_CHANGE && !req.cursor;
    c->state = w;
    call_trim(c);
    if (from_now && !watch_covers(c->a->watch, &c->user->seen_by))
        watch_when(c->a->watch, &c->user->seen_by, look_from_now, c);
    else
        look(w);
}
