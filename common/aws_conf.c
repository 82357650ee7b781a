/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/aws_conf.h"

#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/secret.h"
#include "common/str.h"
#include "common/userfile.h"

enum {
    FILE_MAX = 256 * 1024,
    LINE_MAX_BYTES = 180, /* inih cuts lines at 200 bytes, and knows of lines that go on */
    SECTION_MAX = 49,     /* and names of sections at 50 */
};

/* All of it is in secret memory. */
struct aws_conf {
    struct stage_conf stage;
    bool found; /* the profile, in either file */
    char access_key[256], secret_key[256], session_token[8192];
    char region[64], endpoint[512], ca_bundle[PATH_MAX], addressing[16];
    char services[SECTION_MAX + 1], service_endpoint[512];
    char instead[48]; /* of keys: credential_process and so on */
};

struct setting {
    const char *name;
    size_t offset, size;
};
#define SETTING(name, field)                                                                       \
    {                                                                                              \
        name, offsetof(struct aws_conf, field), sizeof(((struct aws_conf *)0)->field)              \
    }

static const struct setting of_profile[] = {
    SETTING("aws_access_key_id", access_key),
    SETTING("aws_secret_access_key", secret_key),
    SETTING("aws_session_token", session_token),
    SETTING("region", region),
    SETTING("endpoint_url", endpoint),
    SETTING("ca_bundle", ca_bundle),
    SETTING("services", services),
};
static const struct setting below_s3[] = {
    SETTING("addressing_style", addressing),
    SETTING("endpoint_url", service_endpoint),
};
static const char *const keys_from_elsewhere[] = {
    "credential_process",      "role_arn",          "sso_session",   "sso_start_url",
    "web_identity_token_file", "credential_source", "login_session",
};

/* One pass over one file, for one section. */
struct reading {
    struct aws_conf *c;
    const char *name, *section;
    bool services; /* the section is of services, where only what is below s3 counts */
    const char *p; /* what is left of the text */
    size_t cut;    /* of a long line: how much of it was given already */
    int line;
    bool goes_on, below; /* the line now given: more of the one before; indented */
    bool has_keys;
    const struct setting *last;
    struct err *err;
};

/* fgets() over memory.  A long line is given in pieces, which inih takes for lines that go on. */
static char *next_line(char *out, int size, void *arg)
{
    struct reading *r = arg;
    if (!*r->p)
        return NULL;
    const char *from = r->p + r->cut;
    size_t whole = strcspn(from, "\r\n"), n = whole < LINE_MAX_BYTES ? whole : LINE_MAX_BYTES;
    if ((int)n + 3 > size) {
        err_set(r->err, ERR_INTERNAL, "%s: inih takes lines of %d bytes only", r->name, size);
        return NULL;
    }
    r->goes_on = r->cut > 0;
    r->below = !r->goes_on && (*from == ' ' || *from == '\t');
    if (!r->goes_on)
        r->line++;
    snprintf(out, (size_t)size, "%s%.*s\n", r->goes_on ? " " : "", (int)n, from);
    if (n < whole) {
        r->cut += n;
    } else {
        from += n;
        from += *from == '\r';
        from += *from == '\n';
        r->p = from;
        r->cut = 0;
    }
    return out;
}

static int take(struct reading *r, const struct setting *to, const char *value, bool append)
{
    char *at = (char *)r->c + to->offset;
    size_t n = append ? strlen(at) : 0;
    r->last = to;
    if (str_copy(at + n, to->size - n, value))
        return 1;
    err_set(r->err, ERR_INVALID, "%s:%d: %s is longer than %zu bytes", r->name, r->line, to->name,
            to->size - 1);
    return 0;
}

static const struct setting *find(const struct setting *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* "addressing_style = path", below "s3 =". */
static int on_below(struct reading *r, const char *name, const char *value)
{
    char key[64];
    const char *equals = strchr(value, '=');
    if (strcmp(name, "s3") != 0 || !equals)
        return 1;
    size_t n = (size_t)(equals - value);
    while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    snprintf(key, sizeof key, "%.*s", (int)n, value);
    const struct setting *to = find(below_s3, ARRAY_LEN(below_s3), key);
    r->last = NULL;
    return to ? take(r, to, equals + 1 + strspn(equals + 1, " \t"), false) : 1;
}

/* inih calls this for each setting; 0 stops it. */
static int on_setting(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *r = arg;
    if (strcmp(section, r->section) != 0) {
        r->last = NULL;
        return 1;
    }
    if (!r->services)
        r->c->found = true;
    if (r->goes_on)
        return r->last ? take(r, r->last, value, true) : 1;
    if (r->below)
        return on_below(r, name, value);
    r->last = NULL;
    if (r->services)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(keys_from_elsewhere); i++)
        if (strcmp(name, keys_from_elsewhere[i]) == 0)
            str_copy(r->c->instead, sizeof r->c->instead, name);
    const struct setting *to = find(of_profile, ARRAY_LEN(of_profile), name);
    r->has_keys = r->has_keys || (to && strncmp(name, "aws_", 4) == 0);
    return to ? take(r, to, value, false) : 1;
}

static int read_section(struct reading *r, const char *text)
{
    r->p = text;
    int bad = ini_parse_stream(next_line, r, on_setting, r);
    secret_wipe_stack(); /* inih's lines are there */
    if (r->err->code != ERR_NONE)
        return -1;
    if (bad > 0)
        return err_set(r->err, ERR_INVALID, "%s:%d: neither [section] nor name = value", r->name,
                       r->line < bad ? r->line : bad);
    return bad < 0 ? err_set(r->err, ERR_INTERNAL, "%s: no memory", r->name) : 0;
}

/* 1: there are keys in it. */
static int parse(struct aws_conf *c, const char *text, const char *name, bool is_credentials,
                 const char *profile, struct err *err)
{
    char section[SECTION_MAX + 1];
    bool plain = is_credentials || str_eq(profile, "default");
    if (snprintf(section, sizeof section, "%s%s", plain ? "" : "profile ", profile) >=
        (int)sizeof section)
        return err_set(err, ERR_INVALID, "the profile's name is longer than %zu bytes: %s",
                       SECTION_MAX - (plain ? 0 : strlen("profile ")), profile);
    struct reading r = {.c = c, .name = name, .section = section, .err = err};
    if (read_section(&r, text) < 0)
        return -1;
    if (*c->services && !is_credentials) {
        char services[sizeof c->services + 10];
        snprintf(services, sizeof services, "services %s", c->services);
        struct reading s = {
            .c = c, .name = name, .section = services, .services = true, .err = err};
        if (read_section(&s, text) < 0)
            return -1;
    }
    return r.has_keys;
}

int aws_conf_parse(struct aws_conf *c, const char *text, const char *name, bool is_credentials,
                   const char *profile, struct err *err)
{
    return parse(c, text, name, is_credentials, profile, err) < 0 ? -1 : 0;
}

/* Gives: secret_free().  NULL without an error: there is no such file. */
static char *read_file(const char *path, struct stat *ret_st, struct err *err)
{
    AUTO(close) int fd = userfile_open(path, ret_st);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return NULL;
    if (fd < 0) {
        err_set(err, errno == EACCES ? ERR_DENIED : ERR_INVALID, "cannot read %s: %s", path,
                userfile_error(errno));
        return NULL;
    }
    if (!S_ISREG(ret_st->st_mode) || ret_st->st_size > FILE_MAX) {
        err_set(err, ERR_INVALID, "%s: not a regular file of at most %d bytes", path, FILE_MAX);
        return NULL;
    }
    size_t size = (size_t)ret_st->st_size, got = 0;
    char *text = secret_new(size + 1);
    for (ssize_t n = 1; text && n > 0 && got<size; got += n> 0 ? (size_t)n : 0)
        n = read(fd, text + got, size - got);
    if (!text)
        err_set(err, ERR_INTERNAL, "no memory");
    else if (memchr(text, '\0', got))
        err_set(err, ERR_INVALID, "%s: there is a NUL byte in it", path);
    if (err->code == ERR_NONE)
        return text;
    secret_free(text);
    return NULL;
}

/* Named: by a variable, so by the user's own wish. */
static int trust(const struct stat *st, const char *path, bool named, struct err *err)
{
    if (st->st_mode & (S_IROTH | S_IWOTH))
        return err_set(err, ERR_DENIED, "%s has keys in it, and everybody may %s it: chmod 600 it",
                       path, st->st_mode & S_IROTH ? "read" : "write");
    if (!named && st->st_uid != geteuid() && st->st_uid != 0)
        return err_set(err, ERR_DENIED, "%s has keys in it, but it is uid %u's", path,
                       (unsigned)st->st_uid);
    return 0;
}

static int load_file(struct aws_conf *c, const struct aws_options *o, const char *variable,
                     const char *in_home, bool is_credentials, const char *profile, struct err *err)
{
    char path[PATH_MAX];
    struct stat st;
    const char *named = o->environment ? getenv(variable) : NULL;
    if (named && *named)
        str_copy(path, sizeof path, named);
    else if (o->home)
        snprintf(path, sizeof path, "%s/.aws/%s", o->home, in_home);
    else
        return 0;
    AUTO(secret_free) void *text = read_file(path, &st, err);
    if (!text)
        return err->code == ERR_NONE ? 0 : -1;
    int has_keys = parse(c, text, path, is_credentials, profile, err);
    if (has_keys < 0)
        return -1;
    return has_keys ? trust(&st, path, named != NULL, err) : 0;
}

static const char *variable(const struct aws_options *o, const char *name)
{
    const char *value = o->environment ? getenv(name) : NULL;
    return value && *value ? value : NULL;
}

static int override(struct aws_conf *c, const char *name, char *to, size_t size, const char *value,
                    struct err *err)
{
    (void)c;
    if (value && !str_copy(to, size, value))
        return err_set(err, ERR_INVALID, "%s is longer than %zu bytes", name, size - 1);
    return 0;
}
#define OVERRIDE(c, name, field, value, err)                                                       \
    override(c, name, (c)->field, sizeof(c)->field, value, err)

static int take_variables(struct aws_conf *c, const struct aws_options *o, struct err *err)
{
    const char *region = variable(o, "AWS_REGION"), *endpoint = variable(o, "AWS_ENDPOINT_URL_S3");
    if (!region)
        region = variable(o, "AWS_DEFAULT_REGION");
    if (!endpoint)
        endpoint = variable(o, "AWS_ENDPOINT_URL");
    if (endpoint || o->endpoint)
        *c->service_endpoint = '\0';
    const char *key = o->profile ? NULL : variable(o, "AWS_ACCESS_KEY_ID");
    if (key) { /* a token of the files would be another key's */
        *c->secret_key = *c->session_token = '\0';
        if (OVERRIDE(c, "AWS_ACCESS_KEY_ID", access_key, key, err) < 0 ||
            OVERRIDE(c, "AWS_SECRET_ACCESS_KEY", secret_key, variable(o, "AWS_SECRET_ACCESS_KEY"),
                     err) < 0 ||
            OVERRIDE(c, "AWS_SESSION_TOKEN", session_token, variable(o, "AWS_SESSION_TOKEN"), err) <
                0)
            return -1;
        c->found = true;
    }
    if (OVERRIDE(c, "the region", region, o->region ? o->region : region, err) < 0 ||
        OVERRIDE(c, "the endpoint", endpoint, o->endpoint ? o->endpoint : endpoint, err) < 0 ||
        OVERRIDE(c, "AWS_CA_BUNDLE", ca_bundle, variable(o, "AWS_CA_BUNDLE"), err) < 0)
        return -1;
    return 0;
}

static int check(struct aws_conf *c, const struct aws_options *o, const char *profile,
                 struct err *err)
{
    if (o->anonymous) {
        *c->access_key = *c->secret_key = *c->session_token = '\0';
        return 0;
    }
    if (!c->found && !str_eq(profile, "default"))
        return err_set(err, ERR_NOT_FOUND,
                       "there is no profile %s in ~/.aws/config and "
                       "~/.aws/credentials",
                       profile);
    if (!*c->access_key && *c->instead)
        return err_set(err, ERR_NOT_FOUND,
                       "profile %s gets its keys by %s, which is not done here: put keys into "
                       "~/.aws/credentials (aws configure export-credentials shows them)",
                       profile, c->instead);
    if (!*c->access_key)
        return err_set(err, ERR_NOT_FOUND,
                       "no keys for the store: put aws_access_key_id and aws_secret_access_key of "
                       "[%s] into ~/.aws/credentials%s",
                       profile, o->environment ? ", or set AWS_ACCESS_KEY_ID and kin" : "");
    if (!*c->secret_key)
        return err_set(err, ERR_INVALID,
                       "profile %s has aws_access_key_id, but no "
                       "aws_secret_access_key",
                       profile);
    return 0;
}

/* What header lines and signatures are made of. */
static int check_plain(const char *name, const char *value, struct err *err)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
            return err_set(err, ERR_INVALID, "%s has a character that cannot be in one", name);
    return 0;
}

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

static int fill_stage(struct aws_conf *c, struct err *err)
{
    struct stage_conf *s = &c->stage;
    s->access_key = or_null(c->access_key);
    s->secret_key = or_null(c->secret_key);
    s->session_token = or_null(c->session_token);
    s->region = or_null(c->region);
    s->endpoint = *c->service_endpoint ? c->service_endpoint : or_null(c->endpoint);
    s->ca_file = or_null(c->ca_bundle);
    if (str_eq(c->addressing, "path"))
        s->addressing = STAGE_ADDRESSING_PATH;
    else if (str_eq(c->addressing, "virtual"))
        s->addressing = STAGE_ADDRESSING_VIRTUAL;
    else if (*c->addressing && !str_eq(c->addressing, "auto"))
        return err_set(err, ERR_INVALID, "addressing_style = %s: give auto, path or virtual",
                       c->addressing);
    if (check_plain("aws_access_key_id", c->access_key, err) < 0 ||
        check_plain("aws_secret_access_key", c->secret_key, err) < 0 ||
        check_plain("aws_session_token", c->session_token, err) < 0 ||
        check_plain("region", c->region, err) < 0)
        return -1;
    return 0;
}

struct aws_conf *aws_conf_new(void)
{
    return secret_new(sizeof(struct aws_conf));
}

int aws_conf_load(const struct aws_options *o, struct aws_conf **ret, struct err *err)
{
    AUTO(aws_conf_free) struct aws_conf *c = aws_conf_new();
    const char *profile = o->profile;
    if (!profile)
        profile = variable(o, "AWS_PROFILE");
    if (!profile)
        profile = "default";
    if (!c)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (load_file(c, o, "AWS_CONFIG_FILE", "config", false, profile, err) < 0 ||
        load_file(c, o, "AWS_SHARED_CREDENTIALS_FILE", "credentials", true, profile, err) < 0 ||
        take_variables(c, o, err) < 0 || check(c, o, profile, err) < 0 || fill_stage(c, err) < 0)
        return -1;
    *ret = TAKE(c);
    return 0;
}

void aws_conf_free(struct aws_conf *c)
{
    secret_free(c);
}

const struct stage_conf *aws_conf_stage(const struct aws_conf *c)
{
    return &c->stage;
}
