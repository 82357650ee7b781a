/* SPDX-License-Identifier: GPL-3.0-or-later */
/* agent-stage: moves the data of one job, as its user; the broker is at the other end of fd 3
 *
 * What it may move it knows from the monitor (--grant): the manifest with that hash.  The job that
 * it may release, or cancel, is the one that carries the tag of the granted request.
 */
#include <string.h>
#include <sys/stat.h>

#include "agentd/child_start.h"
#include "agentd/cluster.h"
#include "agentd/jobid.h"
#include "agentd/monitor_proto.h"
#include "agentd/outcome.h"
#include "agentd/stage_worker.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum { TASK_MAX_BYTES = 512 << 20 }; /* names of a hundred thousand files */

struct worker {
    struct agentd_conf conf;
    struct stage_granted granted;
    bool slurm_open;
};

/* ---- the job ---- */

static int open_slurm(struct worker *w, struct err *err)
{
    if (!w->slurm_open && cluster_open(w->conf.slurm_conf, err) < 0)
        return -1;
    w->slurm_open = true;
    return 0;
}

struct sought {
    uint32_t uid, tag;
    bool found, other;
};

static int see(void *arg, const struct job *j)
{
    struct sought *s = arg;
    s->found |= j->uid == s->uid && j->tag == s->tag;
    s->other |= j->uid != s->uid || j->tag != s->tag;
    return 0;
}

/* Whatever the broker says: the granted request's own job, and no other.  Not DENIED: that is
 * slurmctld's answer where an administrator holds the job. */
static int check_job(struct worker *w, const struct stage_task *t, struct err *err)
{
    struct sought s = {.uid = getuid()};
    if (stage_granted_tag(&w->granted, s.uid, t->attempt, &s.tag, err) < 0)
        return -1;
    if (open_slurm(w, err) < 0 || cluster_load_job((uint32_t)t->job_id, see, &s, err) < 0)
        return -1;
    if (!s.found || s.other)
        return err_set(err, ERR_NOT_FOUND, "job %lld is not the one that was granted",
                       (long long)t->job_id);
    return 0;
}

/* ---- how it ended ---- */

enum { ENDS_MAX = 20000 }; /* see messages.def */

struct ends {
    const struct stage_task *task;
    struct arena *arena;
    struct bytes *v;
    size_t n;
    struct err *err;
};

static int add_end(struct ends *l, const struct job *j, int64_t task)
{
    struct job told = *j;
    outcome_fill(&told, clock_now(), l->arena);
    const struct stage_end end = {
        .task = task,
        .job_id = j->job_id,
        .submit_time = j->submit_time,
        .phase = told.phase,
        .ran = j->nodes || j->batch_host,
    };
    if (l->n == ENDS_MAX)
        return err_set(l->err, ERR_LIMIT, "slurmdbd has more than %d ends of job %lld", ENDS_MAX,
                       (long long)l->task->job_id);
    l->v[l->n] = msg_pack_arena(&stage_end_type, &end, l->arena);
    return l->v[l->n++].p ? 0 : err_set(l->err, ERR_BUSY, "no memory");
}

/* Tasks that never began share a row. */
static int see_end(void *arg, const struct job *j)
{
    struct ends *l = arg;
    if (j->uid != getuid() || j->submit_time < l->task->since)
        return 0;
    if (!j->array_job_id)
        return add_end(l, j, MANIFEST_NO_TASK);
    AUTO(free) uint32_t *tasks = calloc(ENDS_MAX, sizeof *tasks);
    size_t n = tasks ? jobid_tasks(str_or(j->array_task, ""), tasks, ENDS_MAX) : 0;
    if (!tasks)
        return err_set(l->err, ERR_BUSY, "no memory");
    for (size_t i = 0; i < n && i < ENDS_MAX; i++)
        if (add_end(l, j, tasks[i]) < 0)
            return -1;
    return 0;
}

/* Of the user's own jobs alone, whatever the broker asks; slurmdbd has no tags, but the job's id
 * and when it can have been submitted. */
static int find_ends(struct worker *w, const struct stage_task *t, struct arena *arena,
                     struct stage_report *out, struct err *err)
{
    char text[24];
    const char *id = text;
    bool found = false;
    struct ends ends = {
        .task = t, .arena = arena, .v = arena_array(arena, ENDS_MAX, sizeof *ends.v), .err = err};
    snprintf(text, sizeof text, "%lld", (long long)t->job_id);
    const struct acct_request ask = {.cluster = t->cluster, .ids = {&id, 1}};
    if (!ends.v)
        return err_set(err, ERR_BUSY, "no memory");
    if (open_slurm(w, err) < 0 || cluster_acct_jobs(&ask, &found, see_end, &ends, err) < 0)
        return err->code == ERR_NONE ? err_set(err, ERR_BUSY, "slurmdbd's answer") : -1;
    out->ends = (struct raws){ends.v, ends.n};
    return 0;
}

/* ---- what is done to it ---- */

static int change_job(struct worker *w, enum stage_op op, const struct stage_task *t,
                      struct err *err)
{
    const char *remark;
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)t->job_id);
    if (check_job(w, t, err) < 0)
        return -1;
    return cluster_control(op == STAGE_OP_release ? JOB_VERB_release : JOB_VERB_cancel, id, NULL,
                           &remark, err);
}

/* ---- one task ---- */

static int64_t timeout_s(const struct worker *w, const struct manifest *m)
{
    int64_t own = m->body.timeout_s ? m->body.timeout_s : w->conf.stage_s;
    return own < w->conf.max_stage_s ? own : w->conf.max_stage_s;
}

static int read_manifest(const struct worker *w, const struct stage_task *t, struct arena *arena,
                         struct manifest *out, struct err *err)
{
    uint8_t hash[SEAL_HASH];
    seal_hash(t->manifest.p, t->manifest.n, hash);
    if (memcmp(hash, w->granted.hash, SEAL_HASH) != 0)
        return err_set(err, ERR_DENIED, "this manifest is not the one that was granted");
    if (manifest_read(t->manifest, arena, out, err) < 0)
        return -1;
    if (!out->body.work_dir || out->body.work_dir[0] != '/')
        return err_set(err, ERR_PROTOCOL, "a manifest without a working directory");
    return 0;
}

static int move(struct worker *w, enum stage_op op, const struct chan_head *head,
                const struct stage_task *t, struct arena *arena, struct stage_report *out,
                struct err *err)
{
    struct manifest m;
    struct stage_meter meter;
    if (read_manifest(w, t, arena, &m, err) < 0)
        return -1;
    stage_meter_init(&meter, MONITOR_FD, head, timeout_s(w, &m));
    struct stage_job j = {.conf = &w->conf, .m = &m, .task = t, .meter = &meter, .arena = arena};
    int rc = op == STAGE_OP_in    ? stage_in(&j, out, err)
             : op == STAGE_OP_out ? stage_out(&j, out, err)
                                  : stage_sweep(&j, err);
    stage_meter_done(&meter);
    return rc;
}

static int run(struct worker *w, const struct chan_head *head, struct bytes body,
               struct arena *arena, struct stage_report *out, struct err *err)
{
    struct stage_task t;
    *out = (struct stage_report){0};
    if (msg_unpack(&stage_task_type, body, arena, MSG_STRICT, &t, err) < 0)
        return -1;
    switch ((enum stage_op)head->op) {
    case STAGE_OP_in:
    case STAGE_OP_out:
    case STAGE_OP_sweep:
        return move(w, (enum stage_op)head->op, head, &t, arena, out, err);
    case STAGE_OP_release:
    case STAGE_OP_cancel:
        return change_job(w, (enum stage_op)head->op, &t, err);
    case STAGE_OP_ended:
        return find_ends(w, &t, arena, out, err);
    }
    return err_set(err, ERR_NOT_FOUND, "a stage worker has no operation %u", head->op);
}

static int answer(struct worker *w, const struct chan_head *head, struct bytes body,
                  struct wire_out *out)
{
    AUTO(arena_done) struct arena arena;
    struct err err = {0}, sent = {0};
    struct stage_report r;
    arena_init(&arena, TASK_MAX_BYTES);
    wire_out_clear(out);
    if (run(w, head, body, &arena, &r, &err) < 0) {
        msg_pack_error(&err, out);
    } else {
        r.done = true;
        msg_pack(&stage_report_type, &r, out);
    }
    struct chan_head reply = {.serial = head->serial, .op = head->op, .code = err.code};
    struct bytes b = wire_out_bytes(out);
    return b.p && chan_write(MONITOR_FD, &reply, b, &sent) == 0 ? 0 : -1;
}

static int serve(struct worker *w)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out)
        return 1;
    for (;;) {
        struct err err = {0};
        struct chan_head head;
        AUTO(free) uint8_t *body = NULL;
        int rc = chan_read(MONITOR_FD, &head, &body, &err);
        if (rc < 0)
            log_err("%s", err.text);
        if (rc <= 0)
            return rc < 0;
        if (answer(w, &head, (struct bytes){body, head.size}, out) < 0)
            return 1;
    }
}

/* ---- start ---- */

static int usage(void)
{
    fputs("usage: agent-stage [--config FILE] --role stage --grant REQUEST:HASH\n"
          "Started by slurm-agentd, with a socket as file descriptor 3.\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    AUTO(arena_done) struct arena arena = {0};
    struct worker w = {0};
    struct err err = {0};
    struct child_args args;
    if (child_start("agent-stage", argc, argv, &args) < 0 || args.role != ROLE_STAGE ||
        args.check || !args.grant || stage_granted_parse(args.grant, &w.granted) < 0)
        return usage();
    umask(022); /* as Slurm gives jobs: what is fetched is as if the job had made it */
    log_setup("agent-stage", LOG_LEVEL_INFO);
    if (agentd_conf_load(args.config, &arena, &w.conf, &err) < 0 || seal_setup(&err) < 0) {
        log_err("%s", err.text);
        return 1;
    }
    log_setup("agent-stage", agentd_conf_log_level(&w.conf));
    return serve(&w);
}
