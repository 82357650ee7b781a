/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/userfile.h"

/* EAGAIN: something was renamed meanwhile, and the kernel could not be sure. */
enum { BENEATH_TRIES = 100 };

/* Nothing leads out of it, and RESOLVE_BENEATH would refuse each absolute link: /home is one on
 * many a cluster. */
static bool is_root(int dirfd)
{
    struct stat a, b;
    return fstat(dirfd, &a) == 0 && stat("/", &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int open_beneath(int dirfd, const char *path, uint64_t flags)
{
    const struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .resolve = (is_root(dirfd) ? RESOLVE_IN_ROOT : RESOLVE_BENEATH) | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;
    for (int i = 0; i < BENEATH_TRIES; i++) {
        fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
}

static int path_error(struct err *err, const char *path)
{
    switch (errno) {
    case EXDEV: /* RESOLVE_BENEATH's answer */
        return err_set(err, ERR_INVALID, "%s leads out of its directory", path);
    case ENOENT:
        return err_errno(err, ERR_NOT_FOUND, "%s", path);
    case EACCES:
    case EPERM:
    case EROFS:
        return err_errno(err, ERR_DENIED, "%s", path);
    default:
        return err_errno(err, ERR_INVALID, "%s", path);
    }
}

/* Refused by their look, whether or not they exist. */
static int check(const char *path, struct err *err)
{
    if (!*path || path[strlen(path) - 1] == '/')
        return err_set(err, ERR_INVALID, "'%s' names no file", path);
    if (*path == '/')
        return err_set(err, ERR_INVALID, "%s is an absolute path", path);
    if (strlen(path) >= PATH_MAX)
        return err_set(err, ERR_INVALID, "%.60s... is longer than a path may be", path);
    for (const char *p = path; *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0)
            return err_set(err, ERR_INVALID, "%s has '..' in it", path);
        if (n == 1 && *p == '.' && !p[n])
            return err_set(err, ERR_INVALID, "%s names no file", path);
        p += n;
    }
    return 0;
}

/* Makes what is missing of a directory's path, from the top. */
static int make_directories(int dirfd, const char *dir, struct err *err)
{
    char upto[PATH_MAX];
    AUTO(close) int parent = open_beneath(dirfd, ".", O_PATH | O_DIRECTORY);
    size_t end = 0;
    while (parent >= 0 && dir[end]) {
        size_t at = end + strspn(dir + end, "/");
        end = at + strcspn(dir + at, "/");
        memcpy(upto, dir, end);
        upto[end] = '\0';
        if (mkdirat(parent, upto + at, 0777) < 0 && errno != EEXIST)
            return path_error(err, upto);
        close(parent);
        parent = open_beneath(dirfd, upto, O_PATH | O_DIRECTORY);
    }
    return parent >= 0 ? 0 : path_error(err, dir);
}

static int open_directory(int dirfd, const char *dir, bool make, struct err *err)
{
    int fd = open_beneath(dirfd, dir, O_PATH | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT && make) {
        if (make_directories(dirfd, dir, err) < 0)
            return -1;
        fd = open_beneath(dirfd, dir, O_PATH | O_DIRECTORY);
    }
    return fd >= 0 ? fd : path_error(err, dir);
}

int beneath_open_parent(int dirfd, const char *path, bool make_dirs, const char **ret_name,
                        struct err *err)
{
    if (check(path, err) < 0)
        return -1;
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    while (n && path[n - 1] == '/')
        n--;
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%.*s", n ? (int)n : 1, n ? path : ".");
    int fd = open_directory(dirfd, dir, make_dirs, err);
    if (fd >= 0)
        *ret_name = slash ? slash + 1 : path;
    return fd;
}

int beneath_open_file(int dirfd, const char *path, struct err *err)
{
    if (check(path, err) < 0)
        return -1;
    /* O_NONBLOCK: a fifo without a writer would hold us up. */
    AUTO(close) int fd = open_beneath(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return path_error(err, path);
    if (!S_ISREG(st.st_mode) || userfile_is_proc(fd))
        return err_set(err, ERR_INVALID, "%s is not a regular file", path);
    return TAKE_FD(fd);
}
