/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests: what each is, and what its client does to its job. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agentd/request_tag.h"
#include "common/cleanup.h"
#include "common/str.h"
#include "tests/fault/fault.h"

enum {
    INPUTS = 24,
    INPUT_BYTES = 16384,
    PAUSE_US = 200000,
    WAIT_S = 5,
    FIRST_WAIT_MS = 5000,
    CALM_S = 60
};

/* ---- what they are ---- */

enum fault_kind fault_kind(uint32_t n)
{
    switch (n / FAULT_USERS % 10) {
    case 1:
        return FAULT_REFUSED;
    case 3:
        return FAULT_STAGED;
    case 5:
        return FAULT_RELEASED;
    case 7:
        return FAULT_CANCELLED;
    case 9:
        return FAULT_KEPT;
    default:
        return FAULT_PLAIN;
    }
}

const char *fault_kind_name(enum fault_kind kind)
{
    static const char *const names[FAULT_KINDS] = {
        [FAULT_PLAIN] = "plain",         [FAULT_RELEASED] = "released", [FAULT_KEPT] = "held",
        [FAULT_CANCELLED] = "cancelled", [FAULT_STAGED] = "staged",     [FAULT_REFUSED] = "refused",
    };
    return names[kind];
}

static bool is_held(uint32_t n)
{
    return fault_kind(n) == FAULT_RELEASED ||
           (fault_kind(n) == FAULT_CANCELLED && n / (10 * FAULT_USERS) % 2);
}

bool fault_starts_by_itself(uint32_t n)
{
    enum fault_kind kind = fault_kind(n);
    return !is_held(n) && (kind == FAULT_PLAIN || kind == FAULT_CANCELLED);
}

int fault_client(uint32_t n)
{
    enum { RUN = FAULT_CLIENTS - FAULT_HELD };
    if (fault_starts_by_itself(n))
        return (int)(n % RUN);
    uint32_t which = n / (10 * FAULT_USERS) * FAULT_KINDS + fault_kind(n); /* all in turn */
    return (int)(RUN + which % (FAULT_HELD / FAULT_USERS) * FAULT_USERS + n % FAULT_USERS);
}

bool fault_is_one_of_few(uint32_t n)
{
    enum { FEW = 3 * FAULT_USERS };
    return fault_client(n) >= FAULT_CLIENTS - FEW && !fault_starts_by_itself(n) &&
           fault_kind(n) != FAULT_REFUSED;
}

int fault_user(uint32_t n)
{
    return (int)(n % FAULT_USERS);
}

const char *fault_user_name(int user)
{
    static const char *const names[FAULT_USERS] = {"alice", "bob"};
    return names[user];
}

/* ---- what they are called ---- */

static void id_bytes(uint32_t n, uint8_t out[REQUEST_ID])
{
    uint64_t number = n;
    memcpy(out, &fault->seed, 8);
    memcpy(out + 8, &number, 8);
}

void fault_id(uint32_t n, char out[FAULT_ID])
{
    uint8_t id[REQUEST_ID];
    id_bytes(n, id);
    str_hex(id, REQUEST_ID, out);
}

int64_t fault_number(const char *id)
{
    char text[FAULT_ID];
    unsigned byte;
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) {
        if (sscanf(id + 16 + 2 * i, "%2x", &byte) != 1)
            return -1;
        n |= (uint64_t)byte << 8 * i;
    }
    if (n >= fault->requests)
        return -1;
    fault_id((uint32_t)n, text);
    return strncmp(text, id, FAULT_ID - 1) == 0 ? (int64_t)n : -1;
}

uint32_t fault_tag(uint32_t n, int64_t attempt)
{
    uint8_t id[REQUEST_ID];
    id_bytes(n, id);
    return request_tag(fault->uids[fault_user(n)], id, attempt);
}

void fault_name(uint32_t n, char out[32])
{
    snprintf(out, 32, "f-%u", n);
}

int64_t fault_named(const char *name)
{
    char *end;
    if (!name || strncmp(name, "f-", 2) != 0)
        return -1;
    unsigned long n = strtoul(name + 2, &end, 10);
    return *end || n >= fault->requests ? -1 : (int64_t)n;
}

void fault_ran_path(uint32_t n, char out[4096])
{
    snprintf(out, 4096, "%s/ran/f-%u", fault->dir, n);
}

void fault_output_path(uint32_t n, char out[4096])
{
    snprintf(out, 4096, "%s/store/out/f-%u", fault->dir, n);
}

/* ---- submit ---- */

static void make_dir(const char *name, mode_t mode)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", fault->dir, name);
    if (mkdir(path, mode) < 0 || chmod(path, mode) < 0)
        fault_die(path);
}

/* Many small files: that takes long enough to be killed in the middle. */
void fault_make_store(void)
{
    char path[4096], bytes[INPUT_BYTES];
    for (int user = 0; user < FAULT_USERS; user++) {
        const struct passwd *pw = getpwnam(fault_user_name(user));
        if (!pw)
            fault_die(fault_user_name(user));
        fault->uids[user] = pw->pw_uid;
    }
    make_dir("ran", 01777);
    make_dir("work", 01777);
    make_dir("store", 0755);
    make_dir("store/in", 0755);
    make_dir("store/out", 01777);
    for (int i = 0; i < INPUTS; i++) {
        snprintf(path, sizeof path, "%s/store/in/%d", fault->dir, i);
        memset(bytes, 'a' + i, sizeof bytes);
        FILE *f = fopen(path, "we");
        if (!f || fwrite(bytes, sizeof bytes, 1, f) != 1 || fclose(f) != 0)
            fault_die(path);
    }
}

static void write_script(uint32_t n, char *out, size_t size)
{
    char ran[4096];
    fault_ran_path(n, ran);
    if (fault_kind(n) == FAULT_STAGED)
        snprintf(out, size,
                 "#!/bin/bash\ndiff -r in %s/store/in >/dev/null && word=whole || word=broken\n"
                 "printf '%%s %%(%%s)T %%s\\n' $SLURM_JOB_ID -1 $word >>%s\n"
                 "echo $SLURM_JOB_ID >out\n",
                 fault->dir, ran);
    else
        snprintf(out, size, "#!/bin/bash\nprintf '%%s %%(%%s)T\\n' $SLURM_JOB_ID -1 >>%s\n%s", ran,
                 fault_kind(n) == FAULT_CANCELLED ? "sleep 3\n" : "");
}

int fault_submit(struct sagent *s, uint32_t n, int64_t retry_s, struct sagent_submit_reply **ret,
                 struct sagent_error *err)
{
    char id[FAULT_ID], name[32], script[8400], work[4096], in[4200], out[4200];
    struct sagent_pair options[8] = {
        {"job-name", name}, {"output", "/dev/null"}, {"time", "5"}, {"mem", "10"}};
    size_t count = 4;
    fault_id(n, id);
    fault_name(n, name);
    write_script(n, script, sizeof script);
    snprintf(work, sizeof work, "%s/work/%s", fault->dir, name);
    snprintf(in, sizeof in, "file://%s/store/in/", fault->dir);
    fault_output_path(n, out + 7);
    memcpy(out, "file://", 7);
    const struct sagent_input input = {.from = in, .to = "in/"};
    const struct sagent_output output = {.from = "out", .to = out, .required = true};
    const struct sagent_staging staging = {
        .inputs = &input, .input_count = 1, .outputs = &output, .output_count = 1};
    bool staged = fault_kind(n) == FAULT_STAGED;
    if (is_held(n))
        options[count++] = (struct sagent_pair){"hold", NULL};
    if (fault_kind(n) == FAULT_KEPT)
        options[count++] = (struct sagent_pair){"begin", "now+1hour"};
    if (fault_kind(n) == FAULT_REFUSED) /* by turns: not looked at, and noted as failed */
        options[count++] = n / (10 * FAULT_USERS) % 2
                               ? (struct sagent_pair){"partition", "nowhere"}
                               : (struct sagent_pair){"exclude", "node[1-4]"};
    if (staged) {
        mkdir(work, 0700);
        options[count++] = (struct sagent_pair){"chdir", work};
    }
    const struct sagent_submit_request r = {
        .script = script,
        .script_size = strlen(script),
        .script_name = "fault.sh",
        .options = options,
        .option_count = count,
        .login_environment = true,
        .submit_line = "fault",
        .request_id = id,
        .retry_s = retry_s,
        .staging = staged ? &staging : NULL,
    };
    return sagent_submit(s, &r, ret, err);
}

/* ---- what is done to their jobs ---- */

static void note_error(struct fault_request *q, const struct sagent_error *err)
{
    snprintf(q->error, sizeof q->error, "%s: %.180s", sagent_code_name(err->code), err->text);
}

/* Its job's id and when it was submitted; false: not known yet, or it has none (then it is gone).
 */
static bool find_job(struct sagent *s, uint32_t n, char id[32], int64_t *submit_time, bool *ended)
{
    struct fault_request *q = &fault->request[n];
    struct sagent_request *r = NULL;
    struct sagent_error err;
    char text[FAULT_ID];
    fault_id(n, text);
    if (sagent_request(s, text, &r, &err) < 0) {
        note_error(q, &err);
        return false;
    }
    *ended = str_eq(r->state, "ENDED");
    bool found = (str_eq(r->state, "SUBMITTED") || *ended) && r->submit_time;
    /* Of one that it never saw it knows no more. */
    q->gone = str_eq(r->state, "LOST") || str_eq(r->state, "NOT_SUBMITTED") ||
              (*ended && !r->submit_time);
    snprintf(id, 32, "%lld", (long long)r->job_id);
    *submit_time = r->submit_time;
    sagent_request_free(r);
    return found;
}

static bool control(struct sagent *s, uint32_t n, enum sagent_verb verb)
{
    struct fault_request *q = &fault->request[n];
    struct sagent_controlled *c = NULL;
    struct sagent_error err;
    char id[32];
    int64_t submit_time;
    bool ended;
    if (!find_job(s, n, id, &submit_time, &ended))
        return false;
    const char *const ids[] = {id};
    const struct sagent_control_request r = {
        .verb = verb, .ids = ids, .id_count = 1, .submit_times = &submit_time};
    if (sagent_control(s, &r, &c, &err) < 0) {
        note_error(q, &err);
        return false;
    }
    bool ok = c->n == 1 && c->results[0].code == SAGENT_OK;
    /* slurmctld was killed, has forgotten it, and may have given its id to another one.  It had
     * ended: then an earlier try has been carried out, whose answer was lost. */
    bool gone = c->n == 1 && (c->results[0].code == SAGENT_ERR_CONFLICT ||
                              (ended && c->results[0].code == SAGENT_ERR_NOT_FOUND));
    if (gone && (ended || verb == SAGENT_CANCEL))
        ok = true;
    else if (gone)
        q->gone = 1;
    if (!ok && c->n == 1)
        snprintf(q->error, sizeof q->error, "%s: %.180s", sagent_code_name(c->results[0].code),
                 str_or(c->results[0].text, ""));
    sagent_controlled_free(c);
    return ok;
}

static bool is_calm_for_long(const struct fault_request *q)
{
    int64_t calm_s = fault->calm_s, told_s = q->told_s;
    return calm_s && fault_s() - (calm_s > told_s ? calm_s : told_s) > CALM_S;
}

/* At least once; doing it again is no error.
 *
 * A slurmctld that was killed may wait for slurmdbd's number of a job for good, and take no change
 * of it meanwhile.  The count excuses that only beside a kill. */
static void control_until_done(struct sagent *s, uint32_t n, enum sagent_verb verb)
{
    struct fault_request *q = &fault->request[n];
    while (!q->gone && !q->hopeless && !control(s, n, verb)) {
        q->hopeless =
            verb != SAGENT_CANCEL && is_calm_for_long(q) && strncmp(q->error, "TIMEOUT:", 8) == 0;
        usleep(PAUSE_US);
    }
}

/* The same, of a release by the agent. */
static bool is_hopeless(const struct fault_request *q, const struct sagent_job *job)
{
    return is_calm_for_long(q) && str_eq(job->phase, "STAGING_IN") &&
           strstr(str_or(job->staging, ""), "being released");
}

/* Over whatever happens meanwhile.  Not for good the first time: one that hangs holds up none of
 * its client's others.  False: it has not ended yet. */
static bool wait_for_end(struct sagent *s, uint32_t n, bool for_good)
{
    struct fault_request *q = &fault->request[n];
    char id[32], name[32];
    int64_t submit_time, end_ms = fault_ms() + FIRST_WAIT_MS;
    bool ended = false, over;
    fault_name(n, name);
    while (!q->gone && !ended) {
        if (!for_good && fault_ms() > end_ms)
            return false;
        struct sagent_jobs *jobs = NULL;
        struct sagent_error err;
        const char *const ids[] = {id};
        const struct sagent_wait_request r = {.ids = ids, .id_count = 1, .timeout_s = WAIT_S};
        if (!find_job(s, n, id, &submit_time, &over) || sagent_wait(s, &r, &jobs, &err) < 0) {
            usleep(PAUSE_US);
            continue;
        }
        const struct sagent_job *job = sagent_jobs_at(jobs, 0);
        /* its id may be another's by now */
        ended = job && sagent_jobs_done(jobs) && str_eq(job->name, name);
        if (ended)
            snprintf(q->phase, sizeof q->phase, "%s", job->phase);
        ended |= for_good && job && str_eq(job->name, name) && is_hopeless(q, job);
        sagent_jobs_free(jobs);
        if (!ended)
            usleep(PAUSE_US);
    }
    return true;
}

/* The same answer, once there is one. */
static void submit_refused_again(struct sagent *s, uint32_t n)
{
    struct fault_request *q = &fault->request[n];
    struct sagent_submit_reply *reply = NULL;
    struct sagent_error err;
    while (q->refused && fault_submit(s, n, WAIT_S, &reply, &err) < 0) {
        if (fault_is_no(&err))
            return;
        note_error(q, &err);
        usleep(PAUSE_US);
    }
    q->differs = 1;
    sagent_submit_reply_free(reply);
}

bool fault_is_no(const struct sagent_error *err)
{
    return err->slurm_errno && !err->retry && err->code != SAGENT_ERR_IN_DOUBT;
}

bool fault_act(struct sagent *s, uint32_t n, bool for_good)
{
    struct fault_request *q = &fault->request[n];
    switch (fault_kind(n)) {
    case FAULT_RELEASED:
        control_until_done(s, n, SAGENT_RELEASE);
        break;
    case FAULT_KEPT:
        control_until_done(s, n, SAGENT_HOLD);
        break;
    case FAULT_CANCELLED:
        control_until_done(s, n, SAGENT_CANCEL);
        control_until_done(s, n, SAGENT_CANCEL);
        break;
    case FAULT_REFUSED:
        submit_refused_again(s, n);
        break;
    case FAULT_STAGED:
        if (!wait_for_end(s, n, for_good))
            return false;
        break;
    default:
        break;
    }
    if (!q->gone)
        q->acted_s = fault_s();
    q->acted = !q->gone;
    return true;
}
