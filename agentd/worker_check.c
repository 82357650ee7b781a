/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker_check.c: what watcher and workers will need: a slurmctld of the release we are built for
 */
#include <stdlib.h>
#include <string.h>

#include "agentd/check.h"
#include "agentd/cluster.h"
#include "common/str.h"

/* "22.05.8" and "22.05.11" are of one release. */
static bool same_release(const char *a, const char *b)
{
    for (int dots = 0; *a == *b && *a; a++, b++)
        if (*a == '.' && ++dots == 2)
            return true;
    return *a == *b;
}

static void check_version(const struct cluster_about *about)
{
    if (same_release(about->version, cluster_version()))
        check_say(CHECK_OK, "version", "Slurm %s, built for %s", about->version, cluster_version());
    else
        check_say(
            CHECK_FAIL, "version",
            "slurmctld is %s, and this slurm-agentd was built for %s: install the one that is "
            "built for slurmctld's release",
            about->version, cluster_version());
}

static void check_cluster(const struct agentd_conf *conf, const struct cluster_about *about)
{
    if (*conf->cluster && !str_eq(conf->cluster, about->name))
        check_say(CHECK_FAIL, "cluster",
                  "slurmctld's is %s, agentd.conf says cluster = %s: clients that name theirs will "
                  "be refused",
                  about->name, conf->cluster);
    else
        check_say(CHECK_OK, "cluster", "%s, %s accounting", about->name,
                  about->accounting ? "with" : "without");
    if (cluster_is_federated())
        check_say(CHECK_NOTE, "cluster",
                  "it is in a federation, which is not supported: jobs of this cluster alone are "
                  "served");
    if (about->private_jobs && !about->sees_all)
        check_say(CHECK_FAIL, "privacy",
                  "PrivateData=jobs hides jobs from the watcher's user: make that an Operator "
                  "(sacctmgr modify user … set adminlevel=operator), or set watch_user; else there "
                  "are no events and no history");
}

void worker_check(const struct agentd_conf *conf)
{
    struct cluster_about about = {0};
    struct err err = {0};
    if (cluster_open(conf->slurm_conf, &err) < 0) {
        check_say(CHECK_FAIL, "slurm", "%s: configure Slurm on this host, or set slurm_conf",
                  err.text);
        return;
    }
    if (cluster_about(&about, &err) < 0) {
        check_say(CHECK_FAIL, "slurmctld", "%s (scontrol ping; systemctl status slurmctld)",
                  err.text);
        return;
    }
    check_say(CHECK_OK, "slurmctld", "answers");
    check_version(&about);
    check_cluster(conf, &about);
}
