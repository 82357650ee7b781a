/* SPDX-License-Identifier: GPL-3.0-or-later */
/* stage_impl.h: what a kind of store has to do; for stage.c, stage_s3.c, stage_file.c and test
 * doubles
 *
 * stage.c has checked the URL's scheme and filled in run (never NULL, deadline set) and ret (never
 * NULL, zeroed).  The rest is as stage.h says.
 */
#ifndef COMMON_STAGE_IMPL_H
#define COMMON_STAGE_IMPL_H

#include <limits.h>

#include "common/stage.h"

struct stage_ops {
    void (*close)(void *store);
    int (*put)(void *store, const struct stage_url *to, int fd, uint64_t size_bytes,
               const struct stage_run *run, struct stage_info *ret, struct err *err);
    int (*get)(void *store, const struct stage_url *from, int fd, const struct stage_run *run,
               struct stage_info *ret, struct err *err);
    int (*head)(void *store, const struct stage_url *u, const struct stage_run *run,
                struct stage_info *ret, struct err *err);
    int (*list)(void *store, const struct stage_url *prefix, size_t max, stage_list_fn *fn,
                void *arg, const struct stage_run *run, struct err *err);
    int (*copy)(void *store, const struct stage_url *from, const struct stage_url *to,
                const struct stage_run *run, struct stage_info *ret, struct err *err);
    int (*del)(void *store, const struct stage_url *u, const struct stage_run *run,
               struct err *err);
};

/* Each gives its functions and what it calls itself with. */
int stage_file_open(const struct stage_ops **ret_ops, void **ret_store, struct err *err);
int stage_s3_open(const struct stage_conf *conf, const struct stage_ops **ret_ops, void **ret_store,
                  struct err *err);

/* Calls run->progress; -1 with INTERRUPTED or TIMEOUT when the call is to end. */
int stage_go_on(const struct stage_run *run, int64_t more_bytes, struct err *err);

/* A new file beside the one that it will be renamed to, and its name; read and write. */
int stage_part_open(int dirfd, const char *name, mode_t mode, char ret_part[NAME_MAX + 1],
                    struct err *err);
/* Is that the name of such a file? */
bool stage_part_is(const char *entry);

#endif
