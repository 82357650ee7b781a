/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/requests.h"

#include <stdlib.h>
#include <string.h>

#include "agentd/requests_set.h"
#include "common/log.h"
#include "common/seal.h"
#include "common/str.h"

enum {
    TAGS_OF_ONE = 8, /* attempts whose jobs are looked for: the last ones */
    KEEP_SOON_MS = 60000,
    KEEP_LATER_MS = 3600000,
    NOTES = 128, /* rows in one go */
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

uint32_t request_tag(uint32_t uid, const uint8_t id[REQUEST_ID], int64_t attempt)
{
    uint8_t in[4 + REQUEST_ID + 8], out[SEAL_HASH];
    uint64_t n;
    memcpy(in, &uid, 4);
    memcpy(in + 4, id, REQUEST_ID);
    memcpy(in + 4 + REQUEST_ID, &attempt, 8);
    seal_hash(in, sizeof in, out);
    memcpy(&n, out, sizeof n);
    return REQUEST_TAGS + (uint32_t)(n % 0x7ffffff0); /* Slurm's NO_VAL is above */
}

void request_hex(const uint8_t id[REQUEST_ID], char out[2 * REQUEST_ID + 1])
{
    for (int i = 0; i < REQUEST_ID; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

/* ---- time ---- */

int64_t requests_now_ms(const struct requests *r)
{
    return r->env.now_ms();
}

/* By the clock that cannot be set; a time in the future says nothing about how long ago it was. */
static int64_t mono_of(const struct requests *r, int64_t unix_s)
{
    int64_t age = r->env.now() - unix_s;
    return age < 0 ? REQUEST_LONG_AGO : requests_now_ms(r) - age * 1000;
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

enum request_state request_state(const struct request *q)
{
    return q->state;
}

void request_row(const struct request *q, struct request_row *out)
{
    *out = (struct request_row){
        .uid = q->uid,
        .state = q->state,
        .attempt = q->attempt,
        .tag = request_tag(q->uid, q->id, q->attempt),
        .begun = q->begun,
        .changed = q->changed,
        .job_id = q->job_id,
        .submit_time = q->state == REQUEST_IN_DOUBT ? q->watched : q->submit_time,
        .code = q->code,
    };
    memcpy(out->id, q->id, REQUEST_ID);
    memcpy(out->hash, q->hash, REQUEST_HASH);
    str_copy(out->text, sizeof out->text, str_or(q->text, ""));
}

void request_say(const struct request *q, enum log_level level, const char *what)
{
    char hex[2 * REQUEST_ID + 1];
    request_hex(q->id, hex);
    log_line(level, "request %s of uid %u, attempt %lld: %s", hex, q->uid, (long long)q->attempt,
             what);
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
        request_row(q, &rows[n++]);
        if (n == NOTES) {
            r->env.note(r->env.arg, rows, n);
            n = 0;
        }
    }
    if (n)
        r->env.note(r->env.arg, rows, n);
}

/* ---- who waits ---- */

static bool add_waiter(struct requests *r, struct request *q, const uint8_t hash[REQUEST_HASH],
                       request_fn fn, void *arg)
{
    struct request_waiter *w = calloc(1, sizeof *w), **at = &q->waiters;
    if (!w)
        return false;
    memcpy(w->hash, hash, REQUEST_HASH);
    w->deadline_ms = requests_now_ms(r) + REQUEST_WAIT_MS;
    w->fn = fn;
    w->arg = arg;
    while (*at)
        at = &(*at)->next;
    *at = w;
    return true;
}

static void conflict(const struct request *q, struct err *err)
{
    char hex[2 * REQUEST_ID + 1];
    request_hex(q->id, hex);
    err_set(err, ERR_CONFLICT,
            "request id %s was used for another submit: an id stands for one script with its "
            "options and environment",
            hex);
}

static void tell(struct request *q, struct request_waiter *w, const struct err *why)
{
    struct err err = *why;
    if (err.code == ERR_NONE && memcmp(w->hash, q->hash, REQUEST_HASH) != 0)
        conflict(q, &err);
    w->fn(w->arg, err.code == ERR_NONE ? REQUEST_ANSWER : REQUEST_FAIL, q, &err);
    free(w);
}

/* Those that wait now: who asks anew meanwhile waits anew. */
static void tell_all(struct request *q, const struct err *why)
{
    struct request_waiter *w = q->waiters;
    q->waiters = NULL;
    while (w) {
        struct request_waiter *next = w->next;
        tell(q, w, why);
        w = next;
    }
}

static void answer_all(struct request *q)
{
    tell_all(q, &(struct err){0});
}

static void expire(struct requests *r, struct request *q)
{
    struct request_waiter **at = &q->waiters;
    while (*at) {
        struct request_waiter *w = *at;
        if (w->deadline_ms > requests_now_ms(r) || q->state == REQUEST_BEGINNING) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        tell(q, w, &(struct err){0});
        at = &q->waiters; /* it may have asked anew */
    }
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
    q->alive_ms = requests_now_ms(r);
    q->alive = r->env.now();
    q->code = 0;
    set_text(q, NULL);
    set_state(r, q, REQUEST_SUBMITTED, seen ? LIST_NONE : LIST_PENDING);
    if (q->twin_job == job_id)
        q->twin_job = 0;
    if (q->twin_job && !q->twin_begun) {
        request_stop_twin(r, q);
    } else if (q->twin_job) {
        request_say(q, LOG_LEVEL_ERR, "a late twin of it has started before it could be cancelled");
        q->twin_job = 0;
    }
    answer_all(q);
}

void request_is_over(struct requests *r, struct request *q)
{
    set_state(r, q, REQUEST_ENDED, LIST_SOON);
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
    answer_all(q);
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
        "there is one (sacct), and submit with another request id if not";
    static const char disputed[] =
        "a job that carries its tag seems to be older than it, as when a clock was set back: look "
        "whether it is its own (sacct), and submit with another request id if not";
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

static bool tag_attempts(struct requests *r, struct request *q, int64_t last)
{
    int64_t from = q->tags ? q->tags->attempt + 1 : last - TAGS_OF_ONE + 1;
    for (int64_t i = from > 1 ? from : 1; i <= last; i++)
        if (!request_set_tag(&r->set, q, i))
            return false;
    return true;
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
    set_text(q, row->text);
}

/* Noted as in doubt, its call was over by then; what munge goes by is that clock, too.  Otherwise
 * it was over when the broker before ended. */
static void set_over(struct requests *r, struct request *q, const struct request_row *row)
{
    q->over_ms = requests_now_ms(r);
    q->over = r->env.now();
    if (row->state != REQUEST_IN_DOUBT || row->changed > q->over)
        return;
    q->over_ms = mono_of(r, row->changed);
    q->over = row->changed;
}

/* One of an earlier broker: its call is over, and how it went is what the row says. */
static void adopt(struct requests *r, struct request *q, const struct request_row *row)
{
    enum request_list list = LIST_SOON;
    take_row(q, row);
    set_over(r, q, row);
    q->watched = row->state == REQUEST_IN_DOUBT && row->submit_time ? row->submit_time : row->begun;
    q->watched_ms = mono_of(r, q->watched);
    q->alive = row->changed;
    q->alive_ms = mono_of(r, row->changed);
    q->state = (enum request_state)row->state;
    if (!tag_attempts(r, q, row->attempt))
        log_err("no memory to look for the job of a request in doubt");
    if (row->state == REQUEST_SUBMITTING) {
        is_in_doubt(r, q, "slurm-agentd ended before Slurm's answer was noted");
        return;
    }
    if (row->state == REQUEST_IN_DOUBT || row->state == REQUEST_SUBMITTED)
        list = LIST_PENDING;
    else if (request_may_submit(row->state))
        list = LIST_LATER;
    request_set_list(&r->set, q, list, requests_now_ms(r));
}

static void begin_failed(struct requests *r, struct request *q, const struct err *err)
{
    if (q->attempt) { /* as it was */
        q->state = q->before;
        request_set_list(&r->set, q, LIST_LATER, requests_now_ms(r));
        tell_all(q, err);
        return;
    }
    struct request_waiter *w = q->waiters;
    q->waiters = NULL;
    tell_all(q, err);
    /* Whoever asks in a callback finds it, still BEGINNING, and is told as well. */
    while (w || q->waiters) {
        struct request_waiter *one = w ? w : q->waiters;
        if (w)
            w = w->next;
        else
            q->waiters = one->next;
        tell(q, one, err);
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
    q->seen = q->stuck = q->disputed = false;
    if (!tag_attempts(r, q, row->attempt))
        log_err("no memory to look for the job of a request in doubt");
    q->state = REQUEST_SUBMITTING;
    request_set_list(&r->set, q, LIST_BUSY, requests_now_ms(r));
    if (row->attempt > 1)
        r->env.show_table(r->env.arg); /* a job of an earlier one may be there, unnoticed */
    q->waiters = w->next;
    q->held = true;
    r->held++;
    w->fn(w->arg, REQUEST_GO, q,
          &(struct err){0}); /* the first: it is its content that was noted */
    free(w);
}

static void begin(struct requests *r, struct request *q);

static void on_begun(void *arg, const struct request_row *rows, size_t n, bool begun,
                     const struct err *err)
{
    struct request *q = arg;
    struct requests *r = q->owner;
    struct err none = {0};
    if (err->code != ERR_NONE || n != 1) {
        if (err->code == ERR_NONE)
            err_set(&none, ERR_INTERNAL, "the journal has no row of a request that it noted");
        begin_failed(r, q, err->code != ERR_NONE ? err : &none);
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
            tell(q, w, &none);
            begin(r, q);
        } else {
            answer_all(q);
        }
    }
}

static void begin(struct requests *r, struct request *q)
{
    struct request_row want;
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

void requests_submit(struct requests *r, uint32_t uid, const uint8_t id[REQUEST_ID],
                     const uint8_t hash[REQUEST_HASH], request_fn fn, void *arg)
{
    struct err err = {0};
    struct request *q = request_set_find(&r->set, uid, id);
    if (q && q->state != REQUEST_BEGINNING) {
        if (memcmp(q->hash, hash, REQUEST_HASH) != 0) {
            conflict(q, &err);
            fail(fn, arg, &err);
            return;
        }
        if (!is_open(q) && !request_may_submit(q->state)) {
            fn(arg, REQUEST_ANSWER, q, &err);
            return;
        }
    }
    if (!q && request_set_of_user(&r->set, uid) >= r->max_per_user) {
        err_set(&err, ERR_LIMIT,
                "%zu submits of yours are open, or have jobs that have not ended: as many as are "
                "allowed (max_requests_per_user)",
                request_set_of_user(&r->set, uid));
        fail(fn, arg, &err);
        return;
    }
    bool is_new = !q;
    if (is_new && (q = request_set_add(&r->set, uid, id)))
        q->owner = r;
    if (!q || !add_waiter(r, q, hash, fn, arg)) {
        if (q && is_new)
            request_set_remove(&r->set, q);
        err_set(&err, ERR_BUSY, "no memory");
        fail(fn, arg, &err);
        return;
    }
    if (is_new || !is_open(q))
        begin(r, q);
}

/* ---- the one that submits ---- */

static void let_go(struct requests *r, struct request *q)
{
    q->held = false;
    r->held--;
    q->over_ms = requests_now_ms(r);
    q->over = r->env.now();
}

bool requests_send(struct requests *r, struct request *q)
{
    if (!q->twin_job)
        return true;
    let_go(r, q);
    take_twin(r, q);
    return false;
}

void requests_outcome(struct requests *r, struct request *q, enum request_state state,
                      int64_t job_id, const struct err *err, request_fn fn, void *arg)
{
    struct err none = {0};
    let_go(r, q);
    if (state == REQUEST_SUBMITTED) {
        request_is_job(r, q, job_id, q->found_job == job_id ? q->found_time : 0,
                       q->found_job == job_id);
        return;
    }
    if (q->found_job) { /* whatever was said: it is there */
        request_is_job(r, q, q->found_job, q->found_time, true);
    } else if (state == REQUEST_IN_DOUBT) {
        is_in_doubt(r, q, err->text);
        if (fn && add_waiter(r, q, q->hash, fn, arg))
            fn = NULL;
    } else {
        request_no_job(r, q, state, LIST_SOON, err->code, err->text);
    }
    if (fn)
        fn(arg, REQUEST_ANSWER, q, &none);
}

/* ---- the whole ---- */

void requests_opened(struct requests *r, const struct request_row *rows, size_t n)
{
    size_t added = 0;
    for (size_t i = 0; i < n; i++) {
        if (request_set_find(&r->set, rows[i].uid, rows[i].id))
            continue; /* memory knows better */
        struct request *q = request_set_add(&r->set, rows[i].uid, rows[i].id);
        if (!q) {
            log_err("no memory for the requests in the journal");
            break;
        }
        q->owner = r;
        adopt(r, q, &rows[i]);
        added++;
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

size_t requests_in_doubt(const struct requests *r, uint32_t uid)
{
    const struct request *q;
    size_t n = 0;
    TAILQ_FOREACH(q, &r->set.lists[LIST_PENDING], in_list)
    n += q->uid == uid && q->state == REQUEST_IN_DOUBT;
    return n;
}

size_t requests_busy(const struct requests *r)
{
    return r->held;
}

static void forget_old(struct requests *r, enum request_list list, int64_t keep_ms)
{
    struct request *q;
    while ((q = TAILQ_FIRST(&r->set.lists[list])) && requests_now_ms(r) - q->list_ms > keep_ms) {
        if (q->waiters || q->noted) { /* its turn comes */
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
    for (size_t i = 0; i < ARRAY_LEN(waited); i++)
        for (q = TAILQ_FIRST(&r->set.lists[waited[i]]); q; q = next) {
            next = TAILQ_NEXT(q, in_list);
            expire(r, q);
        }
    forget_old(r, LIST_SOON, KEEP_SOON_MS);
    forget_old(r, LIST_LATER, KEEP_LATER_MS);
}

void requests_stop(struct requests *r)
{
    static const enum request_list waited[] = {LIST_BUSY, LIST_PENDING};
    struct request *q, *next;
    if (!r)
        return;
    flush(r);
    for (size_t i = 0; i < ARRAY_LEN(waited); i++)
        for (q = TAILQ_FIRST(&r->set.lists[waited[i]]); q; q = next) {
            next = TAILQ_NEXT(q, in_list);
            if (q->state != REQUEST_BEGINNING)
                answer_all(q);
        }
}

struct requests *requests_new(const struct requests_env *env, size_t max_per_user)
{
    struct requests *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->env = *env;
    r->max_per_user = max_per_user;
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
