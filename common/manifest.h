/* SPDX-License-Identifier: GPL-3.0-or-later */
/* manifest.h: what is to be moved for a job: reading, checking and expanding a stage_manifest
 *
 * For broker, stage worker and client.  Pure: no file system, no store.
 */
#ifndef COMMON_MANIFEST_H
#define COMMON_MANIFEST_H

#include "common/msg.h"

enum {
    MANIFEST_MAX = 65536, /* packed bytes */
    MANIFEST_NO_TASK = -1,
};

struct manifest {
    struct stage_manifest body;
    struct stage_input *inputs;
    size_t n_inputs;
    struct stage_output *outputs;
    size_t n_outputs;
};

/* Unpacks into the arena and checks all of it: URLs, paths (never "..", which could lead anywhere),
 * patterns, and that no two inputs become the same file.  ERR_INVALID or ERR_LIMIT name what is
 * wrong and what would be right. */
int manifest_read(struct bytes packed, struct arena *arena, struct manifest *out, struct err *err);
/* Of a client's request: what the server sets is not said. */
int manifest_check_request(const struct manifest *m, struct err *err);

/* The directory or file an input becomes, "" for the working directory itself. */
const char *manifest_target(const struct stage_input *in, struct arena *arena);
bool manifest_is_directory(const char *path_or_url);
/* Has it * ? or [ ? */
bool manifest_is_glob(const char *path);

/* Which job: what %j, %A and %a stand for.  Outside an array %A is the job's id, and %a is in
 * names of logs alone. */
struct manifest_job {
    int64_t job_id, array_job_id, task;
};
/* NULL without memory. */
const char *manifest_expand(const char *text, const struct manifest_job *job, struct arena *arena);

/* Is the output stored after such an end? */
bool manifest_wants(const struct stage_output *out, bool failed);
/* Is there anything to store after such an end? */
bool manifest_has_outputs(const struct manifest *m, bool failed);

#endif
