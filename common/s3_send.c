/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_send.c: a request until it is answered, and what the answer means in words */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/stage_s3.h"
#include "common/str.h"
#include "common/thread.h"

enum {
    BACKOFF_MS = 200,
    BACKOFF_MAX_MS = 20000,
    RETRY_AFTER_MAX_S = 60,
};

void s3_add_query(struct s3_request *r, const char *name, const char *value)
{
    if (r->nquery < S3_QUERY_MAX)
        r->query[r->nquery++] = (struct s3_pair){name, value};
}

void s3_add_header(struct s3_request *r, const char *name, const char *value)
{
    if (r->nheaders < S3_HEADERS_MAX)
        r->headers[r->nheaders++] = (struct s3_pair){name, value};
}

static int connection_take(struct s3_store *s, struct s3_run *run, struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    while (rc == 0 && s->free_connections == 0) {
        thread_cond_wait(&s->changed, &s->lock, clock_mono_ms() + 500);
        if (s->free_connections == 0) {
            pthread_mutex_unlock(&s->lock);
            rc = s3_go_on(run, 0, err);
            pthread_mutex_lock(&s->lock);
        }
    }
    if (rc == 0)
        s->free_connections--;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void connection_give(struct s3_store *s)
{
    pthread_mutex_lock(&s->lock);
    s->free_connections++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Anything up to twice as long as the time before, so that many do not come back at once. */
static int back_off(struct s3_run *run, int failures, int64_t retry_after_s, struct err *err)
{
    uint32_t random = 0;
    ssize_t ignored = getrandom(&random, sizeof random, 0);
    (void)ignored;
    int64_t most_ms = BACKOFF_MS << (failures < 8 ? failures : 8);
    int64_t ms = 1 + random % (most_ms < BACKOFF_MAX_MS ? most_ms : BACKOFF_MAX_MS);
    if (retry_after_s > 0)
        ms += 1000 * (retry_after_s < RETRY_AFTER_MAX_S ? retry_after_s : RETRY_AFTER_MAX_S);
    for (int64_t until_ms = clock_mono_ms() + ms, left; (left = until_ms - clock_mono_ms()) > 0;) {
        if (s3_go_on(run, 0, err) < 0)
            return -1;
        usleep((useconds_t)(left < 250 ? left : 250) * 1000);
    }
    return 0;
}

int s3_while(const struct s3_store *s, const struct stage_url *u, struct err *err)
{
    return err_while(err, "s3://%s/%s at http%s://%s", u->bucket, u->key, s->https ? "s" : "",
                     s->host);
}

int s3_send(struct s3_store *s, struct s3_run *run, const struct s3_request *r,
            struct s3_answer *ret, struct err *err)
{
    for (int failures = 0;;) {
        struct err soft = {0};
        *ret = (struct s3_answer){.size_bytes = -1, .whole = -1};
        if (connection_take(s, run, err) < 0)
            return s3_while(s, r->u, err);
        int rc = s3_try(s, run, r, ret, &soft, err);
        connection_give(s);
        if (rc == 0)
            return 0;
        int64_t retry_after_s = ret->retry_after_s;
        s3_answer_done(ret);
        failures++;
        if (err->code != ERR_NONE)
            return s3_while(s, r->u, err);
        if (failures >= s->tries) {
            err_set(err, soft.code == ERR_NONE ? ERR_STORE_DOWN : soft.code, "%s (%d tries)",
                    soft.text, failures);
            return s3_while(s, r->u, err);
        }
        if (back_off(run, failures - 1, retry_after_s, err) < 0) {
            err_while(err, "after %s", soft.text);
            return s3_while(s, r->u, err);
        }
    }
}

int s3_refused(const struct s3_store *s, const struct s3_request *r, const struct s3_answer *a,
               struct err *err)
{
    if (s3_is_success(a) && !*a->code)
        return 0;
    const char *more = *a->message ? ": " : "";
    if (a->status / 100 == 3 || str_eq(a->code, "AuthorizationHeaderMalformed") ||
        str_eq(a->code, "PermanentRedirect"))
        err_set(err, ERR_STORE,
                "the store sends us elsewhere%s%s%s%s (%d), where your keys are not sent: set "
                "%s",
                *a->region ? ", to region " : "", a->region, *a->location ? ", to " : "",
                a->location, a->status, *a->region ? "that region" : "region and endpoint_url");
    else if (str_eq(a->code, "RequestTimeTooSkewed"))
        err_set(err, ERR_STORE, "the clocks of this host and of the store differ (%s)", a->code);
    else
        err_set(err,
                a->status == 404                       ? ERR_NOT_FOUND
                : a->status == 401 || a->status == 403 ? ERR_DENIED
                : str_eq(a->code, "EntityTooLarge")    ? ERR_LIMIT
                                                       : ERR_STORE,
                "the store says %s%s%s (%d)",
                *a->code           ? a->code
                : a->status == 404 ? "there is no such object or bucket"
                : a->status == 403 ? "no"
                : a->status == 400 ? "it is a bad request: are region and endpoint right?"
                                   : "nothing else",
                more, a->message, a->status);
    return s3_while(s, r->u, err);
}

void s3_answer_done(struct s3_answer *a)
{
    free(a->body);
    a->body = NULL;
    a->body_size = 0;
}

void s3_run_init(struct s3_run *r, const struct stage_run *run)
{
    *r = (struct s3_run){.run = run};
    pthread_mutex_init(&r->lock, NULL);
}

void s3_run_done(struct s3_run *r)
{
    pthread_mutex_destroy(&r->lock);
}

int s3_go_on(struct s3_run *r, int64_t more_bytes, struct err *err)
{
    pthread_mutex_lock(&r->lock);
    r->told += more_bytes;
    int rc = stage_go_on(r->run, more_bytes, err);
    pthread_mutex_unlock(&r->lock);
    return rc;
}
