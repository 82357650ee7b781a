/* SPDX-License-Identifier: GPL-3.0-or-later */
/* userfile.h: files that somebody else names, opened for reading
 *
 * Symbolic links are followed as everywhere, but not those of /proc: /dev/stdin or /proc/self/fd/3
 * is whatever the process that opens it has there, which is not its user's to read; nor is any
 * other file of /proc (what is in it depends on who looks).  No thread, no globals.
 */
#ifndef COMMON_USERFILE_H
#define COMMON_USERFILE_H

#include <stdbool.h>
#include <sys/stat.h>

/* A descriptor that does not block, of whatever kind of file: *ret_st says which.  -1 with errno;
 * ELOOP for what is of /proc, or leads there, besides links in a circle. */
int userfile_open(const char *path, struct stat *ret_st);
/* Is an open file one of /proc's? */
bool userfile_is_proc(int fd);
/* strerror() that knows what ELOOP is here. */
const char *userfile_error(int number);

#endif
