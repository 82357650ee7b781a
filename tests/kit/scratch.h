/* SPDX-License-Identifier: GPL-3.0-or-later */
/* scratch.h: a directory for one test, and where the build is */
#ifndef TESTS_KIT_SCRATCH_H
#define TESTS_KIT_SCRATCH_H

enum { SCRATCH_PATH = 80, BUILD_PATH = 4096 }; /* sockets in it must fit into sockaddr_un */

/* A new directory under /tmp that every user may enter. */
void scratch_make(char out[SCRATCH_PATH]);
/* With what is in it, up to eight directories deep. */
void scratch_remove(const char *dir);
/* dir/name; fails the test when it does not fit. */
void scratch_path(char out[SCRATCH_PATH], const char *dir, const char *name);
/* mode 0644 */
void scratch_write(const char *dir, const char *name, const char *text);
/* The whole file; empty when it is not there.  Gives: free(). */
char *scratch_read(const char *path);

/* A file of the build that this program belongs to (it is in B/tests), "bin/slurm-agentd" say. */
void build_path(char out[BUILD_PATH], const char *rel);

#endif
