/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/kit/stats.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/kit/run.h"

json_t *stats_admin(const char *user, const char *verb, const char *arg)
{
    char server[200] = "--timeout=60"; /* as it is by default */
    if (!user)
        snprintf(server, sizeof server, "--server=%s", getenv("SLURM_AGENT_IPC"));
    AUTO(run_free)
    struct run r = run_as(user, "slurm-agent", server, "admin", "--json", verb, arg);
    cr_assert_eq(r.status, 0, "admin %s as %s: %s", verb, user ? user : "root", r.err);
    json_t *j = json_loads(r.out, 0, NULL);
    cr_assert_not_null(j, "%s", r.out);
    return j;
}

double stats_series(const char *user, const char *name, const char *labels)
{
    json_t *j = stats_admin(user, "stats", NULL), *family, *sample, *label;
    size_t i, k;
    double value = -1;
    json_array_foreach(json_object_get(j, "families"), i, family)
    {
        if (strcmp(json_string_value(json_object_get(family, "name")), name) != 0)
            continue;
        json_array_foreach(json_object_get(family, "samples"), k, sample)
        {
            char text[300] = "";
            const char *key;
            json_object_foreach(json_object_get(sample, "labels"), key, label)
            {
                size_t n = strlen(text);
                snprintf(text + n, sizeof text - n, "%s%s=%s", n ? "," : "", key,
                         json_string_value(label));
            }
            json_t *v = json_object_get(sample, "count");
            if (strcmp(text, labels) == 0)
                value = json_number_value(v ? v : json_object_get(sample, "value"));
        }
    }
    json_decref(j);
    return value;
}
