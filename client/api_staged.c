/* SPDX-License-Identifier: GPL-3.0-or-later */
/* sagent_staged() */
#include "client/decode.h"
#include "client/handle.h"
#include "client/result.h"

static int ask(struct sagent *s, const char *id, struct sagent_staged *out, struct err *err)
{
    struct handle_call call;
    const struct staging_request request = {.id = id};
    if (handle_check_ids(&id, 1, err) < 0 ||
        handle_ask(s, OP_job_staging, &staging_request_type, &request, &call, err) < 0)
        return -1;
    int rc = decode_staged(call.body, out, err);
    handle_done(&call);
    return rc;
}

int sagent_staged(struct sagent *s, const char *id, struct sagent_staged **ret,
                  struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_staged *p = result_new(sizeof *p);
    if (!p)
        err_set(&e, ERR_INTERNAL, "no memory");
    if (!p || ask(s, id, p, &e) < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_staged_free(struct sagent_staged *p)
{
    result_free(p);
}
