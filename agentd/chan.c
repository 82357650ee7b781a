/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <systemd/sd-event.h>

enum {
    CHAN_MAX_QUEUED = 32 << 20,
    CHAN_READ_CHUNK = 65536,
    CHAN_KEEP = 1 << 20, /* a buffer that grew for one big frame is given back */
};

struct buffer {
    uint8_t *p;
    size_t begin, end, size; /* bytes begin..end are in use */
};

struct chan {
    int fd;
    sd_event_source *source;
    struct buffer in, out;
    chan_frame_fn on_frame;
    chan_down_fn on_down;
    void *arg;
    bool *freed; /* set while a callback runs: tells us that it freed the chan */
};

static bool buffer_room(struct buffer *b, size_t more)
{
    if (b->begin == b->end) {
        b->begin = b->end = 0;
        if (b->size > CHAN_KEEP && more <= CHAN_KEEP) {
            free(b->p);
            *b = (struct buffer){0};
        }
    }
    if (b->size - b->end >= more)
        return true;
    if (b->begin) {
        memmove(b->p, b->p + b->begin, b->end - b->begin);
        b->end -= b->begin;
        b->begin = 0;
        if (b->size - b->end >= more)
            return true;
    }
    size_t size = b->size ? b->size : 4096;
    while (size - b->end < more)
        size *= 2;
    uint8_t *p = realloc(b->p, size);
    if (!p)
        return false;
    b->p = p;
    b->size = size;
    return true;
}

static void down(struct chan *c, const char *why)
{
    c->on_down(c->arg, why);
}

/* Hands out every whole frame; false when the chan is gone or down. */
static bool deliver(struct chan *c)
{
    for (;;) {
        struct chan_head head;
        size_t have = c->in.end - c->in.begin;
        if (have < sizeof head)
            return true;
        memcpy(&head, c->in.p + c->in.begin, sizeof head);
        if (head.size > CHAN_MAX_BODY) {
            down(c, "announced a frame that is too large");
            return false;
        }
        if (have - sizeof head < head.size)
            return true;
        struct bytes body = {c->in.p + c->in.begin + sizeof head, head.size};
        c->in.begin += sizeof head + head.size;
        bool freed = false;
        c->freed = &freed;
        c->on_frame(c->arg, &head, body);
        if (freed)
            return false;
        c->freed = NULL;
    }
}

static void on_readable(struct chan *c)
{
    if (!buffer_room(&c->in, CHAN_READ_CHUNK)) {
        down(c, "no memory for its frame");
        return;
    }
    ssize_t n = read(c->fd, c->in.p + c->in.end, c->in.size - c->in.end);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            down(c, strerror(errno));
        return;
    }
    if (n == 0) {
        down(c, "closed its end");
        return;
    }
    c->in.end += (size_t)n;
    deliver(c);
}

/* Writes what the socket takes; false when the far end has gone. */
static bool flush(struct chan *c)
{
    while (c->out.begin < c->out.end) {
        ssize_t n = send(c->fd, c->out.p + c->out.begin, c->out.end - c->out.begin,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            return false;
        c->out.begin += (size_t)n;
    }
    uint32_t events = EPOLLIN | (c->out.begin < c->out.end ? EPOLLOUT : 0);
    sd_event_source_set_io_events(c->source, events);
    return true;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    struct chan *c = arg;
    (void)s;
    (void)fd;
    if ((revents & EPOLLOUT) && !flush(c)) {
        down(c, "closed its end");
        return 0;
    }
    if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
        on_readable(c);
    return 0;
}

struct chan *chan_new(struct sd_event *loop, int fd, chan_frame_fn on_frame, chan_down_fn on_down,
                      void *arg, struct err *err)
{
    struct chan *c = calloc(1, sizeof *c);
    if (!c || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        err_set(err, ERR_INTERNAL, "no memory for a channel");
        close(fd);
        free(c);
        return NULL;
    }
    c->fd = fd;
    c->on_frame = on_frame;
    c->on_down = on_down;
    c->arg = arg;
    if (sd_event_add_io(loop, &c->source, fd, EPOLLIN, on_io, c) < 0) {
        err_set(err, ERR_INTERNAL, "cannot watch a channel");
        chan_free(c);
        return NULL;
    }
    return c;
}

void chan_free(struct chan *c)
{
    if (!c)
        return;
    if (c->freed)
        *c->freed = true;
    sd_event_source_disable_unref(c->source);
    close(c->fd);
    free(c->in.p);
    free(c->out.p);
    free(c);
}

int chan_send(struct chan *c, const struct chan_head *head, struct bytes body, struct err *err)
{
    struct chan_head h = *head;
    size_t queued = c->out.end - c->out.begin;
    h.size = (uint32_t)body.n;
    if (body.n > CHAN_MAX_BODY || queued + sizeof h + body.n > CHAN_MAX_QUEUED ||
        !buffer_room(&c->out, sizeof h + body.n))
        return err_set(err, ERR_BUSY, "too much is waiting to be sent to a worker");
    memcpy(c->out.p + c->out.end, &h, sizeof h);
    if (body.n)
        memcpy(c->out.p + c->out.end + sizeof h, body.p, body.n);
    c->out.end += sizeof h + body.n;
    /* A far end that has gone is noticed by the next read, where the callee expects it. */
    flush(c);
    return 0;
}
