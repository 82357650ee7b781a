/* SPDX-License-Identifier: GPL-3.0-or-later */
/* docs/PROTOCOL.md's tables are what the .def files say.  UPDATE_DOCS=1 rewrites them. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/msg.h"
#include "common/ops.h"

static const char path[] = "docs/PROTOCOL.md";
static const char begin_mark[] = "<!-- begin tables -->\n";
static const char end_mark[] = "<!-- end tables -->";

/* What crosses socketpairs inside the host is not the protocol. */
static bool is_internal(const char *name)
{
    static const char *const internal[] = {"watch_command", "watch_report", "acct_request",
                                           "found_request", "acct_text_request"};
    for (size_t i = 0; i < ARRAY_LEN(internal); i++)
        if (strcmp(name, internal[i]) == 0)
            return true;
    return false;
}

static void print_kind(FILE *f, const struct msg_field *d)
{
    switch (d->kind) {
    case MSG_STR:
        fprintf(f, "string, %zu bytes", d->max_bytes);
        break;
    case MSG_BIN:
        fprintf(f, "binary, %zu bytes", d->max_bytes);
        break;
    case MSG_I64:
        if (d->max == INT64_MAX)
            fprintf(f, "number from %" PRId64, d->min);
        else
            fprintf(f, "number, %" PRId64 " to %" PRId64, d->min, d->max);
        break;
    case MSG_BOOL:
        fprintf(f, "boolean");
        break;
    case MSG_STRS:
        fprintf(f, "list of %zu strings, %zu bytes each", d->max_count, d->max_bytes);
        break;
    case MSG_INTS:
        fprintf(f, "list of %zu numbers", d->max_count);
        break;
    case MSG_PAIRS:
        fprintf(f, "map of %zu strings to strings, %zu bytes each", d->max_count, d->max_bytes);
        break;
    case MSG_RAWS:
        fprintf(f, "list of %zu `%s`", d->max_count, d->of);
        break;
    }
}

static void print_states(FILE *f)
{
    fprintf(f, "\n### Phases\n\nA job's state in a workflow engine's terms. Others may come: one "
               "that you do not know is no end.\n\n"
               "| phase | an end | |\n| --- | --- | --- |\n");
#define PHASE(word, ended, help)                                                                   \
    fprintf(f, "| %s | %s | %s |\n", #word, ended ? "yes" : "no", help);
#include "common/phases.def"
#undef PHASE
    fprintf(f, "\nBy Slurm's base state; one that this table lacks is RUNNING.\n\n"
               "| state | short | phase |\n| --- | --- | --- |\n");
#define JOB_STATE(word, abbreviation, phase, ending)                                               \
    fprintf(f, "| %s | %s | %s |\n", #word, #abbreviation, #phase);
#include "common/job_states.def"
#undef JOB_STATE
    fprintf(f, "\nThen by its flags: AGAIN makes an end QUEUED, REVOKED is REVOKED, KEEP and flags "
               "that this table lacks change nothing.\n\n"
               "| flag | effect | |\n| --- | --- | --- |\n");
#define JOB_FLAG(bit, word, effect, help) fprintf(f, "| %s | %s | %s |\n", #word, #effect, help);
#include "common/job_flags.def"
#undef JOB_FLAG
}

static void print_tables(FILE *f)
{
    fprintf(f,
            "\n### Operations\n\n| number | operation | who | request | reply | largest body | |\n"
            "| --- | --- | --- | --- | --- | --- | --- |\n");
#define OP(id, name, number, who, body_max, request, reply, help)                                  \
    fprintf(f, "| %d | %s | %s | `%s` | `%s` | %d | %s |\n", number, name, #who, #request, #reply, \
            body_max, help);
#include "common/ops.def"
#undef OP
    fprintf(f,
            "\n### Errors\n\n`exit` is the exit status of the CLI; `retry` says whether the same "
            "request may succeed later.\n\n| code | name | exit | retry | |\n"
            "| --- | --- | --- | --- | --- |\n");
#define ERR(name, number, status, retry, help)                                                     \
    fprintf(f, "| %d | %s | %d | %s | %s |\n", number, #name, status, retry ? "yes" : "no", help);
#include "common/errors.def"
#undef ERR
    print_states(f);
    fprintf(f, "\n### Request states\n\n`again`: a submit with its request id and content is a new "
               "attempt. A state that you do not know is as IN_DOUBT.\n\n"
               "| state | again | |\n| --- | --- | --- |\n");
#define REQUEST(name, number, may_submit, help)                                                    \
    fprintf(f, "| %s | %s | %s |\n", #name, may_submit ? "yes" : "no", help);
#include "agentd/requests.def"
#undef REQUEST
    fprintf(f,
            "\n### Verbs\n\nOf `job.control`. `besides`: what else the request has. `again`: what "
            "it means to ask twice, when the first answer was lost: TWICE is as once; so is "
            "GUARDED with `submit_times` and `restarts`; ONCE is not.\n\n"
            "| verb | besides | again | |\n| --- | --- | --- | --- |\n");
#define VERB(name, number, with, choose, unasked, help)                                            \
    fprintf(f, "| %s | %s | %s | %s |\n", #name, #with, #unasked, help);
#include "common/job_verbs.def"
#undef VERB
    fprintf(f, "\n### Changes\n\nThe `options` of the verb update. `empty`: what an empty value "
               "means.\n\n| option | empty | |\n| --- | --- | --- |\n");
#define CHANGE(name, letter, value, how, target, empty, help)                                      \
    fprintf(f, "| %s | %s | %s |\n", name,                                                         \
            strcmp(#value, "NONE") == 0     ? "as it must be"                                      \
            : strcmp(#empty, "CLEARS") == 0 ? "none"                                               \
                                            : "wrong",                                             \
            help);
#include "common/job_changes.def"
#undef CHANGE
    fprintf(f, "\nThe figures below are the most there may be.\n");
    for (size_t i = 0; msg_types[i]; i++) {
        size_t n;
        const struct msg_field *d = msg_types[i]->fields(&n);
        if (is_internal(msg_types[i]->name))
            continue;
        fprintf(f, "\n### `%s`\n\n", msg_types[i]->name);
        fprintf(f, n ? "| field | kind | |\n| --- | --- | --- |\n" : "No fields.\n");
        for (size_t k = 0; k < n; k++) {
            fprintf(f, "| %s | ", d[k].name);
            print_kind(f, &d[k]);
            fprintf(f, " | %s |\n", d[k].help);
        }
    }
    fprintf(f, "\n");
}

static char *read_file(void)
{
    AUTO(fclose) FILE *f = fopen(path, "re");
    cr_assert_not_null(f, "%s: run from the top of the tree", path);
    char *text = calloc(1, 1 << 20);
    cr_assert_gt(fread(text, 1, (1 << 20) - 1, f), 0);
    return text;
}

Test(protocol_doc, lists_what_the_tables_say)
{
    AUTO(free) char *doc = read_file();
    AUTO(free) char *tables = NULL;
    size_t size;
    FILE *out = open_memstream(&tables, &size);
    print_tables(out);
    fclose(out);
    char *begin = strstr(doc, begin_mark), *end = strstr(doc, end_mark);
    cr_assert(begin && end && begin < end, "%s has lost its markers", path);
    begin += strlen(begin_mark);
    if (getenv("UPDATE_DOCS")) {
        AUTO(fclose) FILE *f = fopen(path, "we");
        cr_assert_not_null(f);
        fprintf(f, "%.*s%s%s", (int)(begin - doc), doc, tables, end);
        return;
    }
    cr_assert((size_t)(end - begin) == size && memcmp(begin, tables, size) == 0,
              "%s is behind the .def files: run UPDATE_DOCS=1 build/tests/unit "
              "--filter 'protocol_doc/*'",
              path);
}
