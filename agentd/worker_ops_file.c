/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker_file.h"

#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "common/userfile.h"

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
    AUTO(close) int fd = userfile_open(path, ret_st);
    if (fd < 0)
        return err_set(err, worker_path_error(errno), "%s %s: %s on %s", what, path,
                       userfile_error(errno), worker_host());
    if (S_ISDIR(ret_st->st_mode))
        return err_set(err, ERR_INVALID, "%s %s on %s is a directory, not a regular file", what,
                       path, worker_host());
    if (!S_ISREG(ret_st->st_mode))
        return err_set(err, ERR_INVALID, "%s %s on %s is not a regular file", what, path,
                       worker_host());
    return TAKE_FD(fd);
}
