/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/str.h"

struct row {
    enum err_code code;
    const char *name;
    int exit_status;
    bool retry;
    const char *help;
};

static const struct row rows[] = {
#define ERR(name, number, status, retry, help) {ERR_##name, #name, status, retry, help},
#include "common/errors.def"
#undef ERR
};

static const struct row *find(long long code)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if ((long long)rows[i].code == code)
            return &rows[i];
    return NULL;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    if (e->code != ERR_NONE)
        return -1;
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    str_printable(e->text); /* a file name could forge lines in logs and terminals */
    e->code = code;
    errno = saved;
    return -1;
}

int err_errno(struct err *e, enum err_code code, const char *fmt, ...)
{
    if (e->code != ERR_NONE)
        return -1;
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof e->text)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", strerror(saved));
    str_printable(e->text);
    e->code = code;
    errno = saved;
    return -1;
}

int err_while(struct err *e, const char *fmt, ...)
{
    char front[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(front, sizeof front, fmt, ap);
    va_end(ap);
    str_printable(front);
    char both[2 * sizeof e->text + 2];
    snprintf(both, sizeof both, "%s: %s", front, e->text);
    both[sizeof e->text - 1] = '\0';
    memcpy(e->text, both, sizeof e->text);
    return -1;
}

const char *err_name(enum err_code code)
{
    const struct row *r = find(code);
    return r ? r->name : code == ERR_NONE ? "OK" : "UNKNOWN";
}

const char *err_help(enum err_code code)
{
    const struct row *r = find(code);
    return r ? r->help : "";
}

bool err_retry(enum err_code code)
{
    const struct row *r = find(code);
    return r && r->retry;
}

int err_exit_status(enum err_code code)
{
    const struct row *r = find(code);
    return r ? r->exit_status : code == ERR_NONE ? 0 : 15;
}

enum err_code err_from_wire(long long number)
{
    const struct row *r = find(number);
    return r ? r->code : ERR_INTERNAL;
}
