/* SPDX-License-Identifier: GPL-3.0-or-later */
/* worker_file.h: the user's files, as the operations of the file worker see them */
#ifndef AGENTD_WORKER_FILE_H
#define AGENTD_WORKER_FILE_H

#include <sys/stat.h>

#include "common/err.h"

/* This host's name: a path means nothing without it. */
const char *worker_host(void);
/* What an errno of the file system is to the user. */
enum err_code worker_path_error(int number);
/* Opens a regular file for reading, and nothing else; what ("script") goes in front of its name in
 * the error.  -1 with NOT_FOUND, DENIED or INVALID, naming file and host. */
int worker_open_file(const char *what, const char *path, struct stat *ret_st, struct err *err);

#endif
