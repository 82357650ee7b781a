/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What slurmctld shows, and what follows from it for requests that are open. */
#include "agentd/requests_set.h"
#include "common/str.h"

enum {
    ANEW_MS = 5000,      /* between whole loads that are asked for */
    CANCEL_MS = 10000,   /* between two tries to end a late twin */
    SLACK_MS = 5000,     /* on top of what a request to slurmctld may live */
    UNSEEN_MS = 600000,  /* a job that no load ever shows is followed so long */
    AGE_SLACK_MS = 1000, /* slurmctld counts whole seconds */
    CLOCK_STEPS = 3,     /* so many times that, when the clock was set back meanwhile */
    NOTE_WATCHED_MS = 20000,
    REFUSAL_OLDEST_S = 10, /* a refusal that came so much before its attempt is another's */
    OLDEST_S = 3600, /* a job that came so much before its attempt seems to be another's; less may
                        be a clock that was set back */
};

/* ---- what slurmctld shows ---- */

/* Two requests may have the same tag, when they were noted by different brokers. */
static bool is_anothers(const struct requests *r, const struct request *q, uint32_t tag,
                        int64_t job_id)
{
    for (const struct tag_node *n = request_set_tagged(&r->set, tag); n; n = n->next)
        if (n->tag == tag && n->q != q && n->q->uid == q->uid && n->q->job_id == job_id &&
            n->q->state == REQUEST_SUBMITTED)
            return true;
    return false;
}

/* No job of the attempt under way is known: then one of an earlier attempt may be the only one,
 * whatever has become of it. */
static bool has_no_job_yet(const struct request *q)
{
    return q->state == REQUEST_BEGINNING || q->state == REQUEST_SUBMITTING ||
           q->state == REQUEST_IN_DOUBT;
}

bool request_carries_tag(const struct requests *r, const struct request *q, int64_t job_id)
{
    for (const struct tag_node *n = q->tags; n; n = n->more)
        if (r->env.is_there(r->env.arg, q->uid, job_id, n->tag))
            return true;
    return false;
}

static void note_twin(struct request *q, const struct jobrec *rec)
{
    q->twin_job = rec->group;
    q->twin_time = rec->submit_time;
    q->twin_gone = false;
    q->twin_begun = rec->ended || !str_eq(rec->keys.state, "PENDING");
}

static void turned_up(struct requests *r, struct request *q, const struct jobrec *rec)
{
    char text[80];
    snprintf(text, sizeof text, "it is job %u, %s before", rec->group, request_word(q->state));
    request_say(q, LOG_LEVEL_NOTICE, text);
    request_is_job(r, q, rec->group, rec->submit_time, true);
}

static void saw_own(struct requests *r, struct request *q, const struct jobrec *rec)
{
    if (rec->group != q->job_id)
        return;
    q->seen = true;
    q->submit_time = rec->submit_time;
    if (rec->ended && !rec->in_array && !rec->in_het)
        request_is_over(r, q);
    else if (q->list == LIST_PENDING && !q->twin_job)
        request_set_list(&r->set, q, LIST_NONE, requests_now_ms(r));
}

/* It had ended, and was requeued. */
static void saw_again(struct requests *r, struct request *q, const struct jobrec *rec)
{
    if (!rec->ended)
        request_is_job(r, q, rec->group, rec->submit_time, true);
}

/* It is not the request's job: that is another attempt's. */
static void saw_twin(struct requests *r, struct request *q, const struct jobrec *rec)
{
    if (rec->group == q->twin_job && rec->ended)
        q->twin_job = 0;
    if (rec->ended)
        return;
    if (!str_eq(rec->keys.state, "PENDING")) {
        request_twin_runs(r, q, rec->group);
        return;
    }
    note_twin(q, rec);
    request_stop_twin(r, q);
}

/* Of any attempt: it is no job, whether the answer was for good or for now. */
static void saw_refusal(struct requests *r, struct request *q, const struct jobrec *rec,
                        bool is_current)
{
    if (is_current && q->state == REQUEST_SUBMITTING) {
        q->found_job = rec->group;
        q->found_time = rec->submit_time;
        q->found_dead = true;
    } else if (is_current && q->state == REQUEST_IN_DOUBT) {
        request_was_refused(r, q);
    }
}

/* A job of this attempt. */
static void saw_current(struct requests *r, struct request *q, const struct jobrec *rec)
{
    switch (q->state) {
    case REQUEST_BEGINNING: /* a new attempt: this one's is over */
        note_twin(q, rec);
        break;
    case REQUEST_SUBMITTING:
        q->found_job = rec->group;
        q->found_time = rec->submit_time;
        q->found_dead = false;
        q->found_part = jobrec_is_refused_part(rec);
        break;
    case REQUEST_NOT_SUBMITTED:
    case REQUEST_REFUSED:
    case REQUEST_IN_DOUBT:
    case REQUEST_LOST:
        turned_up(r, q, rec);
        if (q->state == REQUEST_SUBMITTED)
            saw_own(r, q, rec);
        break;
    case REQUEST_SUBMITTED:
    case REQUEST_ENDED:
        if (rec->group != q->job_id && q->attempt > 1) /* its job is that of an earlier one */
            saw_twin(r, q, rec);
        else if (q->state == REQUEST_SUBMITTED)
            saw_own(r, q, rec);
        else if (rec->group == q->job_id)
            saw_again(r, q, rec);
        break;
    }
}

/* One of an attempt that was given up, because it certainly had no job. */
static void saw_earlier(struct requests *r, struct request *q, const struct jobrec *rec)
{
    if (request_may_submit(q->state) || q->state == REQUEST_REFUSED)
        turned_up(r, q, rec); /* the later attempts have none */
    else if (has_no_job_yet(q))
        note_twin(q, rec);
    else if (rec->group != q->job_id)
        saw_twin(r, q, rec);
    else if (q->state == REQUEST_SUBMITTED)
        saw_own(r, q, rec);
}

void requests_saw(struct requests *r, const struct jobrec *rec)
{
    uint32_t tag = (uint32_t)rec->keys.tag;
    if (!r || tag < REQUEST_TAGS)
        return;
    for (struct tag_node *n = request_set_tagged(&r->set, tag); n; n = n->next) {
        struct request *q = n->q;
        if (n->tag != tag || q->uid != rec->keys.uid || is_anothers(r, q, tag, rec->group))
            continue;
        if (rec->submit_time + OLDEST_S < n->begun) {
            q->disputed = true;
            continue;
        }
        bool is_its_job =
            q->job_id == rec->group && (q->state == REQUEST_SUBMITTED || q->state == REQUEST_ENDED);
        bool is_refusal = jobrec_is_refusal(rec) && !is_its_job;
        /* Another journal had the same request: what is in doubt stays so. */
        if (is_refusal && rec->submit_time + REFUSAL_OLDEST_S < n->begun)
            continue;
        /* How an attempt ended that an earlier broker began anew is not known: as good as no. */
        bool said_no = n->said_no || n->begun == REQUEST_LONG_AGO;
        if (said_no && !is_its_job && rec->group != q->twin_job && jobrec_is_refused_part(rec))
            continue;
        if (is_refusal)
            saw_refusal(r, q, rec, n->attempt == q->attempt);
        else if (n->attempt == q->attempt)
            saw_current(r, q, rec);
        else
            saw_earlier(r, q, rec);
    }
}

void requests_gone(struct requests *r, const struct jobrec *rec)
{
    uint32_t tag = (uint32_t)rec->keys.tag;
    if (!r || tag < REQUEST_TAGS)
        return;
    for (struct tag_node *n = request_set_tagged(&r->set, tag); n; n = n->next) {
        struct request *q = n->q;
        if (n->tag != tag || q->uid != rec->keys.uid)
            continue;
        if (q->twin_job == rec->group && rec->ended && has_no_job_yet(q))
            q->twin_gone = true;
        else if (q->twin_job == rec->group)
            q->twin_job = 0;
        if (q->state != REQUEST_SUBMITTED || q->job_id != rec->group ||
            r->env.is_there(r->env.arg, q->uid, q->job_id, tag))
            continue;
        if (rec->ended) {
            request_is_over(r, q);
            continue;
        }
        q->seen = false;
        q->alive_ms = r->last_ms;
        q->alive = r->last_as_of;
        q->over_ms = r->last_ms;
        request_set_list(&r->set, q, LIST_PENDING, requests_now_ms(r));
    }
}

/* ---- judgement ---- */

/* How long a job is shown at least, whatever becomes of it. */
static int64_t shown_ms(const struct requests_load *l)
{
    return l->min_job_age_ms ? l->min_job_age_ms - AGE_SLACK_MS : INT64_MAX / 4;
}

/* Would a job have been seen that was there at that time, or was made since? */
static bool watched_since(const struct requests *r, int64_t ms)
{
    return ms != REQUEST_LONG_AGO && r->chain_ms - ms <= r->chain_shown_ms;
}

/* munge goes by a clock that can be set back, though it takes none from far in the future.  That
 * slurmctld has started since then proves nothing: a backup's start says nothing about a primary
 * that hangs, with the request unread; a process that reads its settings anew by starting anew
 * keeps the sockets, and what is queued there; and its host's clock is not ours. */
bool request_is_spent(const struct requests *r, const struct request *q,
                      const struct requests_load *l)
{
    int64_t lives_ms = l->rpc_ms + SLACK_MS, past_ms = l->begun_ms - q->over_ms;
    int64_t wall_ms = (r->env.now() - q->over) * 1000;
    return past_ms > lives_ms && (wall_ms > lives_ms || past_ms > CLOCK_STEPS * lives_ms);
}

/* slurmctld has started since then, by a clock that was not set back meanwhile. */
static bool booted_since(const struct requests_load *l, int64_t unix_s)
{
    return l->boot_time > unix_s && l->boot_time <= l->as_of;
}

/* A backup that takes over has started long ago, but not when the one before it did. */
static void note_boot(struct requests *r, const struct requests_load *l)
{
    if (r->boot_time && l->boot_time && r->boot_time != l->boot_time)
        r->other_ms = l->begun_ms;
    r->boot_time = l->boot_time ? l->boot_time : r->boot_time;
}

static const char absent_text[] =
    "Slurm has no job of it, and none can come any more: it was certainly not submitted";

/* Watched on.  What came before is lost with this broker, and need not be. */
static void note_watched(struct requests *r, struct request *q, const struct requests_load *l)
{
    q->watched_ms = l->begun_ms;
    q->watched = l->as_of;
    q->clock = 0;
    if (q->watched_noted_ms && q->watched_ms - q->watched_noted_ms < NOTE_WATCHED_MS)
        return;
    q->watched_noted_ms = q->watched_ms;
    request_set_note(&r->set, q);
}

/* Its call is over when the worker has ended, not when that was asked of the monitor.  What becomes
 * of its user's later workers is nothing to it. */
static void note_act(struct requests *r, struct request *q)
{
    bool acted = q->may_act;
    q->may_act = q->worker && r->env.may_act(r->env.arg, q->uid, q->worker);
    if (!acted && !q->may_act)
        return;
    q->over_ms = requests_now_ms(r);
    q->over = r->env.now();
}

/* Returns whether a whole load might settle it. */
static bool judge_doubt(struct requests *r, struct request *q, const struct requests_load *l)
{
    bool watched = watched_since(r, q->watched_ms);
    if (watched)
        note_watched(r, q, l);
    note_act(r, q);
    if (l->begun_ms <= q->over_ms)
        return true;
    if (!watched || (q->disputed && l->whole)) {
        if (!q->stuck)
            request_is_stuck(r, q);
        q->stuck = true;
        return false;
    }
    if (!l->whole)
        return true;
    if (!request_is_spent(r, q, l))
        return true;
    request_say(q, LOG_LEVEL_NOTICE, "Slurm has no job of it: not submitted");
    request_no_job(r, q, REQUEST_NOT_SUBMITTED, LIST_LATER, ERR_NOT_SUBMITTED, absent_text);
    return false;
}

static void is_lost(struct requests *r, struct request *q)
{
    char text[160];
    snprintf(text, sizeof text,
             "slurmctld took it as job %lld, was killed before it had saved it, "
             "and has forgotten it",
             (long long)q->job_id);
    request_say(q, LOG_LEVEL_WARNING, text);
    request_no_job(r, q, REQUEST_LOST, LIST_LATER, ERR_NOT_SUBMITTED, text);
}

static bool judge_job(struct requests *r, struct request *q, const struct requests_load *l)
{
    if (q->twin_job) {
        if (requests_now_ms(r) - q->list_ms > CANCEL_MS)
            request_stop_twin(r, q);
        return false;
    }
    if (q->state == REQUEST_ENDED) /* and its twin has gone */
        request_set_list(&r->set, q, LIST_LATER, requests_now_ms(r));
    if (q->state == REQUEST_ENDED || l->begun_ms <= q->over_ms)
        return false;
    if (request_carries_tag(r, q, q->job_id)) {
        q->seen = true;
        request_set_list(&r->set, q, LIST_NONE, requests_now_ms(r));
        return false;
    }
    bool told = watched_since(r, q->alive_ms) && l->begun_ms - q->alive_ms < UNSEEN_MS;
    if (told && !l->whole)
        return true;
    /* It would be shown if it had ended.  The second in which it was last there may be the one in
     * which slurmctld started. */
    if (told && (booted_since(l, q->alive - 1) || r->other_ms > q->alive_ms))
        is_lost(r, q);
    else if (!told)
        request_is_over(r, q);
    return told;
}

/* slurmctld forgets by the clock that can be set; the other stands still while the host sleeps.
 * What was made before a leap is shown for so much less. */
static void note_gap(struct requests *r, const struct requests_load *l, int64_t shown)
{
    int64_t gap = l->begun_ms - r->last_ms, leap = (l->as_of - r->last_as_of) * 1000 - gap;
    if (!r->last_ms || leap <= AGE_SLACK_MS) /* as_of is in whole seconds */
        leap = 0;
    if (r->last_ms && gap + leap <= shown)
        return;
    r->chain_ms = l->begun_ms;
    r->chain_shown_ms = shown - leap;
}

void requests_loaded(struct requests *r, const struct requests_load *l)
{
    bool anew = false;
    if (!r)
        return;
    /* MinJobAge may have been changed at any time between two loads. */
    int64_t shown = shown_ms(l), least = r->last_ms && r->shown_ms < shown ? r->shown_ms : shown;
    note_gap(r, l, least);
    r->shown_ms = shown;
    r->last_ms = l->begun_ms;
    r->last_as_of = l->as_of;
    r->last = *l;
    note_boot(r, l);
    struct request *next;
    for (struct request *q = TAILQ_FIRST(&r->set.lists[LIST_PENDING]); q; q = next) {
        next = TAILQ_NEXT(q, in_list);
        anew |= q->state == REQUEST_IN_DOUBT ? judge_doubt(r, q, l) : judge_job(r, q, l);
    }
    int64_t now = requests_now_ms(r);
    if (!anew || l->blind || (r->anew_ms && now - r->anew_ms < ANEW_MS))
        return;
    r->anew_ms = now;
    r->env.load_anew(r->env.arg);
}
