/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/worker_ops.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "agentd/cluster.h"
#include "agentd/jobid.h"
#include "agentd/worker_file.h"
#include "common/clock.h"
#include "common/str.h"

/* ---- common to several ---- */

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, "no memory left for the request");
}

/* ---- script ---- */

int worker_text(const char *what, const char *id, const char *text, struct arena *arena,
                struct bytes *out, struct err *err)
{
    size_t n = strlen(text);
    if (n > WIRE_MAX_FRAME - 4096) /* room for the frame's own bytes */
        return err_set(err, ERR_LIMIT, "the %s of job %s is %zu bytes: too large to send", what, id,
                       n);
    uint8_t *copy = (uint8_t *)arena_strndup(arena, text, n);
    *out = (struct bytes){copy, n};
    return copy ? 0 : no_memory(err);
}

struct record_id {
    const struct jobid *id;
    uint32_t found;
};

static int see_record(void *arg, const struct job *j)
{
    struct record_id *r = arg;
    if (!worker_job_matches(j, r->id))
        return 0;
    r->found = (uint32_t)j->job_id;
    return -1;
}

int wop_script(struct worker_call *c, const struct script_request *in, struct script_reply *out,
               struct err *err)
{
    struct jobid id;
    AUTO(free) char *text = NULL;
    if (jobid_parse(str_or(in->id, ""), &id, err) < 0)
        return -1;
    if (id.kind == JOBID_TASKS)
        return err_set(err, ERR_INVALID, "%s: give one job, such as %u or %u_1", in->id, id.id,
                       id.id);
    struct record_id r = {.id = &id, .found = id.kind == JOBID_PLAIN ? id.id : 0};
    if (!r.found && cluster_load_job(id.id, see_record, &r, err) < 0)
        return -1;
    if (!r.found)
        return err_set(err, ERR_NOT_FOUND, "Slurm knows no job %s", in->id);
    if (cluster_script(r.found, &text, err) < 0)
        return -1;
    return worker_text("script", in->id, text, c->arena, &out->script, err);
}

/* ---- info ---- */

int wop_info(struct worker_call *c, const struct empty *in, struct info_reply *out, struct err *err)
{
    (void)in;
    return cluster_info(c->arena, out, err);
}

/* ---- one request ---- */

#define WOP(id, number, role, request, reply, help)                                                \
    static int run_##id(struct worker_call *c, const void *in, void *out, struct err *err)         \
    {                                                                                              \
        return wop_##id(c, in, out, err);                                                          \
    }
#include "agentd/worker_ops.def"
#undef WOP

static const struct row {
    uint32_t number;
    enum worker_role role;
    const char *name;
    const struct msg_type *request, *reply;
    int (*run)(struct worker_call *c, const void *in, void *out, struct err *err);
} rows[] = {
#define WOP(id, number, role, request, reply, help)                                                \
    {number, ROLE_##role, #id, &request##_type, &reply##_type, run_##id},
#include "agentd/worker_ops.def"
#undef WOP
};

static const struct row *find_row(enum worker_role role, uint32_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].number == number && rows[i].role == role)
            return &rows[i];
    return NULL;
}

/* What a request may be unpacked to, and its reply: several times the largest frame. */
enum { CALL_MAX_BYTES = 64 << 20 };

static int serve(const struct agentd_conf *conf, const struct row *row, struct bytes body,
                 struct wire_out *out, struct err *err)
{
    AUTO(arena_done) struct arena arena;
    arena_init(&arena, CALL_MAX_BYTES);
    struct worker_call c = {.conf = conf, .arena = &arena};
    void *request = arena_alloc(&arena, row->request->size);
    void *reply = arena_alloc(&arena, row->reply->size);
    if (!request || !reply)
        return no_memory(err);
    if (msg_unpack(row->request, body, &arena, MSG_STRICT, request, err) < 0 ||
        row->run(&c, request, reply, err) < 0)
        return -1;
    msg_pack(row->reply, reply, out);
    struct bytes b = wire_out_bytes(out);
    if (!b.p)
        return no_memory(err);
    if (b.n > CHAN_MAX_BODY)
        return err_set(err, ERR_LIMIT, "the answer has %zu bytes, at most %d can be sent", b.n,
                       CHAN_MAX_BODY);
    return 0;
}

void worker_serve(const struct agentd_conf *conf, enum worker_role role,
                  const struct chan_head *head, struct bytes body, struct wire_out *out,
                  struct chan_head *ret_head)
{
    struct err err = {0};
    const struct row *row = find_row(role, head->op);
    wire_out_clear(out);
    if (!row)
        err_set(&err, ERR_NOT_FOUND, "a worker of this kind has no operation %u", head->op);
    else
        serve(conf, row, body, out, &err);
    if (err.code != ERR_NONE) {
        wire_out_clear(out);
        msg_pack_error(&err, out);
    }
    *ret_head = (struct chan_head){.serial = head->serial, .op = head->op, .code = err.code};
}
