/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clock.h: the only places that ask what time it is */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Unix seconds; may be set back by an administrator. */
static inline int64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

/* Microseconds since some start; never goes back.  For durations. */
static inline int64_t clock_mono_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The same in milliseconds.  For deadlines. */
static inline int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

#endif
