/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The public call that does something to jobs. */
#include "client/decode.h"
#include "client/handle.h"
#include "client/held.h"
#include "client/result.h"
#include "common/cleanup.h"
#include "common/jobverb.h"
#include "common/str.h"

/* slurmagent.h's numbers are the table's. */
#define VERB(name, number, with, choose, unasked, help)                                            \
    _Static_assert((number) <= (int)SAGENT_UPDATE, "slurmagent.h lacks " #name);
#include "common/job_verbs.def"
#undef VERB
_Static_assert((int)SAGENT_CANCEL == (int)JOB_VERB_cancel &&
                   (int)SAGENT_RELEASE == (int)JOB_VERB_release &&
                   (int)SAGENT_REQUEUE == (int)JOB_VERB_requeue &&
                   (int)SAGENT_UPDATE == (int)JOB_VERB_update,
               "slurmagent.h's verbs are not job_verbs.def's");

/* An empty string is none on the wire, and none may mean more than was meant. */
static int check_texts(const struct sagent_control_request *in, struct err *err)
{
    const struct {
        const char *name, *text;
    } texts[] = {
        {"signal", in->signal}, {"message", in->message},
        {"user", in->user},     {"partition", in->partition},
        {"name", in->name},     {"account", in->account},
        {"QOS", in->qos},       {"reservation", in->reservation},
        {"wckey", in->wckey},   {"list of nodes", in->nodelist},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].text && !*texts[i].text)
            return err_set(err, ERR_INVALID, "the %s is empty: give one, or leave it out",
                           texts[i].name);
    for (size_t i = 0; i < in->state_count; i++)
        if (!in->states[i] || !*in->states[i])
            return err_set(err, ERR_INVALID, "state %zu is empty", i + 1);
    return 0;
}

static bool is_filtered(const struct sagent_control_request *in)
{
    return in->me || in->user || in->all_users || in->state_count || in->partition || in->name ||
           in->account || in->qos || in->reservation || in->wckey || in->nodelist;
}

static int make_request(const struct sagent_control_request *in, struct arena *arena,
                        struct control_request *out, struct err *err)
{
    const struct job_verb_row *verb = jobverb_row((int)in->verb);
    bool some = in->id_count || !is_filtered(in);
    if (handle_reserved(in->reserved, ARRAY_LEN(in->reserved), err) < 0 ||
        (some && handle_check_ids(in->ids, in->id_count, err) < 0) || check_texts(in, err) < 0)
        return -1;
    if (!verb)
        return err_set(err, ERR_INVALID, "%d is no verb", (int)in->verb);
    *out = (struct control_request){
        .verb = verb->word,
        .ids = {in->ids, in->id_count},
        .submit_times = {in->submit_times, in->submit_times ? in->id_count : 0},
        .restarts = {in->restarts, in->restarts ? in->id_count : 0},
        .signal = in->signal,
        .batch = in->batch,
        .full = in->full,
        .message = in->message,
        .me = in->me,
        .user = in->user,
        .all_users = in->all_users,
        .states = {in->states, in->state_count},
        .partition = in->partition,
        .name = in->name,
        .account = in->account,
        .qos = in->qos,
        .reservation = in->reservation,
        .wckey = in->wckey,
        .nodelist = in->nodelist,
    };
    return handle_take_options(in->options, in->option_count, arena, &out->options, err);
}

/* ---- asking again ---- */

/* One call over its pages. */
struct controlling {
    const struct job_verb_row *verb;
    bool filtered;
    bool repeatable; /* when the answer was lost: twice is as once */
};

static int64_t *copy_times(struct arena *arena, const struct sagent_jobs *jobs,
                           const struct control_request *r, bool restarts, bool *ret_all)
{
    int64_t *v = arena_array(arena, r->ids.n, sizeof *v);
    for (size_t i = 0; v && i < r->ids.n; i++) {
        const struct sagent_job *found = NULL;
        for (size_t k = 0; k < jobs->n && !found; k++)
            if (str_eq(jobs->jobs[k].id, r->ids.v[i]))
                found = &jobs->jobs[k];
        if (found)
            v[i] = restarts ? found->restarts : found->submit_time;
        *ret_all = *ret_all && found;
    }
    return v;
}

/* A requeue that was carried out and not answered must not be carried out twice: which run of the
 * job is meant goes with it.  An id that names several is sent as it is, and once. */
static int guard(struct sagent *s, struct arena *arena, struct control_request *r,
                 struct controlling *c, struct err *err)
{
    enum { GUARDED_MAX = 1000 }; /* the ids are looked up one by one */
    struct sagent_error e;
    struct sagent_jobs *jobs = NULL;
    bool all = true;
    if (r->ids.n > GUARDED_MAX)
        return 0;
    if (sagent_get(s, r->ids.v, r->ids.n, &jobs, &e) < 0) {
        err_set(err, (enum err_code)e.code, "%s", e.text);
        err->slurm_errno = e.slurm_errno;
        err->retry_after_ms = e.retry_after_ms;
        return -1;
    }
    r->submit_times = (struct ints){copy_times(arena, jobs, r, false, &all), r->ids.n};
    r->restarts = (struct ints){copy_times(arena, jobs, r, true, &all), r->ids.n};
    sagent_jobs_free(jobs);
    c->repeatable = all;
    if (!r->submit_times.v || !r->restarts.v)
        return err_set(err, ERR_INTERNAL, "no memory");
    return 0;
}

static int prepare(struct sagent *s, struct arena *arena, struct control_request *r,
                   struct controlling *c, struct err *err)
{
    c->repeatable = c->verb->unasked == VERB_TWICE && !r->signal;
    if (c->verb->unasked != VERB_GUARDED || c->filtered)
        return 0;
    if (r->submit_times.n == 0)
        return guard(s, arena, r, c, err);
    c->repeatable = r->restarts.n != 0;
    for (size_t i = 0; i < r->submit_times.n; i++)
        c->repeatable = c->repeatable && r->submit_times.v[i];
    return 0;
}

/* The server is away, or has too much to do; or a process of it ended, and may have done it. */
static bool is_no_answer(const struct err *err)
{
    return err->code == ERR_UNREACHABLE || err->code == ERR_BUSY;
}

static int ask_page(struct sagent *s, struct controlling *c, const struct control_request *request,
                    struct handle_call *call, struct err *err)
{
    struct held held;
    held_init(&held, s, handle_submit_timeout_ms(s));
    while (handle_ask_within(s, held_left_ms(&held), OP_job_control, &control_request_type, request,
                             call, err) < 0)
        if (!is_no_answer(err) || !c->repeatable || held_again(&held, err) < 0)
            return -1;
    handle_outage(s, NULL);
    return 0;
}

static int control_page(struct sagent *s, struct controlling *c,
                        const struct control_request *request, struct sagent_controlled *out,
                        int64_t *ret_next, struct err *err)
{
    struct handle_call call;
    if (ask_page(s, c, request, &call, err) < 0)
        return -1;
    int rc =
        decode_controlled(call.body, c->filtered ? DECODE_ANY : request->ids.n, out, ret_next, err);
    handle_done(&call);
    return rc;
}

static int control(struct sagent *s, const struct sagent_control_request *in,
                   struct sagent_controlled *out, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct control_request request;
    struct controlling c = {.filtered = is_filtered(in), .verb = jobverb_row((int)in->verb)};
    int64_t next = 0;
    if (make_request(in, &arena, &request, err) < 0 || prepare(s, &arena, &request, &c, err) < 0)
        return -1;
    for (;;) {
        if (control_page(s, &c, &request, out, &next, err) < 0)
            return -1;
        if (!next)
            return 0;
        if (next <= request.after) /* pages go on, so that this ends */
            return err_set(err, ERR_PROTOCOL, "the server's reply begins the jobs again");
        request.after = next;
    }
}

int sagent_control(struct sagent *s, const struct sagent_control_request *request,
                   struct sagent_controlled **ret, struct sagent_error *err)
{
    struct err e = {0};
    handle_begin(err);
    struct sagent_controlled *p = result_new(sizeof *p);
    if (!p)
        err_set(&e, ERR_INTERNAL, "no memory");
    if (!p || control(s, request, p, &e) < 0) {
        result_free(p);
        return handle_fail(&e, err);
    }
    *ret = p;
    return 0;
}

void sagent_controlled_free(struct sagent_controlled *p)
{
    result_free(p);
}

const struct sagent_update_option *sagent_update_options(size_t *ret_n)
{
    enum { NONE, REQUIRED, WRONG = 0, CLEARS };
    static const struct sagent_update_option options[] = {
#define CHANGE(name, letter, value, how, target, empty, help) {name, letter, value, empty, help},
#include "common/job_changes.def"
#undef CHANGE
    };
    *ret_n = ARRAY_LEN(options);
    return options;
}
