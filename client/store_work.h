/* SPDX-License-Identifier: GPL-3.0-or-later */
/* store_work.h: many files, moved as a plan says: what put, fetch and upload share */
#ifndef CLIENT_STORE_WORK_H
#define CLIENT_STORE_WORK_H

#include <pthread.h>

#include "client/slurmagent_store.h"
#include "client/store_plan.h"
#include "common/stage.h"

struct sagent_store {
    enum stage_scheme scheme;
    struct stage *stage;
    int parallel;
};

/* A file as it was when it was looked at, and whether we have made its object. */
struct store_mark {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec modified;
    bool made;
};

struct store_work {
    struct sagent_store *st;
    const struct sagent_transfer_options *o;
    struct store_plan plan;
    struct stage_run run;
    bool is_put;
    struct store_mark *marks; /* of an upload: one for each of the plan; NULL */
    bool may_be_there;        /* of an upload: what is there already need not be moved */
    int dirfd;                /* of a fetch */
    pthread_mutex_t lock;     /* of all below, and of what is told */
    int64_t done_bytes, done_files;
    struct err first;
};

/* NULL is no URL.  store_work_end() also after a failure. */
int store_work_begin(struct store_work *w, struct sagent_store *st, const char *url,
                     const struct sagent_transfer_options *o, struct stage_url *ret,
                     struct err *err);
/* Moves all that is planned; the first error in time, however many there are. */
int store_work_through(struct store_work *w, struct err *err);
void store_work_end(struct store_work *w);
/* Asks whether to go on; ERR_INTERRUPTED. */
int store_work_go_on(struct store_work *w, struct err *err);

int store_open(const char *url, const struct sagent_store_options *o, struct sagent_store **ret,
               struct err *err);
/* Of an open file. */
int store_mark(int fd, struct store_mark *ret, struct err *err);

#endif
