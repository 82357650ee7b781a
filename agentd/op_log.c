/* SPDX-License-Identifier: GPL-3.0-or-later */
/* op_log.c: job.log: a job's stdout or stderr, read by the caller's own file worker
 *
 * The file's name is from the job's record, never from the client, and whether it may be read is
 * decided by the file system: the worker is the caller.  A request that follows is held and asks
 * the worker again, less often the longer nothing comes, until there is something to say.
 */
#include <string.h>

#include "agentd/find.h"
#include "agentd/held.h"
#include "agentd/worker.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    LOG_WAIT_MS = 60000,
    LOG_AGAIN_MS = 100, /* after the first look that showed nothing new; then half as much more */
    LOG_SLOW_MS = 1000, /* each time, up to this */
    /* A log is read to its end when a read that began so long after we saw the job's end finds
     * nothing new: what a node wrote last may reach the head node's file system later than
     * slurmctld. */
    LOG_SETTLE_MS = 1000,
    LOG_SETTLED_S = 10, /* the same for an end that was long ago: no need to watch for it */
    /* While a job is COMPLETING its processes are being killed, and may write: KillWait is 30 s.
     * But a node that hangs keeps it there for hours. */
    LOG_COMPLETING_S = 60,
    LOG_UNSEEN_MS = 5000, /* between two questions to slurmctld, where its jobs are private */
    LOG_TOKEN = 65,       /* `file` in messages.def */
};

struct log {
    struct hold hold; /* first: resume() gets it */
    /* what was asked; a read that finds nothing new moves it on */
    char *id;
    struct jobid parsed;
    bool error, follow;
    int64_t offset, tail, max;
    int64_t size; /* of the file at the last look */
    char file[LOG_TOKEN];
    /* the job, as last seen */
    int64_t seen_ms; /* 0: never */
    bool unseen;     /* not in the table: looking is a question to slurmctld */
    char *path;      /* owned */
    uint32_t job_id;
    bool ended, completing, ran;
    bool waits;    /* no run of it has begun */
    uint64_t news; /* as of the look under way */
    int64_t ended_ms, end_time;
    char note[400]; /* why there is nothing to read */
    /* the read under way */
    bool settled;
    int64_t again_ms;
};

static void look(struct log *l);
static void resume(struct hold *h, enum held_why why);

static void log_free(struct log *l)
{
    free(l->path);
    free(l->id);
    free(l);
}

static void fail(struct log *l, const struct err *err)
{
    struct call *c = l->hold.call;
    char what[64];
    snprintf(what, sizeof what, "job=%.50s", l->id);
    call_about(c, what);
    log_free(l);
    call_fail(c, err);
}

/* r is what there is to say beyond the job's own. */
static void reply(struct log *l, struct log_reply *r)
{
    struct call *c = l->hold.call;
    r->path = l->path;
    if (!r->note && *l->note)
        r->note = l->note;
    call_reply(c, r);
    log_free(l);
}

/* ---- holding ---- */

static uint64_t news(const struct log *l)
{
    return held_news(l->hold.held, HELD_JOB, l->parsed.id);
}

/* There is nothing to say now: later, if the client wants to wait.  table: the next load may tell
 * of the job. */
static void nothing_yet(struct log *l, bool poll, bool table)
{
    struct err err = {0};
    struct log_reply r = {.offset = l->offset, .size = l->size, .file = l->file};
    if (!l->follow || clock_mono_ms() >= l->hold.deadline_ms) {
        reply(l, &r);
        return;
    }
    bool old = l->news != news(l);
    int64_t again = poll || old ? l->again_ms : l->unseen ? LOG_UNSEEN_MS : 0;
    l->again_ms = l->again_ms * 3 / 2 < LOG_SLOW_MS ? l->again_ms * 3 / 2 : LOG_SLOW_MS;
    /* a task that waits has no record of its own yet, only one of its array */
    uint32_t number = l->waits || !l->job_id ? l->parsed.id : l->job_id;
    if (hold_begin(&l->hold, again, &err) < 0 ||
        (table && hold_for(&l->hold, HELD_TABLE, 0, &err) < 0) ||
        hold_for(&l->hold, HELD_JOB, number, &err) < 0)
        fail(l, &err);
}

static void resume(struct hold *h, enum held_why why)
{
    struct log *l = (struct log *)h;
    struct err err = {0};
    if (why != HELD_STOPPING) {
        look(l);
        return;
    }
    err_set(&err, ERR_BUSY, "the server is stopping");
    fail(l, &err);
}

/* ---- reading ---- */

static bool is_settled(const struct log *l)
{
    int64_t ago_s = l->end_time ? clock_now() - l->end_time : 0;
    if (!l->ended)
        return false;
    if (l->completing)
        return ago_s >= LOG_COMPLETING_S;
    return ago_s >= LOG_SETTLED_S || clock_mono_ms() - l->ended_ms >= LOG_SETTLE_MS;
}

/* The file is not there. */
static void on_missing(struct log *l, const struct err *err)
{
    l->tail = 0; /* whatever comes is new */
    if (!l->ended || (l->follow && !l->settled)) {
        if (!l->ended)
            snprintf(l->note, sizeof l->note, "no output yet: %.350s", err->text);
        nothing_yet(l, true, false);
        return;
    }
    fail(l, err);
}

static void on_piece(struct log *l, const struct worker_answer *answer)
{
    struct call *c = l->hold.call;
    struct log_reply r;
    struct err err = {0};
    if (msg_unpack(&log_reply_type, answer->body, &c->arena, MSG_STRICT, &r, &err) < 0) {
        fail(l, &err);
        return;
    }
    /* As it is: it goes to the user whose worker it is from, and copies are what reading costs. */
    if (r.data.n || r.restarted) {
        log_free(l);
        call_reply_packed(c, answer->body);
        return;
    }
    l->note[0] = '\0';
    if (l->settled) {
        r.done = true;
        r.note = NULL;
        reply(l, &r);
        return;
    }
    l->offset = r.offset;
    l->size = r.size;
    l->tail = 0;
    str_copy(l->file, sizeof l->file, str_or(r.file, ""));
    arena_done(&c->arena);
    nothing_yet(l, true, false);
}

static void on_read(void *arg, const struct worker_answer *answer)
{
    struct log *l = arg;
    if (answer->err.code == ERR_NONE)
        on_piece(l, answer);
    else if (answer->err.code == ERR_NOT_FOUND && answer->answered)
        on_missing(l, &answer->err);
    else
        fail(l, &answer->err);
}

static void read_file(struct log *l)
{
    struct call *c = l->hold.call;
    struct err err = {0};
    const struct log_request req = {
        .path = l->path,
        .offset = l->offset,
        .tail = l->tail,
        .file = *l->file ? l->file : NULL,
        .max = l->max,
    };
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct bytes body = {NULL, 0};
    if (out) {
        msg_pack(&log_request_type, &req, out);
        body = wire_out_bytes(out);
    }
    l->settled = is_settled(l);
    if (!body.p)
        err_set(&err, ERR_BUSY, "no memory");
    else if (workers_ask(c->a->workers, c->user->uid, WORKER_log, body, on_read, l, &err) == 0)
        return;
    if (!l->follow) {
        fail(l, &err);
        return;
    }
    l->again_ms = LOG_SLOW_MS; /* there are too many followers of this user's */
    nothing_yet(l, true, false);
}

/* ---- the job ---- */

static int is_array(const struct log *l, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s is an array: ask for one task, such as %u_1", l->id,
                   l->parsed.id);
}

/* The one record that the id means. */
static const struct jobrec *choose(const struct log *l, const struct found *f, struct err *err)
{
    const struct jobrec *best = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const struct jobrec *r = f->recs[i];
        if (r->in_array && (l->parsed.kind == JOBID_TASKS ||
                            (l->parsed.kind == JOBID_PLAIN && r->group == l->parsed.id))) {
            is_array(l, err);
            return NULL;
        }
        /* of a heterogeneous job the first component, of an id that came again the later job */
        if (!best || (r->in_het && best->in_het && r->het_offset < best->het_offset) ||
            (!r->in_het && r->submit_time > best->submit_time))
            best = r;
    }
    if (!best)
        err_set(err, f->stale ? ERR_SLURM_DOWN : ERR_NOT_FOUND, "job %s is not known%s%s", l->id,
                f->stale ? ": slurmctld has not answered as it should" : "",
                f->stale ? "" : ": there is none, or Slurm has forgotten it");
    else if (best->in_het && best->het_offset)
        err_set(err, ERR_INVALID,
                "%s: the script of a heterogeneous job runs in its first component: ask for %u",
                l->id, best->group);
    return err->code == ERR_NONE ? best : NULL;
}

static bool has_flag(const struct job *j, const char *flag)
{
    for (size_t i = 0; i < j->flags.n; i++)
        if (str_eq(j->flags.v[i], flag))
            return true;
    return false;
}

static int set_path(struct log *l, const struct job *j, struct err *err)
{
    const char *path = l->error ? str_or(j->std_err, j->std_out) : j->std_out;
    if (!path && j->source && str_eq(j->source, "slurmdbd"))
        return err_set(err, ERR_NOT_FOUND,
                       "slurmdbd alone knows job %s, and does not keep names of output files",
                       l->id);
    if (!path)
        return err_set(err, ERR_NOT_FOUND, "job %s has no output file: it is no batch job", l->id);
    if (*path != '/')
        return err_set(err, ERR_NOT_FOUND, "job %s: it is not known where its file %.300s is",
                       l->id, path);
    if (str_eq(l->path, path))
        return 0;
    free(l->path);
    l->path = strdup(path);
    return l->path ? 0 : err_set(err, ERR_BUSY, "no memory");
}

static void take_state(struct log *l, const struct jobrec *rec, const struct job *j)
{
    l->job_id = rec->job_id;
    bool waits = rec->phase == PHASE_QUEUED || rec->phase == PHASE_STAGING_IN;
    l->waits = waits && rec->restarts == 0;
    l->ran = j->nodes || j->batch_host || rec->restarts || rec->phase == PHASE_UNKNOWN;
    l->completing = has_flag(j, "COMPLETING");
    l->end_time = rec->end_time;
    if (rec->ended && !l->ended)
        l->ended_ms = clock_mono_ms();
    l->ended = rec->ended;
}

static void never_ran(struct log *l)
{
    struct err err = {0};
    err_set(&err, ERR_NOT_FOUND, "job %s ended before it ran: there is no output file %.300s",
            l->id, l->path);
    fail(l, &err);
}

static void go_on(struct log *l, bool same)
{
    struct log_reply r = {0};
    if (l->ended && !l->ran) {
        never_ran(l); /* what is in its place may be another job's */
    } else if (same) {
        r.same_as = "stdout";
        r.done = true;
        reply(l, &r);
    } else if (str_eq(l->path, "/dev/null")) {
        r.done = true;
        r.note = "the job's output goes to /dev/null";
        reply(l, &r);
    } else if (l->waits) {
        snprintf(l->note, sizeof l->note, "job %.100s has not started: no output yet", l->id);
        l->tail = 0; /* whatever comes is new */
        nothing_yet(l, false, false);
    } else {
        read_file(l);
    }
}

static void on_found(struct call *c, const struct found *f, const struct err *found_err)
{
    struct log *l = c->state;
    struct job j;
    struct err err = *found_err;
    AUTO(arena_done) struct arena arena = {0};
    /* right after the start of the server: it comes */
    if (err.code == ERR_SLURM_DOWN && l->follow && !l->seen_ms) {
        nothing_yet(l, false, true);
        return;
    }
    const struct jobrec *rec = err.code == ERR_NONE ? choose(l, f, &err) : NULL;
    if (!rec || msg_unpack(&job_type, rec->packed, &arena, MSG_LENIENT, &j, &err) < 0 ||
        set_path(l, &j, &err) < 0) {
        fail(l, &err);
        return;
    }
    l->seen_ms = clock_mono_ms();
    l->unseen = str_eq(f->source, "slurmctld");
    take_state(l, rec, &j);
    go_on(l, l->error && (!j.std_err || str_eq(j.std_err, j.std_out)));
}

static void look(struct log *l)
{
    const char *const id = l->id;
    const struct strs ids = {&id, 1};
    l->news = news(l);
    /* A job that the server does not see costs slurmctld a question each time. */
    if (l->unseen && !l->waits && clock_mono_ms() - l->seen_ms < LOG_UNSEEN_MS)
        read_file(l);
    else
        find_jobs(l->hold.call, &ids, on_found);
}

/* ---- the operation ---- */

static int check(const struct log_request *req, struct jobid *ret_id, struct err *err)
{
    if (req->path)
        return err_set(err, ERR_INVALID, "path is the server's to set: it knows the job's file");
    if (req->tail && (req->offset || req->file))
        return err_set(err, ERR_INVALID, "tail and offset are both given: give one");
    return jobid_parse(str_or(req->id, ""), ret_id, err);
}

/* Owns all it has: what waits keeps neither the request nor its arena. */
static struct log *log_new(struct call *c, struct err *err)
{
    struct log_request req;
    struct jobid id;
    if (call_unpack(c, &req, err) < 0 || check(&req, &id, err) < 0)
        return NULL;
    struct log *l = calloc(1, sizeof *l);
    if (!l || !(l->id = strdup(req.id))) {
        free(l);
        err_set(err, ERR_BUSY, "no memory");
        return NULL;
    }
    l->parsed = id;
    l->error = req.error;
    l->follow = req.follow;
    l->offset = req.offset;
    l->tail = req.tail;
    l->max = req.max;
    l->again_ms = LOG_AGAIN_MS;
    str_copy(l->file, sizeof l->file, str_or(req.file, ""));
    hold_init(&l->hold, c, req.wait_ms ? req.wait_ms : LOG_WAIT_MS, resume);
    return l;
}

void op_job_log(struct call *c)
{
    struct err err = {0};
    struct log *l = log_new(c, &err);
    if (!l) {
        call_fail(c, &err);
        return;
    }
    call_trim(c);
    c->state = l;
    look(l);
}
