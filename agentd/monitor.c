/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monitor.c: the program slurm-agentd: starts and ends all others, and does nothing else
 *
 * Runs as root with CAP_SETUID, CAP_SETGID and CAP_KILL alone, or with --single-user as anybody.
 * Reads packets of fixed size from broker and auth, and nothing from clients.  Forking, changing
 * users and executing are in spawn.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agentd/arguments.h"
#include "agentd/bucket.h"
#include "agentd/check.h"
#include "agentd/command.h"
#include "agentd/processes.h"
#include "agentd/programs.h"
#include "agentd/rights.h"
#include "agentd/settings.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/fdio.h"
#include "common/str.h"

enum {
    EXIT_UNUSABLE = 2, /* a child, or we, cannot work as configured */
    REFUSED_RATE = 10, /* put into the log in a second */
    RELOAD_RATE = 1,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 5000,
    BACKOFF_RESET_MS = 30000, /* a process that lived this long begins anew */
    BROKER_ENDS = 10,         /* in BROKER_ENDS_MS: then we give up */
    BROKER_ENDS_MS = 60000,
    STOP_MS = 10000, /* for the broker to end by itself */
    QUIET_MS = 5000, /* between two looks at ages when nothing happens */
    OVERTIME_S = 60,
};

struct monitor {
    struct settings settings, earlier; /* earlier: before a reload */
    const char *conf_path;             /* NULL: none */
    bool single_user;
    struct programs programs;
    int signals;
    struct rights rights;
    struct process *processes;
    struct process *broker;
    uint32_t number;
    struct bucket refused;
    struct bucket reloads; /* that the broker asked for */
    bool draining, stopping;
    int64_t stop_ms;
    int64_t renewed_ms; /* since when the broker is to make way for a new one; 0: it is not */
    int exit_status;
    int64_t backoff_ms[PROGRAMS], not_before_ms[PROGRAMS]; /* by kind */
    int64_t ends_ms[BROKER_ENDS];                          /* ring of the broker's ends */
    size_t ends;
};

/* ---- starting ---- */

static struct process *start_child(struct monitor *m, enum kind kind, const struct identity *who,
                                   const char *role, const struct grant *grant, const int fds[2],
                                   int err_fd, struct err *err)
{
    struct command cmd;
    command_make(&cmd, m->programs.names[kind], m->conf_path, role, m->single_user,
                 kind == KIND_BROKER);
    if (grant)
        command_grant(&cmd, grant->request, grant->hash);
    struct process *p = calloc(1, sizeof *p);
    struct spawn c = {
        .who = m->single_user ? NULL : who,
        .exe = m->programs.exe[kind],
        .argv = (char *const *)cmd.argv,
        .envp = cmd.envp,
        .fds = {fds[0], fds[1]},
        .in_fd = m->settings.fd,
        .null_fd = m->programs.null,
        .err_fd = err_fd,
    };
    pid_t pid = p ? spawn_child(&c) : -1;
    if (pid < 0) {
        free(p);
        err_errno(err, ERR_BUSY, "cannot start a %s process", process_kind_word(kind));
        return NULL;
    }
    *p = (struct process){
        .next = m->processes,
        .kind = kind,
        .number = ++m->number,
        .pid = pid,
        .fd = -1,
        .uid = who->uid,
        .born_ms = clock_mono_ms(),
    };
    m->processes = p;
    return p;
}

static int socket_pair(int type, int pair[2], struct err *err)
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0) {
        pair[0] = pair[1] = -1;
        return err_errno(err, ERR_BUSY, "cannot make a socket pair");
    }
    return 0;
}

/* ---- talking to the broker ---- */

static void say(struct monitor *m, const struct monitor_event *ev, const int *fds, size_t nfds)
{
    union {
        char buf[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {(void *)ev, sizeof *ev};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (!m->broker || m->broker->fd < 0)
        return;
    if (nfds) {
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    if (sendmsg(m->broker->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof *ev || errno == EPIPE ||
        errno == ECONNRESET)
        return;
    log_err("the broker does not read what we say (%s): killed", strerror(errno));
    process_kill(m->broker);
}

static void say_process(struct monitor *m, enum monitor_say what, uint32_t serial,
                        const struct process *p, int status, const int *fds, size_t nfds)
{
    struct monitor_event ev = {
        .say = what,
        .serial = serial,
        .process = p->number,
        .uid = p->uid,
        .role = p->role,
        .status = status,
    };
    say(m, &ev, fds, nfds);
}

static void say_refused(struct monitor *m, enum monitor_say what, const struct monitor_request *req,
                        const struct err *err)
{
    struct monitor_event ev = {
        .say = what,
        .serial = req->serial,
        .uid = req->uid,
        .role = req->ask == ASK_STAGE ? ROLE_STAGE : req->role,
        .code = err->code,
    };
    str_copy(ev.text, sizeof ev.text, err->text);
    if (bucket_take(&m->refused, REFUSED_RATE, clock_mono_ms()))
        log_notice("%s for uid %u refused: %s", what == SAY_GRANTED ? "grant" : "worker", req->uid,
                   err->text);
    say(m, &ev, NULL, 0);
}

/* A worker or the watcher: a stream to the broker, and a pipe for its stderr. */
static int start_worker(struct monitor *m, enum kind kind, const struct identity *who,
                        enum worker_role role, const struct grant *grant, uint32_t serial,
                        struct err *err)
{
    int sock[2] = {-1, -1}, errs[2] = {-1, -1};
    struct process *p = NULL;
    if (socket_pair(SOCK_STREAM, sock, err) == 0) {
        if (pipe2(errs, O_CLOEXEC) < 0)
            err_errno(err, ERR_BUSY, "cannot make a pipe");
        else
            p = start_child(m, kind, who, process_role_word(role), grant, (int[]){sock[1], -1},
                            errs[1], err);
    }
    if (p) {
        p->role = role;
        say_process(m, kind == KIND_WATCHER ? SAY_WATCHER : SAY_SPAWNED, serial, p, 0,
                    (int[]){sock[0], errs[0]}, 2);
    }
    fdio_close_pair(sock);
    fdio_close_pair(errs);
    return p ? 0 : -1;
}

static int start_auth(struct monitor *m, struct err *err)
{
    int own[2] = {-1, -1}, brokers[2] = {-1, -1};
    struct process *p = NULL;
    if (socket_pair(SOCK_SEQPACKET, own, err) == 0 &&
        socket_pair(SOCK_SEQPACKET, brokers, err) == 0)
        p = start_child(m, KIND_AUTH, &m->programs.root, NULL, NULL, (int[]){own[1], brokers[1]},
                        -1, err);
    if (p) {
        p->fd = TAKE_FD(own[0]);
        say_process(m, SAY_AUTH, 0, p, 0, brokers, 1);
    }
    fdio_close_pair(own);
    fdio_close_pair(brokers);
    return p ? 0 : -1;
}

static void say_draining(struct monitor *m)
{
    struct monitor_event ev = {.say = SAY_DRAIN, .status = m->draining};
    say(m, &ev, NULL, 0);
}

static void set_draining(struct monitor *m, bool draining)
{
    m->draining = draining;
    say_draining(m);
}

static int start_broker(struct monitor *m, struct err *err)
{
    int own[2];
    if (socket_pair(SOCK_SEQPACKET, own, err) < 0)
        return -1;
    struct process *p = start_child(m, KIND_BROKER, &m->programs.broker_user, NULL, NULL,
                                    (int[]){own[1], -1}, -1, err);
    if (p) {
        p->fd = TAKE_FD(own[0]);
        m->broker = p;
        if (m->draining) /* before there is an auth process, and so before there are users */
            say_draining(m);
    }
    fdio_close_pair(own);
    return p ? 0 : -1;
}

/* ---- settings ---- */

static struct lease_policy lease_policy(const struct monitor *m)
{
    return (struct lease_policy){
        .min_uid = (uint32_t)m->settings.conf.min_uid,
        .longest_s = m->settings.conf.session_s,
        .only_uid = m->single_user ? (int64_t)getuid() : -1,
    };
}

static void set_policy(struct monitor *m)
{
    const struct lease_policy policy = lease_policy(m);
    leases_set_policy(m->rights.leases, &policy);
    log_setup("slurm-agentd", agentd_conf_log_level(&m->settings.conf));
}

/* Gives how many have changed, or -1. */
static int reload(struct monitor *m, struct err *err)
{
    int changed = settings_reload(&m->settings, &m->earlier, m->conf_path, err);
    if (changed < 0)
        log_err("%s: the settings stay as they were", err->text);
    else if (changed == 0)
        log_notice("no setting has changed that can be while we run");
    else
        set_policy(m);
    return changed;
}

/* Children have settings for life: new ones are a new broker's, and those whom it asks for. */
static void renew_broker(struct monitor *m)
{
    log_notice("a new broker takes over, with these settings");
    if (m->broker && kill(m->broker->pid, SIGHUP) == 0 && !m->renewed_ms)
        m->renewed_ms = clock_mono_ms();
}

static void reload_unasked(struct monitor *m)
{
    struct err err = {0};
    if (reload(m, &err) > 0)
        renew_broker(m);
}

/* The broker has it before it is told to go. */
static void answer_reload(struct monitor *m, const struct monitor_request *req)
{
    struct monitor_event ev = {.say = SAY_RELOADED, .serial = req->serial};
    struct err err = {0};
    if (m->stopping || m->renewed_ms)
        err_set(&err, ERR_BUSY, "the server is stopping");
    else if (!bucket_take(&m->reloads, RELOAD_RATE, clock_mono_ms()))
        err_set(&err, ERR_BUSY, "the settings were read a moment ago");
    else
        ev.status = reload(m, &err);
    ev.code = err.code;
    str_copy(ev.text, sizeof ev.text, err.text);
    say(m, &ev, NULL, 0);
    if (ev.status > 0)
        renew_broker(m);
}

/* ---- requests ---- */

static int spawn(struct monitor *m, const struct monitor_request *req, struct err *err)
{
    struct identity who;
    if (rights_spawn(&m->rights, req, &m->settings.conf, m->processes, &who, err) < 0)
        return -1;
    return start_worker(m, KIND_WORKER, &who, (enum worker_role)req->role, NULL, req->serial, err);
}

static int stage(struct monitor *m, const struct monitor_request *req, struct err *err)
{
    struct identity who;
    const struct grant *g;
    if (rights_stage(&m->rights, req, &m->settings.conf, m->processes, &who, &g, err) < 0)
        return -1;
    return start_worker(m, KIND_STAGE, &who, ROLE_STAGE, g, req->serial, err);
}

static void answer_grant(struct monitor *m, const struct monitor_request *req)
{
    struct err err = {0};
    if (rights_grant(&m->rights, req, &err) < 0) {
        say_refused(m, SAY_GRANTED, req, &err);
        return;
    }
    struct monitor_event ev = {.say = SAY_GRANTED, .serial = req->serial, .uid = req->uid};
    say(m, &ev, NULL, 0);
}

static void on_broker_packet(struct monitor *m, const struct monitor_request *req)
{
    struct err err = {0};
    if (req->ask == ASK_SPAWN || req->ask == ASK_STAGE) {
        if ((req->ask == ASK_SPAWN ? spawn(m, req, &err) : stage(m, req, &err)) < 0)
            say_refused(m, SAY_REFUSED, req, &err);
        return;
    }
    if (req->ask == ASK_GRANT) {
        answer_grant(m, req);
        return;
    }
    if (req->ask == ASK_DRAIN || req->ask == ASK_RESUME) {
        set_draining(m, req->ask == ASK_DRAIN);
        return;
    }
    if (req->ask == ASK_RELOAD) {
        answer_reload(m, req);
        return;
    }
    if (req->ask == ASK_REVOKE) {
        grants_drop(m->rights.grants, req->uid, req->request);
        return;
    }
    if (req->ask != ASK_KILL) {
        log_err("the broker asks for %u, which there is not: killed", req->ask);
        process_kill(m->broker);
        return;
    }
    for (struct process *p = m->processes; p; p = p->next)
        if (p->number == req->process && p->kind != KIND_BROKER)
            process_kill(p);
}

static void on_auth_packet(struct monitor *m, struct process *auth, const struct lease_request *req)
{
    struct lease_reply reply = {0};
    struct err err = {0};
    if (leases_grant(m->rights.leases, req, clock_mono_ms() / 1000, &err) < 0)
        log_notice("lease for uid %u refused: %s", req->uid, err.text);
    reply.code = err.code;
    str_copy(reply.text, sizeof reply.text, err.text);
    if (send(auth->fd, &reply, sizeof reply, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof reply)
        process_kill(auth);
}

static void on_readable(struct monitor *m, struct process *p)
{
    union {
        struct monitor_request broker;
        struct lease_request auth;
    } packet;
    size_t want = p->kind == KIND_BROKER ? sizeof packet.broker : sizeof packet.auth;
    /* MSG_TRUNC: the true size of a packet that is too long; descriptors sent along are dropped. */
    ssize_t n = recv(p->fd, &packet, want, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* On its way out: stopped() and end_old_broker() have the patience. */
    if (n <= 0 && (m->stopping || (p == m->broker && m->renewed_ms))) {
        close(TAKE_FD(p->fd));
        return;
    }
    if (n != (ssize_t)want) {
        if (n > 0)
            log_err("%s process %u sent a packet of %zd bytes: killed", process_kind_word(p->kind),
                    p->number, n);
        process_kill(p);
        return;
    }
    if (p->kind == KIND_BROKER)
        on_broker_packet(m, &packet.broker);
    else
        on_auth_packet(m, p, &packet.auth);
}

/* ---- ends ---- */

static void back_off(struct monitor *m, const struct process *p)
{
    int64_t now = clock_mono_ms(), *b = &m->backoff_ms[p->kind];
    if (now - p->born_ms > BACKOFF_RESET_MS)
        *b = 0;
    *b = *b * 2 < BACKOFF_MAX_MS ? *b * 2 : BACKOFF_MAX_MS;
    if (*b == 0)
        *b = BACKOFF_FIRST_MS;
    m->not_before_ms[p->kind] = now + *b;
}

static void begin_stop(struct monitor *m, int status)
{
    if (m->stopping)
        return;
    m->stopping = true;
    m->stop_ms = clock_mono_ms();
    m->exit_status = status;
    if (m->broker)
        kill(m->broker->pid, SIGTERM);
}

/* A broker that cannot work with settings that came by a reload is no reason to end it all. */
static bool go_back(struct monitor *m)
{
    if (m->earlier.fd < 0 || m->stopping)
        return false;
    log_err("the broker cannot work with the new settings (see its message): back to the earlier");
    settings_done(&m->settings);
    m->settings = m->earlier;
    m->earlier = (struct settings){.fd = -1};
    set_policy(m);
    return true;
}

static void broker_ended(struct monitor *m, int status)
{
    int64_t now = clock_mono_ms();
    m->broker = NULL;
    leases_drop(m->rights.leases);
    /* Nobody may go on for a broker that is not there, see keep_up(). */
    for (struct process *p = m->processes; p; p = p->next) {
        process_kill(p);
        p->earlier = true;
    }
    bool unusable = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_UNUSABLE;
    if (m->renewed_ms || (unusable && go_back(m))) {
        m->renewed_ms = 0;
        m->not_before_ms[KIND_BROKER] = 0;
        return;
    }
    if (!m->stopping && unusable) {
        log_err("the broker cannot work as things are (see its message): giving up");
        begin_stop(m, EXIT_UNUSABLE);
        return;
    }
    int64_t oldest = m->ends_ms[m->ends % BROKER_ENDS];
    m->ends_ms[m->ends++ % BROKER_ENDS] = now;
    if (!m->stopping && oldest && now - oldest < BROKER_ENDS_MS) {
        log_err("the broker ended more than %d times in %d s: giving up", BROKER_ENDS,
                BROKER_ENDS_MS / 1000);
        begin_stop(m, EXIT_FAILURE);
    }
}

static void log_end(const struct monitor *m, const struct process *p, int status)
{
    enum log_level level =
        process_is_users(p) || m->stopping || m->renewed_ms ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
    if (WIFSIGNALED(status))
        log_line(level, "%s process %u (pid %d, uid %u) was ended by signal %d",
                 process_kind_word(p->kind), p->number, (int)p->pid, p->uid, WTERMSIG(status));
    else
        log_line(level, "%s process %u (pid %d, uid %u) ended with status %d%s",
                 process_kind_word(p->kind), p->number, (int)p->pid, p->uid, WEXITSTATUS(status),
                 WEXITSTATUS(status) == SPAWN_EXIT_PRIVILEGE
                     ? ": it could not become who it should be"
                     : "");
}

static void on_end(struct monitor *m, struct process *p, int status)
{
    log_end(m, p, status);
    if (p->fd >= 0)
        close(p->fd);
    back_off(m, p);
    if (p->kind == KIND_BROKER) {
        broker_ended(m, status);
        return;
    }
    if (!p->earlier)
        say_process(m, SAY_ENDED, 0, p, status, NULL, 0);
}

static void reap(struct monitor *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct process *p = processes_take(&m->processes, pid);
        if (!p)
            continue;
        on_end(m, p, status);
        free(p);
    }
}

/* ---- the loop ---- */

static void try_start(struct monitor *m, enum kind kind)
{
    struct err err = {0};
    if (clock_mono_ms() < m->not_before_ms[kind])
        return;
    int rc = kind == KIND_BROKER ? start_broker(m, &err)
             : kind == KIND_AUTH ? start_auth(m, &err)
                                 : start_worker(m, KIND_WATCHER, &m->programs.watch_user,
                                                ROLE_WATCH, NULL, 0, &err);
    if (rc == 0)
        return;
    log_err("%s", err.text);
    m->not_before_ms[kind] = clock_mono_ms() + BACKOFF_MAX_MS;
}

/* Starts what should be there and is not. */
static void keep_up(struct monitor *m)
{
    if (m->stopping)
        return;
    if (!m->broker) {
        if (!processes_in_the_way(m->processes))
            try_start(m, KIND_BROKER);
        return;
    }
    if (m->broker->killed_ms)
        return;
    if (processes_count(m->processes, KIND_AUTH) < MONITOR_AUTHS)
        try_start(m, KIND_AUTH);
    if (processes_count(m->processes, KIND_WATCHER) < 1)
        try_start(m, KIND_WATCHER);
}

/* The broker ends workers in time; one that was taken over would not. */
static void end_old_workers(struct monitor *m)
{
    const struct agentd_conf *c = &m->settings.conf;
    int64_t now = clock_mono_ms();
    for (struct process *p = m->processes; p; p = p->next) {
        int64_t longest = p->kind == KIND_STAGE ? c->max_stage_s : c->worker_age_s;
        longest += c->call_deadline_s + OVERTIME_S;
        if (process_is_users(p) && !p->killed_ms && now - p->born_ms > longest * 1000) {
            log_warning("%s process %u (uid %u) is older than %lld s: killed",
                        process_kind_word(p->kind), p->number, p->uid, (long long)longest);
            process_kill(p);
        }
    }
}

/* A broker that is to make way has as long as one that is to stop. */
static void end_old_broker(struct monitor *m)
{
    if (m->broker && m->renewed_ms && clock_mono_ms() - m->renewed_ms > STOP_MS)
        process_kill(m->broker);
}

/* Over when all have gone, or have had the time for it. */
static bool stopped(struct monitor *m)
{
    if (!m->stopping)
        return false;
    int64_t since = clock_mono_ms() - m->stop_ms;
    if (m->broker && since > STOP_MS)
        process_kill(m->broker);
    return !m->processes || since > STOP_MS + 2 * PROCESS_LINGER_MS;
}

static void on_signal(struct monitor *m)
{
    struct signalfd_siginfo si;
    if (read(m->signals, &si, sizeof si) != sizeof si)
        return;
    if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
        begin_stop(m, EXIT_SUCCESS);
    else if (si.ssi_signo == SIGHUP && !m->stopping)
        reload_unasked(m);
    else if (si.ssi_signo == SIGUSR1 || si.ssi_signo == SIGUSR2)
        set_draining(m, si.ssi_signo == SIGUSR1);
}

/* Is everybody there, and nobody on their way out?  Then only descriptors wake us. */
static bool complete(const struct monitor *m)
{
    return !m->stopping && m->broker && !m->broker->killed_ms &&
           processes_count(m->processes, KIND_AUTH) == MONITOR_AUTHS &&
           processes_count(m->processes, KIND_WATCHER) == 1;
}

static void wait_for_events(struct monitor *m)
{
    enum { MAX = 2 + MONITOR_AUTHS * 2 };
    struct pollfd fds[MAX] = {{.fd = m->signals, .events = POLLIN}};
    struct process *who[MAX] = {NULL};
    nfds_t n = 1;
    for (struct process *p = m->processes; p && n < MAX; p = p->next)
        if (p->fd >= 0) {
            who[n] = p;
            fds[n++] = (struct pollfd){.fd = p->fd, .events = POLLIN};
        }
    if (poll(fds, n, complete(m) ? QUIET_MS : BACKOFF_FIRST_MS) <= 0)
        return;
    for (nfds_t i = 1; i < n; i++)
        if (fds[i].revents && who[i]->fd >= 0)
            on_readable(m, who[i]);
    if (fds[0].revents)
        on_signal(m);
}

static int run(struct monitor *m)
{
    for (;;) {
        reap(m);
        keep_up(m);
        if (stopped(m))
            return m->exit_status;
        end_old_workers(m);
        end_old_broker(m);
        processes_name_lingering(m->processes);
        wait_for_events(m);
    }
}

/* ---- start ---- */

static int setup_signals(struct monitor *m, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN); /* whoever reads our log may go */
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
        (m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot take signals");
    return 0;
}

static int setup(struct monitor *m, struct err *err)
{
    const struct lease_policy policy = lease_policy(m);
    if (rights_init(&m->rights, &policy, err) < 0)
        return -1;
    struct err none = {0};
    if (grants_open(m->rights.grants, m->settings.conf.grants_dir, &none) < 0)
        log_notice("nothing can be staged: %s", none.text);
    else if (grants_count(m->rights.grants))
        log_notice("%zu staged jobs of before have grants", grants_count(m->rights.grants));
    if (programs_find_users(&m->programs, &m->settings.conf, m->single_user, err) < 0 ||
        programs_open(&m->programs, &m->settings.conf, err) < 0 ||
        settings_share(&m->settings, err) < 0 || setup_signals(m, err) < 0)
        return -1;
    return spawn_harden(!m->single_user, err);
}

static int start_and_run(struct monitor *m)
{
    struct err err = {0};
    if (setup(m, &err) < 0) {
        log_err("%s", err.text);
        return EXIT_UNUSABLE;
    }
    log_notice("%s started%s", VERSION, m->single_user ? " for this user alone" : "");
    int status = run(m);
    log_notice("stopped");
    return status;
}

int main(int argc, char **argv)
{
    static struct monitor m; /* large, and there is one */
    struct err err = {0};
    int status = EXIT_SUCCESS;
    log_setup("slurm-agentd", LOG_LEVEL_INFO);
    struct arguments args;
    enum todo todo = arguments_read(argc, argv, &args);
    if (todo == TODO_NOTHING || todo == TODO_UNUSABLE)
        return todo == TODO_NOTHING ? EXIT_SUCCESS : EXIT_UNUSABLE;
    /* Children start in another directory. */
    AUTO(free) char *whole = args.conf_path ? realpath(args.conf_path, NULL) : NULL;
    m.conf_path = whole ? whole : args.conf_path;
    m.single_user = args.single_user;
    m.settings.fd = m.earlier.fd = -1;
    bool good = settings_load(&m.settings, m.conf_path, &err) == 0;
    if (!good && todo != TODO_CHECK) {
        char owner[300] = "";
        bool wrong = err.code == ERR_DENIED &&
                     check_conf_owner(m.conf_path, m.single_user, owner, sizeof owner) < 0;
        log_err("%s%s%s", err.text, wrong ? ": " : "", owner);
        return EXIT_UNUSABLE;
    }
    if (good)
        log_setup("slurm-agentd", agentd_conf_log_level(&m.settings.conf));
    if (todo == TODO_RUN)
        status = start_and_run(&m);
    else if (todo == TODO_CHECK)
        status = monitor_check(m.conf_path, m.single_user, &m.settings, &m.programs, &err);
    else if (todo == TODO_PRINT)
        agentd_conf_print(stdout, &m.settings.conf);
    rights_free(&m.rights);
    settings_done(&m.settings);
    settings_done(&m.earlier);
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
