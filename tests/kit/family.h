/* SPDX-License-Identifier: GPL-3.0-or-later */
/* family.h: a real slurm-agentd whose children are tests/helpers/fake_child.c, played by the test
 *
 * As root the broker is nobody and the watcher daemon; otherwise everything runs --single-user.
 */
#ifndef TESTS_KIT_FAMILY_H
#define TESTS_KIT_FAMILY_H

#include <stdbool.h>

#include "agentd/monitor_proto.h"
#include "tests/kit/scratch.h"

enum { FAMILY_PATIENCE_MS = 10000, FAMILY_WAITING = 16 };

/* A child of the monitor's that has reported. */
struct kid {
    int test;   /* for orders */
    int fds[2]; /* copies of its 3 and 4; -1 */
    pid_t pid;
    uid_t uid;
    char report[8192];
};

struct family {
    char dir[SCRATCH_PATH];
    pid_t monitor;
    int listening;
    struct kid *waiting[FAMILY_WAITING]; /* reported, not asked for yet */
    struct kid *broker;
    struct kid *auths[MONITOR_AUTHS];
    struct kid *watcher;
    uint32_t auth_numbers[MONITOR_AUTHS], watcher_number; /* the monitor's */
    bool draining; /* the last broker was told so before anything else */
    uint32_t serial;
    uint32_t last_hello;
};

/* An event, with what came along. */
struct said {
    struct monitor_event ev;
    int fds[2]; /* -1: none */
};

/* settings: more lines of agentd.conf.  Returns when everybody is there. */
void family_start(struct family *f, const char *settings);
/* Kills the monitor, and so all of them, and starts it anew. */
void family_restart(struct family *f);
/* Waits for the monitor's next broker, auths and watcher (after the end of the old ones). */
void family_gather(struct family *f);
/* Ends all that is left. */
void family_stop(struct family *f);
/* The monitor's exit status (128 + signal); -1 when it is still there after ms. */
int family_ended(struct family *f, int ms);
/* Does its log hold this, within the usual patience? */
bool family_logged(struct family *f, const char *text);

/* The next child of that program and, when not NULL, with that argument, that reports.  Gives:
 * kid_free(). */
struct kid *family_next(struct family *f, const char *program, const char *argument);
void kid_free(struct kid *k);
/* Gives it an order, and waits until it is carried out unless it is "exit N". */
void kid_order(struct kid *k, const char *order);
/* Has the process gone and been reaped, within the usual patience? */
bool pid_gone(pid_t pid);
/* "Uid:" of /proc/PID/status and so on, without the tabs; static. */
const char *pid_status(pid_t pid, const char *field);

/* What the monitor says to the broker next. */
struct said family_hear(struct family *f);
/* Asks as the broker, and hears the answer. */
struct said family_spawn(struct family *f, uint32_t uid, uint32_t role);
/* The same with any request, and one that has no answer. */
struct said family_ask(struct family *f, struct monitor_request *req);
void family_tell(struct family *f, const struct monitor_request *req);
void family_kill(struct family *f, uint32_t process);
void said_close(struct said *s);
/* A control worker of family_uid(), the lease included. */
struct kid *family_worker(struct family *f, struct said *ret);
/* Asks for a lease as auth process i; a fresh HELLO unless hello is set. */
struct lease_reply family_lease(struct family *f, int i, uint32_t uid, int64_t lifetime_s,
                                uint32_t hello);

/* A uid that is served here: 4242 as root, else our own. */
uint32_t family_uid(void);

#endif
