/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Outputs: which files there are, then each of them into the store. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

#include "agentd/stage_worker.h"
#include "common/beneath.h"
#include "common/str.h"

enum {
    DEPTH = 64,
    ENTRIES_MAX = 4000000, /* looked at for all outputs: what is no output takes time, too */
};

struct item {
    const char *dir;  /* nothing outside of it is stored */
    const char *path; /* below that */
    const char *to;   /* the object's URL */
};

struct plan {
    struct stage_job *j;
    struct stage_stores stores;
    struct item *v;
    size_t n, room;
    int64_t bytes;
    size_t looked;       /* entries of directories */
    size_t left_out;     /* links that lead out or nowhere, and what is no file */
    const char *missing; /* the first required output that is not there, and what it is */
    const char *missing_what;
    size_t n_bad;   /* files and directories that should be stored and cannot be */
    struct err bad; /* the first of them */
    /* of the output that is looked for */
    const char *dir;
    int base;
    struct stage_url to;
    size_t strip; /* so much of a path is not part of the object's name */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_BUSY, "no memory left for so many files");
}

/* ---- which files ---- */

static const char *object_of(struct plan *p, const char *path, struct err *err)
{
    char text[STAGE_URL_TEXT];
    struct stage_url u = p->to;
    if (stage_url_is_prefix(&p->to) && stage_url_join(&p->to, path + p->strip, &u, err) < 0)
        return NULL;
    const char *copy = arena_strdup(p->j->arena, stage_url_text(&u, text));
    if (!copy)
        no_memory(err);
    return copy;
}

static int add(struct plan *p, const char *path, int64_t size, struct err *err)
{
    if (stage_add_size(&p->bytes, (uint64_t)size, err) < 0)
        return err_while(err, "%.200s", path);
    if (p->n == STAGE_FILES_MAX)
        return err_set(err, ERR_LIMIT, "outputs are more than the %d files allowed",
                       STAGE_FILES_MAX);
    if (p->n == p->room) {
        size_t room = p->room ? 2 * p->room : 16;
        struct item *v = reallocarray(p->v, room, sizeof *v);
        if (!v)
            return no_memory(err);
        p->v = v;
        p->room = room;
    }
    const char *copy = arena_strdup(p->j->arena, path), *to = object_of(p, path, err);
    if (!copy)
        return no_memory(err);
    if (!to)
        return -1;
    p->v[p->n++] = (struct item){.dir = p->dir, .path = copy, .to = to};
    return 0;
}

/* A regular file, or a link to one that does not lead out.  1: it was, 0: there is none. */
static int add_file(struct plan *p, const char *path, struct err *err)
{
    struct stat st;
    struct err mine = {0};
    AUTO(close) int fd = beneath_open_file(p->base, path, &mine);
    if (fd < 0 && mine.code == ERR_NOT_FOUND)
        return 0;
    if (fd < 0) {
        *err = mine;
        return -1;
    }
    if (fstat(fd, &st) < 0)
        return err_errno(err, ERR_INTERNAL, "%s", path);
    return add(p, path, st.st_size, err) < 0 ? -1 : 1;
}

/* The directory itself, following links that do not lead out. */
static DIR *open_directory(struct plan *p, const char *path, struct err *err)
{
    const char *name;
    const char *inside = *path ? arena_printf(p->j->arena, "%s/x", path) : "x";
    AUTO(close) int at = inside ? beneath_open_parent(p->base, inside, false, &name, err) : -1;
    if (!inside)
        no_memory(err);
    if (at < 0)
        return NULL;
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d)
        err_errno(err, errno == EACCES ? ERR_DENIED : ERR_INVALID, "directory %s", path);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

static int look(struct plan *p, struct err *err)
{
    if (++p->looked > ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "more than %d entries of directories had to be looked at",
                       ENTRIES_MAX);
    return stage_meter_look(p->j->meter, err);
}

/* Not the end of it: what can be stored is, before it fails with that. */
static bool is_of_one(enum err_code code)
{
    return code == ERR_INVALID || code == ERR_DENIED || code == ERR_NOT_FOUND;
}

static int pass_over(struct plan *p, const struct err *why, struct err *err)
{
    if (!is_of_one(why->code)) {
        *err = *why;
        return -1;
    }
    if (p->n_bad++ == 0)
        p->bad = *why;
    return 0;
}

static int add_tree(struct plan *p, const char *path, int depth, struct err *err);

static int add_entry(struct plan *p, const char *path, mode_t mode, int depth, struct err *err)
{
    struct err mine = {0};
    if (S_ISDIR(mode))
        return add_tree(p, path, depth + 1, &mine) < 0 ? pass_over(p, &mine, err) : 0;
    if (!S_ISREG(mode) && !S_ISLNK(mode)) {
        p->left_out++;
        return 0;
    }
    int rc = add_file(p, path, &mine);
    if (rc < 0 && S_ISLNK(mode) && mine.code == ERR_INVALID) { /* to a directory, or out of here */
        p->left_out++;
        return 0;
    }
    if (rc == 0 && S_ISLNK(mode)) /* to what is not there */
        p->left_out++;
    return rc < 0 ? pass_over(p, &mine, err) : 0;
}

static int add_tree(struct plan *p, const char *path, int depth, struct err *err)
{
    if (depth > DEPTH)
        return err_set(err, ERR_LIMIT, "%.200s: directories more than %d deep", path, DEPTH);
    DIR *d = open_directory(p, path, err);
    if (!d)
        return -1;
    int rc = 0;
    for (const struct dirent *e; rc == 0 && (rc = look(p, err)) == 0 && (e = readdir(d));) {
        struct stat st;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        const char *whole = arena_printf(p->j->arena, "%s%s%s", path, *path ? "/" : "", e->d_name);
        rc = whole ? add_entry(p, whole, st.st_mode, depth, err) : no_memory(err);
    }
    closedir(d);
    return rc;
}

/* path has matched so far; rest is what is still to be matched, without a slash in front. */
static int add_matching(struct plan *p, const char *path, const char *rest, int depth,
                        struct err *err)
{
    size_t n = strcspn(rest, "/");
    const char *part = arena_strndup(p->j->arena, rest, n),
               *more = rest + n + strspn(rest + n, "/");
    if (!part)
        return no_memory(err);
    if (depth > DEPTH)
        return err_set(err, ERR_LIMIT, "%.200s: directories more than %d deep", path, DEPTH);
    struct err mine = {0};
    DIR *d = open_directory(p, path, &mine);
    if (!d && mine.code == ERR_NOT_FOUND)
        return 0;
    if (!d) {
        *err = mine;
        return -1;
    }
    int rc = 0;
    for (const struct dirent *e; rc == 0 && (rc = look(p, err)) == 0 && (e = readdir(d));) {
        struct stat st;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") ||
            fnmatch(part, e->d_name, FNM_PERIOD) != 0 ||
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        const char *whole = arena_printf(p->j->arena, "%s%s%s", path, *path ? "/" : "", e->d_name);
        if (!whole)
            rc = no_memory(err);
        else if (!*more)
            rc = add_entry(p, whole, st.st_mode, depth, err);
        else if (S_ISDIR(st.st_mode) && (rc = add_matching(p, whole, more, depth + 1, &mine)) < 0) {
            rc = pass_over(p, &mine, err);
            mine = (struct err){0};
        }
    }
    closedir(d);
    return rc;
}

/* Up to and with the last slash in front of the first pattern. */
static size_t fixed_part(const char *path)
{
    size_t n = strcspn(path, "*?[");
    while (n && path[n - 1] != '/')
        n--;
    return n;
}

/* What is fixed is not part of objects' names. */
static int add_glob(struct plan *p, const char *path, struct err *err)
{
    size_t fixed = fixed_part(path);
    const char *dir = arena_strndup(p->j->arena, path, fixed ? fixed - 1 : 0);
    p->strip = fixed;
    return dir ? add_matching(p, dir, path + fixed, 0, err) : no_memory(err);
}

static int add_directory(struct plan *p, const char *path, struct err *err)
{
    struct err mine = {0};
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    const char *dir = arena_strndup(p->j->arena, path, n);
    p->strip = n ? n + 1 : 0;
    if (!dir)
        return no_memory(err);
    if (add_tree(p, dir, 0, &mine) == 0 || mine.code == ERR_NOT_FOUND)
        return 0;
    *err = mine;
    return -1;
}

static int add_single(struct plan *p, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    p->strip = slash ? (size_t)(slash + 1 - path) : 0;
    return add_file(p, path, err) < 0 ? -1 : 0;
}

/* Where a path starts from; *path is then what is below.  Of an absolute directory or pattern it is
 * that directory: others may be able to write there, and a link of theirs to what only the user can
 * read must not be followed. */
static const char *directory_of(struct plan *p, const char **path)
{
    size_t n = 1;
    if (**path != '/')
        return p->j->m->body.work_dir;
    if (manifest_is_glob(*path))
        n = fixed_part(*path);
    else if (manifest_is_directory(*path))
        n = strlen(*path);
    const char *dir = arena_strndup(p->j->arena, *path, n);
    *path += n;
    *path += strspn(*path, "/");
    return dir;
}

/* required: what it is called when it is not there; NULL: it need not be. */
static int plan_one(struct plan *p, const char *from, const char *to, const char *required,
                    struct err *err)
{
    const struct manifest_job job = {
        .job_id = p->j->task->task_id ? p->j->task->task_id : p->j->task->job_id,
        .array_job_id = p->j->task->job_id,
        .task = p->j->task->task,
    };
    const char *path = manifest_expand(from, &job, p->j->arena), *whole = path;
    const char *url = manifest_expand(to, &job, p->j->arena);
    size_t before = p->n, bad = p->n_bad;
    if (!path || !url)
        return no_memory(err);
    if (stage_url_parse(url, &p->to, err) < 0 ||
        !stage_stores_get(&p->stores, p->j, p->to.scheme, err))
        return err_while(err, "output %.200s", whole);
    if (!(p->dir = directory_of(p, &path)))
        return no_memory(err);
    struct err mine = {0};
    AUTO(close) int base = p->base = stage_open_base(p->dir, &mine);
    bool missing = base < 0 && mine.code == ERR_NOT_FOUND && *whole == '/';
    if (base < 0 && !missing) {
        *err = mine;
        return err_while(err, "output %.200s", whole);
    }
    int rc = missing                       ? 0
             : manifest_is_glob(path)      ? add_glob(p, path, err)
             : manifest_is_directory(path) ? add_directory(p, path, err)
                                           : add_single(p, path, err);
    if (rc < 0)
        return err_while(err, "output %.200s", whole);
    if (required && p->n == before && p->n_bad == bad && !p->missing) {
        p->missing = whole;
        p->missing_what = required;
    }
    return 0;
}

static int make_plan(struct plan *p, struct err *err)
{
    const struct manifest *m = p->j->m;
    const struct stage_manifest *b = &m->body;
    for (size_t i = 0; i < m->n_outputs; i++)
        if (manifest_wants(&m->outputs[i], p->j->task->failed) &&
            plan_one(p, m->outputs[i].from, m->outputs[i].to,
                     m->outputs[i].required ? "required output" : NULL, err) < 0)
            return -1;
    if (b->stdout_to && b->std_out &&
        plan_one(p, b->std_out, b->stdout_to, "standard output", err) < 0)
        return -1;
    if (b->stderr_to && b->std_err &&
        plan_one(p, b->std_err, b->stderr_to, "standard error", err) < 0)
        return -1;
    return 0;
}

/* ---- storing ---- */

static int put(void *arg, size_t i, struct err *err)
{
    struct plan *p = arg;
    const struct item *it = &p->v[i];
    const struct stage_run run = stage_meter_run(p->j->meter);
    struct stage_url u;
    AUTO(close) int base = stage_open_base(it->dir, err);
    if (base < 0 || stage_url_parse(it->to, &u, err) < 0)
        return -1;
    AUTO(close) int fd = beneath_open_file(base, it->path, err);
    if (fd < 0 || stage_put(p->stores.of[u.scheme], &u, fd, &run, NULL, err) < 0)
        return err_while(err, "output %.200s", it->path);
    stage_meter_file(p->j->meter);
    return 0;
}

/* What a worker that was killed has left in directories that are stores. */
static int sweep(const struct plan *p, struct err *err)
{
    AUTO(free) struct stage_place *v = calloc(p->n + 1, sizeof *v);
    size_t n = 0;
    struct stage_url u;
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < p->n; i++) {
        if (stage_url_parse(p->v[i].to, &u, err) < 0)
            return -1;
        if (u.scheme != STAGE_FILE)
            continue;
        v[n].path = arena_strdup(p->j->arena, u.key);
        if (!v[n++].path)
            return no_memory(err);
    }
    return stage_places_sweep(p->j, v, n, err);
}

static int tell_bad(const struct plan *p, struct err *err)
{
    err_set(err, p->bad.code, "%.300s", p->bad.text);
    if (p->n_bad > 1)
        err_while(err, "%zu files or directories cannot be stored, the others are; the first",
                  p->n_bad);
    else
        err_while(err, "the other files are stored");
    return -1;
}

static int store(struct plan *p, struct stage_report *out, struct err *err)
{
    struct stage_job *j = p->j;
    j->meter->now.files_total = (int64_t)p->n;
    j->meter->now.bytes_total = p->bytes;
    int rc = stage_check_moved(j, stage_each(p->n, STAGE_THREADS - 1, put, p, err), "outputs", err);
    *out = j->meter->now;
    const char *amount = stage_amount((int64_t)p->n, p->bytes, j->arena);
    out->text =
        amount && p->left_out
            ? arena_printf(j->arena,
                           "%s; left out: %zu links that lead elsewhere or nowhere, or things "
                           "that are no files",
                           amount, p->left_out)
            : amount;
    /* The others are safe by then. */
    if (rc == 0 && p->missing)
        rc = err_set(err, ERR_NOT_FOUND, "%s %.300s is not there", p->missing_what, p->missing);
    if (rc == 0 && p->n_bad)
        rc = tell_bad(p, err);
    return rc;
}

int stage_out(struct stage_job *j, struct stage_report *out, struct err *err)
{
    struct plan p = {.j = j};
    int rc = make_plan(&p, err);
    if (rc == 0)
        rc = stage_check_quota(j, p.bytes, "outputs", err);
    if (rc == 0)
        rc = sweep(&p, err);
    if (rc == 0)
        rc = store(&p, out, err);
    stage_stores_done(&p.stores);
    free(p.v);
    return rc;
}
