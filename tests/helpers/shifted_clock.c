/* SPDX-License-Identifier: GPL-3.0-or-later */
/* shifted_clock.c: a preloaded time() that is CLOCK_SHIFT_S seconds off: a host whose clock is
 * wrong */
#include <stdlib.h>
#include <time.h>

time_t time(time_t *out)
{
    const char *shift = getenv("CLOCK_SHIFT_S");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += shift ? strtol(shift, NULL, 10) : 0;
    if (out)
        *out = t.tv_sec;
    return t.tv_sec;
}
