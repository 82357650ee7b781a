/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A submit that is in doubt stays so until somebody says what became of it */
#include <criterion/criterion.h>

#include "client/submit_fate.h"

static bool settles(enum err_code code, int slurm_errno)
{
    const struct err err = {.code = code, .slurm_errno = slurm_errno};
    return submit_is_fate(&err);
}

Test(client_fate, what_certainly_made_no_job_settles_a_doubt)
{
    static const enum err_code codes[] = {ERR_NOT_SUBMITTED, ERR_SLURM_DOWN, ERR_MUNGE, ERR_FULL};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        cr_expect(settles(codes[i], 0), "%s", err_name(codes[i]));
}

Test(client_fate, slurms_own_no_settles_a_doubt)
{
    static const enum err_code codes[] = {ERR_DENIED, ERR_LIMIT, ERR_INVALID, ERR_SLURM};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        cr_expect(settles(codes[i], 2000), "%s", err_name(codes[i]));
}

/* It is about this try: the user's rights or room are others now, or the server is. */
Test(client_fate, a_servers_no_to_this_try_settles_nothing)
{
    static const enum err_code codes[] = {ERR_DENIED,   ERR_LIMIT,   ERR_INVALID, ERR_UNSUPPORTED,
                                          ERR_PROTOCOL, ERR_AUTH,    ERR_BUSY,    ERR_JOURNAL,
                                          ERR_INTERNAL, ERR_SESSION, ERR_TIMEOUT, ERR_UNREACHABLE};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        cr_expect_not(settles(codes[i], 0), "%s", err_name(codes[i]));
    cr_expect_not(settles(ERR_BUSY, 2016), "Slurm's no for now");
}
