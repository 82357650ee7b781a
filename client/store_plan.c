/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/store_plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/manifest.h"
#include "common/str.h"

enum { PLAN_BYTES_MAX = 1 << 30, DEPTH_MAX = 64 };

void store_plan_init(struct store_plan *p)
{
    *p = (struct store_plan){.dir = ""};
    arena_init(&p->arena, PLAN_BYTES_MAX);
}

void store_plan_done(struct store_plan *p)
{
    free(p->items);
    arena_done(&p->arena);
}

static int add(struct store_plan *p, const char *path, const char *key, uint64_t size,
               struct err *err)
{
    if (stage_add_size(&p->bytes, size, err) < 0)
        return err_while(err, "%s", path);
    if (p->n == STORE_PLAN_MAX)
        return err_set(err, ERR_LIMIT, "more than %d files", STORE_PLAN_MAX);
    if (p->n == p->max) {
        size_t max = p->max ? 2 * p->max : 64;
        struct store_item *more = reallocarray(p->items, max, sizeof *more);
        if (!more)
            return err_set(err, ERR_INTERNAL, "no memory");
        p->items = more;
        p->max = max;
    }
    struct store_item item = {arena_strdup(&p->arena, path), arena_strdup(&p->arena, key),
                              (int64_t)size};
    if (!item.path || !item.key)
        return err_set(err, ERR_INTERNAL, "no memory");
    p->items[p->n++] = item;
    return 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- put ---- */
static enum err_code path_code(void)
{
    return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND
           : errno == EACCES || errno == EPERM ? ERR_DENIED
                                               : ERR_INVALID;
}

static int put_file(struct store_plan *p, const char *path, const char *key, const struct stat *st,
                    struct err *err)
{
    struct stage_url joined;
    struct stage_url none = p->url;
    *none.key = '\0';
    if (p->url.scheme == STAGE_FILE)
        str_copy(none.key, sizeof none.key, "/");
    /* As a check of the key; it begins with the URL's. */
    if (stage_url_join(&none, key + (p->url.scheme == STAGE_FILE), &joined, err) < 0)
        return err_while(err, "%s", path);
    return add(p, path, key, (uint64_t)st->st_size, err);
}

static int put_directory(struct store_plan *p, const char *path, const char *prefix, int depth,
                         struct err *err);

static int put_entry(struct store_plan *p, const char *dir, const char *prefix, const char *name,
                     int depth, struct err *err)
{
    char path[PATH_MAX], key[STAGE_KEY_MAX + 2];
    struct stat st;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path ||
        snprintf(key, sizeof key, "%s%s", prefix, name) >= (int)sizeof key)
        return err_set(err, ERR_INVALID, "%.100s.../%.100s: the path is too long", dir, name);
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(err, path_code(), "%s", path);
    bool is_link = S_ISLNK(st.st_mode);
    if (is_link && stat(path, &st) < 0)
        return err_errno(err, path_code(), "%s", path);
    if (S_ISREG(st.st_mode))
        return put_file(p, path, key, &st, err);
    if (!S_ISDIR(st.st_mode) || is_link) {
        if (p->on_left_out)
            p->on_left_out(p->left_arg, path);
        return 0;
    }
    size_t n = strlen(key);
    str_copy(key + n, sizeof key - n, "/");
    return put_directory(p, path, key, depth + 1, err);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int put_directory(struct store_plan *p, const char *path, const char *prefix, int depth,
                         struct err *err)
{
    struct dirent **entries = NULL;
    int rc = 0;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "%s: more than %d directories deep", path, DEPTH_MAX);
    int n = scandir(path, &entries, NULL, by_name);
    if (n < 0)
        return err_errno(err, path_code(), "%s", path);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (rc == 0 && !str_eq(name, ".") && !str_eq(name, ".."))
            rc = put_entry(p, path, prefix, name, depth, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static bool is_nameless(const char *name)
{
    return !*name || str_eq(name, ".") || str_eq(name, "..");
}

const char *store_plan_put_name(const char *path, struct arena *arena)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    const char *plain = arena_strndup(arena, path, n), *name = plain ? last_part(plain) : NULL;
    return name && is_nameless(name) ? "" : name;
}

/* "dir/" is "dir". */
static int put_path(struct store_plan *p, const char *given, bool is_named, bool recursive,
                    struct err *err)
{
    char path[PATH_MAX], key[STAGE_KEY_MAX + 2];
    struct stat st;
    if (!*given || !str_copy(path, sizeof path, given))
        return err_set(err, ERR_INVALID, "'%.100s' is not a path", given);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';
    if (stat(path, &st) < 0)
        return err_errno(err, path_code(), "%s", path);
    const char *name = last_part(path);
    bool is_dir = S_ISDIR(st.st_mode), nameless = is_nameless(name);
    if (is_dir && !recursive)
        return err_set(err, ERR_INVALID, "%s is a directory: --recursive stores what is in it",
                       path);
    if (!is_dir && !S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is neither a regular file nor a directory", path);
    if (snprintf(key, sizeof key, "%s%s%s", p->url.key, is_named || nameless ? "" : name,
                 is_dir && (is_named || !nameless) ? "/" : "") >= (int)sizeof key)
        return err_set(err, ERR_INVALID, "%s: the key is too long", path);
    return is_dir ? put_directory(p, path, key, 0, err) : put_file(p, path, key, &st, err);
}

int store_plan_put(struct store_plan *p, const char *const *paths, size_t n,
                   const struct stage_url *to, bool recursive, struct err *err)
{
    p->url = *to;
    bool is_named = !stage_url_is_prefix(to);
    if (is_named && n != 1)
        return err_set(err, ERR_INVALID, "several files go below a URL: it has to end with '/'");
    for (size_t i = 0; i < n; i++)
        if (put_path(p, paths[i], is_named, recursive, err) < 0)
            return -1;
    return 0;
}

/* ---- fetch ---- */
struct listing {
    struct store_plan *p;
    size_t skip;         /* bytes of each key that are not in the path */
    const char *pattern; /* NULL: all */
    struct err *err;
};

static int on_key(void *arg, const char *key, const struct stage_info *info)
{
    struct listing *l = arg;
    size_t n = strlen(key);
    /* Some programs make empty objects for directories. */
    if (n <= l->skip || key[n - 1] == '/')
        return 0;
    if (l->pattern && fnmatch(l->pattern, key, FNM_PATHNAME | FNM_NOESCAPE) != 0)
        return 0;
    return add(l->p, key + l->skip, key, info->size_bytes, l->err);
}

static int fetch_many(struct store_plan *p, struct stage *s, const struct stage_url *from,
                      const char *pattern, const struct stage_run *run, struct err *err)
{
    const char *slash = strrchr(from->key, '/');
    struct listing l = {p, slash ? (size_t)(slash + 1 - from->key) : 0, pattern, err};
    p->url = *from;
    if (stage_list(s, from, STORE_PLAN_MAX, on_key, &l, run, err) < 0)
        return -1;
    char text[STAGE_URL_TEXT];
    if (p->n == 0)
        return err_set(err, ERR_NOT_FOUND, "there is nothing %s %s", pattern ? "like" : "below",
                       stage_url_text(from, text));
    return 0;
}

static bool is_directory(const char *path)
{
    struct stat st;
    size_t n = strlen(path);
    return (n && path[n - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

static int fetch_one(struct store_plan *p, struct stage *s, const struct stage_url *from,
                     const char *path, const struct stage_run *run, struct err *err)
{
    struct stage_info info = {0};
    struct err ignored = {0};
    const char *name = last_part(from->key);
    p->url = *from;
    if (!path || is_directory(path)) {
        p->dir = path ? path : "";
    } else {
        name = last_part(path);
        p->dir = arena_strndup(&p->arena, path, (size_t)(name - path));
        if (!p->dir)
            return err_set(err, ERR_INTERNAL, "no memory");
    }
    /* For the size alone, which somebody may see.  What is wrong the fetch itself says better: the
     * answer to a HEAD has no text. */
    if (run->progress)
        stage_head(s, from, run, &info, &ignored);
    return add(p, name, from->key, info.size_bytes, err);
}

/* The last directory of a prefix, or the bucket. */
static const char *own_name(struct store_plan *p, const struct stage_url *u)
{
    size_t end = strlen(u->key);
    while (end && u->key[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin && u->key[begin - 1] != '/')
        begin--;
    return end > begin ? arena_strndup(&p->arena, u->key + begin, end - begin)
                       : arena_strdup(&p->arena, *u->bucket ? u->bucket : ".");
}

int store_plan_fetch(struct store_plan *p, struct stage *s, const struct stage_url *from,
                     const char *path, bool recursive, const struct stage_run *run, struct err *err)
{
    char text[STAGE_URL_TEXT];
    struct stage_url u = *from;
    const char *glob = strpbrk(last_part(u.key), "*?[");
    if (recursive) {
        size_t n = strlen(u.key);
        if (!stage_url_is_prefix(&u) && !str_copy(u.key + n, sizeof u.key - n, "/"))
            return err_set(err, ERR_INVALID, "%s: too long", stage_url_text(from, text));
        p->dir = path ? path : own_name(p, &u);
        if (!path && p->dir && (str_eq(p->dir, ".") || str_eq(p->dir, "..")) && *u.key &&
            u.scheme == STAGE_S3)
            return err_set(err, ERR_INVALID,
                           "%s: '%s' cannot become a directory: say which one to fetch it into",
                           stage_url_text(from, text), p->dir);
        return p->dir ? fetch_many(p, s, &u, NULL, run, err)
                      : err_set(err, ERR_INTERNAL, "no memory");
    }
    if (stage_url_is_prefix(&u))
        return err_set(err, ERR_INVALID, "%s is a prefix: --recursive fetches all below it",
                       stage_url_text(from, text));
    if (glob) {
        u.key[glob - u.key] = '\0';
        p->dir = path ? path : "";
        return fetch_many(p, s, &u, from->key, run, err);
    }
    return fetch_one(p, s, &u, path, run, err);
}

/* ---- a job's output ---- */
/* What comes before the pattern's part is not in objects' names: stage_out.c stores it so. */
static size_t fixed_part(const char *from)
{
    size_t n = strcspn(from, "*?[");
    while (n && from[n - 1] != '/')
        n--;
    return n;
}

size_t store_plan_output_base(const char *from)
{
    size_t n = manifest_is_glob(from) ? fixed_part(from) : strlen(from);
    while (n && from[n - 1] == '/')
        n--;
    return n;
}

const char *store_plan_output_name(const char *from, struct arena *arena)
{
    size_t n = store_plan_output_base(from);
    const char *begin = from;
    for (size_t i = 0; *from == '/' && i < n; i++)
        if (from[i] == '/')
            begin = from + i + 1;
    return n ? arena_strndup(arena, begin, (size_t)(from + n - begin)) : "";
}

/* As the part of a path that it is: without slashes that mean nothing. */
static const char *plain_pattern(const char *from, struct arena *arena)
{
    char *out = arena_strdup(arena, from + fixed_part(from)), *to = out;
    for (const char *p = out; p && *p; p++)
        if (*p != '/' || (p[1] && p[1] != '/'))
            *to++ = *p;
    if (out)
        *to = '\0';
    return out;
}

struct output_listing {
    struct store_plan *p;
    size_t skip;         /* bytes of each key that are the prefix */
    const char *name;    /* comes before the rest of each */
    const char *pattern; /* NULL: all */
    struct err *err;
};

static int on_output_key(void *arg, const char *key, const struct stage_info *info)
{
    struct output_listing *l = arg;
    size_t n = strlen(key);
    if (n <= l->skip || key[n - 1] == '/')
        return 0;
    const char *rest = key + l->skip;
    /* What is in a directory that fits belongs to it. */
    if (l->pattern && fnmatch(l->pattern, rest, FNM_PATHNAME | FNM_PERIOD | FNM_LEADING_DIR) != 0)
        return 0;
    const char *path = arena_printf(&l->p->arena, "%s%s%s", l->name, *l->name ? "/" : "", rest);
    if (!path)
        return err_set(l->err, ERR_INTERNAL, "no memory");
    return add(l->p, path, key, (int64_t)info->size_bytes, l->err);
}

static int output_files(struct store_plan *p, struct stage *s, const char *from,
                        const struct stage_url *to, const char *name, const struct stage_run *run,
                        struct err *err)
{
    char text[STAGE_URL_TEXT];
    struct output_listing l = {p, strlen(to->key), name, NULL, err};
    if (!stage_url_is_prefix(to))
        return err_set(err, ERR_INVALID, "%s: what was stored for %.200s is below a prefix",
                       stage_url_text(to, text), from);
    if (manifest_is_glob(from) && !(l.pattern = plain_pattern(from, &p->arena)))
        return err_set(err, ERR_INTERNAL, "no memory");
    if (stage_list(s, to, STORE_PLAN_MAX, on_output_key, &l, run, err) < 0)
        return -1;
    if (p->n == 0)
        return err_set(err, ERR_NOT_FOUND, "there is nothing %s%s at %s", l.pattern ? "like " : "",
                       l.pattern ? l.pattern : "", stage_url_text(to, text));
    return 0;
}

int store_plan_output(struct store_plan *p, struct stage *s, const char *from,
                      const struct stage_url *to, const char *dir, const struct stage_run *run,
                      struct err *err)
{
    struct stage_info info = {0};
    struct err ignored = {0};
    const char *name = store_plan_output_name(from, &p->arena);
    if (!name)
        return err_set(err, ERR_INTERNAL, "no memory");
    p->url = *to;
    p->dir = dir;
    if (manifest_is_glob(from) || manifest_is_directory(from))
        return output_files(p, s, from, to, name, run, err);
    if (stage_url_is_prefix(to) && stage_url_join(to, last_part(from), &p->url, err) < 0)
        return -1;
    if (run->progress)
        stage_head(s, &p->url, run, &info, &ignored);
    return add(p, name, p->url.key, (int64_t)info.size_bytes, err);
}
