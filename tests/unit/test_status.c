/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `systemctl status` says: the test is systemd, monitor and watcher. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "agentd/journal.h"
#include "agentd/status.h"
#include "agentd/watch.h"
#include "tests/fake/fake_monitor.h"
#include "tests/kit/scratch.h"

enum { EXIT_1 = 1 << 8, KILLED = 9 }; /* as of waitpid() */

static struct fake_monitor m;
static char dir[SCRATCH_PATH], state[SCRATCH_PATH];
static int systemd = -1, errs[2];

static void setup(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct err err = {0};
    scratch_make(dir);
    scratch_path(state, dir, "notify");
    cr_assert_lt(strlen(state), sizeof at.sun_path);
    strcpy(at.sun_path, state);
    systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(systemd, (struct sockaddr *)&at, sizeof at), 0);
    setenv("NOTIFY_SOCKET", state, 1);
    fake_monitor_start(&m);
    m.a.conf.state_dir = dir;
    m.a.journal = journal_new(m.a.loop, &m.a.conf, &err);
    m.a.watch = watch_new(&m.a, &err);
    cr_assert(m.a.journal && m.a.watch, "%s", err.text);
}

static void teardown(void)
{
    watch_free(m.a.watch);
    journal_free(m.a.journal);
    m.a.watch = NULL;
    m.a.journal = NULL;
    fake_monitor_stop(&m);
    close(systemd);
    scratch_remove(dir);
}

TestSuite(status, .init = setup, .fini = teardown, .timeout = 60);

/* The last thing that systemd was told; "" when it was told nothing. */
static const char *told(void)
{
    static char text[2000];
    char more[2000];
    ssize_t n;
    text[0] = '\0';
    while ((n = recv(systemd, more, sizeof more - 1, 0)) >= 0) {
        more[n] = '\0';
        strcpy(text, more);
    }
    return text;
}

static void begin_watcher(void)
{
    int sock[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
    cr_assert_eq(pipe(errs), 0);
    watch_attach(m.a.watch, 7, sock[1], errs[0]);
    close(sock[0]);
}

Test(status, says_what_the_watcher_said_when_it_died)
{
    static const char said[] = "error: x\nfatal: no plugin\n";
    struct watch_status w;
    status_tell(&m.a);
    cr_expect_str_eq(told(), "STATUS=slurmctld has not answered since slurm-agentd started");
    begin_watcher();
    cr_assert_eq(write(errs[1], said, sizeof said - 1), sizeof said - 1);
    watch_ended(m.a.watch, 7, EXIT_1);
    cr_expect_str_eq(
        told(), "STATUS=slurmctld: the watcher ended with status 1: error: x; fatal: no plugin");
    watch_status(m.a.watch, &w);
    cr_expect(w.down && w.stale);
    cr_expect_str_eq(w.error, "the watcher ended with status 1: error: x; fatal: no plugin");
    close(errs[1]);
}

Test(status, of_a_watcher_that_was_killed_says_nothing)
{
    struct watch_status w;
    begin_watcher();
    watch_ended(m.a.watch, 7, KILLED);
    watch_status(m.a.watch, &w);
    cr_expect_not(w.down);
    close(errs[1]);
}

Test(status, says_that_it_drains_and_that_nothing_can_be_kept)
{
    status_tell(&m.a);
    told();
    status_tell(&m.a);
    cr_expect_str_eq(told(), "", "the same is not told again");
    m.a.draining = true;
    status_tell(&m.a);
    cr_expect_not_null(strstr(told(), "; draining: no new submits are taken"));
    m.a.draining = false;
    journal_free(m.a.journal);
    struct err err = {0};
    m.a.conf.state_dir = "/nonexistent";
    m.a.journal = journal_new(m.a.loop, &m.a.conf, &err);
    const char *text = "";
    for (int i = 0; i < 500 && !strstr(text, "no submits are taken, no history is kept: "); i++) {
        sd_event_run(m.a.loop, 20000);
        status_tell(&m.a);
        text = *m.a.status ? m.a.status : "";
    }
    cr_expect_not_null(strstr(text, "no submits are taken, no history is kept: "), "%s", text);
    cr_expect_not_null(strstr(text, "/nonexistent"), "%s", text);
    cr_expect_null(strstr(text, "draining"));
}
