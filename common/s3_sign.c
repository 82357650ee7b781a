/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/s3_sign.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "common/str.h"

enum { SHA256 = 32, DAY = 8 /* digits */ };

/* A text of bounded size that grows; full is sticky. */
struct text {
    char *at;
    size_t n, size;
    bool full;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = t->full ? -1 : vsnprintf(t->at + t->n, t->size - t->n, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= t->size - t->n)
        t->full = true;
    else
        t->n += (size_t)n;
}

void s3_sign_date(int64_t now_s, char out[S3_SIGN_DATE_SIZE])
{
    time_t t = (time_t)now_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, S3_SIGN_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

/* Not isalnum(): that depends on the locale. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

size_t s3_encode(const char *in, bool keep_slash, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    char *to = out;
    for (; *in; in++) {
        if (is_plain(*in) || (keep_slash && *in == '/')) {
            *to++ = *in;
        } else {
            *to++ = '%';
            *to++ = digits[(unsigned char)*in >> 4];
            *to++ = digits[*in & 15];
        }
    }
    *to = '\0';
    return (size_t)(to - out);
}

static int by_name(const void *a, const void *b)
{
    const struct s3_pair *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->value, y->value);
}

static int sorted(const struct s3_pair *pairs, size_t n, struct s3_pair out[S3_SIGN_PAIRS_MAX],
                  struct err *err)
{
    if (n > S3_SIGN_PAIRS_MAX)
        return err_set(err, ERR_INTERNAL, "more than %d parameters or headers to sign",
                       S3_SIGN_PAIRS_MAX);
    if (n) {
        memcpy(out, pairs, n * sizeof *pairs);
        qsort(out, n, sizeof *out, by_name);
    }
    return 0;
}

int s3_query(const struct s3_pair *query, size_t n, char *out, size_t size, struct err *err)
{
    struct s3_pair pairs[S3_SIGN_PAIRS_MAX];
    struct text t = {out, 0, size, size == 0};
    if (sorted(query, n, pairs, err) < 0)
        return -1;
    add(&t, "%s", "");
    for (size_t i = 0; i < n; i++) {
        AUTO(free) char *buf = malloc(3 * (strlen(pairs[i].name) + strlen(pairs[i].value)) + 2);
        if (!buf)
            return err_set(err, ERR_INTERNAL, "no memory");
        size_t len = s3_encode(pairs[i].name, false, buf);
        s3_encode(pairs[i].value, false, buf + len + 1);
        add(&t, "%s%s=%s", i ? "&" : "", buf, buf + len + 1);
    }
    return t.full ? err_set(err, ERR_LIMIT, "the request's parameters are too long") : 0;
}

/* Spaces at both ends go, and those in a row become one. */
static void add_value(struct text *t, const char *value)
{
    for (const char *p = value + strspn(value, " "); *p;) {
        size_t n = strcspn(p, " ");
        const char *next = p + n + strspn(p + n, " ");
        add(t, "%.*s%s", (int)n, p, *next ? " " : "");
        p = next;
    }
}

static void add_names(struct text *t, const struct s3_pair *headers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(t, "%s%s", i ? ";" : "", headers[i].name);
}

static bool sha256_hex(const void *data, size_t n, char out[2 * SHA256 + 1])
{
    unsigned char digest[SHA256];
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, n, digest) < 0)
        return false;
    str_hex(digest, sizeof digest, out);
    return true;
}

static bool hmac(const void *key, size_t key_size, const char *text, unsigned char out[SHA256])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, key_size, text, strlen(text), out) >= 0;
}

/* The key of a day, region and service, and with it the signature. */
static bool sign(const struct s3_sign *r, const char *day, const char *to_sign,
                 char out[2 * SHA256 + 1])
{
    unsigned char key[SHA256], next[SHA256];
    AUTO(free) char *first = NULL;
    int n = asprintf(&first, "AWS4%s", r->secret_key);
    if (n < 0)
        return false;
    bool ok = hmac(first, (size_t)n, day, key) && hmac(key, SHA256, r->region, next) &&
              hmac(next, SHA256, r->service, key) && hmac(key, SHA256, "aws4_request", next) &&
              hmac(next, SHA256, to_sign, key);
    if (ok)
        str_hex(key, SHA256, out);
    explicit_bzero(first, (size_t)n);
    explicit_bzero(key, sizeof key);
    explicit_bzero(next, sizeof next);
    secret_wipe_stack();
    return ok;
}

int s3_sign(const struct s3_sign *r, char out[S3_SIGN_AUTHORIZATION_SIZE], struct err *err)
{
    enum { CANONICAL_MAX = 24 * 1024 };
    struct s3_pair headers[S3_SIGN_PAIRS_MAX];
    char hash[2 * SHA256 + 1], signature[2 * SHA256 + 1], scope[200], to_sign[400];
    char day[DAY + 1];
    AUTO(free) char *canonical = malloc(CANONICAL_MAX);
    AUTO(free) char *query = malloc(CANONICAL_MAX / 2);
    if (!canonical || !query)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (sorted(r->headers, r->nheaders, headers, err) < 0 ||
        s3_query(r->query, r->nquery, query, CANONICAL_MAX / 2, err) < 0)
        return -1;

    struct text t = {canonical, 0, CANONICAL_MAX, false};
    add(&t, "%s\n%s\n%s\n", r->method, r->path, query);
    for (size_t i = 0; i < r->nheaders; i++) {
        add(&t, "%s:", headers[i].name);
        add_value(&t, headers[i].value);
        add(&t, "\n");
    }
    add(&t, "\n");
    add_names(&t, headers, r->nheaders);
    add(&t, "\n%s", r->payload_sha256);

    str_copy(day, sizeof day, r->date);
    struct text s = {scope, 0, sizeof scope, false};
    add(&s, "%s/%s/%s/aws4_request", day, r->region, r->service);
    struct text u = {to_sign, 0, sizeof to_sign, false};
    struct text a = {out, 0, S3_SIGN_AUTHORIZATION_SIZE, false};
    bool ok = !t.full && sha256_hex(canonical, t.n, hash);
    if (ok) {
        add(&u, "AWS4-HMAC-SHA256\n%s\n%s\n%s", r->date, scope, hash);
        ok = !s.full && !u.full && sign(r, day, to_sign, signature);
    }
    if (ok) {
        add(&a, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", r->access_key, scope);
        add_names(&a, headers, r->nheaders);
        add(&a, ", Signature=%s", signature);
    }
    explicit_bzero(canonical, CANONICAL_MAX); /* a session token is among the headers */
    if (ok && !a.full)
        return 0;
    return err_set(err, ERR_INTERNAL, "the request cannot be signed");
}
