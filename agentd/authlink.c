/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/authlink.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/metrics.h"
#include "agentd/monlink.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

enum { AUTHLINK_QUEUE = 4096, AGAIN_MS = 500 };

/* One HELLO. */
struct asked {
    struct asked *next;
    auth_done_fn done;
    void *arg;
    int64_t deadline_ms;
    struct auth_request req;
};

struct auth {
    uint32_t process; /* 0: none */
    int fd;
    sd_event_source *source;
    struct asked *current;
    struct authlink *link;
    bool killed;
};

struct authlink {
    struct agentd *a;
    sd_event_source *tick;
    struct auth auths[MONITOR_AUTHS];
    struct asked *queue, **tail;
    size_t queued;
    uint32_t serial;
};

static void finish(struct asked *q, const struct auth_reply *reply, const struct err *err)
{
    q->done(q->arg, reply, err);
    free(q);
}

/* By whatever ended the process, or because the broker ends: another one answers soon. */
static void interrupted(struct asked *q)
{
    struct err err = {.retry_after_ms = AGAIN_MS};
    err_set(&err, ERR_MUNGE, "authentication on the server was interrupted");
    finish(q, NULL, &err);
}

static void detach(struct auth *auth)
{
    struct asked *q = auth->current;
    auth->current = NULL;
    sd_event_source_disable_unref(auth->source);
    auth->source = NULL;
    if (auth->fd >= 0)
        close(auth->fd);
    auth->fd = -1;
    auth->process = 0;
    auth->killed = false;
    if (q)
        interrupted(q);
}

static struct asked *take_queued(struct authlink *l)
{
    struct asked *q = l->queue;
    l->queue = q->next;
    if (!l->queue)
        l->tail = &l->queue;
    l->queued--;
    q->next = NULL;
    return q;
}

/* Gives waiting HELLOs to idle processes. */
static void pump(struct authlink *l)
{
    for (size_t i = 0; i < MONITOR_AUTHS && l->queue; i++) {
        struct auth *auth = &l->auths[i];
        if (!auth->process || auth->current || auth->killed)
            continue;
        struct asked *q = l->queue;
        if (send(auth->fd, &q->req, sizeof q->req, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof q->req) {
            log_warning("auth process %u does not take a HELLO: %s", auth->process,
                        strerror(errno));
            monlink_kill(l->a->monitor, auth->process);
            auth->killed = true;
            continue;
        }
        auth->current = take_queued(l);
        q->deadline_ms = clock_mono_ms() + l->a->conf.auth_deadline_s * 1000;
    }
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    struct auth *auth = arg;
    struct auth_reply reply;
    (void)s;
    (void)revents;
    ssize_t n = recv(fd, &reply, sizeof reply, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    struct asked *q = auth->current;
    if (n != sizeof reply || !q || reply.serial != q->req.serial) {
        if (n != 0)
            monlink_kill(auth->link->a->monitor, auth->process);
        auth->killed = true;
        sd_event_source_set_enabled(auth->source, SD_EVENT_OFF);
        return 0;
    }
    reply.text[sizeof reply.text - 1] = '\0';
    reply.user[sizeof reply.user - 1] = '\0';
    reply.address[sizeof reply.address - 1] = '\0';
    auth->current = NULL;
    struct err err = {0};
    if (reply.code)
        err_set(&err, err_from_wire(reply.code), "%s", reply.text);
    finish(q, reply.code ? NULL : &reply, &err);
    pump(auth->link);
    return 0;
}

static void expire_queue(struct authlink *l, int64_t now)
{
    while (l->queue && l->queue->deadline_ms < now) {
        struct err err = {0};
        err_set(&err, ERR_MUNGE, "munged on the server does not answer");
        finish(take_queued(l), NULL, &err);
    }
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
    struct authlink *l = arg;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < MONITOR_AUTHS; i++) {
        struct auth *auth = &l->auths[i];
        struct asked *q = auth->current;
        if (!q || q->deadline_ms > now)
            continue;
        log_warning("auth process %u has not answered for %lld s: replaced", auth->process,
                    (long long)l->a->conf.auth_deadline_s);
        auth->current = NULL;
        auth->killed = true;
        monlink_kill(l->a->monitor, auth->process);
        struct err err = {0};
        err_set(&err, ERR_MUNGE, "munged or the user database on the server does not answer");
        finish(q, NULL, &err);
    }
    expire_queue(l, now);
    pump(l);
    sd_event_source_set_time(s, usec + 250000);
    return 0;
}

struct authlink *authlink_new(struct agentd *a, struct err *err)
{
    struct authlink *l = calloc(1, sizeof *l);
    uint64_t now;
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    if (!l || sd_event_add_time(a->loop, &l->tick, CLOCK_MONOTONIC, now + 250000, 50000, on_tick,
                                l) < 0) {
        err_set(err, ERR_INTERNAL, "no memory");
        free(l);
        return NULL;
    }
    sd_event_source_set_enabled(l->tick, SD_EVENT_ON);
    l->a = a;
    l->tail = &l->queue;
    for (size_t i = 0; i < MONITOR_AUTHS; i++) {
        l->auths[i].fd = -1;
        l->auths[i].link = l;
    }
    return l;
}

void authlink_free(struct authlink *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < MONITOR_AUTHS; i++)
        detach(&l->auths[i]);
    while (l->queue)
        interrupted(take_queued(l));
    sd_event_source_disable_unref(l->tick);
    free(l);
}

void authlink_attach(struct authlink *l, uint32_t process, int fd)
{
    for (size_t i = 0; i < MONITOR_AUTHS; i++) {
        struct auth *auth = &l->auths[i];
        if (auth->process)
            continue;
        metrics_add(auths, 0, 0, 1);
        auth->process = process;
        auth->fd = fd;
        if (sd_event_add_io(l->a->loop, &auth->source, fd, EPOLLIN, on_io, auth) < 0) {
            detach(auth);
            return;
        }
        pump(l);
        return;
    }
    close(fd);
}

void authlink_ended(struct authlink *l, uint32_t process)
{
    for (size_t i = 0; i < MONITOR_AUTHS; i++)
        if (l->auths[i].process == process)
            detach(&l->auths[i]);
}

size_t authlink_waiting(const struct authlink *l)
{
    return l->queued;
}

int authlink_ask(struct authlink *l, const struct auth_request *req, auth_done_fn done, void *arg,
                 struct err *err)
{
    if (l->queued >= AUTHLINK_QUEUE)
        return err_set(err, ERR_BUSY, "too many clients are authenticating at once");
    struct asked *q = calloc(1, sizeof *q);
    if (!q)
        return err_set(err, ERR_BUSY, "no memory for another HELLO");
    q->req = *req;
    q->req.serial = ++l->serial;
    q->done = done;
    q->arg = arg;
    q->deadline_ms = clock_mono_ms() + l->a->conf.auth_deadline_s * 1000;
    *l->tail = q;
    l->tail = &q->next;
    l->queued++;
    pump(l);
    return 0;
}
