/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/store_plan.h"

#include <criterion/criterion.h>
#include <string.h>

/* A key's last part is somebody else's word: no file goes into the parent of where we are. */
Test(store_plan, a_prefix_does_not_become_the_parent_directory)
{
    static const char *const bad[] = {"s3://bucket/..", "s3://bucket/../", "s3://bucket/a/../",
                                      "s3://bucket/."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct stage_url u;
        struct err err = {0};
        AUTO(store_plan_done) struct store_plan p;
        store_plan_init(&p);
        cr_assert_eq(stage_url_parse(bad[i], &u, &err), 0, "%s", err.text);
        cr_expect_eq(store_plan_fetch(&p, NULL, &u, NULL, true, NULL, &err), -1);
        cr_expect_eq(err.code, ERR_INVALID);
        cr_expect_not_null(strstr(err.text, "cannot become a directory"), "%s", err.text);
    }
}
