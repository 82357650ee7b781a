/* SPDX-License-Identifier: GPL-3.0-or-later */
/* conn against a server of the test's own */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include "client/conn.h"
#include "common/clock.h"

CLEANUP_FN(struct conn, conn_free)

TestSuite(client_conn, .timeout = 60);

/* Answers each frame with itself, but for those that begin with a letter. */
static void *serve(void *arg)
{
    nng_socket sock = *(nng_socket *)arg;
    nng_msg *msg;
    while (nng_recvmsg(sock, &msg, 0) == 0) {
        const char *body = nng_msg_body(msg);
        char first = nng_msg_len(msg) ? *body : 0;
        if (first == 'h') { /* hang up */
            nng_pipe_close(nng_msg_get_pipe(msg));
            nng_msg_free(msg);
        } else if (first == 's') { /* silence */
            nng_msg_free(msg);
        } else {
            nng_sendmsg(sock, msg, 0);
        }
    }
    return NULL;
}

static nng_socket server;
static char url[64];

static void start(void)
{
    static pthread_t thread;
    nng_listener listener;
    struct err err = {0};
    struct conn *c = conn_new("tcp://127.0.0.1:1", -1);
    int port = 0;
    /* nng belongs to this process from here on, as conn sees it */
    conn_ready(c, clock_mono_ms() + 1000, &err);
    conn_free(c);
    cr_assert_eq(nng_rep0_open(&server), 0);
    cr_assert_eq(nng_listen(server, "tcp://127.0.0.1:0", &listener, 0), 0);
    cr_assert_eq(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    pthread_create(&thread, NULL, serve, &server);
}

static struct bytes frame(const char *s)
{
    return (struct bytes){(const uint8_t *)s, strlen(s)};
}

static enum err_code exchange(struct conn *c, const char *text, int ms, enum conn_fate *ret_fate)
{
    struct bytes answer = {0};
    struct err err = {0};
    int rc = conn_exchange(c, frame(text), clock_mono_ms() + ms, &answer, ret_fate, &err);
    cr_expect_eq(rc, err.code == ERR_NONE ? 0 : -1);
    if (rc == 0)
        cr_expect(answer.n == strlen(text) && memcmp(answer.p, text, answer.n) == 0);
    free((void *)answer.p);
    return err.code;
}

Test(client_conn, frames_and_answers)
{
    enum conn_fate fate;
    start();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    for (int i = 0; i < 100; i++)
        cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
    cr_expect(conn_is_up(c));
}

Test(client_conn, a_connection_that_is_lost_is_noticed_at_once_and_made_again)
{
    enum conn_fate fate;
    start();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    int64_t before = clock_mono_ms();
    cr_expect_eq(exchange(c, "hang up", 20000, &fate), ERR_UNREACHABLE);
    cr_expect_eq(fate, CONN_SENT);
    cr_expect_lt(clock_mono_ms() - before, 5000);
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
}

static void expect_lost(struct conn *c, const char *text)
{
    enum conn_fate fate;
    struct bytes answer = {0};
    struct err err = {0};
    cr_expect_eq(conn_exchange(c, frame("hang up"), clock_mono_ms() + 20000, &answer, &fate, &err),
                 -1);
    cr_expect_eq(err.code, ERR_UNREACHABLE);
    cr_expect_not_null(strstr(err.text, text), "%s is not in: %s", text, err.text);
}

/* So does a server that does not serve this address; one that has answered is there. */
Test(client_conn, who_hangs_up_before_a_word_is_told_from_who_was_there)
{
    enum conn_fate fate;
    start();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    expect_lost(c, "hung up before it had said anything");
    expect_lost(c, "allow_from");
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
    expect_lost(c, "was lost before the answer came");
    expect_lost(c, "hung up before it had said anything");
}

Test(client_conn, no_answer_in_time)
{
    enum conn_fate fate;
    start();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    int64_t before = clock_mono_ms();
    cr_expect_eq(exchange(c, "silence", 300, &fate), ERR_TIMEOUT);
    cr_expect_eq(fate, CONN_SENT);
    cr_expect_geq(clock_mono_ms() - before, 290);
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE, "the next one does not get its answer");
}

/* ---- a server below nng ---- */

static bool take_bytes(int fd, void *out, size_t n)
{
    return recv(fd, out, n, MSG_WAITALL) == (ssize_t)n;
}

static bool give_bytes(int fd, const void *p, size_t n)
{
    return send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* One connection of a REQ socket's: a frame of 8 bytes of length, 4 of request id and a body.  "l"
 * is answered with the announcement of 8 MiB, anything else with itself. */
static void serve_raw(int fd)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x31, 0, 0};
    static const uint8_t large[8] = {0, 0, 0, 0, 0, 0x80, 0, 4};
    uint8_t theirs[8], frame[8 + 64];
    if (!give_bytes(fd, greeting, sizeof greeting) || !take_bytes(fd, theirs, sizeof theirs))
        return;
    while (take_bytes(fd, frame, 8) && frame[7] <= 64 && take_bytes(fd, frame + 8, frame[7])) {
        bool sent = frame[12] == 'l' ? give_bytes(fd, large, sizeof large)
                                     : give_bytes(fd, frame, 8U + frame[7]);
        if (!sent)
            return;
    }
}

static void *accept_raw(void *arg)
{
    int listener = *(int *)arg, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        const struct timeval patience = {.tv_sec = 20};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        serve_raw(fd);
        close(fd);
    }
    return NULL;
}

/* Not with nng on both sides: in one process their ends wait for one another. */
static void start_raw(void)
{
    static pthread_t thread;
    static int listener;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof sa;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&sa, sizeof sa), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&sa, &n), 0);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
    cr_assert_eq(pthread_create(&thread, NULL, accept_raw, &listener), 0);
}

Test(client_conn, an_answer_that_is_too_large_is_not_taken)
{
    enum conn_fate fate;
    start_raw();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    cr_expect_neq(exchange(c, "large", 3000, &fate), ERR_NONE);
    cr_expect_eq(fate, CONN_SENT);
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
}

Test(client_conn, nobody_there)
{
    enum conn_fate fate;
    struct err tcp = {0}, ipc = {0}, host = {0};
    AUTO(conn_free) struct conn *c = conn_new("tcp://127.0.0.1:1", -1);
    AUTO(conn_free) struct conn *i = conn_new("ipc:///nonexistent/agent.sock", -1);
    AUTO(conn_free) struct conn *h = conn_new("tcp://no-such-host.invalid:6821", -1);
    cr_expect_eq(conn_ready(c, clock_mono_ms() + 5000, &tcp), -1);
    cr_expect_eq(tcp.code, ERR_UNREACHABLE);
    cr_expect_not_null(strstr(tcp.text, "tcp://127.0.0.1:1: Connection refused"), "%s", tcp.text);
    cr_expect_eq(conn_ready(i, clock_mono_ms() + 5000, &ipc), -1);
    cr_expect_not_null(strstr(ipc.text, "No such file"), "%s", ipc.text);
    cr_expect_eq(conn_ready(h, clock_mono_ms() + 20000, &host), -1);
    cr_expect_eq(host.code, ERR_UNREACHABLE);
    cr_expect_eq(exchange(c, "1", 1000, &fate), ERR_UNREACHABLE);
    cr_expect_eq(fate, CONN_NOT_SENT);
    cr_expect_not(conn_is_up(c));
}

Test(client_conn, a_server_that_says_nothing_is_given_up_in_time)
{
    /* it takes connections and leaves nng's handshake unanswered */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    struct err err = {0};
    AUTO(close) int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(fd, (struct sockaddr *)&a, size) == 0 && listen(fd, 5) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", ntohs(a.sin_port));
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    int64_t before = clock_mono_ms();
    cr_expect_eq(conn_ready(c, before + 300, &err), -1);
    cr_expect_eq(err.code, ERR_UNREACHABLE);
    cr_expect_not_null(strstr(err.text, "in time"), "%s", err.text);
    cr_expect_lt(clock_mono_ms() - before, 5000);
}

/* ---- interruption ---- */

static int stop_fd;

static void *stop_soon(void *arg)
{
    (void)arg;
    poll(NULL, 0, 200);
    eventfd_write(stop_fd, 1);
    return NULL;
}

static int64_t stop_later(void)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, stop_soon, NULL), 0);
    pthread_detach(thread);
    return clock_mono_ms();
}

static void expect_stopped_soon(int64_t began_ms)
{
    eventfd_t count;
    int64_t took = clock_mono_ms() - began_ms;
    cr_expect(took >= 190 && took < 5000, "%lld ms", (long long)took);
    cr_expect_eq(eventfd_read(stop_fd, &count), -1, "it counts once");
}

Test(client_conn, an_exchange_that_is_interrupted_leaves_the_connection_good)
{
    enum conn_fate fate;
    start();
    stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    AUTO(conn_free) struct conn *c = conn_new(url, stop_fd);
    cr_assert_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
    int64_t began_ms = stop_later();
    cr_expect_eq(exchange(c, "silence", 30000, &fate), ERR_INTERRUPTED);
    cr_expect_eq(fate, CONN_SENT);
    expect_stopped_soon(began_ms);
    cr_expect(conn_is_up(c));
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
}

Test(client_conn, an_interruption_before_the_call_ends_it_before_anything_is_sent)
{
    enum conn_fate fate;
    start();
    stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    AUTO(conn_free) struct conn *c = conn_new(url, stop_fd);
    cr_assert_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
    eventfd_write(stop_fd, 1);
    eventfd_write(stop_fd, 1);
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_INTERRUPTED);
    cr_expect_eq(fate, CONN_NOT_SENT);
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE, "two at once are one");
}

Test(client_conn, connecting_and_pausing_can_be_interrupted)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    struct err err = {0}, paused = {0}, whole = {0};
    AUTO(close) int fd = socket(AF_INET, SOCK_STREAM, 0);
    stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    cr_assert(bind(fd, (struct sockaddr *)&a, size) == 0 && listen(fd, 5) == 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", ntohs(a.sin_port));
    AUTO(conn_free) struct conn *c = conn_new(url, stop_fd);
    int64_t began_ms = stop_later();
    cr_expect_eq(conn_ready(c, began_ms + 30000, &err), -1);
    cr_expect_eq(err.code, ERR_INTERRUPTED, "%s", err.text);
    expect_stopped_soon(began_ms);
    began_ms = stop_later();
    cr_expect_eq(conn_pause(stop_fd, 30000, &paused), -1);
    cr_expect_eq(paused.code, ERR_INTERRUPTED);
    expect_stopped_soon(began_ms);
    began_ms = clock_mono_ms();
    cr_expect_eq(conn_pause(stop_fd, 100, &whole), 0);
    cr_expect_geq(clock_mono_ms() - began_ms, 100);
}

Test(client_conn, a_forked_child_is_told_and_not_aborted)
{
    enum conn_fate fate;
    int status;
    start();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    cr_assert_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
    pid_t pid = fork();
    if (pid == 0) {
        struct bytes answer;
        struct err err = {0}, other = {0};
        struct conn *mine = conn_new(url, -1);
        int bad = conn_exchange(c, frame("1"), clock_mono_ms() + 1000, &answer, &fate, &err) == 0 ||
                  err.code != ERR_INVALID ||
                  conn_ready(mine, clock_mono_ms() + 1000, &other) == 0 ||
                  other.code != ERR_INVALID;
        conn_free(c);
        conn_free(mine);
        _exit(bad);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    cr_expect_eq(exchange(c, "1", 5000, &fate), ERR_NONE, "the parent goes on");
}

Test(client_conn, signals_are_the_programs)
{
    enum conn_fate fate;
    sigset_t now;
    start();
    AUTO(conn_free) struct conn *c = conn_new(url, -1);
    cr_assert_eq(exchange(c, "1", 5000, &fate), ERR_NONE);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    cr_expect_not(sigismember(&now, SIGTERM), "the mask is as it was");
}
