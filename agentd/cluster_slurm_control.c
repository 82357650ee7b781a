/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Signals, what is done to jobs, and scripts. */
#include "agentd/cluster_slurm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "agentd/jobid.h"
#include "agentd/sbatch_hosts.h"
#include "common/cleanup.h"
#include "common/str.h"

/* ---- signals ---- */

int cluster_parse_signal(const char *text, int *ret, struct err *err)
{
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    int64_t n;
    if (str_to_i64(text, 1, SIGRTMAX, &n)) {
        *ret = (int)n;
        return 0;
    }
    for (int sig = 1; sig < 32; sig++) {
        const char *known = sigabbrev_np(sig);
        if (known && strcasecmp(known, name) == 0) {
            *ret = sig;
            return 0;
        }
    }
    if (strcasecmp(name, "RTMIN") == 0) {
        *ret = SIGRTMIN;
        return 0;
    }
    if (strcasecmp(name, "RTMAX") == 0) {
        *ret = SIGRTMAX;
        return 0;
    }
    if (strncasecmp(name, "RTMIN+", 6) == 0 && str_to_i64(name + 6, 0, SIGRTMAX - SIGRTMIN, &n)) {
        *ret = SIGRTMIN + (int)n;
        return 0;
    }
    return err_set(err, ERR_INVALID,
                   "'%.40s' is not a signal: give a name such as TERM or USR1, or a number", text);
}

/* Of several tasks slurmctld tells one fate for all: that one of them is not there, or had ended,
 * says nothing about the others.  True when it was about some of them at least. */
struct some_tasks {
    const char *wanted;
    bool any;
};

static int see_task(void *arg, const struct job *j)
{
    struct some_tasks *s = arg;
    s->any = s->any || (j->array_task && jobid_tasks_meet(s->wanted, j->array_task));
    return s->any ? -1 : 0;
}

static bool has_some_tasks(const char *text)
{
    struct jobid id;
    struct err ignored = {0};
    if (jobid_parse(text, &id, &ignored) < 0 || id.kind != JOBID_TASKS)
        return false;
    struct some_tasks s = {.wanted = id.tasks};
    cluster_load_job(id.id, see_task, &s, &ignored);
    return s.any;
}

static int see_nothing(void *arg, const struct job *j)
{
    (void)arg;
    (void)j;
    return -1;
}

/* slurmctld calls some numbers that no job has ended: those that share a place in its hash table
 * with an array. */
static bool is_nowhere(const char *text)
{
    struct jobid id;
    struct err err = {0};
    return jobid_parse(text, &id, &err) == 0 && cluster_load_job(id.id, see_nothing, NULL, &err) &&
           err.code == ERR_NOT_FOUND;
}

/* ---- what is done ---- */

/* Returns what libslurm does; *ret gets the fates of an array's tasks, where they are not one. */
typedef int (*act_fn)(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret);

static int act_cancel(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)ret;
    const struct cluster_signal *s = &how->signal;
    uint16_t flags = (uint16_t)((s->batch ? KILL_JOB_BATCH : 0) | (s->full ? KILL_FULL_JOB : 0));
    /* slurmctld takes SIGKILL as "end the job" and does the rest itself, as with scancel. */
    return slurm_kill_job2(id, (uint16_t)(s->number ? s->number : SIGKILL), flags, NULL);
}

static int set_priority(char *id, uint32_t priority, uint32_t whose, job_array_resp_msg_t **ret)
{
    job_desc_msg_t d;
    slurm_init_job_desc_msg(&d);
    /* By its text: a number would be the first component alone of a het job. */
    d.job_id_str = id;
    d.priority = priority;
    d.alloc_sid = whose;
    return slurm_update_job2(&d, ret);
}

static int act_hold(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    return set_priority(id, 0, ALLOC_SID_USER_HOLD, ret);
}

static int act_release(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    return set_priority(id, INFINITE, 0, ret);
}

static int act_suspend(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    return slurm_suspend2(id, ret);
}

static int act_resume(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    return slurm_resume2(id, ret);
}

static int act_requeue(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    return slurm_requeue2(id, 0, ret);
}

static int act_requeuehold(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    return slurm_requeue2(id, JOB_REQUEUE_HOLD, ret);
}

static int act_notify(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    int64_t number;
    AUTO(free) char *message = strdup(str_or(how->message, ""));
    (void)ret;
    if (!str_to_i64(id, 1, UINT32_MAX, &number) || !message) {
        errno = EINVAL;
        return -1;
    }
    return slurm_notify_job((uint32_t)number, message);
}

static int act_top(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    (void)how;
    (void)ret;
    return slurm_top_job(id);
}

static int act_update(char *id, const struct cluster_control *how, job_array_resp_msg_t **ret)
{
    job_desc_msg_t d;
    struct err err = {0};
    slurm_init_job_desc_msg(&d);
    d.job_id_str = id;
    if (cluster_slurm_changes(&how->update, &d, &err) < 0) {
        errno = ENOMEM;
        return -1;
    }
    return slurm_update_job2(&d, ret);
}

static act_fn find_act(enum job_verb verb)
{
    switch (verb) {
#define VERB(name, number, with, choose, unasked, help)                                            \
    case JOB_VERB_##name:                                                                          \
        return act_##name;
#include "common/job_verbs.def"
#undef VERB
    }
    return NULL;
}

/* ---- what became of it ---- */

/* Refusals that mean that things are as was asked. */
static const char *nothing_to_do(enum job_verb verb, int number)
{
    static const struct {
        enum job_verb verb;
        int number;
        const char *remark;
    } known[] = {
        {JOB_VERB_cancel, ESLURM_ALREADY_DONE, "the job had already ended"},
        /* it may be asked for again when its answer was lost, and the job has run since */
        {JOB_VERB_release, ESLURM_JOB_FINISHED, "the job had already ended"},
        {JOB_VERB_resume, ESLURM_JOB_NOT_SUSPENDED, "the job was not suspended"},
        {JOB_VERB_update, ESLURM_PRIO_RESET_FAIL,
         "the priority is set, but Slurm may compute it anew: nice lasts"},
        {JOB_VERB_requeue, ESLURM_JOB_PENDING, "the job was in the queue already"},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].verb == verb && known[i].number == number)
            return known[i].remark;
    return NULL;
}

static int refused(enum job_verb verb, const char *id, const struct cluster_control *how, int rc,
                   struct err *err)
{
    const struct sbatch *in = verb == JOB_VERB_update ? how->update.changes : NULL;
    int number = errno ? errno : rc;
    const char *said = cluster_slurm_text(number);
    char what[96];
    snprintf(what, sizeof what, "job %.80s", id);
    if (number == ESLURM_INVALID_JOB_ID && strchr(id, '+'))
        err_set(err, ERR_NOT_FOUND,
                "Slurm knows no %s: %s (%s takes a heterogeneous job as a whole: %.*s)", what, said,
                jobverb_row((int)verb)->word, (int)strcspn(id, "+"), id);
    else if (number == ESLURM_INVALID_JOB_ID)
        err_set(err, ERR_NOT_FOUND, "Slurm knows no %s: %s", what, said);
    else if (number == ESLURM_USER_ID_MISSING ||
             (number == ESLURM_ACCESS_DENIED && verb == JOB_VERB_cancel))
        err_set(err, ERR_DENIED, "%s is not yours: Slurm: %s", what, said);
    else if (number == ESLURM_ACCESS_DENIED)
        err_set(err, ERR_DENIED, "%s: you may not do that (%s): Slurm: %s", what,
                jobverb_row((int)verb)->word, said);
    else if (number == ESLURM_JOB_PENDING && verb == JOB_VERB_requeuehold)
        err_set(err, ERR_SLURM, "%s is in the queue already, hold it instead: Slurm: %s", what,
                said);
    else
        return cluster_slurm_fail(SLURM_CALL_CHANGE, rc, what, in, err);
    err->slurm_errno = number;
    return -1;
}

/* Of several tasks with different fates: the first that went wrong speaks. */
static int judge_tasks(enum job_verb verb, const char *id, const struct cluster_control *how,
                       const job_array_resp_msg_t *tasks, const char **ret_remark, struct err *err)
{
    uint32_t wrong = 0, idle = 0, first = 0;
    for (uint32_t i = 0; i < tasks->job_array_count; i++) {
        int number = (int)tasks->error_code[i];
        if (number && nothing_to_do(verb, number)) {
            idle++;
            *ret_remark = nothing_to_do(verb, number);
        } else if (number && wrong++ == 0) {
            first = i;
        }
    }
    if (wrong == 0) {
        if (idle && idle < tasks->job_array_count)
            *ret_remark = "for some of these tasks there was nothing to do";
        return 0;
    }
    *ret_remark = NULL;
    errno = (int)tasks->error_code[first];
    refused(verb, str_or(tasks->job_array_id[first], id), how, errno, err);
    if (wrong < tasks->job_array_count)
        err_while(err, "some of the tasks of %.80s", id);
    return -1;
}

int cluster_control(enum job_verb verb, const char *id, const struct cluster_control *how,
                    const char **ret_remark, struct err *err)
{
    static const struct cluster_control nothing;
    AUTO(free) char *copy = strdup(id);
    job_array_resp_msg_t *tasks = NULL;
    act_fn act = find_act(verb);
    *ret_remark = NULL;
    how = how ? how : &nothing;
    if (!copy || !act)
        return err_set(err, ERR_INTERNAL, copy ? "no such verb" : "no memory");
    /* Asked before: of a task that waited nothing is left when it is cancelled. */
    bool some = verb == JOB_VERB_cancel && has_some_tasks(id);
    cluster_slurm_begin();
    int rc = act(copy, how, &tasks), number = errno ? errno : rc;
    if (rc == 0) {
        if (tasks)
            rc = judge_tasks(verb, id, how, tasks, ret_remark, err);
        slurm_free_job_array_resp(tasks);
        return rc;
    }
    slurm_free_job_array_resp(tasks);
    if ((number == ESLURM_ALREADY_DONE || number == ESLURM_INVALID_JOB_ID) && some) {
        *ret_remark =
            "some of these tasks are not there or had already ended; the others were dealt "
            "with";
        return 0;
    }
    if (number == ESLURM_ALREADY_DONE && verb == JOB_VERB_cancel && is_nowhere(id))
        number = ESLURM_INVALID_JOB_ID;
    *ret_remark = nothing_to_do(verb, number);
    if (*ret_remark)
        return 0;
    errno = number;
    return refused(verb, id, how, rc, err);
}

int cluster_nodes_meet(const char *nodes, const char *wanted, bool *ret, struct err *err)
{
    const char *wrong = sbatch_hosts_check(wanted);
    if (wrong)
        return err_set(err, ERR_INVALID, "nodelist %.80s: %s", wanted, wrong);
    struct hostlist *list = slurm_hostlist_create(wanted);
    if (!list || slurm_hostlist_count(list) == 0) {
        if (list)
            slurm_hostlist_destroy(list);
        return err_set(err, ERR_INVALID, "'%.80s' is no list of nodes", wanted);
    }
    struct hostlist *has = slurm_hostlist_create(nodes);
    *ret = false;
    for (char *host; has && !*ret && (host = slurm_hostlist_shift(has)); free(host))
        *ret = slurm_hostlist_find(list, host) >= 0;
    if (has)
        slurm_hostlist_destroy(has);
    slurm_hostlist_destroy(list);
    return 0;
}

/* ---- scripts ---- */

int cluster_script(uint32_t job_id, char **ret, struct err *err)
{
    char *text = NULL, what[64];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return err_errno(err, ERR_INTERNAL, "no memory for a script");
    snprintf(what, sizeof what, "script of job %u", job_id);
    cluster_slurm_begin();
    int rc = slurm_job_batch_script(f, job_id);
    int saved = errno;
    bool whole = fclose(f) == 0;
    errno = saved;
    if (rc && (errno == ESLURM_USER_ID_MISSING || errno == ESLURM_ACCESS_DENIED)) {
        err->slurm_errno = errno;
        err_set(err, ERR_DENIED, "job %u is not yours: Slurm: %s", job_id,
                cluster_slurm_text(err->slurm_errno));
    } else if (rc)
        cluster_slurm_fail(SLURM_CALL_READ, rc, what, NULL, err);
    else if (!whole)
        err_set(err, ERR_LIMIT, "%s: no memory for it", what);
    if (err->code != ERR_NONE) {
        free(text);
        return -1;
    }
    *ret = text;
    return 0;
}
