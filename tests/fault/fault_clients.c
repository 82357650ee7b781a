/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Clients: each submits one request after the other, and the same again until it has a job, and
 * does to that what is to be done. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>

#include "common/cleanup.h"
#include "tests/fault/fault.h"

enum { RETRY_S = 20, TIMEOUT_MS = 30000 };

static void become(int user)
{
    const struct passwd *pw = getpwnam(fault_user_name(user));
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!pw || initgroups(pw->pw_name, pw->pw_gid) < 0 ||
        setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        fault_die(fault_user_name(user));
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the kernel forgets it with the uid */
}

static struct {
    int client;
    uint32_t n;
    struct fault_request *q; /* NULL: nothing is submitted */
} now;

static bool may_submit(void)
{
    return fault->hush == FAULT_ALL || (fault->hush == FAULT_FEW && fault_is_one_of_few(now.n));
}

/* Neither for the first time nor again. */
static void wait_for_hush(void)
{
    fault->busy[now.client] = false;
    while (!may_submit())
        usleep(5000);
    fault->busy[now.client] = true;
}

static void is_sent(struct fault_request *q)
{
    q->sent_s[q->sent % FAULT_SENT] = fault_s();
    q->sent++;
}

static void hears(struct fault_request *q, const struct sagent_error *err)
{
    if (err->code == SAGENT_ERR_IN_DOUBT)
        q->in_doubt = 1;
}

static void on_outage(void *arg, const struct sagent_error *err)
{
    (void)arg;
    if (!err || !now.q)
        return;
    hears(now.q, err);
    wait_for_hush();
    is_sent(now.q);
}

static struct sagent *open_agent(void)
{
    struct sagent *s;
    struct sagent_error err;
    const struct sagent_options o = {.timeout_ms = TIMEOUT_MS, .on_outage = on_outage};
    if (sagent_open(&o, &s, &err) < 0) {
        fprintf(stderr, "fault: %s\n", err.text);
        _exit(2);
    }
    return s;
}

static void submit_until_answered(struct sagent *s, uint32_t n)
{
    struct fault_request *q = &fault->request[n];
    now.n = n;
    now.q = q;
    while (!q->answered && !q->refused) {
        struct sagent_error err;
        struct sagent_submit_reply *reply = NULL;
        wait_for_hush();
        q->tries++;
        is_sent(q);
        if (fault_submit(s, n, RETRY_S, &reply, &err) == 0) {
            if (q->job_id && q->job_id != reply->job_id)
                q->differs = 1;
            q->job_id = (uint32_t)reply->job_id;
            q->told_s = fault_s();
            q->answered = 1;
            fault->steps++;
            sagent_submit_reply_free(reply);
            break;
        }
        hears(q, &err);
        if (fault_kind(n) == FAULT_REFUSED && fault_is_no(&err))
            q->refused = 1;
        snprintf(q->error, sizeof q->error, "%s: %.180s", sagent_code_name(err.code), err.text);
        /* nng's one reaping thread hangs in this process: nothing but another process helps */
        if (err.code == SAGENT_ERR_INTERNAL && strstr(err.text, "start the process anew"))
            _exit(FAULT_ANEW);
        usleep(200000);
    }
    now.q = NULL;
    fault->busy[now.client] = false;
}

/* Spread over the time there is. */
static void wait_for_turn(uint32_t n)
{
    int64_t at = fault->begun_ms + (fault->last_ms - fault->begun_ms) * n / fault->requests;
    while (fault_ms() < at)
        usleep(5000);
}

static bool take_through(struct sagent *s, uint32_t n, bool for_good)
{
    wait_for_turn(n);
    submit_until_answered(s, n);
    bool done = fault_act(s, n, for_good);
    fault->steps += done;
    return done;
}

/* Each has its own, so that one that was killed is gone on with. */
static _Noreturn void client_main(int client)
{
    become(client % FAULT_USERS);
    now.client = client;
    struct sagent *s = open_agent();
    for (int again = 0; again < 2; again++)
        for (uint32_t n = 0; n < fault->requests; n++)
            if (fault_client(n) == client && !fault->request[n].done)
                fault->request[n].done = take_through(s, n, again);
    sagent_close(s);
    _exit(0);
}

pid_t fault_client_start(int client)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        client_main(client);
    if (pid < 0)
        fault_die("fork");
    return pid;
}

void fault_plant_double(void)
{
    static char script[] = "#!/bin/sh\n", output[] = "/dev/null", dir[] = "/tmp";
    char name[32], id[FAULT_ID], line[80], *environment[] = {(char[]){"PLANTED=1"}, NULL};
    submit_response_msg_t *reply = NULL;
    job_desc_msg_t d;
    become(0);
    slurm_init(getenv("SLURM_CONF"));
    slurm_init_job_desc_msg(&d);
    fault_name(0, name);
    fault_id(0, id);
    snprintf(line, sizeof line, "planted #slurm-agent=%s/1", id);
    d.name = name;
    d.script = script;
    d.std_out = output;
    d.work_dir = dir;
    d.submit_line = line;
    d.environment = environment;
    d.env_size = 1;
    d.user_id = getuid();
    d.group_id = getgid();
    d.min_nodes = 1;
    d.alloc_sid = fault_tag(0, 1);
    if (slurm_submit_batch_job(&d, &reply) != SLURM_SUCCESS)
        fault_die(slurm_strerror(errno));
    printf("fault: planted job %u\n", reply->job_id);
    slurm_free_submit_response_response_msg(reply);
    fflush(stdout);
}

static void ask_one(struct sagent *s, uint32_t n)
{
    struct fault_request *q = &fault->request[n];
    struct sagent_request *r = NULL;
    struct sagent_submit_reply *again = NULL;
    struct sagent_error err;
    char id[FAULT_ID];
    fault_id(n, id);
    /* Its client may have been told just before a broker died that had not noted it. */
    if (fault_kind(n) == FAULT_REFUSED && fault_submit(s, n, RETRY_S, &again, &err) == 0)
        q->differs = 1;
    sagent_submit_reply_free(TAKE(again));
    if (sagent_request(s, id, &r, &err) < 0) {
        snprintf(q->state, sizeof q->state, "%s", sagent_code_name(err.code));
        return;
    }
    snprintf(q->state, sizeof q->state, "%s", r->state);
    q->job_now = (uint32_t)r->job_id;
    q->attempt = (int)r->attempt;
    bool has_job = strcmp(r->state, "SUBMITTED") == 0 || strcmp(r->state, "ENDED") == 0;
    bool is_no = strcmp(r->state, "REFUSED") == 0;
    sagent_request_free(r);
    if (!has_job && !is_no)
        return;
    if (fault_submit(s, n, RETRY_S, &again, &err) < 0)
        q->differs |= !is_no || !fault_is_no(&err);
    else
        q->differs |= is_no || (q->answered && (uint32_t)again->job_id != q->job_id);
    sagent_submit_reply_free(again);
}

void fault_ask_attempt(uint32_t n)
{
    struct fault_request *q = &fault->request[n];
    struct sagent_request *r = NULL;
    struct sagent_error err;
    char id[FAULT_ID];
    become(fault_user(n));
    fault_id(n, id);
    if (sagent_request(open_agent(), id, &r, &err) < 0)
        return;
    snprintf(q->state, sizeof q->state, "%s", r->state);
    q->attempt = (int)r->attempt;
    sagent_request_free(r);
}

void fault_ask_all(int user)
{
    become(user);
    struct sagent *s = open_agent();
    for (uint32_t n = 0; n < fault->requests; n++)
        if (fault_user(n) == user)
            ask_one(s, n);
    sagent_close(s);
}
