/* SPDX-License-Identifier: GPL-3.0-or-later */
/* grant.h: for which staged jobs the monitor starts stage workers, without a session of their user
 *
 * A grant is made while its user has a lease, and names one request and the hash of its manifest:
 * whatever is moved later is what was asked for then.  Each is a file of fixed size, root's, in a
 * directory of root's.  Used by monitor.c alone.  Times are Unix seconds: grants outlive boots.
 */
#ifndef AGENTD_GRANT_H
#define AGENTD_GRANT_H

#include "agentd/lease.h"

enum {
    GRANTS_MAX = 50000,
    GRANTS_PER_USER = 5000,
    GRANT_LONGEST_S = 90 * 86400,
};

struct grant {
    uint32_t uid, gid; /* and groups: as of the lease that it was made under */
    uint8_t request[MONITOR_REQUEST];
    uint8_t hash[SEAL_HASH];
    int64_t until;
    uint32_t ngroups;
    uint32_t *groups; /* owned by the table */
};

struct grants;

struct grants *grants_new(void); /* NULL without memory */
void grants_free(struct grants *g);
/* Reads what is in dir, which is made when it is missing.  -1: nothing can be granted, as
 * grants_add() will say. */
int grants_open(struct grants *g, const char *dir, struct err *err);
/* Would grants_open() work?  Makes nothing; *ret_there: is the directory there already? */
int grants_check(const char *dir, bool *ret_there, struct err *err);
/* For the user of that lease.  A request has one grant: a later one takes its place.  ERR_BUSY when
 * there are too many, ERR_INTERNAL when it cannot be written; then nothing has changed. */
int grants_add(struct grants *g, const struct lease *l, const struct monitor_request *req,
               int64_t now, struct err *err);
/* NULL when there is none, or its time is over.  Borrowed until the next change. */
const struct grant *grants_find(struct grants *g, uint32_t uid,
                                const uint8_t request[MONITOR_REQUEST], int64_t now);
void grants_drop(struct grants *g, uint32_t uid, const uint8_t request[MONITOR_REQUEST]);
size_t grants_count(const struct grants *g);

#endif
