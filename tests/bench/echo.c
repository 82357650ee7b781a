/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/echo.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/measure.h"

enum { CONTEXTS = 64, REPLY = 1000 };

/* Receives and answers in turn, on nng's own threads: nothing is handed to another. */
struct turn {
    nng_ctx ctx;
    nng_aio *aio;
    bool answering;
};

static void go_on(void *arg)
{
    struct turn *t = arg;
    if (nng_aio_result(t->aio) == 0 && !t->answering) {
        nng_msg *msg = nng_aio_get_msg(t->aio);
        nng_msg_clear(msg);
        static const char reply[REPLY] = "";
        if (nng_msg_append(msg, reply, sizeof reply) != 0)
            abort();
        nng_aio_set_msg(t->aio, msg);
        t->answering = true;
        nng_ctx_send(t->ctx, t->aio);
        return;
    }
    if (t->answering && nng_aio_result(t->aio) != 0)
        nng_msg_free(nng_aio_get_msg(t->aio));
    t->answering = false;
    nng_ctx_recv(t->ctx, t->aio);
}

static _Noreturn void serve(const char *address, int ready)
{
    static struct turn turns[CONTEXTS];
    nng_socket s;
    if (nng_rep0_open(&s) != 0)
        die("echo", "no socket");
    for (int i = 0; i < CONTEXTS; i++) {
        if (nng_ctx_open(&turns[i].ctx, s) != 0 ||
            nng_aio_alloc(&turns[i].aio, go_on, &turns[i]) != 0)
            die("echo", "no memory");
        nng_ctx_recv(turns[i].ctx, turns[i].aio);
    }
    if (nng_listen(s, address, NULL, 0) != 0)
        die(address, "cannot be listened on");
    if (write(ready, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

pid_t echo_start(const char *address)
{
    int fds[2];
    char c;
    if (pipe(fds) < 0)
        die("echo", "no pipe");
    pid_t pid = fork_child();
    if (pid == 0)
        serve(address, fds[1]);
    close(fds[1]);
    if (read(fds[0], &c, 1) != 1)
        die("echo", "does not start");
    close(fds[0]);
    return pid;
}

void echo_stop(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
