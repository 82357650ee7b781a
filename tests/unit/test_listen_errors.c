/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nng makes of clients that hang up before it has greeted them: listen_errors.c */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "common/clock.h"
#include "tests/kit/scratch.h"

enum { HANG_UPS = 500, PATIENCE_MS = 5000 };

TestSuite(listen_errors, .timeout = 60);

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

Test(listen_errors, local_clients_that_hang_up_at_once_end_nothing)
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

Test(listen_errors, remote_clients_that_hang_up_at_once_end_nothing)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    nng_socket server;
    nng_listener listener;
    char url[64];
    int port = 0;
    cr_assert_eq(nng_rep0_open(&server), 0);
    cr_assert_eq(nng_listen(server, "tcp://127.0.0.1:0", &listener, 0), 0);
    cr_assert_eq(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port), 0);
    to.sin_port = htons((uint16_t)port);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    for (int i = 0; i < HANG_UPS; i++)
        hang_up((const struct sockaddr *)&to, sizeof to);
    expect_service(server, url);
    nng_close(server);
}
