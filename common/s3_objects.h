/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_objects.h: what those parts share that make objects of requests: s3_put.c, s3_get.c,
 * s3_objects.c */
#ifndef COMMON_S3_OBJECTS_H
#define COMMON_S3_OBJECTS_H

#include "common/stage_s3.h"

#define MIB ((uint64_t)1024 * 1024)

enum {
    S3_MD5 = 16,
    S3_SHA256 = 32,
    S3_PARTS_MAX = 10000, /* of an object; S3's, as the next */
    S3_OBJECT_MAX_MIB = 5 * 1024 * 1024,
};

/* The digests of a file, or of a part of it. */
struct s3_piece {
    unsigned char md5[S3_MD5];
    char sha256[2 * S3_SHA256 + 1];
};

/* Reads size_bytes of a file; INVALID when there are less. */
int s3_digest(int fd, uint64_t at, uint64_t size_bytes, struct s3_run *run, struct s3_piece *ret,
              struct err *err);
/* Is the tag the MD5 of the whole, as with most objects put in one piece? */
bool s3_is_md5(const struct s3_answer *a);
bool s3_md5_is(const char *etag, const unsigned char md5[S3_MD5]);
/* The tag that most stores give what was joined: the MD5 of the parts' MD5s, and how many. */
void s3_joined_tag(const unsigned char *md5s, size_t n, char out[80]);
void s3_info_of(const struct s3_answer *a, uint64_t size_bytes, struct stage_info *ret);
/* HEAD, refused without a size. */
int s3_head_answer(struct s3_store *s, struct s3_run *run, const struct stage_url *u,
                   struct s3_answer *ret, struct err *err);

int s3_put(void *store, const struct stage_url *to, int fd, uint64_t size_bytes,
           const struct stage_run *run, struct stage_info *ret, struct err *err);
int s3_copy(void *store, const struct stage_url *from, const struct stage_url *to,
            const struct stage_run *run, struct stage_info *ret, struct err *err);
int s3_get(void *store, const struct stage_url *from, int fd, const struct stage_run *run,
           struct stage_info *ret, struct err *err);

#endif
