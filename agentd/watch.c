/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/watch.h"

#include <string.h>
#include <sys/wait.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/cancels.h"
#include "agentd/chan.h"
#include "agentd/childlog.h"
#include "agentd/held.h"
#include "agentd/live.h"
#include "agentd/metrics.h"
#include "agentd/monlink.h"
#include "agentd/requests.h"
#include "agentd/staging.h"
#include "agentd/status.h"
#include "agentd/table.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    WATCH_PATIENCE_MS =
        2000,               /* a query waits this long for the load that shows its user's change */
    WATCH_STALE_MS = 5000,  /* at least; three intervals when that is more */
    WATCH_HUNG_MS = 300000, /* Slurm's own failover is over by then */
    WATCH_QUIET_MS = 100, /* then nobody changes anything for the moment, and slurmctld has time */
    WATCH_OWED_MS = 1500, /* changes that nobody asks for: a whole load is mostly there before */
    WATCH_OWED = 400,
    WATCH_OWED_EACH = 20, /* of one user: more are cheaper in one load of what changed */
};

/* A query that waits for a load. */
struct waiter {
    struct waiter *next;
    struct watch_mark mark;
    int64_t deadline_ms;
    watch_fn fn;
    void *arg;
};

/* Jobs that were changed and are not asked for yet.  An entry's change is later than shown_us, and
 * so is its mark's owed_us: the mark's owner is kept for it (users_sweep()). */
struct owed {
    struct owed_job {
        uint32_t job_id;
        struct watch_mark *mark;
        int64_t us; /* each change has a time of its own */
    } v[WATCH_OWED];
    size_t n;
    bool more; /* than there is room for */
    int64_t since_ms, last_us;
    int64_t shown_us; /* the table shows what was changed until then */
};

struct watch {
    struct agentd *a;
    sd_event_source *tick;
    uint32_t process;
    struct chan *chan;
    struct childlog *log;
    int64_t seq;               /* of the last load asked for */
    struct watch_mark covered; /* what is in the table */
    struct owed owed;
    bool in_full; /* a whole table is coming in */
    int64_t heard_ms, loaded_ms, interval_ms;
    struct watch_status status;
    struct waiter *waiters;
    bool stopped;
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
        if (rec) {
            requests_saw(w->a->requests, rec);
            staging_saw(w->a->staging, rec);
            rec = staging_tell(w->a->staging, rec);
        }
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
    if (rec && staging_gone(w->a->staging, rec)) {
        jobrec_unref(rec);
        return;
    }
    if (rec && w->status.sees_all)
        live_gone(w->a->live, rec);
    else if (rec)
        live_hidden(w->a->live, rec);
    if (rec && w->status.sees_all)
        requests_gone(w->a->requests, rec);
    jobrec_unref(rec);
}

static void take_failure(struct watch *w, const char *why)
{
    if (!w->status.down)
        log_warning("slurmctld: %s", why);
    w->status.down = true;
    str_copy(w->status.error, sizeof w->status.error, why);
    status_tell(w->a);
    heard_first(w);
}

static void take_about(struct watch *w, const struct watch_report *r)
{
    if (!r->cluster)
        return;
    str_copy(w->status.cluster, sizeof w->status.cluster, r->cluster);
    if (!r->slurm_version) /* slurmctld has not said more */
        return;
    bool first = !*w->status.slurm_version;
    str_copy(w->status.slurm_version, sizeof w->status.slurm_version, str_or(r->slurm_version, ""));
    if (first ? !r->sees_all : r->sees_all != w->status.sees_all)
        log_notice("PrivateData=jobs hides %s from the watcher",
                   r->sees_all ? "no jobs any more" : "others' jobs");
    w->status.private_jobs = r->private_jobs;
    w->status.sees_all = r->sees_all;
    w->status.accounting = r->accounting;
    w->status.slurm_uid = (uint32_t)r->slurm_uid;
    w->status.min_job_age_s = r->min_job_age_s;
    w->status.boot_time = r->boot_time;
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

static void count_load(const struct watch_report *r)
{
    if (!r->code && !r->last)
        return;
    metrics_add(work, WORK_watch, result_of(r->code ? err_from_wire(r->code) : ERR_NONE), 1);
    if (r->begun_ms)
        metrics_took(work_time, WORK_watch, r->begun_ms * 1000);
}

/* Those of one mark; NULL: those that the table shows. */
static void drop_owed(struct owed *o, const struct watch_mark *mark)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->n; i++)
        if (mark ? o->v[i].mark != mark : o->v[i].us > o->shown_us)
            o->v[kept++] = o->v[i];
    o->n = kept;
}

/* A whole load shows what was changed before it began. */
static void see_owed(struct watch *w, const struct watch_report *r)
{
    struct owed *o = &w->owed;
    int64_t begun_us = r->begun_ms <= clock_mono_ms() ? r->begun_ms * 1000 : 0;
    if (begun_us <= o->shown_us)
        return;
    o->shown_us = begun_us - 1;
    drop_owed(o, NULL);
    if (o->n)
        o->since_ms = o->v[0].us / 1000;
    o->more = o->more && o->last_us > o->shown_us;
}

static void take_report(struct watch *w, const struct watch_report *r)
{
    count_load(r);
    take_about(w, r);
    if (r->code) {
        take_failure(w, str_or(r->error, "the load failed"));
        return;
    }
    if (r->full && !w->in_full) {
        w->in_full = true;
        table_begin_full(w->a->table);
    }
    put_jobs(w, &r->jobs);
    for (size_t i = 0; i < r->gone.n; i++)
        gone(w, table_remove(w->a->table, (uint32_t)r->gone.v[i]));
    if (r->last && w->in_full)
        table_end_full(w->a->table, gone, w);
    staging_put_back(w->a->staging);
    if (!r->last)
        return;
    bool whole = w->in_full && w->status.sees_all;
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
    see_owed(w, r);
    const struct live_load load = {w->status.as_of, r->min_job_age_s, w->status.sees_all};
    live_loaded(w->a->live, &load);
    staging_loaded(w->a->staging, whole);
    tell_requests(w, r);
    status_tell(w->a);
    heard_first(w);
    run_waiters(w, w->loaded_ms);
}

void watch_retell(struct watch *w, uint32_t job_id)
{
    struct jobrec *there = table_get(w->a->table, job_id), *old = NULL;
    struct err err = {0};
    if (!there)
        return;
    struct jobrec *rec = staging_tell(w->a->staging, jobrec_ref(there));
    if (rec != there && table_put(w->a->table, jobrec_ref(rec), &old, &err) == 0)
        live_saw(w->a->live, old, rec);
    jobrec_unref(rec);
    jobrec_unref(old);
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

/* What that user has changed; true: as whatever has changed. */
static bool ask_for_owed_by(struct watch *w, struct watch_mark *mark)
{
    struct owed *o = &w->owed;
    bool all = mark->owed_more && mark->owed_us > o->shown_us;
    if (all)
        watch_load(w, 0, mark);
    for (size_t i = 0; i < o->n && !all; i++)
        if (o->v[i].mark == mark)
            watch_load(w, o->v[i].job_id, mark);
    mark->owed_us = 0;
    mark->owed_more = false;
    drop_owed(o, mark);
    return all;
}

static void ask_for_owed(struct watch *w)
{
    struct owed *o = &w->owed;
    bool all = false;
    for (size_t i = 0; o->n > WATCH_OWED_EACH && i < o->n; i++)
        o->v[i].mark->owed_more = true;
    while (o->n)
        all |= ask_for_owed_by(w, o->v[0].mark);
    if (o->more && !all)
        watch_load(w, 0, NULL);
    o->more = false;
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    struct watch *w = arg;
    int64_t now = clock_mono_ms();
    run_waiters(w, now);
    if (now - w->owed.last_us / 1000 >= WATCH_QUIET_MS || now - w->owed.since_ms >= WATCH_OWED_MS)
        ask_for_owed(w);
    live_tick(w->a->live);
    status_tell(w->a);
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
    w->stopped = true; /* what they call waits for nothing more */
    while (w->waiters)
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
    watch_ended(w, w->process, 0);
    metrics_add(workers_started, ROLE_WATCH, 0, 1);
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

/* libslurm ends its process over what it cannot do without, and says why on stderr.  What ends by a
 * signal, or because slurm.conf has changed, is there again at once. */
void watch_ended(struct watch *w, uint32_t process, int status)
{
    char said[300], why[400];
    if (!w->process || process != w->process)
        return;
    w->process = 0;
    chan_free(w->chan);
    w->chan = NULL;
    childlog_last(w->log, said, sizeof said);
    childlog_free(w->log);
    w->log = NULL;
    metrics_add(workers_failed, ROLE_WATCH, 0, WIFSIGNALED(status) || WEXITSTATUS(status) > 1);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 0)
        return;
    snprintf(why, sizeof why, "the watcher ended with status %d%s%s", WEXITSTATUS(status),
             *said ? ": " : "", said);
    take_failure(w, why);
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

bool watch_runs(const struct watch *w)
{
    return w->process != 0;
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

/* Does a held request wait for what happens to it?  Or is it another's, who has done nothing
 * himself that his queries would wait for? */
static bool is_awaited(const struct watch *w, uint32_t job_id, uint32_t uid)
{
    const struct jobrec *rec = table_get(w->a->table, job_id);
    return (rec && rec->keys.uid != uid) || held_awaits(w->a->held, HELD_ALL, 0) ||
           held_awaits(w->a->held, HELD_USER, uid) || held_awaits(w->a->held, HELD_JOB, job_id) ||
           (rec && held_awaits(w->a->held, HELD_JOB, rec->group));
}

static void owe(struct owed *o, uint32_t job_id, struct watch_mark *mark)
{
    int64_t now = clock_mono_us();
    size_t his = 0;
    o->last_us = now > o->last_us ? now : o->last_us + 1;
    if (!o->n)
        o->since_ms = now / 1000;
    mark->owed_more = mark->owed_more && mark->owed_us > o->shown_us;
    mark->owed_us = o->last_us;
    for (size_t i = 0; i < o->n; i++) {
        if (o->v[i].mark == mark && o->v[i].job_id == job_id) {
            o->v[i].us = o->last_us;
            return;
        }
        his += o->v[i].mark == mark;
    }
    if (o->n < WATCH_OWED && his < WATCH_OWED_EACH)
        o->v[o->n++] = (struct owed_job){job_id, mark, o->last_us};
    else
        mark->owed_more = o->more = true;
}

void watch_changed(struct watch *w, uint32_t job_id, uint32_t uid, struct watch_mark *mark)
{
    if (is_awaited(w, job_id, uid))
        watch_load(w, job_id, mark);
    else
        owe(&w->owed, job_id, mark);
}

void watch_load_anew(struct watch *w)
{
    w->seq++;
    command(w, 0, true);
}

static bool is_shown(const struct watch *w, const struct watch_mark *mark)
{
    return w->covered.one >= mark->one && w->covered.all >= mark->all &&
           w->owed.shown_us >= mark->owed_us;
}

bool watch_covers(const struct watch *w, const struct watch_mark *mark)
{
    return w->stopped || is_shown(w, mark);
}

void watch_status_for(const struct watch *w, const struct watch_mark *mark,
                      struct watch_status *out)
{
    watch_status(w, out);
    if (out->stale || is_shown(w, mark))
        return;
    out->stale = true;
    str_copy(out->error, sizeof out->error, "your last change is not in the job table yet");
}

void watch_when(struct watch *w, struct watch_mark *mark, watch_fn fn, void *arg)
{
    struct waiter *q = calloc(1, sizeof *q);
    ask_for_owed_by(w, mark);
    if (!q || w->stopped) { /* an answer that may be a second old is better than none */
        free(q);
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
