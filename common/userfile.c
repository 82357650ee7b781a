/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/userfile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cleanup.h"

bool userfile_is_proc(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) < 0 || fs.f_type == PROC_SUPER_MAGIC;
}

int userfile_open(const char *path, struct stat *ret_st)
{
    /* O_NONBLOCK: a fifo without a writer would hold us up. */
    const struct open_how how = {
        .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
        .resolve = RESOLVE_NO_MAGICLINKS,
    };
    AUTO(close) int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (fd < 0 || fstat(fd, ret_st) < 0)
        return -1;
    if (userfile_is_proc(fd)) {
        errno = ELOOP;
        return -1;
    }
    return TAKE_FD(fd);
}

const char *userfile_error(int number)
{
    return number == ELOOP ? "leads into /proc, or to itself" : strerror(number);
}
