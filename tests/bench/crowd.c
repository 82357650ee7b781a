/* SPDX-License-Identifier: GPL-3.0-or-later */
/* crowd.c: thousands of clients that come at once and stay
 *
 *     crowd CLIENTS ADDRESS      tcp://IPv4:PORT or ipc:///PATH; until SIGTERM
 *
 * Each connects, says HELLO, and has its WELCOME; what is turned away comes again as the library
 * does (client/session.c).  One thread and the bare protocol: as many handles of the library would
 * have more threads than a test's host can run.  Says "in N failed M after T ms, K tries" once all
 * are in.  Runs as one user in a sandbox; used by tests/e2e/e2e_fair.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/cred.h"
#include "common/msg.h"
#include "common/ops.h"
#include "common/seal.h"
#include "common/str.h"
#include "tests/bench/bench.h"

enum {
    MOST = 10000,
    FIRST_MS = 250, /* after it was turned away, doubled up to: */
    MOST_MS = 5000,
    SPREAD_MS = 200,
    GREETING = 8,
    IN_SIZE = 8192,
};

enum state { AWAY, CONNECTING, WAITING, IN, FAILED };

struct client {
    enum state state;
    int fd;
    int64_t next_ms, pause_ms; /* AWAY: when it comes again */
    size_t have;
    uint8_t *in;
};

static struct client all[MOST];
static struct pollfd pfds[MOST];
static int n_clients;
static long n_in, n_failed, n_lost, n_tries;
static bool ipc;
static struct sockaddr_storage to;
static socklen_t to_size;
static volatile sig_atomic_t stop;
static char why[600] = "none";

static void on_term(int signal)
{
    (void)signal;
    stop = 1;
}

static void parse(const char *address)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&to;
    struct sockaddr_un *un = (struct sockaddr_un *)&to;
    char host[64];
    int port;
    ipc = strncmp(address, "ipc://", 6) == 0;
    if (ipc && str_copy(un->sun_path, sizeof un->sun_path, address + 6)) {
        un->sun_family = AF_UNIX;
        to_size = sizeof *un;
    } else if (sscanf(address, "tcp://%63[0-9.]:%d", host, &port) == 2 &&
               inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        to_size = sizeof *in;
    } else {
        die(address, "is no address");
    }
}

static void come_again(struct client *c, int64_t ms)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = AWAY;
    c->next_ms = clock_mono_ms() + ms;
}

static void turned_away(struct client *c)
{
    c->pause_ms = c->pause_ms ? 2 * c->pause_ms : FIRST_MS;
    if (c->pause_ms > MOST_MS)
        c->pause_ms = MOST_MS;
    come_again(c, c->pause_ms / 2 + random() % c->pause_ms);
}

static void fail(struct client *c, const char *text)
{
    if (n_failed++ == 0)
        str_copy(why, sizeof why, text);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = FAILED;
}

static void begin(struct client *c)
{
    n_tries++;
    c->have = 0;
    c->fd = socket(ipc ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket", strerror(errno));
    if (connect(c->fd, (const struct sockaddr *)&to, to_size) == 0 || errno == EINPROGRESS)
        c->state = CONNECTING;
    else
        turned_away(c);
}

/* nng's greeting, its headers and the HELLO, in one. */
static void say_hello(struct client *c)
{
    static const uint8_t greeting[GREETING] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    struct hello hello = {.version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION};
    uint8_t secret[SEAL_KEY], out[GREETING + 13 + SEAL_HEADER + CRED_MAX] = {0}, *p = out;
    struct err err = {0};
    AUTO(free) char *cred = NULL;
    seal_keypair(hello.key, secret);
    if (cred_encode_hello(getenv("SLURM_AGENT_MUNGE_SOCKET"), &hello, &cred, &err) < 0) {
        if (err.retry_after_ms)
            turned_away(c);
        else
            fail(c, err.text);
        return;
    }
    size_t n = 4 + SEAL_HEADER + strlen(cred);
    memcpy(p, greeting, GREETING);
    p += GREETING;
    if (ipc)
        *p++ = 1;
    p[6] = (uint8_t)(n >> 8);
    p[7] = (uint8_t)n;
    p[8] = 0x80; /* the request's number */
    p[11] = 1;
    seal_put_header(p + 12, &(struct seal_header){.kind = SEAL_HELLO});
    memcpy(p + 12 + SEAL_HEADER, cred, strlen(cred));
    size_t size = (size_t)(p - out) + 8 + n;
    if (send(c->fd, out, size, MSG_NOSIGNAL) == (ssize_t)size)
        c->state = WAITING;
    else
        turned_away(c);
}

static void judge(struct client *c, struct bytes frame)
{
    struct seal_header h;
    struct bytes payload;
    struct err err = {0};
    if (seal_get_header(frame, &h, &payload, &err) == 0 && h.kind == SEAL_WELCOME) {
        c->state = IN;
        n_in++;
        return;
    }
    err = (struct err){0};
    if (h.kind == SEAL_REFUSED)
        msg_unpack_error(payload, &err);
    if (err.code == ERR_BUSY || (err.code == ERR_MUNGE && err.retry_after_ms))
        come_again(c, err.retry_after_ms + random() % (err.retry_after_ms + SPREAD_MS));
    else
        fail(c, err.text);
}

static void hear(struct client *c)
{
    size_t head = GREETING + ipc + 8u;
    if (!c->in && !(c->in = malloc(IN_SIZE)))
        die("memory", "there is none");
    ssize_t n = read(c->fd, c->in + c->have, IN_SIZE - c->have);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 && c->state == IN) {
        n_lost++;
        n_in--;
    }
    if (n <= 0) {
        turned_away(c);
        return;
    }
    c->have += (size_t)n;
    if (c->have < head)
        return;
    size_t size = (size_t)c->in[head - 2] << 8 | c->in[head - 1];
    if (c->have == IN_SIZE || size < 4)
        fail(c, "an answer of unlikely length");
    else if (c->have >= head + size)
        judge(c, (struct bytes){c->in + head + 4, size - 4});
}

static void turn(void)
{
    int64_t now = clock_mono_ms();
    for (int i = 0; i < n_clients; i++) {
        struct client *c = &all[i];
        if (c->state == AWAY && c->next_ms <= now)
            begin(c);
        pfds[i] = (struct pollfd){.fd = c->fd, .events = c->state == CONNECTING ? POLLOUT : POLLIN};
    }
    poll(pfds, (nfds_t)n_clients, 20);
    for (int i = 0; i < n_clients; i++) {
        struct client *c = &all[i];
        if (c->fd < 0 || !pfds[i].revents)
            continue;
        if (c->state != CONNECTING)
            hear(c);
        else if (pfds[i].revents & (POLLERR | POLLHUP))
            turned_away(c);
        else
            say_hello(c);
    }
}

int main(int argc, char **argv)
{
    int64_t n, begun = clock_mono_ms();
    struct rlimit limit;
    struct err err = {0};
    if (argc != 3 || !str_to_i64(argv[1], 1, MOST, &n)) {
        fprintf(stderr, "usage: crowd CLIENTS ADDRESS\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGTERM, on_term);
    parse(argv[2]);
    if (seal_setup(&err) < 0)
        die("seal", err.text);
    srandom((unsigned)getpid());
    n_clients = (int)n;
    for (int i = 0; i < n_clients; i++)
        all[i].fd = -1;
    bool told = false;
    while (!stop) {
        turn();
        if (told || n_in + n_failed < n_clients)
            continue;
        told = true;
        printf("in %ld failed %ld after %lld ms, %ld tries; the first failure: %s\n", n_in,
               n_failed, (long long)(clock_mono_ms() - begun), n_tries, why);
        fflush(stdout);
    }
    printf("%ld were lost\n", n_lost);
    return 0;
}
