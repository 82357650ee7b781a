/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An agent that an ordinary user runs for herself */
#include <criterion/criterion.h>

#include "common/cleanup.h"
#include "tests/kit/jobs.h"

TestSuite(single, .timeout = 120);

Test(single, it_says_that_it_serves_one_user)
{
    AUTO(run_free) struct run r = run_as(NULL, "slurm-agent", "whoami", "--json");
    cr_assert_eq(r.status, 0, "%s", r.err);
    json_t *j = json_loads(r.out, 0, NULL);
    cr_expect(json_is_true(json_object_get(j, "single_user")), "%s", r.out);
    json_decref(j);
}
