/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/fake/fake_monitor.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include <systemd/sd-event.h>

#include "agentd/authlink.h"
#include "agentd/monlink.h"
#include "agentd/stagers.h"
#include "agentd/staging.h"
#include "agentd/worker.h"
#include "common/clock.h"
#include "common/str.h"

enum { DEADLINE_MS = 10000 };

static void on_event(void *arg, const struct monitor_event *ev, int fds[2])
{
    struct agentd *a = arg;
    if (ev->say == SAY_SPAWNED && ev->role == ROLE_STAGE)
        stagers_spawned(a->stagers, ev, fds[0], fds[1]);
    else if (ev->say == SAY_REFUSED && ev->role == ROLE_STAGE)
        stagers_refused(a->stagers, ev);
    else if (ev->say == SAY_ENDED && ev->role == ROLE_STAGE)
        stagers_ended(a->stagers, ev);
    else if (ev->say == SAY_GRANTED)
        staging_granted(a->staging, ev);
    else if (ev->say == SAY_SPAWNED)
        workers_spawned(a->workers, ev, fds[0], fds[1]);
    else if (ev->say == SAY_REFUSED)
        workers_refused(a->workers, ev);
    else if (ev->say == SAY_AUTH)
        authlink_attach(a->auth, ev->process, fds[0]);
    else if (ev->say == SAY_ENDED && ev->role == 0)
        authlink_ended(a->auth, ev->process);
    else if (ev->say == SAY_ENDED)
        workers_ended(a->workers, ev);
}

void fake_monitor_start(struct fake_monitor *m)
{
    struct err err = {0};
    struct arena arena = {0};
    int fds[2];
    memset(m, 0, sizeof *m);
    cr_assert_eq(agentd_conf_load(NULL, &arena, &m->a.conf, &err), 0, "%s", err.text);
    cr_assert_geq(sd_event_new(&m->a.loop), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    m->fd = fds[0];
    m->a.monitor = monlink_new(m->a.loop, fds[1], on_event, &m->a, &err);
    m->a.auth = authlink_new(&m->a, &err);
    m->a.workers = workers_new(&m->a, &err);
    cr_assert(m->a.monitor && m->a.auth && m->a.workers, "%s", err.text);
}

void fake_monitor_stop(struct fake_monitor *m)
{
    workers_free(m->a.workers);
    authlink_free(m->a.auth);
    monlink_free(m->a.monitor);
    sd_event_unref(m->a.loop);
    close(m->fd);
}

void fake_monitor_run_until(struct fake_monitor *m, const bool *done)
{
    int64_t end = clock_mono_ms() + DEADLINE_MS;
    while (!*done) {
        cr_assert_lt(clock_mono_ms(), end, "it did not happen in %d ms", DEADLINE_MS);
        sd_event_run(m->a.loop, 50000);
    }
}

void fake_monitor_run_for(struct fake_monitor *m, int ms)
{
    for (int64_t end = clock_mono_ms() + ms; clock_mono_ms() < end;)
        sd_event_run(m->a.loop, 5000);
}

struct monitor_request fake_monitor_next(struct fake_monitor *m)
{
    struct monitor_request req;
    int64_t end = clock_mono_ms() + DEADLINE_MS;
    while (recv(m->fd, &req, sizeof req, MSG_DONTWAIT) != sizeof req) {
        cr_assert_lt(clock_mono_ms(), end, "the broker asked for nothing");
        sd_event_run(m->a.loop, 50000);
    }
    return req;
}

bool fake_monitor_quiet(struct fake_monitor *m)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

static void send_event(struct fake_monitor *m, const struct monitor_event *ev, const int *fds,
                       int nfds)
{
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {(void *)ev, sizeof *ev};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds) {
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
    }
    cr_assert_eq(sendmsg(m->fd, &h, 0), (ssize_t)sizeof *ev);
    for (int i = 0; i < nfds; i++)
        close(fds[i]);
}

int fake_monitor_spawned(struct fake_monitor *m, const struct monitor_request *req)
{
    int sock[2], err_pipe[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
    cr_assert_eq(pipe(err_pipe), 0);
    struct monitor_event ev = {
        .say = SAY_SPAWNED,
        .serial = req->serial,
        .process = ++m->last_process,
        .uid = req->uid,
        .role = req->ask == ASK_STAGE ? ROLE_STAGE : req->role,
    };
    int fds[2] = {sock[1], err_pipe[0]};
    send_event(m, &ev, fds, 2);
    close(err_pipe[1]);
    return sock[0];
}

int fake_monitor_auth(struct fake_monitor *m)
{
    int sock[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock), 0);
    struct monitor_event ev = {.say = SAY_AUTH, .process = ++m->last_process};
    send_event(m, &ev, &sock[1], 1);
    return sock[0];
}

void fake_monitor_ended(struct fake_monitor *m, uint32_t uid, uint32_t process, int status)
{
    const struct monitor_event ev = {
        .say = SAY_ENDED, .process = process, .uid = uid, .role = ROLE_STAGE, .status = status};
    send_event(m, &ev, NULL, 0);
}

void fake_monitor_say(struct fake_monitor *m, enum monitor_say say,
                      const struct monitor_request *req, uint32_t process, enum err_code code,
                      const char *text)
{
    struct monitor_event ev = {
        .say = say,
        .serial = req->serial,
        .process = process,
        .uid = req->uid,
        .role = req->ask == ASK_STAGE ? ROLE_STAGE : req->role,
        .code = code,
    };
    str_copy(ev.text, sizeof ev.text, text);
    send_event(m, &ev, NULL, 0);
}
