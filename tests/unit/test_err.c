/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "client/slurmagent.h"
#include "common/err.h"

Test(err, the_first_cause_wins)
{
    struct err e = {0};
    cr_expect_eq(err_set(&e, ERR_LIMIT, "first %d", 1), -1);
    cr_expect_eq(err_set(&e, ERR_DENIED, "second"), -1);
    cr_expect_eq(err_errno(&e, ERR_DENIED, "third"), -1);
    cr_expect_eq(e.code, ERR_LIMIT);
    cr_expect_str_eq(e.text, "first 1");
}

Test(err, context_goes_in_front)
{
    struct err e = {0};
    err_set(&e, ERR_LIMIT, "too many");
    cr_expect_eq(err_while(&e, "reading %s", "x"), -1);
    cr_expect_str_eq(e.text, "reading x: too many");
    cr_expect_eq(e.code, ERR_LIMIT);
}

Test(err, errno_is_named_and_kept)
{
    struct err e = {0};
    errno = ENOENT;
    err_errno(&e, ERR_NOT_FOUND, "cannot open %s", "/x");
    cr_expect_eq(errno, ENOENT);
    cr_expect_str_eq(e.text, "cannot open /x: No such file or directory");
}

Test(err, control_characters_and_long_texts_do_no_harm)
{
    struct err e = {0};
    char name[2000];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    err_set(&e, ERR_INVALID, "bad\nname\033[31m %s", name);
    cr_expect_eq(strncmp(e.text, "bad?name?[31m aaa", 17), 0);
    cr_expect_eq(strlen(e.text), sizeof e.text - 1);
    err_while(&e, "%s", name);
    cr_expect_eq(strlen(e.text), sizeof e.text - 1);
}

Test(err, every_code_has_its_row_and_the_public_functions_agree)
{
#define ERR(name, number, status, retry, help)                                                     \
    cr_expect_str_eq(err_name(ERR_##name), #name);                                                 \
    cr_expect_str_eq(sagent_code_name(number), #name);                                             \
    cr_expect_str_eq(sagent_code_help(number), help);                                              \
    cr_expect_eq(sagent_code_exit_status(number), status);                                         \
    cr_expect_eq(err_retry(ERR_##name), retry);                                                    \
    cr_expect_eq(err_from_wire(number), ERR_##name);                                               \
    cr_expect_geq(status, 2, "0 and 1 are taken");
#include "common/errors.def"
#undef ERR
    cr_expect_str_eq(err_name((enum err_code)999), "UNKNOWN");
    cr_expect_str_eq(err_name(ERR_NONE), "OK");
    cr_expect_eq(sagent_code_exit_status(0), 0);
    cr_expect_eq(err_from_wire(999), ERR_INTERNAL);
}
