/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_stage.c: what comes from outside to the stores: aws files, URLs, a store's XML
 *
 * The first byte says which.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/aws_conf.h"
#include "common/stage_s3.h"
#include "common/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void aws(const char *text)
{
    struct aws_conf *c = aws_conf_new();
    struct err err = {0};
    if (!c)
        return;
    aws_conf_parse(c, text, "config", false, "p", &err);
    err = (struct err){0};
    aws_conf_parse(c, text, "credentials", true, "p", &err);
    aws_conf_free(c);
}

/* A URL that is taken is written as it was, but for the slash behind a bucket alone. */
static void url(const char *text)
{
    struct stage_url u, joined;
    struct err err = {0};
    char again[STAGE_URL_TEXT];
    if (stage_url_parse(text, &u, &err) < 0)
        return;
    assert(strncmp(stage_url_text(&u, again), text, strlen(text)) == 0);
    if (stage_url_join(&u, "name", &joined, &err) == 0)
        assert(!stage_url_is_prefix(&joined));
}

static void xml(const uint8_t *data, size_t size)
{
    struct s3_answer a = {.body = malloc(size + 1), .body_size = size};
    if (!a.body)
        return;
    memcpy(a.body, data, size);
    s3_answer_parse(&a);
    assert(strlen(a.code) < sizeof a.code && strlen(a.etag) < sizeof a.etag);
    s3_answer_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = size ? malloc(size) : NULL;
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (*data) {
    case 'a':
        aws(text);
        break;
    case 'u':
        url(text);
        break;
    case 'x':
        xml(data + 1, size - 1);
        break;
    default:
        break;
    }
    free(text);
    return 0;
}
