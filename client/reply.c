/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/reply.h"

#include <string.h>

#include "common/msg.h"
#include "common/ops.h"
#include "common/str.h"

enum { REPLY_HEAD = 4 };

int reply_open(struct bytes plain, struct bytes *ret_body, struct err *err)
{
    if (plain.n < REPLY_HEAD)
        return err_set(err, ERR_PROTOCOL, "a reply of %zu bytes: at least %d are its head", plain.n,
                       REPLY_HEAD);
    if (plain.p[2] || plain.p[3])
        return err_set(err, ERR_PROTOCOL, "a reply with bytes set that must be zero");
    int code = plain.p[0] << 8 | plain.p[1];
    struct bytes body = {plain.p + REPLY_HEAD, plain.n - REPLY_HEAD};
    if (code == 0) {
        *ret_body = body;
        return 0;
    }
    struct err said = {0};
    msg_unpack_error(body, &said);
    if (!*said.text)
        snprintf(said.text, sizeof said.text, "%s", err_help(said.code));
    *err = said;
    return -1;
}

int reply_refused(struct bytes payload, struct err *err)
{
    msg_unpack_error(payload, err);
    if (!*err->text)
        snprintf(err->text, sizeof err->text, "%s", err_help(err->code));
    return err_while(err, "server");
}

int reply_check_welcome(const struct welcome *w, const struct cred_origin *from,
                        const struct reply_expected *x, struct err *err)
{
    if ((int64_t)from->uid != x->server_uid)
        return err_set(err, ERR_AUTH,
                       "the server at %s runs as uid %lld, not as %lld: refusing to talk to it "
                       "(server_uid in client.conf says who it must be)",
                       x->address, (long long)from->uid, (long long)x->server_uid);
    if (memcmp(w->hello_hash, x->hello_hash, SEAL_HASH) != 0)
        return err_set(err, ERR_AUTH, "the server at %s answered a HELLO that is not ours",
                       x->address);
    if (memcmp(w->session, x->session, SEAL_ID) != 0)
        return err_set(err, ERR_AUTH, "the WELCOME of the server at %s has two session ids",
                       x->address);
    if (x->cluster && *x->cluster && strcmp(w->cluster, x->cluster) != 0)
        return err_set(err, ERR_AUTH, "the server at %s is of cluster '%s', not '%s'", x->address,
                       w->cluster, x->cluster);
    if (w->version != PROTOCOL_VERSION)
        return err_set(err, ERR_PROTOCOL,
                       "the server at %s speaks version %u of the protocol, not %d", x->address,
                       w->version, PROTOCOL_VERSION);
    if (w->lifetime_s == 0)
        return err_set(err, ERR_PROTOCOL, "the server at %s gives a session that has ended already",
                       x->address);
    return 0;
}
