/* SPDX-License-Identifier: GPL-3.0-or-later */
/* failpoint.h: places where a process of a test build can be made to die or to stop
 *
 * Between two steps of a submit, see failpoint.def.  Nothing at all unless it is compiled with
 * -DFAILPOINTS, which only `make test-faults` does.  What is to happen is said by a file beside
 * agentd.conf (its name and ".failpoints"), which all processes map: so visits are counted over
 * restarts, and whoever looks on sees them.
 */
#ifndef COMMON_FAILPOINT_H
#define COMMON_FAILPOINT_H

#ifdef FAILPOINTS

#include <stdatomic.h>
#include <stdint.h>

enum failpoint {
#define POINT(name, process, where) FAILPOINT_##name,
#include "common/failpoint.def"
#undef POINT
    FAILPOINTS_COUNT,
};

enum failpoint_act { FAILPOINT_NOTHING, FAILPOINT_KILL, FAILPOINT_STOP, FAILPOINT_BOTH };

struct failpoint_plan {
    struct failpoint_state {
        _Atomic uint32_t visits, killed, stopped;
        _Atomic uint32_t every;   /* each so manieth visit; 0: none */
        _Atomic uint32_t act;     /* enum failpoint_act; BOTH: by turns */
        _Atomic int32_t pid;      /* stopped here: to be killed or continued by who looks on */
        _Atomic uint32_t hang_ms; /* the thread that comes next stands still for so long, once */
    } at[FAILPOINTS_COUNT];
};

void failpoint_visit(enum failpoint point);
#define FAILPOINT(name) failpoint_visit(FAILPOINT_##name)

#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
