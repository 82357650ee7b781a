/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurmdbd's rows as jobs.
 *
 * Each run of a job is a row, and a requeue starts a new one with a new submit time; ids are given
 * again.  So rows are first put together: the runs of one job are a chain. */
#include "agentd/cluster_slurm.h"

#include <string.h>

#include "agentd/jobid.h"
#include "agentd/outcome.h"
#include "common/clock.h"
#include "common/jobstate.h"
#include "common/str.h"

enum {
    /* A job can be requeued while slurmctld knows it: longer after its end, the id was given again.
     */
    REQUEUE_MAX_S = 3600,
    REQUEUE_EARLY_S = 1, /* slurmctld asks the time for the end and for the new submit apart */
    /* The components of a het job are submitted one after the other. */
    HET_SUBMIT_S = 2,
};

/* The runs of one job, in order. */
struct chain {
    slurmdb_job_rec_t *const *rows;
    size_t n;
};

struct wanted {
    struct jobid id;
    int64_t submit; /* 0: the latest */
    int64_t newest; /* when the latest of those that it names was submitted first */
    bool *found;
};

struct rows {
    struct chain *chains;
    size_t n_chains;
    struct wanted *wanted; /* by number in front */
    size_t n_wanted;
};

/* ---- chains ---- */

#define ORDER(a, b)                                                                                \
    do {                                                                                           \
        if ((a) != (b))                                                                            \
            return (a) < (b) ? -1 : 1;                                                             \
    } while (0)

static int by_task(const slurmdb_job_rec_t *x, const slurmdb_job_rec_t *y)
{
    ORDER(x->jobid, y->jobid);
    ORDER(x->array_job_id, y->array_job_id);
    ORDER(x->array_task_id, y->array_task_id);
    ORDER(x->het_job_id, y->het_job_id);
    ORDER(x->uid, y->uid);
    return 0;
}

static int by_run(const void *a, const void *b)
{
    const slurmdb_job_rec_t *x = *(slurmdb_job_rec_t *const *)a,
                            *y = *(slurmdb_job_rec_t *const *)b;
    int rc = by_task(x, y);
    if (rc)
        return rc;
    ORDER(x->submit, y->submit);
    ORDER(x->db_index, y->db_index);
    return 0;
}

/* Is b a later run of a's job, and not another job that got its id? */
static bool later_run(const slurmdb_job_rec_t *a, const slurmdb_job_rec_t *b)
{
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(24, 11, 0)
    (void)a;
    return b->restart_cnt > 0 && b->restart_cnt != NO_VAL16;
#else
    /* A job that had ended, or whose node failed, does not say that it was requeued. */
    return a->state & JOB_REQUEUE ||
           (str_eq(str_or(a->jobname, ""), str_or(b->jobname, "")) &&
            str_eq(str_or(a->submit_line, ""), str_or(b->submit_line, "")));
#endif
}

static bool same_job(const slurmdb_job_rec_t *a, const slurmdb_job_rec_t *b)
{
    if (by_task(a, b) != 0)
        return false;
    if (a->submit == b->submit) /* it changed its size */
        return true;
    return a->end && b->submit >= a->end - REQUEUE_EARLY_S && b->submit <= a->end + REQUEUE_MAX_S &&
           later_run(a, b);
}

static int make_chains(struct rows *r, slurmdb_job_rec_t **rows, size_t n, struct arena *arena)
{
    r->chains = arena_array(arena, n + 1, sizeof *r->chains);
    if (!r->chains)
        return -1;
    qsort(rows, n, sizeof *rows, by_run);
    for (size_t i = 0; i < n; i++) {
        if (i && same_job(rows[i - 1], rows[i]))
            r->chains[r->n_chains - 1].n++;
        else
            r->chains[r->n_chains++] = (struct chain){rows + i, 1};
    }
    return 0;
}

static const slurmdb_job_rec_t *last_row(const struct chain *c)
{
    return c->rows[c->n - 1];
}

static int64_t restarts(const struct chain *c)
{
    int64_t n = 0;
    for (size_t i = 1; i < c->n; i++)
        n += c->rows[i]->submit != c->rows[i - 1]->submit;
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(24, 11, 0)
    uint16_t said = last_row(c)->restart_cnt;
    if (said != NO_VAL16 && said > n)
        n = said;
#endif
    return n;
}

/* ---- one job ---- */

/* slurmdbd has the numbers of resources; those that each Slurm has are always the same. */
static const struct {
    unsigned id;
    const char *name, *unit;
} resources[] = {{1, "cpu", ""}, {2, "mem", "M"}, {4, "node", ""}, {5, "billing", ""}};

static uint64_t resource(const char *tres, unsigned id)
{
    for (const char *p = tres; p && *p; p = strchr(p, ',')) {
        char *end;
        p += *p == ',';
        unsigned long number = strtoul(p, &end, 10);
        if (*end != '=')
            return 0;
        uint64_t count = strtoull(end + 1, NULL, 10);
        if (number == id)
            return count < INFINITE64 - 1 ? count : 0;
    }
    return 0;
}

static const char *resources_text(struct cluster_slurm_record *r, const char *tres)
{
    const char *text = "";
    for (size_t i = 0; text && i < ARRAY_LEN(resources); i++) {
        uint64_t count = resource(tres, resources[i].id);
        if (count)
            text = arena_printf(&r->arena, "%s%s%s=%llu%s", text, *text ? "," : "",
                                resources[i].name, (unsigned long long)count, resources[i].unit);
    }
    return text && *text ? text : NULL;
}

static unsigned hex(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 32) - 'a' + 10);
}

/* Waiting tasks are a mask in slurmdbd: 0x3C. */
struct mask {
    const char *digits;
    size_t n;
};

static bool read_mask(const char *text, struct mask *out)
{
    if (!text || strncmp(text, "0x", 2) != 0)
        return false;
    *out = (struct mask){text + 2, strspn(text + 2, "0123456789abcdefABCDEF")};
    return out->digits[out->n] == '\0';
}

static bool has_bit(const struct mask *m, size_t at)
{
    return at / 4 < m->n && hex(m->digits[m->n - 1 - at / 4]) >> at % 4 & 1;
}

/* As slurmctld says it: 2-5%2. */
static const char *waiting_tasks(struct cluster_slurm_record *r, const slurmdb_job_rec_t *in)
{
    enum { MAX = 65535, ROOM = 64 };
    struct mask m;
    if (!read_mask(in->array_task_str, &m))
        return in->array_task_str;
    size_t used = 0;
    char *text = arena_alloc(&r->arena, MAX + ROOM);
    for (size_t from = 0; text && from < m.n * 4 && used < MAX - ROOM; from++) {
        size_t to = from;
        if (!has_bit(&m, from))
            continue;
        while (has_bit(&m, to + 1))
            to++;
        used += (size_t)snprintf(text + used, ROOM, "%s%zu", used ? "," : "", from);
        if (to > from)
            used += (size_t)snprintf(text + used, ROOM, "-%zu", to);
        from = to;
    }
    if (text && in->array_max_tasks)
        snprintf(text + used, ROOM, "%%%u", in->array_max_tasks);
    return text;
}

static void set_who(struct cluster_slurm_record *r, const slurmdb_job_rec_t *in, struct job *out)
{
    out->name = cluster_slurm_cut(r, in->jobname, 1024);
    out->user = cluster_slurm_cut(r, in->user, 256);
    if (!out->user)
        out->user = arena_strdup(&r->arena, cluster_slurm_user(in->uid));
    out->uid = in->uid;
    out->gid = in->gid;
    out->account = cluster_slurm_cut(r, in->account, 1024);
    out->partition = cluster_slurm_cut(r, in->partition, 4096);
}

static void set_times(const slurmdb_job_rec_t *in, struct job *out)
{
    out->submit_time = cluster_slurm_when(in->submit);
    out->eligible_time = cluster_slurm_when(in->eligible);
    out->end_time = cluster_slurm_when(in->end);
    /* One that never ran has its end as its start. */
    if (out->nodes)
        out->start_time = cluster_slurm_when(in->start);
    out->time_limit = in->timelimit == INFINITE ? -1 : cluster_slurm_number(in->timelimit) * 60;
}

static void set_size(struct cluster_slurm_record *r, const slurmdb_job_rec_t *in, struct job *out)
{
    const char *allocated = in->tres_alloc_str;
    const char *tres = allocated && *allocated ? allocated : in->tres_req_str;
    uint64_t cpus = resource(tres, 1);
    if (!str_eq(in->nodes, "None assigned"))
        out->nodes = cluster_slurm_cut(r, in->nodes, 65535);
    out->node_count = cluster_slurm_number(in->alloc_nodes);
    out->cpus = cpus && cpus < NO_VAL ? (int64_t)cpus : cluster_slurm_number(in->req_cpus);
    out->tres = resources_text(r, tres);
    cluster_slurm_memory(in->req_mem, out);
    out->constraint = cluster_slurm_cut(r, in->constraints, 65535);
}

static void set_files(struct cluster_slurm_record *r, const slurmdb_job_rec_t *in, struct job *out)
{
    out->work_dir = cluster_slurm_cut(r, in->work_dir, 4095);
    out->comment = cluster_slurm_cut(r, in->derived_es, 65535);
#if SLURM_VERSION_NUMBER >= SLURM_VERSION_NUM(24, 11, 0)
    const job_info_t files = {
        .job_id = in->jobid,
        .array_job_id = in->array_job_id,
        .array_task_id = in->array_task_id,
        .name = in->jobname,
        .work_dir = in->work_dir,
        .std_in = in->std_in,
        .std_out = in->std_out,
        .std_err = in->std_err,
    };
    cluster_slurm_files(&files, &r->arena, out);
#endif
}

static bool has_uid(uint32_t uid)
{
    return uid != NO_VAL && uid != INFINITE;
}

static void set_unknown(struct job *out, const char *outcome)
{
    out->phase = phase_word(PHASE_UNKNOWN);
    out->end_time = 0;
    out->outcome = outcome;
}

/* A slurmctld that has lost its jobs has slurmdbd end them all, as cancelled; who cancels one that
 * runs is known. */
static bool is_written_off(const slurmdb_job_rec_t *in, const struct job *out)
{
    return str_eq(out->state, "CANCELLED") && out->start_time && !has_uid(in->requid);
}

static void set_state(struct cluster_slurm_record *r, const slurmdb_job_rec_t *in, struct job *out)
{
    out->state = cluster_slurm_state(r, in->state);
    out->flags = cluster_slurm_flags(r, in->state);
    out->priority = cluster_slurm_number(in->priority);
    cluster_slurm_exit(in->exitcode, in->derived_ec, out);
    if (str_eq(out->state, "CANCELLED") && has_uid(in->requid))
        out->cancelled_by = arena_strdup(&r->arena, cluster_slurm_user(in->requid));
    outcome_fill(out, clock_now(), &r->arena);
    if (is_written_off(in, out))
        set_unknown(out, "slurmctld lost it while it ran, and slurmdbd closed its record: how it "
                         "ended is not known");
    else if (!phase_ended(phase_find(out->phase)))
        set_unknown(out, arena_printf(&r->arena,
                                      "slurmdbd last saw it %s, and slurmctld does not know it: "
                                      "how it ended is not known",
                                      in->state & JOB_REQUEUE ? "REQUEUED" : out->state));
}

static int show(const struct chain *c, cluster_job_fn fn, void *arg)
{
    const slurmdb_job_rec_t *in = last_row(c);
    struct cluster_slurm_record r = {0};
    struct job job = {.source = "slurmdbd", .restarts = restarts(c)};
    const struct cluster_slurm_id id = {
        .job_id = in->jobid,
        .array_job_id = in->array_job_id,
        .array_task_id = in->array_task_id,
        .het_job_id = in->het_job_id,
        .het_offset = in->het_job_offset,
        .waiting_tasks = waiting_tasks(&r, in),
    };
    cluster_slurm_set_id(&r, &id, &job);
    set_who(&r, in, &job);
    set_size(&r, in, &job);
    set_times(in, &job);
    set_files(&r, in, &job);
    set_state(&r, in, &job);
    int rc = fn(arg, &job);
    arena_done(&r.arena);
    return rc;
}

/* ---- by id ---- */

static int by_number(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    ORDER(x->id.id, y->id.id);
    return 0;
}

static int read_ids(struct rows *r, const struct acct_request *in, bool *found, struct arena *arena,
                    struct err *err)
{
    r->wanted = arena_array(arena, in->ids.n + 1, sizeof *r->wanted);
    if (!r->wanted)
        return err_set(err, ERR_LIMIT, "no memory for the ids");
    for (size_t i = 0; i < in->ids.n; i++) {
        struct wanted *w = &r->wanted[r->n_wanted++];
        w->found = &found[i];
        w->submit = i < in->submit_times.n ? in->submit_times.v[i] : 0;
        if (jobid_parse(in->ids.v[i], &w->id, err) < 0)
            return -1;
    }
    qsort(r->wanted, r->n_wanted, sizeof *r->wanted, by_number);
    return 0;
}

static bool has_task(const slurmdb_job_rec_t *row, uint32_t task)
{
    struct mask m;
    return row->array_task_id != NO_VAL ? row->array_task_id == task
                                        : read_mask(row->array_task_str, &m) && has_bit(&m, task);
}

static bool named(const slurmdb_job_rec_t *row, const struct jobid *id)
{
    switch (id->kind) {
    case JOBID_PLAIN:
        return row->jobid == id->id || row->array_job_id == id->id || row->het_job_id == id->id;
    case JOBID_TASKS:
        return row->array_job_id == id->id;
    case JOBID_TASK:
        return row->array_job_id == id->id && has_task(row, id->second);
    case JOBID_HET:
        return row->het_job_id == id->id && row->het_job_offset == id->second;
    }
    return false;
}

typedef bool (*match_fn)(struct wanted *w, const struct chain *c);

static bool find_newest(struct wanted *w, const struct chain *c)
{
    if (c->rows[0]->submit > w->newest)
        w->newest = c->rows[0]->submit;
    return false;
}

/* Tasks are submitted together: one that was submitted before the latest is of an array that had
 * the id earlier. */
static bool take(struct wanted *w, const struct chain *c)
{
    int64_t spread = c->rows[0]->het_job_id ? HET_SUBMIT_S : 0;
    bool ok = !w->submit && c->rows[0]->submit >= w->newest - spread;
    for (size_t i = 0; w->submit && !ok && i < c->n; i++)
        ok = c->rows[i]->submit >= w->submit - spread && c->rows[i]->submit <= w->submit + spread;
    *w->found |= ok;
    return ok;
}

/* Is it true of one of the ids that name the chain?  All of them are asked. */
static bool each_wanted(const struct rows *r, const struct chain *c, match_fn fn)
{
    const slurmdb_job_rec_t *row = last_row(c);
    const uint32_t numbers[] = {row->jobid, row->array_job_id, row->het_job_id};
    bool any = false;
    for (size_t k = 0; k < ARRAY_LEN(numbers); k++) {
        const struct wanted key = {.id.id = numbers[k]};
        bool before = false;
        for (size_t i = 0; i < k; i++)
            before |= numbers[i] == numbers[k];
        struct wanted *w = before || !numbers[k] ? NULL
                                                 : bsearch(&key, r->wanted, r->n_wanted,
                                                           sizeof *r->wanted, by_number);
        while (w && w > r->wanted && w[-1].id.id == numbers[k])
            w--;
        for (; w && w < r->wanted + r->n_wanted && w->id.id == numbers[k]; w++)
            if (named(row, &w->id))
                any |= fn(w, c);
    }
    return any;
}

static int show_wanted(struct rows *r, const struct acct_request *in, bool *found,
                       struct arena *arena, cluster_job_fn fn, void *arg, struct err *err)
{
    if (read_ids(r, in, found, arena, err) < 0)
        return -1;
    for (size_t i = 0; i < r->n_chains; i++)
        each_wanted(r, &r->chains[i], find_newest);
    for (size_t i = 0; i < r->n_chains; i++)
        if (each_wanted(r, &r->chains[i], take) && show(&r->chains[i], fn, arg) < 0)
            break;
    return 0;
}

/* ---- by time ---- */

static bool ended_in(const slurmdb_job_rec_t *row, const struct acct_request *in)
{
    int64_t end = cluster_slurm_when(row->end);
    const struct strs none = {0};
    return end && end >= in->since && (!in->until || end <= in->until) &&
           !(row->state & JOB_REQUEUE) &&
           phase_ended(jobstate_phase(jobstate_word(row->state & JOB_STATE_BASE), &none));
}

static int show_ended(const struct rows *r, const struct acct_request *in, cluster_job_fn fn,
                      void *arg)
{
    for (size_t i = 0; i < r->n_chains; i++)
        if (ended_in(last_row(&r->chains[i]), in) && show(&r->chains[i], fn, arg) < 0)
            break;
    return 0;
}

int cluster_slurm_rows(slurmdb_job_rec_t **rows, size_t n, const struct acct_request *in,
                       bool *found, cluster_job_fn fn, void *arg, struct err *err)
{
    AUTO(arena_done) struct arena arena = {0};
    struct rows r = {0};
    if (make_chains(&r, rows, n, &arena) < 0)
        return err_set(err, ERR_LIMIT, "no memory for slurmdbd's rows");
    return in->ids.n ? show_wanted(&r, in, found, &arena, fn, arg, err)
                     : show_ended(&r, in, fn, arg);
}

/* ---- a request ---- */

/* 0: it is not of that request. */
static int64_t attempt_of(const char *line, const char *mark)
{
    const char *at = line, *last = NULL;
    int64_t attempt;
    while ((at = strstr(at, mark)))
        last = at++;
    return last && str_to_i64(last + strlen(mark), 1, INT64_MAX, &attempt) ? attempt : 0;
}

static uint32_t whole_job(const slurmdb_job_rec_t *row)
{
    if (row->array_job_id)
        return row->array_job_id;
    return row->het_job_id && row->het_job_id != NO_VAL ? row->het_job_id : row->jobid;
}

void cluster_slurm_find_request(slurmdb_job_rec_t *const *rows, size_t n, const char *mark,
                                struct found_request *out)
{
    int64_t best = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t attempt = attempt_of(str_or(rows[i]->submit_line, ""), mark);
        if (attempt <= best)
            continue;
        best = attempt;
        out->job_id = whole_job(rows[i]);
        out->submit_time = rows[i]->submit;
    }
}
