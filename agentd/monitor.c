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
#include "agentd/lease.h"
#include "agentd/processes.h"
#include "agentd/programs.h"
#include "agentd/settings.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    EXIT_UNUSABLE = 2, /* a child, or we, cannot work as configured */
    WORKERS_PER_USER = 8,
    LEFTOVERS_PER_ROLE = 2, /* of a user: killed, and still there */
    /* Workers started in a second, in all and for one user, and refusals put into the log. */
    SPAWN_RATE = 200,
    SPAWN_RATE_PER_USER = 20,
    REFUSED_RATE = 10,
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
    struct leases *leases;
    struct process *processes;
    struct process *broker;
    uint32_t number;
    size_t workers;
    struct bucket spawns, refused;
    bool stopping;
    int64_t stop_ms;
    int64_t renewed_ms; /* since when the broker is to make way for a new one; 0: it is not */
    int exit_status;
    int64_t backoff_ms[4], not_before_ms[4]; /* by kind */
    int64_t ends_ms[BROKER_ENDS];            /* ring of the broker's ends */
    size_t ends;
};

/* ---- starting ---- */

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    pair[0] = pair[1] = -1;
}

static struct process *start_child(struct monitor *m, enum kind kind, const struct identity *who,
                                   const char *role, const int fds[2], int err_fd, struct err *err)
{
    struct command cmd;
    command_make(&cmd, m->programs.names[kind], m->conf_path, role, m->single_user,
                 kind == KIND_BROKER);
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

static const char *const role_words[] = {
    [ROLE_CONTROL] = "control", [ROLE_FILE] = "file", [ROLE_WATCH] = "watch", [ROLE_ACCT] = "acct"};

static void say_refused(struct monitor *m, const struct monitor_request *req, const struct err *err)
{
    struct monitor_event ev = {
        .say = SAY_REFUSED,
        .serial = req->serial,
        .uid = req->uid,
        .role = req->role,
        .code = err->code,
    };
    str_copy(ev.text, sizeof ev.text, err->text);
    if (bucket_take(&m->refused, REFUSED_RATE, clock_mono_ms()))
        log_notice("worker for uid %u refused: %s", req->uid, err->text);
    say(m, &ev, NULL, 0);
}

/* A worker or the watcher: a stream to the broker, and a pipe for its stderr. */
static int start_worker(struct monitor *m, enum kind kind, const struct identity *who,
                        enum worker_role role, uint32_t serial, struct err *err)
{
    int sock[2] = {-1, -1}, errs[2] = {-1, -1};
    struct process *p = NULL;
    if (socket_pair(SOCK_STREAM, sock, err) == 0) {
        if (pipe2(errs, O_CLOEXEC) < 0)
            err_errno(err, ERR_BUSY, "cannot make a pipe");
        else
            p = start_child(m, kind, who, role_words[role], (int[]){sock[1], -1}, errs[1], err);
    }
    if (p) {
        p->role = role;
        say_process(m, kind == KIND_WATCHER ? SAY_WATCHER : SAY_SPAWNED, serial, p, 0,
                    (int[]){sock[0], errs[0]}, 2);
    }
    close_pair(sock);
    close_pair(errs);
    return p ? 0 : -1;
}

static int start_auth(struct monitor *m, struct err *err)
{
    int own[2] = {-1, -1}, brokers[2] = {-1, -1};
    struct process *p = NULL;
    if (socket_pair(SOCK_SEQPACKET, own, err) == 0 &&
        socket_pair(SOCK_SEQPACKET, brokers, err) == 0)
        p = start_child(m, KIND_AUTH, &m->programs.root, NULL, (int[]){own[1], brokers[1]}, -1,
                        err);
    if (p) {
        p->fd = TAKE_FD(own[0]);
        say_process(m, SAY_AUTH, 0, p, 0, brokers, 1);
    }
    close_pair(own);
    close_pair(brokers);
    return p ? 0 : -1;
}

static int start_broker(struct monitor *m, struct err *err)
{
    int own[2];
    if (socket_pair(SOCK_SEQPACKET, own, err) < 0)
        return -1;
    struct process *p =
        start_child(m, KIND_BROKER, &m->programs.broker_user, NULL, (int[]){own[1], -1}, -1, err);
    if (p) {
        p->fd = TAKE_FD(own[0]);
        m->broker = p;
    }
    close_pair(own);
    return p ? 0 : -1;
}

/* ---- requests ---- */

/* Leftovers count, also those of an earlier broker: nobody gathers them without end. */
static int may_have_another(const struct monitor *m, const struct monitor_request *req,
                            struct err *err)
{
    size_t workers = processes_of(m->processes, req->uid);
    if (workers >= WORKERS_PER_USER)
        return err_set(err, ERR_BUSY, "uid %u has %zu workers, as many as are allowed", req->uid,
                       workers);
    size_t left = processes_left(m->processes, req->uid, req->role);
    if (left >= LEFTOVERS_PER_ROLE)
        return err_set(err, ERR_BUSY,
                       "%zu %s workers of uid %u were killed and are still there (a hung file "
                       "system, or a tracer?): no other is started before they have gone",
                       left, role_words[req->role], req->uid);
    return 0;
}

/* The broker starts few and keeps them; one that was taken over would fork without end. */
static int take_turn(struct monitor *m, struct lease *l, struct err *err)
{
    int64_t now = clock_mono_ms();
    if (!bucket_has(&m->spawns, SPAWN_RATE, now))
        return err_set(err, ERR_BUSY,
                       "%d workers were started in the last second, as many as may "
                       "be",
                       SPAWN_RATE);
    if (!bucket_take(&l->spawns, SPAWN_RATE_PER_USER, now))
        return err_set(err, ERR_BUSY,
                       "%d workers of uid %u were started in the last second, as "
                       "many as may be",
                       SPAWN_RATE_PER_USER, l->uid);
    bucket_take(&m->spawns, SPAWN_RATE, now);
    return 0;
}

static int spawn(struct monitor *m, const struct monitor_request *req, struct err *err)
{
    if (req->role != ROLE_CONTROL && req->role != ROLE_FILE && req->role != ROLE_ACCT)
        return err_set(err, ERR_DENIED, "there is no role %u", req->role);
    struct lease *l = leases_find(m->leases, req->uid, clock_mono_ms() / 1000);
    if (!l)
        return err_set(err, ERR_DENIED,
                       "uid %u has not authenticated itself lately: no worker is started for it",
                       req->uid);
    if (m->workers >= (size_t)m->settings.conf.max_workers)
        return err_set(err, ERR_BUSY, "%zu workers are running, as many as are allowed",
                       m->workers);
    if (may_have_another(m, req, err) < 0 || take_turn(m, l, err) < 0)
        return -1;
    struct identity who = {.uid = l->uid, .gid = l->gid, .ngroups = l->ngroups};
    for (size_t i = 0; i < l->ngroups; i++)
        who.groups[i] = l->groups[i];
    if (start_worker(m, KIND_WORKER, &who, (enum worker_role)req->role, req->serial, err) < 0)
        return -1;
    m->workers++;
    return 0;
}

static void on_broker_packet(struct monitor *m, const struct monitor_request *req)
{
    struct err err = {0};
    if (req->ask == ASK_SPAWN) {
        if (spawn(m, req, &err) < 0)
            say_refused(m, req, &err);
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
    if (leases_grant(m->leases, req, clock_mono_ms() / 1000, &err) < 0)
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
    if (n <= 0 && m->stopping) { /* on its way out: stopped() has the patience */
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
    leases_set_policy(m->leases, &policy);
    log_setup("slurm-agentd", agentd_conf_log_level(&m->settings.conf));
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
    leases_drop(m->leases);
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
        p->kind == KIND_WORKER || m->stopping || m->renewed_ms ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
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
    m->workers -= p->kind == KIND_WORKER;
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
             : kind == KIND_AUTH
                 ? start_auth(m, &err)
                 : start_worker(m, KIND_WATCHER, &m->programs.watch_user, ROLE_WATCH, 0, &err);
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
    int64_t longest = m->settings.conf.worker_age_s + m->settings.conf.call_deadline_s + OVERTIME_S;
    int64_t now = clock_mono_ms();
    for (struct process *p = m->processes; p; p = p->next)
        if (p->kind == KIND_WORKER && !p->killed_ms && now - p->born_ms > longest * 1000) {
            log_warning("worker process %u (uid %u) is older than %lld s: killed", p->number,
                        p->uid, (long long)longest);
            process_kill(p);
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

/* Children have settings for life: new ones are a new broker's, and those whom it asks for. */
static void reload(struct monitor *m)
{
    struct err err = {0};
    int changed = settings_reload(&m->settings, &m->earlier, m->conf_path, &err);
    if (changed < 0)
        log_err("%s: the settings stay as they were", err.text);
    else if (changed == 0)
        log_notice("no setting has changed that can be while we run");
    if (changed <= 0)
        return;
    set_policy(m);
    log_notice("a new broker takes over, with these settings");
    if (m->broker && kill(m->broker->pid, SIGHUP) == 0 && !m->renewed_ms)
        m->renewed_ms = clock_mono_ms();
}

static void on_signal(struct monitor *m)
{
    struct signalfd_siginfo si;
    if (read(m->signals, &si, sizeof si) != sizeof si)
        return;
    if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
        begin_stop(m, EXIT_SUCCESS);
    else if (si.ssi_signo == SIGHUP && !m->stopping)
        reload(m);
    else if (si.ssi_signo != SIGCHLD && m->broker) /* to drain USR1, and USR2 not to */
        kill(m->broker->pid, (int)si.ssi_signo);
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
    m->leases = leases_new(&policy);
    if (!m->leases)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (programs_find_users(&m->programs, &m->settings.conf, m->single_user, err) < 0 ||
        programs_open(&m->programs, &m->settings.conf, err) < 0 ||
        settings_share(&m->settings, err) < 0 || setup_signals(m, err) < 0)
        return -1;
    return spawn_harden(!m->single_user, err);
}

static int check(struct monitor *m, const struct err *conf_err)
{
    struct check c = {.conf_path = m->conf_path, .single_user = m->single_user};
    struct err err = {0};
    char text[300];
    if (conf_err->code != ERR_NONE) {
        check_line(&c, CHECK_FAIL, "conf", conf_err->text);
        return check_end(&c);
    }
    check_line(&c, CHECK_OK, "conf", str_or(m->conf_path, "no file: the defaults"));
    if (programs_find_users(&m->programs, &m->settings.conf, m->single_user, &err) < 0) {
        check_line(&c, CHECK_FAIL, "users", err.text);
        return check_end(&c);
    }
    snprintf(text, sizeof text, "broker is uid %u, watcher %u; users from uid %lld on are served",
             m->programs.broker_user.uid, m->programs.watch_user.uid,
             (long long)m->settings.conf.min_uid);
    check_line(&c, CHECK_OK, "users", text);
    if (programs_open(&m->programs, &m->settings.conf, &err) < 0 ||
        settings_share(&m->settings, &err) < 0 || spawn_harden(!m->single_user, &err) < 0) {
        check_line(&c, CHECK_FAIL, "programs", err.text);
        return check_end(&c);
    }
    check_line(&c, CHECK_OK, "programs", m->settings.conf.libexec_dir);
    c.settings_fd = m->settings.fd;
    c.programs = &m->programs;
    check_programs(&c);
    return check_end(&c);
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
        log_err("%s", err.text);
        return EXIT_UNUSABLE;
    }
    if (good)
        log_setup("slurm-agentd", agentd_conf_log_level(&m.settings.conf));
    if (todo == TODO_RUN)
        status = start_and_run(&m);
    else if (todo == TODO_CHECK)
        status = check(&m, &err);
    else if (todo == TODO_PRINT)
        agentd_conf_print(stdout, &m.settings.conf);
    leases_free(m.leases);
    settings_done(&m.settings);
    settings_done(&m.earlier);
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
