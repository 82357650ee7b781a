/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "client/address.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "common/ops.h"
#include "common/str.h"

static const char ipc[] = "ipc://";
static const char tcp[] = "tcp://";

static int wrong(const char *said, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "server '%.200s': %s: give tcp://HOST:PORT, HOST, or ipc:///PATH", said, why);
}

const char *address_path(const char *url)
{
    return strncmp(url, ipc, sizeof ipc - 1) == 0 ? url + sizeof ipc - 1 : NULL;
}

static int parse_path(const char *said, const char *path, char out[ADDRESS_MAX], struct err *err)
{
    if (*path != '/')
        return wrong(said, "the path is not absolute", err);
    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return wrong(said, "the path is longer than a socket's may be", err);
    snprintf(out, ADDRESS_MAX, "%s%s", ipc, path);
    return 0;
}

static bool host_is_fine(const char *host, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr(".-_:%", host[i]))
            return false;
    return n > 0 && n < ADDRESS_MAX / 2;
}

static int parse_host(const char *said, const char *text, char out[ADDRESS_MAX], struct err *err)
{
    int64_t port = DEFAULT_PORT;
    const char *host = text, *end, *colon;
    bool v6 = false;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (!end || (end[1] && end[1] != ':'))
            return wrong(said, "[...] is not closed", err);
        colon = end[1] ? end + 1 : NULL;
        v6 = true;
    } else {
        colon = strrchr(text, ':');
        if (colon && strchr(text, ':') != colon) { /* a bare IPv6 address */
            colon = NULL;
            v6 = true;
        }
        end = colon ? colon : text + strlen(text);
    }
    if (!host_is_fine(host, (size_t)(end - host)))
        return wrong(said, "that is no host name", err);
    if (colon && !str_to_i64(colon + 1, 1, 65535, &port))
        return wrong(said, "the port is not a number from 1 to 65535", err);
    snprintf(out, ADDRESS_MAX, "%s%s%.*s%s:%d", tcp, v6 ? "[" : "", (int)(end - host), host,
             v6 ? "]" : "", (int)port);
    return 0;
}

int address_parse(const char *said, char out[ADDRESS_MAX], struct err *err)
{
    if (address_path(said))
        return parse_path(said, address_path(said), out, err);
    if (*said == '/')
        return parse_path(said, said, out, err);
    if (strncmp(said, tcp, sizeof tcp - 1) == 0)
        return parse_host(said, said + sizeof tcp - 1, out, err);
    if (strstr(said, "://"))
        return wrong(said, "only tcp and ipc are known", err);
    return parse_host(said, said, out, err);
}
