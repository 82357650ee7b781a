/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is told of a staged job: Slurm's record with the phase, and the words, that its data gives.
 */
#include <stdio.h>
#include <string.h>

#include "agentd/outcome.h"
#include "agentd/request_tag.h"
#include "agentd/staging_impl.h"
#include "common/clock.h"
#include "common/str.h"

static const char *amount(const struct run *r, struct arena *arena)
{
    enum { MIB = 1 << 20 };
    if (r->bytes_total < MIB)
        return arena_printf(arena, "%lld of %lld files, %lld of %lld bytes", (long long)r->files,
                            (long long)r->files_total, (long long)r->bytes,
                            (long long)r->bytes_total);
    return arena_printf(arena, "%lld of %lld files, %.1f of %.1f MiB", (long long)r->files,
                        (long long)r->files_total, (double)r->bytes / MIB,
                        (double)r->bytes_total / MIB);
}

/* What a stage worker is doing, or why none does. */
static const char *progress(const struct run *r, const char *what, struct arena *arena)
{
    if (*r->trouble)
        return arena_printf(arena, "%s: tried again soon: %s", what, r->trouble);
    if (!r->stager && run_waits_for_bytes(r))
        return arena_printf(arena, "%s: waiting until your other jobs' data has been moved", what);
    if (!r->stager)
        return arena_printf(arena, "%s: waiting for a stage worker", what);
    return r->files_total ? arena_printf(arena, "%s: %s", what, amount(r, arena))
                          : arena_printf(arena, "%s: looking what there is", what);
}

static void tell_run(struct job *j, const struct run *r)
{
    j->staged_files = r->files;
    j->stage_files = r->files_total;
    j->staged_bytes = r->bytes;
    j->stage_bytes = r->bytes_total;
}

static enum phase tell_fetching(const struct staged *e, bool held, struct job *j, enum phase phase,
                                struct arena *arena)
{
    const char *text = progress(&e->run, "inputs", arena);
    if (e->state == STAGING_RELEASING)
        text = "inputs: whole, the job is being released";
    else if (e->state == STAGING_DROPPING)
        text = arena_printf(arena, "%s: the job is being cancelled", e->text);
    else if (e->state < STAGING_FETCHING)
        text = "inputs: not begun";
    if (e->by_hand && !held)
        text = arena_printf(arena, "released by hand before its inputs were there; %s",
                            str_or(text, ""));
    else if (e->held && e->state <= STAGING_FETCHING)
        text = arena_printf(arena, "%s; held then, as its user wants it", str_or(text, ""));
    j->staging = text;
    tell_run(j, &e->run);
    return phase == PHASE_QUEUED ? PHASE_STAGING_IN : phase;
}

static enum phase tell_dropped(const char *text, struct job *j, enum phase phase)
{
    j->staging = text;
    if (phase != PHASE_CANCELLED && phase != PHASE_SUCCEEDED)
        return phase;
    j->outcome = text;
    return PHASE_FAILED;
}

static enum phase tell_stored(int64_t code, const char *text, struct job *j, enum phase phase,
                              struct arena *arena)
{
    j->staging = arena_printf(arena, "outputs: %s", text);
    if (code == 0)
        return phase;
    if (phase == PHASE_SUCCEEDED) {
        j->outcome = text;
        return code == ERR_INTERRUPTED ? PHASE_CANCELLED : PHASE_FAILED;
    }
    j->outcome = arena_printf(arena, "%s; outputs: %s", str_or(j->outcome, "failed"), text);
    return phase;
}

/* slurmdbd says it to who asks, and has not said it to us yet. */
static enum phase tell_sought(const struct staged *e, struct job *j, enum phase phase,
                              struct arena *arena)
{
    if (!(phase == PHASE_SUCCEEDED ? e->outputs_ok : e->outputs_failed))
        return phase;
    j->staging =
        *e->run.trouble
            ? arena_printf(arena, "outputs: slurmdbd is asked how it ended: %s", e->run.trouble)
            : "outputs: slurmdbd is asked how it ended";
    return PHASE_STAGING_OUT;
}

static enum phase tell_verdict(const struct verdict *v, struct job *j, enum phase phase,
                               struct arena *arena)
{
    if (!phase_ended(phase))
        return phase;
    return v->task == STAGING_JOB ? tell_dropped(v->text, j, phase)
                                  : tell_stored(v->code, v->text, j, phase, arena);
}

static const char *by_hand(const struct staged *e, const char *text, struct arena *arena)
{
    return e->by_hand && !e->array
               ? arena_printf(arena, "%s; it was released by hand before its inputs were there",
                              text)
               : text;
}

static enum phase judge(const struct staged *e, const struct jobrec *rec, struct job *j,
                        enum phase phase, struct arena *arena)
{
    const struct unit *u = unit_of(e, rec);
    if (!u && e->sought) /* of the whole array nothing more is known */
        u = unit_of_task(e, JOBREC_NO_TASK);
    if (u && u->state == STAGING_SOUGHT && phase_ended(phase))
        return tell_sought(e, j, phase, arena);
    if (u && phase_ended(phase)) {
        tell_run(j, &u->run);
        if (u->state == STAGING_OVER)
            return tell_stored(u->code, by_hand(e, u->text, arena), j, phase, arena);
        j->staging = progress(&u->run, "outputs", arena);
        return PHASE_STAGING_OUT;
    }
    if (e->state == STAGING_OVER && e->code > 0)
        return tell_dropped(e->text, j, phase);
    if (e->has_inputs && e->state < STAGING_RELEASED && !phase_ended(phase))
        return tell_fetching(e, rec->held, j, phase, arena);
    if (e->state == STAGING_DROPPING)
        return phase_ended(phase) ? tell_dropped(e->text, j, phase)
                                  : tell_fetching(e, rec->held, j, phase, arena);
    if (e->has_inputs) {
        j->staging = *e->text ? e->text : NULL;
        tell_run(j, &e->run);
    }
    return phase;
}

/* Nobody knows yet whether it has outputs that are to be stored, or was cancelled by us because its
 * inputs could not be had. */
static enum phase tell_unread(const struct jobrec *rec, struct job *j, enum phase phase)
{
    bool may_be_ours = (uint32_t)rec->keys.tag >= REQUEST_TAGS &&
                       (jobrec_ran(rec) || (phase == PHASE_CANCELLED && !rec->in_het));
    if (!phase_ended(phase) || !may_be_ours)
        return phase;
    j->staging = "outputs: whether any are to be stored is known when the journal can be read";
    return PHASE_STAGING_OUT;
}

/* As Slurm has it: what was told before may be ours. */
static int unpack_raw(const struct jobrec *rec, struct arena *arena, struct job *out)
{
    struct err err = {0};
    if (msg_unpack(&job_type, rec->packed, arena, MSG_LENIENT, out, &err) < 0)
        return -1;
    out->outcome = out->staging = NULL;
    outcome_fill(out, clock_now(), arena);
    return 0;
}

/* Ours, not Slurm's. */
static bool was_told(const struct jobrec *rec)
{
    return rec->phase == PHASE_STAGING_IN || rec->phase == PHASE_STAGING_OUT;
}

struct jobrec *staging_raw(struct jobrec *rec)
{
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    if (!was_told(rec))
        return jobrec_ref(rec);
    return unpack_raw(rec, &arena, &j) < 0 ? NULL : jobrec_of(&j, &err);
}

struct jobrec *staging_tell(struct staging *s, struct jobrec *rec)
{
    bool may = s && rec->phase != PHASE_UNKNOWN;
    const struct staged *e = may ? staged_of(s, rec) : NULL;
    const struct verdict *v = may && !e ? verdicts_find(&s->verdicts, rec) : NULL;
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    struct job j;
    bool as_it_is = !e && !v && (!may || (s->read && !was_told(rec)));
    if (as_it_is || unpack_raw(rec, &arena, &j) < 0)
        return rec;
    enum phase phase = phase_find(j.phase);
    j.phase = phase_word(e         ? judge(e, rec, &j, phase, &arena)
                         : v       ? tell_verdict(v, &j, phase, &arena)
                         : s->read ? phase
                                   : tell_unread(rec, &j, phase));
    struct jobrec *told = jobrec_of(&j, &err);
    if (!told)
        return rec;
    jobrec_unref(rec);
    return told;
}
