/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"

const char *worker_host(void)
{
    static char name[256];
    if (!*name && gethostname(name, sizeof name - 1) < 0)
        str_copy(name, sizeof name, "the cluster's host");
    return name;
}

enum err_code worker_path_error(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    default:
        return ERR_INVALID;
    }
}

int worker_open_file(const char *what, const char *path, struct stat *ret_st, struct err *err)
{
    /* O_NONBLOCK: a fifo without a writer would hold us up. */
    AUTO(close) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, ret_st) < 0)
        return err_set(err, worker_path_error(errno), "%s %s: %s on %s", what, path,
                       strerror(errno), worker_host());
    if (S_ISDIR(ret_st->st_mode))
        return err_set(err, ERR_INVALID, "%s %s on %s is a directory, not a regular file", what,
                       path, worker_host());
    if (!S_ISREG(ret_st->st_mode))
        return err_set(err, ERR_INVALID, "%s %s on %s is not a regular file", what, path,
                       worker_host());
    return TAKE_FD(fd);
}
