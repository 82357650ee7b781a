/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sbatch_hosts.h: how many hosts a list of nodes names, before anybody writes them all down
 *
 * Slurm bounds each range (65,536 hosts), but not their product: a few bytes, such as
 * n[1-9999][1-9999][1-9999], are gigabytes to whoever expands them, slurmctld too.
 */
#ifndef AGENTD_SBATCH_HOSTS_H
#define AGENTD_SBATCH_HOSTS_H

#include <stdint.h>

enum {
    SBATCH_HOSTS_MAX_HOSTS = 65536,    /* of one name with ranges, as of a range in Slurm */
    SBATCH_HOSTS_MAX_ALL = 16 * 65536, /* all together: with --nodefile, one for each task */
};

/* NULL, or what is wrong with the list, in words that follow "--option=value: ".  What is no list
 * at all is nothing to this: Slurm says so at once. */
const char *sbatch_hosts_check(const char *list);

#endif
