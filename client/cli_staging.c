/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_staging.c: staging: what was moved for a job, from where to where */
#include <jansson.h>
#include <stdlib.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_staged, sagent_staged_free)
CLEANUP_FN(struct cli_table, cli_table_free)

static void print_json(const struct sagent_staged *p)
{
    json_t *j = json_object(), *in = json_array(), *out = json_array();
    cli_json_set_number(j, "job_id", p->job_id);
    cli_json_set(j, "state", p->state);
    cli_json_set(j, "text", p->text);
    for (size_t i = 0; i < p->input_count; i++) {
        json_t *one = json_object();
        cli_json_set(one, "from", p->inputs[i].from);
        cli_json_set(one, "to", p->inputs[i].to);
        json_array_append_new(in, one);
    }
    for (size_t i = 0; i < p->output_count; i++) {
        json_t *one = json_object();
        cli_json_set(one, "id", p->outputs[i].id);
        cli_json_set(one, "from", p->outputs[i].from);
        cli_json_set(one, "to", p->outputs[i].to);
        json_object_set_new(one, "stored", json_boolean(p->outputs[i].stored));
        json_object_set_new(one, "required", json_boolean(p->outputs[i].required));
        cli_json_set(one, "text", p->outputs[i].text);
        json_array_append_new(out, one);
    }
    json_object_set_new(j, "inputs", in);
    json_object_set_new(j, "outputs", out);
    cli_json_print(j);
}

static void print_table(const struct sagent_staged *p)
{
    static const struct cli_column columns[] = {
        {"JOBID", false, 3, 12},
        {"", false, 0, 0},
        {"FROM", false, 2, 16},
        {"TO", false, 1, 16},
    };
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    char id[CLI_TEXT];
    for (size_t i = 0; i < p->input_count; i++) {
        cli_table_add(t, cli_number(p->job_id, id));
        cli_table_add(t, "in");
        cli_table_add(t, p->inputs[i].from);
        cli_table_add(t, str_or(p->inputs[i].to, ""));
    }
    for (size_t i = 0; i < p->output_count; i++) {
        cli_table_add(t, p->outputs[i].id);
        cli_table_add(t, p->outputs[i].stored ? "stored" : "out");
        cli_table_add(t, p->outputs[i].from);
        cli_table_add(t, p->outputs[i].to);
    }
    cli_table_print(t);
    if (p->text)
        cli_say("%s", p->text);
}

int cmd_staging(struct cli *cli, int argc, char **argv)
{
    bool json = false;
    const struct cli_option options[] = {
        {"json", 0, &json, NULL, NULL, "print it as JSON"},
    };
    static const char more[] =
        "Prints what is moved for a job of yours, an array or one task (12_3): inputs as they were\n"
        "asked for, and of each end so far its outputs, with their URLs.\n";
    struct cli_args args;
    struct sagent_error err;
    int status;
    if (!cli_begin_more(options, ARRAY_LEN(options), more, 1, 1, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    AUTO(sagent_staged_free) struct sagent_staged *p = NULL;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_staged(s, ids[0], &p, &err) < 0)
        return cli_fail(&err);
    if (json)
        print_json(p);
    else
        print_table(p);
    return cli_end_output(0);
}
