/* SPDX-License-Identifier: GPL-3.0-or-later */
/* load_acct: jobs that slurmctld has forgotten, and find_request: the job of a submit, asked of
 * slurmdbd as the user, so that slurmdbd decides what the user may see. */
#include "agentd/cluster.h"
#include "agentd/jobrec.h"
#include "agentd/worker_gather.h"
#include "agentd/worker_ops.h"
#include "common/str.h"

struct acct {
    struct gathering *g;
    const struct acct_request *req;
    struct job_filter filter;
};

static int read_filter(struct acct *a, struct err *err)
{
    const struct acct_request *req = a->req;
    bool by_time = req->ids.n == 0;
    a->filter.partition = by_time ? req->partition : NULL;
    a->filter.name = by_time ? req->name : NULL;
    if (req->submit_times.n && req->submit_times.n != req->ids.n)
        return err_set(err, ERR_INVALID, "%zu ids, but %zu submit_times", req->ids.n,
                       req->submit_times.n);
    if (job_filter_whose(&a->filter, req->user, req->all_users, getuid(), err) < 0)
        return -1;
    return by_time ? jobstate_set(&req->states, &a->filter.states, err) : 0;
}

static int see(void *arg, const struct job *j)
{
    struct acct *a = arg;
    const struct job_keys keys = {
        .uid = (uint32_t)j->uid,
        .state = str_or(j->state, ""),
        .name = str_or(j->name, ""),
        .user = str_or(j->user, ""),
        .partition = str_or(j->partition, ""),
    };
    bool by_time = a->req->ids.n == 0;
    if (!job_filter_matches(&a->filter, &keys) ||
        (by_time && a->g->cut && j->end_time >= a->g->below))
        return 0;
    if (gathering_add(a->g, by_time ? j->end_time : j->job_id, j) < 0)
        return -1;
    if (a->g->bytes > 2 * WIRE_MAX_JOBS) {
        if (!by_time)
            return -1;
        gathering_trim(a->g, 0);
    }
    return 0;
}

static int get(struct worker_call *c, struct acct *a, struct jobs_reply *out, struct err *err)
{
    const struct strs *ids = &a->req->ids;
    const char **missing = arena_array(c->arena, ids->n, sizeof *missing);
    bool *found = arena_array(c->arena, ids->n, sizeof *found);
    if (!missing || !found)
        return err_set(err, ERR_LIMIT, "no memory for the jobs");
    if (cluster_acct_jobs(a->req, found, see, a, err) < 0)
        return -1;
    gathering_trim(a->g, 0);
    if (a->g->cut)
        return err_set(err, ERR_LIMIT,
                       "the answer is larger than %d bytes: ask for fewer jobs at once",
                       WIRE_MAX_JOBS);
    for (size_t i = 0; i < ids->n; i++)
        if (!found[i])
            missing[out->missing.n++] = ids->v[i];
    out->missing.v = missing;
    return 0;
}

/* A page ends between two seconds: the next one begins with what ended in the second after. */
static void end_page(struct gathering *g, size_t limit, struct jobs_reply *out)
{
    gathering_trim(g, 0);
    size_t n = limit && limit < g->n ? limit : g->n;
    int64_t next = n < g->n ? g->v[n].key : g->cut ? g->below : 0;
    size_t whole = n;
    while (whole && g->v[whole - 1].key == next)
        whole--;
    if (whole == 0 && n) /* one second is more than a page */
        for (whole = n; whole < g->n && g->v[whole].key == next; whole++)
            ;
    bool lost = g->cut && whole == g->n && whole && g->v[whole - 1].key == g->below;
    gathering_drop(g, whole);
    if (lost) {
        out->next_ended = g->below + 1;
        out->note = "more jobs ended in one second than an answer can hold: some are left out";
    } else if (g->cut) {
        out->next_ended = g->below;
    }
}

static int list(struct acct *a, struct jobs_reply *out, struct err *err)
{
    if (cluster_acct_jobs(a->req, NULL, see, a, err) < 0)
        return -1;
    end_page(a->g, (size_t)a->req->limit, out);
    return 0;
}

int wop_load_acct(struct worker_call *c, const struct acct_request *in, struct jobs_reply *out,
                  struct err *err)
{
    AUTO(gathering_done) struct gathering g;
    if (gathering_init(&g, err) < 0)
        return -1;
    struct acct a = {.g = &g, .req = in};
    if (read_filter(&a, err) < 0 || (in->ids.n ? get(c, &a, out, err) : list(&a, out, err)) < 0)
        return -1;
    return gathering_finish(&g, "slurmdbd", c->arena, out, err);
}

int wop_find_request(struct worker_call *c, const struct request_query *in,
                     struct found_request *out, struct err *err)
{
    (void)c;
    return cluster_acct_request(in, out, err);
}

int wop_acct_text(struct worker_call *c, const struct acct_text_request *in,
                  struct script_reply *out, struct err *err)
{
    AUTO(free) char *text = NULL;
    if (cluster_acct_text(in, &text, err) < 0)
        return -1;
    return worker_text(in->environment ? "environment" : "script", in->id, text, c->arena,
                       &out->script, err);
}
