/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker.h"

#include <string.h>
#include <sys/wait.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/chan.h"
#include "agentd/childlog.h"
#include "agentd/gate.h"
#include "agentd/metrics.h"
#include "agentd/monlink.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    WORKER_BUCKETS = 1024,
    WORKER_START_MS = 15000, /* the monitor answers at once; this is for one that does not */
    WORKER_FAILURES = 3,     /* ends in a row without an answer: then the queue fails */
    WORKER_MAX_POLLS = 256,  /* reads of logs that wait; who follows one asks again later */
    WORKER_FEW_BYTES = 256,  /* of a request about a few jobs, not about hundreds */
    WORKER_AGAIN_MS = 1000,
};

/* Followers of logs ask over and over: they wait apart, and take turns with everything else. Urgent
 * ones go before both, and do not wait for the gate. */
enum queue { QUEUE_URGENT, QUEUE_CALLS, QUEUE_POLLS, QUEUES };

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
    size_t size;       /* of it, also when it has been sent */
    uint32_t serial;
    int64_t deadline_ms; /* while it waits: until it must have been sent */
    int64_t since_us;    /* it was asked; then, it was sent */
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
    struct gate_call pass;  /* of what it is doing */
    struct worker *next_waiting;
    bool waits; /* for the gate */
};

struct workers {
    struct agentd *a;
    sd_event_source *tick;
    struct worker *buckets[WORKER_BUCKETS];
    struct gate *gate; /* to slurmctld */
    struct worker *waiting, **waiting_tail;
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
    size_t at = (size_t)(q->op - ops);
    metrics_add(work, at, result_of(answer->err.code), 1);
    if (answer->sent)
        metrics_took(work_time, at, q->since_us);
    q->done(q->arg, answer);
    ask_free(q);
}

/* It was not sent. */
static void fail(struct ask *q, const struct err *err)
{
    struct worker_answer a = {.err = *err};
    finish(q, &a);
}

static void fail_sent(struct ask *q, const struct worker *w, const struct err *err)
{
    struct worker_answer a = {.sent = true, .process = w->process, .err = *err};
    finish(q, &a);
}

/* What it was doing has ended, and how; gives it. */
static struct ask *take_current(struct worker *w, enum err_code code)
{
    bool silent = code == ERR_SLURM_DOWN || code == ERR_TIMEOUT || code == ERR_IN_DOUBT;
    gate_leave(w->pool->gate, &w->pass, silent, clock_mono_us());
    return TAKE(w->current);
}

static bool has_queued(const struct worker *w)
{
    return w->queue[QUEUE_URGENT] || w->queue[QUEUE_CALLS] || w->queue[QUEUE_POLLS];
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
    if (w->queue[QUEUE_URGENT])
        return shift_from(w, QUEUE_URGENT);
    enum queue turn = w->last == QUEUE_CALLS ? QUEUE_POLLS : QUEUE_CALLS;
    w->last = w->queue[turn] ? turn : w->last;
    return shift_from(w, w->last);
}

static void fail_queue(struct worker *w, const struct err *err)
{
    /* The callbacks may ask again: only what waits now fails. */
    for (int i = 0; i < QUEUES; i++)
        for (size_t n = w->queued[i]; n > 0; n--)
            fail(shift_from(w, (enum queue)i), err);
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
    if (code != roles[w->role].late_code) /* slurmctld has not answered, nor been too slow */
        w->pass.counts = false;
    struct ask *q = take_current(w, code);
    w->end_reason = reason;
    if (w->process)
        monlink_kill(w->pool->a->monitor, w->process);
    chan_free(w->chan);
    w->chan = NULL;
    set_state(w, WORKER_ENDING);
    if (q) {
        struct err err = {0};
        err_set(&err, code, "%s: your worker on the server %s", q->op->name, reason);
        fail_sent(q, w, &err);
    }
}

static void pump(struct worker *w);
static void let_in(struct workers *p);

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
    struct worker_answer a = {.sent = true, .process = w->process, .answered = true, .body = body};
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
    take_current(w, a.err.code);
    w->failures = 0;
    w->used_ms = clock_mono_ms();
    /* The callback may ask the next thing, so it comes before the queue moves on; it cannot end
     * this worker. */
    finish(q, &a);
    pump(w);
    let_in(w->pool);
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

/* Does slurmctld, when all is well, answer it at once? */
static bool is_short(const struct ask *q)
{
    switch (q->op->number) {
    case WORKER_submit:
    case WORKER_script:
    case WORKER_info:
        return true;
    case WORKER_control:
    case WORKER_steps:
        return q->size <= WORKER_FEW_BYTES;
    default:
        return false;
    }
}

static void send_next(struct worker *w)
{
    struct err err = {0};
    struct ask *q = shift(w);
    w->pass.counts = is_short(q);
    struct chan_head head = {.serial = q->serial, .op = (uint32_t)q->op->number};
    if (chan_send(w->chan, &head, q->body, &err) < 0) {
        w->pass.counts = false;
        gate_leave(w->pool->gate, &w->pass, false, clock_mono_us());
        fail(q, &err);
        return;
    }
    free((void *)q->body.p);
    q->body = (struct bytes){NULL, 0};
    metrics_took(work_wait, w->role, q->since_us);
    q->since_us = clock_mono_us();
    q->deadline_ms = q->since_us / 1000 + deadline_ms(w);
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

static bool is_idle(const struct worker *w)
{
    return has_queued(w) && !w->current && w->state == WORKER_READY;
}

/* Users take turns: who comes later goes behind those that wait, be there a place or not. */
static bool enter(struct worker *w)
{
    struct workers *p = w->pool;
    if (w->role != ROLE_CONTROL || w->queue[QUEUE_URGENT] ||
        (!w->waits && !p->waiting && gate_enter(p->gate, &w->pass, clock_mono_us())))
        return true;
    if (!w->waits) {
        w->waits = true;
        w->next_waiting = NULL;
        *p->waiting_tail = w;
        p->waiting_tail = &w->next_waiting;
    }
    return false;
}

static void wait_no_more(struct worker *w)
{
    struct workers *p = w->pool;
    struct worker **at = &p->waiting;
    if (!w->waits)
        return;
    while (*at != w)
        at = &(*at)->next_waiting;
    *at = w->next_waiting;
    if (!*at)
        p->waiting_tail = at;
    w->waits = false;
}

static void let_in(struct workers *p)
{
    struct worker *w;
    while ((w = p->waiting)) {
        bool idle = is_idle(w);
        if (idle && !gate_enter(p->gate, &w->pass, clock_mono_us()))
            return;
        wait_no_more(w);
        if (idle)
            send_next(w);
        pump(w);
    }
}

/* Gives the next request to an idle worker, or starts one. */
static void pump(struct worker *w)
{
    while (is_idle(w) && enter(w))
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
    w->last = QUEUE_CALLS;
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
            struct err err = {.retry_after_ms = WORKER_AGAIN_MS};
            err_set(&err, ERR_BUSY, "%s: waited too long for your worker on the server%s",
                    w->queue[i]->op->name, roles[w->role].queued);
            fail(shift_from(w, (enum queue)i), &err);
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
    gate_tick(p->gate, clock_mono_us());
    let_in(p);
    for (size_t i = 0; i < WORKER_BUCKETS; i++)
        for (struct worker **at = &p->buckets[i]; *at;) {
            struct worker *w = *at;
            check(w, now);
            if (w->state == WORKER_NONE && !has_queued(w) &&
                now - w->state_ms > p->a->conf.worker_idle_s * 1000) {
                *at = w->next;
                wait_no_more(w);
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
    if (!p || !(p->gate = gate_new(&a->conf)) ||
        sd_event_add_time(a->loop, &p->tick, CLOCK_MONOTONIC, now + 500000, 100000, on_tick, p) <
            0) {
        err_set(err, ERR_INTERNAL, "no memory");
        gate_free(p ? p->gate : NULL);
        free(p);
        return NULL;
    }
    sd_event_source_set_enabled(p->tick, SD_EVENT_ON);
    p->a = a;
    p->waiting_tail = &p->waiting;
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
            wait_no_more(w);
            if (w->current)
                fail_sent(take_current(w, ERR_BUSY), w, &err);
            fail_queue(w, &err);
            close_ends(w);
            free(w);
        }
    sd_event_source_disable_unref(p->tick);
    gate_free(p->gate);
    free(p);
}

struct gate *workers_gate(const struct workers *p)
{
    return p->gate;
}

size_t workers_count(const struct workers *p)
{
    return p->count;
}

bool workers_ending(struct workers *p, uint32_t uid, uint32_t process)
{
    for (const struct worker *w = *bucket(p, uid); w; w = w->next)
        if (w->uid == uid && w->process == process && w->state == WORKER_ENDING)
            return true;
    return false;
}

void workers_use(const struct workers *p, int64_t running[ROLE_STAGE + 1],
                 int64_t waiting[ROLE_STAGE + 1])
{
    for (size_t i = 0; i < WORKER_BUCKETS; i++)
        for (const struct worker *w = p->buckets[i]; w; w = w->next) {
            running[w->role] += w->process != 0;
            waiting[w->role] += (int64_t)(w->queued[QUEUE_URGENT] + w->queued[QUEUE_CALLS] +
                                          w->queued[QUEUE_POLLS]);
        }
}

static const struct op *find_op(enum worker_op number)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (ops[i].number == number)
            return &ops[i];
    return NULL;
}

static size_t queue_max(const struct workers *p, enum queue which)
{
    const size_t max[QUEUES] = {
        [QUEUE_URGENT] = SIZE_MAX, /* the caller's own table bounds them */
        [QUEUE_CALLS] = (size_t)p->a->conf.max_queued_per_user,
        [QUEUE_POLLS] = WORKER_MAX_POLLS,
    };
    return max[which];
}

static int put(struct workers *p, uint32_t uid, const struct op *op, enum queue which,
               struct bytes body, worker_done_fn done, void *arg, struct err *err)
{
    struct worker *w = get(p, uid, op->role);
    struct ask *q = calloc(1, sizeof *q);
    uint8_t *copy = malloc(body.n ? body.n : 1);
    if (!w || !q || !copy || w->queued[which] >= queue_max(p, which)) {
        free(q);
        free(copy);
        err->retry_after_ms = WORKER_AGAIN_MS;
        return err_set(err, ERR_BUSY, "%s: too many requests of yours are waiting", op->name);
    }
    if (body.n)
        memcpy(copy, body.p, body.n);
    *q = (struct ask){
        .op = op,
        .done = done,
        .arg = arg,
        .body = {copy, body.n},
        .size = body.n,
        .serial = ++p->serial,
        .deadline_ms = clock_mono_ms() + deadline_ms(w),
        .since_us = clock_mono_us(),
    };
    *w->tail[which] = q;
    w->tail[which] = &q->next;
    w->queued[which]++;
    pump(w);
    return 0;
}

int workers_ask(struct workers *p, uint32_t uid, enum worker_op number, struct bytes body,
                worker_done_fn done, void *arg, struct err *err)
{
    const struct op *op = find_op(number);
    if (op->role == ROLE_CONTROL && gate_check(p->gate, clock_mono_us(), err) < 0)
        return -1;
    return put(p, uid, op, number == WORKER_log ? QUEUE_POLLS : QUEUE_CALLS, body, done, arg, err);
}

int workers_insist(struct workers *p, uint32_t uid, enum worker_op number, struct bytes body,
                   worker_done_fn done, void *arg, struct err *err)
{
    return put(p, uid, find_op(number), QUEUE_URGENT, body, done, arg, err);
}

void workers_spawned(struct workers *p, const struct monitor_event *ev, int fd, int stderr_fd)
{
    struct worker *w = find_spawn(p, ev);
    struct err err = {0};
    p->count++;
    metrics_add(workers_started, ev->role < DIM_role_N ? ev->role : 0, 0, 1);
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
    w->pass.counts = false; /* it has died: that was no answer */
    struct ask *q = take_current(w, ERR_BUSY);
    bool wanted = w->end_reason && strcmp(w->end_reason, "was idle") == 0;
    log_end(w, ev->status);
    w->process = 0;
    close_ends(w);
    set_state(w, WORKER_NONE);
    w->end_reason = NULL;
    if (!wanted) {
        w->failures++;
        metrics_add(workers_failed, w->role, 0, 1);
    }
    struct err err = {0};
    if (q) {
        err_set(&err, ERR_BUSY, "%s: your worker on the server ended", q->op->name);
        fail_sent(q, w, &err);
    }
    if (w->failures >= WORKER_FAILURES) {
        struct err all = {0};
        err_set(&all, ERR_BUSY, "your worker on the server ended %u times in a row", w->failures);
        w->failures = 0;
        fail_queue(w, &all);
    }
    pump(w);
    let_in(p);
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
