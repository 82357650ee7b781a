/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fake_monitor.h: a broker's loop with a scripted monitor at the other end of its socket
 *
 * One thread: the test says what the monitor answers, then runs the loop until something is so.
 */
#ifndef TESTS_FAKE_MONITOR_H
#define TESTS_FAKE_MONITOR_H

#include "agentd/agentd.h"
#include "agentd/chan.h"
#include "agentd/monitor_proto.h"

struct fake_monitor {
    struct agentd a; /* conf, loop, monitor, workers, auth */
    int fd;          /* the monitor's end */
    uint32_t last_process;
};

/* Asserts that everything could be set up. */
void fake_monitor_start(struct fake_monitor *m);
void fake_monitor_stop(struct fake_monitor *m);
/* Runs the loop until *done or a deadline, which fails the test. */
void fake_monitor_run_until(struct fake_monitor *m, const bool *done);
/* Lets the loop do what it has to for this long. */
void fake_monitor_run_for(struct fake_monitor *m, int ms);
/* Waits for the next request to the monitor. */
struct monitor_request fake_monitor_next(struct fake_monitor *m);
/* Is there none? */
bool fake_monitor_quiet(struct fake_monitor *m);
/* Answers a spawn: gives the worker's end of the socket. */
int fake_monitor_spawned(struct fake_monitor *m, const struct monitor_request *req);
/* Attaches an auth process: gives its end. */
int fake_monitor_auth(struct fake_monitor *m);
void fake_monitor_say(struct fake_monitor *m, enum monitor_say say,
                      const struct monitor_request *req, uint32_t process, enum err_code code,
                      const char *text);
/* A stage worker has ended; status is wait()'s. */
void fake_monitor_ended(struct fake_monitor *m, uint32_t uid, uint32_t process, int status);

#endif
