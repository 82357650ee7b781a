/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/staging.h"

#include "client/handle.h"
#include "common/manifest.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

static int take_inputs(const struct sagent_staging *in, struct arena *arena,
                       struct stage_manifest *out, struct err *err)
{
    struct bytes *v = arena_array(arena, in->input_count + 1, sizeof *v);
    for (size_t i = 0; v && i < in->input_count; i++) {
        const struct stage_input one = {.from = in->inputs[i].from, .to = in->inputs[i].to};
        v[i] = msg_pack_arena(&stage_input_type, &one, arena);
        v = v[i].p ? v : NULL;
    }
    out->inputs = (struct raws){v, in->input_count};
    return v ? 0 : no_memory(err);
}

static int take_outputs(const struct sagent_staging *in, struct arena *arena,
                        struct stage_manifest *out, struct err *err)
{
    struct bytes *v = arena_array(arena, in->output_count + 1, sizeof *v);
    for (size_t i = 0; v && i < in->output_count; i++) {
        const struct sagent_output *o = &in->outputs[i];
        const struct stage_output one = {
            .from = o->from, .to = o->to, .required = o->required, .on = o->on};
        v[i] = msg_pack_arena(&stage_output_type, &one, arena);
        v = v[i].p ? v : NULL;
    }
    out->outputs = (struct raws){v, in->output_count};
    return v ? 0 : no_memory(err);
}

int staging_take(const struct sagent_staging *in, struct arena *arena, struct submit_request *out,
                 struct err *err)
{
    struct stage_manifest m = {0};
    struct manifest checked;
    if (!in)
        return 0;
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0)
        return -1;
    if (in->timeout_s < 0 || in->quota < 0)
        return err_set(err, ERR_INVALID,
                       "the timeout and the quota of what is moved for a job are "
                       "not negative");
    if (take_inputs(in, arena, &m, err) < 0 || take_outputs(in, arena, &m, err) < 0)
        return -1;
    m.stdout_to = in->stdout_to;
    m.stderr_to = in->stderr_to;
    m.timeout_s = in->timeout_s;
    m.quota = in->quota;
    struct bytes *packed = arena_alloc(arena, sizeof *packed);
    if (packed)
        *packed = msg_pack_arena(&stage_manifest_type, &m, arena);
    if (!packed || !packed->p)
        return no_memory(err);
    out->stage = (struct raws){packed, 1};
    return manifest_read(*packed, arena, &checked, err);
}
