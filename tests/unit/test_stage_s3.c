/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stores that nobody would set up to be used */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/stage.h"
#include "common/str.h"

TestSuite(stage_s3, .timeout = 60);

static struct stage *open_at(const char *endpoint)
{
    const struct stage_conf conf = {.endpoint = endpoint, .tries = 1};
    struct stage *s = NULL;
    struct err err = {0};
    cr_assert_eq(stage_open(STAGE_S3, &conf, &s, &err), 0, "%s", err.text);
    return s;
}

Test(stage_s3, addresses_that_mean_this_host_or_lead_to_its_keys_are_not_connected_to)
{
    static const char *const bad[] = {"http://0.0.0.0:9",
                                      "http://[::]:9",
                                      "http://[64:ff9b::a9fe:a9fe]:9",
                                      "http://[2002:a9fe:a9fe::1]:9",
                                      "http://[::169.254.169.254]:9",
                                      "http://169.254.169.254:9"};
    struct stage_url u;
    cr_assert_eq(stage_url_parse("s3://bucket/key", &u, &(struct err){0}), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(stage_close) struct stage *s = open_at(bad[i]);
        struct stage_info info;
        struct err err = {0};
        cr_expect_eq(stage_head(s, &u, NULL, &info, &err), -1);
        cr_expect_eq(err.code, ERR_DENIED, "%s: %s", bad[i], err.text);
    }
}

/* ---- answers without a length ---- */

struct server {
    int listener;
    const char *(*next)(void *arg); /* a chunk, for as long as anybody listens; NULL: the end */
    void *arg;
    pthread_t thread;
    struct stage *s;
    struct stage_run run;
};

/* Answers one request. */
static void *serve(void *arg)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const struct server *server = arg;
    char request[4096], size[16];
    AUTO(close) int fd = accept(server->listener, NULL, NULL);
    if (fd < 0 || read(fd, request, sizeof request) <= 0 ||
        send(fd, head, strlen(head), MSG_NOSIGNAL) < 0)
        return NULL;
    for (const char *p; (p = server->next(server->arg));) {
        int n = snprintf(size, sizeof size, "%zx\r\n", strlen(p));
        if (send(fd, size, (size_t)n, MSG_NOSIGNAL) < 0 ||
            send(fd, p, strlen(p), MSG_NOSIGNAL) < 0 || send(fd, "\r\n", 2, MSG_NOSIGNAL) < 0)
            return NULL;
    }
    send(fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
    return NULL;
}

static void server_start(struct server *v)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    char endpoint[64];
    v->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(v->listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(v->listener, 1), 0);
    cr_assert_eq(getsockname(v->listener, (struct sockaddr *)&at, &n), 0);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", ntohs(at.sin_port));
    cr_assert_eq(pthread_create(&v->thread, NULL, serve, v), 0);
    v->s = open_at(endpoint);
    v->run.deadline_ms = clock_mono_ms() + 20000;
}

static void server_end(struct server *v)
{
    stage_close(v->s);
    pthread_join(v->thread, NULL);
    close(v->listener);
}

static const char *digits(void *arg)
{
    (void)arg;
    return "01234567";
}

Test(stage_s3, an_object_without_a_length_is_refused_at_once)
{
    struct server v = {.next = digits};
    struct stage_url u;
    struct err err = {0};
    server_start(&v);
    AUTO(close) int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(stage_url_parse("s3://bucket/key", &u, &err), 0);
    cr_expect_eq(stage_get(v.s, &u, fd, &v.run, NULL, &err), -1);
    cr_expect_eq(err.code, ERR_STORE, "%s", err.text);
    cr_expect_not_null(strstr(err.text, "without a length"), "%s", err.text);
    server_end(&v);
}

/* Keys in their order, for ever. */
static const char *next_key(void *arg)
{
    static char text[200];
    int *n = arg;
    if ((*n)++ == 0)
        return "<?xml version=\"1.0\"?><ListBucketResult>";
    snprintf(text, sizeof text,
             "<Contents><Key>%07d</Key><Size>1</Size>"
             "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>",
             *n);
    return text;
}

static int count_key(void *arg, const char *key, const struct stage_info *info)
{
    (void)key;
    (void)info;
    ++*(int *)arg;
    return 0;
}

Test(stage_s3, a_list_has_no_more_keys_than_were_asked_for)
{
    int sent = 0, told = 0;
    struct server v = {.next = next_key, .arg = &sent};
    struct stage_url u;
    struct err err = {0};
    server_start(&v);
    cr_assert_eq(stage_url_parse("s3://bucket/", &u, &err), 0);
    cr_expect_eq(stage_list(v.s, &u, 1000000, count_key, &told, &v.run, &err), -1);
    cr_expect_eq(err.code, ERR_STORE, "%s", err.text);
    cr_expect_not_null(strstr(err.text, "more than the 1000 keys"), "%s", err.text);
    cr_expect_eq(told, 0, "a page is told when it has come whole");
    server_end(&v);
}

/* A store that fn answers for, with its listener. */
static int begin_store(void *(*fn)(void *), pthread_t *ret, char endpoint[64])
{
    static int listener;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    snprintf(endpoint, 64, "http://127.0.0.1:%d", ntohs(at.sin_port));
    cr_assert_eq(pthread_create(ret, NULL, fn, &listener), 0);
    return listener;
}

static const char *value_of(const char *request, const char *header, char out[400])
{
    const char *at = strcasestr(request, header);
    snprintf(out, 400, "%.*s", at ? (int)strcspn(at, "\r") : 0, at ? at : "");
    return out;
}

/* Says what it was sent, as some gateways do to help who looks for a mistake. */
static void *echo(void *arg)
{
    char request[8192] = "", one[400], two[400], body[2000], head[200];
    AUTO(close) int fd = accept(*(int *)arg, NULL, NULL);
    if (fd < 0 || read(fd, request, sizeof request - 1) <= 0)
        return NULL;
    snprintf(body, sizeof body,
             "<Error><Code>Odd</Code><Message>%.56s %.72s \xe2\x80\xae</Message></Error>",
             value_of(request, "x-amz-security-token", one),
             strstr(value_of(request, "authorization", two), "Signature"));
    snprintf(head, sizeof head,
             "HTTP/1.1 400 Bad\r\nx-amz-bucket-region: %.40s\r\nContent-Length: %zu\r\n\r\n",
             strstr(two, "Credential="), strlen(body));
    send(fd, head, strlen(head), MSG_NOSIGNAL);
    send(fd, body, strlen(body), MSG_NOSIGNAL);
    return NULL;
}

Test(stage_s3, what_a_store_says_of_keys_is_not_told)
{
    static const char key[] = "AKIDALICE012345", token[] = "FwoGZXIvYXdzEJr0123+/abcdefgh";
    char endpoint[64];
    pthread_t thread;
    struct stage_url u;
    struct err err = {0};
    AUTO(stage_close) struct stage *s = NULL;
    AUTO(close) int listener = begin_store(echo, &thread, endpoint);
    cr_assert_geq(listener, 0);
    const struct stage_conf conf = {.endpoint = endpoint,
                                    .tries = 1,
                                    .access_key = key,
                                    .secret_key = "secretsecret",
                                    .session_token = token};
    cr_assert_eq(stage_open(STAGE_S3, &conf, &s, &err), 0, "%s", err.text);
    AUTO(close) int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    cr_assert_eq(stage_url_parse("s3://bucket/key", &u, &err), 0);
    const struct stage_run run = {.deadline_ms = clock_mono_ms() + 20000};
    cr_expect_eq(stage_get(s, &u, fd, &run, NULL, &err), -1);
    pthread_join(thread, NULL);
    cr_expect_not_null(strstr(err.text, "the store says Odd: x-amz-security-token: ***"), "%s",
                       err.text);
    cr_expect_not_null(strstr(err.text, "Signature=***"), "%s", err.text);
    cr_expect_null(strstr(err.text, "\xe2\x80\xae"), "%s", err.text);
    char piece[9];
    for (size_t i = 0; i + 8 < sizeof token; i++) {
        snprintf(piece, sizeof piece, "%.8s", token + i);
        cr_expect_null(strstr(err.text, piece), "%s", err.text);
    }
}
