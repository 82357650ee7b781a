/* SPDX-License-Identifier: GPL-3.0-or-later */
/* s3_answer.c: what a store says in XML: errors, the id of an upload, the tag of what was made
 *
 * By libxml2, which loads nothing from anywhere and expands no entities here.  libs3's own reader
 * of errors writes past its table of eight details (2.0).
 */
#include <libxml/xmlreader.h>
#include <stdio.h>
#include <string.h>

#include "common/stage_s3.h"
#include "common/str.h"

void s3_answer_tag(struct s3_answer *a, const char *value)
{
    size_t n = strlen(value);
    bool quoted = n >= 2 && value[0] == '"' && value[n - 1] == '"';
    snprintf(a->etag, sizeof a->etag, "%.*s", (int)(quoted ? n - 2 : n), value + quoted);
}

/* So short a piece helps nobody, and in other words it would be found by chance. */
enum { PIECE = 8, SECRET_MIN = 4 };

void s3_mask(char *text, const char *secret)
{
    size_t len = secret ? strlen(secret) : 0, n = strlen(text), hidden = 0;
    size_t piece = len < PIECE ? len : PIECE;
    for (size_t i = 0; len >= SECRET_MIN && i < n; i++) {
        if (i + piece <= n && memmem(secret, len, text + i, piece))
            hidden = i + piece;
        if (i < hidden)
            text[i] = '*';
    }
}

/* The elements we look for are the root's children. */
static void take(struct s3_answer *a, bool is_error, const char *name, const char *value)
{
    if (is_error && str_eq(name, "Code"))
        str_copy(a->code, sizeof a->code, value);
    else if (is_error && str_eq(name, "Message"))
        str_copy(a->message, sizeof a->message, value);
    else if (is_error && str_eq(name, "Region"))
        str_copy(a->region, sizeof a->region, value);
    else if (str_eq(name, "UploadId") && !str_copy(a->upload_id, sizeof a->upload_id, value))
        *a->upload_id = '\0';
    else if (str_eq(name, "ETag"))
        s3_answer_tag(a, value);
}

int s3_answer_parse(struct s3_answer *a)
{
    if (!a->body_size)
        return 0;
    xmlTextReader *r = xmlReaderForMemory(a->body, (int)a->body_size, NULL, NULL,
                                          XML_PARSE_NONET | XML_PARSE_NOERROR |
                                              XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
    if (!r)
        return -1;
    char value[2048] = "";
    bool is_error = false;
    int rc;
    while ((rc = xmlTextReaderRead(r)) == 1) {
        int depth = xmlTextReaderDepth(r);
        switch (xmlTextReaderNodeType(r)) {
        case XML_READER_TYPE_ELEMENT:
            if (depth == 0)
                is_error = xmlStrEqual(xmlTextReaderConstLocalName(r), BAD_CAST "Error");
            *value = '\0';
            break;
        case XML_READER_TYPE_TEXT:
            if (depth == 2) {
                size_t n = strlen(value);
                str_copy(value + n, sizeof value - n, (const char *)xmlTextReaderConstValue(r));
            }
            break;
        case XML_READER_TYPE_END_ELEMENT:
            if (depth == 1)
                take(a, is_error, (const char *)xmlTextReaderConstLocalName(r), value);
            break;
        default:
            break;
        }
    }
    xmlFreeTextReader(r);
    if (is_error && !*a->code)
        str_copy(a->code, sizeof a->code, "Error");
    return rc == 0 ? 0 : -1;
}
