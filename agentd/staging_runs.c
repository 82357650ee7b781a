/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stage workers do for staged jobs: begun when there is room, tried again, given up. */
#include <stdio.h>
#include <string.h>

#include "agentd/journal.h"
#include "agentd/monlink.h"
#include "agentd/stagers.h"
#include "agentd/staging_impl.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    DEATHS_MAX = 5, /* of workers, one after the other */
    RETRY_FIRST_MS = 500,
    RETRY_MAX_MS = 30000,
    ACT_MAX_MS = 60000, /* slurmctld may refuse one job for good, and takes seconds to say so */
    CLOCKS_S = 60,      /* slurmctld's clock may be so far behind */
    SLACK_MS = 10000,   /* the worker itself gives up at its deadline */
};

/* ---- what is to be done ---- */

static bool moves(enum stage_op op)
{
    switch (op) {
#define SOP(name, number, moves_data, help)                                                        \
    case STAGE_OP_##name:                                                                          \
        return moves_data;
#include "agentd/stage_ops.def"
#undef SOP
    }
    return false;
}

static void run_retell(struct run *r)
{
    if (r->unit)
        watch_retell(r->job->s->a->watch, r->unit->job_id);
    else if (!r->job->array) /* of an array, how far it is shows with the next load */
        staged_retell(r->job);
}

void run_stop(struct run *r)
{
    r->wanted = false;
    if (r->stager)
        stager_stop(TAKE(r->stager));
}

void run_want(struct run *r, enum stage_op op)
{
    r->op = op;
    r->wanted = true;
    r->since_ms = r->retry_ms = 0;
    r->tries = r->deaths = 0;
    r->trouble[0] = '\0';
    if (moves(op)) /* else it stays how far that was */
        r->files = r->files_total = r->bytes = r->bytes_total = 0;
}

/* What becomes of it is its user's to say from then on. */
static bool is_users(const struct staged *e)
{
    return e->by_hand && e->none_held;
}

static void tell_inputs(struct staged *e, const char *text)
{
    snprintf(e->text, sizeof e->text, "inputs: %.400s%s%s", str_or(text, "whole"),
             !e->by_hand ? ""
             : e->array  ? "; tasks were released by hand before they were there"
                         : "; it was released by hand before they were there",
             e->held && !is_users(e) ? "; held, as its user wants it" : "");
}

/* It may be running: it is not ended, but told. */
static void inputs_failed(struct staged *e, const char *text)
{
    tell_inputs(e, text);
    staged_say(e, LOG_LEVEL_NOTICE, e->text);
    staged_released(e);
}

static void run_failed(struct run *r, enum err_code code, const char *text)
{
    r->left &= r->op != STAGE_OP_sweep;
    if (r->unit)
        unit_over(r->unit, code, text);
    else if (r->op == STAGE_OP_in && is_users(r->job))
        inputs_failed(r->job, text);
    else if (r->op == STAGE_OP_in)
        staged_drop(r->job, code, text);
    else
        run_stop(r);
    if (r->op == STAGE_OP_ended)
        staged_ends_unknown(r->job, text);
}

static void try_again(struct run *r, const struct err *err, int64_t ms)
{
    if (r->stager)
        stager_stop(TAKE(r->stager));
    r->wanted = true;
    r->retry_ms = clock_mono_ms() + ms;
    str_copy(r->trouble, sizeof r->trouble, err->text);
    run_retell(r);
}

/* Half of it is chance: those that failed together do not come back together. */
static int64_t back_off_ms(const struct run *r)
{
    int64_t ms = RETRY_FIRST_MS, most = moves(r->op) ? RETRY_MAX_MS : ACT_MAX_MS;
    uint32_t chance;
    for (unsigned i = 0; i < r->tries && ms < most; i++)
        ms *= 2;
    if (ms > most)
        ms = most;
    seal_random(&chance, sizeof chance);
    return ms / 2 + chance % (ms / 2 + 1);
}

/* ---- what workers say ---- */

static void make_task(const struct run *r, struct stage_task *out)
{
    const struct staged *e = r->job;
    const struct unit *u = r->unit;
    *out = (struct stage_task){
        .manifest = moves(r->op) ? e->manifest : (struct bytes){NULL, 0},
        .job_id = e->job_id,
        .attempt = e->attempt,
        .task = u && u->task != JOBREC_NO_TASK ? (int64_t)u->task : MANIFEST_NO_TASK,
        .task_id = u ? u->job_id : 0,
        .failed = u && u->failed,
        .since = e->begun - CLOCKS_S > 0 ? e->begun - CLOCKS_S : 0,
    };
}

/* The journal knows that the inputs are whole: another broker would not fetch them again, nor take
 * the job for one that others have released. */
void run_on_whole(void *arg, const struct staging_row *rows, size_t n, const struct err *err)
{
    struct staging *s = arg;
    struct err mine = {0};
    struct stage_task task;
    struct staged *e = n ? staged_find(s, rows->uid, rows->id) : NULL;
    if (!e || !e->busy)
        return;
    if (err->code != ERR_NONE) {
        e->unwritten = true;
        e->asked_ms = clock_mono_ms();
        return;
    }
    e->busy = false;
    if (e->state != STAGING_RELEASING || !e->run.stager)
        return;
    make_task(&e->run, &task);
    if (stager_ask(e->run.stager, STAGE_OP_release, &task, &mine) < 0)
        try_again(&e->run, &mine, RETRY_FIRST_MS);
}

void run_release(struct staged *e)
{
    e->run.op = STAGE_OP_release;
    staged_set_state(e, STAGING_RELEASING);
    e->busy = true;
    staged_note(e, run_on_whole, e->s);
    staged_retell(e);
}

static void inputs_whole(struct staged *e, const char *text)
{
    tell_inputs(e, text);
    if (e->held || is_users(e)) {
        staged_released(e);
        return;
    }
    run_release(e);
}

static void run_done(struct run *r, const struct stage_report *rep)
{
    struct staged *e = r->job;
    r->tries = r->deaths = 0;
    r->trouble[0] = '\0';
    if (r->unit) {
        unit_over(r->unit, ERR_NONE, str_or(rep->text, "stored"));
    } else if (r->op == STAGE_OP_in) {
        r->wanted = false; /* the worker stays, for the release */
        inputs_whole(e, rep->text);
    } else if (r->op == STAGE_OP_release) {
        staged_released(e);
    } else if (r->op == STAGE_OP_ended) {
        staged_ends_found(e, rep);
        run_stop(r); /* and what it said goes with it */
    } else {
        run_stop(r);
        r->left = false;
        if (e->state == STAGING_OVER)
            monlink_revoke(e->s->a->monitor, e->uid, e->id);
        e->look = true;
        watch_load(e->s->a->watch, (uint32_t)e->job_id, NULL);
    }
}

static bool is_late(const struct run *r)
{
    return moves(r->op) && r->since_ms && clock_mono_ms() - r->since_ms >= r->job->timeout_s * 1000;
}

/* The worker's own answer. */
static void run_refused(struct run *r, const struct err *err)
{
    struct staged *e = r->job;
    bool bad, again = err_retry(err->code) && err->code != ERR_TIMEOUT && !is_late(r);
    r->tries++;
    r->deaths = 0;
    if (!r->unit && r->op == STAGE_OP_release && err->code == ERR_DENIED) {
        str_copy(e->text + strlen(e->text), sizeof e->text - strlen(e->text),
                 "; held by an administrator");
        staged_released(e);
    } else if (r->op == STAGE_OP_ended && !err_retry(err->code)) {
        run_failed(r, err->code, err->text);
    } else if (!moves(r->op) && err->code == ERR_NOT_FOUND) {
        run_stop(r);
        if (e->state == STAGING_DROPPING && staged_ends_over(e, &bad))
            staged_over(e, (enum err_code)e->code, NULL);
        e->look = true;
    } else if (again || !moves(r->op)) {
        try_again(r, err, back_off_ms(r));
    } else {
        run_failed(r, err->code, err->text);
    }
}

static void on_stager(void *arg, enum stager_news news, const struct stage_report *rep,
                      const struct err *err)
{
    struct run *r = arg;
    run_count(r, news, rep, err);
    if (news == STAGER_PROGRESS || news == STAGER_DONE) {
        if (moves(r->op) && (rep->files_total || rep->bytes_total)) {
            r->files = rep->files;
            r->files_total = rep->files_total;
            r->bytes = rep->bytes;
            r->bytes_total = rep->bytes_total;
        }
        if (news == STAGER_DONE)
            run_done(r, rep);
        else
            run_retell(r);
        return;
    }
    if (news == STAGER_FAILED) {
        run_refused(r, err);
        return;
    }
    r->stager = NULL;
    r->tries += news == STAGER_DIED;
    if (news == STAGER_REFUSED && err->code == ERR_DENIED) {
        r->job->grant_lost = true;
        try_again(r, err, STAGING_GRANT_MS);
    } else if (news == STAGER_REFUSED && !err_retry(err->code)) {
        run_failed(r, err->code, err->text);
    } else if (news == STAGER_REFUSED) {
        try_again(r, err, 1000);
    } else if (++r->deaths < DEATHS_MAX ||
               r->op == STAGE_OP_ended) { /* slurmdbd may hang for long */
        r->left = moves(r->op);
        try_again(r, err, back_off_ms(r));
    } else {
        struct err many = {0};
        err_set(&many, ERR_INTERNAL, "%u stage workers ended in the middle of it", r->deaths);
        r->deaths = 0;
        run_failed(r, many.code, many.text);
    }
}

/* Those under way have all of their user's share. */
bool run_waits_for_bytes(const struct run *r)
{
    const struct agentd *a = r->job->s->a;
    return moves(r->op) &&
           stagers_left_of(a->stagers, r->job->uid) >= a->conf.max_stage_gib_per_user << 30;
}

/* What has failed before leaves one worker of its user, if there are two, to what has not: a store
 * that is down, or a slurmctld that does not let some jobs go, holds up no other transfer. */
static bool may_begin(const struct run *r)
{
    const struct agentd *a = r->job->s->a;
    uint32_t uid = r->job->uid;
    size_t most = (size_t)a->conf.stage_workers_per_user;
    return !run_waits_for_bytes(r) &&
           stagers_count(a->stagers) < (size_t)a->conf.max_stage_workers &&
           stagers_of(a->stagers, uid) < most &&
           (!r->tries || most == 1 || stagers_again_of(a->stagers, uid) < most - 1);
}

void run_pump(struct run *r, int64_t now)
{
    struct staged *e = r->job;
    struct stage_task task;
    struct err err = {0};
    if (r->since_ms && moves(r->op) && now - r->since_ms > e->timeout_s * 1000 + SLACK_MS &&
        (r->stager || r->wanted)) {
        char text[100];
        snprintf(text, sizeof text, "%s not done within %lld s", r->unit ? "outputs" : "inputs",
                 (long long)e->timeout_s);
        run_failed(r, ERR_TIMEOUT, text);
        return;
    }
    if (!r->wanted || r->stager || now < r->retry_ms || e->busy || !may_begin(r))
        return;
    make_task(r, &task);
    r->stager = stagers_start(e->s->a->stagers, e->uid, e->id, r->op, &task, r->tries > 0,
                              on_stager, r, &err);
    if (!r->stager) {
        try_again(r, &err, 1000);
        return;
    }
    if (!r->since_ms)
        r->since_ms = now;
    r->trouble[0] = '\0';
    run_retell(r);
}
