/* SPDX-License-Identifier: GPL-3.0-or-later */
/* reply.h: what a server's answers say, without any connection
 *
 * Used by session.c and by the fuzzer.  The server is trusted no further than it has proved.
 */
#ifndef CLIENT_REPLY_H
#define CLIENT_REPLY_H

#include <stdint.h>

#include "common/cred.h"
#include "common/err.h"
#include "common/wire.h"

/* The plaintext of a REPLY.  0 and its body, borrowed from plain; or -1 with the server's error, or
 * ERR_PROTOCOL for what is no reply. */
int reply_open(struct bytes plain, struct bytes *ret_body, struct err *err);

/* The payload of a REFUSED frame as an error, with "server: " in front: it is not authenticated.
 * Returns -1. */
int reply_refused(struct bytes payload, struct err *err);

/* What a client has said and demands. */
struct reply_expected {
    const char *address; /* for messages */
    const char *cluster; /* NULL or "": any */
    int64_t server_uid;
    const uint8_t *hello_hash; /* SEAL_HASH bytes */
    const uint8_t *session;    /* SEAL_ID bytes: the frame header's */
};

/* Is this WELCOME, decoded with success, an answer to our HELLO, by the right server? */
int reply_check_welcome(const struct welcome *w, const struct cred_origin *from,
                        const struct reply_expected *x, struct err *err);

#endif
