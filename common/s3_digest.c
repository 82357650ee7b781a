/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_digest.c: digests of files, and the tags that stores make of them */
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/s3_objects.h"
#include "common/str.h"

enum { CHUNK = 256 * 1024 };

void s3_info_of(const struct s3_answer *a, uint64_t size_bytes, struct stage_info *ret)
{
    ret->size_bytes = size_bytes;
    ret->modified_s = a->modified_s;
    str_copy(ret->etag, sizeof ret->etag, a->etag);
}

/* The S3_MD5 of the whole, as the tag of most objects put in one piece is. */
bool s3_is_md5(const struct s3_answer *a)
{
    return !a->encrypted && strlen(a->etag) == 2 * S3_MD5 &&
           strspn(a->etag, "0123456789abcdefABCDEF") == 2 * S3_MD5;
}

bool s3_md5_is(const char *etag, const unsigned char md5[S3_MD5])
{
    char hex[2 * S3_MD5 + 1];
    str_hex(md5, S3_MD5, hex);
    return strncasecmp(etag, hex, 2 * S3_MD5) == 0;
}

/* Reads a part of a file for its digests, one of which is signed, so that the store compares it. */
int s3_digest(int fd, uint64_t at, uint64_t size_bytes, struct s3_run *run, struct s3_piece *ret,
              struct err *err)
{
    unsigned char sha256[S3_SHA256];
    gnutls_hash_hd_t a = NULL, b = NULL;
    AUTO(free) char *buf = malloc(CHUNK);
    int rc = 0;
    if (!buf || gnutls_hash_init(&a, GNUTLS_DIG_MD5) < 0 ||
        gnutls_hash_init(&b, GNUTLS_DIG_SHA256) < 0)
        rc = err_set(err, ERR_INTERNAL, "no memory");
    for (uint64_t done = 0; rc == 0 && done < size_bytes;) {
        uint64_t left = size_bytes - done;
        ssize_t n = pread(fd, buf, left < CHUNK ? left : CHUNK, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            rc = n < 0 ? err_errno(err, ERR_INVALID, "cannot read the file")
                       : err_set(err, ERR_INVALID,
                                 "the file became shorter while it was being stored");
            break;
        }
        gnutls_hash(a, buf, (size_t)n);
        gnutls_hash(b, buf, (size_t)n);
        done += (uint64_t)n;
        rc = s3_go_on(run, 0, err);
    }
    if (a)
        gnutls_hash_deinit(a, ret->md5);
    if (b)
        gnutls_hash_deinit(b, sha256);
    str_hex(sha256, S3_SHA256, ret->sha256);
    return rc;
}

/* The tag that most stores give what was joined: the S3_MD5 of the parts' MD5s, and how many. */
void s3_joined_tag(const unsigned char *md5s, size_t n, char out[80])
{
    unsigned char md5[S3_MD5];
    char hex[2 * S3_MD5 + 1] = "";
    if (gnutls_hash_fast(GNUTLS_DIG_MD5, md5s, n * S3_MD5, md5) == 0)
        str_hex(md5, S3_MD5, hex);
    snprintf(out, 80, "%s-%zu", hex, n);
}
