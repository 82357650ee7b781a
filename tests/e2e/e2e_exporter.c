/* SPDX-License-Identifier: GPL-3.0-or-later */
/* slurm-agent-exporter, as a user (daemon) whom stats_users names, before a real slurm-agentd */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "tests/kit/jobs.h"
#include "tests/kit/prom.h"

TestSuite(exporter, .timeout = 120);

static struct running *exporter;
static int port;

static struct run http_with(const char *path, const char *option, const char *value)
{
    char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
    return run_as(NULL, "curl", "-sS", "-i", "--max-time", "30", url, option, value);
}

static struct run http(const char *path)
{
    return http_with(path, NULL, NULL);
}

static void start(const char *user, const char *timeout)
{
    char listen[40];
    port = atoi(getenv("SLURM_AGENT_BASE")) + 63; /* the last of the sandbox's */
    snprintf(listen, sizeof listen, "--listen=127.0.0.1:%d", port);
    exporter = run_begin(user, "slurm-agent-exporter", "--conf", getenv("SLURM_AGENT_CONF"),
                         "--server", getenv("SLURM_AGENT_IPC"), listen, timeout);
    cr_assert(run_says(exporter, "serves http://127.0.0.1"));
}

static void stop(void)
{
    run_signal(exporter, 15);
    struct run r = run_end(exporter);
    cr_expect_eq(r.status, 0, "%d %s", r.status, r.err);
    run_free(&r);
}

static const char *body_of(const struct run *r)
{
    const char *at = strstr(r->out, "\r\n\r\n");
    cr_assert_not_null(at, "%s%s", r->out, r->err);
    return at + 4;
}

static double value(const char *series)
{
    AUTO(run_free) struct run r = http("/metrics");
    double v = -1;
    prom_value(body_of(&r), series, &v);
    return v;
}

static bool is_up(void *arg)
{
    return value("slurm_agent_up") == *(double *)arg;
}

static double up = 1, down = 0;

Test(exporter, metrics_are_whole)
{
    char why[300];
    start("daemon", NULL);
    AUTO(free) char *id = submit(user_a(), "#!/bin/sh\ntrue\n", "--hold");
    cancel_quietly(user_a(), id);
    cr_expect(wait_until(is_up, &up, 20000));
    AUTO(run_free) struct run r = http("/metrics");
    cr_expect_contains(r.out, "HTTP/1.1 200 OK\r\n");
    cr_expect_contains(r.out, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    const char *text = body_of(&r);
    cr_expect(prom_good(text, why), "%s", why);
    double v;
    cr_expect(prom_value(text, "slurm_agent_up", &v) && v == 1);
    cr_expect(prom_value(text, "slurm_agent_submits_total{state=\"SUBMITTED\"}", &v) && v >= 1);
    cr_expect(
        prom_value(text, "slurm_agent_request_duration_seconds_count{op=\"job.submit\"}", &v) &&
        v >= 1);
    cr_expect(prom_value(text, "slurm_agent_slurmctld_up", &v) && v == 1);
    cr_expect(prom_value(text, "slurm_agent_table_loaded_timestamp_seconds", &v) &&
              v > (double)clock_now() - 60);
    cr_expect_null(strstr(text, "alice"), "no user's name is told");
    if (run_status(run_as(NULL, "sh", "-c", "command -v promtool")) == 0) {
        AUTO(run_free)
        struct run tool =
            run_argv(NULL, (const char *const[]){"promtool", "check", "metrics", NULL}, text);
        cr_expect_eq(tool.status, 0, "%s%s", tool.out, tool.err);
        cr_expect_str_eq(tool.err, "");
    }
    AUTO(run_free) struct run ready = http("/readyz");
    cr_expect_contains(ready.out, "HTTP/1.1 200 OK");
    AUTO(run_free) struct run healthy = http("/healthz");
    cr_expect_contains(healthy.out, "HTTP/1.1 200 OK");
    stop();
}

Test(exporter, a_server_that_is_down_is_told_so_and_found_again)
{
    start("daemon", NULL);
    cr_expect(wait_until(is_up, &up, 20000));
    sandbox("stop", "agentd");
    cr_expect(wait_until(is_up, &down, 20000));
    AUTO(run_free) struct run ready = http("/readyz");
    cr_expect_contains(ready.out, "HTTP/1.1 503 ");
    cr_expect_contains(ready.out, "is it running on this host?");
    AUTO(run_free) struct run r = http("/metrics");
    char why[300];
    cr_expect_contains(r.out, "HTTP/1.1 200 OK");
    cr_expect(prom_good(body_of(&r), why), "%s", why);
    cr_expect_null(strstr(r.out, "slurm_agent_jobs"));
    AUTO(run_free) struct run healthy = http("/healthz");
    cr_expect_contains(healthy.out, "HTTP/1.1 200 OK");
    sandbox("start", "agentd");
    cr_expect(wait_until(is_up, &up, 20000));
    stop();
}

Test(exporter, a_server_that_hangs_is_down_in_time)
{
    start("daemon", "--timeout=1");
    cr_expect(wait_until(is_up, &up, 20000));
    signal_agentd_child("STOP", "agent-broker");
    cr_expect(wait_until(is_up, &down, 20000));
    int64_t begin = clock_mono_ms();
    AUTO(run_free) struct run r = http("/readyz");
    int64_t took = clock_mono_ms() - begin;
    signal_agentd_child("CONT", "agent-broker");
    cr_expect_contains(r.out, "HTTP/1.1 503 ");
    cr_expect_lt(took, 5000, "%lld ms", (long long)took);
    cr_expect(wait_until(is_up, &up, 20000));
    stop();
}

/* munged hangs: the library waits for it longer than Prometheus would. */
Test(exporter, a_munged_that_hangs_holds_nobody_up)
{
    sandbox("pause", "munged");
    start("daemon", "--timeout=1");
    int64_t begin = clock_mono_ms();
    AUTO(run_free) struct run r = http("/metrics");
    int64_t took = clock_mono_ms() - begin;
    AUTO(run_free) struct run healthy = http("/healthz");
    sandbox("resume", "munged");
    cr_expect_lt(took, 6000, "%lld ms", (long long)took);
    cr_expect_contains(r.out, "slurm_agent_up 0");
    cr_expect_contains(healthy.out, "HTTP/1.1 200 OK");
    cr_expect(wait_until(is_up, &up, 60000));
    stop();
}

Test(exporter, who_may_not_read_is_told_why)
{
    start(user_b(), NULL);
    AUTO(run_free) struct run r = http("/readyz");
    cr_expect_contains(r.out, "HTTP/1.1 503 ");
    cr_expect_contains(r.out, "user bob is not in stats_users or admins");
    cr_expect_eq(value("slurm_agent_up"), 0);
    stop();
}

/* Raw bytes, and what comes back until the end; free() it. */
static char *talk(const char *bytes, size_t n)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    if (!bytes)
        return (char *)(intptr_t)fd;
    char *text = calloc(1, 65536);
    size_t got = 0;
    ssize_t m = send(fd, bytes, n, MSG_NOSIGNAL);
    (void)m;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (got < 65535 && poll(&p, 1, 20000) == 1 && (m = recv(fd, text + got, 65535 - got, 0)) > 0)
        got += (size_t)m;
    close(fd);
    return text;
}

static int connect_only(void)
{
    return (int)(intptr_t)talk(NULL, 0);
}

Test(exporter, what_is_no_good_request_is_refused)
{
    start("daemon", NULL);
    static const struct {
        const char *option, *value, *path, *status;
    } bad[] = {
        {"-d", "x=1", "/metrics", " 405 "},     {"-X", "DELETE", "/metrics", " 405 "},
        {"-X", "PUT", "/readyz", " 405 "},      {"-X", "OPTIONS", "/", " 405 "},
        {NULL, NULL, "/metrics/../x", " 404 "}, {NULL, NULL, "/etc/passwd", " 404 "},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(run_free) struct run r = http_with(bad[i].path, bad[i].option, bad[i].value);
        cr_expect_contains(r.out, bad[i].status);
    }
    AUTO(free) char *large = malloc(1 << 20);
    memset(large, 'a', 1 << 20);
    memcpy(large, "GET /", 5);
    AUTO(free) char *line = talk(large, 1 << 20);
    cr_expect_null(strstr(line, " 200 "), "%s", line);
    memcpy(large, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ", 36);
    AUTO(free) char *header = talk(large, 1 << 20);
    cr_expect_null(strstr(header, " 200 "), "%s", header);
    AUTO(free) char *garbage = talk("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15);
    cr_expect_null(strstr(garbage, " 200 "), "%s", garbage);
    AUTO(free)
    char *body =
        talk("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nx", 66);
    cr_expect_null(strstr(body, " 200 "), "%s", body);
    cr_expect(wait_until(is_up, &up, 20000), "and it goes on");
    AUTO(run_free) struct run head = http_with("/metrics", "-I", NULL);
    cr_expect_contains(head.out, " 200 ");
    cr_expect_str_eq(body_of(&head), "");
    stop();
}

static bool has_ended(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;
    return poll(&p, 1, 0) == 1 && recv(fd, &c, 1, MSG_DONTWAIT) <= 0;
}

/* Who connects and says nothing, or a byte a second, is ended; meanwhile there is room for few. */
Test(exporter, slow_clients_are_ended)
{
    enum { N = 40 };
    int fds[N], left = 0;
    start("daemon", NULL);
    for (int i = 0; i < N; i++)
        fds[i] = connect_only();
    int64_t begin = clock_mono_ms();
    bool dribbles = true;
    for (size_t i = 0; clock_mono_ms() - begin < 60000; i++) {
        static const char request[] = "GET /metrics HTTP/1.1\r\nHost: a-name-that-takes-its-time";
        if (dribbles && send(fds[0], request + i % (sizeof request - 1), 1, MSG_NOSIGNAL) != 1)
            dribbles = false;
        for (left = 0; left < N && has_ended(fds[left]); left++)
            ;
        if (left == N)
            break;
        poll(NULL, 0, 1000); /* the pace of the slow one */
    }
    cr_expect_eq(left, N, "connection %d is there after %lld ms", left,
                 (long long)(clock_mono_ms() - begin));
    for (int i = 0; i < N; i++)
        close(fds[i]);
    cr_expect(wait_until(is_up, &up, 20000));
    stop();
}

Test(exporter, a_bad_command_line_says_what_would_be_right)
{
    static const char *const bad[][2] = {
        {"--listen=localhost", "give ADDRESS:PORT"}, {"--listen=127.0.0.1:0", "give ADDRESS:PORT"},
        {"--listen=::1:9821", "give ADDRESS:PORT"},  {"--listen=192.0.2.1:9821", "cannot listen"},
        {"--timeout=none", "give 1 to 60 seconds"},  {"extra", "is no option"},
        {"--server=http://x", "http://x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(run_free) struct run r = run_as("daemon", "slurm-agent-exporter", bad[i][0]);
        cr_expect_eq(r.status, 2, "%s: %d %s", bad[i][0], r.status, r.err);
        cr_expect_contains(r.err, bad[i][1]);
    }
}
