/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage.h: object stores: s3:// (stage_s3.c over libs3) and file:// (stage_file.c, a directory)
 *
 * Who uses it: stage workers, which are the user, and the client.  All calls block: never on a
 * loop. A struct stage may be used by any number of threads at once, but is opened and closed by
 * one; each call uses up to conf->parallel connections, and calls at once share them.  What is in
 * memory does not depend on the size of objects: a process that moves anything stays below 64 MiB,
 * and what the names of its files take.
 *
 * A call that fails has changed nothing that anybody sees, put, copy and delete apart when the
 * answer was lost: then the object may be there, whole.  Objects appear whole or not at all, files
 * that stage_fetch() makes too.  What has gone over the wire is checked (checksum and length)
 * before a call returns 0.
 *
 * Errors name the object, the endpoint and what the store said, never a secret:
 *
 *   NOT_FOUND     no such object or bucket
 *   DENIED        the store or the file system says no
 *   INVALID       the URL, a setting or the file
 *   STORE         refused otherwise, or answered wrongly
 *   STORE_DOWN    still no whole answer after all tries; may be tried later
 *   TIMEOUT       run->deadline_ms has passed
 *   INTERRUPTED   run->progress asked to stop
 *   LIMIT         larger than a store takes
 *   INTERNAL      no memory
 */
#ifndef COMMON_STAGE_H
#define COMMON_STAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/cleanup.h"
#include "common/err.h"

enum {
    STAGE_BUCKET_MAX = 255,
    STAGE_S3_KEY_MAX = 1024, /* bytes, S3's own limit */
    STAGE_KEY_MAX = 4000,    /* file://: less than PATH_MAX, by the length of a temporary name */
    STAGE_PARALLEL_MAX = 16,
    STAGE_ABORT_S = 20, /* for taking back an upload in parts, when it is to end */
};
#define STAGE_OBJECT_MAX ((uint64_t)5 << 40) /* S3's own limit */

enum stage_scheme { STAGE_S3, STAGE_FILE };

/* Which object, or all objects whose keys begin with a prefix. */
struct stage_url {
    enum stage_scheme scheme;
    char bucket[STAGE_BUCKET_MAX + 1]; /* file://: "" */
    char key[STAGE_KEY_MAX + 1];       /* file://: the absolute path */
};

/* s3://bucket, s3://bucket/key, s3://bucket/prefix/, file:///path.  A key is taken byte for byte,
 * as other S3 tools do: %, ? and # mean nothing, and "a//b" and "a/../b" are keys of their own;
 * file:// paths may not have "..".  INVALID, with what would be right, for anything else: no
 * scheme, a bucket's name that S3 does not allow, a key too long or with control characters. */
int stage_url_parse(const char *text, struct stage_url *ret, struct err *err);
/* Does text begin as one of our URLs?  (A path otherwise.) */
bool stage_url_is(const char *text);
/* Ends with a slash, or is a bucket alone: what to put there needs a name. */
bool stage_url_is_prefix(const struct stage_url *u);
/* Puts name (its bytes, '/' too) behind the key.  INVALID when the whole is too long. */
int stage_url_join(const struct stage_url *u, const char *name, struct stage_url *ret,
                   struct err *err);
/* What stage_url_parse() takes.  Returns out. */
enum { STAGE_URL_TEXT = STAGE_BUCKET_MAX + STAGE_KEY_MAX + 16 };
const char *stage_url_text(const struct stage_url *u, char out[STAGE_URL_TEXT]);

enum stage_addressing { STAGE_ADDRESSING_AUTO, STAGE_ADDRESSING_PATH, STAGE_ADDRESSING_VIRTUAL };

/* How to reach a store, and as whom.  Zeroed, it is Amazon in us-east-1 without a key.  file://
 * needs none of it.  stage_open() copies it all, and wipes its copy at stage_close(). */
struct stage_conf {
    const char *endpoint; /* "https://host[:port]" or "http://..."; NULL: Amazon's in the region */
    const char *region;   /* NULL: us-east-1 */
    const char *access_key, *secret_key; /* NULL: requests are not signed (public buckets) */
    const char *session_token;           /* NULL: none */
    const char *ca_file;                 /* PEM, instead of the system's; NULL: the system's */
    enum stage_addressing addressing;    /* AUTO: bucket.host with Amazon, else host/bucket */
    /* Addresses that must not be connected to, besides link-local, metadata and this host's 0.0.0.0
     * and ::, which never are: comma separated, each an IPv4 or IPv6 address or network
     * (10.0.0.0/8).  What is compared is the address connected to, so that no name leads there. */
    const char *deny_endpoints;
    bool proxy_from_environment; /* http_proxy and kin count; what denies addresses sees the proxy's
                                  */
    int parallel;                /* connections at once; 0: 4; at most STAGE_PARALLEL_MAX */
    /* Larger objects go in parts and come in ranges of that; 0: 16 MiB.  S3 wants 5 MiB at least.
     */
    uint64_t part_bytes;
    int page_keys; /* of a list, asked for at once; 0: 1000 */
    int tries;     /* of each request; 0: 6 */
    int stall_s;   /* a connection that moves less than 1 KiB/s that long is given up; 0: 60 */
};

struct stage;

/* One scheme's store.  Does not connect. */
int stage_open(enum stage_scheme scheme, const struct stage_conf *conf, struct stage **ret,
               struct err *err);
/* No call may be under way.  NULL is fine. */
void stage_close(struct stage *s);
CLEANUP_FN(struct stage, stage_close)

/* more_bytes have been moved; negative when a try failed and its bytes will move again.  Comes at
 * least each second, with 0 too; from any thread of the call, one at a time for each call.  Other
 * than 0: the call ends soon, with INTERRUPTED, and undoes what is half done. */
typedef int stage_progress_fn(void *arg, int64_t more_bytes);

/* Of one call.  NULL for none of it. */
struct stage_run {
    int64_t deadline_ms; /* of clock_mono_ms(); 0: a day from now */
    stage_progress_fn *progress;
    void *arg;
    bool unsynced; /* stage_fetch(): as cp, leaves it to the kernel when the file is on disk */
};

struct stage_info {
    uint64_t size_bytes;
    int64_t modified_s; /* Unix time, 0 when the store does not say */
    char etag[80];      /* the store's tag of these bytes, without quotes; "" when it has none.  32
                         * hexadecimal digits are the MD5 of the object, as a rule */
    bool checked;       /* get: a checksum of the whole was compared (else lengths and tag alone) */
};

/* Stores a regular file, from its beginning, whatever its offset.  INVALID when it changes
 * meanwhile. Large ones go in parts, which are taken back when it fails.  ret may be NULL. */
int stage_put(struct stage *s, const struct stage_url *to, int fd, const struct stage_run *run,
              struct stage_info *ret, struct err *err);
/* Into an empty regular file, open for reading and writing; what is in it after a failure means
 * nothing. */
int stage_get(struct stage *s, const struct stage_url *from, int fd, const struct stage_run *run,
              struct stage_info *ret, struct err *err);
/* Into the file name (no slash) of a directory: first beside it as ".name.XXXXXXXX.part", on disk,
 * then renamed over whatever has the name; mode less the umask.  See beneath.h for how to get at
 * dirfd safely.  After a crash such a .part file stays: stage_sweep_parts(). */
int stage_fetch(struct stage *s, const struct stage_url *from, int dirfd, const char *name,
                mode_t mode, const struct stage_run *run, struct stage_info *ret, struct err *err);
/* Removes the .part files that earlier fetches of these names have left in a directory, which is
 * read once; those that somebody still writes stay.  Sorts names.  Returns how many. */
int stage_sweep_parts(int dirfd, const char **names, size_t n);
int stage_head(struct stage *s, const struct stage_url *u, const struct stage_run *run,
               struct stage_info *ret, struct err *err);
/* Each object whose key begins with the URL's, in byte order; at most max of them (LIMIT, after max
 * calls, when there are more).  key: borrowed.  fn other than 0 ends it with INTERRUPTED.  None is
 * no error.  file://: regular files alone, in all directories below, links to directories not
 * followed. */
typedef int stage_list_fn(void *arg, const char *key, const struct stage_info *info);
int stage_list(struct stage *s, const struct stage_url *prefix, size_t max, stage_list_fn *fn,
               void *arg, const struct stage_run *run, struct err *err);
/* Within the store, which does it by itself. */
int stage_copy(struct stage *s, const struct stage_url *from, const struct stage_url *to,
               const struct stage_run *run, struct stage_info *ret, struct err *err);
/* What is not there is deleted already. */
int stage_delete(struct stage *s, const struct stage_url *u, const struct stage_run *run,
                 struct err *err);

/* Adds the size of an object, which is what a store says, to a sum.  LIMIT when that is more than
 * an object may have, or the sum more than can be counted. */
int stage_add_size(int64_t *sum, uint64_t size_bytes, struct err *err);

/* fn(arg, i) for each i below n, on up to threads threads besides the caller's; for moving many
 * objects.  Returns 0, or -1 with the error of the first (in time) that failed: no other is begun
 * then. */
int stage_each(size_t n, int threads, int (*fn)(void *arg, size_t i, struct err *err), void *arg,
               struct err *err);

#endif
