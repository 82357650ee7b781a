/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_s3.h: requests to an S3 store, for what makes objects of them (s3_objects.h)
 *
 * libs3 makes each request, as one of its own operations; the URL, the headers, the signature, what
 * is sent and where the answer goes are set by stage_s3.c at the moment libs3 hands it to curl.
 */
#ifndef COMMON_STAGE_S3_H
#define COMMON_STAGE_S3_H

#include <pthread.h>

#include "common/s3_sign.h"
#include "common/stage_impl.h"

struct s3_store {
    bool https;
    char host[256 + 8]; /* with ":port" where it is not the scheme's own */
    bool is_amazon;
    enum stage_addressing addressing;
    char region[64];
    char *access_key, *secret_key, *session_token; /* secret memory; NULL: not signed */
    char *ca_file, *deny;                          /* NULL: none */
    bool proxy;
    int parallel, tries, stall_s, page_keys;
    uint64_t part_bytes;
    /* Connections that may still be used; who waits for one, waits for changed. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int free_connections;
};

enum s3_verb { S3_VERB_GET, S3_VERB_HEAD, S3_VERB_PUT, S3_VERB_POST, S3_VERB_DELETE, S3_VERB_LIST };

enum { S3_HEADERS_MAX = 8, S3_QUERY_MAX = 6, S3_BODY_MAX = 256 * 1024 };

/* What one call of stage.h wants to hear, from all of its threads. */
struct s3_run {
    const struct stage_run *run;
    pthread_mutex_t lock;
    int64_t told; /* in all; under the lock */
};
void s3_run_init(struct s3_run *r, const struct stage_run *run);
void s3_run_done(struct s3_run *r);
/* stage_go_on(), one at a time. */
int s3_go_on(struct s3_run *r, int64_t more_bytes, struct err *err);

struct s3_answer {
    int status;                 /* HTTP's */
    int64_t size_bytes;         /* Content-Length; -1: none */
    int64_t first, last, whole; /* Content-Range: bytes first-last/whole; whole is -1: none */
    int64_t modified_s;
    int64_t retry_after_s;
    uint64_t part_bytes; /* our own note of what an object's parts have, 0: none */
    bool encrypted;      /* with a key of the store's or the caller's: the tag is no MD5 */
    char etag[80];
    char region[64], location[256];
    char code[64], message[200]; /* of an error, also of one that came with 200 */
    char upload_id[1024 + 1];
    char *body; /* what was not sunk, S3_BODY_MAX at most.  Gives: free() */
    size_t body_size;
};
void s3_answer_done(struct s3_answer *a);
static inline bool s3_is_success(const struct s3_answer *a)
{
    return a->status >= 200 && a->status < 300;
}

struct s3_request {
    enum s3_verb verb;
    const struct stage_url *u;
    struct s3_pair query[S3_QUERY_MAX], headers[S3_HEADERS_MAX]; /* names in lower case */
    size_t nquery, nheaders;
    const char *payload_sha256; /* NULL: of nothing */
    const char *text;           /* what is sent, or */
    int fd;                     /* a file's part */
    uint64_t at, size_bytes;
    /* Takes the body of a 2xx answer; from the request's beginning again when it is tried again, as
     * begin says.  NULL: the body goes into the answer. */
    int (*begin)(void *arg, const struct s3_answer *a, struct err *err);
    int (*sink)(void *arg, const char *p, size_t n, struct err *err);
    /* Looks at what has come when all of it has; -1: it is wrong, and worth another try. */
    int (*end)(void *arg, const struct s3_answer *a, struct err *err);
    stage_list_fn *each; /* S3_VERB_LIST: keeps what it is given, which may come again; other than 0
                          * when it cannot */
    void *arg;
    bool slow;  /* the store may take minutes to answer */
    bool quiet; /* bytes are no progress: the user's data is not in them */
};

void s3_add_query(struct s3_request *r, const char *name, const char *value);
void s3_add_header(struct s3_request *r, const char *name, const char *value);

/* Once (stage_s3.c).  -1 with *soft when another try may help, with *err when not. */
int s3_try(const struct s3_store *s, struct s3_run *run, const struct s3_request *r,
           struct s3_answer *ret, struct err *soft, struct err *err);
/* Tries until an answer is whole, right and no invitation to come again.  0 with any other answer,
 * a 404 too: see s3_refused(); -1 with STORE_DOWN, TIMEOUT and so on. */
int s3_send(struct s3_store *s, struct s3_run *run, const struct s3_request *r,
            struct s3_answer *ret, struct err *err);
/* Is it no success?  Then -1, in words. */
int s3_refused(const struct s3_store *s, const struct s3_request *r, const struct s3_answer *a,
               struct err *err);
/* "s3://bucket/key at https://host" in front of an error. */
int s3_while(const struct s3_store *s, const struct stage_url *u, struct err *err);

/* Reads code, message, region, upload id and tag out of an answer's XML; -1: it is not well-formed.
 */
int s3_answer_parse(struct s3_answer *a);
/* Makes '*' of what of a secret is in a text, pieces of it too: stores that say what they were sent
 * say it to whoever reads about the job. */
void s3_mask(char *text, const char *secret);
/* Without the quotes. */
void s3_answer_tag(struct s3_answer *a, const char *value);

void s3_close(void *store);
extern const struct stage_ops s3_object_ops; /* s3_objects.c */

#endif
