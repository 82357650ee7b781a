/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/within.h"

TestSuite(within, .timeout = 30);

struct gate {
    int fd;
    atomic_int passed;
};

/* Ends when the gate is opened, at the latest with the test. */
static void pass(void *arg)
{
    struct gate *g = arg;
    struct pollfd p = {.fd = g->fd, .events = POLLIN};
    poll(&p, 1, 20000);
    atomic_fetch_add(&g->passed, 1);
}

static void open_gate(struct gate *g)
{
    cr_assert_eq(eventfd_write(g->fd, 1), 0);
}

static bool none_overdue(void)
{
    int64_t end = clock_mono_ms() + 10000;
    while (within_overdue() > 0 && clock_mono_ms() < end)
        poll(NULL, 0, 1);
    return within_overdue() == 0;
}

Test(within, what_ends_in_time_is_waited_for)
{
    struct gate g = {.fd = eventfd(1, 0)};
    cr_expect(within(10000, pass, &g));
    cr_expect_eq(atomic_load(&g.passed), 1);
    cr_expect_eq(within_overdue(), 0);
    close(g.fd);
}

Test(within, what_does_not_end_is_left_to_itself_and_counted)
{
    struct gate g = {.fd = eventfd(0, 0)};
    int64_t begin = clock_mono_ms();
    cr_expect_not(within(50, pass, &g));
    cr_expect_geq(clock_mono_ms() - begin, 50);
    cr_expect_eq(within_overdue(), 1);
    open_gate(&g);
    cr_expect(none_overdue());
    cr_expect_eq(atomic_load(&g.passed), 1);
    close(g.fd);
}

Test(within, the_next_is_not_waited_for_while_one_is_overdue)
{
    struct gate g = {.fd = eventfd(0, 0)};
    cr_expect_not(within(1, pass, &g));
    cr_expect_not(within(60000, pass, &g), "or the test times out");
    cr_expect_eq(within_overdue(), 2);
    open_gate(&g);
    cr_expect(none_overdue());
    cr_expect_eq(atomic_load(&g.passed), 2);
    close(g.fd);
}

static void is_blocked(void *arg)
{
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    *(bool *)arg = sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGTERM) == 1;
}

Test(within, signals_stay_with_the_caller)
{
    sigset_t mask;
    bool blocked = false;
    cr_expect(within(10000, is_blocked, &blocked));
    cr_expect(blocked);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    cr_expect_eq(sigismember(&mask, SIGUSR1), 0);
}
