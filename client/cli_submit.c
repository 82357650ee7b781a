/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_submit.c: submit */
#include <jansson.h>

#include "client/cli.h"
#include "client/cli_request.h"
#include "common/cleanup.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_submit_reply, sagent_submit_reply_free)

static void print_json(const struct sagent_submit_reply *r)
{
    json_t *j = json_object();
    cli_json_set(j, "id", r->id);
    cli_json_set_number(j, "job_id", r->job_id);
    cli_json_set(j, "message", r->message);
    cli_json_set(j, "warning", r->warning);
    cli_json_set(j, "request_id", r->request_id);
    json_object_set_new(j, "again", json_boolean(r->again));
    cli_json_print(j);
}

static int report(const struct cli_sbatch *args, const struct sagent_submit_reply *r)
{
    if (args->json)
        print_json(r);
    else if (args->parsable)
        printf("%s\n", r->id);
    else if (!args->quiet)
        printf("Submitted batch job %s\n", r->id);
    cli_request_say(r);
    return cli_end_output(0);
}

static int print_help(void)
{
    static const struct cli_option own[] = {
        {"wrap", 0, NULL, NULL, "COMMAND", "submit a script that runs this command"},
        {"remote-script", 0, NULL, NULL, "PATH", "submit a script that is on the cluster"},
        {"request-id", 0, NULL, NULL, "ID",
         "any text that stands for this one submit: again with it is no second job"},
        {"retry", 0, NULL, NULL, "SECONDS",
         "go on for so long while the server or Slurm does not serve"},
        {"parsable", 0, NULL, NULL, NULL, "print the job's id alone"},
        {"json", 0, NULL, NULL, NULL, "print the answer as JSON"},
        {"quiet", 'Q', NULL, NULL, NULL, "print no id"},
        {"help", 'h', NULL, NULL, NULL, "show this"},
    };
    cli_request_help("submit", own, ARRAY_LEN(own), "");
    return cli_end_output(0);
}

static int send_request(struct cli *cli, const struct cli_request *r)
{
    int status;
    struct sagent_error err;
    AUTO(sagent_submit_reply_free) struct sagent_submit_reply *reply = NULL;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    if (sagent_submit(s, &r->submit, &reply, &err) < 0)
        return cli_fail(&err);
    return report(&r->args, reply);
}

int cmd_submit(struct cli *cli, int argc, char **argv)
{
    struct err err = {0};
    AUTO(cli_request_done) struct cli_request r;
    if (cli_request_make(cli, argc, argv, &r, &err) < 0)
        return cli_request_fail("submit", &err);
    if (r.args.help)
        return print_help();
    if (r.args.version) {
        printf("slurm-agent %s\n", sagent_version());
        return cli_end_output(0);
    }
    return send_request(cli, &r);
}
