/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_file.c: a directory as a store, file:///dir/name
 *
 * For a first try, tests, and file systems that several hosts see.  The user's own rights are all
 * there is.  A file system that hangs holds a call past its deadline.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/stage_impl.h"
#include "common/str.h"
#include "common/userfile.h"

enum {
    CHUNK = 256 * 1024,
    DEPTH_MAX = 64, /* of directories in a list */
    DIR_ENTRIES_MAX = 1000000,
    ENTRIES_MAX = 4000000, /* of a list, directories that have no files too */
};

static int file_error(struct err *err, const char *what, const char *path)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return err_errno(err, ERR_NOT_FOUND, "cannot %s file://%s", what, path);
    case EACCES:
    case EPERM:
    case EROFS:
        return err_errno(err, ERR_DENIED, "cannot %s file://%s", what, path);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return err_errno(err, ERR_LIMIT, "cannot %s file://%s", what, path);
    default:
        return err_errno(err, ERR_STORE, "cannot %s file://%s", what, path);
    }
}

static void info_of(const struct stat *st, struct stage_info *ret)
{
    *ret = (struct stage_info){
        .size_bytes = (uint64_t)st->st_size,
        .modified_s = st->st_mtim.tv_sec,
    };
}

static int open_object(const char *path, struct stat *ret_st, struct err *err)
{
    AUTO(close) int fd = userfile_open(path, ret_st);
    if (fd < 0 && errno == ELOOP)
        return err_set(err, ERR_INVALID, "file://%s %s", path, userfile_error(ELOOP));
    if (fd < 0)
        return file_error(err, "read", path);
    if (!S_ISREG(ret_st->st_mode))
        return err_set(err, ERR_INVALID, "file://%s is not a regular file", path);
    return TAKE_FD(fd);
}

/* Both from their beginnings; size_bytes of them, no less. */
static int copy_bytes(int from, int to, uint64_t size_bytes, const char *path,
                      const struct stage_run *run, struct err *err)
{
    AUTO(free) char *buf = malloc(CHUNK);
    if (!buf)
        return err_set(err, ERR_INTERNAL, "no memory");
    for (uint64_t at = 0; at < size_bytes;) {
        uint64_t left = size_bytes - at;
        ssize_t n = pread(from, buf, left < CHUNK ? left : CHUNK, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(err, "read", path);
        if (n == 0)
            return err_set(err, ERR_INVALID, "file://%s: the file became shorter meanwhile", path);
        for (ssize_t done = 0; done < n;) {
            ssize_t w = pwrite(to, buf + done, (size_t)(n - done), (off_t)at + done);
            if (w < 0 && errno == EINTR)
                continue;
            if (w < 0)
                return file_error(err, "write", path);
            done += w;
        }
        at += (uint64_t)n;
        if (stage_go_on(run, n, err) < 0)
            return err_while(err, "file://%s", path);
    }
    return 0;
}

/* The directories above a path that are missing. */
static int make_parents(const char *path, struct err *err)
{
    char dir[STAGE_KEY_MAX + 1];
    str_copy(dir, sizeof dir, path);
    for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(dir, 0777) < 0 && errno != EEXIST)
            return file_error(err, "make", dir);
        *slash = '/';
    }
    return 0;
}

/* From an open file to a path, which has it when it is whole. */
static int store(int from, uint64_t size_bytes, const char *path, const struct stage_run *run,
                 struct stage_info *ret, struct err *err)
{
    char dir[STAGE_KEY_MAX + 1], part[NAME_MAX + 1];
    struct stat st;
    const char *name = strrchr(path, '/') + 1;
    if (strlen(name) > NAME_MAX)
        return err_set(err, ERR_INVALID, "file://%s: the name is longer than %d bytes", path,
                       NAME_MAX);
    snprintf(dir, sizeof dir, "%.*s", (int)(name - path), path);
    AUTO(close) int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0 && errno == ENOENT) {
        if (make_parents(path, err) < 0)
            return -1;
        dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (dirfd < 0)
        return file_error(err, "write", path);
    AUTO(close) int to = stage_part_open(dirfd, name, 0666, part, err);
    if (to < 0)
        return err_while(err, "file://%s", path);
    int rc = copy_bytes(from, to, size_bytes, path, run, err);
    if (rc == 0 && (fsync(to) < 0 || fstat(to, &st) < 0 || renameat(dirfd, part, dirfd, name) < 0))
        rc = file_error(err, "write", path);
    if (rc < 0)
        unlinkat(dirfd, part, 0);
    else
        info_of(&st, ret);
    return rc;
}

static int file_put(void *unused, const struct stage_url *to, int fd, uint64_t size_bytes,
                    const struct stage_run *run, struct stage_info *ret, struct err *err)
{
    (void)unused;
    return store(fd, size_bytes, to->key, run, ret, err);
}

static int file_get(void *unused, const struct stage_url *from, int fd, const struct stage_run *run,
                    struct stage_info *ret, struct err *err)
{
    (void)unused;
    struct stat st;
    AUTO(close) int object = open_object(from->key, &st, err);
    if (object < 0 || copy_bytes(object, fd, (uint64_t)st.st_size, from->key, run, err) < 0)
        return -1;
    info_of(&st, ret);
    return 0;
}

static int file_head(void *unused, const struct stage_url *u, const struct stage_run *run,
                     struct stage_info *ret, struct err *err)
{
    (void)unused;
    (void)run;
    struct stat st;
    AUTO(close) int object = open_object(u->key, &st, err);
    if (object < 0)
        return -1;
    info_of(&st, ret);
    return 0;
}

static int file_copy(void *unused, const struct stage_url *from, const struct stage_url *to,
                     const struct stage_run *run, struct stage_info *ret, struct err *err)
{
    (void)unused;
    struct stat st;
    AUTO(close) int object = open_object(from->key, &st, err);
    if (object < 0)
        return -1;
    return store(object, (uint64_t)st.st_size, to->key, run, ret, err);
}

static int file_del(void *unused, const struct stage_url *u, const struct stage_run *run,
                    struct err *err)
{
    (void)unused;
    (void)run;
    if (unlink(u->key) < 0 && errno != ENOENT && errno != ENOTDIR)
        return file_error(err, "delete", u->key);
    return 0;
}

/* ---- list ---- */
struct listing {
    const struct stage_run *run;
    stage_list_fn *fn;
    void *arg;
    size_t left, looked;
    char path[STAGE_KEY_MAX + 1];
    struct err *err;
};

/* A directory's entries; a directory's name ends with '/', so that their order is that of the keys.
 */
struct names {
    char **name;
    size_t n, max;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(struct names *names, const char *name, bool is_dir, struct err *err)
{
    if (names->n == DIR_ENTRIES_MAX)
        return err_set(err, ERR_LIMIT, "a directory has more than %d entries", DIR_ENTRIES_MAX);
    if (names->n == names->max) {
        size_t max = names->max ? 2 * names->max : 64;
        char **more = reallocarray(names->name, max, sizeof *more);
        if (!more)
            return err_set(err, ERR_INTERNAL, "no memory");
        names->name = more;
        names->max = max;
    }
    char *copy = NULL;
    if (asprintf(&copy, "%s%s", name, is_dir ? "/" : "") < 0)
        return err_set(err, ERR_INTERNAL, "no memory");
    names->name[names->n++] = copy;
    return 0;
}

/* What is neither a directory nor (through a link too) a regular file is left out. */
static int names_read(DIR *d, const char *begin, struct names *names, struct err *err)
{
    size_t n = strlen(begin);
    for (const struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (str_eq(e->d_name, ".") || str_eq(e->d_name, "..") || stage_part_is(e->d_name) ||
            strncmp(e->d_name, begin, n) != 0)
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue; /* gone meanwhile */
        bool is_dir = S_ISDIR(st.st_mode);
        if (S_ISLNK(st.st_mode) && fstatat(dirfd(d), e->d_name, &st, 0) < 0)
            continue;
        if ((is_dir || S_ISREG(st.st_mode)) && names_add(names, e->d_name, is_dir, err) < 0)
            return -1;
    }
    if (names->n) /* with none there may be no array */
        qsort(names->name, names->n, sizeof *names->name, by_bytes);
    return 0;
}

static int list_directory(struct listing *l, int at, const char *dir, const char *begin, int depth);

static int list_entry(struct listing *l, DIR *d, const char *name, int depth)
{
    size_t n = strlen(l->path), len = strlen(name);
    struct stat st;
    int rc = 0;
    if (++l->looked > ENTRIES_MAX)
        return err_set(l->err, ERR_LIMIT, "file://%s: more than %d entries were looked at", l->path,
                       ENTRIES_MAX);
    if (!str_copy(l->path + n, sizeof l->path - n, name))
        return err_set(l->err, ERR_LIMIT, "file://%s: a path is longer than %d bytes", l->path,
                       STAGE_KEY_MAX);
    if (name[len - 1] == '/') {
        if (depth == DEPTH_MAX)
            rc = err_set(l->err, ERR_LIMIT, "file://%s: more than %d directories deep", l->path,
                         DEPTH_MAX);
        else
            rc = list_directory(l, dirfd(d), name, "", depth + 1);
    } else if (fstatat(dirfd(d), name, &st, 0) == 0 && S_ISREG(st.st_mode)) {
        struct stage_info info;
        info_of(&st, &info);
        if (l->left == 0)
            rc = err_set(l->err, ERR_LIMIT, "there are more objects than were asked for");
        else if (l->fn(l->arg, l->path, &info) != 0)
            rc = err_set(l->err, ERR_INTERRUPTED, "stopped");
        else
            l->left--;
    }
    l->path[n] = '\0';
    return rc < 0 ? rc : stage_go_on(l->run, 0, l->err);
}

/* Those entries of dir whose names begin so; l->path is dir's, with a '/' behind. */
static int list_directory(struct listing *l, int at, const char *dir, const char *begin, int depth)
{
    int fd = openat(at, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth ? O_NOFOLLOW : 0));
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        int gone = errno == ENOENT || errno == ENOTDIR;
        if (fd >= 0)
            close(fd);
        return gone ? 0 : file_error(l->err, "list", l->path);
    }
    struct names names = {0};
    int rc = names_read(d, begin, &names, l->err);
    for (size_t i = 0; rc == 0 && i < names.n; i++)
        rc = list_entry(l, d, names.name[i], depth);
    names_free(&names);
    closedir(d);
    return rc;
}

static int file_list(void *unused, const struct stage_url *prefix, size_t max, stage_list_fn *fn,
                     void *arg, const struct stage_run *run, struct err *err)
{
    (void)unused;
    struct listing l = {.run = run, .fn = fn, .arg = arg, .left = max, .err = err};
    const char *begin = strrchr(prefix->key, '/') + 1;
    snprintf(l.path, sizeof l.path, "%.*s", (int)(begin - prefix->key), prefix->key);
    char dir[sizeof l.path];
    str_copy(dir, sizeof dir, l.path);
    return list_directory(&l, AT_FDCWD, dir, begin, 0);
}

static void file_close(void *unused)
{
    (void)unused;
}

int stage_file_open(const struct stage_ops **ret_ops, void **ret_store, struct err *err)
{
    static const struct stage_ops ops = {
        .close = file_close,
        .put = file_put,
        .get = file_get,
        .head = file_head,
        .list = file_list,
        .copy = file_copy,
        .del = file_del,
    };
    (void)err;
    *ret_ops = &ops;
    *ret_store = NULL;
    return 0;
}
