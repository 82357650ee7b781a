/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(secret, .timeout = 30);

/* The line "VmFlags:" of the mapping that p is in, as the kernel tells it. */
static void flags_of(const void *p, char out[200])
{
    char line[600];
    bool inside = false;
    AUTO(fclose) FILE *f = fopen("/proc/self/smaps", "re");
    cr_assert_not_null(f);
    *out = '\0';
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (unsigned long)p >= from && (unsigned long)p < to;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(out, 200, "%.190s", line);
    }
}

Test(secret, is_in_no_core_dump_and_in_no_child)
{
    char flags[200];
    AUTO(secret_free) void *p = secret_new(5000);
    cr_assert_not_null(p);
    memset(p, 'x', 5000);
    flags_of(p, flags);
    cr_expect(strstr(flags, " dd"), "%s", flags);
    cr_expect(strstr(flags, " wf"), "%s", flags);
}

Test(secret, copies_are_texts)
{
    char *copy = secret_strdup("key");
    cr_expect_str_eq(copy, "key");
    secret_free(copy);
    cr_expect_null(secret_strdup(NULL));
    secret_free(NULL);
}
