/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/store/proxy.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/thread.h"

enum { HEAD_MAX = 32 * 1024, BODY_MAX = 64 * 1024 * 1024, IO_S = 60 };

struct proxy {
    int listener, port, backend;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum fault fault;
    char what[64];
    int times, done, connections;
    bool stopping;
};

struct conn {
    struct proxy *p;
    int client;
    enum fault fault;
    char *head; /* of the request; head_size bytes, and a NUL */
    size_t head_size;
    char *body;
    size_t body_size, body_whole;
    char *answer;
    size_t answer_size, answer_head;
};

static int connect_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval t = {.tv_sec = IO_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A reset instead of an orderly end. */
static void reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

/* Until the client gives up, or the test ends. */
static void stall(struct conn *c)
{
    for (int i = 0; i < IO_S * 20; i++) {
        struct pollfd p = {.fd = c->client, .events = POLLIN};
        char byte;
        if (poll(&p, 1, 50) > 0 && recv(c->client, &byte, 1, 0) <= 0)
            return;
        pthread_mutex_lock(&c->p->lock);
        bool stopping = c->p->stopping;
        pthread_mutex_unlock(&c->p->lock);
        if (stopping)
            return;
    }
}

/* The value of a header, or NULL. */
static const char *header(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strstr(head, "\r\n"); p && p[2] != '\r'; p = strstr(p + 2, "\r\n"))
        if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':')
            return p + 2 + n + 1 + strspn(p + 2 + n + 1, " ");
    return NULL;
}

static bool read_request(struct conn *c)
{
    c->head = calloc(1, HEAD_MAX + 1);
    while (c->head && !strstr(c->head, "\r\n\r\n")) {
        ssize_t n = recv(c->client, c->head + c->head_size, HEAD_MAX - c->head_size, 0);
        if (n <= 0)
            return false;
        c->head_size += (size_t)n;
    }
    if (!c->head)
        return false;
    char *end = strstr(c->head, "\r\n\r\n") + 4;
    size_t more = c->head_size - (size_t)(end - c->head);
    const char *length = header(c->head, "Content-Length");
    c->body_whole = length ? strtoul(length, NULL, 10) : 0;
    if (c->body_whole > BODY_MAX || more > c->body_whole)
        return false;
    c->body = calloc(1, c->body_whole + 1);
    if (!c->body)
        return false;
    memcpy(c->body, end, more);
    *end = '\0';
    c->head_size = (size_t)(end - c->head);
    c->body_size = more;
    return true;
}

static void choose_fault(struct conn *c)
{
    struct proxy *p = c->p;
    pthread_mutex_lock(&p->lock);
    if (p->fault != FAULT_NONE && p->times != 0 && strstr(c->head, p->what)) {
        c->fault = p->fault;
        p->times -= p->times > 0;
        p->done++;
    }
    pthread_mutex_unlock(&p->lock);
}

static bool read_body(struct conn *c, size_t upto)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (header(c->head, "Expect") && fdio_send_full(c->client, go_on, strlen(go_on)) < 0)
        return false;
    while (c->body_size < upto) {
        ssize_t n = recv(c->client, c->body + c->body_size, upto - c->body_size, 0);
        if (n <= 0)
            return false;
        c->body_size += (size_t)n;
    }
    return true;
}

/* Passes it on, each header but those about the connection, which is ours. */
static bool ask_store(struct conn *c)
{
    AUTO(close) int fd = connect_to(c->p->backend);
    if (fd < 0)
        return false;
    const char *line = c->head;
    for (const char *end; (end = strstr(line, "\r\n")) && end != line; line = end + 2) {
        if (strncasecmp(line, "Expect:", 7) == 0 || strncasecmp(line, "Connection:", 11) == 0)
            continue;
        if (fdio_send_full(fd, line, (size_t)(end + 2 - line)) < 0)
            return false;
    }
    static const char ours[] = "Connection: close\r\n\r\n";
    if (fdio_send_full(fd, ours, strlen(ours)) < 0)
        return false;
    if (fdio_send_full(fd, c->body, c->body_size) < 0)
        return false;
    size_t max = 0;
    for (;;) {
        if (c->answer_size == max) {
            max = max ? 2 * max : 64 * 1024;
            c->answer = max <= BODY_MAX ? realloc(c->answer, max + 1) : NULL;
            if (!c->answer)
                return false;
        }
        ssize_t n = recv(fd, c->answer + c->answer_size, max - c->answer_size, 0);
        if (n < 0)
            return false;
        if (n == 0)
            break;
        c->answer_size += (size_t)n;
    }
    c->answer[c->answer_size] = '\0';
    const char *end = strstr(c->answer, "\r\n\r\n");
    c->answer_head = end ? (size_t)(end + 4 - c->answer) : c->answer_size;
    return end != NULL;
}

static void answer_status(struct conn *c, int status)
{
    static const char body[] = "<?xml version=\"1.0\"?><Error><Code>%s</Code>"
                               "<Message>so it is</Message></Error>";
    char text[200], head[400];
    const char *code = status == 503   ? "SlowDown"
                       : status == 500 ? "InternalError"
                       : status == 301 ? "PermanentRedirect"
                                       : "TemporaryRedirect";
    int n = strncmp(c->head, "HEAD", 4) == 0 ? 0 : snprintf(text, sizeof text, body, code);
    /* To ourselves: whoever follows it comes again, and again. */
    int m = snprintf(head, sizeof head,
                     "HTTP/1.1 %d No\r\n%s%d/elsewhere\r\nContent-Length: %d\r\n"
                     "Connection: close\r\n\r\n",
                     status,
                     status < 400 ? "Location: http://127.0.0.1:" : "X-Nothing: ", c->p->port, n);
    fdio_send_full(c->client, head, (size_t)m);
    fdio_send_full(c->client, text, (size_t)n);
}

/* Without what tells how long it is. */
static void answer_unbounded(struct conn *c)
{
    const char *line = c->answer;
    for (const char *end; (end = strstr(line, "\r\n")) && end != line; line = end + 2)
        if (strncasecmp(line, "Content-Length:", 15) != 0 &&
            strncasecmp(line, "Transfer-Encoding:", 18) != 0)
            fdio_send_full(c->client, line, (size_t)(end + 2 - line));
    fdio_send_full(c->client, "\r\n", 2);
    size_t body = c->answer_size - c->answer_head;
    fdio_send_full(c->client, c->answer + c->answer_head, body / 2);
}

static void answer(struct conn *c)
{
    size_t body = c->answer_size - c->answer_head, half = c->answer_head + body / 2;
    switch (c->fault) {
    case FAULT_LOST:
        reset(c->client);
        return;
    case FAULT_CUT_ANSWER:
        fdio_send_full(c->client, c->answer, body ? half : c->answer_head / 2);
        reset(c->client);
        return;
    case FAULT_STALL_ANSWER:
        fdio_send_full(c->client, c->answer, body ? half : c->answer_head / 2);
        stall(c);
        return;
    case FAULT_TRUNCATE:
        fdio_send_full(c->client, c->answer, body ? half : c->answer_head / 2);
        return;
    case FAULT_NO_LENGTH:
        answer_unbounded(c);
        return;
    case FAULT_SPOIL_ANSWER:
        c->answer[half - (body > 0)] ^= 1;
        break;
    default:
        break;
    }
    fdio_send_full(c->client, c->answer, c->answer_size);
}

static void serve(struct conn *c)
{
    if (!read_request(c))
        return;
    choose_fault(c);
    if (c->fault == FAULT_CUT_REQUEST && !read_body(c, c->body_whole / 2))
        return;
    if (c->fault == FAULT_RESET || c->fault == FAULT_CUT_REQUEST) {
        reset(c->client);
        return;
    }
    if (!read_body(c, c->body_whole))
        return;
    switch (c->fault) {
    case FAULT_STALL:
        stall(c);
        return;
    case FAULT_STATUS_500:
        answer_status(c, 500);
        return;
    case FAULT_STATUS_503:
        answer_status(c, 503);
        return;
    case FAULT_STATUS_301:
        answer_status(c, 301);
        return;
    case FAULT_STATUS_307:
        answer_status(c, 307);
        return;
    case FAULT_SPOIL_SENT:
        if (c->body_size)
            c->body[c->body_size / 2] ^= 1;
        break;
    default:
        break;
    }
    if (ask_store(c))
        answer(c);
}

static void *conn_main(void *arg)
{
    struct conn *c = arg;
    serve(c);
    close(c->client);
    free(c->head);
    free(c->body);
    free(c->answer);
    pthread_mutex_lock(&c->p->lock);
    c->p->connections--;
    pthread_cond_broadcast(&c->p->changed);
    pthread_mutex_unlock(&c->p->lock);
    free(c);
    return NULL;
}

static void *listen_main(void *arg)
{
    struct proxy *p = arg;
    for (int fd; (fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        struct timeval t = {.tv_sec = IO_S};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
        struct conn *c = calloc(1, sizeof *c);
        pthread_t thread;
        if (!c) {
            close(fd);
            continue;
        }
        *c = (struct conn){.p = p, .client = fd};
        pthread_mutex_lock(&p->lock);
        p->connections++;
        pthread_mutex_unlock(&p->lock);
        if (thread_start(&thread, conn_main, c) != 0)
            conn_main(c);
        else
            pthread_detach(thread);
    }
    return NULL;
}

struct proxy *proxy_start(int port)
{
    struct proxy *p = calloc(1, sizeof *p);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    cr_assert_not_null(p);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->backend = port;
    pthread_mutex_init(&p->lock, NULL);
    thread_cond_init(&p->changed);
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(p->listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(p->listener, 64), 0);
    cr_assert_eq(getsockname(p->listener, (struct sockaddr *)&at, &size), 0);
    p->port = ntohs(at.sin_port);
    cr_assert_eq(thread_start(&p->thread, listen_main, p), 0);
    return p;
}

int proxy_port(const struct proxy *p)
{
    return p->port;
}

void proxy_fault(struct proxy *p, enum fault fault, const char *what, int times)
{
    pthread_mutex_lock(&p->lock);
    p->fault = fault;
    snprintf(p->what, sizeof p->what, "%s", what);
    p->times = times;
    p->done = 0;
    pthread_mutex_unlock(&p->lock);
}

int proxy_done(struct proxy *p)
{
    pthread_mutex_lock(&p->lock);
    int done = p->done;
    pthread_mutex_unlock(&p->lock);
    return done;
}

void proxy_stop(struct proxy *p)
{
    shutdown(p->listener, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->listener);
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    while (p->connections > 0)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
