/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_follow.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"

enum {
    CHECK_MS = 1000, /* while it is not known whether all jobs have ended */
    SETTLE_S = 10,   /* for the server's journal to have the ends that it tells */
    AT_ONCE_MS = 1,
};

CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct sagent_events, sagent_events_free)

/* ---- outages ---- */

static void on_outage(void *arg, const struct sagent_error *err)
{
    struct cli_outage *o = arg;
    if (err && !o->out)
        cli_say("note: %s; trying again", err->text);
    else if (!err && o->out)
        cli_say("note: the server answers again");
    o->out = err != NULL;
}

void cli_outage_watch(struct cli_outage *o, struct cli *cli)
{
    cli->options.on_outage = on_outage;
    cli->options.on_outage_arg = o;
}

void cli_outage_stale(struct cli_outage *o, bool stale, int64_t as_of, const char *note)
{
    if (stale && !o->stale)
        cli_say_stale(as_of, note);
    else if (!stale && o->stale)
        cli_say("note: slurmctld answers again");
    o->stale = stale;
}

/* ---- how jobs ended ---- */

static bool is_phase(const struct sagent_job *job, const char *phase)
{
    return str_eq(job->phase, phase);
}

int cli_job_status(const struct sagent_job *job)
{
    if (!sagent_job_ended(job))
        return 0;
    /* REVOKED: it runs on another cluster, and how it ends is not known here. */
    if (is_phase(job, "UNKNOWN") || is_phase(job, "REVOKED"))
        return CLI_MISSING;
    /* slurmstepd's word for files that could not be opened: no signal */
    if (job->exit_signal && job->exit_signal != 53)
        return 128 + (int)(job->exit_signal & 0x7f);
    if (job->exit_code)
        return (int)(job->exit_code & 0xff);
    return is_phase(job, "SUCCEEDED") ? 0 : CLI_FAILED;
}

int cli_job_start_status(const struct sagent_job *job)
{
    bool started = job->nodes && *job->nodes;
    return started && !is_phase(job, "UNKNOWN") ? 0 : cli_job_status(job);
}

int cli_jobs_status(const struct sagent_jobs *jobs, enum sagent_until until)
{
    int status = sagent_jobs_missing_count(jobs) ? CLI_MISSING : 0;
    for (size_t i = 0; i < sagent_jobs_count(jobs) && until != SAGENT_UNTIL_CHANGE; i++) {
        const struct sagent_job *job = sagent_jobs_at(jobs, i);
        int one = until == SAGENT_UNTIL_START ? cli_job_start_status(job) : cli_job_status(job);
        if (one > status)
            status = one;
    }
    return status;
}

const char *cli_job_exit(const struct sagent_job *job, char out[CLI_TEXT])
{
    *out = '\0';
    if (!sagent_job_ended(job) || is_phase(job, "UNKNOWN") || is_phase(job, "REVOKED"))
        return out;
    bool none = job->exit_code == 0 && !is_phase(job, "SUCCEEDED");
    if (job->exit_signal)
        snprintf(out, CLI_TEXT, "signal %lld", (long long)job->exit_signal);
    else if (!none)
        cli_number(job->exit_code, out);
    return out;
}

char *cli_job_remark(const struct sagent_job *job)
{
    char *text = NULL;
    int rc;
    if (sagent_job_ended(job))
        rc = asprintf(&text, "%s", str_or(job->outcome, ""));
    else if (is_phase(job, "STAGING_IN") || is_phase(job, "STAGING_OUT"))
        rc = asprintf(&text, "(%s)", str_or(job->staging, ""));
    else if (str_eq(job->state, "PENDING"))
        rc = job->reason ? asprintf(&text, "(%s)", job->reason) : asprintf(&text, "%s", "");
    else
        rc = asprintf(&text, "%s%s", job->nodes ? "on " : "", str_or(job->nodes, ""));
    if (rc < 0)
        cli_no_memory();
    return text;
}

/* ---- events ---- */

static const char *state_after(const struct sagent_event *e)
{
    return cli_job_state(e->job);
}

char *cli_event_line(const struct sagent_event *e, const char *arrow)
{
    char *line = NULL, time[CLI_TEXT];
    const char *state = state_after(e);
    /* Of one that was missed the state is the one it was last seen in. */
    const char *was = !e->was && str_eq(state, "UNKNOWN") ? e->job->state : e->was;
    bool moved = was && !str_eq(was, state);
    AUTO(free) char *remark = cli_job_remark(e->job);
    if (asprintf(&line, "%s  %-10s  %s%s%s%s%s  %s%s%s", cli_time(e->time, time), e->job->id,
                 moved ? was : "", moved ? " " : "", moved ? arrow : "", moved ? " " : "", state,
                 str_or(e->job->name, ""), *remark ? "  " : "", remark) < 0)
        cli_no_memory();
    return str_printable(line);
}

static bool may_end_it_all(const struct sagent_events *e)
{
    for (size_t i = 0; i < sagent_events_count(e); i++)
        if (sagent_job_ended(sagent_events_at(e, i)->job))
            return true;
    return sagent_events_reset(e);
}

static int next_answer(struct cli_follow *f, int wait_ms, struct sagent_events **ret,
                       struct sagent_error *err)
{
    f->request.wait_ms = wait_ms;
    f->request.cursor = f->cursor;
    if (sagent_events(f->s, &f->request, ret, err) < 0)
        return -1;
    char *cursor = strdup(sagent_events_cursor(*ret));
    if (!cursor)
        cli_no_memory();
    if (sagent_events_count(*ret) || sagent_events_reset(*ret))
        f->tell(f->arg, *ret, f->cursor);
    free(f->cursor);
    f->cursor = cursor;
    cli_outage_stale(f->outage, sagent_events_stale(*ret), sagent_events_as_of(*ret),
                     sagent_events_note(*ret));
    const char *note = sagent_events_stale(*ret) ? NULL : sagent_events_note(*ret);
    if (f->notes && note && !f->said_note)
        cli_say("note: %s", note);
    f->said_note |= note != NULL;
    f->look |= may_end_it_all(*ret);
    return 0;
}

static void note_missing(struct cli_follow *f, const struct sagent_jobs *jobs)
{
    size_t n = sagent_jobs_missing_count(jobs);
    for (size_t i = 0; i < n && !f->said_missing; i++)
        cli_say_missing(sagent_jobs_missing(jobs, i));
    f->said_missing = true;
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        n += is_phase(sagent_jobs_at(jobs, i), "UNKNOWN");
    f->missing = n > 0;
}

/* Have all of them ended?  1, 0, or -1 with *err.  The second question is there because an end is
 * told only when the server's journal has it. */
static int all_ended(struct cli_follow *f, struct sagent_error *err)
{
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL, *waited = NULL;
    const struct sagent_wait_request wait = {
        .ids = f->request.ids, .id_count = f->request.id_count, .timeout_s = SETTLE_S};
    if (sagent_get(f->s, f->request.ids, f->request.id_count, &jobs, err) < 0)
        return -1;
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        if (!sagent_job_ended(sagent_jobs_at(jobs, i))) {
            f->look = false;
            return 0;
        }
    if (sagent_wait(f->s, &wait, &waited, err) < 0)
        return -1;
    if (!sagent_jobs_done(waited))
        return 0;
    note_missing(f, waited);
    return 1;
}

static int drain(struct cli_follow *f, struct sagent_error *err)
{
    for (;;) {
        AUTO(sagent_events_free) struct sagent_events *e = NULL;
        if (next_answer(f, AT_ONCE_MS, &e, err) < 0)
            return -1;
        if (sagent_events_count(e) == 0)
            return 0;
    }
}

int cli_follow(struct cli_follow *f, struct sagent_error *err)
{
    /* A place in the events first: what happens from here on is not missed, come what may. */
    bool first = !f->cursor;
    if (first && f->request.cursor && !(f->cursor = strdup(f->request.cursor)))
        cli_no_memory();
    f->look |= first;
    for (;;) {
        bool look = f->until_end && f->look;
        AUTO(sagent_events_free) struct sagent_events *e = NULL;
        if (next_answer(f, first ? AT_ONCE_MS : look ? CHECK_MS : 0, &e, err) < 0) {
            if (err->retry && f->outage->out)
                continue; /* it has been tried for a while, and we have for ever */
            return -1;
        }
        first = false;
        if (!f->until_end || !f->look)
            continue;
        int ended = all_ended(f, err);
        if (ended > 0)
            return drain(f, err);
        if (ended < 0 && !err->retry)
            return -1;
    }
}

void cli_follow_done(struct cli_follow *f)
{
    free(f->cursor);
    f->cursor = NULL;
}
