/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The public calls about server, user and cluster. */
#include "client/decode.h"
#include "client/handle.h"
#include "client/result.h"

static int no_memory(struct sagent_error *err)
{
    struct err e = {0};
    err_set(&e, ERR_INTERNAL, "no memory");
    return handle_fail(&e, err);
}

int sagent_ping(struct sagent *s, struct sagent_server **ret, struct sagent_error *err)
{
    struct err e = {0};
    struct handle_call call;
    handle_begin(err);
    struct sagent_server *p = result_new(sizeof *p);
    if (!p)
        return no_memory(err);
    int rc = handle_ask(s, OP_ping, &empty_type, &(struct empty){0}, &call, &e);
    if (rc == 0)
        rc = decode_server(call.body, p, &e);
    if (rc == 0) {
        p->address = arena_strdup(result_arena(p), sagent_address(s));
        p->server_uid = handle_conf(s)->server_uid;
        p->session_s = csession_lifetime_s(handle_session(s));
    }
    handle_done(&call);
    if (rc < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_server_free(struct sagent_server *p)
{
    result_free(p);
}

int sagent_whoami(struct sagent *s, struct sagent_identity **ret, struct sagent_error *err)
{
    struct err e = {0};
    struct handle_call call;
    handle_begin(err);
    struct sagent_identity *p = result_new(sizeof *p);
    if (!p)
        return no_memory(err);
    int rc = handle_ask(s, OP_whoami, &empty_type, &(struct empty){0}, &call, &e);
    if (rc == 0)
        rc = decode_identity(call.body, p, &e);
    handle_done(&call);
    if (rc < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_identity_free(struct sagent_identity *p)
{
    result_free(p);
}

int sagent_info(struct sagent *s, struct sagent_cluster **ret, struct sagent_error *err)
{
    struct err e = {0};
    struct handle_call call;
    handle_begin(err);
    struct sagent_cluster *p = result_new(sizeof *p);
    if (!p)
        return no_memory(err);
    int rc = handle_ask(s, OP_cluster_info, &empty_type, &(struct empty){0}, &call, &e);
    if (rc == 0)
        rc = decode_cluster(call.body, p, &e);
    handle_done(&call);
    if (rc < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_cluster_free(struct sagent_cluster *p)
{
    result_free(p);
}
