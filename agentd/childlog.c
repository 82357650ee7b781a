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
    CHILDLOG_LINES = 20, /* shown in each window */
    CHILDLOG_WINDOW_MS = 10000,
    /* Read in a second, shown or not, empty lines too.  Past it the pipe fills up, and who writes
     * without end waits.  Lines past CHILDLOG_LINES are read all the same: a worker that has much
     * to say once must not wait for it in the middle of a call. */
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
    char last[2][CHILDLOG_LINE + 1]; /* the newer one first */
    int64_t window_ms;
    unsigned lines, dropped, waited;
};

static void say_dropped(struct childlog *l)
{
    if (l->dropped)
        log_notice("%s: %u more lines not shown", l->who, l->dropped);
    if (l->waited)
        log_notice("%s: writes more than %d bytes a second to its stderr, and had to wait", l->who,
                   CHILDLOG_BYTES);
    l->lines = l->dropped = l->waited = 0;
}

static void begin_window(struct childlog *l, int64_t now)
{
    if (now - l->window_ms <= CHILDLOG_WINDOW_MS)
        return;
    say_dropped(l);
    l->window_ms = now;
}

static void end_line(struct childlog *l)
{
    if (l->n && l->lines++ < CHILDLOG_LINES)
        log_notice("%s: %.*s", l->who, (int)l->n, l->line);
    else if (l->n)
        l->dropped++;
    if (l->n) {
        memcpy(l->last[1], l->last[0], sizeof l->last[1]);
        snprintf(l->last[0], sizeof l->last[0], "%.*s", (int)l->n, l->line);
    }
    l->n = 0;
}

static void add_bytes(struct childlog *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n') {
            end_line(l);
            continue;
        }
        l->line[l->n++] = p[i] ? p[i] : '?';
        if (l->n == sizeof l->line)
            end_line(l);
    }
}

/* False at the end of the pipe. */
static bool take(struct childlog *l)
{
    char buf[4096];
    int64_t now = clock_mono_ms();
    begin_window(l, now);
    if (now - l->filled_ms >= CHILDLOG_PAUSE_MS) {
        l->filled_ms = now;
        l->left = CHILDLOG_BYTES;
    }
    while (l->left) {
        ssize_t n = read(l->fd, buf, l->left < sizeof buf ? l->left : sizeof buf);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0)
            return false;
        l->left -= (size_t)n;
        add_bytes(l, buf, (size_t)n);
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
        l->waited++;
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

void childlog_last(struct childlog *l, char *out, size_t size)
{
    out[0] = '\0';
    if (!l)
        return;
    take(l);
    end_line(l);
    snprintf(out, size, "%s%s%s", l->last[1], *l->last[1] ? "; " : "", l->last[0]);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

void childlog_free(struct childlog *l)
{
    if (!l)
        return;
    take(l);
    end_line(l);
    say_dropped(l);
    sd_event_source_disable_unref(l->source);
    sd_event_source_disable_unref(l->pause);
    close(l->fd);
    free(l);
}
