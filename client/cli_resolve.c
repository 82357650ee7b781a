/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_resolve.c: what became of a submit (get --request-id), and resolve */
#include <jansson.h>
#include <stdlib.h>

#include "client/cli.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_request, sagent_request_free)

static void print_json(const struct sagent_request *r)
{
    json_t *j = json_object();
    cli_json_set(j, "request_id", r->request_id);
    cli_json_set(j, "state", r->state);
    cli_json_set_number(j, "job_id", r->job_id);
    cli_json_set_number(j, "submit_time", r->submit_time);
    cli_json_set_number(j, "attempt", r->attempt);
    cli_json_set_number(j, "tag", r->tag);
    cli_json_set_number(j, "begun", r->begun);
    cli_json_set_number(j, "changed", r->changed);
    cli_json_set(j, "error", r->code ? sagent_code_name(r->code) : NULL);
    cli_json_set(j, "text", r->text);
    cli_json_print(j);
}

static int print(const struct sagent_request *r, bool json)
{
    char text[CLI_TEXT];
    if (json) {
        print_json(r);
        return cli_end_output(0);
    }
    printf("request %s\n", r->request_id);
    cli_print_text("state", r->state);
    if (r->job_id)
        cli_print_integer("job_id", r->job_id);
    if (r->submit_time)
        cli_print_integer("submit_time", r->submit_time);
    cli_print_integer("attempt", r->attempt);
    cli_print_text("begun", cli_time(r->begun, text));
    cli_print_text("changed", cli_time(r->changed, text));
    if (r->code)
        cli_print_text("error", sagent_code_name(r->code));
    if (r->text)
        cli_print_text("text", r->text);
    return cli_end_output(0);
}

int cli_show_request(struct sagent *s, const char *id, bool json)
{
    struct sagent_error err;
    AUTO(sagent_request_free) struct sagent_request *r = NULL;
    if (sagent_request(s, id, &r, &err) < 0)
        return cli_fail(&err);
    return print(r, json);
}

int cmd_resolve(struct cli *cli, int argc, char **argv)
{
    static const char more[] =
        "A submit whose outcome is not known is looked for; when slurmctld may have forgotten its job "
        "by\nthen, only you can say what became of it (get --request-id shows that). Look first: "
        "sacct, what\nthe job would have written. The server asks slurmdbd, too, where there is one. "
        "After --none the\nsame submit with its request id makes the job.\n";
    bool json = false;
    const char *job = NULL;
    struct sagent_resolve_request request = {0};
    const struct cli_option options[] = {
        {"none", 0, &request.none, NULL, NULL, "it made no job"},
        {"job", 0, NULL, &job, "ID", "it is this job of yours, which must carry its tag"},
        {"json", 0, &json, NULL, NULL, "print the answer as JSON"},
    };
    struct cli_args args;
    int status;
    struct sagent_error err;
    AUTO(sagent_request_free) struct sagent_request *r = NULL;
    if (!cli_begin_more(options, ARRAY_LEN(options), more, 1, 1, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **id = args.positional;
    if (request.none == (job != NULL)) {
        cli_say("resolve: give --none or --job ID, one of them");
        return CLI_USAGE;
    }
    if (job && !str_to_i64(job, 1, UINT32_MAX, &request.job_id)) {
        cli_say(
            "resolve: --job %.100s: give a job's number, of an array or heterogeneous job its own",
            job);
        return CLI_USAGE;
    }
    request.request_id = id[0];
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_resolve(s, &request, &r, &err) < 0)
        return cli_fail(&err);
    return print(r, json);
}
