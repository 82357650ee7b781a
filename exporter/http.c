/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "exporter/http.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"
#include "exporter/text.h"

enum {
    CONNECTIONS = 64,
    CONNECTIONS_PER_ADDRESS = 32,
    CONNECTION_BYTES = 16 << 10, /* a request's line and headers, about */
    IDLE_S = 10,
    PATIENCE_MS = 30000, /* for a whole request: one that comes byte by byte is not idle */
    BACKLOG = 32,
};

/* A connection, from its beginning to its end. */
struct visitor {
    struct visitor *next, **at;
    int fd;
    int64_t since_ms; /* of the request under way */
};

struct http {
    struct scrape *scrape;
    struct MHD_Daemon *daemon;
    int fd; /* until the daemon has it */
    pthread_mutex_t lock;
    struct visitor *visitors; /* under the lock */
};

/* A request that waits for the server. */
struct request {
    struct scrape_waiter waiter; /* first */
    struct http *http;
    struct MHD_Connection *connection;
    bool ready_only; /* /readyz */
};

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type,
                              const char *text, size_t size)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(size, (void *)text, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned status, const char *text)
{
    return answer(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result answer_waited(struct request *q)
{
    const struct scrape_answer *a = q->waiter.answer;
    if (!a)
        return say(q->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping, or no memory\n");
    if (!q->ready_only)
        return answer(q->connection, MHD_HTTP_OK, TEXT_TYPE, a->text, a->size);
    if (a->up)
        return say(q->connection, MHD_HTTP_OK, "ready\n");
    char text[600];
    snprintf(text, sizeof text, "slurm-agentd does not answer: %s\n", a->why);
    return say(q->connection, MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static void on_answer(struct scrape_waiter *w)
{
    struct request *q = (struct request *)w;
    MHD_resume_connection(q->connection);
}

static enum MHD_Result wait_for_server(struct http *h, struct MHD_Connection *c, bool ready_only,
                                       void **state)
{
    struct request *q = calloc(1, sizeof *q);
    if (!q)
        return MHD_NO;
    *q = (struct request){
        .waiter.done = on_answer,
        .http = h,
        .connection = c,
        .ready_only = ready_only,
    };
    *state = q;
    MHD_suspend_connection(c);
    scrape_ask(h->scrape, &q->waiter);
    return MHD_YES;
}

static const char index_text[] = "slurm-agent-exporter\n\n"
                                 "/metrics  statistics of slurm-agentd, for Prometheus\n"
                                 "/healthz  200: this program runs\n"
                                 "/readyz   200: slurm-agentd answers; 503: it does not\n";

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct http *h = arg;
    (void)version;
    (void)data;
    if (*state)
        return answer_waited(*state);
    if (*size || (!str_eq(method, MHD_HTTP_METHOD_GET) && !str_eq(method, MHD_HTTP_METHOD_HEAD)))
        return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD alone\n");
    if (str_eq(url, "/metrics") || str_eq(url, "/readyz"))
        return wait_for_server(h, c, str_eq(url, "/readyz"), state);
    if (str_eq(url, "/healthz"))
        return say(c, MHD_HTTP_OK, "ok\n");
    if (str_eq(url, "/"))
        return say(c, MHD_HTTP_OK, index_text);
    return say(c, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz\n");
}

/* ---- connections ---- */

static void on_connection(void *arg, struct MHD_Connection *c, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *h = arg;
    struct visitor *v = *state;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (!v)
            return;
        pthread_mutex_lock(&h->lock);
        *v->at = v->next;
        if (v->next)
            v->next->at = v->at;
        pthread_mutex_unlock(&h->lock);
        free(v);
        *state = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    *state = v = info ? calloc(1, sizeof *v) : NULL;
    if (!v)
        return; /* it has IDLE_S alone */
    pthread_mutex_lock(&h->lock);
    *v = (struct visitor){.next = h->visitors,
                          .at = &h->visitors,
                          .fd = info->connect_fd,
                          .since_ms = clock_mono_ms()};
    if (h->visitors)
        h->visitors->at = &v->next;
    h->visitors = v;
    pthread_mutex_unlock(&h->lock);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct http *h = arg;
    struct request *q = *state;
    (void)code;
    *state = NULL;
    if (q) {
        scrape_release(h->scrape, q->waiter.answer);
        free(q);
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct visitor *v = info ? info->socket_context : NULL;
    if (!v)
        return;
    pthread_mutex_lock(&h->lock);
    v->since_ms = clock_mono_ms();
    pthread_mutex_unlock(&h->lock);
}

/* microhttpd notices, and closes it. */
void http_tick(struct http *h)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&h->lock);
    for (const struct visitor *v = h->visitors; v; v = v->next)
        if (now - v->since_ms > PATIENCE_MS)
            shutdown(v->fd, SHUT_RDWR);
    pthread_mutex_unlock(&h->lock);
}

static void on_error(void *arg, const char *fmt, va_list ap)
{
    char text[300];
    (void)arg;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof text, fmt, ap);
#pragma GCC diagnostic pop
    text[strcspn(text, "\n")] = '\0';
    log_debug("http: %s", text);
}

/* ---- start and end ---- */

/* "127.0.0.1:9821" or "[::1]:9821" into its parts. */
static bool split(const char *listen_at, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(listen_at, ':');
    int64_t port;
    if (!colon || !str_to_i64(colon + 1, 1, 65535, &port))
        return false;
    size_t n = (size_t)(colon - listen_at);
    bool bracketed = n > 2 && listen_at[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        listen_at++;
        n -= 2;
    }
    if (n == 0 || n >= size || (!bracketed && memchr(listen_at, ':', n)))
        return false;
    memcpy(host, listen_at, n);
    host[n] = '\0';
    *ret_port = colon + 1;
    return true;
}

static int open_socket(const char *listen_at, struct err *err)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[64];
    const char *port;
    int on = 1;
    if (!split(listen_at, host, sizeof host, &port) || getaddrinfo(host, port, &hints, &found) != 0)
        return err_set(err, ERR_INVALID,
                       "--listen %s: give ADDRESS:PORT, an address of this host in numbers, as "
                       "127.0.0.1:9821 or [::1]:9821",
                       listen_at);
    AUTO(close) int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    if (!good)
        err_errno(err, ERR_INVALID, "cannot listen at %s", listen_at);
    freeaddrinfo(found);
    return good ? TAKE_FD(fd) : -1;
}

struct http *http_new(const char *listen_at, struct scrape *scrape, struct err *err)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h) {
        err_set(err, ERR_INTERNAL, "no memory");
        return NULL;
    }
    pthread_mutex_init(&h->lock, NULL);
    h->scrape = scrape;
    h->fd = open_socket(listen_at, err);
    if (h->fd >= 0) {
        h->daemon = MHD_start_daemon(
            MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL,
            NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_error, NULL,
            MHD_OPTION_LISTEN_SOCKET, h->fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_PER_ADDRESS,
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
            (size_t)CONNECTION_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
            on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_END);
        if (!h->daemon)
            err_errno(err, ERR_INTERNAL, "cannot serve http at %s", listen_at);
    }
    if (h->daemon)
        return h;
    http_free(h);
    return NULL;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    if (h->daemon)
        MHD_stop_daemon(h->daemon);
    else if (h->fd >= 0)
        close(h->fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
