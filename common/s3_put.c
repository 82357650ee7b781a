/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_put.c: files, and what a store has already, into objects: at once, or in parts at the same
 * time
 *
 * Nothing of them is kept in memory: each part is read from the file, for its digests and to be
 * sent.
 */
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/s3_objects.h"
#include "common/str.h"

enum {
    COPY_AT_ONCE_MIB = 5 * 1024, /* S3's */
    COPY_PART_MIB = 1024,
};

/* The store has compared what came with what was signed; some would not, but say what they have. */
static int has_same_bytes(void *arg, const struct s3_answer *a, struct err *err)
{
    const struct s3_piece *piece = arg;
    if (s3_is_md5(a) && !s3_md5_is(a->etag, piece->md5))
        return err_set(err, ERR_STORE, "other bytes arrived than were sent (MD5 %s)", a->etag);
    return 0;
}

/* All of a file, or with upload_id a part of it. */
static int put_piece(struct s3_store *s, struct s3_run *run, const struct stage_url *to, int fd,
                     uint64_t at, uint64_t size_bytes, const char *upload_id, const char *number,
                     struct s3_piece *piece, struct s3_answer *ret, struct err *err)
{
    if (s3_digest(fd, at, size_bytes, run, piece, err) < 0)
        return s3_while(s, to, err);
    struct s3_request r = {
        .verb = S3_VERB_PUT,
        .u = to,
        .payload_sha256 = piece->sha256,
        .fd = fd,
        .at = at,
        .size_bytes = size_bytes,
        .end = has_same_bytes,
        .arg = piece,
    };
    if (upload_id) {
        s3_add_query(&r, "partNumber", number);
        s3_add_query(&r, "uploadId", upload_id);
    }
    if (s3_send(s, run, &r, ret, err) < 0)
        return -1;
    return s3_refused(s, &r, ret, err);
}

/* An upload in parts, of a file or from another object. */
struct upload {
    struct s3_store *s;
    struct s3_run *run;
    const struct stage_url *to;
    int fd;
    const char *copy_source, *copy_tag; /* instead of fd */
    uint64_t size_bytes, part_bytes;
    size_t n;
    char id[1024 + 1];
    struct part {
        char etag[80];
        unsigned char md5[S3_MD5];
    } * parts;
};

static uint64_t part_bytes_for(uint64_t size_bytes, uint64_t least)
{
    uint64_t needed = (size_bytes + S3_PARTS_MAX - 1) / S3_PARTS_MAX;
    return needed <= least ? least : (needed + MIB - 1) / MIB * MIB;
}

static int copy_part(struct upload *u, uint64_t at, uint64_t n, const char *number,
                     struct s3_answer *ret, struct err *err)
{
    char range[64], tag[90];
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, at, at + n - 1);
    snprintf(tag, sizeof tag, "\"%s\"", u->copy_tag);
    struct s3_request r = {.verb = S3_VERB_PUT, .u = u->to, .slow = true, .quiet = true};
    s3_add_query(&r, "partNumber", number);
    s3_add_query(&r, "uploadId", u->id);
    s3_add_header(&r, "x-amz-copy-source", u->copy_source);
    s3_add_header(&r, "x-amz-copy-source-range", range);
    s3_add_header(&r, "x-amz-copy-source-if-match", tag);
    if (s3_send(u->s, u->run, &r, ret, err) < 0)
        return -1;
    return s3_refused(u->s, &r, ret, err);
}

static int upload_part(void *arg, size_t i, struct err *err)
{
    struct upload *u = arg;
    struct s3_answer a = {0};
    struct s3_piece piece = {0};
    char number[16];
    uint64_t at = i * u->part_bytes, left = u->size_bytes - at;
    uint64_t n = left < u->part_bytes ? left : u->part_bytes;
    snprintf(number, sizeof number, "%zu", i + 1);
    int rc = u->copy_source
                 ? copy_part(u, at, n, number, &a, err)
                 : put_piece(u->s, u->run, u->to, u->fd, at, n, u->id, number, &piece, &a, err);
    if (rc == 0 && (!*a.etag || strpbrk(a.etag, "<>&"))) {
        err_set(err, ERR_STORE, "the store gave a part no tag that can be used");
        rc = s3_while(u->s, u->to, err);
    }
    memcpy(u->parts[i].md5, piece.md5, S3_MD5);
    str_copy(u->parts[i].etag, sizeof u->parts[i].etag, a.etag);
    s3_answer_done(&a);
    return rc;
}

static int upload_create(struct upload *u, struct err *err)
{
    struct s3_answer a = {0};
    char part[32];
    struct s3_request r = {.verb = S3_VERB_POST, .u = u->to, .text = "", .quiet = true};
    snprintf(part, sizeof part, "%" PRIu64, u->part_bytes);
    s3_add_query(&r, "uploads", "");
    s3_add_header(&r, "x-amz-meta-slurm-agent-part-size", part);
    int rc = s3_send(u->s, u->run, &r, &a, err);
    if (rc == 0)
        rc = s3_refused(u->s, &r, &a, err);
    if (rc == 0 && !*a.upload_id) {
        err_set(err, ERR_STORE, "the store gave the upload no id");
        rc = s3_while(u->s, u->to, err);
    }
    str_copy(u->id, sizeof u->id, a.upload_id);
    s3_answer_done(&a);
    return rc;
}

/* Gives: free(). */
static char *upload_list(const struct upload *u)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    fputs("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">", f);
    for (size_t i = 0; i < u->n; i++)
        fprintf(f, "<Part><PartNumber>%zu</PartNumber><ETag>\"%s\"</ETag></Part>", i + 1,
                u->parts[i].etag);
    fputs("</CompleteMultipartUpload>", f);
    if (fclose(f) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* An upload that is unknown when it is to be joined was joined already, by a try whose answer was
 * lost, if the object has its tag now. */
static bool was_joined(struct upload *u, struct s3_answer *ret)
{
    AUTO(free) unsigned char *md5s = calloc(u->n, S3_MD5);
    struct s3_request r = {.verb = S3_VERB_HEAD, .u = u->to, .quiet = true};
    struct s3_answer a = {0};
    struct err ignored = {0};
    char tag[80];
    if (!md5s || u->copy_source)
        return false;
    for (size_t i = 0; i < u->n; i++)
        memcpy(md5s + i * S3_MD5, u->parts[i].md5, S3_MD5);
    s3_joined_tag(md5s, u->n, tag);
    if (s3_send(u->s, u->run, &r, &a, &ignored) < 0)
        return false;
    bool is = a.status == 200 && (uint64_t)a.size_bytes == u->size_bytes && str_eq(a.etag, tag);
    if (is) {
        s3_answer_done(ret);
        *ret = a;
    } else {
        s3_answer_done(&a);
    }
    return is;
}

static int upload_complete(struct upload *u, struct s3_answer *ret, struct err *err)
{
    unsigned char sha256[S3_SHA256];
    char hex[2 * S3_SHA256 + 1];
    AUTO(free) char *text = upload_list(u);
    if (!text || gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), sha256) < 0)
        return err_set(err, ERR_INTERNAL, "no memory");
    str_hex(sha256, S3_SHA256, hex);
    struct s3_request r = {
        .verb = S3_VERB_POST,
        .u = u->to,
        .text = text,
        .size_bytes = strlen(text),
        .payload_sha256 = hex,
        .slow = true,
        .quiet = true,
    };
    s3_add_query(&r, "uploadId", u->id);
    if (s3_send(u->s, u->run, &r, ret, err) < 0)
        return -1;
    if (str_eq(ret->code, "NoSuchUpload") && was_joined(u, ret))
        return 0;
    return s3_refused(u->s, &r, ret, err);
}

/* Also when the caller has no more time or wish: parts that stay cost money. */
static void upload_abort(struct upload *u)
{
    const struct stage_run own = {.deadline_ms = clock_mono_ms() + STAGE_ABORT_S * 1000};
    struct s3_run run;
    struct err ignored = {0};
    struct s3_answer a = {0};
    struct s3_request r = {.verb = S3_VERB_DELETE, .u = u->to, .quiet = true};
    s3_add_query(&r, "uploadId", u->id);
    s3_run_init(&run, &own);
    if (s3_send(u->s, &run, &r, &a, &ignored) == 0)
        s3_answer_done(&a);
    s3_run_done(&run);
}

static int upload(struct upload *u, struct s3_answer *ret, struct err *err)
{
    u->n = (size_t)((u->size_bytes + u->part_bytes - 1) / u->part_bytes);
    AUTO(free) struct part *parts = calloc(u->n, sizeof *parts);
    u->parts = parts;
    if (!parts)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (upload_create(u, err) < 0)
        return -1;
    if (stage_each(u->n, u->s->parallel - 1, upload_part, u, err) == 0 &&
        upload_complete(u, ret, err) == 0)
        return 0;
    upload_abort(u);
    return -1;
}

int s3_put(void *store, const struct stage_url *to, int fd, uint64_t size_bytes,
           const struct stage_run *run, struct stage_info *ret, struct err *err)
{
    struct s3_store *s = store;
    struct s3_answer a = {0};
    struct s3_piece piece;
    if (size_bytes > S3_OBJECT_MAX_MIB * MIB)
        return err_set(err, ERR_LIMIT, "the file has %" PRIu64 " bytes, an object 5 TiB at most",
                       size_bytes);
    struct s3_run r;
    s3_run_init(&r, run);
    struct upload u = {
        .s = s,
        .run = &r,
        .to = to,
        .fd = fd,
        .size_bytes = size_bytes,
        .part_bytes = part_bytes_for(size_bytes, s->part_bytes),
    };
    int rc = size_bytes <= u.part_bytes
                 ? put_piece(s, &r, to, fd, 0, size_bytes, NULL, NULL, &piece, &a, err)
                 : upload(&u, &a, err);
    if (rc == 0)
        s3_info_of(&a, size_bytes, ret);
    ret->checked = rc == 0;
    s3_answer_done(&a);
    s3_run_done(&r);
    return rc;
}

/* ---- copy
 * -----------------------------------------------------------------------------------------
 */
static int copy_whole(struct s3_store *s, struct s3_run *run, const struct stage_url *to,
                      const char *source, const char *etag, struct s3_answer *ret, struct err *err)
{
    char tag[90];
    struct s3_request r = {.verb = S3_VERB_PUT, .u = to, .slow = true, .quiet = true};
    snprintf(tag, sizeof tag, "\"%s\"", etag);
    s3_add_header(&r, "x-amz-copy-source", source);
    if (*etag)
        s3_add_header(&r, "x-amz-copy-source-if-match", tag);
    if (s3_send(s, run, &r, ret, err) < 0)
        return -1;
    return s3_refused(s, &r, ret, err);
}

int s3_copy(void *store, const struct stage_url *from, const struct stage_url *to,
            const struct stage_run *run, struct stage_info *ret, struct err *err)
{
    struct s3_store *s = store;
    struct s3_run r;
    struct s3_answer a = {0}, b = {0};
    char source[3 * (STAGE_BUCKET_MAX + STAGE_S3_KEY_MAX) + 8] = "/";
    size_t n = 1 + s3_encode(from->bucket, false, source + 1);
    source[n++] = '/';
    s3_encode(from->key, true, source + n);
    s3_run_init(&r, run);
    int rc = s3_head_answer(s, &r, from, &a, err);
    if (rc == 0 && (uint64_t)a.size_bytes <= COPY_AT_ONCE_MIB * MIB) {
        rc = copy_whole(s, &r, to, source, a.etag, &b, err);
    } else if (rc == 0) {
        struct upload u = {
            .s = s,
            .run = &r,
            .to = to,
            .fd = -1,
            .copy_source = source,
            .copy_tag = a.etag,
            .size_bytes = (uint64_t)a.size_bytes,
            .part_bytes = part_bytes_for((uint64_t)a.size_bytes, COPY_PART_MIB * MIB),
        };
        rc = upload(&u, &b, err);
    }
    if (rc == 0)
        s3_info_of(&b, (uint64_t)a.size_bytes, ret);
    s3_answer_done(&a);
    s3_answer_done(&b);
    s3_run_done(&r);
    return rc;
}
