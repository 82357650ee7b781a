/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/requests_env.h"

#include <stdlib.h>
#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/staging.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/clock.h"
#include "common/log.h"

enum { TICK_US = 250000, RECENT_S = 3600 };

struct requests_glue {
    sd_event_source *tick;
    int64_t openings; /* of the journal, that were read */
};

/* ---- what requests.c asks for ---- */

static void begin(void *arg, const struct request_row *want, journal_requests_fn fn, void *fn_arg)
{
    struct agentd *a = arg;
    journal_request_begin(a->journal, want, fn, fn_arg);
}

static void note(void *arg, const struct request_row *rows, size_t n, journal_requests_fn fn,
                 void *fn_arg)
{
    struct agentd *a = arg;
    journal_request_note(a->journal, rows, n, fn, fn_arg);
}

static void load_anew(void *arg)
{
    struct agentd *a = arg;
    watch_load_anew(a->watch);
}

/* An end is one for a request, whatever is still to be stored. */
static int show(void *arg, struct jobrec *rec)
{
    struct jobrec *raw = staging_raw(rec);
    requests_saw(arg, raw ? raw : rec);
    jobrec_unref(raw);
    return 0;
}

static void show_table(void *arg)
{
    struct agentd *a = arg;
    table_each(a->table, 0, show, a->requests);
}

struct wanted {
    uint32_t uid;
    int64_t tag;
};

static int is_it(void *arg, struct jobrec *rec)
{
    const struct wanted *w = arg;
    return rec->keys.uid == w->uid && rec->keys.tag == w->tag ? -1 : 0;
}

static bool is_there(void *arg, uint32_t uid, int64_t job_id, int64_t tag)
{
    struct agentd *a = arg;
    struct wanted w = {uid, tag};
    struct jobid id = {.kind = JOBID_PLAIN, .id = (uint32_t)job_id};
    return table_find(a->table, &id, is_it, &w) < 0;
}

static bool may_act(void *arg, uint32_t uid, uint32_t worker)
{
    struct agentd *a = arg;
    return workers_ending(a->workers, uid, worker);
}

static void on_cancelled(void *arg, const struct worker_answer *answer)
{
    (void)arg;
    if (answer->err.code != ERR_NONE)
        log_warning("a late twin could not be cancelled: %s", answer->err.text);
}

static void cancel(void *arg, uint32_t uid, int64_t job_id, int64_t submit_time)
{
    struct agentd *a = arg;
    char id[24];
    const char *ids[] = {id};
    struct control_request req = {
        .verb = "cancel", .ids = {ids, 1}, .submit_times = {&submit_time, 1}};
    struct err err = {0};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    snprintf(id, sizeof id, "%lld", (long long)job_id);
    if (!out)
        return;
    msg_pack(&control_request_type, &req, out);
    if (workers_insist(a->workers, uid, WORKER_control, wire_out_bytes(out), on_cancelled, NULL,
                       &err) < 0)
        log_warning("a late twin, job %s, could not be cancelled: %s", id, err.text);
}

/* ---- time ---- */

static void on_opened(void *arg, const struct request_row *rows, size_t n, bool begun,
                      const struct err *err)
{
    struct agentd *a = arg;
    (void)begun;
    if (err->code != ERR_NONE) {
        log_warning("what was under way cannot be read from the journal: %s", err->text);
        a->requests_glue->openings = 0; /* at the next tick */
        return;
    }
    if (n)
        log_notice("%zu submits of before are open, or have jobs that may not have ended", n);
    requests_opened(a->requests, rows, n);
}

/* The journal may be opened, or made anew, at any time. */
static void look_at_journal(struct agentd *a)
{
    int64_t openings = journal_openings(a->journal);
    if (openings == a->requests_glue->openings)
        return;
    a->requests_glue->openings = openings;
    journal_requests_open(a->journal, clock_now() - RECENT_S, on_opened, a);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    struct agentd *a = arg;
    look_at_journal(a);
    requests_tick(a->requests);
    sd_event_source_set_time(s, usec + TICK_US);
    return 0;
}

int requests_start(struct agentd *a, struct err *err)
{
    const struct requests_env env = {
        .arg = a,
        .begin = begin,
        .note = note,
        .load_anew = load_anew,
        .show_table = show_table,
        .is_there = is_there,
        .may_act = may_act,
        .cancel = cancel,
        .now = clock_now,
        .now_ms = clock_mono_ms,
    };
    uint64_t now;
    struct requests_glue *g = a->requests_glue = calloc(1, sizeof *g);
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    a->requests =
        requests_new(&env, (size_t)a->conf.max_requests_per_user, a->conf.call_deadline_s * 1000);
    if (!g || !a->requests ||
        sd_event_add_time(a->loop, &g->tick, CLOCK_MONOTONIC, now + TICK_US, 50000, on_tick, a) < 0)
        return err_set(err, ERR_INTERNAL, "no memory");
    sd_event_source_set_enabled(g->tick, SD_EVENT_ON);
    look_at_journal(a); /* before any submit */
    return 0;
}

void requests_end(struct agentd *a)
{
    if (a->requests_glue)
        sd_event_source_disable_unref(a->requests_glue->tick);
    free(TAKE(a->requests_glue));
    requests_free(a->requests);
    a->requests = NULL;
}
