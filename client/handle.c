/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/handle.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/address.h"
#include "client/conn.h"
#include "client/held.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "common/fdio.h"
#include "common/seal.h"
#include "common/str.h"

/* The public header cannot have errors.def. */
#define ERR(name, number, status, retry, help)                                                     \
    _Static_assert((int)SAGENT_ERR_##name == (number), "slurmagent.h: SAGENT_ERR_" #name);
#include "common/errors.def"
#undef ERR
_Static_assert(sizeof((struct sagent_error *)0)->text == sizeof((struct err *)0)->text, "text");

enum {
    TIMEOUT_MS = 60000,
    /* submit and control: the server gives up on slurmctld after 200 s (call_deadline_s) */
    CHANGE_TIMEOUT_MS = 240000,
    BUSY_MOST_MS = 5000, /* on top of what a busy server advises */
};

struct sagent {
    struct arena arena;
    struct client_conf conf;
    char address[ADDRESS_MAX];
    bool unconfigured; /* nobody has named a server */
    int timeout_ms;    /* 0: by operation */
    void (*on_outage)(void *arg, const struct sagent_error *err);
    void *on_outage_arg;
    bool outage; /* it was told of one */
    struct csession *session;
    int stop_fd; /* set by sagent_interrupt(), emptied by the call that ends for it */
};

CLEANUP_FN(struct sagent, sagent_close)

const char *sagent_version(void)
{
    return VERSION;
}

const char *sagent_code_name(int code)
{
    return err_name((enum err_code)code);
}

const char *sagent_code_help(int code)
{
    return err_help((enum err_code)code);
}

int sagent_code_exit_status(int code)
{
    return err_exit_status((enum err_code)code);
}

const char *sagent_address(const struct sagent *s)
{
    return s->address;
}

struct csession *handle_session(struct sagent *s)
{
    return s->session;
}

const struct client_conf *handle_conf(const struct sagent *s)
{
    return &s->conf;
}

void handle_begin(struct sagent_error *out)
{
    if (out)
        *out = (struct sagent_error){0};
}

int handle_fail(const struct err *err, struct sagent_error *out)
{
    if (!out)
        return -1;
    *out = (struct sagent_error){
        .code = (int)err->code,
        .slurm_errno = err->slurm_errno,
        .bad_option = err->bad_option,
        .retry_after_ms = err->retry_after_ms,
        .retry = err_retry(err->code),
        .exit_status = err_exit_status(err->code),
    };
    memcpy(out->text, err->text, sizeof out->text);
    return -1;
}

int handle_reserved(const uintptr_t *reserved, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (reserved[i])
            return err_set(err, ERR_INVALID,
                           "a reserved member is not zero: was the struct "
                           "zero-initialised?");
    return 0;
}

int handle_check_ids(const char *const *ids, size_t n, struct err *err)
{
    if (n == 0)
        return err_set(err, ERR_INVALID, "no job id is given");
    for (size_t i = 0; i < n; i++)
        if (!ids[i] || !*ids[i])
            return err_set(err, ERR_INVALID, "job id %zu is empty", i + 1);
    return 0;
}

int handle_take_options(const struct sagent_pair *in, size_t n, struct arena *arena,
                        struct pairs *out, struct err *err)
{
    struct pair *v = arena_array(arena, n, sizeof *v);
    if (!v)
        return err_set(err, ERR_INTERNAL, "no memory");
    for (size_t i = 0; i < n; i++) {
        if (!in[i].name || !*in[i].name)
            return err_set(err, ERR_INVALID, "option %zu has no name", i);
        for (size_t k = 0; k < i; k++)
            if (str_eq(v[k].name, in[i].name))
                return err_set(err, ERR_INVALID, "option '%.80s' is there twice", in[i].name);
        v[i] = (struct pair){in[i].name, str_or(in[i].value, "")};
    }
    *out = (struct pairs){v, n};
    return 0;
}

/* ---- open ---- */

static const char *option(const char *given, const char *configured)
{
    return given ? given : configured;
}

/* The environment of a program with raised rights is not its user's to choose. */
static int load_conf(struct sagent *s, const struct sagent_options *o, struct err *err)
{
    const char *only = option(o->conf, secure_getenv("SLURM_AGENT_CONF"));
    struct client_conf_paths paths = {
        .only = only && *only ? only : NULL,
        .system_dir = SYSCONFDIR,
        .home = secure_getenv("HOME"),
        .server_env = secure_getenv("SLURM_AGENT_SERVER"),
    };
    return client_conf_load(&paths, &s->arena, &s->conf, err);
}

static int copy_option(struct sagent *s, const char *given, const char **at, struct err *err)
{
    if (!given)
        return 0;
    *at = arena_strdup(&s->arena, given);
    return *at ? 0 : err_set(err, ERR_INTERNAL, "no memory");
}

static int apply_options(struct sagent *s, const struct sagent_options *o, struct err *err)
{
    struct client_conf *c = &s->conf;
    if (copy_option(s, o->server, &c->server, err) < 0 ||
        copy_option(s, o->cluster, &c->cluster, err) < 0 ||
        copy_option(s, o->munge_socket, &c->munge_socket, err) < 0)
        return -1;
    if (strlen(c->cluster) >= CRED_CLUSTER_MAX)
        return err_set(err, ERR_INVALID, "cluster '%.80s...' is longer than %d bytes", c->cluster,
                       CRED_CLUSTER_MAX - 1);
    if (o->server_uid < SAGENT_SERVER_UID_ROOT || o->server_uid >= UINT32_MAX)
        return err_set(err, ERR_INVALID, "server_uid %lld is no uid", (long long)o->server_uid);
    if (o->server_uid)
        c->server_uid = o->server_uid == SAGENT_SERVER_UID_ROOT ? 0 : o->server_uid;
    if (o->timeout_ms < 0)
        return err_set(err, ERR_INVALID, "timeout_ms %d is negative", o->timeout_ms);
    s->on_outage = o->on_outage;
    s->on_outage_arg = o->on_outage_arg;
    s->timeout_ms = o->timeout_ms ? o->timeout_ms : (int)c->timeout_s * 1000;
    s->unconfigured = !*c->server;
    return address_parse(s->unconfigured ? ADDRESS_DEFAULT : c->server, s->address, err);
}

static struct sagent *open_handle(const struct sagent_options *o, struct err *err)
{
    AUTO(sagent_close) struct sagent *s = calloc(1, sizeof *s);
    if (!s) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->stop_fd < 0) {
        err_errno(err, ERR_INTERNAL, "no descriptor");
        return NULL;
    }
    if (handle_reserved(o->reserved, ARRAY_LEN(o->reserved), err) < 0 || load_conf(s, o, err) < 0 ||
        apply_options(s, o, err) < 0)
        return NULL;
    struct csession_settings settings = {
        .address = s->address,
        .cluster = s->conf.cluster,
        .munge_socket = s->conf.munge_socket,
        .server_uid = s->conf.server_uid,
        .stop_fd = s->stop_fd,
    };
    s->session = csession_new(&settings);
    if (!s->session) {
        err_set(err, ERR_INTERNAL, "no memory, or no descriptor");
        return NULL;
    }
    return TAKE(s);
}

int sagent_open(const struct sagent_options *options, struct sagent **ret, struct sagent_error *err)
{
    static const struct sagent_options none;
    struct err e = {0};
    handle_begin(err);
    struct sagent *s = open_handle(options ? options : &none, &e);
    if (!s)
        return handle_fail(&e, err);
    *ret = s;
    return 0;
}

void sagent_close(struct sagent *s)
{
    if (!s)
        return;
    uint64_t count;
    ssize_t ignored = read(s->stop_fd, &count, sizeof count); /* the goodbye is said all the same */
    (void)ignored;
    csession_free(s->session);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    arena_done(&s->arena);
    free(s);
}

void sagent_interrupt(struct sagent *s)
{
    int saved = errno; /* it may run inside anything, as a signal's handler */
    fdio_ring(s->stop_fd);
    errno = saved;
}

/* ---- a call ---- */

static int timeout_of(const struct sagent *s, enum op_number op)
{
    if (s->timeout_ms)
        return s->timeout_ms;
    return op == OP_job_submit || op == OP_job_control ? CHANGE_TIMEOUT_MS : TIMEOUT_MS;
}

int handle_timeout_ms(const struct sagent *s)
{
    return s->timeout_ms ? s->timeout_ms : TIMEOUT_MS;
}

int handle_submit_timeout_ms(const struct sagent *s)
{
    return timeout_of(s, OP_job_submit);
}

void handle_explain(const struct sagent *s, struct err *err)
{
    if (!s->unconfigured || err->code != ERR_UNREACHABLE)
        return;
    struct err said = *err;
    *err = (struct err){0};
    err_set(err, said.code,
            "%s; no server is configured: put \"server = tcp://HOST:%d\" under [client] into "
            "%s/slurm-agent/client.conf or ~/.config/slurm-agent/client.conf, or set "
            "SLURM_AGENT_SERVER",
            said.text, DEFAULT_PORT, SYSCONFDIR);
}

bool handle_has_been_served(const struct sagent *s)
{
    return csession_lifetime_s(s->session) != 0;
}

void handle_outage(struct sagent *s, const struct err *err)
{
    struct sagent_error told;
    if (err)
        handle_fail(err, &told);
    if (s->on_outage && (err || s->outage))
        s->on_outage(s->on_outage_arg, err ? &told : NULL);
    s->outage = err != NULL;
}

int handle_pause(struct sagent *s, int64_t ms, struct err *err)
{
    return conn_pause(s->stop_fd, ms, err);
}

int handle_ask(struct sagent *s, enum op_number op, const struct msg_type *type,
               const void *request, struct handle_call *ret, struct err *err)
{
    return handle_ask_within(s, timeout_of(s, op), op, type, request, ret, err);
}

/* A server that says when to come again has done nothing.  Callers of one user that have asked too
 * often must not come back all at once. */
int handle_ask_within(struct sagent *s, int64_t most_ms, enum op_number op,
                      const struct msg_type *type, const void *request, struct handle_call *ret,
                      struct err *err)
{
    int64_t end_ms = clock_mono_ms() + most_ms, left_ms, base_ms = 0;
    while ((left_ms = end_ms - clock_mono_ms()) > 0 &&
           handle_ask_for(s, (int)left_ms, op, type, request, ret, err) < 0) {
        bool again =
            csession_replied(s->session) && err->code == ERR_BUSY && err->retry_after_ms > 0;
        int64_t ms = held_longer_pause_ms(&base_ms, BUSY_MOST_MS, err->retry_after_ms);
        if (!again || ms >= end_ms - clock_mono_ms())
            return -1;
        *err = (struct err){0};
        if (handle_pause(s, ms, err) < 0)
            return -1;
    }
    return left_ms > 0 ? 0 : err_set(err, ERR_TIMEOUT, "the server had too much to do");
}

int handle_ask_for(struct sagent *s, int timeout_ms, enum op_number op, const struct msg_type *type,
                   const void *request, struct handle_call *ret, struct err *err)
{
    *ret = (struct handle_call){0};
    if (conn_check_process(err) < 0)
        return -1;
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    if (!out)
        return err_set(err, ERR_INTERNAL, "no memory");
    msg_pack(type, request, out);
    struct bytes body = wire_out_bytes(out);
    if (!body.p)
        return err_set(err, ERR_INTERNAL, "no memory");
    if (csession_call(s->session, op, body, timeout_ms, &ret->plain, &ret->body, err) == 0)
        return 0;
    handle_explain(s, err);
    return -1;
}

void handle_done(struct handle_call *call)
{
    free((void *)call->plain.p);
    *call = (struct handle_call){0};
}
