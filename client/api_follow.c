/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The public calls that wait for what happens to jobs. */
#include <stdlib.h>

#include "client/decode.h"
#include "client/handle.h"
#include "client/held.h"
#include "client/result.h"
#include "common/clock.h"
#include "common/jobstate.h"

enum { EVENTS_MAX = 10000, EVENT_IDS_MAX = 1000 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_INTERNAL, "no memory");
}

bool sagent_job_ended(const struct sagent_job *job)
{
    return job->phase && phase_ended(phase_find(job->phase));
}

/* ---- wait ---- */

static int make_wait_request(const struct sagent_wait_request *in, struct wait_request *out,
                             struct err *err)
{
    static const char *const words[] = {
        [SAGENT_UNTIL_END] = "end",
        [SAGENT_UNTIL_START] = "start",
        [SAGENT_UNTIL_CHANGE] = "change",
    };
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0 ||
        handle_check_ids(in->ids, in->id_count, err) < 0)
        return -1;
    if ((unsigned)in->until >= ARRAY_LEN(words))
        return err_set(err, ERR_INVALID, "until %d is no enum sagent_until", (int)in->until);
    if (in->timeout_s < 0)
        return err_set(err, ERR_INVALID, "timeout_s %d is negative", in->timeout_s);
    if (in->cursor && in->until != SAGENT_UNTIL_CHANGE)
        return err_set(err, ERR_INVALID, "a cursor goes with SAGENT_UNTIL_CHANGE alone");
    *out = (struct wait_request){
        .ids = {in->ids, in->id_count},
        .until = words[in->until],
        .any = in->any,
        .cursor = in->cursor,
    };
    return 0;
}

/* One answer, over outages: a fresh struct sagent_jobs, NULL with *err. */
static struct sagent_jobs *ask_wait(struct held *h, struct wait_request *request, int64_t wanted_ms,
                                    struct err *err)
{
    struct handle_call call;
    for (;;) {
        request->wait_ms = held_wait_ms(h, wanted_ms);
        if (held_ask(h, request->wait_ms, OP_job_wait, &wait_request_type, request, &call, err) ==
            0)
            break;
        if (held_again(h, err) < 0)
            return NULL;
    }
    struct sagent_jobs *j = result_new(sizeof *j);
    if (!j)
        no_memory(err);
    if (j && decode_wait(call.body, j, err) < 0) {
        sagent_jobs_free(j);
        j = NULL;
    }
    handle_done(&call);
    return j;
}

/* The cursor of what is given up is asked with next. */
static int go_on_from(const struct sagent_jobs *j, struct arena *arena,
                      struct wait_request *request, struct err *err)
{
    if (!j->cursor || !*j->cursor)
        return 0;
    arena_done(arena); /* the cursor before */
    request->cursor = arena_strdup(arena, j->cursor);
    return request->cursor ? 0 : no_memory(err);
}

static struct sagent_jobs *wait_for(struct sagent *s, const struct sagent_wait_request *in,
                                    struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct wait_request request;
    struct held h;
    if (make_wait_request(in, &request, err) < 0)
        return NULL;
    held_init(&h, s, in->timeout_s ? (int64_t)in->timeout_s * 1000 : HELD_FOREVER);
    /* Changes count from an answer on: without a cursor the first one must come at once, or what
     * happens while it is lost would be lost with it. */
    bool first = in->until == SAGENT_UNTIL_CHANGE && !in->cursor;
    for (;; first = false) {
        int64_t asked_ms = clock_mono_ms();
        struct sagent_jobs *j = ask_wait(&h, &request, first ? 1 : HELD_MAX_MS, err);
        if (!j || j->done || held_is_over(&h))
            return j;
        int rc = go_on_from(j, &arena, &request, err);
        sagent_jobs_free(j);
        if (rc < 0 || held_was_early(&h, asked_ms, request.wait_ms, err) < 0)
            return NULL;
    }
}

int sagent_wait(struct sagent *s, const struct sagent_wait_request *request,
                struct sagent_jobs **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_jobs *j = wait_for(s, request, &e);
    if (!j)
        return handle_fail(&e, err);
    *ret = j;
    return 0;
}

bool sagent_jobs_done(const struct sagent_jobs *j)
{
    return j->done;
}

const char *sagent_jobs_cursor(const struct sagent_jobs *j)
{
    return j->cursor;
}

/* ---- events ---- */

static int check_range(const char *name, int64_t v, int64_t max, struct err *err)
{
    if (v >= 0 && v <= max)
        return 0;
    return err_set(err, ERR_INVALID, "%s %lld is not between 0 and %lld", name, (long long)v,
                   (long long)max);
}

static int make_events_request(const struct sagent_events_request *in, struct events_request *out,
                               struct err *err)
{
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0 ||
        (in->id_count && handle_check_ids(in->ids, in->id_count, err) < 0) ||
        check_range("id_count", (int64_t)in->id_count, EVENT_IDS_MAX, err) < 0 ||
        check_range("tag", in->tag, UINT32_MAX, err) < 0 ||
        check_range("limit", in->limit, EVENTS_MAX, err) < 0 ||
        check_range("wait_ms", in->wait_ms, HELD_MAX_MS, err) < 0)
        return -1;
    *out = (struct events_request){
        .cursor = in->cursor,
        .snapshot = in->snapshot && !in->cursor,
        .user = in->user,
        .all_users = in->all_users,
        .ids = {in->ids, in->id_count},
        .partition = in->partition,
        .name = in->name,
        .tag = in->tag,
        .limit = in->limit,
        .wait_ms = in->wait_ms ? in->wait_ms : HELD_MAX_MS,
    };
    return 0;
}

static int events(struct sagent *s, const struct sagent_events_request *in,
                  struct sagent_events *out, struct err *err)
{
    struct handle_call call;
    struct events_request request;
    struct held h;
    if (make_events_request(in, &request, err) < 0)
        return -1;
    int64_t wait_ms = request.wait_ms;
    held_init(&h, s, wait_ms + handle_timeout_ms(s));
    /* A first answer that is lost, without a cursor, is as one that was never asked for. */
    while (held_ask(&h, request.wait_ms, OP_job_events, &events_request_type, &request, &call,
                    err) < 0) {
        if (held_again(&h, err) < 0)
            return -1;
        request.wait_ms = held_wait_ms(&h, wait_ms);
    }
    int rc = decode_events(call.body, out, err);
    handle_done(&call);
    return rc;
}

int sagent_events(struct sagent *s, const struct sagent_events_request *request,
                  struct sagent_events **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_events *p = result_new(sizeof *p);
    if (!p)
        no_memory(&e);
    if (!p || events(s, request, p, &e) < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

size_t sagent_events_count(const struct sagent_events *e)
{
    return e->n;
}

const struct sagent_event *sagent_events_at(const struct sagent_events *e, size_t i)
{
    return i < e->n ? &e->events[i] : NULL;
}

const char *sagent_events_cursor(const struct sagent_events *e)
{
    return e->cursor;
}

bool sagent_events_reset(const struct sagent_events *e)
{
    return e->reset;
}

int64_t sagent_events_as_of(const struct sagent_events *e)
{
    return e->as_of;
}

bool sagent_events_stale(const struct sagent_events *e)
{
    return e->stale;
}

const char *sagent_events_note(const struct sagent_events *e)
{
    return e->note;
}

void sagent_events_free(struct sagent_events *e)
{
    result_free(e);
}
