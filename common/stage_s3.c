/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_s3.c: one request to an S3 store, over libs3
 *
 * libs3 2.0, which is what Debian has, signs with V2 alone, follows redirects, verifies no
 * certificates, encodes keys wrongly, takes cut answers for whole ones and a PUT that was refused
 * for done, and overruns tables with what servers send.  So it is linked as an archive with
 * --wrap=curl_easy_setopt and --wrap=curl_easy_perform (S3_LDFLAGS in the Makefile): it makes the
 * request and keeps the connections, for a bucket and a key that are always the same; what really
 * goes out and what is made of the answer is decided here, between libs3 and curl.  libs3 reads
 * lists, the one thing that it is given from servers.
 *
 * Compiles against libs3 4.x, whose calls take a deadline in milliseconds; it has to be linked
 * alike.
 */
#include "common/stage_s3.h"

#define CURL_DISABLE_TYPECHECK
#include <arpa/inet.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <libs3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/clock.h"
#include "common/secret.h"
#include "common/str.h"
#include "common/thread.h"

#ifdef S3_DEFAULT_REGION
#define LIBS3_TIMEOUT 0,
#else
#define LIBS3_TIMEOUT
#endif

enum {
    PARALLEL = 4,
    TRIES = 6,
    STALL_S = 60,
    SLOW = 10, /* times that, for joining the parts of a large object */
    CONNECT_S = 15,
    PATH_SIZE = 3 * (STAGE_BUCKET_MAX + STAGE_S3_KEY_MAX) + 8,
    QUERY_SIZE = 8 * 1024,
    PART_BYTES = 16 * 1024 * 1024,
    PAGE_KEYS = 1000,            /* S3's most */
    LIST_MAX = 16 * 1024 * 1024, /* of one page, 1,000 keys */
};

static const char empty_sha256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/* Link-local, where clouds keep the keys of machines, and what means this host. */
static const char always_denied[] = "169.254.0.0/16, fe80::/10, fd00:ec2::/32, 100.100.100.200, "
                                    "192.0.0.192, 168.63.129.16, 0.0.0.0/8, ::";

/* One try of a request: from before libs3 is called until it returns, on one thread. */
struct attempt {
    const struct s3_store *s;
    struct s3_run *run;
    const struct s3_request *r;
    struct s3_answer *a;
    struct err *err; /* why it is not to be tried again */
    struct err soft; /* why it is */
    char *url, *path, *query;
    char signature[64 + 1]; /* hexadecimal digits */
    struct curl_slist *headers;
    CURL *curl;
    curl_write_callback libs3_write; /* for lists */
    void *libs3_data;
    uint64_t sent, received;
    int64_t told; /* as progress */
    bool begun, performed;
    CURLcode code;
    S3Status libs3_says;
    char text[CURL_ERROR_SIZE];
    char denied[INET6_ADDRSTRLEN];
};

CLEANUP_FN(char, curl_free)

/* libs3 says nothing of whose request it hands to curl, so the thread does. */
static _Thread_local struct attempt *now;

CURLcode __real_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __real_curl_easy_perform(CURL *curl);
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...);
CURLcode __wrap_curl_easy_perform(CURL *curl);

/* ---- what curl calls ---- */
static int tell(struct attempt *t, int64_t more_bytes)
{
    if (t->r->quiet)
        more_bytes = 0;
    t->told += more_bytes;
    return s3_go_on(t->run, more_bytes, t->err);
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return tell(arg, 0);
}

static size_t on_read(char *out, size_t size, size_t n, void *arg)
{
    struct attempt *t = arg;
    uint64_t left = t->r->size_bytes - t->sent;
    size_t want = size * n < left ? size * n : left;
    ssize_t got = (ssize_t)want;
    if (want == 0)
        return 0;
    if (t->r->text)
        memcpy(out, t->r->text + t->sent, want);
    else
        got = pread(t->r->fd, out, want, (off_t)(t->r->at + t->sent));
    if (got < 0)
        err_errno(t->err, ERR_INVALID, "cannot read the file");
    else if (got == 0)
        err_set(t->err, ERR_INVALID, "the file became shorter while it was being stored");
    if (got <= 0 || tell(t, got) < 0)
        return CURL_READFUNC_ABORT;
    t->sent += (uint64_t)got;
    return (size_t)got;
}

/* curl begins again when a connection that was kept turns out to be closed. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct attempt *t = arg;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->r->size_bytes)
        return CURL_SEEKFUNC_FAIL;
    if (tell(t, offset - (int64_t)t->sent) < 0)
        return CURL_SEEKFUNC_FAIL;
    t->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static const char *header(struct attempt *t, const char *name)
{
    struct curl_header *h;
    return curl_easy_header(t->curl, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

static int64_t header_number(struct attempt *t, const char *name)
{
    int64_t n;
    const char *value = header(t, name);
    return value && str_to_i64(value, 0, INT64_MAX, &n) ? n : -1;
}

/* "bytes 0-99/1000" */
static void read_range(struct s3_answer *a, const char *value)
{
    int64_t first, last, whole;
    int end = 0;
    a->whole = -1;
    if (value &&
        sscanf(value, "bytes %" SCNd64 "-%" SCNd64 "/%" SCNd64 "%n", &first, &last, &whole, &end) ==
            3 &&
        end && !value[end] && first >= 0 && first <= last && last < whole) {
        a->first = first;
        a->last = last;
        a->whole = whole;
    }
}

/* When all of them have come: before the body's first byte, or at the end. */
static void read_headers(struct attempt *t)
{
    struct s3_answer *a = t->a;
    long status = 0;
    curl_off_t length = -1, modified = -1;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    curl_easy_getinfo(t->curl, CURLINFO_FILETIME_T, &modified);
    a->status = (int)status;
    a->size_bytes = length;
    a->modified_s = modified > 0 ? modified : 0;
    a->retry_after_s = header_number(t, "Retry-After");
    read_range(a, header(t, "Content-Range"));
    s3_answer_tag(a, str_or(header(t, "ETag"), ""));
    str_copy(a->region, sizeof a->region, str_or(header(t, "x-amz-bucket-region"), ""));
    str_copy(a->location, sizeof a->location, str_or(header(t, "Location"), ""));
    int64_t part = header_number(t, "x-amz-meta-slurm-agent-part-size");
    a->part_bytes = part > 0 ? (uint64_t)part : 0;
    const char *sse = header(t, "x-amz-server-side-encryption");
    a->encrypted = (sse && !str_eq(sse, "AES256")) ||
                   header(t, "x-amz-server-side-encryption-customer-algorithm");
}

static int keep_body(struct s3_answer *a, const char *p, size_t n)
{
    if (n > S3_BODY_MAX - a->body_size)
        return -1;
    char *more = realloc(a->body, a->body_size + n + 1);
    if (!more)
        return -1;
    memcpy(more + a->body_size, p, n);
    a->body = more;
    a->body_size += n;
    more[a->body_size] = '\0';
    return 0;
}

/* The body of a success goes where it was asked for, that of a list to libs3; others are kept. */
static int take_body(struct attempt *t, char *p, size_t n)
{
    if (s3_is_success(t->a) && t->r->verb == S3_VERB_LIST) {
        if (t->received > LIST_MAX)
            return err_set(&t->soft, ERR_STORE, "a list of more than %d bytes", LIST_MAX);
        return t->libs3_write(p, 1, n, t->libs3_data) == n ? 0 : -1;
    }
    if (s3_is_success(t->a) && t->r->sink)
        return tell(t, (int64_t)n) < 0 ? -1 : t->r->sink(t->r->arg, p, n, t->err);
    if (keep_body(t->a, p, n) < 0)
        return err_set(&t->soft, ERR_STORE, "an answer of more than %d bytes", S3_BODY_MAX);
    return 0;
}

static int no_length(struct attempt *t)
{
    return err_set(&t->soft, ERR_STORE, "an answer without a length");
}

static int begin_body(struct attempt *t)
{
    read_headers(t);
    t->begun = true;
    /* It would be refused at its end, which need never come. */
    if (s3_is_success(t->a) && t->r->sink && t->a->size_bytes < 0)
        return no_length(t);
    if (s3_is_success(t->a) && t->r->begin)
        return t->r->begin(t->r->arg, t->a, t->err);
    return 0;
}

static size_t on_write(char *p, size_t size, size_t n, void *arg)
{
    struct attempt *t = arg;
    if (!t->begun && begin_body(t) < 0)
        return 0;
    t->received += size * n;
    return take_body(t, p, size * n) < 0 ? 0 : size * n;
}

/* Asked for each new connection, with the address that a name has led to. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct attempt *t = arg;
    char text[INET6_ADDRSTRLEN] = "";
    (void)purpose;
    const void *at = to->family == AF_INET
                         ? (const void *)&((struct sockaddr_in *)&to->addr)->sin_addr
                         : (const void *)&((struct sockaddr_in6 *)&to->addr)->sin6_addr;
    if ((to->family != AF_INET && to->family != AF_INET6) ||
        !inet_ntop(to->family, at, text, sizeof text) || addr_leads_into(always_denied, text) ||
        (t->s->deny && addr_leads_into(t->s->deny, text))) {
        str_copy(t->denied, sizeof t->denied, *text ? text : "that family");
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* ---- between libs3 and curl ---- */
CURLcode __wrap_curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
    CURLcode rc;
    va_list ap;
    va_start(ap, option);
    if (option < CURLOPTTYPE_OBJECTPOINT) {
        rc = __real_curl_easy_setopt(curl, option, va_arg(ap, long));
    } else if (option >= CURLOPTTYPE_OFF_T && option < CURLOPTTYPE_BLOB) {
        rc = __real_curl_easy_setopt(curl, option, va_arg(ap, curl_off_t));
    } else {
        /* Functions and objects are pointers of one size. */
        void *p = va_arg(ap, void *);
        if (now && option == CURLOPT_WRITEFUNCTION)
            now->libs3_write = (curl_write_callback)p;
        if (now && option == CURLOPT_WRITEDATA)
            now->libs3_data = p;
        rc = __real_curl_easy_setopt(curl, option, p);
    }
    va_end(ap);
    return rc;
}

static void set_body(struct attempt *t)
{
    CURL *c = t->curl;
    if (t->r->verb == S3_VERB_POST) {
        __real_curl_easy_setopt(c, CURLOPT_POST, 1L);
        __real_curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->r->size_bytes);
    } else if (t->r->verb == S3_VERB_PUT) {
        __real_curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->r->size_bytes);
    }
    __real_curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
    __real_curl_easy_setopt(c, CURLOPT_READDATA, t);
    __real_curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
    __real_curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
    __real_curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_write);
    __real_curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    /* libs3's function is for its own table of headers, which has bounds of another world. */
    __real_curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, NULL);
    __real_curl_easy_setopt(c, CURLOPT_HEADERDATA, NULL);
}

static void set_connection(struct attempt *t)
{
    CURL *c = t->curl;
    int64_t left_ms = t->run->run->deadline_ms - clock_mono_ms();
    if (left_ms > INT32_MAX)
        left_ms = INT32_MAX;
    __real_curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, t->s->https ? "https" : "http");
    __real_curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    __real_curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    __real_curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    __real_curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    __real_curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (t->s->ca_file)
        __real_curl_easy_setopt(c, CURLOPT_CAINFO, t->s->ca_file);
    if (!t->s->proxy)
        __real_curl_easy_setopt(c, CURLOPT_PROXY, "");
    __real_curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open);
    __real_curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t);
    __real_curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    __real_curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, left_ms > 0 ? (long)left_ms : 1L);
    __real_curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    __real_curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
                            (long)t->s->stall_s * (t->r->slow ? SLOW : 1));
    __real_curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
    __real_curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    __real_curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    __real_curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    __real_curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    __real_curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->text);
}

CURLcode __wrap_curl_easy_perform(CURL *curl)
{
    struct attempt *t = now;
    if (!t)
        return CURLE_FAILED_INIT;
    t->curl = curl;
    t->performed = true;
    __real_curl_easy_setopt(curl, CURLOPT_URL, t->url);
    __real_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->headers);
    set_body(t);
    set_connection(t);
    t->code = __real_curl_easy_perform(curl);
    if (t->code == CURLE_OK && !t->begun && begin_body(t) < 0)
        t->code = CURLE_WRITE_ERROR;
    /* The handle goes back to libs3, which keeps it: with nothing of ours. */
    __real_curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    __real_curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    return t->code;
}

/* ---- the request ---- */
static const char *verb_name(enum s3_verb verb)
{
    static const char *const names[] = {
        [S3_VERB_GET] = "GET",   [S3_VERB_HEAD] = "HEAD",     [S3_VERB_PUT] = "PUT",
        [S3_VERB_POST] = "POST", [S3_VERB_DELETE] = "DELETE", [S3_VERB_LIST] = "GET",
    };
    return names[verb];
}

/* Amazon's certificates know one label in front of theirs, so a bucket with dots goes into the
 * path; and others' hosts have names for buckets only if somebody has set that up. */
static bool is_virtual(const struct s3_store *s, const char *bucket)
{
    switch (s->addressing) {
    case STAGE_ADDRESSING_VIRTUAL:
        return true;
    case STAGE_ADDRESSING_AUTO:
        return s->is_amazon && !strchr(bucket, '.');
    case STAGE_ADDRESSING_PATH:
        break;
    }
    return false;
}

static int add_line(struct attempt *t, const char *name, const char *value)
{
    AUTO(free) char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0)
        return err_set(t->err, ERR_INTERNAL, "no memory");
    struct curl_slist *more = curl_slist_append(t->headers, line);
    explicit_bzero(line, strlen(line));
    if (!more)
        return err_set(t->err, ERR_INTERNAL, "no memory");
    t->headers = more;
    return 0;
}

static int add_headers(struct attempt *t, const char *host)
{
    struct s3_pair headers[S3_HEADERS_MAX + 4];
    char date[S3_SIGN_DATE_SIZE], authorization[S3_SIGN_AUTHORIZATION_SIZE];
    size_t n = t->r->nheaders;
    memcpy(headers, t->r->headers, n * sizeof *headers);
    s3_sign_date(clock_now(), date);
    struct s3_sign sign = {
        .method = verb_name(t->r->verb),
        .path = t->path,
        .query = t->r->query,
        .nquery = t->r->nquery,
        .headers = headers,
        .payload_sha256 = t->r->payload_sha256 ? t->r->payload_sha256 : empty_sha256,
        .access_key = t->s->access_key,
        .secret_key = t->s->secret_key,
        .region = t->s->region,
        .service = "s3",
        .date = date,
    };
    headers[n++] = (struct s3_pair){"x-amz-content-sha256", sign.payload_sha256};
    headers[n++] = (struct s3_pair){"x-amz-date", date};
    if (t->s->session_token && t->s->access_key)
        headers[n++] = (struct s3_pair){"x-amz-security-token", t->s->session_token};
    for (size_t i = 0; i < n; i++)
        if (add_line(t, headers[i].name, headers[i].value) < 0)
            return -1;
    headers[n++] = (struct s3_pair){"host", host};
    sign.nheaders = n;
    if (t->s->access_key && (s3_sign(&sign, authorization, t->err) < 0 ||
                             add_line(t, "authorization", authorization) < 0))
        return -1;
    const char *signature = t->s->access_key ? strstr(authorization, "Signature=") : NULL;
    if (signature)
        str_copy(t->signature, sizeof t->signature, strchr(signature, '=') + 1);
    explicit_bzero(authorization, sizeof authorization);
    /* Not what curl would say by itself of bodies. */
    bool has_body = t->r->verb == S3_VERB_PUT || t->r->verb == S3_VERB_POST;
    return has_body ? add_line(t, "content-type", "application/octet-stream") : 0;
}

static int compose(struct attempt *t)
{
    char host[sizeof t->s->host + STAGE_BUCKET_MAX + 1];
    const char *key = t->r->verb == S3_VERB_LIST ? "" : t->r->u->key;
    bool is_in_host = is_virtual(t->s, t->r->u->bucket);
    t->path = malloc(PATH_SIZE);
    t->query = malloc(QUERY_SIZE);
    if (!t->path || !t->query)
        return err_set(t->err, ERR_INTERNAL, "no memory");
    snprintf(host, sizeof host, "%s%s%s", is_in_host ? t->r->u->bucket : "", is_in_host ? "." : "",
             t->s->host);
    size_t n = 0;
    if (!is_in_host) {
        t->path[n++] = '/';
        n += s3_encode(t->r->u->bucket, false, t->path + n);
    }
    t->path[n++] = '/';
    s3_encode(key, true, t->path + n);
    if (s3_query(t->r->query, t->r->nquery, t->query, QUERY_SIZE, t->err) < 0)
        return -1;
    if (asprintf(&t->url, "http%s://%s%s%s%s", t->s->https ? "s" : "", host, t->path,
                 t->r->nquery ? "?" : "", t->query) < 0) {
        t->url = NULL;
        return err_set(t->err, ERR_INTERNAL, "no memory");
    }
    return add_headers(t, host);
}

static void attempt_done(struct attempt *t)
{
    for (struct curl_slist *h = t->headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(t->headers);
    free(t->url);
    free(t->path);
    free(t->query);
}

/* ---- libs3 ---- */
static S3Status on_properties(const S3ResponseProperties *p, void *arg)
{
    (void)p;
    (void)arg;
    return S3StatusOK;
}

static void on_complete(S3Status status, const S3ErrorDetails *e, void *arg)
{
    (void)e;
    struct attempt *t = arg;
    t->libs3_says = status;
}

static S3Status on_keys(int truncated, const char *marker, int n, const S3ListBucketContent *keys,
                        int nprefixes, const char **prefixes, void *arg)
{
    (void)truncated;
    (void)marker;
    (void)nprefixes;
    (void)prefixes;
    struct attempt *t = arg;
    for (int i = 0; i < n; i++) {
        struct stage_info info = {
            .size_bytes = keys[i].size,
            .modified_s = keys[i].lastModified > 0 ? keys[i].lastModified : 0,
        };
        struct s3_answer tag;
        s3_answer_tag(&tag, str_or(keys[i].eTag, ""));
        str_copy(info.etag, sizeof info.etag, tag.etag);
        if (t->r->each(t->r->arg, keys[i].key, &info) != 0) {
            err_set(t->err, ERR_INTERNAL, "no memory");
            return S3StatusAbortedByCallback;
        }
    }
    return S3StatusOK;
}

static void call_libs3(struct attempt *t)
{
    /* Nothing of this is sent anywhere: see compose(). */
    static const S3BucketContext nowhere = {
        .hostName = "nowhere.invalid",
        .bucketName = "bucket",
        .protocol = S3ProtocolHTTPS,
        .uriStyle = S3UriStylePath,
        .accessKeyId = "none",
        .secretAccessKey = "none",
    };
    static const char key[] = "key";
    const S3ResponseHandler plain = {on_properties, on_complete};
    const S3GetObjectHandler get = {plain, NULL};
    const S3PutObjectHandler put = {plain, NULL};
    const S3ListBucketHandler list = {plain, on_keys};
    now = t;
    switch (t->r->verb) {
    case S3_VERB_GET:
    case S3_VERB_POST:
        S3_get_object(&nowhere, key, NULL, 0, 0, NULL, LIBS3_TIMEOUT & get, t);
        break;
    case S3_VERB_HEAD:
        S3_head_object(&nowhere, key, NULL, LIBS3_TIMEOUT & plain, t);
        break;
    case S3_VERB_PUT:
        S3_put_object(&nowhere, key, t->r->size_bytes, NULL, NULL, LIBS3_TIMEOUT & put, t);
        break;
    case S3_VERB_DELETE:
        S3_delete_object(&nowhere, key, NULL, LIBS3_TIMEOUT & plain, t);
        break;
    case S3_VERB_LIST:
        S3_list_bucket(&nowhere, NULL, NULL, NULL, 0, NULL, LIBS3_TIMEOUT & list, t);
        break;
    }
    now = NULL;
}

/* ---- what came of it ---- */

/* Of what a store says, before it goes into any text. */
static void mask(const struct attempt *t, char *text)
{
    s3_mask(text, t->s->secret_key);
    s3_mask(text, t->s->session_token);
    s3_mask(text, t->s->access_key);
    s3_mask(text, t->signature);
}

static void mask_answer(const struct attempt *t)
{
    mask(t, t->a->code);
    mask(t, t->a->message);
    mask(t, t->a->region);
    mask(t, t->a->location);
}

static bool is_certificate(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_CRL_BADFILE;
}

/* curl could not do it: worth another try, or not. */
static int failed(struct attempt *t)
{
    const char *text = *t->text ? t->text : curl_easy_strerror(t->code);
    mask(t, t->text);
    if (t->soft.code != ERR_NONE)
        return -1;
    if (*t->denied)
        return err_set(t->err, ERR_DENIED, "connecting to %s is not allowed", t->denied);
    if (is_certificate(t->code))
        return err_set(
            t->err, ERR_STORE,
            "%s: name the authority's certificate with ca_bundle in ~/.aws/config on the "
            "host that moves the data (put and fetch know AWS_CA_BUNDLE, too)",
            text);
    if (t->code == CURLE_OPERATION_TIMEDOUT && s3_go_on(t->run, 0, t->err) < 0)
        return -1;
    return err_set(&t->soft, ERR_STORE_DOWN, "%s", text);
}

static bool is_empty_by_nature(const struct attempt *t)
{
    return t->r->verb == S3_VERB_HEAD || t->a->status == 204 || t->a->status == 304;
}

/* A server that says neither how much comes nor when it ends cannot be told from a cut one. */
static bool is_unbounded(struct attempt *t)
{
    return t->a->size_bytes < 0 && !is_empty_by_nature(t) && !header(t, "Transfer-Encoding");
}

static bool is_retryable(const struct s3_answer *a)
{
    static const char *const codes[] = {
        "SlowDown",         "InternalError", "ServiceUnavailable",        "RequestTimeout",
        "OperationAborted", "BadDigest",     "XAmzContentSHA256Mismatch", "IncompleteBody"};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (str_eq(a->code, codes[i]))
            return true;
    return a->status == 500 || a->status == 502 || a->status == 503 || a->status == 504 ||
           a->status == 429 || a->status == 408;
}

static int judge(struct attempt *t)
{
    struct s3_answer *a = t->a;
    if (t->code != CURLE_OK)
        return failed(t);
    if (is_unbounded(t))
        return no_length(t);
    if (a->size_bytes >= 0 && !is_empty_by_nature(t) && (uint64_t)a->size_bytes != t->received)
        return err_set(&t->soft, ERR_STORE_DOWN,
                       "an answer of %" PRIu64 " bytes instead of %" PRId64, t->received,
                       a->size_bytes);
    bool is_xml = s3_answer_parse(a) == 0;
    mask_answer(t);
    if (!is_xml && s3_is_success(a))
        return err_set(&t->soft, ERR_STORE, "an answer that is not XML");
    if (is_retryable(a))
        return err_set(&t->soft, ERR_STORE_DOWN, "%s%s%s (%d)",
                       *a->code ? a->code : "no reason given", *a->message ? ": " : "", a->message,
                       a->status);
    if (s3_is_success(a) && t->libs3_says != S3StatusOK)
        return err_set(&t->soft, ERR_STORE, "an answer that libs3 cannot read (%s)",
                       S3_get_status_name(t->libs3_says));
    if (s3_is_success(a) && !*a->code && t->r->end && t->r->end(t->r->arg, a, &t->soft) < 0)
        return -1;
    return 0;
}

int s3_try(const struct s3_store *s, struct s3_run *run, const struct s3_request *r,
           struct s3_answer *ret, struct err *soft, struct err *err)
{
    struct attempt t = {.s = s, .run = run, .r = r, .a = ret, .err = err};
    int rc = compose(&t);
    if (rc == 0) {
        call_libs3(&t);
        if (!t.performed)
            rc = err_set(err, ERR_INTERNAL, "libs3 made no request (%s): is it linked with --wrap?",
                         S3_get_status_name(t.libs3_says));
        else
            rc = judge(&t);
        if (err->code != ERR_NONE)
            rc = -1;
        if (rc < 0 && err->code == ERR_NONE && t.told)
            tell(&t, -t.told);
    }
    *soft = t.soft;
    attempt_done(&t);
    return rc;
}

/* ---- open and close ---- */
static S3Status initialized;

static void initialize(void)
{
    initialized = S3_initialize("slurm-agent", S3_INIT_ALL, NULL);
}

static int take_endpoint(struct s3_store *s, const char *endpoint, struct err *err)
{
    char amazon[128];
    AUTO(curl_free) char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *more = NULL;
    s->is_amazon = !endpoint;
    if (!endpoint) {
        bool is_china = strncmp(s->region, "cn-", 3) == 0;
        snprintf(amazon, sizeof amazon, "https://s3.%s.amazonaws.com%s", s->region,
                 is_china ? ".cn" : "");
        endpoint = amazon;
    }
    CURLU *u = curl_url();
    if (!u)
        return err_set(err, ERR_INTERNAL, "no memory");
    bool ok = curl_url_set(u, CURLUPART_URL, endpoint, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK && str_eq(path, "/") &&
              curl_url_get(u, CURLUPART_USER, &more, 0) == CURLUE_NO_USER &&
              curl_url_get(u, CURLUPART_QUERY, &more, 0) == CURLUE_NO_QUERY &&
              curl_url_get(u, CURLUPART_FRAGMENT, &more, 0) == CURLUE_NO_FRAGMENT &&
              (str_eq(scheme, "https") || str_eq(scheme, "http"));
    if (ok) {
        s->https = str_eq(scheme, "https");
        curl_url_get(u, CURLUPART_PORT, &port, 0);
        bool own = port && !str_eq(port, s->https ? "443" : "80");
        ok = snprintf(s->host, sizeof s->host, "%s%s%s", host, own ? ":" : "", own ? port : "") <
             (int)sizeof s->host;
    }
    curl_url_cleanup(u);
    /* Not the whole of it: somebody may have put a password there. */
    return ok ? 0
              : err_set(err, ERR_INVALID,
                        "the endpoint is not a URL like https://host or http://host:port, with "
                        "nothing behind it and no user in it");
}

void s3_close(void *store)
{
    struct s3_store *s = store;
    if (!s)
        return;
    secret_free(s->access_key);
    secret_free(s->secret_key);
    secret_free(s->session_token);
    free(s->ca_file);
    free(s->deny);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static int copy_conf(struct s3_store *s, const struct stage_conf *conf, struct err *err)
{
    if (!conf->access_key != !conf->secret_key)
        return err_set(err, ERR_INVALID,
                       "an access key and a secret key go together: one is missing");
    s->access_key = secret_strdup(conf->access_key);
    s->secret_key = secret_strdup(conf->secret_key);
    s->session_token = secret_strdup(conf->session_token);
    s->ca_file = conf->ca_file ? strdup(conf->ca_file) : NULL;
    s->deny = conf->deny_endpoints && *conf->deny_endpoints ? strdup(conf->deny_endpoints) : NULL;
    if ((conf->access_key && (!s->access_key || !s->secret_key)) ||
        (conf->session_token && !s->session_token) || (conf->ca_file && !s->ca_file))
        return err_set(err, ERR_INTERNAL, "no memory");
    if (s->deny && addr_check_list("deny_endpoints", s->deny, err) < 0)
        return -1;
    if (!str_copy(s->region, sizeof s->region, conf->region ? conf->region : "us-east-1"))
        return err_set(err, ERR_INVALID, "region %.60s... is too long", conf->region);
    s->addressing = conf->addressing;
    s->proxy = conf->proxy_from_environment;
    s->tries = conf->tries > 0 ? conf->tries : TRIES;
    s->stall_s = conf->stall_s > 0 ? conf->stall_s : STALL_S;
    s->parallel = conf->parallel > 0 ? conf->parallel : PARALLEL;
    if (s->parallel > STAGE_PARALLEL_MAX)
        s->parallel = STAGE_PARALLEL_MAX;
    s->part_bytes = conf->part_bytes ? conf->part_bytes : PART_BYTES;
    s->page_keys = conf->page_keys > 0 && conf->page_keys < PAGE_KEYS ? conf->page_keys : PAGE_KEYS;
    s->free_connections = s->parallel;
    return take_endpoint(s, conf->endpoint, err);
}

int stage_s3_open(const struct stage_conf *conf, const struct stage_ops **ret_ops, void **ret_store,
                  struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const struct stage_conf none = {0};
    pthread_once(&once, initialize);
    if (initialized != S3StatusOK)
        return err_set(err, ERR_INTERNAL, "libs3: %s", S3_get_status_name(initialized));
    struct s3_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, ERR_INTERNAL, "no memory");
    pthread_mutex_init(&s->lock, NULL);
    thread_cond_init(&s->changed);
    if (copy_conf(s, conf ? conf : &none, err) < 0) {
        s3_close(s);
        return -1;
    }
    *ret_ops = &s3_object_ops;
    *ret_store = s;
    return 0;
}
