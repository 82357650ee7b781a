/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What slurmctld has to do for us, by its own statistics, and what its hints do for us
 *
 * load: any number of clients costs one load of the job table a second, with hints (hint=1) and
 * without.  hint: in a sandbox with hint=1 and poll_ms = 30000. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agentd/hint_proto.h"
#include "client/slurmagent.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/str.h"
#include "tests/kit/jobs.h"
#include "tests/kit/peer.h"
#include "tests/kit/scratch.h"
#include "tests/kit/stats.h"

TestSuite(load, .timeout = 180);
TestSuite(hint, .timeout = 180);

/* ---- slurmctld's statistics ---- */

/* How often slurmctld has been asked this since it started, by whomever. */
static long asked(const char *rpc)
{
    AUTO(run_free) struct run r = run_as(NULL, "sdiag");
    cr_assert_eq(r.status, 0, "sdiag: %s", r.err);
    for (const char *at = r.out; (at = strstr(at, rpc)); at++) {
        long count;
        const char *end = at + strlen(rpc); /* not REQUEST_JOB_INFO_SINGLE */
        if (*end == ' ' && sscanf(strchr(end, ')') ? strchr(end, ')') : "", ") count:%ld", &count))
            return count;
    }
    return 0;
}

/* ---- clients ---- */

enum { CLIENTS = 20, LOAD_S = 10, CANCEL_MANY = 25, SUBMITS = 200 };

/* What the clients did, in memory that they share. */
struct done {
    long queries, submits, cancels, failures;
    char text[600]; /* of a failure */
};

static void failed(struct done *d, const char *what, const struct sagent_error *err)
{
    if (__atomic_fetch_add(&d->failures, 1, __ATOMIC_RELAXED) == 0)
        snprintf(d->text, sizeof d->text, "%.20s: %s", what, err->text);
}

static void query(struct sagent *s, struct done *d, int n)
{
    const char *id = "1";
    struct sagent_list_filter all = {.all_users = true};
    struct sagent_jobs *jobs = NULL;
    struct sagent_server *server = NULL;
    struct sagent_error err;
    int rc = n % 3 == 0   ? sagent_get(s, &id, 1, &jobs, &err)
             : n % 3 == 1 ? sagent_list(s, &all, &jobs, &err)
                          : sagent_ping(s, &server, &err);
    sagent_jobs_free(jobs);
    sagent_server_free(server);
    if (rc < 0)
        failed(d, "query", &err);
    __atomic_fetch_add(&d->queries, 1, __ATOMIC_RELAXED);
}

static void cancel(struct sagent *s, struct done *d, const char *const *ids, size_t n)
{
    struct sagent_control_request req = {.verb = SAGENT_CANCEL, .ids = ids, .id_count = n};
    struct sagent_controlled *done = NULL;
    struct sagent_error err;
    if (sagent_control(s, &req, &done, &err) < 0)
        failed(d, "cancel", &err);
    sagent_controlled_free(done);
    __atomic_fetch_add(&d->cancels, 1, __ATOMIC_RELAXED);
}

static void submit_and_cancel(struct sagent *s, struct done *d)
{
    static const struct sagent_pair options[] = {{"hold", NULL}, {"chdir", "/tmp"}};
    struct sagent_submit_request req = {
        .script = "#!/bin/sh\ntrue\n",
        .script_size = strlen("#!/bin/sh\ntrue\n"),
        .options = options,
        .option_count = ARRAY_LEN(options),
        .login_environment = true,
    };
    struct sagent_submit_reply *reply;
    struct sagent_error err;
    if (__atomic_fetch_add(&d->submits, 1, __ATOMIC_RELAXED) >= SUBMITS)
        return;
    if (sagent_submit(s, &req, &reply, &err) < 0) {
        failed(d, "submit", &err);
        return;
    }
    query(s, d, 1); /* waits for the load that shows it */
    cancel(s, d, &reply->id, 1);
    sagent_submit_reply_free(reply);
}

/* Not one of these is there, and the server is to look at the whole table each time. */
static void cancel_many(struct sagent *s, struct done *d)
{
    char text[CANCEL_MANY][16];
    const char *ids[CANCEL_MANY];
    for (int i = 0; i < CANCEL_MANY; i++) {
        snprintf(text[i], sizeof text[i], "%d", 60000000 + i);
        ids[i] = text[i];
    }
    cancel(s, d, ids, CANCEL_MANY);
    query(s, d, 1);
}

struct client {
    pthread_t thread;
    int number;
    int64_t end_ms;
    struct done *done;
};

/* With a connection and a session of its own; the server cannot tell it from a process. */
static void *run_client(void *arg)
{
    const struct client *c = arg;
    struct sagent *s;
    struct sagent_error err;
    if (sagent_open(NULL, &s, &err) < 0) {
        failed(c->done, "open", &err);
        return NULL;
    }
    for (int n = c->number; clock_mono_ms() < c->end_ms; n++) {
        query(s, c->done, n);
        if (c->number < 2)
            submit_and_cancel(s, c->done);
        else if (c->number == 2)
            cancel_many(s, c->done);
    }
    sagent_close(s);
    return NULL;
}

/* ---- hints ---- */

/* One process that says job after job has ended, so often a second; its datagrams in *sent. */
static pid_t start_hints(int a_second, long *sent, int64_t end_ms)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/run/agentd/hint.sock", sandbox_dir());
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    for (uint32_t id = 1; clock_mono_ms() < end_ms; id++) {
        struct hint_packet p = {.magic = HINT_MAGIC, .version = HINT_VERSION, .job_id = id};
        if (sendto(fd, &p, sizeof p, MSG_DONTWAIT, (const struct sockaddr *)&to, sizeof to) ==
            (ssize_t)sizeof p)
            ++*sent;
        poll(NULL, 0, 1000 / a_second);
    }
    _exit(0);
}

static void measure(int n, int hints_a_second)
{
    struct client clients[CLIENTS];
    struct done done = {0};
    long *hints =
        mmap(NULL, sizeof *hints, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(hints, MAP_FAILED);
    long tables = asked("REQUEST_JOB_INFO"), ones = asked("REQUEST_JOB_INFO_SINGLE");
    int64_t begin = clock_mono_ms(), end = begin + LOAD_S * 1000;
    int status = 0;
    pid_t hinter = hints_a_second ? start_hints(hints_a_second, hints, end) : 0;
    become(user_a()); /* hints are root's */
    for (int i = 0; i < n; i++) {
        clients[i] = (struct client){.number = i, .end_ms = end, .done = &done};
        cr_assert_eq(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(clients[i].thread, NULL);
    cr_expect(hinter == 0 || (waitpid(hinter, &status, 0) == hinter && status == 0));
    tables = asked("REQUEST_JOB_INFO") - tables;
    ones = asked("REQUEST_JOB_INFO_SINGLE") - ones;
    long seconds = (long)((clock_mono_ms() - begin + 999) / 1000);
    fprintf(stderr,
            "%ld s, %ld queries, %ld submits, %ld cancels, %ld hints: slurmctld was asked "
            "for the table %ld times, for one job %ld times\n",
            seconds, done.queries, done.submits, done.cancels, *hints, tables, ones);
    cr_expect_eq(done.failures, 0, "%ld calls, the first: %s", done.failures, done.text);
    cr_expect_leq(tables, seconds + 3);
    cr_expect_leq(ones, 200 * (seconds + 1));
    if (n) {
        cr_expect_geq(done.queries, 20 * LOAD_S, "or nothing was measured");
        cr_expect_geq(done.submits, 10);
        cr_expect_geq(ones, 10);
    }
    if (hints_a_second) {
        cr_expect_geq(*hints, 50 * LOAD_S, "or nothing was measured");
        cr_expect_geq(ones, 100, "hints load single jobs");
        cr_expect_geq(tables, LOAD_S - 3, "and a flood of them the table, once a second");
    }
    munmap(hints, sizeof *hints);
}

Test(load, any_number_of_clients_costs_one_table_a_second)
{
    measure(CLIENTS, 0);
}

Test(load, a_flood_of_hints_costs_no_more)
{
    measure(0, 200);
}

Test(load, nor_do_both_together)
{
    measure(CLIENTS, 200);
}

/* ---- held requests ---- */

enum { WAITS = 500 };

struct waiting {
    nng_ctx ctx;
    nng_aio *aio;
};

static struct waiting send_wait(struct peer *p, const struct wait_request *req)
{
    AUTO(wire_out_free) struct wire_out *out = wire_out_new();
    struct waiting w;
    uint64_t counter;
    nng_msg *msg;
    msg_pack(&wait_request_type, req, out);
    struct bytes frame = peer_seal(p, OP_job_wait, wire_out_bytes(out), &counter);
    cr_assert(nng_ctx_open(&w.ctx, p->sock) == 0 && nng_aio_alloc(&w.aio, NULL, NULL) == 0 &&
              nng_msg_alloc(&msg, 0) == 0 && nng_msg_append(msg, frame.p, frame.n) == 0);
    free((void *)frame.p);
    nng_aio_set_timeout(w.aio, 60000);
    nng_aio_set_msg(w.aio, msg);
    nng_ctx_send(w.ctx, w.aio);
    return w;
}

static int await_answer(struct waiting *w)
{
    nng_aio_wait(w->aio);
    int rc = nng_aio_result(w->aio);
    if (rc) {
        nng_msg_free(nng_aio_get_msg(w->aio)); /* not sent: ours */
    } else {
        nng_ctx_recv(w->ctx, w->aio);
        nng_aio_wait(w->aio);
        rc = nng_aio_result(w->aio);
        if (rc == 0)
            nng_msg_free(nng_aio_get_msg(w->aio));
    }
    nng_aio_free(w->aio);
    nng_ctx_close(w->ctx);
    return rc;
}

/* More at once than the server is ready to take, all of them held.  Their answers are read before
 * the connection is closed: nng 1.5.2 may wait for itself for ever when something is on its way
 * then. */
Test(load, a_burst_of_waits_leaves_room_for_others)
{
    struct peer waiting, other;
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    become(user_a());
    peer_connect(&waiting);
    peer_login(&waiting);
    peer_connect(&other);
    peer_login(&other);
    struct waiting waits[WAITS];
    const char *ids = id;
    const struct wait_request req = {.ids = {&ids, 1}};
    for (int i = 0; i < WAITS; i++)
        waits[i] = send_wait(&waiting, &req);
    for (int i = 0; i < 20; i++) {
        struct bytes r = peer_call(&other, OP_ping, (struct bytes){(const uint8_t *)"\x80", 1});
        cr_assert_not_null(r.p, "ping %d is not answered", i);
        free((void *)r.p);
    }
    cancel_quietly(user_a(), id);
    for (int i = 0; i < WAITS; i++) {
        int rc = await_answer(&waits[i]);
        cr_expect_eq(rc, 0, "wait %d: %s", i, nng_strerror(rc));
    }
    peer_close(&waiting);
    peer_close(&other);
}

/* ---- without polling ---- */

enum { RUNS = 5 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct sagent *open_client(void)
{
    struct sagent *s;
    struct sagent_error err;
    cr_assert_eq(sagent_open(NULL, &s, &err), 0, "%s", err.text);
    return s;
}

struct look {
    struct sagent *s;
    const char *id, *state;
    size_t n; /* jobs (tasks) in it */
};

static bool in_state(void *arg)
{
    struct look *l = arg;
    struct sagent_jobs *jobs;
    struct sagent_error err;
    size_t n = 0;
    if (sagent_get(l->s, &l->id, 1, &jobs, &err) < 0)
        cr_assert_fail("get: %s", err.text);
    for (size_t i = 0; i < sagent_jobs_count(jobs); i++)
        n += str_eq(sagent_jobs_at(jobs, i)->state, l->state);
    sagent_jobs_free(jobs);
    return n == l->n;
}

static bool is_there(void *arg)
{
    return access(arg, F_OK) == 0;
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The agent asks by itself every 30 s here. */
Test(hint, a_jobs_end_is_seen_within_a_second_of_it)
{
    int64_t late_ms[RUNS];
    become(user_a());
    struct sagent *s = open_client();
    for (int i = 0; i < RUNS; i++) {
        char name[32], path[300];
        AUTO(free) char *script = NULL;
        snprintf(name, sizeof name, "end-%d", i);
        snprintf(path, sizeof path, "%s/%s", scratch(user_a()), name);
        cr_assert_gt(asprintf(&script, "#!/bin/sh\nsleep 1\ndate +%%s%%N >%s.new\nmv %s.new %s\n",
                              path, path, path),
                     0);
        AUTO(free) char *id = submit(user_a(), script);
        struct look running = {s, id, "RUNNING", 1}, over = {s, id, "COMPLETED", 1};
        cr_assert(wait_until(in_state, &running, 20000), "its beginning was not seen");
        cr_assert(wait_until(is_there, path, 20000), "it did not end");
        cr_assert(wait_until(in_state, &over, 5000), "its end was not seen");
        AUTO(free) char *end = slurp(path);
        end[strcspn(end, "\n")] = '\0';
        int64_t end_ns = 0;
        cr_assert(str_to_i64(end, 1, INT64_MAX, &end_ns), "%s", end);
        late_ms[i] = (now_ns() - end_ns) / 1000000;
    }
    qsort(late_ms, RUNS, sizeof *late_ms, ascending);
    fprintf(stderr, "ends were seen %lld to %lld ms after them\n", (long long)late_ms[0],
            (long long)late_ms[RUNS - 1]);
    cr_expect_lt(late_ms[RUNS / 2], 1000);
    sagent_close(s);
}

Test(hint, all_tasks_of_an_array_are_seen_to_end)
{
    become(user_a());
    struct sagent *s = open_client();
    char path[300];
    AUTO(free) char *script = NULL;
    snprintf(path, sizeof path, "%s/last", scratch(user_a()));
    cr_assert_gt(asprintf(&script, "#!/bin/sh\n[ $SLURM_ARRAY_TASK_ID != 3 ] || : >%s\n", path), 0);
    AUTO(free)
    char *id = submit(user_a(), script, "--array=1-3%1"); /* the last has the array's id */
    struct look over = {s, id, "COMPLETED", 3};
    cr_assert(wait_until(is_there, path, 30000), "the last task did not run");
    cr_expect(wait_until(in_state, &over, 5000), "its end was not seen");
    sagent_close(s);
}

enum { MANY = 30 };
#define MANY_TEXT "30"

static double watcher_loads(void)
{
    double n = stats_series(NULL, "worker_calls_total", "op=load,role=watch,result=OK");
    cr_assert_geq(n, 1, "it has loaded the table");
    return n;
}

static bool is_listed_for_another(void *arg)
{
    AUTO(run_free)
    struct run r = run_as(user_b(), "slurm-agent", "list", "--user", user_a());
    cr_assert_eq(r.status, 0, "%s", r.err);
    return strstr(r.out, arg) != NULL;
}

/* Who submits them does not ask, and nobody waits for them. */
Test(hint, what_is_submitted_is_not_looked_at_job_by_job_and_is_soon_there_for_all)
{
    char path[BUILD_PATH], *ids[MANY];
    int n = 0;
    if (!user_b())
        cr_skip_test("there is one user alone");
    build_path(path, "tests/bench_fair");
    double before = watcher_loads();
    AUTO(run_free) struct run r = run_as(user_a(), path, "submit", MANY_TEXT);
    cr_assert_eq(r.status, 0, "%s", r.err);
    for (char *rest = NULL, *id = strtok_r(r.out, "\n", &rest); id && n < MANY;
         id = strtok_r(NULL, "\n", &rest))
        ids[n++] = id;
    cr_assert_eq(n, MANY);
    cr_expect(wait_until(is_listed_for_another, ids[MANY - 1], 10000), "the last is not there");
    for (int i = 0; i < MANY; i++)
        cr_expect(is_listed_for_another(ids[i]), "job %s", ids[i]);
    cr_expect_lt(watcher_loads() - before, MANY / 2);
    for (int i = 0; i < MANY; i++)
        cancel_quietly(user_a(), ids[i]);
}
