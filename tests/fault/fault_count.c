/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What came of it: jobs as slurmctld has them, and as slurmdbd has them, against what clients were
 * told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <slurm/slurm.h>

#include "common/cleanup.h"
#include "tests/fault/fault.h"

/* What slurmctld and slurmdbd have of one request. */
struct seen {
    uint32_t jobs;      /* that live or ran */
    uint32_t job_id;    /* the last of them */
    uint32_t cancelled; /* before they started: late twins */
    uint32_t wrong_tag;
    uint32_t ran, ran_id;      /* jobs that ran, each counted once, and the first's id */
    uint32_t rows, rows_other; /* slurmdbd: of that job, and of others */
};

static struct seen seen[FAULT_MAX];

/* -1: not one of ours. */
static int64_t number_of(const char *name)
{
    char *end;
    if (!name || strncmp(name, "f-", 2) != 0)
        return -1;
    unsigned long n = strtoul(name + 2, &end, 10);
    return *end || n >= fault->requests ? -1 : (int64_t)n;
}

static void count_slurmctld(void)
{
    job_info_msg_t *msg = NULL;
    slurm_init(getenv("SLURM_CONF"));
    for (int i = 0; i < 30 && slurm_load_jobs(0, &msg, SHOW_ALL) != SLURM_SUCCESS; i++)
        msg = NULL;
    if (!msg)
        fault_die("slurmctld's table of jobs");
    for (uint32_t i = 0; i < msg->record_count; i++) {
        const job_info_t *j = &msg->job_array[i];
        int64_t n = number_of(j->name);
        if (n < 0)
            continue;
        struct seen *s = &seen[n];
        if ((j->job_state & JOB_STATE_BASE) == JOB_CANCELLED && !j->nodes) {
            s->cancelled++;
            continue;
        }
        s->jobs++;
        s->job_id = j->job_id;
        s->wrong_tag += j->alloc_sid < 0x80000000U ||
                        (fault->request[n].tag && j->alloc_sid != fault->request[n].tag);
    }
    slurm_free_job_info_msg(msg);
}

/* JobID|JobName|SubmitLine */
static uint32_t count_slurmdbd(void)
{
    char line[4096];
    uint32_t rows = 0;
    FILE *f = popen("sacct -X -D -a -n -P -S now-1days -o JobID,JobName,SubmitLine", "r");
    if (!f)
        fault_die("sacct");
    while (fgets(line, sizeof line, f)) {
        char *rest = line, *id = strsep(&rest, "|"), *name = strsep(&rest, "|");
        int64_t n = number_of(name);
        if (n < 0 || !rest)
            continue;
        struct seen *s = &seen[n];
        bool tagged = strstr(rest, "#slurm-agent=") != NULL;
        rows++;
        if ((uint32_t)atol(id) == s->job_id && tagged)
            s->rows++;
        else
            s->rows_other++;
    }
    if (pclose(f) != 0)
        fault_die("sacct");
    return rows;
}

/* A job that slurmctld has forgotten and starts again, under another id, is another one. */
static void count_ran(uint32_t n)
{
    char path[4096], line[64];
    uint32_t last = 0;
    fault_ran_path(n, path);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        uint32_t id = (uint32_t)strtoul(line, NULL, 10);
        seen[n].ran += id != last;
        seen[n].ran_id = seen[n].ran_id ? seen[n].ran_id : id;
        last = id;
    }
    if (f)
        fclose(f);
}

static void complain(uint32_t n, const char *what)
{
    static int said;
    const struct fault_request *q = &fault->request[n];
    char id[64];
    fault_id(n, id);
    if (said++ < 20)
        printf(
            "fault: %s (%s): %s: told job %u, the agent says %s job %u attempt %d, slurmctld has %u, "
            "the last is job %u; slurmdbd %u and %u; ran %u, the first as job %u; last error: %s\n",
            id, n % 2 ? "bob" : "alice", what, q->job_id, q->state, q->job_now, q->attempt,
            seen[n].jobs, seen[n].job_id, seen[n].rows, seen[n].rows_other, seen[n].ran,
            seen[n].ran_id, q->error);
}

static bool agent_says_lost(const struct fault_request *q)
{
    return strcmp(q->state, "LOST") == 0;
}

static bool agent_says_ended(const struct fault_request *q)
{
    return strcmp(q->state, "ENDED") == 0;
}

/* The answer was given and not noted yet when the broker was killed; then slurmctld was. */
static bool agent_has_forgotten(const struct fault_request *q)
{
    return strcmp(q->state, "NOT_SUBMITTED") == 0;
}

static struct sums {
    uint32_t jobs, doubts, forgotten, over, lost, doubled, twins, open, by_dbd, other_rows, reran;
} sums;

static void judge(uint32_t n)
{
    const struct fault_request *q = &fault->request[n];
    const struct seen *s = &seen[n];
    bool killed = fault->slurmctld_kills != 0;
    /* It ran, its end was seen, and slurmctld was killed before it had saved that. */
    bool over =
        s->jobs == 0 && killed && agent_says_ended(q) && s->ran == 1 && s->ran_id == q->job_id;
    sums.jobs += s->jobs + over;
    sums.over += over;
    sums.twins += s->cancelled;
    sums.doubts += q->in_doubt;
    sums.by_dbd += s->rows != 0;
    sums.other_rows += s->rows_other;
    sums.reran += s->ran > 1;
    if (s->jobs > 1 || (s->rows > 1 && !killed) || (s->ran > 1 && !killed)) {
        sums.doubled++;
        complain(n, "more than one job");
    }
    if (!q->answered) {
        sums.open++;
        complain(n, "no answer");
    } else if (s->jobs == 0 && (agent_says_lost(q) || (killed && agent_has_forgotten(q)))) {
        sums.forgotten++;
    } else if (s->jobs == 0 && !over) {
        sums.lost++;
        complain(n, "its job is not there");
    } else if (s->jobs && (s->job_id != q->job_id || q->differs || s->wrong_tag)) {
        sums.lost++;
        complain(n, s->wrong_tag ? "its job has another tag" : "its job is another one");
    }
}

bool fault_count(void)
{
    count_slurmctld();
    uint32_t rows = count_slurmdbd();
    for (uint32_t n = 0; n < fault->requests; n++) {
        count_ran(n);
        judge(n);
    }
    printf(
        "slurmctld: killed %u times, stopped by turns with others %u times; %u jobs that it forgot had "
        "ended before, of %u it forgot one that had run; late twins cancelled %u\n",
        fault->slurmctld_kills, fault->stops, sums.over, sums.reran, sums.twins);
    printf(
        "slurmdbd: rows %u, requests with their job there %u, rows of jobs that slurmctld has not %u\n",
        rows, sums.by_dbd, sums.other_rows);
    /* Without a kill there is none that slurmctld could have forgotten. */
    if (!fault->slurmctld_kills)
        sums.doubled += sums.other_rows;
    printf(
        "requests %u, jobs %u, in-doubt %u, LOST-by-slurmctld %u, lost %u, doubled %u, kills %u\n",
        fault->requests, sums.jobs, sums.doubts, sums.forgotten, sums.lost + sums.open,
        sums.doubled, fault->kills);
    return sums.lost == 0 && sums.open == 0 && sums.doubled == 0 && sums.doubts != 0 &&
           (sums.forgotten == 0 || fault->slurmctld_kills != 0);
}
