/* SPDX-License-Identifier: GPL-3.0-or-later */
/* beneath.h: paths that come from elsewhere, opened under a directory and nowhere else
 *
 * For names that a store or a request gives: no "..", no absolute path, and no symbolic link that
 * leads out of the directory (one that stays inside is followed).  The kernel judges it (openat2),
 * so nobody can swap a link in between.  No thread, no globals.
 */
#ifndef COMMON_BENEATH_H
#define COMMON_BENEATH_H

#include <stdbool.h>

#include "common/err.h"

/* Opens the directory that holds path's last part, and gives that part (it points into path).  With
 * make_dirs, directories that are missing are made, mode 0777 less the umask.  Returns a descriptor
 * (O_PATH: good for the *at() calls) or -1: INVALID when the path leads out or names no file,
 * NOT_FOUND, DENIED.  "a//b" is "a/b". */
int beneath_open_parent(int dirfd, const char *path, bool make_dirs, const char **ret_name,
                        struct err *err);
/* Opens an existing regular file for reading.  -1 as above, and INVALID for other than regular
 * files. */
int beneath_open_file(int dirfd, const char *path, struct err *err);

#endif
