/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/staging.h"

#include <stdlib.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/held.h"
#include "agentd/journal.h"
#include "agentd/live.h"
#include "agentd/monlink.h"
#include "agentd/requests.h"
#include "agentd/request_tag.h"
#include "agentd/stagers.h"
#include "agentd/staging_impl.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    TICK_US = 250000,
    LOADED_S = 5,
};

const char *staging_word(int64_t state)
{
    switch (state) {
#define STAGING(name, number, help)                                                                \
    case number:                                                                                   \
        return #name;
#include "agentd/staging.def"
#undef STAGING
    }
    return NULL;
}

/* ---- states ---- */

void staged_say(const struct staged *e, enum log_level level, const char *what)
{
    log_line(level, "staging job=%lld uid=%u: %s", (long long)e->job_id, e->uid, what);
}

void staged_set_state(struct staged *e, enum staging_state state)
{
    static const uint16_t allowed[] = {
        [STAGING_SUBMITTING] = 1 << STAGING_SUBMITTED | 1 << STAGING_ABSENT | 1 << STAGING_OVER,
        [STAGING_SUBMITTED] = 1 << STAGING_FETCHING | 1 << STAGING_RELEASED |
                              1 << STAGING_DROPPING | 1 << STAGING_OVER | 1 << STAGING_ABSENT,
        [STAGING_FETCHING] = 1 << STAGING_RELEASING | 1 << STAGING_RELEASED |
                             1 << STAGING_DROPPING | 1 << STAGING_OVER,
        [STAGING_RELEASING] = 1 << STAGING_RELEASED | 1 << STAGING_DROPPING | 1 << STAGING_OVER,
        [STAGING_RELEASED] = 1 << STAGING_OVER | 1 << STAGING_RELEASING,
        [STAGING_DROPPING] = 1 << STAGING_OVER,
        [STAGING_SOUGHT] = 0,
        [STAGING_STORING] = 0,
        [STAGING_ABSENT] = 1 << STAGING_SUBMITTED | 1 << STAGING_OVER,
        [STAGING_OVER] = 1 << STAGING_RELEASED | 1 << STAGING_SUBMITTING,
    };
    if (!(allowed[e->state] >> state & 1))
        log_err("staging job=%lld uid=%u: from %s to %s", (long long)e->job_id, e->uid,
                staging_word(e->state), staging_word(state));
    e->state = state;
    e->changed = clock_now();
    staged_say(e, LOG_LEVEL_INFO, staging_word(state));
}

void staged_note(struct staged *e, journal_staging_fn fn, void *arg)
{
    struct staging_row row;
    staged_row(e, &row);
    journal_staging_note(e->s->a->journal, &row, 1, fn, arg);
}

void unit_note(const struct unit *u)
{
    struct staging_row row;
    unit_row(u->run.job, u, &row);
    journal_staging_note(u->run.job->s->a->journal, &row, 1, NULL, NULL);
}

/* ---- what is told ---- */

struct ids {
    uint32_t *v;
    size_t n, room;
};

static int gather_id(void *arg, struct jobrec *rec)
{
    struct ids *l = arg;
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        uint32_t *v = reallocarray(l->v, room, sizeof *v);
        if (!v)
            return -1;
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = rec->job_id;
    return 0;
}

/* All of its records, anew. */
void staged_retell(struct staged *e)
{
    struct ids l = {0};
    const struct jobid id = {.kind = JOBID_PLAIN, .id = (uint32_t)e->job_id};
    if (e->job_id && !e->s->seeing)
        table_find(e->s->a->table, &id, gather_id, &l);
    for (size_t i = 0; i < l.n; i++)
        watch_retell(e->s->a->watch, l.v[i]);
    free(l.v);
}

/* ---- ends of it ---- */

bool staged_ends_over(const struct staged *e, bool *ret_bad)
{
    bool done = true;
    *ret_bad = false;
    for (size_t i = 0; i < e->n_units; i++) {
        done &= e->units[i]->state == STAGING_OVER;
        *ret_bad |= e->units[i]->code != 0;
    }
    return done;
}

void staged_over(struct staged *e, enum err_code code, const char *text)
{
    run_stop(&e->run);
    e->code = code;
    if (text)
        str_copy(e->text, sizeof e->text, text);
    staged_set_state(e, STAGING_OVER);
    if (e->run.left)
        run_want(&e->run, STAGE_OP_sweep);
    else if (!stagers_undo(e->s->a->stagers, e->uid, e->id))
        monlink_revoke(e->s->a->monitor, e->uid, e->id);
    staged_retell(e);
    live_flush(e->s->a->live);
    staged_note(e, NULL, NULL);
    e->look = true;
}

void staging_undone(struct staging *s, uint32_t uid, const uint8_t request[REQUEST_ID], bool clean)
{
    struct staged *e = s ? staged_find(s, uid, request) : NULL;
    if (!e)
        return;
    e->run.left |= !clean;
    if (e->state != STAGING_OVER)
        return;
    if (!e->run.left)
        monlink_revoke(s->a->monitor, uid, request);
    else if (!e->run.stager)
        run_want(&e->run, STAGE_OP_sweep);
    e->look = true;
}

/* Its inputs will never be there. */
void staged_drop(struct staged *e, enum err_code code, const char *text)
{
    run_stop(&e->run);
    e->code = code;
    str_copy(e->text, sizeof e->text, text);
    staged_say(e, LOG_LEVEL_NOTICE, text);
    staged_set_state(e, STAGING_DROPPING);
    staged_note(e, NULL, NULL);
    run_want(&e->run, STAGE_OP_cancel);
    staged_retell(e);
}

void unit_over(struct unit *u, enum err_code code, const char *text)
{
    struct staged *e = u->run.job;
    run_stop(&u->run);
    unit_set_state(u, STAGING_OVER);
    u->code = code;
    str_copy(u->text, sizeof u->text, text);
    staged_say(e, code ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO, text);
    watch_retell(e->s->a->watch, u->job_id);
    live_flush(e->s->a->live); /* its end is in the journal before this is */
    unit_note(u);
    /* Of one that slurmctld has forgotten no record comes: whoever waits looks again. */
    held_happened(e->s->a->held, HELD_JOB, u->job_id);
    held_happened(e->s->a->held, HELD_JOB, (uint32_t)e->job_id);
    e->look = true;
}

void staged_released(struct staged *e)
{
    run_stop(&e->run);
    staged_set_state(e, STAGING_RELEASED);
    e->code = 0;
    staged_note(e, NULL, NULL);
    staged_retell(e);
    watch_load(e->s->a->watch, (uint32_t)e->job_id, NULL);
}

/* ---- what Slurm shows ---- */

static int count(void *arg, struct jobrec *rec)
{
    struct seen *v = arg;
    if ((uint32_t)rec->keys.tag != v->e->tag || rec->keys.uid != v->e->uid)
        return 0;
    bool waits = str_eq(rec->keys.state, "PENDING");
    v->n++;
    v->open += !rec->ended;
    v->waiting += waits;
    v->held += rec->held;
    if (!rec->ended || !v->submit_time) /* of a requeued one, whatever the others' */
        v->submit_time = rec->submit_time;
    return 0;
}

static void released_by_hand(struct staged *e)
{
    if (e->by_hand)
        return;
    e->by_hand = true;
    staged_say(e, LOG_LEVEL_NOTICE,
               e->array ? "tasks were released by hand, before its inputs were there"
                        : "it was released by hand, before its inputs were there");
    staged_retell(e);
}

/* The first time that it is seen. */
static void first_look(struct staged *e, const struct seen *v)
{
    e->submit_time = v->submit_time;
    if (v->open == 0) {
        staged_over(e, ERR_NONE, "it ended before its inputs were fetched");
    } else if (!e->has_inputs) {
        staged_set_state(e, STAGING_RELEASED);
        staged_note(e, NULL, NULL);
    } else if (v->held < v->waiting || v->waiting < v->open) {
        staged_drop(
            e, ERR_CONFLICT,
            "Slurm did not keep it held until its inputs are there (does a job_submit plugin lift "
            "the hold, or was it released at once?)");
    } else {
        staged_set_state(e, STAGING_FETCHING);
        run_want(&e->run, STAGE_OP_in);
        staged_note(e, NULL, NULL);
        staged_retell(e);
    }
}

static void look_at_end(struct staged *e, const struct seen *v, bool gone)
{
    bool bad;
    if (v->open > 0 || !staged_ends_over(e, &bad) || (v->n == 0 && !gone))
        return;
    bool unseen = e->seen ? e->was_open : e->array || !e->n_units;
    if (v->n == 0 && unseen && staged_seek(e))
        return;
    staged_over(e, ERR_NONE, NULL);
    if (bad) {
        e->code = CODE_OF_ENDS;
        staged_note(e, NULL, NULL);
    }
}

static bool is_loaded_since(struct staged *e)
{
    struct watch_status st;
    watch_status(e->s->a->watch, &st);
    e->look = true;
    return st.as_of > e->changed + LOADED_S;
}

/* Released by hand: its outputs are stored all the same, for which it keeps its grant. */
static void ran_without_inputs(struct staged *e)
{
    str_copy(e->text, sizeof e->text,
             "it was released by hand, and ended before its inputs were there");
    staged_released(e);
    e->look = true;
}

static bool is_expired(const struct staged *e)
{
    return clock_now() - e->begun > e->s->a->conf.stage_days * 86400;
}

/* Its grant has ended. */
static void expire(struct staged *e)
{
    char text[100];
    snprintf(text, sizeof text, "not done within the %lld days that a grant lasts (stage_days)",
             (long long)e->s->a->conf.stage_days);
    for (size_t i = 0; i < e->n_units; i++)
        if (e->units[i]->state != STAGING_OVER)
            unit_over(e->units[i], ERR_TIMEOUT, text);
    e->run.left = false; /* nothing could sweep any more */
    staged_over(e, ERR_TIMEOUT, text);
}

static bool is_busy(const struct staged *e)
{
    return e->run.wanted || e->run.stager || stagers_undo(e->s->a->stagers, e->uid, e->id);
}

/* False: it is not there any more. */
static bool look(struct staged *e)
{
    struct seen v = {.e = e};
    const struct jobid id = {.kind = JOBID_PLAIN, .id = (uint32_t)e->job_id};
    e->look = false;
    table_find(e->s->a->table, &id, count, &v);
    bool gone = v.n == 0 && (e->seen || (e->restored && e->s->whole));
    switch (e->state) {
    case STAGING_SUBMITTING:
    case STAGING_SOUGHT:
    case STAGING_STORING:
    case STAGING_ABSENT:
        break;
    case STAGING_SUBMITTED:
        if (v.n)
            first_look(e, &v);
        else if (gone)
            look_at_end(e, &v, gone);
        break;
    case STAGING_FETCHING:
    case STAGING_RELEASING:
        e->none_held = v.n && v.held == 0;
        if (e->n_units && !e->busy && (!e->array || gone || v.open == 0))
            ran_without_inputs(e);
        else if (gone && e->state == STAGING_RELEASING && !e->busy)
            staged_released(e); /* the broker before may have; what came of it is to be seen */
        else if (gone || (v.n && v.open == 0))
            staged_over(e, ERR_NONE, "it ended before its inputs were there");
        else if (v.held < v.open && e->state == STAGING_FETCHING)
            released_by_hand(e);
        else if (v.n && v.held == 0 && !e->busy)
            staged_released(e);
        break;
    case STAGING_DROPPING:
        if (gone || (v.n && v.open == 0))
            staged_over(e, (enum err_code)e->code, NULL);
        break;
    case STAGING_RELEASED:
        staged_kept_release(e, &v);
        if (staged_lost_release(e, &v))
            staged_release_again(e);
        else
            look_at_end(e, &v, gone);
        break;
    case STAGING_OVER:
        if (v.open)
            staged_begin_again(e, v.submit_time);
        if (v.n == 0 && !e->seen) /* of a broker before; or not yet loaded */
            return is_busy(e) || !is_loaded_since(e);
        if (v.n == 0)
            return is_busy(e);
        break;
    }
    e->seen |= v.n > 0;
    if (v.n)
        e->was_open = v.open > 0;
    return true;
}

void staged_is_job(struct staged *e, int64_t job_id)
{
    staged_set_job(e, job_id);
    e->text[0] = '\0';
    if (e->state != STAGING_SUBMITTED)
        staged_set_state(e, STAGING_SUBMITTED);
    staged_note(e, NULL, NULL);
    e->look = true;
}

/* requests.c has seen it already: of two late jobs one is cancelled. */
static bool is_late_job(const struct staged *e, const struct jobrec *rec)
{
    const struct request *q = requests_find(e->s->a->requests, e->uid, e->id);
    struct request_row row;
    if (!q) /* the journal is not the one that knew it */
        return true;
    request_row(q, &row);
    return row.state == REQUEST_SUBMITTED && row.job_id == rec->group;
}

/* It began and ended before anybody looked. */
static void ran_at_once(struct staged *e, const struct jobrec *rec)
{
    e->submit_time = rec->submit_time;
    if (e->has_inputs)
        ran_without_inputs(e);
    else
        staged_released(e);
}

void staging_saw(struct staging *s, const struct jobrec *rec)
{
    struct staged *e = s && rec->keys.tag ? staged_of(s, rec) : NULL;
    if (!e)
        return;
    e->look = true;
    staged_lost_ends(e, rec);
    if (e->state == STAGING_SUBMITTING || (e->state == STAGING_ABSENT && is_late_job(e, rec)))
        staged_is_job(e, rec->group);
    if (e->state == STAGING_SUBMITTED && rec->ended && !(e->has_inputs && e->array) &&
        jobrec_ran(rec))
        ran_at_once(e, rec);
    if (e->state == STAGING_FETCHING && rec->ended && jobrec_ran(rec))
        released_by_hand(e);
    struct unit *u = unit_of(e, rec);
    bool requeued = u && u->submit_time != rec->submit_time;
    if (requeued || (u && u->state == STAGING_SOUGHT)) { /* it is seen all the same */
        run_stop(&u->run);
        unit_remove(e, u);
        u = NULL;
    }
    if (e->state == STAGING_OVER && rec->ended &&
        (requeued || (!e->array && rec->submit_time > e->submit_time)))
        staged_begin_again(e, rec->submit_time); /* and has run and ended since the last look */
    bool stores = rec->phase == PHASE_SUCCEEDED ? e->outputs_ok : e->outputs_failed;
    if (u || !rec->ended || rec->phase == PHASE_UNKNOWN || !stores || e->state < STAGING_FETCHING ||
        e->state > STAGING_RELEASED || !jobrec_ran(rec))
        return;
    if ((u = unit_add(e, rec)))
        unit_note(u);
    else
        log_err("no memory to store the outputs of job %s", rec->id);
}

bool staging_gone(struct staging *s, struct jobrec *rec)
{
    struct staged *e = s && rec->keys.tag ? staged_of(s, rec) : NULL;
    struct unit *u = e ? unit_of(e, rec) : NULL;
    if (!e)
        return s && !s->read && rec->phase == PHASE_STAGING_OUT && jobrecs_add(&s->kept, rec);
    e->look = true;
    return u && u->state == STAGING_STORING && u->submit_time == rec->submit_time &&
           jobrecs_add(&s->kept, rec);
}

void staging_put_back(struct staging *s)
{
    struct err err = {0};
    for (size_t i = 0; s && i < s->kept.n; i++) {
        struct jobrec *old = NULL;
        /* Its id may be another job's by now. */
        if (!table_get(s->a->table, s->kept.v[i]->job_id) &&
            table_put(s->a->table, jobrec_ref(s->kept.v[i]), &old, &err) < 0)
            log_err("%s", err.text);
        jobrec_unref(old);
    }
    if (s)
        jobrecs_clear(&s->kept);
}

/* All that is to be known of it from now on. */
static void forget(struct staged *e)
{
    struct staging_row row;
    staged_row(e, &row);
    verdicts_take(&e->s->verdicts, &row);
    for (size_t i = 0; i < e->n_units; i++) {
        unit_row(e, e->units[i], &row);
        verdicts_take(&e->s->verdicts, &row);
    }
    staged_remove(e);
}

void staging_loaded(struct staging *s, bool whole)
{
    struct staged *e, *next;
    if (!s)
        return;
    if (staging_note_boot(s) || (whole && !s->whole)) {
        s->whole |= whole;
        TAILQ_FOREACH(e, &s->all, in_all)
        e->look = true;
    }
    for (e = TAILQ_FIRST(&s->all); e; e = next) {
        next = TAILQ_NEXT(e, in_all);
        if (e->look && !look(e))
            forget(e);
    }
}

/* ---- cancels ---- */

struct cancelling {
    struct staging *s;
    uint32_t uid;
    struct jobrecs recs;
};

static int gather_mine(void *arg, struct jobrec *rec)
{
    struct cancelling *c = arg;
    return rec->keys.uid != c->uid || jobrecs_add(&c->recs, rec) ? 0 : -1;
}

void staging_cancel(struct staging *s, uint32_t uid, const char *id)
{
    struct cancelling c = {.s = s, .uid = uid};
    struct jobid parsed;
    struct err ignored = {0};
    if (!s || jobid_parse(id, &parsed, &ignored) < 0)
        return;
    table_find(s->a->table, &parsed, gather_mine, &c);
    for (size_t i = 0; i < c.recs.n; i++) {
        struct staged *e = staged_of(s, c.recs.v[i]);
        struct unit *u = e ? unit_of(e, c.recs.v[i]) : NULL;
        if (u && u->state == STAGING_STORING)
            unit_over(u, ERR_INTERRUPTED, "cancelled while they were being stored");
    }
    jobrecs_clear(&c.recs);
}

/* ---- time ---- */

/* What is to go on, but waits for the journal, a grant or a worker. */
static void step(struct staged *e, int64_t now)
{
    struct err ignored = {0};
    if (!e->begun_fn && e->state != STAGING_OVER && is_expired(e)) {
        expire(e);
        e->look = true;
        return;
    }
    if (e->state == STAGING_SUBMITTING || e->state == STAGING_ABSENT ||
        (e->state == STAGING_SUBMITTED && !e->seen)) {
        staged_ask_request(e, now);
        return;
    }
    if (e->unwritten && now - e->asked_ms > STAGING_ASK_MS) {
        e->unwritten = false;
        staged_note(e, run_on_whole, e->s);
    } else if (e->state == STAGING_RELEASING && e->seen && !e->busy && !e->run.wanted &&
               !e->run.stager)
        run_want(&e->run, STAGE_OP_release); /* the release may be the one of a broker before */
    else if (e->state == STAGING_FETCHING && e->seen && !e->run.wanted && !e->run.stager)
        run_want(&e->run, STAGE_OP_in);
    else if (e->state == STAGING_DROPPING && !e->run.wanted && !e->run.stager &&
             now - e->asked_ms > STAGING_ASK_MS) {
        e->asked_ms = now;
        run_want(&e->run, STAGE_OP_cancel);
    } else if (e->state == STAGING_RELEASED && e->sought)
        staged_seek_on(e, now);
    bool needs = e->run.wanted && !e->run.stager;
    run_pump(&e->run, now);
    for (size_t i = 0; i < e->n_units; i++) {
        needs |= e->units[i]->run.wanted && !e->units[i]->run.stager;
        run_pump(&e->units[i]->run, now);
    }
    if (needs && e->grant_lost && !e->grant_serial && now - e->asked_ms > STAGING_GRANT_MS)
        staged_ask_grant(e, &ignored); /* its user may be here now */
}

static int gather_tagged(void *arg, struct jobrec *rec)
{
    return (uint32_t)rec->keys.tag < REQUEST_TAGS || jobrecs_add(arg, rec) ? 0 : -1;
}

/* Jobs that slurmctld showed while the journal could not be read: only now it is known whose data
 * is to be moved.  Those that have ended come from the watcher no more. */
static void see_table(struct staging *s)
{
    struct jobrecs recs = {0};
    if (table_each(s->a->table, 0, gather_tagged, &recs) < 0)
        log_err("no memory to look which jobs have outputs to be stored");
    s->seeing = true;
    for (size_t i = 0; i < recs.n; i++) {
        const struct staged *e = staged_of(s, recs.v[i]);
        struct jobrec *raw = e && e->restored && !e->seen ? staging_raw(recs.v[i]) : NULL;
        if (raw)
            staging_saw(s, raw);
        jobrec_unref(raw);
    }
    s->seeing = false;
    for (size_t i = 0; i < recs.n; i++)
        watch_retell(s->a->watch, recs.v[i]->job_id);
    jobrecs_clear(&recs);
}

static void on_rows(void *arg, const struct staging_row *rows, size_t n, const struct err *err)
{
    struct staging *s = arg;
    if (err->code != ERR_NONE) {
        log_warning("staged jobs cannot be read from the journal: %s", err->text);
        s->openings = 0;
        return;
    }
    size_t before = s->count;
    bool first = !s->read;
    for (size_t i = 0; i < n; i++)
        if (rows[i].task != STAGING_JOB || !staged_find(s, rows[i].uid, rows[i].id))
            if (staged_restore(s, &rows[i]) < 0)
                log_warning("a staged job in the journal, of uid %u, cannot be read", rows[i].uid);
    s->read = true;
    if (s->count > before)
        log_notice("%zu staged jobs of before", s->count - before);
    if (first || s->count > before)
        see_table(s);
}

/* Made anew, or first opened, while we run: what we know is noted there as well. */
static void look_at_journal(struct staging *s, int64_t now)
{
    struct staged *e;
    int64_t openings = journal_openings(s->a->journal);
    if (openings == s->openings || now - s->read_ms < STAGING_ASK_MS)
        return;
    s->openings = openings;
    s->read_ms = now;
    TAILQ_FOREACH(e, &s->all, in_all)
    {
        struct staging_row row;
        staged_row(e, &row);
        row.manifest = e->manifest;
        journal_staging_note(s->a->journal, &row, 1, NULL, NULL);
        for (size_t i = 0; i < e->n_units; i++)
            unit_note(e->units[i]);
    }
    journal_staging_open(s->a->journal, on_rows, s);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *arg)
{
    struct staging *s = arg;
    struct staged *e, *next;
    int64_t now = clock_mono_ms();
    look_at_journal(s, now);
    stagers_tick(s->a->stagers);
    for (e = TAILQ_FIRST(&s->all); e; e = next) {
        next = TAILQ_NEXT(e, in_all);
        step(e, now);
    }
    staging_loaded(s, false);
    sd_event_source_set_time(source, usec + TICK_US);
    return 0;
}

struct staging *staging_new(struct agentd *a, struct err *err)
{
    struct staging *s = calloc(1, sizeof *s);
    uint64_t now;
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    if (!s || sd_event_add_time(a->loop, &s->tick, CLOCK_MONOTONIC, now + TICK_US, 20000, on_tick,
                                s) < 0) {
        err_set(err, ERR_INTERNAL, "no memory");
        free(s);
        return NULL;
    }
    sd_event_source_set_enabled(s->tick, SD_EVENT_ON);
    TAILQ_INIT(&s->all);
    verdicts_init(&s->verdicts);
    s->a = a;
    s->openings = journal_openings(a->journal);
    s->alive_first = journal_alive(a->journal);
    journal_staging_first(a->journal, on_rows, s);
    return s;
}

void staging_free(struct staging *s)
{
    if (!s)
        return;
    while (!TAILQ_EMPTY(&s->all))
        staged_remove(TAILQ_FIRST(&s->all));
    verdicts_done(&s->verdicts);
    jobrecs_clear(&s->kept);
    sd_event_source_disable_unref(s->tick);
    free(s);
}
