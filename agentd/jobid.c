/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/jobid.h"

#include <stdlib.h>
#include <string.h>

/* Slurm keeps the top of the range for NO_VAL and INFINITE. */
enum { JOBID_DIGITS = 10 };
static const uint32_t JOBID_MAX = 0xfffffff0;

static bool number(const char **p, uint32_t *ret)
{
    uint64_t v = 0;
    int n = 0;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        v = v * 10 + (uint64_t)(**p - '0');
        if (++n > JOBID_DIGITS)
            return false;
    }
    *ret = (uint32_t)v;
    return n > 0 && v <= JOBID_MAX;
}

static bool tasks(const char *p)
{
    size_t n = strspn(p, "0123456789,-:%");
    return n > 0 && p[n] == ']' && p[n + 1] == '\0';
}

static bool parse(const char *p, struct jobid *out)
{
    if (!number(&p, &out->id) || out->id == 0)
        return false;
    switch (*p) {
    case '\0':
        out->kind = JOBID_PLAIN;
        return true;
    case '+':
        p++;
        out->kind = JOBID_HET;
        return number(&p, &out->second) && !*p;
    case '_':
        p++;
        if (*p == '[') {
            out->kind = JOBID_TASKS;
            return tasks(p + 1);
        }
        out->kind = JOBID_TASK;
        return number(&p, &out->second) && !*p;
    default:
        return false;
    }
}

int jobid_parse(const char *text, struct jobid *out, struct err *err)
{
    struct jobid id = {0};
    if (!parse(text, &id))
        return err_set(err, ERR_INVALID, "'%.80s' is not a job id: give 12, 12_3, 12_[1-4] or 12+1",
                       text);
    *out = id;
    return 0;
}

bool jobid_tasks_contain(const char *tasks, uint32_t n)
{
    const char *p = tasks;
    while (*p >= '0' && *p <= '9') {
        char *end;
        unsigned long lo = strtoul(p, &end, 10), hi = lo, step = 1;
        if (*end == '-')
            hi = strtoul(end + 1, &end, 10);
        if (*end == ':')
            step = strtoul(end + 1, &end, 10);
        if (n >= lo && n <= hi && step && (n - lo) % step == 0)
            return true;
        if (*end != ',')
            return false;
        p = end + 1;
    }
    return false;
}
