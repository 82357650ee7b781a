/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Asking slurmdbd.
 *
 * One that does not answer blocks the library for MessageTimeout and 35 s, twice: nothing but
 * the end of the process bounds that. */
#include "agentd/cluster_slurm.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "agentd/jobid.h"
#include "common/clock.h"
#include "common/str.h"

/* A question; what the lists point to is the arena's. */
struct question {
    struct arena arena;
    slurmdb_job_cond_t cond;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_LIMIT, "no memory for a question to slurmdbd");
}

static void question_done(struct question *q)
{
    struct xlist *const lists[] = {q->cond.cluster_list, q->cond.step_list, q->cond.userid_list};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (lists[i])
            slurm_list_destroy(lists[i]);
    arena_done(&q->arena);
}

static int put_cluster(struct question *q, const struct acct_request *in, struct err *err)
{
    char *name = arena_alloc(&q->arena, 64);
    if (!name)
        return no_memory(err);
    if (in->cluster)
        str_copy(name, 64, in->cluster);
    else
        cluster_name_in(str_or(getenv("SLURM_CONF"), ""), name);
    /* without one it would be the jobs of all clusters that slurmdbd serves */
    if (!*name)
        return err_set(err, ERR_INVALID, "the ClusterName is not known");
    /* as slurmdbd keeps them */
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    q->cond.cluster_list = slurm_list_create(NULL);
    slurm_list_append(q->cond.cluster_list, name);
    return 0;
}

/* Whose, where that is known as a number: slurmdbd then looks at fewer rows. */
static int put_user(struct question *q, const struct acct_request *in, struct err *err)
{
    int64_t uid = getuid();
    struct passwd pw, *found = NULL;
    char buf[16384];
    if (in->all_users)
        return 0;
    if (in->user && !str_to_i64(in->user, 0, UINT32_MAX, &uid)) {
        if (getpwnam_r(in->user, &pw, buf, sizeof buf, &found) != 0 || !found)
            return 0;
        uid = found->pw_uid;
    }
    char *text = arena_printf(&q->arena, "%u", (unsigned)uid);
    if (!text)
        return no_memory(err);
    q->cond.userid_list = slurm_list_create(NULL);
    slurm_list_append(q->cond.userid_list, text);
    return 0;
}

/* whole: all of the array of which a task is asked for. */
static int put_id(struct question *q, const char *text, bool whole, struct err *err)
{
    struct jobid id;
    slurm_selected_step_t *step = arena_alloc(&q->arena, sizeof *step);
    if (!step)
        return no_memory(err);
    if (jobid_parse(text, &id, err) < 0)
        return -1;
    step->array_task_id = id.kind == JOBID_TASK && !whole ? id.second : NO_VAL;
    step->het_job_offset = id.kind == JOBID_HET ? id.second : NO_VAL;
    step->step_id.job_id = id.id;
    step->step_id.step_id = NO_VAL;
    step->step_id.step_het_comp = NO_VAL;
    if (!q->cond.step_list)
        q->cond.step_list = slurm_list_create(NULL);
    slurm_list_append(q->cond.step_list, step);
    return 0;
}

static int put(struct question *q, const struct acct_request *in, struct err *err)
{
    *q = (struct question){
        .cond.flags = JOBCOND_FLAG_DUP | JOBCOND_FLAG_NO_STEP | JOBCOND_FLAG_NO_TRUNC,
        .cond.db_flags = SLURMDB_JOB_FLAG_NOTSET, /* 0 would ask for those without flags */
    };
    return put_cluster(q, in, err) < 0 || put_user(q, in, err) < 0 ? -1 : 0;
}

static int copy_rows(struct xlist *list, struct arena *arena, slurmdb_job_rec_t ***ret,
                     size_t *ret_n, struct err *err)
{
    size_t n = 0, max = (size_t)slurm_list_count(list);
    slurmdb_job_rec_t **rows = arena_array(arena, max + 1, sizeof *rows);
    if (!rows)
        return no_memory(err);
    struct listIterator *it = slurm_list_iterator_create(list);
    for (slurmdb_job_rec_t *row; n < max && (row = slurm_list_next(it));)
        rows[n++] = row;
    slurm_list_iterator_destroy(it);
    *ret = rows;
    *ret_n = n;
    return 0;
}

/* The list's rows are the caller's to destroy. */
static struct xlist *ask(slurmdb_job_cond_t *cond, struct err *err)
{
    cluster_slurm_begin();
    void *conn = slurmdb_connection_get(NULL);
    if (!conn && !errno) {
        err_set(err, ERR_UNSUPPORTED, "this cluster has no slurmdbd");
        return NULL;
    }
    /* It comes back whether slurmdbd answered or not; asking all the same would wait once more. */
    struct xlist *list = NULL;
    if (conn && !errno)
        list = slurmdb_jobs_get(conn, cond);
    if (!list)
        cluster_slurm_fail(SLURM_CALL_ACCT, -1, NULL, NULL, err);
    if (conn)
        slurmdb_connection_close(&conn);
    return list;
}

static int ask_and_show(struct question *q, const struct acct_request *in, bool *found,
                        cluster_job_fn fn, void *arg, struct err *err)
{
    slurmdb_job_rec_t **rows = NULL;
    size_t n = 0;
    struct xlist *list = ask(&q->cond, err);
    if (!list)
        return -1;
    int rc = copy_rows(list, &q->arena, &rows, &n, err);
    if (rc == 0)
        rc = cluster_slurm_rows(rows, n, in, found, fn, arg, err);
    slurm_list_destroy(list);
    return rc;
}

static int ask_by_time(const struct acct_request *in, cluster_job_fn fn, void *arg, struct err *err)
{
    struct question q;
    int rc = put(&q, in, err);
    q.cond.usage_start = (time_t)in->since;
    q.cond.usage_end = (time_t)(in->until ? in->until : clock_now());
    if (rc == 0)
        rc = ask_and_show(&q, in, NULL, fn, arg, err);
    question_done(&q);
    return rc;
}

static int ask_by_id(const struct acct_request *in, bool *found, cluster_job_fn fn, void *arg,
                     struct err *err)
{
    struct question q;
    int rc = put(&q, in, err);
    for (size_t i = 0; rc == 0 && i < in->ids.n; i++)
        rc = put_id(&q, in->ids.v[i], false, err);
    if (rc == 0)
        rc = ask_and_show(&q, in, found, fn, arg, err);
    question_done(&q);
    return rc;
}

/* Tasks that still waited when slurmctld lost the array are part of its own row alone. */
static int ask_for_waiting(const struct acct_request *in, bool *found, cluster_job_fn fn, void *arg,
                           struct err *err)
{
    struct question q;
    size_t n = 0;
    int rc = put(&q, in, err);
    const char **ids = arena_array(&q.arena, in->ids.n, sizeof *ids);
    int64_t *submits = arena_array(&q.arena, in->ids.n, sizeof *submits);
    bool *now = arena_array(&q.arena, in->ids.n, sizeof *now);
    size_t *at = arena_array(&q.arena, in->ids.n, sizeof *at);
    if (rc == 0 && (!ids || !submits || !now || !at))
        rc = no_memory(err);
    for (size_t i = 0; rc == 0 && i < in->ids.n; i++) {
        struct jobid id;
        rc = jobid_parse(in->ids.v[i], &id, err);
        if (rc < 0 || found[i] || id.kind != JOBID_TASK)
            continue;
        submits[n] = i < in->submit_times.n ? in->submit_times.v[i] : 0;
        at[n] = i;
        ids[n++] = in->ids.v[i];
        rc = put_id(&q, in->ids.v[i], true, err);
    }
    struct acct_request again = *in;
    again.ids = (struct strs){ids, n};
    again.submit_times = (struct ints){submits, n};
    if (rc == 0 && n)
        rc = ask_and_show(&q, &again, now, fn, arg, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        found[at[i]] = now[i];
    question_done(&q);
    return rc;
}

int cluster_acct_jobs(const struct acct_request *in, bool *found, cluster_job_fn fn, void *arg,
                      struct err *err)
{
    if (in->ids.n == 0)
        return ask_by_time(in, fn, arg, err);
    return ask_by_id(in, found, fn, arg, err) < 0 || ask_for_waiting(in, found, fn, arg, err) < 0
               ? -1
               : 0;
}

/* ---- a request ---- */

int cluster_acct_request(const struct request_query *in, struct found_request *out, struct err *err)
{
    const struct acct_request whose = {.cluster = in->cluster};
    struct question q;
    int rc = put(&q, &whose, err);
    const char *mark = rc == 0 ? cluster_tag_mark(&in->request_id, &q.arena) : NULL;
    struct xlist *list = NULL;
    if (rc == 0 && !mark)
        rc = no_memory(err);
    q.cond.usage_start = (time_t)in->since;
    q.cond.usage_end = (time_t)clock_now();
    if (rc == 0 && !(list = ask(&q.cond, err)))
        rc = -1;
    slurmdb_job_rec_t **rows = NULL;
    size_t n = 0;
    if (list) {
        rc = copy_rows(list, &q.arena, &rows, &n, err);
        cluster_slurm_find_request(rows, n, mark, out);
        slurm_list_destroy(list);
    }
    question_done(&q);
    return rc;
}

/* ---- scripts and environments ---- */

/* The latest job that the id names, the list's; *ret_list is the caller's to destroy. */
static slurmdb_job_rec_t *ask_one(const struct acct_text_request *in, const struct jobid *id,
                                  bool whole, uint32_t flag, struct xlist **ret_list,
                                  struct err *err)
{
    struct question q;
    const struct acct_request all = {.cluster = in->cluster, .all_users = true};
    slurmdb_job_rec_t *found = NULL;
    *ret_list = NULL;
    if (put(&q, &all, err) == 0 && put_id(&q, in->id, whole, err) == 0) {
        /* without DUP it is the latest of those with the id */
        q.cond.flags = JOBCOND_FLAG_NO_STEP | JOBCOND_FLAG_NO_TRUNC | flag;
        *ret_list = ask(&q.cond, err);
    }
    question_done(&q);
    if (!*ret_list)
        return NULL;
    struct listIterator *it = slurm_list_iterator_create(*ret_list);
    for (slurmdb_job_rec_t *row; (row = slurm_list_next(it));)
        if (!found || row->jobid == id->id)
            found = row;
    slurm_list_iterator_destroy(it);
    return found;
}

/* AccountingStoreFlags, as slurmctld has them. */
static bool site_stores(bool environment)
{
    enum { JOB_SCRIPT = SLURM_BIT(9), JOB_ENV = SLURM_BIT(10) }; /* the names differ by version */
    slurm_conf_t *conf = NULL;
    if (slurm_load_ctl_conf(0, &conf) || !conf)
        return true;
    bool yes = conf->conf_flags & (environment ? JOB_ENV : JOB_SCRIPT);
    cluster_slurm_free_conf(conf);
    return yes;
}

static int note_there(void *arg, const struct job *j)
{
    (void)j;
    *(bool *)arg = true;
    return 0;
}

/* slurmdbd is told of a job when it may start. */
static int explain_unknown(const struct acct_text_request *in, const struct jobid *id,
                           const char *what, struct err *err)
{
    bool there = false;
    struct err ignored = {0};
    if (cluster_load_job(id->id, note_there, &there, &ignored) == 0 && there)
        return err_set(
            err, ERR_NOT_FOUND,
            "slurmdbd has no %s of job %s yet: it is told of a job when that may start, of "
            "a held one when it is released",
            what, in->id);
    return err_set(err, ERR_NOT_FOUND, "slurmdbd knows no job %s", in->id);
}

/* Slurm gives an empty answer for whatever reason: which it is. */
static int explain(const struct acct_text_request *in, const struct jobid *id, struct err *err)
{
    const char *what = in->environment ? "environment" : "script";
    struct xlist *list = NULL;
    const slurmdb_job_rec_t *row = ask_one(in, id, id->kind == JOBID_TASK, 0, &list, err);
    if (err->code == ERR_NONE && !row)
        explain_unknown(in, id, what, err);
    else if (row && !site_stores(in->environment))
        err_set(err, ERR_UNSUPPORTED,
                "slurmdbd does not get the %ss of jobs here: AccountingStoreFlags=%s in slurm.conf "
                "would make it",
                what, in->environment ? "job_env" : "job_script");
    else if (row && row->user && !str_eq(row->user, cluster_slurm_user(getuid())))
        err_set(err, ERR_DENIED,
                "job %s is of user %.64s: slurmdbd gives its %s to them and to "
                "operators alone",
                in->id, row->user, what);
    else if (row)
        err_set(err, ERR_NOT_FOUND,
                "slurmdbd has no %s of job %s: it was no batch job, came before they were "
                "stored, or has not been told to slurmdbd yet",
                what, in->id);
    if (list)
        slurm_list_destroy(list);
    return -1;
}

int cluster_acct_text(const struct acct_text_request *in, char **ret, struct err *err)
{
    struct jobid id;
    struct xlist *list = NULL;
    uint32_t flag = in->environment ? JOBCOND_FLAG_ENV : JOBCOND_FLAG_SCRIPT;
    if (jobid_parse(str_or(in->id, ""), &id, err) < 0)
        return -1;
    const slurmdb_job_rec_t *row = ask_one(in, &id, false, flag, &list, err);
    if (!row && err->code == ERR_NONE && id.kind == JOBID_TASK) { /* it still waits, or did */
        slurm_list_destroy(list);
        row = ask_one(in, &id, true, flag, &list, err);
    }
    const char *text = !row ? NULL : in->environment ? row->env : row->script;
    *ret = text && *text ? strdup(text) : NULL;
    if (text && *text && !*ret)
        err_set(err, ERR_LIMIT, "no memory for the text");
    if (list)
        slurm_list_destroy(list);
    if (*ret)
        return 0;
    return err->code == ERR_NONE ? explain(in, &id, err) : -1;
}
