/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_text.c: script, environment and steps of jobs */
#include <jansson.h>
#include <stdlib.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_script, sagent_script_free)
CLEANUP_FN(struct sagent_steps, sagent_steps_free)
CLEANUP_FN(struct cli_table, cli_table_free)

typedef int (*text_fn)(struct sagent *s, const char *id, struct sagent_script **ret,
                       struct sagent_error *err);

static int print_text(struct cli *cli, int argc, char **argv, text_fn get)
{
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_script_free) struct sagent_script *text = NULL;
    if (!cli_begin(NULL, 0, 1, 1, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (get(s, ids[0], &text, &err) < 0)
        return cli_fail(&err);
    fwrite(text->data, 1, text->size, stdout);
    return cli_end_output(0);
}

int cmd_script(struct cli *cli, int argc, char **argv)
{
    return print_text(cli, argc, argv, sagent_script);
}

int cmd_environment(struct cli *cli, int argc, char **argv)
{
    return print_text(cli, argc, argv, sagent_environment);
}

/* ---- steps ---- */

static json_t *step_json(const struct sagent_step *step)
{
    json_t *j = json_object();
    cli_json_set(j, "id", step->id);
    cli_json_set(j, "job", step->job);
    cli_json_set(j, "name", step->name);
    cli_json_set(j, "state", step->state);
    cli_json_set(j, "nodes", step->nodes);
    cli_json_set_number(j, "tasks", step->tasks);
    cli_json_set_number(j, "cpus", step->cpus);
    cli_json_set_number(j, "start_time", step->start_time);
    json_object_set_new(j, "elapsed", json_integer(step->elapsed));
    cli_json_set_number(j, "time_limit", step->time_limit);
    cli_json_set(j, "tres", step->tres);
    return j;
}

static void print_json(const struct sagent_steps *steps)
{
    json_t *all = json_object(), *list = json_array(), *missing = json_array();
    for (size_t i = 0; i < steps->n; i++)
        json_array_append_new(list, step_json(&steps->steps[i]));
    for (size_t i = 0; i < steps->missing_count; i++)
        json_array_append_new(missing, cli_json_string(steps->missing[i]));
    json_object_set_new(all, "steps", list);
    json_object_set_new(all, "missing", missing);
    cli_json_set_number(all, "as_of", steps->as_of);
    cli_json_print(all);
}

static void print_table(const struct sagent_steps *steps)
{
    static const struct cli_column columns[] = {
        {"STEPID", false, 0, 0},   {"NAME", false, 1, 4},  {"STATE", false, 0, 0},
        {"TASKS", true, 0, 0},     {"START", false, 0, 0}, {"TIME", true, 0, 0},
        {"NODELIST", false, 2, 8},
    };
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    char text[CLI_TEXT];
    for (size_t i = 0; i < steps->n; i++) {
        const struct sagent_step *s = &steps->steps[i];
        cli_table_add(t, s->id);
        cli_table_add(t, s->name);
        cli_table_add(t, s->state);
        cli_table_add(t, cli_number(s->tasks, text));
        cli_table_add(t, cli_time(s->start_time, text));
        cli_table_add(t, cli_duration(s->elapsed, text));
        cli_table_add(t, s->nodes);
    }
    cli_table_print(t);
}

int cmd_steps(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {
        {"json", 0, &json, NULL, NULL, "all fields as JSON"},
    };
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_steps_free) struct sagent_steps *steps = NULL;
    if (!cli_begin(options, ARRAY_LEN(options), 1, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_steps(s, ids, args.n, &steps, &err) < 0)
        return cli_fail(&err);
    if (json)
        print_json(steps);
    else
        print_table(steps);
    for (size_t i = 0; i < steps->missing_count; i++)
        cli_say_missing(steps->missing[i]);
    return cli_end_output(steps->missing_count ? CLI_MISSING : 0);
}
