/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/stagers.h"

#include <string.h>
#include <sys/wait.h>

#include "agentd/agentd.h"
#include "agentd/chan.h"
#include "agentd/childlog.h"
#include "agentd/metrics.h"
#include "agentd/monlink.h"
#include "agentd/stage_op.h"
#include "agentd/staging.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/stage.h"

enum {
    START_MS = 15000,
    STOP_MS = 10000,                        /* to take back what is half done, */
    ABORT_MS = STAGE_ABORT_S * 1000 + 5000, /* or an upload in parts */
    SILENT_MS = 120000,    /* a worker that moves data says something each half second; see below */
    SERIALS = 0x80000000U, /* apart from those of other workers */
};

static const int64_t MOST_BYTES = 1LL << 53;

enum state { STARTING, WORKING, IDLE, STOPPING };

struct stager {
    struct stager *next;
    struct stagers *pool;
    uint32_t uid, serial, process, op, asked;
    uint8_t request[REQUEST_ID];
    enum state state;
    bool half_done; /* of inputs, when it was stopped */
    bool again;
    struct chan *chan;
    struct childlog *log;
    struct bytes first; /* the first task, while it starts */
    stager_fn fn;       /* NULL: nobody wants to know */
    void *arg;
    int64_t state_ms, heard_ms;
    int64_t left; /* bytes that it has still to move, as it says */
};

struct stagers {
    struct agentd *a;
    struct stager *list;
    uint32_t serial;
};

static void set_state(struct stager *t, enum state state)
{
    static const bool allowed[4][4] = {
        [STARTING] = {[WORKING] = true, [STOPPING] = true},
        [WORKING] = {[IDLE] = true, [STOPPING] = true},
        [IDLE] = {[WORKING] = true, [STOPPING] = true},
        [STOPPING] = {[STOPPING] = true},
    };
    if (!allowed[t->state][state])
        log_err("stage worker uid=%u: from state %d to %d", t->uid, (int)t->state, (int)state);
    t->state = state;
    t->state_ms = t->heard_ms = clock_mono_ms();
}

static void set_stopping(struct stager *t)
{
    t->half_done |= t->state == WORKING && t->op == STAGE_OP_in;
    set_state(t, STOPPING);
}

static void stager_free(struct stager *t)
{
    chan_free(t->chan);
    childlog_free(t->log);
    free((void *)t->first.p);
    free(t);
}

static void unlink_stager(struct stager *t)
{
    struct stager **at = &t->pool->list;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
}

static void tell(struct stager *t, enum stager_news news, const struct stage_report *report,
                 const struct err *err)
{
    if (t->fn)
        t->fn(t->arg, news, report, err);
}

/* The last that is said of it. */
static void tell_end(struct stager *t, enum stager_news news, const struct err *err)
{
    stager_fn fn = t->fn;
    t->fn = NULL;
    if (fn)
        fn(t->arg, news, NULL, err);
}

static void give_up(struct stager *t, const char *why)
{
    struct err err = {0};
    chan_free(t->chan);
    t->chan = NULL;
    if (t->process)
        monlink_kill(t->pool->a->monitor, t->process);
    set_stopping(t);
    err_set(&err, ERR_BUSY, "its stage worker %s", why);
    tell_end(t, STAGER_DIED, &err);
}

/* ---- frames ---- */

/* Of what it says, which need not be true: no sum of it may overflow. */
static int64_t bytes_left(const struct stage_report *r)
{
    bool sane = r->bytes >= 0 && r->bytes_total > r->bytes && r->bytes_total < MOST_BYTES;
    return !r->done && sane ? r->bytes_total - r->bytes : 0;
}

static void on_frame(void *arg, const struct chan_head *head, struct bytes body)
{
    struct stager *t = arg;
    AUTO(arena_done) struct arena arena = {0};
    struct stage_report r;
    struct err err = {0};
    t->heard_ms = clock_mono_ms();
    if (t->state != WORKING || head->serial != t->asked || head->op != t->op) {
        give_up(t, "said what nobody asked for");
        return;
    }
    if (head->code) {
        msg_unpack_error(body, &err);
        set_state(t, IDLE);
        tell(t, STAGER_FAILED, NULL, &err);
        return;
    }
    if (msg_unpack(&stage_report_type, body, &arena, MSG_STRICT, &r, &err) < 0) {
        give_up(t, "said what cannot be read");
        return;
    }
    if (r.done)
        set_state(t, IDLE);
    t->left = bytes_left(&r);
    t->again = false; /* it gets on */
    tell(t, r.done ? STAGER_DONE : STAGER_PROGRESS, &r, &err);
}

static void on_down(void *arg, const char *why)
{
    (void)why;
    give_up(arg, "ended in the middle of it");
}

static int send_task(struct stager *t, struct bytes body, struct err *err)
{
    struct chan_head head = {.serial = ++t->asked, .op = t->op};
    return chan_send(t->chan, &head, body, err);
}

/* ---- for staging.c ---- */

struct stagers *stagers_new(struct agentd *a)
{
    struct stagers *p = calloc(1, sizeof *p);
    if (p)
        p->a = a;
    return p;
}

void stagers_free(struct stagers *p)
{
    while (p && p->list) {
        struct stager *t = p->list;
        p->list = t->next;
        stager_free(t);
    }
    free(p);
}

static int copy_task(const struct stage_task *task, struct bytes *out, struct err *err)
{
    AUTO(wire_out_free) struct wire_out *w = wire_out_new();
    if (w)
        msg_pack(&stage_task_type, task, w);
    struct bytes b = w ? wire_out_bytes(w) : (struct bytes){NULL, 0};
    uint8_t *copy = b.p ? malloc(b.n) : NULL;
    if (!copy)
        return err_set(err, ERR_BUSY, "no memory");
    memcpy(copy, b.p, b.n);
    *out = (struct bytes){copy, b.n};
    return 0;
}

struct stager *stagers_start(struct stagers *p, uint32_t uid, const uint8_t request[REQUEST_ID],
                             uint32_t op, const struct stage_task *task, bool again, stager_fn fn,
                             void *arg, struct err *err)
{
    struct stager *t = calloc(1, sizeof *t);
    if (!t || copy_task(task, &t->first, err) < 0) {
        err_set(err, ERR_BUSY, "no memory");
        free(t);
        return NULL;
    }
    t->pool = p;
    t->uid = uid;
    memcpy(t->request, request, REQUEST_ID);
    t->op = op;
    t->again = again;
    t->serial = SERIALS | ++p->serial;
    t->fn = fn;
    t->arg = arg;
    t->state_ms = clock_mono_ms();
    if (monlink_stage(p->a->monitor, t->serial, uid, request, err) < 0) {
        stager_free(t);
        return NULL;
    }
    t->next = p->list;
    p->list = t;
    return t;
}

int stager_ask(struct stager *t, uint32_t op, const struct stage_task *task, struct err *err)
{
    struct bytes body;
    if (t->state != IDLE || !t->chan)
        return err_set(err, ERR_BUSY, "the stage worker is busy");
    if (copy_task(task, &body, err) < 0)
        return -1;
    t->op = op;
    int rc = send_task(t, body, err);
    free((void *)body.p);
    if (rc == 0)
        set_state(t, WORKING);
    return rc;
}

void stager_stop(struct stager *t)
{
    t->fn = NULL;
    chan_free(t->chan); /* which it notices */
    t->chan = NULL;
    set_stopping(t);
}

bool stagers_undo(const struct stagers *p, uint32_t uid, const uint8_t request[REQUEST_ID])
{
    for (const struct stager *t = p->list; t; t = t->next)
        if (t->half_done && t->uid == uid && memcmp(t->request, request, REQUEST_ID) == 0)
            return true;
    return false;
}

size_t stagers_count(const struct stagers *p)
{
    size_t n = 0;
    for (const struct stager *t = p->list; t; t = t->next)
        n++;
    return n;
}

size_t stagers_of(const struct stagers *p, uint32_t uid)
{
    size_t n = 0;
    for (const struct stager *t = p->list; t; t = t->next)
        n += t->uid == uid;
    return n;
}

size_t stagers_again_of(const struct stagers *p, uint32_t uid)
{
    size_t n = 0;
    for (const struct stager *t = p->list; t; t = t->next)
        n += t->uid == uid && t->again;
    return n;
}

int64_t stagers_left_of(const struct stagers *p, uint32_t uid)
{
    int64_t left = 0;
    for (const struct stager *t = p->list; t; t = t->next)
        left += t->uid == uid ? t->left : 0;
    return left;
}

/* ---- from the monitor ---- */

static struct stager *find_spawn(struct stagers *p, const struct monitor_event *ev)
{
    struct stager *t = p->list;
    while (t && (t->serial != ev->serial || t->process))
        t = t->next;
    return t;
}

void stagers_spawned(struct stagers *p, const struct monitor_event *ev, int fd, int stderr_fd)
{
    struct stager *t = find_spawn(p, ev);
    struct err err = {0};
    char who[60];
    if (!t) {
        close(fd);
        close(stderr_fd);
        monlink_kill(p->a->monitor, ev->process);
        return;
    }
    metrics_add(workers_started, ROLE_STAGE, 0, 1);
    t->process = ev->process;
    snprintf(who, sizeof who, "worker uid=%u role=stage", t->uid);
    t->log = childlog_new(p->a->loop, stderr_fd, who, &err);
    if (t->state == STOPPING) {
        close(fd);
        return;
    }
    t->chan = chan_new(p->a->loop, fd, on_frame, on_down, t, &err);
    set_state(t, WORKING);
    if (!t->chan || send_task(t, t->first, &err) < 0) {
        give_up(t, "cannot be reached");
        return;
    }
    free((void *)t->first.p);
    t->first = (struct bytes){NULL, 0};
}

void stagers_refused(struct stagers *p, const struct monitor_event *ev)
{
    struct stager *t = find_spawn(p, ev);
    struct err err = {0};
    if (!t)
        return;
    err_set(&err, err_from_wire(ev->code), "%s", ev->text);
    unlink_stager(t);
    tell_end(t, STAGER_REFUSED, &err);
    stager_free(t);
}

void stagers_ended(struct stagers *p, const struct monitor_event *ev)
{
    struct stager *t = p->list;
    struct err err = {0};
    while (t && t->process != ev->process)
        t = t->next;
    if (!t)
        return;
    if (WIFSIGNALED(ev->status))
        log_info("worker uid=%u role=stage: signal %d", t->uid, WTERMSIG(ev->status));
    metrics_add(workers_failed, ROLE_STAGE, 0, 1);
    unlink_stager(t);
    err_set(&err, ERR_BUSY, "its stage worker ended in the middle of it");
    tell_end(t, STAGER_DIED, &err);
    if (t->half_done)
        staging_undone(p->a->staging, t->uid, t->request, !WIFSIGNALED(ev->status));
    stager_free(t);
}

void stagers_tick(struct stagers *p)
{
    int64_t now = clock_mono_ms();
    for (struct stager *t = p->list, *next; t; t = next) {
        next = t->next;
        if (t->state == STARTING && now - t->state_ms > START_MS)
            give_up(t, "did not start");
        else if (t->state == WORKING && now - t->heard_ms > SILENT_MS)
            /* in a hung file system, or behind libslurm that waits for slurmctld */
            give_up(t, "says nothing any more");
        else if (t->state == STOPPING && t->process &&
                 now - t->state_ms > (t->op == STAGE_OP_out ? ABORT_MS : STOP_MS)) {
            monlink_kill(p->a->monitor, t->process);
            t->state_ms = now;
        } else if (t->state == STOPPING && !t->process && now - t->state_ms > 2 * START_MS) {
            unlink_stager(t); /* the monitor never said a word */
            stager_free(t);
        }
    }
}
