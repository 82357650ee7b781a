/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/watcher.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "agentd/bucket.h"
#include "agentd/chan.h"
#include "agentd/outcome.h"
#include "agentd/watch_diff.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    FRAME_JOBS = 1000,       /* jobs in one report */
    FRAME_BYTES = 1 << 20,   /* and their size */
    FRAME_GONE = 50000,      /* gone ids in one report */
    ONE_BY_ONE = 20,         /* jobs loaded alone in one go */
    ONE_RATE = 200,          /* and in a second: a twentieth of slurmctld's time */
    COMMANDS_A_TURN = 1000,  /* read before a load that is due */
    GAP_MS = 1000,           /* between whole loads that are asked for */
    ABOUT_MS = 10000,        /* how old the cluster's settings may be */
    AWAITED_LOADS = 10,      /* loads, until one looks whether an exit status is given up */
    INTERVAL_MAX_MS = 60000, /* the longest stretch, whatever loading takes */
};

/* The report being put together; jobs are packed behind one another in bytes. */
struct frame {
    struct watch_report head;
    uint8_t *bytes;
    size_t used, size;
    size_t ends[FRAME_JOBS];
    size_t n;
    int64_t *gone;
    size_t n_gone;
};

/* What the broker has asked for and has not got. */
struct asked {
    uint32_t ids[ONE_BY_ONE]; /* one by one, now */
    size_t n;
    bool all;  /* whatever has changed, when a load is due */
    bool anew; /* and all that has not, with the settings */
    bool rest; /* single jobs, too, wait for that load: there are too many, or their load failed */
    struct bucket ones;
};

struct watcher {
    const struct agentd_conf *conf;
    const struct watcher_source *source;
    int fd;
    struct watch_diff *diff;
    struct wire_out *job, *report; /* scratch */
    struct frame frame;
    struct stat slurm_conf; /* as it was when libslurm read it */
    bool opened, sent_full;
    bool broken; /* the broker's end, or memory: start anew */
    int64_t update_time;
    struct cluster_about about;
    int64_t about_ms; /* when it was asked; 0: not since slurmctld came back */
    struct asked asked;
    bool awaited;                 /* a killed job's exit status is: that may end without a change */
    int64_t whole_ms;             /* when all jobs were asked for, changed or not */
    int64_t seq;                  /* highest command taken */
    int64_t one_seq;              /* the same, of those that are in asked.ids or were */
    int64_t covered, one_covered; /* what the last loads of either kind covered */
    int64_t as_of;                /* of the last whole load */
    int64_t load_ms;              /* how long a whole load takes: the shorter of the last two */
    int64_t last_ms;              /* how long the last one took; 0 after a failure */
    int64_t begun_ms;             /* the last whole load */
    int64_t next_ms;              /* the next, when nobody asks */
};

int64_t watcher_interval_ms(int64_t poll_ms, int64_t min_job_age_s, int64_t load_ms)
{
    int64_t t = poll_ms > load_ms * 20 ? poll_ms : load_ms * 20;
    if (t > INTERVAL_MAX_MS && poll_ms < INTERVAL_MAX_MS)
        t = INTERVAL_MAX_MS;
    if (min_job_age_s > 0 && t > min_job_age_s * 500)
        t = min_job_age_s * 500;
    return t;
}

int64_t watcher_gap_ms(int64_t interval_ms, int64_t load_ms)
{
    int64_t t = load_ms * 5 > GAP_MS ? load_ms * 5 : GAP_MS;
    return t < interval_ms ? t : interval_ms;
}

static int64_t interval_ms(const struct watcher *w)
{
    return watcher_interval_ms(w->conf->poll_ms, w->about.min_job_age_s, w->load_ms);
}

/* ---- reports ---- */

static void send_frame(struct watcher *w, bool last)
{
    struct frame *f = &w->frame;
    struct bytes jobs[FRAME_JOBS];
    struct chan_head head = {0};
    struct err err = {0};
    size_t begin = 0;
    for (size_t i = 0; i < f->n; i++) {
        jobs[i] = (struct bytes){f->bytes + begin, f->ends[i] - begin};
        begin = f->ends[i];
    }
    f->head.jobs = (struct raws){jobs, f->n};
    f->head.gone = (struct ints){f->gone, f->n_gone};
    f->head.last = last;
    wire_out_clear(w->report);
    msg_pack(&watch_report_type, &f->head, w->report);
    struct bytes b = wire_out_bytes(w->report);
    if (!w->broken && (!b.p || chan_write(w->fd, &head, b, &err) < 0)) {
        log_err("cannot report to the broker: %s", b.p ? err.text : "no memory");
        w->broken = true;
    }
    f->head.full = false; /* it begins a table, once */
    f->n = f->used = f->n_gone = 0;
}

static void set_about(struct watcher *w)
{
    struct watch_report *head = &w->frame.head;
    if (!w->about_ms)
        return;
    head->cluster = w->about.name;
    head->slurm_version = cluster_version();
    head->private_jobs = w->about.private_jobs;
    head->sees_all = w->about.sees_all;
    head->accounting = w->about.accounting;
    head->slurm_uid = w->about.slurm_uid;
    head->min_job_age_s = w->about.min_job_age_s;
    head->boot_time = w->about.boot_time;
    head->rpc_s = w->about.credential_s + w->about.message_timeout_s;
}

static void begin_report(struct watcher *w)
{
    struct frame *f = &w->frame;
    f->n = f->used = f->n_gone = 0;
    f->head = (struct watch_report){
        .seq = w->covered,
        .one_seq = w->one_covered,
        .as_of = w->as_of,
        .interval_ms = interval_ms(w),
    };
    set_about(w);
}

static void report_failure(struct watcher *w, const struct err *why)
{
    begin_report(w);
    w->frame.head.code = why->code;
    w->frame.head.error = why->text;
    /* A client that asks for this cluster is to hear of it that slurmctld is down. */
    char name[64];
    w->source->name_in(w->conf->slurm_conf, name);
    if (*name && !w->frame.head.cluster)
        w->frame.head.cluster = name;
    send_frame(w, true);
    /* It may come back with another configuration; ask for everything then. */
    w->about_ms = 0;
    w->update_time = 0;
    w->last_ms = 0;
}

static void add_job(struct watcher *w, struct bytes packed)
{
    struct frame *f = &w->frame;
    if (f->n == FRAME_JOBS || (f->n && f->used + packed.n > FRAME_BYTES))
        send_frame(w, false);
    if (f->size - f->used < packed.n) {
        size_t size = f->used + packed.n > FRAME_BYTES ? f->used + packed.n : FRAME_BYTES;
        uint8_t *bytes = realloc(f->bytes, size);
        if (!bytes) {
            w->broken = true;
            return;
        }
        f->bytes = bytes;
        f->size = size;
    }
    memcpy(f->bytes + f->used, packed.p, packed.n);
    f->used += packed.n;
    f->ends[f->n++] = f->used;
}

static void add_gone(void *arg, uint32_t job_id)
{
    struct watcher *w = arg;
    if (w->frame.n_gone == FRAME_GONE)
        send_frame(w, false);
    w->frame.gone[w->frame.n_gone++] = job_id;
}

static int see_job(void *arg, const struct job *j)
{
    struct watcher *w = arg;
    w->awaited |= outcome_awaited(j);
    wire_out_clear(w->job);
    msg_pack(&job_type, j, w->job);
    struct bytes packed = wire_out_bytes(w->job);
    int rc = packed.p ? watch_diff_see(w->diff, (uint32_t)j->job_id, packed) : -1;
    if (rc < 0)
        w->broken = true; /* a report with holes would be a lie */
    else if (rc > 0)
        add_job(w, packed);
    return w->broken ? -1 : 0;
}

/* ---- loads ---- */

/* The cluster's settings, when they are not known or old. */
static int learn_about(struct watcher *w, struct err *err)
{
    int64_t now = clock_mono_ms();
    if (w->about_ms && now - w->about_ms < ABOUT_MS)
        return 0;
    struct cluster_about about;
    if (w->source->about(&about, err) < 0)
        return -1;
    w->about = about;
    w->about_ms = now;
    return 0;
}

/* Before jobs are told as gone: PrivateData=jobs may have come to hide them. */
static int learn_anew(struct watcher *w, struct err *err)
{
    w->about_ms = 0;
    if (learn_about(w, err) < 0)
        return -1;
    set_about(w);
    return 0;
}

static int ready(struct watcher *w, struct err *err)
{
    if (!w->opened) {
        /* Looked at first: a change while libslurm reads it is then noticed later. */
        if (stat(w->conf->slurm_conf, &w->slurm_conf) < 0)
            memset(&w->slurm_conf, 0, sizeof w->slurm_conf);
        if (w->source->open(w->conf->slurm_conf, err) < 0)
            return -1;
        w->opened = true;
    }
    return learn_about(w, err);
}

static void load_changes(struct watcher *w)
{
    struct err err = {0};
    int64_t as_of = clock_now();
    if (as_of < w->as_of) /* by a clock that was set back, what changes now is older than that */
        w->update_time = 0;
    if (w->asked.anew)
        w->about_ms = w->update_time = 0;
    if (ready(w, &err) < 0) {
        report_failure(w, &err);
        return;
    }
    begin_report(w);
    w->frame.head.as_of = as_of;
    w->frame.head.begun_ms = w->begun_ms;
    w->frame.head.whole = w->asked.anew && w->about.sees_all;
    w->frame.head.seq = w->frame.head.one_seq = w->seq;
    w->frame.head.full = !w->sent_full;
    if (w->awaited && w->begun_ms - w->whole_ms > AWAITED_LOADS * interval_ms(w))
        w->update_time = 0;
    if (w->update_time == 0) {
        w->whole_ms = w->begun_ms;
        w->awaited = false;
    }
    watch_diff_begin(w->diff);
    int rc = w->source->load_jobs(&w->update_time, see_job, w, &err);
    if (rc == 0 && !w->broken && (!w->sent_full || watch_diff_lacks(w->diff)) &&
        learn_anew(w, &err) < 0)
        rc = -1;
    if (rc < 0) {
        bool half = !w->sent_full && watch_diff_count(w->diff);
        if (w->sent_full) /* what has changed is not shown again */
            send_frame(w, false);
        report_failure(w, &err);
        w->broken |= half;
        return;
    }
    if (w->broken)
        return;
    if (rc == 0) {
        watch_diff_end(w->diff, add_gone, w);
        /* One load may have waited for a slurmctld that was just starting: that is no reason to
         * look away for twenty times as long. */
        int64_t took = clock_mono_ms() - w->begun_ms;
        w->load_ms = took < w->last_ms ? took : w->last_ms;
        w->last_ms = took;
        w->sent_full = true;
    }
    w->as_of = as_of;
    w->covered = w->one_covered = w->one_seq = w->seq;
    w->asked.all = w->asked.rest = w->asked.anew = false;
    send_frame(w, true);
}

/* What fails here is seen by the next whole load. */
static void ones_failed(struct watcher *w, const struct err *why)
{
    w->asked.all = w->asked.rest = true;
    w->one_seq = w->one_covered;
    send_frame(w, false);
    report_failure(w, why);
}

static void load_ones(struct watcher *w)
{
    struct err err = {0};
    begin_report(w);
    if (ready(w, &err) < 0) {
        ones_failed(w, &err);
        return;
    }
    set_about(w);
    bool learnt = false;
    for (size_t i = 0; i < w->asked.n && !w->broken; i++) {
        uint32_t id = w->asked.ids[i];
        if (w->source->load_job(id, see_job, w, &err) == 0)
            continue;
        bool gone = err.code == ERR_NOT_FOUND;
        if (gone)
            err = (struct err){0};
        if (!gone || (!learnt && learn_anew(w, &err) < 0)) {
            ones_failed(w, &err);
            return;
        }
        learnt = true;
        watch_diff_forget(w->diff, id);
        add_gone(w, id);
    }
    if (w->broken)
        return;
    w->frame.head.one_seq = w->one_covered = w->one_seq;
    send_frame(w, true);
}

/* ---- commands ---- */

static bool has_id(const struct asked *a, uint32_t job_id)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->ids[i] == job_id)
            return true;
    return false;
}

static void take(struct watcher *w, int64_t seq, uint32_t job_id, bool anew)
{
    struct asked *a = &w->asked;
    if (seq > w->seq)
        w->seq = seq;
    if (job_id == 0) {
        a->all = true;
        a->anew = a->anew || anew;
        return;
    }
    /* Once one waits the others do, until the load: then "up to this one" holds. */
    if (!a->rest && !has_id(a, job_id)) {
        if (bucket_take(&a->ones, ONE_RATE, clock_mono_ms()))
            a->ids[a->n++] = job_id;
        else
            a->all = a->rest = true;
    }
    if (!a->rest && seq > w->one_seq)
        w->one_seq = seq;
}

/* 1: one more command taken; 0: the broker has gone; -1: it talks nonsense. */
static int read_command(struct watcher *w)
{
    struct err err = {0};
    struct chan_head head;
    struct watch_command cmd;
    AUTO(arena_done) struct arena arena = {0};
    AUTO(free) uint8_t *body = NULL;
    int rc = chan_read(w->fd, &head, &body, &err);
    if (rc == 1) {
        struct bytes b = {body, head.size};
        rc = msg_unpack(&watch_command_type, b, &arena, MSG_STRICT, &cmd, &err) < 0 ? -1 : 1;
    }
    if (rc == 1) {
        take(w, cmd.seq, (uint32_t)cmd.job_id, cmd.anew);
    } else if (rc < 0) {
        log_err("a command from the broker: %s", err.text);
    }
    return rc;
}

/* When the next whole load is: its own time, or a gap behind the last when one is asked for. */
static int64_t due_ms(const struct watcher *w)
{
    int64_t asked = w->begun_ms + watcher_gap_ms(interval_ms(w), w->load_ms);
    return w->asked.all && asked < w->next_ms ? asked : w->next_ms;
}

/* Takes commands that are there, and waits for the first at most until a load is due.  Those beyond
 * what is loaded in one go stay where they are. */
static int read_commands(struct watcher *w)
{
    for (int n = 0; n < COMMANDS_A_TURN && w->asked.n < ONE_BY_ONE; n++) {
        struct pollfd p = {.fd = w->fd, .events = POLLIN};
        int64_t left = due_ms(w) - clock_mono_ms();
        int timeout = w->asked.n || left < 0 ? 0 : (int)left + 1;
        int rc = poll(&p, 1, timeout);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0)
            return rc < 0 ? -1 : 1;
        rc = read_command(w);
        if (rc != 1)
            return rc;
    }
    return 1;
}

/* ---- the process ---- */

/* libslurm read it once and for all. */
static bool conf_changed(const struct watcher *w)
{
    struct stat now;
    const struct stat *then = &w->slurm_conf;
    if (!w->opened || stat(w->conf->slurm_conf, &now) < 0)
        return false;
    return now.st_mtim.tv_sec != then->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != then->st_mtim.tv_nsec || now.st_ino != then->st_ino ||
           now.st_size != then->st_size;
}

static void load_and_plan(struct watcher *w)
{
    w->begun_ms = clock_mono_ms();
    load_changes(w);
    w->next_ms = w->begun_ms + interval_ms(w);
}

static int loop(struct watcher *w)
{
    while (!w->broken) {
        int rc = read_commands(w);
        if (rc <= 0)
            return rc < 0 ? 1 : 0;
        if (conf_changed(w)) {
            log_notice("%s has changed: starting anew", w->conf->slurm_conf);
            return 1;
        }
        if (clock_mono_ms() >= due_ms(w))
            load_and_plan(w); /* shows them all */
        else if (w->asked.n)
            load_ones(w);
        w->asked.n = 0;
    }
    return 1;
}

int watcher_run(const struct agentd_conf *conf, const struct watcher_source *source, int fd)
{
    AUTO(watch_diff_free) struct watch_diff *diff = watch_diff_new();
    AUTO(wire_out_free) struct wire_out *job = wire_out_new();
    AUTO(wire_out_free) struct wire_out *report = wire_out_new();
    AUTO(free) int64_t *gone = calloc(FRAME_GONE, sizeof *gone);
    AUTO(free) struct watcher *w = calloc(1, sizeof *w);
    if (!diff || !job || !report || !gone || !w) {
        log_err("no memory");
        return 1;
    }
    *w = (struct watcher){
        .conf = conf,
        .source = source,
        .fd = fd,
        .diff = diff,
        .job = job,
        .report = report,
        .frame.gone = gone,
    };
    bucket_fill(&w->asked.ones, ONE_RATE);
    int rc = loop(w);
    free(w->frame.bytes);
    return rc;
}
