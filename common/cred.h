/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cred.h: HELLO and WELCOME as MUNGE credentials (only cred.c has munge.h)
 *
 * Payloads have a fixed size and begin with an ASCII tag, so that they are of no use as a Slurm RPC
 * credential, nor a Slurm credential here.  All calls block on munged: up to 10 s when it hangs.
 * Decoding and encoding use separate contexts, because munge_decode() overwrites the cipher, MAC
 * and TTL of the one it is given.
 */
#ifndef COMMON_CRED_H
#define COMMON_CRED_H

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/seal.h"

enum {
    CRED_MAX = 4096,       /* bytes of a credential's text */
    CRED_CLUSTER_MAX = 64, /* with the NUL */
    CRED_TAG = 16,
    CRED_MAX_AGE_S = 300, /* whatever TTL the client chose */
    CRED_MAX_FUTURE_S = 300,
};

/* HELLO payload, CRED_HELLO_SIZE bytes: tag "SLURM-AGENT-HI1\n" 16, lowest and highest protocol
 * version 2+2 big endian, cluster 64 (NUL padded; empty: any), client's X25519 key 32. */
struct hello {
    uint16_t version_min, version_max;
    char cluster[CRED_CLUSTER_MAX];
    uint8_t key[SEAL_KEY];
};

/* WELCOME payload: tag "SLURM-AGENT-WE1\n" 16, version 2 big endian, zero 2, lifetime in seconds 4
 * big endian, cluster 64, session id 16, server's X25519 key 32, hash of the HELLO credential 32,
 * instance 16. */
struct welcome {
    uint16_t version;
    uint32_t lifetime_s;
    char cluster[CRED_CLUSTER_MAX];
    uint8_t session[SEAL_ID];
    uint8_t key[SEAL_KEY];
    uint8_t hello_hash[SEAL_HASH];
    uint8_t
        instance[SEAL_ID]; /* of the server's journal: a new one means old request ids are void */
};

/* What munged vouches for. */
struct cred_origin {
    uid_t uid;
    gid_t gid;
    int64_t encoded_at; /* Unix seconds, the encoder's clock */
    char address[64];   /* munge's encode address */
};

/* socket: munged's socket, NULL for libmunge's default.  *ret_cred is the caller's to free().
 * ERR_MUNGE when munged does not answer. */
int cred_encode_hello(const char *socket, const struct hello *h, char **ret_cred, struct err *err);
/* Restricted: only the process with that uid can decode it, root included. */
int cred_encode_welcome(const char *socket, const struct welcome *w, uid_t only_uid,
                        char **ret_cred, struct err *err);

/* cred need not be NUL-terminated.  Accepts only MUNGE_SUCCESS (expired, future and replayed
 * credentials also carry a uid), our tag, the exact size and an age of at most CRED_MAX_AGE_S.
 * ERR_AUTH names which it was, and for expired and rewound ones that the clocks differ and by how
 * much; ERR_MUNGE when munged does not answer; ERR_LIMIT past CRED_MAX. */
int cred_decode_hello(const char *socket, struct bytes cred, struct hello *ret,
                      struct cred_origin *ret_from, struct err *err);
int cred_decode_welcome(const char *socket, struct bytes cred, struct welcome *ret,
                        struct cred_origin *ret_from, struct err *err);

/* The fixed payloads alone, for tests and fuzzers; what cred_decode_* call. */
enum {
    CRED_HELLO_SIZE = 16 + 4 + 64 + 32,
    CRED_WELCOME_SIZE = 16 + 4 + 4 + 64 + 16 + 32 + 32 + 16
};
void cred_pack_hello(const struct hello *h, uint8_t out[CRED_HELLO_SIZE]);
int cred_unpack_hello(struct bytes payload, struct hello *ret, struct err *err);
void cred_pack_welcome(const struct welcome *w, uint8_t out[CRED_WELCOME_SIZE]);
int cred_unpack_welcome(struct bytes payload, struct welcome *ret, struct err *err);

#endif
