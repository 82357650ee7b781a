/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_jobs.c: get, list and script */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct cli_table, cli_table_free)

/* ---- the table ---- */

const char *cli_job_state(const struct sagent_job *job)
{
    static const char *const said[] = {"UNKNOWN", "STAGING_IN", "STAGING_OUT"};
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        if (str_eq(job->phase, said[i]))
            return job->phase;
    bool failed = str_eq(job->phase, "FAILED") || str_eq(job->phase, "CANCELLED");
    bool slurms = !str_eq(job->state, "COMPLETED") &&
                  (!str_eq(job->state, "CANCELLED") || str_eq(job->phase, "CANCELLED"));
    return failed && !slurms ? job->phase : job->state;
}

int64_t cli_run_time(const struct sagent_job *job, int64_t as_of)
{
    if (!job->start_time || str_eq(job->state, "PENDING") || str_eq(job->phase, "UNKNOWN"))
        return 0;
    if (str_eq(job->state, "RUNNING"))
        return as_of - job->start_time;
    if (str_eq(job->state, "SUSPENDED"))
        return job->suspend_time - job->start_time;
    return job->end_time - job->start_time;
}

static char *where(const struct sagent_job *job)
{
    char *text = NULL;
    int rc;
    if (str_eq(job->phase, "STAGING_IN"))
        rc = asprintf(&text, "(%s)", str_or(job->staging, ""));
    else if (job->nodes && *job->nodes && !str_eq(job->state, "PENDING"))
        rc = asprintf(&text, "%s", job->nodes);
    else
        rc = asprintf(&text, "%s%s%s", job->reason ? "(" : "", str_or(job->reason, ""),
                      job->reason ? ")" : "");
    if (rc < 0)
        cli_no_memory();
    return text;
}

static void print_table(const struct sagent_jobs *jobs)
{
    static const struct cli_column columns[] = {
        {"JOBID", false, 5, 12},    {"STATE", false, 0, 0},
        {"NAME", false, 1, 8},      {"USER", false, 4, 8},
        {"PARTITION", false, 3, 9}, {"TIME", true, 0, 0},
        {"NODES", true, 0, 0},      {"NODELIST(REASON)", false, 2, 16},
    };
    char text[CLI_TEXT];
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++) {
        const struct sagent_job *job = sagent_jobs_at(jobs, i);
        AUTO(free) char *place = where(job);
        cli_table_add(t, job->id);
        /* of a job that has gone unseen the state is only the last that was seen */
        cli_table_add(t, cli_job_state(job));
        cli_table_add(t, job->name);
        cli_table_add(t, job->user);
        cli_table_add(t, job->partition);
        cli_table_add(t, cli_duration(cli_run_time(job, sagent_jobs_as_of(jobs)), text));
        cli_table_add(t, cli_number(job->node_count, text));
        cli_table_add(t, place);
    }
    cli_table_print(t);
}

/* ---- the long form ---- */

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

void cli_print_text(const char *name, const char *value)
{
    AUTO(free) char *copy = strdup(value);
    if (!copy)
        cli_no_memory();
    printf("  %-18s %s\n", name, str_printable(copy));
}

void cli_print_integer(const char *name, int64_t v)
{
    char text[CLI_TEXT];
    if (str_eq(name, "time_limit"))
        cli_print_text(name, v < 0 ? "unlimited" : cli_duration(v, text));
    else if (has_suffix(name, "_time"))
        cli_print_text(name, cli_time(v, text));
    else
        cli_print_text(name, cli_number(v, text));
}

static void print_strings(const char *name, const struct sagent_strings *list)
{
    char text[1024] = "";
    size_t used = 0;
    for (size_t i = 0; i < list->n && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", list->v[i]);
    cli_print_text(name, text);
}

static void print_long(const struct sagent_job *job)
{
    size_t n;
    const struct sagent_field *fields = sagent_job_fields(&n);
    printf("job %s\n", job->id);
    for (size_t i = 1; i < n; i++) {
        const struct sagent_field *f = &fields[i];
        const void *at = (const char *)job + f->offset;
        switch (f->kind) {
        case SAGENT_STRING:
            if (*(const char *const *)at)
                cli_print_text(f->name, *(const char *const *)at);
            break;
        case SAGENT_INTEGER:
            if (*(const int64_t *)at)
                cli_print_integer(f->name, *(const int64_t *)at);
            break;
        case SAGENT_BOOLEAN:
            if (*(const bool *)at)
                cli_print_text(f->name, "yes");
            break;
        case SAGENT_STRINGS:
            if (((const struct sagent_strings *)at)->n)
                print_strings(f->name, at);
            break;
        }
    }
}

/* ---- what both say ---- */

json_t *cli_json_jobs(const struct sagent_jobs *jobs)
{
    json_t *all = json_object(), *list = json_array(), *missing = json_array();
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        json_array_append_new(list, cli_json_job(sagent_jobs_at(jobs, i)));
    for (size_t i = 0; i < sagent_jobs_missing_count(jobs); i++)
        json_array_append_new(missing, cli_json_string(sagent_jobs_missing(jobs, i)));
    json_object_set_new(all, "jobs", list);
    json_object_set_new(all, "as_of", json_integer(sagent_jobs_as_of(jobs)));
    json_object_set_new(all, "stale", json_boolean(sagent_jobs_stale(jobs)));
    cli_json_set(all, "note", sagent_jobs_note(jobs));
    cli_json_set(all, "source", sagent_jobs_source(jobs));
    json_object_set_new(all, "missing", missing);
    return all;
}

void cli_say_stale(int64_t as_of, const char *note)
{
    char text[CLI_TEXT];
    cli_say("note: slurmctld has not answered %s%s%s%s",
            as_of ? "since " : "the server since it started", as_of ? cli_time(as_of, text) : "",
            note ? ": " : "", str_or(note, ""));
}

void cli_say_missing(const char *id)
{
    cli_say("job %s is not known: there is none, or it ended so long ago that Slurm has forgotten "
            "it",
            id);
}

enum form { TABLE, LONG, JSON };

static int show(const struct sagent_jobs *jobs, enum form form)
{
    size_t missing = sagent_jobs_missing_count(jobs);
    if (form == JSON)
        cli_json_print(cli_json_jobs(jobs));
    else if (form == TABLE && (sagent_jobs_count(jobs) || missing == 0))
        print_table(jobs);
    for (size_t i = 0; form == LONG && i < sagent_jobs_count(jobs); i++) {
        if (i)
            putchar('\n');
        print_long(sagent_jobs_at(jobs, i));
    }
    if (sagent_jobs_stale(jobs))
        cli_say_stale(sagent_jobs_as_of(jobs), sagent_jobs_note(jobs));
    else if (sagent_jobs_note(jobs))
        cli_say("note: %s", sagent_jobs_note(jobs));
    if (sagent_jobs_truncated(jobs))
        cli_say("note: there are more jobs than these %zu", sagent_jobs_count(jobs));
    for (size_t i = 0; i < missing; i++)
        cli_say_missing(sagent_jobs_missing(jobs, i));
    return cli_end_output(missing ? CLI_MISSING : 0);
}

/* ---- get ---- */

int cmd_get(struct cli *cli, int argc, char **argv)
{
    bool json = false, details = false;
    const char *request = NULL;
    const struct cli_option options[] = {
        {"json", 0, &json, NULL, NULL, "as JSON"},
        {"long", 'l', &details, NULL, NULL, "every field that is set"},
        {"request-id", 0, NULL, &request, "ID", "instead: what became of the submit with this id"},
    };
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 0, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    if (!request == !args.n) {
        cli_say(request ? "get: --request-id goes without job ids"
                        : "get: give job ids, or --request-id ID");
        return CLI_USAGE;
    }
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (request)
        return cli_show_request(s, request, json);
    if (sagent_get(s, ids, args.n, &jobs, &err) < 0)
        return cli_fail(&err);
    return show(jobs, json ? JSON : details ? LONG : TABLE);
}

/* ---- list ---- */

/* Cuts text at its commas, in place; gives an array for free(). */
static const char **split(char *text, size_t *ret_n)
{
    size_t n = 0;
    const char **words = calloc(strlen(text) / 2 + 2, sizeof *words);
    if (!words)
        cli_no_memory();
    char *rest = text, *word;
    while ((word = strsep(&rest, ", ")))
        if (*word)
            words[n++] = word;
    *ret_n = n;
    return words;
}

int cmd_list(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    const char *states = NULL, *since = NULL;
    struct sagent_list_filter filter = {0};
    const struct cli_option options[] = {
        {"user", 'u', NULL, &filter.user, "USER",
         "of this user: a name that the cluster knows, or a uid"},
        {"all", 'a', &filter.all_users, NULL, NULL, "of everybody"},
        {"state", 't', NULL, &states, "STATE,...", "in one of these states: PENDING, R, ..."},
        {"partition", 'p', NULL, &filter.partition, "NAME", "in this partition"},
        {"name", 'n', NULL, &filter.name, "NAME", "with this name"},
        {"since", 'S', NULL, &since, "TIME",
         "also those that ended since, and no others that ended"},
        {"json", 0, &json, NULL, NULL, "as JSON"},
    };
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 0, 0, argc, argv, &args, &status))
        return status;
    free(args.positional);
    if (since && !cli_when(since, clock_now(), &filter.since)) {
        cli_say("list: --since %s: give " CLI_WHEN_FORMS, since);
        return CLI_USAGE;
    }
    AUTO(free) char *copy = strdup(str_or(states, ""));
    if (!copy)
        cli_no_memory();
    AUTO(free) const char **words = split(copy, &filter.state_count);
    if (states && !filter.state_count) {
        cli_say("--state is empty: give states such as PENDING or R, or leave it out");
        return CLI_USAGE;
    }
    filter.states = words;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_list(s, &filter, &jobs, &err) < 0)
        return cli_fail(&err);
    return show(jobs, json ? JSON : TABLE);
}
