/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_sign.h: AWS Signature Version 4 of one HTTP request (HMAC and SHA-256 by gnutls)
 *
 * Knows nothing of curl or libs3.  No thread, no globals.  What it derives from a secret is wiped.
 */
#ifndef COMMON_S3_SIGN_H
#define COMMON_S3_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    S3_SIGN_PAIRS_MAX = 24,
    S3_SIGN_SHA256_HEX = 64,
    S3_SIGN_DATE_SIZE = sizeof "20130524T000000Z",
    S3_SIGN_AUTHORIZATION_SIZE = 1024,
};

struct s3_pair {
    const char *name, *value;
};

struct s3_sign {
    const char *method;
    const char *path;            /* as it is sent: encoded, from the '/' behind the host */
    const struct s3_pair *query; /* not encoded; in any order */
    size_t nquery;
    const struct s3_pair *headers; /* all that are to be signed, "host" too; names in lower case */
    size_t nheaders;
    const char *payload_sha256; /* in hexadecimal, or UNSIGNED-PAYLOAD */
    const char *access_key, *secret_key, *region, *service;
    const char *date; /* of s3_sign_date(), as in the header x-amz-date */
};

void s3_sign_date(int64_t now_s, char out[S3_SIGN_DATE_SIZE]);
/* Writes in with all but letters, digits, "-._~" and, with keep_slash, '/' as %XX: 3 * strlen + 1
 * bytes at most.  Returns how many without the NUL. */
size_t s3_encode(const char *in, bool keep_slash, char *out);
/* "a=1&b=2", encoded and sorted, as it is signed and as it is to be sent.  LIMIT when it does not
 * fit. */
int s3_query(const struct s3_pair *query, size_t n, char *out, size_t size, struct err *err);
/* The value of the header Authorization. */
int s3_sign(const struct s3_sign *r, char out[S3_SIGN_AUTHORIZATION_SIZE], struct err *err);

#endif
