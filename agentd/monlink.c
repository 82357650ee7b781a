/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/monlink.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/log.h"

struct monlink {
    int fd;
    sd_event *loop;
    sd_event_source *source;
    monlink_event_fn on_event;
    void *arg;
};

static void take_fds(struct msghdr *h, int fds[2])
{
    fds[0] = fds[1] = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(c), (n < 2 ? n : 2) * sizeof(int));
    }
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
    struct monlink *m = arg;
    struct monitor_event ev;
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {&ev, sizeof ev};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    int fds[2];
    (void)s;
    (void)revents;
    ssize_t n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n != sizeof ev) {
        log_notice("the monitor has gone");
        sd_event_exit(m->loop, 1);
        return 0;
    }
    ev.text[sizeof ev.text - 1] = '\0';
    take_fds(&h, fds);
    m->on_event(m->arg, &ev, fds);
    return 0;
}

struct monlink *monlink_new(struct sd_event *loop, int fd, monlink_event_fn on_event, void *arg,
                            struct err *err)
{
    struct monlink *m = calloc(1, sizeof *m);
    if (!m || sd_event_add_io(loop, &m->source, fd, EPOLLIN, on_io, m) < 0) {
        err_set(err, ERR_INTERNAL,
                "cannot watch the monitor's socket: start slurm-agentd, which "
                "starts this program");
        close(fd);
        free(m);
        return NULL;
    }
    m->fd = fd;
    m->loop = loop;
    m->on_event = on_event;
    m->arg = arg;
    return m;
}

void monlink_free(struct monlink *m)
{
    if (!m)
        return;
    sd_event_source_disable_unref(m->source);
    close(m->fd);
    free(m);
}

static int ask(struct monlink *m, const struct monitor_request *req, struct err *err)
{
    /* The monitor never waits for us, so this waits for it a moment at most. */
    if (send(m->fd, req, sizeof *req, MSG_NOSIGNAL) != sizeof *req)
        return err_errno(err, ERR_INTERNAL, "cannot ask the monitor");
    return 0;
}

int monlink_spawn(struct monlink *m, uint32_t serial, uint32_t uid, enum worker_role role,
                  struct err *err)
{
    struct monitor_request req = {.ask = ASK_SPAWN, .serial = serial, .uid = uid, .role = role};
    return ask(m, &req, err);
}

int monlink_stage(struct monlink *m, uint32_t serial, uint32_t uid,
                  const uint8_t request[REQUEST_ID], struct err *err)
{
    struct monitor_request req = {.ask = ASK_STAGE, .serial = serial, .uid = uid};
    memcpy(req.request, request, sizeof req.request);
    return ask(m, &req, err);
}

int monlink_grant(struct monlink *m, uint32_t serial, uint32_t uid,
                  const uint8_t request[REQUEST_ID], const uint8_t hash[SEAL_HASH],
                  int64_t lifetime_s, struct err *err)
{
    struct monitor_request req = {
        .ask = ASK_GRANT, .serial = serial, .uid = uid, .lifetime_s = lifetime_s};
    memcpy(req.request, request, sizeof req.request);
    memcpy(req.hash, hash, sizeof req.hash);
    return ask(m, &req, err);
}

void monlink_revoke(struct monlink *m, uint32_t uid, const uint8_t request[REQUEST_ID])
{
    struct monitor_request req = {.ask = ASK_REVOKE, .uid = uid};
    struct err ignored = {0};
    memcpy(req.request, request, sizeof req.request);
    ask(m, &req, &ignored);
}

int monlink_say(struct monlink *m, enum monitor_ask what, uint32_t serial, struct err *err)
{
    struct monitor_request req = {.ask = what, .serial = serial};
    return ask(m, &req, err);
}

void monlink_kill(struct monlink *m, uint32_t process)
{
    struct monitor_request req = {.ask = ASK_KILL, .process = process};
    struct err ignored = {0};
    ask(m, &req, &ignored);
}
