/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_submit.c: submit, and what goes by the name of sbatch */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_follow.h"
#include "client/cli_request.h"
#include "client/cli_upload.h"
#include "common/cleanup.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_submit_reply, sagent_submit_reply_free)
CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct sagent_uploaded, sagent_uploaded_free)
CLEANUP_FN(struct sagent_server, sagent_server_free)

/* ---- failing ---- */

/* sbatch's exit status for whatever is wrong, which its users may choose. */
static int sbatch_status(void)
{
    int64_t status;
    const char *said = getenv("SLURM_EXIT_ERROR");
    return said && str_to_i64(said, 1, 255, &status) ? (int)status : CLI_FAILED;
}

/* What is no option, or no value of one, is not theirs to choose. */
enum { SBATCH_BAD_OPTION = 255 };

/* Slurm's no as sbatch says it, with the option that is at fault in front. */
static void say_refusal(const char *front, const char *text)
{
    static const char slurm[] = "Slurm: ";
    const char *at = strstr(text, slurm);
    if (at)
        fprintf(stderr, "%s%.*s%s\n", front, (int)(at - text), text, at + strlen(slurm));
    else
        fprintf(stderr, "%s%s\n", front, text);
}

static int fail(const struct cli *cli, const struct cli_sbatch *args,
                const struct sagent_error *err)
{
    char text[sizeof err->text];
    if (!cli->sbatch)
        return cli_fail(err);
    str_copy(text, sizeof text, err->text);
    str_printable(text);
    fflush(stdout);
    if (!err->slurm_errno)
        cli_say("error: %s", text);
    else if (args->test_only)
        say_refusal("allocation failure: ", text);
    else
        say_refusal("sbatch: error: Batch job submission failed: ", text);
    return err->bad_option ? SBATCH_BAD_OPTION : sbatch_status();
}

static int fail_early(const struct cli *cli, const struct err *err)
{
    if (!cli->sbatch)
        return cli_request_fail("submit", err);
    cli_say("error: %s", err->text);
    return err->bad_option ? SBATCH_BAD_OPTION : sbatch_status();
}

/* ---- what is said ---- */

static void print_json(const struct sagent_submit_reply *r)
{
    json_t *j = json_object();
    cli_json_set(j, "id", r->id);
    cli_json_set_number(j, "job_id", r->job_id);
    if (r->cluster)
        cli_json_set(j, "cluster", r->cluster);
    cli_json_set(j, "message", r->message);
    cli_json_set(j, "warning", r->warning);
    cli_json_set(j, "request_id", r->request_id);
    json_object_set_new(j, "again", json_boolean(r->again));
    if (r->test_only) {
        json_t *preempted = json_array();
        json_object_set_new(j, "test_only", json_true());
        cli_json_set_number(j, "start_time", r->start_time);
        cli_json_set_number(j, "processors", r->processors);
        cli_json_set(j, "nodes", r->nodes);
        cli_json_set(j, "partition", r->partition);
        for (size_t i = 0; i < r->preempted_count; i++)
            json_array_append_new(preempted, json_integer(r->preempted[i]));
        json_object_set_new(j, "preempted", preempted);
    }
    cli_json_print(j);
}

/* In sbatch's words. */
static void say_test(const struct sagent_submit_reply *r)
{
    char when[CLI_TEXT];
    AUTO(free) char *ids = NULL;
    size_t size;
    FILE *f = open_memstream(&ids, &size);
    if (!f)
        cli_no_memory();
    for (size_t i = 0; i < r->preempted_count; i++)
        fprintf(f, "%s%lld", i ? "," : "", (long long)r->preempted[i]);
    if (fclose(f) != 0)
        cli_no_memory();
    cli_time(r->start_time, when);
    if (r->partition)
        cli_say("Job %lld to start at %s using %lld processors on nodes %s in partition %s",
                (long long)r->job_id, when, (long long)r->processors, str_or(r->nodes, ""),
                r->partition);
    else
        cli_say("Job %lld to start at %s using %lld processors on %s", (long long)r->job_id, when,
                (long long)r->processors, str_or(r->nodes, ""));
    if (*ids)
        cli_say("  Preempts: %s", ids);
}

static void report(const struct cli *cli, const struct cli_sbatch *args,
                   const struct sagent_submit_reply *r)
{
    if (args->json)
        print_json(r);
    else if (args->quiet)
        ;
    else if (r->test_only)
        say_test(r);
    else if (args->parsable || r->parsable)
        printf("%s%s%s\n", r->id, r->cluster ? ";" : "", str_or(r->cluster, ""));
    else
        printf("Submitted batch job %s%s%s\n", r->id, r->cluster ? " on cluster " : "",
               str_or(r->cluster, ""));
    cli_request_say(r, !cli->sbatch); /* sbatch does not tell */
}

/* ---- --wait ---- */

/* sbatch's exit status: a signal is 1 to it. */
static int sbatch_end(const struct sagent_jobs *jobs)
{
    int status = sagent_jobs_missing_count(jobs) ? CLI_FAILED : 0;
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++) {
        int one = cli_job_status(sagent_jobs_at(jobs, i));
        if (sagent_jobs_at(jobs, i)->exit_signal)
            one = CLI_FAILED;
        if (one > status)
            status = one;
    }
    return status;
}

/* Slurm's own words do not say it: for Slurm such a job may have ended well. */
static void say_staging(const struct sagent_jobs *jobs)
{
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++) {
        const struct sagent_job *job = sagent_jobs_at(jobs, i);
        if (job->staging && !str_eq(job->phase, "SUCCEEDED"))
            cli_say("job %s: %s", job->id, str_or(job->outcome, job->staging));
    }
}

static int wait_for(struct cli *cli, const struct cli_sbatch *args, struct sagent *s,
                    const char *id)
{
    struct sagent_error err;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    const struct sagent_wait_request wait = {.ids = &id, .id_count = 1};
    cli_flush_output();
    while (sagent_wait(s, &wait, &jobs, &err) < 0)
        if (err.code != SAGENT_ERR_INTERRUPTED)
            return fail(cli, args, &err);
    say_staging(jobs);
    return cli->sbatch ? sbatch_end(jobs) : cli_jobs_status(jobs, SAGENT_UNTIL_END);
}

/* ---- the whole ---- */

/* What sbatch does not have. */
static const struct cli_option ours[] = {
    {"remote-script", 0, NULL, NULL, "PATH", "submit a script that is on the cluster"},
    {"request-id", 0, NULL, NULL, "ID",
     "any text that stands for this one submit: again with it is no second job"},
    {"retry", 0, NULL, NULL, "SECONDS",
     "go on for so long while the server or Slurm does not serve"},
    {"json", 0, NULL, NULL, NULL, "print the answer as JSON"},
};

static int print_help(void)
{
    static const struct cli_option more[] = {
        {"wrap", 0, NULL, NULL, "COMMAND", "submit a script that runs this command"},
        {"parsable", 0, NULL, NULL, NULL, "print the job's id alone"},
        {"quiet", 'Q', NULL, NULL, NULL, "print no id"},
        {"wait", 'W', NULL, NULL, NULL, "wait for the job's end, and exit as it did"},
        {"test-only", 0, NULL, NULL, NULL, "say when and where it would start; submit nothing"},
        {"help", 'h', NULL, NULL, NULL, "show this"},
    };
    struct cli_option own[ARRAY_LEN(ours) + ARRAY_LEN(more)];
    memcpy(own, ours, sizeof ours);
    memcpy(own + ARRAY_LEN(ours), more, sizeof more);
    cli_request_help(
        "submit", own, ARRAY_LEN(own),
        "The options of sbatch's variables (SBATCH_*) count as sbatch counts them, and "
        "a : parts\nthe components of a heterogeneous job.\n\n");
    return cli_end_output(0);
}

static int print_sbatch_help(const struct cli *cli, bool brief)
{
    const char *slash = strrchr(cli->argv[0], '/'), *name = slash ? slash + 1 : cli->argv[0];
    if (brief) {
        cli_sbatch_usage(name);
        return cli_end_output(0);
    }
    cli_sbatch_help(name);
    printf("\nWhat sbatch does not have:\n");
    cli_option_lines(ours, ARRAY_LEN(ours));
    putchar('\n');
    cli_staging_help();
    printf(
        "slurm-agent-sbatch(1) has the exit status, the variables and the differences from sbatch.\n");
    return cli_end_output(0);
}

/* sbatch says whose it is. */
static int print_version(struct cli *cli, const struct cli_sbatch *args)
{
    int status;
    struct sagent_error err;
    AUTO(sagent_server_free) struct sagent_server *ping = NULL;
    if (!cli->sbatch) {
        printf("slurm-agent %s\n", sagent_version());
        return cli_end_output(0);
    }
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return sbatch_status();
    if (sagent_ping(s, &ping, &err) < 0)
        return fail(cli, args, &err);
    printf("slurm %s\n", str_or(ping->slurm_version, "?"));
    return cli_end_output(0);
}

/* As sbatch says that it sleeps and tries again; once for a reason. */
static void say_again(void *arg, const struct sagent_error *err)
{
    struct sagent_error *last = arg;
    if (err && !str_eq(err->text, last->text))
        cli_say("note: %s; trying again", err->text);
    if (err)
        *last = *err;
}

static int send_request(struct cli *cli, const struct cli_request *r)
{
    int status = 0;
    struct sagent_error last = {0};
    cli->options.on_outage = r->args.quiet ? NULL : say_again;
    cli->options.on_outage_arg = &last;
    struct sagent_error err;
    AUTO(sagent_submit_reply_free) struct sagent_submit_reply *reply = NULL;
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return cli->sbatch ? sbatch_status() : status;
    struct sagent_submit_request request = r->submit;
    AUTO(sagent_uploaded_free) struct sagent_uploaded *uploaded = NULL;
    if (cli_upload(s, r, &request, &uploaded, &status, &err) < 0)
        return status ? status : fail(cli, &r->args, &err);
    if (sagent_submit(s, &request, &reply, &err) < 0) {
        cli_upload_refused(r, uploaded, &err);
        cli_request_advise(r, &err);
        return fail(cli, &r->args, &err);
    }
    report(cli, &r->args, reply);
    if (!reply->test_only && (r->args.wait || reply->wait))
        status = wait_for(cli, &r->args, s, reply->id);
    return cli_end_output(status);
}

int cmd_submit(struct cli *cli, int argc, char **argv)
{
    struct err err = {0};
    AUTO(cli_request_done) struct cli_request r;
    if (cli->sbatch)
        cli_call_me("sbatch");
    if (cli_request_make(cli, argc, argv, &r, &err) < 0)
        return fail_early(cli, &err);
    if (r.args.help || r.args.usage)
        return cli->sbatch ? print_sbatch_help(cli, r.args.usage) : print_help();
    if (r.args.version)
        return print_version(cli, &r.args);
    return send_request(cli, &r);
}
