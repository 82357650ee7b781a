/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_signals.c: Ctrl-C and SIGTERM while a command waits */
#include <signal.h>
#include <stdatomic.h>

#include "client/cli_follow.h"
#include "common/cleanup.h"

static const int signals[] = {SIGINT, SIGTERM};

static struct sagent *_Atomic target;
static volatile sig_atomic_t count, last, patience_left;

static void on_signal(int number)
{
    struct sagent *s = atomic_load(&target);
    count++;
    last = number;
    patience_left--;
    for (size_t i = 0; i < ARRAY_LEN(signals) && patience_left <= 0; i++)
        signal(signals[i], SIG_DFL);
    if (s)
        sagent_interrupt(s);
}

void cli_signals_catch(int patience)
{
    struct sigaction before, sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    patience_left = patience;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaddset(&sa.sa_mask, signals[i]);
    /* A shell's background job ignores Ctrl-C, and should. */
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &sa, NULL);
}

void cli_signals_release(void)
{
    struct sigaction now;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == on_signal)
            signal(signals[i], SIG_DFL);
}

void cli_signals_to(struct sagent *s)
{
    atomic_store(&target, s);
}

int cli_signals_count(void)
{
    return (int)count;
}

int cli_signals_end(void)
{
    int number = last ? (int)last : SIGINT;
    fflush(stdout);
    /* By the signal itself: a shell's loop around us then ends, too. */
    signal(number, SIG_DFL);
    raise(number);
    return 128 + number;
}
