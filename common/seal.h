/* SPDX-License-Identifier: GPL-3.0-or-later */
/* seal.h: frames as they cross the network, and the keys that seal them (only seal.c has sodium.h)
 *
 * Every frame begins with a header of SEAL_HEADER bytes:
 *
 *      0  4  "SLA1"
 *      4  1  kind, enum seal_kind
 *      5  3  zero
 *      8 16  session id (zero in HELLO and in a REFUSED that belongs to no session)
 *     24  8  counter, big endian (zero in HELLO, WELCOME and REFUSED)
 *
 * HELLO and WELCOME carry a MUNGE credential (text, no NUL), REFUSED an `error` body in plain
 * msgpack, SEALED and REPLY ciphertext of ChaCha20-Poly1305 (RFC 8439) with the counter as nonce
 * (4 zero bytes, then the counter) and the header as additional data; a REPLY's additional data is
 * the header and the request's counter, so that replies cannot be swapped.
 *
 * Keys: X25519 by libsodium's crypto_kx, then for each direction BLAKE2b-256 keyed with the kx key
 * over  hash(HELLO credential) | hash(WELCOME credential).  hash() is BLAKE2b-256.
 *
 * A struct seal belongs to one thread.  Nothing here allocates.
 */
#ifndef COMMON_SEAL_H
#define COMMON_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/wire.h"

enum {
    SEAL_HEADER = 32,
    SEAL_MAC = 16,
    SEAL_OVERHEAD = SEAL_HEADER + SEAL_MAC,
    SEAL_ID = 16,
    SEAL_KEY = 32,
    SEAL_HASH = 32,
    SEAL_WINDOW = 1024, /* requests may overtake each other by this much */
};

enum seal_kind {
    SEAL_HELLO = 'H',
    SEAL_WELCOME = 'W',
    SEAL_SEALED = 'S',
    SEAL_REPLY = 'R',
    SEAL_REFUSED = 'E',
};

struct seal_header {
    enum seal_kind kind;
    uint8_t session[SEAL_ID];
    uint64_t counter;
};

/* Call once before anything else here.  ERR_INTERNAL when libsodium cannot start. */
int seal_setup(struct err *err);

/* Cryptographically random bytes. */
void seal_random(void *out, size_t n);
void seal_hash(const void *data, size_t n, uint8_t out[SEAL_HASH]);
/* The same, piece by piece.  NULL without memory. */
struct seal_hashing;
struct seal_hashing *seal_hash_new(struct err *err);
void seal_hash_add(struct seal_hashing *h, const void *data, size_t n);
void seal_hash_end(struct seal_hashing *h, uint8_t out[SEAL_HASH]);
void seal_hash_free(struct seal_hashing *h);
CLEANUP_FN(struct seal_hashing, seal_hash_free)
/* A key pair for one session. */
void seal_keypair(uint8_t ret_public[SEAL_KEY], uint8_t ret_secret[SEAL_KEY]);
/* Overwrites secrets in a way the compiler keeps. */
void seal_forget(void *secret, size_t n);

/* Writes the SEAL_HEADER bytes at out. */
void seal_put_header(uint8_t *out, const struct seal_header *h);
/* ERR_PROTOCOL for what is too short, has another magic, an unknown kind or bytes that must be 0.
 * *ret_payload is borrowed from the frame. */
int seal_get_header(struct bytes frame, struct seal_header *ret, struct bytes *ret_payload,
                    struct err *err);

enum seal_side { SEAL_CLIENT, SEAL_SERVER };

/* The state of one side of one session. */
struct seal {
    uint8_t session[SEAL_ID];
    uint8_t tx[SEAL_KEY], rx[SEAL_KEY];
    uint64_t tx_counter; /* the next one to use; begins at 1 */
    uint64_t rx_highest; /* server: highest request counter accepted */
    uint64_t window[SEAL_WINDOW /
                    64]; /* server: which of the SEAL_WINDOW counters up to rx_highest came */
    pid_t owner;         /* after a fork the child must not use the keys: nonces would recur */
};

/* Derives the keys.  ERR_AUTH when the peer's public key is unusable (of low order). */
int seal_init(struct seal *s, enum seal_side side, const uint8_t session[SEAL_ID],
              const uint8_t own_public[SEAL_KEY], const uint8_t own_secret[SEAL_KEY],
              const uint8_t peer_public[SEAL_KEY], const uint8_t hello_hash[SEAL_HASH],
              const uint8_t welcome_hash[SEAL_HASH], struct err *err);
void seal_done(struct seal *s);

/* Client: seals a request into out (plain.n + SEAL_OVERHEAD bytes) and takes a fresh counter for
 * it.  ERR_SESSION in a forked child. */
int seal_request(struct seal *s, struct bytes plain, uint8_t *out, uint64_t *ret_counter,
                 struct err *err);
/* Server: opens a SEALED frame into out (frame.n - SEAL_OVERHEAD bytes).  ERR_SESSION for a frame
 * that is not of this session, forged, older than the window or there already; the window moves
 * only for frames that are genuine. */
int seal_open_request(struct seal *s, struct bytes frame, uint8_t *out, uint64_t *ret_counter,
                      struct err *err);
/* Server: seals the reply to the request with that counter. */
int seal_reply(struct seal *s, uint64_t request_counter, struct bytes plain, uint8_t *out,
               struct err *err);
/* Client: opens the reply to the request with that counter.  ERR_PROTOCOL for anything else. */
int seal_open_reply(struct seal *s, uint64_t request_counter, struct bytes frame, uint8_t *out,
                    struct err *err);

#endif
