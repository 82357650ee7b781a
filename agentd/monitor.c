/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monitor.c: the program slurm-agentd: starts and ends all others, and does nothing else
 *
 * Runs as root with CAP_SETUID, CAP_SETGID and CAP_KILL alone, or with --single-user as anybody.
 * Reads packets of fixed size from broker and auth, and nothing from clients.  Forking, changing
 * users and executing are in spawn.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agentd/conf.h"
#include "agentd/lease.h"
#include "agentd/spawn.h"
#include "agentd/processes.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    EXIT_UNUSABLE = 2, /* a child, or we, cannot work as configured */
    WORKERS_PER_USER = 8,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 5000,
    BACKOFF_RESET_MS = 30000, /* a process that lived this long begins anew */
    BROKER_ENDS = 10,         /* in BROKER_ENDS_MS: then we give up */
    BROKER_ENDS_MS = 60000,
    STOP_MS = 10000, /* for the broker to end by itself */
    QUIET_MS = 5000, /* between two looks at ages when nothing happens */
    OVERTIME_S = 60,
};

static const char *const program_names[] = {"agent-broker", "agent-auth", "agent-worker",
                                            "agent-worker"};

struct monitor {
    struct agentd_conf conf;
    const char *conf_path; /* NULL: none */
    bool single_user;
    struct identity root, broker_user, watch_user;
    int exe[4]; /* by kind: O_PATH, opened while we still could read everything */
    int signals;
    int null;
    struct leases *leases;
    struct process *processes;
    struct process *broker;
    uint32_t number;
    size_t workers;
    bool stopping;
    int64_t stop_ms;
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

struct command {
    const char *argv[8];
    char *envp[5];
    char journal[64], notify[128];
};

/* name=value into buf, when we have the variable and it fits. */
static int pass_on(char **envp, int n, const char *name, char *buf, size_t size)
{
    const char *value = getenv(name);
    if (value && (size_t)snprintf(buf, size, "%s=%s", name, value) < size)
        envp[n++] = buf;
    return n;
}

static void make_command(const struct monitor *m, enum kind kind, const char *role,
                         struct command *out)
{
    const char **argv = out->argv;
    int n = 0, e = 0;
    argv[n++] = program_names[kind];
    if (m->conf_path) {
        argv[n++] = "--config";
        argv[n++] = m->conf_path;
    }
    if (role) {
        argv[n++] = "--role";
        argv[n++] = role;
    } else if (m->single_user) {
        argv[n++] = "--single-user";
    }
    argv[n] = NULL;
    out->envp[e++] = "PATH=/usr/local/bin:/usr/bin:/bin";
    out->envp[e++] = "LANG=C.UTF-8";
    if (!role)
        e = pass_on(out->envp, e, "JOURNAL_STREAM", out->journal, sizeof out->journal);
    if (kind == KIND_BROKER)
        e = pass_on(out->envp, e, "NOTIFY_SOCKET", out->notify, sizeof out->notify);
    out->envp[e] = NULL;
}

static struct process *start_child(struct monitor *m, enum kind kind, const struct identity *who,
                                   const char *role, const int fds[2], int err_fd, struct err *err)
{
    struct command cmd;
    make_command(m, kind, role, &cmd);
    struct process *p = calloc(1, sizeof *p);
    struct spawn c = {
        .who = m->single_user ? NULL : who,
        .exe = m->exe[kind],
        .argv = (char *const *)cmd.argv,
        .envp = cmd.envp,
        .fds = {fds[0], fds[1]},
        .null_fd = m->null,
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
    if (sendmsg(m->broker->fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof *ev || errno == EPIPE)
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
    log_notice("worker for uid %u refused: %s", req->uid, err->text);
    say(m, &ev, NULL, 0);
}

/* A worker or the watcher: a stream to the broker, and a pipe for its stderr. */
static int start_worker(struct monitor *m, enum kind kind, const struct identity *who,
                        enum worker_role role, uint32_t serial, struct err *err)
{
    static const char *const names[] = {[ROLE_CONTROL] = "control",
                                        [ROLE_FILE] = "file",
                                        [ROLE_WATCH] = "watch",
                                        [ROLE_ACCT] = "acct"};
    int sock[2] = {-1, -1}, errs[2] = {-1, -1};
    struct process *p = NULL;
    if (socket_pair(SOCK_STREAM, sock, err) == 0) {
        if (pipe2(errs, O_CLOEXEC) < 0)
            err_errno(err, ERR_BUSY, "cannot make a pipe");
        else
            p = start_child(m, kind, who, names[role], (int[]){sock[1], -1}, errs[1], err);
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
        p = start_child(m, KIND_AUTH, &m->root, NULL, (int[]){own[1], brokers[1]}, -1, err);
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
        start_child(m, KIND_BROKER, &m->broker_user, NULL, (int[]){own[1], -1}, -1, err);
    if (p) {
        p->fd = TAKE_FD(own[0]);
        m->broker = p;
    }
    close_pair(own);
    return p ? 0 : -1;
}

/* ---- requests ---- */

static int spawn(struct monitor *m, const struct monitor_request *req, struct err *err)
{
    if (req->role != ROLE_CONTROL && req->role != ROLE_FILE && req->role != ROLE_ACCT)
        return err_set(err, ERR_DENIED, "there is no role %u", req->role);
    struct lease *l = leases_find(m->leases, req->uid, clock_mono_ms() / 1000);
    if (!l)
        return err_set(err, ERR_DENIED,
                       "uid %u has not authenticated itself lately: no worker is started for it",
                       req->uid);
    if (m->workers >= (size_t)m->conf.max_workers)
        return err_set(err, ERR_BUSY, "%zu workers are running, as many as are allowed",
                       m->workers);
    /* Those of an earlier broker's that do not go count too: nobody gathers them without end. */
    size_t workers = processes_of(m->processes, req->uid);
    if (workers >= WORKERS_PER_USER)
        return err_set(err, ERR_BUSY, "uid %u has %zu workers, as many as are allowed", req->uid,
                       workers);
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

static void broker_ended(struct monitor *m, int status)
{
    int64_t now = clock_mono_ms();
    m->broker = NULL;
    leases_drop(m->leases);
    /* Nobody may go on for a broker that is not there: the next one starts when all are reaped. */
    for (struct process *p = m->processes; p; p = p->next) {
        process_kill(p);
        p->earlier = true;
    }
    if (!m->stopping && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_UNUSABLE) {
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
        p->kind == KIND_WORKER || m->stopping ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
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
                 : start_worker(m, KIND_WATCHER, &m->watch_user, ROLE_WATCH, 0, &err);
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
        if (!processes_may_send(m->processes))
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
    int64_t longest = m->conf.worker_age_s + m->conf.call_deadline_s + OVERTIME_S;
    int64_t now = clock_mono_ms();
    for (struct process *p = m->processes; p; p = p->next)
        if (p->kind == KIND_WORKER && !p->killed_ms && now - p->born_ms > longest * 1000) {
            log_warning("worker process %u (uid %u) is older than %lld s: killed", p->number,
                        p->uid, (long long)longest);
            process_kill(p);
        }
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
    else if (si.ssi_signo == SIGHUP && m->broker)
        kill(m->broker->pid, SIGHUP);
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
        processes_name_lingering(m->processes, m->broker != NULL);
        wait_for_events(m);
    }
}

/* ---- start ---- */

static int find_identities(struct monitor *m, struct err *err)
{
    if (m->single_user && geteuid() == 0)
        return err_set(err, ERR_INVALID, "--single-user is for users, not for root");
    if (m->single_user) {
        m->root = (struct identity){.uid = getuid(), .gid = getgid()};
        m->broker_user = m->watch_user = m->root;
        return 0;
    }
    if (geteuid() != 0)
        return err_set(err, ERR_INVALID,
                       "started by uid %u: serving several users needs root; --single-user serves "
                       "this user alone",
                       getuid());
    if (identity_find("user", m->conf.user, &m->broker_user, err) < 0)
        return -1;
    if (*m->conf.watch_user)
        return identity_find("watch_user", m->conf.watch_user, &m->watch_user, err);
    m->watch_user = m->broker_user;
    return 0;
}

static int open_programs(struct monitor *m, struct err *err)
{
    for (int i = 0; i < 4; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", m->conf.libexec_dir, program_names[i]);
        /* By descriptor: users need not be able to walk to it, and an upgrade does not mix builds.
         */
        m->exe[i] = open(path, O_PATH | O_CLOEXEC);
        if (m->exe[i] < 0)
            return err_errno(err, ERR_INVALID, "%s (libexec_dir in agentd.conf)", path);
    }
    return 0;
}

static int setup_signals(struct monitor *m, struct err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN); /* whoever reads our log may go */
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
        (m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return err_errno(err, ERR_INTERNAL, "cannot take signals");
    return 0;
}

/* Also fills 0 to 2 when somebody started us without: children get descriptors by number. */
static int open_null(struct monitor *m, struct err *err)
{
    do
        m->null = open("/dev/null", O_RDWR);
    while (m->null >= 0 && m->null <= STDERR_FILENO);
    if (m->null < 0 || fcntl(m->null, F_SETFD, FD_CLOEXEC) < 0)
        return err_errno(err, ERR_INTERNAL, "/dev/null");
    return 0;
}

static int setup(struct monitor *m, struct err *err)
{
    struct lease_policy policy = {
        .min_uid = (uint32_t)m->conf.min_uid,
        .longest_s = m->conf.session_s,
        .only_uid = m->single_user ? (int64_t)getuid() : -1,
    };
    m->leases = leases_new(&policy);
    if (!m->leases)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (open_null(m, err) < 0 || find_identities(m, err) < 0 || open_programs(m, err) < 0 ||
        setup_signals(m, err) < 0)
        return -1;
    return spawn_harden(!m->single_user, err);
}

static void usage(FILE *to)
{
    fputs("usage: slurm-agentd [--config FILE] [--single-user]\n"
          "       slurm-agentd [--config FILE] --print-config\n\n"
          "Serves Slurm to slurm-agent's clients; stays in the foreground.\n\n"
          "  --config FILE   settings (" SYSCONFDIR "/slurm-agent/agentd.conf, if it is there)\n"
          "  --single-user   without root, for this user alone\n"
          "  --print-config  the settings in force, each with what it means\n"
          "  --version, --help\n",
          to);
}

static const char default_conf[] = SYSCONFDIR "/slurm-agent/agentd.conf";

enum todo { TODO_RUN, TODO_PRINT, TODO_NOTHING, TODO_UNUSABLE };

static enum todo parse_arguments(int argc, char **argv, struct monitor *m)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"single-user", no_argument, NULL, 's'},
        {"print-config", no_argument, NULL, 'p'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    enum todo todo = TODO_RUN;
    int c;
    if (access(default_conf, F_OK) == 0)
        m->conf_path = default_conf;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            m->conf_path = optarg;
            break;
        case 's':
            m->single_user = true;
            break;
        case 'p':
            todo = TODO_PRINT;
            break;
        case 'v':
            puts("slurm-agentd " VERSION);
            return TODO_NOTHING;
        case 'h':
            usage(stdout);
            return TODO_NOTHING;
        default:
            usage(stderr);
            return TODO_UNUSABLE;
        }
    }
    if (optind == argc)
        return todo;
    fprintf(stderr, "slurm-agentd: '%s' is no option\n", argv[optind]);
    usage(stderr);
    return TODO_UNUSABLE;
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
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    int status = EXIT_SUCCESS;
    log_setup("slurm-agentd", LOG_LEVEL_INFO);
    enum todo todo = parse_arguments(argc, argv, &m);
    if (todo == TODO_NOTHING || todo == TODO_UNUSABLE)
        return todo == TODO_NOTHING ? EXIT_SUCCESS : EXIT_UNUSABLE;
    /* Children start in another directory. */
    AUTO(free) char *whole = m.conf_path ? realpath(m.conf_path, NULL) : NULL;
    if (whole)
        m.conf_path = whole;
    if (agentd_conf_load(m.conf_path, &arena, &m.conf, &err) < 0) {
        log_err("%s", err.text);
        return EXIT_UNUSABLE;
    }
    log_setup("slurm-agentd", agentd_conf_log_level(&m.conf));
    if (todo == TODO_RUN)
        status = start_and_run(&m);
    else
        agentd_conf_print(&m.conf);
    leases_free(m.leases);
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
