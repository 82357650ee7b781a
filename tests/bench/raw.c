/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/cred.h"
#include "common/fdio.h"
#include "common/str.h"
#include "tests/bench/bench.h"

enum {
    PATIENCE_S = 30,
    MAX_AGAIN = 200, /* BUSY in a row */
    SP_REQ = 0x30,
    MAX_BODY = 4096,
};

static void put_u32(uint8_t *out, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint64_t get_u64(const uint8_t *in)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

/* ---- a connection ---- */

static int dial_tcp(const char *host_port)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[64];
    int port, one = 1;
    if (sscanf(host_port, "%63[0-9.]:%d", host, &port) != 2 ||
        inet_pton(AF_INET, host, &to.sin_addr) != 1)
        die(host_port, "is no IPv4 address with a port");
    to.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        die(host_port, strerror(errno));
    return fd;
}

static int dial_unix(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!str_copy(to.sun_path, sizeof to.sun_path, path) || fd < 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die(path, strerror(errno));
    return fd;
}

static void dial(struct raw *r, const char *address)
{
    static const uint8_t hi[8] = {0, 'S', 'P', 0, 0, SP_REQ, 0, 0};
    uint8_t theirs[8];
    r->ipc = strncmp(address, "ipc://", 6) == 0;
    r->fd = r->ipc ? dial_unix(address + 6) : dial_tcp(address + 6);
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fdio_send_full(r->fd, hi, sizeof hi) < 0 ||
        fdio_read_full(r->fd, theirs, sizeof theirs) != 1 || memcmp(theirs, hi, 4) != 0)
        die(address, "is no nng socket");
}

/* A frame behind nng's headers: ipc a 1; the length; the request's number. */
static void send_frame(struct raw *r, struct bytes frame)
{
    uint8_t head[13] = {r->ipc};
    uint8_t *length = head + r->ipc;
    put_u32(length + 4, (uint32_t)(frame.n + 4));
    put_u32(length + 8, ++r->request | 0x80000000);
    struct iovec parts[] = {{head, (size_t)(length + 12 - head)}, {(void *)frame.p, frame.n}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(r->fd, &msg, MSG_NOSIGNAL) != (ssize_t)(parts[0].iov_len + frame.n))
        die("agent", "the connection does not take a request");
}

/* Reads what is there; the frame once it is whole, until the next read. */
static struct bytes read_frame(struct raw *r)
{
    size_t head = r->ipc + 8u;
    ssize_t n = read(r->fd, r->in + r->have, sizeof r->in - r->have);
    if (n < 0 && errno == EINTR)
        return (struct bytes){NULL, 0};
    if (n <= 0)
        die("agent", n == 0 ? "the server has hung up" : strerror(errno));
    r->have += (size_t)n;
    if (r->have < head)
        return (struct bytes){NULL, 0};
    uint64_t length = get_u64(r->in + r->ipc);
    if (length < 4 || length > sizeof r->in - head)
        die("agent", "a reply of unlikely length");
    if (r->have < head + length)
        return (struct bytes){NULL, 0};
    r->have = 0; /* there is one reply for one request */
    return (struct bytes){r->in + head + 4, (size_t)length - 4};
}

static struct bytes wait_frame(struct raw *r)
{
    struct bytes frame;
    while (!(frame = read_frame(r)).p)
        ;
    return frame;
}

/* ---- a session ---- */

/* The error of a REFUSED frame, else what it is instead. */
static struct err refusal(struct bytes frame)
{
    struct err err = {0};
    struct seal_header h;
    struct bytes payload;
    if (seal_get_header(frame, &h, &payload, &err) == 0 && h.kind == SEAL_REFUSED)
        msg_unpack_error(payload, &err);
    else
        err_set(&err, ERR_PROTOCOL, "a frame of another kind");
    return err;
}

static bool hello_once(struct raw *r)
{
    const char *munge = getenv("SLURM_AGENT_MUNGE_SOCKET");
    struct hello hello = {.version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION};
    uint8_t secret[SEAL_KEY], hh[SEAL_HASH], wh[SEAL_HASH], frame[SEAL_HEADER + CRED_MAX];
    AUTO(free) char *text = NULL;
    struct err err = {0};
    struct seal_header h = {.kind = SEAL_HELLO};
    struct bytes cred;
    struct welcome w;
    struct cred_origin from;
    seal_keypair(hello.key, secret);
    if (cred_encode_hello(munge, &hello, &text, &err) < 0)
        die("HELLO", err.text);
    size_t n = strlen(text);
    seal_put_header(frame, &h);
    memcpy(frame + SEAL_HEADER, text, n);
    send_frame(r, (struct bytes){frame, SEAL_HEADER + n});
    struct bytes answer = wait_frame(r);
    if (seal_get_header(answer, &h, &cred, &err) < 0 || h.kind != SEAL_WELCOME) {
        err = refusal(answer);
        if (err.code != ERR_BUSY)
            die("HELLO", err.text);
        return false;
    }
    seal_hash(text, n, hh);
    seal_hash(cred.p, cred.n, wh);
    if (cred_decode_welcome(munge, cred, &w, &from, &err) < 0 ||
        seal_init(&r->seal, SEAL_CLIENT, w.session, hello.key, secret, w.key, hh, wh, &err) < 0)
        die("WELCOME", err.text);
    return true;
}

void raw_open(struct raw *r, const char *address)
{
    struct err err = {0};
    if (seal_setup(&err) < 0)
        die("libsodium", err.text);
    memset(r, 0, offsetof(struct raw, in));
    dial(r, address);
    for (int i = 0; !hello_once(r); i++) {
        if (i == MAX_AGAIN)
            die("HELLO", "the server stays busy");
        poll(NULL, 0, 50);
    }
}

void raw_open_bare(struct raw *r, const char *address)
{
    memset(r, 0, offsetof(struct raw, in));
    dial(r, address);
    r->bare = true;
}

void raw_close(struct raw *r)
{
    static const uint8_t empty[] = {0x80};
    if (r->bare) {
        close(r->fd);
        return;
    }
    raw_send(r, OP_session_end, (struct bytes){empty, 1});
    while (!raw_receive(r))
        ;
    seal_done(&r->seal);
    close(r->fd);
}

/* ---- requests ---- */

void raw_send(struct raw *r, enum op_number op, struct bytes body)
{
    uint8_t plain[4 + MAX_BODY] = {(uint8_t)(op >> 8), (uint8_t)op};
    uint8_t frame[sizeof plain + SEAL_OVERHEAD];
    struct err err = {0};
    if (body.n > MAX_BODY)
        die("request", "too large");
    if (r->bare) {
        send_frame(r, body);
        return;
    }
    memcpy(plain + 4, body.p, body.n);
    if (seal_request(&r->seal, (struct bytes){plain, 4 + body.n}, frame, &r->counter, &err) < 0)
        die("request", err.text);
    send_frame(r, (struct bytes){frame, 4 + body.n + SEAL_OVERHEAD});
}

bool raw_receive(struct raw *r)
{
    struct err err = {0};
    struct bytes frame = read_frame(r);
    if (!frame.p)
        return false;
    if (r->bare) {
        r->reply = frame;
        return true;
    }
    if (frame.n < SEAL_OVERHEAD + 4 ||
        seal_open_reply(&r->seal, r->counter, frame, r->plain, &err) < 0) {
        err = refusal(frame);
        die("agent", err.text);
    }
    r->reply = (struct bytes){r->plain, frame.n - SEAL_OVERHEAD};
    return true;
}

struct bytes raw_call(struct raw *r, enum op_number op, struct bytes body)
{
    for (int i = 0; i < MAX_AGAIN; i++) {
        struct err err = {0};
        raw_send(r, op, body);
        while (!raw_receive(r))
            ;
        if (r->plain[0] == 0 && r->plain[1] == 0)
            return (struct bytes){r->plain + 4, r->reply.n - 4};
        msg_unpack_error((struct bytes){r->plain + 4, r->reply.n - 4}, &err);
        if (err.code != ERR_BUSY)
            die("agent", err.text);
        poll(NULL, 0, err.retry_after_ms > 0 ? err.retry_after_ms : 20);
    }
    die("agent", "the server stays busy");
}
