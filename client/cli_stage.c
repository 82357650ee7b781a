/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/cli_stage.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/str.h"

static bool is_url(const char *text)
{
    return strncmp(text, "s3://", 5) == 0 || strncmp(text, "file://", 7) == 0;
}

/* "URL" or "URL:PATH": the last colon behind the scheme's parts them. */
static int add_input(struct cli_stage *s, const char *value, struct err *err)
{
    size_t n = s->staging.input_count;
    struct sagent_input *v = reallocarray(s->inputs, n + 1, sizeof *v);
    if (!v)
        return err_set(err, ERR_INTERNAL, "no memory");
    s->inputs = v;
    const char *colon = strrchr(strstr(value, "://") + 3, ':');
    char *from = colon ? strndup(value, (size_t)(colon - value)) : strdup(value);
    if (!from)
        return err_set(err, ERR_INTERNAL, "no memory");
    v[n] = (struct sagent_input){.from = from, .to = colon && colon[1] ? colon + 1 : NULL};
    s->staging.input_count++;
    return 1;
}

/* "LOCAL" or "LOCAL:PATH": the last colon parts them. */
static int add_upload(struct cli_stage *s, const char *value, struct err *err)
{
    size_t n = s->upload_count;
    const char *colon = strrchr(value, ':');
    size_t length = colon ? (size_t)(colon - value) : strlen(value);
    if (is_url(value))
        return err_set(err, ERR_INVALID,
                       "--upload %.200s: is in a store already: --input fetches it from there",
                       value);
    if (!length)
        return err_set(err, ERR_INVALID, "--upload %.200s: give LOCAL or LOCAL:PATH", value);
    struct sagent_upload *v = reallocarray(s->uploads, n + 1, sizeof *v);
    if (!v)
        return err_set(err, ERR_INTERNAL, "no memory");
    s->uploads = v;
    char *path = strndup(value, length);
    if (!path)
        return err_set(err, ERR_INTERNAL, "no memory");
    v[n] = (struct sagent_upload){.path = path, .to = colon && colon[1] ? colon + 1 : NULL};
    s->upload_count++;
    return 1;
}

/* Where the URL begins in PATH=URL; NULL when it is no such thing. */
static const char *find_url(const char *value)
{
    for (const char *at = strchr(value, '='); at; at = strchr(at + 1, '='))
        if (at > value && is_url(at + 1))
            return at + 1;
    return NULL;
}

static int add_output(struct cli_stage *s, const char *value, const char *url, bool required,
                      struct err *err)
{
    size_t n = s->staging.output_count;
    struct sagent_output *v = reallocarray(s->outputs, n + 1, sizeof *v);
    if (!v)
        return err_set(err, ERR_INTERNAL, "no memory");
    s->outputs = v;
    char *from = strndup(value, (size_t)(url - 1 - value));
    if (!from)
        return err_set(err, ERR_INTERNAL, "no memory");
    v[n] = (struct sagent_output){.from = from, .to = url, .required = required};
    s->staging.output_count++;
    return 1;
}

static int take_quota(const char *text, int64_t *ret, struct err *err)
{
    static const char units[] = "KMGT";
    char digits[24];
    size_t n = strspn(text, "0123456789");
    const char *unit = text[n] ? strchr(units, text[n] & ~0x20) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (n && n < sizeof digits && (!text[n] || (unit && !text[n + 1]))) {
        memcpy(digits, text, n);
        digits[n] = '\0';
        if (str_to_i64(digits, 1, INT64_MAX >> shift, ret)) {
            *ret <<= shift;
            return 1;
        }
    }
    return err_set(err, ERR_INVALID,
                   "--stage-quota %.100s: give bytes, or a number with K, M, G or T", text);
}

static int take_timeout(const char *text, int64_t *ret, struct err *err)
{
    enum { MOST_S = 30 * 24 * 3600 };
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 24 * 3600}};
    char digits[24];
    size_t n = strspn(text, "0123456789");
    for (size_t i = 0; n && n < sizeof digits && i < ARRAY_LEN(units); i++) {
        if (!str_eq(text + n, units[i].unit))
            continue;
        memcpy(digits, text, n);
        digits[n] = '\0';
        if (!str_to_i64(digits, 1, MOST_S / units[i].seconds, ret))
            break;
        *ret *= units[i].seconds;
        return 1;
    }
    return err_set(err, ERR_INVALID,
                   "--stage-timeout %.100s: give seconds, or a number with m, h or d: 30d at most",
                   text);
}

int cli_stage_take(struct cli_stage *s, const char *name, const char *value, struct err *err)
{
    const char *url = value ? find_url(value) : NULL;
    if (!value)
        return 0;
    if (str_eq(name, "input"))
        return is_url(value) ? add_input(s, value, err) : 0;
    if (str_eq(name, "output"))
        return url ? add_output(s, value, url, true, err) : 0;
    if (str_eq(name, "optional-output") && url)
        return add_output(s, value, url, false, err);
    if (str_eq(name, "optional-output"))
        return err_set(err, ERR_INVALID, "--optional-output %.100s: give PATH=URL", value);
    if (str_eq(name, "upload"))
        return add_upload(s, value, err);
    if (str_eq(name, "upload-store"))
        s->upload_store = value;
    else if (str_eq(name, "output-on"))
        s->output_on = value;
    else if (str_eq(name, "stdout-to"))
        s->staging.stdout_to = value;
    else if (str_eq(name, "stderr-to"))
        s->staging.stderr_to = value;
    else if (str_eq(name, "stage-quota"))
        return take_quota(value, &s->staging.quota, err);
    else if (str_eq(name, "stage-timeout"))
        return take_timeout(value, &s->staging.timeout_s, err);
    else
        return 0;
    return 1;
}

void cli_stage_end(struct cli_stage *s)
{
    for (size_t i = 0; i < s->staging.output_count; i++)
        s->outputs[i].on = s->output_on;
    s->staging.inputs = s->inputs;
    s->staging.outputs = s->outputs;
    s->any = s->staging.input_count || s->staging.output_count || s->staging.stdout_to ||
             s->staging.stderr_to;
}

void cli_stage_done(struct cli_stage *s)
{
    for (size_t i = 0; i < s->staging.input_count; i++)
        free((char *)s->inputs[i].from);
    for (size_t i = 0; i < s->staging.output_count; i++)
        free((char *)s->outputs[i].from);
    for (size_t i = 0; i < s->upload_count; i++)
        free((char *)s->uploads[i].path);
    free(s->inputs);
    free(s->outputs);
    free(s->uploads);
    *s = (struct cli_stage){0};
}
