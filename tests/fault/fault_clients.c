/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Clients: each submits one request after the other, and the same again until it has a job. */
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client/slurmagent.h"
#include "tests/fault/fault.h"

enum { RETRY_S = 20, TIMEOUT_MS = 30000 };

static void become(int user)
{
    static const char *const names[FAULT_USERS] = {"alice", "bob"};
    const struct passwd *pw = getpwnam(names[user]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!pw || initgroups(pw->pw_name, pw->pw_gid) < 0 ||
        setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        fault_die(names[user]);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the kernel forgets it with the uid */
}

/* Whose a request is. */
static int user_of(uint32_t n)
{
    return (int)(n % FAULT_USERS);
}

static struct fault_request *current;

static void on_outage(void *arg, const struct sagent_error *err)
{
    (void)arg;
    if (err && current && err->code == SAGENT_ERR_IN_DOUBT)
        current->in_doubt = 1;
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

static int submit(struct sagent *s, uint32_t n, struct sagent_submit_reply **ret,
                  struct sagent_error *err)
{
    char id[64], name[32], ran[4096], script[4200];
    fault_ran_path(n, ran);
    snprintf(script, sizeof script, "#!/bin/sh\necho $SLURM_JOB_ID >> %s\n", ran);
    fault_id(n, id);
    fault_name(n, name);
    const struct sagent_pair options[] = {
        {"job-name", name}, {"output", "/dev/null"}, {"time", "5"}, {"mem", "10"}};
    const struct sagent_submit_request r = {
        .script = script,
        .script_size = strlen(script),
        .script_name = "fault.sh",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .login_environment = true,
        .submit_line = "fault",
        .request_id = id,
        .retry_s = RETRY_S,
    };
    return sagent_submit(s, &r, ret, err);
}

static void submit_until_answered(struct sagent *s, uint32_t n)
{
    struct fault_request *q = &fault->request[n];
    current = q;
    while (!q->answered) {
        struct sagent_error err;
        struct sagent_submit_reply *reply = NULL;
        q->tries++;
        if (submit(s, n, &reply, &err) == 0) {
            if (q->job_id && q->job_id != reply->job_id)
                q->differs = 1;
            q->job_id = (uint32_t)reply->job_id;
            q->answered = 1;
            sagent_submit_reply_free(reply);
            return;
        }
        if (err.code == SAGENT_ERR_IN_DOUBT)
            q->in_doubt = 1;
        snprintf(q->error, sizeof q->error, "%s: %.180s", sagent_code_name(err.code), err.text);
        usleep(200000);
    }
}

/* Spread over the time there is. */
static void wait_for_turn(uint32_t n)
{
    int64_t at = fault->begun_ms + (fault->last_ms - fault->begun_ms) * n / fault->requests;
    while (fault_ms() < at)
        usleep(5000);
}

/* Each has its own, every FAULT_CLIENTS-th, so that one that was killed is gone on with. */
static _Noreturn void client_main(int client)
{
    become(client % FAULT_USERS);
    struct sagent *s = open_agent();
    for (uint32_t n = (uint32_t)client; n < fault->requests; n += FAULT_CLIENTS) {
        if (fault->request[n].answered)
            continue;
        wait_for_turn(n);
        submit_until_answered(s, n);
    }
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

static void ask_one(struct sagent *s, uint32_t n)
{
    struct fault_request *q = &fault->request[n];
    struct sagent_request *r = NULL;
    struct sagent_submit_reply *again = NULL;
    struct sagent_error err;
    char id[64];
    fault_id(n, id);
    if (sagent_request(s, id, &r, &err) < 0) {
        snprintf(q->state, sizeof q->state, "%s", sagent_code_name(err.code));
        return;
    }
    snprintf(q->state, sizeof q->state, "%s", r->state);
    q->job_now = (uint32_t)r->job_id;
    q->tag = (uint32_t)r->tag;
    q->attempt = (int)r->attempt;
    bool has_job = strcmp(r->state, "SUBMITTED") == 0 || strcmp(r->state, "ENDED") == 0;
    sagent_request_free(r);
    if (!has_job)
        return;
    if (submit(s, n, &again, &err) < 0 || (q->answered && (uint32_t)again->job_id != q->job_id))
        q->differs = 1;
    sagent_submit_reply_free(again);
}

void fault_ask_all(int user)
{
    become(user);
    struct sagent *s = open_agent();
    for (uint32_t n = 0; n < fault->requests; n++)
        if (user_of(n) == user)
            ask_one(s, n);
    sagent_close(s);
}
