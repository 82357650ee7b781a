/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/conf.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/* A worker opens what its user names, /dev/stdin too. */
Test(agentd_conf, nothing_is_on_stdin_once_the_settings_are_read)
{
    AUTO(arena_done) struct arena arena = {0};
    AUTO(fclose) FILE *f = tmpfile();
    struct agentd_conf conf;
    struct err err = {0};
    struct stat st;
    char byte;
    cr_assert_not_null(f);
    fputs("[agentd]\ncluster = mine\n", f);
    rewind(f);
    cr_assert_eq(dup2(fileno(f), STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(agentd_conf_load(AGENTD_CONF_STDIN, &arena, &conf, &err), 0, "%s", err.text);
    cr_expect_str_eq(conf.cluster, "mine");
    cr_expect_eq(fstat(STDIN_FILENO, &st), 0);
    cr_expect(S_ISCHR(st.st_mode));
    cr_expect_eq(pread(STDIN_FILENO, &byte, 1, 0), 0);
}
