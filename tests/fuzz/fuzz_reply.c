/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuzz_reply.c: a client takes any bytes from a server
 *
 * The first byte chooses what the rest is: a REPLY's plaintext for one of the operations, REFUSED's
 * payload, WELCOME's payload, or a whole frame.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "client/decode.h"
#include "client/reply.h"
#include "client/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct err *err)
{
    assert(err->code != ERR_NONE && *err->text && !strchr(err->text, '\n'));
}

/* Reads all that a caller may read, so that ASan sees what is not there. */
static size_t touch(const char *s)
{
    return s ? strlen(s) : 0;
}

static void touch_jobs(const struct sagent_jobs *j)
{
    size_t n, total = 0;
    const struct sagent_field *fields = sagent_job_fields(&n);
    for (size_t i = 0; i < sagent_jobs_count(j); i++)
        for (size_t k = 0; k < n; k++) {
            const void *at = (const char *)sagent_jobs_at(j, i) + fields[k].offset;
            if (fields[k].kind == SAGENT_STRING)
                total += touch(*(const char *const *)at);
            if (fields[k].kind == SAGENT_STRINGS)
                for (size_t m = 0; m < ((const struct sagent_strings *)at)->n; m++)
                    total += strlen(((const struct sagent_strings *)at)->v[m]);
        }
    for (size_t i = 0; i < sagent_jobs_missing_count(j); i++)
        total += strlen(sagent_jobs_missing(j, i));
    assert(total < 1 << 30);
}

static void touch_waited(const struct sagent_jobs *j)
{
    touch_jobs(j);
    touch(sagent_jobs_cursor(j));
    touch(sagent_jobs_note(j));
}

static void touch_events(const struct sagent_events *e)
{
    assert(*sagent_events_cursor(e));
    touch(sagent_events_note(e));
    for (size_t i = 0; i < sagent_events_count(e); i++) {
        const struct sagent_event *one = sagent_events_at(e, i);
        touch(one->was);
        assert(one->what && one->job->id && one->job->state);
        sagent_job_ended(one->job);
    }
}

static void touch_log(const struct sagent_log_chunk *c)
{
    size_t sum = touch(c->file) + touch(c->path) + touch(c->same_as) + touch(c->note);
    for (size_t i = 0; i < c->size; i++)
        sum += ((const uint8_t *)c->data)[i];
    assert(sum < 1U << 31);
    assert(c->offset + (int64_t)c->size >= c->offset);
}

static void touch_steps(const struct sagent_steps *s)
{
    size_t total = 0;
    for (size_t i = 0; i < s->n; i++) {
        assert(s->steps[i].id && s->steps[i].job);
        total += touch(s->steps[i].name) + touch(s->steps[i].state) + touch(s->steps[i].nodes) +
                 touch(s->steps[i].tres);
    }
    for (size_t i = 0; i < s->missing_count; i++)
        total += touch(s->missing[i]);
    assert(total < 1 << 30);
}

static void touch_cluster(const struct sagent_cluster *c)
{
    size_t total = touch(c->cluster) + touch(c->slurm_version) + touch(c->error);
    for (size_t i = 0; i < c->controller_count; i++)
        total += touch(c->controllers[i].host) + touch(c->controllers[i].role);
    for (size_t i = 0; i < c->partition_count; i++)
        total += touch(c->partitions[i].name) + touch(c->partitions[i].node_list);
    for (size_t i = 0; i < c->node_count; i++)
        total += touch(c->nodes[i].state);
    assert(total < 1 << 30);
}

#define DECODE(type, decode, look)                                                                 \
    do {                                                                                           \
        struct type *p_ = result_new(sizeof *p_);                                                  \
        assert(p_);                                                                                \
        if (decode < 0)                                                                            \
            check_error(&err);                                                                     \
        else                                                                                       \
            look;                                                                                  \
        type##_free(p_);                                                                           \
    } while (0)

/* The public struct is part of another one, which api_log.c alone knows. */
static void decode_a_log(struct bytes body)
{
    struct err err = {0};
    struct sagent_log_chunk *c = result_new(sizeof *c);
    assert(c);
    if (decode_log(body, c, &err) < 0)
        check_error(&err);
    else
        touch_log(c);
    result_free(c);
}

static void reply(unsigned op, struct bytes plain)
{
    struct bytes body;
    struct err err = {0};
    struct decode_next next;
    if (reply_open(plain, &body, &err) < 0) {
        check_error(&err);
        return;
    }
    switch (op) {
    case 0:
        DECODE(sagent_server, decode_server(body, p_, &err), touch(p_->version));
        break;
    case 1:
        DECODE(sagent_identity, decode_identity(body, p_, &err), touch(p_->user));
        break;
    case 2:
        DECODE(sagent_submit_reply, decode_submit(body, p_, &err), assert(p_->id && p_->job_id));
        break;
    case 3:
        DECODE(sagent_jobs, decode_jobs(body, p_, &next, &err), touch_jobs(p_));
        break;
    case 4:
        DECODE(sagent_script, decode_script(body, p_, &err),
               assert(((const char *)p_->data)[p_->size] == '\0'));
        break;
    case 5:
        DECODE(sagent_controlled, decode_controlled(body, 2, p_, &(int64_t){0}, &err),
               assert(p_->n == 2));
        break;
    case 10:
        DECODE(sagent_jobs, decode_wait(body, p_, &err), touch_waited(p_));
        break;
    case 11:
        DECODE(sagent_events, decode_events(body, p_, &err), touch_events(p_));
        break;
    case 12:
        decode_a_log(body);
        break;
    case 13:
        DECODE(sagent_script, decode_environment(body, p_, &err),
               assert(((const char *)p_->data)[p_->size] == '\0'));
        break;
    case 14:
        DECODE(sagent_steps, decode_steps(body, p_, &err), touch_steps(p_));
        break;
    default:
        DECODE(sagent_cluster, decode_cluster(body, p_, &err), touch_cluster(p_));
    }
}

static void welcome(struct bytes payload)
{
    static const uint8_t hash[SEAL_HASH], session[SEAL_ID];
    struct welcome w;
    struct cred_origin from = {0};
    struct err err = {0};
    struct reply_expected x = {
        .address = "tcp://head:6821", .cluster = "c", .hello_hash = hash, .session = session};
    if (cred_unpack_welcome(payload, &w, &err) < 0 || reply_check_welcome(&w, &from, &x, &err) < 0)
        check_error(&err);
    else
        assert(strcmp(w.cluster, "c") == 0 && w.lifetime_s);
}

static void frame(struct bytes whole)
{
    struct seal seal = {0};
    struct seal_header head;
    struct bytes payload;
    struct err err = {0}, sealed = {0};
    uint8_t *plain = malloc(whole.n + 1);
    assert(plain);
    if (seal_get_header(whole, &head, &payload, &err) < 0)
        check_error(&err);
    else if (seal_open_reply(&seal, 1, whole, plain, &sealed) < 0)
        check_error(&sealed);
    free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    if (seal_setup(&err) < 0 || size == 0)
        return 0;
    unsigned mode = data[0] % 15;
    struct bytes rest = {data + 1, size - 1};
    if (mode < 7 || mode > 9) {
        reply(mode, rest);
    } else if (mode == 7) {
        reply_refused(rest, &err);
        check_error(&err);
    } else if (mode == 8) {
        welcome(rest);
    } else {
        frame(rest);
    }
    return 0;
}
