/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/watch.h"

#include <string.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/cancels.h"
#include "agentd/chan.h"
#include "agentd/childlog.h"
#include "agentd/live.h"
#include "agentd/monlink.h"
#include "agentd/requests.h"
#include "agentd/table.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    WATCH_PATIENCE_MS =
        2000,               /* a query waits this long for the load that shows its user's change */
    WATCH_STALE_MS = 5000,  /* at least; three intervals when that is more */
    WATCH_HUNG_MS = 300000, /* Slurm's own failover is over by then */
};

/* A query that waits for a load. */
struct waiter {
    struct waiter *next;
    struct watch_mark mark;
    int64_t deadline_ms;
    watch_fn fn;
    void *arg;
};

struct watch {
    struct agentd *a;
    sd_event_source *tick;
    uint32_t process;
    struct chan *chan;
    struct childlog *log;
    int64_t seq;               /* of the last load asked for */
    struct watch_mark covered; /* what is in the table */
    bool in_full;              /* a whole table is coming in */
    int64_t heard_ms, loaded_ms, interval_ms;
    struct watch_status status;
    struct waiter *waiters;
    watch_fn first_fn;
    void *first_arg;
};

static void run_waiters(struct watch *w, int64_t now)
{
    struct waiter *ready = NULL, **tail = &ready;
    for (struct waiter **at = &w->waiters; *at;) {
        struct waiter *q = *at;
        if (!watch_covers(w, &q->mark) && q->deadline_ms > now) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        q->next = NULL;
        *tail = q;
        tail = &q->next;
    }
    while (ready) { /* fn may call watch_when() again */
        struct waiter *q = ready;
        ready = q->next;
        q->fn(q->arg);
        free(q);
    }
}

static void heard_first(struct watch *w)
{
    watch_fn fn = w->first_fn;
    w->first_fn = NULL;
    if (fn)
        fn(w->first_arg);
}

static void put_jobs(struct watch *w, const struct raws *jobs)
{
    for (size_t i = 0; i < jobs->n; i++) {
        struct err err = {0};
        struct jobrec *rec = jobrec_new(jobs->v[i], &err), *old = NULL;
        if (rec)
            rec = cancels_tell(w->a->cancels, rec);
        if (rec)
            requests_saw(w->a->requests, rec);
        if (rec && table_put(w->a->table, jobrec_ref(rec), &old, &err) == 0) {
            live_saw(w->a->live, old, rec);
            if (old && !jobrec_same_job(old, rec))
                requests_gone(w->a->requests, old);
        } else
            log_err("a job from the watcher: %s", err.text);
        jobrec_unref(rec);
        jobrec_unref(old);
    }
}

static void gone(void *arg, struct jobrec *rec)
{
    struct watch *w = arg;
    if (rec && w->status.sees_all)
        live_gone(w->a->live, rec);
    else if (rec)
        live_hidden(w->a->live, rec);
    if (rec && w->status.sees_all)
        requests_gone(w->a->requests, rec);
    jobrec_unref(rec);
}

static void take_failure(struct watch *w, const struct watch_report *r)
{
    if (!w->status.down)
        log_warning("slurmctld: %s", str_or(r->error, "the load failed"));
    w->status.down = true;
    str_copy(w->status.error, sizeof w->status.error, str_or(r->error, "the load failed"));
}

static void take_about(struct watch *w, const struct watch_report *r)
{
    if (!r->cluster)
        return;
    str_copy(w->status.cluster, sizeof w->status.cluster, r->cluster);
    if (!r->slurm_version) /* slurmctld has not said more */
        return;
    str_copy(w->status.slurm_version, sizeof w->status.slurm_version, str_or(r->slurm_version, ""));
    if (r->sees_all != w->status.sees_all && *w->status.slurm_version)
        log_notice("PrivateData=jobs hides %s from the watcher",
                   r->sees_all ? "no jobs any more" : "others' jobs");
    w->status.private_jobs = r->private_jobs;
    w->status.sees_all = r->sees_all;
    w->status.accounting = r->accounting;
    w->status.slurm_uid = (uint32_t)r->slurm_uid;
    w->status.min_job_age_s = r->min_job_age_s;
}

static void tell_requests(struct watch *w, const struct watch_report *r)
{
    const struct requests_load load = {
        .begun_ms = r->begun_ms,
        .as_of = r->as_of,
        .whole = r->whole && r->sees_all,
        .blind = !r->sees_all,
        .boot_time = r->boot_time,
        .min_job_age_ms = r->min_job_age_s * 1000,
        .rpc_ms = r->rpc_s * 1000,
    };
    if (r->begun_ms)
        requests_loaded(w->a->requests, &load);
}

static void take_report(struct watch *w, const struct watch_report *r)
{
    take_about(w, r);
    if (r->code) {
        take_failure(w, r);
        heard_first(w);
        return;
    }
    if (r->full && !w->in_full) {
        w->in_full = true;
        table_begin_full(w->a->table);
    }
    put_jobs(w, &r->jobs);
    for (size_t i = 0; i < r->gone.n; i++)
        gone(w, table_remove(w->a->table, (uint32_t)r->gone.v[i]));
    if (!r->last)
        return;
    if (w->in_full)
        table_end_full(w->a->table, gone, w);
    w->in_full = false;
    if (w->status.down)
        log_notice("slurmctld answers again");
    w->status.down = false;
    w->status.error[0] = '\0';
    w->loaded_ms = clock_mono_ms();
    if (r->as_of > w->status.as_of)
        w->status.as_of = r->as_of;
    if (r->interval_ms)
        w->interval_ms = r->interval_ms;
    if (r->seq > w->covered.all && r->seq <= w->seq)
        w->covered.all = r->seq;
    if (r->one_seq > w->covered.one && r->one_seq <= w->seq)
        w->covered.one = r->one_seq;
    const struct live_load load = {w->status.as_of, r->min_job_age_s, w->status.sees_all};
    live_loaded(w->a->live, &load);
    tell_requests(w, r);
    heard_first(w);
    run_waiters(w, w->loaded_ms);
}

static void drop(struct watch *w, const char *why)
{
    log_warning("watcher: %s", why);
    if (w->process)
        monlink_kill(w->a->monitor, w->process);
    chan_free(w->chan);
    w->chan = NULL;
}

static void on_frame(void *arg, const struct chan_head *head, struct bytes body)
{
    struct watch *w = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct watch_report r;
    struct err err = {0};
    (void)head;
    w->heard_ms = clock_mono_ms();
    if (msg_unpack(&watch_report_type, body, &arena, MSG_STRICT, &r, &err) < 0) {
        drop(w, err.text);
        return;
    }
    take_report(w, &r);
}

static void on_down(void *arg, const char *why)
{
    drop(arg, why);
}

static void command(struct watch *w, uint32_t job_id, bool anew)
{
    struct watch_command cmd = {.seq = w->seq, .job_id = job_id, .anew = anew};
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct chan_head head = {0};
    struct err err = {0};
    if (!w->chan || !out)
        return;
    msg_pack(&watch_command_type, &cmd, out);
    if (chan_send(w->chan, &head, wire_out_bytes(out), &err) < 0)
        drop(w, err.text);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    struct watch *w = arg;
    int64_t now = clock_mono_ms();
    run_waiters(w, now);
    live_tick(w->a->live);
    if (w->chan && now - w->heard_ms > WATCH_HUNG_MS) {
        w->heard_ms = now;
        drop(w, "it says nothing any more");
    }
    sd_event_source_set_time(s, usec + 100000);
    return 0;
}

struct watch *watch_new(struct agentd *a, struct err *err)
{
    struct watch *w = calloc(1, sizeof *w);
    uint64_t now;
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    if (!w || sd_event_add_time(a->loop, &w->tick, CLOCK_MONOTONIC, now + 100000, 20000, on_tick,
                                w) < 0) {
        err_set(err, ERR_INTERNAL, "no memory");
        free(w);
        return NULL;
    }
    sd_event_source_set_enabled(w->tick, SD_EVENT_ON);
    w->a = a;
    w->status.private_jobs = true;
    w->interval_ms = a->conf.poll_ms;
    return w;
}

void watch_stop(struct watch *w)
{
    if (!w)
        return;
    chan_free(w->chan);
    w->chan = NULL;
    run_waiters(w, INT64_MAX);
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    watch_stop(w);
    childlog_free(w->log);
    sd_event_source_disable_unref(w->tick);
    free(w);
}

void watch_attach(struct watch *w, uint32_t process, int fd, int stderr_fd)
{
    struct err err = {0};
    watch_ended(w, w->process);
    w->process = process;
    w->heard_ms = clock_mono_ms();
    w->in_full = false;
    w->log = childlog_new(w->a->loop, stderr_fd, "watcher", &err);
    w->chan = chan_new(w->a->loop, fd, on_frame, on_down, w, &err);
    if (!w->chan) {
        drop(w, err.text);
        return;
    }
    command(w, 0, false); /* its first load covers what was asked of the one before */
}

void watch_ended(struct watch *w, uint32_t process)
{
    if (!w->process || process != w->process)
        return;
    w->process = 0;
    chan_free(w->chan);
    w->chan = NULL;
    childlog_free(w->log);
    w->log = NULL;
}

void watch_status(const struct watch *w, struct watch_status *out)
{
    int64_t patience = 3 * w->interval_ms > WATCH_STALE_MS ? 3 * w->interval_ms : WATCH_STALE_MS;
    *out = w->status;
    out->stale =
        w->status.as_of == 0 || w->status.down || clock_mono_ms() - w->loaded_ms > patience;
    if (!out->stale || *out->error)
        return;
    str_copy(out->error, sizeof out->error,
             w->status.as_of ? "slurmctld has not answered for a while"
                             : "slurmctld has not answered since slurm-agentd started");
}

const char *watch_cluster(const struct watch *w)
{
    return *w->a->conf.cluster ? w->a->conf.cluster : w->status.cluster;
}

void watch_load(struct watch *w, uint32_t job_id, struct watch_mark *mark)
{
    w->seq++;
    command(w, job_id, false);
    if (mark)
        *(job_id ? &mark->one : &mark->all) = w->seq;
}

void watch_load_anew(struct watch *w)
{
    w->seq++;
    command(w, 0, true);
}

bool watch_covers(const struct watch *w, const struct watch_mark *mark)
{
    return w->covered.one >= mark->one && w->covered.all >= mark->all;
}

void watch_when(struct watch *w, const struct watch_mark *mark, watch_fn fn, void *arg)
{
    struct waiter *q = calloc(1, sizeof *q);
    if (!q) { /* an answer that may be a second old is better than none */
        fn(arg);
        return;
    }
    *q = (struct waiter){
        .next = w->waiters,
        .mark = *mark,
        .deadline_ms = clock_mono_ms() + WATCH_PATIENCE_MS,
        .fn = fn,
        .arg = arg,
    };
    w->waiters = q;
}

void watch_on_first(struct watch *w, watch_fn fn, void *arg)
{
    w->first_fn = fn;
    w->first_arg = arg;
}
