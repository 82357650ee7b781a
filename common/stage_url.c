/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_url.c: the names of objects */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/stage.h"
#include "common/str.h"

static const char s3_begin[] = "s3://", file_begin[] = "file://";

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

bool stage_url_is(const char *text)
{
    return begins(text, s3_begin) || begins(text, file_begin);
}

/* Amazon's rule for what can be created today, and capitals and '_', which old buckets have. */
static bool is_bucket(const char *s, size_t n)
{
    if (n < 3 || n > STAGE_BUCKET_MAX || !isalnum((unsigned char)s[0]) ||
        !isalnum((unsigned char)s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-._", s[i]))
            return false;
    return true;
}

static bool has_control(const char *s)
{
    for (; *s; s++)
        if (iscntrl((unsigned char)*s))
            return true;
    return false;
}

/* With "..", a path is not where it seems to be; what joins names to it would have to look for
 * them. */
static bool climbs(const char *path)
{
    for (const char *p = path; *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0)
            return true;
        p += n;
    }
    return false;
}

static int check_key(const struct stage_url *u, const char *text, struct err *err)
{
    size_t max = u->scheme == STAGE_S3 ? STAGE_S3_KEY_MAX : STAGE_KEY_MAX;
    if (strlen(u->key) > max)
        return err_set(err, ERR_INVALID, "%.60s...: a key has at most %zu bytes", text, max);
    if (has_control(u->key))
        return err_set(err, ERR_INVALID, "%s: the key has a control character", text);
    if (u->scheme == STAGE_FILE && climbs(u->key))
        return err_set(err, ERR_INVALID, "%s has '..' in it", text);
    return 0;
}

static int parse_s3(const char *text, struct stage_url *ret, struct err *err)
{
    const char *bucket = text + strlen(s3_begin);
    size_t n = strcspn(bucket, "/");
    if (n == 0)
        return err_set(err, ERR_INVALID, "%s has no bucket: give s3://bucket/key", text);
    if (!is_bucket(bucket, n))
        return err_set(err, ERR_INVALID,
                       "%s: a bucket's name has 3 to %d letters, digits, '-', '.' and '_', and "
                       "begins and ends with a letter or digit",
                       text, STAGE_BUCKET_MAX);
    struct stage_url u = {.scheme = STAGE_S3};
    memcpy(u.bucket, bucket, n);
    const char *key = bucket + n + (bucket[n] == '/');
    if (strlen(key) > STAGE_S3_KEY_MAX)
        return err_set(err, ERR_INVALID, "%.60s...: a key has at most %d bytes", text,
                       STAGE_S3_KEY_MAX);
    str_copy(u.key, sizeof u.key, key);
    if (check_key(&u, text, err) < 0)
        return -1;
    *ret = u;
    return 0;
}

static int parse_file(const char *text, struct stage_url *ret, struct err *err)
{
    const char *path = text + strlen(file_begin);
    if (*path != '/')
        return err_set(err, ERR_INVALID, "%s: give file:// and an absolute path, file:///dir/name",
                       text);
    if (strlen(path) > STAGE_KEY_MAX)
        return err_set(err, ERR_INVALID, "%.60s...: a path has at most %d bytes", text,
                       STAGE_KEY_MAX);
    struct stage_url u = {.scheme = STAGE_FILE};
    str_copy(u.key, sizeof u.key, path);
    if (check_key(&u, text, err) < 0)
        return -1;
    *ret = u;
    return 0;
}

int stage_url_parse(const char *text, struct stage_url *ret, struct err *err)
{
    if (begins(text, s3_begin))
        return parse_s3(text, ret, err);
    if (begins(text, file_begin))
        return parse_file(text, ret, err);
    return err_set(err, ERR_INVALID,
                   "%.200s is not a store's URL: give s3://bucket/key or file:///dir/name", text);
}

bool stage_url_is_prefix(const struct stage_url *u)
{
    size_t n = strlen(u->key);
    return n == 0 || u->key[n - 1] == '/';
}

int stage_url_join(const struct stage_url *u, const char *name, struct stage_url *ret,
                   struct err *err)
{
    struct stage_url joined = *u;
    size_t n = strlen(u->key);
    if (!str_copy(joined.key + n, sizeof joined.key - n, name))
        return err_set(err, ERR_INVALID, "%.60s...: the name of an object would be too long", name);
    char text[STAGE_URL_TEXT];
    if (check_key(&joined, stage_url_text(&joined, text), err) < 0)
        return -1;
    *ret = joined;
    return 0;
}

const char *stage_url_text(const struct stage_url *u, char out[STAGE_URL_TEXT])
{
    if (u->scheme == STAGE_S3)
        snprintf(out, STAGE_URL_TEXT, "%s%s/%s", s3_begin, u->bucket, u->key);
    else
        snprintf(out, STAGE_URL_TEXT, "%s%s", file_begin, u->key);
    return out;
}
