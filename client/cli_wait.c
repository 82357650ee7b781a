/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_wait.c: wait */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_follow.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

/* One request to the library: a look at whether slurmctld answers comes between two of them. */
enum { SLICE_S = 30, TIMEOUT_MAX_S = 100000000 };

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct cli_table, cli_table_free)

static void print_table(const struct sagent_jobs *jobs)
{
    static const struct cli_column columns[] = {
        {"JOBID", false, 4, 12}, {"STATE", false, 0, 0}, {"EXIT", false, 0, 0},
        {"TIME", true, 0, 0},    {"NAME", false, 2, 8},  {"OUTCOME", false, 1, 16},
    };
    char text[CLI_TEXT];
    AUTO(cli_table_free) struct cli_table *t = cli_table_new(columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++) {
        const struct sagent_job *job = sagent_jobs_at(jobs, i);
        AUTO(free) char *remark = cli_job_remark(job);
        cli_table_add(t, job->id);
        cli_table_add(t, cli_job_state(job));
        cli_table_add(t, cli_job_exit(job, text));
        cli_table_add(t, cli_duration(cli_run_time(job, sagent_jobs_as_of(jobs)), text));
        cli_table_add(t, job->name);
        cli_table_add(t, remark);
    }
    cli_table_print(t);
}

static int report(const struct sagent_jobs *jobs, enum sagent_until until, bool json, bool quiet)
{
    if (json) {
        json_t *all = cli_json_jobs(jobs);
        json_object_set_new(all, "done", json_boolean(sagent_jobs_done(jobs)));
        cli_json_set(all, "cursor", sagent_jobs_cursor(jobs));
        cli_json_print(all);
    } else if (!quiet && sagent_jobs_count(jobs)) {
        print_table(jobs);
    }
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++) {
        const struct sagent_job *job = sagent_jobs_at(jobs, i);
        if (cli_job_status(job) == CLI_MISSING && str_eq(job->phase, "UNKNOWN"))
            cli_say("job %s: %s", job->id, str_or(job->outcome, "nobody knows how it ended"));
    }
    for (size_t i = 0; i < sagent_jobs_missing_count(jobs); i++)
        cli_say_missing(sagent_jobs_missing(jobs, i));
    return cli_end_output(cli_jobs_status(jobs, until));
}

static int read_until(const char *word, enum sagent_until *ret)
{
    static const char *const words[] = {"end", "start", "change"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eq(str_or(word, "end"), words[i])) {
            *ret = (enum sagent_until)i;
            return 0;
        }
    cli_say("wait: --until %s: give end, start or change", word);
    return -1;
}

static int read_timeout(const char *word, int64_t *ret_s)
{
    *ret_s = 0;
    if (!word || str_to_i64(word, 1, TIMEOUT_MAX_S, ret_s))
        return 0;
    cli_say("wait: --timeout %s: give seconds, a whole number from 1 to %d", word, TIMEOUT_MAX_S);
    return -1;
}

struct waiting {
    struct sagent *s;
    struct sagent_wait_request request;
    int64_t end_ms; /* 0: never */
    struct cli_outage *outage;
};

/* One slice.  1: over, with *ret; 0: go on; -1 with *err. */
static int wait_slice(struct waiting *w, char **cursor, struct sagent_jobs **ret,
                      struct sagent_error *err)
{
    int64_t left_s = w->end_ms ? (w->end_ms - clock_mono_ms() + 999) / 1000 : SLICE_S;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    w->request.timeout_s = left_s < 1 ? 1 : left_s < SLICE_S ? (int)left_s : SLICE_S;
    w->request.cursor = *cursor;
    bool last = w->end_ms && left_s <= SLICE_S;
    if (sagent_wait(w->s, &w->request, &jobs, err) < 0)
        return err->retry && w->outage->out && !last ? 0 : -1;
    if (sagent_jobs_done(jobs) || last) {
        *ret = TAKE(jobs);
        return 1;
    }
    cli_outage_stale(w->outage, sagent_jobs_stale(jobs), sagent_jobs_as_of(jobs),
                     sagent_jobs_note(jobs));
    if (sagent_jobs_cursor(jobs)) {
        free(*cursor);
        if (!(*cursor = strdup(sagent_jobs_cursor(jobs))))
            cli_no_memory();
    }
    return 0;
}

static int wait_for(struct waiting *w, struct sagent_jobs **ret, struct sagent_error *err)
{
    AUTO(free) char *cursor = w->request.cursor ? strdup(w->request.cursor) : NULL;
    int rc;
    while ((rc = wait_slice(w, &cursor, ret, err)) == 0)
        ;
    return rc < 0 ? -1 : 0;
}

static int time_is_up(const char *timeout)
{
    cli_say("after %s s it has not happened yet", timeout);
    return sagent_code_exit_status(SAGENT_ERR_TIMEOUT);
}

int cmd_wait(struct cli *cli, int argc, char **argv)
{
    bool json = false, quiet = false;
    const char *until = NULL, *timeout = NULL;
    struct cli_outage outage = {0};
    struct waiting w = {.outage = &outage};
    const struct cli_option options[] = {
        {"until", 'u', NULL, &until, "WHAT", "end (the default), start or change"},
        {"any", 0, &w.request.any, NULL, NULL, "until one of them has, not all"},
        {"timeout", 't', NULL, &timeout, "SECONDS", "give up after so long: exit status 11"},
        {"cursor", 0, NULL, &w.request.cursor, "CURSOR", "--until=change: since that `cursor`"},
        {"json", 0, &json, NULL, NULL, "as JSON"},
        {"quiet", 'Q', &quiet, NULL, NULL, "print nothing on stdout"},
    };
    static const char more[] =
        "Exits as the job did: with its exit code, or 128 + the signal that ended it; with the\n"
        "highest of several jobs' or an array's; a cancel or the time limit is a signal, too.\n"
        "1: it did not succeed and has neither (never ran, node failed).  3: nobody knows the job, or how it ended.  11: "
        "the\ntime is up.  Other errors as `slurm-agent help errors` lists them; each of them says "
        "why on\nstderr, where a job's own exit code says nothing.\n"
        "--until=start: 0 when all have started.  --until=change: 0 when something has\nchanged, at once when all have ended already; 3 when one of them is not known.\n";
    struct cli_args args;
    int status;
    int64_t timeout_s;
    struct sagent_error err;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    if (!cli_begin_more(options, ARRAY_LEN(options), more, 1, SIZE_MAX, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **ids = args.positional;
    if (read_until(until, &w.request.until) < 0 || read_timeout(timeout, &timeout_s) < 0)
        return CLI_USAGE;
    if (w.request.cursor && w.request.until != SAGENT_UNTIL_CHANGE) {
        cli_say("wait: --cursor goes with --until=change alone");
        return CLI_USAGE;
    }
    w.request.ids = ids;
    w.request.id_count = args.n;
    w.end_ms = timeout_s ? clock_mono_ms() + timeout_s * 1000 : 0;
    cli_outage_watch(&outage, cli);
    AUTO(sagent_close) struct sagent *s = w.s = cli_open(cli, &status);
    if (!s)
        return status;
    cli_signals_catch(1);
    cli_signals_to(s);
    int rc = wait_for(&w, &jobs, &err);
    cli_signals_to(NULL);
    if (rc == 0 && sagent_jobs_done(jobs))
        return report(jobs, w.request.until, json, quiet);
    if (rc == 0)
        return time_is_up(timeout);
    if (err.code != SAGENT_ERR_INTERRUPTED)
        return cli_fail(&err);
    sagent_close(TAKE(s));
    return cli_signals_end();
}
