/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_output.c: what is said on stderr; words, numbers and JSON */
#include <errno.h>
#include <jansson.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

static const char *my_name = "slurm-agent";

void cli_call_me(const char *name)
{
    my_name = name;
}

void cli_say(const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", my_name, str_printable(text));
}

int cli_fail(const struct sagent_error *err)
{
    cli_say("%s", err->text);
    return err->exit_status;
}

_Noreturn void cli_no_memory(void)
{
    cli_say("no memory");
    exit(sagent_code_exit_status(SAGENT_ERR_INTERNAL));
}

struct sagent *cli_open(const struct cli *cli, int *ret_status)
{
    struct sagent *s = NULL;
    struct sagent_error err;
    if (sagent_open(&cli->options, &s, &err) < 0)
        *ret_status = cli_fail(&err);
    return s;
}

int cli_end_output(int status)
{
    bool failed = ferror(stdout);
    if (fflush(stdout) == 0 && !failed)
        return status;
    cli_say("cannot write the output%s%s", failed ? "" : ": ", failed ? "" : strerror(errno));
    return CLI_FAILED;
}

void cli_flush_output(void)
{
    if (cli_end_output(0) != 0)
        exit(CLI_FAILED);
}

/* ---- words and numbers ---- */

const char *cli_duration(int64_t seconds, char out[CLI_TEXT])
{
    long long s = seconds > 0 ? seconds : 0;
    long long days = s / 86400, h = s / 3600 % 24, m = s / 60 % 60;
    s %= 60;
    if (days)
        snprintf(out, CLI_TEXT, "%lld-%02lld:%02lld:%02lld", days, h, m, s);
    else if (h)
        snprintf(out, CLI_TEXT, "%lld:%02lld:%02lld", h, m, s);
    else
        snprintf(out, CLI_TEXT, "%lld:%02lld", m, s);
    return out;
}

const char *cli_time(int64_t t, char out[CLI_TEXT])
{
    time_t seconds = (time_t)t;
    struct tm tm;
    *out = '\0';
    if (t && localtime_r(&seconds, &tm))
        strftime(out, CLI_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    return out;
}

const char *cli_number(int64_t v, char out[CLI_TEXT])
{
    snprintf(out, CLI_TEXT, "%lld", (long long)v);
    return out;
}

const char *cli_arrow(void)
{
    return str_eq(nl_langinfo(CODESET), "UTF-8") ? "→" : "->";
}

/* ---- JSON ---- */

/* jansson takes no bytes that are not UTF-8; names in Slurm may be Latin-1. */
json_t *cli_json_string(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    AUTO(free) char *copy = strdup(s);
    if (!copy)
        cli_no_memory();
    for (char *p = copy; *p; p++)
        if (*p & 0x80)
            *p = '?';
    j = json_string(copy);
    if (!j)
        cli_no_memory();
    return j;
}

void cli_json_set(json_t *object, const char *key, const char *value)
{
    if (value && *value)
        json_object_set_new(object, key, cli_json_string(value));
}

void cli_json_set_number(json_t *object, const char *key, int64_t value)
{
    if (value)
        json_object_set_new(object, key, json_integer(value));
}

static void set_strings(json_t *object, const char *key, const struct sagent_strings *list)
{
    if (list->n == 0)
        return;
    json_t *array = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(array, cli_json_string(list->v[i]));
    json_object_set_new(object, key, array);
}

json_t *cli_json_job(const struct sagent_job *job)
{
    size_t n;
    const struct sagent_field *fields = sagent_job_fields(&n);
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++) {
        const struct sagent_field *f = &fields[i];
        const void *at = (const char *)job + f->offset;
        switch (f->kind) {
        case SAGENT_STRING:
            cli_json_set(object, f->name, *(const char *const *)at);
            break;
        case SAGENT_INTEGER:
            cli_json_set_number(object, f->name, *(const int64_t *)at);
            break;
        case SAGENT_BOOLEAN:
            if (*(const bool *)at)
                json_object_set_new(object, f->name, json_true());
            break;
        case SAGENT_STRINGS:
            set_strings(object, f->name, at);
            break;
        }
    }
    return object;
}

void cli_json_print(json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(json);
}

void cli_json_print_line(json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
    cli_flush_output();
    json_decref(json);
}
