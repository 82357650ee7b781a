/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/status.h"

#include <string.h>

#include <systemd/sd-daemon.h>

#include "agentd/agentd.h"
#include "agentd/journal.h"
#include "agentd/watch.h"
#include "common/str.h"

/* One line, whatever slurmctld said. */
static void make_line(char *text)
{
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
}

static void make(struct agentd *a, char *out, size_t size)
{
    struct watch_status w;
    watch_status(a->watch, &w);
    const char *trouble = journal_trouble(a->journal);
    snprintf(out, size, "%s%s%s%s%s",
             w.down    ? "slurmctld: "
             : w.stale ? ""
                       : "slurmctld answers",
             w.stale ? w.error : "", a->draining ? "; draining: no new submits are taken" : "",
             trouble ? "; no submits are taken, no history is kept: " : "", str_or(trouble, ""));
    make_line(out);
}

void status_tell(struct agentd *a)
{
    char text[sizeof a->status];
    if (a->stop_by_us || !a->watch)
        return;
    make(a, text, sizeof text);
    if (str_eq(text, a->status))
        return;
    str_copy(a->status, sizeof a->status, text);
    sd_notifyf(0, "STATUS=%s", text);
}
