/* SPDX-License-Identifier: GPL-3.0-or-later */
/* soak.c: 50 clients that submit, ask, list, wait, read logs and cancel, and are killed at random:
 * does the daemon stay as it is?
 *
 *     soak SECONDS
 *
 * In a sandbox (SLURM_AGENT_SERVER, SOAK_MONITOR: slurm-agentd's pid, SOAK_STATE: its state_dir).
 * As root the clients are SOAK_USERS' in turns, separated by blanks; else all are ours.  Prints a
 * line each few seconds and a chart at the end.  The first half is for warming up.  Of the second
 * half a straight line through the samples tells how much each figure grows; more than the bound
 * beside it is a failure, as is a client's call that failed for a reason of the server's (of
 * slurmctld's: one of ten thousand may), and a daemon that answers nobody for ten seconds.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/str.h"
#include "tests/bench/bench.h"
#include "tests/bench/soak_look.h"

enum {
    CLIENTS = 50,
    PAUSE_MS = 400, /* of a client between two calls, on average half of it */
    KILL_MS = 1000, /* between two kills */
    SAMPLES = 40,   /* at most; no more often than each second */
    CODES = 64,
    BINS = 96, /* of a latency, each a quarter longer than the one before */
    GOODBYE_S = 30,
    P99_TIMES = 3, /* what the second half's may be of the first's */
    P99_MS = 100,  /* and some more */
    RESTARTS = 2,
    SILENT_MS = 10000, /* in which no client at all is answered: the daemon hung */
};

/* What clients and the one who looks on share. */
struct shared {
    _Atomic int stop;
    _Atomic long calls, submits, gets;
    _Atomic long failures[CODES]; /* by code */
    char texts[CODES][200];       /* what one of them said */
    _Atomic long bins[BINS];      /* of get, since the last sample */
};
static struct shared *shared;

/* ---- a client ---- */

struct client {
    struct sagent *s;
    char *held, *run; /* its last jobs, or NULL */
};

static void took(double ms)
{
    int bin = 0;
    for (double most = 0.05; ms > most && bin < BINS - 1; most *= 1.25)
        bin++;
    shared->bins[bin]++;
}

/* Until all but one of a hundred are in; and what there was is forgotten. */
static double p99(void)
{
    long bins[BINS], n = 0, sum = 0;
    double most = 0.05;
    for (int i = 0; i < BINS; i++)
        n += bins[i] = atomic_exchange(&shared->bins[i], 0);
    for (int i = 0; n && i < BINS; i++, most *= 1.25)
        if ((sum += bins[i]) * 100 >= n * 99)
            return most;
    return 0;
}

static int count(int rc, const struct sagent_error *err)
{
    shared->calls++;
    if (rc < 0) {
        int code = err->code >= 0 && err->code < CODES ? err->code : CODES - 1;
        shared->failures[code]++;
        snprintf(shared->texts[code], sizeof shared->texts[code], "%.190s", err->text);
    }
    return rc;
}

static void do_cancel(struct client *c)
{
    AUTO(free) char *mine = TAKE(c->held);
    const char *id = mine;
    const struct sagent_control_request req = {.verb = SAGENT_CANCEL, .ids = &id, .id_count = 1};
    struct sagent_controlled *done;
    struct sagent_error err;
    if (count(sagent_control(c->s, &req, &done, &err), &err) == 0)
        sagent_controlled_free(done);
}

static void do_submit(struct client *c, bool hold)
{
    /* What a client that was killed leaves held goes by itself: else the queue, and with it each
     * load of it, grows for as long as this runs. */
    const struct sagent_pair options[] = {{"chdir", "/tmp"},
                                          {"output", "/tmp/slurm-agent-soak-%u.out"},
                                          {"time", "1"},
                                          {"hold", NULL},
                                          {"deadline", "now+3minutes"}};
    static const char script[] = "#!/bin/sh\necho soak\n";
    const struct sagent_submit_request req = {
        .script = script,
        .script_size = sizeof script - 1,
        .options = options,
        .option_count = hold ? 5 : 3,
        .login_environment = true,
    };
    struct sagent_submit_reply *reply;
    struct sagent_error err;
    char **id = hold ? &c->held : &c->run;
    if (hold && c->held)
        do_cancel(c);
    if (count(sagent_submit(c->s, &req, &reply, &err), &err) < 0)
        return;
    shared->submits++;
    free(*id);
    *id = strdup(reply->id);
    sagent_submit_reply_free(reply);
}

static void do_get(struct client *c)
{
    const char *id = c->held ? c->held : c->run ? c->run : "1";
    struct sagent_jobs *jobs;
    struct sagent_error err;
    double begun = now_ms(CLOCK_MONOTONIC);
    if (count(sagent_get(c->s, &id, 1, &jobs, &err), &err) < 0)
        return;
    took(now_ms(CLOCK_MONOTONIC) - begun);
    shared->gets++;
    sagent_jobs_free(jobs);
}

static void do_list(struct client *c)
{
    const struct sagent_list_filter filter = {0};
    struct sagent_jobs *jobs;
    struct sagent_error err;
    if (count(sagent_list(c->s, &filter, &jobs, &err), &err) == 0)
        sagent_jobs_free(jobs);
}

static void do_wait(struct client *c)
{
    const char *id = c->run;
    const struct sagent_wait_request req = {.ids = &id, .id_count = 1, .timeout_s = 2};
    struct sagent_jobs *jobs;
    struct sagent_error err;
    if (count(sagent_wait(c->s, &req, &jobs, &err), &err) == 0)
        sagent_jobs_free(jobs);
}

static void do_log(struct client *c)
{
    const struct sagent_log_request req = {.id = c->run};
    struct sagent_log_chunk *chunk;
    struct sagent_error err;
    if (count(sagent_log(c->s, &req, &chunk, &err), &err) == 0)
        sagent_log_chunk_free(chunk);
}

static void do_something(struct client *c)
{
    long dice = random() % 100;
    if (dice < 6)
        do_submit(c, true);
    else if (dice < 8)
        do_submit(c, false);
    else if (dice < 16 && c->held)
        do_cancel(c);
    else if (dice < 22 && c->run)
        do_wait(c);
    else if (dice < 30 && c->run)
        do_log(c);
    else if (dice < 36)
        do_list(c);
    else
        do_get(c);
}

static void become(const char *user)
{
    const struct passwd *pw = getpwnam(user);
    if (!pw || initgroups(user, pw->pw_gid) < 0 ||
        setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
        die(user, "cannot become this user");
}

static _Noreturn void be_client(const char *user)
{
    struct client c = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (user)
        become(user);
    srandom((unsigned)getpid());
    c.s = open_client();
    while (!shared->stop) {
        do_something(&c);
        poll(NULL, 0, (int)(random() % PAUSE_MS));
    }
    if (c.held)
        do_cancel(&c);
    sagent_close(c.s);
    exit(0);
}

/* ---- all of them ---- */

static char *users[16];
static int n_users;
static pid_t clients[CLIENTS];

static void read_users(void)
{
    AUTO(free) char *text = strdup(getenv("SOAK_USERS") ? getenv("SOAK_USERS") : "");
    if (getuid() != 0)
        return;
    for (char *rest = NULL, *u = strtok_r(text, " ", &rest); u && n_users < 16;
         u = strtok_r(NULL, " ", &rest))
        users[n_users++] = strdup(u);
    if (!n_users)
        die("soak", "root is not served: whose are the clients (SOAK_USERS)?");
}

static void start_client(int i)
{
    clients[i] = fork();
    if (clients[i] < 0)
        die("fork", strerror(errno));
    if (clients[i] == 0)
        be_client(n_users ? users[i % n_users] : NULL);
}

static void kill_one(void)
{
    int i = (int)(random() % CLIENTS);
    kill(clients[i], SIGKILL);
    waitpid(clients[i], NULL, 0);
    start_client(i);
}

/* How many ended otherwise than well. */
static int end_clients(void)
{
    int bad = 0, status = 0;
    shared->stop = 1;
    double end = now_ms(CLOCK_MONOTONIC) + GOODBYE_S * 1000;
    for (int i = 0; i < CLIENTS; i++) {
        while (waitpid(clients[i], &status, WNOHANG) == 0) {
            if (now_ms(CLOCK_MONOTONIC) > end)
                kill(clients[i], SIGKILL);
            poll(NULL, 0, 20);
        }
        bad += status != 0;
    }
    return bad;
}

/* ---- what is told ---- */

/* Of these it is the client's time, or the job, that is over. */
static bool is_expected(int code)
{
    return code == SAGENT_ERR_TIMEOUT || code == SAGENT_ERR_NOT_FOUND;
}

/* A slurmctld that has half a core may not answer one call of ten thousand. */
static bool is_rare(int code)
{
    return code == SAGENT_ERR_SLURM_DOWN && shared->failures[code] * 10000 <= shared->calls;
}

static int tell_failures(void)
{
    long bad = 0;
    for (int code = 0; code < CODES; code++) {
        if (!shared->failures[code])
            continue;
        printf("%s: %ld calls: %s\n", sagent_code_name(code), shared->failures[code],
               shared->texts[code]);
        bad += is_expected(code) || is_rare(code) ? 0 : shared->failures[code];
    }
    if (bad)
        printf("FAILED: %ld calls failed for a reason of the server's\n", bad);
    return bad != 0;
}

static double median_p99(const struct soak_sample *v, int n)
{
    double p[SAMPLES + 1];
    for (int i = 0; i < n; i++)
        p[i] = v[i].f[SOAK_p99];
    qsort(p, (size_t)n, sizeof *p, ascending);
    return n ? p[n / 2] : 0;
}

/* Much slower in the second half is not the machine's noise. */
static int tell_p99(const struct soak_sample *v, int n)
{
    double first = median_p99(v, n / 2), second = median_p99(v + n / 2, n - n / 2);
    bool bad = second > P99_TIMES * first + P99_MS;
    printf(
        "p99 of gets, median of the samples: %.0f ms in the first half, %.0f ms in the second%s\n",
        first, second, bad ? ": FAILED" : "");
    return bad;
}

/* nng before 1.8 needs a new broker now and then when clients leave in the middle of an answer. */
static int tell_restarts(const struct soak_sample *v, int n)
{
    int restarts = 0;
    for (int i = 1; i < n; i++)
        restarts += v[i].broker_pid != v[i - 1].broker_pid;
    if (restarts)
        printf("the broker began anew %d times: its memory says little%s\n", restarts,
               restarts > RESTARTS ? ": FAILED" : "");
    return restarts > RESTARTS;
}

static int tell(const struct soak_sample *v, int n)
{
    int bad = 0;
    printf("\nover time, from the least to the most of each; growth in the second half:\n");
    for (int f = 0; f < SOAK_FIGURES; f++)
        bad += !soak_tell(v, n, f);
    bad += tell_p99(v, n) + tell_restarts(v, n);
    const struct soak_sample *first = &v[n / 2], *last = &v[n - 1];
    long jobs = last->submits - first->submits;
    double bytes =
        jobs ? 1024.0 * (last->f[SOAK_journal] - first->f[SOAK_journal]) / (double)jobs : 0;
    printf("%ld calls, %ld submits; in the second half %ld, the journal grew by %.0f bytes each\n",
           shared->calls, shared->submits, jobs, bytes);
    return bad;
}

/* Looked at often: for how long has no get been answered?  Keeps the longest. */
static double longest_silence(void)
{
    static long gets;
    static double since, longest;
    double now = now_ms(CLOCK_MONOTONIC);
    if (shared->gets != gets || since == 0)
        since = now;
    gets = shared->gets;
    longest = now - since > longest ? now - since : longest;
    return longest;
}

static void sample(int monitor, const char *state, double begun, struct soak_sample *out)
{
    soak_look(monitor, state, out);
    out->s = (now_ms(CLOCK_MONOTONIC) - begun) / 1000;
    out->f[SOAK_p99] = p99();
    out->submits = shared->submits;
    if (out->f[SOAK_broker] == 0)
        die("soak", "the broker is not there");
    soak_print(out);
}

int main(int argc, char **argv)
{
    int64_t seconds, monitor;
    const char *pid = getenv("SOAK_MONITOR"), *state = getenv("SOAK_STATE");
    static struct soak_sample v[SAMPLES + 1];
    if (argc != 2 || !str_to_i64(argv[1], 10, 86400 * 7, &seconds)) {
        fprintf(stderr, "usage: soak SECONDS\n");
        return 2;
    }
    if (!pid || !str_to_i64(pid, 1, INT32_MAX, &monitor) || !state)
        die("soak", "SOAK_MONITOR is to be slurm-agentd's pid, SOAK_STATE its state_dir");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("mmap", strerror(errno));
    read_users();
    srandom((unsigned)getpid());
    double begun = now_ms(CLOCK_MONOTONIC), killed = begun;
    double every = (double)seconds * 1000 / SAMPLES, next = begun;
    double silent = 0;
    int n = 0, kills = 0;
    every = every < 1000 ? 1000 : every;
    for (int i = 0; i < CLIENTS; i++)
        start_client(i);
    soak_print(NULL);
    while (now_ms(CLOCK_MONOTONIC) < begun + (double)seconds * 1000) {
        poll(NULL, 0, 100);
        silent = longest_silence();
        if (now_ms(CLOCK_MONOTONIC) >= killed + KILL_MS) {
            killed = now_ms(CLOCK_MONOTONIC);
            kill_one();
            kills++;
        }
        if (now_ms(CLOCK_MONOTONIC) >= next + every && n < SAMPLES) {
            next += every;
            sample((int)monitor, state, begun, &v[n++]);
        }
    }
    int bad = end_clients();
    if (bad)
        printf("FAILED: %d clients did not end well\n", bad);
    bad += tell(v, n);
    printf("the longest time without the answer to a get: %.1f s%s\n", silent / 1000,
           silent > SILENT_MS ? ": FAILED" : "");
    bad += silent > SILENT_MS;
    printf("%d clients at a time, %d killed in the middle of something\n", CLIENTS, kills);
    bad += tell_failures();
    return bad != 0;
}
