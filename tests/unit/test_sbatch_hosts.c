/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_hosts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

static void taken(const char *list)
{
    cr_expect_null(sbatch_hosts_check(list), "%.60s", list);
}

static void refused(const char *list, const char *with)
{
    const char *wrong = sbatch_hosts_check(list);
    cr_assert_not_null(wrong, "%.60s", list);
    cr_expect_not_null(strstr(wrong, with), "%s: %s", list, wrong);
}

Test(sbatch_hosts, as_many_as_a_range_may_be)
{
    taken("");
    taken("node1");
    taken("node[1-65536]");
    taken("node[0-65535],node[0-65535]");
    taken("rack[1-256]node[1-256]");
    taken("r[1-16,17-32]n[001-256],x y\tz\n");
    refused("node[1-65537]", "65536");
    refused("rack[1-256]node[1-257]", "65536");
    refused("a,rack[1-200,300-400]node[1-256]", "65536");
}

Test(sbatch_hosts, products_are_counted_and_not_made)
{
    refused("n[1-9999][1-9999][1-9999]", "65536");
    refused("n[1-65000][1-65000]", "65536");
    refused("n[1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9]"
            "[1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9][1-9]",
            "65536");
    refused("n[0-18446744073709551615]", "65536");
    refused("n[0-99999999999999999999999][0-99999999999999999999999]", "65536");
}

Test(sbatch_hosts, all_names_together_have_a_bound)
{
    AUTO(free) char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int i = 0; i < 16; i++)
        fprintf(f, "n[1-65536],");
    fflush(f);
    taken(text);
    fputs("x", f);
    fclose(f);
    refused(text, "1048576");
}

Test(sbatch_hosts, what_is_no_list_is_left_to_slurm)
{
    taken("n[");
    taken("n[1-9");
    taken("n]1[");
    taken("n[]");
    taken("n[3-1]");
    taken("n[x-y]");
    taken("n[1-2-3]");
    taken("n[,]");
    taken(",,,");
    taken("n[-5]");
}
