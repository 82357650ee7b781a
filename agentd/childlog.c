/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/childlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>

#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
    CHILDLOG_LINE = 400,
    CHILDLOG_LINES = 20, /* in each window */
    CHILDLOG_WINDOW_MS = 10000,
    /* Read, shown or not, in a second: past it the pipe fills up, and who writes without end waits.
     */
    CHILDLOG_BYTES = 64 << 10,
    CHILDLOG_PAUSE_MS = 1000,
};

struct childlog {
    int fd;
    sd_event_source *source, *pause;
    size_t left; /* of CHILDLOG_BYTES */
    int64_t filled_ms;
    char who[80];
    char line[CHILDLOG_LINE];
    size_t n;
    int64_t window_ms;
    unsigned lines, dropped;
};

static void end_line(struct childlog *l)
{
    int64_t now = clock_mono_ms();
    if (now - l->window_ms > CHILDLOG_WINDOW_MS) {
        if (l->dropped)
            log_notice("%s: %u more lines not shown", l->who, l->dropped);
        l->window_ms = now;
        l->lines = l->dropped = 0;
    }
    if (l->n && l->lines++ < CHILDLOG_LINES)
        log_notice("%s: %.*s", l->who, (int)l->n, l->line);
    else if (l->n)
        l->dropped++;
    l->n = 0;
}

/* False at the end of the pipe. */
static bool take(struct childlog *l)
{
    char buf[4096];
    if (clock_mono_ms() - l->filled_ms >= CHILDLOG_PAUSE_MS) {
        l->filled_ms = clock_mono_ms();
        l->left = CHILDLOG_BYTES;
    }
    while (l->left) {
        ssize_t n = read(l->fd, buf, l->left < sizeof buf ? l->left : sizeof buf);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        l->left -= (size_t)n;
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] == '\n') {
                end_line(l);
                continue;
            }
            l->line[l->n++] = buf[i] ? buf[i] : '?';
            if (l->n == sizeof l->line)
                end_line(l);
        }
    }
    return true;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    struct childlog *l = arg;
    (void)fd;
    (void)revents;
    if (!take(l)) {
        sd_event_source_set_enabled(s, SD_EVENT_OFF);
    } else if (!l->left) {
        sd_event_source_set_enabled(s, SD_EVENT_OFF);
        sd_event_source_set_time(l->pause, (uint64_t)(l->filled_ms + CHILDLOG_PAUSE_MS) * 1000);
        sd_event_source_set_enabled(l->pause, SD_EVENT_ONESHOT);
    }
    return 0;
}

static int on_pause_over(sd_event_source *s, uint64_t usec, void *arg)
{
    struct childlog *l = arg;
    (void)s;
    (void)usec;
    sd_event_source_set_enabled(l->source, SD_EVENT_ON);
    return 0;
}

struct childlog *childlog_new(struct sd_event *loop, int fd, const char *who, struct err *err)
{
    struct childlog *l = calloc(1, sizeof *l);
    if (!l) {
        close(fd);
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    l->fd = fd;
    str_copy(l->who, sizeof l->who, who);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        sd_event_add_io(loop, &l->source, fd, EPOLLIN, on_io, l) < 0 ||
        sd_event_add_time(loop, &l->pause, CLOCK_MONOTONIC, 0, 0, on_pause_over, l) < 0 ||
        sd_event_source_set_enabled(l->pause, SD_EVENT_OFF) < 0) {
        err_set(err, ERR_INTERNAL, "cannot watch a worker's stderr");
        childlog_free(l);
        return NULL;
    }
    return l;
}

void childlog_free(struct childlog *l)
{
    if (!l)
        return;
    take(l);
    end_line(l);
    sd_event_source_disable_unref(l->source);
    sd_event_source_disable_unref(l->pause);
    close(l->fd);
    free(l);
}
