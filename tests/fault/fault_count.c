/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What came of it: each request's jobs, as slurmctld has them, as slurmdbd has them, and as they
 * themselves have told when they ran, against what clients were told.  The rule is in
 * fault_judge.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <slurm/slurm.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/fault/fault.h"

enum { ATTEMPTS = 200, JOBS_OF_ONE = 64, NONE = 0, WRONGS = 24, SHOWN = 5 };

/* One job of one request. */
struct seen {
    struct fault_job job;
    uint32_t next; /* of the same request, NONE at the end */
    bool in_slurmdbd;
    bool held;         /* in slurmctld */
    uint32_t ran, bad; /* lines that it left, and those that say that its inputs were not whole */
};

static struct seen *seen; /* [NONE] is not used */
static uint32_t n_seen = 1, room_seen;
static uint32_t first[FAULT_MAX];
static uint32_t foreign; /* jobs that no request knows */

/* attempt 0: any. */
static struct seen *find(uint32_t n, int64_t attempt, uint32_t id)
{
    for (uint32_t i = first[n]; i != NONE; i = seen[i].next)
        if (seen[i].job.id == id &&
            (!attempt || !seen[i].job.attempt || seen[i].job.attempt == attempt))
            return &seen[i];
    if (n_seen >= room_seen) {
        room_seen = room_seen ? 2 * room_seen : 4096;
        seen = reallocarray(seen, room_seen, sizeof *seen);
        if (!seen)
            fault_die("memory");
    }
    struct seen *s = &seen[n_seen];
    *s = (struct seen){.job = {.id = id, .attempt = attempt}, .next = first[n]};
    first[n] = n_seen++;
    return s;
}

/* ---- slurmctld ---- */

static int64_t attempt_of(uint32_t n, uint32_t tag)
{
    for (int64_t i = 1; i <= ATTEMPTS; i++)
        if (fault_tag(n, i) == tag)
            return i;
    return 0;
}

/* What the count wants to know of one, on a line of a file when slurmctld will have lost it. */
struct shown {
    uint32_t id, tag;
    int64_t made_s;
    int started, cancelled, ended, held;
    char name[32];
};

static job_info_msg_t *load(int tries)
{
    job_info_msg_t *msg = NULL;
    slurm_init(getenv("SLURM_CONF"));
    for (int i = 0; i < tries && slurm_load_jobs(0, &msg, SHOW_ALL) != SLURM_SUCCESS; i++)
        msg = NULL;
    return msg;
}

static struct shown shown_of(const job_info_t *j)
{
    enum job_states state = j->job_state & JOB_STATE_BASE;
    struct shown s = {
        .id = j->job_id,
        .tag = j->alloc_sid,
        .made_s = j->submit_time,
        .started = j->restart_cnt || (state != JOB_PENDING && j->nodes && *j->nodes),
        .cancelled = state == JOB_CANCELLED,
        .ended = state > JOB_SUSPENDED,
        .held = state == JOB_PENDING && j->priority == 0,
    };
    str_copy(s.name, sizeof s.name, str_or(j->name, "(null)"));
    return s;
}

/* wiped: slurmctld has lost it since, when it lost its state for that time; 0: not. */
static void take(const struct shown *j, uint32_t wiped)
{
    int64_t n = fault_named(j->name), attempt = n < 0 ? 0 : attempt_of((uint32_t)n, j->tag);
    if (!attempt) {
        printf("fault: job %u, named %s, has no request's tag (%x)\n", j->id, j->name, j->tag);
        foreign++;
        return;
    }
    struct seen *s = find((uint32_t)n, attempt, j->id);
    s->job.shown = !wiped;
    s->job.wiped = wiped;
    s->job.wiped_cancelled = wiped && j->cancelled;
    s->job.made_s = j->made_s;
    s->job.cancelled = j->cancelled;
    s->job.started = j->started;
    s->job.ended = j->ended;
    s->held = j->held;
}

static void count_slurmctld(void)
{
    job_info_msg_t *msg = load(30);
    if (!msg)
        fault_die("slurmctld's table of jobs");
    for (uint32_t i = 0; i < msg->record_count; i++) {
        const struct shown s = shown_of(&msg->job_array[i]);
        take(&s, 0);
    }
    slurm_free_job_info_msg(msg);
}

/* ---- what it has lost ---- */

static void wiped_path(uint32_t wipe, char out[4096])
{
    snprintf(out, 4096, "%s/wiped.%u", fault->dir, wipe);
}

bool fault_take_down(uint32_t wipe)
{
    char path[4096];
    job_info_msg_t *msg = load(1);
    wiped_path(wipe, path);
    FILE *f = msg ? fopen(path, "we") : NULL;
    for (uint32_t i = 0; f && i < msg->record_count; i++) {
        const struct shown s = shown_of(&msg->job_array[i]);
        fprintf(f, "%u %u %lld %d %d %d %d %s\n", s.id, s.tag, (long long)s.made_s, s.started,
                s.cancelled, s.ended, s.held, s.name);
    }
    return f && fclose(f) == 0;
}

static void count_wiped(uint32_t wipe)
{
    char path[4096], line[200];
    long long made_s;
    struct shown s;
    wiped_path(wipe, path);
    FILE *f = fopen(path, "re");
    if (!f)
        fault_die(path);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%u %u %lld %d %d %d %d %31s", &s.id, &s.tag, &made_s, &s.started,
                   &s.cancelled, &s.ended, &s.held, s.name) != 8)
            fault_die(path);
        s.made_s = made_s;
        take(&s, wipe + 1);
    }
    fclose(f);
}

/* ---- slurmdbd ---- */

/* 2026-11-28T20:55:43 */
static int64_t read_time(const char *text)
{
    struct tm tm = {.tm_isdst = -1};
    return text && strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? mktime(&tm) : 0;
}

/* JobIDRaw|JobName|Submit|NodeList|State|SubmitLine, where "#slurm-agent=ID/ATTEMPT" is at the end.
 */
static void count_row(char *line)
{
    static const char mark[] = "#slurm-agent=";
    char *rest = line, *field[5], *tag;
    for (size_t i = 0; i < ARRAY_LEN(field); i++)
        field[i] = strsep(&rest, "|");
    tag = rest ? strstr(rest, mark) : NULL;
    int64_t n = tag ? fault_number(tag + strlen(mark)) : -1;
    if (n < 0 || n != fault_named(field[1])) {
        printf("fault: slurmdbd's job %s, named %s, has no request's tag\n", str_or(field[0], "?"),
               str_or(field[1], "?"));
        foreign++;
        return;
    }
    struct seen *s = find((uint32_t)n, atoll(tag + strlen(mark) + FAULT_ID),
                          (uint32_t)strtoul(field[0], NULL, 10));
    s->in_slurmdbd = true;
    if (s->job.shown) /* who has it knows better */
        return;
    int64_t made = read_time(field[2]);
    if (!s->job.made_s || made < s->job.made_s) /* one that was requeued has several rows */
        s->job.made_s = made;
    s->job.started |= strncmp(field[3], "None", 4) != 0 && *field[3];
    s->job.cancelled |= strncmp(field[4], "CANCELLED", 9) == 0;
}

static uint32_t count_slurmdbd(void)
{
    char line[8192];
    uint32_t rows = 0;
    FILE *f = popen(
        "sacct -X -D -a -n -P -S now-2days -o JobIDRaw,JobName,Submit,NodeList,State,SubmitLine",
        "r");
    if (!f)
        fault_die("sacct");
    while (fgets(line, sizeof line, f)) {
        count_row(line);
        rows++;
    }
    if (pclose(f) != 0)
        fault_die("sacct");
    return rows;
}

/* ---- what ran ---- */

static void count_ran(uint32_t n)
{
    char path[4096], line[100], word[20];
    unsigned id;
    long long at;
    fault_ran_path(n, path);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        int fields = sscanf(line, "%u %lld %19s", &id, &at, word);
        if (fields < 2)
            continue;
        struct seen *s = find(n, 0, id);
        s->job.started = true;
        if (!s->job.made_s)
            s->job.made_s = at;
        s->ran++;
        s->bad += fault_kind(n) == FAULT_STAGED && (fields < 3 || strcmp(word, "whole") != 0);
    }
    if (f)
        fclose(f);
}

/* ---- what the agent has reported ---- */

/* "request ID of uid 1000, attempt 2: a late twin of it, job 4, is cancelled: its job is 6" */
static void read_reports(void)
{
    static const char request[] = "request ", twin[] = "a late twin of it, job ";
    char path[4096], line[4096];
    snprintf(path, sizeof path, "%s/log/agentd.log", fault->dir);
    FILE *f = fopen(path, "re");
    if (!f)
        fault_die(path);
    while (fgets(line, sizeof line, f)) {
        const char *id = strstr(line, request), *job = strstr(line, twin);
        int64_t n =
            id && job && strlen(id) > 8 + FAULT_ID ? fault_number(id + strlen(request)) : -1;
        unsigned long number = job ? strtoul(job + strlen(twin), NULL, 10) : 0;
        for (uint32_t i = n < 0 ? NONE : first[n]; i != NONE; i = seen[i].next)
            seen[i].job.reported |= seen[i].job.id == number;
    }
    fclose(f);
}

/* ---- judgement ---- */

static struct sums {
    uint32_t fates[FAULT_OPEN + 1], doubts, twins, twins_started, forgotten, unproved;
    uint32_t kinds[FAULT_KINDS], acted[FAULT_KINDS], wrong[FAULT_KINDS];
} sums;

/* What is wrong, and how often: the first few of each are shown. */
static struct {
    const char *what;
    uint32_t n;
} wrongs[WRONGS];

static bool is_shown(const char *what)
{
    size_t i = 0;
    while (i < WRONGS - 1 && wrongs[i].what && strcmp(wrongs[i].what, what) != 0)
        i++;
    wrongs[i].what = what;
    return wrongs[i].n++ < SHOWN;
}

static void print_wrongs(void)
{
    for (size_t i = 0; i < WRONGS && wrongs[i].what; i++)
        printf("fault: %u times: %s\n", wrongs[i].n, wrongs[i].what);
}

static void complain(uint32_t n, const char *what)
{
    const struct fault_request *q = &fault->request[n];
    char id[FAULT_ID];
    fault_id(n, id);
    if (!is_shown(what))
        return;
    printf(
        "fault: %u, %s (%s, %s): %s: told job %u, the agent says %s job %u attempt %d; last error: "
        "%s\n",
        n, id, fault_user_name(fault_user(n)), fault_kind_name(fault_kind(n)), what, q->job_id,
        q->state, q->job_now, q->attempt, q->error);
    for (uint32_t i = first[n]; i != NONE; i = seen[i].next) {
        const struct seen *s = &seen[i];
        printf("fault:   job %u of attempt %lld, made at %lld:%s%s%s%s%s%s%s%s, ran %u times\n",
               s->job.id, (long long)s->job.attempt, (long long)s->job.made_s,
               s->job.shown ? " in slurmctld," : "", s->in_slurmdbd ? " in slurmdbd," : "",
               s->job.started ? " started," : "", s->job.cancelled ? " cancelled," : "",
               s->job.wiped ? " lost with its state," : "", s->job.ended ? " ended," : "",
               s->held ? " held," : "", s->job.reported ? " reported as a twin" : "", s->ran);
    }
}

static bool output_is_of(uint32_t n, uint32_t job_id)
{
    char path[4096];
    unsigned id = 0;
    fault_output_path(n, path);
    FILE *f = fopen(path, "re");
    bool is = f && fscanf(f, "%u", &id) == 1 && id == job_id;
    if (f)
        fclose(f);
    return is;
}

/* What was done to its job must be so.  s: the job, as slurmctld has it. */
static const char *judge_act(const struct fault_world *w, uint32_t n, const struct seen *s)
{
    const struct fault_request *q = &fault->request[n];
    /* slurmctld may have forgotten what was done just before it was killed. */
    bool excused = fault_killed_near(w, q->hopeless ? s->job.made_s : q->acted_s, q->acted_s);
    if (!q->acted)
        return q->gone ? "the agent has said that it has no job"
                       : "what was to be done is not done";
    switch (fault_kind(n)) {
    case FAULT_RELEASED:
        return s->held && !excused ? "it was released, and is held" : NULL;
    case FAULT_KEPT:
        if (s->job.started)
            return "it was to begin in an hour, and has started";
        return s->held || excused ? NULL : "it was held, and is not";
    case FAULT_CANCELLED:
        if (s->job.started && !fault_starts_by_itself(n))
            return "it was submitted held, and has started";
        return s->job.ended || excused ? NULL : "it was cancelled, and has not ended";
    case FAULT_STAGED:
        excused = fault_killed_near(w, s->job.made_s, q->acted_s);
        if (strcmp(q->phase, "SUCCEEDED") != 0)
            return excused ? NULL : "it has not succeeded";
        return output_is_of(n, q->job_id) ? NULL : "its output is not stored";
    default:
        return NULL;
    }
}

static void judge_kind(const struct fault_world *w, uint32_t n)
{
    const struct fault_request *q = &fault->request[n];
    enum fault_kind kind = fault_kind(n);
    const struct seen *job = NULL;
    const char *why = NULL;
    for (uint32_t i = first[n]; i != NONE; i = seen[i].next) {
        if (seen[i].job.shown && seen[i].job.id == q->job_id)
            job = &seen[i];
        if (seen[i].bad)
            why = "it ran, and its inputs were not whole";
    }
    if (!why && job)
        why = judge_act(w, n, job);
    sums.kinds[kind]++;
    sums.acted[kind] += q->acted && !why;
    if (!why)
        return;
    sums.wrong[kind]++;
    complain(n, why);
}

static void judge(const struct fault_world *w, uint32_t n)
{
    const struct fault_request *q = &fault->request[n];
    struct fault_job jobs[JOBS_OF_ONE];
    struct fault_verdict v;
    size_t count = 0;
    bool in_slurmdbd = false;
    for (uint32_t i = first[n]; i != NONE && count < JOBS_OF_ONE; i = seen[i].next) {
        jobs[count++] = seen[i].job;
        in_slurmdbd |= seen[i].in_slurmdbd;
    }
    struct fault_told told = {.job_id = q->answered ? q->job_id : 0,
                              .told_s = q->told_s,
                              .differs = q->differs,
                              .refuses = fault_kind(n) == FAULT_REFUSED,
                              .refused = q->refused,
                              .cancelled = q->acted && fault_kind(n) == FAULT_CANCELLED,
                              .state = q->state,
                              .job_now = q->job_now};
    told.n_sent = q->sent < FAULT_SENT ? q->sent : FAULT_SENT;
    for (size_t i = 0; i < told.n_sent; i++)
        told.sent_s[i] = q->sent_s[(q->sent - told.n_sent + i) % FAULT_SENT];
    fault_judge(w, &told, jobs, count, &v);
    sums.fates[v.fate]++;
    sums.doubts += q->in_doubt;
    sums.twins += v.twins;
    sums.twins_started += v.twins_started;
    sums.forgotten += v.forgotten;
    sums.unproved += v.fate == FAULT_NOT_SUBMITTED && in_slurmdbd;
    if (v.why)
        complain(n, v.why);
    judge_kind(w, n);
}

static bool print_kinds(void)
{
    uint32_t wrong = 0;
    printf("%-16s %8s %8s %8s\n", "requests", "in all", "done", "wrong");
    for (int i = 0; i < FAULT_KINDS; i++) {
        printf("%-16s %8u %8u %8u\n", fault_kind_name((enum fault_kind)i), sums.kinds[i],
               sums.acted[i], sums.wrong[i]);
        wrong += sums.wrong[i];
    }
    return wrong == 0;
}

bool fault_count(void)
{
    const struct fault_world w = {fault->slurmctld_kills_s, fault->slurmctld_kills, fault->late,
                                  fault->lates};
    const uint32_t *fates = sums.fates;
    for (uint32_t i = 0; i < fault_rare_wipes(); i++)
        count_wiped(i);
    count_slurmctld();
    uint32_t rows = count_slurmdbd();
    for (uint32_t n = 0; n < fault->requests; n++)
        count_ran(n);
    read_reports();
    for (uint32_t n = 0; n < fault->requests; n++)
        judge(&w, n);
    print_wrongs();
    bool right = print_kinds();
    printf("slurmctld: killed %u times; jobs that it forgot %u (slurmdbd knows them, or they ran), "
           "of which had ended before %u\n",
           fault->slurmctld_kills, sums.forgotten, fates[FAULT_OVER]);
    printf("slurmdbd: rows %u; jobs of no request, there or in slurmctld: %u\n", rows, foreign);
    printf("late twins %u, each reported: cancelled before they started %u, had started %u\n",
           sums.twins, sums.twins - sums.twins_started, sums.twins_started);
    printf("NOT_SUBMITTED after slurmctld was killed %u: slurmdbd has no job of %u, and one that "
           "slurmctld forgot of %u\n",
           fates[FAULT_NOT_SUBMITTED], fates[FAULT_NOT_SUBMITTED] - sums.unproved, sums.unproved);
    uint32_t lost = fates[FAULT_LOST] + fates[FAULT_OPEN], doubled = fates[FAULT_DOUBLED] + foreign;
    printf(
        "requests %u, jobs %u, in-doubt %u, LOST-by-slurmctld %u, lost %u, doubled %u, kills %u\n",
        fault->requests, fates[FAULT_ONE] + fates[FAULT_OVER], sums.doubts, fates[FAULT_SAID_LOST],
        lost, doubled, fault->kills);
    if (!sums.twins)
        printf("fault: there was no late twin: the run shows nothing of them\n");
    return right && lost == 0 && doubled == 0 && sums.doubts && sums.twins &&
           (!fates[FAULT_SAID_LOST] || fault->slurmctld_kills);
}
