/* SPDX-License-Identifier: GPL-3.0-or-later */
/* main.c: the broker: arguments, start and stop order, and nothing else
 *
 * Started by the monitor (slurm-agentd) as its own user without capabilities, with the monitor's
 * socket as descriptor 3.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "agentd/admin.h"
#include "agentd/agentd.h"
#include "agentd/authlink.h"
#include "agentd/cancels.h"
#include "agentd/check.h"
#include "agentd/held.h"
#include "agentd/hint.h"
#include "agentd/journal.h"
#include "agentd/listen.h"
#include "agentd/live.h"
#include "agentd/monlink.h"
#include "agentd/paced.h"
#include "agentd/requests_env.h"
#include "agentd/session.h"
#include "agentd/stagers.h"
#include "agentd/staging.h"
#include "agentd/status.h"
#include "agentd/table.h"
#include "agentd/watch.h"
#include "agentd/worker.h"
#include "common/clock.h"
#include "common/fdio.h"

enum {
    EXIT_UNUSABLE = 2, /* tells the monitor that starting again would not help */
    STOP_US = 6000000, /* for submits under way; the monitor waits 10 s */
    STOP_LOOK_US = 50000,
    LATE_S = 20, /* for slurmctld's first word: then we are ready without it */
};

static void set_draining(struct agentd *a, bool draining)
{
    if (a->stop_by_us)
        return;
    a->draining = draining;
    log_notice(draining ? "draining: no new submits are taken, %zu are under way"
                        : "submits are taken again (%zu are under way)",
               requests_busy(a->requests));
    status_tell(a);
}

static void on_monitor(void *arg, const struct monitor_event *ev, int fds[2])
{
    struct agentd *a = arg;
    switch (ev->say) {
    case SAY_AUTH:
        if (fds[0] >= 0)
            authlink_attach(a->auth, ev->process, fds[0]);
        return;
    case SAY_WATCHER:
        if (fds[0] >= 0 && fds[1] >= 0)
            watch_attach(a->watch, ev->process, fds[0], fds[1]);
        return;
    case SAY_SPAWNED:
        if (fds[0] >= 0 && fds[1] >= 0 && ev->role == ROLE_STAGE)
            stagers_spawned(a->stagers, ev, fds[0], fds[1]);
        else if (fds[0] >= 0 && fds[1] >= 0)
            workers_spawned(a->workers, ev, fds[0], fds[1]);
        return;
    case SAY_REFUSED:
        if (ev->role == ROLE_STAGE)
            stagers_refused(a->stagers, ev);
        else
            workers_refused(a->workers, ev);
        break;
    case SAY_GRANTED:
        staging_granted(a->staging, ev);
        break;
    case SAY_DRAIN:
        set_draining(a, ev->status != 0);
        break;
    case SAY_RELOADED:
        admin_reloaded(a->admin, ev);
        break;
    case SAY_ENDED:
        if (ev->role == ROLE_WATCH)
            watch_ended(a->watch, ev->process, ev->status);
        else if (ev->role == ROLE_STAGE)
            stagers_ended(a->stagers, ev);
        else if (ev->role == 0)
            authlink_ended(a->auth, ev->process);
        else
            workers_ended(a->workers, ev);
        break;
    default:
        log_warning("the monitor says %u, which this broker does not know", ev->say);
    }
    fdio_close_pair(fds);
}

static void on_frame(void *arg, struct listen_call *call, struct bytes frame)
{
    struct agentd *a = arg;
    sessions_frame(a->sessions, call, frame);
}

static int64_t whose(void *arg, struct bytes frame)
{
    const struct agentd *a = arg;
    return sessions_whose(a->sessions, frame);
}

static void ready(void *arg)
{
    struct agentd *a = arg;
    struct watch_status w;
    if (a->ready)
        return;
    a->ready = true;
    watch_status(a->watch, &w);
    log_notice("ready: cluster %s, slurmctld %s",
               *watch_cluster(a->watch) ? watch_cluster(a->watch) : "unknown",
               w.down || !w.as_of ? "does not answer" : "answers");
    sd_notify(0, "READY=1");
}

/* The first load hangs, with munged it may do so for minutes: that keeps nobody from being told so.
 */
static int on_late(sd_event_source *s, uint64_t usec, void *arg)
{
    const struct agentd *a = arg;
    (void)s;
    (void)usec;
    if (!a->ready)
        log_warning("slurmctld, or munged, has not answered for %d s", LATE_S);
    ready(arg);
    return 0;
}

/* Submits under way are finished; what is not by then is in the journal. */
static int on_stopping(sd_event_source *s, uint64_t usec, void *arg)
{
    struct agentd *a = arg;
    if (requests_busy(a->requests) == 0 || usec >= a->stop_by_us) {
        if (requests_busy(a->requests))
            log_warning("%zu submits are still under way", requests_busy(a->requests));
        return sd_event_exit(a->loop, 0);
    }
    sd_event_source_set_time(s, usec + STOP_LOOK_US);
    return sd_event_source_set_enabled(s, SD_EVENT_ON);
}

/* SIGHUP from the monitor: another broker takes over, and the service goes on. */
static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
    struct agentd *a = arg;
    uint64_t now;
    (void)s;
    if (a->stop_by_us)
        return 0;
    log_notice("stopping");
    if (si->ssi_signo != SIGHUP)
        sd_notify(0, "STOPPING=1");
    a->draining = true;
    sd_event_now(a->loop, CLOCK_MONOTONIC, &now);
    a->stop_by_us = now + STOP_US;
    /* Whoever asked for the new settings has the answer on its way. */
    if ((requests_busy(a->requests) == 0 && si->ssi_signo != SIGHUP) ||
        sd_event_add_time(a->loop, NULL, CLOCK_MONOTONIC, now + STOP_LOOK_US, 10000, on_stopping,
                          a) < 0)
        return sd_event_exit(a->loop, 0);
    return 0;
}

static int setup_signals(struct agentd *a, struct err *err)
{
    sigset_t all;
    sigemptyset(&all);
    sigaddset(&all, SIGTERM);
    sigaddset(&all, SIGINT);
    sigaddset(&all, SIGHUP);
    sigaddset(&all, SIGPIPE);
    sigaddset(&all, SIGUSR1); /* the monitor's to take */
    sigaddset(&all, SIGUSR2);
    if (sigprocmask(SIG_BLOCK, &all, NULL) < 0 ||
        sd_event_add_signal(a->loop, NULL, SIGTERM, on_signal, a) < 0 ||
        sd_event_add_signal(a->loop, NULL, SIGINT, on_signal, a) < 0 ||
        sd_event_add_signal(a->loop, NULL, SIGHUP, on_signal, a) < 0)
        return err_set(err, ERR_INTERNAL, "cannot take signals");
    return 0;
}

/* A connection is a descriptor; the soft limit of a service is often 1,024. */
static void raise_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int start(struct agentd *a, struct err *err)
{
    if (sd_event_new(&a->loop) < 0)
        return err_set(err, ERR_INTERNAL, "cannot make an event loop");
    /* From the loop itself, as often as systemd wants it: one that stands still is killed. */
    if (sd_event_set_watchdog(a->loop, true) < 0)
        log_warning("systemd's watchdog cannot be used");
    if (setup_signals(a, err) < 0 || seal_setup(err) < 0)
        return -1;
    seal_random(a->instance, sizeof a->instance);
    a->started = clock_now();
    raise_descriptors();
    if (!(a->table = table_new((size_t)a->conf.max_jobs)) || !(a->cancels = cancels_new()))
        return err_set(err, ERR_INTERNAL, "no memory");
    if (!(a->journal = journal_new(a->loop, &a->conf, err)) || !(a->held = held_new(a, err)) ||
        !(a->paced = paced_new(a, err)) || !(a->live = live_new(a, err)) ||
        requests_start(a, err) < 0)
        return -1;
    if (!(a->monitor = monlink_new(a->loop, MONITOR_FD, on_monitor, a, err)) ||
        !(a->auth = authlink_new(a, err)) || !(a->watch = watch_new(a, err)) ||
        !(a->workers = workers_new(a, err)) || !(a->stagers = stagers_new(a)) ||
        !(a->admin = admin_new(a, err)) || !(a->staging = staging_new(a, err)) ||
        !(a->sessions = sessions_new(a, err)) ||
        !(a->listen = listen_new(a->loop, &a->conf, on_frame, whose, a, err)))
        return -1;
    a->hints = hints_new(a);
    watch_on_first(a->watch, ready, a);
    if (sd_event_add_time_relative(a->loop, NULL, CLOCK_MONOTONIC, LATE_S * 1000000ULL, 0, on_late,
                                   a) < 0)
        return err_set(err, ERR_INTERNAL, "cannot set a timer");
    return 0;
}

/* Those who hold calls go first: their callbacks still find the rest, the listener last of all. */
static void stop(struct agentd *a)
{
    hints_free(a->hints);
    watch_stop(a->watch); /* the queries it lets go may ask a worker */
    paced_stop(a->paced);
    held_stop(a->held);
    requests_close(a->requests);    /* none begins when another one ends */
    workers_free(TAKE(a->workers)); /* what the journal lets go may not ask one any more */
    requests_stop(a->requests);
    journal_free(a->journal);
    watch_free(a->watch);
    cancels_free(a->cancels);
    staging_free(TAKE(a->staging));
    stagers_free(TAKE(a->stagers));
    authlink_free(a->auth);
    admin_free(a->admin);
    sessions_free(a->sessions);
    listen_free(a->listen);
    monlink_free(a->monitor);
    requests_end(a);
    live_free(a->live);
    paced_free(a->paced);
    held_free(a->held);
    table_free(a->table);
    sd_event_unref(a->loop);
}

static const char *parse_arguments(int argc, char **argv, struct agentd *a, bool *ret_check)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"settings-on-stdin", no_argument, NULL, 'i'},
        {"single-user", no_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == '?')
            exit(EXIT_UNUSABLE);
        if (c == 'c')
            path = optarg;
        else if (c == 'i')
            path = AGENTD_CONF_STDIN;
        else if (c == 'k')
            *ret_check = true;
        else
            a->single_user = true;
    }
    return path;
}

int main(int argc, char **argv)
{
    struct agentd a = {0};
    AUTO(arena_done) struct arena arena = {0};
    struct err err = {0};
    prctl(PR_SET_NAME, "agent-broker"); /* older kernels name it after a descriptor, see spawn.c */
#ifndef __SANITIZE_ADDRESS__            /* whose look for leaks traces its own process */
    prctl(PR_SET_DUMPABLE, 0);          /* the watcher has the same uid, and must not trace us */
#endif
    /* Frames and answers of megabytes go back to the system when they are freed; glibc would learn
     * to keep them. */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    bool check = false;
    const char *path = parse_arguments(argc, argv, &a, &check);
    log_setup("agent-broker", LOG_LEVEL_INFO);
    if (agentd_conf_load(path, &arena, &a.conf, &err) < 0) {
        log_err("%s", err.text);
        return EXIT_UNUSABLE;
    }
    log_setup("agent-broker", agentd_conf_log_level(&a.conf));
    if (check) {
        broker_check(&a.conf);
        return EXIT_SUCCESS;
    }
    if (start(&a, &err) < 0) {
        log_err("%s", err.text);
        return EXIT_UNUSABLE;
    }
    int status = sd_event_loop(a.loop);
    stop(&a);
    return status < 0 ? EXIT_FAILURE : status;
}
