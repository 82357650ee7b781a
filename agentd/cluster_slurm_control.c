/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Signals, cancels and scripts. */
#include "agentd/cluster_slurm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "agentd/jobid.h"
#include "common/cleanup.h"
#include "common/str.h"

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

int cluster_cancel(const char *id, const struct cluster_signal *how, const char **ret_remark,
                   struct err *err)
{
    uint16_t flags = 0;
    if (how->batch)
        flags |= KILL_JOB_BATCH;
    if (how->full)
        flags |= KILL_FULL_JOB;
    *ret_remark = NULL;
    cluster_slurm_begin();
    /* slurmctld takes SIGKILL as "end the job" and does the rest itself, as with scancel. */
    int rc = slurm_kill_job2(id, (uint16_t)(how->number ? how->number : SIGKILL), flags, NULL);
    if (rc == 0)
        return 0;
    int number = errno ? errno : rc;
    if ((number == ESLURM_ALREADY_DONE || number == ESLURM_INVALID_JOB_ID) && has_some_tasks(id)) {
        *ret_remark =
            "some of these tasks are not there or had already ended; the others were dealt "
            "with";
        return 0;
    }
    err->slurm_errno = number;
    switch (number) {
    case ESLURM_ALREADY_DONE:
        *ret_remark = "the job had already ended";
        err->slurm_errno = 0;
        return 0;
    case ESLURM_INVALID_JOB_ID:
        return err_set(err, ERR_NOT_FOUND, "Slurm knows no job %.80s: %s", id,
                       cluster_slurm_text(number));
    case ESLURM_USER_ID_MISSING:
    case ESLURM_ACCESS_DENIED:
        return err_set(err, ERR_DENIED, "job %.80s is not yours: Slurm: %s", id,
                       cluster_slurm_text(number));
    default:
        break;
    }
    char what[96];
    snprintf(what, sizeof what, "job %.80s", id);
    return cluster_slurm_fail(SLURM_CALL_CHANGE, rc, what, NULL, err);
}

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
