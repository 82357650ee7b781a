/* SPDX-License-Identifier: GPL-3.0-or-later */
/* record.h: a job as the broker keeps it, for unit tests */
#ifndef TESTS_KIT_RECORD_H
#define TESTS_KIT_RECORD_H

#include <criterion/criterion.h>

#include "agentd/jobrec.h"

static inline struct jobrec *record_of(const struct job *j)
{
    struct err err = {0};
    struct jobrec *rec = jobrec_of(j, &err);
    cr_assert_not_null(rec, "%s", err.text);
    return rec;
}

#endif
