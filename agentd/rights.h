/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rights.h: may the broker have what it asks the monitor for?
 *
 * Decides alone: by leases, grants, what runs, and how often it has been asked.  monitor.c does it
 * then.
 */
#ifndef AGENTD_RIGHTS_H
#define AGENTD_RIGHTS_H

#include "agentd/bucket.h"
#include "agentd/conf.h"
#include "agentd/grant.h"
#include "agentd/lease.h"
#include "agentd/processes.h"
#include "agentd/spawn.h"

struct rights {
    struct leases *leases;
    struct grants *grants;
    struct bucket spawns;
};

/* Leases by this policy, no grants.  rights_free() also after a failure. */
int rights_init(struct rights *r, const struct lease_policy *policy, struct err *err);
void rights_free(struct rights *r);

/* A worker, beside these processes: as whom. */
int rights_spawn(struct rights *r, const struct monitor_request *req,
                 const struct agentd_conf *conf, const struct process *list, struct identity *ret,
                 struct err *err);
/* A stage worker: as whom, with the groups of now when the user is here, of then when not; and for
 * what, borrowed until the grants change. */
int rights_stage(struct rights *r, const struct monitor_request *req,
                 const struct agentd_conf *conf, const struct process *list, struct identity *ret,
                 const struct grant **ret_grant, struct err *err);
/* A grant: it is added.  Only while the user has a lease: a broker that was taken over gets no more
 * by it than it could ask for at that moment all the same. */
int rights_grant(struct rights *r, const struct monitor_request *req, struct err *err);

#endif
