/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *what, const char *text)
{
    fprintf(stderr, "bench: %s: %s\n", what, text);
    exit(1);
}

double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct sagent *open_client(void)
{
    struct sagent *s;
    struct sagent_error err;
    if (sagent_open(NULL, &s, &err) < 0)
        die("open", err.text);
    return s;
}

char *submit(struct sagent *s, const char *script, const struct sagent_pair *options, size_t n)
{
    const struct sagent_submit_request req = {
        .script = script,
        .script_size = strlen(script),
        .options = options,
        .option_count = n,
        .login_environment = true,
    };
    struct sagent_submit_reply *reply;
    struct sagent_error err;
    if (sagent_submit(s, &req, &reply, &err) < 0)
        die("submit", err.text);
    char *id = strdup(reply->id);
    sagent_submit_reply_free(reply);
    return id;
}
