/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nng makes of clients that hang up early, or are shut out, with what it calls of ours */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "agentd/nng_mends.h"
#include "common/clock.h"
#include "tests/kit/scratch.h"

enum { HANG_UPS = 500, PATIENCE_MS = 10000, ANSWER = 4 << 20, LEAVERS = 4, ROUNDS = 100 };

TestSuite(nng_mends, .timeout = 60);

/* Gone at once, and for a reason that sendmsg() calls EPIPE: a local one has hung up; one by tcp
 * has said that nothing comes any more, and then resets the connection. */
static void hang_up(const struct sockaddr *to, socklen_t size)
{
    const struct linger reset = {.l_onoff = 1};
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, to, size), 0);
    if (to->sa_family == AF_INET) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        shutdown(fd, SHUT_WR);
    }
    close(fd);
}

static void expect_service(nng_socket server, const char *url)
{
    nng_socket client;
    char answer[8];
    size_t n = sizeof answer;
    cr_assert_eq(nng_req0_open(&client), 0);
    nng_socket_set_ms(client, NNG_OPT_SENDTIMEO, PATIENCE_MS);
    nng_socket_set_ms(client, NNG_OPT_RECVTIMEO, PATIENCE_MS);
    nng_socket_set_ms(server, NNG_OPT_RECVTIMEO, PATIENCE_MS);
    /* The queue of those who have hung up may be full still. */
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (nng_dial(client, url, NULL, 0) != 0)
        cr_assert_lt(clock_mono_ms(), end, "it cannot be reached any more");
    cr_assert_eq(nng_send(client, (void *)"hello", 5, 0), 0);
    cr_assert_eq(nng_recv(server, answer, &n, 0), 0, "nobody is taken in any more");
    nng_close(client);
}

static void listen_tcp(nng_socket *ret_server, struct sockaddr_in *ret_to)
{
    nng_listener listener;
    int port = 0;
    cr_assert_eq(nng_rep0_open(ret_server), 0);
    cr_assert_eq(nng_listen(*ret_server, "tcp://127.0.0.1:0", &listener, 0), 0);
    cr_assert_eq(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    *ret_to = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

Test(nng_mends, local_clients_that_hang_up_at_once_end_nothing)
{
    char dir[SCRATCH_PATH], url[100];
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    nng_socket server;
    scratch_make(dir);
    snprintf(to.sun_path, sizeof to.sun_path, "%s/sock", dir);
    snprintf(url, sizeof url, "ipc://%s/sock", dir);
    cr_assert_eq(nng_rep0_open(&server), 0);
    cr_assert_eq(nng_listen(server, url, NULL, 0), 0);
    for (int i = 0; i < HANG_UPS; i++)
        hang_up((const struct sockaddr *)&to, sizeof to);
    expect_service(server, url);
    nng_close(server);
    scratch_remove(dir);
}

Test(nng_mends, remote_clients_that_hang_up_at_once_end_nothing)
{
    struct sockaddr_in to;
    nng_socket server;
    char url[64];
    listen_tcp(&server, &to);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", ntohs(to.sin_port));
    for (int i = 0; i < HANG_UPS; i++)
        hang_up((const struct sockaddr *)&to, sizeof to);
    expect_service(server, url);
    nng_close(server);
}

/* ---- in the middle of an answer ---- */

static _Atomic int here;

static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
    (void)pipe;
    (void)arg;
    here += ev == NNG_PIPE_EV_ADD_PRE ? 1 : -1;
}

static size_t answer_size = ANSWER;

static void *serve(void *arg)
{
    nng_socket server = *(nng_socket *)arg;
    nng_msg *msg;
    while (nng_recvmsg(server, &msg, 0) == 0) {
        nng_msg_realloc(msg, answer_size);
        memset(nng_msg_body(msg), 'x', answer_size);
        if (nng_sendmsg(server, msg, 0) != 0)
            nng_msg_free(msg);
    }
    return NULL;
}

/* Greeting and request, and the head of the answer. */
static int ask(const struct sockaddr_in *to)
{
    static const uint8_t words[8 + 12] = {0, 'S', 'P',      0,           0,       0x30,
                                          0, 0,   [15] = 4, [16] = 0x80, [19] = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)to, sizeof *to), 0);
    cr_assert_eq(send(fd, words, sizeof words, MSG_NOSIGNAL), (ssize_t)sizeof words);
    return fd;
}

static void *leave(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        char some[70000];
        int fd = ask(arg);
        cr_expect_eq(recv(fd, some, sizeof some, MSG_WAITALL), (ssize_t)sizeof some);
        close(fd);
    }
    return NULL;
}

/* Whoever reads slowly has all of it, and in order. */
static void expect_answer(const struct sockaddr_in *to)
{
    enum { HEADS = 8 + 8 + 4 };
    static char got[HEADS + ANSWER + 1];
    int fd = ask(to);
    size_t n = 0;
    while (n < HEADS + ANSWER) {
        ssize_t r = read(fd, got + n, sizeof got - n);
        cr_assert_gt(r, 0, "after %zu bytes", n);
        n += (size_t)r;
        usleep(100);
    }
    cr_expect_eq(n, (size_t)HEADS + ANSWER);
    for (size_t i = HEADS; i < n; i++)
        cr_assert_eq(got[i], 'x', "byte %zu", i);
    close(fd);
}

/* Clients of one kind at a server of one kind; all of them are gone in the end. */
static void expect_none_stays(void *(*server_fn)(void *), void *(*client_fn)(void *), bool answers)
{
    struct sockaddr_in to;
    nng_socket server;
    pthread_t server_thread, threads[LEAVERS];
    listen_tcp(&server, &to);
    cr_assert_eq(nng_pipe_notify(server, NNG_PIPE_EV_ADD_PRE, on_pipe, NULL), 0);
    cr_assert_eq(nng_pipe_notify(server, NNG_PIPE_EV_REM_POST, on_pipe, NULL), 0);
    pthread_create(&server_thread, NULL, server_fn, &server);
    for (int i = 0; i < LEAVERS; i++)
        pthread_create(&threads[i], NULL, client_fn, &to);
    for (int i = 0; i < LEAVERS; i++)
        pthread_join(threads[i], NULL);
    for (int64_t end = clock_mono_ms() + PATIENCE_MS; here > 0 && clock_mono_ms() < end;)
        usleep(10000);
    cr_assert_eq(here, 0, "%d connections stay", here);
    if (answers)
        expect_answer(&to);
    nng_close(server);
    pthread_join(server_thread, NULL);
}

Test(nng_mends, clients_that_leave_in_the_middle_of_an_answer_are_let_go_of)
{
    expect_none_stays(serve, leave, true);
}

/* ---- shut out ---- */

/* Whoever has sent some may send no more; this is not on nng's own threads. */
static void *shut_out(void *arg)
{
    enum { ENOUGH = 5 };
    nng_socket server = *(nng_socket *)arg;
    nng_msg *msg;
    for (int n = 1; nng_recvmsg(server, &msg, 0) == 0; n++) {
        nng_pipe pipe = nng_msg_get_pipe(msg);
        nng_msg_free(msg);
        if (n % ENOUGH == 0 && !nng_hang_up((uint32_t)nng_pipe_id(pipe)))
            nng_pipe_close(pipe);
    }
    return NULL;
}

static _Atomic int were_shut_out;

/* Sends until it is shut out, or for long enough. */
static void *flood(void *arg)
{
    enum { FLOODS = 40, FRAMES = 20000 };
    static const uint8_t frame[8 + 5] = {[7] = 5, [8] = 0x80, [11] = 1};
    for (int i = 0; i < FLOODS; i++) {
        int fd = ask(arg), n = 0;
        while (n < FRAMES && send(fd, frame, sizeof frame, MSG_NOSIGNAL) == sizeof frame)
            n++;
        were_shut_out += n < FRAMES;
        close(fd);
    }
    return NULL;
}

Test(nng_mends, clients_that_are_shut_out_while_they_send_are_let_go_of)
{
    expect_none_stays(shut_out, flood, false);
    cr_expect_gt(were_shut_out, 0);
}

/* ---- while they ask ---- */

/* Asks for much, and is gone before there is an answer. */
static void *ask_and_go(void *arg)
{
    enum { TIMES = 300, REQUESTS = 12 };
    static const uint8_t request[12] = {[7] = 4, [8] = 0x80, [11] = 2};
    const struct linger reset = {.l_onoff = 1};
    for (int i = 0; i < TIMES; i++) {
        uint8_t all[REQUESTS * sizeof request], greeting[8];
        int fd = ask(arg);
        for (size_t k = 0; k < REQUESTS; k++)
            memcpy(all + k * sizeof request, request, sizeof request);
        cr_expect_eq(recv(fd, greeting, sizeof greeting, MSG_WAITALL), (ssize_t)sizeof greeting);
        cr_expect_eq(send(fd, all, sizeof all, MSG_NOSIGNAL), (ssize_t)sizeof all);
        if (i % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    return NULL;
}

Test(nng_mends, clients_that_leave_while_they_ask_are_let_go_of)
{
    answer_size = 100;
    expect_none_stays(serve, ask_and_go, false);
}
