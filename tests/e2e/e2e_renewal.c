/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A session that has ended is renewed without a word; in a sandbox with session_s = 10 */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/slurmagent.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"

TestSuite(renewal, .timeout = 120);

static void expect_ping(struct sagent *s)
{
    struct sagent_error err;
    struct sagent_server *server;
    int rc = sagent_ping(s, &server, &err);
    cr_assert_eq(rc, 0, "%s", err.text);
    sagent_server_free(server);
}

static struct sagent *open_as_user(void)
{
    struct sagent *s;
    struct sagent_error err;
    become(user_a());
    cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
    expect_ping(s);
    return s;
}

Test(renewal, a_client_that_was_idle_past_its_sessions_end_goes_on)
{
    struct sagent *s = open_as_user();
    for (int64_t end = clock_mono_ms() + 11500; clock_mono_ms() < end;)
        poll(NULL, 0, 100);
    expect_ping(s);
    sagent_close(s);
}

Test(renewal, a_client_that_is_busy_over_its_sessions_end_goes_on)
{
    struct sagent *s = open_as_user();
    for (int64_t end = clock_mono_ms() + 12000; clock_mono_ms() < end;) {
        expect_ping(s);
        poll(NULL, 0, 20);
    }
    sagent_close(s);
}
