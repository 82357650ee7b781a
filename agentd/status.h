/* SPDX-License-Identifier: GPL-3.0-or-later */
/* status.h: the line that `systemctl status` shows: how slurmctld is, and what keeps submits away
 *
 * Belongs to the loop.
 */
#ifndef AGENTD_STATUS_H
#define AGENTD_STATUS_H

struct agentd;

/* Tells systemd when it is another one than before: after each change, and now and then. */
void status_tell(struct agentd *a);

#endif
