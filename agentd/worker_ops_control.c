/* SPDX-License-Identifier: GPL-3.0-or-later */
/* control: what can be done to jobs, one id after the other; each has its own result */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agentd/cluster.h"
#include "agentd/jobid.h"
#include "agentd/jobrec.h"
#include "agentd/staged_ask.h"
#include "agentd/worker_ops.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"

enum {
    RUNNING_MAX = 1000, /* tasks of one array that are told something */
    LOADED_FROM =
        500, /* ids: for so many one load of all jobs is cheaper than to ask about unknown ones */
};

/* ---- which numbers there are ---- */

struct known {
    bool loaded; /* all of them */
    uint32_t *v;
    size_t n, room;
};

static void cleanup_known_done(struct known *k)
{
    free(k->v);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int note_number(void *arg, const struct job *j)
{
    struct known *k = arg;
    const int64_t numbers[] = {j->job_id, j->array_job_id, j->het_job_id};
    if (k->n + ARRAY_LEN(numbers) > k->room) {
        size_t room = k->room ? k->room * 2 : 4096;
        uint32_t *grown = reallocarray(k->v, room, sizeof *grown);
        if (!grown) {
            k->loaded = false;
            return -1;
        }
        k->v = grown;
        k->room = room;
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i])
            k->v[k->n++] = (uint32_t)numbers[i];
    return 0;
}

/* Without it each id is asked about. */
static void load_known(struct known *k)
{
    int64_t since = 0;
    struct err ignored = {0};
    k->loaded = true;
    if (cluster_load_jobs(&since, note_number, k, &ignored) < 0)
        k->loaded = false;
    if (k->loaded && k->n)
        qsort(k->v, k->n, sizeof *k->v, by_number);
}

static bool is_unknown(const struct known *k, uint32_t number)
{
    return k->loaded && !(k->n && bsearch(&number, k->v, k->n, sizeof *k->v, by_number));
}

/* ---- what they are ---- */

/* What slurmctld shows of the jobs that an id names, before anything is done to them. */
struct look {
    const struct jobid *id;
    int64_t expected;     /* submit_time; 0: whichever */
    int64_t submit_time;  /* of one, the expected one if there is one */
    int64_t restarts;     /* the most */
    const char *nodelist; /* filter; NULL: none */
    bool on_nodes;
    struct err err; /* of the filter */
    size_t n, live, held, waiting;
    bool own;             /* all of them */
    bool array;           /* one of them is of an array */
    const char *work_dir; /* of the last */
    int64_t time_limit;   /* of the last; -1: none */
    struct arena *arena;
    uint32_t running[RUNNING_MAX];
    size_t n_running;
};

static int see(void *arg, const struct job *j)
{
    struct look *l = arg;
    if (!worker_job_matches(j, l->id))
        return 0;
    l->n++;
    bool on = false;
    if (l->nodelist && cluster_nodes_meet(str_or(j->nodes, ""), l->nodelist, &on, &l->err) < 0)
        return -1;
    l->on_nodes |= on;
    l->own &= j->uid == getuid();
    l->array |= j->array_job_id != 0;
    l->work_dir = arena_strdup(l->arena, str_or(j->work_dir, ""));
    l->time_limit = j->time_limit;
    if (l->submit_time != l->expected || !l->expected)
        l->submit_time = j->submit_time;
    if (j->restarts > l->restarts)
        l->restarts = j->restarts;
    if (phase_ended(phase_find(j->phase)))
        return 0;
    l->live++;
    l->waiting += str_eq(j->state, "PENDING");
    l->held += j->priority == 0;
    if (str_eq(j->state, "RUNNING") && l->n_running < RUNNING_MAX)
        l->running[l->n_running++] = (uint32_t)j->job_id;
    return 0;
}

struct controlling {
    const struct control_request *in;
    const struct job_verb_row *verb;
    struct sbatch changes;
    struct cluster_control how;
    struct arena *arena;
    struct look look;
    const struct known *known;
};

/* Only what is needed is asked of slurmctld. */
static bool must_look(const struct controlling *c, size_t i)
{
    return (i < c->in->submit_times.n && c->in->submit_times.v[i]) || c->in->nodelist ||
           c->verb->verb == JOB_VERB_hold || c->verb->verb == JOB_VERB_release ||
           c->verb->verb == JOB_VERB_notify || c->verb->verb == JOB_VERB_update;
}

/* The job may have gone and its id come back: the caller knew it by its submit time too.  A requeue
 * sets that anew: when it is what was asked for, an earlier try of the request has done it. */
static int check_identity(struct controlling *c, size_t i, const char **ret_remark, struct err *err)
{
    const struct control_request *in = c->in;
    const struct look *l = &c->look;
    bool requeued =
        c->verb->unasked == VERB_GUARDED && i < in->restarts.n && l->restarts > in->restarts.v[i];
    if (!l->expected || (l->submit_time == l->expected && !requeued))
        return 0;
    if (requeued) {
        *ret_remark = "the job has been requeued since this was asked for: it is left as it is";
        return 0;
    }
    /* slurmctld sets it once more when a requeued job's processes have gone. */
    if (c->verb->unasked == VERB_GUARDED && l->n == l->waiting) {
        if (c->verb->verb == JOB_VERB_requeuehold)
            return err_set(err, ERR_SLURM, "job %s is in the queue already, hold it instead",
                           in->ids.v[i]);
        *ret_remark = "the job was in the queue already";
        return 0;
    }
    return err_set(err, ERR_CONFLICT,
                   "job %s was submitted at %lld, not at %lld: it was requeued since, or the id is "
                   "another job's now",
                   in->ids.v[i], (long long)l->submit_time, (long long)l->expected);
}

/* What is so already.  Of others' jobs Slurm is asked all the same: it may refuse. */
static const char *remark_of(const struct controlling *c)
{
    const struct look *l = &c->look;
    if (!l->own)
        return NULL;
    if (c->verb->verb == JOB_VERB_hold && l->live && l->held == l->live)
        return "the job was held already";
    if (c->verb->verb == JOB_VERB_release && l->live && !l->held)
        return "the job was not held";
    return NULL;
}

/* Slurm knows the number of one job alone there. */
static int notify_each(struct controlling *c, const char *id, struct err *err)
{
    if (c->look.n_running == 0)
        return err_set(err, ERR_INVALID, "job %s is not running: nobody would read it", id);
    for (size_t i = 0; i < c->look.n_running; i++) {
        char number[16];
        const char *remark;
        snprintf(number, sizeof number, "%u", c->look.running[i]);
        if (cluster_control(JOB_VERB_notify, number, &c->how, &remark, err) < 0)
            return -1;
    }
    return 0;
}

static int look_at(struct controlling *c, const struct jobid *id, size_t i, struct err *err)
{
    const struct control_request *in = c->in;
    c->look = (struct look){.id = id, .own = true, .arena = c->arena, .nodelist = in->nodelist};
    c->look.expected = i < in->submit_times.n ? in->submit_times.v[i] : 0;
    if (!must_look(c, i))
        return 0;
    if (cluster_load_job(id->id, see, &c->look, err) < 0)
        return -1;
    if (c->look.err.code != ERR_NONE) {
        *err = c->look.err;
        return -1;
    }
    if (c->look.n == 0)
        return err_set(err, ERR_NOT_FOUND, "Slurm knows no job %s", in->ids.v[i]);
    return 0;
}

/* slurmctld takes a limit alone. */
static int change_time(struct controlling *c, const char *id, struct err *err)
{
    const struct look *l = &c->look;
    int64_t minutes = c->changes.change_time, limit = l->time_limit / 60 + minutes;
    const char *sign = minutes < 0 ? "" : "+";
    if (minutes == SBATCH_UNSET)
        return 0;
    if (l->n != 1)
        return err_set(
            err, ERR_INVALID,
            "--time=%s%lld: %s is of several jobs, each with its own limit: give a limit", sign,
            (long long)minutes, id);
    if (l->time_limit <= 0)
        return err_set(err, ERR_INVALID, "--time=%s%lld: job %s has no time limit", sign,
                       (long long)minutes, id);
    if (limit < 1 || limit > UINT32_MAX - 3)
        return err_set(err, ERR_INVALID, "--time=%s%lld: job %s has %lld minutes", sign,
                       (long long)minutes, id, (long long)(l->time_limit / 60));
    c->changes.time_limit = limit;
    return 0;
}

/* What slurmctld would pass over in silence, and what has an effect that nobody asked for. */
static int check_changes(struct controlling *c, const char *id, struct err *err)
{
    if (c->changes.nice != SBATCH_UNSET && c->look.held)
        return err_set(err, ERR_INVALID,
                       "--nice: job %s is held, and Slurm would let it start with that: release it "
                       "first",
                       id);
    if (c->changes.array_inx && !c->look.array)
        return err_set(err, ERR_INVALID, "--array=%%%s: job %s is no array", c->changes.array_inx,
                       id);
    return change_time(c, id, err);
}

/* Of a job whose data is being moved; it is the broker's to know, and to do. */
static const char *staged_text(enum staged_ask ask, enum err_code *ret_code)
{
    *ret_code = ERR_NONE;
    switch (ask) {
#define ASKED(name, number, code, text)                                                            \
    case STAGED_##name:                                                                            \
        *ret_code = (code);                                                                        \
        return text;
#include "agentd/staged_asks.def"
#undef ASKED
    case STAGED_NOT:
        break;
    }
    return NULL;
}

static int control_one(struct controlling *c, size_t i, const char **ret_remark,
                       bool *ret_passed_over, struct err *err)
{
    const struct control_request *in = c->in;
    const char *text = in->ids.v[i];
    struct jobid id;
    *ret_remark = NULL;
    if (jobid_parse(text, &id, err) < 0)
        return -1;
    if (is_unknown(c->known, id.id))
        return err_set(err, ERR_NOT_FOUND, "Slurm knows no job %s", text);
    if (look_at(c, &id, i, err) < 0)
        return -1;
    /* before anything is said of it: nobody has asked about a job on other nodes */
    *ret_passed_over = in->nodelist && !c->look.on_nodes;
    if (*ret_passed_over)
        return 0;
    if (check_identity(c, i, ret_remark, err) < 0 || check_changes(c, text, err) < 0)
        return -1;
    enum staged_ask ask = i < in->staged.n ? (enum staged_ask)in->staged.v[i] : STAGED_NOT;
    enum err_code code;
    const char *staged = staged_text(ask, &code);
    if (code != ERR_NONE)
        return err_set(err, code, "job %s: %s", text, staged);
    if (!*ret_remark)
        *ret_remark = staged && ask != STAGED_STORING ? staged : remark_of(c);
    if (*ret_remark)
        return 0;
    if (c->verb->verb == JOB_VERB_notify)
        return notify_each(c, text, err);
    c->how.update.work_dir = c->look.work_dir;
    if (cluster_control(c->verb->verb, text, &c->how, ret_remark, err) < 0)
        return -1;
    if (ask == STAGED_STORING && *ret_remark)
        *ret_remark = staged;
    return 0;
}

/* With slurmctld away each further id would wait for its own timeout. */
static bool is_hopeless(enum err_code code)
{
    return code == ERR_SLURM_DOWN || code == ERR_TIMEOUT || code == ERR_MUNGE;
}

/* With those that were not asked: after such an outage, or since past its deadline the whole
 * request would get no answer. */
static int control_all(struct controlling *c, int64_t until_ms, struct bytes *v, struct err *err)
{
    struct arena *arena = c->arena;
    struct err last = {0};
    bool skipping = false;
    for (size_t i = 0; i < c->in->ids.n; i++) {
        struct control_result r = {.id = c->in->ids.v[i]};
        if (i && clock_mono_ms() > until_ms) {
            last = (struct err){0};
            err_set(&last, ERR_BUSY, "not asked: too much for one request, ask again for the rest");
        } else if (!is_hopeless(last.code)) {
            last = (struct err){0};
            control_one(c, i, &r.text, &r.passed_over, &last);
        } else if (!skipping) {
            skipping = true;
            err_while(&last, "not asked");
        }
        r.code = last.code;
        if (last.code != ERR_NONE)
            r.text = last.text;
        r.slurm_errno = last.slurm_errno;
        v[i] = msg_pack_arena(&control_result_type, &r, arena);
        if (!v[i].p)
            return err_set(err, ERR_LIMIT, "no memory left for the request");
    }
    return 0;
}

/* No job fits: is it for want of such a user?  The broker asks no name service. */
static int check_user(const struct control_request *in, struct arena *arena, struct err *err)
{
    struct passwd pw, *found = NULL;
    size_t size = 65536;
    int64_t uid;
    char *buf = arena_alloc(arena, size);
    if (!buf)
        return err_set(err, ERR_LIMIT, "no memory left for the request");
    int rc = str_to_i64(in->user, 0, UINT32_MAX, &uid)
                 ? getpwuid_r((uid_t)uid, &pw, buf, size, &found)
                 : getpwnam_r(in->user, &pw, buf, size, &found);
    if (rc == 0 && !found)
        return err_set(err, ERR_INVALID, "--user=%.100s: invalid user name", in->user);
    return 0;
}

int wop_control(struct worker_call *c, const struct control_request *in, struct control_reply *out,
                struct err *err)
{
    int64_t until_ms = clock_mono_ms() + c->conf->call_deadline_s * 1000 / 2;
    AUTO(known_done) struct known known = {0};
    if (in->ids.n == 0 && in->user)
        return check_user(in, c->arena, err);
    struct controlling *g = arena_alloc(c->arena, sizeof *g);
    struct bytes *v = arena_array(c->arena, in->ids.n + 1, sizeof *v);
    if (!g || !v)
        return err_set(err, ERR_LIMIT, "no memory left for the request");
    *g = (struct controlling){
        .in = in,
        .arena = c->arena,
        .known = &known,
        .verb = jobverb_find(in->verb),
        .how = {.signal = {.batch = in->batch, .full = in->full}, .message = in->message},
    };
    if (!g->verb)
        return err_set(err, ERR_PROTOCOL, "there is no verb '%s'", str_or(in->verb, ""));
    g->how.update = (struct cluster_update){.changes = &g->changes, .arena = c->arena};
    if (sbatch_changes(&in->options, clock_now(), c->arena, &g->changes, err) < 0 ||
        (in->signal && cluster_parse_signal(in->signal, &g->how.signal.number, err) < 0))
        return -1;
    if (in->ids.n >= LOADED_FROM)
        load_known(&known);
    if (control_all(g, until_ms, v, err) < 0)
        return -1;
    out->results = (struct raws){v, in->ids.n};
    return 0;
}
