/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_run.c: run: submit, show what the job writes, exit as it did
 *
 * The main thread follows the job; each stream has a thread and a handle of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli_follow.h"
#include "client/cli_request.h"
#include "client/cli_stream.h"
#include "client/cli_upload.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    /* Ctrl-C: one to cancel, one to go; the third ends the program as it is. */
    PATIENCE = 2,
    LOOK_MS = 100,
    /* Once the job has ended its output is read to the end: so long without a byte is the end. */
    STALLED_MS = 60000,
};

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct sagent_controlled, sagent_controlled_free)
CLEANUP_FN(struct sagent_uploaded, sagent_uploaded_free)
CLEANUP_FN(struct sagent_submit_reply, sagent_submit_reply_free)

struct stream {
    struct cli_stream reader;
    pthread_t thread;
    bool started;
};

struct running {
    struct cli *cli;
    struct sagent *s;
    const char *id;
    bool quiet;
    bool cancelled;
    int heeded; /* signals that were dealt with */
    struct stream out, err;
};

/* ---- the job's output ---- */

static void *stream_main(void *arg)
{
    struct stream *st = arg;
    cli_stream_copy(&st->reader);
    return NULL;
}

static void start_stream(struct running *r, struct stream *st, bool error)
{
    sigset_t all, before;
    struct sagent_error err;
    struct sagent_options options = r->cli->options;
    options.on_outage = NULL; /* one voice is enough */
    if (sagent_open(&options, &st->reader.s, &err) < 0) {
        cli_say("%s", err.text);
        return;
    }
    st->reader.request.id = r->id;
    st->reader.request.error = error;
    st->reader.fd = error ? STDERR_FILENO : STDOUT_FILENO;
    st->reader.follow = true;
    st->reader.beside = true;
    st->reader.quiet = r->quiet;
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    st->started = pthread_create(&st->thread, NULL, stream_main, st) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!st->started)
        cli_say("no thread to follow the job's output with");
}

/* True when it has ended; false when a signal came first, or it has stalled. */
static bool finish_stream(struct running *r, struct stream *st)
{
    int64_t moved_ms = clock_mono_ms();
    long long seen = -1;
    while (st->started) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_clockjoin_np(st->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
            break;
        long long written = atomic_load(&st->reader.written);
        if (written != seen)
            moved_ms = clock_mono_ms();
        seen = written;
        if (cli_signals_count() > r->heeded)
            return false;
        if (clock_mono_ms() - moved_ms > STALLED_MS) {
            cli_say("the job's output cannot be read to its end: slurm-agent logs %s", r->id);
            return false;
        }
    }
    st->started = false;
    sagent_close(st->reader.s);
    st->reader.s = NULL;
    return true;
}

/* ---- what happens to the job ---- */

static void tell(void *arg, const struct sagent_events *e, const char *before)
{
    const struct running *r = arg;
    (void)before;
    for (size_t i = 0; i < sagent_events_count(e) && !r->quiet; i++) {
        const struct sagent_event *one = sagent_events_at(e, i);
        AUTO(free) char *remark = cli_job_remark(one->job);
        if (!sagent_job_ended(one->job))
            cli_say("job %s is %s%s%s", one->job->id, cli_job_state(one->job), *remark ? " " : "",
                    remark);
    }
}

static void cancel(struct running *r)
{
    struct sagent_error err;
    const struct sagent_control_request request = {
        .verb = SAGENT_CANCEL, .ids = &r->id, .id_count = 1};
    AUTO(sagent_controlled_free) struct sagent_controlled *c = NULL;
    r->cancelled = true;
    cli_say("cancelling job %s; once more to leave it alone", r->id);
    if (sagent_control(r->s, &request, &c, &err) < 0) {
        if (err.code != SAGENT_ERR_INTERRUPTED)
            cli_say("job %s was perhaps not cancelled: %s", r->id, err.text);
    } else if (c->results[0].code != SAGENT_OK) {
        cli_say("job %s was not cancelled: %s", r->id, str_or(c->results[0].text, ""));
    }
}

static int detach(const struct running *r)
{
    cli_say("%s job %s: to go on, slurm-agent logs -f %s, or slurm-agent wait %s",
            r->cancelled ? "no longer waiting for the end of" : "leaving", r->id, r->id, r->id);
    return cli_signals_end();
}

/* A signal has come: the first cancels.  False: to leave. */
static bool heed(struct running *r)
{
    while (r->heeded < cli_signals_count()) {
        if (++r->heeded >= PATIENCE)
            return false;
        cancel(r);
    }
    return true;
}

/* ---- the whole ---- */

static bool is_array(struct running *r)
{
    struct sagent_error err;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    if (sagent_get(r->s, &r->id, 1, &jobs, &err) < 0 || sagent_jobs_count(jobs) == 0)
        return false;
    return sagent_jobs_at(jobs, 0)->array_job_id != 0;
}

static int say_end(const struct running *r, const struct sagent_jobs *jobs)
{
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++) {
        const struct sagent_job *job = sagent_jobs_at(jobs, i);
        if (cli_job_status(job) && !(r->quiet && cli_job_status(job) != CLI_MISSING))
            cli_say("job %s: %s: %s", job->id, str_or(job->phase, job->state),
                    str_or(job->outcome, job->state));
    }
    for (size_t i = 0; i < sagent_jobs_missing_count(jobs); i++)
        cli_say_missing(sagent_jobs_missing(jobs, i));
    return cli_end_output(cli_jobs_status(jobs, SAGENT_UNTIL_END));
}

/* Follows it to its end.  Over again after a signal; -1 with *ret_status to leave. */
static int follow(struct running *r, struct cli_follow *f, int *ret_status)
{
    struct sagent_error err;
    for (;;) {
        if (!heed(r)) {
            *ret_status = detach(r);
            return -1;
        }
        if (cli_follow(f, &err) == 0)
            return 0;
        if (err.code == SAGENT_ERR_INTERRUPTED)
            continue;
        cli_say("job %s goes on, but following it has failed", r->id);
        *ret_status = cli_fail(&err);
        return -1;
    }
}

static int last_word(struct running *r)
{
    struct sagent_error err;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    const struct sagent_wait_request wait = {.ids = &r->id, .id_count = 1};
    while (sagent_wait(r->s, &wait, &jobs, &err) < 0) {
        if (err.code != SAGENT_ERR_INTERRUPTED)
            return cli_fail(&err);
        if (!heed(r))
            return detach(r);
    }
    return say_end(r, jobs);
}

static int follow_and_copy(struct running *r, struct cli_outage *outage)
{
    int status;
    AUTO(cli_follow_done)
    struct cli_follow f = {
        .s = r->s,
        .request = {.ids = &r->id, .id_count = 1, .snapshot = true},
        .until_end = true,
        .tell = tell,
        .arg = r,
        .outage = outage,
    };
    if (is_array(r)) {
        cli_say("job %s is an array: its output is not shown here; slurm-agent logs %s_TASK", r->id,
                r->id);
    } else {
        start_stream(r, &r->out, false);
        start_stream(r, &r->err, true);
    }
    if (follow(r, &f, &status) < 0)
        return status;
    while (!finish_stream(r, &r->out) || !finish_stream(r, &r->err)) {
        if (r->heeded == cli_signals_count())
            break;                       /* stalled */
        r->heeded = cli_signals_count(); /* there is nothing to cancel any more */
        return detach(r);
    }
    return last_word(r);
}

static int run(struct cli *cli, const struct cli_request *request)
{
    int status;
    struct sagent_error err;
    struct cli_outage outage = {0};
    struct running r = {.cli = cli, .quiet = request->args.quiet};
    AUTO(sagent_submit_reply_free) struct sagent_submit_reply *reply = NULL;
    cli_outage_watch(&outage, cli);
    AUTO(sagent_close) struct sagent *s = r.s = cli_open(cli, &status);
    if (!s)
        return status;
    struct sagent_submit_request submit = request->submit;
    AUTO(sagent_uploaded_free) struct sagent_uploaded *uploaded = NULL;
    if (cli_upload(s, request, &submit, &uploaded, &status, &err) < 0)
        return status ? status : cli_fail(&err);
    /* The first Ctrl-C waits for the answer: there is no job to cancel before it. */
    cli_signals_catch(PATIENCE);
    if (sagent_submit(s, &submit, &reply, &err) < 0) {
        cli_upload_refused(request, uploaded, &err);
        cli_request_advise(request, &err);
        return cli_fail(&err);
    }
    if (!r.quiet)
        cli_say("job %s", reply->id);
    cli_request_say(reply, true);
    r.id = reply->id;
    cli_signals_to(s);
    status = follow_and_copy(&r, &outage);
    cli_signals_to(NULL);
    return status;
}

static int print_help(void)
{
    static const struct cli_option own[] = {
        {"wrap", 0, NULL, NULL, "COMMAND", "run a script that runs this command"},
        {"remote-script", 0, NULL, NULL, "PATH", "run a script that is on the cluster"},
        {"quiet", 'Q', NULL, NULL, NULL, "say nothing but the job's output and errors"},
        {"help", 'h', NULL, NULL, NULL, "show this"},
    };
    cli_request_help(
        "run", own, ARRAY_LEN(own),
        "The job's stdout comes to stdout, its stderr to stderr, and its exit code is the exit\n"
        "status: 128 + the signal that ended it (a cancel or the time limit, too); 1 when it did\n"
        "not succeed and has neither (never ran, node failed); 3 when nobody knows how it ended.  What is said\n"
        "about the job goes to stderr, with \"slurm-agent: \" in front.\n"
        "Ctrl-C and SIGTERM cancel the job, a second one leaves it alone.  A connection that is\n"
        "lost, a restart of slurm-agentd or of slurmctld is waited over.\n\n");
    return cli_end_output(0);
}

int cmd_run(struct cli *cli, int argc, char **argv)
{
    struct err err = {0};
    AUTO(cli_request_done) struct cli_request request;
    if (cli_request_make(cli, argc, argv, &request, &err) < 0)
        return cli_request_fail("run", &err);
    if (request.args.help || request.args.usage)
        return print_help();
    if (request.args.version) {
        printf("slurm-agent %s\n", sagent_version());
        return cli_end_output(0);
    }
    if (request.args.json || request.args.parsable) {
        cli_say("run: --%s is an option of submit alone", request.args.json ? "json" : "parsable");
        return CLI_USAGE;
    }
    return run(cli, &request);
}
