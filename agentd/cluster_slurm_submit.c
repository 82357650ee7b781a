/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A submit: the RPC, and what slurmctld says to it. */
#include "agentd/cluster_slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/cleanup.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/str.h"

static int submitted(const submit_response_msg_t *msg, struct arena *arena,
                     struct submit_reply *out, struct err *err)
{
    uint32_t id = cluster_slurm_submitted(msg);
    *out = (struct submit_reply){.job_id = id, .id = arena_printf(arena, "%u", id)};
    const char *said = msg->job_submit_user_msg;
    if (said && *said)
        out->message = arena_strndup(arena, said, strnlen(said, 65535));
    /* A held job is reported as an error with the id of the job that there is. */
    if (msg->error_code && msg->error_code != ESLURM_JOB_HELD)
        out->warning =
            arena_printf(arena, "Slurm: %.480s", cluster_slurm_text((int)msg->error_code));
    if (!out->id)
        return err_set(err, ERR_IN_DOUBT, "job %u was submitted, but there is no memory to say so",
                       id);
    return 0;
}

/* ---- what libslurm writes to stderr ----
 *
 * slurmctld's reason for a refusal, and what a job_submit plugin has to say with it, are not in the
 * answer that libslurm gives: it logs them.  They are the user's, so stderr is a file meanwhile. */

struct overheard {
    int file, real;
};

static void listen_in(struct overheard *o)
{
    o->file = memfd_create("stderr", MFD_CLOEXEC);
    o->real = o->file < 0 ? -1 : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (o->real >= 0)
        dup2(o->file, STDERR_FILENO);
}

/* "agent-worker: error: text" is worth its text. */
static const char *without_prefix(const char *line)
{
    const char *error = strstr(line, "error: ");
    return error && error - line < 40 ? error + strlen("error: ") : line;
}

/* Gives stderr back; text gets the lines, joined. */
static void listen_end(struct overheard *o, char *text, size_t size)
{
    char raw[1024], *rest = raw;
    ssize_t n = -1;
    if (o->real >= 0) {
        dup2(o->real, STDERR_FILENO);
        n = pread(o->file, raw, sizeof raw - 1, 0);
        close(o->real);
    }
    if (o->file >= 0)
        close(o->file);
    raw[n > 0 ? n : 0] = '\0';
    text[0] = '\0';
    for (char *line; (line = strsep(&rest, "\n"));) {
        size_t used = strlen(text);
        if (*line)
            snprintf(text + used, size - used, "%s%s", used ? "; " : "", without_prefix(line));
    }
}

/* slurmctld has looked at the request and said no: then what was overheard is its reason. */
static bool is_refusal(enum err_code code)
{
    return code == ERR_INVALID || code == ERR_DENIED || code == ERR_LIMIT || code == ERR_BUSY ||
           code == ERR_SLURM || code == ERR_FULL;
}

static int refused(int rc, const struct sbatch *in, const char *said, struct err *err)
{
    cluster_slurm_fail(SLURM_CALL_SUBMIT, rc, NULL, in, err);
    /* The same number stands for a request that munged did not sign, and so was not sent, and for
     * an answer that it could not check. */
    if (err->code == ERR_MUNGE && !strstr(said, "auth_g_create"))
        err->code = ERR_IN_DOUBT;
    /* One number for all limits: only how many jobs there are changes by itself. */
    if (err->code == ERR_LIMIT && strstr(said, "SubmitJob")) {
        err->code = ERR_FULL;
        err->retry_after_ms = CLUSTER_SLURM_FULL_MS;
    }
    if (err->code == ERR_FULL && err->slurm_errno == EAGAIN)
        said = "slurmctld has as many jobs as its MaxJobCount; there is room when some have ended";
    size_t used = strlen(err->text);
    if (*said && is_refusal(err->code))
        snprintf(err->text + used, sizeof err->text - used, " (%s)", said);
    else if (*said)
        log_warning("libslurm: %s", said);
    if (err->code == ERR_IN_DOUBT)
        err_while(err, "the job may or may not have been submitted");
    return -1;
}

/* In all: slurmdbd of 22.05 cuts it at 65,535 bytes without a word, so ours is behind what has
 * room.
 */
enum { LINE_MAX_BYTES = 60000 };

const char *cluster_tag_mark(const struct bytes *request, struct arena *arena)
{
    char hex[2 * 16 + 1];
    str_hex(request->p, request->n < 16 ? request->n : 16, hex);
    return arena_printf(arena, "#slurm-agent=%s/", hex);
}

const char *cluster_tagged_line(const char *submit_line, const struct cluster_tag *tag,
                                struct arena *arena)
{
    if (!tag->request.n)
        return submit_line;
    const char *mark = cluster_tag_mark(&tag->request, arena);
    char tail[96];
    if (!mark)
        return NULL;
    int len = snprintf(tail, sizeof tail, " %s%lld", mark, (long long)tag->attempt);
    const char *line = str_or(submit_line, "sbatch");
    size_t n = str_cut(line, LINE_MAX_BYTES - (size_t)len);
    return arena_printf(arena, "%.*s%s", (int)n, line, tail);
}

/* The components' descriptions, as libslurm wants them. */
struct described {
    job_desc_msg_t *v;
    size_t n;
    struct xlist *list; /* of a heterogeneous job */
};

static void described_done(struct described *d)
{
    if (d->list)
        slurm_list_destroy(d->list);
}

static int describe(const struct cluster_submission *in, struct arena *arena, struct described *out,
                    struct err *err)
{
    *out = (struct described){.n = in->jobs->n};
    out->v = arena_array(arena, out->n, sizeof *out->v);
    if (!out->v)
        return err_set(err, ERR_LIMIT, "no memory for the job's options");
    for (size_t i = 0; i < out->n; i++)
        if (cluster_slurm_describe(&in->jobs->v[i], in, arena, &out->v[i], err) < 0)
            return out->n > 1 ? err_while(err, "component %zu", i) : -1;
    if (out->n == 1)
        return 0;
    /* the script runs in the first component */
    out->list = slurm_list_create(NULL);
    for (size_t i = 0; i < out->n; i++) {
        if (i)
            out->v[i].script = NULL;
        slurm_list_append(out->list, &out->v[i]);
    }
    return 0;
}

int cluster_submit(const struct cluster_submission *in, struct arena *arena,
                   struct submit_reply *out, struct err *err)
{
    submit_response_msg_t *msg = NULL;
    struct described d;
    struct overheard ears;
    char said[800];
    if (describe(in, arena, &d, err) < 0) {
        described_done(&d);
        return -1;
    }
    listen_in(&ears);
    cluster_slurm_begin();
    FAILPOINT(before_rpc);
    int rc = d.list ? slurm_submit_batch_het_job(d.list, &msg) : slurm_submit_batch_job(d.v, &msg),
        saved = errno;
    FAILPOINT(after_rpc);
    listen_end(&ears, said, sizeof said);
    described_done(&d);
    errno = saved;
    if (rc || !msg)
        return refused(rc, &in->jobs->v[0], said, err);
    rc = submitted(msg, arena, out, err);
    slurm_free_submit_response_response_msg(msg);
    return rc;
}

/* ---- when it would run ---- */

/* slurm.h says that it frees the answer, and does not declare it. */
extern void slurm_free_will_run_response_msg(will_run_response_msg_t *msg);

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Takes a component's answer into what is said of all. */
static int take_will_run(const will_run_response_msg_t *msg, bool first, struct arena *arena,
                         struct submit_reply *out, struct err *err)
{
    enum { PREEMPTED = 1000 };
    size_t more = msg->preemptee_job_id ? (size_t)slurm_list_count(msg->preemptee_job_id) : 0,
           n = out->preempted.n;
    int64_t *ids = arena_array(arena, n + more + 1, sizeof *ids);
    const char *nodes = str_or(msg->node_list, "");
    char *all = first ? arena_strdup(arena, nodes)
                      : arena_printf(arena, "%s,%s", str_or(out->nodes, ""), nodes);
    if (!ids || !all)
        return err_set(err, ERR_LIMIT, "no memory for what Slurm says");
    if (n)
        memcpy(ids, out->preempted.v, n * sizeof *ids);
    if (more) {
        struct listIterator *i = slurm_list_iterator_create(msg->preemptee_job_id);
        for (const uint32_t *id; n < PREEMPTED && (id = slurm_list_next(i));)
            ids[n++] = *id;
        slurm_list_iterator_destroy(i);
        qsort(ids, n, sizeof *ids, by_number);
    }
    out->preempted = (struct ints){ids, n};
    uint32_t job_id = cluster_slurm_will_run_job(msg);
    if (first || job_id < out->job_id)
        out->job_id = job_id;
    if (first || msg->start_time > out->start_time)
        out->start_time = msg->start_time;
    out->processors += msg->proc_cnt;
    out->nodes = all;
    if (msg->part_name)
        out->partition = arena_strdup(arena, msg->part_name);
    if (msg->job_submit_user_msg && *msg->job_submit_user_msg)
        out->message = arena_strdup(arena, msg->job_submit_user_msg);
    return 0;
}

static int ask_will_run(job_desc_msg_t *d, const struct sbatch *job, bool first,
                        struct arena *arena, struct submit_reply *out, struct err *err)
{
    will_run_response_msg_t *msg = NULL;
    struct overheard ears;
    char said[800];
    listen_in(&ears);
    cluster_slurm_begin();
    int rc = slurm_job_will_run2(d, &msg), saved = errno;
    listen_end(&ears, said, sizeof said);
    errno = saved;
    if (rc || !msg)
        return refused(rc, job, said, err);
    rc = take_will_run(msg, first, arena, out, err);
    slurm_free_will_run_response_msg(msg);
    return rc;
}

int cluster_will_run(const struct cluster_submission *in, struct arena *arena,
                     struct submit_reply *out, struct err *err)
{
    struct described d;
    int rc = describe(in, arena, &d, err);
    *out = (struct submit_reply){.test_only = true};
    for (size_t i = 0; rc == 0 && i < d.n; i++)
        rc = ask_will_run(&d.v[i], &in->jobs->v[i], i == 0, arena, out, err);
    described_done(&d);
    if (rc < 0 || d.n == 1)
        return rc;
    struct sbatch_nodes nodes;
    if (cluster_nodes("nodes", out->nodes, arena, &nodes, err) < 0)
        return -1;
    out->nodes = nodes.distinct;
    out->partition = NULL;
    return 0;
}
