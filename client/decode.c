/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/decode.h"

#include <stdlib.h>
#include <string.h>

#include "client/result.h"
#include "common/msg.h"

/* A reply that breaks a limit breaks the protocol. */
static int unpack(const struct msg_type *type, struct bytes body, void *result, void *ret,
                  struct err *err)
{
    if (msg_unpack(type, body, result_arena(result), MSG_LENIENT, ret, err) == 0)
        return 0;
    if (err->code == ERR_LIMIT)
        err->code = ERR_PROTOCOL;
    return err_while(err, "the server's reply");
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory for the server's reply");
}

int decode_server(struct bytes body, struct sagent_server *out, struct err *err)
{
    struct ping_reply r;
    if (unpack(&ping_reply_type, body, out, &r, err) < 0)
        return -1;
    *out = (struct sagent_server){
        .version = r.version,
        .protocol = r.protocol,
        .cluster = r.cluster,
        .server_time = r.server_time,
        .slurm_version = r.slurm_version,
        .slurmctld = r.slurmctld,
        .slurmctld_error = r.slurmctld_error,
        .as_of = r.as_of,
        .stale = r.stale,
        .jobs = r.jobs,
        .private_jobs = r.private_jobs,
        .hidden_jobs = r.hidden_jobs,
        .journal = r.journal,
        .draining = r.draining,
        .in_doubt = r.in_doubt,
    };
    return 0;
}

int decode_identity(struct bytes body, struct sagent_identity *out, struct err *err)
{
    struct whoami_reply r;
    if (unpack(&whoami_reply_type, body, out, &r, err) < 0)
        return -1;
    *out = (struct sagent_identity){
        .user = r.user,
        .uid = r.uid,
        .gid = r.gid,
        .cluster = r.cluster,
        .origin = r.origin,
        .munge_host = r.munge_host,
        .session_ends = r.session_ends,
        .single_user = r.single_user,
    };
    return 0;
}

int decode_submit(struct bytes body, struct sagent_submit_reply *out, struct err *err)
{
    struct submit_reply r;
    if (unpack(&submit_reply_type, body, out, &r, err) < 0)
        return -1;
    if (!r.test_only && (!r.id || !r.job_id))
        return err_set(err, ERR_PROTOCOL, "the server's reply has no job id");
    *out = (struct sagent_submit_reply){
        .id = r.id,
        .job_id = r.job_id,
        .message = r.message,
        .warning = r.warning,
        .again = r.again,
        .wait = r.wait,
        .parsable = r.parsable,
        .test_only = r.test_only,
        .start_time = r.start_time,
        .processors = r.processors,
        .nodes = r.nodes,
        .partition = r.partition,
        .preempted = r.preempted.v,
        .preempted_count = r.preempted.n,
        .cluster = r.cluster,
    };
    return 0;
}

int decode_request(struct bytes body, struct sagent_request *out, struct err *err)
{
    struct request_reply r;
    if (unpack(&request_reply_type, body, out, &r, err) < 0)
        return -1;
    if (!r.state)
        return err_set(err, ERR_PROTOCOL, "the server's reply has no state");
    *out = (struct sagent_request){
        .state = r.state,
        .job_id = r.job_id,
        .submit_time = r.submit_time,
        .attempt = r.attempt,
        .tag = r.tag,
        .begun = r.begun,
        .changed = r.changed,
        .code = (int)r.code,
        .text = r.text,
    };
    return 0;
}

/* ---- jobs ---- */

/* A field of job.def that struct sagent_job lacks does not compile. */
static void convert_job(const struct job *in, struct sagent_job *out)
{
#define STR(name, max, help) out->name = in->name;
#define I64(name, min, max, help) out->name = in->name;
#define BOOL(name, help) out->name = in->name;
#define STRS(name, count, max, help) out->name = (struct sagent_strings){in->name.v, in->name.n};
#include "common/job.def"
#undef STR
#undef I64
#undef BOOL
#undef STRS
    if (!out->source)
        out->source = "slurmctld";
}

const struct sagent_field *sagent_job_fields(size_t *ret_n)
{
    static const struct sagent_field fields[] = {
#define FIELD(field, kind, help) {#field, kind, offsetof(struct sagent_job, field), help},
#define STR(name, max, help) FIELD(name, SAGENT_STRING, help)
#define I64(name, min, max, help) FIELD(name, SAGENT_INTEGER, help)
#define BOOL(name, help) FIELD(name, SAGENT_BOOLEAN, help)
#define STRS(name, count, max, help) FIELD(name, SAGENT_STRINGS, help)
#include "common/job.def"
#undef STR
#undef I64
#undef BOOL
#undef STRS
#undef FIELD
    };
    *ret_n = ARRAY_LEN(fields);
    return fields;
}

static int make_room(struct sagent_jobs *j, size_t more)
{
    if (j->room - j->n >= more)
        return 0;
    size_t room = j->n + more > 2 * j->room ? j->n + more : 2 * j->room;
    struct sagent_job *jobs = reallocarray(j->jobs, room, sizeof *jobs);
    if (!jobs)
        return -1;
    j->jobs = jobs;
    j->room = room;
    return 0;
}

/* The whole answer is only as good as its oldest page. */
static void merge_freshness(const struct jobs_reply *r, struct sagent_jobs *out)
{
    if (out->as_of == 0 || r->as_of < out->as_of)
        out->as_of = r->as_of;
    out->stale = out->stale || r->stale;
    if (!out->note)
        out->note = r->note;
    if (!out->source)
        out->source = r->source;
}

static int decode_job(struct bytes packed, void *result, struct sagent_job *out, struct err *err)
{
    struct job job;
    if (unpack(&job_type, packed, result, &job, err) < 0)
        return -1;
    if (!job.id || !job.state)
        return err_set(err, ERR_PROTOCOL, "the server's reply has a job without id or state");
    convert_job(&job, out);
    return 0;
}

static int add_jobs(const struct raws *jobs, struct sagent_jobs *out, struct err *err)
{
    /* RAWS count to a byte each: no more jobs are made room for than were sent. */
    if (make_room(out, jobs->n) < 0)
        return no_memory(err);
    for (size_t i = 0; i < jobs->n; i++)
        if (decode_job(jobs->v[i], out, &out->jobs[out->n++], err) < 0)
            return -1;
    return 0;
}

int decode_jobs(struct bytes body, struct sagent_jobs *out, struct decode_next *ret_next,
                struct err *err)
{
    struct jobs_reply r;
    if (unpack(&jobs_reply_type, body, out, &r, err) < 0 || add_jobs(&r.jobs, out, err) < 0)
        return -1;
    merge_freshness(&r, out);
    out->missing = r.missing.v;
    out->missing_count = r.missing.n;
    *ret_next = (struct decode_next){r.next, r.next_ended};
    return 0;
}

int decode_wait(struct bytes body, struct sagent_jobs *out, struct err *err)
{
    struct wait_reply r;
    if (unpack(&wait_reply_type, body, out, &r, err) < 0 || add_jobs(&r.jobs, out, err) < 0)
        return -1;
    out->as_of = r.as_of;
    out->stale = r.stale;
    out->note = r.note;
    out->done = r.done;
    out->cursor = r.cursor;
    out->missing = r.missing.v;
    out->missing_count = r.missing.n;
    return 0;
}

static int decode_event(struct bytes packed, struct sagent_events *result, struct sagent_event *out,
                        struct err *err)
{
    struct event e;
    if (unpack(&event_type, packed, result, &e, err) < 0)
        return -1;
    if (!e.what || e.job.n != 1)
        return err_set(err, ERR_PROTOCOL, "the server's reply has an event that lacks %s",
                       e.what ? "its job" : "what it is");
    struct sagent_job *job = arena_alloc(result_arena(result), sizeof *job);
    if (!job)
        return no_memory(err);
    *out = (struct sagent_event){.what = e.what, .was = e.was, .time = e.time, .job = job};
    return decode_job(e.job.v[0], result, job, err);
}

int decode_events(struct bytes body, struct sagent_events *out, struct err *err)
{
    struct events_reply r;
    if (unpack(&events_reply_type, body, out, &r, err) < 0)
        return -1;
    if (!r.cursor || !*r.cursor)
        return err_set(err, ERR_PROTOCOL, "the server's reply has no cursor");
    struct sagent_event *v = arena_array(result_arena(out), r.events.n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < r.events.n; i++)
        if (decode_event(r.events.v[i], out, &v[i], err) < 0)
            return -1;
    *out = (struct sagent_events){
        .events = v,
        .n = r.events.n,
        .as_of = r.as_of,
        .stale = r.stale,
        .reset = r.reset,
        .note = r.note,
        .cursor = r.cursor,
    };
    return 0;
}

static int decode_moved(const struct staging_reply *r, struct sagent_staged *out, struct err *err)
{
    struct arena *arena = result_arena(out);
    struct sagent_input *in = arena_array(arena, r->inputs.n + 1, sizeof *in);
    struct sagent_stored *stored = arena_array(arena, r->outputs.n + 1, sizeof *stored);
    if (!in || !stored)
        return no_memory(err);
    for (size_t i = 0; i < r->inputs.n; i++) {
        struct stage_input one;
        if (msg_unpack(&stage_input_type, r->inputs.v[i], arena, MSG_LENIENT, &one, err) < 0)
            return -1;
        in[i] = (struct sagent_input){one.from, one.to};
    }
    for (size_t i = 0; i < r->outputs.n; i++) {
        struct staged_output one;
        if (msg_unpack(&staged_output_type, r->outputs.v[i], arena, MSG_LENIENT, &one, err) < 0)
            return -1;
        if (!one.id || !one.from || !one.to)
            return err_set(err, ERR_PROTOCOL, "the server's reply has an output without a place");
        stored[i] =
            (struct sagent_stored){one.id, one.from, one.to, one.stored, one.text, one.required};
    }
    out->inputs = in;
    out->input_count = r->inputs.n;
    out->outputs = stored;
    out->output_count = r->outputs.n;
    return 0;
}

int decode_staged(struct bytes body, struct sagent_staged *out, struct err *err)
{
    struct staging_reply r;
    if (unpack(&staging_reply_type, body, out, &r, err) < 0)
        return -1;
    if (!r.state)
        return err_set(err, ERR_PROTOCOL, "the server's reply has no state");
    out->job_id = r.job_id;
    out->state = r.state;
    out->text = r.text;
    return decode_moved(&r, out, err);
}

int decode_script(struct bytes body, struct sagent_script *out, struct err *err)
{
    struct script_reply r;
    if (unpack(&script_reply_type, body, out, &r, err) < 0)
        return -1;
    out->data = arena_strndup(result_arena(out), (const char *)r.script.p, r.script.n);
    out->size = r.script.n;
    return out->data ? 0 : no_memory(err);
}

int decode_environment(struct bytes body, struct sagent_script *out, struct err *err)
{
    struct environment_reply r;
    if (unpack(&environment_reply_type, body, out, &r, err) < 0)
        return -1;
    out->data = arena_strndup(result_arena(out), (const char *)r.environment.p, r.environment.n);
    out->size = r.environment.n;
    return out->data ? 0 : no_memory(err);
}

int decode_steps(struct bytes body, struct sagent_steps *out, struct err *err)
{
    struct steps_reply r;
    if (unpack(&steps_reply_type, body, out, &r, err) < 0)
        return -1;
    struct sagent_step *v = arena_array(result_arena(out), r.steps.n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < r.steps.n; i++) {
        struct step s;
        if (unpack(&step_type, r.steps.v[i], out, &s, err) < 0)
            return -1;
        if (!s.id || !s.job)
            return err_set(err, ERR_PROTOCOL, "the server's reply has a step without an id");
        v[i] = (struct sagent_step){
            .id = s.id,
            .job = s.job,
            .name = s.name,
            .state = s.state,
            .nodes = s.nodes,
            .tasks = s.tasks,
            .cpus = s.cpus,
            .start_time = s.start_time,
            .elapsed = s.elapsed,
            .time_limit = s.time_limit,
            .tres = s.tres,
        };
    }
    *out = (struct sagent_steps){v, r.steps.n, r.missing.v, r.missing.n, r.as_of};
    return 0;
}

int decode_log(struct bytes body, struct sagent_log_chunk *out, struct err *err)
{
    struct log_reply r;
    if (unpack(&log_reply_type, body, out, &r, err) < 0)
        return -1;
    /* A reader goes on behind it, and must not go round in circles. */
    if (r.data.n > (uint64_t)INT64_MAX - (uint64_t)r.offset || (r.done && r.data.n))
        return err_set(err, ERR_PROTOCOL, "the server's reply has data where there can be none");
    *out = (struct sagent_log_chunk){
        .data = r.data.n ? (const void *)r.data.p : "",
        .size = r.data.n,
        .offset = r.offset,
        .file_size = r.size,
        .file = r.file,
        .restarted = r.restarted,
        .done = r.done,
        .path = r.path,
        .same_as = r.same_as,
        .note = r.note,
    };
    return 0;
}

/* Room for n more; what is there moves. */
static int more_results(struct sagent_controlled *out, size_t n, struct sagent_control_result **ret,
                        struct err *err)
{
    struct sagent_control_result *v = arena_array(result_arena(out), out->n + n, sizeof *v);
    if (!v)
        return no_memory(err);
    if (out->n)
        memcpy(v, out->results, out->n * sizeof *v);
    out->results = v;
    *ret = v + out->n;
    return 0;
}

int decode_controlled(struct bytes body, size_t n, struct sagent_controlled *out, int64_t *ret_next,
                      struct err *err)
{
    struct control_reply r;
    struct sagent_control_result *v = NULL;
    if (unpack(&control_reply_type, body, out, &r, err) < 0)
        return -1;
    if (n != DECODE_ANY && (r.results.n != n || r.next))
        return err_set(err, ERR_PROTOCOL, "the server's reply has %zu results for %zu ids",
                       r.results.n, n);
    if (more_results(out, r.results.n, &v, err) < 0)
        return -1;
    for (size_t i = 0; i < r.results.n; i++) {
        struct control_result one;
        if (unpack(&control_result_type, r.results.v[i], out, &one, err) < 0)
            return -1;
        if (!one.id)
            return err_set(err, ERR_PROTOCOL, "the server's reply has a result without an id");
        v[i] =
            (struct sagent_control_result){one.id, (int)one.code, (int)one.slurm_errno, one.text};
    }
    out->n += r.results.n;
    *ret_next = r.next;
    return 0;
}

/* ---- the cluster ---- */

static int decode_controllers(const struct raws *raws, struct sagent_cluster *out, struct err *err)
{
    struct sagent_controller *v = arena_array(result_arena(out), raws->n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < raws->n; i++) {
        struct controller c;
        if (unpack(&controller_type, raws->v[i], out, &c, err) < 0)
            return -1;
        v[i] = (struct sagent_controller){c.host, c.role, c.up};
    }
    out->controllers = v;
    out->controller_count = raws->n;
    return 0;
}

static int decode_partitions(const struct raws *raws, struct sagent_cluster *out, struct err *err)
{
    struct sagent_partition *v = arena_array(result_arena(out), raws->n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < raws->n; i++) {
        struct partition p;
        if (unpack(&partition_type, raws->v[i], out, &p, err) < 0)
            return -1;
        v[i] = (struct sagent_partition){
            .name = p.name,
            .is_default = p.is_default,
            .state = p.state,
            .max_time = p.max_time,
            .default_time = p.default_time,
            .nodes = p.nodes,
            .cpus = p.cpus,
            .node_list = p.node_list,
        };
    }
    out->partitions = v;
    out->partition_count = raws->n;
    return 0;
}

static int decode_nodes(const struct raws *raws, struct sagent_cluster *out, struct err *err)
{
    struct sagent_node_state *v = arena_array(result_arena(out), raws->n, sizeof *v);
    if (!v)
        return no_memory(err);
    for (size_t i = 0; i < raws->n; i++) {
        struct node_state s;
        if (unpack(&node_state_type, raws->v[i], out, &s, err) < 0)
            return -1;
        v[i] = (struct sagent_node_state){s.state, s.count};
    }
    out->nodes = v;
    out->node_count = raws->n;
    return 0;
}

int decode_cluster(struct bytes body, struct sagent_cluster *out, struct err *err)
{
    struct info_reply r;
    if (unpack(&info_reply_type, body, out, &r, err) < 0)
        return -1;
    out->cluster = r.cluster;
    out->slurm_version = r.slurm_version;
    out->as_of = r.as_of;
    out->error = r.error;
    if (decode_controllers(&r.controllers, out, err) < 0 ||
        decode_partitions(&r.partitions, out, err) < 0)
        return -1;
    return decode_nodes(&r.nodes, out, err);
}
