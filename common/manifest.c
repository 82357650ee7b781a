/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "common/stage.h"
#include "common/str.h"

bool manifest_is_directory(const char *path_or_url)
{
    size_t n = strlen(path_or_url);
    return n == 0 || path_or_url[n - 1] == '/';
}

bool manifest_is_glob(const char *path)
{
    return strpbrk(path, "*?[") != NULL;
}

/* ---- checks ---- */

static int check_path(const char *what, const char *path, struct err *err)
{
    if (path[0] == '~' && (path[1] == '/' || !path[1]))
        return err_set(err, ERR_INVALID,
                       "%s %.200s: '~' is the shell's word for a directory: write it out (or ./~)",
                       what, path);
    for (const char *at = path; *at;) {
        size_t n = strcspn(at, "/");
        if (n == 2 && memcmp(at, "..", 2) == 0)
            return err_set(err, ERR_INVALID,
                           "%s %.200s: '..' is not allowed: give a path below the working "
                           "directory, or an absolute one",
                           what, path);
        if (n > 255)
            return err_set(err, ERR_INVALID, "%s %.200s: a part of it is longer than 255 bytes",
                           what, path);
        at += n + (at[n] == '/');
    }
    for (const char *at = path; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return err_set(err, ERR_INVALID, "%s: a path with control characters", what);
    return 0;
}

/* array: of an array, whose tasks must not overwrite one another's. */
static int check_patterns(const char *what, const char *text, bool array, struct err *err)
{
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 2, '%')) {
        if (!at[1] || !strchr("jAa%", at[1]))
            return err_set(err, ERR_INVALID,
                           "%s %.200s: only %%j, %%A, %%a are known here, and %%%% for a percent "
                           "sign",
                           what, text);
        if (at[1] == 'a' && !array)
            return err_set(err, ERR_INVALID, "%s %.200s: %%a, and the job is no array", what, text);
    }
    return 0;
}

static bool tells_tasks_apart(const char *text)
{
    for (const char *at = strchr(text, '%'); at; at = strchr(at + 2, '%'))
        if (at[1] == 'a' || at[1] == 'j')
            return true;
    return false;
}

static int check_url(const char *what, const char *text, struct err *err)
{
    struct stage_url u;
    if (!text)
        return err_set(err, ERR_INVALID, "%s: there is no URL", what);
    return stage_url_parse(text, &u, err) < 0 ? err_while(err, "%s", what) : 0;
}

static int check_input(const struct stage_input *in, struct err *err)
{
    if (check_url("input", in->from, err) < 0)
        return -1;
    if (in->to && check_path("input", in->to, err) < 0)
        return -1;
    size_t n = in->to ? strlen(in->to) : 0;
    if (n && in->to[n - 1] == '.' && (n == 1 || in->to[n - 2] == '/'))
        return err_set(err, ERR_INVALID,
                       "input %.200s: it would be called '.': a directory ends with a slash",
                       in->to);
    return 0;
}

/* The server knows whether it is an array; a client's %a is taken on trust until then. */
static int check_stored(const struct manifest *m, const char *what, const char *to, struct err *err)
{
    bool set = m->body.work_dir != NULL;
    if (check_url(what, to, err) < 0 || check_patterns(what, to, !set || m->body.array, err) < 0)
        return -1;
    if (m->body.array && !tells_tasks_apart(to))
        return err_set(err, ERR_INVALID,
                       "%s %.200s: each task of the array would store the same: put %%a into it",
                       what, to);
    return 0;
}

static int check_output(const struct manifest *m, const struct stage_output *out, struct err *err)
{
    static const char *const words[] = {"success", "failure", "always"};
    bool set = m->body.work_dir != NULL, known = false;
    if (!out->from || !*out->from)
        return err_set(err, ERR_INVALID, "output: there is no path");
    if (check_path("output", out->from, err) < 0 ||
        check_patterns("output", out->from, !set || m->body.array, err) < 0 ||
        check_stored(m, "output", out->to, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        known |= str_eq(str_or(out->on, "success"), words[i]);
    if (!known)
        return err_set(err, ERR_INVALID, "output %.200s: on '%s': give success, failure or always",
                       out->from, out->on);
    struct stage_url u;
    bool several = manifest_is_directory(out->from) || manifest_is_glob(out->from);
    if (several && stage_url_parse(out->to, &u, err) == 0 && !stage_url_is_prefix(&u))
        return err_set(err, ERR_INVALID,
                       "output %.200s may be several files: %.200s must end with a slash",
                       out->from, out->to);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of a path, as it is compared: "./a//b" is "a/b". */
static const char *plain(const char *path, struct arena *arena)
{
    char *out = path ? arena_strdup(arena, path) : NULL, *end = out;
    for (const char *at = path; out && *at;) {
        size_t n = strcspn(at, "/");
        bool slash = at[n] == '/', keep = slash && at == path && n == 0;
        if (n && !(n == 1 && *at == '.')) {
            memmove(end, at, n);
            end += n;
            keep = slash;
        }
        if (keep)
            *end++ = '/';
        at += n + slash;
    }
    if (out)
        *end = '\0';
    return out;
}

static int check_targets(const struct manifest *m, struct arena *arena, struct err *err)
{
    const char **v = arena_array(arena, m->n_inputs + 1, sizeof *v);
    if (!v)
        return err_set(err, ERR_BUSY, "no memory");
    for (size_t i = 0; i < m->n_inputs; i++)
        if (!(v[i] = plain(manifest_target(&m->inputs[i], arena), arena)))
            return err_set(err, ERR_BUSY, "no memory");
    qsort(v, m->n_inputs, sizeof *v, by_text);
    for (size_t i = 1; i < m->n_inputs; i++)
        if (str_eq(v[i - 1], v[i]) && !manifest_is_directory(v[i]))
            return err_set(err, ERR_INVALID, "two inputs would become the same file: %.200s", v[i]);
    return 0;
}

static int check(const struct manifest *m, struct arena *arena, struct err *err)
{
    const struct stage_manifest *b = &m->body;
    if (!m->n_inputs && !m->n_outputs && !b->stdout_to && !b->stderr_to)
        return err_set(err, ERR_INVALID, "the staging manifest is empty: leave it out");
    for (size_t i = 0; i < m->n_inputs; i++)
        if (check_input(&m->inputs[i], err) < 0)
            return -1;
    for (size_t i = 0; i < m->n_outputs; i++)
        if (check_output(m, &m->outputs[i], err) < 0)
            return -1;
    if (b->stdout_to && check_stored(m, "stdout", b->stdout_to, err) < 0)
        return -1;
    if (b->stderr_to && check_stored(m, "stderr", b->stderr_to, err) < 0)
        return -1;
    return check_targets(m, arena, err);
}

int manifest_check_request(const struct manifest *m, struct err *err)
{
    const struct stage_manifest *b = &m->body;
    if (b->work_dir || b->std_out || b->std_err || b->array || b->held)
        return err_set(err, ERR_INVALID,
                       "work_dir, std_out, std_err, array and held of a staging manifest are the "
                       "server's to say");
    return 0;
}

/* ---- reading ---- */

int manifest_read(struct bytes packed, struct arena *arena, struct manifest *out, struct err *err)
{
    *out = (struct manifest){0};
    if (packed.n > MANIFEST_MAX)
        return err_set(err, ERR_LIMIT, "the staging manifest is %zu bytes, at most %d are allowed",
                       packed.n, MANIFEST_MAX);
    if (msg_unpack(&stage_manifest_type, packed, arena, MSG_STRICT, &out->body, err) < 0)
        return err_while(err, "staging manifest");
    out->n_inputs = out->body.inputs.n;
    out->n_outputs = out->body.outputs.n;
    out->inputs = arena_array(arena, out->n_inputs + 1, sizeof *out->inputs);
    out->outputs = arena_array(arena, out->n_outputs + 1, sizeof *out->outputs);
    if (!out->inputs || !out->outputs)
        return err_set(err, ERR_BUSY, "no memory");
    for (size_t i = 0; i < out->n_inputs; i++)
        if (msg_unpack(&stage_input_type, out->body.inputs.v[i], arena, MSG_STRICT, &out->inputs[i],
                       err) < 0)
            return err_while(err, "staging manifest");
    for (size_t i = 0; i < out->n_outputs; i++)
        if (msg_unpack(&stage_output_type, out->body.outputs.v[i], arena, MSG_STRICT,
                       &out->outputs[i], err) < 0)
            return err_while(err, "staging manifest");
    return check(out, arena, err);
}

/* ---- what it says ---- */

/* What Slurm makes of %a, in names of logs, where there is no task. */
static const int64_t NO_VAL_TASK = 4294967294;

const char *manifest_target(const struct stage_input *in, struct arena *arena)
{
    const char *slash = strrchr(in->from, '/'), *name = slash ? slash + 1 : in->from;
    const char *to = str_or(in->to, "");
    if (!*name) /* a prefix: a directory, whether it says so or not */
        return manifest_is_directory(to) ? to : arena_printf(arena, "%s/", to);
    return manifest_is_directory(to) ? arena_printf(arena, "%s%s", to, name) : to;
}

const char *manifest_expand(const char *text, const struct manifest_job *job, struct arena *arena)
{
    size_t room = strlen(text) + 1;
    for (const char *at = text; *at; at++)
        room += *at == '%' ? 20 : 0;
    char *out = arena_alloc(arena, room), *end = out;
    if (!out)
        return NULL;
    for (const char *at = text; *at; at++) {
        if (*at != '%' || !at[1]) {
            *end++ = *at;
            continue;
        }
        at++;
        int64_t task = job->task == MANIFEST_NO_TASK ? NO_VAL_TASK : job->task;
        int64_t n = *at == 'j' ? job->job_id : *at == 'A' ? job->array_job_id : task;
        if (*at == '%')
            *end++ = '%';
        else
            end += sprintf(end, "%lld", (long long)n);
    }
    *end = '\0';
    return out;
}

bool manifest_wants(const struct stage_output *out, bool failed)
{
    const char *on = str_or(out->on, "success");
    return str_eq(on, "always") || str_eq(on, failed ? "failure" : "success");
}

bool manifest_has_outputs(const struct manifest *m, bool failed)
{
    for (size_t i = 0; i < m->n_outputs; i++)
        if (manifest_wants(&m->outputs[i], failed))
            return true;
    return m->body.stdout_to || m->body.stderr_to;
}
