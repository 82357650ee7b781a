/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/requests.h"

#include <stdlib.h>
#include <string.h>

#include "agentd/requests_set.h"
#include "common/log.h"
#include "common/str.h"

enum {
    TAGS_OF_ONE = 8, /* attempts whose jobs are looked for: the last ones */
    KEEP_SOON_MS = 60000,
    KEEP_LATER_MS = 3600000,
    NOTES = 128, /* rows in one go */
    CLOCK_SLACK_S = 2,
};

/* ---- names ---- */

const char *request_word(int64_t state)
{
    switch (state) {
    case REQUEST_BEGINNING:
        return "SUBMITTING";
#define REQUEST(name, number, may_submit, help)                                                    \
    case number:                                                                                   \
        return #name;
#include "agentd/requests.def"
#undef REQUEST
    }
    return NULL;
}

bool request_may_submit(int64_t state)
{
    switch (state) {
#define REQUEST(name, number, may_submit, help)                                                    \
    case number:                                                                                   \
        return may_submit;
#include "agentd/requests.def"
#undef REQUEST
    }
    return false;
}

/* ---- time ---- */

int64_t requests_now_ms(const struct requests *r)
{
    return r->env.now_ms();
}

/* When the clock that cannot be set began, by the other one, which goes ahead of it when the host
 * sleeps or starts anew: less than before is a clock that was set back. */
static int64_t clock_of(const struct requests *r)
{
    return r->env.now() - requests_now_ms(r) / 1000;
}

/* By the clock that cannot be set; a time in the future says nothing about how long ago it was. */
static int64_t mono_of(const struct requests *r, int64_t unix_s)
{
    int64_t age = r->env.now() - unix_s;
    return age < 0 ? REQUEST_LONG_AGO : requests_now_ms(r) - age * 1000;
}

/* The same of a row, whose clock may have been another. */
static int64_t mono_of_row(const struct requests *r, const struct request_row *row, int64_t unix_s)
{
    bool set_back = row->clock && clock_of(r) < row->clock - CLOCK_SLACK_S;
    return set_back ? REQUEST_LONG_AGO : mono_of(r, unix_s);
}

/* ---- states ---- */

static void set_text(struct request *q, const char *text)
{
    free(q->text);
    q->text = text && *text ? strdup(text) : NULL; /* is cut when it becomes a row */
}

static void set_state(struct requests *r, struct request *q, enum request_state state,
                      enum request_list list)
{
    q->state = state;
    q->changed = r->env.now();
    request_set_list(&r->set, q, list, requests_now_ms(r));
    if (state != REQUEST_BEGINNING)
        request_set_note(&r->set, q);
}

static bool is_open(const struct request *q)
{
    return q->state == REQUEST_BEGINNING || q->state == REQUEST_SUBMITTING ||
           q->state == REQUEST_IN_DOUBT;
}

/* What waits to be begun anew is under way, though its row is what it was. */
enum request_state request_state(const struct request *q)
{
    return q->waits && q->waiters ? REQUEST_BEGINNING : q->state;
}

/* IN_DOUBT: when its call was over, for the next broker, who goes by the clock of the row that is
 * noted now: that may have been set ahead since. */
static int64_t over_by_clock_of_now(const struct request *q)
{
    const struct requests *r = q->owner;
    int64_t over = r->env.now() - (requests_now_ms(r) - q->over_ms) / 1000;
    return over > q->over + CLOCK_SLACK_S ? over : q->over;
}

void request_row(const struct request *q, struct request_row *out)
{
    *out = (struct request_row){
        .uid = q->uid,
        .state = q->state,
        .attempt = q->attempt,
        .tag = request_tag(q->uid, q->id, q->attempt),
        .begun = q->begun,
        .changed = q->state == REQUEST_IN_DOUBT ? over_by_clock_of_now(q) : q->changed,
        .job_id = q->job_id,
        .submit_time = q->state == REQUEST_IN_DOUBT ? q->watched : q->submit_time,
        .code = q->code,
        .clock = clock_of(q->owner),
    };
    if (out->clock < q->clock)
        out->clock = q->clock;
    memcpy(out->id, q->id, REQUEST_ID);
    memcpy(out->hash, q->hash, REQUEST_HASH);
    str_copy(out->text, sizeof out->text, str_or(q->text, ""));
}

void request_say(const struct request *q, enum log_level level, const char *what)
{
    char hex[2 * REQUEST_ID + 1];
    str_hex(q->id, REQUEST_ID, hex);
    log_line(level, "request %s of uid %u, attempt %lld: %s", hex, q->uid, (long long)q->attempt,
             what);
}

/* Is that how it stands?  What it goes by the clock of now for changes by itself. */
static bool is_as_noted(const struct request *q, const struct request_row *noted)
{
    struct request_row is;
    request_row(q, &is);
    return is.state == noted->state && is.attempt == noted->attempt && is.job_id == noted->job_id &&
           is.submit_time == noted->submit_time && is.code == noted->code &&
           str_eq(is.text, noted->text) &&
           (is.state == REQUEST_IN_DOUBT || is.changed == noted->changed);
}

/* On disk, as they are; what the journal could not write stays in memory, and is tried again.  So
 * does what has changed since. */
static void on_noted(void *arg, const struct request_row *rows, size_t n, bool begun,
                     const struct err *err)
{
    const struct requests *r = arg;
    (void)begun;
    for (size_t i = 0; err->code == ERR_NONE && i < n; i++) {
        struct request *q = request_set_find(&r->set, rows[i].uid, rows[i].id);
        if (q && is_as_noted(q, &rows[i]))
            q->unwritten = false;
    }
}

static void note(struct requests *r, const struct request_row *rows, size_t n)
{
    r->env.note(r->env.arg, rows, n, on_noted, r);
}

/* What is to be on disk, but need not be at once. */
static void flush(struct requests *r)
{
    struct request_row rows[NOTES];
    struct request *q;
    size_t n = 0;
    while ((q = TAILQ_FIRST(&r->set.notes))) {
        TAILQ_REMOVE(&r->set.notes, q, in_notes);
        q->noted = false;
        q->unwritten = true;
        request_row(q, &rows[n++]);
        if (n == NOTES) {
            note(r, rows, n);
            n = 0;
        }
    }
    if (n)
        note(r, rows, n);
}

/* ---- outcomes ---- */

void request_stop_twin(struct requests *r, struct request *q)
{
    char text[120];
    snprintf(text, sizeof text, "a late twin of it, job %lld, is cancelled: its job is %lld",
             (long long)q->twin_job, (long long)q->job_id);
    request_say(q, LOG_LEVEL_WARNING, text);
    set_text(q, text);
    request_set_note(&r->set, q);
    r->env.cancel(r->env.arg, q->uid, q->twin_job, q->twin_time);
    request_set_list(&r->set, q, LIST_PENDING, requests_now_ms(r)); /* to be tried again */
}

/* It is that job.  seen: slurmctld has shown it. */
void request_is_job(struct requests *r, struct request *q, int64_t job_id, int64_t submit_time,
                    bool seen)
{
    q->job_id = job_id;
    q->submit_time = submit_time;
    q->seen = seen;
    /* Who answered may have been killed since: it is there from when it was asked. */
    q->alive_ms = seen ? requests_now_ms(r) : q->watched_ms;
    q->alive = seen ? r->env.now() : q->watched;
    q->clock = q->code = 0;
    set_text(q, NULL);
    set_state(r, q, REQUEST_SUBMITTED, seen ? LIST_NONE : LIST_PENDING);
    if (q->twin_job == job_id)
        q->twin_job = 0;
    if (q->twin_job && !q->twin_begun)
        request_stop_twin(r, q);
    else if (q->twin_job)
        request_twin_runs(r, q, q->twin_job);
    request_answer_all(q);
}

/* Of what is over: jobs of its earlier attempts may yet turn up. */
static enum request_list list_of_over(const struct request *q)
{
    return q->attempt > 1 || request_may_submit(q->state) ? LIST_LATER : LIST_SOON;
}

void request_is_over(struct requests *r, struct request *q)
{
    set_state(r, q, REQUEST_ENDED, q->twin_job ? LIST_PENDING : list_of_over(q));
}

void request_twin_runs(struct requests *r, struct request *q, int64_t job_id)
{
    char text[160];
    snprintf(text, sizeof text, "a late twin of it, job %lld, has started: its job is %lld",
             (long long)job_id, (long long)q->job_id);
    q->twin_job = 0;
    if (str_eq(str_or(q->text, ""), text))
        return;
    request_say(q, LOG_LEVEL_ERR, text);
    set_text(q, text);
    request_set_note(&r->set, q);
}

static void take_twin(struct requests *r, struct request *q)
{
    bool gone = q->twin_gone;
    request_say(q, LOG_LEVEL_NOTICE, "the job of an earlier attempt has turned up: it is that one");
    request_is_job(r, q, q->twin_job, q->twin_time, true);
    if (gone)
        request_is_over(r, q);
}

void request_no_job(struct requests *r, struct request *q, enum request_state state,
                    enum request_list list, enum err_code code, const char *text)
{
    if (q->twin_job) {
        take_twin(r, q);
        return;
    }
    q->code = code;
    set_text(q, text);
    set_state(r, q, state, list);
    request_answer_all(q);
}

void request_was_refused(struct requests *r, struct request *q)
{
    request_say(q, LOG_LEVEL_NOTICE, "slurmctld has refused it: not submitted");
    request_no_job(r, q, REQUEST_NOT_SUBMITTED, LIST_LATER, ERR_NOT_SUBMITTED,
                   "slurmctld has refused it, and its answer was lost: submit it again to be told "
                   "why");
}

static void is_in_doubt(struct requests *r, struct request *q, const char *why)
{
    q->code = ERR_IN_DOUBT;
    set_text(q, why);
    request_say(q, LOG_LEVEL_WARNING, "in doubt");
    set_state(r, q, REQUEST_IN_DOUBT, LIST_PENDING);
}

void request_is_stuck(struct requests *r, struct request *q)
{
    static const char unwatched[] =
        "nobody looked at Slurm's jobs for longer than it shows ended ones (MinJobAge): look whether "
        "there is one (sacct), and say so (slurm-agent resolve)";
    static const char disputed[] =
        "a job that carries its tag seems to be older than it, as when a clock was set back: look "
        "whether it is its own (sacct), and say so (slurm-agent resolve)";
    const char *text = q->disputed ? disputed : unwatched;
    request_say(q, LOG_LEVEL_WARNING, text);
    set_text(q, text);
    request_set_note(&r->set, q);
}

/* ---- begin ---- */

/* Tags of other requests of the user, that are in memory, are left out. */
static int64_t free_attempt(const struct requests *r, const struct request *q)
{
    int64_t attempt = q->attempt + 1;
    for (int i = 0; i < 100; i++, attempt++) {
        uint32_t tag = request_tag(q->uid, q->id, attempt);
        const struct tag_node *node = request_set_tagged(&r->set, tag);
        while (node && (node->tag != tag || node->q == q || node->q->uid != q->uid))
            node = node->next;
        if (!node)
            break;
    }
    return attempt;
}

/* Those up to the one of its row. */
static void tag_attempts(struct requests *r, struct request *q)
{
    int64_t last = q->attempt, from = q->tags ? q->tags->attempt + 1 : last - TAGS_OF_ONE + 1;
    bool done = true;
    for (int64_t i = from > 1 ? from : 1; done && i <= last; i++)
        done = request_set_tag(&r->set, q, i, i == last ? q->begun : REQUEST_LONG_AGO);
    if (!done)
        log_err("no memory to look for the job of a request in doubt");
}

static void take_row(struct request *q, const struct request_row *row)
{
    memcpy(q->hash, row->hash, REQUEST_HASH);
    q->attempt = row->attempt;
    q->begun = row->begun;
    q->changed = row->changed;
    q->job_id = row->job_id;
    q->submit_time = row->submit_time;
    q->code = row->code;
    q->clock = row->clock;
    set_text(q, row->text);
}

/* Neither was the clock set since the row was noted, nor did the host sleep or start anew. */
static bool is_same_clock(const struct requests *r, const struct request_row *row)
{
    int64_t leap = clock_of(r) - row->clock;
    return row->clock && leap >= -CLOCK_SLACK_S && leap <= CLOCK_SLACK_S;
}

/* Noted as in doubt, its call was over by then; what munge goes by is that clock, too.  Otherwise
 * it was over when the broker before ended.  How long ago that was is known by the same clock
 * alone: else it might be taken for over long ago a moment after it was sent. */
static void set_over(struct requests *r, struct request *q, const struct request_row *row)
{
    q->over_ms = requests_now_ms(r);
    q->over = r->env.now();
    if (row->changed > q->over) {
        q->over = row->changed;
    } else if (row->state == REQUEST_IN_DOUBT && is_same_clock(r, row)) {
        q->over_ms = mono_of(r, row->changed);
        q->over = row->changed;
    }
}

/* One of an earlier broker: its call is over, and how it went is what the row says. */
static void adopt(struct requests *r, struct request *q, const struct request_row *row)
{
    take_row(q, row);
    set_over(r, q, row);
    q->watched = row->state == REQUEST_IN_DOUBT && row->submit_time ? row->submit_time : row->begun;
    q->watched_ms = mono_of_row(r, row, q->watched);
    q->alive = row->submit_time ? row->changed : row->begun; /* answered, but never shown */
    q->alive_ms = mono_of_row(r, row, q->alive);
    q->state = (enum request_state)row->state;
    tag_attempts(r, q);
    if (q->tags && q->tags->attempt == q->attempt)
        q->tags->said_no = row->state == REQUEST_REFUSED ||
                           (row->state == REQUEST_NOT_SUBMITTED && row->code != ERR_NOT_SUBMITTED);
    if (row->state == REQUEST_SUBMITTING) {
        is_in_doubt(r, q, "slurm-agentd ended before Slurm's answer was noted");
        return;
    }
    bool open = row->state == REQUEST_IN_DOUBT || row->state == REQUEST_SUBMITTED;
    request_set_list(&r->set, q, open ? LIST_PENDING : list_of_over(q), requests_now_ms(r));
}

void request_begin_failed(struct requests *r, struct request *q, const struct err *err)
{
    request_leave_turn(r, q);
    if (q->attempt) { /* as it was, but for a job that has turned up meanwhile */
        if (q->state == REQUEST_BEGINNING)
            q->state = q->before;
        request_set_list(&r->set, q, LIST_LATER, requests_now_ms(r));
        if (q->twin_job)
            take_twin(r, q);
        else
            request_tell_all(q, err);
        return;
    }
    struct request_waiter *w = q->waiters;
    q->waiters = NULL;
    request_tell_all(q, err);
    /* Whoever asks in a callback finds it, still BEGINNING, and is told as well. */
    while (w || q->waiters) {
        struct request_waiter *one = w ? w : q->waiters;
        if (w)
            w = w->next;
        else
            q->waiters = one->next;
        request_tell(q, one, err);
    }
    request_set_remove(&r->set, q);
}

static void go(struct requests *r, struct request *q, const struct request_row *row)
{
    struct request_waiter *w = q->waiters;
    take_row(q, row);
    q->watched = row->begun;
    q->watched_ms = requests_now_ms(r);
    q->job_id = q->submit_time = q->found_job = q->found_time = 0;
    q->seen = q->stuck = q->disputed = q->found_dead = q->may_act = false;
    q->found_part = false;
    q->worker = 0;
    tag_attempts(r, q);
    q->state = REQUEST_SUBMITTING;
    q->unwritten = false;
    request_set_list(&r->set, q, LIST_BUSY, requests_now_ms(r));
    if (row->attempt > 1)
        r->env.show_table(r->env.arg); /* a job of an earlier one may be there, unnoticed */
    q->waiters = w->next;
    for (struct request_waiter *joined = w->next; joined; joined = joined->next)
        joined->deadline_ms = requests_now_ms(r) + REQUEST_WAIT_MS;
    w->fn(w->arg, REQUEST_GO, q,
          &(struct err){0}); /* the first: it is its content that was noted */
    free(w);
}

static void on_begun(void *arg, const struct request_row *rows, size_t n, bool begun,
                     const struct err *err)
{
    struct request *q = arg;
    struct requests *r = q->owner;
    struct err none = {0};
    if (err->code != ERR_NONE || n != 1) {
        if (err->code == ERR_NONE)
            err_set(&none, ERR_INTERNAL, "the journal has no row of a request that it noted");
        request_begin_failed(r, q, err->code != ERR_NONE ? err : &none);
        return;
    }
    if (begun) {
        go(r, q, &rows[0]);
        return;
    }
    adopt(r, q, &rows[0]);
    if (is_open(q))
        r->env.show_table(r->env.arg); /* its job may be there for long */
    if (!is_open(q)) {
        struct request_waiter *w = q->waiters;
        bool again = request_may_submit(q->state) && w && w->next;
        /* The first had other content, or the row could have been begun anew. */
        if (again) {
            q->waiters = w->next;
            request_tell(q, w, &none);
            if (q->waiters && !q->waits && q->state != REQUEST_BEGINNING) /* not anew in there */
                request_has_turn(r, q);
            return;
        }
        request_answer_all(q);
    }
    request_leave_turn(r, q);
}

void request_has_turn(struct requests *r, struct request *q)
{
    struct request_row want;
    if (q->attempt && q->unwritten) /* the journal could not be written then */
        request_set_note(&r->set, q);
    flush(r); /* is written with it; q, too, as it is until now */
    q->before = q->state;
    q->state = REQUEST_BEGINNING;
    request_set_list(&r->set, q, LIST_BUSY, requests_now_ms(r));
    request_row(q, &want);
    memcpy(want.hash, q->waiters->hash, REQUEST_HASH); /* q's when it is noted */
    want.state = REQUEST_SUBMITTING;
    want.attempt = free_attempt(r, q);
    want.tag = request_tag(q->uid, q->id, want.attempt);
    want.begun = want.changed = r->env.now();
    want.job_id = want.submit_time = want.code = 0;
    want.text[0] = '\0';
    r->env.begin(r->env.arg, &want, on_begun, q);
}

static void fail(request_fn fn, void *arg, const struct err *err)
{
    fn(arg, REQUEST_FAIL, NULL, err);
}

int requests_check_room(const struct requests *r, uint32_t uid, struct err *err)
{
    size_t n = request_set_of_user(&r->set, uid);
    if (n < r->max_per_user)
        return 0;
    return err_set(err, ERR_LIMIT,
                   "%zu submits of yours are open, or have jobs that have not ended: as many as "
                   "are allowed (max_requests_per_user)",
                   n);
}

void requests_submit(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID],
                     const uint8_t hash[REQUEST_HASH], request_fn fn, void *arg)
{
    struct err err = {0};
    struct request *q = request_set_find(&r->set, uid, id);
    if (q && q->state != REQUEST_BEGINNING) {
        if (memcmp(q->hash, hash, REQUEST_HASH) != 0) {
            request_conflict(q->id, &err);
            fail(fn, arg, &err);
            return;
        }
        if (!is_open(q) && !request_may_submit(q->state)) {
            fn(arg, REQUEST_ANSWER, q, &err);
            return;
        }
    }
    if (!q && requests_check_room(r, uid, &err) < 0) {
        fail(fn, arg, &err);
        return;
    }
    bool is_new = !q;
    if (is_new && (q = request_set_add(&r->set, uid, id)))
        q->owner = r;
    if (!q || !request_add_waiter(r, q, hash, fn, arg)) {
        if (q && is_new)
            request_set_remove(&r->set, q);
        err_set(&err, ERR_BUSY, "no memory");
        fail(fn, arg, &err);
        return;
    }
    if (is_new)
        request_set_list(&r->set, q, LIST_BUSY, requests_now_ms(r));
    if (is_new || (!is_open(q) && !q->waits))
        request_take_turn(r, q);
}

/* ---- the one that submits ---- */

static void let_go(struct requests *r, struct request *q)
{
    q->over_ms = requests_now_ms(r);
    q->over = r->env.now();
}

/* Who is told what has become of it may have begun it anew. */
static void leave_this_turn(struct requests *r, struct request *q, uint64_t turn)
{
    if (q->turn == turn)
        request_leave_turn(r, q);
}

bool requests_send(struct requests *r, struct request *q)
{
    if (!q->twin_job)
        return true;
    uint64_t turn = q->turn;
    let_go(r, q);
    take_twin(r, q);
    leave_this_turn(r, q, turn);
    return false;
}

void request_had_worker(struct request *q, uint32_t process)
{
    q->worker = process;
}

static void take_outcome(struct requests *r, struct request *q, enum request_state state,
                         int64_t job_id, const struct err *err, request_fn fn, void *arg)
{
    struct err none = {0};
    if (state == REQUEST_SUBMITTED) {
        request_is_job(r, q, job_id, q->found_job == job_id ? q->found_time : 0,
                       q->found_job == job_id);
        return;
    }
    bool refused = q->found_dead || (q->found_part && state != REQUEST_IN_DOUBT);
    if (q->found_job && !refused) { /* whatever was said: it is there */
        request_is_job(r, q, q->found_job, q->found_time, true);
    } else if (state == REQUEST_IN_DOUBT && q->found_dead) {
        request_was_refused(r, q);
    } else if (state == REQUEST_IN_DOUBT) {
        is_in_doubt(r, q, err->text);
        if (fn && request_add_waiter(r, q, q->hash, fn, arg))
            fn = NULL;
    } else {
        q->submit_time = state == REQUEST_REFUSED ? err->slurm_errno : 0;
        if (q->tags && q->tags->attempt == q->attempt)
            q->tags->said_no = true;
        request_no_job(r, q, state, list_of_over(q), err->code, err->text);
    }
    if (fn)
        fn(arg, REQUEST_ANSWER, q, &none);
}

void requests_outcome(struct requests *r, struct request *q, enum request_state state,
                      int64_t job_id, const struct err *err, request_fn fn, void *arg)
{
    uint64_t turn = q->turn;
    let_go(r, q);
    take_outcome(r, q, state, job_id, err, fn, arg);
    leave_this_turn(r, q, turn); /* what has become of it goes to the journal with the next one */
}

/* ---- the whole ---- */

void requests_opened(struct requests *r, const struct request_row *rows, size_t n)
{
    size_t added = 0;
    for (size_t i = 0; i < n; i++) {
        struct request *q = request_set_find(&r->set, rows[i].uid, rows[i].id);
        bool asked = q && q->waits && !q->attempt; /* that is all that is known of it */
        if (q && !asked)
            continue; /* memory knows better */
        if (asked)
            request_set_unwait(&r->set, q);
        else
            q = request_set_add(&r->set, rows[i].uid, rows[i].id);
        if (!q) {
            log_err("no memory for the requests in the journal");
            break;
        }
        q->owner = r;
        adopt(r, q, &rows[i]);
        added++;
        if (asked && request_may_submit(q->state))
            request_take_turn(r, q);
        else if (asked && !is_open(q))
            request_answer_all(q);
    }
    if (added)
        r->env.show_table(r->env.arg);
}

const struct request *requests_find(const struct requests *r, uint32_t uid,
                                    const uint8_t id[REQUEST_ID])
{
    const struct request *q = request_set_find(&r->set, uid, id);
    return q && (q->state != REQUEST_BEGINNING || q->attempt) ? q : NULL;
}

bool requests_is_asked(const struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID])
{
    const struct request *q = request_set_find(&r->set, uid, id);
    return q && request_state(q) == REQUEST_BEGINNING;
}

size_t requests_in_doubt(const struct requests *r, uint32_t uid)
{
    const struct request *q;
    size_t n = 0;
    TAILQ_FOREACH(q, &r->set.lists[LIST_PENDING], in_list)
    n += q->uid == uid && q->state == REQUEST_IN_DOUBT;
    return n;
}

size_t requests_doubts(const struct requests *r)
{
    const struct request *q;
    size_t n = 0;
    TAILQ_FOREACH(q, &r->set.lists[LIST_PENDING], in_list)
    n += q->state == REQUEST_IN_DOUBT;
    return n;
}

size_t requests_of_user(const struct requests *r, uint32_t uid)
{
    return request_set_of_user(&r->set, uid);
}

size_t requests_busy(const struct requests *r)
{
    return r->placed + r->set.waiting_n;
}

static void forget_old(struct requests *r, enum request_list list, int64_t keep_ms)
{
    struct request *q;
    while ((q = TAILQ_FIRST(&r->set.lists[list])) && requests_now_ms(r) - q->list_ms > keep_ms) {
        if (q->waiters || q->noted || q->unwritten) { /* its turn comes */
            if (q->unwritten)
                request_set_note(&r->set, q);
            request_set_list(&r->set, q, list, requests_now_ms(r));
            continue;
        }
        request_set_remove(&r->set, q);
    }
}

void requests_tick(struct requests *r)
{
    static const enum request_list waited[] = {LIST_BUSY, LIST_PENDING};
    struct request *q, *next;
    flush(r);
    requests_expire_turns(r, false);
    for (size_t i = 0; i < ARRAY_LEN(waited); i++)
        for (q = TAILQ_FIRST(&r->set.lists[waited[i]]); q; q = next) {
            next = TAILQ_NEXT(q, in_list);
            request_expire_waiters(r, q);
        }
    forget_old(r, LIST_SOON, KEEP_SOON_MS);
    forget_old(r, LIST_LATER, KEEP_LATER_MS);
}

void requests_close(struct requests *r)
{
    if (!r)
        return;
    r->closed = true;
    requests_expire_turns(r, true);
}

void requests_stop(struct requests *r)
{
    static const enum request_list waited[] = {LIST_BUSY, LIST_PENDING};
    struct request *q, *next;
    if (!r)
        return;
    requests_close(r);
    flush(r);
    for (size_t i = 0; i < ARRAY_LEN(waited); i++)
        for (q = TAILQ_FIRST(&r->set.lists[waited[i]]); q; q = next) {
            next = TAILQ_NEXT(q, in_list);
            if (q->state != REQUEST_BEGINNING)
                request_answer_all(q);
        }
}

struct requests *requests_new(const struct requests_env *env, size_t max_per_user, int64_t turn_ms)
{
    struct requests *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->env = *env;
    r->max_per_user = max_per_user;
    r->turn_ms = turn_ms;
    if (request_set_init(&r->set) == 0)
        return r;
    requests_free(r);
    return NULL;
}

void requests_free(struct requests *r)
{
    if (!r)
        return;
    request_set_done(&r->set);
    free(r);
}
