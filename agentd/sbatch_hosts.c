/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_hosts.h"

#include <stdlib.h>
#include <string.h>

/* Enough to be past every limit, and far from where a product of two would overflow. */
enum { MANY = 1 << 30 };

static int64_t capped(int64_t n)
{
    return n < MANY ? n : MANY;
}

/* "3" or "1-5", up to end.  What is neither is one host: Slurm refuses it. */
static int64_t count_range(const char *p, const char *end)
{
    char *after;
    unsigned long from = strtoul(p, &after, 10);
    if (after == p || after >= end || *after != '-')
        return 1;
    unsigned long to = strtoul(after + 1, NULL, 10);
    if (to < from)
        return 1;
    return to - from < MANY ? (int64_t)(to - from) + 1 : MANY;
}

/* What is between brackets: ranges and commas. */
static int64_t count_ranges(const char *p, const char *end)
{
    int64_t n = 0;
    for (;;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        n = capped(n + count_range(p, comma ? comma : end));
        if (!comma)
            return n;
        p = comma + 1;
    }
}

/* One name, with the ranges in it; *p is then behind it. */
static int64_t count_name(const char **p)
{
    int64_t n = 1;
    while (**p && !strchr("\t, \n", **p)) {
        const char *end = **p == '[' ? strchr(*p, ']') : NULL;
        if (end) {
            n = capped(n * count_ranges(*p + 1, end));
            *p = end;
        }
        ++*p;
    }
    return n;
}

const char *sbatch_hosts_check(const char *list)
{
    int64_t all = 0;
    while (*list) {
        int64_t n = count_name(&list);
        if (n > SBATCH_HOSTS_MAX_HOSTS)
            return "a name whose ranges are more than 65536 hosts";
        if ((all += n) > SBATCH_HOSTS_MAX_ALL)
            return "more than 1048576 hosts";
        list += *list != '\0';
    }
    return NULL;
}
