/* SPDX-License-Identifier: GPL-3.0-or-later */
/* way_agent.c: the agent, by its protocol (raw.h) and by libslurmagent */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/raw.h"
#include "tests/bench/way.h"

/* ---- the protocol itself ---- */

struct agent {
    struct raw raw;
    struct wire_out *out;
};

static void *open_agent(const char *address)
{
    struct agent *a = malloc(sizeof *a);
    if (!a || !address || !(a->out = wire_out_new()))
        die("agent", "no address, or no memory");
    raw_open(&a->raw, address);
    return a;
}

static void *open_tcp(void)
{
    return open_agent(getenv("SLURM_AGENT_SERVER"));
}

static void *open_ipc(void)
{
    return open_agent(getenv("SLURM_AGENT_IPC"));
}

static struct bytes call(struct agent *a, enum op_number op, const struct msg_type *type,
                         const void *body)
{
    wire_out_clear(a->out);
    msg_pack(type, body, a->out);
    return raw_call(&a->raw, op, wire_out_bytes(a->out));
}

static void status(void *open, uint32_t id)
{
    char text[16];
    const char *ids = text;
    struct get_request req = {.ids = {&ids, 1}};
    snprintf(text, sizeof text, "%u", id);
    struct bytes body = call(open, OP_job_get, &get_request_type, &req);
    if (body.n < 200)
        die("agent get", "that is no job");
}

static uint32_t submit_job(void *open)
{
    static const struct pair options[] = {{"hold", ""}, {"chdir", "/tmp"}};
    AUTO(arena_done) struct arena arena = {0};
    uint8_t id[16];
    struct submit_request req = {
        .request_id = {id, sizeof id},
        .script = {(const uint8_t *)WAY_SCRIPT, strlen(WAY_SCRIPT)},
        .options = {options, ARRAY_LEN(options)},
        .login_environment = true,
        .submit_line = "bench",
    };
    struct submit_reply reply;
    struct err err = {0};
    seal_random(id, sizeof id);
    struct bytes body = call(open, OP_job_submit, &submit_request_type, &req);
    if (msg_unpack(&submit_reply_type, body, &arena, MSG_LENIENT, &reply, &err) < 0)
        die("agent submit", err.text);
    return (uint32_t)reply.job_id;
}

static void cancel(void *open, uint32_t id)
{
    AUTO(arena_done) struct arena arena = {0};
    char text[16];
    const char *ids = text;
    struct control_request req = {.verb = "cancel", .ids = {&ids, 1}};
    struct control_reply reply;
    struct control_result result;
    struct err err = {0};
    snprintf(text, sizeof text, "%u", id);
    struct bytes body = call(open, OP_job_control, &control_request_type, &req);
    if (msg_unpack(&control_reply_type, body, &arena, MSG_LENIENT, &reply, &err) < 0 ||
        reply.results.n != 1 ||
        msg_unpack(&control_result_type, reply.results.v[0], &arena, MSG_LENIENT, &result, &err) <
            0)
        die("agent cancel", err.text);
    if (result.code)
        die("agent cancel", str_or(result.text, "?"));
}

static void close_agent(void *open)
{
    struct agent *a = open;
    raw_close(&a->raw);
    wire_out_free(a->out);
    free(a);
}

const struct way way_agent_tcp = {
    .name = "agent, tcp",
    .status_from = "memory",
    .server = WAY_AGENTD,
    .open = open_tcp,
    .status = status,
    .submit = submit_job,
    .cancel = cancel,
    .close = close_agent,
};

const struct way way_agent_ipc = {
    .name = "agent, ipc",
    .status_from = "memory",
    .server = WAY_AGENTD,
    .open = open_ipc,
    .status = status,
    .submit = submit_job,
    .cancel = cancel,
    .close = close_agent,
};

/* ---- libslurmagent ---- */

static void *library_open(void)
{
    return open_client();
}

static void library_status(void *open, uint32_t id)
{
    char text[16];
    const char *ids = text;
    struct sagent_jobs *jobs;
    struct sagent_error err;
    snprintf(text, sizeof text, "%u", id);
    if (sagent_get(open, &ids, 1, &jobs, &err) < 0)
        die("get", err.text);
    if (sagent_jobs_count(jobs) != 1)
        die("get", "the job is unknown");
    sagent_jobs_free(jobs);
}

static uint32_t library_submit(void *open)
{
    static const struct sagent_pair options[] = {{"hold", NULL}, {"chdir", "/tmp"}};
    AUTO(free) char *id = submit(open, WAY_SCRIPT, options, ARRAY_LEN(options));
    return (uint32_t)strtoul(id, NULL, 10);
}

static void library_cancel(void *open, uint32_t id)
{
    char text[16];
    const char *ids = text;
    struct sagent_control_request req = {.verb = SAGENT_CANCEL, .ids = &ids, .id_count = 1};
    struct sagent_controlled *done;
    struct sagent_error err;
    snprintf(text, sizeof text, "%u", id);
    if (sagent_control(open, &req, &done, &err) < 0)
        die("cancel", err.text);
    if (done->results[0].code)
        die("cancel", done->results[0].text);
    sagent_controlled_free(done);
}

static void library_close(void *open)
{
    sagent_close(open);
}

const struct way way_library = {
    .name = "agent, libslurmagent",
    .status_from = "memory",
    .server = WAY_AGENTD,
    .open = library_open,
    .status = library_status,
    .submit = library_submit,
    .cancel = library_cancel,
    .close = library_close,
};
