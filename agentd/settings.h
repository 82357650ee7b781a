/* SPDX-License-Identifier: GPL-3.0-or-later */
/* settings.h: agentd.conf as the monitor has read it
 *
 * The monitor alone reads the file, at its start and on SIGHUP.  Its children get what it has read
 * on their stdin, as a file that nobody can change: a child that is started anew has the settings
 * of the others, whatever has become of the file.
 */
#ifndef AGENTD_SETTINGS_H
#define AGENTD_SETTINGS_H

#include "agentd/conf.h"

struct settings {
    struct arena arena;
    struct agentd_conf conf;
    int fd; /* conf as a file, for children; -1 until settings_share() */
};

/* path NULL: the defaults.  *s is {.fd = -1} before. */
int settings_load(struct settings *s, const char *path, struct err *err);
/* Makes fd. */
int settings_share(struct settings *s, struct err *err);
/* Reads the file again and logs what is different; what takes a restart stays as it was.  Gives how
 * many settings are; when some are, earlier gets those before, in place of what it has.  -1:
 * everything stays as it was. */
int settings_reload(struct settings *s, struct settings *earlier, const char *path,
                    struct err *err);
void settings_done(struct settings *s); /* {.fd = -1} is fine */

#endif
