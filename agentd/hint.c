/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/hint.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "agentd/agentd.h"
#include "agentd/bucket.h"
#include "agentd/hint_proto.h"
#include "agentd/watch.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum { HINT_LOG_MS = 60000 }; /* between two lines about what was dropped */

struct hints {
    struct hint_hooks hooks;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int fd;
    sd_event_source *source, *timer;
    struct bucket ones;
    bool paused;      /* a whole turn's worth has come */
    bool dirty;       /* there were more than we load one by one */
    int64_t whole_ms; /* when the table was asked for last */
    int64_t log_ms;
    unsigned dropped; /* since then */
};

/* ---- what a hint does ---- */

static void set_timer(struct hints *h, int64_t at_ms)
{
    sd_event_source_set_time(h->timer, (uint64_t)at_ms * 1000);
    sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
}

/* Sets the timer for what has to wait. */
static void settle(struct hints *h)
{
    int64_t now = clock_mono_ms();
    if (h->dirty && now - h->whole_ms >= HINT_WHOLE_MS) {
        h->dirty = false;
        h->whole_ms = now;
        h->hooks.load(h->hooks.arg, 0);
    }
    if (h->paused)
        set_timer(h, now + HINT_PAUSE_MS);
    else if (h->dirty)
        set_timer(h, h->whole_ms + HINT_WHOLE_MS);
}

static void drop(struct hints *h, const char *why, uint32_t uid)
{
    int64_t now = clock_mono_ms();
    h->dropped++;
    if (h->log_ms && now - h->log_ms < HINT_LOG_MS)
        return;
    log_warning("%s: %u dropped, the last of uid %u: %s", h->path, h->dropped, uid, why);
    h->log_ms = now;
    h->dropped = 0;
}

static void take(struct hints *h, const struct hint_packet *p)
{
    /* The last task of an array bears the array's id, and then all tasks are loaded: there is no
     * other way to ask for it. */
    uint32_t id = p->job_id ? p->job_id : p->array_job_id;
    log_debug("hint: job %u, array %u task %u", p->job_id, p->array_job_id, p->array_task_id);
    if (id && bucket_take(&h->ones, HINT_RATE, clock_mono_ms()))
        h->hooks.load(h->hooks.arg, id);
    else
        h->dirty = true;
}

/* ---- the socket ---- */

/* Who the kernel says has sent this; -1 when it does not.  There is room for nothing else in the
 * control data, so descriptors sent along are not taken. */
static int64_t sender(struct msghdr *m)
{
    struct ucred cred;
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS ||
        c->cmsg_len != CMSG_LEN(sizeof cred))
        return -1;
    memcpy(&cred, CMSG_DATA(c), sizeof cred);
    return cred.uid;
}

/* False when there is nothing more. */
static bool read_one(struct hints *h)
{
    union {
        char buf[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct hint_packet p;
    struct iovec iov = {&p, sizeof p};
    struct msghdr m = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control.buf,
    };
    ssize_t n = recvmsg(h->fd, &m, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EINTR;
    int64_t uid = sender(&m);
    if (uid < 0 || !h->hooks.may(h->hooks.arg, (uint32_t)uid))
        drop(h, "hints are taken of root and SlurmUser", (uint32_t)uid);
    else if (n != sizeof p || p.magic != HINT_MAGIC || p.version != HINT_VERSION)
        drop(h, "not what this version's slurm-agent-hint sends", (uint32_t)uid);
    else
        take(h, &p);
    return true;
}

static int on_datagrams(sd_event_source *s, int fd, uint32_t events, void *arg)
{
    struct hints *h = arg;
    int n = 0;
    (void)fd;
    (void)events;
    while (n < HINTS_A_TURN && read_one(h))
        n++;
    h->paused = n == HINTS_A_TURN;
    if (h->paused)
        sd_event_source_set_enabled(s, SD_EVENT_OFF);
    settle(h);
    return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *arg)
{
    struct hints *h = arg;
    (void)s;
    (void)usec;
    if (h->paused)
        sd_event_source_set_enabled(h->source, SD_EVENT_ON);
    h->paused = false;
    settle(h);
    return 0;
}

static int make_socket(struct hints *h, struct err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct stat st;
    int yes = 1;
    str_copy(at.sun_path, sizeof at.sun_path, h->path);
    h->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* the kernel must know senders before the first can send */
    if (h->fd < 0 || setsockopt(h->fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0)
        return err_errno(err, ERR_INTERNAL, "%s: cannot make a socket", h->path);
    if (lstat(h->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return err_set(err, ERR_INVALID, "%s: it is there, and no socket", h->path);
        unlink(h->path);
    }
    /* Everybody may write, since SlurmUser's group is not ours to give: the kernel says who. */
    if (bind(h->fd, (const struct sockaddr *)&at, sizeof at) < 0 || chmod(h->path, 0666) < 0)
        return err_errno(err, ERR_INVALID, "%s: cannot listen there", h->path);
    return 0;
}

struct hints *hints_open(struct sd_event *loop, const char *path, const struct hint_hooks *hooks,
                         struct err *err)
{
    struct hints *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    h->hooks = *hooks;
    h->fd = -1;
    bucket_fill(&h->ones, HINT_RATE);
    if (!str_copy(h->path, sizeof h->path, path)) {
        err_set(err, ERR_INVALID, "%s: a socket's path has at most %zu bytes", path,
                sizeof h->path - 1);
        goto fail;
    }
    if (make_socket(h, err) < 0)
        goto fail;
    if (sd_event_add_io(loop, &h->source, h->fd, EPOLLIN, on_datagrams, h) < 0 ||
        sd_event_add_time(loop, &h->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, h) < 0) {
        err_set(err, ERR_INTERNAL, "no memory");
        goto fail;
    }
    sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
    sd_event_source_set_priority(h->source, SD_EVENT_PRIORITY_IDLE); /* requests go first */
    return h;
fail:
    hints_free(h);
    return NULL;
}

void hints_free(struct hints *h)
{
    if (!h)
        return;
    sd_event_source_disable_unref(h->source);
    sd_event_source_disable_unref(h->timer);
    if (h->fd >= 0)
        close(h->fd);
    free(h);
}

/* ---- in the broker ---- */

static void load(void *arg, uint32_t job_id)
{
    struct agentd *a = arg;
    watch_load(a->watch, job_id, NULL);
}

static bool may(void *arg, uint32_t uid)
{
    const struct agentd *a = arg;
    struct watch_status w;
    watch_status(a->watch, &w);
    return uid == 0 || (w.slurm_uid && uid == w.slurm_uid) || (a->single_user && uid == getuid());
}

struct hints *hints_new(struct agentd *a)
{
    const struct hint_hooks hooks = {load, may, a};
    struct err err = {0};
    if (!*a->conf.hint_socket)
        return NULL;
    struct hints *h = hints_open(a->loop, a->conf.hint_socket, &hooks, &err);
    if (!h)
        log_warning("no hints, jobs' ends are seen by polling alone: %s", err.text);
    return h;
}
