/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker.h"

#include <string.h>
#include <sys/wait.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/chan.h"
#include "agentd/childlog.h"
#include "agentd/monlink.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    WORKER_BUCKETS = 1024,
    WORKER_START_MS = 15000, /* the monitor answers at once; this is for one that does not */
    WORKER_FAILURES = 3,     /* ends in a row without an answer: then the queue fails */
    WORKER_MAX_POLLS = 256,  /* reads of logs that wait; who follows one asks again later */
};

/* Followers of logs ask over and over: they wait apart, and take turns with everything else. */
enum queue { QUEUE_CALLS, QUEUE_POLLS, QUEUES };

struct op {
    enum worker_op number;
    enum worker_role role;
    const char *name;
    const struct msg_type *reply;
};

static const struct op ops[] = {
#define WOP(id, number, role, request, reply, help) {WORKER_##id, ROLE_##role, #id, &reply##_type},
#include "agentd/worker_ops.def"
#undef WOP
};

/* One request. */
struct ask {
    struct ask *next;
    const struct op *op;
    worker_done_fn done;
    void *arg;
    struct bytes body; /* owned */
    uint32_t serial;
    int64_t deadline_ms; /* while it waits: until it must have been sent */
};

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_READY, WORKER_ENDING };

/* A user's worker of one role.  The struct stays while the process comes and goes. */
struct worker {
    struct worker *next;
    struct workers *pool;
    uint32_t uid;
    enum worker_role role;
    enum worker_state state;
    uint32_t process;
    uint32_t serial; /* of the spawn */
    struct chan *chan;
    struct childlog *log;
    struct ask *current;
    struct ask *queue[QUEUES], **tail[QUEUES];
    size_t queued[QUEUES];
    enum queue last; /* where the last one came from */
    int64_t state_ms, used_ms, born_ms;
    unsigned failures;
    const char *end_reason; /* why it is being killed */
};

struct workers {
    struct agentd *a;
    sd_event_source *tick;
    struct worker *buckets[WORKER_BUCKETS];
    size_t count;
    uint32_t serial;
};

static const struct role {
    const char *name;
    const char *late, *queued; /* what a user is told past the deadline */
    enum err_code late_code;
} roles[] = {
    [ROLE_CONTROL] = {"control", "did not finish in time", "", ERR_TIMEOUT},
    [ROLE_FILE] = {"file", "did not finish in time", "", ERR_TIMEOUT},
    [ROLE_ACCT] = {"acct", "had no answer from slurmdbd in time", ", which waits for slurmdbd",
                   ERR_SLURM_DOWN},
};

static const char *role_name(enum worker_role role)
{
    return roles[role].name;
}

static void set_state(struct worker *w, enum worker_state state)
{
    static const bool allowed[4][4] = {
        [WORKER_NONE] = {[WORKER_STARTING] = true},
        [WORKER_STARTING] = {[WORKER_READY] = true, [WORKER_NONE] = true, [WORKER_ENDING] = true},
        [WORKER_READY] = {[WORKER_ENDING] = true, [WORKER_NONE] = true},
        [WORKER_ENDING] = {[WORKER_NONE] = true, [WORKER_ENDING] = true},
    };
    if (!allowed[w->state][state])
        log_err("worker uid=%u role=%s: from state %d to %d", w->uid, role_name(w->role),
                (int)w->state, (int)state);
    w->state = state;
    w->state_ms = clock_mono_ms();
}

/* ---- requests ---- */

static void ask_free(struct ask *q)
{
    free((void *)q->body.p);
    free(q);
}

static void finish(struct ask *q, const struct worker_answer *answer)
{
    q->done(q->arg, answer);
    ask_free(q);
}

static void fail(struct ask *q, bool sent, const struct err *err)
{
    struct worker_answer a = {.sent = sent, .err = *err};
    finish(q, &a);
}

static bool has_queued(const struct worker *w)
{
    return w->queue[QUEUE_CALLS] || w->queue[QUEUE_POLLS];
}

static struct ask *shift_from(struct worker *w, enum queue which)
{
    struct ask *q = w->queue[which];
    if (!q)
        return NULL;
    w->queue[which] = q->next;
    if (!q->next)
        w->tail[which] = &w->queue[which];
    w->queued[which]--;
    q->next = NULL;
    return q;
}

static struct ask *shift(struct worker *w)
{
    enum queue turn = w->last == QUEUE_CALLS ? QUEUE_POLLS : QUEUE_CALLS;
    w->last = w->queue[turn] ? turn : w->last;
    return shift_from(w, w->last);
}

static void fail_queue(struct worker *w, const struct err *err)
{
    /* The callbacks may ask again: only what waits now fails. */
    for (int i = 0; i < QUEUES; i++)
        for (size_t n = w->queued[i]; n > 0; n--)
            fail(shift_from(w, (enum queue)i), false, err);
}

static int64_t deadline_ms(const struct worker *w)
{
    const struct agentd_conf *c = &w->pool->a->conf;
    const int64_t seconds[] = {
        [ROLE_CONTROL] = c->call_deadline_s,
        [ROLE_FILE] = c->file_deadline_s,
        [ROLE_ACCT] = c->acct_deadline_s,
    };
    return seconds[w->role] * 1000;
}

/* ---- the process ---- */

static void close_ends(struct worker *w)
{
    chan_free(w->chan);
    w->chan = NULL;
    childlog_free(w->log);
    w->log = NULL;
}

/* Has the monitor end the process; what it was doing fails now, what waits goes to the next one. */
static void end_process(struct worker *w, const char *reason, enum err_code code)
{
    struct ask *q = w->current;
    w->current = NULL;
    w->end_reason = reason;
    if (w->process)
        monlink_kill(w->pool->a->monitor, w->process);
    chan_free(w->chan);
    w->chan = NULL;
    set_state(w, WORKER_ENDING);
    if (q) {
        struct err err = {0};
        err_set(&err, code, "%s: your worker on the server %s", q->op->name, reason);
        fail(q, true, &err);
    }
}

static void pump(struct worker *w);

static void on_frame(void *arg, const struct chan_head *head, struct bytes body)
{
    struct worker *w = arg;
    struct ask *q = w->current;
    if (!q || head->serial != q->serial || head->op != (uint32_t)q->op->number) {
        log_warning("worker uid=%u role=%s: an answer nobody asked for", w->uid,
                    role_name(w->role));
        end_process(w, "gave an answer nobody asked for", ERR_INTERNAL);
        return;
    }
    struct worker_answer a = {.sent = true, .answered = true, .body = body};
    AUTO(arena_done) struct arena arena = {0};
    if (head->code) {
        msg_unpack_error(body, &a.err);
    } else {
        /* Read once here, so that nobody passes on what is no such body. */
        AUTO(free) void *reply = calloc(1, q->op->reply->size);
        arena_init(&arena, 8 * (size_t)CHAN_MAX_BODY);
        if (!reply)
            err_set(&a.err, ERR_BUSY, "no memory for a worker's answer");
        else if (msg_unpack(q->op->reply, body, &arena, MSG_STRICT, reply, &a.err) < 0)
            a.err.code = ERR_PROTOCOL;
    }
    if (a.err.code == ERR_PROTOCOL) {
        log_warning("worker uid=%u role=%s: bad answer to %s: %s", w->uid, role_name(w->role),
                    q->op->name, a.err.text);
        end_process(w, "gave an answer that cannot be read", ERR_INTERNAL);
        return;
    }
    w->current = NULL;
    w->failures = 0;
    w->used_ms = clock_mono_ms();
    /* The callback may ask the next thing, so it comes before the queue moves on; it cannot end
     * this worker. */
    finish(q, &a);
    pump(w);
}

static void on_down(void *arg, const char *why)
{
    struct worker *w = arg;
    bool working = w->current != NULL;
    if (working)
        log_warning("worker uid=%u role=%s: %s in the middle of %s", w->uid, role_name(w->role),
                    why, w->current->op->name);
    end_process(w, "ended", ERR_BUSY);
}

static void send_next(struct worker *w)
{
    struct err err = {0};
    struct ask *q = shift(w);
    if (!q)
        return;
    struct chan_head head = {.serial = q->serial, .op = (uint32_t)q->op->number};
    if (chan_send(w->chan, &head, q->body, &err) < 0) {
        fail(q, false, &err);
        return;
    }
    free((void *)q->body.p);
    q->body = (struct bytes){NULL, 0};
    q->deadline_ms = clock_mono_ms() + deadline_ms(w);
    w->current = q;
}

static void start(struct worker *w)
{
    struct workers *p = w->pool;
    struct err err = {0};
    w->serial = ++p->serial;
    set_state(w, WORKER_STARTING);
    if (monlink_spawn(p->a->monitor, w->serial, w->uid, w->role, &err) < 0) {
        set_state(w, WORKER_NONE);
        fail_queue(w, &err);
    }
}

/* Gives the next request to an idle worker, or starts one. */
static void pump(struct worker *w)
{
    while (has_queued(w) && !w->current && w->state == WORKER_READY)
        send_next(w);
    if (has_queued(w) && w->state == WORKER_NONE)
        start(w);
}

/* ---- the pool ---- */

static struct worker **bucket(struct workers *p, uint32_t uid)
{
    return &p->buckets[uid % WORKER_BUCKETS];
}

static struct worker *get(struct workers *p, uint32_t uid, enum worker_role role)
{
    for (struct worker *w = *bucket(p, uid); w; w = w->next)
        if (w->uid == uid && w->role == role)
            return w;
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->pool = p;
    w->uid = uid;
    w->role = role;
    for (int i = 0; i < QUEUES; i++)
        w->tail[i] = &w->queue[i];
    w->next = *bucket(p, uid);
    *bucket(p, uid) = w;
    return w;
}

static struct worker *find_process(struct workers *p, const struct monitor_event *ev)
{
    for (struct worker *w = *bucket(p, ev->uid); w; w = w->next)
        if (w->process == ev->process && w->process)
            return w;
    return NULL;
}

static struct worker *find_spawn(struct workers *p, const struct monitor_event *ev)
{
    for (struct worker *w = *bucket(p, ev->uid); w; w = w->next)
        if (w->state == WORKER_STARTING && w->serial == ev->serial)
            return w;
    return NULL;
}

static void expire_queue(struct worker *w, int64_t now)
{
    for (int i = 0; i < QUEUES; i++)
        while (w->queue[i] && w->queue[i]->deadline_ms < now) {
            struct err err = {0};
            err_set(&err, ERR_BUSY, "%s: waited too long for your worker on the server%s",
                    w->queue[i]->op->name, roles[w->role].queued);
            fail(shift_from(w, (enum queue)i), false, &err);
        }
}

static void check(struct worker *w, int64_t now)
{
    const struct agentd_conf *c = &w->pool->a->conf;
    expire_queue(w, now);
    if (w->current && w->current->deadline_ms < now) {
        log_warning("worker uid=%u role=%s: %s took longer than %lld s: killed", w->uid,
                    role_name(w->role), w->current->op->name, (long long)(deadline_ms(w) / 1000));
        end_process(w, roles[w->role].late, roles[w->role].late_code);
        return;
    }
    if (w->state == WORKER_READY && !w->current && !has_queued(w) &&
        (now - w->used_ms > c->worker_idle_s * 1000 || now - w->born_ms > c->worker_age_s * 1000))
        end_process(w, "was idle", ERR_BUSY);
    if (w->state == WORKER_STARTING && now - w->state_ms > WORKER_START_MS) {
        struct err err = {0};
        err_set(&err, ERR_BUSY, "your worker on the server did not start");
        set_state(w, WORKER_NONE);
        fail_queue(w, &err);
    }
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    struct workers *p = arg;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < WORKER_BUCKETS; i++)
        for (struct worker **at = &p->buckets[i]; *at;) {
            struct worker *w = *at;
            check(w, now);
            if (w->state == WORKER_NONE && !has_queued(w) &&
                now - w->state_ms > p->a->conf.worker_idle_s * 1000) {
                *at = w->next;
                free(w);
                continue;
            }
            at = &w->next;
        }
    sd_event_source_set_time(s, usec + 500000);
    return 0;
}

struct workers *workers_new(struct agentd *a, struct err *err)
{
    struct workers *p = calloc(1, sizeof *p);
    uint64_t now;
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    if (!p || sd_event_add_time(a->loop, &p->tick, CLOCK_MONOTONIC, now + 500000, 100000, on_tick,
                                p) < 0) {
        err_set(err, ERR_INTERNAL, "no memory");
        free(p);
        return NULL;
    }
    sd_event_source_set_enabled(p->tick, SD_EVENT_ON);
    p->a = a;
    return p;
}

void workers_free(struct workers *p)
{
    struct err err = {0};
    if (!p)
        return;
    err_set(&err, ERR_BUSY, "the server is stopping");
    for (size_t i = 0; i < WORKER_BUCKETS; i++)
        while (p->buckets[i]) {
            struct worker *w = p->buckets[i];
            p->buckets[i] = w->next;
            if (w->current)
                fail(w->current, true, &err);
            fail_queue(w, &err);
            close_ends(w);
            free(w);
        }
    sd_event_source_disable_unref(p->tick);
    free(p);
}

size_t workers_count(const struct workers *p)
{
    return p->count;
}

static const struct op *find_op(enum worker_op number)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].number == number)
            return &ops[i];
    return NULL;
}

int workers_ask(struct workers *p, uint32_t uid, enum worker_op number, struct bytes body,
                worker_done_fn done, void *arg, struct err *err)
{
    const struct op *op = find_op(number);
    struct worker *w = get(p, uid, op->role);
    struct ask *q = calloc(1, sizeof *q);
    uint8_t *copy = malloc(body.n ? body.n : 1);
    enum queue which = number == WORKER_log ? QUEUE_POLLS : QUEUE_CALLS;
    size_t max = which == QUEUE_POLLS ? WORKER_MAX_POLLS : (size_t)p->a->conf.max_queued_per_user;
    if (!w || !q || !copy || w->queued[which] >= max) {
        free(q);
        free(copy);
        return err_set(err, ERR_BUSY, "%s: too many requests of yours are waiting", op->name);
    }
    if (body.n)
        memcpy(copy, body.p, body.n);
    *q = (struct ask){
        .op = op,
        .done = done,
        .arg = arg,
        .body = {copy, body.n},
        .serial = ++p->serial,
        .deadline_ms = clock_mono_ms() + deadline_ms(w),
    };
    *w->tail[which] = q;
    w->tail[which] = &q->next;
    w->queued[which]++;
    pump(w);
    return 0;
}

void workers_spawned(struct workers *p, const struct monitor_event *ev, int fd, int stderr_fd)
{
    struct worker *w = find_spawn(p, ev);
    struct err err = {0};
    p->count++;
    if (!w) { /* given up meanwhile */
        close(fd);
        close(stderr_fd);
        monlink_kill(p->a->monitor, ev->process);
        return;
    }
    char who[80];
    snprintf(who, sizeof who, "worker uid=%u role=%s", w->uid, role_name(w->role));
    w->process = ev->process;
    w->born_ms = w->used_ms = clock_mono_ms();
    w->log = childlog_new(p->a->loop, stderr_fd, who, &err);
    w->chan = chan_new(p->a->loop, fd, on_frame, on_down, w, &err);
    if (!w->chan) {
        end_process(w, "cannot be reached", ERR_BUSY);
        return;
    }
    set_state(w, WORKER_READY);
    pump(w);
}

void workers_refused(struct workers *p, const struct monitor_event *ev)
{
    struct worker *w = find_spawn(p, ev);
    struct err err = {0};
    if (!w)
        return;
    err_set(&err, err_from_wire(ev->code), "%s", ev->text);
    set_state(w, WORKER_NONE);
    fail_queue(w, &err);
}

static void log_end(const struct worker *w, int status)
{
    const char *why = w->end_reason ? w->end_reason : "ended by itself";
    if (WIFSIGNALED(status))
        log_info("worker uid=%u role=%s: %s (signal %d)", w->uid, role_name(w->role), why,
                 WTERMSIG(status));
    else
        log_info("worker uid=%u role=%s: %s (exit status %d)", w->uid, role_name(w->role), why,
                 WEXITSTATUS(status));
}

void workers_ended(struct workers *p, const struct monitor_event *ev)
{
    struct worker *w = find_process(p, ev);
    p->count--;
    if (!w)
        return;
    struct ask *q = w->current;
    bool wanted = w->end_reason && strcmp(w->end_reason, "was idle") == 0;
    log_end(w, ev->status);
    w->current = NULL;
    w->process = 0;
    close_ends(w);
    set_state(w, WORKER_NONE);
    w->end_reason = NULL;
    if (!wanted)
        w->failures++;
    struct err err = {0};
    if (q) {
        err_set(&err, ERR_BUSY, "%s: your worker on the server ended", q->op->name);
        fail(q, true, &err);
    }
    if (w->failures >= WORKER_FAILURES) {
        struct err all = {0};
        err_set(&all, ERR_BUSY, "your worker on the server ended %u times in a row", w->failures);
        w->failures = 0;
        fail_queue(w, &all);
    }
    pump(w);
}

/* ---- answers with jobs ---- */

int worker_jobs(const struct worker_answer *answer, struct arena *arena, struct jobs_reply *ret,
                worker_job_fn fn, void *arg, struct err *err)
{
    *ret = (struct jobs_reply){0};
    *err = answer->err;
    if (err->code != ERR_NONE ||
        msg_unpack(&jobs_reply_type, answer->body, arena, MSG_LENIENT, ret, err) < 0)
        return -1;
    for (size_t i = 0; i < ret->jobs.n; i++) {
        AUTO(jobrec_unref) struct jobrec *rec = jobrec_new(ret->jobs.v[i], err);
        if (!rec || fn(arg, rec) != 0)
            return -1;
    }
    return 0;
}
