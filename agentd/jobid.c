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
            out->tasks = p + 1;
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

int jobids_parse(const char *const *texts, size_t n, struct jobid *out, struct err *err)
{
    size_t lists = 0;
    for (size_t i = 0; i < n; i++) {
        if (jobid_parse(texts[i], &out[i], err) < 0)
            return -1;
        if (out[i].kind == JOBID_TASKS && ++lists > JOBID_LISTS_MAX)
            return err_set(err, ERR_LIMIT,
                           "more than %d ids like %.80s: give fewer of them at once, or each task",
                           JOBID_LISTS_MAX, texts[i]);
    }
    return 0;
}

int jobid_order(const void *a, const void *b)
{
    const struct jobid *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return (x->second > y->second) - (x->second < y->second);
}

/* lo, lo + step, ... up to hi */
struct tasks_range {
    uint64_t lo, hi, step;
};

/* Takes the next range off the list; false at its end. */
static bool next_range(const char **p, struct tasks_range *ret)
{
    char *end;
    if (**p < '0' || **p > '9')
        return false;
    *ret = (struct tasks_range){.lo = strtoul(*p, &end, 10), .step = 1};
    ret->hi = ret->lo;
    if (*end == '-')
        ret->hi = strtoul(end + 1, &end, 10);
    if (*end == ':')
        ret->step = strtoul(end + 1, &end, 10);
    *p = *end == ',' ? end + 1 : "";
    return ret->step != 0 && ret->lo <= UINT32_MAX && ret->hi <= UINT32_MAX &&
           ret->step <= UINT32_MAX;
}

/* Have two arithmetic progressions a member in common?  By Euclid's algorithm, for a range may have
 * millions of members. */
static bool ranges_meet(const struct tasks_range *a, const struct tasks_range *b)
{
    int64_t m = (int64_t)a->step, n = (int64_t)b->step, x = 1, next_x = 0, r = m, next_r = n;
    while (next_r) { /* r = gcd, x: m * x = gcd modulo n */
        int64_t q = r / next_r, t = r - q * next_r;
        r = next_r;
        next_r = t;
        t = x - q * next_x;
        x = next_x;
        next_x = t;
    }
    int64_t apart = (int64_t)b->lo - (int64_t)a->lo;
    if (apart % r)
        return false;
    int64_t period = n / r, steps = apart / r % period * (x % period) % period;
    if (steps < 0)
        steps += period;
    /* The first member of a that is one of b's, b going on in both directions; then up to where
     * both have begun. */
    __int128 first = (__int128)a->lo + (__int128)m * steps, both = (__int128)m * period;
    if (first < (__int128)b->lo)
        first += ((__int128)b->lo - first + both - 1) / both * both;
    return first <= (__int128)a->hi && first <= (__int128)b->hi;
}

/* Slurm's lists ascend, and may be long: 64 KiB.  Where to begin to look for n. */
static const char *first_near(const char *tasks, uint64_t n)
{
    enum { SHORT = 256 };
    size_t lo = 0, hi = strlen(tasks);
    while (hi - lo > SHORT) {
        size_t mid = lo + (hi - lo) / 2;
        const char *comma = memchr(tasks + mid, ',', hi - mid);
        if (comma && strtoul(comma + 1, NULL, 10) <= n)
            lo = (size_t)(comma + 1 - tasks);
        else
            hi = mid;
    }
    return tasks + lo;
}

/* The same for a range without a step. */
static bool meets_plain(const struct tasks_range *x, const struct tasks_range *plain)
{
    uint64_t first = x->lo;
    if (first < plain->lo)
        first += (plain->lo - first + x->step - 1) / x->step * x->step;
    return first <= x->hi && first <= plain->hi;
}

bool jobid_tasks_meet(const char *wanted, const char *tasks)
{
    struct tasks_range x, y;
    while (next_range(&wanted, &x))
        for (const char *p = first_near(tasks, x.lo); next_range(&p, &y) && y.lo <= x.hi;)
            if (y.step == 1 ? meets_plain(&x, &y) : ranges_meet(&x, &y))
                return true;
    return false;
}

bool jobid_tasks_contain(const char *tasks, uint32_t n)
{
    struct tasks_range r;
    for (const char *p = first_near(tasks, n); next_range(&p, &r) && r.lo <= n;)
        if (n <= r.hi && (n - r.lo) % r.step == 0)
            return true;
    return false;
}

size_t jobid_tasks(const char *tasks, uint32_t *out, size_t max)
{
    struct tasks_range r;
    size_t n = 0;
    while (next_range(&tasks, &r))
        for (uint64_t at = r.lo; at <= r.hi && at <= UINT32_MAX; at += r.step) {
            if (n == max)
                return max + 1;
            out[n++] = (uint32_t)at;
        }
    return n;
}
