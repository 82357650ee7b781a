/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/cred.h"

#include <arpa/inet.h>
#include <errno.h>
#include <munge.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    CRED_TTL_S = 300,
    BUSY_WITHIN_MS = 1000,
    BUSY_AGAIN_MS = 100,
};

static const char hello_tag[CRED_TAG + 1] = "SLURM-AGENT-HI1\n";
static const char welcome_tag[CRED_TAG + 1] = "SLURM-AGENT-WE1\n";

static void cleanup_ctx(munge_ctx_t *ctx)
{
    if (*ctx)
        munge_ctx_destroy(*ctx);
}

/* ---- payloads ---- */

static uint8_t *put(uint8_t *at, const void *from, size_t n)
{
    memcpy(at, from, n);
    return at + n;
}

static const uint8_t *get(const uint8_t *at, void *to, size_t n)
{
    memcpy(to, at, n);
    return at + n;
}

void cred_pack_hello(const struct hello *h, uint8_t out[CRED_HELLO_SIZE])
{
    uint16_t min = htons(h->version_min), max = htons(h->version_max);
    char cluster[CRED_CLUSTER_MAX] = {0};
    str_copy(cluster, sizeof cluster, h->cluster);
    uint8_t *p = put(out, hello_tag, CRED_TAG);
    p = put(p, &min, 2);
    p = put(p, &max, 2);
    p = put(p, cluster, sizeof cluster);
    put(p, h->key, SEAL_KEY);
}

static int check_payload(struct bytes payload, const char *tag, size_t size, struct err *err)
{
    if (payload.n < CRED_TAG || memcmp(payload.p, tag, CRED_TAG) != 0)
        return err_set(err, ERR_AUTH, "a MUNGE credential of something else, not of slurm-agent");
    if (payload.n != size)
        return err_set(err, ERR_AUTH, "a credential with a payload of %zu bytes instead of %zu",
                       payload.n, size);
    return 0;
}

static int check_cluster(const char cluster[CRED_CLUSTER_MAX], struct err *err)
{
    if (!memchr(cluster, 0, CRED_CLUSTER_MAX))
        return err_set(err, ERR_AUTH, "a credential whose cluster name does not end");
    for (const char *p = cluster; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return err_set(err, ERR_AUTH, "a credential whose cluster name is no name");
    return 0;
}

int cred_unpack_hello(struct bytes payload, struct hello *ret, struct err *err)
{
    if (check_payload(payload, hello_tag, CRED_HELLO_SIZE, err) < 0)
        return -1;
    const uint8_t *p = payload.p + CRED_TAG;
    p = get(p, &ret->version_min, 2);
    p = get(p, &ret->version_max, 2);
    p = get(p, ret->cluster, CRED_CLUSTER_MAX);
    get(p, ret->key, SEAL_KEY);
    ret->version_min = ntohs(ret->version_min);
    ret->version_max = ntohs(ret->version_max);
    return check_cluster(ret->cluster, err);
}

void cred_pack_welcome(const struct welcome *w, uint8_t out[CRED_WELCOME_SIZE])
{
    uint16_t version = htons(w->version), zero = 0;
    uint32_t lifetime = htonl(w->lifetime_s);
    char cluster[CRED_CLUSTER_MAX] = {0};
    str_copy(cluster, sizeof cluster, w->cluster);
    uint8_t *p = put(out, welcome_tag, CRED_TAG);
    p = put(p, &version, 2);
    p = put(p, &zero, 2);
    p = put(p, &lifetime, 4);
    p = put(p, cluster, sizeof cluster);
    p = put(p, w->session, SEAL_ID);
    p = put(p, w->key, SEAL_KEY);
    p = put(p, w->hello_hash, SEAL_HASH);
    put(p, w->instance, SEAL_ID);
}

int cred_unpack_welcome(struct bytes payload, struct welcome *ret, struct err *err)
{
    uint16_t zero;
    if (check_payload(payload, welcome_tag, CRED_WELCOME_SIZE, err) < 0)
        return -1;
    const uint8_t *p = payload.p + CRED_TAG;
    p = get(p, &ret->version, 2);
    p = get(p, &zero, 2);
    p = get(p, &ret->lifetime_s, 4);
    p = get(p, ret->cluster, CRED_CLUSTER_MAX);
    p = get(p, ret->session, SEAL_ID);
    p = get(p, ret->key, SEAL_KEY);
    p = get(p, ret->hello_hash, SEAL_HASH);
    get(p, ret->instance, SEAL_ID);
    ret->version = ntohs(ret->version);
    ret->lifetime_s = ntohl(ret->lifetime_s);
    return check_cluster(ret->cluster, err);
}

/* ---- munge ---- */

static munge_ctx_t make_context(const char *socket, struct err *err)
{
    munge_ctx_t ctx = munge_ctx_create();
    if (!ctx) {
        err_set(err, ERR_INTERNAL, "no memory for munge");
        return NULL;
    }
    if (socket && *socket && munge_ctx_set(ctx, MUNGE_OPT_SOCKET, socket) != EMUNGE_SUCCESS) {
        err_set(err, ERR_INTERNAL, "munge does not take the socket %s", socket);
        munge_ctx_destroy(ctx);
        return NULL;
    }
    return ctx;
}

static const char *socket_of(munge_ctx_t ctx)
{
    const char *path = NULL;
    if (munge_ctx_get(ctx, MUNGE_OPT_SOCKET, &path) != EMUNGE_SUCCESS || !path)
        return "its default socket";
    return path;
}

/* Something listens there; with too much to do when it fails all the same. */
static bool is_there(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    AUTO(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd >= 0 && str_copy(sa.sun_path, sizeof sa.sun_path, path) &&
           (connect(fd, (const struct sockaddr *)&sa, sizeof sa) == 0 || errno == EAGAIN);
}

/* munged takes no more callers than its socket's queue has room for, and some hundreds come at once
 * when a cluster begins: these are told to come again.  One that hangs takes longer to fail. */
static int no_munged(munge_ctx_t ctx, munge_err_t rc, int64_t begun_ms, struct err *err)
{
    if (clock_mono_ms() - begun_ms < BUSY_WITHIN_MS && is_there(socket_of(ctx)))
        err->retry_after_ms = BUSY_AGAIN_MS;
    return err_set(err, ERR_MUNGE,
                   "munged on this host does not answer at %s (%s): is the munge service running?",
                   socket_of(ctx), munge_strerror(rc));
}

static int encode(munge_ctx_t ctx, const void *payload, int size, char **ret_cred, struct err *err)
{
    int64_t begun_ms = clock_mono_ms();
    munge_err_t rc = munge_ctx_set(ctx, MUNGE_OPT_TTL, CRED_TTL_S);
    if (rc == EMUNGE_SUCCESS)
        rc = munge_encode(ret_cred, ctx, payload, size);
    if (rc == EMUNGE_SUCCESS && strlen(*ret_cred) > CRED_MAX) {
        free(*ret_cred);
        *ret_cred = NULL;
        return err_set(err, ERR_INTERNAL, "munge made a credential of more than %d bytes",
                       CRED_MAX);
    }
    return rc == EMUNGE_SUCCESS ? 0 : no_munged(ctx, rc, begun_ms, err);
}

int cred_encode_hello(const char *socket, const struct hello *h, char **ret_cred, struct err *err)
{
    AUTO(ctx) munge_ctx_t ctx = make_context(socket, err);
    uint8_t payload[CRED_HELLO_SIZE];
    if (!ctx)
        return -1;
    cred_pack_hello(h, payload);
    return encode(ctx, payload, sizeof payload, ret_cred, err);
}

int cred_encode_welcome(const char *socket, const struct welcome *w, uid_t only_uid,
                        char **ret_cred, struct err *err)
{
    AUTO(ctx) munge_ctx_t ctx = make_context(socket, err);
    uint8_t payload[CRED_WELCOME_SIZE];
    if (!ctx)
        return -1;
    if (munge_ctx_set(ctx, MUNGE_OPT_UID_RESTRICTION, only_uid) != EMUNGE_SUCCESS)
        return err_set(err, ERR_INTERNAL, "munge does not restrict a credential");
    cred_pack_welcome(w, payload);
    return encode(ctx, payload, sizeof payload, ret_cred, err);
}

/* Success alone counts: expired, future and replayed credentials carry a uid and a payload, too. */
static int judge(munge_ctx_t ctx, munge_err_t rc, int64_t begun_ms, struct err *err)
{
    time_t encoded = 0, decoded = 0;
    munge_ctx_get(ctx, MUNGE_OPT_ENCODE_TIME, &encoded);
    munge_ctx_get(ctx, MUNGE_OPT_DECODE_TIME, &decoded);
    long long apart = (long long)(decoded - encoded);
    switch (rc) {
    case EMUNGE_SUCCESS:
        return 0;
    case EMUNGE_CRED_EXPIRED:
        return err_set(err, ERR_AUTH,
                       "the MUNGE credential is %lld s old: the clocks of the two hosts differ, or "
                       "it was held up on the way",
                       apart);
    case EMUNGE_CRED_REWOUND:
        return err_set(
            err, ERR_AUTH,
            "the MUNGE credential is %lld s from the future: the clocks of the two hosts "
            "differ",
            -apart);
    case EMUNGE_CRED_REPLAYED:
        return err_set(err, ERR_AUTH, "the MUNGE credential has been used before");
    case EMUNGE_CRED_UNAUTHORIZED:
        return err_set(err, ERR_AUTH, "the MUNGE credential is for another user");
    case EMUNGE_CRED_INVALID:
        return err_set(err, ERR_AUTH,
                       "the MUNGE credential is not valid here: the two hosts do not have the same "
                       "munge key");
    case EMUNGE_SOCKET:
    case EMUNGE_TIMEOUT:
        return no_munged(ctx, rc, begun_ms, err);
    case EMUNGE_SNAFU: /* munged's trouble, not the credential's */
    case EMUNGE_NO_MEMORY:
    case EMUNGE_OVERFLOW:
        return err_set(err, ERR_MUNGE, "munged on this host has failed: %s", munge_strerror(rc));
    default:
        return err_set(err, ERR_AUTH, "the MUNGE credential is not valid: %s", munge_strerror(rc));
    }
}

static int origin(munge_ctx_t ctx, struct cred_origin *ret, struct err *err)
{
    time_t encoded = 0, decoded = 0;
    struct in_addr addr = {0};
    munge_ctx_get(ctx, MUNGE_OPT_ENCODE_TIME, &encoded);
    munge_ctx_get(ctx, MUNGE_OPT_DECODE_TIME, &decoded);
    munge_ctx_get(ctx, MUNGE_OPT_ADDR4, &addr);
    ret->encoded_at = encoded;
    inet_ntop(AF_INET, &addr, ret->address, sizeof ret->address);
    /* munge's own limits depend on a TTL that the sender chose. */
    if (decoded - encoded > CRED_MAX_AGE_S)
        return err_set(err, ERR_AUTH, "the MUNGE credential is %lld s old, more than %d",
                       (long long)(decoded - encoded), CRED_MAX_AGE_S);
    if (encoded - decoded > CRED_MAX_FUTURE_S)
        return err_set(err, ERR_AUTH, "the MUNGE credential is %lld s from the future",
                       (long long)(encoded - decoded));
    return 0;
}

/* Gives a payload that the caller frees. */
static int decode(const char *socket, struct bytes cred, struct bytes *ret_payload,
                  struct cred_origin *ret_from, struct err *err)
{
    if (cred.n == 0 || cred.n > CRED_MAX || memchr(cred.p, 0, cred.n))
        return err_set(err, ERR_LIMIT, "a credential of %zu bytes: 1 to %d of text are allowed",
                       cred.n, CRED_MAX);
    char text[CRED_MAX + 1];
    memcpy(text, cred.p, cred.n);
    text[cred.n] = '\0';
    AUTO(ctx) munge_ctx_t ctx = make_context(socket, err);
    if (!ctx)
        return -1;
    AUTO(free) void *payload = NULL;
    int size = 0;
    struct cred_origin from = {0};
    int64_t begun_ms = clock_mono_ms();
    munge_err_t rc = munge_decode(text, ctx, &payload, &size, &from.uid, &from.gid);
    if (judge(ctx, rc, begun_ms, err) < 0 || origin(ctx, &from, err) < 0)
        return -1;
    *ret_from = from;
    ret_payload->n = size > 0 ? (size_t)size : 0;
    ret_payload->p = TAKE(payload);
    return 0;
}

int cred_decode_hello(const char *socket, struct bytes cred, struct hello *ret,
                      struct cred_origin *ret_from, struct err *err)
{
    struct bytes payload = {0};
    int rc = decode(socket, cred, &payload, ret_from, err);
    if (rc == 0)
        rc = cred_unpack_hello(payload, ret, err);
    free((void *)payload.p);
    return rc;
}

int cred_decode_welcome(const char *socket, struct bytes cred, struct welcome *ret,
                        struct cred_origin *ret_from, struct err *err)
{
    struct bytes payload = {0};
    int rc = decode(socket, cred, &payload, ret_from, err);
    if (rc == 0)
        rc = cred_unpack_welcome(payload, ret, err);
    free((void *)payload.p);
    return rc;
}
