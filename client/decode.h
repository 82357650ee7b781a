/* SPDX-License-Identifier: GPL-3.0-or-later */
/* decode.h: reply bodies as the public structs of slurmagent.h
 *
 * Each fills *out, made with result_new(), from a body; strings and lists go into its arena.
 * Fields that are not known are passed over.  ERR_PROTOCOL for what is no such body.
 */
#ifndef CLIENT_DECODE_H
#define CLIENT_DECODE_H

#include "client/slurmagent.h"
#include "common/err.h"
#include "common/wire.h"

struct sagent_jobs {
    struct sagent_job *jobs; /* malloc()ed: it grows with each page */
    size_t n, room;
    int64_t as_of;
    bool stale, truncated, done;
    const char *note, *source, *cursor;
    const char *const *missing;
    size_t missing_count;
};

struct sagent_events {
    struct sagent_event *events;
    size_t n;
    int64_t as_of;
    bool stale, reset;
    const char *note, *cursor;
};

int decode_server(struct bytes body, struct sagent_server *out, struct err *err);
int decode_identity(struct bytes body, struct sagent_identity *out, struct err *err);
int decode_submit(struct bytes body, struct sagent_submit_reply *out, struct err *err);
int decode_request(struct bytes body, struct sagent_request *out, struct err *err);
/* Where a list goes on; both 0: this was all. */
struct decode_next {
    int64_t after, after_ended; /* as in list_request */
};
/* Adds a page to what is there. */
int decode_jobs(struct bytes body, struct sagent_jobs *out, struct decode_next *ret_next,
                struct err *err);
/* *out's data is borrowed from body. */
int decode_log(struct bytes body, struct sagent_log_chunk *out, struct err *err);
int decode_wait(struct bytes body, struct sagent_jobs *out, struct err *err);
int decode_events(struct bytes body, struct sagent_events *out, struct err *err);
int decode_staged(struct bytes body, struct sagent_staged *out, struct err *err);
int decode_script(struct bytes body, struct sagent_script *out, struct err *err);
int decode_environment(struct bytes body, struct sagent_script *out, struct err *err);
int decode_steps(struct bytes body, struct sagent_steps *out, struct err *err);
/* Adds to what is there.  n: how many were asked for, in this order; DECODE_ANY with filters. */
#define DECODE_ANY SIZE_MAX
int decode_controlled(struct bytes body, size_t n, struct sagent_controlled *out, int64_t *ret_next,
                      struct err *err);
int decode_cluster(struct bytes body, struct sagent_cluster *out, struct err *err);

#endif
