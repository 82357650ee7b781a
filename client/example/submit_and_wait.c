/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Submits a command as a batch job, waits for its end, prints its output, and exits as it did.
 *
 *     cc submit_and_wait.c -o submit_and_wait $(pkg-config --cflags --libs slurmagent)
 *     ./submit_and_wait 'hostname; date'
 */
#include <slurmagent.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, const struct sagent_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    return err->exit_status;
}

/* The id of the new job in id. */
static int submit(struct sagent *s, const char *command, char *id, size_t size,
                  struct sagent_error *err)
{
    char script[4096];
    struct sagent_submit_request request = {0};
    struct sagent_submit_reply *reply;
    int n = snprintf(script, sizeof script, "#!/bin/sh\n%s\n", command);
    if (n < 0 || (size_t)n >= sizeof script) {
        snprintf(err->text, sizeof err->text, "the command is too long");
        err->exit_status = 2;
        return -1;
    }
    request.script = script;
    request.script_size = (size_t)n;
    request.script_name = "example";
    request.login_environment = true;
    if (sagent_submit(s, &request, &reply, err) < 0)
        return -1;
    snprintf(id, size, "%s", reply->id);
    sagent_submit_reply_free(reply);
    return 0;
}

/* From the first byte to the last, as the job writes it. */
static int print_log(struct sagent *s, const char *id, struct sagent_error *err)
{
    struct sagent_log_request request = {.id = id, .follow = true};
    char file[256] = "";
    bool done = false;
    while (!done) {
        struct sagent_log_chunk *chunk;
        request.file = *file ? file : NULL;
        if (sagent_log(s, &request, &chunk, err) < 0)
            return -1;
        fwrite(chunk->data, 1, chunk->size, stdout);
        request.offset = chunk->offset + (int64_t)chunk->size;
        if (chunk->file)
            snprintf(file, sizeof file, "%s", chunk->file);
        done = chunk->done;
        sagent_log_chunk_free(chunk);
    }
    return 0;
}

/* As a shell would say it: the exit code, or 128 + the signal; 1 when it has neither. */
static int wait_for(struct sagent *s, const char *id, int *ret_status, struct sagent_error *err)
{
    struct sagent_wait_request request = {.ids = &id, .id_count = 1};
    struct sagent_jobs *jobs;
    if (sagent_wait(s, &request, &jobs, err) < 0)
        return -1;
    const struct sagent_job *job = sagent_jobs_at(jobs, 0); /* NULL: nobody knows it any more */
    *ret_status = 1;
    if (job && job->exit_signal)
        *ret_status = 128 + (int)job->exit_signal;
    else if (job && (job->exit_code || strcmp(job->phase, "SUCCEEDED") == 0))
        *ret_status = (int)job->exit_code;
    if (job && job->outcome)
        fprintf(stderr, "job %s: %s\n", id, job->outcome);
    sagent_jobs_free(jobs);
    return 0;
}

int main(int argc, char **argv)
{
    struct sagent_error err;
    struct sagent *s;
    char id[64];
    int status;
    if (argc != 2) {
        fprintf(stderr, "usage: %s COMMAND\n", argv[0]);
        return 2;
    }
    /* Where the server is: client.conf, or SLURM_AGENT_SERVER. */
    if (sagent_open(NULL, &s, &err) < 0)
        return fail("open", &err);
    if (submit(s, argv[1], id, sizeof id, &err) < 0)
        status = fail("submit", &err);
    else if (print_log(s, id, &err) < 0)
        status = fail("log", &err);
    else if (wait_for(s, id, &status, &err) < 0)
        status = fail("wait", &err);
    sagent_close(s);
    return status;
}
