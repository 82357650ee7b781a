/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_get.c: objects into files: the first range, which says how much there is, then the others at
 * once
 *
 * Nothing of them is kept in memory: what comes is written where it belongs.
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/s3_objects.h"
#include "common/str.h"

enum { ROUNDS = 3 /* when the object changes meanwhile, or comes out wrong */ };

struct get {
    struct s3_store *s;
    struct s3_run *run;
    const struct stage_url *from;
    int fd;
    struct s3_answer first; /* without its body: tag, sizes */
    uint64_t whole;
    unsigned char *md5s; /* of each range, where they are the object's parts; else NULL */
    bool changed;        /* under the lock of run */
};

/* One range on its way. */
struct range {
    struct get *g;
    uint64_t at, want; /* what was asked for; want is set when the answer says how much there is */
    uint64_t got;
    bool is_first;
    gnutls_hash_hd_t hash;
    unsigned char md5[S3_MD5];
};

static int range_begin(void *arg, const struct s3_answer *a, struct err *err)
{
    struct range *r = arg;
    r->got = 0;
    if (r->is_first && a->status == 200) {
        r->want = (uint64_t)a->size_bytes;
    } else if (a->status != 206 || a->whole < 0 || (uint64_t)a->first != r->at ||
               a->last - a->first + 1 != a->size_bytes) {
        return err_set(err, ERR_STORE, "the store answers with another range than was asked for");
    } else if (r->is_first) {
        r->want = (uint64_t)a->size_bytes;
    } else if ((uint64_t)a->size_bytes != r->want) {
        return err_set(err, ERR_STORE, "the store answers with another range than was asked for");
    }
    if (r->hash)
        gnutls_hash_output(r->hash, r->md5); /* begins anew */
    return 0;
}

static int range_sink(void *arg, const char *p, size_t n, struct err *err)
{
    struct range *r = arg;
    if (n > r->want - r->got)
        return 0; /* counted, and refused at the end */
    gnutls_hash(r->hash, p, n);
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(r->g->fd, p + done, n - done, (off_t)(r->at + r->got + done));
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_errno(err, errno == ENOSPC || errno == EDQUOT ? ERR_LIMIT : ERR_INVALID,
                             "cannot write the file");
        done += (size_t)w;
    }
    r->got += n;
    return 0;
}

static bool is_whole(const struct s3_answer *a)
{
    return a->status == 200 || (a->first == 0 && a->last + 1 == a->whole);
}

static int range_end(void *arg, const struct s3_answer *a, struct err *err)
{
    struct range *r = arg;
    if (r->got != r->want)
        return err_set(err, ERR_STORE_DOWN, "%" PRIu64 " bytes came instead of %" PRIu64, r->got,
                       r->want);
    gnutls_hash_output(r->hash, r->md5);
    if (r->is_first && is_whole(a) && s3_is_md5(a) && !s3_md5_is(a->etag, r->md5))
        return err_set(err, ERR_STORE, "other bytes arrived than the store has (MD5)");
    return 0;
}

static int get_range(struct range *r, bool ranged, struct s3_answer *ret, struct err *err)
{
    char range[64], tag[90];
    struct s3_request q = {
        .verb = S3_VERB_GET,
        .u = r->g->from,
        .begin = range_begin,
        .sink = range_sink,
        .end = range_end,
        .arg = r,
    };
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, r->at, r->at + r->want - 1);
    snprintf(tag, sizeof tag, "\"%s\"", r->g->first.etag);
    if (ranged)
        s3_add_header(&q, "range", range);
    if (!r->is_first && *r->g->first.etag)
        s3_add_header(&q, "if-match", tag);
    if (gnutls_hash_init(&r->hash, GNUTLS_DIG_MD5) < 0)
        return err_set(err, ERR_INTERNAL, "no memory");
    int rc = s3_send(r->g->s, r->g->run, &q, ret, err);
    gnutls_hash_deinit(r->hash, NULL);
    r->hash = NULL;
    if (rc < 0)
        return -1;
    /* There is no range in nothing. */
    if (ranged && r->is_first && ret->status == 416) {
        s3_answer_done(ret);
        return get_range(r, false, ret, err);
    }
    if (!r->is_first && ret->status == 412) {
        pthread_mutex_lock(&r->g->run->lock);
        r->g->changed = true;
        pthread_mutex_unlock(&r->g->run->lock);
    }
    return s3_refused(r->g->s, &q, ret, err);
}

static int get_part(void *arg, size_t i, struct err *err)
{
    struct get *g = arg;
    uint64_t part = g->s->part_bytes, at = (i + 1) * part, left = g->whole - at;
    struct range r = {.g = g, .at = at, .want = left < part ? left : part};
    struct s3_answer a = {0};
    int rc = get_range(&r, true, &a, err);
    if (rc == 0 && g->md5s)
        memcpy(g->md5s + (i + 1) * S3_MD5, r.md5, S3_MD5);
    s3_answer_done(&a);
    return rc;
}

/* The MD5s of the pieces that a file has been put in. */
static int file_md5s(const struct get *g, uint64_t piece_bytes, unsigned char *md5s,
                     struct err *err)
{
    struct s3_piece piece;
    for (uint64_t at = 0; at < g->whole; at += piece_bytes, md5s += S3_MD5) {
        uint64_t left = g->whole - at;
        if (s3_digest(g->fd, at, left < piece_bytes ? left : piece_bytes, g->run, &piece, err) < 0)
            return -1;
        memcpy(md5s, piece.md5, S3_MD5);
    }
    return 0;
}

static bool are_parts(const struct get *g, uint64_t part_bytes, size_t n)
{
    return part_bytes && n == (g->whole + part_bytes - 1) / part_bytes;
}

/* What other programs put objects in: a guess that comes true is as good as knowing it. */
static uint64_t likely_part_bytes(const struct get *g, size_t n)
{
    static const int sizes_mib[] = {8, 5, 15, 16, 10, 20, 25, 32, 50, 64, 100, 128};
    for (size_t i = 0; i < ARRAY_LEN(sizes_mib); i++)
        if (are_parts(g, (uint64_t)sizes_mib[i] * MIB, n))
            return (uint64_t)sizes_mib[i] * MIB;
    return 0;
}

/* Compares the file with the tag: 1 the same, 0 cannot be said, -1 not the same or an error. */
static int compare(struct get *g, struct err *err)
{
    const struct s3_answer *a = &g->first;
    const char *dash = strchr(a->etag, '-');
    int64_t n;
    char tag[80];
    unsigned char md5[S3_MD5];
    if (s3_is_md5(a)) {
        if (file_md5s(g, g->whole ? g->whole : 1, md5, err) < 0)
            return -1;
        if (s3_md5_is(a->etag, md5))
            return 1;
        return err_set(err, ERR_STORE, "other bytes arrived than the store has (MD5)");
    }
    if (a->encrypted || !dash || dash - a->etag != 2 * S3_MD5 ||
        !str_to_i64(dash + 1, 1, S3_PARTS_MAX, &n))
        return 0;
    bool ours = are_parts(g, a->part_bytes, (size_t)n);
    uint64_t part_bytes = ours ? a->part_bytes : likely_part_bytes(g, (size_t)n);
    if (!part_bytes)
        return 0;
    AUTO(free) unsigned char *md5s = calloc((size_t)n, S3_MD5);
    if (!md5s)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (g->md5s && part_bytes == g->s->part_bytes)
        memcpy(md5s, g->md5s, (size_t)n * S3_MD5);
    else if (file_md5s(g, part_bytes, md5s, err) < 0)
        return -1;
    s3_joined_tag(md5s, (size_t)n, tag);
    if (strcasecmp(tag, a->etag) == 0)
        return 1;
    return ours ? err_set(err, ERR_STORE, "other bytes arrived than the store has (MD5 of parts)")
                : 0;
}

/* What the first range has not brought. */
static int get_rest(struct get *g, const struct range *first, struct err *err)
{
    uint64_t part = g->s->part_bytes;
    if (g->whole > S3_OBJECT_MAX_MIB * MIB)
        return err_set(err, ERR_STORE, "the store speaks of %" PRIu64 " bytes", g->whole);
    size_t n = (size_t)((g->whole + part - 1) / part);
    if (first->want != part)
        return err_set(err, ERR_STORE, "the store answers with less than was asked for");
    g->md5s = calloc(n, S3_MD5);
    if (!g->md5s)
        return err_set(err, ERR_INTERNAL, "no memory");
    memcpy(g->md5s, first->md5, S3_MD5);
    if (ftruncate(g->fd, (off_t)g->whole) < 0)
        return err_errno(err, errno == EFBIG ? ERR_LIMIT : ERR_INVALID, "cannot write the file");
    return stage_each(n - 1, g->s->parallel - 1, get_part, g, err);
}

static int get_once(struct get *g, bool *ret_again, struct stage_info *ret, struct err *err)
{
    struct range first = {.g = g, .want = g->s->part_bytes, .is_first = true};
    *ret_again = false;
    if (ftruncate(g->fd, 0) < 0)
        return err_errno(err, ERR_INVALID, "cannot write the file");
    int rc = get_range(&first, true, &g->first, err);
    s3_answer_done(&g->first);
    if (rc < 0)
        return -1;
    int same = s3_is_md5(&g->first);
    g->whole = is_whole(&g->first) ? first.want : (uint64_t)g->first.whole;
    if (!is_whole(&g->first)) {
        if (get_rest(g, &first, err) < 0) {
            *ret_again = g->changed;
            return -1;
        }
        same = compare(g, err);
    } else if (!same) {
        same = compare(g, err);
    }
    if (same < 0) {
        *ret_again = err->code == ERR_STORE;
        return s3_while(g->s, g->from, err);
    }
    s3_info_of(&g->first, g->whole, ret);
    ret->checked = same == 1;
    return 0;
}

int s3_get(void *store, const struct stage_url *from, int fd, const struct stage_run *run,
           struct stage_info *ret, struct err *err)
{
    struct s3_run r;
    bool again = true;
    int rc = -1;
    s3_run_init(&r, run);
    for (int round = 0; again && round < ROUNDS; round++) {
        struct get g = {.s = store, .run = &r, .from = from, .fd = fd};
        *err = (struct err){0};
        rc = get_once(&g, &again, ret, err);
        free(g.md5s);
        /* What has come will come again. */
        if (rc < 0 && again)
            s3_go_on(&r, -r.told, &(struct err){0});
    }
    s3_run_done(&r);
    return rc;
}
