/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agentd/sbatch_impl.h"

#include <string.h>
#include <strings.h>

bool sbatch_number(const char **p, int64_t max, int64_t *ret)
{
    const char *s = *p;
    int64_t n = 0;
    while (*s == ' ' || (*s >= '\t' && *s <= '\r'))
        s++;
    if (*s == '+')
        s++;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        int digit = *s - '0';
        if (n > (max - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *p = s;
    *ret = n;
    return true;
}

const char *sbatch_value_text(const struct sbatch_value *v)
{
    *(const char **)v->target = v->text;
    return NULL;
}

/* sbatch writes the file "none" as what it means. */
const char *sbatch_value_file(const struct sbatch_value *v)
{
    *(const char **)v->target = strcasecmp(v->text, "none") == 0 ? "/dev/null" : v->text;
    return NULL;
}

const char *sbatch_value_gres(const struct sbatch_value *v)
{
    if (strcasecmp(v->text, "help") == 0 || strcasecmp(v->text, "list") == 0)
        return "this server has no list of resources to show";
    *(const char **)v->target = strcasecmp(v->text, "none") == 0 ? NULL : v->text;
    return NULL;
}

const char *sbatch_value_hold(const struct sbatch_value *v)
{
    *(bool *)v->target = true;
    return NULL;
}

const char *sbatch_value_ignore_pbs(const struct sbatch_value *v)
{
    *(bool *)v->target = true;
    return NULL;
}

const char *sbatch_value_requeue(const struct sbatch_value *v)
{
    *(int64_t *)v->target = 1;
    return NULL;
}

const char *sbatch_value_no_requeue(const struct sbatch_value *v)
{
    *(int64_t *)v->target = 0;
    return NULL;
}

const char *sbatch_value_exclusive(const struct sbatch_value *v)
{
    enum sbatch_exclusive *target = v->target;
    if (!*v->text)
        *target = SBATCH_EXCLUSIVE_NODE;
    else if (strcasecmp(v->text, "user") == 0)
        *target = SBATCH_EXCLUSIVE_USER;
    else if (strcasecmp(v->text, "mcs") == 0)
        *target = SBATCH_EXCLUSIVE_MCS;
    else
        return "give nothing, user or mcs";
    return NULL;
}

static bool count(const struct sbatch_value *v, int64_t max)
{
    const char *p = v->text;
    int64_t n;
    if (!sbatch_number(&p, max, &n) || *p || n < 1)
        return false;
    *(int64_t *)v->target = n;
    return true;
}

const char *sbatch_value_ntasks(const struct sbatch_value *v)
{
    return count(v, INT32_MAX) ? NULL : "not a number of tasks: give a whole number from 1 on";
}

const char *sbatch_value_cpus(const struct sbatch_value *v)
{
    /* Slurm keeps it in 16 bits, with the two largest numbers taken for other meanings; sbatch
     * lets a larger one wrap around */
    return count(v, UINT16_MAX - 2) ? NULL
                                    : "not a number of CPUs: give a whole number, 1 to 65533";
}

static bool one_nodes(const char **p, int64_t *ret)
{
    int64_t n, unit = 1;
    if (!sbatch_number(p, INT32_MAX, &n))
        return false;
    if (**p == 'k' || **p == 'K')
        unit = 1 << 10;
    else if (**p == 'm' || **p == 'M')
        unit = 1 << 20;
    if (unit > 1)
        (*p)++;
    *ret = n * unit;
    return *ret <= INT32_MAX;
}

const char *sbatch_value_nodes(const struct sbatch_value *v)
{
    static const char form[] =
        "not a number of nodes: give N or FROM-TO, with k for 1024 or m for 1048576";
    struct sbatch *job = &v->reading->job;
    const char *p = v->text;
    int64_t min, max;
    if (!one_nodes(&p, &min))
        return form;
    max = min;
    if (*p == '-') {
        p++;
        if (!one_nodes(&p, &max))
            return form;
        if (max < min)
            return "the largest number of nodes is smaller than the smallest";
    }
    if (p[strspn(p, " \t")])
        return form;
    job->min_nodes = min;
    /* 0 nodes is what sbatch sends to leave the number open */
    job->max_nodes = max ? max : SBATCH_UNSET;
    return NULL;
}

const char *sbatch_value_memory(const struct sbatch_value *v)
{
    static const char form[] = "not a size: give megabytes, or a number with K, M, G or T";
    static const int64_t max_mb = (int64_t)1 << 50; /* far beyond any machine, far below overflow */
    const char *p = v->text;
    int64_t n;
    if (!sbatch_number(&p, INT64_MAX >> 20, &n))
        return form;
    switch (*p) {
    case '\0':
        break;
    case 'k':
    case 'K':
        n = (n + 1023) / 1024;
        p++;
        break;
    case 'm':
    case 'M':
        p++;
        break;
    case 'g':
    case 'G':
        n <<= 10;
        p++;
        break;
    case 't':
    case 'T':
        n <<= 20;
        p++;
        break;
    default:
        return form;
    }
    /* 1GB is 1G, but a plain B has no meaning */
    if (p > v->text && (p[0] == 'b' || p[0] == 'B') && (p[-1] < '0' || p[-1] > '9'))
        p++;
    if (*p)
        return form;
    if (n > max_mb)
        return "more memory than there can be";
    *(int64_t *)v->target = n;
    return NULL;
}

/* digits only: no sign and no blank inside a time */
static bool part(const char **p, int64_t *ret)
{
    return **p >= '0' && **p <= '9' && sbatch_number(p, UINT32_MAX, ret);
}

const char *sbatch_value_time_limit(const struct sbatch_value *v)
{
    static const char form[] =
        "not a time: give minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s or UNLIMITED";
    int64_t *target = v->target, field[3] = {0}, days = 0, seconds;
    const char *p = v->text;
    size_t n = 0;
    if (strcasecmp(p, "UNLIMITED") == 0 || strcasecmp(p, "INFINITE") == 0 || strcmp(p, "-1") == 0) {
        *target = SBATCH_INFINITE;
        return NULL;
    }
    bool with_days = strchr(p, '-');
    if (with_days && (!part(&p, &days) || *p++ != '-'))
        return form;
    if (*p || !with_days) { /* "2-" is two days */
        do {
            if (n == 3 || !part(&p, &field[n++]))
                return form;
        } while (*p == ':' && p++);
    }
    if (*p)
        return form;
    if (with_days || n == 3)
        seconds = field[0] * 3600 + field[1] * 60 + field[2];
    else
        seconds = field[0] * 60 + field[1];
    seconds += days * 86400;
    if (seconds > INT32_MAX) /* Slurm's own arithmetic ends there */
        return "more than 68 years: say UNLIMITED";
    *target = seconds ? (seconds + 59) / 60 : SBATCH_INFINITE;
    return NULL;
}
