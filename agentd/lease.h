/* SPDX-License-Identifier: GPL-3.0-or-later */
/* lease.h: for whom the monitor may start workers, and which HELLOs it has taken
 *
 * Pure memory, used by monitor.c alone.  Times are seconds of a clock that never goes back.
 */
#ifndef AGENTD_LEASE_H
#define AGENTD_LEASE_H

#include "agentd/bucket.h"
#include "agentd/monitor_proto.h"

enum {
    LEASE_MAX = 16384,                        /* users with a lease at once */
    LEASE_HELLOS = 65536,                     /* HELLOs remembered: 72 a second for LEASE_HELLO_S */
    LEASE_HELLOS_PER_USER = LEASE_HELLOS / 8, /* so that one user cannot lock out the others */
    LEASE_HELLO_S = 900, /* longer than any HELLO can be good: 300 s of age, 300 s of future */
};

struct lease {
    uint32_t uid, gid;
    int64_t until;
    uint32_t ngroups;
    uint32_t *groups;             /* owned by the table */
    struct bucket spawns, grants; /* the monitor's; a renewal does not fill them */
};

struct leases;

struct lease_policy {
    uint32_t min_uid;
    int64_t longest_s; /* no lease is longer than this */
    int64_t only_uid;  /* single-user: the one uid that is served; -1: see min_uid */
};

struct leases *leases_new(const struct lease_policy *policy); /* NULL without memory */
void leases_free(struct leases *t);
/* For what is granted from now on; HELLOs that were taken stay so. */
void leases_set_policy(struct leases *t, const struct lease_policy *policy);
/* Nothing is granted with hello_alone, which anybody may have.
 * ERR_DENIED for a uid that is not served, ERR_AUTH for a HELLO that was taken before, ERR_BUSY
 * when a table is full.  On failure nothing has changed. */
int leases_grant(struct leases *t, const struct lease_request *req, int64_t now, struct err *err);
/* The lease of uid while it lasts; NULL otherwise.  Borrowed until the next grant or drop. */
struct lease *leases_find(struct leases *t, uint32_t uid, int64_t now);
/* Is it a uid that is served at all? */
bool leases_serve(const struct leases *t, uint32_t uid);
/* Forgets all leases, not the HELLOs: a new broker begins with nobody. */
void leases_drop(struct leases *t);

#endif
