/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_manifest.c: staging manifests, which come from clients, file workers and brokers
 *
 * What is taken leads nowhere else: no path has a part "..", no two inputs become one file, and
 * numbers in place of patterns do not change that.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/manifest.h"
#include "common/stage.h"
#include "common/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool leads_up(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || !at[2]))
            return true;
    }
    return false;
}

static void check_input(const struct stage_input *in, struct arena *arena)
{
    struct stage_url u;
    struct err err = {0};
    const char *to = manifest_target(in, arena);
    assert(stage_url_parse(in->from, &u, &err) == 0);
    assert(to && (!in->to || !leads_up(in->to)));
    /* The name of a key is looked at when it becomes a file's: stage_in.c. */
    assert(!in->to || manifest_is_directory(in->to) || !leads_up(to));
}

static void check_output(const struct manifest *m, const struct stage_output *out,
                         struct arena *arena)
{
    struct manifest_job job = {.job_id = 4294967295, .array_job_id = 12, .task = MANIFEST_NO_TASK};
    struct stage_url u;
    struct err err = {0};
    if (m->body.array)
        job.task = 4000000;
    const char *from = manifest_expand(out->from, &job, arena),
               *to = manifest_expand(out->to, &job, arena);
    assert(from && to && !leads_up(from));
    /* Numbers are longer than what they stand for: a URL may become too long, nothing else. */
    if (stage_url_parse(to, &u, &err) < 0)
        assert(strlen(to) > strlen(out->to));
    assert(manifest_wants(out, true) || manifest_wants(out, false));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_done) struct arena arena;
    struct manifest m;
    struct err err = {0};
    arena_init(&arena, 64 << 20);
    if (manifest_read((struct bytes){data, size}, &arena, &m, &err) < 0) {
        assert(err.code != ERR_NONE && *err.text);
        return 0;
    }
    assert(size <= MANIFEST_MAX && m.n_inputs <= 256 && m.n_outputs <= 256);
    for (size_t i = 0; i < m.n_inputs; i++)
        check_input(&m.inputs[i], &arena);
    for (size_t i = 0; i < m.n_outputs; i++)
        check_output(&m, &m.outputs[i], &arena);
    assert(m.n_inputs || manifest_has_outputs(&m, true) || manifest_has_outputs(&m, false));
    manifest_check_request(&m, &err);
    return 0;
}
