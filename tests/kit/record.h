/* SPDX-License-Identifier: GPL-3.0-or-later */
/* record.h: a job as the broker keeps it, for unit tests */
#ifndef TESTS_KIT_RECORD_H
#define TESTS_KIT_RECORD_H

#include <criterion/criterion.h>

#include "agentd/jobrec.h"

static inline struct jobrec *record_of(const struct job *j)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct err err = {0};
    msg_pack(&job_type, j, out);
    struct jobrec *rec = jobrec_new(wire_out_bytes(out), &err);
    cr_assert_not_null(rec, "%s", err.text);
    return rec;
}

#endif
