/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli_transfer.c: put and fetch: files into an object store and out of it, and a job's outputs */
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_follow.h"
#include "client/cli_progress.h"
#include "client/slurmagent_store.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

CLEANUP_FN(struct sagent, sagent_close)
CLEANUP_FN(struct sagent_jobs, sagent_jobs_free)
CLEANUP_FN(struct sagent_store, sagent_store_close)
CLEANUP_FN(struct sagent_staged, sagent_staged_free)

/* The options of both commands. */
struct transfer {
    struct sagent_store_options store;
    struct sagent_transfer_options o;
    struct cli_progress show;
    const char *parallel;
};
#define TRANSFER_OPTIONS(t)                                                                        \
    {"recursive", 'r', &(t).o.recursive, NULL, NULL, "directories, and all below a prefix"},       \
        {"profile", 0, NULL, &(t).store.profile, "NAME", "of ~/.aws/config and credentials"},      \
        {"endpoint-url", 0, NULL, &(t).store.endpoint, "URL", "where the store is, if not there"}, \
        {"region", 0, NULL, &(t).store.region, "NAME", "of the store"},                            \
        {"no-sign-request", 0, &(t).store.anonymous, NULL, NULL, "without keys: public buckets"},  \
        {"parallel", 0, NULL, &(t).parallel, "N", "connections at once, 1 to 16 (4)"},             \
        {"json", 0, &(t).show.json, NULL, NULL, "print a JSON object for each file, a line each"}, \
    {                                                                                              \
        "quiet", 'q', &(t).show.quiet, NULL, NULL, "print nothing but errors"                      \
    }

#define URLS_HELP                                                                                  \
    "URLs are s3://BUCKET/KEY, s3://BUCKET/PREFIX/ and file:///DIR/NAME.  Keys and settings come " \
    "from\n~/.aws/config, ~/.aws/credentials and AWS_* variables, as Amazon's tools find them.\n"

static int begin(struct transfer *t, const char *command)
{
    int64_t n = 0;
    if (t->parallel && !str_to_i64(t->parallel, 1, 16, &n)) {
        cli_say("%s: --parallel %s: give a whole number from 1 to 16", command, t->parallel);
        return CLI_USAGE;
    }
    t->store.parallel = (int)n;
    t->o.on_bytes = cli_progress_bytes;
    t->o.on_file = cli_progress_file;
    t->o.on_left_out = cli_progress_left_out;
    t->o.arg = &t->show;
    cli_progress_begin(&t->show);
    return 0;
}

static void begin_moving(struct transfer *t)
{
    t->show.begun_ms = t->show.mark_ms = clock_mono_ms(); /* asking the server is no part of it */
    cli_signals_catch(2); /* the second one does not wait for the store to forget what it has */
}

static int begin_with(struct transfer *t, const char *command, const char *url,
                      struct sagent_store **ret)
{
    struct sagent_error err;
    int status = begin(t, command);
    if (status)
        return status;
    if (sagent_store_open(url, &t->store, ret, &err) < 0)
        return cli_fail(&err);
    begin_moving(t);
    return 0;
}

static int end(struct transfer *t, int rc, const struct sagent_error *err)
{
    cli_progress_end(&t->show);
    if (cli_signals_count() > 0)
        return cli_signals_end();
    if (rc == 0)
        return cli_end_output(0);
    /* Each file that failed was told by itself. */
    return t->show.failed ? cli_end_output(err->exit_status) : cli_fail(err);
}

int cmd_put(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    struct transfer t = {0};
    const struct cli_option options[] = {TRANSFER_OPTIONS(t)};
    struct cli_args args;
    struct sagent_error err = {0};
    int status;
    if (!cli_begin_more(options, ARRAY_LEN(options), URLS_HELP, 2, SIZE_MAX, argc, argv, &args,
                        &status))
        return status;
    AUTO(free) const char **paths = args.positional;
    const char *url = paths[args.n - 1];
    AUTO(sagent_store_close) struct sagent_store *st = NULL;
    status = begin_with(&t, "put", url, &st);
    if (status)
        return status;
    return end(&t, sagent_put(st, paths, args.n - 1, url, &t.o, &err), &err);
}

/* ---- a job's outputs ---- */
struct outputs {
    struct transfer *t;
    const struct sagent_staged *p;
    bool each_task;  /* has a directory of its own */
    bool ended;      /* all of it */
    const char *dir; /* NULL: here */
    struct sagent_store *stores[2];
    struct sagent_error first; /* of what went wrong */
};

static int output_failed(struct outputs *o, size_t i, const struct sagent_error *err)
{
    const struct sagent_transfer t = {.from = o->p->outputs[i].to};
    cli_progress_file(&o->t->show, &t, err);
    return -1;
}

__attribute__((format(printf, 4, 5))) static int say_output(struct outputs *o, size_t i, int code,
                                                            const char *fmt, ...)
{
    struct sagent_error err = {.code = code, .exit_status = sagent_code_exit_status(code)};
    va_list args;
    va_start(args, fmt);
    vsnprintf(err.text, sizeof err.text, fmt, args);
    va_end(args);
    if (!o->first.code)
        o->first = err;
    return output_failed(o, i, &err);
}

/* A server's word that becomes a directory's name. */
static bool is_id(const char *id)
{
    return *id && strspn(id, "0123456789_") == strlen(id);
}

/* A requeued job's outputs are told of each end, and are at their URLs once.  What is being stored
 * again is not left out: it replaces what is there. */
static bool is_told_elsewhere(const struct outputs *o, size_t i)
{
    const struct sagent_stored *a = &o->p->outputs[i];
    for (size_t k = 0; k < o->p->output_count; k++) {
        const struct sagent_stored *b = &o->p->outputs[k];
        if (k != i && str_eq(a->id, b->id) && str_eq(a->from, b->from) && str_eq(a->to, b->to) &&
            (a->stored == b->stored ? k < i : b->stored && a->text))
            return true;
    }
    return false;
}

/* A directory of the cluster's need not be one of this host's.  Where nothing need have been stored
 * the one above it tells. */
static bool is_on_this_host(const struct sagent_stored *out, char dir[PATH_MAX])
{
    char above[PATH_MAX];
    if (strncmp(out->to, "file://", 7) != 0)
        return true;
    const char *slash = strrchr(out->to, '/');
    snprintf(dir, PATH_MAX, "%.*s", (int)(slash - out->to - 7), out->to + 7);
    str_copy(above, sizeof above, dir);
    char *last = strrchr(above, '/');
    if (last && out->stored && !out->required)
        *last = '\0';
    return access(*above ? above : "/", F_OK) == 0;
}

static struct sagent_store *store_of(struct outputs *o, const char *url, struct sagent_error *err)
{
    struct sagent_store **st = &o->stores[strncmp(url, "file://", 7) == 0];
    return *st || sagent_store_open(url, &o->t->store, st, err) == 0 ? *st : NULL;
}

static int fetch_output(struct outputs *o, size_t i)
{
    const struct sagent_stored *out = &o->p->outputs[i];
    struct sagent_error err = {0};
    char place[PATH_MAX];
    AUTO(free) char *own = NULL;
    if (!is_id(out->id))
        return say_output(o, i, SAGENT_ERR_PROTOCOL, "the server's reply has no job's id");
    if (!out->stored && !out->text)
        return say_output(o, i, SAGENT_ERR_NOT_FOUND,
                          "%s of job %s is not stored yet (STAGING_OUT): slurm-agent wait %s",
                          out->from, out->id, out->id);
    if (!is_on_this_host(out, place))
        return say_output(o, i, SAGENT_ERR_NOT_FOUND,
                          "%s of job %s: %s is not on this host: file:// is a directory of the "
                          "cluster's hosts%s",
                          out->from, out->id, place,
                          out->stored ? "" : ", and not all of the job's outputs were stored");
    if (o->each_task && asprintf(&own, "%s/%s", str_or(o->dir, "."), out->id) < 0)
        cli_no_memory();
    struct sagent_store *st = store_of(o, out->to, &err);
    struct cli_progress *show = &o->t->show;
    int64_t failed = show->failed, missing = show->missing;
    /* When not all was stored, nobody has said that there was none. */
    show->optional = out->stored && !out->required ? out : NULL;
    if (!st || sagent_fetch_output(st, out, own ? own : o->dir, &o->t->o, &err) < 0) {
        bool interrupted = err.code == SAGENT_ERR_INTERRUPTED;
        if (show->failed == failed && show->missing == missing && !interrupted)
            output_failed(o, i, &err); /* before a file of it was begun */
        if ((show->failed > failed || interrupted) && !o->first.code)
            o->first = err;
    }
    show->optional = NULL;
    show->before_bytes = show->done_bytes;
    return err.code ? -1 : 0;
}

/* Why it was not stored is said once for each end. */
static void say_ends(const struct outputs *o)
{
    const char *said = "";
    for (size_t i = 0; i < o->p->output_count; i++) {
        const struct sagent_stored *out = &o->p->outputs[i];
        if (!out->stored && out->text && !str_eq(said, out->id))
            cli_say("not all outputs of job %s were stored: %s", out->id, out->text);
        said = out->id;
    }
}

static int fetch_outputs(struct outputs *o)
{
    size_t n = o->p->output_count;
    if (n == 0) {
        cli_say(o->ended ? "job %lld has no stored outputs"
                         : "job %lld has no stored outputs: it has not ended yet",
                (long long)o->p->job_id);
        return CLI_MISSING;
    }
    if (sagent_check_outputs(o->p, &o->first) < 0)
        return cli_fail(&o->first);
    say_ends(o);
    if (o->each_task && !o->ended) {
        cli_say("array %lld has not ended: these are the outputs of tasks that have",
                (long long)o->p->job_id);
        o->first.code = SAGENT_ERR_NOT_FOUND;
        o->first.exit_status = CLI_MISSING;
    }
    begin_moving(o->t);
    for (size_t i = 0; i < n && cli_signals_count() == 0; i++)
        if (!is_told_elsewhere(o, i))
            fetch_output(o, i);
    o->t->show.failed += o->first.code != 0; /* has been said */
    return end(o->t, o->first.code ? -1 : 0, &o->first);
}

static int fetch_job(struct cli *cli, struct transfer *t, const char *id, const char *dir)
{
    AUTO(sagent_staged_free) struct sagent_staged *p = NULL;
    AUTO(sagent_jobs_free) struct sagent_jobs *jobs = NULL;
    struct sagent_error err;
    int status = begin(t, "fetch");
    if (status)
        return status;
    if (t->o.recursive) {
        cli_say("fetch: --recursive is for URLs: all outputs of a job are fetched");
        return CLI_USAGE;
    }
    AUTO(sagent_close) struct sagent *s = cli_open(cli, &status);
    if (!s)
        return status;
    /* In this order: of what has ended there is all to be told. */
    if (sagent_get(s, &id, 1, &jobs, &err) < 0 || sagent_staged(s, id, &p, &err) < 0)
        return cli_fail(&err);
    struct outputs o = {.t = t, .p = p, .dir = dir, .ended = true};
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        o.ended = o.ended && sagent_job_ended(sagent_jobs_at(jobs, i));
    /* Asked for as a whole; how many tasks have ended so far does not matter. */
    o.each_task = p->output_count && strchr(p->outputs[0].id, '_') && !strchr(id, '_');
    status = fetch_outputs(&o);
    sagent_store_close(o.stores[0]);
    sagent_store_close(o.stores[1]);
    return status;
}

int cmd_fetch(struct cli *cli, int argc, char **argv)
{
    struct transfer t = {0};
    const struct cli_option options[] = {TRANSFER_OPTIONS(t)};
    static const char more[] =
        URLS_HELP "\nOf a JOB, an array or one task (12_3) its outputs are fetched into DIR, under "
                  "the paths they had in\nits working directory; of an array each task's into "
                  "DIR/12_3.\n";
    struct cli_args args;
    struct sagent_error err = {0};
    int status;
    if (!cli_begin_more(options, ARRAY_LEN(options), more, 1, 2, argc, argv, &args, &status))
        return status;
    AUTO(free) const char **words = args.positional;
    const char *path = args.n > 1 ? words[1] : NULL;
    if (is_id(words[0]))
        return fetch_job(cli, &t, words[0], path);
    AUTO(sagent_store_close) struct sagent_store *st = NULL;
    status = begin_with(&t, "fetch", words[0], &st);
    if (status)
        return status;
    return end(&t, sagent_fetch(st, words[0], path, &t.o, &err), &err);
}
