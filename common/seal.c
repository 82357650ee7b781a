/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/seal.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>

enum { NONCE = crypto_aead_chacha20poly1305_IETF_NPUBBYTES, WORD = 64 };

_Static_assert(SEAL_MAC == crypto_aead_chacha20poly1305_IETF_ABYTES, "tag");
_Static_assert(SEAL_KEY == crypto_kx_PUBLICKEYBYTES, "public key");
_Static_assert(SEAL_KEY == crypto_kx_SESSIONKEYBYTES, "session key");

static const uint8_t magic[4] = {'S', 'L', 'A', '1'};

static void put_be64(uint8_t *out, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        out[i] = (uint8_t)v;
}

static uint64_t get_be64(const uint8_t *in)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

int seal_setup(struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL, "libsodium cannot start");
    return 0;
}

void seal_random(void *out, size_t n)
{
    randombytes_buf(out, n);
}

void seal_hash(const void *data, size_t n, uint8_t out[SEAL_HASH])
{
    crypto_generichash(out, SEAL_HASH, data, n, NULL, 0);
}

struct seal_hashing {
    crypto_generichash_state state;
};

struct seal_hashing *seal_hash_new(struct err *err)
{
    /* The state is to be aligned more than malloc() does. */
    struct seal_hashing *h = aligned_alloc(_Alignof(struct seal_hashing), sizeof *h);
    if (h)
        crypto_generichash_init(&h->state, NULL, 0, SEAL_HASH);
    else
        err_set(err, ERR_INTERNAL, "no memory");
    return h;
}

void seal_hash_add(struct seal_hashing *h, const void *data, size_t n)
{
    crypto_generichash_update(&h->state, data, n);
}

void seal_hash_end(struct seal_hashing *h, uint8_t out[SEAL_HASH])
{
    crypto_generichash_final(&h->state, out, SEAL_HASH);
}

void seal_hash_free(struct seal_hashing *h)
{
    free(h);
}

void seal_keypair(uint8_t ret_public[SEAL_KEY], uint8_t ret_secret[SEAL_KEY])
{
    crypto_kx_keypair(ret_public, ret_secret);
}

void seal_forget(void *secret, size_t n)
{
    sodium_memzero(secret, n);
}

void seal_put_header(uint8_t *out, const struct seal_header *h)
{
    memcpy(out, magic, sizeof magic);
    out[4] = (uint8_t)h->kind;
    memset(out + 5, 0, 3);
    memcpy(out + 8, h->session, SEAL_ID);
    put_be64(out + 24, h->counter);
}

static bool known_kind(uint8_t kind)
{
    return kind == SEAL_HELLO || kind == SEAL_WELCOME || kind == SEAL_SEALED ||
           kind == SEAL_REPLY || kind == SEAL_REFUSED;
}

/* Are the fields zero that a frame of its kind does not use? */
static bool unused_is_zero(const uint8_t *frame)
{
    static const uint8_t zero[SEAL_ID];
    if (memcmp(frame + 5, zero, 3) != 0)
        return false;
    if (frame[4] == SEAL_HELLO && memcmp(frame + 8, zero, SEAL_ID) != 0)
        return false;
    return frame[4] == SEAL_SEALED || frame[4] == SEAL_REPLY || get_be64(frame + 24) == 0;
}

int seal_get_header(struct bytes frame, struct seal_header *ret, struct bytes *ret_payload,
                    struct err *err)
{
    if (frame.n < SEAL_HEADER)
        return err_set(err, ERR_PROTOCOL, "a frame of %zu bytes: at least %d are its header",
                       frame.n, SEAL_HEADER);
    if (memcmp(frame.p, magic, sizeof magic) != 0)
        return err_set(err, ERR_PROTOCOL, "a frame that does not begin with SLA1");
    if (!known_kind(frame.p[4]))
        return err_set(err, ERR_PROTOCOL, "a frame of unknown kind %u", frame.p[4]);
    if (!unused_is_zero(frame.p))
        return err_set(err, ERR_PROTOCOL, "a frame with bytes set that must be zero");
    ret->kind = (enum seal_kind)frame.p[4];
    memcpy(ret->session, frame.p + 8, SEAL_ID);
    ret->counter = get_be64(frame.p + 24);
    *ret_payload = (struct bytes){frame.p + SEAL_HEADER, frame.n - SEAL_HEADER};
    return 0;
}

/* Mixes both credentials into a key, so that a session stands for exactly this exchange. */
static void mix(uint8_t key[SEAL_KEY], const uint8_t hello_hash[SEAL_HASH],
                const uint8_t welcome_hash[SEAL_HASH])
{
    uint8_t both[2 * SEAL_HASH], mixed[SEAL_KEY];
    memcpy(both, hello_hash, SEAL_HASH);
    memcpy(both + SEAL_HASH, welcome_hash, SEAL_HASH);
    crypto_generichash(mixed, sizeof mixed, both, sizeof both, key, SEAL_KEY);
    memcpy(key, mixed, SEAL_KEY);
    sodium_memzero(mixed, sizeof mixed);
}

int seal_init(struct seal *s, enum seal_side side, const uint8_t session[SEAL_ID],
              const uint8_t own_public[SEAL_KEY], const uint8_t own_secret[SEAL_KEY],
              const uint8_t peer_public[SEAL_KEY], const uint8_t hello_hash[SEAL_HASH],
              const uint8_t welcome_hash[SEAL_HASH], struct err *err)
{
    *s = (struct seal){.tx_counter = 1, .owner = getpid()};
    memcpy(s->session, session, SEAL_ID);
    int rc = side == SEAL_CLIENT
                 ? crypto_kx_client_session_keys(s->rx, s->tx, own_public, own_secret, peer_public)
                 : crypto_kx_server_session_keys(s->rx, s->tx, own_public, own_secret, peer_public);
    if (rc != 0) {
        seal_done(s);
        return err_set(err, ERR_AUTH, "the other side's public key is unusable");
    }
    mix(s->rx, hello_hash, welcome_hash);
    mix(s->tx, hello_hash, welcome_hash);
    return 0;
}

void seal_done(struct seal *s)
{
    sodium_memzero(s, sizeof *s);
}

static void make_nonce(uint8_t nonce[NONCE], uint64_t counter)
{
    memset(nonce, 0, NONCE - 8);
    put_be64(nonce + NONCE - 8, counter);
}

static int take_counter(struct seal *s, uint64_t *ret, struct err *err)
{
    if (s->owner != getpid())
        return err_set(err, ERR_SESSION, "a process that has forked cannot go on with the session");
    if (s->tx_counter == UINT64_MAX)
        return err_set(err, ERR_SESSION, "the session has used up its counters");
    *ret = s->tx_counter++;
    return 0;
}

static void encrypt(struct bytes plain, const uint8_t *ad, size_t ad_size, uint64_t counter,
                    const uint8_t key[SEAL_KEY], uint8_t *out)
{
    uint8_t nonce[NONCE];
    make_nonce(nonce, counter);
    crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain.p, plain.n, ad, ad_size, NULL, nonce,
                                              key);
}

static bool decrypt(struct bytes cipher, const uint8_t *ad, size_t ad_size, uint64_t counter,
                    const uint8_t key[SEAL_KEY], uint8_t *out)
{
    uint8_t nonce[NONCE];
    make_nonce(nonce, counter);
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, cipher.p, cipher.n, ad,
                                                     ad_size, nonce, key) == 0;
}

int seal_request(struct seal *s, struct bytes plain, uint8_t *out, uint64_t *ret_counter,
                 struct err *err)
{
    struct seal_header h = {.kind = SEAL_SEALED};
    if (take_counter(s, &h.counter, err) < 0)
        return -1;
    memcpy(h.session, s->session, SEAL_ID);
    seal_put_header(out, &h);
    encrypt(plain, out, SEAL_HEADER, h.counter, s->tx, out + SEAL_HEADER);
    *ret_counter = h.counter;
    return 0;
}

/* ---- the window: a ring of bits, one for each counter of the last SEAL_WINDOW ---- */

static bool window_fresh(const struct seal *s, uint64_t counter)
{
    if (counter == 0)
        return false;
    if (counter > s->rx_highest)
        return true;
    if (s->rx_highest - counter >= SEAL_WINDOW)
        return false;
    uint64_t i = counter % SEAL_WINDOW;
    return !(s->window[i / WORD] & 1ULL << i % WORD);
}

static void window_set(struct seal *s, uint64_t counter)
{
    if (counter > s->rx_highest) {
        uint64_t steps = counter - s->rx_highest;
        if (steps >= SEAL_WINDOW)
            memset(s->window, 0, sizeof s->window);
        else
            for (uint64_t c = s->rx_highest + 1; c <= counter; c++) {
                uint64_t i = c % SEAL_WINDOW;
                s->window[i / WORD] &= ~(1ULL << i % WORD);
            }
        s->rx_highest = counter;
    }
    uint64_t i = counter % SEAL_WINDOW;
    s->window[i / WORD] |= 1ULL << i % WORD;
}

int seal_open_request(struct seal *s, struct bytes frame, uint8_t *out, uint64_t *ret_counter,
                      struct err *err)
{
    struct seal_header h;
    struct bytes cipher;
    if (seal_get_header(frame, &h, &cipher, err) < 0)
        return -1;
    if (h.kind != SEAL_SEALED || cipher.n < SEAL_MAC ||
        memcmp(h.session, s->session, SEAL_ID) != 0 || !window_fresh(s, h.counter) ||
        !decrypt(cipher, frame.p, SEAL_HEADER, h.counter, s->rx, out))
        return err_set(err, ERR_SESSION, "a frame that is not of this session, or came before");
    window_set(s, h.counter);
    *ret_counter = h.counter;
    return 0;
}

static void reply_ad(uint8_t ad[SEAL_HEADER + 8], const uint8_t *header, uint64_t request_counter)
{
    memcpy(ad, header, SEAL_HEADER);
    put_be64(ad + SEAL_HEADER, request_counter);
}

int seal_reply(struct seal *s, uint64_t request_counter, struct bytes plain, uint8_t *out,
               struct err *err)
{
    struct seal_header h = {.kind = SEAL_REPLY};
    uint8_t ad[SEAL_HEADER + 8];
    if (take_counter(s, &h.counter, err) < 0)
        return -1;
    memcpy(h.session, s->session, SEAL_ID);
    seal_put_header(out, &h);
    reply_ad(ad, out, request_counter);
    encrypt(plain, ad, sizeof ad, h.counter, s->tx, out + SEAL_HEADER);
    return 0;
}

int seal_open_reply(struct seal *s, uint64_t request_counter, struct bytes frame, uint8_t *out,
                    struct err *err)
{
    struct seal_header h;
    struct bytes cipher;
    uint8_t ad[SEAL_HEADER + 8];
    if (seal_get_header(frame, &h, &cipher, err) < 0)
        return -1;
    reply_ad(ad, frame.p, request_counter);
    if (h.kind != SEAL_REPLY || cipher.n < SEAL_MAC ||
        memcmp(h.session, s->session, SEAL_ID) != 0 ||
        !decrypt(cipher, ad, sizeof ad, h.counter, s->rx, out))
        return err_set(err, ERR_PROTOCOL, "a reply that is not the answer to this request");
    return 0;
}
